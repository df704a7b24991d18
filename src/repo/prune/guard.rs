//! The interlocks: what makes a prune stop and ask, because it looks like an accident or an attack.
//!
//! All are decided before anything is written. None can be passed by a flag that fits every day: the number that
//! was lost has to be typed.

use super::state::Seen;
use crate::repo::id::Id;

/// Above this share, snapshots that vanished are not taken for somebody's tidying: one in twenty.
const SMALL_SHARE: usize = 20;

/// Why a prune did not begin; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PruneRefusal {
    /// Nothing is listed, and yet there is data.
    #[error("there is no snapshot (of {lost} before), but {packs} packs of data: a prune would remove everything")]
    NoSnapshots {
        /// How many packs there are.
        packs: usize,
        /// How many snapshots the last prune saw, or have expired in the trash since.
        lost: usize,
    },
    /// Snapshots are gone that nobody forgot through the trash.
    #[error("{count} of the {of} snapshots that the last prune saw have vanished ({examples}), not through the trash")]
    Vanished {
        /// How many.
        count: usize,
        /// Of how many.
        of: usize,
        /// Some of them, short.
        examples: String,
    },
    /// A pinned snapshot is gone.
    #[error("the pinned snapshot {snapshot} has vanished")]
    PinnedVanished {
        /// Its short id.
        snapshot: String,
        /// How many vanished in all.
        count: usize,
    },
    /// Much data would go though few snapshots went.
    #[error("{percent} % of the data would go, but the snapshots did not become that many fewer")]
    TooMuch {
        /// The share of the stored bytes.
        percent: u64,
    },
    /// What is needed cannot be found out.
    #[error("what the snapshots need cannot be found out, so nothing can be removed: {why}")]
    Uncertain {
        /// What failed.
        why: String,
    },
}

impl PruneRefusal {
    /// What the operator should do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoSnapshots { .. } => {
                "look whether the snapshots folder was lost; make a backup first, or, if it was emptied on purpose, type how many there were: --accept-missing N"
            }
            Self::Vanished { .. } | Self::PinnedVanished { .. } => {
                "find out who removed them; if it was on purpose (by another program), type how many: --accept-missing N"
            }
            Self::TooMuch { .. } => {
                "look at the snapshots first; if it is right, as after forgetting one very large snapshot, say --accept-shrink"
            }
            Self::Uncertain { .. } => {
                "run `lifeboat repo check`; forget the snapshots that cannot be restored any more, then prune again"
            }
        }
    }
}

/// What the guards look at.
pub(super) struct Facts<'a> {
    /// Snapshots that are listed, or in the trash and stay there.
    pub(super) kept: &'a [Seen],
    /// Those whose time in the trash is over.
    pub(super) expired: &'a [Seen],
    /// What the last prune saw.
    pub(super) seen: Option<&'a [Seen]>,
    /// Pinned ids.
    pub(super) pinned: &'a [Id],
    /// How many packs are stored.
    pub(super) packs: usize,
    /// The number somebody typed.
    pub(super) accept_missing: Option<u64>,
}

