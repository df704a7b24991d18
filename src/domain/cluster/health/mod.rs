//! Whether the primary of a cluster fails, for good or only for us, and whether the agent may fail over by itself.
//!
//! Somebody looks at the whole cluster every few seconds; [`Memory::take`] adds each look to what it remembers and says what it
//! comes to ([`Health`]). One look proves nothing, so:
//!
//! ```text
//!            no answer            no answer, n in a row
//!  Healthy ────────────▶ Failing ───────────┬──────────────▶ Unclear     a standby still streams from it, it speaks and lets
//!     ▲                     │               │                            nobody in, or nobody else says so: only told
//!     │  two answers in a row               │
//!     └─────────────────────┘               └──────────────▶ Permanent   it is lost for others too, and nobody contradicts
//! ```
//!
//! **What counts as another's word.** Standbys that streamed from the primary when it last answered, answer now, and stream from
//! it no more; or its data directory, when a server was seen at work in it while the primary answered and none is now. A
//! standby that still streams contradicts everything else. A standby that never streamed says nothing.
//!
//! **Permanent is not enough.** [`refusals`] has all that speaks against acting without a person: no standby that is healthy,
//! more lost than may be (measured against what was last seen of the primary, because a dead one cannot be asked), a fence
//! that nothing could prove, somebody else at work, another failover a moment ago. Whoever acts decides again, from what is
//! seen then, and proves the fence first.
//!
//! What this room never does: connect to anything, know the time, or fail over because of one observer.

mod against;
mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use against::{Circumstances, refusals};
pub use read::{Primary, Process, observed, primary};

use super::decide::Refusal;
use super::promote::Allowance;
use super::{Cluster, Record, Role, Seen, picture};
use crate::domain::id::{ClusterName, MemberName, RunbookName};
use crate::domain::units::{Bytes, Millis, Timestamp};
use crate::domain::wal::{Lsn, SystemId, TimelineId};

/// A member has at least this long to answer.
const LEAST_PATIENCE: Millis = Millis::from_secs(2);
/// A member has at most this long to answer.
const MOST_PATIENCE: Millis = Millis::from_secs(5);
/// A primary that was down is up after so many answers in a row.
const UP_AFTER: u32 = 2;
/// What was last seen of a primary says nothing of its log when it was older than this at the first failure.
const KNOWN_FOR: Millis = Millis::from_secs(60);

/// When the agent fails over by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// Whether it may.
    pub automatic: bool,
    /// How often the members are asked.
    pub every: Millis,
    /// So many failures in a row are no accident.
    pub failures: u32,
    /// What it goes by.
    pub runbook: RunbookName,
    /// Who takes over; the healthy standby that has most of the log when absent.
    pub standby: Option<MemberName>,
    /// How much of the log may be lost.
    pub max_loss: Allowance,
    /// The time after one automatic failover in which there is no other.
    pub cooling_off: Millis,
    /// What else is said of the variables of the runbook.
    pub set: BTreeMap<String, String>,
}

impl Failover {
    /// The variables of the runbook that the agent says.
    pub const SAID: [&'static str; 4] = ["cluster", "primary", "standby", "allow_loss"];

    /// How long a member has to answer: as often as it is asked, but not less than [`LEAST_PATIENCE`] nor more than
    /// [`MOST_PATIENCE`].
    pub fn patience(&self) -> std::time::Duration {
        self.every.clamp(LEAST_PATIENCE, MOST_PATIENCE).to_std()
    }
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            automatic: false,
            every: Millis::from_secs(5),
            failures: 3,
            runbook: "automatic-failover".into(),
            standby: None,
            max_loss: Allowance::AtMost(Bytes(0)),
            cooling_off: Millis::from_secs(600),
            set: BTreeMap::new(),
        }
    }
}

/// What was seen of the primary when it last answered; kept by whoever looks, so that an agent that begins anew knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Who it was.
    pub primary: MemberName,
    /// Of which cluster.
    pub system: SystemId,
    /// The timeline it wrote.
    pub timeline: TimelineId,
    /// Written up to here.
    pub lsn: Lsn,
    /// When.
    pub at: Timestamp,
    /// Whether a server was at work in its data directory on this machine.
    pub here: bool,
    /// The standbys that streamed not long before, and when each was last seen to. The members of one look do not answer at one
    /// instant: a standby may already have lost a primary that answered a second earlier in the same look.
    pub followers: BTreeMap<MemberName, Timestamp>,
}

/// How a cluster does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing can be said, and nothing is the matter with a primary: why.
    Unknown {
        /// Why.
        why: String,
    },
    /// The primary answers.
    Healthy,
    /// It fails, not often enough to mean anything; or it has just come back.
    Failing(Failing),
    /// It fails, and it may be only us, or it may come back: nothing is done.
    Unclear(Failing),
    /// It fails for others too.
    Permanent(Failing),
}

/// A primary that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// How often in a row.
    pub failures: u32,
    /// Since when.
    pub since: Timestamp,
    /// What was seen, and by whom.
    pub why: String,
}

/// How a member that is not the primary does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Which.
    pub name: MemberName,
    /// How often in a row it did not answer.
    pub silent: u32,
    /// Why it did not.
    pub why: Option<String>,
    /// How far behind it is.
    pub lag: Option<Millis>,
    /// How often in a row it was further behind than it should be.
    pub late: u32,
}

