//! How far back from now a cluster would be if it failed: what the archive has, held against what the server had written.
//!
//! Reading the log to see when its last transaction was committed says too little: a server in which nothing happens commits
//! nothing, and loses nothing. So each look first asks the server up to where it has written, and notes the time at which it
//! asked; then the archive is listed. Everything that was written when a noted place was asked for is safe once the archive
//! is whole behind a base backup up to that place: that time is an instant nothing before which can be lost. It is never too
//! late, and at most one look too early.
//!
//! Nothing of it is an event. It is a measurement, as progress is, made again a few seconds later.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Base, Interval, Leg, Log, Missing, intervals};
use crate::domain::id::{RepositoryName, SourceName};
use crate::domain::run::Failure;
use crate::domain::units::{Bytes, Timestamp};
use crate::domain::wal::{Lsn, SystemId, TimelineId};

/// How many places are noted that the archive does not reach yet; when there are more, every second is dropped.
const NOTED: usize = 2048;

/// No record of the log is shorter. The beginning of a growing segment is archived without the zeros behind it, of which some
/// may belong to its last record: where less than this is missing, no record is.
const SHORTEST_RECORD: u64 = 24;

/// Where a server was when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The time just before it was asked.
    pub at: Timestamp,
    /// The timeline it was on.
    pub timeline: TimelineId,
    /// Up to where it had written its log.
    pub lsn: Lsn,
}

/// What one look at a cluster's log has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// The cluster.
    pub system: SystemId,
    /// Where the server was; or why it does not say.
    pub live: Result<Written, String>,
    /// What the archive holds; none when nothing was ever archived.
    pub log: Option<Log>,
    /// When the newest transaction of each stretch was committed, where somebody has read that: by then all of it was written.
    pub ends: Vec<Written>,
}

/// How a cluster's log stands; sampled, never an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSight {
    /// The source.
    pub source: SourceName,
    /// The repository that has the archive.
    pub repository: RepositoryName,
    /// The cluster; none until its archive was seen.
    pub system: Option<SystemId>,
    /// When it was looked at last, with success or without.
    pub looked_at: Timestamp,
    /// The newest instant that can be restored with the log, when there is one.
    pub recoverable_to: Option<Timestamp>,
    /// What can be restored, oldest first.
    pub stretches: Vec<Interval>,
    /// What is missing in the stretch that counts, while more log is behind it.
    pub gap: Option<Missing>,
    /// Up to where the server has written.
    pub live: Option<Lsn>,
    /// How much of that is not in the archive.
    pub behind: Option<Bytes>,
    /// Since when the server has something that the archive has not.
    pub waiting_since: Option<Timestamp>,
    /// Why the server does not say where it is.
    pub silent: Option<String>,
    /// Why the archive could not be looked at.
    pub failure: Option<Failure>,
    /// How the agent's own receiver does; none when somebody else archives the log.
    #[serde(default)]
    pub receiver: Option<ReceiverSight>,
}

/// How a receiver of the log does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverSight {
    /// What keeps it from receiving; it tries again for ever.
    pub trouble: Option<String>,
}

/// What is remembered between looks.
#[derive(Debug, Clone, Default)]
pub struct LogWatch {
    noted: VecDeque<Written>,
    /// The newest place that the archive reached.
    reached: Option<Written>,
    /// The newest place of each stretch whose time is known.
    known: Vec<Written>,
    last: Option<LogSight>,
}

impl LogWatch {
    /// Whether nobody has looked yet, so that it is worth reading when the newest transaction was committed.
    pub const fn is_new(&self) -> bool {
        self.reached.is_none()
    }

