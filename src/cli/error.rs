//! How a command ends: its exit code, and the three lines that say what failed, why, and what to do next.

use std::io;
use std::process::ExitCode;

use serde::Serialize;

use crate::api::{ClientError, ErrorKind};
use crate::config::ConfigError;
use crate::domain::run::{Failure, Outcome};

/// How a command ends. The numbers are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// All of it was done.
    Done = 0,
    /// It was tried and failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Some of it was done.
    Partial = 3,
    /// An interlock refused it; nothing was changed.
    Refused = 4,
    /// Somebody stopped it.
    Cancelled = 5,
    /// PostgreSQL, which called, has to stop: from 126 on it does not take a failure for the end of the log.
    Halt = 200,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Done,
            Outcome::Partial => Self::Partial,
            Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

/// What is told when a command ends badly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CliError {
    /// What failed, on what.
    #[serde(rename = "error")]
    pub what: String,
    /// Why.
    pub why: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// How the command ends.
    pub exit: Exit,
    /// Nobody reads our output any more, which is not a failure: nothing is told.
    #[serde(skip)]
    pub silent: bool,
}

impl CliError {
    /// It was tried and failed.
    pub fn failed(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: None,
            hint: None,
            exit: Exit::Failed,
            silent: false,
        }
    }

    /// The command line or the configuration is wrong.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::failed(what).exit(Exit::Usage)
    }

    /// An interlock refused it.
    pub fn refused(what: impl Into<String>) -> Self {
        Self::failed(what).exit(Exit::Refused)
    }

    /// Somebody stopped it.
    pub fn cancelled(what: impl Into<String>) -> Self {
        Self::failed(what).exit(Exit::Cancelled)
    }

    /// The reader of our output has gone, as in `lifeboat journal page | head`.
    pub fn broken_pipe() -> Self {
        Self {
            silent: true,
            ..Self::failed("").exit(Exit::Done)
        }
    }

    /// Says why.
    #[must_use]
    pub fn why(mut self, why: impl std::fmt::Display) -> Self {
        self.why = Some(why.to_string());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what to do next, when that is known.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into).or(self.hint);
        self
    }

    /// Chooses the exit code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// What the agent answered, as the reason why `what` failed.
    pub fn from_client(what: impl Into<String>, error: ClientError) -> Self {
        let exit = match error.kind {
            ErrorKind::NotFound | ErrorKind::Invalid => Exit::Usage,
            ErrorKind::Interlock | ErrorKind::ReadOnly => Exit::Refused,
            _ => Exit::Failed,
        };
        Self::failed(what).why(error.message).maybe_hint(error.hint).exit(exit)
    }

    /// A failure of the work itself, as the reason why `what` failed.
    pub fn from_failure(what: impl Into<String>, failure: &Failure) -> Self {
        Self::failed(what).why(failure).maybe_hint(failure.hint.as_deref())
    }

    /// The lines that are told.
    pub fn lines(&self) -> Vec<(&'static str, &str)> {
        let mut lines = vec![("error:", self.what.as_str())];
        lines.extend(self.why.as_deref().map(|why| ("  why:", why)));
        lines.extend(self.hint.as_deref().map(|hint| (" hint:", hint)));
        lines
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let hint = error.hint();
        Self::usage("the configuration cannot be used")
            .why(error)
            .maybe_hint(hint)
    }
}

impl From<io::Error> for CliError {
    /// An error of our own output; others are wrapped with what was being done.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::broken_pipe();
        }
        Self::failed("the output cannot be written").why(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_is_no_failure_and_a_full_disk_is() {
        assert!(CliError::from(io::Error::from(io::ErrorKind::BrokenPipe)).silent);
        let full = CliError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!((full.exit, full.silent), (Exit::Failed, false));
    }

    #[test]
    fn only_complete_success_exits_with_zero() {
        let done = [
            Outcome::Partial,
            Outcome::Failed,
            Outcome::TimedOut,
            Outcome::Cancelled,
            Outcome::Interrupted,
        ];
        assert!(done.into_iter().all(|outcome| Exit::from(outcome) != Exit::Done));
        assert_eq!(Exit::from(Outcome::Succeeded), Exit::Done);
        assert_eq!(Exit::from(Outcome::Partial) as u8, 3);
        assert_eq!(Exit::from(Outcome::Cancelled) as u8, 5);
    }
}
