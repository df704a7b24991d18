//! The one fault injector: a store around another store that fails on purpose, from a script or from a seed.
//!
//! Operations are counted from 1 in the order they begin. A [`Rule`] says which operations it meets and what happens
//! to them; a crash makes every later operation fail too, as if the process had lost its store at that moment.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use super::{Capabilities, ErrorKind, ObjectInfo, Store, StoreError, StoreResult, Thaw};
use crate::clock::Clock;
use crate::domain::capacity::Room;

/// The operation a rule applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A put.
    Put,
    /// A whole or ranged read.
    Get,
    /// A listing.
    List,
    /// A deletion.
    Delete,
    /// A head request.
    Head,
}

/// What happens to an operation that a rule meets.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Fails and does nothing.
    FailBefore(ErrorKind),
    /// Does it, then reports a failure: the ambiguous case.
    FailAfter(ErrorKind),
    /// Returns only the first bytes of a read.
    Truncate(usize),
    /// Flips one bit of a read.
    FlipBit(usize),
    /// Waits, then does it.
    Stall(Duration),
    /// Fails without doing anything, as a server that wants fewer requests.
    Busy,
    /// Puts the object and then says that it was there already, as a repetition below the caller would.
    AlreadyExists,
    /// Returns a range that is so many bytes too short.
    ShortRange(u64),
    /// Leaves out every other object of a listing and then reports the error.
    ListMidway,
    /// Leaves out every other object of a listing and says nothing.
    ListOmit,
    /// Names every object of a listing twice.
    ListDuplicate,
    /// Fails this and every later operation.
    Crash,
}

/// One line of the script.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The operation it meets; `None` meets all.
    pub op: Option<Op>,
    /// The prefix a key must have.
    pub prefix: String,
    /// Which of the meetings triggers it: 1 is the first. 0 means every one.
    pub nth: u64,
    /// What happens then.
    pub fault: Fault,
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    met: u64,
}

/// A store that fails as its script says.
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    rules: Mutex<Vec<Armed>>,
    clock: Clock,
    operations: AtomicU64,
    crashed: AtomicBool,
}

impl FaultStore {
    /// Wraps `inner`; with no rules it changes nothing.
    pub fn new(inner: Arc<dyn Store>, clock: Clock, rules: Vec<Rule>) -> Self {
        let rules = rules.into_iter().map(|rule| Armed { rule, met: 0 }).collect();
        Self {
            inner,
            rules: Mutex::new(rules),
            clock,
            operations: AtomicU64::new(0),
            crashed: AtomicBool::new(false),
        }
    }

    /// Wraps `inner` so that it crashes at operation `n`, counted from 1.
    pub fn crash_at(inner: Arc<dyn Store>, clock: Clock, n: u64) -> Self {
        Self::new(
            inner,
            clock,
            vec![Rule {
                op: None,
                prefix: String::new(),
                nth: n,
                fault: Fault::Crash,
            }],
        )
    }

