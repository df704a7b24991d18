//! Jobs: which source goes to which repository, when, and how hard to try.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::drill::Drill;
use super::id::{ClusterName, DrillName, JobName, RepositoryName, RunbookName, ServiceName, SourceName};
use super::objective::Service;
use super::retention::RetentionPolicy;
use super::runbook::Runbook;
use super::schedule::Schedule;
use super::snapshot::EvidenceLevel;
use super::source::{SecretRef, Source, SourceKind};
use super::units::{Bytes, Millis};

/// Everything the configuration defines; facts about these things are events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definitions {
    /// The place, as shown in every header: `eu-west`.
    pub site: String,
    /// What is at stake there: `PROD`, `STAGING`, `DEMO`.
    pub environment: String,
    /// Where snapshots go.
    pub repositories: BTreeMap<RepositoryName, RepositoryDefinition>,
    /// What is protected.
    pub sources: BTreeMap<SourceName, Source>,
    /// What is done.
    pub jobs: BTreeMap<JobName, Job>,
    /// What people call it, and what was promised.
    pub services: BTreeMap<ServiceName, Service>,
    /// Replicated PostgreSQL servers that stand in for each other.
    #[serde(default)]
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// Recoveries done for practice.
    #[serde(default)]
    pub drills: BTreeMap<DrillName, Drill>,
    /// What is done when something has gone wrong.
    #[serde(default)]
    pub runbooks: BTreeMap<RunbookName, Runbook>,
    /// Bounds of the engine.
    pub limits: Limits,
}

impl Definitions {
    /// The jobs that protect a source.
    pub fn jobs_of<'a>(&'a self, source: &'a SourceName) -> impl Iterator<Item = &'a Job> {
        self.jobs.values().filter(move |job| job.source == *source)
    }

    /// The service a source is first known by.
    pub fn service_of(&self, source: &SourceName) -> Option<ServiceName> {
        self.services_of(source).next().map(|service| service.name.clone())
    }

    /// Whether a source is a cluster that some job backs up, so that its log counts.
    pub fn has_log(&self, source: &SourceName) -> bool {
        let kind = self.sources.get(source).map(|source| &source.kind);
        matches!(kind, Some(SourceKind::PostgresPhysical(_))) && self.jobs_of(source).next().is_some()
    }

    /// The services a source belongs to.
    pub fn services_of<'a>(&'a self, source: &'a SourceName) -> impl Iterator<Item = &'a Service> {
        self.services
            .values()
            .filter(move |service| service.sources.contains(source))
    }
}

/// Bounds of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Runs at one time.
    pub concurrent_runs: usize,
    /// Recoveries and verifications at one time.
    pub concurrent_recoveries: usize,
    /// Memory of one run's pipeline.
    pub memory_budget: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent_runs: 2,
            concurrent_recoveries: 2,
            memory_budget: Bytes(128 << 20),
        }
    }
}

/// Where a repository is and how it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryDefinition {
    /// Its name.
    pub name: RepositoryName,
    /// A path or URL.
    pub url: String,
    /// Where the password comes from.
    pub password: SecretRef,
    /// How it is kept in order.
    pub upkeep: UpkeepPolicy,
    /// How its store is reached, beyond the address.
    #[serde(default)]
    pub access: StoreAccess,
}

/// How a store is reached, beyond its address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreAccess {
    /// The access key of a bucket; looked for in the environment when absent.
    pub key: Option<BucketKey>,
    /// Bytes a second, at most, to the store.
    pub limit_upload: Option<Bytes>,
    /// Bytes a second, at most, from the store.
    pub limit_download: Option<Bytes>,
    /// Bytes, at most, in the store; what would go over it is refused.
    #[serde(default)]
    pub max_size: Option<Bytes>,
}

/// The access key of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketKey {
    /// The public half.
    pub id: String,
    /// Where the secret half comes from.
    pub secret: SecretRef,
}

/// How a repository is kept in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpkeepPolicy {
    /// How long a forgotten snapshot can be brought back.
    pub trash: Millis,
    /// How long data that nothing needs is left in place, for backups of other machines that may be using it.
    pub grace: Millis,
    /// When what nothing needs is removed; only by hand when absent.
    pub prune: Option<Schedule>,
    /// When the repository is looked through; only by hand when absent.
    pub check: Option<CheckPolicy>,
}

impl Default for UpkeepPolicy {
    fn default() -> Self {
        Self {
            trash: Millis::from_secs(7 * 86_400),
            grace: Millis::from_secs(86_400),
            prune: None,
            check: None,
        }
    }
}

