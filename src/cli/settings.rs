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
    /// Where the agent keeps its journal and its log.
    pub state_dir: PathBuf,
    /// Everything it defines.
    pub definitions: Definitions,
}

impl Settings {
    /// Loads the configuration from `path`, or from the first of the usual places.
    pub fn load(_path: Option<&Path>) -> Result<Self, CliError> {
        Err(CliError::usage("no configuration was found").hint("write one with: lifeboat init"))
    }
}
