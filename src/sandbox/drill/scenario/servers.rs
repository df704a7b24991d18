//! Servers that are gone, or seem to be: the primary killed, a whole region lost, the network split.
//!
//! The standby follows without holding up the primary, so what was acknowledged in the last moment may be gone with it. The
//! proof therefore keeps three ledgers apart: what was acknowledged a second and more before (every order must be there), what
//! was acknowledged about the moment (what is missing of it is the loss, counted), and what came after (every order again).

use std::time::Duration;

use super::{Drill, Story, unexpected};
use crate::domain::cluster::Answer;
use crate::domain::command::Command;
use crate::domain::recovery::RecoveryTarget;
use crate::domain::units::Bytes;
use crate::domain::view::Query;
use crate::sandbox::documents::Entry;
use crate::sandbox::drill::request;
use crate::sandbox::drill::wait::LOOK_EVERY;
use crate::sandbox::incidents::MEND_NETWORK;
use crate::sandbox::orders::{Service, Taken, missing};
use crate::sandbox::{SandboxError, proof};
use crate::source::postgres::{Login, ask};

use super::Scenario;

/// How long it may take until somebody notices.
const PATIENCE: Duration = Duration::from_mins(1);

impl Story {
    /// Whether the story is about orders that stop coming in.
    pub(super) fn counts_orders(&self) -> bool {
        matches!(
            self.which,
            Scenario::Failover
                | Scenario::RegionLoss
                | Scenario::Automatic
                | Scenario::DatabaseDown
                | Scenario::DataCentre
        )
    }
}

