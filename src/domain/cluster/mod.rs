//! A replicated PostgreSQL cluster: what it is made of, what was seen of it, and what that adds up to.
//!
//! A **cluster** is a set of **members** ([`Member`]) that share one system identifier: one primary, and standbys that replay
//! its log. Somebody looks at all of them at one time and notes what each says ([`Seen`]); what the steps of a switchover have
//! done and not yet finished is in the [`Record`]. From these two alone everything else here follows, so all of it can be
//! tested without a server:
//!
//! | file | what it answers |
//! | --- | --- |
//! | `mod` | the members, and what is seen of them |
//! | [`record`] | what was begun: a fence, a promotion, a rebuild; the mark a fence leaves on its server |
//! | [`picture`], `signs` | who is what, and the signs of trouble, worst first, each with its next step |
//! | [`decide`] | may this member be fenced, or let go? Else: every reason, and how to get there |
//! | [`promote`] | may this member be promoted? |
//! | [`health`] | does the primary fail, for good or only for us? May the agent fail over by itself? |
//! | [`rebuild`] | may this member be rewound, or cloned anew? |
//!
//! **The one rule.** At no moment may two members of one system take writes. Whoever is promoted must not have to hope that the
//! old primary is gone: it is fenced and says so itself, or it is proved to be down, or a person vouches for it by name.
//! A member that does not answer is never taken for one that is not there.
//!
//! What this room never does: connect to anything, know the time, or decide on half of the facts.

pub mod decide;
pub mod health;
pub mod picture;
pub mod promote;
pub mod rebuild;
pub mod record;
mod signs;

#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::id::{ClusterName, MemberName};
use super::job::Hook;
use super::source::PostgresConnection;
use super::units::{Bytes, Millis, Timestamp};
use super::wal::{Lsn, SystemId, TimelineId};

pub use decide::{FencePlan, Refusal, UnfencePlan};
pub use health::Failover;
pub use picture::{ClusterView, Fenced, Picture, Severity, Sign};
pub use promote::{Allowance, PromotePlan};
pub use rebuild::RebuildPlan;
pub use record::{FenceMark, Record};

/// A cluster, as it is defined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name.
    pub name: ClusterName,
    /// Its servers; at least one.
    pub members: Vec<Member>,
    /// What else has to be done to keep writers from a primary, and all that can be done when it does not answer.
    pub fence: Option<Hook>,
    /// How much of the log may be lost by a promotion nobody says more about.
    pub max_loss: Bytes,
    /// A standby further behind than this is a sign of trouble.
    pub max_lag: Millis,
    /// When the agent fails over by itself, if it may.
    #[serde(default)]
    pub failover: Failover,
}

impl Cluster {
    /// The definition of a member.
    pub fn member(&self, name: &MemberName) -> Option<&Member> {
        self.members.iter().find(|member| member.name == *name)
    }
}

/// One server of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: MemberName,
    /// How to reach it, also for the other members when they follow it.
    pub connection: PostgresConnection,
    /// A database on it to ask questions in.
    pub database: String,
    /// Its data directory, when that is on this machine.
    pub data_directory: Option<PathBuf>,
    /// Its `postgresql.conf`, when that is not in the data directory.
    pub config_file: Option<PathBuf>,
    /// The replication slot it uses as a standby.
    pub slot: Option<String>,
    /// How it is started and stopped on this machine.
    pub service: Option<Service>,
}

/// How a server is started and stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Returns when the server was started.
    pub start: Hook,
    /// Returns when the server is down.
    pub stop: Hook,
}

/// What was seen of a cluster at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// Every member, in the order of the definition.
    pub members: Vec<MemberSeen>,
}

impl Seen {
    /// What was seen of a member.
    pub fn member(&self, name: &MemberName) -> Option<&MemberSeen> {
        self.members.iter().find(|member| member.name == *name)
    }

    /// The members that answer, with what they say.
    pub fn servers(&self) -> impl Iterator<Item = (&MemberName, &ServerSeen)> {
        self.members
            .iter()
            .filter_map(|member| Some((&member.name, member.answer.server()?)))
    }

    /// The members that answer and are not in recovery, fenced or not.
    pub fn primaries(&self) -> impl Iterator<Item = (&MemberName, &ServerSeen)> {
        self.servers().filter(|(_, server)| server.role == Role::Primary)
    }

    /// The members that answer and replay the log of another.
    pub fn standbys(&self) -> impl Iterator<Item = (&MemberName, &ServerSeen)> {
        self.servers().filter(|(_, server)| server.role == Role::Standby)
    }
}

