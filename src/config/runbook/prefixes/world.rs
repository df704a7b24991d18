//! The pure world: a deed has one effect, which its verification sees.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::apply::apply;
use crate::domain::command::Actor;
use crate::domain::decide::Context;
use crate::domain::event::{EVENT_VERSION, Event, EventRecord};
use crate::domain::id::RunbookRunId;
use crate::domain::job::{Definitions, Limits};
use crate::domain::runbook::check::{CheckOutcome, CheckResult};
use crate::domain::runbook::next::{self, Doing, Need};
use crate::domain::runbook::run::Checked;
use crate::domain::runbook::template::Values;
use crate::domain::runbook::{
    Cause, Class, Runbook, RunbookFact, RunbookOutcome, RunbookRun, Saying, StepEnd, StepRun, StepSeen, StepState,
    decide, observe,
};
use crate::domain::seen::Seen;
use crate::domain::state::State;
use crate::domain::units::Timestamp;

/// A journal, what it comes to, and the world.
#[derive(Clone)]
pub(super) struct Play {
    pub(super) state: State,
    pub(super) now: Timestamp,
    pub(super) journal: Vec<(Timestamp, Event)>,
    /// What is in the world, and how often each deed was done.
    pub(super) effects: BTreeSet<String>,
    pub(super) deeds: BTreeMap<String, u32>,
    pub(super) definitions: Definitions,
}

/// What every variable is: the steps that are only for one of them are played with it.
pub(super) const FLAGS: [&str; 2] = ["true", "false"];

fn actor(name: &str) -> Actor {
    Actor {
        name: name.to_owned(),
        host: "laptop".to_owned(),
        via: "console".to_owned(),
    }
}

impl Play {
    pub(super) fn begin(runbook: &Runbook, flags: &str) -> Self {
        let mut play = Self {
            state: State::default(),
            now: "2026-03-01T03:12:00Z".parse().unwrap(),
            journal: Vec::new(),
            effects: BTreeSet::new(),
            deeds: BTreeMap::new(),
            definitions: Definitions {
                site: "eu".to_owned(),
                environment: "TEST".to_owned(),
                repositories: BTreeMap::new(),
                sources: BTreeMap::new(),
                jobs: BTreeMap::new(),
                services: BTreeMap::new(),
                clusters: BTreeMap::new(),
                drills: BTreeMap::new(),
                runbooks: BTreeMap::new(),
                limits: Limits::default(),
            },
        };
        let id = RunbookRunId::from("rb-1");
        let mut values: Values = runbook
            .variables
            .iter()
            .map(|one| (one.name.clone(), flags.to_owned()))
            .collect();
        values.extend(
            ["run", "mode", "by", "host", "site", "environment"].map(|name| (name.to_owned(), "real".to_owned())),
        );
        let execution = RunbookRun {
            id: id.clone(),
            drill: false,
            unattended: false,
            cause: Cause::Person,
            started_by: "ana".to_owned(),
            started_at: play.now,
            incident_at: None,
            objective: None,
            steps: vec![StepRun::default(); runbook.steps.len()],
            runbook: runbook.clone(),
            values,
            held_by: "ana".to_owned(),
            paused: None,
            ending: None,
            words: Vec::new(),
        };
        let fact = RunbookFact::Started {
            execution: Box::new(execution),
        };
        play.commit(vec![Event::Runbook { run: id, fact }]);
        play
    }

    fn commit(&mut self, events: Vec<Event>) {
        for event in events {
            self.journal.push((self.now, event.clone()));
            let record = EventRecord {
                seq: self.state.seq + 1,
                at: self.now,
                actor: actor("agent"),
                version: EVENT_VERSION,
                event,
                previous_hash: String::new(),
                hash: String::new(),
            };
            apply(&mut self.state, &record);
        }
    }

    fn settle(&mut self) {
        loop {
            let events = observe::settle(&self.state, self.now);
            if events.is_empty() {
                return;
            }
            self.commit(events);
        }
    }

    pub(super) fn run(&self) -> Option<&RunbookRun> {
        self.state.runbooks.values().next()
    }

    fn see(&mut self, step: &str, seen: StepSeen) {
        self.now += chrono::Duration::seconds(1);
        self.commit(observe::step(&self.state, &"rb-1".into(), step, seen));
        self.settle();
    }

    pub(super) fn say(&mut self, who: &str, saying: &Saying) {
        self.now += chrono::Duration::seconds(1);
        let seen = Seen::default();
        let context = Context {
            state: &self.state,
            seen: &seen,
            definitions: &self.definitions,
            now: self.now,
            unique: 1,
        };
        let events = decide::say(&context, &actor(who), &"rb-1".into(), saying).unwrap();
        self.commit(events);
        self.settle();
    }

    /// What a look at the effect of a step comes to.
    fn look(&self, step: &str) -> Vec<CheckResult> {
        let there = self.effects.contains(step);
        vec![CheckResult {
            title: "its effect".to_owned(),
            outcome: if there {
                CheckOutcome::Holds
            } else {
                CheckOutcome::Fails
            },
            detail: "seen".to_owned(),
        }]
    }

    fn act(&mut self, step: &str) {
        self.effects.insert(step.to_owned());
        *self.deeds.entry(step.to_owned()).or_default() += 1;
    }