impl Facts<'_> {
    /// The snapshots of the last prune that are gone and that nothing explains.
    fn vanished(&self) -> Vec<&Seen> {
        let known: std::collections::HashSet<Id> = self
            .kept
            .iter()
            .chain(self.expired)
            // A snapshot whose labels were changed stands for all it was before.
            .flat_map(|seen| [Some(seen.id), seen.original])
            .flatten()
            .collect();
        let gone = |seen: &&Seen| {
            !known.contains(&seen.id) && !seen.original.is_some_and(|original| known.contains(&original))
        };
        self.seen.unwrap_or_default().iter().filter(gone).collect()
    }

    /// Refuses when snapshots are missing.
    pub(super) fn check_snapshots(&self) -> Result<(), PruneRefusal> {
        let vanished = self.vanished();
        let seen = self.seen.unwrap_or_default().len();
        let accepted = |count: usize| self.accept_missing == Some(count as u64);
        if self.kept.is_empty() && self.packs > 0 {
            let (packs, lost) = (self.packs, vanished.len() + self.expired.len());
            return if accepted(lost) {
                Ok(())
            } else {
                Err(PruneRefusal::NoSnapshots { packs, lost })
            };
        }
        if accepted(vanished.len()) {
            return Ok(());
        }
        if let Some(pinned) = vanished.iter().find(|one| self.pinned.contains(&one.id)) {
            return Err(PruneRefusal::PinnedVanished {
                snapshot: pinned.id.short(),
                count: vanished.len(),
            });
        }
        if vanished.len() * SMALL_SHARE > seen {
            let examples: Vec<String> = vanished.iter().take(3).map(|one| one.id.short()).collect();
            return Err(PruneRefusal::Vanished {
                count: vanished.len(),
                of: seen,
                examples: examples.join(", "),
            });
        }
        Ok(())
    }

    /// Refuses when more than half of the data would be found unneeded though most snapshots are still there.
    pub(super) fn check_share(&self, going: u64, stored: u64) -> Result<(), PruneRefusal> {
        let before = self
            .seen
            .map_or(0, <[_]>::len)
            .max(self.kept.len() + self.expired.len());
        if going * 2 > stored && self.kept.len() * 2 > before {
            let percent = going * 100 / stored.max(1);
            return Err(PruneRefusal::TooMuch { percent });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: std::ops::Range<u8>) -> Vec<Seen> {
        let one = |byte| Seen {
            id: Id([byte; 32]),
            original: None,
        };
        bytes.map(one).collect()
    }

    fn facts<'a>(kept: &'a [Seen], before: &'a [Seen], accept_missing: Option<u64>) -> Facts<'a> {
        Facts {
            kept,
            expired: &[],
            seen: Some(before),
            pinned: &[],
            packs: 5,
            accept_missing,
        }
    }

    #[test]
    fn an_empty_listing_beside_data_is_refused() {
        let before = seen(0..3);
        let empty = facts(&[], &before, None).check_snapshots().unwrap_err();
        assert!(
            matches!(empty, PruneRefusal::NoSnapshots { packs: 5, lost: 3 }),
            "{empty}"
        );
        assert!(facts(&[], &before, Some(2)).check_snapshots().is_err());
        assert!(facts(&[], &before, Some(3)).check_snapshots().is_ok());
        let never = Facts {
            seen: None,
            ..facts(&[], &[], None)
        };
        assert!(never.check_snapshots().is_err());
        let expired = Facts {
            expired: &before,
            ..facts(&[], &before, None)
        };
        assert!(
            expired.check_snapshots().is_err(),
            "also when all of them went through the trash"
        );
    }

    #[test]
    fn snapshots_that_vanished_are_refused_above_a_small_share() {
        let (before, few, many) = (seen(0..100), seen(5..100), seen(6..100));
        assert!(facts(&few, &before, None).check_snapshots().is_ok());
        let refused = facts(&many, &before, None).check_snapshots().unwrap_err();
        assert!(
            matches!(&refused, PruneRefusal::Vanished { count: 6, of: 100, .. }),
            "{refused}"
        );
        assert!(facts(&many, &before, Some(5)).check_snapshots().is_err());
        assert!(facts(&many, &before, Some(6)).check_snapshots().is_ok());
        let pinned = [Id([2; 32])];
        let refused = Facts {
            pinned: &pinned,
            ..facts(&few, &before, None)
        };
        assert!(matches!(
            refused.check_snapshots(),
            Err(PruneRefusal::PinnedVanished { count: 5, .. })
        ));
    }

    #[test]
    fn other_labels_are_no_loss() {
        let before = seen(0..2);
        let kept = [
            Seen {
                id: Id([7; 32]),
                original: Some(Id([0; 32])),
            },
            Seen {
                id: Id([8; 32]),
                original: Some(Id([1; 32])),
            },
        ];
        assert!(facts(&kept, &before, None).check_snapshots().is_ok());
        // And a second change of labels.
        let again = [
            Seen {
                id: Id([9; 32]),
                original: Some(Id([0; 32])),
            },
            kept[1].clone(),
        ];
        assert!(facts(&again, &kept, None).check_snapshots().is_ok());
    }

    #[test]
    fn half_of_the_data_goes_only_with_half_of_the_snapshots() {
        let (before, most, half) = (seen(0..10), seen(0..6), seen(0..5));
        assert!(facts(&most, &before, None).check_share(50, 100).is_ok());
        assert_eq!(
            facts(&most, &before, None).check_share(51, 100),
            Err(PruneRefusal::TooMuch { percent: 51 })
        );
        assert!(facts(&half, &before, None).check_share(90, 100).is_ok());
    }
}
