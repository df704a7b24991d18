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
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::pitr::{Plan, Target};
use crate::domain::units::{Bytes, Millis};
use crate::domain::wal::{Lsn, TimelineId};
use crate::source::SourceError;
use crate::source::postgres::connect::Session;
use crate::source::postgres::server::{Launch, PrivateServer, Programs, clean_command, log_path, sockets};
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
                let timeline = watch.timeline(replay.plan.timeline).await;
                return Ok(Replayed {
                    server: watch.server,
                    seen,
                    timeline,
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
    loop {
        if server.has_ended() {
            return Err(explain(&super::log_end(home), &Target::Latest, door.asked().failed));
        }
        let looked = look(&server, clock).await;
        if let Ok(looked) = looked.filter_open() {
            let timeline = timeline(&server, clock).await.unwrap_or(TimelineId(0));
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

/// One look at a server.
#[derive(Debug)]
struct Looked {
    recovering: bool,
    paused: bool,
    lsn: Option<Lsn>,
    last_commit: Option<Timestamp>,
}

trait FilterOpen {
    fn filter_open(self) -> Result<Looked, ()>;
}

impl FilterOpen for Result<Looked, SourceError> {
    fn filter_open(self) -> Result<Looked, ()> {
        self.map_err(drop)
            .and_then(|looked| if looked.recovering { Err(()) } else { Ok(looked) })
    }
}

async fn look(server: &PrivateServer, clock: &Clock) -> Result<Looked, SourceError> {
    let session = server.login().open_maintenance(None, clock).await?;
    look_in(&session, server.major()).await
}

async fn look_in(session: &Session, major: u32) -> Result<Looked, SourceError> {
    let paused = if major >= 14 {
        "pg_catalog.pg_get_wal_replay_pause_state() = 'paused'"
    } else {
        "pg_catalog.pg_is_wal_replay_paused()"
    };
    let sql = format!(
        "select r, case when r then {paused} else false end, pg_catalog.pg_last_wal_replay_lsn()::text,
                pg_catalog.to_char(pg_catalog.pg_last_xact_replay_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')
           from (select pg_catalog.pg_is_in_recovery() as r) as s"
    );
    let rows = session.rows("look at the recovery", &sql, &[]).await?;
    let row = rows.first().ok_or(SourceError::Cancelled)?;
    let text = |index: usize| row.get::<_, Option<String>>(index);
    Ok(Looked {
        recovering: row.get(0),
        paused: row.get(1),
        lsn: text(2).and_then(|text| text.parse().ok()),
        last_commit: text(3).and_then(|text| text.parse().ok()),
    })
}

async fn timeline(server: &PrivateServer, clock: &Clock) -> Option<TimelineId> {
    let sql = "select pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())";
    let session = server.login().open_maintenance(None, clock).await.ok()?;
    let rows = session.rows("read the timeline", sql, &[]).await.ok()?;
    TimelineId::from_hex(rows.first()?.get::<_, String>(0).get(..8)?)
}

/// Watches one server.
struct Watch {
    server: PrivateServer,
    door: Door,
    session: Option<Session>,
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
        let found = tokio::task::spawn_blocking(move || Programs::for_data(&data, bin_dir.as_deref()));
        let programs = found.await.map_err(|_| RecoveryError::cancelled())??;
        let launch = Launch::of_copy(&replay.data, &replay.home, programs.clone(), &role)?;
        let directory = launch.prepare_sockets()?;
        let door = Door::open(&directory, archive.clone()).await?;
        let launch = configure(launch, replay, &programs, door.path())?;
        let log_from = fs::metadata(log_path(&replay.home)).map_or(0, |meta| meta.len());
        Ok(Self {
            server: PrivateServer::spawn(launch, clock)?,
            door,
            session: None,
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
            if replay.then == Then::Pause && follows(replay) && self.is_at_end(looked.as_ref()) {
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
        if self.session.is_none() {
            match self.server.login().open_maintenance(None, &self.clock).await {
                Ok(session) => self.session = Some(session),
                Err(SourceError::Denied { .. } | SourceError::NoSuchDatabase { .. }) => {
                    let Some(next) = self.untried.pop() else {
                        let tried = self.tried.clone();
                        return Err(RecoveryError::NoRole { tried });
                    };
                    self.server.set_role(&next)?;
                    self.tried.push(next);
                }
                // Not yet; when it never does, the server says why and ends.
                Err(_) => {}
            }
        }
        let Some(session) = &self.session else { return Ok(None) };
        let Ok(looked) = look_in(session, self.server.major()).await else {
            self.session = None;
            return Ok(None);
        };
        if !self.named {
            // The role that was there first may do everything, whatever it is called.
            let sql = "select rolname::text from pg_catalog.pg_roles where oid = 10";
            if let Ok(rows) = session.rows("find the superuser", sql, &[]).await
                && let Some(row) = rows.first()
            {
                self.server.set_role(&row.get::<_, String>(0))?;
                self.named = true;
            }
        }
        Ok(Some(looked))
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

    async fn timeline(&self, otherwise: TimelineId) -> TimelineId {
        timeline(&self.server, &self.clock).await.unwrap_or(otherwise)
    }
}

/// Whether the server is to wait at the end of the log instead of opening there.
fn follows(replay: &Replay) -> bool {
    replay.then == Then::Pause && replay.plan.target == Target::Latest
}

/// Puts everything that recovery needs on the command line, and the signal into the copy.
fn configure(mut launch: Launch, replay: &Replay, programs: &Programs, door: &Path) -> Result<Launch, RecoveryError> {
    let (wanted, other) = if follows(replay) {
        ("standby.signal", "recovery.signal")
    } else {
        ("recovery.signal", "standby.signal")
    };
    let [wanted, other] = [wanted, other].map(|name| replay.data.join(name));
    fs::write(&wanted, "").map_err(|error| RecoveryError::local("write", &wanted, &error))?;
    if let Some(user) = launch.run_as() {
        user.give(&wanted)?;
    }
    match fs::remove_file(&other) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(RecoveryError::local("remove", &other, &error));
        }
        _ => {}
    }
    for (name, floor, label) in LIMITS {
        let needed = limits(&replay.data, programs, &launch, label)?;
        launch = launch.set(format!("{name}={}", needed.unwrap_or(0).max(floor)));
    }
    let action = match replay.then {
        Then::Pause => "pause",
        Then::Open => "promote",
    };
    let word = |path: &Path| path.display().to_string().replace('\'', r"'\''").replace('%', "%%");
    launch = launch
        .set("hot_standby=on")
        .set("wal_retrieve_retry_interval=500ms")
        .set("max_wal_size=8GB")
        .set("checkpoint_timeout=30min")
        .set(format!("recovery_target_action={action}"))
        .set(format!(
            "restore_command='{}' wal fetch --door '{}' %f %p",
            word(&replay.program),
            word(door)
        ));
    for (name, value) in replay.plan.settings() {
        launch = launch.set(format!("{name}={value}"));
    }
    for setting in &replay.settings {
        launch = launch.set(setting.clone());
    }
    Ok(launch)
}

/// Limits a server that follows another's log must not go below, what they are at least, and their words in the control file.
const LIMITS: [(&str, u64, &str); 5] = [
    ("max_connections", 100, "max_connections setting:"),
    ("max_worker_processes", 8, "max_worker_processes setting:"),
    ("max_wal_senders", 10, "max_wal_senders setting:"),
    ("max_prepared_transactions", 0, "max_prepared_xacts setting:"),
    ("max_locks_per_transaction", 64, "max_locks_per_xact setting:"),
];

/// What the control file of a copy says of a limit.
fn limits(data: &Path, programs: &Programs, launch: &Launch, label: &str) -> Result<Option<u64>, RecoveryError> {
    let program = programs.bin_dir.join("pg_controldata");
    let output = clean_command(&program, launch.run_as()).arg("-D").arg(data).output();
    let output = output.map_err(|error| RecoveryError::local("run", &program, &error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    Ok(line.and_then(|value| value.trim().parse().ok()))
}