    /// Wraps `inner` with `count` transient failures placed by `seed` among the first `among` operations.
    pub fn seeded(inner: Arc<dyn Store>, clock: Clock, seed: u64, count: u64, among: u64) -> Self {
        let mut state = seed;
        let mut next = || {
            // SplitMix64: small, and the same everywhere for the same seed.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let rules = (0..count).map(|_| {
            let fault = if next() % 2 == 0 {
                Fault::FailBefore
            } else {
                Fault::FailAfter
            };
            Rule {
                op: None,
                prefix: String::new(),
                nth: 1 + next() % among.max(1),
                fault: fault(ErrorKind::Transient),
            }
        });
        Self::new(inner, clock, rules.collect())
    }

    /// How many operations have begun.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    fn meet(&self, op: Op, key: &str) -> Option<Fault> {
        self.operations.fetch_add(1, Ordering::SeqCst);
        if self.crashed.load(Ordering::SeqCst) {
            return Some(Fault::Crash);
        }
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chosen = None;
        for armed in rules.iter_mut() {
            if armed.rule.op.is_none_or(|wanted| wanted == op) && key.starts_with(&armed.rule.prefix) {
                armed.met += 1;
                if chosen.is_none() && (armed.rule.nth == 0 || armed.rule.nth == armed.met) {
                    chosen = Some(armed.rule.fault.clone());
                }
            }
        }
        if matches!(chosen, Some(Fault::Crash)) {
            self.crashed.store(true, Ordering::SeqCst);
        }
        chosen
    }

    /// Runs one operation under the script; `spoil` changes the result of a read.
    async fn run<T>(
        &self,
        (op, action): (Op, &'static str),
        key: &str,
        work: impl Future<Output = StoreResult<T>>,
        spoil: impl FnOnce(T, &Fault) -> T,
    ) -> StoreResult<T> {
        let injected = |kind| StoreError::new(kind, action, key, "injected fault");
        match self.meet(op, key) {
            None => work.await,
            Some(Fault::FailBefore(kind)) => Err(injected(kind)),
            Some(Fault::Crash) => Err(injected(ErrorKind::Other)),
            Some(Fault::FailAfter(kind)) => work.await.and(Err(injected(kind))),
            Some(Fault::ListMidway) => work.await.and(Err(injected(ErrorKind::Transient))),
            Some(Fault::Stall(time)) => {
                self.clock.sleep(time).await;
                work.await
            }
            Some(Fault::Busy) => {
                let busy = StoreError::new(ErrorKind::Transient, action, key, "the server is busy (503)");
                Err(busy)
            }
            Some(Fault::AlreadyExists) => work.await.and(Err(injected(ErrorKind::AlreadyExists))),
            Some(fault) => work.await.map(|value| spoil(value, &fault)),
        }
    }
}

fn spoil_bytes(data: Bytes, fault: &Fault) -> Bytes {
    match fault {
        Fault::Truncate(length) => data.slice(..(*length).min(data.len())),
        Fault::FlipBit(at) if !data.is_empty() => {
            let mut bytes = data.to_vec();
            let bit = at % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            Bytes::from(bytes)
        }
        _ => data,
    }
}

fn spoil_list(objects: Vec<ObjectInfo>, fault: &Fault) -> Vec<ObjectInfo> {
    match fault {
        Fault::ListOmit => objects.into_iter().step_by(2).collect(),
        Fault::ListDuplicate => objects
            .into_iter()
            .flat_map(|object| [object.clone(), object])
            .collect(),
        _ => objects,
    }
}

