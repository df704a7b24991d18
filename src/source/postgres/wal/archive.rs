//! One cluster's part of an archive: put, get, list.
//!
//! **Crash windows.** A put that did not return may have happened: the same content is then accepted again. Between the put
//! of a longer growing segment and the removal of the shorter, both are there: the longest counts, and the next put removes
//! what is shorter. A whole segment that came while its growing form is still there counts before it.
//!
//! **Split brain.** Different content under one name is refused, and a note of the refusal is left in the archive, so that
//! a report still shows it when the log of the server that was refused is gone.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::file::Content;
use super::object::{self, Effort, Header};
use super::prune::MARK;
use super::remember::Remembered;
use super::{WalError, fetch, page};
use crate::domain::wal::{History, SegmentName, SegmentSize, SystemId, TimelineId, WalName};
use crate::repo::sealed::Put;
use crate::repo::{RepoError, Repository};

/// The folder of all archives, with the slash.
pub(super) const FOLDER: &str = "wal/";
/// The object that says what holds for a whole system.
const ABOUT: &str = "about";

/// How a put ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archived {
    /// It is new in the archive.
    New,
    /// The archive had it already, with the same content.
    Already,
    /// The archive has a longer form of the same growing segment.
    Longer,
}

/// What one name in an archive stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file of the log.
    File(WalName),
    /// The beginning of a segment that was still growing: so many bytes.
    Growing(SegmentName, u64),
    /// A file that was refused, because another content had its name.
    Conflict(WalName),
    /// Nothing of ours.
    Strange(String),
}

/// One object of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub entry: Entry,
    /// What it takes in the store, in bytes.
    pub stored: u64,
}

/// What holds for all files of a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    segment_size: SegmentSize,
}

/// A file as it came out of the archive.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Its content.
    pub bytes: Vec<u8>,
    /// When it was archived.
    pub at: DateTime<Utc>,
}

/// One cluster's part of an archive; cheap to clone.
#[derive(Debug, Clone)]
pub struct WalArchive {
    repo: Repository,
    system: SystemId,
    remembered: Remembered,
    effort: Effort,
}

impl WalArchive {
    /// The part of a cluster.
    pub fn new(repo: Repository, system: SystemId) -> Self {
        Self {
            repo,
            system,
            remembered: Remembered::default(),
            effort: Effort::Thorough,
        }
    }

    /// The same, with what others have read already of what never changes.
    #[must_use]
    pub fn remembering(self, remembered: Remembered) -> Self {
        Self { remembered, ..self }
    }

    /// The same, for somebody who is behind: what is put takes a half less time, and some more room.
    pub(super) fn hurried(&self) -> Self {
        Self {
            effort: Effort::Hurried,
            ..self.clone()
        }
    }

    /// The clusters that an archive holds anything of.
    pub async fn systems(repo: &Repository) -> Result<Vec<SystemId>, WalError> {
        let objects = repo.list_sealed(FOLDER).await?;
        let name = |key: &str| key.strip_prefix(FOLDER)?.split('/').next()?.parse().ok();
        let mut systems: Vec<SystemId> = objects.iter().filter_map(|object| name(&object.key)).collect();
        systems.sort_unstable();
        systems.dedup();
        Ok(systems)
    }

    /// The cluster.
    pub fn system(&self) -> SystemId {
        self.system
    }

    /// The repository it is in.
    pub fn repo(&self) -> &Repository {
        &self.repo
    }

    pub(super) fn key(&self, timeline: TimelineId, name: &str) -> String {
        format!("{FOLDER}{}/{}/{name}", self.system, timeline.hex())
    }

    /// The size of the segments of this cluster; none while nothing was archived.
    pub async fn segment_size(&self) -> Result<Option<SegmentSize>, WalError> {
        if let Some(size) = self.remembered.size(self.repo.id(), self.system) {
            return Ok(Some(size));
        }
        let key = format!("{FOLDER}{}/{ABOUT}", self.system);
        let Some((_, content)) = self.load(&key, ABOUT).await? else {
            return Ok(None);
        };
        let about: About = serde_json::from_slice(&content)
            .map_err(|error| RepoError::damaged(format!("WAL object {ABOUT}"), error.to_string()))?;
        self.remembered
            .set_size(self.repo.id(), self.system, about.segment_size);
        Ok(Some(about.segment_size))
    }

    /// What a timeline descends from; none when the archive has no history of it.
    pub async fn history(&self, timeline: TimelineId) -> Result<Option<History>, WalError> {
        if let Some(history) = self.remembered.history(self.repo.id(), self.system, timeline) {
            return Ok(Some(history));
        }
        let name = WalName::History(timeline);
        let Some(fetched) = self.get(name).await? else {
            return Ok(None);
        };
        let history = History::parse(timeline, &String::from_utf8_lossy(&fetched.bytes));
        let history = history.map_err(|error| WalError::Corrupt {
            file: name.to_string(),
            why: error.to_string(),
        })?;
        self.remembered
            .set_history(self.repo.id(), self.system, history.clone());
        Ok(Some(history))
    }

