//! The S3 store against servers: one in this process that can be made to misbehave, and moto, a real process.

mod conformance;
mod faults;
mod keeping;
mod moto;
mod real;
mod repository;
#[allow(dead_code, reason = "each of its users needs a part of it")]
mod server;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use lifeboat::clock::Clock;
use lifeboat::store::{self, Access, AccessKey, Store};
use secrecy::SecretString;

use server::{Conditions, KEY, SECRET, Server};

/// Opens a store with the key of the servers here.
fn open(url: &str) -> Arc<dyn Store> {
    open_at(url, Clock::system())
}

fn open_at(url: &str, clock: Clock) -> Arc<dyn Store> {
    let access = Access {
        key: Some(AccessKey {
            id: KEY.to_owned(),
            secret: SecretString::from(SECRET.to_owned()),
        }),
        clock,
        ..Access::default()
    };
    store::open_with(url, access).expect("a good address")
}

/// A server in this process, on a directory of its own.
async fn served(conditions: Conditions) -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(dir.path(), 0, Duration::ZERO, conditions).await;
    (dir, server)
}

/// Waits until something is so; fails when it takes longer than anything here may.
async fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let clock = Clock::system();
    let began = clock.monotonic();
    while !so() {
        assert!(clock.elapsed(began) < Duration::from_secs(120), "waited for: {what}");
        clock.sleep(Duration::from_millis(5)).await;
    }
}
