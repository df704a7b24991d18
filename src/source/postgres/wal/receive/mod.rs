//! A receiver of the log: a supervised `pg_receivewal` on a replication slot, and the way of what it receives to the archive.
//!
//! `pg_receivewal` streams into a directory of ours. Finished segments go to the archive; so does, every few seconds, the
//! beginning of the one that still grows, which makes the recovery point seconds old. A local file goes only after the archive
//! has it durably **and** a later one has begun, because `pg_receivewal` continues behind the newest file it finds.
//!
//! **Never lost.** The slot makes the server keep what `pg_receivewal` has not synced: that is whole segments, so the growing
//! one can always be sent again. What is synced here and not archived yet is on this machine alone until it is archived.
//! Nothing is dropped to make room: when the store is slow or the disk fills, `pg_receivewal` is stopped, the server keeps its
//! log, and the slot says so there.
//!
//! **Crash windows.** Killed at any moment, the directory says where to continue: segments in it that were archived already are
//! put again (the same content), and a `pg_receivewal` that was left running is ended first. With an empty directory the newest
//! segment of the archive is fetched back into it, so that a new machine continues behind it and leaves no gap.
//!
//! **Promotions.** The stream follows the server to its next timeline, and goes on where that begins.
//!
//! **Refusals.** Another system identifier than the directory, or the archive's files, were received from ends the work at
//! once, as does a segment that the archive has with another content. Everything else is tried again, for ever, and told.
//!
//! **Cancellation.** `pg_receivewal` is ended, what it received is archived, the growing segment included.

mod local;
mod server;
mod ship;
mod turn;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::spool::SpoolLock;
use super::{WalArchive, WalError};
use crate::clock::Clock;
use crate::domain::units::Bytes;
use crate::domain::wal::{Lsn, SegmentName, SystemId, WalName};
use crate::repo::Repository;
use crate::source::postgres::connect::Login;
use local::LocalDir;
use server::{Ready, Receiver};
use ship::Shipper;

/// How often the directory and the child are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The first and the longest pause between attempts.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A connection that held this long was a good one.
const HELD: Duration = Duration::from_secs(60);

/// What is received, and where to.
#[derive(Debug, Clone)]
pub struct ReceiveOptions {
    /// The server, and who we are on it; the role needs REPLICATION.
    pub login: Login,
    /// A database on it, to ask questions in.
    pub database: String,
    /// The replication slot; made when there is none.
    pub slot: String,
    /// The directory of this receiver, and of no other.
    pub dir: PathBuf,
    /// How often the growing segment is archived.
    pub growing_every: Duration,
    /// How much may wait here to be archived before the server is made to wait.
    pub limit: Bytes,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The stream has begun.
    Receiving(String),
    /// The archive has a file.
    Archived(WalName),
    /// The archive has the beginning of the growing segment, up to there.
    Reached(Lsn),
    /// Something failed and will be tried again.
    Trouble(String),
    /// The server has removed what was to come next: the archive has a gap.
    Gap(String),
    /// The server was promoted: the stream goes on with this segment of its new timeline.
    Turned(SegmentName),
    /// So much waits to be archived that the server is made to wait.
    Paused(Bytes),
    /// What was left running by a receiver that was killed has been ended.
    Reaped(u32),
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Receiving(from) => write!(f, "receiving from {from}"),
            Self::Archived(name) => write!(f, "archived {name}"),
            Self::Reached(lsn) => write!(f, "archived up to {lsn}"),
            Self::Trouble(why) => write!(f, "trouble, trying again: {why}"),
            Self::Gap(why) => write!(f, "GAP: {why}; take a new base backup"),
            Self::Turned(next) => write!(f, "the server was promoted: going on with {next}"),
            Self::Paused(waiting) => write!(f, "paused: {waiting} wait to be archived, the server keeps its log"),
            Self::Reaped(pid) => write!(
                f,
                "ended pg_receivewal {pid}, left over from a receiver that was killed"
            ),
        }
    }
}

