//! Whole clusters: laid down from a snapshot into a directory on which a server can be started.
#![allow(dead_code, unused_imports, reason = "the copy, which uses the rest, follows")]

mod control;
mod error;
mod label;
mod lay_down;
mod names;
mod occupied;
mod page;
mod restore;

pub(crate) use control::Control;
pub use error::PhysicalError;
pub use lay_down::{LaidDown, LayDownOptions};
pub(crate) use lay_down::{cluster_of, lay_down};
pub(crate) use occupied::running;
pub(in crate::source) use restore::{is_whole, plan, restore};
