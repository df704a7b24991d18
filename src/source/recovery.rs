//! A snapshot back into the world: planned and restored.

use std::time::Instant;

use super::postgres::physical;
use super::{Milestone, SourceError, Subject, Work, files, postgres};
use crate::domain::follow_up::ServerSeen;
use crate::domain::id::SnapshotId;
use crate::domain::recovery::{Finding, PhaseTime, RecoveryPhase, RecoveryTarget};
use crate::domain::snapshot::EvidenceLevel;
use crate::domain::units::{Bytes, Millis};

/// What a recovery will do, as far as the source and the target know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanParts {
    /// The machine and role it goes to, in words.
    pub target_identity: String,
    /// Files, or tables.
    pub items: u64,
    /// Bytes to read from the repository.
    pub fetch: Bytes,
    /// Bytes to write to the target.
    pub write: Bytes,
    /// Bytes of log to replay, when it goes on to an instant.
    pub replay: Option<Bytes>,
    /// The snapshot it begins from, when that may be another than the one asked for.
    pub base: Option<SnapshotId>,
    /// How many existing things get overwritten.
    pub overwrites: u64,
    /// The first of them.
    pub overwrites_sample: Vec<String>,
    /// What is free at the target, when known.
    pub target_free: Option<Bytes>,
    /// What stands in the way.
    pub blockers: Vec<String>,
    /// What should be known.
    pub warnings: Vec<String>,
    /// How to undo it, or that there is no undo.
    pub undo: String,
    /// The same with restic alone.
    pub restic_command: String,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// Bytes written to the target.
    pub written: Bytes,
    /// Bytes of log replayed.
    pub replayed: Bytes,
    /// Files or tables brought back.
    pub items: u64,
    /// What was looked at afterwards; one that is not ok makes the recovery partial.
    pub findings: Vec<Finding>,
    /// How long each phase took.
    pub phases: Vec<PhaseTime>,
    /// The server it has left, when it is one of a cluster that went on to an instant.
    pub left: Option<ServerSeen>,
    /// Things that could not be restored; then the recovery is partial.
    pub errors: Vec<String>,
}

/// Measures phases and announces them.
pub(super) struct Stopwatch<'a> {
    work: &'a Work<'a>,
    phase: RecoveryPhase,
    since: Instant,
    done: Vec<PhaseTime>,
}

impl<'a> Stopwatch<'a> {
    /// Begins with the plan.
    pub(super) fn start(work: &'a Work<'a>) -> Self {
        (work.reached)(Milestone::Phase(RecoveryPhase::Plan));
        Self {
            work,
            phase: RecoveryPhase::Plan,
            since: work.clock.monotonic(),
            done: Vec::new(),
        }
    }

    /// Goes on with another phase.
    pub(super) fn reached(&mut self, phase: RecoveryPhase) {
        if phase == self.phase {
            return;
        }
        (self.work.reached)(Milestone::Phase(phase));
        self.close();
        self.phase = phase;
    }

    /// Counts a part of the current phase, the last `took` of it, to another.
    pub(super) fn split(&mut self, phase: RecoveryPhase, took: Millis) {
        self.close();
        if let Some(current) = self.done.iter_mut().find(|time| time.phase == self.phase) {
            current.took.0 = current.took.0.saturating_sub(took.0);
        }
        self.done.push(PhaseTime { phase, took });
    }

    /// Ends the last phase.
    pub(super) fn stop(mut self) -> Vec<PhaseTime> {
        self.close();
        self.done
    }

    fn close(&mut self) {
        let took = Millis::from(self.work.clock.elapsed(self.since));
        self.since = self.work.clock.monotonic();
        let phase = self.phase;
        match self.done.iter_mut().find(|time| time.phase == phase) {
            Some(time) => time.took.0 += took.0,
            None => self.done.push(PhaseTime { phase, took }),
        }
    }
}

/// Says what a recovery would do; changes nothing.
pub async fn plan(subject: &Subject, target: &RecoveryTarget, work: &Work<'_>) -> Result<PlanParts, SourceError> {
    let planning = async {
        match target {
            RecoveryTarget::Directory { .. } if subject.instant.is_some() => {
                let instant = subject.wish(target)?;
                Box::pin(postgres::recovery::instant::plan(subject, target, instant, work)).await
            }
            RecoveryTarget::Directory { .. } if physical::is_whole(subject, target) => {
                physical::plan(subject, target, false, work).await
            }
            RecoveryTarget::Directory { .. } => files::plan(subject, target, work).await,
            RecoveryTarget::Database {
                connection,
                database,
                how,
            } => {
                let login = subject.target_login(connection.as_ref())?;
                must_be_dump(subject)?;
                postgres::plan(subject, &login, database, how, work).await
            }
            RecoveryTarget::Scratch { level } => Ok(PlanParts {
                target_identity: format!("a scratch place on {}", subject.host),
                fetch: subject.snapshot.size,
                write: if *level >= EvidenceLevel::Restored {
                    subject.snapshot.size
                } else {
                    Bytes(0)
                },
                items: subject
                    .snapshot
                    .database
                    .as_ref()
                    .map_or(subject.snapshot.files, |facts| facts.tables),
                undo: "nothing to undo: the scratch place is removed afterwards".to_owned(),
                restic_command: format!("restic -r {} check --read-data", quote(&subject.repository_url)),
                ..PlanParts::default()
            }),
        }
    };
    work.cancellable(planning).await
}

/// Restores a snapshot to a directory or a database.
pub async fn restore(
    subject: &Subject,
    target: &RecoveryTarget,
    id: &str,
    work: &Work<'_>,
) -> Result<Restored, SourceError> {
    match target {
        RecoveryTarget::Directory { .. } if subject.instant.is_some() => {
            let instant = subject.wish(target)?;
            Box::pin(postgres::recovery::instant::restore(subject, target, instant, work)).await
        }
        RecoveryTarget::Directory { .. } if physical::is_whole(subject, target) => {
            Box::pin(physical::restore(subject, target, work)).await
        }
        RecoveryTarget::Directory { .. } => files::restore(subject, target, work).await,
        RecoveryTarget::Database {
            connection,
            database,
            how,
        } => {
            let login = subject.target_login(connection.as_ref())?;
            must_be_dump(subject)?;
            Box::pin(postgres::restore(subject, &login, database, how, id, work)).await
        }
        RecoveryTarget::Scratch { .. } => Err(SourceError::Invalid {
            what: "a scratch place is for verifying, not for restoring to".to_owned(),
            hint: Some("choose a directory or a database".to_owned()),
        }),
    }
}

fn must_be_dump(subject: &Subject) -> Result<(), SourceError> {
    if subject.snapshot.kind == "postgres-dump" {
        return Ok(());
    }
    Err(SourceError::Invalid {
        what: format!(
            "snapshot {} holds {}, not a database",
            subject.snapshot.id.short(),
            subject.snapshot.kind
        ),
        hint: Some("restore it to a directory".to_owned()),
    })
}

/// A word as a shell takes it, quoted where it must be.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quote("/srv/a-b"), "/srv/a-b");
        assert_eq!(quote("it's here"), "'it'\\''s here'");
    }
}
