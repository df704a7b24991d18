//! What a recovery is about: the repository, the cluster, its base backups and its log.

use std::path::PathBuf;

use super::of_recovery;
use crate::cli::args::{RecoverArgs, RepositoryArgs};
use crate::cli::context::Ctx;
use crate::cli::direct;
use crate::cli::error::CliError;
use crate::cli::moment::moment;
use crate::domain::Timestamp;
use crate::domain::id::SourceName;
use crate::domain::pitr::{Plan, Target, Wish};
use crate::domain::source::SourceKind;
use crate::domain::wal::{Lsn, SystemId};
use crate::source::postgres::recovery::{self, Known, bases};
use crate::source::postgres::wal::WalArchive;

/// What a recovery is about.
#[derive(Debug)]
pub(super) struct Subject {
    /// How it is called.
    pub(super) title: String,
    /// The repository, as it was found.
    pub(super) repository: String,
    /// The archive of the cluster's log.
    pub(super) archive: WalArchive,
    /// What can be recovered.
    pub(super) known: Known,
    /// Where the server's programs are, by the configuration.
    pub(super) bin_dir: Option<PathBuf>,
    role: Option<String>,
}

impl Subject {
    /// Opens the repository and reads what there is.
    pub(super) async fn open(args: &RecoverArgs, ctx: &Ctx) -> Result<Self, CliError> {
        Self::open_as(args.repository.clone(), args.source.as_deref(), args.system, ctx).await
    }

    /// The same for what an earlier call has noted.
    pub(super) async fn open_as(
        mut repository: RepositoryArgs,
        source: Option<&str>,
        system: Option<SystemId>,
        ctx: &Ctx,
    ) -> Result<Self, CliError> {
        let (mut role, mut bin_dir) = (None, None);
        if let Some(name) = source
            && let Ok(config) = ctx.config()
        {
            let name = SourceName::from(name);
            let definitions = &config.definitions;
            match definitions.sources.get(&name).map(|source| &source.kind) {
                Some(SourceKind::PostgresPhysical(cluster)) => {
                    role = Some(cluster.connection.user.clone());
                    bin_dir.clone_from(&cluster.connection.bin_dir);
                }
                Some(_) => {
                    return Err(CliError::usage(format!("source {name} is not a cluster of PostgreSQL"))
                        .hint("only sources of the kind postgres-physical can be recovered to a point in time"));
                }
                None if repository.repository.is_none() => {
                    return Err(CliError::usage(format!("the configuration has no source {name}")));
                }
                None => {}
            }
            if repository.repository.is_none() {
                repository.repository = Some(repository_of(definitions, &name)?);
            }
        }
        let definition = ctx.repository(&repository)?;
        let repo = direct::open(&definition, ctx).await?;
        let name = source.map(SourceName::from);
        let found = bases(&repo, name.as_ref(), system).await;
        let found = found.map_err(|error| of_recovery("the snapshots cannot be listed", &error.into()))?;
        for unreadable in &found.unreadable {
            ctx.out.remark(&format!("not counted: {unreadable}"));
        }
        let system = match system {
            Some(system) => system,
            None => only_system(&found.found, source)?,
        };
        let archive = WalArchive::new(repo, system);
        let known = Known::of(found.found, &archive).await;
        let known = known.map_err(|error| of_recovery("the archive cannot be read", &error))?;
        Ok(Self {
            title: source.map_or_else(|| format!("cluster {system}"), str::to_owned),
            repository: repository.repository.unwrap_or(definition.url),
            archive,
            known,
            bin_dir,
            role,
        })
    }

    /// Plans; a refusal says what can be had instead.
    pub(super) async fn plan(&self, wish: &Wish) -> Result<Plan, CliError> {
        let planned = self.known.plan(wish, &self.archive).await;
        planned.map_err(|error| of_recovery(format!("{} cannot be recovered to {}", self.title, wish.target), &error))
    }

