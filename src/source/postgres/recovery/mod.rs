//! Point-in-time recovery carried out: a laid-down copy, a private server, the log up to a target.
//!
//! **Never open early.** The server's `restore_command` asks this process ([`door`]). When the archive cannot tell whether it
//! has a file, or this process is gone, the command ends in a way that PostgreSQL takes for "stop", not for "that was all": a
//! server that lacks its log does not open. One that follows on (`standby.signal`) asks again instead.
//!
//! **Nothing of it reaches production.** The server is a private one on a copy ([`super::server`]).
//!
//! **Crash windows.** Killed at any point, this process leaves at most a server that stops by itself at the next file it
//! needs, or stays paused; its mark and the [`note`] beside the copy let the next call end it and go on: laying down goes on
//! with what is there, replay goes on from the server's last restart point. A copy that was opened is never touched again.
//!
//! **Order.** note *laying* → files → note *replaying* → server at the target → note *paused* or *opened*.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`catalogue`] | what there is: base backups, archived log |
//! | [`scout`] | where in the log a time, a transaction, a name is |
//! | [`door`] | how the server gets its log |
//! | [`roles`] | who to log in as |
//! | [`run`], `settings`, `control`, `look` | the server: what it is told, started, watched, opened |
//! | `instant` | what the engine calls: planned, carried out, measured |
//! | [`order`] | a recovery from the first look at the place to the server at the target |
//! | [`follow_up`], [`settle`] | what comes after a pause, and finding out how a server stands |
//! | [`left`] | the same, as the engine calls it |
//! | `hold` | who acts on one: one process at a time |
//! | [`note`] | what is remembered of a recovery beside its copy |
//! | [`table`] | one table of a recovered copy into a live database |
//! | [`error`] | the server's reasons in our words |
//!
//! What this room never does: write into the data of a server that runs, remove a copy it did not lay down, or keep a secret.

pub mod catalogue;
mod control;
pub mod door;
pub mod error;
pub mod follow_up;
mod hold;
pub(in crate::source) mod instant;
pub mod left;
mod look;
pub mod note;
pub mod order;
pub mod roles;
pub mod run;
pub mod scout;
mod settings;
pub mod settle;
pub mod table;

pub use catalogue::{Bases, bases, log};
pub use control::ControlData;
pub use door::fetch_through;
pub use error::RecoveryError;
pub use hold::{Hold, Holder};
pub use look::reached;
pub use note::{Note, Phase, home_of};
pub use order::{Earlier, Order};
pub use run::{Replay, Replayed, Seen, Standing, Then, promote, replay, stop};

use super::server::log_end;
use super::wal::WalArchive;
use crate::domain::pitr::{self, Base, Interval, Log, Plan, Wish};

/// What can be recovered of one cluster.
#[derive(Debug, Clone)]
pub struct Known {
    /// The base backups.
    pub bases: Vec<Base>,
    /// The archived log.
    pub log: Log,
}

impl Known {
    /// Reads what an archive holds, for base backups of the same cluster.
    pub async fn of(bases: Vec<Base>, archive: &WalArchive) -> Result<Self, RecoveryError> {
        let log = catalogue::log(archive).await?;
        Ok(Self { bases, log })
    }

    /// Plans a recovery; reads as much of the log as it takes to know where the target is.
    pub async fn plan(&self, wish: &Wish, archive: &WalArchive) -> Result<Plan, RecoveryError> {
        let stretches = pitr::search(&self.bases, &self.log, wish)?;
        let place = scout::find(archive, &self.log, &stretches, &wish.target, wish.inclusive).await?;
        Ok(pitr::plan(&self.bases, &self.log, wish, place)?)
    }

    /// What can be restored, with the newest commit of each stretch; none of one whose end cannot be read any more.
    pub async fn intervals(&self, archive: &WalArchive) -> Result<Vec<Interval>, RecoveryError> {
        let mut intervals = pitr::intervals(&self.bases, &self.log);
        for interval in &mut intervals {
            interval.to_at = match scout::newest_commit(archive, (&self.bases, &self.log), interval).await {
                Err(error) if error.retryable() => return Err(error.into()),
                read => read.unwrap_or(None),
            };
        }
        Ok(intervals)
    }
}
