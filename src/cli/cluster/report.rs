//! What `lifeboat cluster` prints.

use serde::Serialize;

use crate::cli::output::{Column, Paint, Render, Text, short};
use crate::domain::Bytes;
use crate::domain::cluster::picture::Line;
use crate::domain::cluster::record::Means;
use crate::domain::cluster::{
    Answer, FencePlan, Fenced as Held, MemberSeen, Picture, PromotePlan, RebuildPlan, Record, Seen, Severity,
    UnfencePlan,
};
use crate::domain::id::{ClusterName, MemberName};
use crate::domain::wal::Lsn;
use crate::source::postgres::cluster::{Promoted, Rebuilt, Waited};

/// A cluster as it was seen.
#[derive(Debug, Serialize)]
pub struct Looked {
    pub cluster: ClusterName,
    #[serde(flatten)]
    pub picture: Picture,
    pub seen: Seen,
    pub record: Record,
}

/// Some clusters as they were seen.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Statuses(pub Vec<Looked>);

impl Render for Statuses {
    fn text(&self, out: &mut Text) {
        if self.0.is_empty() {
            out.line("the configuration has no clusters");
        }
        for looked in &self.0 {
            one(looked, out);
        }
    }
}

const COLUMNS: &[Column] = &[
    Column::left("MEMBER"),
    Column::left("ROLE"),
    Column::right("TL"),
    Column::left("LSN"),
    Column::right("BEHIND"),
    Column::right("LAG"),
    Column::cut("STATE"),
];

fn one(looked: &Looked, out: &mut Text) {
    let system = looked.picture.system;
    let system = system.map_or_else(|| "several systems".to_owned(), |system| format!("system {system}"));
    out.heading(&format!("cluster {} ({system})", looked.cluster));
    let rows: Vec<Vec<String>> = looked
        .picture
        .lines
        .iter()
        .map(|line| cells(line, looked.seen.member(&line.name)))
        .collect();
    out.table(COLUMNS, &rows);
    for (name, server) in looked.seen.servers() {
        for slot in &server.slots {
            let state = if slot.active { "in use" } else { "idle" };
            let kept = slot.retained.unwrap_or_default();
            let status = slot.wal_status.as_deref().unwrap_or("-");
            out.line(format!("slot {} on {name}: {state}, keeps {kept}, {status}", slot.name));
        }
    }
    if looked.picture.signs.is_empty() {
        out.painted(Paint::Good, "all is well");
    }
    for sign in &looked.picture.signs {
        let (paint, word) = match sign.severity {
            Severity::Critical => (Paint::Bad, "CRITICAL"),
            Severity::Warning => (Paint::Warn, "warning"),
        };
        out.painted(paint, format!("{word}: {}", sign.what));
        out.line(format!("  next: {}", sign.next));
    }
}

fn cells(line: &Line, member: Option<&MemberSeen>) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        line.name.to_string(),
        line.role.map_or("?", |role| role.word()).to_owned(),
        or_dash(line.timeline.map(|timeline| timeline.to_string())),
        or_dash(line.lsn.map(|lsn| lsn.to_string())),
        or_dash(line.lag_bytes.map(|bytes| bytes.to_string())),
        or_dash(line.lag.map(short)),
        state(line, member),
    ]
}

fn state(line: &Line, member: Option<&MemberSeen>) -> String {
    let mut words = Vec::new();
    match line.fenced {
        Held::Held { lsn: Some(lsn) } => words.push(format!("FENCED at {lsn}")),
        Held::Held { lsn: None } => words.push("FENCED".to_owned()),
        Held::Unfinished => words.push("fence not proved".to_owned()),
        Held::Lifted => words.push("fence lifted".to_owned()),
        Held::No => {}
    }
    match member.map(|member| &member.answer) {
        Some(Answer::Answers(server)) => {
            if let Some(receiver) = &server.receiver {
                let from = receiver.sender.as_deref().unwrap_or("?");
                words.push(format!("{} from {from}", receiver.status));
            }
            if !server.replicas.is_empty() {
                let each: Vec<String> = server
                    .replicas
                    .iter()
                    .map(|one| format!("{} {} {}", one.name, one.state, one.sync))
                    .collect();
                words.push(format!("sends to {}", each.join(", ")));
            }
        }
        Some(Answer::Silent { why, .. }) => words.push(why.clone()),
        None => {}
    }
    words.join("; ")
}

/// What would be done.
#[derive(Debug, Serialize)]
pub struct Planned<T> {
    cluster: ClusterName,
    #[serde(flatten)]
    plan: T,
}

impl<T> Planned<T> {
    pub fn new(cluster: &ClusterName, plan: T) -> Self {
        Self {
            cluster: cluster.clone(),
            plan,
        }
    }
}

/// A fence that would be put up.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Fence(pub FencePlan);

fn remarks(out: &mut Text, remarks: &[String]) {
    for remark in remarks {
        out.painted(Paint::Warn, format!("note: {remark}"));
    }
}

