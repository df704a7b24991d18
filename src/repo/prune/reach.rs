//! What is needed: every blob that the trees of the snapshots name.
//!
//! Whole or an error. A tree that cannot be read, or a blob that is in no pack, means that we do not know what is needed;
//! then nothing may be removed. The one exception is a snapshot in the trash whose data another program has pruned: it
//! protects what is left of it, and is named in the report. Such snapshots are followed last, because what they flagged
//! is not looked at again.

use futures_util::StreamExt;

use super::catalogue::Catalogue;
use crate::repo::Repository;
use crate::repo::beside::PARALLEL_READS;
use crate::repo::error::RepoError;
use crate::repo::id::Id;
use crate::repo::pack::BlobKind;
use crate::repo::stop::Stop;

/// How strictly a snapshot is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// What it names must be there.
    Whole,
    /// What is left of it.
    WhatIsLeft,
}

impl Catalogue {
    /// Flags everything below `root` as needed; says whether all of it is there.
    pub(super) async fn reach(
        &mut self,
        repo: &Repository,
        root: Id,
        follow: Follow,
        stop: &Stop,
    ) -> Result<bool, RepoError> {
        let mut whole = true;
        let mut todo: Vec<Id> = Vec::new();
        self.step(BlobKind::Tree, root, follow, &mut whole, &mut todo)?;
        while !todo.is_empty() {
            stop.result()?;
            let batch = todo.split_off(todo.len().saturating_sub(PARALLEL_READS * 2));
            let trees = std::mem::take(&mut self.trees);
            let loads = batch.iter().map(|tree| repo.load_tree(&trees, tree));
            let loaded: Vec<_> = futures_util::stream::iter(loads.collect::<Vec<_>>())
                .buffered(PARALLEL_READS)
                .collect()
                .await;
            self.trees = trees;
            for nodes in loaded {
                for node in nodes? {
                    if let Some(subtree) = node.subtree {
                        self.step(BlobKind::Tree, subtree, follow, &mut whole, &mut todo)?;
                    }
                    for id in node.content {
                        self.step(BlobKind::Data, id, follow, &mut whole, &mut todo)?;
                    }
                }
            }
        }
        Ok(whole)
    }

    fn step(
        &mut self,
        kind: BlobKind,
        id: Id,
        follow: Follow,
        whole: &mut bool,
        todo: &mut Vec<Id>,
    ) -> Result<(), RepoError> {
        match self.need(kind, &id) {
            Some(true) if kind == BlobKind::Tree => todo.push(id),
            Some(_) => {}
            None if follow == Follow::WhatIsLeft => *whole = false,
            None => {
                let why = "no pack that is whole has it";
                return Err(RepoError::damaged(format!("blob {}", id.short()), why));
            }
        }
        Ok(())
    }
}
