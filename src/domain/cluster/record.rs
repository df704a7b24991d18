//! What was begun on a cluster and is not over: kept by whoever does it, so that a crash between two steps is found.
//!
//! A step is noted **before** anything is changed and noted again when it is over. There are two places. The [`Record`] is a
//! file of this machine. The [`FenceMark`] stands in the fenced server's own configuration, where every machine sees it; it
//! also tells our fence from a `default_transaction_read_only` that somebody set for reasons of their own.
//!
//! | killed … | what is found | what to do |
//! | --- | --- | --- |
//! | after the note, before the setting | a fence that was begun, a server that writes | fence again, or unfence |
//! | after the setting, before the proof | a mark without a position | fence again, or unfence |
//! | after the promotion, before its note | a promotion that was begun, a member that is primary | promote again: it is only noted |
//! | in a rewind | a rebuild that was begun | clone anew: a directory half rewound cannot be trusted |
//! | in a clone | a rebuild that was begun | clone again: what was half copied is thrown away |

use serde::{Deserialize, Serialize};

use crate::domain::id::MemberName;
use crate::domain::units::Timestamp;
use crate::domain::wal::{Lsn, SystemId, TimelineId};

/// What was begun on a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The newest fence, until it is lifted or its member follows another.
    pub fence: Option<FenceNote>,
    /// The newest promotion, until the old primary follows the new one.
    pub promotion: Option<PromotionNote>,
    /// A rewind or a clone that is not over.
    pub rebuild: Option<RebuildNote>,
}

impl Record {
    /// Notes that a member follows the primary: what was noted of it as a primary is over.
    ///
    /// A promotion stays noted as long as somebody is fenced for it: whoever that is must not be let go while the promoted one
    /// is silent, whichever member else was rebuilt meanwhile. One that is not over stays in any case.
    pub fn rebuilt(&mut self, member: &MemberName) {
        self.rebuild = None;
        self.fence = self.fence.take().filter(|note| note.member != *member);
        if self.fence.is_none() {
            self.promotion = self.promotion.take().filter(|note| note.to.is_none());
        }
    }
}

/// By what a member is kept from taking writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// It says itself that it is read-only.
    Setting,
    /// It is down, and its own settings on the disk of this machine keep it read-only whenever it is started.
    Disk,
    /// It does not answer, and the fence command said that it cannot be reached by anybody.
    Command,
    /// It does not answer, and a person has vouched that it is down and stays down.
    Vouched,
}

/// A fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceNote {
    /// Who is fenced.
    pub member: MemberName,
    /// The cluster it is of, when that was known.
    pub system: Option<SystemId>,
    /// By what.
    pub means: Means,
    /// Who did it: `ana@host`.
    pub by: String,
    /// When it was begun.
    pub begun: Timestamp,
    /// When it was proved to hold; none while it is not.
    pub held: Option<Timestamp>,
    /// Everything that was committed lies before this; none when that is not known.
    pub lsn: Option<Lsn>,
}

/// A promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionNote {
    /// Who was to become the primary.
    pub member: MemberName,
    /// The timeline it was on before.
    pub from: TimelineId,
    /// Who did it: `ana@host`.
    pub by: String,
    /// When it was begun.
    pub begun: Timestamp,
    /// The timeline it writes now; none while that is not known.
    pub to: Option<TimelineId>,
}

/// How a member is made to follow another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RebuildKind {
    /// By `pg_rewind`: only what differs is copied.
    Rewind,
    /// By `pg_basebackup`: all is copied.
    Reclone,
}

impl RebuildKind {
    /// The verb.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rewind => "rewind",
            Self::Reclone => "reclone",
        }
    }
}

/// A rewind or a clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildNote {
    /// Which member.
    pub member: MemberName,
    /// How.
    pub kind: RebuildKind,
    /// Who did it: `ana@host`.
    pub by: String,
    /// When it was begun.
    pub begun: Timestamp,
}

/// What a fence leaves in the configuration of its server, as JSON in the setting `lifeboat.fence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceMark {
    /// Whose fence it is: a copy of the server has a copy of this.
    pub member: MemberName,
    /// Who did it: `ana@host`.
    pub by: String,
    /// When it was begun.
    pub at: Timestamp,
    /// Everything that was committed lies before this; none while the fence is not proved.
    pub lsn: Option<Lsn>,
    /// The number of the next writing transaction at that moment: when it is still the next one, nobody has written since.
    pub xid: Option<u64>,
    /// What `ALTER SYSTEM` had set `default_transaction_read_only` to before; put back in the end.
    pub previous: Option<String>,
}

impl FenceMark {
    /// The text of the setting.
    pub fn to_text(&self) -> String {
        // Names, numbers and times: nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the setting; none when it is empty or says something else.
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switched_over(to: Option<TimelineId>) -> Record {
        let at = chrono::DateTime::UNIX_EPOCH;
        let by = || "ana@host".to_owned();
        Record {
            fence: Some(FenceNote {
                member: "db1".into(),
                system: Some(SystemId(7)),
                means: Means::Setting,
                by: by(),
                begun: at,
                held: Some(at),
                lsn: Some(Lsn(1000)),
            }),
            promotion: Some(PromotionNote {
                member: "db2".into(),
                from: TimelineId(1),
                by: by(),
                begun: at,
                to,
            }),
            rebuild: Some(RebuildNote {
                member: "db3".into(),
                kind: RebuildKind::Reclone,
                by: by(),
                begun: at,
            }),
        }
    }

    #[test]
    fn a_promotion_is_remembered_until_the_old_primary_follows() {
        let mut record = switched_over(Some(TimelineId(2)));
        record.rebuilt(&"db3".into());
        let wanted = Record {
            rebuild: None,
            ..switched_over(Some(TimelineId(2)))
        };
        assert_eq!(record, wanted, "a third member says nothing of the old primary");
        record.rebuilt(&"db1".into());
        assert_eq!(record, Record::default());
        // One whose end is not known stays noted.
        let mut unfinished = switched_over(None);
        unfinished.rebuilt(&"db1".into());
        assert!(unfinished.fence.is_none() && unfinished.promotion.is_some());
    }
}
