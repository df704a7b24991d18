//! Events of old versions, read as if they had been written today. The one place that knows how events used to look.
//!
//! When the meaning of an event changes, [`EVENT_VERSION`] goes up, the step from the version before is written here, and
//! a golden file of the old version stays in `tests/golden` for ever.

use serde_json::value::RawValue;

use crate::domain::event::{EVENT_VERSION, Event};

/// Reads an event of any version that was ever written.
pub(super) fn decode(version: u32, event: &RawValue) -> Result<Event, String> {
    match version {
        1 => serde_json::from_str(event.get()).map_err(|error| error.to_string()),
        _ => Err(format!(
            "it is of version {version}; this program knows versions 1 to {EVENT_VERSION}"
        )),
    }
}
