//! A world of one runbook, played by hand.

pub(super) use super::super::action::{Action, Manual, Nothing, Program};
pub(super) use super::super::check::{Check, CheckOutcome, CheckResult, Path, Question};
pub(super) use super::super::decide::{say, start};
pub(super) use super::super::next::{self, Doing, Need, Next};
pub(super) use super::super::observe::{self, RunbookFact, StepEnd, StepSeen};
pub(super) use super::super::run::Checked;
pub(super) use super::super::template::Template;
pub(super) use super::super::*;
pub(super) use crate::domain::apply::apply as apply_event;
pub(super) use crate::domain::command::{Actor, Refusal};
pub(super) use crate::domain::decide::Context;
pub(super) use crate::domain::event::{EVENT_VERSION, Event, EventRecord};
pub(super) use crate::domain::id::RunbookRunId;
pub(super) use crate::domain::job::{Definitions, Limits};
pub(super) use crate::domain::run::Failure;
pub(super) use crate::domain::seen::Seen;
pub(super) use crate::domain::state::State;
pub(super) use crate::domain::units::Timestamp;
pub(super) use std::collections::BTreeMap;

pub(super) fn actor(name: &str) -> Actor {
    Actor {
        name: name.to_owned(),
        host: "laptop".to_owned(),
        via: "console".to_owned(),
    }
}

pub(super) fn path_check() -> Check {
    Check {
        title: Some(Template::plain("the file is there")),
        question: Question::Path(Path {
            path: Template::plain("/x"),
            exists: true,
        }),
    }
}

pub(super) fn step(id: &str) -> Step {
    Step {
        id: id.to_owned(),
        title: Template::plain(id),
        why: Template::default(),
        action: Action::Command(Program {
            command: vec![Template::plain("true")],
            shell: false,
        }),
        precheck: vec![path_check()],
        verify: vec![path_check()],
        class: Class::Idempotent,
        timeout: Millis::from_secs(60),
        on_failure: OnFailure::Ask,
        undo: Undo::NotNeeded,
        needs: Needs::default(),
        when: Vec::new(),
        parallel: None,
        drill: InDrill::Execute,
        phase: Phase::Restore,
    }
}

pub(super) fn runbook(steps: Vec<Step>) -> Runbook {
    Runbook {
        name: "fix".into(),
        title: "Fix it".to_owned(),
        why: "It is broken.".to_owned(),
        file: None,
        objective: Some(Millis::from_secs(600)),
        before: Vec::new(),
        during: Vec::new(),
        after: vec!["Sleep".to_owned()],
        variables: vec![Variable {
            name: "reason".to_owned(),
            ask: "why".to_owned(),
            kind: VariableKind::Text,
            default: Some(Template::plain("none")),
            chosen: false,
        }],
        steps,
        hash: "abcdef0123456789".to_owned(),
    }
}

/// A world of one runbook, with everything that has happened in it.
pub(super) struct Play {
    pub(super) state: State,
    pub(super) definitions: Definitions,
    pub(super) now: Timestamp,
    pub(super) facts: Vec<RunbookFact>,
}

impl Play {
    pub(super) fn of(steps: Vec<Step>) -> Self {
        let runbook = runbook(steps);
        Self {
            state: State::default(),
            definitions: Definitions {
                site: "eu".to_owned(),
                environment: "TEST".to_owned(),
                repositories: BTreeMap::new(),
                sources: BTreeMap::new(),
                jobs: BTreeMap::new(),
                services: BTreeMap::new(),
                clusters: BTreeMap::new(),
                drills: BTreeMap::new(),
                runbooks: BTreeMap::from([(runbook.name.clone(), runbook)]),
                limits: Limits::default(),
            },
            now: "2026-03-01T03:12:00Z".parse().unwrap(),
            facts: Vec::new(),
        }
    }

    pub(super) fn commit(&mut self, events: Vec<Event>) -> usize {
        let count = events.len();
        for event in events {
            if let Event::Runbook { fact, .. } = &event {
                self.facts.push(fact.clone());
            }
            let record = EventRecord {
                seq: self.state.seq + 1,
                at: self.now,
                actor: actor("agent"),
                version: EVENT_VERSION,
                event,
                previous_hash: String::new(),
                hash: String::new(),
            };
            apply_event(&mut self.state, &record);
        }
        count
    }

    pub(super) fn tick(&mut self) {
        self.now += chrono::Duration::seconds(1);
    }

