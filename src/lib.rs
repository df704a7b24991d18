//! Lifeboat backs up, verifies and restores data, and shows an on-call engineer what can be recovered right now.
//!
//! The map of the house, from the top down. A room may use the rooms below it, never one above or beside it;
//! `tests/layering.rs` holds the code to this.
//!
//! | room | what it does |
//! | --- | --- |
//! | [`tui`], [`cli`], [`sandbox`] | how people see and say things; the throw-away world of the demo |
//! | [`api`] | HTTP/JSON and an event stream over a Unix socket; the typed client |
//! | [`engine`] | decide → journal → react → effects; the only room that acts |
//! | [`source`], [`journal`] | what can be protected; the events, in order |
//! | [`repo`] | the restic-format repository: chunk, hash, compress, encrypt, pack, index |
//! | [`store`] | bytes by key |
//! | [`config`], [`domain`], [`clock`] | settings; pure vocabulary, state and decisions; time |
//!
//! Invariants, stated as what is absent: no room but [`clock`] asks for the time; [`domain`] does no input or output;
//! nothing mutates state but `domain::apply`; nothing in a repository is ever overwritten in place; no secret is ever
//! in an argument vector, a log line, an event or a screen.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod journal;
pub mod notify;
pub mod repo;
pub mod sandbox;
pub mod source;
pub mod store;
pub mod tui;