impl Store for FaultStore {
    fn put<'a>(&'a self, key: &'a str, data: Bytes) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            self.run((Op::Put, "write"), key, self.inner.put(key, data), |v, _| v)
                .await
        })
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Bytes>> {
        Box::pin(async move { self.run((Op::Get, "read"), key, self.inner.get(key), spoil_bytes).await })
    }

    fn get_range<'a>(&'a self, key: &'a str, offset: u64, length: u64) -> BoxFuture<'a, StoreResult<Bytes>> {
        let work = self.inner.get_range(key, offset, length);
        let spoil = |data: Bytes, fault: &Fault| match fault {
            Fault::ShortRange(missing) => {
                let left = (data.len() as u64).saturating_sub(*missing);
                data.slice(..usize::try_from(left).unwrap_or(data.len()))
            }
            _ => spoil_bytes(data, fault),
        };
        Box::pin(async move { self.run((Op::Get, "read"), key, work, spoil).await })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>> {
        Box::pin(async move { self.run((Op::Head, "read"), key, self.inner.head(key), |v, _| v).await })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, StoreResult<Vec<ObjectInfo>>> {
        Box::pin(async move {
            self.run((Op::List, "list"), prefix, self.inner.list(prefix), spoil_list)
                .await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            self.run((Op::Delete, "delete"), key, self.inner.delete(key), |v, _| v)
                .await
        })
    }

    fn thaw<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Thaw>> {
        Box::pin(async move { self.run((Op::Head, "thaw"), key, self.inner.thaw(key), |v, _| v).await })
    }

    fn server_time(&self) -> Option<DateTime<Utc>> {
        self.inner.server_time()
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

    fn room(&self) -> BoxFuture<'_, StoreResult<Option<Room>>> {
        self.inner.room()
    }

    fn local_path(&self) -> Option<&std::path::Path> {
        self.inner.local_path()
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::*;

    fn faulty(op: Op, fault: Fault) -> FaultStore {
        let rule = Rule {
            op: Some(op),
            prefix: "data/".into(),
            nth: 1,
            fault,
        };
        FaultStore::new(Arc::new(MemoryStore::new()), Clock::system(), vec![rule])
    }

    #[tokio::test]
    async fn without_faults_it_passes_the_conformance_suite() {
        let store = FaultStore::new(Arc::new(MemoryStore::new()), Clock::system(), Vec::new());
        super::super::conformance::run(&store).await;
    }

    #[tokio::test]
    async fn failing_after_success_leaves_the_object() {
        let store = faulty(Op::Put, Fault::FailAfter(ErrorKind::Transient));
        assert!(
            store
                .put("data/a", Bytes::from_static(b"x"))
                .await
                .unwrap_err()
                .retryable()
        );
        assert_eq!(store.get("data/a").await.unwrap(), Bytes::from_static(b"x"));
    }

    #[tokio::test]
    async fn reads_are_spoiled_once() {
        for (fault, spoiled) in [(Fault::Truncate(1), &b"a"[..]), (Fault::FlipBit(0), &b"`bc"[..])] {
            let store = faulty(Op::Get, fault);
            store.put("data/a", Bytes::from_static(b"abc")).await.unwrap();
            assert_eq!(store.get("data/a").await.unwrap(), Bytes::copy_from_slice(spoiled));
            assert_eq!(store.get("data/a").await.unwrap(), Bytes::from_static(b"abc"));
        }
    }

    #[tokio::test]
    async fn listings_are_spoiled_in_silence() {
        for (fault, expected) in [
            (Fault::ListOmit, &["data/a", "data/c"][..]),
            (
                Fault::ListDuplicate,
                &["data/a", "data/a", "data/b", "data/b", "data/c", "data/c"][..],
            ),
        ] {
            let store = faulty(Op::List, fault);
            for key in ["data/a", "data/b", "data/c"] {
                store.put(key, Bytes::new()).await.unwrap();
            }
            let listed = store.list("data/").await.unwrap();
            assert!(
                listed
                    .iter()
                    .map(|object| object.key.as_str())
                    .eq(expected.iter().copied())
            );
            assert_eq!(store.list("data/").await.unwrap().len(), 3);
        }
    }

    #[tokio::test]
    async fn a_busy_server_a_short_range_and_an_object_that_was_there() {
        let busy = faulty(Op::Put, Fault::Busy);
        assert!(busy.put("data/a", Bytes::new()).await.unwrap_err().retryable());
        assert_eq!(busy.head("data/a").await.unwrap_err().kind, ErrorKind::NotFound);
        let short = faulty(Op::Get, Fault::ShortRange(2));
        short.put("data/a", Bytes::from_static(b"abcd")).await.unwrap();
        assert_eq!(short.get_range("data/a", 0, 3).await.unwrap(), Bytes::from_static(b"a"));
        let there = faulty(Op::Put, Fault::AlreadyExists);
        let error = there.put("data/a", Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::AlreadyExists);
        assert_eq!(there.get("data/a").await.unwrap(), Bytes::from_static(b"x"));
    }

    #[tokio::test]
    async fn nothing_works_after_a_crash() {
        let store = FaultStore::crash_at(Arc::new(MemoryStore::new()), Clock::system(), 2);
        store.put("data/a", Bytes::new()).await.unwrap();
        assert!(store.put("data/b", Bytes::new()).await.is_err());
        assert!(store.get("data/a").await.is_err());
        assert_eq!(store.operations(), 3);
    }
}