impl Drill<'_> {
    pub(super) fn the_service(&self) -> Result<Service, SandboxError> {
        let service = self.world.service().cloned();
        service.ok_or_else(|| unexpected("nobody takes orders"))
    }

    pub(super) async fn servers_ready(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let service = self.the_service()?;
        let route = self.world.path().join("route").display().to_string();
        let values: &[(&str, &str)] = match story.which {
            Scenario::Failover => &[
                ("gone", "true"),
                ("max_loss", "any"),
                ("standby", "db2"),
                ("route", &route),
            ],
            Scenario::Switchover => &[("standby", "db2"), ("route", &route)],
            Scenario::Quarterly => &[("source", "cluster"), ("standby", "db2")],
            Scenario::Automatic => &[("allow_loss", "any"), ("standby", "db2"), ("route", &route)],
            Scenario::SplitNetwork => &[("max_loss", "any"), ("standby", "db2")],
            Scenario::DatabaseDown => &[],
            Scenario::Failback => &[("from", "db2"), ("back", "db1")],
            _ => &[("gone", "true"), ("max_loss", "any"), ("standby", "db2")],
        };
        story.set(&[("cluster", "shop")]);
        // The runbook of a failback has other words for the two.
        if story.which != Scenario::Failback {
            story.set(&[("primary", "db1")]);
        }
        story.set(values);
        match story.which {
            Scenario::RegionLoss => {
                self.log.line("back up     documents, to the other region");
                let run = self.run("documents-far").await?;
                self.backed_up(run).await?;
                story.inventory = Some(proof::look(self.world.documents()).await?);
            }
            Scenario::Failback => {
                story.set(&[("over.route", &route)]);
                self.switch(&service, "db1", "db2").await?;
            }
            Scenario::Quarterly => {
                story.set(&[("over.route", &route), ("back.over.route", &route)]);
                self.base_backup().await?;
            }
            Scenario::Automatic => story.set(&[("notify", &self.pager()?)]),
            _ => {}
        }
        service.count_anew();
        self.orders_come_in(&service).await?;
        story.safe = service.taken();
        service.count_anew();
        self.world.clock().sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    /// Waits until the agent says that the primary does not answer.
    pub(super) async fn notice_silence(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let clock = self.world.clock().clone();
        let since = clock.monotonic();
        loop {
            let views = self.client.clusters().await?;
            let silent = views.iter().any(|view| {
                let primary = view.seen.member(&"db1".into());
                primary.is_some_and(|member| matches!(member.answer, Answer::Silent { .. }))
            });
            if silent {
                break;
            }
            if clock.elapsed(since) > PATIENCE {
                return Err(unexpected("nobody noticed that the primary does not answer"));
            }
            clock.sleep(LOOK_EVERY).await;
        }
        let service = self.the_service()?;
        story.about = service.taken();
        service.count_anew();
        Ok(())
    }

    pub(super) async fn shop_works(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let service = self.the_service()?;
        self.orders_come_in(&service).await?;
        self.see_whether_back(story);
        Ok(())
    }

    /// Has the way to the primary opened again.
    pub(super) async fn mend(&mut self) -> Result<(), SandboxError> {
        // It takes whoever owns the network a while, in which the shop goes on.
        self.orders_come_in(&self.the_service()?).await?;
        let message = self.world.practise(MEND_NETWORK).await?;
        self.log.more(&format!("         alma: {message}"));
        Ok(())
    }

    /// Every order of three ledgers on both servers, and there was never a second primary.
    pub(super) async fn prove_whole_network(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        story.back = Some(self.world.clock().monotonic());
        self.prove_orders(story, &["db1", "db2"]).await?;
        let sql = "select pg_is_in_recovery()::text || ', timeline ' || timeline_id from pg_control_checkpoint()";
        for (name, login) in self.world.members().iter().filter(|(name, _)| *name == "db2") {
            let stands = ask(login, "postgres", sql, self.world.clock())
                .await?
                .unwrap_or_default();
            let text = format!("{name} was never promoted: in recovery {stands}");
            story.proof.push((stands == "true, timeline 1", text));
        }
        let about = format!("{} orders taken while nobody watched", story.about.count);
        story
            .proof
            .push((story.about.count > 0, format!("the shop went on: {about}")));
        Ok(())
    }

    /// Every order on the server that is left; then the documents, from the repository that is left.
    pub(super) async fn prove_region(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        self.prove_orders(story, &["db2"]).await?;
        self.log
            .line("recover     documents, from the repository of the other region");
        let query = Query {
            job: Some("documents-far".to_owned()),
            ..Query::default()
        };
        let newest = self.client.snapshots(&query).await?.items.into_iter().next();
        let newest = newest.ok_or_else(|| unexpected("the other region has no snapshot of the documents"))?;
        let documents = self.world.documents();
        let target = RecoveryTarget::Directory {
            subpath: Some(documents.display().to_string()),
            path: documents.clone(),
            include: Vec::new(),
            delta: true,
            quick: false,
            tablespaces: Vec::new(),
        };
        let mut request = request(&newest, target);
        let plan = self.client.plan(&request).await?;
        self.show(&plan);
        request.plan_digest = Some(plan.digest);
        let receipt = self.client.command(Command::StartRecovery { request }).await?;
        if let Some(recovery) = receipt.recovery {
            self.recovered(recovery).await?;
        }
        // Files count, too.
        story.back = Some(self.world.clock().monotonic());
        self.compare_files(story, documents).await
    }

    /// Compares a tree with what was there before, byte for byte.
    pub(super) async fn compare_files(&self, story: &mut Story, root: std::path::PathBuf) -> Result<(), SandboxError> {
        let before = story.inventory.take().unwrap_or_default();
        let after = proof::look(root).await?;
        let (count, told) = proof::differences(&before, &after);
        let bytes: u64 = after.values().map(Entry::size).sum();
        let text = format!(
            "documents: {} entries, {}: content (SHA-256), modes, times and links; {count} differ",
            after.len(),
            Bytes(bytes)
        );
        story.proof.push((count == 0 && !before.is_empty(), text));
        story.proof.extend(told.into_iter().map(|line| (false, line)));
        Ok(())
    }

    /// Every order of three ledgers, on some servers: who takes writes now is the first of them.
    pub(super) async fn prove_orders(&mut self, story: &mut Story, members: &[&str]) -> Result<(), SandboxError> {
        let service = self.the_service()?;
        self.orders_come_in(&service).await?;
        self.see_whether_back(story);
        self.world.open_shop(false);
        // The last order may still be on its way.
        self.world.clock().sleep(Duration::from_millis(500)).await;
        let after = service.taken();
        let mut logins = self.world.members();
        logins.retain(|(name, _)| members.contains(name));
        for (name, login) in &logins {
            for (when, taken) in [("before", &story.safe), ("after", &after)] {
                let there = self.there(login, taken).await?;
                let text = format!(
                    "{name}: {there} of {} orders acknowledged {when} the incident",
                    taken.count
                );
                story.proof.push((there == taken.count, text));
            }
        }
        let (_, first) = logins
            .iter()
            .find(|(name, _)| *name == members[0])
            .ok_or_else(|| unexpected("the new primary is not known"))?;
        let missing = self.missing(first, &story.about).await?;
        story.lost = match missing {
            0 => format!("nothing: all {} orders of the last second are there", story.about.count),
            some => format!("{some} of {} orders acknowledged in the last second", story.about.count),
        };
        // Who follows lags by some hundredths of a second; more is a standby that did not follow.
        let text = format!("{missing} of {} orders of the last second are lost", story.about.count);
        story.proof.push((missing * 2 <= story.about.count, text));
        self.world.open_shop(true);
        Ok(())
    }

    /// How many of some orders a server does not have now.
    pub(super) async fn missing(&self, login: &Login, taken: &Taken) -> Result<u64, SandboxError> {
        Ok(missing(login, taken, self.world.clock()).await?)
    }
}
