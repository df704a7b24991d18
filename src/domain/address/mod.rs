//! Where a repository lives, as people write it: a directory, or a bucket of an object store.
//!
//! An address never carries a secret: a user name, a key or a password in one is refused, and the refusal does not
//! repeat it. Unknown options are refused by name, with the list of those there are, so that a misspelt `lock_days` is
//! not a repository without a lock. What is accepted:
//!
//! ```text
//! /srv/backup   file:///srv/backup   local:/srv/backup
//! s3://BUCKET[/PREFIX][?OPTION=VALUE&…]
//! s3:[http[s]://]HOST[:PORT]/BUCKET[/PREFIX][?…]       restic's spelling
//! ```

mod options;

use options::Options;
pub use options::S3_OPTIONS;

/// Requests in flight when the address does not say; see `store::s3` for how the figure was found.
const PARALLEL: usize = 8;

/// Why an address is refused. Never repeats what may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AddressError {
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl AddressError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self { message, hint }
    }
}

/// Where a repository lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A directory, as it was written; not necessarily absolute.
    Directory(String),
    /// A bucket.
    S3(Box<S3Address>),
}

/// A bucket, and how to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Address {
    /// The address as it was written.
    pub text: String,
    /// The bucket.
    pub bucket: String,
    /// The folder in it, without slashes at its ends; empty for the bucket itself.
    pub prefix: String,
    /// The server, when it is not Amazon's: `https://host:port`.
    pub endpoint: Option<String>,
    /// The region; found in the environment when absent.
    pub region: Option<String>,
    /// Whether the bucket is named in the path and not in the host.
    pub path_style: bool,
    /// The profile of the shared AWS configuration whose credentials are used.
    pub profile: Option<String>,
    /// The storage class of packs.
    pub class_data: Option<String>,
    /// The storage class of everything else.
    pub class_meta: Option<String>,
    /// How the server encrypts what it stores, beyond our own encryption.
    pub sse: Option<Sse>,
    /// How long objects cannot be deleted.
    pub lock: Option<ObjectLock>,
    /// How many days a thawed object stays readable.
    pub thaw_days: u16,
    /// How fast an object is thawed.
    pub thaw_tier: ThawTier,
    /// Requests in flight at one time.
    pub parallel: usize,
    /// Bytes a second, at most, to the server.
    pub limit_upload: Option<u64>,
    /// Bytes a second, at most, from the server.
    pub limit_download: Option<u64>,
}

/// Encryption by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sse {
    /// With keys the server manages.
    Aes256,
    /// With a key of the key service: the named one, or its default.
    Kms(Option<String>),
}

/// Object Lock: what is stored cannot be deleted for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Whether nobody at all can shorten it; otherwise those with a special permission can.
    pub compliance: bool,
    /// For how many days.
    pub days: u32,
}

/// How fast a cold object is brought back; the faster, the dearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ThawTier {
    /// Minutes.
    Expedited,
    /// Hours.
    #[default]
    Standard,
    /// Half a day or more.
    Bulk,
}

impl Address {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        const HINT: &str = "write a directory such as /srv/backup, or s3://BUCKET/PREFIX";
        if text.trim().is_empty() {
            return Err(AddressError::new("the address is empty", HINT));
        }
        if let Some(rest) = text.strip_prefix("s3://") {
            return s3(text, rest, None);
        }
        if let Some(rest) = text.strip_prefix("s3:") {
            return resticlike(text, rest);
        }
        if let Some(path) = text.strip_prefix("file://").or_else(|| text.strip_prefix("local:")) {
            return Ok(Self::Directory(path.to_owned()));
        }
        match text.split_once("://") {
            Some((scheme, _)) => Err(AddressError::new(
                format!("{scheme}:// is not supported in this build"),
                HINT,
            )),
            None => Ok(Self::Directory(text.to_owned())),
        }
    }
}

/// `HOST/BUCKET/PREFIX`, with or without the scheme.
fn resticlike(text: &str, rest: &str) -> Result<Address, AddressError> {
    let (scheme, rest) = match rest.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("https", rest),
    };
    let Some((host, rest)) = rest.split_once('/') else {
        return Err(AddressError::new(
            "the bucket is missing in the address",
            "write s3:https://HOST/BUCKET/PREFIX, or s3://BUCKET/PREFIX",
        ));
    };
    s3(text, rest, Some(format!("{scheme}://{host}")))
}

