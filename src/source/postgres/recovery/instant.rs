//! A recovery to an instant, as the engine asks for it: planned, carried out, and measured in two phases.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::follow_up::{psql, seen_of};
use super::order::{self, Order};
use super::{
    Earlier, Known, Note, Phase as NotePhase, RecoveryError, Replay, Replayed, Seen, Standing, Then, bases, home_of,
    replay,
};
use crate::domain::pitr::{self, Plan, Refusal, Target, Wish};
use crate::domain::recovery::{Finding, InstantWish, RecoveryPhase, RecoveryTarget};
use crate::domain::source::SourceKind;
use crate::domain::units::Bytes;
use crate::domain::wal::SystemId;
use crate::repo::{Phase, Progress};
use crate::source::postgres::physical;
use crate::source::postgres::wal::WalArchive;
use crate::source::recovery::{PlanParts, Restored, Stopwatch, quote};
use crate::source::{SourceError, Subject, Work};

/// The archive of the cluster a snapshot holds, and what can be recovered of it.
async fn known(subject: &Subject, work: &Work<'_>) -> Result<(WalArchive, Known), RecoveryError> {
    let system = system(subject)?;
    let archive = WalArchive::new(work.repo.clone(), system);
    let found = bases(work.repo, None, Some(system)).await?;
    Ok((archive.clone(), Known::of(found.found, &archive).await?))
}

fn system(subject: &Subject) -> Result<SystemId, SourceError> {
    let facts = subject.snapshot.cluster.as_ref();
    facts.map(|facts| facts.system).ok_or_else(|| SourceError::Invalid {
        what: format!("snapshot {} holds no cluster", subject.snapshot.id.short()),
        hint: Some("only a snapshot of the kind postgres-physical can go on to an instant".to_owned()),
    })
}

fn wish(subject: &Subject, instant: &InstantWish, any_base: bool) -> Wish {
    Wish {
        target: instant.to.clone(),
        inclusive: instant.inclusive,
        timeline: instant.timeline,
        base: (!any_base).then(|| subject.snapshot.id.clone()),
    }
}

/// Says what a recovery to an instant would do; the snapshot it begins from may be another than the subject's.
pub(in crate::source) async fn plan(
    subject: &Subject,
    target: &RecoveryTarget,
    instant: &InstantWish,
    work: &Work<'_>,
) -> Result<PlanParts, SourceError> {
    let (archive, known) = known(subject, work).await.map_err(of_recovery)?;
    let wish = wish(subject, instant, instant.any_base);
    let plan = match known.plan(&wish, &archive).await {
        Ok(plan) => plan,
        // That there is no way is what the plan says.
        Err(RecoveryError::Refused(refusal)) => {
            return Ok(PlanParts {
                target_identity: target.display(),
                blockers: vec![format!("{refusal} ({})", refusal.hint())],
                undo: "nothing to undo: there is no plan".to_owned(),
                ..PlanParts::default()
            });
        }
        Err(error) => return Err(of_recovery(error)),
    };
    let mut from = subject.clone();
    from.snapshot.id = plan.base.clone();
    let mut parts = physical::plan(
        &from,
        target,
        is_begun(subject, target, &archive).map_err(of_recovery)?,
        work,
    )
    .await?;
    parts.replay = Some(plan.replay);
    parts.fetch.0 += plan.replay.0;
    let end = if instant.open {
        "the server is opened there for writing, on a timeline of its own"
    } else {
        "the server is paused there for you to look; nothing writes to it until it is opened"
    };
    parts.warnings.push(format!(
        "{} of log is replayed from {}, up to {} on timeline {}; {end}",
        plan.replay,
        pitr::instant(plan.base_at),
        plan.target,
        plan.timeline
    ));
    let place = match target {
        RecoveryTarget::Directory { path, .. } => quote(&path.to_string_lossy()),
        _ => String::new(),
    };
    parts.undo = format!("lifeboat recover --discard {place}; production is not touched");
    parts
        .restic_command
        .push_str("; then replay the log with PostgreSQL's own restore_command");
    parts.base = Some(plan.base);
    Ok(parts)
}

