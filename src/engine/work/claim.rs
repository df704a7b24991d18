//! Whose a half-written directory is: what a restore that was begun for a step has claimed, found by the next attempt of it.
//!
//! **A proof, not a guess.** A claim is durable before the first byte is written, and only of a directory that was not there or
//! was empty, so everything in it is from that restore or came later. It names the step, what is restored, and the directory
//! itself by its number and time of birth: one that was removed and made again by somebody else is not the one that was claimed.
//!
//! **What follows.** The same restore for the same step goes on with what is there. Anything else finds that the place is
//! taken, by what, and the command that clears it away; nothing here ever removes a directory.
//!
//! **Crash windows.** Killed between the claim and the directory, there is a claim of nothing, and the next attempt claims anew.
//! A claim outlives its restore: whether that was recorded is only known when the step is looked at again. Claims of directories
//! that are gone are swept when an agent begins.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::recovery::{RecoveryRequest, RecoveryTarget};
use crate::domain::run::Failure;
use crate::source::quote;

/// What tells one directory from another of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    number: u64,
    /// Nanoseconds since the epoch; none where the file system does not know.
    born: Option<u64>,
}

/// That a directory is being restored to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    owner: String,
    what: RecoveryRequest,
    directory: Identity,
    whole: bool,
}

/// What is in a place a restore is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing that anybody claims.
    Unclaimed,
    /// What the same restore for the same step has written.
    Ours,
    /// The beginning of another restore, and the words and the command for whoever is refused.
    Taken(Failure),
}

/// The claims of this machine's agent.
#[derive(Debug, Clone)]
pub(super) struct Claims(PathBuf);

impl Claims {
    /// Those below a state directory.
    pub(super) fn of(state_dir: &Path) -> Self {
        Self(state_dir.join("restores"))
    }

    /// What is there for a restore; only one into a directory that says why it is done has a claim.
    pub(super) fn look(&self, request: &RecoveryRequest) -> Place {
        let Some((path, owner)) = subject(request) else {
            return Place::Unclaimed;
        };
        match self.read(path) {
            Some(claim) if claim.owner == owner && claim.what == essence(request) => Place::Ours,
            Some(claim) if !claim.whole => Place::Taken(taken(path, &claim)),
            _ => Place::Unclaimed,
        }
    }

    /// What is in a directory, for a step that asks whether it is there.
    pub(super) fn look_at(&self, path: &Path, owner: &str) -> Place {
        match self.read(path) {
            Some(claim) if claim.owner == owner => Place::Ours,
            Some(claim) if !claim.whole => Place::Taken(taken(path, &claim)),
            _ => Place::Unclaimed,
        }
    }

    /// Claims a directory that is not there, or is empty; one that holds anything is not claimed. Durable when it returns.
    pub(super) fn take(&self, request: &RecoveryRequest) -> Result<(), Failure> {
        let Some((path, owner)) = subject(request) else {
            return Ok(());
        };
        let failed = |error: std::io::Error| Failure {
            message: format!(
                "it cannot be noted that {} is being restored to: {error}",
                path.display()
            ),
            hint: Some("look at what is free and who may write there".to_owned()),
            retryable: true,
        };
        match path.read_dir() {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
                DirBuilder::new().mode(0o700).create(path).map_err(failed)?;
            }
            // What is wrong with it is the restore's to say.
            Err(_) => return Ok(()),
        }
        let Some(directory) = identity(path) else { return Ok(()) };
        let claim = Claim {
            owner: owner.to_owned(),
            what: essence(request),
            directory,
            whole: false,
        };
        self.write(path, &claim).map_err(failed)
    }

    /// Notes that everything is there: the place is not half-written any more.
    pub(super) fn whole(&self, request: &RecoveryRequest) {
        let Some((path, owner)) = subject(request) else { return };
        let Some(claim) = self.read(path).filter(|claim| claim.owner == owner) else {
            return;
        };
        // A claim that stays half-written is gone on with in vain, and refused to others with the reason.
        let _ = self.write(path, &Claim { whole: true, ..claim });
    }

    /// Forgets the claims of directories that are gone.
    pub(super) fn sweep(&self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let text = fs::read(entry.path()).unwrap_or_default();
            let claim = serde_json::from_slice::<Claim>(&text).ok();
            let gone = claim.is_none_or(|claim| match subject(&claim.what) {
                Some((path, _)) => identity(path) != Some(claim.directory),
                None => true,
            });
            if gone {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The claim of a directory that is still the one that was claimed.
    fn read(&self, path: &Path) -> Option<Claim> {
        let text = fs::read(self.file(path)).ok()?;
        let claim: Claim = serde_json::from_slice(&text).ok()?;
        (identity(path) == Some(claim.directory)).then_some(claim)
    }

    fn write(&self, path: &Path, claim: &Claim) -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let (file, temp) = (self.file(path), self.file(path).with_extension("new"));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut open = options.open(&temp)?;
        open.write_all(&serde_json::to_vec(claim)?)?;
        open.sync_all()?;
        fs::rename(temp, file)?;
        File::open(&self.0)?.sync_all()
    }

    fn file(&self, path: &Path) -> PathBuf {
        let name = hex::encode(&Sha256::digest(path.as_os_str().as_encoded_bytes())[..16]);
        self.0.join(format!("{name}.json"))
    }
}

