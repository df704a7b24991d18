//! What one prune leaves for the next: which packs it found unneeded and when, and which snapshots it saw.
//!
//! One object in `marks/`, replaced as a whole: the new one is written before the old one is deleted, and the one with
//! the highest generation counts. A pack is marked since the first prune of an unbroken row of prunes that found it
//! unneeded; a pack that is needed again is in no later state, and its time begins anew.
//!
//! Crash window: two states. The newer one counts, the older one is deleted by the next prune. Should two programs have
//! written the same generation, which takes two exclusive locks at once, only what both marked is marked, since the later
//! time.

use std::collections::HashMap;

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

use crate::repo::Repository;
use crate::repo::beside::{Beside, Note};
use crate::repo::error::RepoError;
use crate::repo::id::{BuildIdHasher, Id};
use crate::store::ErrorKind;

/// The packs that are marked, and since when.
pub(super) type Marks = HashMap<Id, DateTime<FixedOffset>, BuildIdHasher>;

/// A snapshot that a prune saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Its id.
    pub(super) id: Id,
    /// The first id it had, when its labels were changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) original: Option<Id>,
}

/// What is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct File {
    generation: u64,
    /// Packs, by the time they were marked.
    marked: Vec<(DateTime<FixedOffset>, Vec<Id>)>,
    seen: Vec<Seen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubt: Option<DateTime<FixedOffset>>,
}

/// What the last prune left.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    generation: u64,
    /// The packs that it found unneeded.
    pub(super) marks: Marks,
    /// The snapshots it saw; none before the first prune.
    pub(super) seen: Option<Vec<Seen>>,
    /// When somebody's lock was last judged stale only by its age: that client may still be at work.
    pub(super) doubt: Option<DateTime<FixedOffset>>,
    /// The objects that say so.
    names: Vec<String>,
}

impl State {
    /// Reads what the last prune left.
    pub(super) async fn load(repo: &Repository) -> Result<Self, RepoError> {
        let mut this = Self::default();
        for name in repo.list_beside(Beside::Marks).await? {
            let Some(sealed) = repo.load_beside::<File>(Beside::Marks, &name).await? else {
                continue;
            };
            this.take(sealed.what);
            this.names.push(name);
        }
        Ok(this)
    }

    fn take(&mut self, file: File) {
        let marks: Marks = file
            .marked
            .into_iter()
            .flat_map(|(since, packs)| packs.into_iter().map(move |pack| (pack, since)))
            .collect();
        self.doubt = self.doubt.max(file.doubt);
        if file.generation > self.generation || self.seen.is_none() {
            (self.generation, self.marks, self.seen) = (file.generation, marks, Some(file.seen));
        } else if file.generation == self.generation {
            self.marks.retain(|pack, since| match marks.get(pack) {
                Some(other) => {
                    *since = (*since).max(*other);
                    true
                }
                None => false,
            });
            self.seen.get_or_insert_default().extend(file.seen);
        }
    }

    /// Writes the next state and removes the one before.
    pub(super) async fn save(&mut self, repo: &Repository) -> Result<(), RepoError> {
        self.generation += 1;
        let mut by_time: HashMap<DateTime<FixedOffset>, Vec<Id>> = HashMap::new();
        for (pack, since) in &self.marks {
            by_time.entry(*since).or_default().push(*pack);
        }
        let mut marked: Vec<_> = by_time.into_iter().collect();
        marked.sort_unstable();
        let file = File {
            generation: self.generation,
            marked,
            seen: self.seen.clone().unwrap_or_default(),
            doubt: self.doubt,
        };
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| RepoError::internal(format!("no randomness: {error}")))?;
        let name = Id(random).hex();
        let note = Note {
            by: crate::repo::PROGRAM_VERSION.to_owned(),
            reason: None,
        };
        repo.save_beside(Beside::Marks, &name, &note, file).await?;
        for old in std::mem::replace(&mut self.names, vec![name]) {
            match repo.remove_beside(Beside::Marks, &old).await {
                // An older generation does no harm.
                Err(RepoError::Store(error)) if error.kind == ErrorKind::Locked => {}
                other => other?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::fresh;
    use super::*;
    use crate::clock::Clock;

    fn id(byte: u8) -> Id {
        Id([byte; 32])
    }

    #[tokio::test]
    async fn the_newest_state_counts_and_the_old_one_goes() {
        let (_, repo) = fresh().await;
        let mut state = State::load(&repo).await.unwrap();
        assert!(state.seen.is_none() && state.marks.is_empty());
        let now = Clock::system().now().fixed_offset();
        state.marks.insert(id(1), now);
        state.save(&repo).await.unwrap();
        let mut older = state.clone();
        state.marks.clear();
        state.marks.insert(id(2), now);
        state.save(&repo).await.unwrap();
        assert_eq!(repo.list_beside(Beside::Marks).await.unwrap().len(), 1);
        let read = State::load(&repo).await.unwrap();
        assert_eq!(read.marks.keys().collect::<Vec<_>>(), [&id(2)]);
        assert_eq!(read.seen, Some(Vec::new()));
        // Two of one generation: only what both say.
        let later = now + chrono::Duration::hours(1);
        older.marks = [(id(2), later), (id(3), now)].into_iter().collect();
        older.names.clear();
        older.save(&repo).await.unwrap();
        let both = State::load(&repo).await.unwrap();
        assert_eq!(both.marks.into_iter().collect::<Vec<_>>(), [(id(2), later)]);
    }
}