    /// Takes in a look, with the base backups that can be relied on, and says how the log stands.
    pub fn take(
        &mut self,
        source: &SourceName,
        repository: &RepositoryName,
        bases: &[Base],
        looked: Result<Looked, Failure>,
        now: Timestamp,
    ) -> LogSight {
        let sight = match looked {
            Ok(looked) => self.seen(source, repository, bases, &looked, now),
            // What was known is still true; it only grows older.
            Err(failure) => LogSight {
                looked_at: now,
                failure: Some(failure),
                ..self
                    .last
                    .clone()
                    .unwrap_or_else(|| LogSight::nothing(source, repository, now))
            },
        };
        self.last = Some(sight.clone());
        sight
    }

    fn seen(
        &mut self,
        source: &SourceName,
        repository: &RepositoryName,
        bases: &[Base],
        looked: &Looked,
        now: Timestamp,
    ) -> LogSight {
        let mut sight = LogSight::nothing(source, repository, now);
        if self
            .last
            .as_ref()
            .and_then(|last| last.system)
            .is_some_and(|system| system != looked.system)
        {
            *self = Self::default();
        }
        sight.system = Some(looked.system);
        match &looked.live {
            Ok(written) => {
                sight.live = Some(written.lsn);
                self.note(*written);
            }
            Err(why) => sight.silent = Some(why.clone()),
        }
        let Some(log) = &looked.log else { return sight };
        let bases: Vec<Base> = bases
            .iter()
            .filter(|base| base.facts.system == looked.system)
            .cloned()
            .collect();
        sight.stretches = intervals(&bases, log);
        let Some(counts) = newest(&sight.stretches, &bases) else {
            return sight;
        };
        let counts = counts.clone();
        sight.gap = counts.gap;
        let held = Held::by(&counts, &bases, log);
        // What was reached before counts only as long as it can still be reached: base backups go, and damage is found.
        let before = self.reached.into_iter().chain(looked.ends.iter().copied());
        let candidates = self.noted.iter().copied().chain(before);
        self.reached = candidates.filter(|one| held.has(one)).max_by_key(|written| written.at);
        self.noted.retain(|written| !held.has(written));
        self.known.extend(looked.ends.iter().copied().chain(self.reached));
        let mut known = Vec::new();
        for stretch in &mut sight.stretches {
            let held = Held::by(stretch, &bases, log);
            let inside = self.known.iter().filter(|one| one.lsn >= stretch.from && held.has(one));
            let newest = inside.max_by_key(|one| one.at).copied();
            let of_stretch = bases.iter().filter(|base| stretch.bases.contains(&base.id));
            let ends = of_stretch.map(|base| base.facts.stopped_at).max();
            stretch.to_at = newest.map(|one| one.at).max(ends);
            known.extend(newest);
        }
        self.known = known;
        let same = |stretch: &&Interval| (stretch.timeline, stretch.from) == (counts.timeline, counts.from);
        sight.recoverable_to = sight.stretches.iter().find(same).and_then(|stretch| stretch.to_at);
        sight.waiting_since = self.noted.front().map(|written| written.at);
        sight.behind = sight.live.map(|live| Bytes(missing(&counts, live)));
        sight
    }

    fn note(&mut self, written: Written) {
        // As long as the server stands still, the first time it was seen there says the least, and the last the most:
        // both are kept, one for since when something is waited for, one for how far it is safe.
        let still = |one: &Written| (one.timeline, one.lsn) == (written.timeline, written.lsn);
        let count = self.noted.len();
        if count >= 2 && self.noted.iter().skip(count - 2).all(still) {
            self.noted.pop_back();
        }
        self.noted.push_back(written);
        if self.noted.len() > NOTED {
            let mut place = 0;
            self.noted.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
    }
}

/// The stretch that a recovery to the newest instant would use: the one with the newest base backup, on the newest timeline.
fn newest<'a>(stretches: &'a [Interval], bases: &[Base]) -> Option<&'a Interval> {
    let newest_base = |stretch: &Interval| {
        let of_stretch = bases.iter().filter(|base| stretch.bases.contains(&base.id));
        of_stretch.map(|base| base.facts.stopped_at).max()
    };
    stretches
        .iter()
        .max_by_key(|stretch| (newest_base(stretch), stretch.timeline, stretch.to))
}

