//! What stands inside an object of the archive: a header that says what it is, then the content, compressed.
//!
//! `length of the header (4, little-endian) ‖ header (JSON) ‖ zstd frame`. The whole is sealed by the repository, so none of
//! it is believed before it authenticates; what an authentic header says still bounds what is unpacked.

use std::io::Read;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::WalError;
use crate::domain::wal::SystemId;
use crate::repo::RepoError;

/// How hard a content is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// Most of what there is to be found in a log.
    Thorough,
    /// Nearly twice as fast, for two hundredths to a third more bytes: for whoever is behind, because until a log is archived
    /// it is lost with its server.
    Hurried,
}

impl Effort {
    /// The level of zstd.
    fn level(self) -> i32 {
        match self {
            Self::Thorough => 3,
            Self::Hurried => 1,
        }
    }
}

/// How much is unpacked at a time: what the processor keeps at hand.
const PART: usize = 256 << 10;
/// The most an object may unpack to: the largest segment there is.
const MAX_CONTENT: u64 = 1 << 30;

/// What an object says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The name of the object in its folder.
    pub(super) name: String,
    /// The cluster.
    pub(super) system: SystemId,
    /// The length of the content in bytes.
    pub(super) length: u64,
    /// The SHA-256 of the content, in hexadecimal.
    pub(super) sha256: String,
    /// When it was archived, by the clock of the store where it has one.
    pub(super) at: DateTime<Utc>,
    /// The machine it was archived by.
    pub(super) host: String,
}

impl Header {
    /// Describes a content.
    pub(super) fn of(name: String, system: SystemId, content: &[u8], at: DateTime<Utc>) -> Self {
        let host = nix::unistd::gethostname().unwrap_or_default();
        Self {
            name,
            system,
            length: content.len() as u64,
            sha256: hash(content),
            at,
            host: host.to_string_lossy().into_owned(),
        }
    }
}

/// The SHA-256 of a content, in hexadecimal.
pub(super) fn hash(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// Writes an object.
pub(super) fn encode(header: &Header, content: &[u8], effort: Effort) -> Result<Vec<u8>, WalError> {
    let internal =
        |error: String| WalError::from(RepoError::internal(format!("cannot write {}: {error}", header.name)));
    let json = serde_json::to_vec(header).map_err(|error| internal(error.to_string()))?;
    let length = u32::try_from(json.len()).map_err(|error| internal(error.to_string()))?;
    let mut object = Vec::with_capacity(4 + json.len() + content.len() / 3);
    object.extend(length.to_le_bytes());
    object.extend(json);
    object.extend(compress(content, effort).map_err(|error| internal(error.to_string()))?);
    Ok(object)
}

/// One frame, with a checksum of what it unpacks to.
fn compress(content: &[u8], effort: Effort) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(effort.level())?;
    compressor.include_checksum(true)?;
    compressor.compress(content)
}

/// Whether a frame has a checksum of what it unpacks to: RFC 8878, 3.1.1.1.1.
fn has_checksum(frame: &[u8]) -> bool {
    frame.get(4).is_some_and(|descriptor| descriptor & 0x04 != 0)
}

/// Reads the header of an object, and where the content begins.
fn split(object: &[u8]) -> Option<(Header, &[u8])> {
    let (length, rest) = object.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let json = rest.get(..length)?;
    Some((serde_json::from_slice(json).ok()?, &rest[length..]))
}

fn damaged(name: &str, why: &str) -> WalError {
    RepoError::damaged(format!("WAL object {name}"), why).into()
}

/// Reads the header of an object that was stored as `name` of `system`, and where the content begins.
fn open<'a>(object: &'a [u8], system: SystemId, name: &str) -> Result<(Header, &'a [u8]), WalError> {
    let (header, packed) = split(object).ok_or_else(|| damaged(name, "it has no header"))?;
    if header.name != name || header.system != system {
        return Err(damaged(name, "it was written for another name"));
    }
    if header.length > MAX_CONTENT {
        return Err(damaged(name, "it claims to be larger than any segment"));
    }
    Ok((header, packed))
}

