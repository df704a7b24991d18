//! Chance, for drills at a random restore point.

use crate::domain::decide::Context;
use crate::domain::pitr::LogSight;
use crate::domain::units::{Millis, Timestamp};

/// Numbers that nobody chose, from what differs at every decision.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(context: &Context<'_>) -> Self {
        let millis = u64::try_from(context.now.timestamp_millis()).unwrap_or(0);
        Self(millis ^ (u64::from(context.unique) << 40))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.next() % bound.max(1)).unwrap_or(0)
    }

    /// An instant of what can be restored, each as likely as the others.
    pub(super) fn instant(&mut self, sight: &LogSight) -> Option<Timestamp> {
        let spans = sight
            .spans()
            .into_iter()
            .map(|(from, to)| (from, Millis::between(from, to).0 + 1));
        let spans: Vec<(Timestamp, u64)> = spans.collect();
        let whole: u64 = spans.iter().map(|(_, length)| length).sum();
        let mut place = self.next() % whole.max(1);
        for (from, length) in spans {
            if place < length {
                return Some(from + Millis(place).to_chrono());
            }
            place -= length;
        }
        None
    }
}
