//! What is protected.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::id::SourceName;
use super::units::Millis;

/// The word for a cluster of PostgreSQL that is copied whole, in configurations, labels and histories.
pub const POSTGRES_PHYSICAL: &str = "postgres-physical";

/// Where a secret is read from; never the secret itself, so it may appear in definitions, on screens and in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretRef {
    /// The first line of a file that only its owner can read.
    File(PathBuf),
    /// An environment variable of the agent.
    Env(String),
    /// The first line a command prints; argument vector, no shell.
    Command(Vec<String>),
}

/// A thing that is protected: what it is and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name in the configuration.
    pub name: SourceName,
    /// What it is.
    pub kind: SourceKind,
}

/// The kinds of source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceKind {
    /// Directories and files of this machine.
    Files(FilesSource),
    /// One database of a PostgreSQL server, dumped logically.
    PostgresDump(PostgresSource),
    /// A whole PostgreSQL cluster, its files copied while it runs.
    PostgresPhysical(PhysicalSource),
}

impl SourceKind {
    /// The word for this kind in listings and tags: `files`, `postgres-dump`, `postgres-physical`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Files(_) => "files",
            Self::PostgresDump(_) => "postgres-dump",
            Self::PostgresPhysical(_) => POSTGRES_PHYSICAL,
        }
    }

    /// The server it is read from, when it is one.
    pub const fn server(&self) -> Option<&PostgresConnection> {
        match self {
            Self::Files(_) => None,
            Self::PostgresDump(database) => Some(&database.connection),
            Self::PostgresPhysical(cluster) => Some(&cluster.connection),
        }
    }
}

/// Directories and files to back up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FilesSource {
    /// Absolute paths.
    pub paths: Vec<PathBuf>,
    /// Patterns in gitignore syntax that are left out.
    pub exclude: Vec<String>,
    /// Whether to stay on the file system each path is on.
    pub one_file_system: bool,
}

/// One database of a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresSource {
    /// How to reach the server.
    pub connection: PostgresConnection,
    /// The database to dump.
    pub database: String,
    /// What of it is dumped.
    #[serde(default)]
    pub selection: DumpSelection,
    /// What to do on a failed restore test: where scratch databases are made. The source's own server when absent.
    pub scratch: Option<PostgresConnection>,
}

/// A whole PostgreSQL cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhysicalSource {
    /// How to reach the primary.
    pub connection: PostgresConnection,
    /// The database on it that questions are asked in.
    pub database: String,
    /// A standby of it, when one may be read instead.
    pub standby: Option<PostgresConnection>,
    /// Which of the two is read.
    #[serde(default)]
    pub from: ReadFrom,
    /// How the files are read.
    #[serde(default)]
    pub method: PhysicalChoice,
    /// Where the cluster's files are on this machine; the server is asked when absent.
    pub data_directory: Option<PathBuf>,
    /// Where scratch clusters are made to prove snapshots; the agent's own place when absent.
    pub scratch_dir: Option<PathBuf>,
    /// For how long every instant can be restored; from the oldest base backup on when absent.
    #[serde(default)]
    pub log_window: Option<Millis>,
    /// The replication slot that the agent receives the log with; somebody else archives it when absent.
    #[serde(default)]
    pub receive_slot: Option<String>,
}

/// Which server of a cluster is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadFrom {
    /// The primary.
    #[default]
    Primary,
    /// The standby, or nothing.
    Standby,
    /// The standby when it is healthy, else the primary.
    PreferStandby,
}

impl ReadFrom {
    /// The word in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::PreferStandby => "prefer-standby",
        }
    }
}

/// How the files of a cluster are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhysicalChoice {
    /// From this machine's disk when they are on it and readable, else over the connection.
    #[default]
    Auto,
    /// From this machine's disk.
    Local,
    /// Over the connection, by `pg_basebackup`.
    Remote,
}

