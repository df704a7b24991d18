//! One incident and the runbook that cures it, gone through as at night, by two engineers, with the clock running.
//!
//! ```text
//!   prepare ─▶ incident ─▶ noticed ─▶ plan ─▶ runbook, step by step ─▶ proof from outside ─▶ score, report
//! ```
//!
//! The runbook is the one that comes with the program, gone through by the agent; [`player`] only says the words that people
//! say, as two of them, and does with its own hands what a step asks people to do. The proof asks nothing of the program: the
//! service remembers every order it acknowledged, files are compared byte for byte, tables by checksum. A scenario whose proof
//! fails ends with an error, whatever the runbook says of itself.
//!
//! | file | what it has |
//! | --- | --- |
//! | `player` | going through a runbook |
//! | `servers` | failover, region-loss, split-network |
//! | `data` | pitr, corruption, ransomware |
//! | `repositories` | disk-full, repository-damaged |
//! | `score` | the figures, and the report file |
//!
//! What it never does: pass a step over, set a check aside, or call lost data a success that no failover could have kept.

mod data;
mod player;
mod repositories;
mod score;
mod servers;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::{Drill, Verdict, unexpected};
use crate::domain::alert::AlertKind;
use crate::domain::runbook::template::Values;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::units::{Millis, Timestamp};
use crate::sandbox::documents::Inventory;
use crate::sandbox::orders::Taken;
use crate::sandbox::{SandboxError, incidents};
use crate::source::DatabaseManifest;

/// Which story is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// The primary is killed.
    Failover,
    /// A DELETE without WHERE.
    Pitr,
    /// Rows are overwritten.
    Corruption,
    /// Files are encrypted.
    Ransomware,
    /// A whole region is gone.
    RegionLoss,
    /// Nobody but the shop reaches its primary.
    SplitNetwork,
    /// A repository has bytes that were not written.
    RepositoryDamaged,
    /// A repository has no room left.
    DiskFull,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Failover,
        Self::Pitr,
        Self::Corruption,
        Self::Ransomware,
        Self::RegionLoss,
        Self::SplitNetwork,
        Self::RepositoryDamaged,
        Self::DiskFull,
    ];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Pitr => "pitr",
            Self::Corruption => "corruption",
            Self::Ransomware => "ransomware",
            Self::RegionLoss => "region-loss",
            Self::SplitNetwork => "split-network",
            Self::RepositoryDamaged => "repository-damaged",
            Self::DiskFull => "disk-full",
        }
    }

    /// What happens in it, in a few words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Failover => "the primary is killed",
            Self::Pitr => "a DELETE without WHERE",
            Self::Corruption => "rows are overwritten",
            Self::Ransomware => "files are encrypted",
            Self::RegionLoss => "a whole region is gone",
            Self::SplitNetwork => "nobody but the shop reaches its primary",
            Self::RepositoryDamaged => "a repository has bytes that were not written",
            Self::DiskFull => "a repository has no room left",
        }
    }

    /// Reads the word for one.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }

    /// The runbook that cures it.
    const fn runbook(self) -> &'static str {
        match self {
            Self::Failover => "manual-failover",
            Self::Pitr => "partial-data-loss",
            Self::Corruption => "database-corruption",
            Self::Ransomware => "ransomware",
            Self::RegionLoss => "regional-failure",
            Self::SplitNetwork => "split-network",
            Self::RepositoryDamaged => "repository-damaged",
            Self::DiskFull => "repository-full",
        }
    }

    /// What is broken.
    const fn incident(self) -> &'static str {
        match self {
            Self::Failover => incidents::KILL_PRIMARY,
            Self::Pitr => incidents::DELETE_ROWS,
            Self::Corruption => incidents::ENCRYPT_ROWS,
            Self::Ransomware => incidents::ENCRYPT_FILES,
            Self::RegionLoss => incidents::LOSE_REGION,
            Self::SplitNetwork => incidents::SPLIT_NETWORK,
            Self::RepositoryDamaged => incidents::DAMAGE_REPOSITORY,
            Self::DiskFull => incidents::DISK_FULL,
        }
    }

    /// Whether there has to be a database for it.
    const fn needs_server(self) -> bool {
        !matches!(self, Self::Ransomware | Self::RepositoryDamaged | Self::DiskFull)
    }
}

/// What is known of a story while it is played.
struct Story {
    which: Scenario,
    /// When it was broken, by the wall and by the clock that only goes forward.
    broken_at: Timestamp,
    broken: Instant,
    /// When it was noticed.
    noticed: Option<Instant>,
    /// When the first step acted that brings something back.
    decided: Option<Instant>,
    /// When everybody could work again.
    back: Option<Instant>,
    /// What the runbook is begun with, and what is said when it asks for a value.
    values: Values,
    /// The orders acknowledged in good time before the incident, and those about its moment.
    safe: Taken,
    about: Taken,
    /// How the documents were, and the tables.
    inventory: Option<Inventory>,
    recorded: Option<DatabaseManifest>,
    payments: Option<String>,
    /// The snapshots made in good time before the incident.
    snapshots: Vec<SnapshotRecord>,
    /// What was lost, in words.
    lost: String,
    /// What was compared, and whether it is what it was.
    proof: Vec<(bool, String)>,
}

