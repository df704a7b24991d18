//! Making a member follow the primary: by `pg_rewind`, which copies what differs, or by `pg_basebackup`, which copies all.
//!
//! **Rewind** overwrites the directory in place. Killed in the middle, it leaves a directory nobody can trust; the note says so,
//! and only a clone is allowed then. The member's own settings are put aside before (`….lifeboat-own`: `pg_rewind` overwrites
//! them with the primary's) and put back after, by the clone that follows a rewind that was killed, too.
//!
//! **Clone** never touches the old directory until the new one is whole: it is built beside it (`….lifeboat-new`), the old one
//! is renamed (`….lifeboat-old-TIME`), the new one takes its name. Killed before, the old directory is as it was; killed
//! between the two renames, both are there under those names, and cloning again goes on from there (see `place`). The old one is
//! deleted only when that was asked for, and not before the new one streams.
//!
//! Neither begins while a start that somebody asked for before is still under way: its server would end up on a directory that
//! has got another name, and keep the port of the one that belongs there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::follow::{OwnSettings, make_standby};
use super::place::{Place, building};
use super::{ClusterError, ClusterHandle, Tell, command, leftover, local};
use crate::domain::cluster::record::{RebuildKind, RebuildNote};
use crate::domain::cluster::{LocalState, RebuildPlan, rebuild};
use crate::domain::id::MemberName;
use crate::source::SourceError;
use crate::source::postgres::child::{Program, Running, in_quotes};
use crate::source::postgres::process::{Occupant, at_work_on, server_on};
use crate::source::postgres::tools::Tools;

/// How long a start that somebody else asked for may take until its server has taken its directory.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// A member that follows the primary.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// Which.
    pub member: MemberName,
    /// Who it follows.
    pub primary: MemberName,
    /// Whether it was started and streams; else it has to be started by hand.
    pub streams: bool,
    /// Where its old directory is, when it was kept.
    pub kept: Option<PathBuf>,
}

impl ClusterHandle {
    /// Decides about a rewind or a clone as things are now.
    pub async fn plan_rebuild(
        &self,
        member: &MemberName,
        kind: RebuildKind,
        stop: bool,
    ) -> Result<RebuildPlan, ClusterError> {
        let (seen, record) = (self.look().await, self.record()?);
        rebuild::rebuild(&self.cluster, &seen, &record, member, kind, stop).map_err(ClusterError::Refused)
    }

