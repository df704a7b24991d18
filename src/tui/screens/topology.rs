//! Topology: every server of every cluster, what it is, where it is in the log, and what is wrong; worst first.
//!
//! ```text
//! 3 members   SPLIT BRAIN: db1 and db2 all take writes for system 7301…
//!   CLUSTER  MEMBER ROLE     TL LSN          BEHIND  LAG STATE
//! ▌ orders   db1    primary   7 16/B374D848       -    - FENCED at 16/B374D848
//!   orders   db2    standby   7 16/B374D848     0 B   0s streaming from db1:5432
//! ```

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line;
use serde::Serialize;

use crate::domain::cluster::picture::Line as Place;
use crate::domain::cluster::{self, Answer, ClusterView, Fenced, LocalState, MemberSeen, Severity, Sign};
use crate::domain::id::ClusterName;
use crate::domain::{Bytes, Timestamp};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, Look};
use crate::tui::filter::Field;
use crate::tui::table::Item;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::widgets::list::{self, Column};
use crate::tui::words;

/// One server, with what concerns it.
#[derive(Debug, Clone, Serialize)]
pub struct MemberRow {
    /// The cluster it is of.
    pub cluster: ClusterName,
    /// Where it stands.
    pub line: Place,
    /// What it said.
    pub seen: Option<MemberSeen>,
    /// What is wrong with it, and with the cluster as a whole.
    pub signs: Vec<Sign>,
    /// Why the notes on the cluster cannot be read.
    pub trouble: Option<String>,
    /// The system identifier, when all agree.
    pub system: Option<String>,
}

impl MemberRow {
    /// The rows of some clusters.
    pub fn of(views: &[ClusterView]) -> Vec<Self> {
        let rows = |view: &ClusterView| -> Vec<Self> {
            let row = |line: &Place| {
                let concerns = |sign: &&Sign| sign.member.as_ref().is_none_or(|member| *member == line.name);
                Self {
                    cluster: view.cluster.clone(),
                    line: line.clone(),
                    seen: view.seen.member(&line.name).cloned(),
                    signs: view.picture.signs.iter().filter(concerns).cloned().collect(),
                    trouble: view.trouble.clone(),
                    system: view.picture.system.map(|system| system.to_string()),
                }
            };
            view.picture.lines.iter().map(row).collect()
        };
        views.iter().flat_map(rows).collect()
    }

    fn role_word(&self) -> &'static str {
        self.line.role.map_or("?", |role| role.word())
    }

    /// What there is to say in one line, the worst first.
    fn state(&self) -> (String, Role) {
        match self.line.fenced {
            Fenced::Held { lsn: Some(lsn) } => return (format!("FENCED at {lsn}"), Role::Warn),
            Fenced::Held { lsn: None } => return ("FENCED".to_owned(), Role::Warn),
            Fenced::Unfinished => return ("fence not proved".to_owned(), Role::Crit),
            Fenced::Lifted => return ("fence lifted".to_owned(), Role::Crit),
            Fenced::No => {}
        }
        match self.seen.as_ref().map(|seen| &seen.answer) {
            Some(Answer::Answers(server)) => match (&server.receiver, server.replicas.len()) {
                (Some(receiver), _) => {
                    let from = receiver.sender.as_deref().unwrap_or("?");
                    (format!("{} from {from}", receiver.status), Role::Text)
                }
                (None, 0) if self.line.lag_bytes.is_some() => ("does not stream".to_owned(), Role::Warn),
                (None, count) => (format!("sends to {count}"), Role::Text),
            },
            Some(Answer::Silent { why, .. }) => (format!("does not answer: {why}"), Role::Warn),
            None => (String::new(), Role::Dim),
        }
    }
}

impl Item for MemberRow {
    const SORTS: &'static [&'static str] = &["cluster", "lag"];
    const FIELDS: &'static [&'static str] = &["cluster", "member", "role", "state"];
    const NEWEST_FIRST: bool = false;

    fn key(&self) -> String {
        format!("{}/{}", self.cluster, self.line.name)
    }
    fn text(&self) -> String {
        let signs: Vec<&str> = self.signs.iter().map(|sign| sign.what.as_str()).collect();
        format!(
            "{} {} {} {}",
            self.key(),
            self.role_word(),
            self.state().0,
            signs.join(" ")
        )
    }
    fn field(&self, name: &str, _: Timestamp) -> Option<Field> {
        Some(Field::Text(match name {
            "cluster" => self.cluster.0.clone(),
            "member" => self.line.name.0.clone(),
            "role" => self.role_word().to_owned(),
            "state" => self.state().0,
            _ => return None,
        }))
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        let lag = |row: &Self| row.line.lag_bytes.unwrap_or_default();
        let by_name = || (&self.cluster, &self.line.name).cmp(&(&other.cluster, &other.line.name));
        match sort {
            1 => lag(other).cmp(&lag(self)).then_with(by_name),
            _ => by_name(),
        }
    }
}

const COLUMNS: [Column; 8] = [
    Column::fixed("CLUSTER", 8),
    Column::fixed("MEMBER", 12),
    Column::fixed("ROLE", 7),
    Column::fixed("TL", 3).ending(),
    Column::fixed("LSN", 12).when(76),
    Column::fixed("BEHIND", 7).ending(),
    Column::fixed("LAG", 4).ending(),
    Column::flexible("STATE", 12),
];

