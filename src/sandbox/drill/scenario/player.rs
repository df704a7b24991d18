//! Going through a runbook as two engineers: one leads it, the other agrees where two are needed.
//!
//! Every word is given through the API as from a console ([`super::answer`] has the words). An agent that is away is waited for:
//! what it had not taken in is said again, what people did with their hands is not done again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Drill, Story, unexpected};
use crate::api::{Client, ClientError, ErrorKind};
use crate::domain::command::Command;
use crate::domain::id::RunbookRunId;
use crate::domain::runbook::next::{self, Need};
use crate::domain::runbook::{Phase, RunbookOutcome, RunbookRecord, RunbookRun, StartRunbook, StepState};
use crate::domain::view::Query;
use crate::sandbox::SandboxError;
use crate::sandbox::drill::wait::LOOK_EVERY;

/// Who leads.
pub(super) const LEADS: &str = "alma";
/// Who agrees.
pub(super) const AGREES: &str = "bruno";
/// How long a whole runbook may take here.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often is looked where the agent dies all the time.
const LOOK_CLOSELY: Duration = Duration::from_millis(20);
/// How long a step has been seen to act when its agent is killed: the first time, the second, and so on.
const KILL_AFTER: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
];

/// Two engineers at one runbook.
pub(super) struct Desk {
    pub(super) alma: Client,
    pub(super) bruno: Client,
    /// What was said, so that what the agent has not taken in yet is not said again.
    pub(super) answered: BTreeSet<String>,
    told: BTreeSet<String>,
    /// Since when each attempt is seen to act, and how often the agent was killed in each step.
    acting: BTreeMap<String, Instant>,
    killed: BTreeMap<String, usize>,
}

