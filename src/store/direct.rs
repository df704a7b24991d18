//! Writing a large new file past the page cache.
//!
//! An object is written once and seldom read soon, and the machine that is backed up has better use for its cache than
//! copies of its own backup. It is faster too: every byte is copied once, into a small buffer that stays warm, instead of
//! into pages that have to be found first and written out later.
//!
//! What cannot be written so (the last, odd bytes; everything, on a file system that does not know how) is written the
//! usual way into the same file. Nothing is durable before the file is synced, in either way.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Smaller files are not worth it.
const LEAST: usize = 1 << 20;
/// What addresses, offsets and lengths must be multiples of: the largest block of the disks there are.
const BLOCK: usize = 4096;
/// How much is handed over at a time.
const STEP: usize = 2 << 20;

/// Writes all of `data` into a new, empty file; it is not synced.
pub(super) fn write_all(file: &File, data: &[u8]) -> io::Result<()> {
    let whole = data.len() / BLOCK * BLOCK;
    if data.len() < LEAST || set_direct(file, true).is_err() {
        return file.write_all_at(data, 0);
    }
    let mut room = vec![0; STEP + BLOCK];
    let from = room.as_ptr().align_offset(BLOCK).min(BLOCK);
    let buffer = &mut room[from..from + STEP];
    let mut done = 0;
    while done < whole {
        let step = STEP.min(whole - done);
        buffer[..step].copy_from_slice(&data[done..done + step]);
        match file.write_all_at(&buffer[..step], done as u64) {
            Ok(()) => done += step,
            // A disk with larger blocks, or a file system that said yes too early.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
            Err(error) => return Err(error),
        }
    }
    set_direct(file, false)?;
    file.write_all_at(&data[done..], done as u64)
}

fn set_direct(file: &File, on: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, on);
    Ok(fcntl_setfl(file, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(dir: &std::path::Path) {
        for length in [0, 1, LEAST - 1, LEAST, LEAST + 1, 2 * STEP, 2 * STEP + BLOCK + 17] {
            let data: Vec<u8> = (0..=250u8).cycle().take(length).collect();
            let path = dir.join(format!("object-{length}"));
            let file = File::create_new(&path).unwrap();
            write_all(&file, &data).unwrap();
            assert!(std::fs::read(&path).unwrap() == data, "{length} bytes");
            assert!(!fcntl_getfl(&file).unwrap().contains(OFlags::DIRECT));
        }
    }

    #[test]
    fn every_length_comes_back() {
        round_trip(tempfile::tempdir().unwrap().path());
    }

    #[test]
    fn a_file_system_that_cannot_is_written_the_usual_way() {
        // Memory, on Linux; there is nothing to go past.
        round_trip(tempfile::tempdir_in("/dev/shm").unwrap().path());
    }
}
