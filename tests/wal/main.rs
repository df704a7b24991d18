//! The archive of a PostgreSQL log with real servers: in by `archive_command` and by streaming, out by `restore_command`.

mod archive;
mod cluster;
mod drill;
mod engine;
mod follow_up;
mod hold;
mod kill;
mod ledger;
mod load;
mod physical;
mod prune;
mod receive;
mod recover;
mod refuse;
mod versions;
mod world;
