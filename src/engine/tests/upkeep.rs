//! How the puppet does maintenance: well, unless it is told otherwise.

use super::*;
use crate::domain::maintenance::{SnapshotChange, Task};

/// How maintenance goes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Well,
    Fails,
    Hangs,
    FindsDamage,
}

/// Takes a snapshot out of the repository.
fn take(puppet: &Puppet, id: &SnapshotId) -> Option<SnapshotRecord> {
    let mut held = puppet.held.lock().unwrap();
    let held = held.as_mut().unwrap();
    let at = held.iter().position(|one| one.id == *id)?;
    Some(held.remove(at))
}

pub(super) async fn maintain(puppet: &Puppet, work: Work, maintenance: Maintenance) -> MaintenanceResult {
    puppet.kept.lock().unwrap().push(maintenance.clone());
    let mood = *puppet.keeping.lock().unwrap();
    match mood {
        Mood::Fails => {
            return MaintenanceResult::failed(Outcome::Failed, Failure::permanent("the disk is full", "free"));
        }
        Mood::Hangs => {
            work.cancel.cancelled().await;
            return MaintenanceResult::failed(Outcome::Cancelled, Failure::transient("stopped"));
        }
        Mood::FindsDamage => {
            return MaintenanceResult {
                sound: Some(false),
                ..MaintenanceResult::failed(Outcome::Failed, Failure::permanent("3 problems", "look"))
            };
        }
        Mood::Well => {}
    }
    let by = maintenance.requested_by.clone();
    let changes = match maintenance.task.clone() {
        Task::Forget { snapshots, reason, .. } => {
            for forgotten in &snapshots {
                let taken = take(puppet, forgotten);
                puppet.trash.lock().unwrap().extend(taken);
            }
            let forgotten = |snapshot| SnapshotChange::Forgotten {
                snapshot,
                until: None,
                by: by.clone(),
                reason: reason.clone(),
            };
            snapshots.into_iter().map(forgotten).collect()
        }
        Task::Untrash { snapshot } => {
            let mut trash = puppet.trash.lock().unwrap();
            let back = trash
                .iter()
                .position(|one| one.id == snapshot)
                .map(|at| trash.remove(at));
            puppet.held.lock().unwrap().as_mut().unwrap().extend(back);
            vec![SnapshotChange::Unforgotten { snapshot }]
        }
        Task::Pin { snapshot, reason } => vec![SnapshotChange::Pinned { snapshot, by, reason }],
        Task::Unpin { snapshot, .. } => vec![SnapshotChange::Unpinned { snapshot }],
        Task::Tag { snapshot, add, .. } => {
            let new = SnapshotId(format!("ff{}", &snapshot.0[2..]));
            let written = take(puppet, &snapshot).map(|old| SnapshotRecord {
                id: new.clone(),
                tags: add.clone(),
                ..old
            });
            puppet.held.lock().unwrap().as_mut().unwrap().extend(written);
            vec![SnapshotChange::Retagged {
                old: snapshot,
                new,
                tags: add,
            }]
        }
        Task::Prune => Vec::new(),
        Task::Check { .. } => {
            return MaintenanceResult {
                sound: Some(true),
                ..MaintenanceResult::done("sound", Vec::new())
            };
        }
    };
    MaintenanceResult::done("done", changes)
}
