//! Why the configuration cannot be used: every problem, with its place and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// There is no configuration in any of the usual places.
    #[error("there is no configuration; looked for {}", join(tried))]
    NotFound {
        /// The places.
        tried: Vec<PathBuf>,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others than its owner may change the file, or everybody may read it.
    #[error("{} {what}, so it is not used", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What is wrong with its permissions.
        what: String,
        /// The command that mends it.
        remedy: String,
    },
    /// What the files say cannot be used.
    #[error("the configuration has {}{}", count(problems.len()), list(problems))]
    Invalid {
        /// Every problem that was found.
        problems: Vec<Problem>,
    },
    /// What should be changed is defined in a file that people write.
    #[error("{what} is defined in {}, which is edited by hand", path.display())]
    Elsewhere {
        /// The thing, such as `job documents`.
        what: String,
        /// The file.
        path: PathBuf,
    },
    /// What should be removed is not there.
    #[error("there is no {what} in the configuration")]
    Unknown {
        /// The thing, such as `job documents`.
        what: String,
    },
}

impl ConfigError {
    /// What the operator should do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("make one with: lifeboat init, or name one with --config".to_owned()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("check the path, or make a configuration with: lifeboat init".to_owned())
            }
            Self::Io { path, .. } => Some(format!("check who may use it with: ls -l {}", path.display())),
            Self::Exposed { remedy, .. } => Some(format!("run: {remedy}")),
            // Each problem carries its own.
            Self::Invalid { .. } => Some("correct the file and check it with: lifeboat config check".to_owned()),
            Self::Elsewhere { path, .. } => Some(format!("change it in {}", path.display())),
            Self::Unknown { .. } => Some("see what there is with: lifeboat config show".to_owned()),
        }
    }

    pub(super) fn io(action: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from one.
    pub line: usize,
    /// The option, such as `job.documents.schedule`.
    pub key: String,
    /// What was found, and what was expected.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

fn join(paths: &[PathBuf]) -> String {
    let texts: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    texts.join(", ")
}

fn count(problems: usize) -> String {
    if problems == 1 {
        "a problem".to_owned()
    } else {
        format!("{problems} problems")
    }
}

fn list(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        text.push_str("\n  ");
        text.push_str(&problem.to_string());
    }
    text
}
