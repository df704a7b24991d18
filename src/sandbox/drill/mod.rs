//! The whole story as a readable, timed log: back up, verify, break, plan, recover, prove.
//!
//! Everything but the breaking, the swap of the databases and the proof goes through the API, as it would from the
//! console. The proof knows nothing of backups: it compares the tables with what was recorded inside the transaction of
//! the dump, and every byte of every file with what was there before.

mod command;
mod pitr;
mod say;
mod scenario;
mod switch;
mod wait;

use std::time::{Duration, Instant};

use super::documents::{Entry, Inventory};
use super::incidents::{DELETE_FILES, DROP_TABLE, OVERWRITE_FILES, RESTORED, SWAP_DATABASE};
use super::{DemoOptions, SandboxError, World, interruption, proof, shop};
use crate::api::Client;
use crate::clock::Clock;
use crate::domain::command::Command;
use crate::domain::recovery::{RecoveryRequest, RecoveryTarget};
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::units::{Bytes, Millis, Timestamp};
use crate::source::postgres::ask;
use crate::source::{MANIFEST_NAME, Manifest};
use say::Log;
pub use scenario::{Deaths, Scenario};

/// What the drill came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether every table and file is identical.
    pub identical: bool,
    /// What was lost, as time.
    pub rpo: Millis,
    /// From the incident to everything back in place.
    pub rto: Millis,
    /// What came of an agent that was killed again and again; nothing where it was not.
    pub deaths: Option<Deaths>,
}

/// Builds a world, plays the whole drill in it and takes it down; `out` hears every line.
pub async fn drill(options: &DemoOptions, clock: &Clock, out: &(dyn Fn(&str) + Sync)) -> Result<Verdict, SandboxError> {
    let log = Log {
        clock,
        begun: clock.monotonic(),
        out,
    };
    out("lifeboat demo: real servers, a real loss, a real recovery");
    let stop = interruption()?;
    tokio::pin!(stop);
    // What was built so far is taken down by being dropped.
    let tell = |text: &str| log.line(text);
    let mut world = tokio::select! {
        built = World::build(options, clock, &tell) => built?,
        () = &mut stop => return Err(SandboxError::Interrupted),
    };
    let client = world.client();
    let mut drill = Drill {
        log: &log,
        client,
        program: options.apart.as_ref().map(|apart| apart.program.clone()),
        world: &mut world,
    };
    let result = tokio::select! {
        result = async {
            match options.scenario {
                None => drill.play().await,
                Some(which) => drill.scenario(which, options).await,
            }
        } => result,
        () = &mut stop => Err(SandboxError::Interrupted),
    };
    let place = world.path().display().to_string();
    world.close().await;
    log.line(&if options.keep {
        format!("taken down  server stopped; files kept in {place}")
    } else {
        "taken down  server stopped, files removed".to_owned()
    });
    result
}

struct Drill<'a> {
    log: &'a Log<'a>,
    client: Client,
    /// The program whose commands are typed; this very one when absent.
    program: Option<std::path::PathBuf>,
    world: &'a mut World,
}

/// What is known of the world before the incident.
struct Before {
    documents: SnapshotRecord,
    shop: Option<(SnapshotRecord, Manifest)>,
    inventory: Inventory,
}

