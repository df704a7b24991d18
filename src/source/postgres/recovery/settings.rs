//! What a recovering server is told, all of it on its command line.

use std::fs;
use std::path::Path;

use super::control::ControlData;
use super::error::RecoveryError;
use super::run::{Replay, Then};
use crate::domain::pitr::Target;
use crate::source::postgres::server::{Launch, Programs};

/// Whether the server is to wait at the end of the log instead of opening there.
pub(super) fn follows(replay: &Replay) -> bool {
    replay.then == Then::Pause && replay.plan.target == Target::Latest
}

/// Puts everything that recovery needs on the command line, and the signal into the copy. Blocks.
pub(super) fn configure(
    mut launch: Launch,
    replay: &Replay,
    programs: &Programs,
    door: &Path,
) -> Result<Launch, RecoveryError> {
    let (wanted, other) = if follows(replay) {
        ("standby.signal", "recovery.signal")
    } else {
        ("recovery.signal", "standby.signal")
    };
    let [wanted, other] = [wanted, other].map(|name| replay.data.join(name));
    fs::write(&wanted, "").map_err(|error| RecoveryError::local("write", &wanted, &error))?;
    if let Some(user) = launch.run_as() {
        user.give(&wanted)?;
    }
    match fs::remove_file(&other) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(RecoveryError::local("remove", &other, &error));
        }
        _ => {}
    }
    let control = ControlData::read(&replay.data, programs, launch.run_as())?;
    for (name, floor, label) in LIMITS {
        let needed = control.setting(label);
        launch = launch.set(format!("{name}={}", needed.unwrap_or(0).max(floor)));
    }
    let action = match replay.then {
        Then::Pause => "pause",
        Then::Open => "promote",
    };
    let word = |path: &Path| path.display().to_string().replace('\'', r"'\''").replace('%', "%%");
    launch = launch
        .set("hot_standby=on")
        .set("wal_retrieve_retry_interval=500ms")
        .set("max_wal_size=8GB")
        .set("checkpoint_timeout=30min")
        .set(format!("recovery_target_action={action}"))
        .set(format!(
            "restore_command='{}' wal fetch --door '{}' %f %p",
            word(&replay.program),
            word(door)
        ));
    for (name, value) in replay.plan.settings() {
        launch = launch.set(format!("{name}={value}"));
    }
    for setting in &replay.settings {
        launch = launch.set(setting.clone());
    }
    Ok(launch)
}

/// Limits a server that follows another's log must not go below, what they are at least, and their words in the control file.
const LIMITS: [(&str, u64, &str); 5] = [
    ("max_connections", 100, "max_connections"),
    ("max_worker_processes", 8, "max_worker_processes"),
    ("max_wal_senders", 10, "max_wal_senders"),
    ("max_prepared_transactions", 0, "max_prepared_xacts"),
    ("max_locks_per_transaction", 64, "max_locks_per_xact"),
];
