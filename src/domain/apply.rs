//! What an event does to the state. The only code that changes it.

use super::event::EventRecord;
use super::state::State;

/// Applies one event. Events must come in order, without gaps.
pub fn apply(state: &mut State, record: &EventRecord) {
    state.seq = record.seq;
    state.last_event_at = Some(record.at);
}
