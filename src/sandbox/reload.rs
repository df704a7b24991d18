//! Puts the sandbox's configuration in force again when somebody has changed it, as an agent does.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
use crate::config;
use crate::engine::Engine;

/// How often is looked whether it has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches a configuration for an engine, until what is returned is dropped.
pub(super) fn watch(path: PathBuf, engine: Engine, clock: Clock) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut seen = look(&path);
        loop {
            clock.sleep(LOOK_EVERY).await;
            let now = look(&path);
            if now == seen {
                continue;
            }
            seen = now;
            let from = path.clone();
            // It reads a file or two.
            let loaded = tokio::task::spawn_blocking(move || config::load(Some(&from))).await;
            let Ok(loaded) = loaded else { continue };
            engine.reload(
                loaded
                    .map(|config| config.definitions)
                    .map_err(|error| error.to_string()),
            );
        }
    }))
}

/// What differs when somebody has written it.
fn look(path: &Path) -> Option<(SystemTime, u64)> {
    let facts = std::fs::metadata(path).ok()?;
    Some((facts.modified().ok()?, facts.len()))
}
