//! What a variable can be: the names the console has seen, offered with Tab. The agent has the last word on each.

use crate::domain::runbook::VariableKind;
use crate::tui::app::App;

/// How many snapshots are offered.
const SNAPSHOTS: usize = 20;

/// The values to choose from, in order; none for what is written freely.
pub fn choices(app: &App, kind: &VariableKind, said: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let Some(overview) = &app.overview else {
        return Vec::new();
    };
    let mut names: Vec<String> = match kind {
        VariableKind::Choice { of } => return of.clone(),
        VariableKind::Flag => return vec!["true".to_owned(), "false".to_owned()],
        VariableKind::Service => overview.services.iter().map(|one| one.name.0.clone()).collect(),
        VariableKind::Source => {
            let services = overview.services.iter().flat_map(|one| &one.sources);
            let jobs = overview.jobs.iter().map(|one| &one.source);
            services.chain(jobs).map(|name| name.0.clone()).collect()
        }
        VariableKind::Job => overview.jobs.iter().map(|one| one.name.0.clone()).collect(),
        VariableKind::Drill => overview.drills.iter().map(|one| one.name.0.clone()).collect(),
        VariableKind::Repository => overview.repositories.iter().map(|one| one.name.0.clone()).collect(),
        VariableKind::Cluster => app.topology.all().map(|row| row.cluster.0.clone()).collect(),
        VariableKind::Member { cluster } => {
            let cluster = said(cluster).unwrap_or_default();
            let members = app.topology.all().filter(|row| row.cluster.0 == cluster);
            members.map(|row| row.line.name.0.clone()).collect()
        }
        VariableKind::Snapshot => {
            let newest = app.snapshots.window(0, SNAPSHOTS);
            // In the order of the list: the newest first.
            return newest.map(|(_, _, snapshot)| snapshot.id.short().to_owned()).collect();
        }
        VariableKind::Instant => return vec!["latest".to_owned()],
        VariableKind::Text | VariableKind::Number | VariableKind::Duration | VariableKind::Path => Vec::new(),
    };
    names.sort();
    names.dedup();
    names
}

/// The next choice: the first that begins with what is typed, or the one after it when it is there in full.
pub fn next(choices: &[String], typed: &str) -> Option<String> {
    if let Some(at) = choices.iter().position(|choice| choice == typed) {
        return choices
            .get((at + 1) % choices.len())
            .filter(|one| *one != typed)
            .cloned();
    }
    choices.iter().find(|choice| choice.starts_with(typed)).cloned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn tab_completes_then_goes_round() {
        let choices = ["db1".to_owned(), "db2".to_owned(), "west".to_owned()];
        let next = |typed: &str| super::next(&choices, typed);
        assert_eq!(next("").as_deref(), Some("db1"));
        assert_eq!(next("w").as_deref(), Some("west"));
        assert_eq!(next("db1").as_deref(), Some("db2"));
        assert_eq!(next("west").as_deref(), Some("db1"));
        assert_eq!(next("x"), None);
        assert_eq!(super::next(&choices[..1], "db1"), None, "there is no other");
    }
}
