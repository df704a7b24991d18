//! Check: is everything there that the snapshots need, and is it what was written?
//!
//! **Structure.** Every key, index and snapshot file is opened and compared with its name; every pack that the index names
//! must be there with the size its blobs add up to; every tree of every snapshot is opened, and every blob it names must
//! be in the index.
//!
//! **Data.** The chosen packs are read whole: name, header against index, and every blob opened, unpacked and hashed.
//!
//! What is found is a list of [`CheckProblem`]s, each with the snapshots it hurts. Only a store that does not answer is an
//! error of the check itself. A check writes nothing but its lock.

mod data;
mod structure;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::Repository;
use super::error::RepoError;
use super::progress::{Phase, Progress};
use super::stop::Stop;

/// How much of the packs to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadData {
    /// None: only the structure.
    #[default]
    None,
    /// All.
    All,
    /// The packs of part `part` (from 1) of `of`, chosen by their names, so that `of` checks cover everything.
    Part {
        /// Which part, from 1.
        part: u32,
        /// How many parts.
        of: u32,
    },
    /// About so many percent, chosen at random.
    Percent(f64),
    /// About so many bytes, chosen at random.
    Bytes(u64),
}

/// What to check.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// How much of the packs to read.
    pub read_data: ReadData,
    /// Only what this snapshot needs; everything when `None`.
    pub snapshot: Option<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckProblem {
    /// The kind of the file: `pack`, `index`, `snapshot`, `tree`, `blob`, `key`.
    pub kind: String,
    /// Its name.
    pub file: String,
    /// What is wrong.
    pub message: String,
    /// The snapshots that need it, short ids.
    pub snapshots: Vec<String>,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// What is wrong; empty means sound.
    pub errors: Vec<CheckProblem>,
    /// What is untidy but harmless: packs that no index names.
    pub notes: Vec<String>,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Packs looked at.
    pub packs: u64,
    /// Packs read whole.
    pub packs_read: u64,
    /// Blobs the snapshots need.
    pub blobs: u64,
    /// Blobs that were opened and hashed.
    pub blobs_read: u64,
    /// Bytes read.
    pub bytes_read: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.errors.is_empty()
    }
}

impl CheckProblem {
    fn new(kind: &str, file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            file: file.into(),
            message: message.into(),
            snapshots: Vec::new(),
        }
    }
}

impl Repository {
    /// Checks the structure, and as much of the data as asked for.
    pub async fn check(
        &self,
        options: CheckOptions,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<CheckReport, RepoError> {
        progress.set_phase(Phase::Preparing);
        let lock = self.lock_for_reading().await?;
        let result = self.check_locked(options, &progress, &Stop::new(cancel)).await;
        if let Some(lock) = lock {
            let _ = lock.release().await;
        }
        self.0.trees.clear();
        progress.set_phase(Phase::Done);
        result
    }

    async fn check_locked(
        &self,
        options: CheckOptions,
        progress: &Arc<Progress>,
        stop: &Stop,
    ) -> Result<CheckReport, RepoError> {
        let mut structure = structure::Structure::load(self, options.snapshot.as_deref()).await?;
        progress.set_phase(Phase::Verifying);
        structure.walk(self, stop).await?;
        let packs = structure.choose(options.read_data);
        structure.read(self, packs, progress, stop).await?;
        structure.blame(self, stop).await?;
        Ok(structure.report)
    }
}