/// When a repository is looked through, and how much of its data is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckPolicy {
    /// When.
    pub schedule: Schedule,
    /// How much is read: `5%`, `1/7` or `all`; only the structure when absent.
    pub read_data_subset: Option<String>,
}

/// What is done: a source, a repository, a schedule and the rules of trying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub name: JobName,
    /// What it protects.
    pub source: SourceName,
    /// Where the snapshots go.
    pub repository: RepositoryName,
    /// When it runs; only by hand when absent.
    pub schedule: Option<Schedule>,
    /// What happens to runs that were due while no agent was running.
    pub missed: MissedPolicy,
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// A run that takes longer is stopped and has failed.
    pub timeout: Option<Millis>,
    /// How far each new snapshot is proved, and by which probes.
    pub verify: VerifyPolicy,
    /// Commands around each run.
    pub hooks: Hooks,
    /// Free words on its snapshots.
    pub tags: Vec<String>,
    /// What is kept of its snapshots; everything when absent.
    pub retention: Option<RetentionPolicy>,
}

/// What happens to runs that were due while no agent was running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissedPolicy {
    /// Run once as soon as possible.
    #[default]
    RunOnce,
    /// Wait for the next due time.
    Skip,
}

/// How failures are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, at least one.
    pub attempts: u32,
    /// The wait after the first failure; it doubles each time, up to an hour.
    pub backoff: Millis,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Millis::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// The wait after the attempt of that number (from one) has failed.
    pub fn wait_after(&self, attempt: u32) -> Millis {
        let doubled = self.backoff.0.saturating_mul(1 << attempt.saturating_sub(1).min(20));
        Millis(doubled.min(3_600_000).max(self.backoff.0.min(3_600_000)))
    }
}

/// How far each new snapshot is proved, and by which probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPolicy {
    /// The level to reach after every run; `written` verifies nothing by itself.
    pub level: EvidenceLevel,
    /// Questions put to the restored copy.
    pub probes: Vec<SqlProbe>,
}

impl Default for VerifyPolicy {
    fn default() -> Self {
        Self {
            level: EvidenceLevel::Written,
            probes: Vec::new(),
        }
    }
}

/// A question put to a restored database, with the answer that proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlProbe {
    /// What the question is about, for people.
    pub name: String,
    /// A query that yields one value.
    pub sql: String,
    /// The answer that is expected.
    pub expect: Expectation,
}

/// The answer a probe expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Expectation {
    /// Exactly this text.
    Equals(String),
    /// A number of at least this.
    AtLeast(i64),
    /// A number of at most this.
    AtMost(i64),
    /// Anything but NULL or nothing.
    NotEmpty,
}

impl Expectation {
    /// Whether an answer (none for NULL or no row) is as expected.
    pub fn holds(&self, answer: Option<&str>) -> bool {
        let number = || answer.and_then(|text| text.trim().parse::<f64>().ok());
        match self {
            Self::Equals(text) => answer == Some(text.as_str()),
            Self::AtLeast(least) => number().is_some_and(|n| n >= *least as f64),
            Self::AtMost(most) => number().is_some_and(|n| n <= *most as f64),
            Self::NotEmpty => answer.is_some_and(|text| !text.is_empty()),
        }
    }
}

impl std::fmt::Display for Expectation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Equals(text) => write!(f, "= {text}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::NotEmpty => write!(f, "not empty"),
        }
    }
}

/// Commands around each run; argument vectors unless `shell` is set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hooks {
    /// Before the source is read; its failure fails the run.
    pub before: Option<Hook>,
    /// After a run that succeeded or was partial.
    pub after_success: Option<Hook>,
    /// After a run that failed, was cancelled or timed out.
    pub after_failure: Option<Hook>,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Program and arguments; with `shell`, one line.
    pub command: Vec<String>,
    /// Whether to hand the line to `sh -c`.
    pub shell: bool,
    /// It is stopped after this long.
    pub timeout: Millis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_an_hour() {
        let policy = RetryPolicy {
            attempts: 99,
            backoff: Millis::from_secs(30),
        };
        assert_eq!(policy.wait_after(1), Millis::from_secs(30));
        assert_eq!(policy.wait_after(3), Millis::from_secs(120));
        assert_eq!(policy.wait_after(60), Millis::from_secs(3600));
    }

    #[test]
    fn expectations_have_teeth() {
        assert!(Expectation::AtLeast(3).holds(Some("3")));
        assert!(!Expectation::AtLeast(3).holds(Some("2")));
        assert!(!Expectation::AtLeast(0).holds(None));
        assert!(!Expectation::AtMost(3).holds(Some("many")));
        assert!(!Expectation::NotEmpty.holds(Some("")));
        assert!(!Expectation::Equals("a".into()).holds(Some("A")));
    }
}
