//! What an agent that was killed again and again has kept of its word, read from its journal and from what it left.
//!
//! The agent kills itself as soon as a fact of the execution is durable, and, for every step, when it has acted and not noted it
//! yet; the player kills it from outside while steps act. Whether everything was met is checked against the journal: every kind
//! of fact of every step, and every step that acted, has its mark.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Drill, Story, unexpected};
use crate::domain::event::Event;
use crate::domain::runbook::{Class, RunbookFact, RunbookRecord};
use crate::domain::view::Query;
use crate::sandbox::{Apart, SandboxError};

/// How long a report may take to be there.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// What came of the deaths of an agent in one execution.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deaths {
    /// How often it died.
    pub deaths: u32,
    /// Of these: right after a fact was durable; having acted and not noted it; by the player while a step acted.
    pub by_kind: [u32; 3],
    /// How often a step was in doubt, was found done, and was done again.
    pub doubts: [u32; 3],
    /// How often a person had to look.
    pub asked: u32,
    /// How often a step that had been done whole was done again.
    pub repeated: u32,
    /// What should not be: each a sentence.
    pub wrong: Vec<String>,
}

impl std::fmt::Display for Deaths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ([boundaries, deeds, inside], [doubts, done, again]) = (self.by_kind, self.doubts);
        write!(
            f,
            "killed {} times ({boundaries} after a fact, {deeds} having acted, {inside} while acting); {doubts} in doubt, {done} \
             found done, {again} done again, {} of them a second time; a person looked {} times",
            self.deaths, self.repeated, self.asked
        )
    }
}

impl Drill<'_> {
    /// Reads what came of it.
    pub(super) async fn deaths(
        &self,
        story: &Story,
        record: &RunbookRecord,
        apart: &Apart,
    ) -> Result<Deaths, SandboxError> {
        let facts = self.facts(record).await?;
        let mut deaths = Deaths {
            deaths: self.world.agent_ended(),
            asked: story.asked,
            ..Deaths::default()
        };
        follow(&facts, &mut deaths);
        if let Some(crash) = &apart.crash {
            against_marks(&facts, (story, record), crash, &mut deaths)?;
        }
        let report = self.world.path().join(format!("state/reports/{}.md", record.run.id));
        let (clock, since) = (self.world.clock(), self.world.clock().monotonic());
        while !report.exists() && clock.elapsed(since) < PATIENCE {
            clock.sleep(std::time::Duration::from_millis(50)).await;
        }
        if !report.exists() {
            deaths.wrong.push("the agent left no report".to_owned());
        }
        self.log.line(&format!("agent       {deaths}"));
        for wrong in &deaths.wrong {
            self.log.more(&format!("WRONG {wrong}"));
        }
        Ok(deaths)
    }

    /// Everything that has happened in an execution, in its order.
    async fn facts(&self, record: &RunbookRecord) -> Result<Vec<RunbookFact>, SandboxError> {
        let mut query = Query {
            limit: Some(1000),
            since: Some(record.run.started_at),
            ..Query::default()
        };
        let mut found = Vec::new();
        loop {
            let page = self.patiently(async || self.client.journal(&query).await).await?;
            for event in page.items {
                if let Event::Runbook { run, fact } = event.event
                    && run == record.run.id
                {
                    found.push((event.seq, fact));
                }
            }
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        found.sort_by_key(|(seq, _)| *seq);
        if found.is_empty() {
            return Err(unexpected("the journal has nothing of the execution"));
        }
        Ok(found.into_iter().map(|(_, fact)| fact).collect())
    }
}

/// What became of doubts: whoever was in doubt is verified or decided before it acts.
fn follow(facts: &[RunbookFact], deaths: &mut Deaths) {
    let mut in_doubt: BTreeSet<&str> = BTreeSet::new();
    for fact in facts {
        match fact {
            RunbookFact::StepInDoubt { step } => {
                deaths.doubts[0] += 1;
                in_doubt.insert(step);
            }
            RunbookFact::StepEnded { step, end } => {
                if end.recovered {
                    deaths.doubts[1] += 1;
                }
                in_doubt.remove(step.as_str());
            }
            RunbookFact::StepAgain { step, .. } => {
                deaths.doubts[2] += 1;
                in_doubt.remove(step.as_str());
            }
            RunbookFact::StepStarted { step, .. } if in_doubt.contains(step.as_str()) => {
                deaths.wrong.push(format!("step {step} acted while it was in doubt"));
            }
            _ => {}
        }
    }
}

/// Whether the agent died wherever it could, and what was done more than once.
fn against_marks(
    facts: &[RunbookFact],
    (story, record): (&Story, &RunbookRecord),
    crash: &Path,
    deaths: &mut Deaths,
) -> Result<(), SandboxError> {
    let failed = |error| SandboxError::local("read", crash, error);
    let mut marks = BTreeSet::new();
    for entry in std::fs::read_dir(crash).map_err(failed)? {
        marks.insert(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    let count = |kind: &str| u32::try_from(marks.iter().filter(|mark| mark.starts_with(kind)).count()).unwrap_or(0);
    deaths.by_kind = [count("after."), count("acted."), 0];
    deaths.by_kind[2] = deaths.deaths.saturating_sub(deaths.by_kind[0] + deaths.by_kind[1]);
    // The player's kill may have been faster by a moment; then the agent died there all the same.
    let killed = |step: &str| story.killed.contains(step);
    let found = |step: &str| record.run.row(step).is_some_and(|(_, done)| done.recovered);
    for fact in facts {
        let (mark, step) = (fact.mark(), fact.step().unwrap_or_default());
        if !marks.contains(&format!("after.{mark}")) && !killed(step) {
            deaths.wrong.push(format!("the agent did not die after {mark}"));
        }
        let inside = marks.contains(&format!("acted.{step}")) || killed(step) || found(step);
        if matches!(fact, RunbookFact::StepStarted { .. }) && !inside {
            deaths.wrong.push(format!("the agent did not die inside step {step}"));
        }
    }
    let deeds = std::fs::read_to_string(crash.join("deeds")).map_err(failed)?;
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for step in deeds.lines() {
        *times.entry(step).or_default() += 1;
    }
    for step in &record.run.runbook.steps {
        let looks = step.action.only_looks() || step.action.needs_a_person();
        if let Some(times) = times.get(step.id.as_str()).filter(|_| !looks) {
            deaths.repeated += times - 1;
        }
    }
    for step in record.run.runbook.steps.iter().filter(|step| step.class == Class::Once) {
        if times.get(step.id.as_str()).is_some_and(|times| *times > 1) {
            deaths.wrong.push(format!("step {} was done more than once", step.id));
        }
    }
    Ok(())
}
