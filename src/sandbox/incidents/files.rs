//! What can happen to the documents.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::sandbox::documents::Dice;

/// Every regular file, in a steady order; links are not followed.
pub(super) fn all_files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn overwrite(root: &Path) -> io::Result<String> {
    let mut dice = Dice(666);
    let mut count = 0;
    for path in all_files(root)?.into_iter().step_by(7) {
        let length = usize::try_from(fs::metadata(&path)?.len()).unwrap_or(0);
        let noise: Vec<u8> = (0..=length / 8)
            .flat_map(|_| dice.roll().to_le_bytes())
            .take(length.max(32))
            .collect();
        // A file that even its owner may not write is replaced instead, as a determined intruder would.
        if fs::write(&path, &noise).is_err() {
            fs::remove_file(&path)?;
            fs::write(&path, &noise)?;
        }
        count += 1;
    }
    Ok(format!("{count} files hold noise now, as after an encryption"))
}

/// What the intruder wants.
const NOTE: &str = "All your files are encrypted. This is a sandbox, so restore them.\n";

pub(super) fn encrypt(root: &Path) -> io::Result<String> {
    let mut dice = Dice(13);
    let mut count = 0;
    for path in all_files(root)? {
        let length = usize::try_from(fs::metadata(&path)?.len()).unwrap_or(0);
        let noise: Vec<u8> = (0..=length / 8).flat_map(|_| dice.roll().to_le_bytes()).collect();
        let mut locked = path.clone().into_os_string();
        locked.push(".locked");
        // A name can be too long for an ending.
        if fs::write(&locked, &noise).is_err() {
            fs::write(&path, &noise)?;
        } else {
            fs::remove_file(&path)?;
        }
        count += 1;
    }
    fs::write(root.join("READ ME.txt"), NOTE)?;
    Ok(format!("{count} files are encrypted and renamed, and there is a note"))
}

pub(super) fn delete(root: &Path) -> io::Result<String> {
    let mut count = 0;
    for path in all_files(root)?.into_iter().skip(3).step_by(5) {
        fs::remove_file(path)?;
        count += 1;
    }
    let whole = root.join("contracts");
    if whole.is_dir() {
        count += all_files(&whole)?.len();
        fs::remove_dir_all(whole)?;
    }
    Ok(format!("{count} files are gone, the whole of contracts among them"))
}