    /// Notes the size of the segments before the first of them; another size than the one noted is another cluster.
    pub async fn ensure(&self, size: SegmentSize) -> Result<(), WalError> {
        let known = if let Some(known) = self.segment_size().await? {
            known
        } else {
            let about = serde_json::to_vec(&About { segment_size: size });
            let about = about.map_err(|error| RepoError::internal(error.to_string()))?;
            let key = format!("{FOLDER}{}/{ABOUT}", self.system);
            match self.store(&key, ABOUT.to_owned(), about).await?.0 {
                Put::Stored => size,
                // Somebody else was first, with whatever size.
                Put::Exists => self.segment_size().await?.unwrap_or(size),
            }
        };
        if known == size {
            return Ok(());
        }
        Err(WalError::Invalid {
            what: format!(
                "system {} was archived with segments of {} bytes, these have {}",
                self.system,
                known.bytes(),
                size.bytes()
            ),
            hint: "after pg_resetwal changed the size of the segments, archive to another repository and take a new backup",
        })
    }

    /// Archives a file; durable and verified when it returns. The same content again is accepted.
    pub async fn put(&self, content: Content) -> Result<Archived, WalError> {
        let Content { name, bytes, .. } = content;
        let key = self.key(name.timeline(), &name.to_string());
        let (put, sha256) = self.store(&key, name.to_string(), bytes).await?;
        if put == Put::Stored {
            return Ok(Archived::New);
        }
        match self.load(&key, &name.to_string()).await? {
            Some((header, _)) if header.sha256 == sha256 => Ok(Archived::Already),
            Some(_) => {
                self.note_conflict(name, &sha256).await;
                Err(self.conflict(name.to_string()))
            }
            None => Err(RepoError::damaged(format!("WAL object {name}"), "it is there and cannot be read").into()),
        }
    }

    fn conflict(&self, name: String) -> WalError {
        let system = self.system;
        WalError::Conflict { name, system }
    }

    /// Leaves a note of a refusal. The refusal itself is what counts, and it is told in any case.
    async fn note_conflict(&self, name: WalName, sha256: &str) {
        let note = format!("{name}.conflict-{}", &sha256[..16]);
        let key = self.key(name.timeline(), &note);
        if let Err(error) = self.store(&key, note, sha256.as_bytes().to_vec()).await {
            tracing::warn!(%name, %error, "the conflict could not be noted in the archive");
        }
    }

    /// Archives the beginning of a segment that is still growing, in place of a shorter beginning of it.
    pub async fn put_growing(&self, name: SegmentName, bytes: Vec<u8>) -> Result<Archived, WalError> {
        let mut shorter = Vec::new();
        let length = bytes.len() as u64;
        for known in self.growing(name).await? {
            if known >= length {
                return Ok(Archived::Longer);
            }
            let (_, beginning) = self.load_growing(name, known).await?;
            if bytes.get(..beginning.len()) != Some(&beginning) {
                self.note_conflict(WalName::Segment(name), &object::hash(&bytes)).await;
                return Err(self.conflict(growing_name(name, known)));
            }
            shorter.push(known);
        }
        let stored = growing_name(name, length);
        let key = self.key(name.timeline, &stored);
        let (put, sha256) = self.store(&key, stored.clone(), bytes).await?;
        if put == Put::Exists && self.load_growing(name, length).await?.0.sha256 != sha256 {
            return Err(self.conflict(stored));
        }
        for length in shorter {
            self.repo
                .delete_sealed(&self.key(name.timeline, &growing_name(name, length)))
                .await?;
        }
        Ok(Archived::New)
    }

    /// Removes the beginnings of a segment that is in the archive as a whole.
    pub async fn remove_growing(&self, name: SegmentName) -> Result<(), WalError> {
        for length in self.growing(name).await? {
            let key = self.key(name.timeline, &growing_name(name, length));
            self.repo.delete_sealed(&key).await?;
        }
        Ok(())
    }

    /// Reads a file; none when the archive does not have it.
    pub async fn get(&self, name: WalName) -> Result<Option<Fetched>, WalError> {
        let key = self.key(name.timeline(), &name.to_string());
        let found = self.load(&key, &name.to_string()).await?;
        Ok(found.map(|(header, bytes)| Fetched { bytes, at: header.at }))
    }

    /// Unpacks a file to a path, where it appears whole or not at all; false when the archive does not have it.
    pub async fn unpack(&self, name: WalName, target: PathBuf) -> Result<bool, WalError> {
        let key = self.key(name.timeline(), &name.to_string());
        let Some(object) = self.repo.get_sealed(&key).await? else {
            return Ok(false);
        };
        let (system, name) = (self.system, name.to_string());
        let unpacking = tokio::task::spawn_blocking(move || {
            fetch::place_with(&target, |write| object::unpack(&object, system, &name, write))
        });
        unpacking.await.map_err(|error| WalError::worker(&error))??;
        Ok(true)
    }

