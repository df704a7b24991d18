//! Options of `lifeboat database`.

use clap::{Args, Subcommand};

use super::ServerArgs;

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
    /// On which server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
    /// The name of the live database, instead of typing it
    #[arg(long, value_name = "NAME")]
    pub yes: Option<String>,
}
