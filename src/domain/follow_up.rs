//! What comes after a recovery to an instant: its server waits there, paused, until somebody opens it, moves it on or throws
//! it away.
//!
//! **Nothing twice.** A follow-up is in the journal as asked before it begins and as begun before it acts. One that was begun
//! by an agent that ended since is *in doubt*: it is looked at what is true of the server now, and that is what is recorded.
//! It is never done again by itself; whoever asked sees how it stands and asks again.
//!
//! **Never older than a look.** A server that waits is looked at again and again; one that has ended, or that somebody opened
//! or removed beside the agent, is said to be so.

mod decide;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) use self::decide::{apply, ask, cancel, doubt_all, ended, in_the_way, left, looked, starting};

use super::id::{RecoveryId, RepositoryName, SnapshotId, SourceName};
use super::pitr::Target;
use super::run::{Failure, Outcome};
use super::units::Timestamp;
use super::wal::Lsn;

/// How many steps are kept with a server; the journal has all.
const STEPS_KEPT: usize = 20;

/// What is done with a recovered server that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum FollowUp {
    /// Open it for writing, on a timeline of its own.
    Promote,
    /// Go on to a later target, and wait there.
    Move {
        /// Where to.
        to: Target,
        /// Whether what happened exactly there is included.
        inclusive: bool,
    },
    /// Start its server again, which has ended, at the same target.
    Resume,
    /// Stop it and remove what was laid down.
    Discard,
}

impl FollowUp {
    /// The words of the audit log, with a verb.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Promote => "open recovered server",
            Self::Move { .. } => "move recovered server",
            Self::Resume => "start recovered server again",
            Self::Discard => "throw recovered server away",
        }
    }

    /// What is going on while it is done.
    pub const fn doing(&self) -> &'static str {
        match self {
            Self::Promote => "opening",
            Self::Move { .. } => "moving on",
            Self::Resume => "starting",
            Self::Discard => "removing",
        }
    }

    /// It in a sentence, once it was done: `moved to 2026-11-20 03:11:00 UTC`.
    pub fn done(&self) -> String {
        match self {
            Self::Promote => "opened for writing".to_owned(),
            Self::Move { to, .. } => format!("moved to {to}"),
            Self::Resume => "started again".to_owned(),
            Self::Discard => "thrown away".to_owned(),
        }
    }

    /// Whether what is seen of the server is what this was to bring about.
    fn is_fulfilled_by(&self, seen: &ServerSeen) -> bool {
        match self {
            Self::Promote => seen.fate == Fate::Promoted,
            Self::Discard => seen.fate == Fate::Discarded,
            Self::Resume => seen.fate == Fate::Waiting,
            Self::Move { to, inclusive } => {
                seen.fate == Fate::Waiting && seen.target == *to && seen.inclusive == *inclusive
            }
        }
    }

    /// Whether it can be stopped half-way without harm: a replay can, an opening and a removal cannot.
    const fn can_stop(&self) -> bool {
        matches!(self, Self::Move { .. } | Self::Resume)
    }
}

/// What became of a recovered server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It waits, paused at its target, for reading.
    Waiting,
    /// It does not run any more; what was laid down is there, and it can be started again.
    Gone,
    /// Its directory is not there any more, and nobody said that it should go: removed by hand, moved, or not mounted.
    Lost,
    /// It was opened: it is a cluster of its own now.
    Promoted,
    /// It was stopped, and what was laid down was removed.
    Discarded,
}

impl Fate {
    /// The word used on screens.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "WAITS",
            Self::Gone => "SERVER GONE",
            Self::Lost => "DIRECTORY GONE",
            Self::Promoted => "opened",
            Self::Discarded => "thrown away",
        }
    }

    /// Whether somebody still has to say what becomes of it.
    pub const fn is_undecided(self) -> bool {
        matches!(self, Self::Waiting | Self::Gone | Self::Lost)
    }
}

