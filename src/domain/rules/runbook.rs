//! A runbook that goes on by itself and has come to something that only a person can decide.

use super::Condition;
use crate::domain::alert::{AlertKind, AlertSubject};
use crate::domain::decide::Context;
use crate::domain::runbook::next;

/// One for each execution that waits and that nobody is known to be looking at.
pub(super) fn conditions(context: &Context<'_>) -> Vec<Condition> {
    let mut all = Vec::new();
    for run in context
        .state
        .runbooks
        .values()
        .filter(|run| run.unattended && !run.drill)
    {
        let waits = next::waits(run);
        let Some((at, _)) = waits.first() else { continue };
        let (name, step) = (&run.runbook.name, &run.runbook.steps[*at].id);
        all.push(Condition {
            kind: AlertKind::RunbookWaiting,
            subject: AlertSubject::default(),
            name: run.id.to_string(),
            message: format!("runbook {name} waits for a person at step {step}"),
            next_step: format!("lifeboat runbook resume {}", run.id),
            opens: true,
        });
    }
    all
}
