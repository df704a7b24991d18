//! Writing the archive, on a thread of its own.

use std::io::{self, Read, Write};

use tokio::sync::mpsc;

use super::{ExportFormat, Piece};
use crate::repo::error::RepoError;
use crate::repo::tree::{Node, NodeKind, gomode};

/// zstd's level: a little more than its fastest.
const LEVEL: i32 = 3;

/// Why the form cannot hold an entry, if it cannot; an error where leaving it out would be worse.
pub(super) fn cannot_hold(format: ExportFormat, path: &[u8], node: &Node) -> Result<Option<String>, RepoError> {
    let skip = |why: &str| Ok(Some(why.to_owned()));
    match (format, node.kind) {
        (_, NodeKind::Socket) => skip("a socket means nothing without the program behind it"),
        (_, NodeKind::Irregular) => skip("it is of a kind that this program does not know"),
        (ExportFormat::Zip, NodeKind::Fifo | NodeKind::Dev | NodeKind::Chardev) => {
            skip("a zip archive cannot hold devices and pipes")
        }
        (ExportFormat::Zip, _) if std::str::from_utf8(path).is_err() => {
            let what = format!(
                "the name {:?} is not UTF-8, which a zip archive cannot hold: export as tar.zst",
                String::from_utf8_lossy(path)
            );
            Err(RepoError::Invalid { what })
        }
        _ => Ok(None),
    }
}

/// Takes pieces until the end and writes them.
pub(super) fn write<W: Write>(inbox: mpsc::Receiver<Piece>, writer: W, format: ExportFormat) -> io::Result<W> {
    let mut content = Content {
        inbox,
        current: Vec::new(),
        at: 0,
        left: 0,
    };
    match format {
        ExportFormat::TarZst => {
            let mut encoder = zstd::stream::write::Encoder::new(writer, LEVEL)?;
            encoder.include_checksum(true)?;
            let mut tar = tar::Builder::new(encoder);
            while let Some(piece) = content.next()? {
                tar_entry(&mut tar, piece, &mut content)?;
            }
            let mut writer = tar.into_inner()?.finish()?;
            writer.flush()?;
            Ok(writer)
        }
        ExportFormat::Zip => {
            let mut zip = zip::ZipWriter::new_stream(writer);
            while let Some(piece) = content.next()? {
                zip_entry(&mut zip, piece, &mut content)?;
            }
            let mut writer = zip.finish().map_err(io::Error::other)?.into_inner();
            writer.flush()?;
            Ok(writer)
        }
    }
}

/// The pieces, and the content of the current file as something to read.
struct Content {
    inbox: mpsc::Receiver<Piece>,
    current: Vec<u8>,
    at: usize,
    left: u64,
}