/// Whether what is in the place was begun for the same owner, so that a server on it is one that the recovery ends by itself.
fn is_begun(subject: &Subject, target: &RecoveryTarget, archive: &WalArchive) -> Result<bool, RecoveryError> {
    let RecoveryTarget::Directory { path, .. } = target else {
        return Ok(false);
    };
    let note = Note::read(&home_of(path))?;
    Ok(note.is_some_and(|note| {
        let begun = note.phase != NotePhase::Opened && note.system == archive.system();
        begun && note.owner.is_some() && note.owner == subject.owner
    }))
}

/// Recovers a cluster into a directory and leaves its server there: paused at the instant, or open.
pub(in crate::source) async fn restore(
    subject: &Subject,
    target: &RecoveryTarget,
    instant: &InstantWish,
    work: &Work<'_>,
) -> Result<Restored, SourceError> {
    let RecoveryTarget::Directory {
        path,
        delta,
        tablespaces,
        ..
    } = target
    else {
        return Err(SourceError::Invalid {
            what: "a cluster is recovered into a directory".to_owned(),
            hint: None,
        });
    };
    let mut watch = Stopwatch::start(work);
    let recovering = async {
        let (archive, known) = known(subject, work).await?;
        let plan = known.plan(&wish(subject, instant, false), &archive).await?;
        let settings = cluster_of(subject);
        let order = Order {
            archive,
            plan,
            target: path.clone(),
            delta: *delta,
            tablespaces: tablespaces.clone(),
            then: if instant.open { Then::Open } else { Then::Pause },
            roles: order::roles(None, settings.map(|settings| settings.connection.user.as_str())),
            bin_dir: settings.and_then(|settings| settings.connection.bin_dir.clone()),
            settings: Vec::new(),
            repository: Some(subject.repository_url.clone()),
            source: subject.snapshot.source.as_ref().map(ToString::to_string),
            owner: subject.owner.clone(),
        };
        let (earlier, hold) = order.earlier(work.clock).await?;
        watch.reached(RecoveryPhase::Restore);
        let laid = order.lay(earlier, &hold, work).await?;
        watch.reached(RecoveryPhase::Replay);
        let tell = Teller::begin(&work.progress);
        let replayed = order
            .replay(&hold, work.clock, &work.cancel, &|seen| tell.tell(seen))
            .await?;
        Ok::<_, RecoveryError>((order, (earlier, hold), laid, replayed))
    };
    let (order, (earlier, _hold), laid, replayed) = recovering.await.map_err(of_recovery)?;
    work.progress.set_phase(Phase::Done);
    let mut findings = findings(&order.plan, &replayed);
    if earlier == Earlier::Laid {
        findings.push(finding(
            "what an earlier call had laid down",
            "was used again".to_owned(),
        ));
    }
    findings.extend(next_steps(&replayed, path));
    let done = replayed.seen.done;
    let left = seen_of(&replayed, &order.plan.target, order.plan.inclusive);
    replayed.server.keep().map_err(|error| of_recovery(error.into()))?;
    Ok(Restored {
        written: laid.as_ref().map_or(Bytes(0), |laid| laid.written),
        items: laid.as_ref().map_or(0, |laid| laid.files),
        replayed: done,
        findings,
        phases: watch.stop(),
        errors: Vec::new(),
        left: Some(left),
    })
}

