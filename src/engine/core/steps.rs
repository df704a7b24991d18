//! Beginning what executions of runbooks call for, one piece of work a step at a time.
//!
//! **Durable before acting.** That a step acts, or is taken back, is in the journal before its work begins. Asking checks
//! changes nothing and leaves no trace until there is an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Core, Input};
use crate::domain::command::{Actor, Observation};
use crate::domain::id::RunbookRunId;
use crate::domain::job::Definitions;
use crate::domain::observe;
use crate::domain::run::Failure;
use crate::domain::runbook::action::Action;
use crate::domain::runbook::check::{CheckOutcome, CheckResult};
use crate::domain::runbook::next::Doing;
use crate::domain::runbook::report::report;
use crate::domain::runbook::{RunbookRecord, RunbookRun, StepEnd, StepSeen, Undo};
use crate::domain::units::Millis;
use crate::domain::view::Query;
use crate::engine::Engine;
use crate::engine::hands::StepOrder;

/// How long a step that was stopped may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(15);
/// Reports that are looked for when an agent begins.
const REPORTS: u32 = 20;
/// Lines that are kept of what steps say.
const LINES: usize = 200;

/// The work of steps that is going on.
#[derive(Default)]
pub(super) struct Steps {
    live: BTreeMap<(RunbookRunId, String), (Doing, CancellationToken)>,
}

/// There is no such step, or nothing to be done for it.
struct Gone;

impl Steps {
    /// Stops all of it.
    pub(super) fn stop(&self) {
        self.live.values().for_each(|(_, cancel)| cancel.cancel());
    }

    /// Whether anything is going on.
    pub(super) fn is_busy(&self) -> bool {
        !self.live.is_empty()
    }
}

/// Writes the report of an execution that has ended to where people look for it. The journal has all of it: a report that
/// could not be written is printed again at any time.
pub(super) fn keep_report(directory: &std::path::Path, record: &RunbookRecord) {
    let path = directory.join(format!("{}.md", record.run.id));
    let text = report(record);
    let directory = directory.to_owned();
    tokio::task::spawn_blocking(move || {
        // Whoever finds it finds all of it: an agent may die in the middle.
        let fresh = path.with_extension("md.new");
        let written = std::fs::create_dir_all(&directory)
            .and_then(|()| std::fs::write(&fresh, text))
            .and_then(|()| std::fs::rename(&fresh, &path));
        if let Err(error) = written {
            tracing::warn!("the report {} cannot be written: {error}", path.display());
        }
    });
}

/// Writes the newest reports that are missing: the agent may have died when an execution had ended.
pub(super) async fn keep_missing_reports(directory: std::path::PathBuf, engine: Engine) {
    let query = Query {
        limit: Some(REPORTS),
        ..Query::default()
    };
    // The journal has all of it; one that cannot be read is told by everything else.
    let Ok(page) = engine.executions(query).await else {
        return;
    };
    for record in &page.items {
        let path = directory.join(format!("{}.md", record.run.id));
        if matches!(tokio::fs::try_exists(&path).await, Ok(false)) {
            keep_report(&directory, record);
        }
    }
}

impl Core {
    /// A step said something. What is said after the execution has ended is for nobody.
    pub(super) fn step_told(&mut self, run: &RunbookRunId, line: String) {
        if !self.state.runbooks.contains_key(run) {
            return;
        }
        let lines = self.beside.said.entry(run.clone()).or_default();
        if lines.len() == LINES {
            lines.remove(0);
        }
        lines.push(line);
    }

    /// The work of a step came to an end.
    pub(super) fn step_ended(&mut self, run: &RunbookRunId, step: &str) {
        self.steps.live.remove(&(run.clone(), step.to_owned()));
    }

