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
//! | `which` | the stories there are: scenarios, and a drill for every other runbook |
//! | `player`, `answer` | going through a runbook; what is said when it waits for people |
//! | `servers` | failover, region-loss, split-network, and what else is about servers that are gone |
//! | `data` | pitr, corruption, ransomware, single-table |
//! | `quiet` | data-centre, break-glass, and the runbooks of quiet days |
//! | `repositories` | disk-full, repository-damaged |
//! | `deaths` | what an agent that was killed again and again has kept of its word |
//! | `score` | the figures, and the report file |
//!
//! What it never does: pass a step over, set a check aside, or call lost data a success that no failover could have kept.

mod answer;
mod data;
mod deaths;
mod player;
mod quiet;
mod repositories;
mod score;
mod servers;
mod which;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Drill, Verdict, unexpected};
use crate::domain::alert::AlertKind;
use crate::domain::runbook::template::Values;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::units::{Millis, Timestamp};
use crate::sandbox::documents::Inventory;
use crate::sandbox::orders::Taken;
use crate::sandbox::{DemoOptions, SandboxError};
use crate::source::DatabaseManifest;
pub use deaths::Deaths;
pub use which::Scenario;

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
    /// What people have done already: when a word about it was lost with its agent, only the word is given again.
    done: BTreeSet<String>,
    /// The steps inside which the agent was killed.
    killed: BTreeSet<String>,
    /// How often people had to look because nobody else could tell.
    asked: u32,
}

impl Drill<'_> {
    /// Plays a scenario; whether the proof came out.
    pub(super) async fn scenario(&mut self, which: Scenario, options: &DemoOptions) -> Result<Verdict, SandboxError> {
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
            done: BTreeSet::new(),
            killed: BTreeSet::new(),
            asked: 0,
        };
        self.get_ready(&mut story).await?;
        (story.broken_at, story.broken) = (clock.now(), clock.monotonic());
        if let Some(incident) = which.incident() {
            let message = self.client.practice(incident).await?;
            self.log.line(&format!("INCIDENT    {message}"));
        }
        self.after_the_blow(&mut story).await?;
        self.notice(&mut story).await?;
        story.noticed = Some(clock.monotonic());
        if options.rehearse {
            self.rehearse(&mut story).await?;
        }
        if let Some(apart) = &options.apart {
            self.world.move_out(apart).await?;
            self.client = self.world.client();
        }
        let record = self.go_through(&mut story).await?;
        let deaths = match &options.apart {
            Some(apart) => Some(self.deaths(&story, &record, apart).await?),
            None => None,
        };
        self.finish(&mut story).await?;
        let verdict = self.settle(&story, &record, options.report.as_deref()).await?;
        Ok(Verdict { deaths, ..verdict })
    }

    async fn get_ready(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        match story.which {
            Scenario::Failover
            | Scenario::RegionLoss
            | Scenario::SplitNetwork
            | Scenario::Automatic
            | Scenario::DatabaseDown
            | Scenario::Switchover
            | Scenario::Failback
            | Scenario::Quarterly => self.servers_ready(story).await,
            Scenario::Pitr | Scenario::SingleTable => self.payments_ready(story).await,
            Scenario::RepositoryDamaged | Scenario::DiskFull => self.repository_ready(story).await,
            Scenario::Corruption => self.dump_ready(story).await,
            Scenario::Ransomware | Scenario::BreakGlass => self.files_ready(story).await,
            Scenario::DataCentre => self.log_ready(story).await,
            Scenario::Monthly => self.base_ready(story).await,
        }
    }

    /// What goes on in the world right after the incident, whoever notices.
    async fn after_the_blow(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        match story.which {
            Scenario::Pitr | Scenario::SingleTable => self.world.open_shop(true),
            Scenario::DataCentre => self.kill_standby().await?,
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
            Scenario::Failover
            | Scenario::RegionLoss
            | Scenario::SplitNetwork
            | Scenario::Automatic
            | Scenario::DatabaseDown
            | Scenario::DataCentre => self.notice_silence(story).await?,
            Scenario::RepositoryDamaged => self.alert(AlertKind::RepositoryDamaged, true).await?,
            Scenario::DiskFull => self.alert(AlertKind::StorageFull, true).await?,
            // Nothing is wrong on a quiet day.
            Scenario::Switchover
            | Scenario::Failback
            | Scenario::Quarterly
            | Scenario::Monthly
            | Scenario::BreakGlass => return Ok(()),
            Scenario::Pitr | Scenario::SingleTable => {
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
            (Scenario::RegionLoss, "works") | (Scenario::DatabaseDown, "application") => self.shop_works(story).await,
            (Scenario::SplitNetwork, "mend") => self.mend().await,
            (Scenario::RepositoryDamaged, "place") => self.give_new_place().await,
            (Scenario::DiskFull, "room") => self.take_away().await,
            // The drill holds every job, and runs none that its story does not need; its passwords are thrown away with it.
            (Scenario::RepositoryDamaged | Scenario::DiskFull, "others") | (Scenario::Ransomware, "rotate") => Ok(()),
            (Scenario::SingleTable, "compare") => self.take_table_over(known).await,
            (Scenario::DataCentre, "inspect") => self.open_recovered(story, known).await,
            (Scenario::DataCentre, "service") => self.serve_from_recovered(story, known).await,
            (Scenario::BreakGlass, step) => self.break_glass(story, step).await,
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
            Scenario::Failover | Scenario::Automatic | Scenario::Switchover => {
                self.prove_orders(story, &["db2", "db1"]).await
            }
            Scenario::DatabaseDown | Scenario::Failback | Scenario::Quarterly => {
                self.prove_orders(story, &["db1", "db2"]).await
            }
            Scenario::RegionLoss => self.prove_region(story).await,
            Scenario::SplitNetwork => self.prove_whole_network(story).await,
            Scenario::RepositoryDamaged => self.prove_sound(story).await,
            Scenario::DiskFull => self.prove_room(story).await,
            Scenario::Pitr | Scenario::SingleTable => self.prove_payments(story).await,
            Scenario::DataCentre => self.prove_recovered(story).await,
            Scenario::Monthly => self.prove_restored(story).await,
            Scenario::Corruption | Scenario::Ransomware | Scenario::BreakGlass => Ok(()),
        }
    }

    /// What people clear away that an agent left when it died in a step: the step is done from the beginning then.
    async fn clear_away(&mut self, story: &Story, step: &str, known: &Values) -> Result<(), SandboxError> {
        let directory = known.get("directory").cloned().unwrap_or_default();
        match (story.which, step) {
            (Scenario::Corruption, "restore") => self.drop_restored().await,
            (Scenario::Ransomware, "restore") => self.remove(&directory).await,
            (Scenario::Pitr | Scenario::DataCentre, "recover") => self.discard(&directory).await,
            (Scenario::SingleTable, "copy") => self.clear_copy(&directory).await,
            _ => Ok(()),
        }
    }

    /// What people do while a step waits for the world, not for them.
    async fn meanwhile(&mut self, story: &mut Story, step: &str) -> Result<(), SandboxError> {
        match (story.which, step) {
            // The machine of the old primary is back.
            (Scenario::Automatic, "returns") if story.done.insert("returns".to_owned()) => {
                self.start_old_primary().await
            }
            _ => Ok(()),
        }
    }
}