impl PhysicalChoice {
    /// The word in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// What of a database is dumped; everything when nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DumpSelection {
    /// Definitions, rows, or both.
    pub format: DumpFormat,
    /// Only these tables, as `schema.table` with `*` for any letters; all when empty.
    pub tables: Vec<String>,
    /// Not these tables.
    pub exclude_tables: Vec<String>,
}

impl DumpSelection {
    /// Whether every table is dumped.
    pub fn is_all(&self) -> bool {
        self.tables.is_empty() && self.exclude_tables.is_empty()
    }

    /// Whether a table is dumped that is known by any of these names: its own, and that of the table it is a partition of.
    /// A name is written `schema.table`, each part in double quotes where SQL needs them.
    pub fn takes(&self, names: &[&str]) -> bool {
        let any = |patterns: &[String]| {
            let mut pairs = patterns
                .iter()
                .flat_map(|pattern| names.iter().map(move |name| (pattern, name)));
            pairs.any(|(pattern, name)| matches(pattern, name))
        };
        (self.tables.is_empty() || any(&self.tables)) && !any(&self.exclude_tables)
    }

    /// The first pattern that names none of these tables: probably misspelt.
    pub fn idle<'p>(&'p self, tables: &[String]) -> Option<&'p str> {
        let named = |pattern: &&String| tables.iter().any(|table| matches(pattern, table));
        self.tables.iter().find(|pattern| !named(pattern)).map(String::as_str)
    }
}

/// Whether a pattern with `*` for any letters names a table.
fn matches(pattern: &str, table: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| table.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// What a dump holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DumpFormat {
    /// Definitions and rows, in the custom format of `pg_dump`.
    #[default]
    Custom,
    /// Definitions and rows as SQL text, which people can read: restored in one transaction, whole or not at all.
    Plain,
    /// Definitions only.
    SchemaOnly,
    /// Rows only: for a database that has the tables.
    DataOnly,
}

/// How to reach a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresConnection {
    /// A host name, an address, or the directory of a Unix socket (starting with `/`).
    pub host: String,
    /// The port, also part of the socket's name.
    pub port: u16,
    /// The role to connect as.
    pub user: String,
    /// Where the password comes from, when one is needed.
    pub password: Option<SecretRef>,
    /// How the connection is encrypted.
    pub tls: TlsMode,
    /// The directory of the client programs (`pg_dump` …); found by version when absent.
    pub bin_dir: Option<PathBuf>,
}

impl PostgresConnection {
    /// The server as people write it: `user@host:port`.
    pub fn display(&self) -> String {
        format!("{}@{}:{}", self.user, self.host, self.port)
    }
}

/// How a connection to PostgreSQL is encrypted; the words are libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No encryption; what a Unix socket needs.
    Disable,
    /// Encrypted when the server offers it.
    #[default]
    Prefer,
    /// Encrypted, any certificate.
    Require,
    /// Encrypted, the certificate checked against the system's authorities and the host name.
    VerifyFull,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_chosen_by_name_and_pattern() {
        let words = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let selection = DumpSelection {
            format: DumpFormat::Custom,
            tables: words(&["public.orders", "audit.*", "public.\"My *\""]),
            exclude_tables: words(&["audit.*_old"]),
        };
        for (table, taken) in [
            ("public.orders", true),
            ("public.orders2", false),
            ("public.\"orders\"", false),
            ("audit.log", true),
            ("audit.log_old", false),
            ("public.\"My \"\"odd\"\" table\"", true),
        ] {
            assert_eq!(selection.takes(&[table]), taken, "{table}");
        }
        assert_eq!(
            selection.idle(&words(&["public.orders", "audit.log"])),
            Some("public.\"My *\"")
        );
        assert!(DumpSelection::default().takes(&["anything"]));
        assert!(!matches("a*b*a", "aba_"), "the end has to fit");
        assert!(!matches("ab*ba", "aba"), "no letter counts twice");
    }
}
