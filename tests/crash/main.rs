//! Crashes: every operation that changes a repository is run as many times as it makes store operations, and crashes at
//! each of them; and again with every third reported as failed after it was done.
//!
//! After each: every listed snapshot restores byte for byte, the check is clean, the next backup succeeds, and a final
//! prune leaves no orphan. On a share of the crash points stock `restic check --read-data` looks at the same bytes.
//! Needs `restic` (`apt-get install restic`); a missing one is a failure, never a skip.

mod beside;
mod matrix;
mod processes;
mod world;
