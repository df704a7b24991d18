//! Progress as people see it: a rate over the last few seconds and what is left.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::progress::{Phase, Progress};
use crate::clock::Clock;
use crate::domain::units::{Bytes, Millis};
use crate::domain::view::ProgressView;

/// The rate is taken over this long.
const WINDOW: Duration = Duration::from_secs(5);

/// Gives the latest figures of a piece of work.
pub type Sampler = Arc<dyn Fn() -> ProgressView + Send + Sync>;

/// Makes the sampler of a piece of work.
pub fn sampler(progress: Arc<Progress>, clock: Clock) -> Sampler {
    let seen: Mutex<VecDeque<(Instant, u64)>> = Mutex::new(VecDeque::new());
    Arc::new(move || {
        let sample = progress.sample();
        let now = clock.monotonic();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push_back((now, sample.bytes_done));
        while seen.len() > 2 && seen.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            seen.pop_front();
        }
        let rate = seen.front().map_or(0, |(at, bytes)| {
            let millis = u64::try_from(now.duration_since(*at).as_millis()).unwrap_or(u64::MAX);
            sample.bytes_done.saturating_sub(*bytes).saturating_mul(1000) / millis.max(1)
        });
        let left = sample.bytes_total.saturating_sub(sample.bytes_done);
        let eta = (rate > 0 && left > 0).then(|| Millis(left.saturating_mul(1000) / rate));
        ProgressView {
            phase: word(sample.phase).to_owned(),
            current: sample.current,
            bytes_done: Bytes(sample.bytes_done),
            bytes_total: (sample.bytes_total > 0).then_some(Bytes(sample.bytes_total)),
            items_done: sample.files_done,
            items_total: (sample.files_total > 0).then_some(sample.files_total),
            rate: Bytes(rate),
            eta,
            errors: sample.errors,
            retries: sample.retries,
        }
    })
}

const fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Preparing => "preparing",
        Phase::Thawing => "waiting for cold packs",
        Phase::Copying => "copying",
        Phase::Finishing => "finishing",
        Phase::Verifying => "verifying",
        Phase::Done => "done",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
        let progress = Progress::new();
        progress.bytes_total.store(10_000, Ordering::Relaxed);
        let sample = sampler(progress.clone(), clock.clone());
        assert_eq!(sample().rate, Bytes(0));
        for step in 1..=20_u64 {
            clock.advance(Duration::from_secs(1));
            let speed = if step <= 10 { 10 } else { 100 };
            progress.bytes_done.fetch_add(speed, Ordering::Relaxed);
            sample();
        }
        let view = sample();
        assert_eq!(view.rate, Bytes(100));
        assert_eq!(view.eta, Some(Millis::from_secs(89)));
    }
}
