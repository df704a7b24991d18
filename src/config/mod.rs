//! Configuration: one TOML file and its drop-ins, read into definitions and settings.
//!
//! # What it does
//! Finds `lifeboat.toml` (named by `--config` or `$LIFEBOAT_CONFIG`, else `./lifeboat.toml`,
//! `$XDG_CONFIG_HOME/lifeboat/lifeboat.toml`, `/etc/lifeboat/lifeboat.toml`), adds `conf.d/*.toml` beside it in the order
//! of their names, and makes [`Config`] of them. Drop-ins only add: a name that is defined twice is an error. What the
//! console or the CLI creates becomes a drop-in of its own (see [`dropin`]); files that people write are never rewritten.
//!
//! # What it promises
//! - Strict: an option nobody knows, a name nobody defined, a relative path, a schedule that never comes round are errors.
//! - Whole: all problems are reported at once, each with file, line, what was found, what was expected and a hint.
//! - Guarded: files that others could have written, or everybody can read, are refused with the command that mends them.
//! - Secrets are references ([`crate::domain::source::SecretRef`]) until the moment they are needed (see [`secret`]).
//!
//! # What it must never do
//! Hold a secret in a definition, or repeat one in an error. Fall back to a default when an option is wrong.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `load` | finding and guarding the files, settings of the agent |
//! | `raw`, `section` | the options as they are written; reading a section and finding all that is wrong with it |
//! | `build`, `postgres`, `job`, `cluster` | what the options mean, and whether they fit together |
//! | `failover` | when the agent fails a cluster over by itself |
//! | `runbook` | runbooks: reading, putting together, checking |
//! | [`dropin`] | writing what the console creates |
//! | [`secret`] | fetching a secret from a file, a variable or a command |

mod build;
mod cluster;
mod drill;
pub mod dropin;
mod error;
mod failover;
mod job;
mod keep;
mod load;
mod postgres;
mod raw;
mod repository;
mod runbook;
pub mod secret;
mod section;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use error::{ConfigError, Problem};
pub use raw::LogLevel;
pub use secret::{PasswordOptions, SecretError, password_from};

use crate::domain::job::Definitions;
use crate::domain::units::Millis;

/// Everything the files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The main file.
    pub path: PathBuf,
    /// Every file that was read, the main one first.
    pub files: Vec<PathBuf>,
    /// Repositories, sources, jobs, services, clusters and drills.
    pub definitions: Definitions,
    /// Settings of the agent.
    pub agent: AgentSettings,
}

/// Settings of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// Where it keeps what it must not forget.
    pub state_dir: PathBuf,
    /// Its journal, in there.
    pub journal: PathBuf,
    /// The Unix socket it listens on.
    pub socket: PathBuf,
    /// Where it logs to.
    pub log_file: PathBuf,
    /// How much it logs.
    pub log_level: LogLevel,
    /// How long an agent that was started by a console stays when nobody is attached and nothing is scheduled; for ever
    /// when absent.
    pub idle_exit: Option<Millis>,
}

/// Reads the configuration that was named, or the first there is in the usual places.
///
/// # Errors
/// [`ConfigError::Invalid`] carries every problem at once.
pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
    let world = load::Surroundings::real();
    load::load(&load::find(path, &world)?, None, &world)
}

/// Where the agent of a configuration listens, even when the rest of the configuration cannot be used: an agent that is running
/// goes by the one before, and people have to reach it.
pub fn socket_of(path: Option<&Path>) -> Option<PathBuf> {
    let world = load::Surroundings::real();
    load::socket_of(&load::find(path, &world).ok()?, &world)
}

/// The directories beside a main file whose files belong to the configuration too: drop-ins and runbooks.
pub fn directories(main: &Path) -> [PathBuf; 2] {
    [load::dropin_directory(main), load::runbook_directory(main)]
}
