//! Options of the commands that talk to the agent or change the configuration.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueHint};

use super::{KeepArgs, level};
use crate::domain::snapshot::EvidenceLevel;
use crate::domain::wal::Lsn;

/// `lifeboat init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Where to write the configuration
    #[arg(long, value_name = "PATH", default_value = "lifeboat.toml", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// The repository to make
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub repository: Option<String>,
    /// The file that holds the repository's password; made with a random one when it does not exist
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,
    /// Paths to protect
    #[arg(long = "path", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// A PostgreSQL database to protect: postgres://USER@HOST:PORT/NAME, without a password
    #[arg(long, value_name = "URL")]
    pub postgres: Vec<String>,
    /// A PostgreSQL server whose whole cluster is protected: postgres://USER@HOST:PORT, without a password
    #[arg(long, value_name = "URL")]
    pub physical: Vec<String>,
    /// Protect every PostgreSQL server found on this machine whose whole cluster can be copied
    #[arg(long)]
    pub local_servers: bool,
    /// When the jobs run
    #[arg(long, value_name = "CRON", default_value = "0 2 * * *")]
    pub schedule: String,
    /// The time zone of the schedule
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub zone: String,
    /// Ask nothing; take flags and defaults
    #[arg(long)]
    pub yes: bool,
}

/// `lifeboat drill`.
#[derive(Debug, Clone, Subcommand)]
pub enum DrillCommand {
    /// Show the drills, how they ended and how long they took
    List,
    /// Do a drill now
    Run {
        /// Its name
        name: String,
        /// With the newest restore point, whatever the configuration says
        #[arg(long, conflicts_with_all = ["random", "to"])]
        latest: bool,
        /// With one at random
        #[arg(long, conflicts_with = "to")]
        random: bool,
        /// With what was there at this time
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Show how it goes, and end with its outcome
        #[arg(long)]
        wait: bool,
    },
}

/// `lifeboat stats`.
#[derive(Debug, Clone, Args)]
pub struct StatsArgs {
    /// Only this job
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// Only what is younger: 7d, 24h, or a date
    #[arg(long, value_name = "WHEN", default_value = "30d")]
    pub since: String,
}

/// `lifeboat agent`.
#[derive(Debug, Clone, Subcommand)]
pub enum AgentCommand {
    /// Run the engine in the foreground, until SIGTERM or `lifeboat agent stop`
    Run {
        /// Started on demand: leave the terminal behind and log to the state directory.
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// Show whether an agent answers, and which
    Status,
    /// End the agent in good order
    Stop,
}

/// `lifeboat config`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigCommand {
    /// Load the configuration and say what is wrong with it
    Check,
    /// Print the configuration as it was understood, without secrets
    Show,
}

