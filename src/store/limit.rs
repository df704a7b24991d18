//! Bounds of bandwidth and concurrency, around any store.
//!
//! Bandwidth is kept by accounts: bytes flow in at the allowed rate, up to a second's worth, and each object takes out
//! its size. An account may be overdrawn by one object, and then the next operation waits until it is even again; so an
//! object goes through in one piece, and over any stretch of time longer than that the rate holds. Listings, sizes and
//! deletions move hardly any bytes and are not counted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Capabilities, ObjectInfo, Store, StoreResult, Thaw};
use crate::clock::Clock;
use crate::domain::capacity::Room;

/// What is allowed; absent means without bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Bytes a second to the store.
    pub up: Option<u64>,
    /// Bytes a second from the store.
    pub down: Option<u64>,
    /// Operations at one time.
    pub at_once: Option<usize>,
}

/// Wraps `store` so that it keeps to `rates`; with none it is returned as it is.
pub fn limited(store: Arc<dyn Store>, rates: Rates, clock: Clock) -> Arc<dyn Store> {
    if rates == Rates::default() {
        return store;
    }
    Arc::new(LimitStore::new(store, rates, clock))
}

/// A store that keeps to given rates.
#[derive(Debug)]
pub struct LimitStore {
    inner: Arc<dyn Store>,
    up: Option<Account>,
    down: Option<Account>,
    places: Option<Semaphore>,
    clock: Clock,
}

/// Bytes that may be moved now, and how fast they become more.
#[derive(Debug)]
struct Account {
    bytes_per_second: f64,
    state: Mutex<Balance>,
}

#[derive(Debug)]
struct Balance {
    bytes: f64,
    as_of: Instant,
}

impl Account {
    fn new(bytes_per_second: u64, clock: &Clock) -> Self {
        let bytes_per_second = bytes_per_second.max(1) as f64;
        Self {
            bytes_per_second,
            state: Mutex::new(Balance {
                bytes: bytes_per_second,
                as_of: clock.monotonic(),
            }),
        }
    }

    /// Takes `bytes` out when the account is not overdrawn; otherwise says how long until it is even.
    fn take(&self, bytes: u64, now: Instant) -> Result<(), Duration> {
        let mut balance = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(balance.as_of).as_secs_f64();
        balance.bytes = (balance.bytes + elapsed * self.bytes_per_second).min(self.bytes_per_second);
        balance.as_of = now;
        if balance.bytes < 0.0 {
            // A little more than needed, so that rounding does not make it wait twice.
            return Err(Duration::from_secs_f64(-balance.bytes / self.bytes_per_second + 0.001));
        }
        balance.bytes -= bytes as f64;
        Ok(())
    }

    /// Corrects what was taken out by what it really was.
    fn correct(&self, bytes: f64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).bytes += bytes;
    }

    /// Waits until the account is even, and takes `bytes` out.
    async fn pay(&self, bytes: u64, clock: &Clock) {
        while let Err(wait) = self.take(bytes, clock.monotonic()) {
            clock.sleep(wait).await;
        }
    }
}

impl LimitStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Store>, rates: Rates, clock: Clock) -> Self {
        Self {
            inner,
            up: rates.up.map(|rate| Account::new(rate, &clock)),
            down: rates.down.map(|rate| Account::new(rate, &clock)),
            places: rates.at_once.map(|count| Semaphore::new(count.max(1))),
            clock,
        }
    }

    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.places.as_ref()?.acquire().await.ok()
    }

    async fn pay(&self, account: Option<&Account>, bytes: u64) {
        if let Some(account) = account {
            account.pay(bytes, &self.clock).await;
        }
    }
}

