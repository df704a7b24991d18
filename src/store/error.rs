//! What can go wrong in a store, told apart by what the operator can do about it.

use std::io;

/// The class of a store failure; decides whether a retry can help and which hint is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is nothing at this key.
    NotFound,
    /// A create-only put met an object that is already there.
    AlreadyExists,
    /// The file system or bucket has no room left.
    NoSpace,
    /// The store can be read but not written.
    ReadOnly,
    /// The credentials or the file permissions do not allow this.
    Permission,
    /// A timeout, a dropped connection, a busy server: the same request may succeed later.
    Transient,
    /// The object is shorter than the range asked for.
    ShortRead,
    /// The object may not be removed yet: a retention or a legal hold of the store protects it.
    Locked,
    /// The object is in a cold storage class and has to be thawed before it can be read.
    Cold,
    /// The address or the operation is not something this build can do.
    Unsupported,
    /// Anything else the backend reported.
    Other,
}

/// One failed store operation: what was attempted, on which key, and why it failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {action} {key}: {message}")]
pub struct StoreError {
    /// The class of the failure.
    pub kind: ErrorKind,
    /// The verb that failed: `write`, `read`, `list`, `delete`, `open`.
    pub action: &'static str,
    /// The key, prefix or address it failed on.
    pub key: String,
    /// The reason, in one line.
    pub message: String,
    /// What the backend knows to be the remedy, when it knows better than the class does.
    pub advice: Option<String>,
}

impl StoreError {
    /// Builds an error of a known kind.
    pub fn new(kind: ErrorKind, action: &'static str, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            action,
            key: key.into(),
            message: message.into(),
            advice: None,
        }
    }

    /// Says what the operator should do, where that is more than what the class of the failure says.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.advice = Some(hint.into());
        self
    }

    /// Classifies an operating-system error.
    pub fn from_io(action: &'static str, key: impl Into<String>, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            io::ErrorKind::PermissionDenied => ErrorKind::Permission,
            io::ErrorKind::TimedOut | io::ErrorKind::Interrupted | io::ErrorKind::ResourceBusy => ErrorKind::Transient,
            io::ErrorKind::UnexpectedEof => ErrorKind::ShortRead,
            _ => ErrorKind::Other,
        };
        Self::new(kind, action, key, error.to_string())
    }

    /// Whether the same request may succeed when it is repeated.
    pub fn retryable(&self) -> bool {
        self.kind == ErrorKind::Transient
    }

    /// What the operator should do next.
    pub fn hint(&self) -> Option<&str> {
        if self.advice.is_some() {
            return self.advice.as_deref();
        }
        match self.kind {
            ErrorKind::NotFound => Some("check the address; if the object was there before, run `lifeboat repo check`"),
            ErrorKind::NoSpace => {
                Some("free or add space where the repository lives, then run again: nothing was lost")
            }
            ErrorKind::ReadOnly => Some("remount the file system read-write, or use another repository"),
            ErrorKind::Permission => Some("give this user read and write permission on the repository"),
            ErrorKind::Transient => Some("try again; if it persists, check the network and the server"),
            ErrorKind::ShortRead => Some("the stored object is truncated: run `lifeboat repo check --read-data`"),
            ErrorKind::Locked => Some("leave it: it can be removed when its retention ends"),
            ErrorKind::Cold => Some("restore from it: the objects that are needed are thawed first, which takes hours"),
            ErrorKind::Unsupported => Some("use a directory such as /srv/backup, or s3://BUCKET/PREFIX"),
            ErrorKind::AlreadyExists | ErrorKind::Other => None,
        }
    }
}
