//! `global/pg_control`: what a cluster says of itself on disk.
//!
//! Its head is the same in all versions from 13 to 18. Its checksum (CRC-32C) is its last field, whose place differs by
//! version; it is looked for where the sum of everything before it stands.

use super::PhysicalError;
use crate::domain::wal::{Lsn, SystemId, TimelineId};

/// The most it takes; the rest of the file is zeros.
const HEAD: usize = 512;

/// What a control file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Control {
    /// The cluster.
    pub(crate) system: SystemId,
    /// The newest checkpoint.
    pub(crate) checkpoint: Lsn,
    /// Where a recovery from it begins.
    pub(crate) redo: Lsn,
    /// The timeline it is on.
    pub(crate) timeline: TimelineId,
    /// Whether the server was running, or was not stopped in good order.
    pub(crate) in_use: bool,
}

impl Control {
    /// Reads it; a file that is being written just now has a wrong checksum, and can be read again.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, PhysicalError> {
        let wrong = |why: &str| PhysicalError::Malformed {
            what: "global/pg_control".to_owned(),
            why: why.to_owned(),
        };
        let head = &bytes[..bytes.len().min(HEAD)];
        let word = |at: usize| {
            head.get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .map(u32::from_le_bytes)
        };
        let long = |at: usize| {
            head.get(at..at + 8)
                .and_then(|bytes| bytes.try_into().ok())
                .map(u64::from_le_bytes)
        };
        let short = || wrong("it is cut");
        if !matches!(word(8), Some(1300..=9999)) {
            return Err(wrong("it is not the control file of PostgreSQL 13 or later"));
        }
        if !(200..head.len().saturating_sub(3))
            .step_by(4)
            .any(|at| word(at) == Some(crc32c(&head[..at])))
        {
            return Err(wrong("its checksum is wrong"));
        }
        // DB_SHUTDOWNED and DB_SHUTDOWNED_IN_RECOVERY are the states of a server that was stopped in good order.
        let in_use = !matches!(word(16).ok_or_else(short)?, 1 | 2);
        Ok(Self {
            system: SystemId(long(0).ok_or_else(short)?),
            checkpoint: Lsn(long(32).ok_or_else(short)?),
            redo: Lsn(long(40).ok_or_else(short)?),
            timeline: TimelineId(word(48).ok_or_else(short)?),
            in_use,
        })
    }
}

/// CRC-32C, a byte at a time: it is for a few hundred bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; 8192];
        bytes[..8].copy_from_slice(&7_301_234_567_890_123_456u64.to_le_bytes());
        bytes[8..12].copy_from_slice(&1300u32.to_le_bytes());
        bytes[16..20].copy_from_slice(&6u32.to_le_bytes());
        bytes[32..40].copy_from_slice(&0x200_0060u64.to_le_bytes());
        bytes[40..48].copy_from_slice(&0x200_0028u64.to_le_bytes());
        bytes[48..52].copy_from_slice(&3u32.to_le_bytes());
        let crc = crc32c(&bytes[..288]);
        bytes[288..292].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn the_sum_is_the_published_one() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_control_file_is_read_only_when_it_is_whole() {
        let control = Control::parse(&sample()).unwrap();
        assert_eq!(
            (control.redo, control.timeline, control.in_use),
            (Lsn(0x200_0028), TimelineId(3), true)
        );
        for at in [0, 9, 33, 287, 288] {
            let mut bad = sample();
            bad[at] ^= 4;
            assert!(Control::parse(&bad).is_err(), "byte {at}");
        }
        for length in [0, 8, 100, 291] {
            assert!(Control::parse(&sample()[..length]).is_err(), "{length} bytes");
        }
    }
}
