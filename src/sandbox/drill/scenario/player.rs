//! Going through a runbook as two engineers: one leads it, the other agrees where two are needed.
//!
//! Every word is given through the API as from a console. Where the runbook is stuck (a check that does not hold, a step that
//! failed, a doubt) the scenario ends with what stands in the way: that is what it is there to find.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Drill, Story, unexpected};
use crate::api::{Client, ErrorKind};
use crate::domain::command::Command;
use crate::domain::id::RunbookRunId;
use crate::domain::runbook::next::{self, Need};
use crate::domain::runbook::{Phase, RunbookRecord, RunbookRun, Saying, StartRunbook};
use crate::domain::view::Query;
use crate::sandbox::SandboxError;
use crate::sandbox::drill::wait::LOOK_EVERY;

/// Who leads.
const LEADS: &str = "alma";
/// Who agrees.
const AGREES: &str = "bruno";
/// How long a whole runbook may take here.
const PATIENCE: Duration = Duration::from_mins(5);

impl Drill<'_> {
    /// Plans and begins the runbook of a story, and goes through it to the end, which must be a completion.
    pub(super) async fn go_through(&mut self, story: &mut Story) -> Result<RunbookRecord, SandboxError> {
        let (alma, bruno) = (self.world.client_of(LEADS), self.world.client_of(AGREES));
        let mut wish = StartRunbook {
            runbook: story.which.runbook().into(),
            drill: false,
            unattended: false,
            set: story.values.clone(),
            hash: None,
            incident_at: Some(story.broken_at),
        };
        let plan = alma.plan_runbook(wish.clone()).await?;
        wish.set.retain(|name, _| {
            let variable = plan.variables.iter().find(|known| known.name == *name);
            variable.is_some_and(|variable| !variable.chosen)
        });
        self.log.line(&format!(
            "runbook     {}, {} steps: {LEADS} leads, {AGREES} agrees where two are needed",
            plan.runbook,
            plan.steps.len()
        ));
        wish.hash = Some(plan.hash);
        let begun = alma.command(Command::StartRunbook { wish }).await?;
        let id = begun.runbook.ok_or_else(|| unexpected("the runbook did not begin"))?;
        let clock = self.world.clock().clone();
        let since = clock.monotonic();
        let (mut told, mut answered) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let live = alma.overview().await?.executions;
            let Some(run) = live.into_iter().map(|view| view.run).find(|run| run.id == id) else {
                break;
            };
            self.tell_steps(story, &run, &mut told);
            for (at, needs) in next::waits(&run) {
                self.answer(story, &run, at, &needs, (&alma, &bruno), &mut answered)
                    .await?;
            }
            self.see_whether_back(story);
            if clock.elapsed(since) > PATIENCE {
                return Err(SandboxError::TooLong {
                    what: format!("runbook {}", story.which.runbook()),
                    seconds: PATIENCE.as_secs(),
                });
            }
            clock.sleep(LOOK_EVERY).await;
        }
        self.ended(story, &alma, &id, &mut told).await
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
        let record = client.executions(&query).await?.items.into_iter().next();
        let record = record.ok_or_else(|| unexpected("a runbook that ended left no record"))?;
        self.tell_steps(story, &record.run, told);
        self.log.line(&format!(
            "{:<11} {} in {}",
            record.outcome.word(),
            record.name(),
            record.took()
        ));
        if let Some(error) = record.run.steps.iter().find_map(|step| step.error.clone()) {
            return Err(SandboxError::Engine {
                message: format!("runbook {}: {}", record.name(), error.message),
                hint: error.hint,
            });
        }
        Ok(record)
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
            let title = step.title.resolve(&run.values).unwrap_or_else(|_| step.title.text());
            self.log.more(&format!("{:<8} {title}", done.state.word()));
            if let Some(error) = &done.error {
                self.log.more(&format!("         {error}"));
            }
        }
    }

    async fn answer(
        &mut self,
        story: &mut Story,
        run: &RunbookRun,
        at: usize,
        needs: &[Need],
        (leads, agrees): (&Client, &Client),
        answered: &mut BTreeSet<String>,
    ) -> Result<(), SandboxError> {
        let (step, done) = (&run.runbook.steps[at], &run.steps[at]);
        for need in needs {
            // What the agent has not taken in yet is not said again.
            if !answered.insert(format!("{}/{}/{need:?}", step.id, done.attempt)) {
                continue;
            }
            let step = step.id.clone();
            let (client, saying) = match need {
                Need::Value { variable } => {
                    let value = story.values.get(variable).cloned();
                    let value = value.ok_or_else(|| unexpected(&format!("nobody knows a value for {variable}")))?;
                    self.log.more(&format!("         {LEADS}: {variable} is {value}"));
                    let name = variable.clone();
                    (leads, Saying::Set { name, value })
                }
                Need::Approval { .. } => {
                    self.log.more(&format!("         {AGREES} agrees to {step}"));
                    (agrees, Saying::Approve { step })
                }
                Need::Go { typed } => {
                    let (typed, attempt) = (typed.clone(), done.attempt);
                    (leads, Saying::Go { step, attempt, typed })
                }
                Need::Done => {
                    self.by_hand(story, &step, &run.values).await?;
                    let (typed, attempt) = (None, done.attempt);
                    (leads, Saying::Go { step, attempt, typed })
                }
                Need::Obstacles(_) => {
                    let why: Vec<String> = done
                        .obstacles()
                        .map(|check| format!("{}: {}", check.title, check.detail))
                        .collect();
                    return Err(stuck(&step, &why.join("; ")));
                }
                Need::Failure | Need::Doubt | Need::UndoFailed => {
                    let why = done.error.as_ref().map(ToString::to_string);
                    return Err(stuck(&step, &why.unwrap_or_else(|| format!("{need:?}"))));
                }
            };
            let command = Command::SayInRunbook {
                run: run.id.clone(),
                saying,
            };
            match client.command(command).await {
                Ok(_) => {}
                // It went on meanwhile; the next look says where it is.
                Err(error) if error.kind == ErrorKind::Conflict || error.kind == ErrorKind::Interlock => {
                    answered.clear();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Notes when the shop took its first order since everything was noticed.
    pub(super) fn see_whether_back(&self, story: &mut Story) {
        let taken = self.world.service().map_or(0, |service| service.taken().count);
        if story.counts_orders() && story.back.is_none() && taken > 0 {
            story.back = Some(self.world.clock().monotonic());
        }
    }
}

fn stuck(step: &str, why: &str) -> SandboxError {
    SandboxError::Engine {
        message: format!("the runbook is stuck at step {step}: {why}"),
        hint: Some("try again with --keep and look into the sandbox".to_owned()),
    }
}
