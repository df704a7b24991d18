//! Looks whether what was broken for practice holds again, and keeps the score.
//!
//! It asks the things themselves, as the people who use them would: the shop, its tables, the files, the repository. It asks
//! no runbook: one that is through and cured nothing has cured nothing. What cannot be asked does not hold.
//!
//! **Loss** is counted in orders the shop acknowledged and does not have any more. What was missing before an incident is not
//! counted again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::documents::{Entry, Inventory};
use super::incidents::{
    self, DAMAGE_REPOSITORY, DELETE_FILES, DELETE_ROWS, DISK_FULL, DROP_TABLE, ENCRYPT_FILES, ENCRYPT_ROWS,
    KILL_PRIMARY, LOSE_REGION, OVERWRITE_FILES, SPLIT_NETWORK,
};
use super::orders::{Service, missing};
use super::proof;
use super::score::{Broken, Scores};
use super::settings::{FAR, NEAR, NEAR_MOST};
use super::shop::DATABASE;
use crate::api::Client;
use crate::api::types::StreamItem;
use crate::clock::Clock;
use crate::domain::event::{Event, EventRecord};
use crate::domain::maintenance::Task;
use crate::domain::recovery::RecoveryTarget;
use crate::domain::run::Outcome;
use crate::domain::units::Timestamp;
use crate::source::postgres::{Login, ask};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many orders make it a shop that is open again.
const SOME: u64 = 5;

/// Whether the table that can be dropped is there, with what it had.
const TABLE: &str = "select (count(*) > 1000)::text from order_items";
/// Whether every order has its payment.
const PAID: &str = "select (not exists (select from orders o where not exists
    (select from payments p where p.order_id = o.id)))::text";
/// Where the scores are kept, in the sandbox.
const BOOK: &str = "scores.txt";
/// Whether people can be read.
const READABLE: &str = "select (count(*) > 0 and count(*) filter (where email not like '%@example.org') = 0)::text
    from customers";
/// Whether somebody follows.
const FOLLOWED: &str = "select (count(*) > 0)::text from pg_stat_replication where state = 'streaming'";

/// What it looks at.
pub(super) struct Keeper {
    /// The book.
    pub(super) scores: Scores,
    /// The engine.
    pub(super) client: Client,
    /// The directory of the sandbox.
    pub(super) sandbox: PathBuf,
    /// Where the documents are.
    pub(super) documents: PathBuf,
    /// The server the shop's name means, when there is one.
    pub(super) login: Option<Login>,
    /// The shop, when there is one.
    pub(super) service: Option<Service>,
    /// What cuts the ways.
    pub(super) ways: Option<[watch::Sender<bool>; 2]>,
    /// Time.
    pub(super) clock: Clock,
}