/// `BUCKET/PREFIX?OPTIONS`.
fn s3(text: &str, rest: &str, endpoint: Option<String>) -> Result<Address, AddressError> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    if bucket.contains(['@', ':']) || endpoint.as_ref().is_some_and(|endpoint| endpoint.contains('@')) {
        return Err(secret_in_address());
    }
    check_bucket(bucket)?;
    let prefix = prefix.trim_end_matches('/');
    let fine = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
    if !prefix.is_empty() && !prefix.split('/').all(fine) {
        return Err(AddressError::new(
            format!("\"{prefix}\" cannot be a prefix in a bucket"),
            "write words with single slashes between them, such as backups/web",
        ));
    }
    let mut options = Options::read(query)?;
    if endpoint.is_some() && options.given.iter().any(|(name, _)| name == "endpoint") {
        return Err(AddressError::new("the server is named twice", "leave out endpoint=…"));
    }
    let endpoint = match endpoint.or_else(|| options.take("endpoint")) {
        Some(endpoint) => Some(check_endpoint(&endpoint)?),
        None => None,
    };
    // Amazon's own host in restic's spelling is no server of somebody else: the region then decides the host.
    let endpoint = endpoint.filter(|endpoint| !endpoint.ends_with("//s3.amazonaws.com"));
    let own = endpoint.is_some();
    let address = S3Address {
        text: text.to_owned(),
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        region: options.word("region")?,
        path_style: options.yes_or_no("path_style")?.unwrap_or(own),
        profile: options.take("profile"),
        class_data: options.class("class_data", own, false)?,
        class_meta: options.class("class_meta", own, true)?,
        sse: options.sse()?,
        lock: options.lock()?,
        thaw_days: options.number("thaw_days", 1..=365)?.unwrap_or(7),
        thaw_tier: options.tier()?,
        parallel: options.number("parallel", 1..=64)?.unwrap_or(PARALLEL),
        limit_upload: options.size("limit_upload")?,
        limit_download: options.size("limit_download")?,
        endpoint,
    };
    Ok(Address::S3(Box::new(address)))
}

fn secret_in_address() -> AddressError {
    AddressError::new(
        "the address carries credentials",
        "never write keys in an address, it is shown and logged: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
         choose a profile=…, or give access_key_id and secret_access_key in the [repository] section",
    )
}

fn check_bucket(bucket: &str) -> Result<(), AddressError> {
    let fine = (1..=255).contains(&bucket.len())
        && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && bucket.starts_with(|c: char| c.is_ascii_alphanumeric());
    if fine {
        return Ok(());
    }
    let message = if bucket.is_empty() {
        "the bucket is missing in the address".to_owned()
    } else {
        format!("\"{bucket}\" cannot be the name of a bucket")
    };
    Err(AddressError::new(message, "write s3://BUCKET/PREFIX"))
}

