//! What can be done about keeping: pins, words, the trash, retention, prune and check.

use crate::domain::command::Command;
use crate::domain::id::{JobName, MaintenanceId, RepositoryName, SnapshotId};
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::view::{MaintenanceView, RepositoryView};

use super::app::App;
use super::overlays::dialog::Warning;
use super::subject::{Choice, Operation};
use super::words;

impl App {
    /// The repository of that name.
    pub fn repository(&self, name: &RepositoryName) -> Option<&RepositoryView> {
        let overview = self.overview.as_ref()?;
        overview.repositories.iter().find(|repository| repository.name == *name)
    }

    /// The live maintenance of that id.
    pub fn maintenance(&self, id: &MaintenanceId) -> Option<&MaintenanceView> {
        let overview = self.overview.as_ref()?;
        overview.maintenance.iter().find(|view| view.maintenance.id == *id)
    }

    /// A snapshot, listed or in the trash.
    pub fn known_snapshot(&self, id: &SnapshotId) -> Option<&SnapshotRecord> {
        self.snapshots.get(id.as_str()).or_else(|| self.trash.get(id.as_str()))
    }

    /// What can be done about how long a snapshot stays.
    pub(super) fn keeping_choices(&self, id: &SnapshotId) -> Vec<Choice> {
        let Some(snapshot) = self.known_snapshot(id) else {
            return Vec::new();
        };
        if snapshot.forgotten.is_some() {
            let gone = snapshot.vanished_at.map(|_| "it is gone for good".to_owned());
            let back = Operation::Give(vec![Command::RestoreForgotten { snapshot: id.clone() }]);
            return vec![Choice::new("Bring it back from the trash", back, gone)];
        }
        let gone = (!snapshot.is_there()).then(|| "it is gone from its repository".to_owned());
        let pin = if snapshot.pinned.is_some() {
            let unpin = Command::UnpinSnapshot {
                snapshot: id.clone(),
                reason: None,
            };
            Choice::new(
                "Unpin: let it be forgotten again",
                Operation::Give(vec![unpin]),
                gone.clone(),
            )
        } else {
            Choice::new(
                "Pin: nothing forgets it",
                Operation::Pin(vec![id.clone()]),
                gone.clone(),
            )
        };
        let tag = Choice::new("Change its words (tags)", Operation::Tag(id.clone()), gone.clone());
        let refused = gone.or_else(|| self.why_kept(snapshot));
        let forget = Choice::new(
            "Forget: put it in the trash",
            Operation::Forget(vec![id.clone()]),
            refused,
        );
        vec![pin, tag, forget]
    }

    /// Why a snapshot may not be forgotten, as far as this side knows; the agent looks again.
    fn why_kept(&self, snapshot: &SnapshotRecord) -> Option<String> {
        if snapshot.pinned.is_some() {
            return Some("it is pinned".to_owned());
        }
        let newest = self
            .snapshots
            .all()
            .filter(|other| other.job == snapshot.job && other.repository == snapshot.repository)
            .filter(|other| other.is_restorable())
            .max_by_key(|other| other.taken_at);
        let is_last = snapshot.job.is_some() && newest.is_some_and(|newest| newest.id == snapshot.id);
        is_last.then(|| "it is the last good snapshot of its job".to_owned())
    }

    /// What can be done about how long several snapshots stay.
    pub(super) fn keeping_choices_of_many(&self, ids: &[SnapshotId]) -> Vec<Choice> {
        let known: Vec<&SnapshotRecord> = ids.iter().filter_map(|id| self.known_snapshot(id)).collect();
        let count = known.len();
        if known.iter().any(|snapshot| snapshot.forgotten.is_some()) {
            let back = known.iter().map(|one| Command::RestoreForgotten {
                snapshot: one.id.clone(),
            });
            let operation = Operation::Give(back.collect());
            return vec![Choice::new(
                format!("Bring {count} snapshots back from the trash"),
                operation,
                None,
            )];
        }
        let refused = known.iter().find_map(|snapshot| {
            let why = self.why_kept(snapshot)?;
            Some(format!("{}: {why}", snapshot.id.short()))
        });
        let ids = ids.to_vec();
        vec![
            Choice::new(format!("Pin {count} snapshots"), Operation::Pin(ids.clone()), None),
            Choice::new(format!("Forget {count} snapshots"), Operation::Forget(ids), refused),
        ]
    }

