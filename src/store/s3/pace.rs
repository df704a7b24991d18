//! One pace for all requests of a store while its server is busy.
//!
//! A server that answers 503 wants fewer requests, from everybody who shares its limit. Each such answer doubles the gap
//! between the starts of requests, at most once for the requests that were already on their way when it grew; each other
//! answer shrinks it by an eighth. With no gap, the normal case, nothing is waited for and nothing is counted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;

/// The first gap, and the one below which there is none again.
const SMALLEST: Duration = Duration::from_millis(10);
/// The longest gap.
const LARGEST: Duration = Duration::from_secs(2);

/// The gap between the starts of two requests.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    gap: Duration,
    /// When the next request may start.
    next: Option<Instant>,
    /// How often the gap grew.
    growth: u64,
}

/// What a request knows about the pace it was started at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

impl Pace {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a request.
    pub(super) async fn wait(&self, clock: &Clock) -> Ticket {
        let wait = {
            let mut state = self.state();
            if state.gap.is_zero() {
                return Ticket(state.growth);
            }
            let now = clock.monotonic();
            let start = state.next.map_or(now, |next| next.max(now));
            state.next = Some(start + state.gap);
            start.saturating_duration_since(now)
        };
        clock.sleep(wait).await;
        Ticket(self.state().growth)
    }

    /// The server was too busy for the request that holds this ticket.
    pub(super) fn slower(&self, ticket: Ticket, now: Instant) {
        let mut state = self.state();
        if state.growth == ticket.0 {
            state.growth += 1;
            state.gap = (state.gap * 2).clamp(SMALLEST, LARGEST);
            state.next = Some(now + state.gap);
        }
    }

    /// The server answered.
    pub(super) fn faster(&self) {
        let mut state = self.state();
        if !state.gap.is_zero() {
            state.gap = state.gap * 7 / 8;
            if state.gap < SMALLEST {
                state.gap = Duration::ZERO;
                state.next = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};

    #[tokio::test]
    async fn many_refusals_at_once_slow_down_once_and_answers_speed_up_again() {
        let clock = Clock::manual(DateTime::<Utc>::UNIX_EPOCH);
        let pace = Pace::default();
        let mut tickets = Vec::new();
        for _ in 0..8 {
            tickets.push(pace.wait(&clock).await);
        }
        for ticket in tickets {
            pace.slower(ticket, clock.monotonic());
        }
        assert_eq!(pace.state().gap, SMALLEST, "eight refusals of one moment are one");
        clock.advance(Duration::from_secs(1));
        for expected in [20, 40, 80] {
            let ticket = pace.wait(&clock).await;
            pace.slower(ticket, clock.monotonic());
            assert_eq!(pace.state().gap, Duration::from_millis(expected));
            clock.advance(Duration::from_secs(1));
        }
        for _ in 0..20 {
            pace.faster();
        }
        assert_eq!(pace.state().gap, Duration::ZERO);
    }

    #[tokio::test]
    async fn requests_start_one_gap_apart() {
        let clock = Clock::manual(DateTime::<Utc>::UNIX_EPOCH);
        let pace = Pace::default();
        let ticket = pace.wait(&clock).await;
        pace.slower(ticket, clock.monotonic());
        // The refused request counts: the next starts one gap after it, the one after that two.
        let (first, second) = (pace.wait(&clock), pace.wait(&clock));
        tokio::pin!(first, second);
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        clock.advance(SMALLEST);
        first.await;
        assert!(futures_util::poll!(&mut second).is_pending());
        clock.advance(SMALLEST);
        second.await;
    }
}
