//! The throw-away world of `lifeboat demo`: a real PostgreSQL server, made data, incidents on purpose.
//!
//! Everything it makes lies in one directory with a mark in it, and is gone afterwards: after success, failure, Ctrl-C and
//! SIGTERM at once, after a kill -9 at the start of the next demo.
//!
//! What this room never does: touch a directory that lacks its mark, listen on a network, or run a server as root.

pub mod server;