fn check_endpoint(endpoint: &str) -> Result<String, AddressError> {
    if endpoint.contains('@') {
        return Err(secret_in_address());
    }
    let host = endpoint
        .strip_prefix("https://")
        .or_else(|| endpoint.strip_prefix("http://"))
        .map(|rest| rest.trim_end_matches('/'));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['?', '#', ' ']) && !host.starts_with([':', '/']) => {
            Ok(endpoint.trim_end_matches('/').to_owned())
        }
        _ => Err(AddressError::new(
            format!("\"{endpoint}\" is not the address of a server"),
            "write endpoint=https://HOST:PORT",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(text: &str) -> S3Address {
        match Address::parse(text) {
            Ok(Address::S3(address)) => *address,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn directories_are_taken_as_they_are() {
        for text in ["/srv/backup", "file:///srv/backup", "local:/srv/backup"] {
            assert_eq!(Address::parse(text), Ok(Address::Directory("/srv/backup".into())));
        }
        assert_eq!(Address::parse("relative"), Ok(Address::Directory("relative".into())));
    }

    #[test]
    fn a_bucket_alone_has_the_defaults() {
        let address = bucket("s3://backups");
        assert_eq!((address.bucket.as_str(), address.prefix.as_str()), ("backups", ""));
        assert!(!address.path_style && address.endpoint.is_none() && address.lock.is_none());
        assert_eq!((address.thaw_days, address.thaw_tier), (7, ThawTier::Standard));
    }

    #[test]
    fn every_option_is_read() {
        let address = bucket(
            "s3://b/one/two/?endpoint=https://s3.example.org:9000/&region=eu-west-1&path_style=false&profile=backup&\
             class_data=GLACIER&class_meta=STANDARD_IA&sse=aws:kms:key-1&lock_mode=COMPLIANCE&lock_days=30&thaw_days=3&\
             thaw_tier=Bulk&parallel=4&limit_upload=10MiB&limit_download=2MB",
        );
        assert_eq!(address.prefix, "one/two");
        assert_eq!(address.endpoint.as_deref(), Some("https://s3.example.org:9000"));
        assert_eq!(address.region.as_deref(), Some("eu-west-1"));
        assert!(!address.path_style);
        assert_eq!(address.profile.as_deref(), Some("backup"));
        assert_eq!(address.class_data.as_deref(), Some("GLACIER"));
        assert_eq!(address.class_meta.as_deref(), Some("STANDARD_IA"));
        assert_eq!(address.sse, Some(Sse::Kms(Some("key-1".into()))));
        let lock = ObjectLock {
            compliance: true,
            days: 30,
        };
        assert_eq!(address.lock, Some(lock));
        assert_eq!((address.thaw_days, address.thaw_tier), (3, ThawTier::Bulk));
        assert_eq!(address.limit_upload, Some(10 << 20));
        assert_eq!(address.limit_download, Some(2_000_000));
        assert_eq!(address.parallel, 4);
    }

    #[test]
    fn the_spelling_of_restic_is_understood() {
        let address = bucket("s3:http://127.0.0.1:9000/b/prefix");
        assert_eq!(address.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert!(address.path_style, "a server of one's own is asked by path");
        assert_eq!((address.bucket.as_str(), address.prefix.as_str()), ("b", "prefix"));
        let amazon = bucket("s3:s3.amazonaws.com/b?region=eu-central-1");
        assert_eq!((amazon.endpoint, amazon.path_style), (None, false));
        assert!(Address::parse("s3:hostonly").is_err());
    }

    #[test]
    fn what_is_wrong_is_refused_with_what_is_right() {
        for (text, hint) in [
            ("", "/srv/backup"),
            ("az://c", "s3://"),
            ("s3://", "BUCKET"),
            ("s3:///prefix", "BUCKET"),
            ("s3://b/a//b", "single slashes"),
            ("s3://b/../c", "single slashes"),
            ("s3://b?endpont=http://x", "endpoint, region"),
            ("s3://b?endpoint=x:9000", "https://HOST:PORT"),
            ("s3://b?region=", "leave region out"),
            ("s3://b?region=a&region=b", "keep one"),
            ("s3://b?class_data=COLD", "GLACIER"),
            ("s3://b?class_meta=DEEP_ARCHIVE", "only class_data"),
            ("s3://b?sse=rot13", "AES256"),
            ("s3://b?lock_mode=GOVERNANCE", "lock_days=30"),
            ("s3://b?lock_days=30", "lock_mode="),
            ("s3://b?lock_mode=SOFT&lock_days=1", "COMPLIANCE"),
            ("s3://b?lock_mode=COMPLIANCE&lock_days=99999", "36500"),
            ("s3://b?parallel=0", "1 to 64"),
            ("s3://b?limit_upload=fast", "10MiB"),
            ("s3://b?thaw_tier=Now", "Bulk"),
            ("s3:http://h/b?endpoint=http://i", "leave out"),
        ] {
            let error = Address::parse(text).expect_err(text);
            assert!(error.hint.contains(hint), "{text}: {error}: {}", error.hint);
        }
    }

    #[test]
    fn a_secret_is_refused_and_not_repeated() {
        for text in [
            "s3://AKIAKEY:hunter2@bucket/prefix",
            "s3://hunter2@bucket",
            "s3:https://key:hunter2@host/bucket",
            "s3://b?endpoint=https://key:hunter2@host",
            "s3://b?secret_access_key=hunter2",
            "s3://b?AWS_SECRET=hunter2",
        ] {
            let error = Address::parse(text).expect_err(text);
            assert!(error.hint.contains("AWS_ACCESS_KEY_ID"), "{text}: {error}");
            let told = format!("{error:?} {error}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