/// Replays what a scratch place has been laid with, for a proof. A time behind the last transaction is the end of the log.
pub(in crate::source) async fn prove(
    subject: &Subject,
    instant: &InstantWish,
    data: &Path,
    home: &Path,
    work: &Work<'_>,
) -> Result<(Replayed, Vec<Finding>), SourceError> {
    let replaying = async {
        let (archive, known) = known(subject, work).await?;
        let mut wish = wish(subject, instant, false);
        let plan = match known.plan(&wish, &archive).await {
            Err(RecoveryError::Refused(Refusal::AfterLast { .. })) if matches!(wish.target, Target::Time(_)) => {
                wish.target = Target::Latest;
                known.plan(&wish, &archive).await?
            }
            planned => planned?,
        };
        let settings = cluster_of(subject);
        let order = Replay {
            plan,
            then: Then::Open,
            data: data.to_owned(),
            home: home.to_owned(),
            program: order::program()?,
            bin_dir: settings.and_then(|settings| settings.connection.bin_dir.clone()),
            roles: order::roles(None, settings.map(|settings| settings.connection.user.as_str())),
            // What a scratch copy writes need not survive anything.
            settings: vec!["fsync=off".to_owned()],
        };
        let tell = Teller::begin(&work.progress);
        let replayed = replay(&order, &archive, work.clock, &work.cancel, &|seen| tell.tell(seen)).await?;
        let findings = findings(&order.plan, &replayed);
        Ok::<_, RecoveryError>((replayed, findings))
    };
    Box::pin(replaying).await.map_err(of_recovery)
}

fn cluster_of(subject: &Subject) -> Option<&crate::domain::source::PhysicalSource> {
    subject.source.as_ref().and_then(|source| match &source.kind {
        SourceKind::PostgresPhysical(cluster) => Some(cluster),
        _ => None,
    })
}

fn finding(what: &str, detail: String) -> Finding {
    Finding {
        what: what.to_owned(),
        ok: true,
        detail,
    }
}

fn findings(plan: &Plan, replayed: &Replayed) -> Vec<Finding> {
    let commit = replayed.seen.last_commit.map_or_else(
        || "no transaction was completed since the base backup".to_owned(),
        |at| format!("the last transaction was completed at {}", pitr::instant(at)),
    );
    let lsn = replayed.seen.lsn.map_or_else(String::new, |lsn| format!(" at {lsn}"));
    vec![
        finding(
            "base backup",
            format!("{}, of {}", plan.base.short(), pitr::instant(plan.base_at)),
        ),
        finding(
            "replayed",
            format!(
                "{} up to {}{lsn} in {}; {commit}",
                plan.replay, plan.target, replayed.took
            ),
        ),
    ]
}

/// What whoever asked can do now, as commands.
fn next_steps(replayed: &Replayed, path: &Path) -> Vec<Finding> {
    let psql = psql(&replayed.server.connection());
    let place = quote(&path.to_string_lossy());
    let mut steps = vec![finding("look at it", psql)];
    if replayed.seen.standing == Standing::Paused {
        steps.push(finding(
            "open it for writing",
            format!("lifeboat recover --promote {place}"),
        ));
        steps.push(finding(
            "go on to a later instant",
            format!("lifeboat recover --resume {place} --to TIME"),
        ));
        steps.push(finding("throw it away", format!("lifeboat recover --discard {place}")));
    }
    steps
}

/// Shows a replay in the counters of the work, which begin anew: it is another kind of byte.
pub(super) struct Teller<'a>(&'a Progress);

impl<'a> Teller<'a> {
    pub(super) fn begin(progress: &'a Progress) -> Self {
        progress.set_phase(Phase::Copying);
        progress.set_current("starting a server on the copy");
        progress.files_total.store(0, Ordering::Relaxed);
        progress.files_done.store(0, Ordering::Relaxed);
        Self(progress)
    }

    pub(super) fn tell(&self, seen: &Seen) {
        self.0.bytes_total.store(seen.total.0, Ordering::Relaxed);
        self.0.bytes_done.store(seen.done.0, Ordering::Relaxed);
        let commit = seen.last_commit.map(|at| at.format(" %Y-%m-%d %H:%M:%S").to_string());
        let place = seen.lsn.map_or_else(|| "starting".to_owned(), |lsn| lsn.to_string());
        self.0
            .set_current(&format!("log {place}{}", commit.unwrap_or_default()));
    }
}

/// The reasons of a recovery in the words of its source.
fn of_recovery(error: RecoveryError) -> SourceError {
    use crate::source::postgres::wal::WalError;
    match error {
        RecoveryError::Source(error) | RecoveryError::Wal(WalError::Source(error)) => error,
        error if error.is_cancelled() => SourceError::Cancelled,
        error => SourceError::Invalid {
            what: error.to_string(),
            hint: error.hint(),
        },
    }
}
