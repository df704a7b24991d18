//! Options of the commands that work on repositories and snapshots.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::level;
use super::upkeep::{CopyArgs, ExportArgs, PruneArgs, TagArgs, TrashCommand, WhyArgs};
use crate::domain::snapshot::EvidenceLevel;

/// Which repository, for commands that work on one directly.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Repository (else the one in the configuration)")]
pub struct RepositoryArgs {
    /// A path, a URL, or the name of a repository in the configuration
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "LIFEBOAT_REPOSITORY",
        hide_env_values = true
    )]
    pub repository: Option<String>,
    /// The file whose first line is the password; else $LIFEBOAT_PASSWORD_FILE, $LIFEBOAT_PASSWORD_COMMAND or $LIFEBOAT_PASSWORD
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,
}

/// `lifeboat backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// Where to.
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// What to back up
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Leave out what matches, in gitignore syntax
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Stay on the file system each path is on
    #[arg(long)]
    pub one_file_system: bool,
    /// A word on the snapshot
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// A remark on the snapshot
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Read every file again, also those that look unchanged
    #[arg(long)]
    pub force: bool,
}

/// `lifeboat snapshot`.
#[derive(Debug, Clone, Args)]
pub struct SnapshotArgs {
    /// Where it is.
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: SnapshotCommand,
}

/// Options of `lifeboat snapshot find-clean`.
#[derive(Debug, Clone, Args)]
pub struct FindCleanArgs {
    /// The job
    pub job: String,
    /// A snapshot that was looked into and is as it should be
    #[arg(long, value_name = "ID")]
    pub clean: Vec<String>,
    /// A snapshot that was looked into and is not
    #[arg(long, value_name = "ID")]
    pub bad: Vec<String>,
}

/// The verbs of `lifeboat snapshot`. An id is a prefix, `latest` or `latest:JOB`.
#[derive(Debug, Clone, Subcommand)]
pub enum SnapshotCommand {
    /// List snapshots, newest first
    List(SnapshotFilter),
    /// Show one snapshot
    Show {
        /// A prefix of its id, `latest` or `latest:JOB`
        id: String,
    },
    /// List a directory of a snapshot
    Ls {
        /// A prefix of its id, `latest` or `latest:JOB`
        id: String,
        /// The directory
        #[arg(default_value = "/")]
        path: String,
        /// Everything below it
        #[arg(short, long)]
        recursive: bool,
    },
    /// Find names in snapshots
    Find {
        /// A glob over names; with a slash, over whole paths
        pattern: String,
        /// Only in this snapshot
        #[arg(long, value_name = "ID")]
        snapshot: Option<String>,
    },
    /// Find the last snapshot of a job from before something happened to its data
    FindClean(FindCleanArgs),
    /// Show what differs between two snapshots
    Diff {
        /// The older one
        from: String,
        /// The newer one
        to: String,
    },
    /// Write one file of a snapshot to the output
    Dump {
        /// A prefix of its id, `latest` or `latest:JOB`
        id: String,
        /// The file
        path: String,
        /// Write to this file instead; it must not exist
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Prove that a snapshot can be restored, up to a level, and wait for the result
    Verify {
        /// A prefix of its id, `latest` or `latest:JOB`
        id: String,
        /// How far
        #[arg(long, value_name = "LEVEL", value_parser = level, default_value = "probed")]
        level: EvidenceLevel,
        /// Do not wait for the result
        #[arg(long)]
        no_wait: bool,
    },
    /// Move snapshots to the trash, from which they can come back for a while
    Forget {
        /// Prefixes of their ids, `latest` or `latest:JOB`
        #[arg(required = true)]
        ids: Vec<String>,
        /// Why.
        #[command(flatten)]
        why: WhyArgs,
    },
    /// Protect a snapshot: nobody and no rule forgets it
    Pin {
        /// A prefix of its id, `latest` or `latest:JOB`
        id: String,
        /// Why.
        #[command(flatten)]
        why: WhyArgs,
    },
    /// Take the protection of a snapshot away
    Unpin {
        /// A prefix of its id, `latest` or `latest:JOB`
        id: String,
        /// Why.
        #[command(flatten)]
        why: WhyArgs,
    },
    /// Change the tags of a snapshot, which gives it a new id
    Tag(TagArgs),
    /// Bring a snapshot back from the trash, under the same id
    Untrash {
        /// A prefix of its id
        id: String,
    },
    /// Write a snapshot as an archive, or the dump of a database as a file
    Export(ExportArgs),
}

/// Which snapshots.
#[derive(Debug, Clone, Default, Args)]
pub struct SnapshotFilter {
    /// Only of this job
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// Only of this source
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Only since then: 7d, 24h, 2026-03-01 or a full time
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only until then
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Only with this word
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Only proved at least to this level
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    pub evidence: Option<EvidenceLevel>,
    /// Only those in the trash
    #[arg(long)]
    pub trash: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u32,
}

/// `lifeboat restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// From where.
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// A prefix of the snapshot's id, `latest` or `latest:JOB`
    pub id: String,
    /// The directory, or postgres://USER@HOST:PORT/NAME for a database there
    #[arg(long, value_name = "DIR|URL", required_unless_present = "target_database")]
    pub target: Option<String>,
    /// A database of this name on the source's own server
    #[arg(long, value_name = "NAME", conflicts_with = "target")]
    pub target_database: Option<String>,
    /// Only what matches
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// The directory of the snapshot that becomes the target's top
    #[arg(long, value_name = "PATH")]
    pub subpath: Option<String>,
    /// Compare existing files and write only what differs
    #[arg(long)]
    pub delta: bool,
    /// With --delta: believe the length and time of a file instead of reading it
    #[arg(long, requires = "delta")]
    pub quick: bool,
    /// Put a dump in the place of a database that exists, after a safety backup of it
    #[arg(long)]
    pub drop_existing: bool,
    /// Only this table of a dump with all that belongs to it, as schema.table with * for any letters; repeatable
    #[arg(long, value_name = "T")]
    pub table: Vec<String>,
    /// Restore a dump with so many connections; it is fetched to a file in the temporary directory first
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZero<u32>>,
    /// Where a tablespace of a cluster goes: its name, number or old place, and the new place
    #[arg(long, value_name = "OLD=NEW")]
    pub tablespace: Vec<String>,
    /// Only say what would be done
    #[arg(long)]
    pub plan: bool,
    /// The target's name, to confirm that what exists there is overwritten
    #[arg(long, value_name = "NAME")]
    pub yes: Option<String>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not wait for the end
    #[arg(long)]
    pub no_wait: bool,
}

