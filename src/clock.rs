//! The only place that asks for the time or sleeps.
//!
//! Everything that depends on time takes a [`Clock`] (or, in the pure rooms, a `now` argument), so a test can put any
//! moment on it and turn it by hand. The lint `disallowed_methods` keeps other rooms from asking the system.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// A source of wall-clock time, elapsed time and sleep; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock(Inner);

#[derive(Debug, Clone, Default)]
enum Inner {
    #[default]
    System,
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    started: DateTime<Utc>,
    base: Instant,
    now: Mutex<DateTime<Utc>>,
    turned: watch::Sender<DateTime<Utc>>,
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self(Inner::System)
    }

    /// A clock that stands still at `start` until [`Clock::advance`] turns it.
    #[expect(clippy::disallowed_methods, reason = "the one room that may")]
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Inner::Manual(Arc::new(Manual {
            started: start,
            base: Instant::now(),
            now: Mutex::new(start),
            turned: watch::channel(start).0,
        })))
    }

    /// The wall-clock time, in UTC.
    #[expect(clippy::disallowed_methods, reason = "the one room that may")]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Inner::System => Utc::now(),
            Inner::Manual(manual) => *manual.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        }
    }

    /// A reading of the monotonic clock, for measuring how long something took.
    #[expect(clippy::disallowed_methods, reason = "the one room that may")]
    pub fn monotonic(&self) -> Instant {
        match &self.0 {
            Inner::System => Instant::now(),
            Inner::Manual(manual) => manual.base + (self.now() - manual.started).to_std().unwrap_or_default(),
        }
    }

    /// The time since an earlier [`Clock::monotonic`] reading.
    pub fn elapsed(&self, since: Instant) -> Duration {
        self.monotonic().saturating_duration_since(since)
    }

    /// Sleeps for `duration`; on a manual clock, until it has been turned that far.
    #[expect(clippy::disallowed_methods, reason = "the one room that may")]
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Inner::System => tokio::time::sleep(duration).await,
            Inner::Manual(_) => {
                let step = chrono::Duration::from_std(duration).unwrap_or(chrono::Duration::MAX);
                self.sleep_until(self.now().checked_add_signed(step).unwrap_or(DateTime::<Utc>::MAX_UTC))
                    .await;
            }
        }
    }

    /// [`Clock::sleep`] on a clock of its own, for futures that are kept.
    pub async fn sleep_owned(self, duration: Duration) {
        self.sleep(duration).await;
    }

    /// Sleeps until the wall clock shows `deadline`.
    ///
    /// The system clock is looked at again at least every 30 s, so a clock that is set, or a laptop that slept, is noticed.
    #[expect(clippy::disallowed_methods, reason = "the one room that may")]
    pub async fn sleep_until(&self, deadline: DateTime<Utc>) {
        match &self.0 {
            Inner::System => {
                while let Ok(left) = (deadline - Utc::now()).to_std() {
                    if left.is_zero() {
                        return;
                    }
                    tokio::time::sleep(left.min(Duration::from_secs(30))).await;
                }
            }
            Inner::Manual(manual) => {
                let mut turned = manual.turned.subscribe();
                // The sender lives in `self`, so waiting cannot end before the deadline does.
                let _ = turned.wait_for(|now| *now >= deadline).await;
            }
        }
    }

    /// Sleeps like [`Clock::sleep_until`], and wakes early, within 30 s, when the wall clock was set back: what was to be done at
    /// some moment may be hours away then, and whoever waits has to decide anew.
    #[expect(clippy::disallowed_methods, reason = "the one room that may")]
    pub async fn sleep_until_or_set_back(&self, deadline: DateTime<Utc>) {
        let began = self.now();
        match &self.0 {
            Inner::System => {
                let mut before = began;
                loop {
                    let now = Utc::now();
                    let left = (deadline - now).to_std().unwrap_or_default();
                    if left.is_zero() || now < before {
                        return;
                    }
                    before = now;
                    tokio::time::sleep(left.min(Duration::from_secs(30))).await;
                }
            }
            Inner::Manual(manual) => {
                let mut turned = manual.turned.subscribe();
                // The sender lives in `self`, so waiting cannot end before the clock is turned.
                let _ = turned.wait_for(|now| *now >= deadline || *now < began).await;
            }
        }
    }

    /// Blocks the calling thread for `duration`; only for plain threads that own no async work.
    #[expect(clippy::disallowed_methods, reason = "the one room that may")]
    pub fn block(&self, duration: Duration) {
        match &self.0 {
            Inner::System => std::thread::sleep(duration),
            Inner::Manual(_) => self.advance(duration),
        }
    }

    /// Sets a manual clock back, as somebody who corrects it does; does nothing to the system clock.
    pub fn set_back(&self, by: Duration) {
        if let Inner::Manual(manual) = &self.0 {
            let mut now = manual.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *now -= chrono::Duration::from_std(by).unwrap_or(chrono::Duration::MAX);
            manual.turned.send_replace(*now);
        }
    }

    /// Turns a manual clock forward and wakes who slept that long; does nothing to the system clock.
    pub fn advance(&self, by: Duration) {
        if let Inner::Manual(manual) = &self.0 {
            let mut now = manual.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *now += chrono::Duration::from_std(by).unwrap_or(chrono::Duration::MAX);
            manual.turned.send_replace(*now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_sleeps_until_it_is_turned() {
        let clock = Clock::manual(DateTime::<Utc>::UNIX_EPOCH);
        let before = clock.monotonic();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(59));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
        assert_eq!(clock.elapsed(before), Duration::from_secs(60));
    }
}
