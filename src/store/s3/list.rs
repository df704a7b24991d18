//! Listings, whole or an error.
//!
//! A listing comes in pages. Only when every page came, each continuing where the one before ended, is it a listing: a
//! prune that trusts half of one deletes everything the other half needs. So a page that fails, that repeats or goes back,
//! that says there is more without saying where, or that names keys nobody asked for is a failure of the whole.

use super::Bucket;
use crate::store::{ErrorKind, ObjectInfo, StoreError, StoreResult, check_key};

/// Lists every object whose key begins with `prefix`.
pub(super) async fn list(bucket: &Bucket, prefix: &str) -> StoreResult<Vec<ObjectInfo>> {
    if let Some((folder, _)) = prefix.rsplit_once('/') {
        check_key("list", folder)?;
    }
    let client = bucket.client("list", prefix).await?;
    let full = bucket.full(prefix);
    let mut pages = Pages::new(bucket.full(""), full.clone());
    let broken = |what: String| {
        StoreError::new(ErrorKind::Other, "list", bucket.shown(prefix), what)
            .with_hint("the server's listings cannot be trusted: nothing that relies on them is done")
    };
    let mut token: Option<String> = None;
    loop {
        let request = client
            .list_objects_v2()
            .bucket(&bucket.address.bucket)
            .prefix(&full)
            .set_continuation_token(token.clone());
        let page = bucket.send(request.send()).await;
        let page = page.map_err(|failure| bucket.fail("list", prefix, failure))?;
        for object in page.contents() {
            let size = object.size().and_then(|size| u64::try_from(size).ok());
            pages.add(object.key().unwrap_or_default(), size).map_err(broken)?;
        }
        match (page.is_truncated, page.next_continuation_token) {
            (Some(true), None) => return Err(broken("there is more, but the server does not say where".to_owned())),
            (Some(true), next) if next == token => return Err(broken("a page repeats itself".to_owned())),
            (Some(true), next) => token = next,
            _ => return Ok(pages.found),
        }
    }
}

/// The pages so far.
struct Pages {
    /// What every key in the bucket begins with when it is of this store.
    base: String,
    /// What every key of this listing begins with.
    prefix: String,
    last: String,
    found: Vec<ObjectInfo>,
}

impl Pages {
    fn new(base: String, prefix: String) -> Self {
        Self {
            base,
            prefix,
            last: String::new(),
            found: Vec::new(),
        }
    }

    /// Adds an object; says what is wrong with it, if something is.
    fn add(&mut self, key: &str, size: Option<u64>) -> Result<(), String> {
        if key <= self.last.as_str() {
            return Err(format!("{key} comes after {}", self.last));
        }
        key.clone_into(&mut self.last);
        if !key.starts_with(&self.prefix) {
            return Err(format!("{key} does not begin with {}", self.prefix));
        }
        let key = &key[self.base.len().min(key.len())..];
        // A console shows folders by making empty objects that end in a slash; no key of a store does.
        if check_key("list", key).is_err() {
            return Ok(());
        }
        let size = size.ok_or_else(|| format!("{key} has no size"))?;
        self.found.push(ObjectInfo {
            key: key.to_owned(),
            size,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Pages {
        Pages::new("base/".into(), "base/data/".into())
    }

    #[test]
    fn keys_are_told_without_the_base_and_folders_are_left_out() {
        let mut pages = pages();
        pages.add("base/data/", Some(0)).unwrap();
        pages.add("base/data/ab/1", Some(5)).unwrap();
        let expected = ObjectInfo {
            key: "data/ab/1".into(),
            size: 5,
        };
        assert_eq!(pages.found, [expected]);
    }

    #[test]
    fn what_repeats_goes_back_or_is_not_asked_for_is_refused() {
        for (first, second) in [
            ("base/data/b", "base/data/b"),
            ("base/data/b", "base/data/a"),
            ("base/data/b", "base/datb"),
        ] {
            let mut pages = pages();
            pages.add(first, Some(1)).unwrap();
            assert!(pages.add(second, Some(1)).is_err(), "{second}");
        }
        assert!(pages().add("other/data/b", Some(1)).is_err());
        assert!(pages().add("base/data/b", None).is_err());
    }
}
