//! One step: what every step has, what its kind adds, and its checks.

mod usual;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Item, Use};
use crate::config::raw::Duration;
use crate::config::section::{Place, Problems, SourceFile, fields, read, suggestion};
use crate::domain::id::is_valid_name;
use crate::domain::runbook::action::{self, Action};
use crate::domain::runbook::check::{self, Check, Question};
use crate::domain::runbook::template::Template;
use crate::domain::runbook::{Class, Condition, InDrill, Needs, OnFailure, Phase, Step, Undo};
use crate::domain::units::Millis;

type Value<'t> = Spanned<DeValue<'t>>;

/// What every step has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    id: Spanned<String>,
    title: Option<Template>,
    #[serde(default)]
    why: Template,
    class: Option<Class>,
    timeout: Option<Spanned<Duration>>,
    on_failure: Option<OnFailure>,
    #[serde(default)]
    needs: RawNeeds,
    #[serde(default)]
    when: Vec<Spanned<String>>,
    parallel: Option<String>,
    drill: Option<InDrill>,
    phase: Option<Phase>,
}

/// `needs` of a step.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawNeeds {
    auto: Option<bool>,
    approval: bool,
    two_person: bool,
    typed: Option<Template>,
}

/// A step that is another runbook.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUse {
    runbook: Spanned<String>,
    #[serde(default)]
    set: BTreeMap<String, Template>,
}

/// A step's table, taken apart.
#[derive(Default)]
struct Parts<'t> {
    kind: Option<Value<'t>>,
    precheck: Option<Value<'t>>,
    verify: Option<Value<'t>>,
    undo: Option<Value<'t>>,
    common: DeTable<'t>,
    rest: DeTable<'t>,
}

/// Reads one step.
pub(super) fn parse(file: &SourceFile, at: usize, value: Value<'_>, problems: &mut Problems) -> Option<Item> {
    let span = value.span();
    let DeValue::Table(table) = value.into_inner() else {
        problems.add(file, span.start, "step", "a table was expected here", None);
        return None;
    };
    let name = table.get("id").and_then(|id| id.get_ref().as_str());
    let place = Place {
        file,
        key: name.map_or_else(|| format!("step {}", at + 1), |name| format!("step.{name}")),
        offset: span.start,
    };
    let Parts {
        kind,
        precheck,
        verify,
        undo,
        common,
        rest,
    } = apart(table);
    let table = |table| Spanned::new(span.clone(), DeValue::Table(table));
    let raw = read::<RawStep>(&place, table(common), problems)?;
    let id = raw.id.get_ref().clone();
    if !is_valid_name(&id) || id.contains('.') {
        let hint = Some("use letters, digits, - and _".to_owned());
        place.problem(
            problems,
            raw.id.span().start,
            "id",
            "this cannot be the name of a step",
            hint,
        );
        return None;
    }
    let when = conditions(&place, &raw.when, problems);
    let word = kind
        .as_ref()
        .and_then(|kind| kind.get_ref().as_str())
        .unwrap_or_default()
        .to_owned();
    if word == "runbook" {
        let raw = read::<RawUse>(&place, table(rest), problems)?;
        return Some(Item::Use(Use {
            id,
            runbook: raw.runbook,
            set: raw.set,
            when,
            offset: span.start,
        }));
    }
    let kind_at = kind.as_ref().map_or(span.start, |kind| kind.span().start);
    let action = action(&place, &word, kind_at, table(rest), problems)?;
    let precheck = precheck.map_or_else(Vec::new, |value| checks(&place, "precheck", value, problems));
    let verify = verify.map_or_else(Vec::new, |value| checks(&place, "verify", value, problems));
    let undo = undo_of(&place, &action, undo, problems);
    if let Some(zero) = raw.timeout.as_ref().filter(|timeout| timeout.get_ref().0 == Millis(0)) {
        place.problem(
            problems,
            zero.span().start,
            "timeout",
            "nothing can be done in no time",
            None,
        );
    }
    let step = whole(raw, id, action, (precheck, verify, undo, when));
    Some(Item::Step(Box::new(step), span.start))
}