    /// What can be done to a repository.
    pub(super) fn repository_choices(&self, name: &RepositoryName) -> Vec<Choice> {
        let overview = self.overview.as_ref();
        let live = overview.into_iter().flat_map(|overview| &overview.maintenance);
        let mine: Vec<_> = live.filter(|view| view.maintenance.repository == *name).collect();
        let busy = |word: &str| {
            let same = mine.iter().find(|view| view.maintenance.task.word() == word);
            same.map(|view| format!("{} is under way", view.maintenance.id))
        };
        let check = |words: &str, subset: Option<&str>| {
            let command = Command::CheckRepository {
                repository: name.clone(),
                subset: subset.map(str::to_owned),
            };
            Choice::new(
                format!("Check {name}: {words}"),
                Operation::Give(vec![command]),
                busy("check"),
            )
        };
        vec![
            check("that everything is there", None),
            check("and read a twentieth of the data again", Some("5%")),
            check("and read all data again", Some("all")),
            Choice::new(
                format!("Prune {name}: remove what nothing needs"),
                Operation::Prune(name.clone()),
                busy("prune"),
            ),
        ]
    }

    /// What can be done to live maintenance.
    pub(super) fn maintenance_choices(&self, id: &MaintenanceId) -> Vec<Choice> {
        let ended = self.maintenance(id).is_none().then(|| "it has ended".to_owned());
        let stop = Command::CancelMaintenance {
            maintenance: id.clone(),
        };
        vec![Choice::new(
            format!("Stop {id}; nothing is lost by it"),
            Operation::Give(vec![stop]),
            ended,
        )]
    }

    /// What can be done about the retention of a job.
    pub(super) fn retention_choice(&self, name: &JobName) -> Choice {
        let policy = self.job(name).and_then(|job| job.retention.as_ref());
        let none = policy
            .is_none()
            .then(|| "it has no policy; it keeps everything".to_owned());
        Choice::new(
            format!("Apply the retention of {name} now"),
            Operation::ApplyRetention(name.clone()),
            none,
        )
    }
}

/// What stands in the dialog before retention is applied by hand.
pub(super) fn apply_retention(app: &App, job: &JobName) -> Warning {
    let planned = app.retention_plan.as_ref().filter(|plan| plan.job == *job);
    let going = planned.map(|plan| plan.decisions.iter().filter(|one| !one.keep).count() as u64);
    let losses = match going {
        Some(count) => format!("{} to the trash", words::plural(count, "snapshot")),
        None => format!("what no rule keeps goes to the trash; see it first: r on {job}"),
    };
    Warning {
        title: format!("Apply the retention of {job}"),
        facts: vec![(
            "keeps",
            app.job(job).and_then(|job| job.retention.clone()).unwrap_or_default(),
        )],
        losses: vec![losses],
        command: format!("lifeboat retention apply --job {job} --yes {job}"),
        undo: "bring them back from the trash: t on screen 3".to_owned(),
        name: job.0.clone(),
    }
}

/// What stands in the dialog before a repository is pruned by hand.
pub(super) fn prune(app: &App, name: &RepositoryName) -> Warning {
    let upkeep = app.repository(name).and_then(|repository| repository.upkeep.as_ref());
    let trash = upkeep.map_or_else(String::new, |upkeep| words::promise(upkeep.trash));
    Warning {
        title: format!("Prune {name}"),
        facts: vec![
            (
                "repository",
                app.repository(name).map_or_else(String::new, |one| one.url.clone()),
            ),
            ("trash keeps", trash),
        ],
        losses: vec![
            "snapshots whose time in the trash is over, for good".to_owned(),
            "runs of this repository wait until it ends".to_owned(),
        ],
        command: format!("lifeboat maintenance prune {name}"),
        undo: "no undo for what has left the trash".to_owned(),
        name: name.0.clone(),
    }
}