/// What is remembered between two looks.
#[derive(Default)]
struct Memory {
    /// How the documents were when they were whole.
    whole: Inventory,
    /// Orders that were missing already.
    missing: u64,
    /// Orders taken when an incident was first looked at.
    taken: Vec<(&'static str, u64)>,
    /// Where files were restored to, and when that was asked for.
    restored: Vec<(Timestamp, PathBuf)>,
    /// When the near repository was last read through from a beginning, and sound.
    sound: Option<Timestamp>,
    /// When a backup to it last succeeded.
    backed_up: Option<Timestamp>,
}

impl Memory {
    fn remember(&mut self, record: &EventRecord) {
        match &record.event {
            Event::RecoveryRequested { recovery } => {
                if let RecoveryTarget::Directory { path, .. } = &recovery.request.target {
                    self.restored.push((record.at, path.clone()));
                }
            }
            Event::MaintenanceFinished {
                record: ended,
                sound: Some(true),
            } if ended.repository.as_str() == NEAR => {
                if let Task::Check { subset: Some(subset) } = &ended.task
                    && subset == "all"
                {
                    self.sound = ended.started_at;
                }
            }
            // Jobs that end with the region's word write to the other one.
            Event::RunFinished { record: run }
                if run.outcome == Outcome::Succeeded && !run.job.as_str().ends_with(FAR) =>
            {
                self.backed_up = run.started_at;
            }
            _ => {}
        }
    }
}

impl Keeper {
    /// Looks until what is returned is dropped.
    pub(super) fn start(self) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(async move { self.keep().await }))
    }

    async fn keep(self) {
        let whole = proof::look(self.documents.clone()).await;
        let mut memory = Memory {
            whole: whole.unwrap_or_default(),
            ..Memory::default()
        };
        let Ok(mut events) = self.client.stream().await else {
            return;
        };
        loop {
            tokio::select! {
                item = events.next() => match item {
                    Some(Ok(StreamItem::Event { record })) => {
                        self.scores.see(&record);
                        memory.remember(&record);
                        continue;
                    }
                    Some(Ok(_)) => continue,
                    // It only ends with the engine.
                    Some(Err(_)) | None => return,
                },
                () = self.clock.sleep(LOOK_EVERY) => {}
            }
            for broken in self.scores.open() {
                if self.holds(&mut memory, &broken).await {
                    let lost = self.lost(&mut memory).await;
                    memory.taken.retain(|(incident, _)| *incident != broken.incident);
                    let now = self.clock.now();
                    if let Some(line) = self.scores.cured(broken.incident, now, lost) {
                        self.note(&format!("{} {line}\n", now.format("%Y-%m-%dT%H:%M:%SZ")))
                            .await;
                    }
                }
            }
        }
    }

    /// Writes a line of the book into the sandbox, where it is read when the screen is gone.
    async fn note(&self, line: &str) {
        let path = self.sandbox.join(BOOK);
        let written = async {
            let mut file = tokio::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .await?;
            file.write_all(line.as_bytes()).await?;
            file.flush().await
        };
        if let Err(error) = written.await {
            tracing::warn!("the score cannot be written to {}: {error}", path.display());
        }
    }

    async fn holds(&self, memory: &mut Memory, broken: &Broken) -> bool {
        let since = |moment: Option<Timestamp>| moment.is_some_and(|moment| moment > broken.at);
        match broken.incident {
            DROP_TABLE => self.says(TABLE).await && self.sells(memory, broken),
            DELETE_ROWS => self.says(PAID).await,
            ENCRYPT_ROWS => self.says(READABLE).await,
            KILL_PRIMARY => self.sells(memory, broken),
            LOSE_REGION => self.sells(memory, broken) && self.files_are_back(memory, broken).await,
            SPLIT_NETWORK => self.is_joined().await && self.sells(memory, broken),
            ENCRYPT_FILES | OVERWRITE_FILES | DELETE_FILES => self.files_are_back(memory, broken).await,
            DAMAGE_REPOSITORY => since(memory.sound),
            DISK_FULL => since(memory.backed_up) && self.has_room().await,
            _ => true,
        }
    }

    /// Whether the shop's database says yes.
    async fn says(&self, sql: &str) -> bool {
        let Some(login) = &self.login else { return false };
        let answer = tokio::select! {
            answer = ask(login, DATABASE, sql, &self.clock) => answer,
            () = self.clock.sleep(Duration::from_secs(5)) => return false,
        };
        matches!(answer, Ok(Some(yes)) if yes == "true")
    }

    /// Whether the shop has taken orders since the incident was first looked at.
    fn sells(&self, memory: &mut Memory, broken: &Broken) -> bool {
        let taken = self.service.as_ref().map_or(0, |service| service.taken().count);
        let known = memory.taken.iter().find(|(incident, _)| *incident == broken.incident);
        let before = known.map(|(_, before)| *before);
        if before.is_none() {
            memory.taken.push((broken.incident, taken));
        }
        before.is_some_and(|before| taken >= before + SOME)
    }

    /// Whether the ways are open and the standby follows again.
    async fn is_joined(&self) -> bool {
        let open = self.ways.iter().flatten().all(|way| !*way.borrow());
        open && self.says(FOLLOWED).await
    }

    /// Whether every document is what it was: in its place, or where somebody restored them to since.
    async fn files_are_back(&self, memory: &Memory, broken: &Broken) -> bool {
        let inside = self.documents.strip_prefix("/").unwrap_or(&self.documents);
        let restored = memory.restored.iter().filter(|(at, _)| *at > broken.at);
        let places = restored.flat_map(|(_, path)| [path.clone(), path.join(inside)]);
        for place in std::iter::once(self.documents.clone()).chain(places) {
            if has_sizes(&memory.whole, &place) && self.has_all(&memory.whole, place).await {
                return true;
            }
        }
        false
    }

    async fn has_all(&self, whole: &Inventory, place: PathBuf) -> bool {
        let Ok(found) = proof::look(place).await else {
            return false;
        };
        // What else lies there, and with it the times of directories, is not what was lost.
        let same = |(path, entry): (&PathBuf, &Entry)| match entry {
            Entry::Directory(..) => matches!(found.get(path), Some(Entry::Directory(..))),
            entry => found.get(path) == Some(entry),
        };
        !whole.is_empty() && whole.iter().all(same)
    }

    /// Whether the near repository has room again, by whichever way.
    async fn has_room(&self) -> bool {
        if !incidents::filler(&self.sandbox).exists() {
            return true;
        }
        let Ok(picture) = self.client.overview().await else {
            return false;
        };
        let mut rooms = picture.repositories.iter().filter(|known| known.name.as_str() == NEAR);
        let room = rooms.find_map(|known| known.room);
        room.is_some_and(|room| room.limit.0 > NEAR_MOST && room.percent() < 90)
    }

    /// What was lost since it was last asked, in words.
    async fn lost(&self, memory: &mut Memory) -> String {
        let (Some(login), Some(service)) = (&self.login, &self.service) else {
            return "nothing".to_owned();
        };
        let taken = service.taken();
        match missing(login, &taken, &self.clock).await {
            Ok(now) => {
                let lost = now.saturating_sub(memory.missing);
                memory.missing = now;
                match lost {
                    0 => "nothing".to_owned(),
                    some => format!("{some} acknowledged orders"),
                }
            }
            Err(error) => format!("nobody can tell ({error})"),
        }
    }
}

/// Whether every file is there with its size, which is quickly seen.
fn has_sizes(whole: &Inventory, place: &Path) -> bool {
    whole.iter().all(|(path, entry)| {
        let facts = std::fs::symlink_metadata(place.join(path));
        facts.is_ok_and(|facts| !facts.is_file() || facts.len() == entry.size())
    })
}