/// Who is told; from one task.
pub type Tell<'a> = &'a (dyn Fn(Note) + Send + Sync);

/// Receives until it is cancelled, which is a good end; an error is a refusal.
pub async fn run(
    options: &ReceiveOptions,
    repo: &Repository,
    tell: Tell<'_>,
    clock: &Clock,
    cancel: &CancellationToken,
) -> Result<(), WalError> {
    let dir = LocalDir::open(&options.dir)?;
    let _lock: SpoolLock = dir.lock()?;
    let (own, time) = (dir.clone(), clock.clone());
    let reaped = tokio::task::spawn_blocking(move || own.reap(&time)).await;
    for pid in reaped.unwrap_or_default() {
        tell(Note::Reaped(pid));
    }
    let work = Work {
        options,
        dir,
        repo,
        tell,
        clock,
        cancel,
        troubles: Mutex::default(),
    };
    work.run().await
}

/// Ends what a receiver that was killed left running in its directory, for those who remove the directory. Blocks.
pub fn reap(dir: &std::path::Path, clock: &Clock) {
    local::reap_in(dir, clock);
}

struct Work<'a> {
    options: &'a ReceiveOptions,
    dir: LocalDir,
    repo: &'a Repository,
    tell: Tell<'a>,
    clock: &'a Clock,
    cancel: &'a CancellationToken,
    /// The last trouble told, so that one that stays is told once.
    troubles: Mutex<String>,
}

/// How a stretch of receiving ended.
enum Ended {
    Cancelled,
    /// `pg_receivewal` ended, in its words.
    Child(String),
    /// Too much waits to be archived.
    Full(Bytes),
}

