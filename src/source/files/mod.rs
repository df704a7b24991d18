//! Files of this machine: backed up through the repository's pipeline, restored to a directory, proved in a scratch one.

mod proof;

use std::fs;
use std::path::Path;

pub(super) use proof::Proof;

use super::backup::Finished;
use super::manifest::{Manifest, labels};
use super::postgres::server::refuse_in_use;
use super::recovery::{PlanParts, Restored, Stopwatch, quote};
use super::{BackupJob, SourceError, Subject, Work};
use crate::domain::recovery::{Finding, RecoveryPhase, RecoveryTarget};
use crate::domain::source::{FilesSource, Source};
use crate::domain::units::Bytes;
use crate::repo::{BackupOptions, Phase, RestoreOptions};

/// Backs up files and directories.
pub(super) async fn back_up(
    source: &Source,
    files: &FilesSource,
    job: &BackupJob,
    work: &Work<'_>,
) -> Result<Finished, SourceError> {
    // A file may change while the tree is read; only what was there when reading began is promised.
    let taken_at = work.clock.now();
    let mut manifest = Manifest::new(source, job, taken_at);
    manifest.subject = files.paths.iter().map(|path| path.display().to_string()).collect();
    let description = match serde_json::to_value(&manifest) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let options = BackupOptions {
        paths: files.paths.clone(),
        excludes: files.exclude.clone(),
        one_file_system: files.one_file_system,
        tags: labels(source, &job.job, &job.run)
            .into_iter()
            .chain(job.tags.iter().cloned())
            .collect(),
        comment: job.comment.clone(),
        hostname: Some(job.host.clone()),
        description,
        memory_budget_bytes: job.memory_budget.0,
        ..BackupOptions::default()
    };
    let result = work
        .repo
        .backup(options, work.progress.clone(), work.cancel.clone())
        .await?;
    Ok(Finished {
        result,
        taken_at,
        database: None,
        cluster: None,
        errors: Vec::new(),
        warning: None,
    })
}

/// Says what a restore to a directory would do.
pub(super) async fn plan(
    subject: &Subject,
    target: &RecoveryTarget,
    work: &Work<'_>,
) -> Result<PlanParts, SourceError> {
    let options = options(subject, target)?;
    let plan = work.repo.plan_restore(&options).await?;
    let free = free_space(&options.target);
    let mut parts = PlanParts {
        target_identity: format!(
            "{} on {}, written as {}",
            options.target.display(),
            subject.host,
            user_name()
        ),
        items: plan.files,
        fetch: Bytes(plan.bytes_to_fetch),
        write: Bytes(plan.bytes_to_write),
        overwrites: plan.overwritten,
        overwrites_sample: plan.overwritten_names,
        target_free: free,
        undo: if plan.overwritten == 0 {
            "remove what was written; nothing that exists is changed".to_owned()
        } else {
            "no undo: overwritten files are gone unless another snapshot holds them".to_owned()
        },
        restic_command: restic_command(subject, &options),
        ..PlanParts::default()
    };
    if let Some(free) = free.filter(|free| free.0 < plan.bytes_to_write) {
        parts.blockers.push(format!(
            "{} are needed at {}, {free} are free",
            parts.write,
            options.target.display()
        ));
    }
    let found = plan.files + plan.dirs + plan.others + plan.unchanged + plan.kept;
    if found == 0 && !options.include.is_empty() {
        parts
            .blockers
            .push("nothing in the snapshot matches what was chosen".to_owned());
    }
    if options.target.join("PG_VERSION").exists()
        && let Err(error) = refuse_in_use(&options.target)
    {
        parts.blockers.push(error.to_string());
    }
    if fs::symlink_metadata(&options.target).is_ok_and(|found| !found.is_dir()) {
        parts
            .blockers
            .push(format!("{} exists and is not a directory", options.target.display()));
    }
    if plan.overwritten > 0 {
        parts
            .warnings
            .push(format!("{} existing files will be overwritten", plan.overwritten));
    }
    Ok(parts)
}

