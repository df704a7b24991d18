//! A bound of what a repository may take, around any store: `max_size`.
//!
//! It bounds what grows with the data: packs (`data/`) and the log of clusters (`wal/`). A write of those that would go over it
//! is refused as on a full disk, before a byte of it is stored. Everything small passes (keys, index, snapshots, locks, marks,
//! the trash), so that a full repository can still be read, restored from, forgotten in and pruned; so the bound can be passed
//! by a little.
//!
//! What is stored is counted by a listing of everything in the store's place, whoever put it there, and followed from then on:
//! what is written through here is added, a deletion makes the next write count again. A count is believed for some minutes,
//! and never for a refusal: that rests on one made just then. What several machines write at the same time they learn of each
//! other with the next count; so they may pass the bound by what they write in these minutes. While a write is under way during
//! a count it may be counted twice until the next, which errs to the careful side.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use super::{Capabilities, ErrorKind, ObjectInfo, Store, StoreError, StoreResult, Thaw};
use crate::clock::Clock;
use crate::domain::capacity::{Bound, Room};
use crate::domain::units::Bytes as Amount;

/// What is bounded.
const BOUNDED: [&str; 2] = ["data/", "wal/"];
/// What comes and goes with every run and is not worth counting.
const LOCKS: &str = "locks/";
/// For how long a count is believed as long as there is room.
const BELIEVED: Duration = Duration::from_mins(10);
/// A count is not repeated sooner; over a network it costs a request for every thousand objects.
const FRESH: Duration = Duration::from_secs(2);
const FRESH_REMOTE: Duration = Duration::from_secs(30);

/// Wraps `store` so that it takes no more than `most` bytes; without one it is returned as it is.
pub fn bounded(store: Arc<dyn Store>, most: Option<u64>, clock: Clock) -> Arc<dyn Store> {
    match most {
        None => store,
        Some(most) => Arc::new(QuotaStore::new(store, most, clock)),
    }
}

/// A store that takes no more than so much.
#[derive(Debug)]
pub struct QuotaStore {
    inner: Arc<dyn Store>,
    most: u64,
    state: Mutex<State>,
    counting: tokio::sync::Mutex<()>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    /// What is stored, and as of when; none when something was deleted since, or before the first count.
    stored: Option<(u64, Instant)>,
    /// What is being written.
    under_way: u64,
}

/// Room that is taken by a write under way.
struct Taken<'a> {
    store: &'a QuotaStore,
    size: u64,
}

impl Taken<'_> {
    /// What it was taken for is stored, so it is known to be used.
    fn stored(mut self) {
        let size = std::mem::take(&mut self.size);
        let mut state = self.store.state();
        state.under_way -= size;
        state.add(size);
    }
}

impl State {
    fn add(&mut self, size: u64) {
        if let Some((stored, _)) = &mut self.stored {
            *stored = stored.saturating_add(size);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.store.state().under_way -= self.size;
    }
}

impl QuotaStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Store>, most: u64, clock: Clock) -> Self {
        Self {
            inner,
            most,
            state: Mutex::default(),
            counting: tokio::sync::Mutex::default(),
            clock,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is stored, by a count that is not older.
    fn known(&self, age: Duration) -> Option<u64> {
        let (stored, as_of) = self.state().stored?;
        (self.clock.elapsed(as_of) <= age).then_some(stored)
    }

    /// What is stored, counted anew unless that was done just now.
    async fn count(&self) -> StoreResult<u64> {
        let fresh = if self.inner.capabilities().remote {
            FRESH_REMOTE
        } else {
            FRESH
        };
        let _one = self.counting.lock().await;
        if let Some(stored) = self.known(fresh) {
            return Ok(stored);
        }
        let as_of = self.clock.monotonic();
        let objects = self.inner.list("").await?;
        let stored = objects.iter().map(|object| object.size).sum();
        self.state().stored = Some((stored, as_of));
        Ok(stored)
    }

    /// Takes room for a write when it is known to be there.
    fn take(&self, size: u64, age: Duration) -> Option<Taken<'_>> {
        let stored = self.known(age)?;
        let mut state = self.state();
        let all = stored.checked_add(state.under_way)?.checked_add(size)?;
        if all > self.most {
            return None;
        }
        state.under_way += size;
        Some(Taken { store: self, size })
    }

    async fn room_for(&self, key: &str, size: u64) -> StoreResult<Taken<'_>> {
        if let Some(taken) = self.take(size, BELIEVED) {
            return Ok(taken);
        }
        let stored = self.count().await?;
        self.take(size, BELIEVED).ok_or_else(|| {
            let message = format!(
                "the repository is full: {} of its max_size of {} are used, and this needs {}",
                Amount(stored),
                Amount(self.most),
                Amount(size)
            );
            let hint =
                "make room (lifeboat runbook run repository-full), or raise max_size, then run again: nothing was lost";
            StoreError::new(ErrorKind::NoSpace, "write", key, message).with_hint(hint)
        })
    }
}

