//! Whether what a runbook says fits together: names that exist, values that are quoted, choices that are one.

use std::collections::BTreeSet;

use super::Book;
use super::flatten::Flat;
use crate::config::section::{Problems, suggestion};
use crate::domain::runbook::action::{Action, Server};
use crate::domain::runbook::check::{Check, Question};
use crate::domain::runbook::template::{Quoting, Template};
use crate::domain::runbook::values::BUILT_IN;
use crate::domain::runbook::{Step, Undo, VariableKind};
use crate::domain::units::parse_duration;

/// Whether a name is known without being said.
pub(super) fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(known, _)| *known == name)
}

/// Notes a problem of a step: the option, what is wrong, what to do.
struct Notes<'a, 'f> {
    book: &'a Book<'f>,
    step: &'a Step,
    offset: usize,
    problems: &'a mut Problems,
}

impl Notes<'_, '_> {
    fn add(&mut self, key: &str, message: impl Into<String>, hint: Option<String>) {
        let key = format!("step.{}.{key}", self.step.id);
        self.problems.add(self.book.file, self.offset, key, message, hint);
    }

    /// The place of a text of the step, for a message that points at its line.
    fn at_text(&self, text: &str) -> usize {
        let rest = self.book.file.text.get(self.offset..).unwrap_or_default();
        rest.find(text).map_or(self.offset, |at| self.offset + at)
    }
}

/// Checks a runbook that is whole.
pub(super) fn check(book: &Book<'_>, flat: &Flat, problems: &mut Problems) {
    let mut known: BTreeSet<String> = BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
    for variable in &flat.variables {
        if let Some(default) = &variable.default {
            for (name, _) in default.places().filter(|(name, _)| !known.contains(*name)) {
                let message = format!("its default refers to {{{name}}}, which nothing before it says");
                let offset = book.file.text.find(&format!("{{{name}")).unwrap_or(0);
                let hint = "what a step finds out can be handed to a runbook that is used, alone: \"{step.output}\"";
                let hint = name.contains('.').then(|| hint.to_owned());
                problems.add(book.file, offset, format!("variable.{}", variable.name), message, hint);
            }
        }
        known.insert(variable.name.clone());
    }
    let mut ids = BTreeSet::new();
    let mut found_out: Vec<String> = Vec::new();
    for (at, (step, offset)) in flat.steps.iter().zip(&flat.offsets).enumerate() {
        let mut notes = Notes {
            book,
            step,
            offset: *offset,
            problems: &mut *problems,
        };
        if !ids.insert(step.id.as_str()) {
            notes.add(
                "id",
                "another step has this name",
                Some("give each a name of its own".to_owned()),
            );
        }
        // What steps of the same group find out is not known while they go on.
        let group_goes_on = at > 0 && step.parallel.is_some() && flat.steps[at - 1].parallel == step.parallel;
        if !group_goes_on {
            known.extend(found_out.drain(..));
        }
        names(&mut notes, &known);
        quoting(&mut notes, flat);
        kind(&mut notes, &step.action, flat);
        if let Undo::Action(undo) = &step.undo {
            kind(&mut notes, undo, flat);
        }
        let checks = step.precheck.iter().map(|check| ("precheck", check));
        for (key, check) in checks.chain(step.verify.iter().map(|check| ("verify", check))) {
            question(&mut notes, key, check);
        }
        found_out.extend(
            step.action
                .outputs()
                .iter()
                .map(|output| format!("{}.{output}", step.id)),
        );
    }
}