/// Puts a step together, with what is usual for its kind where nothing is said.
fn whole(
    raw: RawStep,
    id: String,
    action: Action,
    (precheck, verify, undo, when): (Vec<Check>, Vec<Check>, Undo, Vec<Condition>),
) -> Step {
    Step {
        title: raw
            .title
            .unwrap_or_else(|| Template::plain(id.replace(['-', '_'], " "))),
        why: raw.why,
        class: raw.class.unwrap_or_else(|| usual::class(&action)),
        timeout: raw
            .timeout
            .map_or_else(|| usual::timeout(&action), |timeout| timeout.get_ref().0),
        on_failure: raw.on_failure.unwrap_or(OnFailure::Ask),
        needs: Needs {
            auto: raw
                .needs
                .auto
                .unwrap_or(action.only_looks() || matches!(action, Action::Notify(_))),
            approval: raw.needs.approval,
            two_person: raw.needs.two_person,
            typed: raw.needs.typed,
        },
        parallel: raw.parallel,
        // What is waited for behind a fence never comes where the fence was only said.
        drill: raw
            .drill
            .unwrap_or(if action.only_looks() && !matches!(action, Action::Replay(_)) {
                InDrill::Execute
            } else {
                InDrill::Simulate
            }),
        phase: raw.phase.unwrap_or_else(|| usual::phase(&action)),
        id,
        action,
        precheck,
        verify,
        undo,
        when,
    }
}

fn conditions(place: &Place<'_>, written: &[Spanned<String>], problems: &mut Problems) -> Vec<Condition> {
    let mut read = Vec::new();
    for text in written {
        match Condition::parse(text.get_ref()) {
            Ok(condition) => read.push(condition),
            Err(error) => place.problem(problems, text.span().start, "when", error, None),
        }
    }
    read
}

fn apart(table: DeTable<'_>) -> Parts<'_> {
    let mut parts = Parts::default();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "kind" => parts.kind = Some(value),
            "precheck" => parts.precheck = Some(value),
            "verify" => parts.verify = Some(value),
            "undo" => parts.undo = Some(value),
            name if fields::<RawStep>().contains(&name) => drop(parts.common.insert(key, value)),
            _ => drop(parts.rest.insert(key, value)),
        }
    }
    parts
}

/// Reads what the kind of a step adds.
fn action(place: &Place<'_>, word: &str, kind_at: usize, value: Value<'_>, problems: &mut Problems) -> Option<Action> {
    fn one<T: DeserializeOwned>(
        place: &Place<'_>,
        value: Value<'_>,
        problems: &mut Problems,
        make: fn(T) -> Action,
    ) -> Option<Action> {
        read::<T>(place, value, problems).map(make)
    }
    let p = problems;
    match word {
        "manual" => one(place, value, p, Action::Manual),
        "check" => one::<action::Nothing>(place, value, p, Action::Check),
        "wait" => one(place, value, p, Action::Wait),
        "choose" => one(place, value, p, Action::Choose),
        "approve" => one(place, value, p, Action::Approve),
        "backup" => one(place, value, p, Action::Backup),
        "restore" => one(place, value, p, Action::Restore),
        "recover" => one(place, value, p, Action::Recover),
        "verify" => one(place, value, p, Action::Verify),
        "drill" => one(place, value, p, Action::Drill),
        "fence" => one(place, value, p, Action::Fence),
        "unfence" => one(place, value, p, Action::Unfence),
        "replay" => one(place, value, p, Action::Replay),
        "promote" => one(place, value, p, Action::Promote),
        "rewind" => one(place, value, p, Action::Rewind),
        "service" => one(place, value, p, Action::Service),
        "route" => one(place, value, p, Action::Route),
        "command" => one(place, value, p, Action::Command),
        "http" => one(place, value, p, Action::Http),
        "sql" => one(place, value, p, Action::Sql),
        "notify" => one(place, value, p, Action::Notify),
        "find-clean" => one(place, value, p, Action::FindClean),
        _ => {
            let known = Action::KINDS.iter().copied().chain(["runbook"]);
            let hint = suggestion(word, known);
            let message = if word.is_empty() {
                "it is missing".to_owned()
            } else {
                format!("there is no kind \"{word}\"")
            };
            place.problem(p, kind_at, "kind", message, hint);
            None
        }
    }
}

