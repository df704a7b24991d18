//! What can be said in an execution now, and why not: the rules of the agent, said before it has to refuse.
//!
//! The agent decides; this only keeps hands from asking for what it would refuse, with a better sentence.

use super::{is_quiet, needs};
use crate::domain::runbook::next::{self, Need};
use crate::domain::runbook::{RunbookRun, StepState};
use crate::tui::app::App;
use crate::tui::finder;
use crate::tui::keymap::Action;

/// What somebody can say in an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Go, or done.
    Go,
    /// Ask the checks again.
    Recheck,
    /// Set the checks aside that do not hold.
    Override,
    /// Pass the step over.
    Skip,
    /// Do it, or take it back, again.
    Retry,
    /// A step in doubt was done.
    WasDone,
    /// Leave what could not be taken back.
    LeaveUndo,
    /// Agree.
    Approve,
    /// Say a value.
    Value,
    /// Begin nothing new, or go on.
    Pause,
    /// Lead from here.
    Take,
    /// Look through the snapshots a step looks for the last clean one in.
    Find,
    /// End it.
    Abort,
}

impl Lead {
    /// All of them, in the order they are offered.
    pub const ALL: [Self; 13] = [
        Self::Go,
        Self::Recheck,
        Self::Override,
        Self::Skip,
        Self::Retry,
        Self::WasDone,
        Self::LeaveUndo,
        Self::Approve,
        Self::Value,
        Self::Pause,
        Self::Take,
        Self::Find,
        Self::Abort,
    ];

    /// The action of the key map that says it.
    pub const fn action(self) -> Action {
        match self {
            Self::Go => Action::LeadGo,
            Self::Recheck => Action::LeadRecheck,
            Self::Override => Action::LeadOverride,
            Self::Skip => Action::LeadSkip,
            Self::Retry => Action::LeadRetry,
            Self::WasDone => Action::LeadWasDone,
            Self::LeaveUndo => Action::LeadLeave,
            Self::Approve => Action::LeadApprove,
            Self::Value => Action::LeadValue,
            Self::Pause => Action::LeadPause,
            Self::Take => Action::LeadTake,
            Self::Find => Action::LeadFind,
            Self::Abort => Action::LeadAbort,
        }
    }

    /// What it does, for a menu.
    pub fn words(self, run: &RunbookRun, at: usize) -> String {
        let step = at + 1;
        match self {
            Self::Go => format!("Go, or done: step {step}"),
            Self::Recheck => format!("Check step {step} again"),
            Self::Override => format!("Set the failing checks of step {step} aside"),
            Self::Skip => format!("Pass step {step} over"),
            Self::Retry => format!("Do step {step} again"),
            Self::WasDone => format!("Say that step {step} was done"),
            Self::LeaveUndo => format!("Leave step {step} as it is"),
            Self::Approve => format!("Agree to step {step}"),
            Self::Value => format!("Say the value step {step} waits for"),
            Self::Pause if run.paused.is_some() => "Go on with it".to_owned(),
            Self::Pause => "Pause it".to_owned(),
            Self::Take => "Take it over".to_owned(),
            Self::Find => "Look for the last clean snapshot by hand".to_owned(),
            Self::Abort => "Abort it".to_owned(),
        }
    }

    /// Whether whoever does not lead may say it.
    const fn is_free(self) -> bool {
        matches!(self, Self::Approve | Self::Pause | Self::Take | Self::Find)
    }
}

