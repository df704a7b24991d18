//! What stands inside an object of the archive: a header that says what it is, then the content, compressed.
//!
//! `length of the header (4, little-endian) ‖ header (JSON) ‖ zstd frame`. The whole is sealed by the repository, so none of
//! it is believed before it authenticates; what an authentic header says still bounds what is unpacked.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::WalError;
use crate::domain::wal::SystemId;
use crate::repo::RepoError;

/// Fast, and most of what a higher level would find in a log.
const LEVEL: i32 = 3;
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
pub(super) fn encode(header: &Header, content: &[u8]) -> Result<Vec<u8>, WalError> {
    let internal =
        |error: String| WalError::from(RepoError::internal(format!("cannot write {}: {error}", header.name)));
    let json = serde_json::to_vec(header).map_err(|error| internal(error.to_string()))?;
    let length = u32::try_from(json.len()).map_err(|error| internal(error.to_string()))?;
    let mut object = Vec::with_capacity(4 + json.len() + content.len() / 3);
    object.extend(length.to_le_bytes());
    object.extend(json);
    object.extend(zstd::bulk::compress(content, LEVEL).map_err(|error| internal(error.to_string()))?);
    Ok(object)
}

/// Reads the header of an object, and where the content begins.
fn split(object: &[u8]) -> Option<(Header, &[u8])> {
    let (length, rest) = object.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let json = rest.get(..length)?;
    Some((serde_json::from_slice(json).ok()?, &rest[length..]))
}

/// Reads an object that was stored as `name` of `system`.
pub(super) fn decode(object: &[u8], system: SystemId, name: &str) -> Result<(Header, Vec<u8>), WalError> {
    let damaged = |why: &str| WalError::from(RepoError::damaged(format!("WAL object {name}"), why));
    let (header, packed) = split(object).ok_or_else(|| damaged("it has no header"))?;
    if header.name != name || header.system != system {
        return Err(damaged("it was written for another name"));
    }
    let length = usize::try_from(header.length.min(MAX_CONTENT + 1)).unwrap_or(usize::MAX);
    if header.length > MAX_CONTENT {
        return Err(damaged("it claims to be larger than any segment"));
    }
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
        encode(&header, content).unwrap()
    }

    #[test]
    fn an_object_is_only_what_it_says() {
        let stored = object(b"content");
        assert_eq!(decode(&stored, SystemId(7), "x").unwrap().1, b"content");
        assert!(decode(&stored, SystemId(8), "x").is_err());
        assert!(decode(&stored, SystemId(7), "y").is_err());
        let mut lying = Header::of("x".to_owned(), SystemId(7), b"content", DateTime::UNIX_EPOCH);
        let other = encode(&lying, b"CONTENT").unwrap();
        assert!(decode(&other, SystemId(7), "x").is_err(), "another content");
        lying.length = u64::MAX;
        assert!(decode(&encode(&lying, b"content").unwrap(), SystemId(7), "x").is_err());
        lying.length = 3;
        assert!(
            decode(&encode(&lying, b"content").unwrap(), SystemId(7), "x").is_err(),
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
        }
    }
}
