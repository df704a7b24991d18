//! Pieces that several screens draw with: one file each, none with a memory of its own.

pub mod detail;
pub mod gauge;
pub mod header;
pub mod input;
pub mod instants;
pub mod list;
pub mod parts;
pub mod progress;
