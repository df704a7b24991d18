//! A recovering server, started and watched.
//!
//! Everything it is told is on its command line: nothing is written into the copy but the empty file that says "recover",
//! which PostgreSQL removes itself when it opens. So a copy that was opened is as clean as the one that was backed up.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::door::{Asked, Door};
use super::error::{RecoveryError, explain};
use super::look::{Looked, Looker};
use super::settings::{configure, follows};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::pitr::{Plan, Target};
use crate::domain::units::{Bytes, Millis};
use crate::domain::wal::{Lsn, TimelineId};
use crate::source::postgres::server::{Launch, PrivateServer, Programs, RunAs, ServerError, log_path, sockets};
use crate::source::postgres::wal::WalArchive;

/// How often the server is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often it is started again because the log has raised a limit.
const RAISES: usize = 4;
/// How often one file is asked for in vain before the end of the log is believed.
const END_ASKED: u32 = 3;

/// What to do when the target is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Stay there, so that somebody can look.
    Pause,
    /// Open the server for writing, on a timeline of its own.
    Open,
}

/// A laid-down copy about to be replayed.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Where to.
    pub plan: Plan,
    /// What then.
    pub then: Then,
    /// The copy.
    pub data: PathBuf,
    /// Our own directory beside it.
    pub home: PathBuf,
    /// This program, as the server's user can run it.
    pub program: PathBuf,
    /// Where the server's programs are; found by version when absent.
    pub bin_dir: Option<PathBuf>,
    /// Roles to try, the likeliest first.
    pub roles: Vec<String>,
    /// Further settings, `name=value`.
    pub settings: Vec<String>,
}

/// Where a recovering server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does not answer yet.
    Starting,
    /// It replays.
    Replaying,
    /// It has reached the target and stays there.
    Paused,
    /// It is open for writing.
    Open,
}

/// What was seen of a recovering server.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Seen {
    /// Where it stands.
    pub standing: Standing,
    /// What was replayed.
    pub lsn: Option<Lsn>,
    /// When the newest replayed transaction was completed.
    pub last_commit: Option<Timestamp>,
    /// How much was replayed.
    pub done: Bytes,
    /// How much there is.
    pub total: Bytes,
    /// How much in a second.
    pub rate: Bytes,
    /// How long it may still take.
    pub eta: Option<Millis>,
}

/// A server that got where it should.
#[derive(Debug)]
pub struct Replayed {
    /// The server.
    pub server: PrivateServer,
    /// What was seen last.
    pub seen: Seen,
    /// The timeline it is on.
    pub timeline: TimelineId,
    /// How long it took.
    pub took: Millis,
}

/// Starts a server on a copy and returns when it has reached the target: paused there, or open.
///
/// An error leaves no server; the copy stays, and the same call goes on where it ended.
pub async fn replay(
    replay: &Replay,
    archive: &WalArchive,
    clock: &Clock,
    cancel: &CancellationToken,
    tell: &(dyn Fn(&Seen) + Sync),
) -> Result<Replayed, RecoveryError> {
    let begun = clock.monotonic();
    let mut raised = 0;
    loop {
        let mut watch = Watch::begin(replay, archive, clock).await?;
        match watch.until_there(replay, cancel, tell).await {
            Ok(seen) => {
                let timeline = watch.looker.timeline(&watch.server).await;
                watch.looker.end().await;
                return Ok(Replayed {
                    server: watch.server,
                    seen,
                    timeline: timeline.unwrap_or(replay.plan.timeline),
                    took: Millis::from(clock.elapsed(begun)),
                });
            }
            // The control file has the new limits now.
            Err(Stop::Raised) if raised < RAISES => raised += 1,
            Err(Stop::Raised) => return Err(explain(&watch.log(), &replay.plan.target, None)),
            Err(Stop::Failed(error)) => return Err(error),
        }
        stop(watch.server).await?;
    }
}

