//! What an agent watches beside its clients: whether its configuration has changed, and whether anybody needs it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::api::types::Overview;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::domain::Millis;
use crate::engine::Engine;

/// How often the configuration's files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Notices that the configuration has changed.
#[derive(Debug)]
pub struct ConfigWatch {
    path: PathBuf,
    seen: u64,
    clock: Clock,
}

impl ConfigWatch {
    /// Watches the files of a configuration that was just read.
    pub fn new(config: &Config, clock: Clock) -> Self {
        Self {
            path: config.path.clone(),
            seen: fingerprint(&config.path),
            clock,
        }
    }

    /// Waits until the files are not what they were.
    pub async fn changed(&self) {
        loop {
            self.clock.sleep(LOOK_INTERVAL).await;
            if fingerprint(&self.path) != self.seen {
                return;
            }
        }
    }

    /// Reads them again and puts them in force, or has the engine show why they could not be.
    pub fn reload(&mut self, engine: &Engine) {
        // Taken before they are read: a change in between is noticed as one more.
        self.seen = fingerprint(&self.path);
        let loaded = config::load(Some(&self.path));
        match &loaded {
            Ok(_) => tracing::info!(config = %self.path.display(), "the configuration was read again"),
            Err(error) => tracing::error!(%error, "the configuration cannot be used; the one before stays in force"),
        }
        engine.reload(
            loaded
                .map(|config| config.definitions)
                .map_err(|error| error.to_string()),
        );
    }
}

/// Tells whether files have changed without reading them: by names, sizes, times and rights.
fn fingerprint(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let directories = config::directories(path);
    let entries = directories.iter().flat_map(std::fs::read_dir).flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files.push(path.to_owned());
    for file in files {
        file.hash(&mut hasher);
        if let Ok(metadata) = file.metadata() {
            let times = (metadata.mtime(), metadata.mtime_nsec());
            (metadata.ino(), metadata.len(), times, metadata.mode(), metadata.uid()).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Notices that nobody needs an agent that was started on demand.
#[derive(Debug)]
pub struct Idle {
    limit: Option<Millis>,
    overview: watch::Receiver<Arc<Overview>>,
    clock: Clock,
}

impl Idle {
    /// Without a limit, an agent never is idle.
    pub fn new(limit: Option<Millis>, overview: watch::Receiver<Arc<Overview>>, clock: Clock) -> Self {
        Self { limit, overview, clock }
    }

    /// Waits until nobody was attached and nothing was running or scheduled for that long.
    ///
    /// May be dropped and begun again: other events only make it wait longer.
    pub async fn long_enough(&mut self) {
        let Some(limit) = self.limit else {
            return std::future::pending().await;
        };
        // A picture that changes without anybody needing the agent, as measurements do, is no reason to wait longer.
        let mut until = None;
        loop {
            let needed = is_needed(&self.overview.borrow_and_update());
            let over = self.clock.now() + limit.to_chrono();
            until = if needed { None } else { until.or(Some(over)) };
            tokio::select! {
                changed = self.overview.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                () = self.clock.sleep_until(until.unwrap_or(over)), if !needed => return,
            }
        }
    }
}

fn is_needed(overview: &Overview) -> bool {
    let scheduled = overview.jobs.iter().any(|job| job.enabled && job.schedule.is_some());
    let scheduled = scheduled || overview.drills.iter().any(|drill| drill.next_due.is_some());
    let receives = overview.logs.iter().any(|log| log.receiver.is_some());
    let busy = !(overview.runs.is_empty() && overview.recoveries.is_empty() && overview.maintenance.is_empty());
    let agent = &overview.agent;
    // A run that waits for a person is not over: nobody else would ask its questions. A cluster it fails over by itself
    // counts on it at any time.
    agent.clients > 0 || !agent.guards.is_empty() || scheduled || receives || busy || !overview.executions.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lifeboat.toml");
        let mut seen = vec![fingerprint(&path)];
        std::fs::write(&path, "a").unwrap();
        seen.push(fingerprint(&path));
        assert_eq!(
            fingerprint(&path),
            seen[1],
            "and nothing is noticed when nothing has changed"
        );
        std::fs::create_dir(dir.path().join("conf.d")).unwrap();
        std::fs::write(dir.path().join("conf.d/x.toml"), "a").unwrap();
        seen.push(fingerprint(&path));
        std::fs::write(dir.path().join("conf.d/x.toml"), "ab").unwrap();
        seen.push(fingerprint(&path));
        std::fs::remove_file(dir.path().join("conf.d/x.toml")).unwrap();
        seen.push(fingerprint(&path));
        std::fs::create_dir(dir.path().join("runbooks")).unwrap();
        std::fs::write(dir.path().join("runbooks/x.toml"), "a").unwrap();
        seen.push(fingerprint(&path));
        seen.dedup();
        assert_eq!(seen.len(), 6);
    }
}