/// `lifeboat repo`.
#[derive(Debug, Clone, Args)]
pub struct RepoArgs {
    /// Which.
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: RepoCommand,
}

/// The verbs of `lifeboat repo`.
#[derive(Debug, Clone, Subcommand)]
pub enum RepoCommand {
    /// Make a repository
    Init {
        /// With the key and the chunk boundaries of this one, so that copies between the two are cheap
        #[arg(long, value_name = "URL")]
        like: Option<String>,
        /// The file whose first line is the password of that one; else the same as here
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "like")]
        like_password_file: Option<PathBuf>,
    },
    /// Check that a repository is whole
    Check {
        /// Read every byte again and compare it with its hash
        #[arg(long, conflicts_with = "read_data_subset")]
        read_data: bool,
        /// Read a part of it: 1/7 for the first seventh, 10%, or 500M
        #[arg(long, value_name = "S")]
        read_data_subset: Option<String>,
    },
    /// Remove the data that no snapshot needs
    Prune(PruneArgs),
    /// Copy snapshots from another repository into this one
    Copy(CopyArgs),
    /// List forgotten snapshots, and bring them back
    Trash {
        /// What to do.
        #[command(subcommand)]
        command: TrashCommand,
    },
    /// Show what a repository holds
    Stats,
    /// Remove the locks of processes that are gone
    Unlock {
        /// Also those that look alive
        #[arg(long)]
        all: bool,
    },
    /// List, add, change and remove passwords
    Key {
        /// What to do.
        #[command(subcommand)]
        command: KeyCommand,
    },
}

/// The verbs of `lifeboat repo key`.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// List the keys
    List,
    /// Add a password
    Add {
        /// The file whose first line is the new password
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        new_password_file: PathBuf,
    },
    /// Replace the password in use
    Password {
        /// The file whose first line is the new password
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        new_password_file: PathBuf,
    },
    /// Remove a key; never the one in use
    Remove {
        /// A prefix of the key's id
        id: String,
    },
}
