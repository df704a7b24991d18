//! `lifeboat restore` from a repository directly, with no agent.

use super::args::RestoreArgs;
use super::confirm::confirm;
use super::context::Ctx;
use super::direct::{drive, of_repo, open, remark_errors, resolve};
use super::error::{CliError, Exit};
use super::output::{Paint, Render, Text};
use super::target::{Target, parse_target};
use crate::domain::job::RepositoryDefinition;
use crate::domain::{Bytes, Millis};
use crate::repo::{RestoreOptions, RestorePlan, RestoreResult};

/// The label of snapshots that hold a whole cluster.
const CLUSTER: &str = "kind=postgres-physical";

/// Restores a snapshot of a repository.
pub async fn run(args: RestoreArgs, repository: &RepositoryDefinition, ctx: &Ctx) -> Result<Exit, CliError> {
    let target = match args.target.as_deref().map(parse_target).transpose()? {
        Some(Target::Directory(path)) => path,
        Some(Target::Database { .. }) | None => {
            return Err(CliError::usage("a database is restored by the agent, which knows its server").hint(
                "leave out --repository; or: lifeboat snapshot dump ID /NAME.dump --repository … | pg_restore -d NAME",
            ));
        }
    };
    let repo = open(repository, ctx).await?;
    // ID:/sub/path names a directory of the snapshot, latest:JOB a job.
    let (id, subpath) = match args.id.split_once(":/") {
        Some((id, path)) => (id, Some(format!("/{path}"))),
        None => (args.id.as_str(), None),
    };
    let snapshot = resolve(&repo, id).await?;
    if subpath.is_none() && args.subpath.is_none() && snapshot.snapshot.tags.iter().any(|tag| tag == CLUSTER) {
        ctx.out.remark(
            "this snapshot holds a PostgreSQL cluster and is restored as plain files; ready to be started: lifeboat recover \
             --immediate --target DIR",
        );
    }
    let chosen = !args.include.is_empty();
    let options = RestoreOptions {
        subpath: args.subpath.or(subpath),
        include: args.include,
        delta: args.delta,
        quick: args.quick,
        ..RestoreOptions::new(snapshot.id.as_str(), &target)
    };
    let what = format!("snapshot {} cannot be restored", snapshot.short_id());
    let occupied = target.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    let name = target
        .file_name()
        .unwrap_or(target.as_os_str())
        .to_string_lossy()
        .into_owned();
    // Looking at an empty target tells nothing that the restore itself does not, and who gave its name has answered the
    // question already: comparing everything only to ask it would take as long as the restore.
    let answered = args.yes.as_deref() == Some(name.as_str());
    if args.plan || occupied && !answered {
        let plan = repo
            .plan_restore(&options)
            .await
            .map_err(|error| of_repo(what.as_str(), &error))?;
        if args.plan {
            ctx.print(&plan)?;
            return Ok(Exit::Done);
        }
        let question = format!(
            "{} existing files below {} would be overwritten",
            plan.overwritten,
            target.display()
        );
        if plan.overwritten > 0 {
            confirm(ctx, &question, &name, args.yes.as_deref())?;
        }
    }
    let result = drive(ctx, "restoring", &what, async |progress, cancel| {
        repo.restore(options, progress, cancel).await
    });
    let result = result.await?;
    let nothing = result.files + result.dirs + result.others + result.unchanged == 0 && result.errors.is_empty();
    if chosen && nothing {
        return Err(CliError::usage("nothing was restored")
            .why("nothing in the snapshot matches --include")
            .hint("see what there is with: lifeboat snapshot find '*NAME*'"));
    }
    remark_errors(ctx, &result.errors);
    ctx.print(&result)?;
    Ok(if result.errors.is_empty() {
        Exit::Done
    } else {
        Exit::Partial
    })
}

impl Render for RestorePlan {
    fn text(&self, out: &mut Text) {
        out.painted(Paint::Strong, "Plan");
        out.field("snapshot", &self.snapshot);
        out.field("to", self.target.display().to_string());
        out.field(
            "writes",
            format!(
                "{} in {} files and {} directories",
                Bytes(self.bytes_to_write),
                self.files,
                self.dirs
            ),
        );
        out.field(
            "reads",
            format!("{} from {} packs", Bytes(self.bytes_to_fetch), self.packs),
        );
        out.field("the same", format!("{} files are there already", self.unchanged));
        if self.overwritten == 0 {
            out.field("overwrites", "nothing");
            return;
        }
        out.painted(
            Paint::Bad,
            format!("OVERWRITES {} existing files, such as:", self.overwritten),
        );
        for name in &self.overwritten_names {
            out.line(format!("  {name}"));
        }
    }
}

impl Render for RestoreResult {
    fn text(&self, out: &mut Text) {
        out.field(
            "restored",
            format!(
                "{} in {} files, {} directories and {} others, in {}",
                Bytes(self.bytes),
                self.files,
                self.dirs,
                self.others,
                Millis::from(self.duration)
            ),
        );
        out.field("fetched", Bytes(self.bytes_fetched).to_string());
        if self.unchanged > 0 {
            out.field("the same", format!("{} files were there already", self.unchanged));
        }
        if !self.errors.is_empty() {
            out.painted(
                Paint::Warn,
                format!("PARTIAL: {} things could not be restored", self.errors.len()),
            );
        }
    }
}