    fn ended(&mut self, step: &str) {
        let action = self.run().unwrap().row(step).unwrap().0.action.clone();
        let outputs = action
            .outputs()
            .iter()
            .map(|name| ((*name).to_owned(), "x".to_owned()))
            .collect();
        let end = StepEnd {
            outputs,
            evidence: self.look(step),
            ..StepEnd::default()
        };
        self.see(step, StepSeen::Ended(Box::new(end)));
    }

    fn work(&mut self, step: &str, doing: Doing) {
        let run = self.run().unwrap().clone();
        let document = run.row(step).unwrap().0;
        match doing {
            Doing::Look => {
                let at = self.now + chrono::Duration::seconds(1);
                let results = Vec::new();
                self.see(step, StepSeen::Checked(Checked { at, results }));
            }
            Doing::Act => {
                self.see(step, StepSeen::Starting { did: "it".to_owned() });
                self.act(step);
                self.ended(step);
            }
            Doing::Verify => {
                let evidence = self.look(step);
                let outputs = document.action.outputs().iter();
                let outputs = outputs.map(|name| ((*name).to_owned(), "x".to_owned())).collect();
                self.see(step, StepSeen::FoundDone { evidence, outputs });
            }
            Doing::Undo => {
                self.see(step, StepSeen::Undoing { did: "it".to_owned() });
                self.effects.remove(step);
                self.see(step, StepSeen::Undone(None));
            }
            Doing::Stop => {}
        }
    }

    fn answer(&mut self, at: usize, need: &Need) {
        let run = self.run().unwrap();
        let (step, attempt) = (run.runbook.steps[at].id.clone(), run.steps[at].attempt);
        let there = self.effects.contains(&step);
        let reason = "I looked".to_owned();
        let (who, saying) = match need {
            Need::Go { typed } => (
                "ana",
                Saying::Go {
                    step,
                    attempt,
                    typed: typed.clone(),
                },
            ),
            Need::Done => (
                "ana",
                Saying::Go {
                    step,
                    attempt,
                    typed: None,
                },
            ),
            Need::Approval { .. } => ("ben", Saying::Approve { step }),
            Need::Doubt if there => ("ana", Saying::WasDone { step, reason }),
            Need::Doubt => ("ana", Saying::Retry { step }),
            // It was taken back, or it was not: once more does no harm in this world.
            Need::UndoFailed => ("ana", Saying::UndoAgain { step }),
            // What a person who says that it was done does not say.
            Need::Value { variable } => {
                let text = format!("{} waits for {variable}", run.runbook.name);
                panic!("{text}");
            }
            other => panic!("{other:?} of {step}"),
        };
        self.say(who, &saying);
    }

    /// Goes on to the end, or until so many events are in the journal.
    pub(super) fn go_on(&mut self, until: usize) -> Option<RunbookOutcome> {
        for _ in 0..2_000 {
            let Some(run) = self.run().cloned() else {
                let last = self.journal.iter().rev().find_map(|(_, event)| match event {
                    Event::Runbook {
                        fact: RunbookFact::Finished { record },
                        ..
                    } => Some(record.outcome),
                    _ => None,
                });
                return last;
            };
            if self.journal.len() >= until {
                return None;
            }
            if let Some((step, doing)) = next::work(&run).into_iter().next() {
                self.work(&step, doing);
            } else if let Some((at, needs)) = next::waits(&run).into_iter().next() {
                self.answer(at, &needs[0]);
            } else {
                panic!("{} stands still", run.runbook.name);
            }
        }
        panic!("it goes on for ever");
    }

    /// The same world with an agent that knows only the first events; what was acting then is done, or it is not.
    pub(super) fn dies(&self, length: usize, done: bool) -> Self {
        let mut play = Self::begin(&self.start().runbook, "true");
        play.journal.clear();
        play.state = State::default();
        for (at, event) in &self.journal[..length] {
            play.now = *at;
            play.commit(vec![event.clone()]);
            if let Event::Runbook { fact, .. } = event {
                match fact {
                    RunbookFact::StepEnded { step, end } if !end.recovered => play.act(step),
                    RunbookFact::UndoEnded { step, .. } => drop(play.effects.remove(step)),
                    _ => {}
                }
            }
        }
        let acting: Vec<(String, StepState)> = play
            .run()
            .map(|run| run.rows().map(|(step, done)| (step.id.clone(), done.state)).collect())
            .unwrap_or_default();
        for (step, state) in acting {
            match state {
                StepState::Acting if done => play.act(&step),
                StepState::Undoing if done => drop(play.effects.remove(&step)),
                _ => {}
            }
        }
        play.now += chrono::Duration::seconds(60);
        play.commit(observe::interrupted(&play.state));
        play.settle();
        play
    }

    fn start(&self) -> RunbookRun {
        match &self.journal[0].1 {
            Event::Runbook {
                fact: RunbookFact::Started { execution },
                ..
            } => (**execution).clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn once(&self, runbook: &Runbook, after: &str) {
        for step in runbook.steps.iter().filter(|step| step.class == Class::Once) {
            let times = self.deeds.get(&step.id).copied().unwrap_or(0);
            assert!(
                times <= 1,
                "{} of {} was done {times} times, {after}",
                step.id,
                runbook.name
            );
        }
    }
}