/// What was seen of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSeen {
    /// Which.
    pub name: MemberName,
    /// What it says, or why it says nothing.
    pub answer: Answer,
    /// Its data directory, when that is on this machine.
    pub local: Option<LocalSeen>,
}

/// What a member says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Answer {
    /// It answers.
    Answers(Box<ServerSeen>),
    /// It does not. That does not mean that it is down.
    Silent {
        /// Why.
        why: String,
        /// Whether it spoke, and only does not let us in; or we could not even ask.
        #[serde(default)]
        refuses: bool,
    },
}

impl Answer {
    /// What it says, when it says something.
    pub fn server(&self) -> Option<&ServerSeen> {
        match self {
            Self::Answers(server) => Some(server),
            Self::Silent { .. } => None,
        }
    }
}

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes writes, or would.
    Primary,
    /// Replays the log of another.
    Standby,
}

impl Role {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSeen {
    /// Its version, for example `15.14`.
    pub version: String,
    /// The first number of its version.
    pub major: u32,
    /// Which cluster it is of.
    pub system: SystemId,
    /// The timeline it writes, or replays.
    pub timeline: TimelineId,
    /// What it is.
    pub role: Role,
    /// Whether our role may change its settings.
    pub superuser: bool,
    /// A primary: written up to here. A standby: replayed up to here.
    pub lsn: Lsn,
    /// A standby: received up to here.
    pub received: Option<Lsn>,
    /// A standby: how old the last transaction it replayed is; the time is the server's own.
    pub replayed_age: Option<Millis>,
    /// Whether somebody paused the replay.
    pub replay_paused: bool,
    /// Whether new transactions are read-only unless they say otherwise.
    pub read_only: bool,
    /// The number the next writing transaction of a primary will get.
    pub next_xid: Option<u64>,
    /// Sessions of others that are writing now.
    pub writers: u64,
    /// Transactions that are prepared and not yet committed.
    pub prepared: u64,
    /// Roles and databases whose own setting lifts the read-only one.
    pub overrides: Vec<String>,
    /// What a fence left here.
    pub fence: Option<FenceMark>,
    /// Where a standby streams from.
    pub receiver: Option<Receiver>,
    /// Who streams from here.
    pub replicas: Vec<Replica>,
    /// The replication slots here.
    pub slots: Vec<Slot>,
    /// `synchronous_standby_names`, empty when commits wait for nobody.
    pub synchronous: String,
    /// Whether its log tells enough for a rewind: page checksums, or `wal_log_hints`.
    pub rewindable: bool,
}

impl ServerSeen {
    /// How far it would get without anybody's help: a promotion replays what was received first.
    pub fn reach(&self) -> Lsn {
        self.received.map_or(self.lsn, |received| received.max(self.lsn))
    }
}

/// Where a standby streams from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// `streaming` when all is well.
    pub status: String,
    /// The host and port it is connected to.
    pub sender: Option<String>,
    /// The slot it uses.
    pub slot: Option<String>,
}

/// Who streams from a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// What it calls itself.
    pub name: String,
    /// Its address; none over a Unix socket.
    pub address: Option<String>,
    /// `streaming` when all is well.
    pub state: String,
    /// `async`, `sync`, `potential` or `quorum`.
    pub sync: String,
    /// How far it has replayed.
    pub replayed: Option<Lsn>,
    /// How long it takes to replay, as the server measures it; none when nothing happens.
    pub lag: Option<Millis>,
}

/// A replication slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Whether somebody uses it now.
    pub active: bool,
    /// Whether it is for the log as it is, not for changes decoded from it.
    pub physical: bool,
    /// How much of the log the server keeps for it.
    pub retained: Option<Bytes>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
}

/// What the data directory of a member says, on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalSeen {
    /// Where it is.
    pub directory: PathBuf,
    /// Whether a server runs on it.
    pub state: LocalState,
    /// What its control file says, when there is one.
    pub control: Option<Control>,
}

/// Whether a server runs on a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum LocalState {
    /// A process has it.
    Running {
        /// Which.
        pid: u32,
    },
    /// No process has it.
    Stopped,
    /// There is no cluster in it.
    Empty,
    /// It cannot be looked at.
    Unknown {
        /// Why.
        why: String,
    },
}

/// What the control file of a data directory says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Which cluster it is of.
    pub system: SystemId,
    /// The timeline of its last checkpoint.
    pub timeline: TimelineId,
    /// Where its last checkpoint is.
    pub checkpoint: Lsn,
    /// Whether the server was shut down in good order, so that the checkpoint is the end of its log.
    pub clean: bool,
    /// Whether it was a standby when it last ran.
    #[serde(default)]
    pub standby: bool,
    /// Whether its log tells enough for a rewind.
    pub rewindable: bool,
}