/// Restores to a directory.
pub(super) async fn restore(
    subject: &Subject,
    target: &RecoveryTarget,
    work: &Work<'_>,
) -> Result<Restored, SourceError> {
    let mut watch = Stopwatch::start(work);
    let options = options(subject, target)?;
    let parts = work.cancellable(plan(subject, target, work)).await?;
    if let Some(blocker) = parts.blockers.first() {
        return Err(SourceError::Invalid {
            what: format!("cannot restore to {}: {blocker}", options.target.display()),
            hint: Some("choose another directory".to_owned()),
        });
    }
    watch.reached(RecoveryPhase::Restore);
    let place = options.target.display().to_string();
    let result = work
        .repo
        .restore(options, work.progress.clone(), work.cancel.clone())
        .await?;
    let errors: Vec<String> = result
        .errors
        .iter()
        .map(|error| format!("{}: {}", error.path, error.message))
        .collect();
    work.progress.set_phase(Phase::Done);
    Ok(Restored {
        left: None,
        written: Bytes(result.bytes),
        replayed: Bytes(0),
        items: result.files,
        findings: vec![Finding {
            what: "files read back and compared".to_owned(),
            ok: errors.is_empty(),
            detail: format!(
                "{} written, {} were the same already, {} read back, {} not restored, at {place}",
                result.files,
                result.unchanged,
                result.verified,
                errors.len()
            ),
        }],
        phases: watch.stop(),
        errors,
    })
}

fn options(subject: &Subject, target: &RecoveryTarget) -> Result<RestoreOptions, SourceError> {
    let RecoveryTarget::Directory {
        path,
        include,
        subpath,
        delta,
        quick,
        ..
    } = target
    else {
        return Err(SourceError::Invalid {
            what: format!(
                "snapshot {} holds files; they go to a directory",
                subject.snapshot.id.short()
            ),
            hint: None,
        });
    };
    if !path.is_absolute() {
        return Err(SourceError::Invalid {
            what: format!("{} is not an absolute path", path.display()),
            hint: Some("the agent has another working directory than you; write the path from /".to_owned()),
        });
    }
    Ok(RestoreOptions {
        subpath: subpath.clone(),
        include: include.clone(),
        delta: *delta,
        quick: *quick,
        verify: true,
        ..RestoreOptions::new(subject.snapshot.id.0.clone(), path)
    })
}

fn restic_command(subject: &Subject, options: &RestoreOptions) -> String {
    let id = subject.snapshot.id.short();
    let target = options.target.to_string_lossy();
    let mut include = options.include.clone();
    let (snapshot, target) = match &options.subpath {
        None => (id.to_owned(), target.into_owned()),
        // Every restic can put a path back in its place; only those from 0.16 on can choose the top of the tree.
        Some(path) => match target.strip_suffix(path.trim_end_matches('/')) {
            Some(root) if include.is_empty() => {
                include.push(path.clone());
                (
                    id.to_owned(),
                    if root.is_empty() {
                        "/".to_owned()
                    } else {
                        root.to_owned()
                    },
                )
            }
            _ => (format!("{id}:{path}"), target.into_owned()),
        },
    };
    let (url, snapshot, target) = (quote(&subject.repository_url), quote(&snapshot), quote(&target));
    let mut command = format!("restic -r {url} restore {snapshot} --target {target}");
    for pattern in &include {
        command.push_str(" --include ");
        command.push_str(&quote(pattern));
    }
    command
}

/// What is free on the file system that a path is, or will be, on.
pub(super) fn free_space(path: &Path) -> Option<Bytes> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let room = rustix::fs::statvfs(existing).ok()?;
    Some(Bytes(room.f_bavail.saturating_mul(room.f_frsize)))
}

fn user_name() -> String {
    let uid = nix::unistd::geteuid();
    let name = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
    name.unwrap_or_else(|| format!("user {uid}"))
}
