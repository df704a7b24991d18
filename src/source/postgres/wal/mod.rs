//! The archive of a PostgreSQL cluster's write-ahead log, in a repository.
//!
//! Two ways in, [`push`] (for `archive_command`) and [`receive`] (a supervised `pg_receivewal`); one way out, [`fetch`] (for
//! `restore_command`); and [`report`], which says what is there, what is late, what is lost.
//!
//! **Layout.** `wal/<system>/<timeline>/<name>`, one object a file, sealed with the repository's key and compressed. The names
//! are PostgreSQL's own, so a listing alone shows what is continuous. `wal/<system>/about` holds the size of the segments.
//! The newest segment, still growing, is `<segment>.partial-<length>`; a longer one takes its place and then the shorter is
//! removed. What was refused because another content had its name leaves `<name>.conflict-<hash>`.
//!
//! **Consistency.** An object is created once and never changed. Inside it stands what it is (system, name, length, SHA-256),
//! so the same content may come twice, other content under the same name is refused loudly ([`WalError::Conflict`]), and an
//! object under a wrong name is damaged.
//!
//! **Acknowledgement.** Nobody is told that a file is safe before the store has it durably and it was seen there. Nothing is
//! ever dropped to make room: what cannot be archived stays where it is, and whoever asked is told.
//!
//! **Memory.** Each worker holds one segment and its compressed form; [`workers`] bounds how many there are.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`archive`], `object`, `remember` | the layout: put, get, list; what of it never changes |
//! | [`file`](mod@file), `page` | files of a cluster, looked at before they are believed |
//! | [`push`], `spool`, [`pusher`] | `archive_command` |
//! | [`fetch`], [`prefetch`] | `restore_command` |
//! | [`receive`] | the supervised `pg_receivewal` |
//! | [`live`] | up to where the server itself is |
//! | [`record`] | what is written in the log about time |
//! | [`report`] | list and verify |
//! | [`prune`] | the only way out for good: what no base backup needs any more |
//!
//! What this room never does: delete what a base backup needs ([`prune`]), or a history, ever; believe a file because
//! of its name; take an archive that cannot be read for one that has nothing.

pub mod archive;
pub mod error;
pub mod fetch;
pub mod file;
pub mod live;
mod object;
mod page;
pub mod prefetch;
pub mod prune;
pub mod push;
pub mod pusher;
pub mod receive;
pub mod record;
mod remember;
pub mod report;
mod spool;

pub use archive::{Archived, Entry, Listed, WalArchive};
pub use error::WalError;
pub use fetch::FetchSpool;
pub use file::WalFile;
pub use remember::Remembered;
pub use spool::{PushSpool, SpoolLock, Verdict};

use crate::domain::wal::SegmentSize;

/// The memory that the workers of one process may take together, in bytes.
const WORKING_MEMORY: u64 = 256 << 20;

/// How many segments are worked on at once when `wanted` would be useful.
pub fn workers(wanted: usize, size: SegmentSize) -> usize {
    // The segment, its compressed form and its sealed form.
    let fit = WORKING_MEMORY / (3 * size.bytes());
    wanted.clamp(1, usize::try_from(fit).unwrap_or(1).max(1))
}
