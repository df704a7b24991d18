//! What the clusters of the configuration look like now, for screens that stay open.
//!
//! Nothing of it is state: it is asked of the servers when somebody wants to see it, and kept for a moment, so that several
//! consoles cost the servers no more than one. Whoever asks meanwhile gets the same answer. One cluster that cannot be looked
//! at is said to be so and hides no other.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::secret;
use crate::domain::cluster::{Cluster, ClusterView};
use crate::domain::job::Definitions;
use crate::source::postgres::Login;
use crate::source::postgres::cluster::{ClusterHandle, Ledger};

/// How long a look is good for.
const FRESH: Duration = Duration::from_secs(2);

/// The last look.
#[derive(Debug)]
pub(super) struct Clusters {
    state_dir: PathBuf,
    clock: Clock,
    last: Mutex<Option<(Instant, Vec<ClusterView>)>>,
}

impl Clusters {
    /// Nothing was looked at yet.
    pub(super) fn new(state_dir: PathBuf, clock: Clock) -> Self {
        Self {
            state_dir,
            clock,
            last: Mutex::new(None),
        }
    }

    /// Looks at all clusters, or returns the last look while it is fresh.
    pub(super) async fn look(&self, definitions: &Definitions) -> Vec<ClusterView> {
        let mut last = self.last.lock().await;
        if let Some((at, views)) = last.as_ref()
            && self.clock.elapsed(*at) < FRESH
        {
            return views.clone();
        }
        let views = join_all(definitions.clusters.values().map(|cluster| self.one(cluster))).await;
        *last = Some((self.clock.monotonic(), views.clone()));
        views
    }

    async fn one(&self, cluster: &Cluster) -> ClusterView {
        let mut logins = std::collections::BTreeMap::new();
        for member in &cluster.members {
            // A member whose password cannot be read does not answer, and says why.
            let password = match &member.connection.password {
                Some(reference) => secret::resolve(reference).await.ok(),
                None => None,
            };
            logins.insert(member.name.clone(), Login::new(member.connection.clone(), password));
        }
        let handle = ClusterHandle {
            cluster: cluster.clone(),
            logins,
            ledger: Ledger::new(&self.state_dir, &cluster.name),
            by: String::new(),
            clock: self.clock.clone(),
            cancel: CancellationToken::new(),
        };
        let (seen, notes) = (handle.look().await, handle.record());
        let trouble = notes.as_ref().err().map(ToString::to_string);
        ClusterView::new(cluster, seen, &notes.unwrap_or_default(), trouble)
    }
}
