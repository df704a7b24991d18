//! The names of things: one newtype each, so that a job is never taken for a snapshot.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )+};
}

text_id! {
    /// Names a job, as written in the configuration.
    JobName,
    /// Names a source, as written in the configuration.
    SourceName,
    /// Names a service people know, such as `orders`.
    ServiceName,
    /// Names a cluster of PostgreSQL servers, as written in the configuration.
    ClusterName,
    /// Names one server of a cluster, as written in the configuration.
    MemberName,
    /// Names a repository, as written in the configuration.
    RepositoryName,
    /// Names a drill, as written in the configuration.
    DrillName,
    /// Names a runbook.
    RunbookName,
    /// Identifies one execution of a runbook; sorts by time.
    RunbookRunId,
    /// Identifies one execution of a job; sorts by time.
    RunId,
    /// Identifies one recovery; sorts by time.
    RecoveryId,
    /// Identifies one piece of maintenance; sorts by time.
    MaintenanceId,
    /// The 64 hexadecimal digits that name a snapshot in its repository.
    SnapshotId,
    /// Identifies the condition an alert is about, for example `rpo-breached/orders`.
    AlertKey,
}

impl SnapshotId {
    /// The first eight digits, as people and restic show them.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

/// Whether `name` can name a thing in the configuration: letters, digits, `-`, `_` and `.`, at most 64, not starting with a dot or a dash.
pub fn is_valid_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 64 && !name.starts_with(['.', '-']) && name.chars().all(allowed)
}

/// Makes an id that sorts by time: `prefix-` and a base-32 rendering of milliseconds, then of `unique`.
pub fn time_ordered_id(prefix: &str, now: super::Timestamp, unique: u32) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    let mut text = String::with_capacity(prefix.len() + 15);
    text.push_str(prefix);
    text.push('-');
    for shift in (0..9).rev() {
        text.push(DIGITS[(millis >> (shift * 5) & 31) as usize] as char);
    }
    for shift in (0..4).rev() {
        text.push(DIGITS[(unique >> (shift * 5) & 31) as usize] as char);
    }
    text
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn ids_sort_by_time() {
        let early = time_ordered_id(
            "run",
            DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
            u32::MAX,
        );
        let late = time_ordered_id("run", DateTime::from_timestamp_millis(1_700_000_000_001).unwrap(), 0);
        assert!(early < late);
        assert_eq!(early.len(), "run-".len() + 13);
    }

    #[test]
    fn names_are_checked() {
        assert!(is_valid_name("orders-db.1"));
        for bad in ["", "-x", ".x", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }
}
