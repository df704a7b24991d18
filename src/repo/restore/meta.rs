//! Setting what a node says about an entry: owner, attributes, mode, times — in this order, because changing the owner
//! clears set-id bits and everything changes the times.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid};
use xattr::FileExt;

use super::target::Dir;
use crate::repo::error::plain;
use crate::repo::gotime::Time;
use crate::repo::tree::{Node, NodeKind, gomode};

fn times(node: &Node) -> Timestamps {
    let spec = |time: Time| Timespec {
        tv_sec: time.secs,
        tv_nsec: time.nanos.into(),
    };
    Timestamps {
        last_access: spec(node.atime),
        last_modification: spec(node.mtime),
    }
}

fn owner(node: &Node) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(node.uid)), Some(Gid::from_raw(node.gid)))
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

fn said<T, E: Into<io::Error>>(what: &str, result: Result<T, E>) -> Result<(), String> {
    result
        .map(drop)
        .map_err(|error| format!("{what} could not be set: {}", plain(&error.into())))
}

/// Sets the metadata of an open file or directory; `fresh` says that it was just made and has no attributes yet.
pub(super) fn apply(file: &File, node: &Node, fresh: bool) -> Result<(), String> {
    let (uid, gid) = owner(node);
    // Only root can give files away; for others the owner is whoever restores, as with every other tool.
    let chown = rustix::fs::fchown(file, uid, gid);
    if is_root() {
        said("the owner", chown)?;
    }
    if !fresh && let Ok(names) = file.list_xattr() {
        for name in names.filter(|name| node.xattrs.iter().all(|xattr| OsStr::new(&xattr.name) != name)) {
            // What cannot be removed here (a label of the system) was not put there by whoever owns the file.
            let _ = file.remove_xattr(&name);
        }
    }
    for xattr in &node.xattrs {
        said(
            &format!("the attribute {}", xattr.name),
            file.set_xattr(&xattr.name, &xattr.value),
        )?;
    }
    let mode = Mode::from_raw_mode(gomode::to_unix_permissions(node.mode));
    said("the mode", rustix::fs::fchmod(file, mode))?;
    said("the times", rustix::fs::futimens(file, &times(node)))
}

/// Whether a regular file has the length, time, owner and mode of a node; its content and its attributes are not looked at.
pub(super) fn seems_same(stat: &Stat, node: &Node) -> bool {
    u64::try_from(stat.st_size) == Ok(node.size) && same_metadata(stat, node)
}

fn same_metadata(stat: &Stat, node: &Node) -> bool {
    let owned = !is_root() || (stat.st_uid, stat.st_gid) == (node.uid, node.gid);
    let time = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).ok());
    let timed = time == (node.mtime.secs, Some(i64::from(node.mtime.nanos)));
    owned && timed && stat.st_mode & 0o7777 == gomode::to_unix_permissions(node.mode)
}

/// Sets the metadata of an open file or directory where it differs; what is right already costs a look and no write.
pub(super) fn put_right(file: &File, node: &Node) -> Result<(), String> {
    let Ok(stat) = rustix::fs::fstat(file) else {
        return apply(file, node, false);
    };
    if same_metadata(&stat, node) && same_xattrs(file, node) {
        return Ok(());
    }
    apply(file, node, false)
}

fn same_xattrs(file: &File, node: &Node) -> bool {
    let Ok(names) = file.list_xattr() else {
        return node.xattrs.is_empty();
    };
    let mut count = 0;
    for name in names {
        count += 1;
        let wanted = node.xattrs.iter().find(|xattr| OsStr::new(&xattr.name) == name);
        let Some(wanted) = wanted else { return false };
        if file.get_xattr(&name).ok().flatten().as_ref() != Some(&wanted.value) {
            return false;
        }
    }
    count == node.xattrs.len()
}

/// Sets the metadata of a link or a special file, which cannot be opened.
pub(super) fn apply_unopened(dir: &Dir, path: &Path, node: &Node) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default();
    let (uid, gid) = owner(node);
    let chown = rustix::fs::chownat(dir.fd(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
    if is_root() {
        said("the owner", chown)?;
    }
    for xattr in &node.xattrs {
        let place = dir.proc_path(path).map_err(|error| plain(&error))?;
        said(
            &format!("the attribute {}", xattr.name),
            xattr::set(place, OsStr::from_bytes(xattr.name.as_bytes()), &xattr.value),
        )?;
    }
    if node.kind != NodeKind::Symlink {
        let mode = Mode::from_raw_mode(gomode::to_unix_permissions(node.mode));
        said("the mode", rustix::fs::chmodat(dir.fd(), name, mode, AtFlags::empty()))?;
    }
    said(
        "the times",
        rustix::fs::utimensat(dir.fd(), name, &times(node), AtFlags::SYMLINK_NOFOLLOW),
    )
}
