//! Drills and restore points: what can be done about them from the console.

use super::app::App;
use super::operation::{Choice, Operation};
use crate::domain::cluster::{Fenced, Role};
use crate::domain::command::Command;
use crate::domain::drill::{DrillPoint, DrillView};
use crate::domain::id::{ClusterName, DrillName, MemberName};

/// Doing a drill now, with the restore point it is configured with or another.
pub(super) fn choice(drill: &DrillView, point: Option<DrillPoint>) -> Choice {
    let command = Command::RunDrill {
        drill: drill.name.clone(),
        point,
    };
    let with = match point {
        None => String::new(),
        Some(DrillPoint::Random) => ", with any restore point".to_owned(),
        Some(point) => format!(", with the {} restore point", point.words()),
    };
    let busy = drill.running.as_ref().map(|live| format!("{live} is under way"));
    let words = format!("Do drill {} now{with}", drill.name);
    Choice::new(words, Operation::Give(vec![command]), busy)
}

impl App {
    /// What can be done about a drill.
    pub(super) fn drill_choices(&self, name: &DrillName) -> Vec<Choice> {
        let Some(drill) = self.drills.get(name.as_str()) else {
            return Vec::new();
        };
        let points = [None, Some(DrillPoint::Latest), Some(DrillPoint::Random)];
        points.into_iter().map(|point| choice(drill, point)).collect()
    }

    /// What can be done to a member of a cluster.
    pub(super) fn member_choices(&self, cluster: &ClusterName, member: &MemberName) -> Vec<Choice> {
        let row = self.topology.get(&format!("{cluster}/{member}"));
        let line = row.map(|row| &row.line);
        let refused = match line.map(|line| (line.role, line.fenced)) {
            Some((Some(Role::Primary), Fenced::No | Fenced::Lifted)) => None,
            Some((Some(Role::Primary), _)) => Some("it is fenced; nothing is written to it".to_owned()),
            Some((Some(Role::Standby), _)) => Some("it is a standby; the primary writes it".to_owned()),
            _ => Some("it does not answer".to_owned()),
        };
        vec![Choice::new(
            format!("Create a restore point of cluster {cluster}"),
            Operation::RestorePoint(cluster.clone()),
            refused,
        )]
    }
}