impl Content {
    /// The next entry; none at the end. A channel that closes before the end is a failure.
    fn next(&mut self) -> io::Result<Option<Piece>> {
        match self.inbox.blocking_recv() {
            Some(Piece::End) => Ok(None),
            Some(piece) => {
                if let Piece::Entry(_, node) = &piece
                    && node.kind == NodeKind::File
                {
                    self.left = node.size;
                }
                Ok(Some(piece))
            }
            None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    }
}

impl Read for Content {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buf.is_empty() {
            return Ok(0);
        }
        while self.at == self.current.len() {
            match self.inbox.blocking_recv() {
                Some(Piece::Data(data)) => (self.current, self.at) = (data, 0),
                // The walk has failed, and says why.
                _ => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            }
        }
        let rest = &self.current[self.at..];
        let length = rest.len().min(buf.len());
        buf[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        self.left = self.left.saturating_sub(length as u64);
        Ok(length)
    }
}

fn tar_entry<W: Write>(tar: &mut tar::Builder<W>, piece: Piece, content: &mut Content) -> io::Result<()> {
    match piece {
        Piece::Entry(path, node) => {
            let kind = match node.kind {
                NodeKind::Dir => tar::EntryType::Directory,
                NodeKind::Symlink => tar::EntryType::Symlink,
                NodeKind::Dev => tar::EntryType::Block,
                NodeKind::Chardev => tar::EntryType::Char,
                NodeKind::Fifo => tar::EntryType::Fifo,
                _ => tar::EntryType::Regular,
            };
            let mut header = Header::new(&path, &node, kind);
            if node.kind == NodeKind::Symlink {
                header.link(&node.link_target);
            }
            header.append(tar, content)
        }
        Piece::HardLink(path, first, node) => {
            let mut header = Header::new(&path, &node, tar::EntryType::Link);
            header.link(&first);
            header.append(tar, io::empty())
        }
        Piece::Data(_) | Piece::End => Ok(()),
    }
}

/// A header, and the PAX records for what does not fit into it.
struct Header {
    plain: tar::Header,
    records: Vec<(String, Vec<u8>)>,
}

impl Header {
    fn new(path: &[u8], node: &Node, kind: tar::EntryType) -> Self {
        let mut this = Self {
            plain: tar::Header::new_ustar(),
            records: Vec::new(),
        };
        let is_file = kind == tar::EntryType::Regular;
        let size = if is_file { node.size } else { 0 };
        this.plain.set_entry_type(kind);
        let slash: &[u8] = if kind == tar::EntryType::Directory { b"/" } else { b"" };
        this.name("path", &[path, slash].concat());
        this.plain.set_mode(gomode::to_unix_permissions(node.mode));
        this.number("size", size, 0o77_777_777_777, tar::Header::set_size);
        this.number("uid", node.uid.into(), 0o7_777_777, tar::Header::set_uid);
        this.number("gid", node.gid.into(), 0o7_777_777, tar::Header::set_gid);
        this.plain
            .set_mtime(u64::try_from(node.mtime.secs).unwrap_or(0).min(0o77_777_777_777));
        if node.mtime.nanos != 0 || !(0..0o77_777_777_777).contains(&node.mtime.secs) {
            this.record("mtime", decimal(node.mtime.secs, node.mtime.nanos).as_bytes());
        }
        for (name, set) in [("uname", &node.user), ("gname", &node.group)] {
            if set.len() > 31 || !set.is_ascii() {
                this.record(name, set.as_bytes());
            } else {
                let bytes = set.as_bytes();
                let ustar = this.plain.as_ustar_mut();
                let field = ustar.map(|ustar| {
                    if name == "uname" {
                        &mut ustar.uname
                    } else {
                        &mut ustar.gname
                    }
                });
                if let Some(field) = field {
                    field[..bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        if matches!(kind, tar::EntryType::Block | tar::EntryType::Char) {
            // The numbers as Linux packs them into a device number.
            let device = node.device;
            let major = (device >> 8 & 0xfff) | (device >> 32 & !0xfff);
            let minor = (device & 0xff) | (device >> 12 & !0xff);
            let fits = |number: u64| u32::try_from(number).unwrap_or(0);
            // A ustar header has these fields.
            let _ = this.plain.set_device_major(fits(major));
            let _ = this.plain.set_device_minor(fits(minor));
        }
        for xattr in &node.xattrs {
            // A record ends its name at the first equals sign; GNU tar writes it so too.
            let name = xattr.name.replace('%', "%25").replace('=', "%3D");
            this.record(&format!("SCHILY.xattr.{name}"), &xattr.value);
        }
        this
    }

    fn record(&mut self, name: &str, value: &[u8]) {
        self.records.push((name.to_owned(), value.to_vec()));
    }

    fn number(&mut self, name: &str, value: u64, most: u64, set: fn(&mut tar::Header, u64)) {
        set(&mut self.plain, value.min(most));
        if value > most {
            self.record(name, value.to_string().as_bytes());
        }
    }

    /// A path in its field, or in a record when it is too long or not ASCII.
    fn name(&mut self, record: &str, value: &[u8]) {
        let field = if record == "path" {
            self.plain.as_ustar_mut().map(|ustar| &mut ustar.name)
        } else {
            self.plain.as_ustar_mut().map(|ustar| &mut ustar.linkname)
        };
        if let Some(field) = field {
            let length = value.len().min(field.len());
            field[..length].copy_from_slice(&value[..length]);
            if value.len() <= field.len() && value.is_ascii() {
                return;
            }
        }
        if std::str::from_utf8(value).is_err() && !self.records.iter().any(|(name, _)| name == "hdrcharset") {
            self.records.insert(0, ("hdrcharset".to_owned(), b"BINARY".to_vec()));
        }
        self.record(record, value);
    }

    fn link(&mut self, target: &[u8]) {
        self.name("linkpath", target);
    }

    fn append<W: Write>(mut self, tar: &mut tar::Builder<W>, content: impl Read) -> io::Result<()> {
        if !self.records.is_empty() {
            let records = self
                .records
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()));
            tar.append_pax_extensions(records)?;
        }
        self.plain.set_cksum();
        let is_file = self.plain.entry_type() == tar::EntryType::Regular;
        if is_file {
            tar.append(&self.plain, content)
        } else {
            tar.append(&self.plain, io::empty())
        }
    }
}

/// Seconds and nanoseconds as a decimal number; before 1970 the nanoseconds count forwards from the second below.
fn decimal(secs: i64, nanos: u32) -> String {
    if secs >= 0 || nanos == 0 {
        return format!("{secs}.{nanos:09}");
    }
    let (whole, rest) = (secs + 1, 1_000_000_000 - nanos);
    if whole == 0 {
        format!("-0.{rest:09}")
    } else {
        format!("{whole}.{rest:09}")
    }
}

fn zip_time(at: chrono::DateTime<chrono::Utc>) -> zip::DateTime {
    use chrono::{Datelike, Timelike};
    let small = |number: u32| u8::try_from(number).unwrap_or(0);
    let year = u16::try_from(at.year()).unwrap_or(0);
    let (month, day) = (small(at.month()), small(at.day()));
    let (hour, minute, second) = (small(at.hour()), small(at.minute()), small(at.second()));
    zip::DateTime::from_date_and_time(year, month, day, hour, minute, second).unwrap_or_default()
}

fn zip_entry<W: Write>(
    zip: &mut zip::ZipWriter<zip::write::StreamWriter<W>>,
    piece: Piece,
    content: &mut Content,
) -> io::Result<()> {
    let Piece::Entry(path, node) = piece else { return Ok(()) };
    let name = String::from_utf8(path).map_err(io::Error::other)?;
    let time = zip_time(node.mtime.to_utc());
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .unix_permissions(gomode::to_unix_permissions(node.mode))
        // Known from the beginning, because a stream cannot be corrected later.
        .large_file(node.size >= u64::from(u32::MAX) - (1 << 20))
        // What a zip archive cannot say (before 1980, after 2107) becomes its first moment.
        .last_modified_time(time);
    match node.kind {
        NodeKind::Dir => zip.add_directory(name, options).map_err(io::Error::other),
        NodeKind::Symlink => {
            let target = String::from_utf8_lossy(&node.link_target).into_owned();
            zip.add_symlink(name, target, options).map_err(io::Error::other)
        }
        _ => {
            zip.start_file(name, options).map_err(io::Error::other)?;
            io::copy(content, zip).map(drop)
        }
    }
}
