//! What the first role of a cluster is called, read from its files: who to log in as before anybody can be asked.
//!
//! `initdb` makes the role with number 10, who may do everything; its name is whatever the user of that day was called. It
//! stands in `pg_authid`, a table shared by all databases, whose file `global/pg_filenode.map` names. Layouts are those of
//! `src/include/utils/relmapper.h` and `src/include/storage/bufpage.h`, the same in PostgreSQL 13 to 18.
//!
//! What is found is only tried: the files of an online backup may hold any older state of the table.

use std::fs;
use std::path::Path;

/// `pg_authid`.
const TABLE: u32 = 1260;
/// The first role.
const FIRST_ROLE: u32 = 10;
/// The length of a name.
const NAME: usize = 64;
/// A file of roles larger than this is not read: some ten thousand roles fit.
const LIMIT: u64 = 8 << 20;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// The names that the first role of a cluster has had, in the order of its file; none when they cannot be read.
pub fn first_role(data: &Path) -> Vec<String> {
    let read = || -> Option<Vec<String>> {
        let file = file_of(&fs::read(data.join("global/pg_filenode.map")).ok()?)?;
        let path = data.join(format!("global/{file}"));
        if fs::metadata(&path).ok()?.len() > LIMIT {
            return None;
        }
        let bytes = fs::read(path).ok()?;
        Some(bytes.chunks(page_size(&bytes)?).flat_map(names).collect())
    };
    let mut found = read().unwrap_or_default();
    found.dedup();
    found
}

/// The number of the table's file, by the map.
fn file_of(map: &[u8]) -> Option<u32> {
    let count = usize::try_from(word(map, 4)?).ok()?.min(64);
    (0..count).find_map(|index| {
        let at = 8 + index * 8;
        (word(map, at)? == TABLE).then(|| word(map, at + 4)).flatten()
    })
}

/// Every page says how large it is.
fn page_size(bytes: &[u8]) -> Option<usize> {
    let size = usize::try_from(word(bytes, 16)? >> 16 & 0xff00).ok()?;
    (size.is_power_of_two() && size >= 512).then_some(size)
}

/// The names of the first role in one page.
fn names(page: &[u8]) -> Vec<String> {
    let lower = word(page, 12)
        .map_or(0, |word| (word & 0xffff) as usize)
        .min(page.len());
    let pointers = (24..lower.saturating_sub(3)).step_by(4);
    let tuples = pointers.filter_map(|at| {
        let offset = (word(page, at)? & 0x7fff) as usize;
        let header = usize::from(*page.get(offset + 22)?);
        let start = offset + header;
        if word(page, start)? != FIRST_ROLE {
            return None;
        }
        let name = page.get(start + 4..start + 4 + NAME)?;
        let end = name.iter().position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(&name[..end]).ok()?;
        (!name.is_empty()).then(|| name.to_owned())
    });
    tuples.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page() -> Vec<u8> {
        let mut page = vec![0; 8192];
        page[12..14].copy_from_slice(&32u16.to_le_bytes());
        page[18..20].copy_from_slice(&(8192u16 | 4).to_le_bytes());
        for (index, (oid, name)) in [(6171u32, "pg_monitor"), (10, "ana")].into_iter().enumerate() {
            let offset = 8192 - (index + 1) * 200;
            let at = 24 + index * 4;
            let pointer = u32::try_from(offset).unwrap() | 1 << 15 | 190 << 17;
            page[at..at + 4].copy_from_slice(&pointer.to_le_bytes());
            page[offset + 22] = 32;
            page[offset + 32..offset + 36].copy_from_slice(&oid.to_le_bytes());
            page[offset + 36..offset + 36 + name.len()].copy_from_slice(name.as_bytes());
        }
        page
    }

    #[test]
    fn the_name_is_found_through_the_map() {
        let dir = tempfile::tempdir().unwrap();
        assert!(first_role(dir.path()).is_empty());
        fs::create_dir(dir.path().join("global")).unwrap();
        let map: Vec<u8> = [0x0059_2717u32, 2, 1262, 1, 1260, 7]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        fs::write(dir.path().join("global/pg_filenode.map"), map).unwrap();
        fs::write(dir.path().join("global/7"), page()).unwrap();
        assert_eq!(first_role(dir.path()), ["ana"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(changes in prop::collection::vec((0usize..8192, any::<u8>()), 0..60), map in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut page = page();
            for (at, byte) in changes {
                page[at] = byte;
            }
            names(&page);
            page_size(&page);
            file_of(&map);
        }
    }
}