/// `lifeboat job`.
#[derive(Debug, Clone, Subcommand)]
pub enum JobCommand {
    /// List jobs
    List,
    /// Show a job and its latest runs
    Show {
        /// The job
        name: String,
    },
    /// Run a job now
    Run {
        /// The job
        name: String,
        /// Wait for it to end, and end as it does
        #[arg(long)]
        wait: bool,
    },
    /// Print the log of a run
    Log {
        /// The job, for its latest run, or a run's id
        name: String,
    },
    /// Stop a job's run
    Cancel {
        /// The job, or a run's id
        name: String,
    },
    /// Let a job's schedule run it
    Enable {
        /// The job
        name: String,
    },
    /// Keep a job's schedule from running it
    Disable {
        /// The job
        name: String,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Add a job to the configuration, as a file of its own in conf.d
    Add(JobAddArgs),
    /// Change a job that was added this way
    Edit(JobEditArgs),
    /// Remove a job that was added this way
    Remove {
        /// The job
        name: String,
    },
}

/// `lifeboat job add`.
#[derive(Debug, Clone, Args)]
pub struct JobAddArgs {
    /// The job
    pub name: String,
    /// A source of the configuration; or give --path or --postgres to define one with the job's name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["paths", "postgres"])]
    pub source: Option<String>,
    /// Paths to protect
    #[arg(long = "path", value_name = "PATH", value_hint = ValueHint::AnyPath, conflicts_with = "postgres")]
    pub paths: Vec<PathBuf>,
    /// Patterns of what is left out
    #[arg(long, value_name = "GLOB", requires = "paths")]
    pub exclude: Vec<String>,
    /// A PostgreSQL database to protect: postgres://USER@HOST:PORT/NAME, without a password
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// The file that holds the role's password
    #[arg(long, value_name = "FILE", requires = "postgres", value_hint = ValueHint::FilePath)]
    pub postgres_password_file: Option<PathBuf>,
    /// The repository; the only one when there is one
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,
    /// When it runs; only by hand when absent
    #[arg(long, value_name = "CRON")]
    pub schedule: Option<String>,
    /// The time zone of the schedule
    #[arg(long, value_name = "ZONE", requires = "schedule")]
    pub zone: Option<String>,
    /// How far each new snapshot is proved
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    pub verify: Option<EvidenceLevel>,
    /// Free words on its snapshots
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// What is kept of its snapshots.
    #[command(flatten)]
    pub keep: KeepArgs,
}

/// `lifeboat job edit`. What is not given stays as it is.
#[derive(Debug, Clone, Args)]
pub struct JobEditArgs {
    /// The job
    pub name: String,
    /// When it runs
    #[arg(long, value_name = "CRON", conflicts_with = "no_schedule")]
    pub schedule: Option<String>,
    /// The time zone of the schedule
    #[arg(long, value_name = "ZONE", conflicts_with = "no_schedule")]
    pub zone: Option<String>,
    /// Run it only by hand
    #[arg(long)]
    pub no_schedule: bool,
    /// The repository of its next snapshots
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,
    /// How far each new snapshot is proved
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    pub verify: Option<EvidenceLevel>,
    /// A run that takes longer is stopped and has failed: 90m, 4h
    #[arg(long, value_name = "DURATION", value_parser = crate::domain::units::parse_duration)]
    pub timeout: Option<crate::domain::Millis>,
    /// The free words on its next snapshots, instead of those it has
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Keep every snapshot: no retention
    #[arg(long)]
    pub keep_all: bool,
    /// What is kept of its snapshots.
    #[command(flatten)]
    pub keep: KeepArgs,
}

/// `lifeboat recovery`.
#[derive(Debug, Clone, Subcommand)]
pub enum RecoveryCommand {
    /// List recoveries, newest first
    List {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Show one recovery: its phases and what it found
    Show {
        /// Its id
        id: String,
    },
    /// Stop a recovery, or what is being done with its server
    Cancel {
        /// Its id
        id: String,
    },
    /// Show the recovered servers that wait for somebody to say what becomes of them
    Waiting,
    /// Open the server that waits for writing; its directory is a cluster of its own then
    Promote(WaitingArgs),
    /// Move the server that waits on to a later target
    Move(MoveArgs),
    /// Start the server of a recovery again, which has ended, at the same target
    Resume {
        /// The recovery
        id: String,
        /// Wait for its end
        #[arg(long)]
        wait: bool,
    },
    /// Stop the server that waits and remove everything that was laid down
    Discard(WaitingArgs),
}

/// `lifeboat recovery promote` and `discard`.
#[derive(Debug, Clone, Args)]
pub struct WaitingArgs {
    /// The recovery
    pub id: String,
    /// The name of its directory, instead of typing it
    #[arg(long, value_name = "NAME")]
    pub yes: Option<String>,
    /// Wait for its end
    #[arg(long)]
    pub wait: bool,
}

/// `lifeboat recovery move`.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("point").multiple(false).required(true))]
pub struct MoveArgs {
    /// The recovery
    pub id: String,
    /// Everything there is
    #[arg(long, group = "point")]
    pub latest: bool,
    /// What was committed by then
    #[arg(long, value_name = "TIME", group = "point")]
    pub to: Option<String>,
    /// A position in the log
    #[arg(long, value_name = "LSN", group = "point")]
    pub to_lsn: Option<Lsn>,
    /// A transaction
    #[arg(long, value_name = "XID", group = "point")]
    pub to_xid: Option<u64>,
    /// A named restore point
    #[arg(long, value_name = "NAME", group = "point")]
    pub to_name: Option<String>,
    /// Without what happened exactly there
    #[arg(long)]
    pub exclusive: bool,
    /// Wait for its end
    #[arg(long)]
    pub wait: bool,
}

/// `lifeboat alert`.
#[derive(Debug, Clone, Subcommand)]
pub enum AlertCommand {
    /// List open alerts, most urgent first
    List {
        /// Also those that are resolved
        #[arg(long)]
        all: bool,
        /// At most so many resolved ones
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Take an alert: it is yours now
    Ack {
        /// Its key, as `alert list` shows it
        key: String,
        /// A remark
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Close an alert by hand; it opens again when its condition is seen again
    Resolve {
        /// Its key, as `alert list` shows it
        key: String,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// `lifeboat journal`.
#[derive(Debug, Clone, Subcommand)]
pub enum JournalCommand {
    /// Print the latest events, and with --follow what comes
    Tail {
        /// Go on printing
        #[arg(short, long)]
        follow: bool,
        /// How many
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
        lines: u32,
    },
    /// Print a page of events, newest first
    Page {
        /// Only of this job
        #[arg(long, value_name = "NAME")]
        job: Option<String>,
        /// Only this event, such as run_finished
        #[arg(long, value_name = "WORD")]
        event: Option<String>,
        /// Only what contains this text
        #[arg(long, value_name = "TEXT")]
        text: Option<String>,
        /// Only since then: 7d, 24h, 2026-03-01 or a full time
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
        /// Only until then
        #[arg(long, value_name = "WHEN")]
        until: Option<String>,
        /// Where the page begins, as the page before said
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Check that no event was changed, removed or put in
    Verify,
    /// Write every event, oldest first, a line of JSON each
    Export {
        /// Write to this file instead of the output; it must not exist
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
}