/// How much of the log up to a place a stretch lacks.
fn missing(stretch: &Interval, lsn: Lsn) -> u64 {
    let lacks = lsn.0.saturating_sub(stretch.to.0);
    if lacks < SHORTEST_RECORD { 0 } else { lacks }
}

/// What a stretch holds of the log.
struct Held<'a> {
    stretch: &'a Interval,
    legs: Vec<Leg>,
}

impl<'a> Held<'a> {
    fn by(stretch: &'a Interval, bases: &[Base], log: &Log) -> Self {
        let legs = log.way_from(bases, stretch.timeline).unwrap_or_default();
        Self { stretch, legs }
    }

    /// Whether it holds the log up to a place that the server had written.
    fn has(&self, written: &Written) -> bool {
        let own = self.legs.iter().find(|leg| leg.timeline == written.timeline);
        let on_the_way = own.is_some_and(|leg| leg.until.is_none_or(|until| written.lsn <= until));
        on_the_way && missing(self.stretch, written.lsn) == 0
    }
}

impl LogSight {
    /// The stretches as times, oldest first. Those that overlap are one: a timeline that was left and the one that goes on are
    /// two ways through the same time, and nothing is missing between them.
    pub fn spans(&self) -> Vec<(Timestamp, Timestamp)> {
        let span = |stretch: &Interval| (stretch.from_at, stretch.to_at.unwrap_or(stretch.from_at));
        let mut all: Vec<_> = self.stretches.iter().map(span).collect();
        all.sort_unstable();
        all.dedup_by(|next, last| {
            let overlap = next.0 <= last.1;
            if overlap {
                last.1 = last.1.max(next.1);
            }
            overlap
        });
        all
    }

    /// Nothing is known: there is no base backup behind which a log could count.
    pub fn nothing(source: &SourceName, repository: &RepositoryName, now: Timestamp) -> Self {
        Self {
            source: source.clone(),
            repository: repository.clone(),
            system: None,
            looked_at: now,
            recoverable_to: None,
            stretches: Vec::new(),
            gap: None,
            live: None,
            behind: None,
            waiting_since: None,
            silent: None,
            failure: None,
            receiver: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::SnapshotId;
    use crate::domain::snapshot::ClusterFacts;
    use crate::domain::wal::{Continuity, SegmentName, SegmentSize, WalName};

    const MIB: u64 = 1 << 20;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_000_000 + second, 0).unwrap()
    }

    fn base(name: &str, stop: u64, second: i64) -> Base {
        Base {
            id: SnapshotId(name.into()),
            facts: ClusterFacts {
                system: SystemId(7),
                timeline: TimelineId(1),
                start_lsn: Lsn(stop - MIB),
                stop_lsn: Lsn(stop),
                stopped_at: at(second),
                major: 15,
                damaged_pages: 0,
            },
            size: Bytes(1),
        }
    }

    fn log(numbers: &[u64]) -> Log {
        let size = SegmentSize::default();
        let name = |number: &u64| WalName::Segment(SegmentName::numbered(TimelineId(1), *number, size));
        Log {
            size,
            continuity: Continuity::of(numbers.iter().map(name), &[], size),
            ..Log::default()
        }
    }

    fn look(second: i64, live: Result<u64, &str>, numbers: &[u64]) -> Looked {
        let written = |lsn| Written {
            at: at(second),
            timeline: TimelineId(1),
            lsn: Lsn(lsn),
        };
        Looked {
            system: SystemId(7),
            live: live.map(written).map_err(str::to_owned),
            log: (!numbers.is_empty()).then(|| log(numbers)),
            ends: Vec::new(),
        }
    }

    struct World(LogWatch, Vec<Base>);

    impl World {
        fn take(&mut self, second: i64, looked: Looked) -> LogSight {
            self.0
                .take(&"db".into(), &"near".into(), &self.1, Ok(looked), at(second))
        }
    }

