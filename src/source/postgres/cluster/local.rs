//! The data directory of a member on this machine: whether a server runs on it, and what its control file says.
//!
//! A directory counts as stopped only when that is sure: no `postmaster.pid`, or one whose process is gone or is another. What
//! cannot be looked at is [`LocalState::Unknown`], which nothing takes for stopped.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::io::AsyncReadExt;

use crate::clock::Clock;
use crate::domain::cluster::{Control, LocalSeen, LocalState, Member};
use crate::source::SourceError;
use crate::source::postgres::child::Program;
use crate::source::postgres::process::{Occupant, server_on};
use crate::source::postgres::tools::Tools;

/// More than `pg_controldata` ever prints.
const MOST_PRINTED: u64 = 64 << 10;

/// Who owns a directory, when somebody else has to work on it for them: only root can.
pub(super) fn owner(directory: &Path) -> Result<Option<(u32, u32)>, SourceError> {
    let meta = fs::metadata(directory).map_err(|error| SourceError::local("read", directory, &error))?;
    let (user, group) = (meta.uid(), meta.gid());
    let me = nix::unistd::geteuid();
    if me.as_raw() == user {
        return Ok(None);
    }
    if !me.is_root() {
        return Err(SourceError::Invalid {
            what: format!("{} belongs to another user (number {user})", directory.display()),
            hint: Some("run it as that user, or as root".to_owned()),
        });
    }
    Ok(Some((user, group)))
}

/// Looks at the data directory of a member; none when the definition names none.
pub(super) async fn look(member: &Member, clock: &Clock) -> Option<LocalSeen> {
    let directory = member.data_directory.clone()?;
    let place = directory.clone();
    let state = tokio::task::spawn_blocking(move || state(&place)).await;
    let mut state = state.unwrap_or_else(|error| LocalState::Unknown { why: error.to_string() });
    let mut control = None;
    if matches!(state, LocalState::Running { .. } | LocalState::Stopped) {
        match read_control(member, &directory, clock).await {
            Ok(found) => control = Some(found),
            // Whose directory it is has to be known before anything is done to it.
            Err(error) => state = LocalState::Unknown { why: error.to_string() },
        }
    }
    Some(LocalSeen {
        directory,
        state,
        control,
    })
}

fn state(directory: &Path) -> LocalState {
    let unknown = |error: &std::io::Error| LocalState::Unknown { why: error.to_string() };
    match fs::metadata(directory.join("PG_VERSION")) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match fs::read_dir(directory).map(|mut entries| entries.next().is_some()) {
                Ok(false) => LocalState::Empty,
                Err(error) if error.kind() == ErrorKind::NotFound => LocalState::Empty,
                Ok(true) => LocalState::Unknown {
                    why: "it holds files, and is no data directory of PostgreSQL".to_owned(),
                },
                Err(error) => unknown(&error),
            };
        }
        Err(error) => return unknown(&error),
    }
    match server_on(directory) {
        Occupant::Nobody => LocalState::Stopped,
        Occupant::Server(pid) => LocalState::Running { pid },
        Occupant::Unclear(why) => LocalState::Unknown { why },
    }
}

/// What the control file says, in the words of `pg_controldata`.
pub(super) async fn read_control(member: &Member, directory: &Path, clock: &Clock) -> Result<Control, SourceError> {
    let version = directory.join("PG_VERSION");
    let text = tokio::fs::read_to_string(&version).await;
    let text = text.map_err(|error| SourceError::local("read", &version, &error))?;
    let major = text.trim().parse().unwrap_or(0);
    let configured = member.connection.bin_dir.as_deref();
    let tools = Tools::find("pg_controldata", configured, major, 0, clock).await?;
    let program = Program::new(
        "pg_controldata",
        &tools.program("pg_controldata"),
        directory.display().to_string(),
    )
    .arg("--pgdata")
    .arg(directory)
    .of_user(owner(directory)?);
    let mut running = program.start(None)?;
    let mut printed = String::new();
    if let Some(out) = running.take_stdout() {
        let read = out.take(MOST_PRINTED).read_to_string(&mut printed).await;
        read.map_err(|error| SourceError::local("read", directory, &error))?;
    }
    running.finish().await?;
    parse(&printed).ok_or_else(|| SourceError::Invalid {
        what: format!("the control file of {} is not understood", directory.display()),
        hint: Some(format!("look at it with: pg_controldata {}", directory.display())),
    })
}

fn parse(printed: &str) -> Option<Control> {
    let value = |name: &str| {
        let line = printed
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let state = value("Database cluster state")?;
    let hints = value("wal_log_hints setting").is_some_and(|value| value == "on");
    let checksums = value("Data page checksum version").is_some_and(|value| value != "0");
    Some(Control {
        system: value("Database system identifier")?.parse().ok()?,
        timeline: crate::domain::wal::TimelineId(value("Latest checkpoint's TimeLineID")?.parse().ok()?),
        checkpoint: value("Latest checkpoint location")?.parse().ok()?,
        clean: state == "shut down" || state == "shut down in recovery",
        standby: state == "shut down in recovery" || state == "in archive recovery",
        rewindable: hints || checksums,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::wal::Lsn;

    const PRINTED: &str = "pg_control version number:            1300
Database system identifier:           7561234567890123456
Database cluster state:               shut down
Latest checkpoint location:           0/3000028
Latest checkpoint's TimeLineID:       2
wal_log_hints setting:                off
Data page checksum version:           1
";

    #[test]
    fn the_control_file_is_read() {
        let control = parse(PRINTED).unwrap();
        assert_eq!((control.checkpoint, control.timeline.0), (Lsn(0x300_0028), 2));
        assert!(control.clean && control.rewindable && !control.standby);
        let standby = PRINTED.replace("shut down", "in archive recovery");
        assert!(parse(&standby).unwrap().standby);
        let crashed = PRINTED
            .replace("shut down", "in production")
            .replace("version:           1", "version:           0");
        let control = parse(&crashed).unwrap();
        assert!(!control.clean && !control.rewindable);
        assert!(parse("").is_none());
    }

    #[test]
    fn a_directory_is_stopped_only_when_that_is_sure() {
        let dir = tempfile::tempdir().unwrap();
        let of = || state(dir.path());
        assert_eq!(of(), LocalState::Empty);
        assert_eq!(state(&dir.path().join("none")), LocalState::Empty);
        fs::write(dir.path().join("something"), "").unwrap();
        assert!(matches!(of(), LocalState::Unknown { .. }));
        fs::write(dir.path().join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(of(), LocalState::Stopped);
        let pid = dir.path().join("postmaster.pid");
        // Our own process lives elsewhere: the number was given out again.
        fs::write(&pid, format!("{}\n", std::process::id())).unwrap();
        assert_eq!(of(), LocalState::Stopped);
        fs::write(&pid, "").unwrap();
        assert!(matches!(of(), LocalState::Unknown { .. }));
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .current_dir(dir.path())
            .spawn()
            .unwrap();
        fs::write(&pid, format!("{}\n", child.id())).unwrap();
        assert_eq!(of(), LocalState::Running { pid: child.id() });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(of(), LocalState::Stopped);
    }
}
