//! What the console needs of an agent, and nothing more: a live stream, and answers to questions.
//!
//! Screens know questions and answers; only this file knows that they travel over HTTP. A test puts a script in its place.

use std::future::Future;
use std::pin::Pin;

use futures_util::Stream;
use thiserror::Error;

use crate::domain::alert::AlertRecord;
use crate::domain::cluster::ClusterView;
use crate::domain::command::Command;
use crate::domain::event::EventRecord;
use crate::domain::id::RunbookName;
use crate::domain::recovery::{RecoveryPlan, RecoveryRecord, RecoveryRequest};
use crate::domain::run::RunRecord;
use crate::domain::runbook::view::{Readiness, RunbookPlan};
use crate::domain::runbook::{Runbook, RunbookRecord, StartRunbook};
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::view::{Page, Query, Receipt, RetentionPlan, StreamItem, TreeEntryView};

/// Something a screen wants to know or have done. It comes back with its answer, so the answer finds its place.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// A page of runs that have ended.
    Runs(Query),
    /// A page of snapshots.
    Snapshots(Query),
    /// A page of recoveries that have ended.
    Recoveries(Query),
    /// A page of alerts, resolved ones included.
    Alerts(Query),
    /// A page of the journal.
    Journal(Query),
    /// One directory of a snapshot: the snapshot and the path.
    Tree(String, String),
    /// The first bytes of a file: the snapshot, the path and how many.
    Content(String, String, u64),
    /// The log of a run.
    Log(String),
    /// What the retention of a job keeps.
    Retention(String),
    /// What the clusters look like now.
    Clusters,
    /// What a recovery would do.
    Plan(Box<RecoveryRequest>),
    /// The document of a runbook.
    Runbook(String),
    /// Whether a runbook could be begun, asked now.
    Readiness(RunbookName),
    /// A page of executions of runbooks that have ended.
    Executions(Query),
    /// What an execution of a runbook would do.
    PlanRunbook(Box<StartRunbook>),
    /// Do something.
    Command(Command),
    /// Break something on purpose, in the sandbox.
    Practice(String),
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To [`Question::Runs`].
    Runs(Page<RunRecord>),
    /// To [`Question::Snapshots`].
    Snapshots(Page<SnapshotRecord>),
    /// To [`Question::Recoveries`].
    Recoveries(Page<RecoveryRecord>),
    /// To [`Question::Alerts`].
    Alerts(Page<AlertRecord>),
    /// To [`Question::Journal`].
    Journal(Page<EventRecord>),
    /// To [`Question::Tree`].
    Tree(Vec<TreeEntryView>),
    /// To [`Question::Content`].
    Content(Vec<u8>),
    /// To [`Question::Log`] and [`Question::Practice`].
    Text(String),
    /// To [`Question::Retention`].
    Retention(Box<RetentionPlan>),
    /// To [`Question::Clusters`].
    Clusters(Vec<ClusterView>),
    /// To [`Question::Plan`].
    Plan(Box<RecoveryPlan>),
    /// To [`Question::Runbook`].
    Runbook(Box<Runbook>),
    /// To [`Question::Readiness`].
    Readiness(Box<Readiness>),
    /// To [`Question::Executions`].
    Executions(Page<RunbookRecord>),
    /// To [`Question::PlanRunbook`].
    RunbookPlan(Box<RunbookPlan>),
    /// To [`Question::Command`].
    Receipt(Receipt),
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Trouble {
    /// What failed.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Trouble {
    /// A failure without a remedy of its own.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }
}

/// The live stream.
pub type Live = Pin<Box<dyn Stream<Item = Result<StreamItem, Trouble>> + Send>>;

/// A way to an agent; cheap to clone, shared by all questions under way.
pub trait Link: Clone + Send + Sync + 'static {
    /// The name of whoever asks, as the journal will have it.
    fn who(&self) -> String;

    /// Opens the live stream. Called again, with pauses, for as long as the console lives.
    fn stream(&self) -> impl Future<Output = Result<Live, Trouble>> + Send;

    /// Asks one question.
    fn ask(&self, question: Question) -> impl Future<Output = Result<Answer, Trouble>> + Send;
}
