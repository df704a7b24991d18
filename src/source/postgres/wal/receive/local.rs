//! The directory of a receiver: which cluster it is of, what has arrived in it, and what was left running in it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::FlockOperation;

use super::turn;
use crate::clock::Clock;
use crate::domain::wal::{SegmentName, SegmentSize, SystemId, WalName};
use crate::source::postgres::process::pids_with_argument;
use crate::source::postgres::wal::spool::{SpoolLock, private_dir, try_lock};
use crate::source::postgres::wal::{WalError, WalFile};

/// How long a process that was left over may take to end when it is asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where `pg_receivewal` writes, below it.
const INCOMING: &str = "incoming";

/// The directory of a receiver.
#[derive(Debug, Clone)]
pub(super) struct LocalDir {
    dir: PathBuf,
    incoming: PathBuf,
}

/// What has arrived.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// Histories first, then finished segments in order.
    pub(super) files: Vec<WalFile>,
    /// The newest segment that is still growing.
    pub(super) growing: Option<SegmentName>,
}

impl Arrived {
    /// Whether a file is the one `pg_receivewal` continues behind.
    pub(super) fn is_newest(&self, name: SegmentName) -> bool {
        let newest = self.files.iter().filter_map(|file| file.name.segment()).max();
        self.growing.max(newest).is_none_or(|newest| newest <= name)
    }
}

impl LocalDir {
    pub(super) fn open(dir: &Path) -> Result<Self, WalError> {
        private_dir(dir)?;
        // The child gets it as an argument, and what was left running is found by it.
        let dir = fs::canonicalize(dir).map_err(|error| WalError::local("read", dir, &error))?;
        let incoming = dir.join(INCOMING);
        private_dir(&incoming)?;
        Ok(Self { dir, incoming })
    }

    /// Where `pg_receivewal` writes.
    pub(super) fn incoming(&self) -> &Path {
        &self.incoming
    }

    pub(super) fn lock(&self) -> Result<SpoolLock, WalError> {
        let lock = try_lock(&self.dir, FlockOperation::NonBlockingLockExclusive)?;
        lock.map(SpoolLock::new).ok_or_else(|| WalError::Invalid {
            what: format!("another receiver works in {}", self.dir.display()),
            hint: "leave it to that one, or give this one a directory of its own",
        })
    }

