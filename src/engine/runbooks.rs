//! Plans of runbooks, and whether they could be begun: their checks are asked, nothing is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::core::{Input, readiness};
use super::hands::{StepOrder, Work};
use super::{Answer, Engine, EngineError};
use crate::domain::command::Actor;
use crate::domain::decide::Context;
use crate::domain::id::RunbookName;
use crate::domain::runbook::action::Action;
use crate::domain::runbook::check::{Check, CheckOutcome, CheckResult};
use crate::domain::runbook::next::{self, Doing};
use crate::domain::runbook::show::planned;
use crate::domain::runbook::view::{Readiness, Ready, RunbookPlan};
use crate::domain::runbook::{
    Cause, InDrill, Phase, Runbook, RunbookRecord, RunbookRun, StartRunbook, StepSeen, decide, values,
};
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
        let opening = next::opening(&run.runbook, &run.values);
        let looks = (0..run.runbook.steps.len()).map(|at| {
            let (run, opens) = (run.clone(), opening.contains(&at));
            async move {
                let step = &run.runbook.steps[at];
                let mut line = planned(step, &run.values, run.drill);
                let passed = line.passed.is_some() && !(run.drill && step.drill == InDrill::Simulate);
                if !passed && step.action.resolved(&run.values).is_ok() {
                    line.checks = if opens {
                        self.asked_before(&run, at).await
                    } else {
                        self.looked(&run, at, Doing::Look).await
                    };
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

    async fn looked(&self, run: &Arc<RunbookRun>, at: usize, doing: Doing) -> Vec<CheckResult> {
        let work = Work {
            definitions: self.definitions.borrow().clone(),
            in_use: Arc::default(),
            cancel: CancellationToken::new(),
            progress: Arc::default(),
            observe: Arc::new(|_| {}),
        };
        let order = StepOrder {
            run: run.clone(),
            at,
            doing,
            engine: self.clone(),
            tell: Arc::new(|_| {}),
        };
        match self.hands.step(work, order).await {
            StepSeen::Checked(checked) => checked.results,
            StepSeen::Verified(results) => results,
            _ => Vec::new(),
        }
    }

    /// Whether a runbook could be begun now: what it asks first holds, and everything it is about is here.
    pub(super) async fn readiness(&self, name: &RunbookName) -> Option<Readiness> {
        let runbook = self.definitions.borrow().runbooks.get(name)?.clone();
        let at = self.clock.now();
        let state = self.ready(&runbook).await;
        Some(Readiness {
            at,
            hash: runbook.hash,
            next: Some(readiness::next(at, &state)),
            state,
        })
    }

    /// Asks now whether a runbook could be begun. What it came to is shown everywhere from then on.
    ///
    /// # Errors
    /// When there is no such runbook.
    pub async fn ask_readiness(&self, name: &str) -> Answer<Readiness> {
        let name = RunbookName::from(name);
        let found = self.readiness(&name).await.ok_or_else(|| no_runbook(name.as_str()))?;
        let told = Input::Ready {
            name,
            found: Some(found.clone()),
        };
        self.inbox.send(told).map_err(|_| EngineError::Stopping)?;
        Ok(found)
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
        // Later steps stand on what earlier ones bring about: only what it would begin with can be asked now.
        let mut because = Vec::new();
        for at in next::opening(&run.runbook, &run.values) {
            let step = &run.runbook.steps[at];
            let asked = self.asked_before(&run, at).await;
            let against = asked.into_iter().filter(|result| !result.holds());
            because.extend(against.map(|result| format!("{}: {}: {}", step.id, result.title, result.detail)));
        }
        if because.is_empty() {
            Ready::Yes { asks: missing }
        } else {
            Ready::No { because }
        }
    }

    /// What must hold before a step, and of a step that only asks also what it asks: as far as the values it needs are known.
    /// One that asks whether the disaster is there says nothing about whether one is prepared for it.
    async fn asked_before(&self, run: &RunbookRun, at: usize) -> Vec<CheckResult> {
        let mut run = run.clone();
        let known = run.values.clone();
        let step = &mut run.runbook.steps[at];
        let answerable = |check: &Check| check.resolved(&known).is_ok();
        step.precheck.retain(answerable);
        step.verify.retain(answerable);
        let asks = matches!(step.action, Action::Check(_)) && step.phase != Phase::Detect && !step.verify.is_empty();
        let run = Arc::new(run);
        let mut results = self.looked(&run, at, Doing::Look).await;
        if asks {
            results.extend(self.looked(&run, at, Doing::Verify).await);
        }
        results
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
        found.ok_or_else(|| no_runbook(name))
    }

    /// A page of executions of runbooks that have ended.
    pub async fn executions(&self, query: Query) -> Answer<Page<RunbookRecord>> {
        self.journal
            .runbooks(&query)
            .await
            .map_err(|error| super::failed(&error))
    }
}

fn no_runbook(name: &str) -> EngineError {
    EngineError::Refused(crate::domain::command::Refusal::not_found(
        format!("there is no runbook {name}"),
        "list them with: lifeboat runbook list",
    ))
}
