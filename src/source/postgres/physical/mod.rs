//! Whole clusters: their files copied while the server runs, and laid down again.
//!
//! | file | what it does |
//! | --- | --- |
//! | `copy`, `choose` | a cluster into a snapshot: which server, which way, what must hold |
//! | `cluster` | the server: what it is, the backup begun and ended on it |
//! | `local`, `read`, `names` | its files from this machine's disk: which, how, what is taken over unread |
//! | `remote`, `stream`, `second` | its files through `pg_basebackup`, out of the tar it writes |
//! | `page`, `control`, `label` | formats of PostgreSQL: checksums of pages, `pg_control`, `backup_label`, `tablespace_map` |
//! | `segments` | the log a copy needs, into the copy |
//! | `lay_down`, `places`, `occupied`, `restore` | a snapshot into a directory; what must not be replaced |
//! | `proof`, `amcheck` | the proof of a snapshot, level by level |
//!
//! **Consistency.** The files of a running server are copied one after the other, so together they were never true. The log from
//! the backup's start to its end makes them so: recovery replays it, and opens only behind the end. It lies inside the snapshot,
//! which therefore restores alone; with more of the log from the archive it goes on to any later moment.
//!
//! **Incremental for ever.** Files of relations are cut into blocks that hold whole pages, and a block the repository has is not
//! stored again. `pg_basebackup --incremental` (17 and later) would save reading and sending, and cost chains of backups that
//! restore only together; it is not used.
//!
//! What this room never does: change anything on a server but the backup it begins; commit a copy it is not sure of; lay a
//! cluster over a running server or over something else.

mod amcheck;
mod choose;
mod cluster;
mod control;
mod copy;
mod error;
mod label;
mod lay_down;
mod local;
mod names;
mod occupied;
mod page;
mod places;
mod proof;
mod read;
mod remote;
mod restore;
mod second;
mod segments;
mod stream;

pub use choose::way;
pub(in crate::source) use copy::back_up;
pub use error::PhysicalError;
pub(crate) use lay_down::is_laying;
pub use lay_down::{LaidDown, LayDownOptions, lay_down};
pub(in crate::source) use proof::Proof;
pub(in crate::source) use restore::{is_whole, plan, restore};
