//! Alerts about drills: one that should have been done, one that failed or took too long.

use super::Condition;
use crate::domain::alert::{AlertKind, AlertSubject};
use crate::domain::decide::Context;
use crate::domain::drill::{self, Drill, DrillFacts, overdue_at};
use crate::domain::job::Definitions;
use crate::domain::run::Outcome;
use crate::domain::state::State;
use crate::domain::units::Timestamp;

pub(super) fn conditions(context: &Context<'_>) -> Vec<Condition> {
    let known = context.definitions.drills.values();
    let known = known.filter_map(|drill| Some((drill, context.state.drills.get(&drill.name)?)));
    known.flat_map(|(drill, facts)| of(context, drill, facts)).collect()
}

fn of(context: &Context<'_>, drill: &Drill, facts: &DrillFacts) -> Vec<Condition> {
    let name = &drill.name;
    let service = context.definitions.service_of(&drill.source);
    let condition = |kind, message, next_step| Condition {
        kind,
        subject: AlertSubject {
            service: service.clone(),
            job: None,
            snapshot: None,
        },
        name: name.to_string(),
        message,
        next_step,
        opens: true,
    };
    let mut all = Vec::new();
    if let Some(last) = &facts.last {
        let over = drill::limit(context.definitions, drill).filter(|limit| last.took > *limit);
        let why = match (last.outcome, over) {
            (Outcome::Succeeded, None) => None,
            (Outcome::Succeeded, Some(limit)) => Some(format!("took {}, {limit} are allowed", last.took)),
            (outcome, _) => {
                let why = last
                    .error
                    .as_ref()
                    .map_or_else(String::new, |error| format!(": {error}"));
                Some(format!("{}{why}", outcome.word()))
            }
        };
        all.extend(why.map(|why| {
            condition(
                AlertKind::DrillFailed,
                format!("drill {name} of {} {why}", drill.source),
                format!(
                    "see its phases and findings ({}), then: lifeboat drill run {name} --wait",
                    last.recovery
                ),
            )
        }));
    }
    if overdue_at(drill, facts).is_some_and(|at| at <= context.now) {
        let since = facts.last_success_at.map_or_else(
            || "was never done".to_owned(),
            |at| format!("was last done well {}", at.format("%Y-%m-%d %H:%M UTC")),
        );
        all.push(condition(
            AlertKind::DrillOverdue,
            format!("drill {name} of {} {since}", drill.source),
            format!("do it now: lifeboat drill run {name} --wait"),
        ));
    }
    all
}

/// The moments at which drills become overdue.
pub(super) fn moments<'a>(state: &'a State, definitions: &'a Definitions) -> impl Iterator<Item = Timestamp> + 'a {
    definitions
        .drills
        .values()
        .filter_map(move |drill| overdue_at(drill, state.drills.get(&drill.name)?))
}