impl Store for LimitStore {
    fn put<'a>(&'a self, key: &'a str, data: Bytes) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            self.pay(self.up.as_ref(), data.len() as u64).await;
            let _place = self.place().await;
            self.inner.put(key, data).await
        })
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Bytes>> {
        Box::pin(async move {
            // How much it is shows only when it is there: the next read waits for this one's bytes.
            self.pay(self.down.as_ref(), 0).await;
            let _place = self.place().await;
            let data = self.inner.get(key).await?;
            if let Some(account) = &self.down {
                account.correct(-(data.len() as f64));
            }
            Ok(data)
        })
    }

    fn get_range<'a>(&'a self, key: &'a str, offset: u64, length: u64) -> BoxFuture<'a, StoreResult<Bytes>> {
        Box::pin(async move {
            self.pay(self.down.as_ref(), length).await;
            let _place = self.place().await;
            let read = self.inner.get_range(key, offset, length).await;
            // A read that failed got nothing, and a length from a damaged index must not stop the others for years.
            if let (Err(_), Some(account)) = (&read, &self.down) {
                account.correct(length as f64);
            }
            read
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>> {
        Box::pin(async move {
            let _place = self.place().await;
            self.inner.head(key).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, StoreResult<Vec<ObjectInfo>>> {
        Box::pin(async move {
            let _place = self.place().await;
            self.inner.list(prefix).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            let _place = self.place().await;
            self.inner.delete(key).await
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
    use super::super::{ErrorKind, conformance};
    use super::*;

    fn limited_to(rates: Rates, clock: &Clock) -> LimitStore {
        LimitStore::new(Arc::new(MemoryStore::new()), rates, clock.clone())
    }

    /// How long some work takes, by a clock that is turned a millisecond at a time.
    async fn time_of(clock: &Clock, work: impl Future<Output = ()>) -> Duration {
        let began = clock.monotonic();
        tokio::pin!(work);
        while futures_util::poll!(&mut work).is_pending() {
            clock.advance(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
        clock.elapsed(began)
    }

    #[tokio::test]
    async fn passes_the_conformance_suite() {
        let rates = Rates {
            up: Some(1 << 40),
            down: Some(1 << 40),
            at_once: Some(2),
        };
        conformance::run(&limited_to(rates, &Clock::system())).await;
    }

    #[tokio::test]
    async fn uploads_keep_to_their_rate_and_downloads_to_theirs() {
        let clock = Clock::manual(DateTime::<Utc>::UNIX_EPOCH);
        let rates = Rates {
            up: Some(1000),
            down: Some(4000),
            at_once: None,
        };
        let store = limited_to(rates, &clock);
        let up = time_of(&clock, async {
            for n in 0..10 {
                store
                    .put(&format!("data/{n}"), Bytes::from(vec![0; 1000]))
                    .await
                    .unwrap();
            }
        });
        // A second's worth at once, and one object on credit.
        let up = up.await;
        assert!((7900..=8100).contains(&up.as_millis()), "{up:?}");
        let down = time_of(&clock, async {
            let keys: Vec<String> = (0..10).map(|n| format!("data/{n}")).collect();
            let reads = keys.iter().map(|key| store.get_range(key, 0, 1000));
            futures_util::future::try_join_all(reads).await.unwrap();
        });
        let down = down.await;
        assert!((900..=1600).contains(&down.as_millis()), "{down:?}");
    }

    #[tokio::test]
    async fn a_read_that_fails_costs_nothing() {
        let clock = Clock::manual(DateTime::<Utc>::UNIX_EPOCH);
        let rates = Rates {
            down: Some(1000),
            ..Rates::default()
        };
        let store = limited_to(rates, &clock);
        store.put("data/a", Bytes::from_static(b"abc")).await.unwrap();
        let error = store.get_range("data/a", 0, u64::MAX).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ShortRead);
        assert_eq!(
            store.get_range("data/a", 0, 3).await.unwrap(),
            Bytes::from_static(b"abc")
        );
    }

    #[tokio::test]
    async fn only_so_many_operations_go_on_at_once() {
        let clock = Clock::manual(DateTime::<Utc>::UNIX_EPOCH);
        let stall = super::super::fault::Rule {
            op: None,
            prefix: String::new(),
            nth: 0,
            fault: super::super::fault::Fault::Stall(Duration::from_secs(1)),
        };
        let slow = super::super::fault::FaultStore::new(Arc::new(MemoryStore::new()), clock.clone(), vec![stall]);
        let rates = Rates {
            at_once: Some(2),
            ..Rates::default()
        };
        let store = LimitStore::new(Arc::new(slow), rates, clock.clone());
        let puts = (0..6).map(|n| {
            let store = &store;
            async move { store.put(&format!("data/{n}"), Bytes::new()).await.unwrap() }
        });
        let took = time_of(&clock, async { drop(futures_util::future::join_all(puts).await) }).await;
        assert_eq!(took.as_secs(), 3, "two at a time");
    }
}
