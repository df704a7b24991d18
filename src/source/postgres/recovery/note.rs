//! What is remembered of a recovery, beside its copy: enough for another process to go on with it, open it, or throw it away.
//!
//! The copy of `/restore/orders` has its note, its server's log, socket and mark in `/restore/orders.lifeboat`. There is no
//! secret in it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{RecoveryError, Standing};
use crate::domain::Timestamp;
use crate::domain::id::SnapshotId;
use crate::domain::pitr::Target;
use crate::domain::wal::{SystemId, TimelineId};

const NAME: &str = "recovery.json";

/// How far a recovery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The files of the base backup are being laid down.
    Laying,
    /// The log is being replayed.
    Replaying,
    /// The server is at the target.
    Paused,
    /// The server was opened: the copy is a cluster of its own.
    Opened,
}

impl Phase {
    /// How far a recovery has come whose server has got where it should.
    pub fn of(standing: Standing) -> Self {
        match standing {
            Standing::Open => Self::Opened,
            _ => Self::Paused,
        }
    }
}

/// What is remembered of a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How far it has come.
    pub phase: Phase,
    /// The cluster.
    pub system: SystemId,
    /// The snapshot it was laid down from.
    pub base: SnapshotId,
    /// The line of history.
    pub timeline: TimelineId,
    /// Where it is to end.
    pub target: Target,
    /// Whether what happened exactly there is included.
    pub inclusive: bool,
    /// The repository, as it was given; never with a secret.
    pub repository: Option<String>,
    /// The source, as it was given.
    pub source: Option<String>,
    /// Where tablespaces were laid.
    pub tablespaces: Vec<PathBuf>,
    /// Roles that may be logged in with, the likeliest first.
    pub roles: Vec<String>,
    /// Where the server's programs are, when that was said.
    pub bin_dir: Option<PathBuf>,
    /// Who it was begun for, when somebody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it began.
    pub began_at: Timestamp,
}

/// Our own directory beside a copy.
pub fn home_of(data: &Path) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(".lifeboat");
    data.with_file_name(name)
}

impl Note {
    /// Writes it down; durable when this returns.
    pub fn write(&self, home: &Path) -> Result<(), RecoveryError> {
        let path = home.join(NAME);
        let temp = home.join("recovery.json.new");
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        let written = fs::create_dir_all(home)
            .and_then(|()| fs::File::create(&temp))
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temp, &path))
            .and_then(|()| fs::File::open(home)?.sync_all());
        written.map_err(|error| RecoveryError::local("write", &path, &error))
    }

    /// Reads the one beside a copy; none when there is none.
    pub fn read(home: &Path) -> Result<Option<Self>, RecoveryError> {
        let path = home.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RecoveryError::local("read", &path, &error)),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| RecoveryError::NotOurs {
                path: home.to_owned(),
                why: format!("its note cannot be understood: {error}"),
            })
    }

    /// Takes it back; what else is beside the copy stays.
    pub(super) fn forget(home: &Path) {
        // One that stays says that something was begun, and the next call finds that nothing was.
        let _ = fs::remove_file(home.join(NAME));
    }

    /// Writes down that it has come further.
    pub fn reached(&mut self, phase: Phase, home: &Path) -> Result<(), RecoveryError> {
        self.phase = phase;
        self.write(home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_and_nonsense_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let home = home_of(&dir.path().join("orders"));
        assert_eq!(home, dir.path().join("orders.lifeboat"));
        assert_eq!(Note::read(&home).unwrap(), None);
        let mut note = Note {
            phase: Phase::Laying,
            system: SystemId(7),
            base: "abc".into(),
            timeline: TimelineId(2),
            target: Target::Name("before".to_owned()),
            inclusive: true,
            repository: None,
            source: None,
            tablespaces: Vec::new(),
            roles: vec!["postgres".to_owned()],
            bin_dir: None,
            owner: None,
            began_at: Timestamp::UNIX_EPOCH,
        };
        note.write(&home).unwrap();
        note.reached(Phase::Paused, &home).unwrap();
        assert_eq!(Note::read(&home).unwrap().unwrap(), note);
        fs::write(home.join(NAME), "{").unwrap();
        assert!(Note::read(&home).is_err());
    }
}
