//! What the handle answers about keeping: plans of retention, what they say of each snapshot, maintenance that has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Answer, Engine, EngineError, failed};
use crate::domain::command::Refusal;
use crate::domain::id::{JobName, SnapshotId};
use crate::domain::keep::plan_of;
use crate::domain::maintenance::MaintenanceRecord;
use crate::domain::retention::{Decision, too_many};
use crate::domain::snapshot::{Expiry, SnapshotRecord};
use crate::domain::view::{Page, Query, RetentionPlan};

/// Of a job with more snapshots than this a page does not say what retention makes of each; its plan does.
const EXPIRY_AT_MOST: usize = 5000;

/// Rows of history read at a time.
const PAGE: u32 = 1000;

impl Engine {
    /// The snapshots a query means, newest first: all of them, or the newest `most`; without what retention says of each.
    ///
    /// # Errors
    /// When history cannot be read: never a part of what there is.
    pub(super) async fn history(&self, query: Query, most: usize) -> Answer<Vec<SnapshotRecord>> {
        let mut all = Vec::new();
        let limit = u32::try_from(most).map_or(PAGE, |most| most.min(PAGE));
        let mut query = Query {
            limit: Some(limit),
            ..query
        };
        loop {
            let page = self.journal.snapshots(&query).await.map_err(|error| failed(&error))?;
            all.extend(page.items);
            query.cursor = page.next;
            if query.cursor.is_none() || all.len() >= most {
                all.truncate(most);
                return Ok(all);
            }
        }
    }

    /// A page of maintenance that has ended.
    pub async fn maintenance(&self, query: Query) -> Answer<Page<MaintenanceRecord>> {
        self.journal.maintenance(&query).await.map_err(|error| failed(&error))
    }

    /// What the retention of a job keeps, rule by rule, and what would go now.
    ///
    /// # Errors
    /// When there is no such job, or history cannot be read.
    pub async fn retention(&self, job: &str) -> Answer<RetentionPlan> {
        let name = JobName::from(job);
        let definitions = self.definitions.borrow().clone();
        let Some(job) = definitions.jobs.get(&name) else {
            return Err(EngineError::Refused(Refusal::not_found(
                format!("there is no job {name}"),
                "list them with: lifeboat job list",
            )));
        };
        let decisions = self.decisions(&name, usize::MAX).await?.unwrap_or_default();
        let policy = job.retention.as_ref();
        Ok(RetentionPlan {
            over: policy.and_then(|policy| too_many(policy, &decisions)),
            policy: policy.map(crate::domain::retention::RetentionPolicy::words),
            job: name,
            decisions,
        })
    }

    /// What the policy of a job says of each of its snapshots; none when it has more than `most`.
    async fn decisions(&self, name: &JobName, most: usize) -> Answer<Option<Vec<Decision>>> {
        let facts = self
            .journal
            .retention_facts(name)
            .await
            .map_err(|error| failed(&error))?;
        if facts.len() > most {
            return Ok(None);
        }
        let definitions = self.definitions.borrow().clone();
        let state = Arc::clone(&self.state.borrow());
        let name = name.clone();
        // A plan of many thousands takes a while.
        let planned = tokio::task::spawn_blocking(move || {
            let policy = definitions.jobs.get(&name).and_then(|job| job.retention.as_ref());
            plan_of(&state, policy, &facts)
        });
        planned.await.map(Some).map_err(|_| EngineError::Stopping)
    }

    /// Adds to each snapshot of a page what the retention of its job says of it.
    pub(super) async fn with_expiry(&self, mut page: Page<SnapshotRecord>) -> Answer<Page<SnapshotRecord>> {
        let definitions = self.definitions.borrow().clone();
        let has_policy = |job: &&JobName| definitions.jobs.get(*job).is_some_and(|job| job.retention.is_some());
        let listed = page.items.iter().filter(|snapshot| snapshot.is_there());
        let jobs: BTreeSet<JobName> = listed
            .filter_map(|one| one.job.as_ref())
            .filter(has_policy)
            .cloned()
            .collect();
        let mut expiries: BTreeMap<SnapshotId, Expiry> = BTreeMap::new();
        for job in jobs {
            for decision in self.decisions(&job, EXPIRY_AT_MOST).await?.unwrap_or_default() {
                let expiry = Expiry {
                    due: !decision.keep,
                    at: decision.until,
                    why: decision.why(),
                };
                expiries.insert(decision.snapshot, expiry);
            }
        }
        for snapshot in &mut page.items {
            snapshot.expiry = expiries.remove(&snapshot.id);
        }
        Ok(page)
    }
}
