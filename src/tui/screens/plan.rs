//! What a recovery will do, said before it acts: what stands in the way, where it goes, what it overwrites.

use ratatui::text::Line;

use crate::domain::recovery::RecoveryPlan;
use crate::tui::canvas::Look;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::words;

/// The plan, what stands in the way first.
pub fn lines(plan: &RecoveryPlan, look: Look<'_>, width: usize, locked: Option<&str>) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    if !plan.blockers.is_empty() {
        detail.prose("This cannot start:", Role::Crit);
        detail.list("[!!]", &plan.blockers, Role::Crit);
        detail.lines.push(Line::default());
    } else if let Some(why) = locked {
        detail.prose(&format!("This cannot start from here: {why}."), Role::Warn);
        detail.lines.push(Line::default());
    }
    detail.pair("to", plan.request.target.display());
    detail.pair_if(
        "instant",
        plan.request.instant.as_ref().map(|instant| instant.to.to_string()),
    );
    detail.pair("machine", &plan.target_identity);
    detail.pair(
        "brings back",
        format!(
            "the data of {}, {} ago",
            words::full(plan.recover_to),
            words::age(look.now, plan.recover_to)
        ),
    );
    detail.pair("evidence", format!("{} {}/5", plan.evidence, plan.evidence.rank()));
    detail.pair("from", &plan.from);
    let free = plan
        .target_free
        .map_or(String::new(), |free| format!(", {free} free there"));
    let items = words::plural(plan.items, "item");
    detail.pair(
        "reads, writes",
        format!("{} and {} in {items}{free}", plan.fetch, plan.write),
    );
    match plan.overwrites {
        0 => detail.pair_as("overwrites", "nothing", Role::Ok),
        many => {
            detail.pair_as("OVERWRITES", words::plural(many, "existing thing"), Role::Crit);
            detail.list("  -", &plan.overwrites_sample, Role::Warn);
        }
    }
    let estimate = match (plan.estimate, plan.estimate_p90) {
        (Some(median), Some(slow)) => {
            format!(
                "{median}, at worst about {slow}; from {}",
                words::plural(plan.estimate_samples as u64, "measurement")
            )
        }
        (Some(median), None) => median.to_string(),
        (None, _) => "not known: nothing like it has been measured yet".to_owned(),
    };
    detail.pair("takes", estimate);
    if let Some(log) = plan.replay {
        let phase = |time: &crate::domain::recovery::PhaseTime| format!("{} {}", time.phase.word(), time.took);
        let phases: Vec<String> = plan.estimate_phases.iter().map(phase).collect();
        let phases = if phases.is_empty() {
            String::new()
        } else {
            format!("; {}", phases.join(", then "))
        };
        detail.pair("replays", format!("{log} of log{phases}"));
    }
    detail.pair("undo", &plan.undo);
    if !plan.warnings.is_empty() {
        detail.head("Should be known");
        detail.list("[!]", &plan.warnings, Role::Warn);
    }
    detail.head("The same by command");
    detail.prose(&plan.command, Role::Text);
    if !plan.restic_command.is_empty() {
        detail.head("Without this program");
        detail.prose(&plan.restic_command, Role::Text);
    }
    detail.lines
}
