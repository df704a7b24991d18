//! What the control file of a copy says, in the words of `pg_controldata`, which knows the layout of its version.

use std::path::Path;

use super::RecoveryError;
use crate::domain::wal::Lsn;
use crate::source::postgres::server::{Programs, RunAs, clean_command};

/// The control file of a copy, as `pg_controldata` tells it.
#[derive(Debug)]
pub struct ControlData(String);

impl ControlData {
    /// Asks the program that belongs to a copy. Blocks.
    pub fn read(data: &Path, programs: &Programs, user: Option<RunAs>) -> Result<Self, RecoveryError> {
        let program = programs.bin_dir.join("pg_controldata");
        let output = clean_command(&program, user).arg("-D").arg(data).output();
        let output = output.map_err(|error| RecoveryError::local("run", &program, &error))?;
        Ok(Self(String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    fn value<T: std::str::FromStr>(&self, label: &str) -> Option<T> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(label));
        line?.strip_prefix(':')?.trim().parse().ok()
    }

    /// A setting of the server that wrote it.
    pub fn setting(&self, label: &str) -> Option<u64> {
        self.value(&format!("{label} setting"))
    }

    /// How far what is on disk has been replayed at least: no recovery can stop in front of that any more.
    pub fn replayed(&self) -> Option<Lsn> {
        let redo: Option<Lsn> = self.value("Latest checkpoint's REDO location");
        redo.max(self.value("Minimum recovery ending location"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_a_limit_are_read() {
        let text = "Latest checkpoint location:           0/3000060\n\
                    Latest checkpoint's REDO location:    0/3000028\n\
                    Minimum recovery ending location:     0/5000110\n\
                    max_connections setting:              250\n";
        let control = ControlData(text.to_owned());
        assert_eq!(control.replayed(), Some(Lsn(0x500_0110)));
        assert_eq!(control.setting("max_connections"), Some(250));
        assert_eq!(control.setting("max_wal_senders"), None);
        let fresh = ControlData(text.replace("0/5000110", "0/0"));
        assert_eq!(fresh.replayed(), Some(Lsn(0x300_0028)));
    }
}
