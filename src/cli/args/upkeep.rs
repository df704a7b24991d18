//! Options of the commands that keep a repository in order, and of those that label snapshots.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};

/// `lifeboat repo prune`.
#[derive(Debug, Clone, Args)]
pub struct PruneArgs {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// How much unneeded data may stay in packs that are partly needed
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "5%")]
    pub max_unused: f64,
    /// Repack at most so much, for example 2GB; the rest waits for the next prune
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub max_repack: Option<u64>,
    /// How long data must have been found unneeded before it is deleted; 0 deletes at once
    #[arg(long, value_name = "DURATION", value_parser = length, default_value = "24h")]
    pub grace: Duration,
    /// How long forgotten snapshots stay in the trash
    #[arg(long, value_name = "DURATION", value_parser = length, default_value = "7d")]
    pub trash: Duration,
    /// The number of snapshots that are known to be lost, when a prune refuses because of them
    #[arg(long, value_name = "N")]
    pub accept_missing: Option<u64>,
    /// More than half of the data may go although most snapshots are still there
    #[arg(long)]
    pub accept_shrink: bool,
    /// The beginning of the repository's id, to confirm a prune that deletes at once
    #[arg(long, value_name = "ID")]
    pub yes: Option<String>,
}

/// `lifeboat repo copy`.
#[derive(Debug, Clone, Args)]
pub struct CopyArgs {
    /// Where the snapshots are: a path, a URL, or a name in the configuration
    #[arg(long, value_name = "URL")]
    pub from_repository: String,
    /// The file whose first line is the password of that repository; else the same as here
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub from_password_file: Option<PathBuf>,
    /// Which snapshots: prefixes of ids or `latest`; all when none is given
    pub ids: Vec<String>,
}

/// The verbs of `lifeboat repo trash`.
#[derive(Debug, Clone, Subcommand)]
pub enum TrashCommand {
    /// List forgotten snapshots that can come back, the last one forgotten first
    List,
    /// Bring a forgotten snapshot back, under the same id
    Restore {
        /// A prefix of its id
        id: String,
    },
}

/// Why, for the record.
#[derive(Debug, Clone, Default, Args)]
pub struct WhyArgs {
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `lifeboat snapshot tag`.
#[derive(Debug, Clone, Args)]
pub struct TagArgs {
    /// A prefix of its id, `latest` or `latest:JOB`
    pub id: String,
    /// A word to add
    #[arg(long, value_name = "TAG", required_unless_present = "remove")]
    pub add: Vec<String>,
    /// A word to take away
    #[arg(long, value_name = "TAG")]
    pub remove: Vec<String>,
}

fn percent(text: &str) -> Result<f64, String> {
    let expected = || format!("\"{text}\" is no share; write for example 5% or 0%");
    let number: f64 = text.trim_end_matches('%').parse().map_err(|_| expected())?;
    (0.0..=100.0).contains(&number).then_some(number).ok_or_else(expected)
}

fn length(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    crate::domain::units::parse_duration(text).map(|length| Duration::from_millis(length.0))
}

/// Reads a size: `500M`, `2GB`, `1.5GiB`, `4096`; units are powers of 1024.
pub(in crate::cli) fn bytes(text: &str) -> Result<u64, String> {
    let expected = || format!("\"{text}\" is no size; write for example 500M or 2GB");
    let upper = text.trim().to_ascii_uppercase();
    let digits = upper.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match &upper[digits.len()..] {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 1,
        "M" | "MB" | "MIB" => 2,
        "G" | "GB" | "GIB" => 3,
        "T" | "TB" | "TIB" => 4,
        _ => return Err(expected()),
    };
    let unit = 1u64 << (10 * power);
    if let Ok(whole) = digits.trim().parse::<u64>() {
        return whole.checked_mul(unit).ok_or_else(expected);
    }
    let (whole, part) = digits.trim().split_once('.').ok_or_else(expected)?;
    if part.len() > 3 {
        return Err(expected());
    }
    let whole: u64 = whole.parse().map_err(|_| expected())?;
    let thousandths: u64 = format!("{part:0<3}").parse().map_err(|_| expected())?;
    whole
        .checked_mul(unit)
        .and_then(|bytes| bytes.checked_add(unit / 1000 * thousandths))
        .ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_shares_and_lengths_are_read() {
        assert_eq!(bytes("500M").unwrap(), 500 << 20);
        assert_eq!(bytes("2GB").unwrap(), 2 << 30);
        assert_eq!(bytes("4096").unwrap(), 4096);
        assert!((1_600_000_000..1_620_000_000).contains(&bytes("1.5GiB").unwrap()));
        for bad in ["", "M", "-1", "5X", "1.2345G", "99999999999T"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert!((percent("5%").unwrap() - 5.0).abs() < f64::EPSILON && percent("101%").is_err());
        assert_eq!(length("0").unwrap(), Duration::ZERO);
        assert_eq!(length("24h").unwrap(), Duration::from_hours(24));
    }
}
