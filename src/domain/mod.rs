//! The pure vocabulary of Lifeboat, and every decision it takes.
//!
//! What this room promises: [`decide`](decide::decide), [`apply`](apply::apply) and [`react`](react::react) are functions of
//! their arguments alone. Same in, same out; no clock, no input or output, no randomness, no task. That is what makes a
//! replay of the journal equal to the state it came from, and every rule testable at any time of day.
//!
//! What it must never do: know how anything is stored, sent or drawn.

pub mod address;
pub mod alert;
pub mod anomaly;
pub mod apply;
pub mod capacity;
pub mod cluster;
pub mod command;
pub mod decide;
pub mod drill;
pub mod event;
pub mod failover;
pub mod finder;
pub mod follow_up;
pub mod gauge;
pub mod id;
pub mod job;
pub mod keep;
pub mod maintenance;
pub mod moment;
pub mod objective;
pub mod observe;
pub mod pitr;
pub mod react;
pub mod recovery;
pub mod restore_point;
pub mod retention;
pub mod rules;
pub mod run;
pub mod runbook;
pub mod schedule;
pub mod seen;
pub mod snapshot;
pub mod source;
pub mod state;
pub mod units;
pub mod upkeep;
pub mod view;
pub mod wal;

pub use units::{Bytes, Millis, Timestamp};

#[cfg(test)]
mod tests;