/// The directory of a restore, and who it is for.
fn subject(request: &RecoveryRequest) -> Option<(&Path, &str)> {
    match (&request.target, &request.reason) {
        // A recovery to an instant has a note of its own beside its copy.
        (RecoveryTarget::Directory { path, .. }, Some(reason)) if request.instant.is_none() => Some((path, reason)),
        _ => None,
    }
}

/// What a restore brings, without what says how.
fn essence(request: &RecoveryRequest) -> RecoveryRequest {
    let mut request = request.clone();
    request.plan_digest = None;
    if let RecoveryTarget::Directory { delta, quick, .. } = &mut request.target {
        (*delta, *quick) = (false, false);
    }
    request
}

/// The same restore, going on with what is there.
pub(super) fn going_on(target: &RecoveryTarget) -> RecoveryTarget {
    let mut target = target.clone();
    if let RecoveryTarget::Directory { delta, .. } = &mut target {
        *delta = true;
    }
    target
}

fn taken(path: &Path, claim: &Claim) -> Failure {
    Failure::permanent(
        format!(
            "{} holds the beginning of snapshot {}, which was being restored there for {} and was cut off",
            path.display(),
            claim.what.snapshot.short(),
            claim.owner
        ),
        format!(
            "go on with that one, or clear it away: rm -r -- {}",
            quote(&path.to_string_lossy())
        ),
    )
}

fn identity(path: &Path) -> Option<Identity> {
    let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir)?;
    let born = meta.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Some(Identity {
        number: meta.ino(),
        born: born.and_then(|since| u64::try_from(since.as_nanos()).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &Path, snapshot: &str, reason: &str) -> RecoveryRequest {
        RecoveryRequest {
            snapshot: snapshot.into(),
            repository: "near".into(),
            target: RecoveryTarget::Directory {
                path: path.to_owned(),
                include: Vec::new(),
                subpath: None,
                delta: false,
                quick: false,
                tablespaces: Vec::new(),
            },
            instant: None,
            reason: Some(reason.to_owned()),
            plan_digest: None,
        }
    }

    #[test]
    fn only_the_same_restore_for_the_same_step_goes_on_with_what_was_claimed_before_its_first_byte() {
        let dir = tempfile::tempdir().unwrap();
        let (claims, path) = (Claims::of(dir.path()), dir.path().join("back"));
        let ours = request(&path, "aa11", "rb-1, step restore");
        assert_eq!(claims.look(&ours), Place::Unclaimed);
        claims.take(&ours).unwrap();
        fs::write(path.join("half"), "ha").unwrap();
        assert_eq!(claims.look(&ours), Place::Ours);
        let going_on = RecoveryRequest {
            target: going_on(&ours.target),
            plan_digest: Some("x".to_owned()),
            ..ours.clone()
        };
        assert_eq!(claims.look(&going_on), Place::Ours, "how it goes on is no matter");
        assert_eq!(claims.look_at(&path, "rb-1, step restore"), Place::Ours);
        for other in [
            request(&path, "bb22", "rb-1, step restore"),
            request(&path, "aa11", "rb-2, step restore"),
        ] {
            let Place::Taken(why) = claims.look(&other) else {
                panic!("{other:?}")
            };
            let command = format!("rm -r -- {}", path.display());
            assert!(why.message.contains("rb-1, step restore"), "{why}");
            assert!(why.hint.is_some_and(|hint| hint.ends_with(&command)));
        }
        // What is whole is nobody's beginning.
        claims.whole(&ours);
        assert_eq!(claims.look(&ours), Place::Ours);
        assert_eq!(
            claims.look(&request(&path, "aa11", "rb-2, step restore")),
            Place::Unclaimed
        );
    }

    #[test]
    fn a_directory_that_held_something_or_was_made_again_is_nobody_s() {
        let dir = tempfile::tempdir().unwrap();
        let (claims, path) = (Claims::of(dir.path()), dir.path().join("back"));
        let ours = request(&path, "aa11", "rb-1, step restore");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("letter"), "dear").unwrap();
        claims.take(&ours).unwrap();
        assert_eq!(claims.look(&ours), Place::Unclaimed, "somebody's letter is in it");
        fs::remove_file(path.join("letter")).unwrap();
        claims.take(&ours).unwrap();
        assert_eq!(claims.look(&ours), Place::Ours);
        fs::rename(&path, dir.path().join("aside")).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(claims.look(&ours), Place::Unclaimed, "it is another directory");
        claims.sweep();
        assert_eq!(fs::read_dir(&claims.0).unwrap().count(), 0);
    }
}
