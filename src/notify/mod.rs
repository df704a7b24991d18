//! Who is told: requests to the outside.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`http`] | one request, one bounded answer, never waiting without an end |
//!
//! What this room never does: follow a redirect to somewhere nobody named, take a proxy from the environment, or hold a secret
//! in an error.

pub mod http;
