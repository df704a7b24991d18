//! Options of retention and maintenance.

use clap::{Args, Subcommand};

use crate::domain::Millis;
use crate::domain::retention::{MAX_DELETE_PERCENT, RetentionPolicy};
use crate::domain::units::parse_duration;

/// What is kept of a job's snapshots, as options of `job add` and `job edit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Retention (else everything is kept)")]
pub struct KeepArgs {
    /// Keep the newest so many snapshots
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,
    /// Keep the newest of each of so many hours
    #[arg(long, value_name = "N")]
    pub keep_hourly: Option<u32>,
    /// Keep the newest of each of so many days
    #[arg(long, value_name = "N")]
    pub keep_daily: Option<u32>,
    /// Keep the newest of each of so many weeks
    #[arg(long, value_name = "N")]
    pub keep_weekly: Option<u32>,
    /// Keep the newest of each of so many months
    #[arg(long, value_name = "N")]
    pub keep_monthly: Option<u32>,
    /// Keep the newest of each of so many years
    #[arg(long, value_name = "N")]
    pub keep_yearly: Option<u32>,
    /// Keep all that are at most so much older than the newest
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub keep_within: Option<Millis>,
    /// Keep all with this word
    #[arg(long, value_name = "TAG")]
    pub keep_tag: Vec<String>,
    /// The part of a job's snapshots that may go at once
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub max_delete: Option<u8>,
}

impl KeepArgs {
    /// The policy with what these options change; the one before when they change nothing.
    pub fn changed(self, before: Option<&RetentionPolicy>, zone: &str) -> Option<RetentionPolicy> {
        if self == Self::default() {
            return before.cloned();
        }
        let old = before.cloned().unwrap_or_else(|| RetentionPolicy {
            zone: if zone.is_empty() {
                "UTC".to_owned()
            } else {
                zone.to_owned()
            },
            ..RetentionPolicy::default()
        });
        Some(RetentionPolicy {
            keep_last: self.keep_last.unwrap_or(old.keep_last),
            keep_hourly: self.keep_hourly.unwrap_or(old.keep_hourly),
            keep_daily: self.keep_daily.unwrap_or(old.keep_daily),
            keep_weekly: self.keep_weekly.unwrap_or(old.keep_weekly),
            keep_monthly: self.keep_monthly.unwrap_or(old.keep_monthly),
            keep_yearly: self.keep_yearly.unwrap_or(old.keep_yearly),
            keep_within: self.keep_within.or(old.keep_within),
            keep_tags: if self.keep_tag.is_empty() {
                old.keep_tags
            } else {
                self.keep_tag
            },
            max_delete: self.max_delete.unwrap_or(old.max_delete),
            zone: old.zone,
        })
    }
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<u8>().ok();
    number
        .filter(|percent| *percent <= 100)
        .ok_or_else(|| format!("expected a part such as {MAX_DELETE_PERCENT}%"))
}

/// `lifeboat retention`.
#[derive(Debug, Clone, Subcommand)]
pub enum RetentionCommand {
    /// Show what is kept and what would go, rule by rule; changes nothing
    Plan {
        /// Only this job; else every job with a policy
        #[arg(long, value_name = "NAME")]
        job: Option<String>,
    },
    /// Put what no rule keeps in the trash
    Apply {
        /// Only this job; else every job with a policy
        #[arg(long, value_name = "NAME")]
        job: Option<String>,
        /// The job's name (or all), to confirm that more goes at once than usually may
        #[arg(long, value_name = "NAME")]
        yes: Option<String>,
    },
}

/// `lifeboat maintenance`.
#[derive(Debug, Clone, Subcommand)]
pub enum MaintenanceCommand {
    /// List what was done to repositories, newest first
    List {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Let the agent remove what no snapshot needs, and wait for the end
    Prune {
        /// The repository's name in the configuration
        repository: String,
        /// Do not wait for the end
        #[arg(long)]
        no_wait: bool,
    },
    /// Let the agent look through a repository, and wait for the end
    Check {
        /// The repository's name in the configuration
        repository: String,
        /// How much of its data is read: 5%, 1/7 or all; else only the structure
        #[arg(long, value_name = "S")]
        read_data_subset: Option<String>,
        /// Do not wait for the end
        #[arg(long)]
        no_wait: bool,
    },
    /// Stop maintenance
    Cancel {
        /// Its id
        id: String,
    },
}
