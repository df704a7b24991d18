//! What work that ended counts for, and what a command led to.

use crate::domain::command::Observation;
use crate::domain::event::Event;
use crate::domain::run::Outcome;
use crate::domain::runbook::{RunbookFact, StepSeen};
use crate::domain::view::Receipt;

/// Whether an observation tells of work that was cut off rather than ended.
pub(super) fn is_cut_off(observation: &Observation) -> bool {
    match observation {
        Observation::RunEnded { result, .. } => result.outcome == Outcome::Cancelled,
        Observation::RecoveryEnded { record, .. } => record.outcome == Outcome::Cancelled,
        Observation::FollowUpEnded { result, .. } => result.outcome == Outcome::Cancelled,
        Observation::MaintenanceEnded { result, .. } => result.outcome == Outcome::Cancelled,
        // What the step did is for its verification to find out.
        Observation::Step {
            seen: StepSeen::Ended(end),
            ..
        } => end.stopped,
        _ => false,
    }
}

/// What a command led to, by its events.
pub(super) fn receipt(events: &[Event]) -> Receipt {
    let mut receipt = Receipt::default();
    for event in events {
        match event {
            Event::RunQueued { run, .. } => receipt.run = Some(run.clone()),
            Event::RecoveryRequested { recovery } => receipt.recovery = Some(recovery.id.clone()),
            Event::MaintenanceRequested { maintenance } => receipt.maintenance.push(maintenance.id.clone()),
            Event::Runbook {
                run,
                fact: RunbookFact::Started { .. },
            } => receipt.runbook = Some(run.clone()),
            _ => {}
        }
    }
    receipt
}