/// What was seen of a recovered server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSeen {
    /// What became of it.
    pub fate: Fate,
    /// Where it is to wait.
    pub target: Target,
    /// Whether what happened exactly there is included.
    pub inclusive: bool,
    /// How far its log was replayed, when that is known.
    pub lsn: Option<Lsn>,
    /// When the newest transaction in it was completed, when that is known.
    pub last_commit: Option<Timestamp>,
    /// How to look at it, while it runs.
    pub psql: Option<String>,
}

/// A server that a recovery has left, as the record of the recovery keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftServer {
    /// Its data directory.
    pub directory: PathBuf,
    /// How it was seen last.
    #[serde(flatten)]
    pub seen: ServerSeen,
    /// Since when it is so.
    pub since: Timestamp,
    /// Who made it so; `agent` for what was only found.
    pub by: String,
    /// What was done with it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

impl LeftServer {
    /// The name that has to be typed before it is opened or thrown away: that of its directory.
    pub fn name(&self) -> String {
        directory_name(&self.directory)
    }
}

/// The name of a directory, which has to be typed before something is done to it that cannot be undone.
pub fn directory_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// One thing that was done with a recovered server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What.
    pub what: FollowUp,
    /// Who asked.
    pub by: String,
    /// When it ended.
    pub at: Timestamp,
    /// How; interrupted when an agent ended meanwhile, and what was found then is not what was wanted.
    pub outcome: Outcome,
    /// Why not well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl Step {
    /// The step in a sentence.
    pub fn words(&self) -> String {
        let why = self
            .error
            .as_ref()
            .map_or_else(String::new, |error| format!(": {error}"));
        match self.outcome {
            Outcome::Succeeded => format!("{} by {}", self.what.done(), self.by),
            outcome => format!("{}, asked by {}: {}{why}", self.what.word(), self.by, outcome.word()),
        }
    }
}

/// Where a follow-up stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowUpState {
    /// Asked for.
    Queued,
    /// Being done.
    Running,
    /// The agent that did it has ended; it is being looked at what became of it.
    InDoubt,
}

/// A follow-up that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFollowUp {
    /// What.
    pub what: FollowUp,
    /// Who asked.
    pub by: String,
    /// When.
    pub asked_at: Timestamp,
    /// Where it stands.
    pub state: FollowUpState,
    /// Whether somebody asked it to stop, and who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested: Option<String>,
}

/// A recovered server of which nobody has said yet what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The recovery that left it.
    pub recovery: RecoveryId,
    /// The source it is a copy of.
    pub source: Option<SourceName>,
    /// The repository its log is read from.
    pub repository: RepositoryName,
    /// The base backup it was laid down from, without which it cannot be moved or started again; none in what an earlier
    /// version kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<SnapshotId>,
    /// The server.
    pub server: LeftServer,
    /// What is being done with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_up: Option<LiveFollowUp>,
}

impl Waiting {
    /// Whether what became of a follow-up has to be found out.
    pub fn is_in_doubt(&self) -> bool {
        let live = self.follow_up.as_ref();
        live.is_some_and(|live| live.state == FollowUpState::InDoubt)
    }

    /// Why this cannot be asked of it now; none when it can.
    pub fn why_not(&self, what: &FollowUp) -> Option<String> {
        if let Some(live) = &self.follow_up {
            return Some(format!("{} already, asked by {}", live.what.doing(), live.by));
        }
        match (what, self.server.seen.fate, &self.server.seen.target) {
            (FollowUp::Promote | FollowUp::Move { .. } | FollowUp::Resume, Fate::Lost, _) => Some(format!(
                "{} is not there any more; put it back, or recover again and throw away what is left of this",
                self.server.directory.display()
            )),
            (FollowUp::Resume, Fate::Waiting, _) => Some("its server is running".to_owned()),
            (
                FollowUp::Move {
                    to: Target::Time(to), ..
                },
                _,
                Target::Time(at),
            ) if to < at => {
                Some("a log is only replayed forward; throw it away and recover again to go back".to_owned())
            }
            _ => None,
        }
    }
}

/// How a follow-up ended.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowUpResult {
    /// How.
    pub outcome: Outcome,
    /// Why not well.
    pub error: Option<Failure>,
    /// How the server stands now; none when that could not be found out, and then it is in doubt.
    pub seen: Option<ServerSeen>,
}