    /// Reads the longest beginning of a growing segment, filled up with zeros to the size of a segment.
    pub async fn get_growing(&self, name: SegmentName) -> Result<Option<Fetched>, WalError> {
        let Some(longest) = self.growing(name).await?.into_iter().max() else {
            return Ok(None);
        };
        let (header, mut bytes) = self.load_growing(name, longest).await?;
        let (first, _) = page::filled(name, &bytes)?;
        bytes.resize(usize::try_from(first.size.bytes()).unwrap_or(bytes.len()), 0);
        Ok(Some(Fetched { bytes, at: header.at }))
    }

    /// Reads a segment, or as much as there is of it while it grows.
    pub async fn get_whole_or_growing(&self, name: SegmentName) -> Result<Option<Fetched>, WalError> {
        match self.get(WalName::Segment(name)).await? {
            Some(whole) => Ok(Some(whole)),
            None => self.get_growing(name).await,
        }
    }

    /// The lengths of the beginnings of a segment.
    async fn growing(&self, name: SegmentName) -> Result<Vec<u64>, WalError> {
        let prefix = self.key(name.timeline, &format!("{name}.partial-"));
        let objects = self.repo.list_sealed(&prefix).await?;
        let lengths = objects.iter().filter_map(|object| {
            let digits = object.key.strip_prefix(&prefix)?;
            u64::from_str_radix(digits, 16).ok()
        });
        Ok(lengths.collect())
    }

    async fn load_growing(&self, name: SegmentName, length: u64) -> Result<(Header, Vec<u8>), WalError> {
        let stored = growing_name(name, length);
        let found = self.load(&self.key(name.timeline, &stored), &stored).await?;
        found.ok_or_else(|| RepoError::damaged(format!("WAL object {stored}"), "it is listed and not there").into())
    }

    /// Everything the archive has of this cluster, in order; whole or an error.
    pub async fn list(&self) -> Result<Vec<Listed>, WalError> {
        let prefix = format!("{FOLDER}{}/", self.system);
        let objects = self.repo.list_sealed(&prefix).await?;
        let listed = objects.into_iter().filter_map(|object| {
            let name = object.key.strip_prefix(&prefix)?;
            let stored = object.size;
            (name != ABOUT && name != MARK).then(|| Listed {
                entry: entry(name),
                stored,
            })
        });
        Ok(listed.collect())
    }

    pub(super) async fn store(&self, key: &str, name: String, content: Vec<u8>) -> Result<(Put, String), WalError> {
        let (system, effort, at) = (self.system, self.effort, self.repo.store_time());
        let packed = tokio::task::spawn_blocking(move || {
            let header = Header::of(name, system, &content, at);
            object::encode(&header, &content, effort).map(|object| (object, header.sha256))
        });
        let (object, sha256) = packed.await.map_err(|error| WalError::worker(&error))??;
        Ok((self.repo.put_sealed(key, object).await?, sha256))
    }

    pub(super) async fn load(&self, key: &str, name: &str) -> Result<Option<(Header, Vec<u8>)>, WalError> {
        let Some(object) = self.repo.get_sealed(key).await? else {
            return Ok(None);
        };
        let (system, name) = (self.system, name.to_owned());
        let unpacked = tokio::task::spawn_blocking(move || object::decode(&object, system, &name));
        Ok(Some(unpacked.await.map_err(|error| WalError::worker(&error))??))
    }
}

pub(super) fn growing_name(name: SegmentName, length: u64) -> String {
    format!("{name}.partial-{length:08x}")
}

/// Reads `<timeline>/<name>`.
fn entry(text: &str) -> Entry {
    let strange = || Entry::Strange(text.to_owned());
    let Some((folder, name)) = text.split_once('/') else {
        return strange();
    };
    let read = if let Some((segment, length)) = name.split_once(".partial-") {
        let length = u64::from_str_radix(length, 16).ok();
        segment
            .parse()
            .ok()
            .zip(length)
            .map(|(name, length)| Entry::Growing(name, length))
    } else if let Some((refused, _)) = name.split_once(".conflict-") {
        refused.parse().ok().map(Entry::Conflict)
    } else {
        name.parse().ok().map(Entry::File)
    };
    let timeline = match &read {
        Some(Entry::File(name) | Entry::Conflict(name)) => Some(name.timeline()),
        Some(Entry::Growing(name, _)) => Some(name.timeline),
        _ => None,
    };
    match read {
        Some(entry) if timeline == TimelineId::from_hex(folder) => entry,
        _ => strange(),
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
