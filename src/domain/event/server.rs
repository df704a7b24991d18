//! The words of events about recovered servers and named restore points.

use super::Event;
use crate::domain::follow_up::Step;

impl Event {
    /// The summary of an event about recovered servers and restore points; none of any other.
    pub(super) fn server_summary(&self) -> Option<String> {
        Some(match self {
            Self::FollowUpRequested { recovery, what, by } => format!("{recovery}: {by} asked to {}", what.word()),
            Self::FollowUpStarted { recovery } => format!("{recovery}: its server is acted on"),
            Self::FollowUpDoubted { recovery } => format!("{recovery}: how its server stands is not known"),
            Self::FollowUpCancelRequested { recovery, by } => {
                format!("{recovery}: what its server does is to stop, asked by {by}")
            }
            Self::FollowUpEnded { recovery, server } => {
                let step = server.steps.last().map_or_else(String::new, Step::words);
                format!("{recovery}: its server was {step}")
            }
            Self::RecoveredServerSeen { recovery, server } => {
                format!(
                    "{recovery}: its server in {} was found: {}",
                    server.directory.display(),
                    server.seen.fate.word()
                )
            }
            Self::RestorePointRequested { cluster, name, by } => {
                format!("restore point {name} of cluster {cluster} asked for by {by}")
            }
            Self::RestorePointCreated {
                cluster,
                name,
                member,
                lsn,
                ..
            } => {
                format!("restore point {name} of cluster {cluster} is at {lsn}, written by {member}")
            }
            Self::RestorePointFailed { cluster, name, error } => {
                format!("restore point {name} of cluster {cluster} was NOT made: {error}")
            }
            _ => return None,
        })
    }
}
