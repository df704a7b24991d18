//! What `lifeboat recover` prints.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::has_place;
use super::subject::Subject;
use crate::cli::output::{Paint, Render, Text};
use crate::domain::pitr::{Hole, Interval, Leg, Plan, instant, interval};
use crate::domain::units::{Bytes, Millis, Timestamp};
use crate::domain::wal::{Lsn, SystemId, TimelineId};
use crate::source::postgres::physical::LaidDown;
use crate::source::postgres::recovery::{Replayed, Standing};
use crate::source::quote;

/// Which instants can be restored.
#[derive(Debug, Serialize)]
pub(super) struct Intervals {
    title: String,
    system: SystemId,
    base_backups: usize,
    #[serde(rename = "intervals")]
    stretches: Vec<Interval>,
    holes: Vec<Hole>,
}

impl Intervals {
    pub(super) fn of(subject: &Subject, intervals: Vec<Interval>) -> Self {
        Self {
            title: subject.title.clone(),
            system: subject.archive.system(),
            base_backups: subject.known.bases.len(),
            holes: interval::holes(&intervals),
            stretches: intervals,
        }
    }
}

impl Render for Intervals {
    fn text(&self, out: &mut Text) {
        out.heading(&format!("{}, system {}", self.title, self.system));
        write_intervals(&self.stretches, out);
    }
}

/// Writes stretches and what lies between them, line of history by line.
pub(in crate::cli) fn write_intervals(intervals: &[Interval], out: &mut Text) {
    if intervals.is_empty() {
        out.painted(Paint::Warn, "nothing can be restored: there is no base backup");
    }
    for one in intervals {
        let until = match one.to_at {
            Some(at) => format!("{} (last commit; up to {})", instant(at), one.to),
            None => format!("position {}", one.to),
        };
        out.painted(
            Paint::Good,
            format!(
                "restorable  {} ({})  to  {until}, timeline {}",
                instant(one.from_at),
                one.from,
                one.timeline
            ),
        );
        if let Some(missing) = one.gap {
            let again = missing
                .resumes
                .map_or_else(String::new, |resumes| format!("; the archive goes on with {resumes}"));
            out.painted(
                Paint::Bad,
                format!("GAP         segment {} is missing{again}", missing.first),
            );
        }
    }
}

/// A plan, and what is known beside it.
#[derive(Debug, Serialize)]
pub(super) struct Planned {
    title: String,
    system: SystemId,
    repository: String,
    #[serde(flatten)]
    plan: Plan,
    settings: Vec<(String, String)>,
}

impl Planned {
    pub(super) fn of(plan: &Plan, subject: &Subject) -> Self {
        let set = plan.settings().into_iter().filter(|(_, value)| !value.is_empty());
        Self {
            title: subject.title.clone(),
            system: subject.archive.system(),
            repository: subject.repository.clone(),
            settings: set.map(|(name, value)| (name.to_owned(), value)).collect(),
            plan: plan.clone(),
        }
    }
}

impl Render for Planned {
    fn text(&self, out: &mut Text) {
        let plan = &self.plan;
        out.painted(Paint::Strong, "Plan");
        out.field("of", format!("{}, system {}", self.title, self.system));
        out.field("from", &self.repository);
        let inclusive = if plan.inclusive || !has_place(&plan.target) {
            ""
        } else {
            ", exclusive"
        };
        out.field("to", format!("{}{inclusive}", plan.target));
        out.field(
            "base",
            format!(
                "snapshot {}, which ended {} at {}",
                plan.base.short(),
                instant(plan.base_at),
                plan.consistent
            ),
        );
        out.field("timeline", way(&plan.way));
        let exact = if plan.exact { "ends at" } else { "ends at the latest at" };
        out.field("log", format!("{} to {}, {exact} {}", plan.first, plan.last, plan.to));
        out.field("1 lay down", plan.lay_down.to_string());
        out.field("2 replay", plan.replay.to_string());
        for (name, value) in &self.settings {
            out.line(format!("  {name} = {value}"));
        }
    }
}

fn way(legs: &[Leg]) -> String {
    let leg = |leg: &Leg| match leg.until {
        Some(until) => format!("{} up to {until}", leg.timeline),
        None => leg.timeline.to_string(),
    };
    legs.iter().map(leg).collect::<Vec<_>>().join(", then ")
}

/// How a recovery ended.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    directory: PathBuf,
    standing: Standing,
    timeline: TimelineId,
    lsn: Option<Lsn>,
    last_commit: Option<Timestamp>,
    written: Option<Bytes>,
    lay_down_millis: Option<Millis>,
    replayed: Bytes,
    replay_millis: Millis,
    running: bool,
    socket: Option<String>,
    port: Option<u16>,
    role: Option<String>,
    psql: Option<String>,
    start: Option<String>,
}

impl Outcome {
    pub(super) fn of(replayed: &Replayed, laid: Option<&LaidDown>, target: &Path, running: bool) -> Self {
        let connection = replayed.server.connection();
        let bin = replayed.server.bin_dir();
        let psql = format!(
            "{} -h {} -p {} -U {} -d postgres",
            quote(&bin.join("psql").display().to_string()),
            quote(&connection.host),
            connection.port,
            quote(&connection.user),
        );
        let start = format!(
            "{} -D {} -l logfile start",
            quote(&bin.join("pg_ctl").display().to_string()),
            quote(&target.display().to_string())
        );
        Self {
            directory: target.to_owned(),
            standing: replayed.seen.standing,
            timeline: replayed.timeline,
            lsn: replayed.seen.lsn,
            last_commit: replayed.seen.last_commit,
            written: laid.map(|laid| laid.written),
            lay_down_millis: laid.map(|laid| laid.took),
            replayed: replayed.seen.done,
            replay_millis: replayed.took,
            running,
            socket: running.then(|| connection.host.clone()),
            port: running.then_some(connection.port),
            role: running.then(|| connection.user.clone()),
            psql: running.then_some(psql),
            start: (!running).then_some(start),
        }
    }
}

impl Render for Outcome {
    fn text(&self, out: &mut Text) {
        let paused = self.standing == Standing::Paused;
        let word = match (paused, self.running) {
            (true, _) => "PAUSED at the target, for reading",
            (false, true) => "recovered, and open for writing on a private socket",
            (false, false) => "recovered, and stopped in good order",
        };
        out.painted(Paint::Good, word);
        out.field("directory", self.directory.display().to_string());
        if let Some(lsn) = self.lsn {
            out.field("reached", format!("{lsn} on timeline {}", self.timeline));
        }
        match self.last_commit {
            Some(at) => out.field("last commit", instant(at)),
            None => out.field("last commit", "none since the base backup"),
        }
        if let (Some(written), Some(took)) = (self.written, self.lay_down_millis) {
            out.field("laid down", format!("{written} in {took}"));
        }
        out.field("replayed", format!("{} in {}", self.replayed, self.replay_millis));
        let directory = quote(&self.directory.display().to_string());
        if let Some(psql) = &self.psql {
            out.field("look", psql);
        }
        if let Some(start) = &self.start {
            out.field("start", start);
        }
        if paused {
            out.field("open it", format!("lifeboat recover --promote {directory}"));
            out.field("later", format!("lifeboat recover --resume {directory} --to TIME"));
            out.field("remove it", format!("lifeboat recover --discard {directory}"));
        }
    }
}