/// Unpacks an object that was stored as `name` of `system`, part by part; an error makes what was written worthless.
///
/// What authenticated is what was stored; the checksum of the frame tells that it unpacks to what was packed. An object
/// from before there was one is held against its hash.
pub(super) fn unpack(
    object: &[u8],
    system: SystemId,
    name: &str,
    write: &mut dyn FnMut(&[u8]) -> Result<(), WalError>,
) -> Result<(), WalError> {
    let (header, packed) = open(object, system, name)?;
    let broken = |_| damaged(name, "it does not decompress");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(broken)?;
    let mut hash = (!has_checksum(packed)).then(Sha256::new);
    let (mut part, mut left) = (vec![0; PART], header.length);
    loop {
        let length = decoder.read(&mut part).map_err(broken)?;
        if length == 0 {
            break;
        }
        left = left
            .checked_sub(length as u64)
            .ok_or_else(|| damaged(name, "it unpacks to more than its header says"))?;
        if let Some(hash) = &mut hash {
            hash.update(&part[..length]);
        }
        write(&part[..length])?;
    }
    let same = hash.is_none_or(|hash| hex::encode(hash.finalize()) == header.sha256);
    if left == 0 && same {
        Ok(())
    } else {
        Err(damaged(name, "its content does not match its header"))
    }
}

/// Reads an object that was stored as `name` of `system`, and holds it against its hash.
pub(super) fn decode(object: &[u8], system: SystemId, name: &str) -> Result<(Header, Vec<u8>), WalError> {
    let (header, packed) = open(object, system, name)?;
    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
    let damaged = |why: &str| damaged(name, why);
    let content = zstd::bulk::decompress(packed, length).map_err(|_| damaged("it does not decompress"))?;
    if content.len() == length && hash(&content) == header.sha256 {
        Ok((header, content))
    } else {
        Err(damaged("its content does not match its header"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(content: &[u8]) -> Vec<u8> {
        let header = Header::of("x".to_owned(), SystemId(7), content, DateTime::UNIX_EPOCH);
        encode(&header, content, Effort::Thorough).unwrap()
    }

    #[test]
    fn an_object_unpacks_part_by_part_to_what_it_was_and_to_nothing_else() {
        let content: Vec<u8> = (0..1_000_000u32)
            .flat_map(|number| (number / 3).to_le_bytes())
            .collect();
        let unpacked = |object: &[u8], name: &str| {
            let mut out = Vec::new();
            let mut write = |part: &[u8]| {
                out.extend_from_slice(part);
                Ok(())
            };
            unpack(object, SystemId(7), name, &mut write).map(|()| out)
        };
        let stored = object(&content);
        assert!(unpacked(&stored, "x").unwrap() == content);
        assert!(unpacked(&stored, "y").is_err());
        let header = Header::of("x".to_owned(), SystemId(7), &content, DateTime::UNIX_EPOCH);
        let start =
            encode(&header, b"", Effort::Hurried).unwrap().len() - compress(b"", Effort::Hurried).unwrap().len();
        assert!(has_checksum(&stored[start..]));
        // As they were written before there was a checksum in them.
        let old = |content: &[u8]| [&stored[..start], &zstd::bulk::compress(content, 3).unwrap()].concat();
        assert!(unpacked(&old(&content), "x").unwrap() == content);
        let mut other = content.clone();
        other[500_000] ^= 1;
        assert!(unpacked(&old(&other), "x").is_err(), "another content");
        assert!(unpacked(&old(&content[1..]), "x").is_err(), "shorter");
        let longer = [&content[..], b"more"].concat();
        let longer = [&stored[..start], &compress(&longer, Effort::Hurried).unwrap()].concat();
        assert!(unpacked(&longer, "x").is_err(), "longer");
        let mut bad = stored.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        assert!(unpacked(&bad, "x").is_err(), "the checksum is looked at");
        assert!(unpacked(&stored[..last], "x").is_err(), "cut");
    }

    #[test]
    fn an_object_is_only_what_it_says() {
        let stored = object(b"content");
        assert_eq!(decode(&stored, SystemId(7), "x").unwrap().1, b"content");
        assert!(decode(&stored, SystemId(8), "x").is_err());
        assert!(decode(&stored, SystemId(7), "y").is_err());
        let mut lying = Header::of("x".to_owned(), SystemId(7), b"content", DateTime::UNIX_EPOCH);
        let other = encode(&lying, b"CONTENT", Effort::Thorough).unwrap();
        assert!(decode(&other, SystemId(7), "x").is_err(), "another content");
        lying.length = u64::MAX;
        assert!(decode(&encode(&lying, b"content", Effort::Hurried).unwrap(), SystemId(7), "x").is_err());
        lying.length = 3;
        assert!(
            decode(&encode(&lying, b"content", Effort::Hurried).unwrap(), SystemId(7), "x").is_err(),
            "it unpacks to more"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut stored = object(&[5; 3000]);
            let place = at.index(stored.len());
            stored[place] = byte;
            stored.truncate(cut.index(stored.len()) + 1);
            let _ = decode(&stored, SystemId(7), "x");
            let _ = unpack(&stored, SystemId(7), "x", &mut |_| Ok(()));
        }
    }
}
