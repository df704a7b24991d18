//! Commands of the configuration around a cluster: explicit words, a clean environment, a time limit, killed with all it started.
//!
//! A command that starts a server leaves it behind: its output goes to files that need no reader, not to pipes that end.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::{ClusterError, ClusterHandle};
use crate::domain::id::MemberName;
use crate::domain::job::Hook;
use crate::source::{hook_command, kill_group};

/// What is told of a command that failed, in bytes from the end of what it said.
const TOLD: u64 = 2048;

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started, ends with anything but zero, or takes too long.
pub(super) async fn run(
    handle: &ClusterHandle,
    name: &str,
    hook: &Hook,
    member: &MemberName,
) -> Result<(), ClusterError> {
    let line = hook.command.join(" ");
    let failed = |why: String| ClusterError::Command {
        name: name.to_owned(),
        why,
        line: line.clone(),
    };
    let cannot = |error: std::io::Error| failed(error.to_string());
    let Some(mut command) = hook_command(hook) else {
        return Err(failed("there is no program to run".to_owned()));
    };
    let said = unnamed_file().map_err(cannot)?;
    let (out, err) = (said.try_clone().map_err(cannot)?, said.try_clone().map_err(cannot)?);
    command
        .env("LIFEBOAT_CLUSTER", handle.cluster.name.as_str())
        .env("LIFEBOAT_MEMBER", member.as_str())
        .current_dir("/")
        .stdout(out)
        .stderr(err);
    let mut child = command.spawn().map_err(cannot)?;
    let group = child.id();
    let end = tokio::select! {
        status = child.wait() => match status {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        },
        () = handle.clock.sleep(hook.timeout.to_std()) => format!("it took longer than {}", hook.timeout),
        () = handle.cancel.cancelled() => "it was cancelled".to_owned(),
    };
    // It and all it started, unless it has ended by itself.
    if let Ok(None) = child.try_wait() {
        kill_group(group);
        let _ = child.wait().await;
    }
    Err(failed(format!("{end}{}", tail(said))))
}

/// A file without a name, for what a command says: its last reader may be a server that runs for years.
fn unnamed_file() -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!("lifeboat-{}", crate::source::postgres::child::random_word()));
    let mut options = File::options();
    let file = options.create_new(true).read(true).write(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn tail(mut said: File) -> String {
    let length = said.metadata().map_or(0, |meta| meta.len());
    let mut bytes = Vec::new();
    let from = SeekFrom::Start(length.saturating_sub(TOLD));
    let read = said.seek(from).and_then(|_| said.take(TOLD).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes).trim().replace('\n', "; ");
    if read.is_err() || text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}
