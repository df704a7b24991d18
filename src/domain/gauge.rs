//! How a service stands against what was promised, from facts alone.
//!
//! The recovery point is the newest instant that is provably restorable: of a complete snapshot, in the store, that no
//! verification has refuted; and of a cluster whose log is archived, of the log behind such a snapshot. An exit code never
//! counts.

use super::id::{ServiceName, SourceName};
use super::job::Definitions;
use super::objective::{GaugeLevel, RpoGauge, RtoGauge, Service};
use super::recovery::{PhaseTime, RecoveryPhase};
use super::seen::Seen;
use super::snapshot::SnapshotRecord;
use super::state::{Measurement, SourceFacts, State};
use super::units::{Bytes, Millis, Timestamp};

/// At risk begins when this many quarters of the objective are used up.
const AT_RISK_QUARTERS: u64 = 3;

/// The newest snapshot of a source on whose strength an instant may be promised.
pub fn newest_restorable<'a>(state: &'a State, source: &SourceName) -> Option<&'a SnapshotRecord> {
    state
        .sources
        .get(source)?
        .restore_points
        .iter()
        .rev()
        .find(|point| point.is_restorable())
}

/// The newest instant of a source that may be promised: of its newest snapshot, or of the log behind it.
fn newest_instant(seen: &Seen, source: &SourceName, point: &SnapshotRecord) -> Timestamp {
    let by_log = seen.logs_of(source).filter_map(|sight| sight.recoverable_to);
    by_log.fold(point.taken_at, Timestamp::max)
}

/// What would be lost if the service failed now.
pub fn rpo(state: &State, seen: &Seen, definitions: &Definitions, service: &Service, now: Timestamp) -> RpoGauge {
    let objective = service.objective.rpo;
    let mut worst: Option<(&SourceName, &SnapshotRecord, Timestamp)> = None;
    for source in &service.sources {
        let Some(point) = newest_restorable(state, source) else {
            return RpoGauge {
                objective,
                loss: None,
                recoverable_to: None,
                worst_source: Some(source.clone()),
                snapshot: None,
                evidence: None,
                by_log: false,
                breach_in: first_backup_due_in(state, definitions, source, objective, now),
                level: match first_backup_due_in(state, definitions, source, objective, now) {
                    Some(_) => GaugeLevel::Unknown,
                    None => GaugeLevel::Breached,
                },
            };
        };
        let instant = newest_instant(seen, source, point);
        if worst.is_none_or(|(.., worst)| instant < worst) {
            worst = Some((source, point, instant));
        }
    }
    let loss = worst.map(|(.., instant)| Millis::between(instant, now));
    RpoGauge {
        objective,
        loss,
        recoverable_to: worst.map(|(.., instant)| instant),
        worst_source: worst.map(|(source, ..)| source.clone()),
        snapshot: worst.map(|(_, point, ..)| point.id.clone()),
        evidence: worst.map(|(_, point, ..)| point.evidence.clone()),
        by_log: worst.is_some_and(|(_, point, instant)| instant > point.taken_at),
        breach_in: loss.map(|loss| Millis(objective.0.saturating_sub(loss.0))),
        level: loss.map_or(GaugeLevel::Unknown, |loss| level_of(loss, objective)),
    }
}

/// The verdict on a measured time against its objective.
pub fn level_of(measured: Millis, objective: Millis) -> GaugeLevel {
    if measured > objective {
        GaugeLevel::Breached
    } else if measured > objective.scaled(AT_RISK_QUARTERS, 4) {
        GaugeLevel::AtRisk
    } else {
        GaugeLevel::Met
    }
}

/// How long a source that was just added has left to get its first backup; none when that time is over.
fn first_backup_due_in(
    state: &State,
    definitions: &Definitions,
    source: &SourceName,
    objective: Millis,
    now: Timestamp,
) -> Option<Millis> {
    let appeared = definitions
        .jobs_of(source)
        .filter_map(|job| state.jobs.get(&job.name))
        .map(|facts| facts.appeared_at);
    let deadline = appeared.min()? + objective.to_chrono();
    (deadline > now).then(|| Millis::between(now, deadline))
}

