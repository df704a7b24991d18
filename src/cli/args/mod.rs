//! The one table of options. Parser, help, manual page and completions all come from it.
//!
//! The comments on options are the help, so they follow the rules of help: no full stop, no backticks.

mod cluster;
mod data;
mod database;
mod keep;
mod recover;
mod runbook;
mod upkeep;
mod wal;
mod work;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

pub use cluster::*;
pub use data::*;
pub use database::*;
pub use keep::*;
pub use recover::*;
pub use runbook::*;
pub(in crate::cli) use upkeep::bytes;
pub use upkeep::{CopyArgs, ExportArgs, ExportForm, PruneArgs, TagArgs, TrashCommand, WhyArgs};
pub use wal::*;
pub use work::*;

use crate::domain::snapshot::EvidenceLevel;

/// Backs up, verifies and restores data, and shows what can be recovered right now.
///
/// Without a command it opens the console, and starts the agent when none is running.
#[derive(Debug, Parser)]
#[command(name = "lifeboat", version, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 partial, 4 refused, 5 cancelled.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
}

/// What holds for every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The configuration; else $LIFEBOAT_CONFIG, ./lifeboat.toml, $XDG_CONFIG_HOME/lifeboat/lifeboat.toml, /etc/lifeboat/lifeboat.toml
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Plain lines: no colour, no bars, no drawing characters
    #[arg(long, global = true)]
    pub plain: bool,
    /// Change nothing, whatever is asked
    #[arg(long, global = true)]
    pub read_only: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "auto|always|never", default_value = "auto")]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub color: ColorWhen,
    /// Say more in the log; twice for everything
    #[arg(short = 'v', long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The agent's socket, instead of the one in the configuration
    #[arg(long, global = true, value_name = "PATH", env = "LIFEBOAT_SOCKET", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub socket: Option<PathBuf>,
    /// Run the engine inside this process instead of talking to an agent
    #[arg(long, global = true)]
    pub embedded: bool,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Build a throw-away world with real servers, break it and bring it back
    Demo(DemoArgs),
    /// Write a first configuration: a repository, a source and a job
    Init(InitArgs),
    /// Show what is broken, what is at risk and what is running
    Status,
    /// Show the recovery point and recovery time of every service against its objective
    Objectives,
    /// Show success rate, sizes and what is stored
    Stats(StatsArgs),
    /// Look for what would keep a backup or a restore from working, with the remedy
    Doctor,
    /// Run, look at or stop the engine without a screen
    Agent {
        /// What to do; `run` when absent.
        #[command(subcommand)]
        command: Option<AgentCommand>,
    },
    /// Check or show the configuration
    Config {
        /// What to do.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// List, run and change jobs
    Job {
        /// What to do.
        #[command(subcommand)]
        command: JobCommand,
    },
    /// Back up paths without a job; works with no configuration and no agent
    Backup(BackupArgs),
    /// List, look into and verify snapshots
    Snapshot(SnapshotArgs),
    /// Restore a snapshot: plan, confirm, run
    Restore(RestoreArgs),
    /// Bring a PostgreSQL cluster back as it was at a point in time; works with no configuration and no agent
    Recover(Box<RecoverArgs>),
    /// List or cancel recoveries
    Recovery {
        /// What to do.
        #[command(subcommand)]
        command: RecoveryCommand,
    },
    /// Recover for practice, into a scratch place: list and run drills
    Drill {
        /// What to do.
        #[command(subcommand)]
        command: DrillCommand,
    },
    /// Go through runbooks: plan, run, resume, report
    Runbook {
        /// What to do.
        #[command(subcommand)]
        command: RunbookCommand,
    },
    /// Make, check and unlock a repository; works with no configuration and no agent
    Repo(RepoArgs),
    /// Show what is kept and why, and put the rest in the trash
    Retention {
        /// What to do.
        #[command(subcommand)]
        command: RetentionCommand,
    },
    /// Prune and check repositories through the agent, and see what was done
    Maintenance {
        /// What to do.
        #[command(subcommand)]
        command: MaintenanceCommand,
    },
    /// Archive and bring back the log of a PostgreSQL cluster; works with no configuration and no agent
    Wal(WalArgs),
    /// Put a restored database in the place of the live one, and back; works with no agent
    Database {
        /// What to do.
        #[command(subcommand)]
        command: DatabaseCommand,
    },
    /// Look at a primary and its standbys, and switch between them; works with no agent
    Cluster(ClusterArgs),
    /// List, acknowledge and resolve alerts
    Alert {
        /// What to do.
        #[command(subcommand)]
        command: AlertCommand,
    },
    /// Read and verify the audit log
    Journal {
        /// What to do.
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one a command into a directory
    Man {
        /// The directory to write to
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// A server of PostgreSQL.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// postgres://USER@HOST:PORT/DATABASE
    #[arg(
        long,
        value_name = "URL",
        required_unless_present = "source",
        conflicts_with = "source"
    )]
    pub server: Option<String>,
    /// The server of a source in the configuration
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// The file whose first line is the password on the server; else $PGPASSWORD
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub server_password_file: Option<PathBuf>,
}

/// `lifeboat demo`.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("played").args(["scenario", "drill"]))]
pub struct DemoArgs {
    /// Play the whole drill as a log, even on a terminal
    #[arg(long)]
    pub headless: bool,
    /// Where to build it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Leave it in place afterwards
    #[arg(long)]
    pub keep: bool,
    /// Play one incident and the runbook that cures it, as a log: failover, pitr, corruption, ransomware, region-loss
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// Play a runbook that comes with the program, as a drill and then in earnest; all of them with: all
    #[arg(long, value_name = "RUNBOOK", conflicts_with = "scenario")]
    pub drill: Option<String>,
    /// Where the report goes [default: a file in the temporary directory]
    #[arg(long, value_name = "FILE", requires = "played", value_hint = ValueHint::FilePath)]
    pub report: Option<PathBuf>,
}

fn level(word: &str) -> Result<EvidenceLevel, String> {
    EvidenceLevel::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = EvidenceLevel::ALL.into_iter().map(EvidenceLevel::word).collect();
        format!("expected one of: {}", words.join(", "))
    })
}