impl Work<'_> {
    async fn run(&self) -> Result<(), WalError> {
        let mut shipper = self.dir.system()?.map(|system| self.shipper(system));
        let mut pause = PAUSES.0;
        while !self.cancel.is_cancelled() {
            // What is here is on its way even while the server cannot be reached.
            if let Some(shipper) = &mut shipper {
                self.ship(shipper, false).await?;
                if let Some(waiting) = self.over_limit(shipper, 2) {
                    self.note(Note::Paused(waiting));
                    self.wait(PAUSES.0).await;
                    continue;
                }
            }
            let begun = self.clock.monotonic();
            match self.stretch(&mut shipper).await {
                Ok(Ended::Cancelled) => break,
                Ok(Ended::Full(waiting)) => self.note(Note::Paused(waiting)),
                Ok(Ended::Child(why)) => {
                    if self.child_ended(&mut shipper, why).await? {
                        pause = PAUSES.0;
                        continue;
                    }
                }
                Err(error) if error.is_refusal() || matches!(error, WalError::Invalid { .. }) => return Err(error),
                Err(error) if error.is_cancelled() => break,
                Err(error) => self.note(Note::Trouble(error.to_string())),
            }
            pause = if self.clock.elapsed(begun) > HELD {
                PAUSES.0
            } else {
                (pause * 2).min(PAUSES.1)
            };
            self.wait(pause / 2).await;
        }
        match &mut shipper {
            Some(shipper) => self.ship(shipper, true).await.map(drop),
            None => Ok(()),
        }
    }

    fn shipper(&self, system: SystemId) -> Shipper {
        Shipper::new(WalArchive::new(self.repo.clone(), system))
    }

    /// Connects, and receives until something ends it.
    async fn stretch(&self, shipper: &mut Option<Shipper>) -> Result<Ended, WalError> {
        let ready = Ready::on(self.options, self.clock).await?;
        self.dir.bind(ready.system)?;
        let shipper = shipper.get_or_insert_with(|| self.shipper(ready.system));
        shipper.archive().ensure(ready.size).await?;
        shipper.seed(&self.dir).await?;
        self.dir.mend(ready.size.bytes())?;
        let mut receiver = Receiver::start(self.options, &ready, self.dir.incoming())?;
        self.note(Note::Receiving(format!(
            "{}, system {}, slot {}",
            self.options.login.connection.display(),
            ready.system,
            self.options.slot
        )));
        let ended = self.attend(&mut receiver, shipper).await;
        match ended {
            Ok(Ended::Child(_)) => Ok(Ended::Child(receiver.words().await)),
            other => {
                receiver.kill().await;
                other
            }
        }
    }

    /// Ships what arrives, until the receiver ends, the disk fills or somebody cancels.
    async fn attend(&self, receiver: &mut Receiver, shipper: &mut Shipper) -> Result<Ended, WalError> {
        loop {
            if self.cancel.is_cancelled() {
                return Ok(Ended::Cancelled);
            }
            let ended = receiver.has_ended();
            self.ship(shipper, false).await?;
            if ended {
                return Ok(Ended::Child(String::new()));
            }
            if let Some(waiting) = self.over_limit(shipper, 1) {
                return Ok(Ended::Full(waiting));
            }
            self.wait(LOOK_EVERY).await;
        }
    }

    /// What a child that ended said; one that can never go on where it was begins anew. Whether it can go on at once.
    async fn child_ended(&self, shipper: &mut Option<Shipper>, why: String) -> Result<bool, WalError> {
        if why.contains("has already been removed")
            && let Some(shipper) = shipper
            && self.ship(shipper, true).await?
        {
            self.note(Note::Gap(why));
            shipper.begin_anew(&self.dir)?;
            // Tried again with the next attempt when the server is still busy with the connection that ended.
            return match server::renew_slot(self.options, self.clock).await {
                Err(error) if !error.is_refusal() => {
                    self.note(Note::Trouble(error.to_string()));
                    Ok(false)
                }
                other => other.map(|()| false),
            };
        }
        if turn::is_refused(&why)
            && let Some(shipper) = shipper
        {
            match self.turn(shipper).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if error.is_refusal() => return Err(error),
                Err(error) => {
                    self.note(Note::Trouble(format!("{why}; {error}")));
                    return Ok(false);
                }
            }
        }
        self.note(Note::Trouble(why));
        Ok(false)
    }

    /// Goes on along the next timeline when the one that was received has been left; whether it was.
    async fn turn(&self, shipper: &mut Shipper) -> Result<bool, WalError> {
        let ready = Ready::on(self.options, self.clock).await?;
        let next = turn::onward(self.options, &ready.tools, &self.dir, ready.size).await?;
        let Some(next) = next else { return Ok(false) };
        // Whatever is here is in the archive before it goes.
        if !self.ship(shipper, true).await? {
            return Ok(false);
        }
        self.dir.begin_with(next)?;
        self.note(Note::Turned(next));
        Ok(true)
    }

    /// Ships what is there; false when something did not arrive, which is told and tried again.
    async fn ship(&self, shipper: &mut Shipper, now: bool) -> Result<bool, WalError> {
        let every = if now {
            Duration::ZERO
        } else {
            self.options.growing_every
        };
        match shipper.ship(&self.dir, every, self.tell, self.clock).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_refusal() || matches!(error, WalError::Invalid { .. }) => Err(error),
            Err(error) => {
                self.note(Note::Trouble(error.to_string()));
                Ok(false)
            }
        }
    }

    /// How much waits, when that is more than the limit divided by `share`, or the disk has hardly room for more.
    fn over_limit(&self, shipper: &Shipper, share: u64) -> Option<Bytes> {
        let waiting = shipper.waiting(&self.dir);
        let full = waiting.0 > 0 && self.dir.is_full(shipper.segment_bytes());
        (full || waiting.0 > self.options.limit.0 / share).then_some(waiting)
    }

    /// Tells something; a trouble that stays, once.
    fn note(&self, note: Note) {
        let mut last = self.troubles.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = match &note {
            Note::Trouble(_) | Note::Paused(_) => note.to_string(),
            _ => String::new(),
        };
        if text.is_empty() || *last != text {
            *last = text;
            drop(last);
            (self.tell)(note);
        }
    }

    async fn wait(&self, pause: Duration) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = self.clock.sleep(pause) => {}
        }
    }
}
