//! Options of `lifeboat cluster`.

use clap::{Args, Subcommand};

use crate::domain::cluster::Allowance;
use crate::domain::units::{parse_bytes, parse_duration};
use crate::domain::{Bytes, Millis};

/// `lifeboat cluster`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "A switchover, and the failback, which is the same the other way round:\n  lifeboat cluster fence CLUSTER            \
                  the primary takes no more writes\n  lifeboat cluster wait CLUSTER STANDBY     everything that was committed is \
                  there\n  lifeboat cluster promote CLUSTER STANDBY  it takes writes\n  lifeboat cluster rewind CLUSTER MEMBER    \
                  the old primary follows it"
)]
pub struct ClusterArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// The verbs of `lifeboat cluster`.
#[derive(Debug, Clone, Subcommand)]
pub enum ClusterCommand {
    /// Show who is what, how far behind, and what is wrong; ends with 0 when all is well, 3 when something is not, 1 when writes are not possible or are being lost
    Status {
        /// The cluster in the configuration; all of them when absent
        cluster: Option<String>,
    },
    /// Keep writers out of a primary: read-only, sessions ended, the fence command; proved
    Fence(FenceArgs),
    /// Let a fenced member take writes again
    Unfence(UnfenceArgs),
    /// Wait until a standby has replayed everything that was committed on the fenced primary
    Wait(WaitArgs),
    /// Make a standby the primary
    Promote(PromoteArgs),
    /// Have a stopped old primary follow the new one, by pg_rewind: only what differs is copied
    Rewind(RebuildArgs),
    /// Have a stopped member follow the primary, by pg_basebackup: all is copied, the old directory is kept
    Reclone {
        /// Which, and how
        #[command(flatten)]
        rebuild: RebuildArgs,
        /// Delete the old directory once the new one streams
        #[arg(long)]
        discard_old: bool,
    },
    /// Name the present place in the log, so that a recovery can go to it
    RestorePoint {
        /// The cluster in the configuration
        cluster: String,
        /// Its name, at most 63 bytes
        point: String,
    },
}

/// `lifeboat cluster fence`.
#[derive(Debug, Clone, Args)]
pub struct FenceArgs {
    /// The cluster in the configuration
    pub cluster: String,
    /// The member; the only primary when absent
    pub member: Option<String>,
    /// Vouch that the member is down and stays down; for one that does not answer
    #[arg(long, requires = "member")]
    pub gone: bool,
    /// How to go about it
    #[command(flatten)]
    pub act: ActArgs,
}

/// `lifeboat cluster unfence`.
#[derive(Debug, Clone, Args)]
pub struct UnfenceArgs {
    /// The cluster in the configuration
    pub cluster: String,
    /// The member; the fenced one when absent
    pub member: Option<String>,
    /// How to go about it
    #[command(flatten)]
    pub act: ActArgs,
}

/// `lifeboat cluster wait`.
#[derive(Debug, Clone, Args)]
pub struct WaitArgs {
    /// The cluster in the configuration
    pub cluster: String,
    /// The standby
    pub member: String,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub timeout: Millis,
}

/// `lifeboat cluster promote`.
#[derive(Debug, Clone, Args)]
pub struct PromoteArgs {
    /// The cluster in the configuration
    pub cluster: String,
    /// The standby
    pub member: String,
    /// How much of the old primary's log may be lost: a size, or any, also when it is not known; else max_loss of the cluster
    #[arg(long, value_name = "SIZE", value_parser = allowance)]
    pub allow_loss: Option<Allowance>,
    /// How long a standby that is only behind may take to catch up
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub patience: Millis,
    /// How to go about it
    #[command(flatten)]
    pub act: ActArgs,
}

/// `lifeboat cluster rewind` and `reclone`.
#[derive(Debug, Clone, Args)]
pub struct RebuildArgs {
    /// The cluster in the configuration
    pub cluster: String,
    /// The member whose data directory, on this machine, is overwritten
    pub member: String,
    /// Stop its server first, with the command in the configuration
    #[arg(long)]
    pub stop: bool,
    /// How long it may take to stream after its start
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub timeout: Millis,
    /// How to go about it
    #[command(flatten)]
    pub act: ActArgs,
}

/// How to go about something that changes a cluster.
#[derive(Debug, Clone, Args)]
pub struct ActArgs {
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
    /// The name of the member, instead of typing it
    #[arg(long, value_name = "NAME")]
    pub yes: Option<String>,
}

fn allowance(text: &str) -> Result<Allowance, String> {
    if text == "any" {
        return Ok(Allowance::Any);
    }
    let size: Bytes = parse_bytes(text).map_err(|error| format!("{error}, or any"))?;
    Ok(Allowance::AtMost(size))
}
