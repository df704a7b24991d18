//! The holes of a sparse file, found with `SEEK_DATA` and `SEEK_HOLE`, so that a hundred gigabytes of nothing take no time.
//!
//! A file system that knows no holes reports none, and then everything is read. A file that is written to while it is read
//! may lose a hole between the look and the read: that is a file that changed while it was read, and is listed as one.

use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;

/// The unit of [`MetadataExt::blocks`].
const BLOCK: u64 = 512;

/// Where the next hole of a file is.
#[derive(Debug)]
pub(super) struct Holes<'a> {
    file: &'a File,
    /// The length of the chunks of zeros.
    chunk: u64,
    size: u64,
    /// Begin and end of the last hole looked for; beyond the end of the file when there is none.
    hole: (u64, u64),
}

impl<'a> Holes<'a> {
    pub(super) fn of(file: &'a File, meta: &Metadata, chunk: usize) -> Self {
        let (chunk, size) = (chunk as u64, meta.size());
        // Most files have none, and are not asked.
        let sparse = size >= chunk && meta.blocks().saturating_mul(BLOCK) < size;
        Self {
            file,
            chunk,
            size,
            hole: if sparse { (0, 0) } else { (u64::MAX, u64::MAX) },
        }
    }

    /// How many chunks of zeros begin at `at`, where a chunk begins; when there are any, the file then stands behind them.
    pub(super) fn skip(&mut self, at: u64) -> io::Result<u64> {
        if self.size.saturating_sub(at) < self.chunk {
            return Ok(0);
        }
        let mut file = self.file;
        if at >= self.hole.1 {
            let here = file.stream_position()?;
            self.hole = self.next(at)?;
            file.seek(SeekFrom::Start(here))?;
        }
        if at < self.hole.0 {
            return Ok(0);
        }
        let count = self.hole.1.saturating_sub(at) / self.chunk;
        if count > 0 {
            file.seek(SeekFrom::Start(at + count * self.chunk))?;
        }
        Ok(count)
    }

    /// The first hole that ends behind `at`.
    fn next(&self, at: u64) -> io::Result<(u64, u64)> {
        let none = (u64::MAX, u64::MAX);
        let seek = |to| match rustix::fs::seek(self.file, to) {
            Ok(found) => Ok(Some(found)),
            // There is no data behind this place, or the file system does not know.
            Err(Errno::NXIO | Errno::INVAL) => Ok(None),
            Err(error) => Err(io::Error::from(error)),
        };
        match seek(rustix::fs::SeekFrom::Hole(at))? {
            Some(begin) if begin < self.size => {
                let end = seek(rustix::fs::SeekFrom::Data(begin))?.unwrap_or(self.size);
                Ok((begin, end.min(self.size)))
            }
            _ => Ok(none),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_whole_chunks_inside_a_hole_are_skipped() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100 << 20).unwrap();
        let mut writer = &file;
        writer.seek(SeekFrom::Start(30 << 20)).unwrap();
        writer.write_all(&[1; 4096]).unwrap();
        let mut holes = Holes::of(&file, &file.metadata().unwrap(), 8 << 20);
        writer.seek(SeekFrom::Start(123)).unwrap();
        assert_eq!(holes.skip(0).unwrap(), 3);
        assert_eq!(writer.stream_position().unwrap(), 24 << 20);
        assert_eq!(holes.skip(24 << 20).unwrap(), 0, "data comes before a whole chunk");
        writer.seek(SeekFrom::Start(33 << 20)).unwrap();
        assert_eq!(holes.skip((30 << 20) + 100).unwrap(), 0, "it is data");
        assert_eq!(
            writer.stream_position().unwrap(),
            33 << 20,
            "the file stands where it stood"
        );
        assert_eq!(holes.skip(31 << 20).unwrap(), 8);
        assert_eq!(holes.skip(95 << 20).unwrap(), 0, "the end is not a whole chunk");
        let dense = tempfile::tempfile().unwrap();
        (&dense).write_all(&vec![1; 100_000]).unwrap();
        assert_eq!(Holes::of(&dense, &dense.metadata().unwrap(), 8192).skip(0).unwrap(), 0);
    }
}