/// Who would take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// Which.
    pub standby: MemberName,
    /// How much it lacks of what was last seen of the primary; none when that was too long ago.
    pub loss: Option<Bytes>,
}

/// How a cluster does, as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Which.
    pub cluster: ClusterName,
    /// When.
    pub at: Timestamp,
    /// Who is, or was, its primary.
    pub primary: Option<MemberName>,
    /// How that does.
    pub health: Health,
    /// Whether the primary counts as down.
    pub down: bool,
    /// How the others do.
    pub others: Vec<Other>,
    /// Who would take over, when the primary is lost; or why nobody can.
    pub successor: Result<Successor, Vec<Refusal>>,
}

/// What is remembered from look to look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The primary when it last answered.
    pub known: Option<Known>,
    failures: u32,
    answers: u32,
    since: Option<Timestamp>,
    down: bool,
    others: BTreeMap<MemberName, (u32, u32)>,
}

impl Memory {
    /// Begins with what an agent before this one has seen.
    pub fn new(known: Option<Known>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// Takes in a look, and says what it comes to.
    pub fn take(&mut self, cluster: &Cluster, seen: &Seen, record: &Record) -> Sight {
        let primary = primary(cluster, seen, record, self.known.as_ref());
        let health = self.judged(cluster, seen, &primary);
        let name = primary.name().cloned();
        let others = self.others(cluster, seen, record, name.as_ref());
        let successor = match (&health, &self.known) {
            (Health::Permanent(failing), Some(known)) => {
                against::successor(cluster, seen, record, known, failing, &primary)
            }
            _ => Err(Vec::new()),
        };
        Sight {
            cluster: cluster.name.clone(),
            at: seen.at,
            primary: name,
            health,
            down: self.down,
            others,
            successor,
        }
    }

    fn judged(&mut self, cluster: &Cluster, seen: &Seen, primary: &Primary) -> Health {
        let enough = cluster.failover.failures;
        let why = match primary {
            Primary::Answers(known) => {
                self.known = Some(known.clone());
                return self.answered();
            }
            Primary::Fenced { why } => {
                // Somebody is acting on it: what it was before does not count any more.
                (self.failures, self.answers, self.since, self.down) = (0, 0, None, false);
                return Health::Unknown { why: why.clone() };
            }
            Primary::Refuses { why, .. } | Primary::Silent { why, .. } | Primary::Nobody { why } => why.clone(),
        };
        self.failures = self.failures.saturating_add(1);
        self.answers = 0;
        let since = *self.since.get_or_insert(seen.at);
        self.down |= self.failures >= enough;
        let failing = |why: String| Failing {
            failures: self.failures,
            since,
            why,
        };
        if self.failures < enough {
            return Health::Failing(failing(why));
        }
        match (primary, &self.known) {
            (Primary::Silent { name, process, .. }, Some(known)) => {
                match read::agreed(cluster, seen, known, *process) {
                    Ok(also) => Health::Permanent(failing(format!(
                        "{name} {why}, {} times in a row; {also}",
                        self.failures
                    ))),
                    Err(but) => Health::Unclear(failing(format!("{name} {why}; but {but}"))),
                }
            }
            (Primary::Refuses { name, .. }, _) => Health::Unclear(failing(format!("{name} {why}: so it is there"))),
            _ => Health::Unclear(failing(why)),
        }
    }

    fn answered(&mut self) -> Health {
        self.failures = 0;
        self.answers = self.answers.saturating_add(1);
        if let Some(since) = self.since.filter(|_| self.down && self.answers < UP_AFTER) {
            return Health::Failing(Failing {
                failures: 0,
                since,
                why: "it answers again".to_owned(),
            });
        }
        (self.down, self.since) = (false, None);
        Health::Healthy
    }

    fn others(&mut self, cluster: &Cluster, seen: &Seen, record: &Record, primary: Option<&MemberName>) -> Vec<Other> {
        let drawn = picture::draw(cluster, seen, record);
        let lag = |name: &MemberName| {
            drawn
                .lines
                .iter()
                .find(|line| line.name == *name)
                .and_then(|line| line.lag)
        };
        let before = std::mem::take(&mut self.others);
        let mut all = Vec::new();
        for member in seen.members.iter().filter(|member| Some(&member.name) != primary) {
            let name = &member.name;
            let (silent, late) = before.get(name).copied().unwrap_or_default();
            let answers = member.answer.server().is_some();
            let lag = lag(name);
            let silent = if answers { 0 } else { silent.saturating_add(1) };
            let late = if lag.is_some_and(|lag| lag > cluster.max_lag) {
                late.saturating_add(1)
            } else {
                0
            };
            self.others.insert(name.clone(), (silent, late));
            all.push(Other {
                name: name.clone(),
                silent,
                why: read::silence(member).map(|(why, _)| why),
                lag,
                late,
            });
        }
        all
    }
}

/// Whether a server is a standby that could say something about its primary.
fn follows(server: &super::ServerSeen, known: &Known) -> bool {
    server.role == Role::Standby && server.system == known.system && server.timeline <= known.timeline
}
