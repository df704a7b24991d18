//! A tree of documents: nested, of many sizes, with names that trip careless programs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

/// How many ordinary files there are.
const FILES: u64 = 3000;
/// The directories at the top.
const DEPARTMENTS: [&str; 6] = [
    "contracts",
    "invoices",
    "photos",
    "reports 2026",
    "año nuevo",
    "archive",
];

/// Numbers that are the same every time (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// The next number.
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit.max(1)
    }
}

/// Makes the tree; stops between two files when nobody wants it any more.
pub(super) fn create(root: &Path, stop: &CancellationToken) -> io::Result<()> {
    let mut dice = Dice(7);
    for number in 0..FILES {
        if stop.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let department = DEPARTMENTS[usize::try_from(dice.below(6)).unwrap_or(0)];
        let directory = root
            .join(department)
            .join(format!("{:02}", dice.below(12)))
            .join(format!("{:x}", dice.below(5)));
        fs::create_dir_all(&directory)?;
        let path = directory.join(format!(
            "document-{number:04}.{}",
            ["txt", "pdf", "bin"][(number % 3) as usize]
        ));
        let size = match dice.below(100) {
            0 => 0,
            1..=60 => dice.below(4 << 10),
            61..=95 => dice.below(64 << 10),
            _ => dice.below(1 << 20),
        };
        write(&path, size, number % 3 == 0, &mut dice)?;
        if number % 17 == 0 {
            fs::set_permissions(
                &path,
                fs::Permissions::from_mode([0o600, 0o444, 0o755][(number % 3) as usize]),
            )?;
        }
        let age = Duration::from_secs(3600 + dice.below(200_000_000));
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) - age;
        let touch = long_ago + Duration::from_nanos(dice.below(1_000_000_000));
        fs::File::open(&path)?.set_modified(touch)?;
    }
    odd_names(root, &mut dice)?;
    // Two large files, one of them mostly holes.
    write(&root.join("archive/large.iso"), 24 << 20, false, &mut dice)?;
    let sparse = fs::File::create(root.join("archive/sparse.img"))?;
    sparse.set_len(16 << 20)?;
    (&sparse).write_all(b"begin")
}

/// Names and things that trip careless programs.
fn odd_names(root: &Path, dice: &mut Dice) -> io::Result<()> {
    let odd = root.join("odd");
    fs::create_dir_all(odd.join("empty directory"))?;
    let long = "n".repeat(200);
    let names = [
        " leading space",
        "-rf",
        "quote'\"s",
        "tab\tand\nnewline",
        "*?[glob]",
        "日本語 ñ",
        "back\\slash",
        "$HOME;#",
        long.as_str(),
    ];
    for name in names {
        write(&odd.join(name), 1000, true, dice)?;
    }
    // Not every file system takes a name that is not UTF-8.
    let _ = write(&odd.join(OsStr::from_bytes(b"latin-1 \xf1 and \xff")), 1000, true, dice);
    symlink("../contracts", odd.join("link to a directory"))?;
    symlink("-rf", odd.join("link to a file"))?;
    symlink("/nowhere/at all", odd.join("dangling link"))?;
    fs::hard_link(odd.join("-rf"), odd.join("hard link"))
}

fn write(path: &Path, size: u64, text: bool, dice: &mut Dice) -> io::Result<()> {
    let mut out = io::BufWriter::new(fs::File::create(path)?);
    let mut left = usize::try_from(size).unwrap_or(0);
    while left > 0 {
        let roll = dice.roll();
        let line;
        let piece: &[u8] = if text {
            line = format!(
                "item {:5} was delivered to shelf {:3}, signed {:04x}\n",
                roll % 70_000,
                roll % 311,
                roll >> 48
            );
            line.as_bytes()
        } else {
            &roll.to_le_bytes()
        };
        let piece = &piece[..piece.len().min(left)];
        out.write_all(piece)?;
        left -= piece.len();
    }
    out.flush()
}

/// Everything that is known of one entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A directory: mode and time of last change.
    Directory(u32, (i64, i64)),
    /// A file: mode, time of last change, size, SHA-256.
    File(u32, (i64, i64), u64, [u8; 32]),
    /// A link: where it points.
    Link(PathBuf),
}

impl Entry {
    /// Its size, when it is a file.
    pub(super) fn size(&self) -> u64 {
        if let Self::File(_, _, size, _) = self { *size } else { 0 }
    }
}

/// A tree, by paths relative to its top.
pub(super) type Inventory = BTreeMap<PathBuf, Entry>;

/// Reads a whole tree, every byte of every file.
pub(super) fn inventory(root: &Path) -> io::Result<Inventory> {
    let mut found = Inventory::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let relative = directory.join(entry?.file_name());
            let path = root.join(&relative);
            let facts = fs::symlink_metadata(&path)?;
            let (mode, changed) = (facts.mode() & 0o7777, (facts.mtime(), facts.mtime_nsec()));
            let entry = if facts.is_symlink() {
                Entry::Link(fs::read_link(&path)?)
            } else if facts.is_dir() {
                todo.push(relative.clone());
                Entry::Directory(mode, changed)
            } else {
                Entry::File(mode, changed, facts.len(), hash(&path)?)
            };
            found.insert(relative, entry);
        }
    }
    Ok(found)
}

fn hash(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = fs::File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    while let count @ 1.. = file.read(&mut buffer)? {
        digest.update(&buffer[..count]);
    }
    Ok(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_the_same_every_time_and_an_inventory_sees_every_change() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        create(one.path(), &CancellationToken::new()).unwrap();
        create(two.path(), &CancellationToken::new()).unwrap();
        let files = |inventory: Inventory| -> Vec<(PathBuf, Entry)> {
            inventory
                .into_iter()
                .filter(|(path, entry)| entry.size() > 0 && !path.starts_with("odd"))
                .collect()
        };
        let before = inventory(one.path()).unwrap();
        assert!(before.len() > 3000);
        let same = |(path, entry): (PathBuf, Entry)| match entry {
            Entry::File(mode, _, size, hash) => (path, mode, size, hash),
            _ => unreachable!(),
        };
        let ours: Vec<_> = files(before.clone()).into_iter().map(same).collect();
        let theirs: Vec<_> = files(inventory(two.path()).unwrap()).into_iter().map(same).collect();
        assert_eq!(ours, theirs);

        let path = one.path().join("odd/-rf");
        let facts = fs::metadata(&path).unwrap();
        let mut content = fs::read(&path).unwrap();
        content[10] ^= 1;
        fs::write(&path, content).unwrap();
        fs::File::open(&path)
            .unwrap()
            .set_modified(facts.modified().unwrap())
            .unwrap();
        let after = inventory(one.path()).unwrap();
        let changed: Vec<_> = before
            .iter()
            .filter(|(path, entry)| after.get(*path) != Some(entry))
            .collect();
        assert_eq!(changed.len(), 2, "the file and its hard link: {changed:?}");
    }
}
