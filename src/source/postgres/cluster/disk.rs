//! Keeping writers out of a primary that is down and whose data directory is on this machine, for whenever it is started.
//!
//! The mark and the setting of a fence are written into its `postgresql.auto.conf`, so that a server that somebody, or the
//! system, starts a minute later is read-only and says whose fence that is. It is proved by looking for processes before and
//! after: a server that was being started while the file was replaced may have read the old one, is found, and is an error.
//!
//! **Crash windows.** The file is replaced whole and durably. Killed before that nothing has changed, killed after it the
//! fence holds and is not noted; doing it again notes it. A server that was killed leaves processes behind for a moment, which
//! may still end a transaction: they are waited for.
//!
//! What this never does: end a process, or touch a directory that a server works in.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::follow::{AUTO, put};
use super::{ClusterError, ClusterHandle, Tell, local};
use crate::domain::Timestamp;
use crate::domain::cluster::{FenceMark, FencePlan, LocalState};
use crate::domain::id::MemberName;
use crate::source::SourceError;
use crate::source::postgres::process::servers_in;

/// How long what a killed server left behind may take to end.
const PATIENCE: Duration = Duration::from_secs(15);
const READ_ONLY: &str = "default_transaction_read_only";
const MARK: &str = "lifeboat.fence";

impl ClusterHandle {
    /// Stops a server that does not answer although a process has its data directory on this machine.
    pub async fn stop_hanging(&self, member: &MemberName, tell: Tell<'_>) -> Result<(), ClusterError> {
        let definition = self.member(member)?;
        let seen = local::look(definition, &self.clock).await;
        let Some(LocalState::Running { pid }) = seen.map(|seen| seen.state) else {
            return Ok(());
        };
        if definition.service.is_none() {
            return Ok(());
        }
        // Looked at right before: one that answers by now is not stopped.
        if super::look::ask(self, definition).await.server().is_some() {
            return Ok(());
        }
        tell(&format!(
            "{member} does not answer, and process {pid} has its data directory: stopping it"
        ));
        self.stop_service(member).await
    }

    /// Fences a member that is down, on its disk.
    pub(super) async fn fence_on_disk(
        &self,
        plan: &FencePlan,
        at: Timestamp,
        tell: Tell<'_>,
    ) -> Result<(), ClusterError> {
        let name = &plan.member;
        let member = self.member(name)?;
        let directory = member.data_directory.clone().ok_or_else(|| {
            ClusterError::from(SourceError::Invalid {
                what: format!("the data directory of {name} is not in the configuration"),
                hint: None,
            })
        })?;
        self.until_nobody(name, &directory).await?;
        let owner = local::owner(&directory)?;
        let control = local::read_control(member, &directory, &self.clock).await?;
        let path = directory.join(AUTO);
        let before = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(ClusterError::local("read", &path, &error)),
        };
        // A fence that is put up again keeps what it found the first time.
        let own = value(&before, MARK).and_then(|text| FenceMark::from_text(&text));
        let previous = match own.filter(|mark| mark.member == *name) {
            Some(mark) => mark.previous,
            None => value(&before, READ_ONLY),
        };
        let mark = FenceMark {
            member: name.clone(),
            by: self.by.clone(),
            at,
            // The end of its log is not known. Without a number of a transaction nobody takes this for it.
            lsn: Some(control.checkpoint),
            xid: None,
            previous,
        };
        tell(&format!(
            "{name} is down: setting it to read-only in {}",
            path.display()
        ));
        put(&path, fenced(&before, &mark).as_bytes(), owner)?;
        let synced = File::open(&directory).and_then(|dir| dir.sync_all());
        synced.map_err(|error| ClusterError::local("write", &directory, &error))?;
        let after = local::look(member, &self.clock).await.map(|seen| seen.state);
        if after != Some(LocalState::Stopped) || !servers_in(&directory).is_empty() {
            return Err(ClusterError::NotProved {
                what: format!("the fence of {name} is not proved"),
                why: "it was started at the same moment, perhaps with its old settings".to_owned(),
                next: format!("fence it again: lifeboat cluster fence {} {name}", self.cluster.name),
            });
        }
        tell(&format!(
            "{name} is down, no process has its data directory, and it is read-only when it is started"
        ));
        Ok(())
    }

    async fn until_nobody(&self, name: &MemberName, directory: &Path) -> Result<(), ClusterError> {
        let started = self.clock.monotonic();
        loop {
            let left = servers_in(directory);
            let Some(pid) = left.first() else { return Ok(()) };
            if self.clock.elapsed(started) > PATIENCE {
                return Err(ClusterError::NotProved {
                    what: format!("{name} is not surely down"),
                    why: format!("process {pid} of its server still works in {}", directory.display()),
                    next: "end it, then fence again".to_owned(),
                });
            }
            self.pause().await?;
        }
    }
}

fn name_of(line: &str) -> &str {
    line.trim_start().split(['=', ' ', '\t']).next().unwrap_or_default()
}

/// The value of a setting in a file that `ALTER SYSTEM` wrote; the last one counts.
fn value(text: &str, name: &str) -> Option<String> {
    let line = text.lines().rfind(|line| name_of(line).eq_ignore_ascii_case(name))?;
    let quoted = line.split_once('=')?.1.trim();
    let inner = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
    Some(inner.replace("''", "'").replace("\\\\", "\\"))
}

/// The settings with a fence.
fn fenced(before: &str, mark: &FenceMark) -> String {
    let kept =
        |line: &&str| !name_of(line).eq_ignore_ascii_case(READ_ONLY) && !name_of(line).eq_ignore_ascii_case(MARK);
    let mut text: String = before.lines().filter(kept).flat_map(|line| [line, "\n"]).collect();
    let quoted = mark.to_text().replace('\\', "\\\\").replace('\'', "''");
    text.extend([READ_ONLY, " = 'on'\n", MARK, " = '", &quoted, "'\n"]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::wal::Lsn;

    #[test]
    fn a_fence_on_disk_replaces_what_is_there_and_remembers_it() {
        let mark = FenceMark {
            member: "db1".into(),
            by: "o'neil@host".to_owned(),
            at: chrono::DateTime::UNIX_EPOCH,
            lsn: Some(Lsn(1)),
            xid: None,
            previous: None,
        };
        let before = "# made by ALTER SYSTEM\nshared_buffers = '1GB'\ndefault_transaction_read_only = 'off'\n";
        assert_eq!(value(before, READ_ONLY).as_deref(), Some("off"));
        let text = fenced(before, &mark);
        assert!(
            text.starts_with("# made by ALTER SYSTEM\nshared_buffers = '1GB'\ndefault_transaction_read_only = 'on'\n")
        );
        assert_eq!(text.matches(READ_ONLY).count(), 1);
        let read = FenceMark::from_text(&value(&text, MARK).unwrap());
        assert_eq!(read, Some(mark.clone()));
        assert_eq!(fenced(&text, &mark), text, "twice is once");
        assert_eq!(value(&text, "other"), None);
    }
}
