//! Trees: one directory, as JSON, a node per entry, sorted by the bytes of the name.
//!
//! Written by hand rather than through serde, because the bytes must equal Go's (see [`super::gojson`]) and because an
//! unchanged tree of many files is written again at every backup only to find that its hash is known.

mod read;

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};

use super::gojson;
use super::gotime::Time;
use super::id::Id;

pub use read::decode;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A block device.
    Dev,
    /// A character device.
    Chardev,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Something this program does not know.
    #[serde(other)]
    Irregular,
}

impl NodeKind {
    /// The word in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
            Self::Dev => "dev",
            Self::Chardev => "chardev",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Irregular => "irregular",
        }
    }
}

/// The bits of Go's `os.FileMode`, which is what restic stores.
pub mod gomode {
    /// A directory.
    pub const DIR: u32 = 1 << 31;
    /// A symbolic link.
    pub const SYMLINK: u32 = 1 << 27;
    /// A device.
    pub const DEVICE: u32 = 1 << 26;
    /// A named pipe.
    pub const NAMED_PIPE: u32 = 1 << 25;
    /// A socket.
    pub const SOCKET: u32 = 1 << 24;
    /// Set user id.
    pub const SETUID: u32 = 1 << 23;
    /// Set group id.
    pub const SETGID: u32 = 1 << 22;
    /// A character device, together with [`DEVICE`].
    pub const CHAR_DEVICE: u32 = 1 << 21;
    /// Sticky.
    pub const STICKY: u32 = 1 << 20;

    /// Translates `st_mode`.
    pub fn from_unix(mode: u32) -> u32 {
        let kind = match mode & 0o170_000 {
            0o040_000 => DIR,
            0o120_000 => SYMLINK,
            0o060_000 => DEVICE,
            0o020_000 => DEVICE | CHAR_DEVICE,
            0o010_000 => NAMED_PIPE,
            0o140_000 => SOCKET,
            _ => 0,
        };
        let bit = |unix: u32, go: u32| if mode & unix != 0 { go } else { 0 };
        mode & 0o777 | kind | bit(0o4000, SETUID) | bit(0o2000, SETGID) | bit(0o1000, STICKY)
    }

    /// The permission bits of `st_mode`, with set-id and sticky.
    pub fn to_unix_permissions(mode: u32) -> u32 {
        let bit = |go: u32, unix: u32| if mode & go != 0 { unix } else { 0 };
        mode & 0o777 | bit(SETUID, 0o4000) | bit(SETGID, 0o2000) | bit(STICKY, 0o1000)
    }
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// The name with its namespace.
    pub name: String,
    /// The value.
    pub value: Vec<u8>,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The name, as the file system has it.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Go's mode bits.
    pub mode: u32,
    /// Last change of the content.
    pub mtime: Time,
    /// Last access; restic and we store `mtime` here.
    pub atime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The name of the owner.
    pub user: String,
    /// The name of the group.
    pub group: String,
    /// The inode number.
    pub inode: u64,
    /// The device the inode is on.
    pub device_id: u64,
    /// The size of a file.
    pub size: u64,
    /// The number of hard links.
    pub links: u64,
    /// What a symbolic link points to.
    pub link_target: Vec<u8>,
    /// Extended attributes.
    pub xattrs: Vec<Xattr>,
    /// The device number of a device.
    pub device: u64,
    /// The blobs of a file, in order.
    pub content: Vec<Id>,
    /// The tree of a directory.
    pub subtree: Option<Id>,
}

impl Node {
    /// A node with a name and a kind and nothing else.
    pub fn new(name: &[u8], kind: NodeKind) -> Self {
        Self {
            name: name.to_vec(),
            kind,
            mode: if kind == NodeKind::Dir {
                gomode::DIR | 0o755
            } else {
                0o644
            },
            mtime: Time::default(),
            atime: Time::default(),
            ctime: Time::default(),
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            inode: 0,
            device_id: 0,
            size: 0,
            links: 0,
            link_target: Vec::new(),
            xattrs: Vec::new(),
            device: 0,
            content: Vec::new(),
            subtree: None,
        }
    }

    /// The name for people: bytes that are not UTF-8 are replaced.
    pub fn display_name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    /// Appends the node as JSON, in the order and with the omissions of restic's struct.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"name\":");
        gojson::push_string(out, &gojson::quote(&self.name));
        out.extend_from_slice(b",\"type\":\"");
        out.extend_from_slice(self.kind.as_str().as_bytes());
        out.push(b'"');
        push_nonzero(out, "mode", u64::from(self.mode));
        for (name, time) in [("mtime", self.mtime), ("atime", self.atime), ("ctime", self.ctime)] {
            push_key(out, name);
            time.push_json(out);
        }
        push_key(out, "uid");
        push_number(out, u64::from(self.uid));
        push_key(out, "gid");
        push_number(out, u64::from(self.gid));
        push_nonempty(out, "user", &self.user);
        push_nonempty(out, "group", &self.group);
        push_nonzero(out, "inode", self.inode);
        push_nonzero(out, "device_id", self.device_id);
        push_nonzero(out, "size", self.size);
        push_nonzero(out, "links", self.links);
        self.write_link(out);
        self.write_xattrs(out);
        push_nonzero(out, "device", self.device);
        self.write_content(out);
        if let Some(subtree) = self.subtree {
            out.extend_from_slice(b",\"subtree\":");
            push_id(out, &subtree);
        }
        out.push(b'}');
    }

    fn write_link(&self, out: &mut Vec<u8>) {
        push_nonempty(out, "linktarget", &String::from_utf8_lossy(&self.link_target));
        if std::str::from_utf8(&self.link_target).is_err() {
            // Understood by restic since 0.16; older ones see the lossy target above.
            push_nonempty(out, "linktarget_raw", &BASE64_STANDARD.encode(&self.link_target));
        }
    }

    fn write_xattrs(&self, out: &mut Vec<u8>) {
        if self.xattrs.is_empty() {
            return;
        }
        out.extend_from_slice(b",\"extended_attributes\":[");
        for (index, xattr) in self.xattrs.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{\"name\":" } else { b",{\"name\":" });
            gojson::push_string(out, &xattr.name);
            out.extend_from_slice(b",\"value\":");
            gojson::push_string(out, &BASE64_STANDARD.encode(&xattr.value));
            out.push(b'}');
        }
        out.push(b']');
    }

    fn write_content(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"content\":");
        if self.kind != NodeKind::File {
            out.extend_from_slice(b"null");
            return;
        }
        out.push(b'[');
        for (index, id) in self.content.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_id(out, id);
        }
        out.push(b']');
    }
}

fn push_key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn push_number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = value;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn push_nonzero(out: &mut Vec<u8>, name: &str, value: u64) {
    if value != 0 {
        push_key(out, name);
        push_number(out, value);
    }
}

fn push_nonempty(out: &mut Vec<u8>, name: &str, value: &str) {
    if !value.is_empty() {
        push_key(out, name);
        gojson::push_string(out, value);
    }
}

fn push_id(out: &mut Vec<u8>, id: &Id) {
    let mut digits = [0; 66];
    digits[0] = b'"';
    digits[65] = b'"';
    // 32 bytes are 64 digits.
    let _ = hex::encode_to_slice(id.0, &mut digits[1..65]);
    out.extend_from_slice(&digits);
}

/// Writes a tree of nodes that are already sorted.
pub fn encode<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    out.extend_from_slice(b"{\"nodes\":[");
    for (index, node) in nodes.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        node.write_json(&mut out);
    }
    out.extend_from_slice(b"]}\n");
    out
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
