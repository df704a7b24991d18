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
    let mut budget = MOST_STEPS;
    expand(books, name, &mut Vec::new(), &mut budget, problems)
}

fn expand(
    books: &BTreeMap<String, Book<'_>>,
    name: &str,
    path: &mut Vec<String>,
    budget: &mut usize,
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
                if *budget == 0 {
                    problems.add(
                        book.file,
                        *offset,
                        name,
                        format!("it has more than {MOST_STEPS} steps"),
                        None,
                    );
                    break;
                }
                *budget -= 1;
                flat.steps.push((**step).clone());
                flat.offsets.push(*offset);
            }
            Item::Use(used) => {
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
    let rename = |name: &str| {
        if is_built_in(name) {
            name.to_owned()
        } else {
            prefix(name)
        }
    };
    for mut variable in sub.variables {
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