impl Drill<'_> {
    async fn play(&mut self) -> Result<Verdict, SandboxError> {
        self.describe().await?;
        let before = self.prepare().await?;
        let (broken_at, since) = self.break_things().await?;
        let lost = self.lost(&before).await?;
        self.recover(&before).await?;
        let rto = Millis::from(self.world.clock().elapsed(since));
        let identical = self.prove(&before).await?;
        self.world.open_shop(true);
        let oldest = before
            .shop
            .as_ref()
            .map_or(before.documents.taken_at, |(snapshot, _)| snapshot.taken_at);
        let rpo = Millis::between(oldest, broken_at);
        self.figures(rpo, rto, lost).await?;
        self.without_us(&before).await?;
        let identical = match self.world.login() {
            Some(login) => {
                let again = self.second_before(&login).await?;
                self.switch_over().await? && again && identical
            }
            None => identical,
        };
        let verdict = match (identical, &before.shop) {
            (true, Some(_)) => {
                "IDENTICAL   every table and every file is what it was, and no acknowledged order was lost"
            }
            (true, None) => "IDENTICAL   every file is what it was (no database was played: see above)",
            (false, _) => "NOT IDENTICAL: see above",
        };
        self.log.line(verdict);
        Ok(Verdict {
            identical,
            rpo,
            rto,
            deaths: None,
        })
    }

    async fn describe(&self) -> Result<(), SandboxError> {
        if let Some(login) = self.world.login() {
            let sql = "select pg_size_pretty(pg_database_size(current_database()))";
            let size = ask(&login, shop::DATABASE, sql, self.world.clock()).await?;
            let rows = "select sum(n_live_tup) from pg_stat_user_tables";
            let rows = ask(&login, shop::DATABASE, rows, self.world.clock()).await?;
            self.log.line(&format!(
                "database    {} rows in five related tables, {}; orders keep coming in",
                rows.unwrap_or_default(),
                size.unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Backs everything up, waits for the evidence, and looks at how things are.
    async fn prepare(&self) -> Result<Before, SandboxError> {
        let inventory = proof::look(self.world.documents()).await?;
        let bytes: u64 = inventory.values().map(Entry::size).sum();
        self.log
            .line(&format!("documents   {} entries, {}", inventory.len(), Bytes(bytes)));
        let jobs: &[&str] = if self.world.login().is_some() {
            &["shop", "documents"]
        } else {
            &["documents"]
        };
        self.hold_jobs().await?;
        self.log.line(&format!("back up     {}", jobs.join(", ")));
        let mut runs = Vec::new();
        for job in jobs {
            runs.push(self.run(job).await?);
        }
        let mut snapshots = Vec::new();
        for run in runs {
            snapshots.push(self.backed_up(run).await?);
        }
        self.log.line("verify      every snapshot, up to probed");
        for snapshot in &mut snapshots {
            *snapshot = self.probed(snapshot).await?;
        }
        let documents = snapshots.pop().ok_or_else(|| unexpected("no snapshot was made"))?;
        let shop = match snapshots.pop() {
            Some(snapshot) => {
                let manifest = self.manifest(&snapshot).await?;
                Some((snapshot, manifest))
            }
            None => None,
        };
        Ok(Before {
            documents,
            shop,
            inventory,
        })
    }

    /// Has no job run by its schedule: the drill runs them itself, so that what is restored is what the figures are about.
    async fn hold_jobs(&self) -> Result<(), SandboxError> {
        for view in self.client.overview().await?.jobs {
            let (job, reason) = (view.name, Some("the drill runs it".to_owned()));
            self.client.command(Command::DisableJob { job, reason }).await?;
        }
        Ok(())
    }

    /// What was recorded in the transaction of a dump.
    async fn manifest(&self, snapshot: &SnapshotRecord) -> Result<Manifest, SandboxError> {
        let path = format!("/{MANIFEST_NAME}");
        let bytes = self
            .client
            .snapshot_content(snapshot.id.as_str(), &path, 1 << 20)
            .await?;
        serde_json::from_slice(&bytes).map_err(|error| unexpected(&error.to_string()))
    }

    async fn break_things(&mut self) -> Result<(Timestamp, Instant), SandboxError> {
        // A little of the day goes by between the backup and the incident, or there would be nothing to lose.
        self.world.clock().sleep(Duration::from_secs(3)).await;
        let (broken_at, since) = (self.world.clock().now(), self.world.clock().monotonic());
        self.log.line("INCIDENT    somebody runs the wrong script");
        let incidents = self.world.incidents();
        for incident in [DROP_TABLE, OVERWRITE_FILES, DELETE_FILES] {
            if incidents.iter().any(|offer| offer.name == incident) {
                let message = self.client.practice(incident).await?;
                self.log.more(&message);
            }
        }
        self.world.open_shop(false);
        Ok((broken_at, since))
    }

    /// Plans both recoveries, shows the plans, runs them and puts the database in its place.
    async fn recover(&self, before: &Before) -> Result<(), SandboxError> {
        let mut requests = Vec::new();
        if let Some((snapshot, _)) = &before.shop {
            let target = RecoveryTarget::Database {
                connection: None,
                database: RESTORED.to_owned(),
                how: Box::default(),
            };
            requests.push(request(snapshot, target));
        }
        let documents = self.world.documents();
        let target = RecoveryTarget::Directory {
            subpath: Some(documents.display().to_string()),
            path: documents,
            include: Vec::new(),
            delta: true,
            quick: false,
            tablespaces: Vec::new(),
        };
        requests.push(request(&before.documents, target));
        let mut recoveries = Vec::new();
        for mut request in requests {
            let plan = self.client.plan(&request).await?;
            self.show(&plan);
            if let Some(blocker) = plan.blockers.first() {
                return Err(unexpected(&format!("the plan is blocked: {blocker}")));
            }
            request.plan_digest = Some(plan.digest);
            recoveries.push(request);
        }
        self.log.line("recover     as planned");
        let mut running = Vec::new();
        for request in recoveries {
            let receipt = self.client.command(Command::StartRecovery { request }).await?;
            running.extend(receipt.recovery);
        }
        for recovery in running {
            self.recovered(recovery).await?;
        }
        if before.shop.is_some() {
            let message = self.client.practice(SWAP_DATABASE).await?;
            self.log.line(&format!("swap        {message}"));
        }
        Ok(())
    }

    /// Compares everything with what was there before.
    async fn prove(&self, before: &Before) -> Result<bool, SandboxError> {
        self.log
            .line("prove       every table and every file against what was there before");
        let mut identical = true;
        if let (Some((_, manifest)), Some(login)) = (&before.shop, self.world.login()) {
            let recorded = manifest
                .database
                .as_ref()
                .ok_or_else(|| unexpected("a dump without records"))?;
            for line in proof::tables(&login, recorded, self.world.clock()).await? {
                identical &= line.same;
                self.log
                    .more(&format!("{} {}", if line.same { "same " } else { "OTHER" }, line.text));
            }
        }
        let after = proof::look(self.world.documents()).await?;
        let (count, told) = proof::differences(&before.inventory, &after);
        identical &= count == 0;
        if count == 0 {
            let bytes: u64 = after.values().map(Entry::size).sum();
            self.log.more(&format!(
                "same  documents: {} entries, {}: content (SHA-256), modes, times and links",
                after.len(),
                Bytes(bytes)
            ));
        }
        for line in told {
            self.log.more(&format!("OTHER {line}"));
        }
        Ok(identical)
    }

    /// How many orders are newer than the backup, which no restore of it brings back.
    async fn lost(&self, before: &Before) -> Result<Option<u64>, SandboxError> {
        let (Some((_, manifest)), Some(login)) = (&before.shop, self.world.login()) else {
            return Ok(None);
        };
        let saved = manifest
            .database
            .as_ref()
            .and_then(|database| database.facts.row_counts.get("public.orders"));
        let count = ask(
            &login,
            shop::DATABASE,
            "select count(*) from orders",
            self.world.clock(),
        )
        .await?;
        let count: Option<u64> = count.and_then(|text| text.parse().ok());
        Ok(count.zip(saved).map(|(count, saved)| count.saturating_sub(*saved)))
    }
}

fn request(snapshot: &SnapshotRecord, target: RecoveryTarget) -> RecoveryRequest {
    RecoveryRequest {
        snapshot: snapshot.id.clone(),
        repository: snapshot.repository.clone(),
        target,
        instant: None,
        reason: Some("drill".to_owned()),
        plan_digest: None,
    }
}

fn unexpected(message: &str) -> SandboxError {
    SandboxError::Engine {
        message: message.to_owned(),
        hint: None,
    }
}