    /// Rewinds or clones a member and has it follow the primary.
    pub async fn rebuild(
        &self,
        member: &MemberName,
        kind: RebuildKind,
        stop: bool,
        discard: bool,
        timeout: Duration,
        tell: Tell<'_>,
    ) -> Result<Rebuilt, ClusterError> {
        let lock = self.ledger.lock()?;
        let begun = self.record()?.rebuild.is_some_and(|note| note.member == *member);
        if let Some(directory) = &self.member(member)?.data_directory {
            // While one that nobody waits for is at work or ending, what is seen of the directory says nothing.
            if begun {
                self.end_leftovers(directory, tell).await?;
            }
            self.no_start_under_way(directory, tell).await?;
        }
        let mut plan = self.plan_rebuild(member, kind, stop).await?;
        let major = self.tools_fit(&plan).await?;
        if plan.stops {
            plan = self.stopped(&plan, kind, tell).await?;
        }
        self.end_leftovers(&plan.directory, tell).await?;
        let note = RebuildNote {
            member: member.clone(),
            kind,
            by: self.by.clone(),
            begun: self.clock.now(),
        };
        self.ensure_slot(self.member(member)?, &plan.primary).await?;
        let kept = match kind {
            RebuildKind::Rewind => {
                // Until then the primary's control file names the timeline of before its promotion, and the two look alike.
                let session = self.session(&plan.primary).await?;
                session.execute("write a checkpoint", "checkpoint").await?;
                // Whatever fails before the first byte is written leaves the directory as it was: a try-out finds that. It
                // cannot be had after a crash, because the server has to recover first, and that is writing.
                if plan.clean {
                    self.rewind(&plan, &major, true, tell).await?;
                }
                let place = plan.directory.clone();
                blocking(move || OwnSettings::read(&place)?.keep(&place)).await?;
                self.ledger.note(&lock, |record| record.rebuild = Some(note))?;
                self.rewind(&plan, &major, false, tell).await?;
                None
            }
            RebuildKind::Reclone => {
                self.ledger.note(&lock, |record| record.rebuild = Some(note))?;
                self.reclone(&plan, &major, begun, tell).await?
            }
        };
        // It is a standby from here on, whoever starts it; what was noted of it as a primary is over.
        self.ledger.note(&lock, |record| record.rebuilt(member))?;
        let place = plan.directory.clone();
        blocking(move || OwnSettings::forget(&place)).await?;
        let streams = self.start(&plan, timeout, tell).await?;
        let mut rebuilt = Rebuilt {
            member: member.clone(),
            primary: plan.primary.clone(),
            streams,
            kept,
        };
        if let Some(old) = rebuilt.kept.clone().filter(|_| discard && streams) {
            tell(&format!("removing {}", old.display()));
            let place = old.clone();
            let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(&place)).await;
            removed
                .unwrap_or_else(|error| Err(std::io::Error::other(error)))
                .map_err(|error| ClusterError::local("remove", &old, &error))?;
            rebuilt.kept = None;
        }
        Ok(rebuilt)
    }

    /// Ends what a process of ours that was killed has left at work on a directory.
    async fn end_leftovers(&self, directory: &Path, tell: Tell<'_>) -> Result<(), ClusterError> {
        let rewinding = leftover::argument("--target-pgdata", directory);
        let cloning = leftover::argument("--pgdata", &building(directory));
        for word in [rewinding, cloning] {
            leftover::end(&word, &self.clock, tell).await?;
        }
        Ok(())
    }

    /// Waits until nothing is about to start or stop a server on a directory. A server that runs is another matter: it is seen,
    /// and stopped by its own command.
    async fn no_start_under_way(&self, directory: &Path, tell: Tell<'_>) -> Result<(), ClusterError> {
        let begun = self.clock.monotonic();
        let mut told = false;
        while server_on(directory) == Occupant::Nobody {
            let Some(pid) = at_work_on(directory).first().copied() else {
                return Ok(());
            };
            if self.clock.elapsed(begun) > START_PATIENCE {
                return Err(ClusterError::NotProved {
                    what: format!("nobody can tell what becomes of {}", directory.display()),
                    why: format!("process {pid} is at work on it, and no server has taken it"),
                    next: "wait for that process, or end it".to_owned(),
                });
            }
            if !std::mem::replace(&mut told, true) {
                tell(&format!(
                    "process {pid} is at work on {}: waiting for it",
                    directory.display()
                ));
            }
            self.clock.sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The programs of exactly the primary's version: others refuse the directory, or worse.
    async fn tools_fit(&self, plan: &RebuildPlan) -> Result<Tools, ClusterError> {
        let program = match plan.kind {
            RebuildKind::Rewind => "pg_rewind",
            RebuildKind::Reclone => "pg_basebackup",
        };
        let configured = self.member(&plan.member)?.connection.bin_dir.as_deref();
        let tools = Tools::find(program, configured, plan.major, 0, &self.clock).await?;
        if tools.major != plan.major {
            return Err(SourceError::NoClientTool {
                program,
                major: plan.major,
                found: format!("{} is version {}", tools.program(program).display(), tools.version),
            }
            .into());
        }
        Ok(tools)
    }

    /// Stops a member by its service and looks again.
    async fn stopped(
        &self,
        plan: &RebuildPlan,
        kind: RebuildKind,
        tell: Tell<'_>,
    ) -> Result<RebuildPlan, ClusterError> {
        let name = &plan.member;
        let member = self.member(name)?;
        if let Some(service) = &member.service {
            tell(&format!("stopping {name}"));
            command::run(self, &format!("the stop of {name}"), &service.stop, name).await?;
        }
        let now = local::look(member, &self.clock).await.map(|local| local.state);
        if let Some(LocalState::Running { pid }) = now {
            return Err(ClusterError::NotProved {
                what: format!("{name} was stopped and still runs"),
                why: format!("process {pid} has its directory"),
                next: "the stop command has to return when the server is down".to_owned(),
            });
        }
        self.plan_rebuild(name, kind, false).await
    }

    /// Runs `pg_rewind`; when it is only tried, nothing is changed.
    async fn rewind(
        &self,
        plan: &RebuildPlan,
        tools: &Tools,
        only_try: bool,
        tell: Tell<'_>,
    ) -> Result<(), ClusterError> {
        let member = self.member(&plan.member)?;
        let primary = self.login(&plan.primary)?;
        let directory = &plan.directory;
        let owner = local::owner(directory)?;
        let own = OwnSettings::read(directory)?;
        let database = &self.member(&plan.primary)?.database;
        let mut program = Program::new(
            "pg_rewind",
            &tools.program("pg_rewind"),
            directory.display().to_string(),
        )
        .arg(leftover::argument("--target-pgdata", directory))
        .arg("--source-server")
        .arg(source_server(&primary, database))
        .arg_if(only_try, "--dry-run")
        // A directory that was shut down in good order needs no server to be started on it, nor its settings found.
        .arg_if(plan.clean, "--no-ensure-shutdown")
        .of_user(owner);
        if let Some(file) = member.config_file.as_ref().filter(|_| plan.major >= 15) {
            program = program.arg("--config-file").arg(file);
        }
        if !only_try {
            tell(&format!("rewinding {} to {}", plan.member, plan.primary));
        }
        let mut running = program.start(Some(&primary))?;
        drop(running.take_stdout());
        let ended = self.ended(running).await;
        ended.map_err(|error| cannot_rewind(error, only_try))?;
        if only_try {
            return Ok(());
        }
        let (place, member, directory) = (directory.clone(), member.clone(), directory.clone());
        blocking(move || make_standby(&place, &directory, &member, &primary, &own, owner)).await
    }

    /// Clones the primary beside the directory of a member and puts the clone in its place; says where the old one is.
    async fn reclone(
        &self,
        plan: &RebuildPlan,
        tools: &Tools,
        begun: bool,
        tell: Tell<'_>,
    ) -> Result<Option<PathBuf>, ClusterError> {
        let member = self.member(&plan.member)?.clone();
        let primary = self.login(&plan.primary)?;
        let directory = plan.directory.clone();
        let stamp = self.clock.now().format("%Y%m%dT%H%M%SZ").to_string();
        let place = blocking(move || {
            let mut place = Place::prepare(&directory, &stamp)?;
            if let Some(kept) = OwnSettings::kept(&directory)?.filter(|_| begun) {
                place.own = Some(kept);
            }
            Ok(place)
        })
        .await?;
        tell(&format!("cloning {} into {}", plan.primary, place.building.display()));
        let mut program = Program::new(
            "pg_basebackup",
            &tools.program("pg_basebackup"),
            plan.primary.to_string(),
        )
        .arg(leftover::argument("--pgdata", &place.building))
        .arg("--format=plain")
        .arg("--wal-method=stream")
        .arg("--checkpoint=fast")
        .of_user(place.owner);
        if let Some(slot) = &member.slot {
            program = program.arg(format!("--slot={slot}"));
        }
        let mut running = program.connect(&primary, None).start(Some(&primary))?;
        drop(running.take_stdout());
        self.ended(running).await?;
        blocking(move || {
            let own = place.own.as_ref();
            let none = OwnSettings::none();
            make_standby(
                &place.building,
                &place.directory,
                &member,
                &primary,
                own.unwrap_or(&none),
                place.owner,
            )?;
            place.put_in()
        })
        .await
    }

    /// Waits for a child, and ends it when somebody cancels.
    async fn ended(&self, running: Running) -> Result<(), SourceError> {
        tokio::select! {
            biased;
            ended = running.finish() => ended,
            // Dropped means killed.
            () = self.cancel.cancelled() => Err(SourceError::Cancelled),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClusterError> + Send + 'static,
) -> Result<T, ClusterError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(ClusterError::NotProved {
            what: "the work broke off".to_owned(),
            why: error.to_string(),
            next: "look at lifeboat cluster status".to_owned(),
        })
    })
}

/// The connection string of `pg_rewind`, without a password.
fn source_server(login: &crate::source::postgres::Login, database: &str) -> String {
    let connection = &login.connection;
    format!(
        "host={} port={} user={} dbname={}",
        in_quotes(&connection.host),
        connection.port,
        in_quotes(&connection.user),
        in_quotes(database)
    )
}

fn cannot_rewind(error: SourceError, only_tried: bool) -> ClusterError {
    let SourceError::Child { stderr, .. } = &error else {
        return error.into();
    };
    let state = if only_tried {
        "nothing was changed"
    } else {
        "its directory cannot be trusted any more"
    };
    ClusterError::NotProved {
        what: format!("it cannot be rewound; {state}"),
        why: stderr.clone(),
        next: "clone it anew: lifeboat cluster reclone".to_owned(),
    }
}