    pub(super) fn decided<T>(&self, decide: impl FnOnce(&Context<'_>) -> T) -> T {
        let seen = Seen::default();
        decide(&Context {
            state: &self.state,
            seen: &seen,
            definitions: &self.definitions,
            now: self.now,
            unique: 1,
        })
    }

    pub(super) fn begin(&mut self, wish: &StartRunbook) -> Result<(), Refusal> {
        let events = self.decided(|context| start(context, &actor("ana"), Cause::Person, wish))?;
        self.commit(events);
        self.settle();
        Ok(())
    }

    pub(super) fn id(&self) -> RunbookRunId {
        self.state
            .runbooks
            .keys()
            .next()
            .cloned()
            .unwrap_or_else(|| "over".into())
    }

    pub(super) fn run(&self) -> &RunbookRun {
        self.state.runbooks.values().next().unwrap()
    }

    pub(super) fn say(&mut self, who: &str, saying: &Saying) -> Result<(), Refusal> {
        self.tick();
        let id = self.id();
        let events = self.decided(|context| say(context, &actor(who), &id, saying))?;
        self.commit(events);
        self.settle();
        Ok(())
    }

    pub(super) fn see(&mut self, step: &str, seen: StepSeen) -> usize {
        self.tick();
        let events = observe::step(&self.state, &self.id(), step, seen);
        let count = self.commit(events);
        self.settle();
        count
    }

    pub(super) fn settle(&mut self) {
        for _ in 0..100 {
            let events = observe::settle(&self.state, self.now);
            if events.is_empty() {
                return;
            }
            self.commit(events);
        }
        panic!("it does not settle: {:?}", self.facts.last());
    }

    pub(super) fn work(&self) -> Vec<(String, Doing)> {
        self.state.runbooks.values().flat_map(next::work).collect()
    }

    pub(super) fn state_of(&self, step: &str) -> StepState {
        self.run().row(step).unwrap().1.state
    }

    /// The agent dies, and another begins.
    pub(super) fn restart(&mut self) {
        let events = observe::interrupted(&self.state);
        self.commit(events);
        self.settle();
    }

    pub(super) fn go(&mut self, step: &str) {
        let attempt = self.run().row(step).unwrap().1.attempt;
        self.say(
            "ana",
            &Saying::Go {
                step: step.to_owned(),
                attempt,
                typed: None,
            },
        )
        .unwrap();
    }

    /// Everything the engine would do, until people are needed; every check holds.
    pub(super) fn along(&mut self) {
        for _ in 0..200 {
            let Some((step, doing)) = self.work().into_iter().next() else {
                return;
            };
            self.perform(&step, doing, CheckOutcome::Holds);
        }
        panic!("it goes on for ever: {:?}", self.work());
    }

    pub(super) fn perform(&mut self, step: &str, doing: Doing, outcome: CheckOutcome) {
        match doing {
            Doing::Look => drop(self.see(step, checked(self.now + chrono::Duration::seconds(1), outcome))),
            Doing::Act => {
                if self.see(step, StepSeen::Starting { did: "true".to_owned() }) > 0 {
                    self.see(step, done());
                }
            }
            Doing::Verify => drop(self.see(step, StepSeen::Verified(vec![result(outcome)]))),
            Doing::Undo => {
                self.see(
                    step,
                    StepSeen::Undoing {
                        did: "false".to_owned(),
                    },
                );
                self.see(step, StepSeen::Undone(None));
            }
            Doing::Stop => drop(self.see(step, failed())),
        }
    }
}

pub(super) fn result(outcome: CheckOutcome) -> CheckResult {
    CheckResult {
        title: "the file is there".to_owned(),
        outcome,
        detail: "seen".to_owned(),
    }
}

pub(super) fn checked(at: Timestamp, outcome: CheckOutcome) -> StepSeen {
    StepSeen::Checked(Checked {
        at,
        results: vec![result(outcome)],
    })
}

pub(super) fn done() -> StepSeen {
    StepSeen::Ended(Box::new(StepEnd {
        evidence: vec![result(CheckOutcome::Holds)],
        ..StepEnd::default()
    }))
}

pub(super) fn failed() -> StepSeen {
    StepSeen::Ended(Box::new(StepEnd {
        error: Some(Failure::permanent("no", "look")),
        ..StepEnd::default()
    }))
}

pub(super) fn wish() -> StartRunbook {
    StartRunbook {
        runbook: "fix".into(),
        drill: false,
        unattended: false,
        set: BTreeMap::new(),
        hash: None,
        incident_at: None,
    }
}

pub(super) fn unattended() -> StartRunbook {
    StartRunbook {
        unattended: true,
        ..wish()
    }
}
