//! `lifeboat restore` through the agent: plan, show, confirm, run, bound to the plan that was shown.

use std::num::NonZero;
use std::path::PathBuf;

use super::agent_snapshot::resolve;
use super::args::RestoreArgs;
use super::confirm::confirm;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::follow;
use super::job::give;
use super::output::{Paint, Render, Text, moment};
use super::target::{Target, confirmation_name, parse_target};
use crate::domain::command::Command;
use crate::domain::recovery::{DatabaseRestore, RecoveryPlan, RecoveryRequest, RecoveryTarget};

/// Restores a snapshot through the agent.
pub async fn run(args: RestoreArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let snapshot = resolve(&client, &args.id).await?;
    let request = RecoveryRequest {
        snapshot: snapshot.id.clone(),
        repository: snapshot.repository.clone(),
        target: target(&args)?,
        instant: None,
        reason: args.reason.clone(),
        plan_digest: None,
    };
    let what = format!("snapshot {} cannot be restored", snapshot.id.short());
    let plan = client
        .plan(&request)
        .await
        .map_err(|error| CliError::from_client(&what, error))?;
    if args.plan {
        ctx.print(&plan)?;
        return Ok(if plan.blockers.is_empty() {
            Exit::Done
        } else {
            Exit::Refused
        });
    }
    if !ctx.out.json {
        ctx.print(&plan)?;
    }
    if !plan.blockers.is_empty() {
        return Err(CliError::refused(what)
            .why(plan.blockers.join("; "))
            .hint("nothing was changed; choose another target"));
    }
    ctx.may_change("restore")?;
    if plan.overwrites > 0 {
        let there = &plan.target_identity;
        let question = format!("{} existing things at {there} would be overwritten", plan.overwrites);
        confirm(
            ctx,
            &question,
            &confirmation_name(&plan.request.target),
            args.yes.as_deref(),
        )?;
    }
    let request = RecoveryRequest {
        plan_digest: Some(plan.digest),
        ..request
    };
    let receipt = give(&client, Command::StartRecovery { request }).await?;
    let title = format!("restoring {}", snapshot.id.short());
    let began = "the recovery began; see: lifeboat status".to_owned();
    let Some(record) = follow::recovery(ctx, &client, receipt, !args.no_wait, &title, began).await? else {
        return Ok(Exit::Done);
    };
    let exit = Exit::from(record.outcome);
    ctx.print(&record)?;
    Ok(exit)
}

fn target(args: &RestoreArgs) -> Result<RecoveryTarget, CliError> {
    let how = Box::new(DatabaseRestore {
        drop_existing: args.drop_existing,
        tables: args.table.clone(),
        jobs: args.jobs.map_or(0, NonZero::get),
    });
    let files_only = || {
        let given = !args.include.is_empty() || args.subpath.is_some() || args.delta || !args.tablespace.is_empty();
        given.then(|| {
            CliError::usage("--include, --subpath, --delta and --tablespace choose files, but the target is a database")
                .hint("leave them out, or give a directory as --target")
        })
    };
    if let Some(database) = &args.target_database {
        return files_only().map_or_else(
            || {
                Ok(RecoveryTarget::Database {
                    connection: None,
                    database: database.clone(),
                    how: how.clone(),
                })
            },
            Err,
        );
    }
    match parse_target(args.target.as_deref().unwrap_or_default())? {
        Target::Directory(_) if !how.is_default() => Err(CliError::usage(
            "--drop-existing, --table and --jobs are for databases, but the target is a directory",
        )
        .hint("leave them out, or give postgres://USER@HOST:PORT/NAME as --target")),
        Target::Directory(path) => Ok(RecoveryTarget::Directory {
            path: absolute(path)?,
            include: args.include.clone(),
            subpath: args.subpath.clone(),
            delta: args.delta,
            quick: args.quick,
            tablespaces: tablespaces(&args.tablespace)?,
        }),
        Target::Database { connection, database } => match files_only() {
            Some(error) => Err(error),
            None => Ok(RecoveryTarget::Database {
                connection: Some(connection),
                database,
                how,
            }),
        },
    }
}

/// Reads `OLD=NEW`, any number of times.
fn tablespaces(given: &[String]) -> Result<Vec<(String, PathBuf)>, CliError> {
    let read = |text: &String| {
        let (old, new) = text.rsplit_once('=').ok_or_else(|| {
            CliError::usage(format!("--tablespace {text} does not say where to"))
                .hint("write --tablespace OLD=NEW, where OLD is its name, number or old place")
        })?;
        Ok((old.to_owned(), absolute(PathBuf::from(new))?))
    };
    given.iter().map(read).collect()
}

/// The agent does not stand where we stand.
fn absolute(path: PathBuf) -> Result<PathBuf, CliError> {
    let shown = path.display().to_string();
    std::path::absolute(path).map_err(|error| CliError::usage(format!("{shown} is not a directory's path")).why(error))
}

impl Render for RecoveryPlan {
    fn text(&self, out: &mut Text) {
        out.painted(Paint::Strong, "Plan");
        let source = self
            .source
            .as_ref()
            .map_or_else(String::new, |source| format!(" of {source}"));
        let snapshot = self.request.snapshot.short();
        out.field(
            "snapshot",
            format!("{snapshot} ({}{source}), proved: {}", self.kind, self.evidence),
        );
        out.field("brings back", format!("the data of {}", moment(self.recover_to)));
        out.field("from", &self.from);
        out.field("to", self.request.target.display());
        out.field("on", &self.target_identity);
        out.field("reads", self.fetch.to_string());
        out.field("writes", format!("{} in {} files or tables", self.write, self.items));
        out.maybe("free there", self.target_free.map(|free| free.to_string()));
        match (self.estimate, self.estimate_p90) {
            (Some(median), Some(late)) => {
                out.field(
                    "takes about",
                    format!("{median}, at most {late} (from {} measured)", self.estimate_samples),
                );
            }
            (Some(median), None) => out.field("takes about", median.to_string()),
            _ => out.field("takes", "unknown: nothing like it was measured yet"),
        }
        for time in &self.estimate_phases {
            out.field("", format!("{} {}", time.phase.word(), time.took));
        }
        if self.overwrites > 0 {
            out.painted(
                Paint::Bad,
                format!("OVERWRITES {} existing things, such as:", self.overwrites),
            );
            for path in &self.overwrites_sample {
                out.line(format!("  {path}"));
            }
        } else {
            out.field("overwrites", "nothing");
        }
        out.field("undo", &self.undo);
        for warning in &self.warnings {
            out.painted(Paint::Warn, format!("note: {warning}"));
        }
        for blocker in &self.blockers {
            out.painted(Paint::Bad, format!("BLOCKED: {blocker}"));
        }
        out.field("the same with", &self.command);
        out.field("or restic", &self.restic_command);
    }
}
