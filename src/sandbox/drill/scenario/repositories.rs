//! Repositories in trouble: one without room, one that is damaged. Nothing the shop needs is broken, and that is the danger:
//! the next real incident finds backups that are not there.
//!
//! The proof asks for files, not for words: snapshots of before the incident and of after the cure are restored into new
//! directories and compared byte for byte.

use std::time::Duration;

use super::{Drill, Scenario, Story, unexpected};
use crate::domain::alert::AlertKind;
use crate::domain::command::Command;
use crate::domain::recovery::RecoveryTarget;
use crate::domain::run::Outcome;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::view::Query;
use crate::sandbox::documents::Dice;
use crate::sandbox::drill::request;
use crate::sandbox::drill::wait::LOOK_EVERY;
use crate::sandbox::settings::{self, NEAR};
use crate::sandbox::{SandboxError, incidents, proof};

/// How long it may take until the agent has noticed something.
const PATIENCE: Duration = Duration::from_mins(2);
/// A new document that no repository has yet.
const NEW: &str = "reports 2026/scan of today.bin";
/// How large it is.
const SCAN: usize = 3 << 20;

impl Drill<'_> {
    pub(super) async fn repository_ready(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let values = [("repository", NEAR), ("other", "far"), ("job", "documents")];
        story.values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        if story.which == Scenario::DiskFull {
            story.values.remove("other");
        }
        self.log.line("back up     documents, here and in the other region");
        for job in ["documents", "documents-far"] {
            let run = self.run(job).await?;
            let snapshot = self.backed_up(run).await?;
            story.snapshots.push(snapshot);
        }
        story.inventory = Some(proof::look(self.world.documents()).await?);
        Ok(())
    }

    /// Somebody scans a document, and the next backup comes as its schedule has it.
    pub(super) async fn back_up_without_room(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let path = self.world.documents().join(NEW);
        let mut dice = Dice(self.world.clock().now().timestamp_subsec_nanos().into());
        let noise: Vec<u8> = (0..SCAN / 8).flat_map(|_| dice.roll().to_le_bytes()).collect();
        std::fs::write(&path, noise).map_err(|error| SandboxError::local("write", &path, error))?;
        let run = self.run("documents").await?;
        let record = self.run_ended(&run).await?;
        let (message, hint) = record.error.map_or_else(Default::default, |error| {
            (error.message, error.hint.unwrap_or_default())
        });
        self.log
            .more(&format!("documents   {}: {}", record.outcome.word(), message));
        self.log.more(&format!("            hint: {hint}"));
        let says = message.contains("full") && hint.contains("repository-full");
        let text = "the backup without room failed, and said that and what to do".to_owned();
        story.proof.push((record.outcome == Outcome::Failed && says, text));
        Ok(())
    }

    /// The repository is read through, as its schedule has it.
    pub(super) async fn read_through(&mut self) -> Result<(), SandboxError> {
        let (repository, subset) = (NEAR.into(), Some("all".to_owned()));
        self.log
            .line("check       every byte of the near repository, as its schedule has it");
        let check = Command::CheckRepository { repository, subset };
        self.client.command(check).await?;
        Ok(())
    }

    /// Waits until an alert is open, or not any more.
    pub(super) async fn alert(&mut self, kind: AlertKind, open: bool) -> Result<(), SandboxError> {
        let clock = self.world.clock().clone();
        let since = clock.monotonic();
        let key = kind.key(NEAR);
        loop {
            let alerts = self.patiently(async || self.client.overview().await).await?.alerts;
            let found = alerts.iter().find(|alert| alert.key == key);
            if let (Some(alert), true) = (found, open) {
                self.log.more(&format!("alert: {}", alert.message));
            }
            if found.is_some() == open {
                return Ok(());
            }
            if clock.elapsed(since) > PATIENCE {
                let what = if open { "did not open" } else { "is still open" };
                return Err(unexpected(&format!("alert {key} {what}")));
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Takes away what somebody put where the repository is.
    pub(super) async fn take_away(&mut self) -> Result<(), SandboxError> {
        let path = incidents::filler(self.world.path());
        self.log.more(&format!("         alma: rm {}", path.display()));
        tokio::fs::remove_file(&path)
            .await
            .map_err(|error| SandboxError::local("remove", &path, error))
    }

    /// Writes another place of the near repository into the configuration, and waits until the agent has it.
    pub(super) async fn give_new_place(&mut self) -> Result<(), SandboxError> {
        let (dir, file) = (self.world.path().to_owned(), self.world.path().join("lifeboat.toml"));
        let failed = |action, error| SandboxError::local(action, &file, error);
        let text = tokio::fs::read_to_string(&file)
            .await
            .map_err(|error| failed("read", error))?;
        let (old, new) = (settings::near_repository(&dir), dir.join("repository-2"));
        let quoted = |path: &std::path::Path| format!("url = \"{}\"", path.display());
        let changed = text.replace(&quoted(&old), &quoted(&new));
        if changed == text {
            return Err(unexpected("the near repository's place is not in the configuration"));
        }
        self.log
            .more(&format!("         alma: url = \"{}\" in lifeboat.toml", new.display()));
        tokio::fs::write(&file, changed)
            .await
            .map_err(|error| failed("write", error))?;
        let clock = self.world.clock().clone();
        let since = clock.monotonic();
        let new = new.display().to_string();
        loop {
            let overview = self.patiently(async || self.client.overview().await).await?;
            if overview.repositories.iter().any(|known| known.url == new) {
                return Ok(());
            }
            if clock.elapsed(since) > PATIENCE {
                return Err(unexpected("the agent has not noticed the new configuration"));
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }

    /// The last word on a repository without room: before, after, and the alert.
    pub(super) async fn prove_room(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        self.alert(AlertKind::StorageFull, false).await?;
        let failing = AlertKind::BackupFailed.key("documents");
        let overview = self.patiently(async || self.client.overview().await).await?;
        let quiet = !overview.alerts.iter().any(|alert| alert.key == failing);
        story.proof.push((quiet, "the alerts are closed".to_owned()));
        story.back = Some(self.world.clock().monotonic());
        let before = story.snapshots.first().cloned();
        let before = before.ok_or_else(|| unexpected("there was no snapshot before"))?;
        self.restored_as(story, &before, "before", "the snapshot of before the incident")
            .await?;
        self.newest_restores(story).await?;
        "nothing: every snapshot of before restores".clone_into(&mut story.lost);
        Ok(())
    }

    /// The last word on a repository that was damaged: what was copied, what is new, and the alert.
    pub(super) async fn prove_sound(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        self.alert(AlertKind::RepositoryDamaged, false).await?;
        story
            .proof
            .push((true, "the alert is closed by reading every byte".to_owned()));
        story.back = Some(self.world.clock().monotonic());
        let copied = self.copied().await?;
        self.restored_as(story, &copied, "copied", "the snapshot copied from the other region")
            .await?;
        self.newest_restores(story).await?;
        "nothing of the documents: the other region had them all".clone_into(&mut story.lost);
        Ok(())
    }

    /// The snapshot that was copied from the other region, once the agent has seen it.
    async fn copied(&mut self) -> Result<SnapshotRecord, SandboxError> {
        let clock = self.world.clock().clone();
        let since = clock.monotonic();
        let query = Query {
            job: Some("documents-far".to_owned()),
            ..Query::default()
        };
        loop {
            let known = self.client.snapshots(&query).await?.items;
            if let Some(copy) = known.into_iter().find(|one| one.repository.as_str() == NEAR) {
                return Ok(copy);
            }
            if clock.elapsed(since) > PATIENCE {
                return Err(unexpected("nothing was copied into the new repository"));
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }

    /// The newest backup has what is there now.
    async fn newest_restores(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let query = Query {
            job: Some("documents".to_owned()),
            ..Query::default()
        };
        let newest = self.client.snapshots(&query).await?.items.into_iter().next();
        let newest = newest.ok_or_else(|| unexpected("there is no new backup"))?;
        let is_new = !story.snapshots.iter().any(|known| known.id == newest.id);
        story
            .proof
            .push((is_new, "there is a backup made after the cure".to_owned()));
        story.inventory = Some(proof::look(self.world.documents()).await?);
        self.restored_as(story, &newest, "after", "the backup made after the cure")
            .await
    }

    /// Restores a snapshot of the documents into a new directory and compares it with how they were.
    async fn restored_as(
        &mut self,
        story: &mut Story,
        snapshot: &SnapshotRecord,
        name: &str,
        what: &str,
    ) -> Result<(), SandboxError> {
        let place = self.world.path().join(format!("restored-{name}"));
        let target = RecoveryTarget::Directory {
            subpath: Some(self.world.documents().display().to_string()),
            path: place.clone(),
            include: Vec::new(),
            delta: false,
            quick: false,
            tablespaces: Vec::new(),
        };
        let mut request = request(snapshot, target);
        request.plan_digest = Some(self.client.plan(&request).await?.digest);
        let receipt = self.client.command(Command::StartRecovery { request }).await?;
        if let Some(recovery) = receipt.recovery {
            self.recovered(recovery).await?;
        }
        let before = story.inventory.clone().unwrap_or_default();
        let (count, told) = proof::differences(&before, &proof::look(place).await?);
        let text = format!("{what} restores: {} entries, {count} differ", before.len());
        story.proof.push((count == 0 && !before.is_empty(), text));
        story.proof.extend(told.into_iter().map(|line| (false, line)));
        Ok(())
    }
}