/// Why something cannot be said about a step now; none when it can.
pub fn refused(app: &App, run: &RunbookRun, at: usize, lead: Lead) -> Option<String> {
    let me = app.settings.me.as_str();
    let key = |lead: Lead| app.settings.keymap.key(lead.action()).unwrap_or_default();
    let resuming = lead == Lead::Pause && run.paused.is_some();
    if run.held_by != me && (!lead.is_free() || resuming) {
        return Some(format!("held by {}; {} takes it over", run.held_by, key(Lead::Take)));
    }
    let Some(done) = run.steps.get(at) else {
        return Some("it has no steps".to_owned());
    };
    let needs = needs(run, at);
    let its_turn = run.ending.is_none() && next::current(run).contains(&at);
    let state = done.state.word();
    let unless = |holds: bool, why: String| (!holds).then_some(why);
    match lead {
        Lead::Go => why_not_go(run, at, &needs, &key),
        Lead::Recheck if its_turn && done.checked.is_none() && run.runbook.steps[at].precheck.is_empty() => {
            Some("it has no checks".to_owned())
        }
        Lead::Recheck => unless(
            its_turn && done.state == StepState::Pending,
            "only a step whose turn it is is checked".to_owned(),
        ),
        Lead::Override => unless(
            its_turn && done.state == StepState::Pending && done.obstacles().next().is_some(),
            "nothing stands in its way".to_owned(),
        ),
        Lead::Skip => unless(
            its_turn && is_quiet(done.state),
            format!("step {} is {state}, or it is not its turn", at + 1),
        ),
        Lead::Retry => {
            let failed = its_turn && matches!(done.state, StepState::Failed | StepState::InDoubt);
            unless(
                failed || needs.contains(&Need::UndoFailed),
                format!("step {} has not failed", at + 1),
            )
        }
        Lead::WasDone => unless(
            its_turn && done.state == StepState::InDoubt,
            format!("step {} is not in doubt", at + 1),
        ),
        Lead::LeaveUndo => unless(
            needs.contains(&Need::UndoFailed),
            "nothing failed to be taken back".to_owned(),
        ),
        Lead::Approve => why_not_agree(run, me, &needs),
        Lead::Value => unless(
            needs.iter().any(|need| matches!(need, Need::Value { .. })),
            "it waits for no value".to_owned(),
        ),
        Lead::Pause => unless(run.ending.is_none(), "it is ending".to_owned()),
        Lead::Take => unless(run.held_by != me, "you lead it".to_owned()),
        Lead::Find => unless(
            finder::step_of(run, at).is_some(),
            "no step of it looks for a snapshot".to_owned(),
        ),
        Lead::Abort => unless(run.ending.is_none(), "it is ending already".to_owned()),
    }
}

fn why_not_go(run: &RunbookRun, at: usize, needs: &[Need], key: &dyn Fn(Lead) -> String) -> Option<String> {
    if run.paused.is_some() && run.ending.is_none() {
        return Some(format!("it is paused; {} goes on", key(Lead::Pause)));
    }
    let done = &run.steps[at];
    for need in needs {
        let why = match need {
            Need::Obstacles(_) => format!(
                "a check does not hold: {} checks again, {} sets it aside with a reason",
                key(Lead::Recheck),
                key(Lead::Override)
            ),
            Need::Approval { other: true } => "a second engineer has to agree, on a console of their own".to_owned(),
            Need::Approval { other: false } => format!("somebody has to agree: {} agrees", key(Lead::Approve)),
            Need::Failure => format!(
                "it failed: {} does it again, {} passes it over, {} aborts",
                key(Lead::Retry),
                key(Lead::Skip),
                key(Lead::Abort)
            ),
            Need::Doubt => format!(
                "look at it first; then {}: it was done, {}: do it again, {}: pass it over",
                key(Lead::WasDone),
                key(Lead::Retry),
                key(Lead::Skip)
            ),
            Need::UndoFailed => format!(
                "it could not be taken back: {} tries again, {} leaves it as it is",
                key(Lead::Retry),
                key(Lead::LeaveUndo)
            ),
            Need::Go { .. } | Need::Done | Need::Value { .. } => continue,
        };
        return Some(why);
    }
    if !needs.is_empty() {
        return None;
    }
    Some(match (done.state, &done.released) {
        (StepState::Pending, Some(word)) => format!("{} has said go; it is being looked at once more", word.by),
        (StepState::Pending, None) if next::current(run).contains(&at) => "its checks are being asked".to_owned(),
        (StepState::Pending, None) => "it is not its turn".to_owned(),
        (StepState::Acting, _) => "it is at work; nothing is asked of you".to_owned(),
        (other, _) => format!("it is {}", other.word()),
    })
}

fn why_not_agree(run: &RunbookRun, me: &str, needs: &[Need]) -> Option<String> {
    let wanted = needs.iter().find_map(|need| match need {
        Need::Approval { other } => Some(*other),
        _ => None,
    });
    match wanted {
        None => Some("nobody's word is wanted".to_owned()),
        Some(true) if run.held_by == me => Some("you lead it, so somebody else has to agree".to_owned()),
        Some(_) => None,
    }
}
