//! `lifeboat repo`: works on a repository directly, with no configuration and no agent.

use secrecy::SecretString;
use serde::Serialize;

use super::args::{KeyCommand, RepoArgs, RepoCommand, bytes};
use super::context::Ctx;
use super::direct::{drive, of_repo, open, reach};
use super::error::{CliError, Exit};
use super::output::{Column, Listing, Paint, Render, Row, Style, Text};
use super::upkeep::{self, other};
use crate::config::secret;
use crate::domain::Bytes;
use crate::domain::job::RepositoryDefinition;
use crate::domain::source::SecretRef;
use crate::repo::keys::KeyInfo;
use crate::repo::short;
use crate::repo::stats::RepoStats;
use crate::repo::{CheckOptions, CheckReport, ReadData, Repository};

/// Runs a verb on a repository.
pub async fn run(args: RepoArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let definition = ctx.repository(&args.repository)?;
    match args.command {
        RepoCommand::Init {
            like,
            like_password_file,
        } => {
            let like = like
                .map(|url| other(&url, like_password_file, &definition, ctx))
                .transpose()?;
            init(&definition, like.as_ref(), ctx).await
        }
        RepoCommand::Prune(args) => upkeep::prune(&definition, args, ctx).await,
        RepoCommand::Copy(args) => upkeep::copy(&definition, args, ctx).await,
        RepoCommand::Trash { command } => upkeep::trash(&definition, command, ctx).await,
        RepoCommand::Check {
            read_data,
            read_data_subset,
        } => {
            let read = if read_data {
                ReadData::All
            } else {
                subset(read_data_subset.as_deref())?
            };
            check(&definition, read, ctx).await
        }
        RepoCommand::Stats => {
            let repo = open(&definition, ctx).await?;
            let stats = repo
                .stats()
                .await
                .map_err(|error| of_repo("the repository cannot be measured", &error))?;
            ctx.print(&stats)?;
            Ok(Exit::Done)
        }
        RepoCommand::Unlock { all } => {
            ctx.may_change("remove locks")?;
            let repo = open(&definition, ctx).await?;
            let removed = repo
                .unlock(all)
                .await
                .map_err(|error| of_repo("locks cannot be removed", &error))?;
            ctx.print(&Unlocked {
                removed: removed as u64,
            })?;
            Ok(Exit::Done)
        }
        RepoCommand::Key { command } => keys(&definition, command, ctx).await,
    }
}

/// A repository that was made.
#[derive(Debug, Serialize)]
struct Made {
    repository: String,
    url: String,
    version: u32,
}

impl Render for Made {
    fn text(&self, out: &mut Text) {
        out.line(format!(
            "repository {} made at {}",
            &self.repository[..8.min(self.repository.len())],
            self.url
        ));
        out.line("keep a copy of the password somewhere else: without it nothing in the repository can be read");
    }
}

async fn init(
    definition: &RepositoryDefinition,
    like: Option<&RepositoryDefinition>,
    ctx: &Ctx,
) -> Result<Exit, CliError> {
    ctx.may_change("make a repository")?;
    let (store, password) = reach(definition, &ctx.clock).await?;
    let clock = ctx.clock.clone();
    let made = match like {
        Some(like) => Repository::init_like(store, &open(like, ctx).await?, &password, clock).await,
        None => Repository::init(store, &password, clock).await,
    };
    let repo = made.map_err(|error| of_repo(format!("no repository was made at {}", definition.url), &error))?;
    ctx.print(&Made {
        repository: repo.id().to_owned(),
        url: definition.url.clone(),
        version: repo.version(),
    })?;
    Ok(Exit::Done)
}

/// Reads `3/7`, `5%` or `500M`.
fn subset(text: Option<&str>) -> Result<ReadData, CliError> {
    let Some(text) = text else { return Ok(ReadData::None) };
    let wrong =
        || CliError::usage(format!("\"{text}\" is no part of the data")).hint("write for example 1/7, 5% or 500M");
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
        return if percent > 0.0 && percent <= 100.0 {
            Ok(ReadData::Percent(percent))
        } else {
            Err(wrong())
        };
    }
    let Some((part, of)) = text.split_once('/') else {
        // A number alone is more likely a part that was meant than so many bytes.
        let has_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
        let size = bytes(text).ok().filter(|size| has_unit && *size > 0);
        return size.map(ReadData::Bytes).ok_or_else(wrong);
    };
    let (part, of) = (part.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
    if part == 0 || part > of {
        Err(wrong())
    } else {
        Ok(ReadData::Part { part, of })
    }
}

impl Render for CheckReport {
    fn text(&self, out: &mut Text) {
        out.field("snapshots", self.snapshots.to_string());
        out.field("packs", format!("{}, {} of them read", self.packs, self.packs_read));
        out.field(
            "blobs",
            format!(
                "{}, {} of them read: {}",
                self.blobs,
                self.blobs_read,
                Bytes(self.bytes_read)
            ),
        );
        for note in &self.notes {
            out.line(format!("note: {note}"));
        }
        for problem in &self.errors {
            out.painted(
                Paint::Bad,
                format!("{} {}: {}", problem.kind, problem.file, problem.message),
            );
            if !problem.snapshots.is_empty() {
                out.line(format!("  needed by {}", problem.snapshots.join(" ")));
            }
        }
        if self.is_sound() {
            out.painted(Paint::Good, "sound: nothing is wrong");
        } else {
            out.painted(Paint::Bad, format!("DAMAGED: {} problems", self.errors.len()));
            out.line("take a new backup now, into another repository if this disk is failing; keep this one as it is");
        }
    }
}

