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
use crate::domain::cluster::{Cluster, ClusterView};
use crate::domain::job::Definitions;
use crate::source::postgres::cluster::ClusterHandle;

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
        let (clock, cancel) = (self.clock.clone(), CancellationToken::new());
        let handle = ClusterHandle::reach(cluster.clone(), &self.state_dir, String::new(), clock, cancel).await;
        let (seen, notes) = (handle.look().await, handle.record());
        let trouble = notes.as_ref().err().map(ToString::to_string);
        ClusterView::new(cluster, seen, &notes.unwrap_or_default(), trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::{Answer, Member};
    use crate::domain::source::{PostgresConnection, SecretRef, TlsMode};
    use crate::domain::{Bytes, Millis};

    #[tokio::test]
    async fn a_password_that_cannot_be_read_is_the_reason_of_the_silence() {
        let dir = tempfile::tempdir().unwrap();
        let connection = PostgresConnection {
            host: dir.path().display().to_string(),
            port: 5432,
            user: "lifeboat".to_owned(),
            password: Some(SecretRef::File(dir.path().join("no-such-file"))),
            tls: TlsMode::Disable,
            bin_dir: None,
        };
        let member = Member {
            name: "db1".into(),
            connection,
            database: "postgres".to_owned(),
            data_directory: None,
            config_file: None,
            slot: None,
            service: None,
        };
        let cluster = Cluster {
            name: "orders".into(),
            members: vec![member],
            fence: None,
            max_loss: Bytes(0),
            max_lag: Millis::from_secs(60),
            failover: crate::domain::cluster::Failover::default(),
        };
        let clusters = Clusters::new(dir.path().to_owned(), Clock::system());
        let seen = clusters.one(&cluster).await.seen;
        let Answer::Silent { why, .. } = &seen.members[0].answer else {
            panic!("{seen:?}")
        };
        assert!(why.contains("password of db1") && why.contains("no-such-file"), "{why}");
    }
}