    /// Roles to log in with, the likeliest first.
    pub(super) fn roles(&self, given: Option<&str>) -> Vec<String> {
        recovery::order::roles(given, self.role.as_deref())
    }
}

fn repository_of(definitions: &crate::domain::job::Definitions, source: &SourceName) -> Result<String, CliError> {
    let of_source = definitions.jobs.values().filter(|job| &job.source == source);
    let mut names: Vec<String> = of_source.map(|job| job.repository.to_string()).collect();
    names.sort();
    names.dedup();
    match names.as_slice() {
        [only] => Ok(only.clone()),
        [] => {
            Err(CliError::usage(format!("no job backs up source {source}"))
                .hint("say where it is with --repository NAME"))
        }
        _ => Err(CliError::usage(format!("source {source} is in several repositories"))
            .why(names.join(", "))
            .hint("say which with --repository NAME")),
    }
}

fn only_system(bases: &[crate::domain::pitr::Base], source: Option<&str>) -> Result<SystemId, CliError> {
    let mut systems: Vec<SystemId> = bases.iter().map(|base| base.facts.system).collect();
    systems.sort_unstable();
    systems.dedup();
    match systems.as_slice() {
        [only] => Ok(*only),
        [] => {
            let whose = source.map(|name| format!(" of source {name}")).unwrap_or_default();
            Err(CliError::refused(format!("the repository holds no base backup{whose}"))
                .hint("take one: a job whose source is of the kind postgres-physical"))
        }
        several => Err(CliError::usage("the repository holds several clusters")
            .why(several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            .hint("say which with --system ID")),
    }
}

/// What was asked for; none when no point was given.
pub(super) fn wish(args: &RecoverArgs, now: Timestamp) -> Result<Option<Wish>, CliError> {
    let target = if args.latest {
        Target::Latest
    } else if args.immediate {
        Target::Immediate
    } else if let Some(target) = point(
        args.to.as_deref(),
        args.to_lsn,
        args.to_xid,
        args.to_name.as_deref(),
        now,
    )? {
        target
    } else {
        return Ok(None);
    };
    Ok(Some(Wish {
        target,
        inclusive: !args.exclusive,
        timeline: args.timeline,
        base: args.base.as_deref().map(Into::into),
    }))
}

/// Where recovery ends, by whichever of the options was given.
pub(in crate::cli) fn point(
    to: Option<&str>,
    lsn: Option<Lsn>,
    xid: Option<u64>,
    name: Option<&str>,
    now: Timestamp,
) -> Result<Option<Target>, CliError> {
    let time = to.map(|text| instant(text, now)).transpose()?.map(Target::Time);
    let other = || lsn.map(Target::Lsn).or(xid.map(Target::Xid));
    Ok(time
        .or_else(other)
        .or_else(|| name.map(|name| Target::Name(name.to_owned()))))
}

/// Reads a time as people and PostgreSQL write it: with an offset, a time zone by name, or in UTC.
pub(in crate::cli) fn instant(text: &str, now: Timestamp) -> Result<Timestamp, CliError> {
    moment(text, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_zone() {
        let now: Timestamp = "2026-03-10T12:00:00Z".parse().unwrap();
        let read = |text| instant(text, now).map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
        assert_eq!(
            read("2026-03-01 14:30:00.25+00").unwrap(),
            "2026-03-01T14:30:00.250000Z"
        );
        assert_eq!(
            read("2026-03-01 14:30:00+05:30").unwrap(),
            "2026-03-01T09:00:00.000000Z"
        );
        assert_eq!(
            read("2026-03-01 14:30:00.123456").unwrap(),
            "2026-03-01T14:30:00.123456Z"
        );
        assert_eq!(
            read("2026-07-01 14:30 Europe/Berlin").unwrap(),
            "2026-07-01T12:30:00.000000Z"
        );
        assert_eq!(read("10m").unwrap(), "2026-03-10T11:50:00.000000Z");
        for bad in [
            "2026-10-25 02:30 Europe/Berlin",
            "2026-03-29 02:30 Europe/Berlin",
            "then",
            "+00",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
