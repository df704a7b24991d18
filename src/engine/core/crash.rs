//! Where an agent under test dies: a program built for tests ends itself with SIGKILL, once at each point of an execution.
//!
//! `LIFEBOAT_CRASH` names the directory that remembers where it has been; without it nothing here does anything, and a program
//! that is built for use has none of this. The points are: right after a fact of an execution is durable, before anything
//! follows from it; and right before the end of a step is journalled, so that it has acted and nobody knows.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::domain::event::{Event, EventRecord};
use crate::domain::runbook::RunbookFact;

/// Before events are journalled.
pub(super) fn before(events: &[Event]) {
    let Some(marks) = directory() else { return };
    for event in events {
        let Event::Runbook {
            fact: RunbookFact::StepEnded { step, end },
            ..
        } = event
        else {
            continue;
        };
        if end.recovered {
            continue;
        }
        if end.error.is_none() {
            let deeds = OpenOptions::new().create(true).append(true).open(marks.join("deeds"));
            let _ = deeds.and_then(|mut deeds| writeln!(deeds, "{step}"));
        }
        die_once(&marks, &format!("acted.{step}"));
    }
}

/// Once events are durable.
pub(super) fn after(records: &[EventRecord]) {
    let Some(marks) = directory() else { return };
    let facts = records.iter().filter_map(|record| match &record.event {
        Event::Runbook { fact, .. } => Some(fact),
        _ => None,
    });
    for fact in facts {
        die_once(&marks, &format!("after.{}", fact.mark()));
    }
}

fn directory() -> Option<PathBuf> {
    std::env::var_os("LIFEBOAT_CRASH").map(PathBuf::from)
}

/// Ends this process here and now, when it was never ended here before.
fn die_once(marks: &std::path::Path, point: &str) {
    let first = OpenOptions::new().write(true).create_new(true).open(marks.join(point));
    if first.is_ok() {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