/// Everything a step refers to has to be said, or found out by a step before it.
fn names(notes: &mut Notes<'_, '_>, known: &BTreeSet<String>) {
    let own: Vec<String> = notes
        .step
        .action
        .outputs()
        .iter()
        .map(|output| format!("{}.{output}", notes.step.id))
        .collect();
    let mut unknown: Vec<(&'static str, String)> = Vec::new();
    // What a step finds out is known to its own verification and to what takes it back.
    notes.step.clone().visit(&mut |key, template: &mut Template| {
        let places = template
            .places()
            .filter(|(name, _)| !known.contains(*name) && !own.iter().any(|one| one == name));
        unknown.extend(places.map(|(name, _)| (key, name.to_owned())));
    });
    unknown.dedup();
    for (key, name) in unknown {
        let hint = suggestion(&name, known.iter().map(String::as_str));
        let message = format!("nothing says what {{{name}}} is");
        let offset = notes.at_text(&format!("{{{name}"));
        let key = format!("step.{}.{key}", notes.step.id);
        notes.problems.add(notes.book.file, offset, key, message, hint);
    }
}

/// A value in a statement says how it is quoted, and none goes into a line for a shell.
fn quoting(notes: &mut Notes<'_, '_>, flat: &Flat) {
    let number = |name: &str| {
        let variable = flat.variables.iter().find(|known| known.name == name);
        variable.is_some_and(|known| known.kind == VariableKind::Number)
    };
    let mut naked: Vec<String> = Vec::new();
    notes.step.clone().visit(&mut |key, template: &mut Template| {
        if matches!(key, "statement" | "sql") {
            let plain = template
                .places()
                .filter(|(name, how)| *how == Quoting::Plain && !number(name));
            naked.extend(plain.map(|(name, _)| name.to_owned()));
        }
    });
    for name in naked {
        let hint = format!("write {{{name}:literal}} for a text, {{{name}:ident}} for the name of a table");
        notes.add(
            "statement",
            format!("{{{name}}} stands in a statement without quotes"),
            Some(hint),
        );
    }
}

fn kind(notes: &mut Notes<'_, '_>, action: &Action, flat: &Flat) {
    let one_of = |notes: &mut Notes<'_, '_>, command: bool, url: bool| {
        if command == url {
            let hint = Some("write either command = [\"program\", \"argument\"] or url = \"https://…\"".to_owned());
            notes.add("command", "it is done either by a program or by a request", hint);
        }
    };
    match action {
        Action::Check(_) if notes.step.verify.is_empty() && notes.step.precheck.is_empty() => {
            notes.add(
                "verify",
                "nothing is checked",
                Some("write verify = [{ check = … }]".to_owned()),
            );
        }
        Action::Wait(wait) => match &wait.length {
            Some(length) => duration(notes, "for", length),
            None if notes.step.verify.is_empty() => {
                notes.add(
                    "for",
                    "it waits for nothing",
                    Some("write for = \"30s\", or verify = […]".to_owned()),
                );
            }
            None => {}
        },
        Action::Choose(choose) if !flat.variables.iter().any(|known| known.name == choose.variable) => {
            let hint = suggestion(&choose.variable, flat.variables.iter().map(|known| known.name.as_str()));
            notes.add(
                "variable",
                format!("there is no variable \"{}\"", choose.variable),
                hint,
            );
        }
        Action::Service(service) => {
            let member = service.cluster.is_some() && service.member.is_some();
            let half = service.cluster.is_some() != service.member.is_some();
            if half || member == service.unit.is_some() {
                let hint = Some("write unit = \"…\", or cluster and member".to_owned());
                notes.add("unit", "a service is either a unit or a member of a cluster", hint);
            }
        }
        Action::Route(route) => one_of(notes, !route.command.is_empty(), route.url.is_some()),
        Action::Notify(notify) => one_of(notes, !notify.command.is_empty(), notify.url.is_some()),
        Action::Command(program) if program.shell => {
            if program.command.len() != 1 {
                notes.add(
                    "command",
                    "a shell gets one line",
                    Some("write command = [\"the whole line\"]".to_owned()),
                );
            }
            if program.command.iter().any(|word| word.places().next().is_some()) {
                let hint = "use \"$LIFEBOAT_NAME\" in the line; every value is in the environment".to_owned();
                notes.add(
                    "command",
                    "a value in a line for a shell would be read as part of the program",
                    Some(hint),
                );
            }
        }
        Action::Command(program) if program.command.first().is_none_or(Template::is_empty) => {
            notes.add(
                "command",
                "there is no program",
                Some("write [\"program\", \"argument\"]".to_owned()),
            );
        }
        Action::Sql(sql) => server(notes, "at", &sql.at),
        _ => {}
    }
}

fn server(notes: &mut Notes<'_, '_>, key: &str, at: &Server) {
    if !at.is_one() {
        let hint = Some("write { source = … }, { cluster = …, member = … } or { socket = … }".to_owned());
        notes.add(key, "exactly one server is meant", hint);
    }
}

fn question(notes: &mut Notes<'_, '_>, key: &str, check: &Check) {
    match &check.question {
        Question::Query(query) => server(notes, key, &query.at),
        Question::Member(member) => member.max_lag.iter().for_each(|lag| duration(notes, key, lag)),
        Question::Snapshot(snapshot) => snapshot.max_age.iter().for_each(|age| duration(notes, key, age)),
        Question::Recoverable(recoverable) => duration(notes, key, &recoverable.max_loss),
        Question::Runs(runs) if runs.command.first().is_none_or(Template::is_empty) => {
            notes.add(
                key,
                "there is no program",
                Some("write command = [\"program\", \"argument\"]".to_owned()),
            );
        }
        _ => {}
    }
}

/// A length of time that is written out is read now, not at 03:12.
fn duration(notes: &mut Notes<'_, '_>, key: &str, text: &Template) {
    if text.places().next().is_none()
        && let Err(error) = parse_duration(&text.text())
    {
        notes.add(key, error, None);
    }
}