async fn check(definition: &RepositoryDefinition, read_data: ReadData, ctx: &Ctx) -> Result<Exit, CliError> {
    let repo = open(definition, ctx).await?;
    let options = CheckOptions {
        read_data,
        snapshot: None,
    };
    let report = drive(
        ctx,
        "checking",
        "the repository cannot be checked",
        async |progress, cancel| repo.check(options, progress, cancel).await,
    );
    let report = report.await?;
    ctx.print(&report)?;
    Ok(if report.is_sound() { Exit::Done } else { Exit::Failed })
}

impl Render for RepoStats {
    fn text(&self, out: &mut Text) {
        out.field("snapshots", self.snapshots.to_string());
        out.field("packs", self.packs.to_string());
        out.field("blobs", self.blobs.to_string());
        out.field("stored", Bytes(self.bytes_stored).to_string());
        out.field("uncompressed", Bytes(self.bytes_plain).to_string());
        if let Some(room) = self.room {
            out.field("room", room.to_string());
        }
        if self.bytes_foreign > 0 {
            let names: Vec<&str> = self.foreign.iter().map(|one| one.name.as_str()).collect();
            let what = format!("{}: {}", Bytes(self.bytes_foreign), names.join(", "));
            out.field("not its own", what);
        }
    }
}

/// Locks that were removed.
#[derive(Debug, Serialize)]
struct Unlocked {
    removed: u64,
}

impl Render for Unlocked {
    fn text(&self, out: &mut Text) {
        match self.removed {
            0 => out.line("no lock to remove; those of living processes stay (--all removes them too)"),
            1 => out.line("1 lock removed"),
            more => out.line(format!("{more} locks removed")),
        }
    }
}

impl Row for KeyInfo {
    const COLUMNS: &'static [Column] = &[
        Column::left("KEY"),
        Column::left("USED"),
        Column::cut("MADE BY"),
        Column::left("MADE"),
    ];
    const EMPTY: &'static str = "no key";

    fn cells(&self, _style: &Style) -> Vec<String> {
        vec![
            short(&self.id).to_owned(),
            if self.current { "now" } else { "" }.to_owned(),
            format!("{}@{}", self.username, self.hostname),
            self.created.get(..19).unwrap_or(&self.created).replace('T', " "),
        ]
    }
}

/// A key that was added or removed.
#[derive(Debug, Serialize)]
struct KeyChanged {
    key: String,
    done: &'static str,
}

impl Render for KeyChanged {
    fn text(&self, out: &mut Text) {
        out.line(format!("key {} {}", short(&self.key), self.done));
    }
}

async fn new_password(file: std::path::PathBuf) -> Result<SecretString, CliError> {
    let password = secret::resolve(&SecretRef::File(file)).await;
    password.map_err(|error| {
        CliError::usage("the new password cannot be read")
            .why(&error)
            .maybe_hint(error.hint())
    })
}

async fn keys(definition: &RepositoryDefinition, command: KeyCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    if !matches!(command, KeyCommand::List) {
        ctx.may_change("change keys")?;
    }
    let repo = open(definition, ctx).await?;
    match command {
        KeyCommand::List => {
            let keys = repo
                .keys()
                .await
                .map_err(|error| of_repo("the keys cannot be listed", &error))?;
            ctx.print(&Listing(keys))?;
        }
        KeyCommand::Password { new_password_file } => {
            let password = new_password(new_password_file).await?;
            let renewed = repo.change_password(&password).await;
            let renewed = renewed.map_err(|error| of_repo("the password was not replaced", &error))?;
            ctx.print(&KeyChanged {
                key: renewed.current_key().to_owned(),
                done: "opens the repository now; the password before does not any more",
            })?;
        }
        KeyCommand::Add { new_password_file } => {
            let password = new_password(new_password_file).await?;
            let key = repo
                .add_key(&password)
                .await
                .map_err(|error| of_repo("no key was added", &error))?;
            ctx.print(&KeyChanged { key, done: "added" })?;
        }
        KeyCommand::Remove { id } => {
            let key = repo
                .remove_key(&id)
                .await
                .map_err(|error| of_repo("no key was removed", &error))?;
            ctx.print(&KeyChanged { key, done: "removed" })?;
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_data_are_read() {
        assert_eq!(subset(Some("3/7")).unwrap(), ReadData::Part { part: 3, of: 7 });
        assert_eq!(subset(Some("5%")).unwrap(), ReadData::Percent(5.0));
        assert_eq!(subset(Some("500M")).unwrap(), ReadData::Bytes(500 << 20));
        for bad in ["0/7", "8/7", "7", "0%", "101%", "x/y", "%"] {
            assert!(subset(Some(bad)).is_err(), "{bad}");
        }
    }
}
