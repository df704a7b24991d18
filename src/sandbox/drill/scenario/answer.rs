//! What two engineers say when a runbook waits for them.
//!
//! Where the runbook is stuck (a check that does not hold, a step that failed, a doubt) the story ends with what stands in the
//! way: that is what it is there to find. Only an agent that is killed on purpose leaves doubts that people settle, by looking:
//! what the step was to bring about is there, or it is not.

use super::player::{AGREES, Desk, LEADS, is_a_question, is_away};
use super::{Drill, Story, unexpected};
use crate::api::{Client, ErrorKind};
use crate::domain::command::Command;
use crate::domain::runbook::check::CheckOutcome;
use crate::domain::runbook::next::Need;
use crate::domain::runbook::{Class, RunbookRun, Saying};
use crate::sandbox::SandboxError;

/// How often somebody looks before it is given up.
const LOOKS: u32 = 8;

impl Drill<'_> {
    pub(super) async fn answer(
        &mut self,
        story: &mut Story,
        run: &RunbookRun,
        at: usize,
        needs: &[Need],
        desk: &mut Desk,
    ) -> Result<(), SandboxError> {
        let (step, done) = (&run.runbook.steps[at], &run.steps[at]);
        for need in needs {
            // What the agent has not taken in yet is not said again.
            if !desk.answered.insert(format!("{}/{}/{need:?}", step.id, done.attempt)) {
                continue;
            }
            let Some((agrees, saying)) = self.word(story, run, at, need).await? else {
                continue;
            };
            let client = if agrees { &desk.bruno } else { &desk.alma };
            match said(client, run, saying).await {
                Ok(true) => {}
                // It went on meanwhile; the next look says where it is.
                Ok(false) => desk.answered.clear(),
                Err(error) => return Err(error),
            }
            if is_a_question(need) {
                desk.answered.clear();
            }
        }
        Ok(())
    }

    /// What is said, and whether it is the other who says it.
    async fn word(
        &mut self,
        story: &mut Story,
        run: &RunbookRun,
        at: usize,
        need: &Need,
    ) -> Result<Option<(bool, Saying)>, SandboxError> {
        let (document, done) = (&run.runbook.steps[at], &run.steps[at]);
        let (step, attempt) = (document.id.clone(), done.attempt);
        let typed = None;
        Ok(Some(match need {
            Need::Value { variable } => {
                let value = story.values.get(variable).cloned();
                let value = value.ok_or_else(|| unexpected(&format!("nobody knows a value for {variable}")))?;
                self.log.more(&format!("         {LEADS}: {variable} is {value}"));
                let name = variable.clone();
                (false, Saying::Set { name, value })
            }
            Need::Approval { .. } => {
                self.log.more(&format!("         {AGREES} agrees to {step}"));
                (true, Saying::Approve { step })
            }
            Need::Go { typed } => {
                let typed = typed.clone();
                (false, Saying::Go { step, attempt, typed })
            }
            Need::Done => {
                // Said again when the first word was lost; done once.
                if !story.done.contains(&step) {
                    self.by_hand(story, &step, &run.values).await?;
                    story.done.insert(step.clone());
                }
                (false, Saying::Go { step, attempt, typed })
            }
            Need::Obstacles(_) => {
                let why: Vec<String> = done
                    .obstacles()
                    .map(|check| format!("{}: {}", check.title, check.detail))
                    .collect();
                self.looks(story, &step, &why.join("; "))?;
                self.clear_away(story, &step, &run.values).await?;
                // Who looks at a cluster an instant after a server was killed sees half of it.
                (false, Saying::Recheck { step })
            }
            Need::Failure => {
                let why = done.error.as_ref().map(ToString::to_string);
                self.looks(story, &step, &why.unwrap_or_default())?;
                self.clear_away(story, &step, &run.values).await?;
                (false, Saying::Retry { step })
            }
            Need::Doubt => {
                let seen = done.evidence.iter().map(|one| format!("{}: {}", one.title, one.detail));
                let seen = seen.collect::<Vec<_>>().join("; ");
                self.looks(story, &step, &format!("in doubt: {seen}"))?;
                let reason = "I looked: it is there".to_owned();
                match done.proof() {
                    CheckOutcome::Holds if !done.evidence.is_empty() => (false, Saying::WasDone { step, reason }),
                    CheckOutcome::Fails => (false, Saying::Retry { step }),
                    _ if document.class == Class::Once => {
                        return Err(stuck(&step, "nobody can tell whether it was done"));
                    }
                    _ => (false, Saying::Retry { step }),
                }
            }
            Need::UndoFailed => {
                let why = done.error.as_ref().map(ToString::to_string);
                return Err(stuck(&step, &why.unwrap_or_default()));
            }
        }))
    }

    /// Somebody has to look. Where nobody kills the agent, that is the end of the story.
    fn looks(&self, story: &mut Story, step: &str, why: &str) -> Result<(), SandboxError> {
        story.asked += 1;
        if !self.world.is_apart() || story.asked > LOOKS {
            return Err(stuck(step, why));
        }
        self.log.more(&format!("         {LEADS} looks at {step}: {why}"));
        Ok(())
    }
}

/// Says it; whether it was taken in.
async fn said(client: &Client, run: &RunbookRun, saying: Saying) -> Result<bool, SandboxError> {
    let command = Command::SayInRunbook {
        run: run.id.clone(),
        saying,
    };
    match client.command(command).await {
        Ok(_) => Ok(true),
        Err(error)
            if matches!(
                error.kind,
                ErrorKind::Conflict | ErrorKind::Interlock | ErrorKind::NotFound
            ) =>
        {
            Ok(false)
        }
        Err(error) if is_away(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn stuck(step: &str, why: &str) -> SandboxError {
    SandboxError::Engine {
        message: format!("the runbook is stuck at step {step}: {why}"),
        hint: Some("try again with --keep and look into the sandbox".to_owned()),
    }
}
