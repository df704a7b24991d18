//! What the end of a recovery does to the state: what it measured, what it could not say, the drill it was.

use super::push_bounded;
use crate::domain::recovery::{RecoveryPhase, RecoveryRecord};
use crate::domain::run::Outcome;
use crate::domain::snapshot::EvidenceLevel;
use crate::domain::state::{Inconclusive, MEASUREMENTS_KEPT, Measurement, SourceFacts, State};
use crate::domain::units::Millis;
use crate::domain::{drill, follow_up};

pub(super) fn finish(state: &mut State, record: &RecoveryRecord) {
    state.recoveries.remove(&record.id);
    drill::finished(state, record);
    follow_up::left(state, record);
    let Some(source) = &record.source else { return };
    let facts = state.sources.entry(source.clone()).or_default();
    if let Some(took) = measured_time(record) {
        let measurement = Measurement {
            recovery: record.id.clone(),
            at: record.finished_at,
            took,
            written: record.written,
            replay: phase_time(record, RecoveryPhase::Replay).map(|took| (took, record.replayed)),
        };
        push_bounded(&mut facts.measurements, measurement, MEASUREMENTS_KEPT);
    }
    // That an instant could not be reached says nothing about the snapshot.
    let of_snapshot = record.request.target.is_verification() && record.request.instant.is_none();
    if of_snapshot && record.outcome.is_failure() {
        note_inconclusive(facts, record);
    }
}

fn note_inconclusive(facts: &mut SourceFacts, record: &RecoveryRecord) {
    let snapshot = &record.request.snapshot;
    let refuted = facts
        .restore_points
        .iter()
        .any(|point| point.id == *snapshot && point.evidence.failure.is_some());
    let Some(failure) = record.error.clone().filter(|_| !refuted) else {
        return;
    };
    let attempts = facts
        .inconclusive
        .as_ref()
        .filter(|last| last.snapshot == *snapshot)
        .map_or(0, |last| last.attempts);
    facts.inconclusive = Some(Inconclusive {
        snapshot: snapshot.clone(),
        attempts: attempts + 1,
        at: record.finished_at,
        failure,
    });
}

/// The time a recovery shows that recovering takes: writing and checking, when all of the snapshot came back.
fn measured_time(record: &RecoveryRecord) -> Option<Millis> {
    use crate::domain::recovery::RecoveryTarget::{Database, Directory, Scratch};
    let whole = match &record.request.target {
        Directory {
            include,
            subpath,
            delta,
            ..
        } => include.is_empty() && subpath.is_none() && !delta,
        Database { .. } => true,
        Scratch { .. } => record.evidence >= Some(EvidenceLevel::Restored),
    };
    if record.outcome != Outcome::Succeeded || !whole {
        return None;
    }
    Some(time_to_usable(record))
}

/// How long a recovery took until what it brought back could be used and was checked.
pub(in crate::domain) fn time_to_usable(record: &RecoveryRecord) -> Millis {
    let counted = |phase| {
        matches!(
            phase,
            RecoveryPhase::Restore | RecoveryPhase::Replay | RecoveryPhase::Verify
        )
    };
    let phases = record.phases.iter().filter(|time| counted(time.phase));
    Millis(phases.map(|time| time.took.0).sum())
}

fn phase_time(record: &RecoveryRecord, phase: RecoveryPhase) -> Option<Millis> {
    record
        .phases
        .iter()
        .find(|time| time.phase == phase)
        .map(|time| time.took)
}