impl Store for QuotaStore {
    fn put<'a>(&'a self, key: &'a str, data: Bytes) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            let size = data.len() as u64;
            if BOUNDED.iter().any(|folder| key.starts_with(folder)) {
                let taken = self.room_for(key, size).await?;
                self.inner.put(key, data).await?;
                taken.stored();
                return Ok(());
            }
            self.inner.put(key, data).await?;
            if !key.starts_with(LOCKS) {
                self.state().add(size);
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Bytes>> {
        self.inner.get(key)
    }

    fn get_range<'a>(&'a self, key: &'a str, offset: u64, length: u64) -> BoxFuture<'a, StoreResult<Bytes>> {
        self.inner.get_range(key, offset, length)
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>> {
        self.inner.head(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, StoreResult<Vec<ObjectInfo>>> {
        self.inner.list(prefix)
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            let deleted = self.inner.delete(key).await;
            if !key.starts_with(LOCKS) {
                self.state().stored = None;
            }
            deleted
        })
    }

    fn create(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.create()
    }

    fn tidy(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.inner.tidy()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn location(&self) -> &str {
        self.inner.location()
    }

    fn thaw<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Thaw>> {
        self.inner.thaw(key)
    }

    fn server_time(&self) -> Option<DateTime<Utc>> {
        self.inner.server_time()
    }

    fn local_path(&self) -> Option<&std::path::Path> {
        self.inner.local_path()
    }

    fn room(&self) -> BoxFuture<'_, StoreResult<Option<Room>>> {
        Box::pin(async move {
            let used = Amount(self.count().await?);
            let limit = Amount(self.most);
            let quota = Room {
                used,
                limit,
                bound: Bound::Quota,
            };
            Ok(Some(quota.tighter(self.inner.room().await?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::super::memory::MemoryStore;
    use super::*;

    fn bounded_to(most: u64) -> (Arc<MemoryStore>, QuotaStore, Clock) {
        let clock = Clock::manual(DateTime::<Utc>::UNIX_EPOCH);
        let inner = Arc::new(MemoryStore::new());
        let store = QuotaStore::new(inner.clone(), most, clock.clone());
        (inner, store, clock)
    }

    fn bytes(count: usize) -> Bytes {
        Bytes::from(vec![0; count])
    }

    #[tokio::test]
    async fn passes_the_conformance_suite() {
        let store = QuotaStore::new(Arc::new(MemoryStore::new()), 1 << 40, Clock::system());
        conformance::run(&store).await;
    }

    #[tokio::test]
    async fn what_would_go_over_is_refused_before_it_is_stored_and_small_things_pass() {
        let (inner, store, clock) = bounded_to(1000);
        store.put("data/a", bytes(900)).await.unwrap();
        let error = store.put("data/b", bytes(101)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoSpace);
        assert!(
            !error.retryable() && error.hint().unwrap().contains("repository-full"),
            "{error}"
        );
        assert!(error.message.contains("max_size"), "{error}");
        assert_eq!(
            store.put("wal/1/a", bytes(101)).await.unwrap_err().kind,
            ErrorKind::NoSpace
        );
        assert_eq!(inner.list("").await.unwrap().len(), 1, "nothing of it is there");
        store.put("data/c", bytes(100)).await.unwrap();
        for key in ["index/a", "snapshots/a", "locks/a", "trash/a"] {
            store.put(key, bytes(50)).await.unwrap();
        }
        let room = async || store.room().await.unwrap().unwrap();
        assert_eq!(room().await.percent(), 115);
        store.delete("data/a").await.unwrap();
        store.put("data/d", bytes(700)).await.unwrap();
        clock.advance(Duration::from_mins(1));
        assert_eq!(room().await.used, Amount(1000), "a deletion makes room at once");
    }

    #[tokio::test]
    async fn what_others_put_there_counts_and_what_they_took_away_counts_before_a_refusal() {
        let (inner, store, clock) = bounded_to(1000);
        inner.put("holiday.mov", bytes(950)).await.unwrap();
        assert_eq!(
            store.put("data/a", bytes(100)).await.unwrap_err().kind,
            ErrorKind::NoSpace
        );
        inner.delete("holiday.mov").await.unwrap();
        clock.advance(Duration::from_secs(3));
        store.put("data/a", bytes(100)).await.unwrap();
        inner.put("data/from-another-machine", bytes(850)).await.unwrap();
        clock.advance(BELIEVED + Duration::from_secs(1));
        let error = store.put("data/b", bytes(100)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoSpace, "an old count is not believed");
    }

    #[tokio::test]
    async fn writes_at_the_same_time_do_not_pass_the_bound_together() {
        let (inner, store, _) = bounded_to(1000);
        let puts = (0..10).map(|n| {
            let store = &store;
            async move { store.put(&format!("data/{n}"), bytes(300)).await.is_ok() }
        });
        let done = futures_util::future::join_all(puts).await;
        assert_eq!(done.iter().filter(|done| **done).count(), 3);
        assert_eq!(inner.list("data/").await.unwrap().len(), 3);
        assert_eq!(store.state().under_way, 0, "what was taken is given back");
    }
}
