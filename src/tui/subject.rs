//! Subjects: the things a cursor can be on, and what can be done to each.
//!
//! What changes something is an [`Operation`]. It is offered in the action menu and in the palette, always with the
//! reason when it cannot be done now, and it is carried out only through a [`Choice`] that somebody made.

use crate::domain::command::Command;
use crate::domain::id::{
    AlertKey, ClusterName, DrillName, JobName, MaintenanceId, MemberName, RecoveryId, RepositoryName, RunId,
    RunbookName, RunbookRunId, ServiceName, SnapshotId,
};
use crate::domain::snapshot::EvidenceLevel;

use super::app::App;
pub use super::operation::{Choice, Operation};
use super::place::Place;

/// A thing a cursor can be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A service.
    Service(ServiceName),
    /// A job.
    Job(JobName),
    /// A run: live, or one of history.
    Run(RunId, JobName),
    /// A snapshot.
    Snapshot(SnapshotId),
    /// A file or directory in a snapshot.
    Entry(SnapshotId, String),
    /// A recovery.
    Recovery(RecoveryId),
    /// A drill.
    Drill(DrillName),
    /// A runbook.
    Runbook(RunbookName),
    /// An execution of a runbook, live or of history.
    Execution(RunbookRunId),
    /// An alert.
    Alert(AlertKey),
    /// Maintenance that is going on.
    Maintenance(MaintenanceId),
    /// A repository.
    Repository(RepositoryName),
    /// A server of a cluster.
    Member(ClusterName, MemberName),
    /// An event, by its number.
    Event(u64),
}

impl Subject {
    /// What `y` copies: the name or id by which a command would call it.
    pub fn name(&self) -> String {
        match self {
            Self::Service(name) => name.0.clone(),
            Self::Job(name) => name.0.clone(),
            Self::Run(run, _) => run.0.clone(),
            Self::Snapshot(id) => id.0.clone(),
            Self::Entry(_, path) => path.clone(),
            Self::Recovery(id) => id.0.clone(),
            Self::Drill(name) => name.0.clone(),
            Self::Runbook(name) => name.0.clone(),
            Self::Execution(id) => id.0.clone(),
            Self::Alert(key) => key.0.clone(),
            Self::Maintenance(id) => id.0.clone(),
            Self::Repository(name) => name.0.clone(),
            Self::Member(_, member) => member.0.clone(),
            Self::Event(seq) => seq.to_string(),
        }
    }

    /// The thing in a few words.
    pub fn words(&self) -> String {
        match self {
            Self::Service(name) => format!("service {name}"),
            Self::Job(name) => format!("job {name}"),
            Self::Run(run, job) => format!("{run} of job {job}"),
            Self::Snapshot(id) => format!("snapshot {}", id.short()),
            Self::Entry(id, path) => format!("{path} of snapshot {}", id.short()),
            Self::Recovery(id) => id.0.clone(),
            Self::Drill(name) => format!("drill {name}"),
            Self::Runbook(name) => format!("runbook {name}"),
            Self::Execution(id) => id.0.clone(),
            Self::Alert(key) => format!("alert {key}"),
            Self::Maintenance(id) => id.0.clone(),
            Self::Repository(name) => format!("repository {name}"),
            Self::Member(cluster, member) => format!("{member} of cluster {cluster}"),
            Self::Event(seq) => format!("event {seq}"),
        }
    }
}

impl App {
    /// What the cursor is on, or all marked rows.
    pub fn subjects(&self) -> Vec<Subject> {
        match &self.place {
            Place::Overview => self.focus.clone().into_iter().collect(),
            Place::Jobs => self
                .jobs
                .chosen()
                .iter()
                .map(|job| Subject::Job(job.name.clone()))
                .collect(),
            Place::Job(job) => match self.runs.selected() {
                Some(run) => vec![Subject::Run(run.id.clone(), job.clone())],
                None => vec![Subject::Job(job.clone())],
            },
            Place::Retention(_) => self
                .retention
                .chosen()
                .iter()
                .map(|decision| Subject::Snapshot(decision.snapshot.clone()))
                .collect(),
            Place::Trash => self
                .trash
                .chosen()
                .iter()
                .map(|snapshot| Subject::Snapshot(snapshot.id.clone()))
                .collect(),
            Place::Snapshots => self
                .snapshots
                .chosen()
                .iter()
                .map(|snapshot| Subject::Snapshot(snapshot.id.clone()))
                .collect(),
            Place::Tree(id, path) => {
                let entry = |name: &str| Subject::Entry(id.clone(), super::place::join_path(path, name));
                self.tree.chosen().iter().map(|row| entry(&row.entry.name)).collect()
            }
            Place::Finder(_) => super::finder::subjects(self),
            Place::Recoveries => self
                .recoveries
                .chosen()
                .iter()
                .map(|row| Subject::Recovery(row.id().clone()))
                .collect(),
            Place::Drills => self
                .drills
                .chosen()
                .iter()
                .map(|drill| Subject::Drill(drill.name.clone()))
                .collect(),
            Place::Runbooks | Place::Executions | Place::Wizard(_) => super::runbooks::subjects(self),
            Place::Alerts => self
                .alerts
                .chosen()
                .iter()
                .map(|row| Subject::Alert(row.alert.key.clone()))
                .collect(),
            Place::Topology => self
                .topology
                .chosen()
                .iter()
                .map(|row| Subject::Member(row.cluster.clone(), row.line.name.clone()))
                .collect(),
            Place::Audit => self.audit.chosen().iter().map(|row| Subject::Event(row.seq)).collect(),
        }
    }

