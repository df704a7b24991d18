//! What becomes of each pack; pure.
//!
//! Every needed blob is kept in exactly one of the packs that have it, rather in one that is not marked. A pack that
//! keeps nothing is unneeded. A pack that keeps some is repacked when the unneeded bytes of all packs together are more
//! than allowed, the emptiest packs first; and small packs are put together once there are many of a kind.

use super::catalogue::{Catalogue, Entry};
use super::state::Marks;
use crate::repo::crypto::OVERHEAD;
use crate::repo::id::Id;
use crate::repo::pack::BlobKind;
use crate::repo::transfer::Wanted;

/// So many small packs of a kind are put together.
const MANY_SMALL: usize = 10;

/// How much may stay unneeded, and how much may be moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_unused_percent: f64,
    pub(super) max_repack_bytes: Option<u64>,
    pub(super) repack_small: bool,
    pub(super) pack_bytes: u64,
}

/// What becomes of the packs, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Packs of the index from which nothing is kept.
    pub(super) unneeded: Vec<u32>,
    /// Packs that no index names.
    pub(super) orphans: Vec<u32>,
    /// Packs of the index that are not in the store, and that nobody needs.
    pub(super) gone: Vec<u32>,
    /// Packs whose kept blobs move to new ones.
    pub(super) repack: Vec<u32>,
    /// Marked packs that are needed again.
    pub(super) rescued: Vec<u32>,
    /// Unneeded bytes in packs that stay.
    pub(super) unused_left: u64,
    /// Unneeded bytes in packs that are repacked.
    pub(super) unused_freed: u64,
    /// Whether an entry is the copy that is kept.
    chosen: Vec<bool>,
}

impl Choice {
    /// Decides.
    pub(super) fn make(catalogue: &Catalogue, marks: &Marks, limits: Limits) -> Self {
        let mut this = Self {
            chosen: vec![false; catalogue.entries.len()],
            ..Self::default()
        };
        let used = this.keep_one_copy(catalogue, marks);
        let mut partly: Vec<(u32, u64)> = Vec::new();
        for (pack, used) in (0u32..).zip(&used) {
            let info = &catalogue.packs[pack as usize];
            match info.size {
                None => this.gone.push(pack),
                Some(_) if !info.indexed => this.orphans.push(pack),
                Some(_) if *used == 0 => this.unneeded.push(pack),
                Some(size) => {
                    partly.push((pack, size.saturating_sub(used + OVERHEAD as u64 + 4)));
                }
            }
        }
        let total_used: u64 = used.iter().sum();
        this.choose_repacks(catalogue, &partly, total_used, limits);
        let stays = |pack: &u32| marks.contains_key(&catalogue.packs[*pack as usize].id);
        this.rescued = partly.iter().map(|(pack, _)| *pack).filter(stays).collect();
        this
    }

    /// Chooses one copy of every needed blob; returns the bytes kept in each pack.
    fn keep_one_copy(&mut self, catalogue: &Catalogue, marks: &Marks) -> Vec<u64> {
        let mut used = vec![0u64; catalogue.packs.len()];
        let sound = |entry: &Entry| catalogue.packs[entry.pack as usize].is_sound();
        let single = |range: &std::ops::Range<usize>| {
            let mut copies = range.clone().filter(|at| sound(&catalogue.entries[*at]));
            copies.next().filter(|_| copies.next().is_none())
        };
        for range in catalogue.copies() {
            if let Some(at) = single(&range) {
                self.chosen[at] = true;
                used[catalogue.entries[at].pack as usize] += catalogue.entries[at].weight();
            }
        }
        for range in catalogue.copies() {
            if single(&range).is_some() {
                continue;
            }
            let worth = |at: &usize| {
                let pack = catalogue.entries[*at].pack as usize;
                let unmarked = !marks.contains_key(&catalogue.packs[pack].id);
                (unmarked, used[pack], std::cmp::Reverse(pack))
            };
            let best = range.filter(|at| sound(&catalogue.entries[*at])).max_by_key(worth);
            if let Some(at) = best {
                self.chosen[at] = true;
                used[catalogue.entries[at].pack as usize] += catalogue.entries[at].weight();
            }
        }
        used
    }

    fn choose_repacks(&mut self, catalogue: &Catalogue, partly: &[(u32, u64)], total_used: u64, limits: Limits) {
        let size = |pack: u32| catalogue.packs[pack as usize].size.unwrap_or(0);
        let mut room = limits.max_repack_bytes.unwrap_or(u64::MAX);
        let mut unused: u64 = partly.iter().map(|(_, unused)| unused).sum();
        let allowed = share(total_used, limits.max_unused_percent);
        let mut emptiest: Vec<(u32, u64)> = partly.iter().copied().filter(|(_, unused)| *unused > 0).collect();
        // By the unneeded share, greatest first: a/b > c/d as a*d > c*b.
        emptiest.sort_by(|(a, left), (b, right)| {
            let (x, y) = (
                u128::from(*left) * u128::from(size(*b)),
                u128::from(*right) * u128::from(size(*a)),
            );
            y.cmp(&x).then(a.cmp(b))
        });
        for (pack, free) in emptiest {
            if unused <= allowed {
                break;
            }
            if size(pack) <= room {
                room -= size(pack);
                unused -= free;
                self.unused_freed += free;
                self.repack.push(pack);
            }
        }
        self.unused_left = unused;
        for kind in [BlobKind::Data, BlobKind::Tree] {
            let is_small = |pack: &u32| {
                catalogue.packs[*pack as usize].kind == kind
                    && size(*pack) < limits.pack_bytes / 4
                    && !self.repack.contains(pack)
            };
            let small: Vec<u32> = partly.iter().map(|(pack, _)| *pack).filter(is_small).collect();
            if !limits.repack_small || small.len() < MANY_SMALL {
                continue;
            }
            for pack in small {
                if size(pack) <= room {
                    room -= size(pack);
                    self.repack.push(pack);
                }
            }
        }
    }

    /// What to move out of the packs that are repacked.
    pub(super) fn wanted(&self, catalogue: &Catalogue) -> Vec<Wanted> {
        let mut place = vec![usize::MAX; catalogue.packs.len()];
        let mut wanted: Vec<Wanted> = Vec::with_capacity(self.repack.len());
        for pack in &self.repack {
            let info = &catalogue.packs[*pack as usize];
            place[*pack as usize] = wanted.len();
            wanted.push(Wanted {
                pack: info.id,
                size: info.size.unwrap_or(0),
                blobs: Vec::new(),
                whole: false,
            });
        }
        for (entry, chosen) in catalogue.entries.iter().zip(&self.chosen) {
            if let Some(one) = wanted.get_mut(place[entry.pack as usize]).filter(|_| *chosen) {
                one.blobs.push(entry.blob());
            }
        }
        wanted
    }

    /// The ids of packs by their numbers.
    pub(super) fn ids(catalogue: &Catalogue, packs: &[u32]) -> Vec<Id> {
        packs.iter().map(|pack| catalogue.packs[*pack as usize].id).collect()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is positive and at most the whole"
)]
fn share(of: u64, percent: f64) -> u64 {
    (of as f64 * percent.clamp(0.0, 100.0) / 100.0) as u64
}