/// Opens a server that is paused, and returns when it takes writes.
pub async fn promote(
    mut server: PrivateServer,
    home: &Path,
    archive: &WalArchive,
    clock: &Clock,
    cancel: &CancellationToken,
) -> Result<Replayed, RecoveryError> {
    let begun = clock.monotonic();
    let door = Door::open(&sockets(home), archive.clone()).await?;
    let signal = server.data().join("promote");
    fs::write(&signal, "").map_err(|error| RecoveryError::local("write", &signal, &error))?;
    server.signal(nix::sys::signal::Signal::SIGUSR1);
    let mut looker = Looker::new(clock);
    loop {
        if server.has_ended() {
            return Err(explain(&super::log_end(home), &Target::Latest, door.asked().failed));
        }
        let looked = looker.look(&server).await?;
        if let Some(looked) = looked.filter(|looked| !looked.recovering) {
            let timeline = looker.timeline(&server).await.unwrap_or(TimelineId(0));
            looker.end().await;
            let seen = Seen {
                standing: Standing::Open,
                lsn: looked.lsn,
                last_commit: looked.last_commit,
                done: Bytes(0),
                total: Bytes(0),
                rate: Bytes(0),
                eta: None,
            };
            let took = Millis::from(clock.elapsed(begun));
            return Ok(Replayed {
                server,
                seen,
                timeline,
                took,
            });
        }
        pause(clock, cancel).await?;
    }
}

/// Stops a server in good order, off the runtime.
pub async fn stop(mut server: PrivateServer) -> Result<(), RecoveryError> {
    let stopping = tokio::task::spawn_blocking(move || server.stop_within(Duration::from_secs(300)));
    stopping.await.map_err(|_| RecoveryError::cancelled())
}

async fn pause(clock: &Clock, cancel: &CancellationToken) -> Result<(), RecoveryError> {
    tokio::select! {
        () = cancel.cancelled() => Err(RecoveryError::cancelled()),
        () = clock.sleep(LOOK_EVERY) => Ok(()),
    }
}

enum Stop {
    /// The log has raised a limit of the server.
    Raised,
    Failed(RecoveryError),
}

impl From<RecoveryError> for Stop {
    fn from(error: RecoveryError) -> Self {
        Self::Failed(error)
    }
}

/// Watches one server.
struct Watch {
    server: PrivateServer,
    door: Door,
    looker: Looker,
    home: PathBuf,
    log_from: u64,
    clock: Clock,
    rate: f64,
    last: Option<(std::time::Instant, Lsn)>,
    untried: Vec<String>,
    tried: Vec<String>,
    named: bool,
}

impl Watch {
    async fn begin(replay: &Replay, archive: &WalArchive, clock: &Clock) -> Result<Self, RecoveryError> {
        let data = replay.data.clone();
        let read = tokio::task::spawn_blocking(move || super::roles::first_role(&data)).await;
        let mut roles = read.unwrap_or_default();
        roles.extend(replay.roles.iter().cloned());
        roles.reverse();
        let role = roles.pop().unwrap_or_else(|| "postgres".to_owned());
        let (data, bin_dir) = (replay.data.clone(), replay.bin_dir.clone());
        let found = tokio::task::spawn_blocking(move || {
            let programs = Programs::for_data(&data, bin_dir.as_deref())?;
            // What root has laid down for itself no server may run on.
            match RunAs::for_data(&data)? {
                Some(user) if !user.owns(&data) => user.give_cluster(&data)?,
                _ => {}
            }
            Ok::<_, ServerError>(programs)
        });
        let programs = found.await.map_err(|_| RecoveryError::cancelled())??;
        let launch = Launch::of_copy(&replay.data, &replay.home, programs.clone(), &role)?;
        let directory = launch.prepare_sockets()?;
        let door = Door::open(&directory, archive.clone()).await?;
        let (order, place) = (replay.clone(), door.path().to_owned());
        let configured = tokio::task::spawn_blocking(move || configure(launch, &order, &programs, &place));
        let launch = configured.await.map_err(|_| RecoveryError::cancelled())??;
        let log_from = fs::metadata(log_path(&replay.home)).map_or(0, |meta| meta.len());
        Ok(Self {
            server: PrivateServer::spawn(launch, clock)?,
            door,
            looker: Looker::new(clock),
            home: replay.home.clone(),
            log_from,
            clock: clock.clone(),
            rate: 0.0,
            last: None,
            untried: roles,
            tried: vec![role],
            named: false,
        })
    }

