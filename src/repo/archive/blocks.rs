//! Files that are cut into blocks of one size, because they are changed in place by the page: the data files of a database.
//!
//! Content-defined chunks are about a mebibyte and end where the content says, so one changed page makes new chunks of up to
//! some mebibytes. A block that is aligned to the page changes alone.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::exclude::Excludes;
use crate::repo::chunk::MAX_SIZE;
use crate::repo::error::RepoError;

/// The page of a database; blocks hold whole ones.
const PAGE: usize = 8 << 10;

/// Which files are cut into blocks, and how large these are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedBlocks {
    /// Whole paths in gitignore syntax, such as `/var/lib/postgresql/**/base/**`.
    pub patterns: Vec<String>,
    /// The size of a block in bytes: a multiple of 8 KiB, at most 8 MiB.
    pub block_bytes: usize,
}

/// The same, ready for use.
#[derive(Debug)]
pub(super) struct Blocks {
    patterns: Excludes,
    size: usize,
}

impl Blocks {
    pub(super) fn new(options: &FixedBlocks) -> Result<Self, RepoError> {
        let size = options.block_bytes;
        if size == 0 || size > MAX_SIZE || !size.is_multiple_of(PAGE) {
            return Err(RepoError::Invalid {
                what: format!("blocks of {size} bytes: the size must be a multiple of 8 KiB and at most 8 MiB"),
            });
        }
        let patterns = Excludes::new(&options.patterns, Path::new("/"))?;
        Ok(Self { patterns, size })
    }

    pub(super) fn matches(&self, path: &Path) -> bool {
        self.patterns.matches(path, false)
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }
}
