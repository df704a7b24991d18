//! From `stat` to a node.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::repo::error::plain;
use crate::repo::gotime::Time;
use crate::repo::host::Names;
use crate::repo::tree::{Node, NodeKind, Xattr, gomode};

fn kind(meta: &Metadata) -> NodeKind {
    match meta.mode() & 0o170_000 {
        0o100_000 => NodeKind::File,
        0o040_000 => NodeKind::Dir,
        0o120_000 => NodeKind::Symlink,
        0o060_000 => NodeKind::Dev,
        0o020_000 => NodeKind::Chardev,
        0o010_000 => NodeKind::Fifo,
        0o140_000 => NodeKind::Socket,
        _ => NodeKind::Irregular,
    }
}

fn size(kind: NodeKind, meta: &Metadata) -> u64 {
    if kind == NodeKind::File { meta.size() } else { 0 }
}

fn links(kind: NodeKind, meta: &Metadata) -> u64 {
    // restic leaves the number of links out where it says nothing.
    let counts = !matches!(kind, NodeKind::Dir | NodeKind::Fifo | NodeKind::Socket);
    if counts { meta.nlink() } else { 0 }
}

fn device(kind: NodeKind, meta: &Metadata) -> u64 {
    let is_device = matches!(kind, NodeKind::Dev | NodeKind::Chardev);
    if is_device { meta.rdev() } else { 0 }
}

/// Whether the node of the parent snapshot is the very one that would be written now, whatever it contains: everything
/// about the inode is the same, and what is not looked at cannot change without its change time.
pub(super) fn is_same(meta: &Metadata, before: &Node, names: &Names) -> bool {
    let kind = kind(meta);
    let mtime = Time::new(meta.mtime(), meta.mtime_nsec());
    before.kind == kind
        && (before.mtime, before.atime) == (mtime, mtime)
        && before.ctime == Time::new(meta.ctime(), meta.ctime_nsec())
        && (before.inode, before.device_id) == (meta.ino(), meta.dev())
        && before.mode == gomode::from_unix(meta.mode())
        && (before.uid, before.gid) == (meta.uid(), meta.gid())
        && before.size == size(kind, meta)
        && before.links == links(kind, meta)
        && before.device == device(kind, meta)
        && names.is_user(before.uid, &before.user)
        && names.is_group(before.gid, &before.group)
}

/// Builds a node without content, link target and extended attributes.
pub(super) fn node(name: &[u8], meta: &Metadata, names: &Names) -> Node {
    let kind = kind(meta);
    let mtime = Time::new(meta.mtime(), meta.mtime_nsec());
    Node {
        mode: gomode::from_unix(meta.mode()),
        mtime,
        // The time of the last access changes when it is looked at; restic stores the other one too unless asked.
        atime: mtime,
        ctime: Time::new(meta.ctime(), meta.ctime_nsec()),
        uid: meta.uid(),
        gid: meta.gid(),
        user: names.user(meta.uid()),
        group: names.group(meta.gid()),
        inode: meta.ino(),
        device_id: meta.dev(),
        size: size(kind, meta),
        links: links(kind, meta),
        device: device(kind, meta),
        ..Node::new(name, kind)
    }
}

/// Reads what only the path gives: the target of a link, extended attributes.
pub(super) fn complete(node: &mut Node, path: &Path) -> Result<(), String> {
    if node.kind == NodeKind::Symlink {
        let target = std::fs::read_link(path).map_err(|error| plain(&error))?;
        node.link_target = target.as_os_str().as_bytes().to_vec();
    }
    node.xattrs = xattrs(path)?;
    Ok(())
}

fn xattrs(path: &Path) -> Result<Vec<Xattr>, String> {
    let unsupported = |error: &std::io::Error| {
        let code = error.raw_os_error();
        code == Some(rustix::io::Errno::NOTSUP.raw_os_error()) || error.kind() == std::io::ErrorKind::PermissionDenied
    };
    let names = match xattr::list(path) {
        Ok(names) => names,
        Err(error) if unsupported(&error) => return Ok(Vec::new()),
        Err(error) => return Err(format!("extended attributes: {}", plain(&error))),
    };
    let mut found = Vec::new();
    for name in names {
        // The format has no room for a name that is not UTF-8; Linux file systems do not make such names either.
        let Some(text) = name.to_str() else { continue };
        match xattr::get(path, &name) {
            Ok(Some(value)) => found.push(Xattr {
                name: text.to_owned(),
                value,
            }),
            Ok(None) => {}
            Err(error) if unsupported(&error) => {}
            Err(error) => return Err(format!("extended attribute {text}: {}", plain(&error))),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether a file is the one the parent snapshot describes, so that it need not be read.
pub(super) fn unchanged(node: &Node, before: &Node) -> bool {
    node.kind == NodeKind::File
        && before.kind == NodeKind::File
        && (node.size, node.mtime, node.ctime, node.inode) == (before.size, before.mtime, before.ctime, before.inode)
}