    /// What can be done to these things, each with the reason when it cannot be done now.
    pub fn choices(&self, subjects: &[Subject]) -> Vec<Choice> {
        let mut choices = match subjects {
            [] => Vec::new(),
            [Subject::Snapshot(_)] if matches!(self.place, Place::Finder(_)) => super::finder::choices(self),
            [Subject::Job(job)] => self.job_choices(job),
            [Subject::Run(run, job)] => self.run_choices(run, job),
            [Subject::Recovery(id)] => self.recovery_choices(id),
            [Subject::Drill(name)] => self.drill_choices(name),
            [Subject::Member(cluster, member)] => self.member_choices(cluster, member),
            [Subject::Maintenance(id)] => self.maintenance_choices(id),
            [Subject::Repository(name)] => self.repository_choices(name),
            [Subject::Service(name)] => self.service_choices(name),
            [Subject::Runbook(name)] => self.runbook_choices(name),
            [Subject::Execution(id)] => self.execution_choices(id),
            [Subject::Alert(key)] => self.alert_choices(key),
            [Subject::Snapshot(id)] => self.snapshot_choices(id),
            [Subject::Entry(id, _), ..] => entry_choices(id, subjects),
            many => self.many_choices(many),
        };
        if let Some(why) = self.why_locked() {
            // Planning reads and shows; only its last step would change something, and is refused there.
            for choice in choices.iter_mut().filter(|choice| !choice.operation.only_plans()) {
                choice.refused = Some(why.clone());
            }
        }
        choices
    }

    pub(super) fn job_choices(&self, name: &JobName) -> Vec<Choice> {
        let Some(job) = self.job(name) else { return Vec::new() };
        let running = job.running.clone();
        let busy = running.as_ref().map(|run| format!("{run} is under way"));
        let run_now = Operation::Give(vec![Command::RunJob { job: name.clone() }]);
        let mut choices = vec![Choice::new(format!("Run {name} now"), run_now, busy)];
        let idle = running.is_none().then(|| "it is not running".to_owned());
        let stop = Operation::StopRun(running.unwrap_or_else(|| RunId(String::new())), name.clone());
        choices.push(Choice::new(format!("Stop the run of {name}"), stop, idle));
        let enable = Operation::Give(vec![Command::EnableJob { job: name.clone() }]);
        let (enabled, disabled) = (job.enabled, !job.enabled);
        choices.push(Choice::new(
            format!("Enable {name}"),
            enable,
            enabled.then(|| "it is enabled".to_owned()),
        ));
        let disable = Operation::DisableJob(name.clone());
        choices.push(Choice::new(
            format!("Disable {name}"),
            disable,
            disabled.then(|| "it is disabled".to_owned()),
        ));
        choices.push(self.retention_choice(name));
        choices.push(find_clean(name));
        choices
    }

    fn run_choices(&self, run: &RunId, job: &JobName) -> Vec<Choice> {
        let live = self
            .overview
            .as_ref()
            .is_some_and(|overview| overview.runs.iter().any(|view| view.run.id == *run));
        let ended = (!live).then(|| "it has ended".to_owned());
        let mut choices = vec![Choice::new(
            format!("Stop {run}"),
            Operation::StopRun(run.clone(), job.clone()),
            ended,
        )];
        choices.extend(
            self.job_choices(job)
                .into_iter()
                .filter(|choice| !matches!(choice.operation, Operation::StopRun(..))),
        );
        choices
    }

    fn recovery_choices(&self, id: &RecoveryId) -> Vec<Choice> {
        let row = self.recoveries.get(id.as_str());
        let ended = row.is_none_or(|row| !row.is_live()).then(|| "it has ended".to_owned());
        let mut choices = self.server_choices(id);
        if choices.is_empty() {
            let stop = Operation::StopRecovery(id.clone());
            choices.push(Choice::new(format!("Stop {id}"), stop, ended));
        }
        if let Some(row) = row {
            let snapshot = row.request().snapshot.clone();
            let words = format!("Plan another restore of {}", snapshot.short());
            choices.push(Choice::new(words, Operation::Restore(snapshot, Vec::new()), None));
        }
        choices
    }

