//! A snapshot proved level by level, in a scratch place that is gone afterwards.
//!
//! A level is reached, or refuted, or could not be tried. Only the snapshot's own faults refute it.

use super::postgres::Proof as DatabaseProof;
use super::postgres::physical::{PhysicalError, Proof as ClusterProof};
use super::recovery::Stopwatch;
use super::{Milestone, SourceError, Subject, Work, files};
use crate::clock::Clock;
use crate::domain::id::SnapshotId;
use crate::domain::job::SqlProbe;
use crate::domain::recovery::{Finding, PhaseTime, RecoveryPhase};
use crate::domain::snapshot::{EvidenceFailure, EvidenceLevel};
use crate::domain::source::POSTGRES_PHYSICAL;
use crate::domain::units::{Bytes, Millis};
use crate::repo::{CheckOptions, Phase, ReadData, RepoError};
use crate::store::ErrorKind;

/// How many problems of a check are told one by one.
const PROBLEMS_KEPT: usize = 5;

/// How far to prove a snapshot, and how.
#[derive(Debug, Clone)]
pub struct VerifyJob {
    /// The recovery's id; names the scratch place.
    pub id: String,
    /// The level to reach.
    pub level: EvidenceLevel,
    /// Questions put to a restored database.
    pub probes: Vec<SqlProbe>,
    /// Where scratch directories are made.
    pub scratch_dir: std::path::PathBuf,
}

/// One level of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedStep {
    /// The level.
    pub level: EvidenceLevel,
    /// What was found, or why the level could not be reached.
    pub result: Result<Vec<Finding>, EvidenceFailure>,
    /// Everything that was looked at, good and bad.
    pub findings: Vec<Finding>,
}

/// A verification that could be carried out; it says whether the snapshot is good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Level by level; only the last can have failed.
    pub steps: Vec<VerifiedStep>,
    /// How long each phase took.
    pub phases: Vec<PhaseTime>,
    /// Bytes written to the scratch place.
    pub written: Bytes,
    /// Files or tables restored there.
    pub items: u64,
    /// Bytes of log replayed there.
    pub replayed: Bytes,
}

impl Verified {
    /// The highest level that was proved.
    pub fn level(&self) -> Option<EvidenceLevel> {
        self.steps
            .iter()
            .filter(|step| step.result.is_ok())
            .map(|step| step.level)
            .max()
    }

    /// What did not hold.
    pub fn failure(&self) -> Option<&EvidenceFailure> {
        self.steps.iter().find_map(|step| step.result.as_ref().err())
    }

    /// Everything that was looked at.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.steps.iter().flat_map(|step| &step.findings)
    }
}

/// Whatever proves one kind of snapshot.
enum Proof {
    Database(Box<DatabaseProof>),
    Cluster(Box<ClusterProof>),
    Files(files::Proof),
}

impl Proof {
    async fn begin(subject: &Subject, job: &VerifyJob, work: &Work<'_>) -> Result<Self, SourceError> {
        if subject.snapshot.kind == "postgres-dump" {
            let login = subject.scratch_login()?;
            return Ok(Self::Database(Box::new(
                DatabaseProof::begin(subject, login, work).await?,
            )));
        }
        if subject.snapshot.kind == POSTGRES_PHYSICAL {
            return Ok(Self::Cluster(Box::new(ClusterProof::begin(subject, work).await?)));
        }
        Ok(Self::Files(files::Proof::new(subject, job)))
    }

    async fn step(
        &mut self,
        level: EvidenceLevel,
        subject: &Subject,
        job: &VerifyJob,
        work: &Work<'_>,
    ) -> Result<Vec<Finding>, SourceError> {
        match (self, level) {
            (_, EvidenceLevel::Written | EvidenceLevel::Checksummed) => checksum(&subject.snapshot.id, work).await,
            (Self::Database(proof), EvidenceLevel::Decoded) => proof.decode(work).await,
            (Self::Database(proof), EvidenceLevel::Restored) => proof.restore(&job.id, &subject.host, work).await,
            (Self::Database(proof), EvidenceLevel::Probed) => proof.probe(&job.probes, work).await,
            (Self::Cluster(proof), EvidenceLevel::Decoded) => proof.decode(work).await,
            (Self::Cluster(proof), EvidenceLevel::Restored) => Box::pin(proof.restore(subject, job, work)).await,
            (Self::Cluster(proof), EvidenceLevel::Probed) => proof.probe(subject, &job.probes, work).await,
            (Self::Files(proof), EvidenceLevel::Decoded) => proof.decode(work).await,
            (Self::Files(proof), EvidenceLevel::Restored) => proof.restore(subject, job, work).await,
            (Self::Files(proof), EvidenceLevel::Probed) => proof.probe(work).await,
        }
    }

