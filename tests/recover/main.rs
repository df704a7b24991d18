//! Whole clusters against real servers: copied while they work, laid down, recovered, and what happens when things go wrong.

mod copy;
mod faults;
mod program;
#[allow(dead_code, reason = "each of its users needs a part of it")]
#[path = "../s3/server.rs"]
mod server;
mod world;