/// What is asked before or after: tables with `check = "KIND"`.
fn checks(place: &Place<'_>, key: &str, value: Value<'_>, problems: &mut Problems) -> Vec<Check> {
    let offset = value.span().start;
    let DeValue::Array(items) = value.into_inner() else {
        place.problem(problems, offset, key, "a list of checks was expected here", None);
        return Vec::new();
    };
    items
        .into_iter()
        .filter_map(|item| one_check(place, key, item, problems))
        .collect()
}

fn one_check(place: &Place<'_>, key: &str, value: Value<'_>, problems: &mut Problems) -> Option<Check> {
    fn one<T: DeserializeOwned>(
        place: &Place<'_>,
        value: Value<'_>,
        problems: &mut Problems,
        make: fn(T) -> Question,
    ) -> Option<Question> {
        read::<T>(place, value, problems).map(make)
    }
    let span = value.span();
    let place = Place {
        file: place.file,
        key: format!("{}.{key}", place.key),
        offset: span.start,
    };
    let DeValue::Table(mut table) = value.into_inner() else {
        problems.add(place.file, span.start, place.key, "a table was expected here", None);
        return None;
    };
    let word = table.remove("check");
    let title = match table.remove("title").map(|title| {
        (
            title.span().start,
            Template::deserialize(toml::de::ValueDeserializer::from(title)),
        )
    }) {
        None => None,
        Some((_, Ok(title))) => Some(title),
        Some((offset, Err(error))) => {
            place.problem(problems, offset, "title", error.message(), None);
            None
        }
    };
    let text = word
        .as_ref()
        .and_then(|word| word.get_ref().as_str())
        .unwrap_or_default();
    let value = Spanned::new(span.clone(), DeValue::Table(table));
    let question = match text {
        "member" => one(&place, value, problems, Question::Member),
        "cluster" => one(&place, value, problems, Question::Cluster),
        "query" => one(&place, value, problems, Question::Query),
        "answers" => one(&place, value, problems, Question::Answers),
        "runs" => one(&place, value, problems, Question::Runs),
        "snapshot" => one::<check::Snapshot>(&place, value, problems, Question::Snapshot),
        "recoverable" => one(&place, value, problems, Question::Recoverable),
        "repository" => one(&place, value, problems, Question::Repository),
        "path" => one(&place, value, problems, Question::Path),
        "value" => one(&place, value, problems, Question::Value),
        _ => {
            let offset = word.as_ref().map_or(span.start, |word| word.span().start);
            let hint = suggestion(text, Question::KINDS.iter().copied());
            let message = if text.is_empty() {
                "it is missing".to_owned()
            } else {
                format!("there is no check \"{text}\"")
            };
            place.problem(problems, offset, "check", message, hint);
            None
        }
    };
    question.map(|question| Check { title, question })
}

fn undo_of(place: &Place<'_>, action_of_step: &Action, value: Option<Value<'_>>, problems: &mut Problems) -> Undo {
    let Some(value) = value else {
        return if action_of_step.only_looks()
            || action_of_step.needs_a_person()
            || matches!(action_of_step, Action::Notify(_))
        {
            Undo::NotNeeded
        } else {
            Undo::None("none is written down".to_owned())
        };
    };
    let span = value.span();
    match value.into_inner() {
        DeValue::String(instead) => Undo::None(instead.into_owned()),
        DeValue::Table(mut table) => {
            let place = Place {
                file: place.file,
                key: format!("{}.undo", place.key),
                offset: span.start,
            };
            let kind = table.remove("kind");
            let at = kind.as_ref().map_or(span.start, |kind| kind.span().start);
            let word = kind
                .as_ref()
                .and_then(|kind| kind.get_ref().as_str())
                .unwrap_or_default()
                .to_owned();
            let value = Spanned::new(span, DeValue::Table(table));
            let action = action(&place, &word, at, value, problems);
            action.map_or(Undo::NotNeeded, |action| Undo::Action(Box::new(action)))
        }
        _ => {
            let hint = "write an action, or a text that says what to do instead";
            place.problem(
                problems,
                span.start,
                "undo",
                "this takes nothing back",
                Some(hint.to_owned()),
            );
            Undo::NotNeeded
        }
    }
}
