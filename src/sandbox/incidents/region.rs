//! What can happen to servers, networks, disks and the places they are in.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Incidents, files};
use crate::domain::run::Failure;
use crate::domain::units::Bytes;
use crate::sandbox::member::{self, Member};
use crate::sandbox::settings::{NEAR_MOST, near_repository};

/// Of so many packs of a repository, one is damaged.
const EVERY: usize = 3;

impl Incidents {
    /// Cuts the way to the server the shop writes to, or opens all ways again.
    pub(super) fn cut(&self, cut: bool) -> Result<String, Failure> {
        let Some(ways) = &self.ways else {
            return Err(Failure::permanent("there is no network here", "install PostgreSQL"));
        };
        if !cut {
            for way in ways {
                way.send_replace(false);
            }
            return Ok("the ways to both servers are open again".to_owned());
        }
        let primary = named(&self.sandbox).map_err(|error| Failure::transient(error.to_string()))?;
        for (way, member) in ways.iter().zip(member::members(&self.sandbox)) {
            way.send_replace(member.name == primary.name);
        }
        Ok(format!(
            "the way to {} is cut: nobody reaches it but the shop, which goes on writing to it",
            primary.name
        ))
    }
}

/// The server that the name of the shop's database means.
fn named(sandbox: &Path) -> io::Result<Member> {
    let meant = fs::read_link(member::shop_name(sandbox))?;
    let found = member::members(sandbox)
        .into_iter()
        .find(|member| member.sockets() == meant);
    found.ok_or_else(|| io::Error::other(format!("{} is no server of the sandbox", meant.display())))
}

/// Kills the server that the shop writes to, as a loss of power would.
pub(super) fn kill_primary(sandbox: &Path) -> io::Result<String> {
    let primary = named(sandbox)?;
    match primary.kill()? {
        Some(pid) => Ok(format!("{}, process {pid}, was killed", primary.name)),
        None => Err(io::Error::other(format!("{} does not run", primary.name))),
    }
}

/// Loses everything that is in one place with `db1`: the server and its data, the documents, the near repository.
pub(super) fn lose(sandbox: &Path) -> io::Result<String> {
    let [near, _] = member::members(sandbox);
    near.kill()?;
    for place in [near.data(), sandbox.join("documents"), near_repository(sandbox)] {
        let mut lost = place.clone().into_os_string();
        lost.push(".lost");
        match fs::rename(&place, lost) {
            // Lost already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok("the region is gone: db1 and its data, the documents, the near repository".to_owned())
}

/// The file that leaves the near repository no room.
pub(in crate::sandbox) fn filler(sandbox: &Path) -> PathBuf {
    near_repository(sandbox).join("holiday video.mov")
}

/// Puts a file beside the near repository's own that is as large as it may become. It is all hole, so that it takes nothing of
/// the disk of whoever practises.
pub(super) fn fill(sandbox: &Path) -> io::Result<String> {
    let path = filler(sandbox);
    fs::File::create(&path)?.set_len(NEAR_MOST)?;
    Ok(format!(
        "somebody keeps a video of {} where the near repository is, which may have no more than that",
        Bytes(NEAR_MOST)
    ))
}

/// Changes one byte in some packs of a repository.
pub(super) fn damage(repository: &Path) -> io::Result<String> {
    let mut count = 0;
    for path in files::all_files(&repository.join("data"))?.into_iter().step_by(EVERY) {
        let before = fs::metadata(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let pack = fs::OpenOptions::new().read(true).write(true).open(&path)?;
        let (mut byte, middle) = ([0; 1], before.len() / 2);
        pack.read_exact_at(&mut byte, middle)?;
        pack.write_all_at(&[byte[0] ^ 0x55], middle)?;
        fs::set_permissions(&path, before.permissions())?;
        count += 1;
    }
    Ok(format!(
        "{count} packs of the near repository have one byte that is not what was written"
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_fills_a_repository_is_as_large_as_it_may_be_and_takes_nothing_of_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(near_repository(dir.path())).unwrap();
        fill(dir.path()).unwrap();
        let facts = fs::metadata(filler(dir.path())).unwrap();
        assert_eq!(facts.len(), NEAR_MOST);
        assert!(facts.blocks() < 100, "{} blocks", facts.blocks());
    }

    #[test]
    fn damage_changes_one_byte_of_some_packs_and_nothing_else_about_them() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data/ab");
        fs::create_dir_all(&data).unwrap();
        for number in 0..7 {
            let path = data.join(format!("{number}"));
            fs::write(&path, [7; 100]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        }
        damage(dir.path()).unwrap();
        let read = |number| fs::read(data.join(format!("{number}"))).unwrap();
        let differing = |number| read(number).iter().filter(|byte| **byte != 7).count();
        assert_eq!((0..7).map(differing).collect::<Vec<_>>(), [1, 0, 0, 1, 0, 0, 1]);
        let mode = fs::metadata(data.join("0")).unwrap().permissions().mode();
        assert_eq!((read(0).len(), mode & 0o777), (100, 0o400));
    }
}
