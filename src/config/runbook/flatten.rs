//! Puts the runbooks that a runbook uses into their places: their steps and variables get the name of the step they stand for
//! in front, so that an execution knows nothing of runbooks in runbooks.

use std::collections::BTreeMap;

use super::rules::is_built_in;
use super::{Book, Item, Use};
use crate::config::section::{Problems, suggestion};
use crate::domain::runbook::action::Action;
use crate::domain::runbook::template::Template;
use crate::domain::runbook::{Condition, Step, Variable, VariableKind};

/// More steps than this are several runbooks.
const MOST_STEPS: usize = 200;

/// A runbook with everything in its place.
#[derive(Debug, Default, Clone)]
pub(super) struct Flat {
    pub(super) variables: Vec<Variable>,
    pub(super) steps: Vec<Step>,
    /// Where each step is written in the runbook's own file; where the other is used for those of others.
    pub(super) offsets: Vec<usize>,
}

/// Flattens a runbook; problems are noted with their place.
pub(super) fn flatten(books: &BTreeMap<String, Book<'_>>, name: &str, problems: &mut Problems) -> Flat {
    let mut budget = Some(MOST_STEPS);
    expand(books, name, &mut Vec::new(), &mut budget, problems)
}

fn expand(
    books: &BTreeMap<String, Book<'_>>,
    name: &str,
    path: &mut Vec<String>,
    budget: &mut Option<usize>,
    problems: &mut Problems,
) -> Flat {
    let Some(book) = books.get(name) else {
        return Flat::default();
    };
    path.push(name.to_owned());
    let mut flat = Flat {
        variables: book.variables.clone(),
        ..Flat::default()
    };
    for item in &book.items {
        match item {
            Item::Step(step, offset) => {
                if !spend(budget, book, *offset, name, problems) {
                    break;
                }
                flat.steps.push((**step).clone());
                flat.offsets.push(*offset);
            }
            Item::Use(used) => {
                // It counts, too: runbooks that use two each would otherwise be gone through without end.
                if !spend(budget, book, used.offset, name, problems) {
                    break;
                }
                let inner = used.runbook.get_ref();
                let at = used.runbook.span().start;
                let key = format!("step.{}.runbook", used.id);
                if path.contains(inner) {
                    let circle = format!("{} → {inner}", path.join(" → "));
                    problems.add(
                        book.file,
                        at,
                        key,
                        format!("a runbook that uses itself never ends: {circle}"),
                        None,
                    );
                    continue;
                }
                if !books.contains_key(inner) {
                    let hint = suggestion(inner, books.keys().map(String::as_str));
                    problems.add(book.file, at, key, format!("there is no runbook \"{inner}\""), hint);
                    continue;
                }
                let before = problems.0.len();
                let sub = expand(books, inner, path, budget, problems);
                if problems.0.len() == before {
                    put_in(&mut flat, used, sub, book, problems);
                }
            }
        }
    }
    path.pop();
    mark_chosen(&mut flat);
    flat
}

/// Takes one from what is left of the steps a runbook may have; says so once when there is none.
fn spend(budget: &mut Option<usize>, book: &Book<'_>, offset: usize, name: &str, problems: &mut Problems) -> bool {
    match budget {
        Some(0) => {
            let hint = "make several runbooks of it, and begin them one after the other".to_owned();
            let message = format!("it has more than {MOST_STEPS} steps, with those of the runbooks it uses");
            problems.add(book.file, offset, name, message, Some(hint));
            *budget = None;
            false
        }
        Some(left) => {
            *left -= 1;
            true
        }
        None => false,
    }
}

fn put_in(flat: &mut Flat, used: &Use, sub: Flat, book: &Book<'_>, problems: &mut Problems) {
    for name in used
        .set
        .keys()
        .filter(|name| !sub.variables.iter().any(|known| known.name == **name))
    {
        let hint = suggestion(name, sub.variables.iter().map(|known| known.name.as_str()));
        let message = format!("runbook {} has no variable \"{name}\"", used.runbook.get_ref());
        problems.add(book.file, used.offset, format!("step.{}.set", used.id), message, hint);
    }
    let prefix = |name: &str| format!("{}.{name}", used.id);
    let found_out = found_out(flat, used, &sub);
    let rename = |name: &str| match found_out.get(name) {
        Some(output) => output.clone(),
        None if is_built_in(name) => name.to_owned(),
        None => prefix(name),
    };
    for mut variable in sub.variables {
        if found_out.contains_key(&variable.name) {
            continue;
        }
        let said = used.set.get(&variable.name).cloned();
        variable.name = prefix(&variable.name);
        if let VariableKind::Member { cluster } = &mut variable.kind {
            *cluster = prefix(cluster);
        }
        if let Some(default) = &mut variable.default {
            default.rename(&rename);
        }
        // What is said where it is used counts as a default: whoever runs it may still say otherwise.
        variable.default = said.or(variable.default);
        variable.chosen &= variable.default.is_none();
        flat.variables.push(variable);
    }
    for mut step in sub.steps {
        step.id = prefix(&step.id);
        step.visit(&mut |_, template: &mut Template| template.rename(&rename));
        if let Action::Choose(choose) = &mut step.action {
            choose.variable = prefix(&choose.variable);
        }
        step.parallel = step.parallel.map(|group| prefix(&group));
        let own: Vec<Condition> = std::mem::take(&mut step.when);
        step.when = used.when.iter().cloned().chain(own).collect();
        flat.steps.push(step);
        flat.offsets.push(used.offset);
    }
}

/// Variables that are set to what an earlier step finds out. Nobody can be asked for them, so they are no variables here: what
/// the step finds out stands in their place.
fn found_out(flat: &Flat, used: &Use, sub: &Flat) -> BTreeMap<String, String> {
    let is_output = |name: &str| {
        let of_step = |step: &Step| {
            let output = name
                .strip_prefix(step.id.as_str())
                .and_then(|rest| rest.strip_prefix('.'));
            output.is_some_and(|output| step.action.outputs().contains(&output))
        };
        flat.steps.iter().any(of_step)
    };
    let is_variable = |name: &str| sub.variables.iter().any(|known| known.name == name);
    // The members to choose from are those of a cluster that is known from the start.
    let is_asked_by_others = |name: &str| {
        let of = |variable: &Variable| matches!(&variable.kind, VariableKind::Member { cluster } if cluster == name);
        sub.variables.iter().any(of)
    };
    let set = used
        .set
        .iter()
        .filter(|(name, _)| is_variable(name) && !is_asked_by_others(name));
    set.filter_map(|(name, value)| Some((name.clone(), value.alone().filter(|of| is_output(of))?.to_owned())))
        .collect()
}

/// A variable that a step chooses needs no value before.
fn mark_chosen(flat: &mut Flat) {
    for step in &flat.steps {
        if let Action::Choose(choose) = &step.action
            && let Some(variable) = flat.variables.iter_mut().find(|known| known.name == choose.variable)
            && variable.default.is_none()
        {
            variable.chosen = true;
        }
    }
}
