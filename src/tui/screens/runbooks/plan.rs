//! The plan of an execution: what is known, what is missing, every step with its exact command and its checks as they are.

use ratatui::text::Line;

use super::steps::check_sign;
use crate::domain::Timestamp;
use crate::domain::runbook::view::RunbookPlan;
use crate::tui::canvas::Look;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::words;

/// The lines of a plan, what stands in the way first.
pub fn lines(
    plan: &RunbookPlan,
    incident_at: Option<Timestamp>,
    refused: Option<&str>,
    look: Look<'_>,
    width: usize,
    locked: Option<&str>,
) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    if let Some(refused) = refused {
        detail.prose(
            &format!("Refused: {refused}. This is the plan as it is now."),
            Role::Crit,
        );
    }
    if let Some(locked) = locked {
        detail.prose(&format!("This cannot begin: {locked}."), Role::Crit);
    }
    if !plan.missing.is_empty() {
        let missing = plan.missing.join(", ");
        detail.prose(
            &format!("Still to be said: {missing}; Esc goes back to the form."),
            Role::Crit,
        );
    }
    detail.prose(&plan.title, Role::Text);
    let version = plan.hash.get(..8).unwrap_or(&plan.hash);
    let objective = plan.objective.map(words::promise);
    let within = objective.map_or(String::new(), |objective| format!(", within {objective}"));
    detail.pair("bound to", format!("version {version}{within}"));
    if let Some(at) = incident_at {
        detail.pair("happened", format!("{}; the clock counts from there", words::full(at)));
    }
    for variable in &plan.variables {
        match plan.values.get(&variable.name) {
            Some(value) => detail.pair(&variable.name, value),
            None if variable.chosen => detail.pair_as(&variable.name, "chosen on the way", Role::Dim),
            None => detail.pair_as(&variable.name, "has to be said", Role::Crit),
        }
    }
    let obstacles = plan.obstacles().count() as u64;
    if obstacles > 0 {
        let count = words::plural(obstacles, "check");
        let note = "each is asked again right before its step";
        detail.pair_as("checks", format!("{count} not met now; {note}"), Role::Warn);
    }
    detail.head("Steps");
    for (number, step) in (1..).zip(&plan.steps) {
        let role = if step.passed.is_some() { Role::Dim } else { Role::Accent };
        detail.list(&format!("{number}."), std::slice::from_ref(&step.title), role);
        if let Some(passed) = &step.passed {
            detail.pair_as("   passed", passed, Role::Dim);
        }
        detail.pair("   will run", &step.does);
        detail.pair("   needs", &step.needs);
        let no_undo = step.undo.starts_with("no undo");
        detail.pair_as("   undo", &step.undo, if no_undo { Role::Warn } else { Role::Text });
        for check in &step.checks {
            let (sign, role) = check_sign(check.outcome);
            detail.pair_as("   check", format!("{sign} {}: {}", check.title, check.detail), role);
        }
    }
    detail.lines
}