    #[test]
    fn what_was_written_when_it_was_asked_is_safe_once_it_is_archived() {
        let mut world = World(LogWatch::default(), vec![base("a", 20 * MIB, 0)]);
        // Segment 1 holds 16 to 32 MiB.
        let seen = world.take(10, look(10, Ok(40 * MIB), &[1]));
        assert_eq!(seen.recoverable_to, Some(at(0)), "the end of the base backup");
        assert_eq!((seen.behind, seen.waiting_since), (Some(Bytes(8 * MIB)), Some(at(10))));
        let seen = world.take(20, look(20, Ok(50 * MIB), &[1, 2]));
        assert_eq!(
            seen.recoverable_to,
            Some(at(10)),
            "what was written by then is in segment 2"
        );
        assert_eq!(seen.waiting_since, Some(at(20)));
        // A server that stands still loses nothing, however long.
        let seen = world.take(30, look(30, Ok(50 * MIB), &[1, 2, 3]));
        assert_eq!((seen.recoverable_to, seen.waiting_since), (Some(at(30)), None));
        let seen = world.take(3000, look(3000, Ok(50 * MIB), &[1, 2, 3]));
        assert_eq!(seen.recoverable_to, Some(at(3000)));
    }

    #[test]
    fn a_gap_ends_what_can_be_restored_until_a_base_backup_is_behind_it() {
        let mut world = World(LogWatch::default(), vec![base("a", 20 * MIB, 0)]);
        world.take(5, look(5, Ok(40 * MIB), &[1, 2]));
        let seen = world.take(10, look(10, Ok(70 * MIB), &[1, 2, 4]));
        assert_eq!(seen.recoverable_to, Some(at(5)));
        assert_eq!(seen.gap.unwrap().first.to_string(), "000000010000000000000003");
        world.1.push(base("b", 66 * MIB, 15));
        let seen = world.take(20, look(20, Ok(75 * MIB), &[1, 2, 4]));
        assert_eq!((seen.recoverable_to, seen.gap), (Some(at(20)), None));
        let known: Vec<_> = seen.stretches.iter().map(|stretch| stretch.to_at).collect();
        assert_eq!(known, [Some(at(5)), Some(at(20))], "how far each goes is remembered");
    }

    #[test]
    fn what_cannot_be_asked_makes_nothing_better_and_forgets_nothing() {
        let mut world = World(LogWatch::default(), vec![base("a", 20 * MIB, 0)]);
        world.take(10, look(10, Ok(30 * MIB), &[1]));
        let seen = world.take(60, look(60, Err("connection refused"), &[1]));
        assert_eq!(seen.recoverable_to, Some(at(10)));
        assert_eq!(seen.silent.as_deref(), Some("connection refused"));
        let failure = Failure::permanent("no store", "mend it");
        let failed = world
            .0
            .take(&"db".into(), &"near".into(), &world.1, Err(failure), at(90));
        assert_eq!((failed.recoverable_to, failed.looked_at), (Some(at(10)), at(90)));
        assert!(failed.failure.is_some());
    }

    #[test]
    fn while_nothing_is_archived_the_memory_is_bounded_and_keeps_the_first() {
        let mut world = World(LogWatch::default(), vec![base("a", 20 * MIB, 0)]);
        for second in 0..3_000 {
            let place = u64::try_from(second).unwrap();
            world.take(second, look(second, Ok(40 * MIB + place), &[1]));
        }
        assert!(world.0.noted.len() <= NOTED);
        let seen = world.take(3_000, look(3_000, Ok(48 * MIB), &[1]));
        assert_eq!(seen.waiting_since, Some(at(0)));
        // Two hours of standing still are two notes.
        let mut world = World(LogWatch::default(), Vec::new());
        for second in 0..100 {
            world.take(second, look(second, Ok(40 * MIB), &[]));
        }
        assert_eq!(world.0.noted.len(), 2);
    }
}