impl Render for Planned<Fence> {
    fn text(&self, out: &mut Text) {
        let plan = &self.plan.0;
        out.heading(&format!("fence {} of cluster {}", plan.member, self.cluster));
        if plan.already {
            out.line("it is fenced already; it will be proved again");
        }
        match plan.means {
            Means::Setting => {
                out.line("1. default_transaction_read_only = on, by ALTER SYSTEM, and reload");
                out.line("2. end every session of others");
                if plan.command {
                    out.line("3. run the fence command");
                }
                out.line("then try to write, and note the place in the log. Undo: unfence");
            }
            Means::Disk => out.line("it is down: set it to read-only on its disk, for whenever it is started"),
            Means::Command => out.line("it does not answer: run the fence command, and believe it"),
            Means::Vouched => out.line("it does not answer: note that it is down, by your word"),
        }
        remarks(out, &plan.remarks);
    }
}

impl Render for Planned<UnfencePlan> {
    fn text(&self, out: &mut Text) {
        let plan = &self.plan;
        out.heading(&format!("unfence {} of cluster {}", plan.member, self.cluster));
        if plan.settings {
            let value = plan.previous.as_deref().unwrap_or("its default");
            out.line(format!(
                "put default_transaction_read_only back to {value}, and reload; then try to write"
            ));
        } else {
            out.line("only the note of the fence is removed: the member does not have one");
        }
    }
}

fn loss(loss: Option<Bytes>) -> String {
    match loss {
        Some(Bytes(0)) => "nothing that was committed".to_owned(),
        Some(loss) => format!("up to {loss} of the old primary's log"),
        None => "NOT KNOWN: the old primary does not say where its log ends".to_owned(),
    }
}

impl Render for Planned<PromotePlan> {
    fn text(&self, out: &mut Text) {
        let plan = &self.plan;
        out.heading(&format!("promote {} of cluster {}", plan.member, self.cluster));
        if plan.already {
            out.line("it is the primary already: that is noted, nothing else is done");
        }
        out.field("system", plan.system.to_string());
        out.field("timeline", format!("{} ends, a new one begins", plan.timeline));
        out.field("is at", plan.at.to_string());
        out.maybe("has to be at", plan.target.map(|target| target.to_string()));
        out.field("loses", loss(plan.loss));
        out.field("undo", "none: the old primary follows it, or is cloned anew");
        for remark in &plan.remarks {
            out.line(format!("note: {remark}"));
        }
    }
}

impl Render for Planned<RebuildPlan> {
    fn text(&self, out: &mut Text) {
        let plan = &self.plan;
        out.heading(&format!(
            "{} {} of cluster {}",
            plan.kind.word(),
            plan.member,
            self.cluster
        ));
        out.field("directory", plan.directory.display().to_string());
        out.field("follows", format!("{} on timeline {}", plan.primary, plan.timeline));
        if plan.stops {
            out.field("first", "its server is stopped");
        }
        remarks(out, &plan.remarks);
    }
}

/// A member that was fenced.
#[derive(Debug, Serialize)]
pub struct Fenced {
    pub cluster: ClusterName,
    pub member: MemberName,
    pub lsn: Option<Lsn>,
}

impl Render for Fenced {
    fn text(&self, out: &mut Text) {
        let (cluster, member) = (&self.cluster, &self.member);
        match self.lsn {
            Some(lsn) => out.painted(
                Paint::Good,
                format!("{member} is fenced; all that was committed lies before {lsn}"),
            ),
            None => out.painted(
                Paint::Warn,
                format!("{member} is fenced; where its log ends is not known"),
            ),
        }
        out.line(format!(
            "next: lifeboat cluster wait {cluster} STANDBY, then promote it; or unfence {cluster}"
        ));
    }
}

/// A member that was let go.
#[derive(Debug, Serialize)]
pub struct Let {
    pub cluster: ClusterName,
    pub member: MemberName,
}

impl Render for Let {
    fn text(&self, out: &mut Text) {
        out.painted(
            Paint::Good,
            format!("{} of cluster {} is not fenced any more", self.member, self.cluster),
        );
    }
}

impl Render for Waited {
    fn text(&self, out: &mut Text) {
        let text = format!(
            "{} has replayed everything: it is at {}, needed was {}",
            self.member, self.at, self.target
        );
        out.painted(Paint::Good, text);
    }
}

impl Render for Promoted {
    fn text(&self, out: &mut Text) {
        let text = format!(
            "{} is the primary, on timeline {}, at {}",
            self.member, self.timeline, self.lsn
        );
        out.painted(Paint::Good, text);
        out.field("lost", loss(self.loss));
        remarks(out, &self.remarks);
        out.line("next: send the writers there; stop the old primary, and have it follow with rewind or reclone");
    }
}

impl Render for Rebuilt {
    fn text(&self, out: &mut Text) {
        if self.streams {
            out.painted(
                Paint::Good,
                format!("{} follows {} and streams", self.member, self.primary),
            );
        } else {
            let text = format!("{} is ready to follow {}: start it", self.member, self.primary);
            out.painted(Paint::Warn, text);
        }
        if let Some(kept) = &self.kept {
            out.line(format!("the old directory is kept: {}", kept.display()));
        }
    }
}

/// A named place in the log.
#[derive(Debug, Serialize)]
pub struct Point {
    pub cluster: ClusterName,
    pub member: MemberName,
    pub name: String,
    pub lsn: Lsn,
}

impl Render for Point {
    fn text(&self, out: &mut Text) {
        out.painted(
            Paint::Good,
            format!("restore point \"{}\" is at {} on {}", self.name, self.lsn, self.member),
        );
    }
}