    fn replayed(&self) -> Option<(Millis, Bytes)> {
        match self {
            Self::Cluster(proof) => proof.replayed(),
            Self::Database(_) | Self::Files(_) => None,
        }
    }

    fn size(&self) -> (Bytes, u64) {
        match self {
            Self::Database(proof) => proof.size(),
            Self::Cluster(proof) => proof.size(),
            Self::Files(proof) => proof.size(),
        }
    }

    async fn clean_up(&mut self) -> Result<(), SourceError> {
        match self {
            Self::Database(proof) => proof.clean_up().await,
            Self::Cluster(proof) => proof.clean_up().await,
            Self::Files(proof) => proof.clean_up(),
        }
    }
}

/// Proves a snapshot level by level, up to the one asked for or the first that does not hold.
///
/// Each level is announced as it is reached. An error means that the verification could not be carried out, and says
/// nothing about the snapshot; what was proved before it stays proved. The scratch place is removed in every case.
pub async fn verify(subject: &Subject, job: &VerifyJob, work: &Work<'_>) -> Result<Verified, SourceError> {
    let mut watch = Stopwatch::start(work);
    let mut proof = None;
    let mut verified = Verified::default();
    let result = climb(subject, job, work, &mut watch, &mut proof, &mut verified).await;
    watch.reached(RecoveryPhase::Cleanup);
    if let Some(proof) = &mut proof {
        let removed = proof.clean_up().await;
        result?;
        removed?;
    } else {
        result?;
    }
    verified.phases = watch.stop();
    work.progress.set_phase(Phase::Done);
    Ok(verified)
}

async fn climb(
    subject: &Subject,
    job: &VerifyJob,
    work: &Work<'_>,
    watch: &mut Stopwatch<'_>,
    proof: &mut Option<Proof>,
    verified: &mut Verified,
) -> Result<(), SourceError> {
    for level in EvidenceLevel::ALL {
        if level == EvidenceLevel::Written || level > job.level {
            continue;
        }
        watch.reached(match level {
            EvidenceLevel::Restored => RecoveryPhase::Restore,
            _ => RecoveryPhase::Verify,
        });
        let outcome = match (level, proof.as_mut()) {
            (EvidenceLevel::Checksummed, _) => checksum(&subject.snapshot.id, work).await,
            (_, Some(proof)) => proof.step(level, subject, job, work).await,
            (_, None) => match Proof::begin(subject, job, work).await {
                Ok(begun) => proof.insert(begun).step(level, subject, job, work).await,
                Err(error) => Err(error),
            },
        };
        if level == EvidenceLevel::Restored && outcome.is_ok() {
            (verified.written, verified.items) = proof.as_ref().map_or((Bytes(0), 0), Proof::size);
            // Replaying came after laying down within this level, and is a phase of its own.
            if let Some((took, bytes)) = proof.as_ref().and_then(Proof::replayed) {
                watch.split(RecoveryPhase::Replay, took);
                verified.replayed = bytes;
            }
        }
        let step = judge(level, outcome, work.clock)?;
        match &step.result {
            Ok(findings) => (work.reached)(Milestone::Proved(level, findings.clone())),
            Err(failure) => (work.reached)(Milestone::Refuted(failure.clone())),
        }
        let refuted = step.result.is_err();
        verified.steps.push(step);
        if refuted {
            return Ok(());
        }
    }
    Ok(())
}