    /// What the server has said since it was started.
    fn log(&self) -> String {
        let whole = fs::metadata(log_path(&self.home)).map_or(0, |meta| meta.len());
        let text = super::log_end(&self.home);
        let own = usize::try_from(whole.saturating_sub(self.log_from)).unwrap_or(usize::MAX);
        let cut = text.len().saturating_sub(own);
        let cut = (cut..=text.len()).find(|cut| text.is_char_boundary(*cut)).unwrap_or(0);
        text[cut..].to_owned()
    }

    async fn until_there(
        &mut self,
        replay: &Replay,
        cancel: &CancellationToken,
        tell: &(dyn Fn(&Seen) + Sync),
    ) -> Result<Seen, Stop> {
        loop {
            if self.server.has_ended() {
                let log = self.log();
                if log.contains("insufficient parameter settings") {
                    return Err(Stop::Raised);
                }
                return Err(explain(&log, &replay.plan.target, self.door.asked().failed).into());
            }
            let looked = self.look().await?;
            let seen = self.seen(replay, looked.as_ref());
            tell(&seen);
            match seen.standing {
                Standing::Paused if self.log().contains("insufficient parameter settings") => return Err(Stop::Raised),
                Standing::Paused if replay.then == Then::Pause => return Ok(seen),
                Standing::Open => return Ok(seen),
                _ => {}
            }
            if follows(replay) && self.is_at_end(looked.as_ref()) {
                let standing = Standing::Paused;
                return Ok(Seen { standing, ..seen });
            }
            pause(&self.clock, cancel).await?;
        }
    }

    /// Whether a server that waits for more has everything there is.
    fn is_at_end(&self, looked: Option<&Looked>) -> bool {
        let asked: Asked = self.door.asked();
        looked.is_some_and(|looked| looked.recovering && looked.lsn.is_some()) && asked.times >= END_ASKED
    }

    /// Looks at the server; none while it does not answer.
    async fn look(&mut self) -> Result<Option<Looked>, RecoveryError> {
        let Ok(looked) = self.looker.look(&self.server).await else {
            let Some(next) = self.untried.pop() else {
                let tried = self.tried.clone();
                return Err(RecoveryError::NoRole { tried });
            };
            self.server.set_role(&next)?;
            self.tried.push(next);
            return Ok(None);
        };
        if looked.is_some()
            && !self.named
            && let Ok(Some(session)) = self.looker.session(&self.server).await
        {
            // The role that was there first may do everything, whatever it is called.
            let sql = "select rolname::text from pg_catalog.pg_roles where oid = 10";
            if let Ok(rows) = session.rows("find the superuser", sql, &[]).await
                && let Some(row) = rows.first()
            {
                self.server.set_role(&row.get::<_, String>(0))?;
                self.named = true;
            }
        }
        Ok(looked)
    }

    fn seen(&mut self, replay: &Replay, looked: Option<&Looked>) -> Seen {
        let given = || {
            let name = self.door.asked().given?;
            name.start(replay.plan.segment_size)
        };
        let lsn = looked.and_then(|looked| looked.lsn).or_else(given);
        let now = self.clock.monotonic();
        match (self.last, lsn) {
            (Some((then, before)), Some(lsn)) if lsn > before => {
                let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
                let fresh = lsn.since(before) as f64 / seconds;
                self.rate = if self.rate > 0.0 {
                    self.rate.mul_add(0.8, fresh * 0.2)
                } else {
                    fresh
                };
                self.last = Some((now, lsn));
            }
            (None, Some(lsn)) => self.last = Some((now, lsn)),
            _ => {}
        }
        let total = replay.plan.replay.0;
        let done = lsn.map_or(0, |lsn| lsn.since(replay.plan.from).min(total));
        let standing = match looked {
            None => Standing::Starting,
            Some(looked) if !looked.recovering => Standing::Open,
            Some(looked) if looked.paused => Standing::Paused,
            Some(_) => Standing::Replaying,
        };
        let left = (total - done) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, and not negative"
        )]
        let eta = (self.rate > 1.0).then(|| Millis((left / self.rate * 1000.0) as u64));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, and not negative"
        )]
        let rate = Bytes(self.rate as u64);
        Seen {
            standing,
            lsn,
            last_commit: looked.and_then(|looked| looked.last_commit),
            done: Bytes(done),
            total: Bytes(total),
            rate,
            eta,
        }
    }
}
