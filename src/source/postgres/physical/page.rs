//! Checksums of pages, as PostgreSQL computes them when `data_checksums` is on.
//!
//! The algorithm is published in PostgreSQL's `storage/checksum_impl.h`: 32 FNV-1a sums side by side, each round with a shift
//! that lets high bits reach low ones; the sums are mixed with the number of the page in its relation, so that a page in a
//! wrong place is found too. Zero never is a checksum.
//!
//! A page starts with the place in the log of its last change (8 bytes), then the checksum (2 bytes).

use crate::domain::wal::Lsn;

/// The size of a page. Servers built with another size are read without looking at their pages.
pub(super) const PAGE: usize = 8192;
const SUMS: usize = 32;
const ROUNDS: usize = PAGE / (4 * SUMS);
const PRIME: u32 = 16_777_619;
const OFFSETS: [u32; SUMS] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// What a look at a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what was written, or was never written.
    Sound,
    /// Its checksum is wrong.
    Wrong {
        /// The place in the log of its last change, if that can be believed.
        lsn: Lsn,
        /// What stands in it.
        expected: u16,
        /// What its bytes have.
        found: u16,
    },
}

/// Looks at a page; `number` is that in its relation, over all its files.
pub(super) fn look(page: &[u8; PAGE], number: u32) -> Verdict {
    let word = |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
    let short = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
    // Where free space ends; a page that was never initialized has a zero there, and is all zeros.
    let never_written = short(14) == 0;
    if never_written && page.iter().all(|byte| *byte == 0) {
        return Verdict::Sound;
    }
    let (expected, found) = (short(8), checksum(page, number));
    if expected == found && !never_written {
        return Verdict::Sound;
    }
    let lsn = Lsn(u64::from(word(0)) << 32 | u64::from(word(4)));
    Verdict::Wrong { lsn, expected, found }
}

/// The checksum of a page, whatever stands in the place where it is kept.
pub(super) fn checksum(page: &[u8; PAGE], number: u32) -> u16 {
    let mut sums = OFFSETS;
    for round in 0..ROUNDS {
        let row = &page[round * 4 * SUMS..(round + 1) * 4 * SUMS];
        for (at, (sum, bytes)) in sums.iter_mut().zip(row.chunks_exact(4)).enumerate() {
            let mut value = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            if round == 0 && at == 2 {
                // The checksum itself counts as zero.
                value &= 0xffff_0000;
            }
            *sum = mix(*sum, value);
        }
    }
    let folded = sums.iter().fold(0, |all, sum| all ^ mix(mix(*sum, 0), 0));
    // One to 65535.
    u16::try_from((folded ^ number) % 65_535 + 1).unwrap_or_default()
}

#[inline]
fn mix(sum: u32, value: u32) -> u32 {
    let mixed = sum ^ value;
    mixed.wrapping_mul(PRIME) ^ (mixed >> 17)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(number: u32) -> [u8; PAGE] {
        let mut page = [7; PAGE];
        let sum = checksum(&page, number);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn a_page_is_sound_only_as_it_was_written_and_where() {
        let page = sound(131_073);
        assert_eq!(look(&page, 131_073), Verdict::Sound);
        assert!(
            matches!(look(&page, 131_072), Verdict::Wrong { .. }),
            "in another place"
        );
        for at in [0, 8, 9, 10, 4096, PAGE - 1] {
            let mut bad = page;
            bad[at] ^= 0x10;
            assert!(matches!(look(&bad, 131_073), Verdict::Wrong { .. }), "byte {at}");
        }
    }

    #[test]
    fn an_empty_page_is_sound_and_one_that_is_nearly_empty_is_not() {
        let mut page = [0; PAGE];
        assert_eq!(look(&page, 5), Verdict::Sound);
        page[PAGE - 1] = 1;
        assert!(matches!(look(&page, 5), Verdict::Wrong { .. }));
    }

    #[test]
    fn the_place_in_the_log_is_read() {
        let mut page = sound(0);
        page[..4].copy_from_slice(&0x16u32.to_le_bytes());
        page[4..8].copy_from_slice(&0xB374_D848u32.to_le_bytes());
        let Verdict::Wrong { lsn, .. } = look(&page, 0) else {
            panic!("it was changed")
        };
        assert_eq!(lsn.to_string(), "16/B374D848");
    }
}
