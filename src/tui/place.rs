//! Places: what the body of the console can show, and how one leads to another.

use crate::domain::id::{JobName, RunbookRunId, SnapshotId};

use super::keymap::Action;

/// A numbered screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Screen {
    /// What would be lost now, and what is going on.
    Overview,
    /// What is backed up, when, and how it went.
    Jobs,
    /// What can be restored.
    Snapshots,
    /// Restores and verifications.
    Recoveries,
    /// What leads through a recovery or a failover.
    Runbooks,
    /// What is wrong.
    Alerts,
    /// Which server is what, and how far behind.
    Topology,
    /// Who did what, when.
    Audit,
}

impl Screen {
    /// The screens in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Overview,
        Self::Jobs,
        Self::Snapshots,
        Self::Recoveries,
        Self::Runbooks,
        Self::Alerts,
        Self::Topology,
        Self::Audit,
    ];

    /// The screen's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Jobs => "Jobs",
            Self::Snapshots => "Snapshots",
            Self::Recoveries => "Recoveries",
            Self::Runbooks => "Runbooks",
            Self::Alerts => "Alerts",
            Self::Audit => "Audit",
            Self::Topology => "Topology",
        }
    }

    /// Its name where there is little room.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Recoveries => "Recover",
            Self::Topology => "Topo",
            other => other.name(),
        }
    }

    /// The action that goes there.
    pub const fn action(self) -> Action {
        match self {
            Self::Overview => Action::Overview,
            Self::Jobs => Action::Jobs,
            Self::Snapshots => Action::Snapshots,
            Self::Recoveries => Action::Recoveries,
            Self::Runbooks => Action::Runbooks,
            Self::Alerts => Action::Alerts,
            Self::Audit => Action::Audit,
            Self::Topology => Action::Topology,
        }
    }

    /// The place the screen begins with.
    pub const fn place(self) -> Place {
        match self {
            Self::Overview => Place::Overview,
            Self::Jobs => Place::Jobs,
            Self::Snapshots => Place::Snapshots,
            Self::Recoveries => Place::Recoveries,
            Self::Runbooks => Place::Runbooks,
            Self::Alerts => Place::Alerts,
            Self::Audit => Place::Audit,
            Self::Topology => Place::Topology,
        }
    }
}

/// A search for the last clean snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The job whose snapshots are looked through.
    pub job: JobName,
    /// The execution and the step it is for, when it is for one.
    pub of: Option<(RunbookRunId, String)>,
}

/// What the body shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The Overview.
    Overview,
    /// All jobs.
    Jobs,
    /// The runs of one job.
    Job(JobName),
    /// What the retention of one job keeps.
    Retention(JobName),
    /// All snapshots.
    Snapshots,
    /// The snapshots in the trash.
    Trash,
    /// One directory of a snapshot, by a path that begins with `/`.
    Tree(SnapshotId, String),
    /// The search for the last clean snapshot of a job.
    Finder(Search),
    /// All recoveries.
    Recoveries,
    /// The drills.
    Drills,
    /// All runbooks, and their executions that are under way.
    Runbooks,
    /// Executions of runbooks that have ended.
    Executions,
    /// One execution: the wizard while it is under way, its report when it has ended.
    Wizard(RunbookRunId),
    /// All alerts.
    Alerts,
    /// The journal.
    Audit,
    /// All members of all clusters.
    Topology,
}

impl Place {
    /// The screen it belongs to.
    pub const fn screen(&self) -> Screen {
        match self {
            Self::Overview => Screen::Overview,
            Self::Jobs | Self::Job(_) | Self::Retention(_) => Screen::Jobs,
            Self::Snapshots | Self::Trash | Self::Tree(..) | Self::Finder(_) => Screen::Snapshots,
            Self::Recoveries | Self::Drills => Screen::Recoveries,
            Self::Runbooks | Self::Executions | Self::Wizard(_) => Screen::Runbooks,
            Self::Alerts => Screen::Alerts,
            Self::Audit => Screen::Audit,
            Self::Topology => Screen::Topology,
        }
    }

    /// Where Esc leads; none at the root of a screen.
    pub fn parent(&self) -> Option<Self> {
        match self {
            Self::Job(_) | Self::Retention(_) => Some(Self::Jobs),
            Self::Finder(Search { of: Some((run, _)), .. }) => Some(Self::Wizard(run.clone())),
            Self::Trash | Self::Finder(_) => Some(Self::Snapshots),
            Self::Drills => Some(Self::Recoveries),
            Self::Executions | Self::Wizard(_) => Some(Self::Runbooks),
            Self::Tree(_, path) if path == "/" => Some(Self::Snapshots),
            Self::Tree(snapshot, path) => Some(Self::Tree(snapshot.clone(), parent_path(path).to_owned())),
            _ => None,
        }
    }

    /// What stands after the screen's name: the way down to here.
    pub fn crumbs(&self) -> Vec<String> {
        match self {
            Self::Job(job) => vec![job.0.clone()],
            Self::Retention(job) => vec![job.0.clone(), "retention".to_owned()],
            Self::Trash => vec!["trash".to_owned()],
            Self::Finder(search) => vec![search.job.0.clone(), "last clean".to_owned()],
            Self::Drills => vec!["drills".to_owned()],
            Self::Executions => vec!["history".to_owned()],
            Self::Wizard(id) => vec![id.0.clone()],
            Self::Tree(snapshot, path) => vec![snapshot.short().to_owned(), path.clone()],
            _ => Vec::new(),
        }
    }
}

/// The directory a path is in.
pub fn parent_path(path: &str) -> &str {
    match path.trim_end_matches('/').rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

/// A name inside a directory.
pub fn join_path(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

/// Which pane the keys go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    /// The list.
    List,
    /// Everything about the selected row.
    Detail,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_of_a_tree_ends_at_the_snapshots() {
        let id = SnapshotId::from("9c41e0a2");
        let mut place = Place::Tree(id, "/srv/docs".to_owned());
        let mut steps = Vec::new();
        while let Some(parent) = place.parent() {
            steps.push(parent.crumbs().join(" "));
            place = parent;
        }
        assert_eq!(steps, ["9c41e0a2 /srv", "9c41e0a2 /", ""]);
        assert_eq!(join_path("/", "srv"), "/srv");
        assert_eq!(join_path("/srv", "docs"), "/srv/docs");
    }
}