/// Draws the list of members.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.topology, focused, &COLUMNS, |row| {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let line = &row.line;
        let (state, state_role) = row.state();
        let late = row.signs.iter().any(|sign| sign.sign == "lag");
        let behind = if late { Role::Warn } else { Role::Text };
        let role = if line.role.is_some() { Role::Text } else { Role::Warn };
        vec![
            look.line(row.cluster.0.clone(), Role::Text),
            look.line(line.name.0.clone(), Role::Text),
            look.line(row.role_word(), role),
            look.line(or_dash(line.timeline.map(|timeline| timeline.to_string())), Role::Text),
            look.line(or_dash(line.lsn.map(|lsn| lsn.to_string())), Role::Text),
            look.line(or_dash(line.lag_bytes.map(words::size)), behind),
            look.line(or_dash(line.lag.map(words::coarse)), behind),
            look.line(state, state_role),
        ]
    });
}

/// The worst that is wrong with any cluster, in one line.
pub fn banner(app: &App) -> Option<(String, Role)> {
    let signs = app
        .topology
        .all()
        .flat_map(|row| row.signs.iter().map(|sign| (&row.cluster, sign)));
    let worst = signs.max_by_key(|(_, sign)| (sign.severity, sign.sign == "split-brain"))?;
    let role = match worst.1.severity {
        Severity::Critical => Role::Crit,
        Severity::Warning => Role::Warn,
    };
    Some((format!("{}: {}", worst.0, worst.1.what), role))
}

/// Everything about a member, what is wrong first.
pub fn detail(app: &App, row: &MemberRow, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    let name = &row.line.name;
    detail.head(&format!("{name} of cluster {}", row.cluster));
    if let Some(trouble) = &row.trouble {
        detail.prose(trouble, Role::Crit);
    }
    for sign in &row.signs {
        let (word, role) = match sign.severity {
            Severity::Critical => ("CRITICAL", Role::Crit),
            Severity::Warning => ("warning", Role::Warn),
        };
        detail.prose(&format!("{word}: {}", sign.what), role);
        detail.prose(&format!("next: {}", sign.next), Role::Accent);
    }
    detail.head("Facts");
    detail.pair("role", row.role_word());
    detail.pair_as("state", row.state().0, row.state().1);
    detail.pair_if("system", row.system.as_ref());
    detail.pair_if("timeline", row.line.timeline.map(|timeline| timeline.to_string()));
    detail.pair_if("log", row.line.lsn.map(|lsn| lsn.to_string()));
    detail.pair_if(
        "behind",
        row.line.lag_bytes.map(|bytes| {
            let time = row
                .line
                .lag
                .map_or_else(String::new, |lag| format!(", {}", words::coarse(lag)));
            format!("{}{time}", words::size(bytes))
        }),
    );
    if let Some(seen) = &row.seen {
        said(seen, &mut detail);
    }
    restore_points(app, row, &mut detail);
    detail.head("By command");
    let verbs: &[&str] = match row.line.role {
        Some(cluster::Role::Primary) => &["fence", "unfence"],
        Some(cluster::Role::Standby) => &["wait", "promote", "reclone"],
        None => &["fence", "rewind", "reclone"],
    };
    detail.prose(&format!("lifeboat cluster status {}", row.cluster), Role::Dim);
    for verb in verbs {
        detail.prose(&format!("lifeboat cluster {verb} {} {name}", row.cluster), Role::Dim);
    }
    detail.lines
}

/// The last named restore points of the cluster, newest first.
fn restore_points(app: &App, row: &MemberRow, detail: &mut Detail<'_>) {
    let known = app
        .overview
        .as_ref()
        .and_then(|overview| overview.restore_points.get(&row.cluster));
    let Some(known) = known.filter(|known| !(known.asked.is_empty() && known.made.is_empty())) else {
        return;
    };
    detail.head("Restore points");
    for (name, asked) in &known.asked {
        detail.pair_as("being made", format!("{name}, asked by {}", asked.by), Role::Live);
    }
    for made in known.made.iter().rev() {
        let age = words::age(detail.look.now, made.at);
        detail.pair(
            &made.lsn.to_string(),
            format!("{}, {age} ago, by {}", made.name, made.by),
        );
    }
}

/// What a member said, and what its data directory says.
fn said(seen: &MemberSeen, detail: &mut Detail<'_>) {
    if let Answer::Answers(server) = &seen.answer {
        detail.pair("version", format!("PostgreSQL {}", server.version));
        if server.role == cluster::Role::Primary {
            let writes = if server.read_only {
                "refused: read-only by default"
            } else {
                "taken"
            };
            detail.pair("writes", writes);
        }
        detail.pair_if("received", server.received.map(|lsn| lsn.to_string()));
        let waits = Some(&server.synchronous).filter(|names| !names.is_empty());
        detail.pair_if("commits wait", waits.map(|names| format!("for {names}")));
        for replica in &server.replicas {
            let at = replica.replayed.map_or_else(String::new, |lsn| format!(" at {lsn}"));
            detail.pair(
                "sends to",
                format!("{} ({}, {}){at}", replica.name, replica.state, replica.sync),
            );
        }
        for slot in &server.slots {
            let state = if slot.active { "in use" } else { "idle" };
            let kept = words::size(slot.retained.unwrap_or(Bytes(0)));
            let status = slot.wal_status.as_deref().unwrap_or("-");
            let role = if status == "lost" { Role::Crit } else { Role::Text };
            detail.pair_as("slot", format!("{}, {state}, keeps {kept}, {status}", slot.name), role);
        }
    }
    if let Some(local) = &seen.local {
        let state = match &local.state {
            LocalState::Running { pid } => format!("process {pid}"),
            LocalState::Stopped => "stopped".to_owned(),
            LocalState::Empty => "empty".to_owned(),
            LocalState::Unknown { why } => why.clone(),
        };
        detail.pair("on this side", format!("{}: {state}", local.directory.display()));
    }
}
