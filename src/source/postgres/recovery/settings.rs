//! What a recovering server is told, all of it on its command line.

use std::fs;
use std::path::Path;

use super::error::RecoveryError;
use super::run::{Replay, Then};
use crate::domain::pitr::Target;
use crate::source::postgres::server::{Launch, Programs, clean_command};

/// Whether the server is to wait at the end of the log instead of opening there.
pub(super) fn follows(replay: &Replay) -> bool {
    replay.then == Then::Pause && replay.plan.target == Target::Latest
}

/// Puts everything that recovery needs on the command line, and the signal into the copy.
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
    for (name, floor, label) in LIMITS {
        let needed = limits(&replay.data, programs, &launch, label)?;
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
    ("max_connections", 100, "max_connections setting:"),
    ("max_worker_processes", 8, "max_worker_processes setting:"),
    ("max_wal_senders", 10, "max_wal_senders setting:"),
    ("max_prepared_transactions", 0, "max_prepared_xacts setting:"),
    ("max_locks_per_transaction", 64, "max_locks_per_xact setting:"),
];

/// What the control file of a copy says of a limit.
fn limits(data: &Path, programs: &Programs, launch: &Launch, label: &str) -> Result<Option<u64>, RecoveryError> {
    let program = programs.bin_dir.join("pg_controldata");
    let output = clean_command(&program, launch.run_as()).arg("-D").arg(data).output();
    let output = output.map_err(|error| RecoveryError::local("run", &program, &error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    Ok(line.and_then(|value| value.trim().parse().ok()))
}