    fn service_choices(&self, name: &ServiceName) -> Vec<Choice> {
        let Some(overview) = &self.overview else {
            return Vec::new();
        };
        let Some(service) = overview.services.iter().find(|service| service.name == *name) else {
            return Vec::new();
        };
        let jobs = overview
            .jobs
            .iter()
            .filter(|job| service.sources.contains(&job.source) && job.running.is_none());
        let commands: Vec<Command> = jobs.map(|job| Command::RunJob { job: job.name.clone() }).collect();
        let busy = commands
            .is_empty()
            .then(|| "its jobs are running, or it has none".to_owned());
        let mut choices = vec![Choice::new(
            format!("Run all jobs of {name} now"),
            Operation::Give(commands),
            busy,
        )];
        if let Some(snapshot) = &service.rpo.snapshot {
            let words = format!("Plan a restore of its newest snapshot {}", snapshot.short());
            choices.push(Choice::new(
                words,
                Operation::Restore(snapshot.clone(), Vec::new()),
                None,
            ));
        }
        let drills = overview
            .drills
            .iter()
            .filter(|drill| service.sources.contains(&drill.source));
        choices.extend(drills.map(|drill| super::drills::choice(drill, None)));
        let jobs = overview.jobs.iter().filter(|job| service.sources.contains(&job.source));
        choices.extend(jobs.map(|job| find_clean(&job.name)));
        choices
    }

    fn snapshot_choices(&self, id: &SnapshotId) -> Vec<Choice> {
        let gone = self
            .known_snapshot(id)
            .filter(|snapshot| !snapshot.is_there())
            .map(|snapshot| match snapshot.forgotten {
                Some(_) if snapshot.vanished_at.is_none() => "it is in the trash".to_owned(),
                _ => "it is gone from its repository".to_owned(),
            });
        let restore = Operation::Restore(id.clone(), Vec::new());
        let mut choices = vec![Choice::new("Plan a restore", restore, gone.clone())];
        for level in EvidenceLevel::ALL.into_iter().skip(1) {
            let operation = Operation::Give(vec![Command::VerifySnapshot {
                snapshot: id.clone(),
                level,
            }]);
            choices.push(Choice::new(
                format!("Verify up to {level}: {}", verify_words(level)),
                operation,
                gone.clone(),
            ));
        }
        let job = self.known_snapshot(id).and_then(|snapshot| snapshot.job.clone());
        choices.extend(job.map(|job| find_clean(&job)));
        choices.extend(self.keeping_choices(id));
        if let Place::Retention(job) = &self.place {
            choices.insert(0, self.retention_choice(job));
        }
        choices
    }

    fn many_choices(&self, subjects: &[Subject]) -> Vec<Choice> {
        let count = subjects.len();
        let give = |words: String, commands: Vec<Command>| Choice::new(words, Operation::Give(commands), None);
        match &subjects[0] {
            Subject::Job(_) => {
                let jobs = subjects.iter().filter_map(|subject| match subject {
                    Subject::Job(job) => self.job(job),
                    _ => None,
                });
                let idle: Vec<Command> = jobs
                    .filter(|job| job.running.is_none())
                    .map(|job| Command::RunJob { job: job.name.clone() })
                    .collect();
                vec![give(format!("Run {} of the {count} marked jobs now", idle.len()), idle)]
            }
            Subject::Snapshot(_) => {
                let ids: Vec<SnapshotId> = subjects.iter().map(|one| one.name().into()).collect();
                let verify = EvidenceLevel::ALL.into_iter().skip(1).map(|level| {
                    let verify = |subject: &Subject| Command::VerifySnapshot {
                        snapshot: subject.name().into(),
                        level,
                    };
                    give(
                        format!("Verify {count} snapshots up to {level}"),
                        subjects.iter().map(verify).collect(),
                    )
                });
                verify.chain(self.keeping_choices_of_many(&ids)).collect()
            }
            Subject::Alert(_) => {
                let keys = subjects.iter().map(|subject| AlertKey(subject.name())).collect();
                vec![Choice::new(
                    format!("Acknowledge {count} alerts"),
                    Operation::Acknowledge(keys),
                    None,
                )]
            }
            _ => Vec::new(),
        }
    }
}

fn entry_choices(id: &SnapshotId, subjects: &[Subject]) -> Vec<Choice> {
    let paths: Vec<String> = subjects.iter().map(Subject::name).collect();
    let words = match paths.as_slice() {
        [path] => format!("Plan a restore of {path}"),
        many => format!("Plan a restore of {} marked entries", many.len()),
    };
    vec![
        Choice::new(words, Operation::Restore(id.clone(), paths), None),
        Choice::new(
            "Plan a restore of the whole snapshot",
            Operation::Restore(id.clone(), Vec::new()),
            None,
        ),
    ]
}

/// The search for the last clean snapshot of a job.
pub(super) fn find_clean(job: &JobName) -> Choice {
    Choice::new(
        format!("Find the last clean snapshot of {job}"),
        Operation::FindClean(job.clone()),
        None,
    )
}

const fn verify_words(level: EvidenceLevel) -> &'static str {
    match level {
        EvidenceLevel::Written => "nothing to do",
        EvidenceLevel::Checksummed => "read every blob again and compare its hash",
        EvidenceLevel::Decoded => "and understand what it holds",
        EvidenceLevel::Restored => "and restore it into a scratch place",
        EvidenceLevel::Probed => "and ask the restored copy questions",
    }
}