    pub(super) async fn begin_step(
        &mut self,
        agent: &Actor,
        definitions: &Arc<Definitions>,
        id: RunbookRunId,
        step: String,
        doing: Doing,
    ) {
        let key = (id.clone(), step.clone());
        if let Some((of, cancel)) = self.steps.live.get(&key) {
            // What only looks is not worth waiting for, once the run is to end.
            if doing == Doing::Stop || (*of == Doing::Look && doing != Doing::Look) {
                cancel.cancel();
            }
            return;
        }
        if doing == Doing::Stop {
            return;
        }
        let Ok(starting) = self.starting(&id, &step, doing) else {
            return;
        };
        if let Some(seen) = starting {
            let observation = Observation::Step {
                run: id.clone(),
                step: step.clone(),
                seen,
            };
            let unique = self.next_ids();
            let events = observe::observation(&self.context(definitions, unique), observation);
            if events.is_empty() || self.commit(agent, events).await.is_err() {
                return;
            }
        }
        let Some(run) = self.state.runbooks.get(&id).cloned() else {
            return;
        };
        self.spawn_step(definitions, run, step, doing);
    }

    /// What is journalled before the work begins: nothing for what only looks.
    fn starting(&self, id: &RunbookRunId, step: &str, doing: Doing) -> Result<Option<StepSeen>, Gone> {
        let run = self.state.runbooks.get(id).ok_or(Gone)?;
        let (document, _) = run.row(step).ok_or(Gone)?;
        let words = |action: &Action| {
            let ready = action.resolved(&run.values);
            ready.map_or_else(|_| action.words(), |ready| ready.words())
        };
        Ok(match (doing, &document.undo) {
            (Doing::Act, _) => Some(StepSeen::Starting {
                did: words(&document.action),
            }),
            (Doing::Undo, Undo::Action(undo)) => Some(StepSeen::Undoing { did: words(undo) }),
            (Doing::Undo, _) => return Err(Gone),
            (Doing::Look | Doing::Verify | Doing::Stop, _) => None,
        })
    }

    fn spawn_step(&mut self, definitions: &Arc<Definitions>, run: RunbookRun, step: String, doing: Doing) {
        let Some(at) = run.runbook.position(&step) else { return };
        let timeout = run.runbook.steps[at].timeout;
        let id = run.id.clone();
        let work = self.work(definitions);
        let cancel = work.cancel.clone();
        self.steps
            .live
            .insert((id.clone(), step.clone()), (doing, cancel.clone()));
        let (outbox, told) = (self.parts.outbox.clone(), id.clone());
        let order = StepOrder {
            run: Arc::new(run),
            at,
            doing,
            engine: self.parts.engine.clone(),
            tell: Arc::new(move |line| {
                let run = told.clone();
                let _ = outbox.send(Input::StepTold { run, line });
            }),
        };
        let (hands, clock, outbox) = (
            self.parts.hands.clone(),
            self.parts.clock.clone(),
            self.parts.outbox.clone(),
        );
        self.tasks.spawn(async move {
            let performing = hands.step(work, order);
            tokio::pin!(performing);
            let acts = matches!(doing, Doing::Act | Doing::Undo);
            let limit = async {
                if acts {
                    clock.sleep(timeout.to_std()).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            let stopped = cancel.clone();
            let seen = tokio::select! {
                seen = &mut performing => seen,
                () = limit => {
                    cancel.cancel();
                    tokio::select! {
                        _ = &mut performing => {}
                        () = clock.sleep(ENDS_WITHIN) => {}
                    }
                    overdue(doing, timeout)
                }
                () = async { stopped.cancelled().await; clock.sleep(ENDS_WITHIN).await } => overdue(doing, timeout),
            };
            let observed = Observation::Step { run: id, step, seen };
            let _ = outbox.send(Input::Observed(observed));
        });
    }
}

/// What is said of a step that did not end in time.
fn overdue(doing: Doing, timeout: Millis) -> StepSeen {
    let failure = Failure::permanent(
        format!("it did not end within {timeout}"),
        "find out what it did before going on; a longer timeout is written in the runbook",
    );
    match doing {
        Doing::Undo => StepSeen::Undone(Some(failure)),
        Doing::Look | Doing::Verify => StepSeen::Verified(vec![CheckResult {
            title: "the verification".to_owned(),
            outcome: CheckOutcome::Unknown,
            detail: failure.message,
        }]),
        Doing::Act | Doing::Stop => StepSeen::Ended(Box::new(StepEnd {
            error: Some(failure),
            ..StepEnd::default()
        })),
    }
}
