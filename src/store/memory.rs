//! A map as a store, for tests and for measuring the pipeline without a disk.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};

use super::{Capabilities, ErrorKind, ObjectInfo, Store, StoreError, StoreResult, check_key};

/// A store that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, Bytes>>);

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the bytes of an object, as rot would; `false` when there is none.
    pub fn damage(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut map = self.map();
        let Some(data) = map.get_mut(key) else { return false };
        let mut bytes = data.to_vec();
        change(&mut bytes);
        *data = Bytes::from(bytes);
        true
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, key: &str) -> StoreResult<Bytes> {
        check_key("read", key)?;
        self.map()
            .get(key)
            .cloned()
            .ok_or_else(|| StoreError::new(ErrorKind::NotFound, "read", key, "no such object"))
    }

    fn write(&self, key: &str, data: &[u8]) -> StoreResult<()> {
        check_key("write", key)?;
        let mut map = self.map();
        if map.contains_key(key) {
            return Err(StoreError::new(
                ErrorKind::AlreadyExists,
                "write",
                key,
                "it is already there",
            ));
        }
        // Copied, so that the caller's buffer, which may be much larger, is the caller's again.
        map.insert(key.to_owned(), Bytes::copy_from_slice(data));
        Ok(())
    }

    fn range(&self, key: &str, offset: u64, length: u64) -> StoreResult<Bytes> {
        let data = self.read(key)?;
        let end = offset.checked_add(length).filter(|end| *end <= data.len() as u64);
        let (Some(end), Ok(start)) = (end, usize::try_from(offset)) else {
            let message = format!(
                "{length} bytes from {offset} were asked for, the object has {}",
                data.len()
            );
            return Err(StoreError::new(ErrorKind::ShortRead, "read", key, message));
        };
        Ok(data.slice(start..usize::try_from(end).unwrap_or(data.len())))
    }
}

impl Store for MemoryStore {
    fn put<'a>(&'a self, key: &'a str, data: Bytes) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move { self.write(key, &data) })
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Bytes>> {
        Box::pin(async move { self.read(key) })
    }

    fn get_range<'a>(&'a self, key: &'a str, offset: u64, length: u64) -> BoxFuture<'a, StoreResult<Bytes>> {
        Box::pin(async move { self.range(key, offset, length) })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>> {
        Box::pin(async move { self.read(key).map(|data| data.len() as u64) })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, StoreResult<Vec<ObjectInfo>>> {
        let info = |(key, data): (&String, &Bytes)| ObjectInfo {
            key: key.clone(),
            size: data.len() as u64,
        };
        Box::pin(async move {
            Ok(self
                .map()
                .iter()
                .filter(|(key, _)| key.starts_with(prefix))
                .map(info)
                .collect())
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        let missing = move || StoreError::new(ErrorKind::NotFound, "delete", key, "no such object");
        Box::pin(async move { self.map().remove(key).map(|_| ()).ok_or_else(missing) })
    }

    fn create(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(ready(Ok(())))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            remote: false,
            parallel_puts: 2,
        }
    }

    fn location(&self) -> &'static str {
        "memory:"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passes_the_conformance_suite() {
        super::super::conformance::run(&MemoryStore::new()).await;
    }
}