impl Drill<'_> {
    fn desk(&self) -> Desk {
        Desk {
            alma: self.world.client_of(LEADS),
            bruno: self.world.client_of(AGREES),
            answered: BTreeSet::new(),
            told: BTreeSet::new(),
            acting: BTreeMap::new(),
            killed: BTreeMap::new(),
        }
    }

    /// Goes through the runbook of a story as a drill: what is only said in one is said, and nothing else is left out.
    pub(super) async fn rehearse(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        self.log
            .line("rehearse    as a drill: what would change something is only said");
        let record = self.execute(story, true).await?;
        let wrong = record.run.rows().find(|(step, done)| {
            use crate::domain::runbook::InDrill;
            let due = match step.drill {
                InDrill::Execute => matches!(done.state, StepState::Done | StepState::NotNeeded),
                InDrill::Simulate => matches!(done.state, StepState::Simulated | StepState::NotNeeded),
                InDrill::Skip => done.state == StepState::NotNeeded,
            };
            // What stands on a step that was only said is only said too.
            let only_said = step.drill == InDrill::Execute && done.state == StepState::Simulated;
            !due && !only_said
        });
        match (record.outcome, wrong) {
            (RunbookOutcome::Completed, None) => Ok(()),
            (outcome, wrong) => {
                let step = wrong.map_or_else(String::new, |(step, done)| {
                    format!(": step {} is {}", step.id, done.state.word())
                });
                Err(unexpected(&format!("the rehearsal is {}{step}", outcome.word())))
            }
        }
    }

    /// Plans and begins the runbook of a story, and goes through it to the end, which must be a completion.
    pub(super) async fn go_through(&mut self, story: &mut Story) -> Result<RunbookRecord, SandboxError> {
        let record = self.execute(story, false).await?;
        if record.outcome == RunbookOutcome::Completed {
            return Ok(record);
        }
        let error = record.run.steps.iter().find_map(|step| step.error.clone());
        Err(SandboxError::Engine {
            message: format!(
                "runbook {} is {}{}",
                record.name(),
                record.outcome.word(),
                error
                    .as_ref()
                    .map_or_else(String::new, |error| format!(": {}", error.message))
            ),
            hint: error.and_then(|error| error.hint),
        })
    }

    async fn execute(&mut self, story: &mut Story, drill: bool) -> Result<RunbookRecord, SandboxError> {
        let mut desk = self.desk();
        let clock = self.world.clock().clone();
        let since = clock.monotonic();
        let id = self.begin(story, &desk, drill).await?;
        loop {
            if let Some(overview) = unless_away(desk.alma.overview().await)? {
                let run = overview
                    .executions
                    .into_iter()
                    .map(|view| view.run)
                    .find(|run| run.id == id);
                let Some(run) = run else { break };
                self.tell_steps(story, &run, &mut desk.told);
                self.kill_inside(story, &run, &mut desk);
                for (at, needs) in next::waits(&run) {
                    self.answer(story, &run, at, &needs, &mut desk).await?;
                }
                for (step, _) in run.rows().filter(|(_, done)| done.state == StepState::Acting) {
                    self.meanwhile(story, &step.id).await?;
                }
            }
            if !drill {
                self.see_whether_back(story);
            }
            if clock.elapsed(since) > PATIENCE {
                return Err(SandboxError::TooLong {
                    what: format!("runbook {}", story.which.runbook()),
                    seconds: PATIENCE.as_secs(),
                });
            }
            let pause = if self.world.is_apart() {
                LOOK_CLOSELY
            } else {
                LOOK_EVERY
            };
            clock.sleep(pause).await;
        }
        self.ended(story, &desk.alma, &id, &mut desk.told).await
    }

    /// Plans the runbook and begins it; what was begun when the answer was lost is found again.
    async fn begin(&mut self, story: &mut Story, desk: &Desk, drill: bool) -> Result<RunbookRunId, SandboxError> {
        let mut wish = StartRunbook {
            runbook: story.which.runbook().into(),
            drill,
            unattended: story.which.is_unattended(),
            set: story.values.clone(),
            hash: None,
            incident_at: story.which.incident().map(|_| story.broken_at),
        };
        let plan = loop {
            match unless_away(desk.alma.plan_runbook(wish.clone()).await)? {
                Some(plan) => break plan,
                None => self.world.clock().sleep(LOOK_EVERY).await,
            }
        };
        wish.set.retain(|name, _| {
            let variable = plan.variables.iter().find(|known| known.name == *name);
            variable.is_some_and(|variable| !variable.chosen)
        });
        let people = if wish.unattended {
            "goes on by itself"
        } else {
            "alma leads, bruno agrees where two are needed"
        };
        self.log.line(&format!(
            "runbook     {}, {} steps: {people}",
            plan.runbook,
            plan.steps.len()
        ));
        wish.hash = Some(plan.hash);
        loop {
            let command = Command::StartRunbook { wish: wish.clone() };
            match desk.alma.command(command).await {
                Ok(receipt) => return receipt.runbook.ok_or_else(|| unexpected("the runbook did not begin")),
                Err(error) if is_away(&error) || error.kind == ErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(overview) = unless_away(desk.alma.overview().await)? {
                let mut begun = overview.executions.into_iter().map(|view| view.run).rev();
                if let Some(run) = begun.find(|run| run.runbook.name == wish.runbook) {
                    return Ok(run.id);
                }
            }
            self.world.clock().sleep(LOOK_CLOSELY).await;
        }
    }

    async fn ended(
        &self,
        story: &mut Story,
        client: &Client,
        id: &RunbookRunId,
        told: &mut BTreeSet<String>,
    ) -> Result<RunbookRecord, SandboxError> {
        let query = Query {
            id: Some(id.to_string()),
            ..Query::default()
        };
        let page = self.patiently(async || client.executions(&query).await).await?;
        let record = page.items.into_iter().next();
        let record = record.ok_or_else(|| unexpected("a runbook that ended left no record"))?;
        self.tell_steps(story, &record.run, told);
        let mode = if record.run.drill { "drill of " } else { "" };
        self.log.line(&format!(
            "{:<11} {mode}{} in {}",
            record.outcome.word(),
            record.name(),
            record.took()
        ));
        Ok(record)
    }

    /// Asks until somebody answers.
    pub(super) async fn patiently<T>(&self, ask: impl AsyncFn() -> Result<T, ClientError>) -> Result<T, SandboxError> {
        let clock = self.world.clock();
        let since = clock.monotonic();
        loop {
            if let Some(answer) = unless_away(ask().await)? {
                return Ok(answer);
            }
            if clock.elapsed(since) > PATIENCE {
                return Err(unexpected("the agent does not come back"));
            }
            clock.sleep(LOOK_CLOSELY).await;
        }
    }

    /// Says what has become of steps since the last look.
    fn tell_steps(&self, story: &mut Story, run: &RunbookRun, told: &mut BTreeSet<String>) {
        for (step, done) in run.rows() {
            if done.started_at.is_some() && matches!(step.phase, Phase::Restore) && story.decided.is_none() {
                story.decided = Some(self.world.clock().monotonic());
            }
            if !done.state.is_settled() && done.error.is_none() {
                continue;
            }
            if !told.insert(format!("{}/{}/{}", step.id, done.attempt, done.state.word())) {
                continue;
            }
            let title = step.title.sentence(&run.values);
            self.log.more(&format!("{:<8} {title}", done.state.word()));
            if let Some(error) = &done.error {
                self.log.more(&format!("         {error}"));
            }
        }
    }

    /// Kills an agent of its own inside a step, some times in each.
    fn kill_inside(&self, story: &mut Story, run: &RunbookRun, desk: &mut Desk) {
        if !self.world.is_apart() {
            return;
        }
        let clock = self.world.clock();
        for (step, done) in run.rows().filter(|(_, done)| done.state == StepState::Acting) {
            let attempt = format!("{}/{}", step.id, done.attempt);
            let since = *desk.acting.entry(attempt).or_insert_with(|| clock.monotonic());
            let times = desk.killed.entry(step.id.clone()).or_default();
            let due = KILL_AFTER
                .get(*times)
                .is_some_and(|after| clock.elapsed(since) >= *after);
            // Killed once an attempt: the next look may still show what was.
            if due && clock.elapsed(since) < PATIENCE && self.world.kill_agent() {
                *times += 1;
                story.killed.insert(step.id.clone());
                desk.acting
                    .insert(format!("{}/{}", step.id, done.attempt), since + PATIENCE);
            }
        }
    }

    /// Notes when the shop took its first order since everything was noticed.
    pub(super) fn see_whether_back(&self, story: &mut Story) {
        let taken = self.world.service().map_or(0, |service| service.taken().count);
        if story.counts_orders() && story.back.is_none() && taken > 0 {
            story.back = Some(self.world.clock().monotonic());
        }
    }
}

pub(super) fn is_away(error: &ClientError) -> bool {
    error.is_unreachable()
}

/// What was answered, or nothing while the agent is away.
fn unless_away<T>(answer: Result<T, ClientError>) -> Result<Option<T>, SandboxError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if is_away(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a step waits for what only looking at the world can tell.
pub(super) fn is_a_question(need: &Need) -> bool {
    matches!(need, Need::Doubt | Need::Failure | Need::Obstacles(_))
}
