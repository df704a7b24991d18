//! Which values a variable takes, and what is known without anybody saying it.

use super::template::Values;
use super::{Runbook, Variable, VariableKind};
use crate::domain::id::{ClusterName, DrillName, JobName, RepositoryName, ServiceName, SourceName};
use crate::domain::job::Definitions;
use crate::domain::pitr::Target;
use crate::domain::units::parse_duration;

/// What every step may refer to, with what it is.
pub const BUILT_IN: [(&str, &str); 6] = [
    ("run", "the id of this run"),
    ("mode", "drill or real"),
    ("by", "who began it"),
    ("host", "the machine of the agent"),
    ("site", "the name of the site"),
    ("environment", "what is at stake there"),
];

/// Longer than this is no value but a document.
const LONGEST: usize = 4096;

/// Checks a value against what its variable takes; returns what is to be kept of it.
///
/// # Errors
/// A sentence that says what was expected.
pub fn check(variable: &Variable, text: &str, known: &Values, definitions: &Definitions) -> Result<String, String> {
    let text = text.trim();
    let name = &variable.name;
    if text.len() > LONGEST || text.contains(|c: char| c.is_control() && c != '\n') {
        return Err(format!(
            "{name}: a value has no control characters and at most {LONGEST} bytes"
        ));
    }
    let fits = |fits: bool, expected: &str| {
        let wrong = || format!("{name}: \"{text}\" is not {expected}");
        fits.then(|| text.to_owned()).ok_or_else(wrong)
    };
    let one_of = |names: Vec<&str>, what: &str| {
        if names.contains(&text) {
            Ok(text.to_owned())
        } else if names.is_empty() {
            Err(format!("{name}: there is no {what} in the configuration"))
        } else {
            let known = names.join(", ");
            Err(format!("{name}: there is no {what} \"{text}\"; known are {known}"))
        }
    };
    match &variable.kind {
        VariableKind::Text => fits(!text.is_empty(), "a text"),
        VariableKind::Number => fits(text.parse::<i64>().is_ok(), "a whole number"),
        VariableKind::Flag => fits(matches!(text, "true" | "false"), "true or false"),
        VariableKind::Duration => parse_duration(text)
            .map(|_| text.to_owned())
            .map_err(|error| format!("{name}: {error}")),
        VariableKind::Path => fits(
            text.starts_with('/') && !text.split('/').any(|part| part == ".."),
            "an absolute path without ..",
        ),
        VariableKind::Snapshot => fits(
            text.len() >= 4 && text.chars().all(|c| c.is_ascii_hexdigit()),
            "the id of a snapshot, or at least its first four digits",
        ),
        VariableKind::Instant => Target::read(text)
            .map(|_| text.to_owned())
            .map_err(|error| format!("{name}: {error}")),
        _ => one_of(choices(&variable.kind, known, definitions)?, variable.kind.word()),
    }
}

/// The values to choose from; none for what is written freely.
///
/// # Errors
/// When the variable that this one depends on has no value yet.
pub fn choices<'a>(
    kind: &'a VariableKind,
    known: &Values,
    definitions: &'a Definitions,
) -> Result<Vec<&'a str>, String> {
    Ok(match kind {
        VariableKind::Choice { of } => of.iter().map(String::as_str).collect(),
        VariableKind::Flag => vec!["true", "false"],
        VariableKind::Service => definitions.services.keys().map(ServiceName::as_str).collect(),
        VariableKind::Source => definitions.sources.keys().map(SourceName::as_str).collect(),
        VariableKind::Job => definitions.jobs.keys().map(JobName::as_str).collect(),
        VariableKind::Drill => definitions.drills.keys().map(DrillName::as_str).collect(),
        VariableKind::Repository => definitions.repositories.keys().map(RepositoryName::as_str).collect(),
        VariableKind::Cluster => definitions.clusters.keys().map(ClusterName::as_str).collect(),
        VariableKind::Member { cluster } => {
            let name = known.get(cluster).ok_or_else(|| format!("say {cluster} first"))?;
            let cluster = definitions.clusters.get(&ClusterName::from(name.as_str()));
            let members = cluster.into_iter().flat_map(|cluster| &cluster.members);
            members.map(|member| member.name.as_str()).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    })
}

/// Whether the values of a kind are names of the configuration.
pub const fn is_listed(kind: &VariableKind) -> bool {
    matches!(
        kind,
        VariableKind::Service
            | VariableKind::Source
            | VariableKind::Job
            | VariableKind::Drill
            | VariableKind::Repository
            | VariableKind::Cluster
    )
}

/// Fills in what was said, then the defaults, in the order of the variables; and says what is missing.
///
/// # Errors
/// Every value that is wrong, and every name nobody knows, a sentence each.
pub fn fill(
    runbook: &Runbook,
    said: &Values,
    built_in: Values,
    definitions: &Definitions,
) -> Result<(Values, Vec<String>), Vec<String>> {
    let mut problems: Vec<String> = said
        .keys()
        .filter(|name| !runbook.variables.iter().any(|variable| variable.name == **name))
        .map(|name| {
            let known: Vec<&str> = runbook
                .variables
                .iter()
                .map(|variable| variable.name.as_str())
                .collect();
            format!(
                "{} has no variable {name}; known are {}",
                runbook.name,
                known.join(", ")
            )
        })
        .collect();
    let mut values = built_in;
    let mut missing = Vec::new();
    for variable in &runbook.variables {
        let given = match (said.get(&variable.name), &variable.default) {
            (Some(text), _) => Some(text.clone()),
            // A default that depends on what is missing is missing itself.
            (None, Some(default)) => default.resolve(&values).ok(),
            (None, None) => only_choice(variable, &values, definitions),
        };
        match given {
            Some(text) => match check(variable, &text, &values, definitions) {
                Ok(value) => {
                    values.insert(variable.name.clone(), value);
                }
                Err(problem) => problems.push(problem),
            },
            None if variable.chosen => {}
            None => missing.push(variable.name.clone()),
        }
    }
    if problems.is_empty() {
        Ok((values, missing))
    } else {
        Err(problems)
    }
}

/// Where there is only one cluster, nobody has to say which.
fn only_choice(variable: &Variable, known: &Values, definitions: &Definitions) -> Option<String> {
    if matches!(variable.kind, VariableKind::Flag | VariableKind::Choice { .. }) || variable.chosen {
        return None;
    }
    match choices(&variable.kind, known, definitions).ok()?.as_slice() {
        [only] => Some((*only).to_owned()),
        _ => None,
    }
}
