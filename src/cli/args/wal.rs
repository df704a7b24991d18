//! Options of `lifeboat wal`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{RepositoryArgs, ServerArgs};
use crate::domain::units::{parse_bytes, parse_duration};
use crate::domain::wal::SystemId;
use crate::domain::{Bytes, Millis};

/// `lifeboat wal`.
#[derive(Debug, Clone, Args)]
pub struct WalArgs {
    /// Where the archive is.
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: WalCommand,
}

/// The verbs of `lifeboat wal`.
#[derive(Debug, Clone, Subcommand)]
pub enum WalCommand {
    /// Archive one file; for archive_command = 'lifeboat wal push %p'
    Push(PushArgs),
    /// Bring one file back; for restore_command = 'lifeboat wal fetch %f %p'
    Fetch(FetchArgs),
    /// Receive the log of a server as it is written, until Ctrl-C
    Receive(ReceiveArgs),
    /// List the timelines in the archive
    List {
        /// Only of this cluster
        #[arg(long, value_name = "ID")]
        system: Option<SystemId>,
    },
    /// Look for what is late, lost, or written by two servers
    Verify(VerifyArgs),
    /// Remove log that no base backup needs any more
    Prune(WalPruneArgs),
}

/// `lifeboat wal push`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "The file is safe when this ends with 0; after anything else PostgreSQL keeps it and asks again."
)]
pub struct PushArgs {
    /// The file, as PostgreSQL gives it with %p
    #[arg(value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub path: PathBuf,
    /// A directory for notes: everything that is ready is then sent in the background, several files at a time
    #[arg(long, value_name = "DIR", env = "LIFEBOAT_SPOOL", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub spool: Option<PathBuf>,
    /// How many files are sent at a time in the background
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub jobs: usize,
    /// How long to wait for the background, before PostgreSQL is told to ask again
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub patience: Millis,
    /// This is the one in the background
    #[arg(long, hide = true, env = "LIFEBOAT_WAL_PUSHER", hide_env = true)]
    pub pusher: bool,
}

/// `lifeboat wal fetch`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Ends with 1 when the archive does not have the file, which PostgreSQL asks to find the end of the log, \
                  and with 200 when that cannot be told: recovery then stops instead of opening the server too early. \
                  On a standby, which asks again, that is 1 too."
)]
pub struct FetchArgs {
    /// The name of the file, as PostgreSQL gives it with %f
    pub name: String,
    /// Where to put it, as PostgreSQL gives it with %p
    #[arg(value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub path: PathBuf,
    /// A directory to fetch ahead into, several files at a time
    #[arg(long, value_name = "DIR", env = "LIFEBOAT_SPOOL", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub spool: Option<PathBuf>,
    /// How many files are fetched at a time
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub jobs: usize,
    /// How many files are kept at hand
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub ahead: usize,
    /// The cluster; else the one whose data directory this is
    #[arg(long, value_name = "ID")]
    pub system: Option<SystemId>,
    /// Only whole files: not the beginning of the newest segment
    #[arg(long)]
    pub whole_only: bool,
    /// Ask the recovery that listens here, instead of the archive
    #[arg(long, value_name = "SOCKET", hide = true)]
    pub door: Option<PathBuf>,
    /// This is the one in the background
    #[arg(long, hide = true, env = "LIFEBOAT_WAL_FETCHER", hide_env = true)]
    pub fetcher: bool,
}

/// `lifeboat wal receive`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "The role needs REPLICATION, and pg_hba.conf a line for it. The server keeps its log for the slot until it is \
                  archived: a slot that is not needed any more has to be dropped."
)]
pub struct ReceiveArgs {
    /// On which server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The replication slot; made when there is none
    #[arg(long, value_name = "NAME", default_value = "lifeboat")]
    pub slot: String,
    /// A directory of its own, for what is not archived yet
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// How often the newest, unfinished segment is archived
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub partial_every: Millis,
    /// How much may wait here before the server has to
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_bytes)]
    pub limit: Bytes,
}

/// `lifeboat wal verify`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Ends with 0 when all is there, with 3 when something is late, with 1 when something is lost.")]
pub struct VerifyArgs {
    /// Only of this cluster
    #[arg(long, value_name = "ID")]
    pub system: Option<SystemId>,
    /// The data directory of the server, when it is on this machine
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
    /// How long a file may wait to be archived
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub late_after: Millis,
    /// Read every file again and compare it with its hash
    #[arg(long)]
    pub read_data: bool,
}

/// `lifeboat wal prune`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Log is needed from the beginning of the oldest base backup on, those in the trash counted. What is not needed \
                  is noted first, and removed by a call that comes a grace period later. Histories stay."
)]
pub struct WalPruneArgs {
    /// Only of this cluster
    #[arg(long, value_name = "ID")]
    pub system: Option<SystemId>,
    /// Keep what it takes to go back so far; older base backups are then restored to their own end only
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub window: Option<Millis>,
    /// How long what is not needed is kept after that was noted
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = parse_duration)]
    pub grace: Millis,
    /// Only say what would be done
    #[arg(long)]
    pub plan: bool,
    /// The cluster, to confirm that files of its log are removed
    #[arg(long, value_name = "ID")]
    pub yes: Option<String>,
}
