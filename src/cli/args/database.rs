//! Options of `lifeboat database`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// The verbs of `lifeboat database`.
#[derive(Debug, Clone, Subcommand)]
pub enum DatabaseCommand {
    /// Give the name of a live database to a restored one, in one transaction; the live one is kept under another name
    Switch(SwitchArgs),
}

/// `lifeboat database switch`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Restore into a database of another name first, look at it, then switch. Back again is the same command with \
                  the name under which the live one was kept, which is printed."
)]
pub struct SwitchArgs {
    /// The database that everybody connects to
    pub live: String,
    /// The database that takes its place
    pub new: String,
    /// What the live one is called afterwards; else LIVE_before_TIME
    #[arg(long, value_name = "NAME")]
    pub keep_as: Option<String>,
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
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
    /// The name of the live database, instead of typing it
    #[arg(long, value_name = "NAME")]
    pub yes: Option<String>,
}
