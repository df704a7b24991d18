//! What a `[repository.NAME]` means, and whether it fits together.

use super::raw::{RawRepository, Secret, Size};
use super::section::{Place, Problems};
use crate::domain::address::Address;
use crate::domain::job::{BucketKey, RepositoryDefinition, StoreAccess};
use crate::domain::units::Bytes;
use toml::Spanned;

/// A limit below this would not let one pack through in a working day.
const SLOWEST: Bytes = Bytes(1024);
/// A bound below this would not let a pack of each kind and their index in.
const SMALLEST: Bytes = Bytes(64 << 20);

/// Reads one repository; what is wrong goes to `problems`.
pub(super) fn repository(
    place: &Place<'_>,
    raw: RawRepository,
    name: &str,
    problems: &mut Problems,
) -> RepositoryDefinition {
    let upkeep = super::keep::upkeep(place, &raw, problems);
    let offset = raw.url.span().start;
    let mut wrong = |key: &str, message: String, hint: &str| {
        place.problem(problems, offset, key, message, Some(hint.to_owned()));
    };
    let remote = match Address::parse(raw.url.get_ref()) {
        // A relative path would mean another place whenever the agent is started elsewhere.
        Ok(Address::Directory(path)) if !path.starts_with('/') => {
            let hint = "write the absolute path of a directory, such as /srv/backup, or s3://BUCKET/PREFIX";
            wrong(
                "url",
                format!("\"{path}\" is not a place this version can write to"),
                hint,
            );
            true
        }
        Ok(Address::Directory(_)) => false,
        Ok(Address::S3(_)) => true,
        Err(error) => {
            wrong("url", error.message, &error.hint);
            true
        }
    };
    let key = match (raw.access_key_id, raw.secret_access_key) {
        (None, None) => None,
        (Some(_), Some(_)) if !remote => {
            let hint = "leave it out, or write url = \"s3://BUCKET/PREFIX\"";
            wrong("access_key_id", "a directory needs no access key".to_owned(), hint);
            None
        }
        (Some(id), Some(Secret(secret))) if !id.get_ref().trim().is_empty() => Some(BucketKey {
            id: id.into_inner(),
            secret,
        }),
        _ => {
            let hint = "write both, or neither and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the agent";
            wrong(
                "access_key_id",
                "access_key_id and secret_access_key belong together".to_owned(),
                hint,
            );
            None
        }
    };
    let mut limit = |key: &str, limit: Option<Spanned<Size>>| {
        let limit = limit?;
        if limit.get_ref().0 < SLOWEST {
            let message = format!("{} a second is too slow for anything", limit.get_ref().0);
            let hint = Some(format!("write at least {SLOWEST}"));
            place.problem(problems, limit.span().start, key, message, hint);
        }
        Some(limit.get_ref().0)
    };
    let (limit_upload, limit_download) = (
        limit("limit_upload", raw.limit_upload),
        limit("limit_download", raw.limit_download),
    );
    let max_size = raw.max_size.map(|most| {
        let size = most.get_ref().0;
        if size < SMALLEST {
            let message = format!("{size} is too little for any backup");
            let hint = Some(format!("write at least {SMALLEST}, or leave it out for no bound"));
            place.problem(problems, most.span().start, "max_size", message, hint);
        }
        size
    });
    RepositoryDefinition {
        name: name.into(),
        url: raw.url.into_inner(),
        password: raw.password.0,
        upkeep,
        access: StoreAccess {
            key,
            limit_upload,
            limit_download,
            max_size,
        },
    }
}