impl Drill<'_> {
    /// Plays a scenario; whether the proof came out.
    pub(super) async fn scenario(&mut self, which: Scenario, report: Option<&Path>) -> Result<Verdict, SandboxError> {
        if self.world.login().is_none() && which.needs_server() {
            let why = self.world.no_server().unwrap_or_default();
            return Err(unexpected(&format!(
                "scenario {} needs a database server: {why}",
                which.word()
            )));
        }
        self.log
            .line(&format!("scenario    {}: {}", which.word(), which.title()));
        self.hold_jobs().await?;
        let clock = self.world.clock().clone();
        let mut story = Story {
            which,
            broken_at: clock.now(),
            broken: clock.monotonic(),
            noticed: None,
            decided: None,
            back: None,
            values: BTreeMap::new(),
            safe: Taken::default(),
            about: Taken::default(),
            inventory: None,
            recorded: None,
            payments: None,
            snapshots: Vec::new(),
            lost: "nothing".to_owned(),
            proof: Vec::new(),
        };
        self.get_ready(&mut story).await?;
        (story.broken_at, story.broken) = (clock.now(), clock.monotonic());
        let message = self.client.practice(which.incident()).await?;
        self.log.line(&format!("INCIDENT    {message}"));
        self.after_the_blow(&mut story).await?;
        self.notice(&mut story).await?;
        story.noticed = Some(clock.monotonic());
        let record = self.go_through(&mut story).await?;
        self.finish(&mut story).await?;
        self.settle(&story, &record, report).await
    }

    async fn get_ready(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        match story.which {
            Scenario::Failover | Scenario::RegionLoss | Scenario::SplitNetwork => self.servers_ready(story).await,
            Scenario::RepositoryDamaged | Scenario::DiskFull => self.repository_ready(story).await,
            Scenario::Pitr => self.payments_ready(story).await,
            Scenario::Corruption => self.dump_ready(story).await,
            Scenario::Ransomware => self.files_ready(story).await,
        }
    }

    /// What goes on in the world right after the incident, whoever notices.
    async fn after_the_blow(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        match story.which {
            Scenario::Pitr => self.world.open_shop(true),
            // The next backup comes as its schedule has it.
            Scenario::Ransomware => {
                let run = self.run("documents").await?;
                self.backed_up(run).await?;
            }
            Scenario::RepositoryDamaged => self.read_through().await?,
            Scenario::DiskFull => self.back_up_without_room(story).await?,
            _ => {}
        }
        Ok(())
    }

    /// Waits until somebody would notice.
    async fn notice(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        match story.which {
            Scenario::Failover | Scenario::RegionLoss | Scenario::SplitNetwork => self.notice_silence(story).await?,
            Scenario::RepositoryDamaged => self.alert(AlertKind::RepositoryDamaged, true).await?,
            Scenario::DiskFull => self.alert(AlertKind::StorageFull, true).await?,
            Scenario::Pitr => {
                self.notice_in_shop("select (count(*) < 80000)::text from payments")
                    .await?;
                // Who asks for a moment that has not arrived in the repository yet is refused.
                self.recoverable_to(self.world.clock().now()).await?;
            }

            Scenario::Corruption => {
                let sql = "select (count(*) = 0)::text from customers where email like '%@example.org'";
                self.notice_in_shop(sql).await?;
            }
            Scenario::Ransomware => self.notice_encryption().await?,
        }
        let took = Millis::from(self.world.clock().elapsed(story.broken));
        self.log.line(&format!("noticed     after {took}"));
        Ok(())
    }

    /// What people do with their own hands when a step asks for it.
    async fn by_hand(&mut self, story: &mut Story, step: &str, known: &Values) -> Result<(), SandboxError> {
        match (story.which, step) {
            (Scenario::RegionLoss, "route") => self.route("db2").await,
            (Scenario::RegionLoss, "works") => self.shop_works(story).await,
            (Scenario::SplitNetwork, "mend") => self.mend().await,
            (Scenario::RepositoryDamaged, "place") => self.give_new_place().await,
            (Scenario::DiskFull, "room") => self.take_away().await,
            // The drill holds every job, and runs none that its story does not need.
            (Scenario::RepositoryDamaged | Scenario::DiskFull, "others") => Ok(()),
            (Scenario::Pitr, "take-over") => self.take_payments_over(known).await,
            (Scenario::Corruption, "stop-writers") => self.close_shop(story).await,
            (Scenario::Corruption, "inspect") => self.look_at_restored().await,
            (Scenario::Corruption, "start-writers") => self.prove_tables_and_open(story).await,
            // In the sandbox the machine that is isolated is the shop's: nobody reaches it any more.
            (Scenario::Ransomware, "isolate") => {
                self.world.open_shop(false);
                Ok(())
            }
            (Scenario::Ransomware, "inspect") => self.prove_restored_files(story).await,
            _ => Err(unexpected(&format!(
                "step {step} asks for something nobody here can do"
            ))),
        }
    }

    /// What is left to be done and to be proved when the runbook is through.
    async fn finish(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        match story.which {
            Scenario::Failover => self.prove_failover(story).await,
            Scenario::RegionLoss => self.prove_region(story).await,
            Scenario::SplitNetwork => self.prove_whole_network(story).await,
            Scenario::RepositoryDamaged => self.prove_sound(story).await,
            Scenario::DiskFull => self.prove_room(story).await,
            Scenario::Pitr => self.prove_payments(story).await,
            Scenario::Corruption | Scenario::Ransomware => Ok(()),
        }
    }
}