/// How long the service takes to recover, by measurement.
pub fn rto(state: &State, service: &Service) -> RtoGauge {
    let objective = service.objective.rto;
    let mut gauge = RtoGauge {
        objective,
        measured: Some(Millis(0)),
        measured_p90: Some(Millis(0)),
        samples: 0,
        last_at: None,
        last_recovery: None,
        level: GaugeLevel::Unknown,
    };
    for source in &service.sources {
        let measurements = state.sources.get(source).map(|facts| &facts.measurements);
        let times: Vec<Millis> = measurements
            .into_iter()
            .flatten()
            .map(|measurement| measurement.took)
            .collect();
        gauge.samples += times.len();
        gauge.measured = add(gauge.measured, quantile(&times, 1, 2));
        gauge.measured_p90 = add(gauge.measured_p90, quantile(&times, 9, 10));
        if let Some(last) = measurements
            .and_then(|all| all.back())
            .filter(|last| gauge.last_at < Some(last.at))
        {
            gauge.last_at = Some(last.at);
            gauge.last_recovery = Some(last.recovery.clone());
        }
    }
    if service.sources.is_empty() {
        gauge.measured = None;
        gauge.measured_p90 = None;
    }
    gauge.level = gauge
        .measured
        .map_or(GaugeLevel::Unknown, |measured| level_of(measured, objective));
    gauge
}

fn add(sum: Option<Millis>, more: Option<Millis>) -> Option<Millis> {
    Some(Millis(sum?.0.saturating_add(more?.0)))
}

/// The smallest time that at least `numerator / denominator` of the times do not exceed.
fn quantile(times: &[Millis], numerator: usize, denominator: usize) -> Option<Millis> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * numerator).div_ceil(denominator);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// How long something should take.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Estimate {
    /// The median.
    pub median: Option<Millis>,
    /// The ninetieth percentile.
    pub p90: Option<Millis>,
    /// How many measurements it rests on.
    pub samples: usize,
    /// The median, phase by phase, when it has two.
    pub phases: Vec<PhaseTime>,
}

/// How long a recovery should take that writes `size` bytes of a source and then replays so much log, by what was measured.
///
/// Laying down and replaying go by rates of their own: one is the repository's, the other the server's.
pub fn estimate(facts: Option<&SourceFacts>, size: Bytes, replay: Option<Bytes>) -> Estimate {
    let (median, p90, samples) = laying(facts, size);
    let Some(log) = replay else {
        return Estimate {
            median,
            p90,
            samples,
            phases: Vec::new(),
        };
    };
    let (replay_median, replay_p90, replays) = replaying(facts, log);
    let phase = |phase, took: Option<Millis>| took.map(|took| PhaseTime { phase, took });
    let phases = [
        phase(RecoveryPhase::Restore, median),
        phase(RecoveryPhase::Replay, replay_median),
    ];
    Estimate {
        median: add(median, replay_median),
        p90: add(p90, replay_p90),
        samples: samples.min(replays),
        phases: phases.into_iter().flatten().collect(),
    }
}

/// How long replaying so much log should take, by the rates of earlier replays.
fn replaying(facts: Option<&SourceFacts>, log: Bytes) -> (Option<Millis>, Option<Millis>, usize) {
    // A replay of less is mostly the server's start, and says nothing about a rate.
    let floor = 16 << 20;
    let measured = facts.into_iter().flat_map(|facts| &facts.measurements);
    let scaled = measured.filter_map(|measurement| {
        let (took, bytes) = measurement.replay?;
        Some(scale(took, log, bytes, floor))
    });
    let times: Vec<Millis> = scaled.collect();
    (quantile(&times, 1, 2), quantile(&times, 9, 10), times.len())
}

/// A time for `measured` bytes as one for `wanted`; below `floor` both count as that, because fixed costs rule there.
fn scale(took: Millis, wanted: Bytes, measured: Bytes, floor: u64) -> Millis {
    let ratio = (wanted.0.max(floor)) as f64 / (measured.0.max(floor)) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time estimate, positive"
    )]
    Millis((took.0 as f64 * ratio) as u64)
}

/// How long writing `size` bytes of a source should take, by its measured recoveries: median, ninetieth percentile, samples.
fn laying(facts: Option<&SourceFacts>, size: Bytes) -> (Option<Millis>, Option<Millis>, usize) {
    let scale = |measurement: &Measurement| {
        let replayed = measurement.replay.map_or(0, |(took, _)| took.0);
        let took = Millis(measurement.took.0.saturating_sub(replayed));
        scale(took, size, measurement.written, 8 << 20)
    };
    let times: Vec<Millis> = facts
        .into_iter()
        .flat_map(|facts| facts.measurements.iter().map(scale))
        .collect();
    (quantile(&times, 1, 2), quantile(&times, 9, 10), times.len())
}

/// The objective a recovery of that source is measured against: the strictest of its services.
pub fn objective_of(definitions: &Definitions, source: &SourceName) -> Option<(ServiceName, Millis)> {
    let services = definitions
        .services_of(source)
        .map(|service| (service.name.clone(), service.objective.rto));
    services.min_by_key(|(_, rto)| *rto)
}
