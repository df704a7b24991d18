//! What `failover` of a cluster means: when the agent fails over by itself.
//!
//! Whether the runbook that is named exists, and asks for what the agent can say, is only known when all runbooks are read;
//! until then the reference is kept with its place ([`Use`]). What could never work is an error now, not at 03:12: a standby
//! that is no member, a fence that nothing could ever prove.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Spanned;

use super::error::Problem;
use super::raw::RawFailover;
use super::section::{Place, Problems, suggestion};
use crate::domain::cluster::{Allowance, Cluster, Failover};
use crate::domain::id::RunbookName;
use crate::domain::runbook::Runbook;
use crate::domain::units::{Millis, parse_bytes};

/// Asking more often than this is asking all the time.
const OFTENEST: Millis = Millis::from_secs(1);
/// Asking less often than this is not watching.
const SELDOMEST: Millis = Millis::from_secs(300);
/// More failures in a row than this is waiting, not being sure.
const MOST_FAILURES: u32 = 100;

/// A runbook that is referred to, and where.
#[derive(Debug, Clone)]
pub(super) struct Use {
    file: PathBuf,
    line: usize,
    key: String,
    runbook: RunbookName,
    set: Vec<String>,
}

/// Makes a policy of its options.
pub(super) fn build(
    place: &Place<'_>,
    raw: Spanned<RawFailover>,
    cluster: &Cluster,
    uses: &mut Vec<Use>,
    problems: &mut Problems,
) -> Failover {
    let offset = raw.span().start;
    let raw = raw.into_inner();
    let usual = Failover::default();
    let length = |key: &str, value: Option<Spanned<super::raw::Duration>>, usual, problems: &mut Problems| {
        let Some(value) = value else { return usual };
        let (at, length) = (value.span().start, value.get_ref().0);
        if key == "every" && !(OFTENEST..=SELDOMEST).contains(&length) {
            let hint = Some(format!("write a length from {OFTENEST} to {SELDOMEST}"));
            let message = format!("the members cannot be asked every {length}");
            place.problem(problems, at, "failover.every", message, hint);
        }
        length
    };
    let failures = raw
        .failures
        .as_ref()
        .map_or(usual.failures, |failures| *failures.get_ref());
    if !(1..=MOST_FAILURES).contains(&failures) {
        let at = raw.failures.as_ref().map_or(offset, |failures| failures.span().start);
        let hint = Some(format!("write a number from 1 to {MOST_FAILURES}"));
        let message = format!("{failures} failures in a row do not make sense");
        place.problem(problems, at, "failover.failures", message, hint);
    }
    let standby = raw.standby.map(|standby| {
        let name = standby.get_ref().as_str();
        if !cluster.members.iter().any(|member| member.name.as_str() == name) {
            let hint = suggestion(name, cluster.members.iter().map(|member| member.name.as_str()));
            let message = format!("there is no member \"{name}\"");
            place.problem(problems, standby.span().start, "failover.standby", message, hint);
        }
        name.into()
    });
    let failover = Failover {
        automatic: raw.automatic.as_ref().is_some_and(|automatic| *automatic.get_ref()),
        every: length("every", raw.every, usual.every, problems),
        failures,
        runbook: raw
            .runbook
            .as_ref()
            .map_or(usual.runbook, |name| name.get_ref().as_str().into()),
        standby,
        max_loss: raw
            .max_loss
            .map_or(Allowance::AtMost(cluster.max_loss), |text| loss(place, &text, problems)),
        cooling_off: length("cooling_off", raw.cooling_off, usual.cooling_off, problems),
        set: raw
            .set
            .into_iter()
            .map(|(name, value)| (name, value.into_inner()))
            .collect(),
    };
    if failover.automatic {
        let at = raw
            .automatic
            .as_ref()
            .map_or(offset, |automatic| automatic.span().start);
        possible(place, cluster, at, problems);
        let at = raw.runbook.as_ref().map_or(offset, |name| name.span().start);
        uses.push(Use {
            file: place.file.path.clone(),
            line: place.file.line(at),
            key: format!("{}.failover.runbook", place.key),
            runbook: failover.runbook.clone(),
            set: failover.set.keys().cloned().collect(),
        });
    }
    failover
}

fn loss(place: &Place<'_>, text: &Spanned<String>, problems: &mut Problems) -> Allowance {
    match text.get_ref().trim() {
        "any" => Allowance::Any,
        size => match parse_bytes(size) {
            Ok(most) => Allowance::AtMost(most),
            Err(error) => {
                let hint = Some("or any, which accepts whatever is lost".to_owned());
                place.problem(problems, text.span().start, "failover.max_loss", error, hint);
                Allowance::AtMost(crate::domain::units::Bytes(0))
            }
        },
    }
}

/// Whether an automatic failover could ever happen.
fn possible(place: &Place<'_>, cluster: &Cluster, at: usize, problems: &mut Problems) {
    if cluster.members.len() < 2 {
        let hint = Some("it takes a primary and a standby".to_owned());
        let message = "a cluster of one server has nobody to fail over to";
        place.problem(problems, at, "failover.automatic", message, hint);
    }
    if cluster.fence.is_none() && cluster.members.iter().all(|member| member.data_directory.is_none()) {
        let hint = "write a fence command for the cluster, or the data_directory of a member on the agent's machine";
        let message = "a primary that does not answer could never be proved to be fenced";
        place.problem(problems, at, "failover.automatic", message, Some(hint.to_owned()));
    }
}

/// Checks that the runbooks that are referred to are there, and ask for what the agent can say and for nothing else.
pub(super) fn check(uses: &[Use], runbooks: &BTreeMap<RunbookName, Runbook>, problems: &mut Problems) {
    for one in uses {
        let name = &one.runbook;
        let mut wrong = |key: &str, message: String, hint: Option<String>| {
            problems.0.push(Problem {
                file: one.file.clone(),
                line: one.line,
                key: key.to_owned(),
                message,
                hint,
            });
        };
        let Some(runbook) = runbooks.get(name) else {
            let hint = suggestion(name.as_str(), runbooks.keys().map(RunbookName::as_str));
            wrong(&one.key, format!("there is no runbook \"{name}\""), hint);
            continue;
        };
        let asks = |wanted: &str| runbook.variables.iter().any(|variable| variable.name == wanted);
        for wanted in Failover::SAID {
            if !asks(wanted) {
                let hint = Some(format!("write [variable.{wanted}] in it: the agent says it"));
                wrong(&one.key, format!("runbook \"{name}\" does not ask for {wanted}"), hint);
            }
        }
        for said in one.set.iter().filter(|said| !asks(said)) {
            let hint = suggestion(said, runbook.variables.iter().map(|variable| variable.name.as_str()));
            let message = format!("runbook \"{name}\" has no variable \"{said}\"");
            wrong(&one.key.replace(".runbook", ".set"), message, hint);
        }
        for variable in &runbook.variables {
            let known = Failover::SAID.contains(&variable.name.as_str()) || one.set.contains(&variable.name);
            if !known && !variable.chosen && variable.default.is_none() {
                let hint = Some(format!(
                    "say it with set = {{ {} = \"…\" }}, or give it a default",
                    variable.name
                ));
                let message = format!("nobody would say what \"{}\" is", variable.name);
                wrong(&one.key.replace(".runbook", ".set"), message, hint);
            }
        }
    }
}