/// Turns what was found into a level reached or refuted, or hands on an error that says nothing about the snapshot.
fn judge(
    level: EvidenceLevel,
    outcome: Result<Vec<Finding>, SourceError>,
    clock: &Clock,
) -> Result<VerifiedStep, SourceError> {
    let failed = |message: String| EvidenceFailure {
        level,
        at: clock.now(),
        message,
    };
    match outcome {
        Ok(findings) => {
            let wrong: Vec<String> = findings
                .iter()
                .filter(|finding| !finding.ok)
                .map(|finding| format!("{}: {}", finding.what, finding.detail))
                .collect();
            let result = if wrong.is_empty() {
                Ok(findings.clone())
            } else {
                Err(failed(wrong.join("; ")))
            };
            Ok(VerifiedStep {
                level,
                result,
                findings,
            })
        }
        Err(error) if refutes(&error) => Ok(VerifiedStep {
            level,
            result: Err(failed(error.to_string())),
            findings: Vec::new(),
        }),
        Err(error) => Err(error),
    }
}

/// Whether an error is the snapshot's fault rather than the fault of the place where it was tried.
fn refutes(error: &SourceError) -> bool {
    match error {
        SourceError::Snapshot { .. }
        | SourceError::Physical(PhysicalError::Malformed { .. } | PhysicalError::Incomplete { missing: true, .. })
        | SourceError::Repo(RepoError::Damaged { .. } | RepoError::MissingBlob { .. } | RepoError::NoSuchPath { .. }) => {
            true
        }
        SourceError::Repo(RepoError::Store(error)) => {
            matches!(error.kind, ErrorKind::NotFound | ErrorKind::ShortRead)
        }
        SourceError::Child { stderr, .. } => {
            const ENVIRONMENT: [&str; 12] = [
                "No space left",
                "permission denied",
                "must be superuser",
                "must be owner",
                "connection to server",
                "server closed the connection",
                "terminating connection",
                "the database system is",
                "could not connect",
                "is not available",
                "out of memory",
                "out of shared memory",
            ];
            !ENVIRONMENT.iter().any(|words| stderr.contains(words))
        }
        _ => false,
    }
}

/// Reads every blob the snapshot needs and compares it with its hash.
pub(super) async fn checksum(snapshot: &SnapshotId, work: &Work<'_>) -> Result<Vec<Finding>, SourceError> {
    work.progress.set_current("reading every blob");
    let options = CheckOptions {
        read_data: ReadData::All,
        snapshot: Some(snapshot.0.clone()),
    };
    let report = work
        .repo
        .check(options, work.progress.clone(), work.cancel.clone())
        .await?;
    let mut told: Vec<String> = report
        .errors
        .iter()
        .take(PROBLEMS_KEPT)
        .map(|problem| format!("{} {}: {}", problem.kind, problem.file, problem.message))
        .collect();
    if report.errors.len() > PROBLEMS_KEPT {
        told.push(format!("and {} more", report.errors.len() - PROBLEMS_KEPT));
    }
    Ok(vec![Finding {
        what: "every blob read and hashed".to_owned(),
        ok: report.is_sound(),
        detail: if report.is_sound() {
            format!(
                "{} blobs in {} packs, {}",
                report.blobs_read,
                report.packs_read,
                Bytes(report.bytes_read)
            )
        } else {
            told.join("; ")
        },
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(stderr: &str) -> SourceError {
        SourceError::Child {
            program: "pg_restore",
            subject: String::new(),
            status: String::new(),
            stderr: stderr.to_owned(),
        }
    }

    #[test]
    fn a_scratch_server_that_is_down_does_not_refute_a_backup() {
        assert!(!refutes(&child(
            "error: could not execute query: ERROR: could not extend file: No space left on device"
        )));
        assert!(!refutes(&child("server closed the connection unexpectedly")));
        assert!(!refutes(&SourceError::Cancelled));
        assert!(refutes(&child("pg_restore: error: unexpected end of file")));
        assert!(refutes(&SourceError::Repo(RepoError::MissingBlob {
            blob: String::new()
        })));
    }

    #[test]
    fn one_finding_that_does_not_hold_refutes_the_level() {
        let finding = |ok| Finding {
            what: "orders".to_owned(),
            ok,
            detail: "3, expected 4".to_owned(),
        };
        let clock = Clock::system();
        let step = judge(EvidenceLevel::Probed, Ok(vec![finding(true), finding(false)]), &clock).unwrap();
        assert_eq!(step.result.unwrap_err().message, "orders: 3, expected 4");
        assert_eq!(step.findings.len(), 2);
    }
}
