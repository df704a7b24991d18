//! One file of a cluster into blocks, its pages looked at on the way.
//!
//! **Blocks** hold whole pages, so that a page that changed makes one new block and moves no other. Four pages a block: when
//! one page in twenty changed, a fifth of the blocks did.
//!
//! **Changes during the read are normal.** A page that is written while it is read may come half old and half new. The log from
//! the backup's start holds a full image of every page that is changed after it, and recovery writes it over whatever was
//! copied. So pages whose place in the log is past the start are not judged. One that is older and does not match its checksum
//! is read a second time, because only its second half may have been old; what is then still wrong is damage: it is copied as
//! it is and told. A page that claims a place past the end of the backup is judged too, once the end is known.
//!
//! A file that shrinks ends early, one that vanishes is left out, one that grows is read as far as it was: recovery does again
//! what was done to it.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::page::{self, PAGE, Verdict};
use crate::domain::wal::Lsn;
use crate::repo::Content;
use crate::source::SourceError;
use crate::source::manifest::DamagedPage;

/// How much of a file of pages becomes one blob.
pub(super) const BLOCK: usize = 4 * PAGE;
/// How much of any other file becomes one blob.
const PART: usize = 1 << 20;
/// How much is read at a time.
const STEP: usize = 8 * BLOCK;
/// How many damaged pages are told one by one.
const KEPT: usize = 1000;

/// What is wrong with the pages of a cluster.
#[derive(Debug, Default)]
pub(super) struct Damage {
    pages: Vec<DamagedPage>,
    total: u64,
    /// Pages that were not judged because of the place in the log they claim.
    unjudged: Vec<(Lsn, DamagedPage)>,
}

impl Damage {
    fn add(&mut self, page: DamagedPage) {
        self.total += 1;
        if self.pages.len() < KEPT {
            self.pages.push(page);
        }
    }

    /// What is damaged, the end of the backup being known, and how many there are in all.
    pub(super) fn judge(mut self, stop: Lsn) -> (Vec<DamagedPage>, u64) {
        for (lsn, page) in std::mem::take(&mut self.unjudged) {
            if lsn > stop {
                self.add(page);
            }
        }
        (self.pages, self.total)
    }
}

/// How pages are looked at.
#[derive(Debug)]
pub(super) struct Pages {
    /// Where the backup began.
    pub(super) start: Lsn,
    /// How many pages a file of a relation has at most.
    pub(super) per_file: u32,
    pub(super) damage: Mutex<Damage>,
}

/// Where a page stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'a> {
    /// The file in the snapshot.
    pub(super) file: &'a str,
    /// Which of the files of its relation it is.
    pub(super) segment: u32,
}

impl Pages {
    /// Looks at the pages in `bytes`, which begin with page `first` of the file; `again` reads one a second time.
    pub(super) fn look(
        &self,
        bytes: &mut [u8],
        first: u64,
        spot: Spot<'_>,
        mut again: impl FnMut(u64) -> Option<[u8; PAGE]>,
    ) {
        for (at, bytes) in bytes.chunks_exact_mut(PAGE).enumerate() {
            let block = first + at as u64;
            // A relation has less than 2^32 pages; a file that is larger than it can be has wrong checksums anyway.
            let number = u64::from(spot.segment) * u64::from(self.per_file) + block;
            let number = u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
            let Ok(page) = <&[u8; PAGE]>::try_from(&*bytes) else {
                continue;
            };
            let mut verdict = page::look(page, number);
            if let Verdict::Wrong { lsn, .. } = verdict
                && lsn < self.start
                && let Some(second) = again(block)
            {
                verdict = page::look(&second, number);
                bytes.copy_from_slice(&second);
            }
            if let Verdict::Wrong { lsn, expected, found } = verdict {
                self.note(lsn, spot, block, (expected, found));
            }
        }
    }

    fn note(&self, lsn: Lsn, spot: Spot<'_>, block: u64, (expected, found): (u16, u16)) {
        let page = DamagedPage {
            file: spot.file.to_owned(),
            block,
            expected,
            found,
        };
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        if lsn < self.start {
            damage.add(page);
        } else if damage.unjudged.len() < KEPT {
            damage.unjudged.push((lsn, page));
        }
    }

    /// What was found.
    pub(super) fn into_damage(self) -> Damage {
        self.damage.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a file into its content; with `pages` it is a file of pages, and they are looked at.
pub(super) fn file(
    path: &Path,
    mut content: Content,
    spot: Spot<'_>,
    pages: Option<&Pages>,
    blocks: bool,
) -> Result<(), SourceError> {
    let failed = |error: std::io::Error| SourceError::local("read", path, &error);
    let opened = match File::open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            content.gone();
            return Ok(());
        }
        Err(error) => return Err(failed(error)),
    };
    content.announce(spot.file);
    let size = opened.metadata().map_err(failed)?.len();
    let part = if blocks { BLOCK } else { PART };
    let mut buffer = vec![0; if blocks { STEP } else { PART }];
    let mut at = 0;
    while at < size {
        let want = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
        let length = fill(&opened, &mut buffer[..want], at).map_err(failed)?;
        let bytes = &mut buffer[..length];
        if let Some(pages) = pages {
            pages.look(bytes, at / PAGE as u64, spot, |block| {
                let mut page = [0; PAGE];
                opened.read_exact_at(&mut page, block * PAGE as u64).ok().map(|()| page)
            });
        }
        for part in bytes.chunks(part) {
            content.push(part.to_vec())?;
        }
        at += length as u64;
        // It ends earlier than it did.
        if length < want {
            break;
        }
    }
    content.end();
    Ok(())
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], at + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(lsn: Lsn, number: u32) -> [u8; PAGE] {
        let mut page = [3; PAGE];
        page[..4].copy_from_slice(&u32::try_from(lsn.0 >> 32).unwrap().to_le_bytes());
        page[4..8].copy_from_slice(&u32::try_from(lsn.0 & 0xffff_ffff).unwrap().to_le_bytes());
        let sum = page::checksum(&page, number);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page
    }

    fn pages() -> Pages {
        Pages {
            start: Lsn(1000),
            per_file: 131_072,
            damage: Mutex::default(),
        }
    }

    #[test]
    fn damage_is_what_is_wrong_twice_and_was_not_being_written() {
        let spot = Spot {
            file: "/data/base/5/20.1",
            segment: 1,
        };
        let sound = |at: u32| written(Lsn(500), 131_072 + at);
        let torn = |lsn: u64, at: u32| {
            let mut page = written(Lsn(lsn), 131_072 + at);
            page[8000] ^= 1;
            page
        };
        let pages = pages();
        let mut bytes = sound(7).to_vec();
        for page in [torn(500, 8), torn(500, 9)] {
            bytes.extend(page);
        }
        for page in [torn(2000, 10), torn(9_000_000, 11)] {
            bytes.extend(page);
        }
        bytes.extend(sound(12));
        // The second read of page 9 finds it whole.
        let again = |block| {
            Some(if block == 9 {
                sound(9)
            } else {
                torn(500, u32::try_from(block).unwrap())
            })
        };
        pages.look(&mut bytes, 7, spot, again);
        assert!(
            bytes[2 * PAGE..3 * PAGE] == sound(9),
            "what was whole the second time is kept"
        );
        let (found, total) = pages.into_damage().judge(Lsn(5000));
        let blocks: Vec<u64> = found.iter().map(|page| page.block).collect();
        assert_eq!((blocks, total), (vec![8, 11], 2));
    }
}