    /// The cluster it is of, once that is known.
    pub(super) fn system(&self) -> Result<Option<SystemId>, WalError> {
        let path = self.dir.join("system");
        match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|error| WalError::corrupt(path.display().to_string(), format!("{error}"))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(WalError::local("read", &path, &error)),
        }
    }

    /// Notes the cluster it is of, before anything of it arrives; refuses another.
    pub(super) fn bind(&self, system: SystemId) -> Result<(), WalError> {
        match self.system()? {
            Some(expected) if expected == system => Ok(()),
            Some(expected) => Err(WalError::Foreign {
                file: format!("the server whose log is to be received into {}", self.dir.display()),
                found: system,
                expected,
            }),
            None => {
                let (temp, path) = (self.dir.join("system.new"), self.dir.join("system"));
                fs::write(&temp, format!("{system}\n"))
                    .and_then(|()| fs::rename(&temp, &path))
                    .map_err(|error| WalError::local("write", &path, &error))
            }
        }
    }

    /// What has arrived, whole or an error.
    pub(super) fn arrived(&self) -> Result<Arrived, WalError> {
        let failed = |error: std::io::Error| WalError::local("read", &self.incoming, &error);
        let mut arrived = Arrived::default();
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.incoming).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            match name.to_string_lossy().parse() {
                Ok(WalName::Partial(name)) => arrived.growing = arrived.growing.max(Some(name)),
                Ok(name) => names.push(name),
                Err(_) => {}
            }
        }
        names.sort_unstable();
        let found = names
            .iter()
            .map(|name| WalFile::at(&self.incoming.join(name.to_string())));
        arrived.files = found.collect::<Result<_, _>>()?;
        Ok(arrived)
    }

    /// Where the growing segment is.
    pub(super) fn growing(&self, name: SegmentName) -> PathBuf {
        self.incoming.join(WalName::Partial(name).to_string())
    }

    /// Gives the growing segment its whole length when its receiver was ended while it filled the new file with zeros.
    ///
    /// `pg_receivewal` does that before it writes anything, and refuses to go on with a file of another length for ever.
    pub(super) fn mend(&self, segment: u64) -> Result<(), WalError> {
        let Some(path) = self.arrived()?.growing.map(|name| self.growing(name)) else {
            return Ok(());
        };
        let mended = || -> std::io::Result<()> {
            let file = fs::OpenOptions::new().write(true).open(&path)?;
            if (1..segment).contains(&file.metadata()?.len()) {
                file.set_len(segment)?;
                file.sync_all()?;
            }
            Ok(())
        };
        mended().map_err(|error| WalError::local("mend", &path, &error))
    }

    /// Whether there is hardly room for more segments.
    pub(super) fn is_full(&self, segment: u64) -> bool {
        let Ok(room) = rustix::fs::statvfs(&self.incoming) else {
            return false;
        };
        room.f_bavail.saturating_mul(room.f_frsize) < 3 * segment
    }

    /// Removes what has arrived, all of which the archive has.
    pub(super) fn start_over(&self) -> Result<(), WalError> {
        let arrived = self.arrived()?;
        let growing = arrived.growing.map(|name| self.growing(name));
        for path in arrived.files.into_iter().map(|file| file.path).chain(growing) {
            fs::remove_file(&path).map_err(|error| WalError::local("remove", &path, &error))?;
        }
        Ok(())
    }

    /// The segment `pg_receivewal` would ask for; none when the directory does not say.
    pub(super) fn next(&self, size: SegmentSize) -> Result<Option<SegmentName>, WalError> {
        let arrived = self.arrived()?;
        let place = |name: &SegmentName| (name.start(size), name.timeline);
        let newest = arrived.files.iter().filter_map(|file| file.name.segment());
        Ok(turn::goes_on_at(arrived.growing, newest.max_by_key(place), size))
    }

    /// Has `pg_receivewal` begin with a segment. Everything that has arrived is in the archive, and goes.
    pub(super) fn begin_with(&self, name: SegmentName) -> Result<(), WalError> {
        self.start_over()?;
        let path = self.growing(name);
        // Without a length it is a file that was about to be begun.
        let made = fs::File::create(&path).and_then(|file| file.sync_all());
        made.map_err(|error| WalError::local("create", &path, &error))
    }

    /// Ends every `pg_receivewal` that a killed receiver left in this directory; returns which. Blocks.
    pub(super) fn reap(&self, clock: &Clock) -> Vec<u32> {
        end_left(&self.incoming, clock)
    }
}

/// Ends every `pg_receivewal` that was left running in the directory of a receiver that was killed. Blocks.
pub(super) fn reap_in(dir: &Path, clock: &Clock) {
    end_left(&dir.join(INCOMING), clock);
}

fn end_left(incoming: &Path, clock: &Clock) -> Vec<u32> {
    let left = left_running(incoming);
    for pid in &left {
        let begun = clock.monotonic();
        let mut signal = Signal::SIGTERM;
        while left_running(incoming).contains(pid) {
            if clock.elapsed(begun) > PATIENCE {
                signal = Signal::SIGKILL;
            }
            if let Ok(pid) = i32::try_from(*pid) {
                // One that has ended meanwhile needs no signal.
                let _ = kill(Pid::from_raw(pid), signal);
            }
            clock.block(Duration::from_millis(50));
        }
    }
    left
}

fn left_running(incoming: &Path) -> Vec<u32> {
    pids_with_argument(&super::server::directory_argument(incoming))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_segment_that_was_cut_off_while_it_was_made_gets_its_length() {
        let own = tempfile::tempdir().unwrap();
        let dir = LocalDir::open(own.path()).unwrap();
        let path = dir.incoming().join("000000010000000000000004.partial");
        let segment = 1 << 20;
        for (had, wanted) in [(0, 0), (5000, segment), (segment, segment)] {
            fs::write(&path, vec![7; usize::try_from(had).unwrap()]).unwrap();
            dir.mend(segment).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), wanted);
        }
        assert_eq!(fs::read(&path).unwrap()[..5000], [7; 5000]);
    }
}
