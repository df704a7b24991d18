//! Options of `lifeboat recover`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueHint};

use super::RepositoryArgs;
use crate::domain::pitr::TimelineChoice;
use crate::domain::wal::{Lsn, SystemId, TimelineId};

/// `lifeboat recover`.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("point").multiple(false))]
#[command(group = ArgGroup::new("what").multiple(false))]
#[command(
    after_help = "A recovery lays a base backup into a new directory, replays the archived log on a private server up to the \
                  target, and opens it there. With --pause the server stays at the target, for reading, until --promote, \
                  --resume or --discard. The same command again goes on after an interruption.\n\n\
                  Times are in UTC unless they say otherwise: \"2026-03-01 14:30:00+01:00\", \"2026-03-01 14:30 Europe/Berlin\"."
)]
pub struct RecoverArgs {
    /// Where the snapshots and the log are.
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// The source in the configuration
    pub source: Option<String>,
    /// The cluster, when the repository holds several
    #[arg(long, value_name = "ID")]
    pub system: Option<SystemId>,

    /// Everything there is
    #[arg(long, group = "point", help_heading = "To which point")]
    pub latest: bool,
    /// What was committed by then
    #[arg(long, value_name = "TIME", group = "point", help_heading = "To which point")]
    pub to: Option<String>,
    /// A position in the log
    #[arg(long, value_name = "LSN", group = "point", help_heading = "To which point")]
    pub to_lsn: Option<Lsn>,
    /// A transaction
    #[arg(long, value_name = "XID", group = "point", help_heading = "To which point")]
    pub to_xid: Option<u64>,
    /// A named restore point
    #[arg(long, value_name = "NAME", group = "point", help_heading = "To which point")]
    pub to_name: Option<String>,
    /// The end of the base backup
    #[arg(long, group = "point", help_heading = "To which point")]
    pub immediate: bool,
    /// Without what happened exactly there
    #[arg(long, help_heading = "To which point")]
    pub exclusive: bool,
    /// latest, current (that of the newest base backup), or a number
    #[arg(long, value_name = "T", default_value = "latest", value_parser = timeline, help_heading = "To which point")]
    #[arg(hide_default_value = true)]
    pub timeline: TimelineChoice,
    /// Begin from this snapshot instead of the newest that fits
    #[arg(long, value_name = "ID", help_heading = "To which point")]
    pub base: Option<String>,

    /// The directory the cluster is laid into
    #[arg(long, value_name = "DIR", group = "what", value_hint = ValueHint::DirPath)]
    pub target: Option<PathBuf>,
    /// Only show which instants can be restored
    #[arg(long, group = "what")]
    pub list: bool,
    /// Only say what would be done
    #[arg(long)]
    pub plan: bool,
    /// Stay at the target, for reading
    #[arg(long, conflicts_with = "start")]
    pub pause: bool,
    /// Leave the opened server running on its private socket
    #[arg(long)]
    pub start: bool,
    /// Make an old copy in the directory into the new one; only what differs is written
    #[arg(long)]
    pub delta: bool,
    /// Where a tablespace goes; by its name, number or old place
    #[arg(long, value_name = "OLD=NEW", value_parser = tablespace)]
    pub tablespace: Vec<(String, PathBuf)>,
    /// The superuser of the cluster; found out when absent
    #[arg(long, value_name = "ROLE")]
    pub user: Option<String>,
    /// Where the server's programs are; found by version when absent
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bin_dir: Option<PathBuf>,
    /// A setting of the recovering server, such as shared_preload_libraries=NAME
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<String>,
    /// The directory's name, to confirm that what is in it is replaced or removed
    #[arg(long, value_name = "NAME")]
    pub yes: Option<String>,

    /// Open the server that is paused on this directory
    #[arg(long, value_name = "DIR", group = "what", help_heading = "With a recovery that is paused", value_hint = ValueHint::DirPath)]
    pub promote: Option<PathBuf>,
    /// Go on to a later target, or start the server again at the same one
    #[arg(long, value_name = "DIR", group = "what", help_heading = "With a recovery that is paused", value_hint = ValueHint::DirPath)]
    pub resume: Option<PathBuf>,
    /// Stop the server and remove the directory
    #[arg(long, value_name = "DIR", group = "what", help_heading = "With a recovery that is paused", value_hint = ValueHint::DirPath)]
    pub discard: Option<PathBuf>,

    /// Recover only this table: the directory is removed afterwards
    #[arg(long, value_name = "SCHEMA.TABLE", requires_all = ["into", "target"], help_heading = "A single table")]
    #[arg(conflicts_with_all = ["pause", "start"])]
    pub table: Option<String>,
    /// The database the table is in; else the one it goes to
    #[arg(long, value_name = "NAME", requires = "table", help_heading = "A single table")]
    pub from_database: Option<String>,
    /// The live database it goes to: postgres://USER@HOST:PORT/NAME
    #[arg(long, value_name = "URL", requires = "table", help_heading = "A single table")]
    pub into: Option<String>,
    /// The file whose first line is the password of that one; else $PGPASSWORD
    #[arg(long, value_name = "FILE", requires = "into", help_heading = "A single table", value_hint = ValueHint::FilePath)]
    pub into_password_file: Option<PathBuf>,
    /// Its new name, in the same schema; TABLE_recovered_TIME when absent
    #[arg(
        long = "as",
        value_name = "NAME",
        requires = "table",
        help_heading = "A single table"
    )]
    pub new_name: Option<String>,
}

fn timeline(text: &str) -> Result<TimelineChoice, String> {
    match text {
        "latest" => Ok(TimelineChoice::Latest),
        "current" => Ok(TimelineChoice::Current),
        number => match number.parse() {
            Ok(number @ 1u32..) => Ok(TimelineChoice::Number(TimelineId(number))),
            _ => Err("expected latest, current, or a number from 1 on".to_owned()),
        },
    }
}

fn tablespace(text: &str) -> Result<(String, PathBuf), String> {
    let (old, new) = text.rsplit_once('=').ok_or("expected OLD=NEW")?;
    Ok((old.to_owned(), PathBuf::from(new)))
}

fn setting(text: &str) -> Result<String, String> {
    let (name, _) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
    if !plain {
        return Err("the name of a setting has letters, digits, dots and underscores".to_owned());
    }
    // What keeps the server private is not up for choice.
    let guarded = [
        "listen_addresses",
        "unix_socket_directories",
        "unix_socket_permissions",
        "port",
        "restore_command",
        "archive_mode",
        "archive_command",
        "archive_library",
        "primary_conninfo",
        "hba_file",
        "config_file",
        "recovery_target_action",
    ];
    if guarded.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!(
            "{name} is what keeps the recovering server to itself, and cannot be set"
        ));
    }
    Ok(text.to_owned())
}
