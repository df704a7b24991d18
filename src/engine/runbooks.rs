//! Plans of runbooks, and whether they could be begun: their checks are asked, nothing is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::hands::{StepOrder, Work};
use super::{Answer, Engine, EngineError};
use crate::domain::command::Actor;
use crate::domain::decide::Context;
use crate::domain::id::RunbookName;
use crate::domain::runbook::check::CheckOutcome;
use crate::domain::runbook::decide;
use crate::domain::runbook::next::Doing;
use crate::domain::runbook::show::planned;
use crate::domain::runbook::view::{Readiness, Ready, RunbookPlan};
use crate::domain::runbook::{Cause, InDrill, Runbook, RunbookRecord, RunbookRun, StartRunbook, StepSeen, values};
use crate::domain::seen::Seen;
use crate::domain::view::{Page, Query};

impl Engine {
    /// Says what an execution of a runbook would do, and what its checks come to now.
    ///
    /// # Errors
    /// When there is no such runbook, or a value is wrong.
    pub async fn plan_runbook(&self, actor: Actor, wish: StartRunbook) -> Answer<RunbookPlan> {
        let (run, missing) = self.prepared(&actor.name, &wish).map_err(EngineError::Refused)?;
        let run = Arc::new(run);
        let looks = (0..run.runbook.steps.len()).map(|at| {
            let run = run.clone();
            async move {
                let step = &run.runbook.steps[at];
                let mut line = planned(step, &run.values, run.drill);
                let passed = line.passed.is_some() && !(run.drill && step.drill == InDrill::Simulate);
                if !passed && step.action.resolved(&run.values).is_ok() {
                    line.checks = self.looked(&run, at).await;
                    // What only a step before it can bring about does not speak against beginning.
                    line.checks
                        .retain(|check| at == 0 || check.outcome != CheckOutcome::Unknown);
                }
                line
            }
        });
        let steps = join_all(looks).await;
        let Runbook {
            name,
            title,
            hash,
            variables,
            ..
        } = &run.runbook;
        Ok(RunbookPlan {
            runbook: name.clone(),
            title: title.clone(),
            hash: hash.clone(),
            drill: run.drill,
            objective: run.objective,
            variables: variables.clone(),
            values: run.values.clone(),
            missing,
            steps,
        })
    }

    fn prepared(
        &self,
        by: &str,
        wish: &StartRunbook,
    ) -> Result<(RunbookRun, Vec<String>), crate::domain::command::Refusal> {
        let (state, definitions) = (self.state(), self.definitions.borrow().clone());
        let seen = Seen::default();
        let context = Context {
            state: &state,
            seen: &seen,
            definitions: &definitions,
            now: self.clock.now(),
            unique: 0,
        };
        decide::prepare(&context, by, Cause::Person, wish)
    }

    async fn looked(&self, run: &Arc<RunbookRun>, at: usize) -> Vec<crate::domain::runbook::check::CheckResult> {
        let work = Work {
            definitions: self.definitions.borrow().clone(),
            cancel: CancellationToken::new(),
            progress: Arc::default(),
            observe: Arc::new(|_| {}),
        };
        let order = StepOrder {
            run: run.clone(),
            at,
            doing: Doing::Look,
            engine: self.clone(),
            tell: Arc::new(|_| {}),
        };
        match self.hands.step(work, order).await {
            StepSeen::Checked(checked) => checked.results,
            _ => Vec::new(),
        }
    }

    /// Whether a runbook could be begun now: its first checks hold, and everything it is about is here.
    pub(super) async fn readiness(&self, name: &RunbookName) -> Option<Readiness> {
        let runbook = self.definitions.borrow().runbooks.get(name)?.clone();
        let at = self.clock.now();
        let state = self.ready(&runbook).await;
        Some(Readiness {
            at,
            hash: runbook.hash,
            state,
        })
    }

    async fn ready(&self, runbook: &Runbook) -> Ready {
        let definitions = self.definitions.borrow().clone();
        for variable in &runbook.variables {
            let free = variable.default.is_some() || variable.chosen;
            let none = values::choices(&variable.kind, &BTreeMap::new(), &definitions);
            if !free && values::is_listed(&variable.kind) && none.is_ok_and(|choices| choices.is_empty()) {
                let because = format!("there is no {} in the configuration", variable.kind.word());
                return Ready::NotHere { because };
            }
        }
        let wish = StartRunbook {
            runbook: runbook.name.clone(),
            drill: false,
            unattended: false,
            set: BTreeMap::new(),
            hash: None,
            incident_at: None,
        };
        let (run, missing) = match self.prepared("agent", &wish) {
            Ok(prepared) => prepared,
            Err(refusal) => {
                return Ready::No {
                    because: vec![refusal.reason],
                };
            }
        };
        let run = Arc::new(run);
        let mut because = Vec::new();
        for (at, step) in run.runbook.steps.iter().enumerate() {
            // Later steps stand on what earlier ones bring about; only that their questions can be asked counts.
            let results = match step.action.resolved(&run.values) {
                Ok(_) => self.looked(&run, at).await,
                Err(_) => continue,
            };
            let counts = |outcome| at == 0 && outcome != CheckOutcome::Holds;
            because.extend(
                results
                    .into_iter()
                    .filter(|result| counts(result.outcome))
                    .map(|result| format!("{}: {}: {}", step.id, result.title, result.detail)),
            );
        }
        if because.is_empty() {
            Ready::Yes { asks: missing }
        } else {
            Ready::No { because }
        }
    }

    /// The document of a runbook.
    ///
    /// # Errors
    /// When there is no such runbook.
    #[expect(clippy::unused_async, reason = "asked like everything else of the engine")]
    pub async fn runbook(&self, name: &str) -> Answer<Runbook> {
        let found = self
            .definitions
            .borrow()
            .runbooks
            .get(&RunbookName::from(name))
            .cloned();
        found.ok_or_else(|| {
            EngineError::Refused(crate::domain::command::Refusal::not_found(
                format!("there is no runbook {name}"),
                "list them with: lifeboat runbook list",
            ))
        })
    }

    /// A page of executions of runbooks that have ended.
    pub async fn executions(&self, query: Query) -> Answer<Page<RunbookRecord>> {
        self.journal
            .runbooks(&query)
            .await
            .map_err(|error| super::failed(&error))
    }
}
