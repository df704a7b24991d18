//! The whole story as a readable, timed log: back up, verify, break, plan, recover, prove.
//!
//! Everything but the breaking, the swap of the databases and the proof goes through the API, as it would from the
//! console. The proof knows nothing of backups: it compares the tables with what was recorded inside the transaction of
//! the dump, and every byte of every file with what was there before.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::documents::{Entry, Inventory};
use super::incidents::{DELETE_FILES, DROP_TABLE, OVERWRITE_FILES, RESTORED, SWAP_DATABASE};
use super::{DemoOptions, SandboxError, World, interruption, proof, shop};
use crate::api::{Client, ClientError};
use crate::clock::Clock;
use crate::domain::command::Command;
use crate::domain::id::{JobName, RecoveryId, RunId};
use crate::domain::recovery::{RecoveryPlan, RecoveryRecord, RecoveryRequest, RecoveryTarget};
use crate::domain::run::{Outcome, RunRecord};
use crate::domain::snapshot::{EvidenceLevel, SnapshotRecord};
use crate::domain::units::{Bytes, Millis, Timestamp};
use crate::domain::view::Query;
use crate::source::postgres::ask;
use crate::source::{MANIFEST_NAME, Manifest};

/// How long any one thing may take.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often is looked whether something has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the drill came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether every table and file is identical.
    pub identical: bool,
    /// What was lost, as time.
    pub rpo: Millis,
    /// From the incident to everything back in place.
    pub rto: Millis,
}

/// Writes the log, each line with the time since the beginning.
struct Log<'a> {
    clock: &'a Clock,
    begun: Instant,
    out: &'a (dyn Fn(&str) + Sync),
}

impl Log<'_> {
    fn line(&self, text: &str) {
        (self.out)(&format!(
            "[{:6.1}s] {text}",
            self.clock.elapsed(self.begun).as_secs_f64()
        ));
    }

    fn more(&self, text: &str) {
        (self.out)(&format!("           {text}"));
    }
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
        world: &mut world,
    };
    let result = tokio::select! {
        result = drill.play() => result,
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
        self.without_us(&before).await;
        let verdict = match (identical, &before.shop) {
            (true, Some(_)) => "IDENTICAL   every table and every file is what it was",
            (true, None) => "IDENTICAL   every file is what it was (no database was played: see above)",
            (false, _) => "NOT IDENTICAL: see above",
        };
        self.log.line(verdict);
        Ok(Verdict { identical, rpo, rto })
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
        for job in jobs {
            // The drill runs them itself, so that what is restored is what the figures are about.
            let (job, reason) = (JobName::from(*job), Some("the drill runs it".to_owned()));
            self.client.command(Command::DisableJob { job, reason }).await?;
        }
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
                let path = format!("/{MANIFEST_NAME}");
                let bytes = self
                    .client
                    .snapshot_content(snapshot.id.as_str(), &path, 1 << 20)
                    .await?;
                let manifest = serde_json::from_slice(&bytes).map_err(|error| unexpected(&error.to_string()))?;
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

    /// Runs a job, or joins the run its schedule has just begun.
    async fn run(&self, job: &str) -> Result<RunId, SandboxError> {
        let begun = self.client.command(Command::RunJob { job: job.into() }).await;
        let running = match begun {
            Ok(receipt) => receipt.run,
            Err(ClientError {
                kind: crate::api::ErrorKind::Conflict,
                ..
            }) => {
                let overview = self.client.overview().await?;
                overview
                    .jobs
                    .into_iter()
                    .find(|view| view.name.as_str() == job)
                    .and_then(|view| view.running)
            }
            Err(error) => return Err(error.into()),
        };
        running.ok_or_else(|| unexpected(&format!("job {job} did not begin")))
    }

    async fn backed_up(&self, run: RunId) -> Result<SnapshotRecord, SandboxError> {
        let record: RunRecord = self
            .until(&format!("run {run}"), async |client| {
                let query = Query {
                    id: Some(run.0.clone()),
                    ..Query::default()
                };
                Ok(client.runs(&query).await?.items.into_iter().next())
            })
            .await?;
        if record.outcome != Outcome::Succeeded {
            return Err(failed(
                &format!("the backup of {}", record.job),
                record.outcome,
                record.error,
            ));
        }
        let id = record.snapshot.ok_or_else(|| unexpected("a run without a snapshot"))?;
        let snapshot = self
            .snapshot(id.as_str())
            .await?
            .ok_or_else(|| unexpected("a snapshot nobody knows"))?;
        self.log.more(&format!(
            "{:<11} snapshot {}: {} in {}, {} stored",
            record.job,
            snapshot.id.short(),
            snapshot.size,
            record.duration,
            snapshot.added
        ));
        Ok(snapshot)
    }

    async fn snapshot(&self, id: &str) -> Result<Option<SnapshotRecord>, ClientError> {
        let query = Query {
            id: Some(id.to_owned()),
            ..Query::default()
        };
        Ok(self.client.snapshots(&query).await?.items.into_iter().next())
    }

    /// Waits until a snapshot is proved as far as can be.
    async fn probed(&self, snapshot: &SnapshotRecord) -> Result<SnapshotRecord, SandboxError> {
        let told = Mutex::new(EvidenceLevel::Written);
        let name = snapshot.source.as_ref().map_or("", |source| source.as_str());
        let id = snapshot.id.as_str();
        self.until(&format!("the proof of {name}"), async |_| {
            let Some(now) = self.snapshot(id).await? else {
                return Ok(None);
            };
            if let Some(failure) = &now.evidence.failure {
                return Err(unexpected(&format!(
                    "{name} is not {}: {}",
                    failure.level, failure.message
                )));
            }
            let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if now.evidence.level > *told {
                *told = now.evidence.level;
                self.log.more(&format!("{name:<11} {}", now.evidence.level));
            }
            Ok((now.evidence.level == EvidenceLevel::Probed).then_some(now))
        })
        .await
    }

    async fn break_things(&mut self) -> Result<(Timestamp, Instant), SandboxError> {
        // A little of the day goes by between the backup and the incident, or there would be nothing to lose.
        self.world.clock().sleep(Duration::from_secs(3)).await;
        let (broken_at, since) = (self.world.clock().now(), self.world.clock().monotonic());
        self.log.line("INCIDENT    somebody runs the wrong script");
        let incidents = self.world.incidents();
        for incident in [DROP_TABLE, OVERWRITE_FILES, DELETE_FILES] {
            if incidents.iter().any(|name| name == incident) {
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
            };
            requests.push(request(snapshot, target));
        }
        let documents = self.world.documents();
        let target = RecoveryTarget::Directory {
            subpath: Some(documents.display().to_string()),
            path: documents,
            include: Vec::new(),
            delta: true,
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
        self.log.line("recover     both, as planned");
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

    fn show(&self, plan: &RecoveryPlan) {
        let log = self.log;
        log.line(&format!("plan        {}", plan.request.target.display()));
        log.more(&format!(
            "            from {}, evidence {}, state of {}",
            plan.from,
            plan.evidence,
            plan.recover_to.format("%H:%M:%S")
        ));
        log.more(&format!("            to   {}", plan.target_identity));
        log.more(&format!(
            "            {} {}, {} to fetch, {} to write, {} things overwritten",
            plan.items,
            if plan.kind == "files" { "files" } else { "tables" },
            plan.fetch,
            plan.write,
            plan.overwrites
        ));
        if let Some(estimate) = plan.estimate {
            log.more(&format!(
                "            estimate {estimate}, from {} measurements",
                plan.estimate_samples
            ));
        }
        for warning in &plan.warnings {
            log.more(&format!("            note: {warning}"));
        }
        log.more(&format!("            undo: {}", plan.undo));
    }

    async fn recovered(&self, id: RecoveryId) -> Result<(), SandboxError> {
        let record: RecoveryRecord = self
            .until(&format!("recovery {id}"), async |client| {
                let query = Query {
                    id: Some(id.0.clone()),
                    ..Query::default()
                };
                Ok(client.recoveries(&query).await?.items.into_iter().next())
            })
            .await?;
        let phases: Vec<String> = record
            .phases
            .iter()
            .map(|time| format!("{} {}", time.phase.word(), time.took))
            .collect();
        self.log.more(&format!(
            "{:<11} {} in {} ({})",
            record.source.as_ref().map_or("", |source| source.as_str()),
            record.outcome.word(),
            record.duration(),
            phases.join(", ")
        ));
        for finding in &record.findings {
            let mark = if finding.ok { "ok" } else { "NOT OK" };
            self.log
                .more(&format!("            {mark}: {}: {}", finding.what, finding.detail));
        }
        if record.outcome != Outcome::Succeeded {
            return Err(failed("the recovery", record.outcome, record.error));
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

    async fn figures(&self, rpo: Millis, rto: Millis, lost: Option<u64>) -> Result<(), SandboxError> {
        let overview = self.client.overview().await?;
        let promised = overview.services.first();
        let objective = |millis: Option<Millis>| millis.map_or(String::new(), |millis| format!(", promised {millis}"));
        self.log.line(&format!(
            "RPO         {rpo} lost{}{}",
            objective(promised.map(|service| service.rpo.objective)),
            lost.map_or(String::new(), |lost| format!(
                "; {lost} orders came in after the backup and are gone"
            ))
        ));
        self.log.line(&format!(
            "RTO         {rto} from the incident to everything in its place{}",
            objective(promised.map(|service| service.rto.objective))
        ));
        Ok(())
    }

    /// Says how to do it with restic alone, and has restic look at the repository when it is here.
    async fn without_us(&self, before: &Before) {
        let root = self.world.path();
        let (repository, password) = (root.join("repository"), root.join("password"));
        self.log
            .line("without us  the repository is restic's own format; the same with restic alone:");
        self.log
            .more(&format!("export RESTIC_PASSWORD_FILE={}", password.display()));
        let documents = self.world.documents();
        self.log.more(&format!(
            "restic -r {} restore {}:{} --target {}",
            repository.display(),
            before.documents.id.short(),
            documents.display(),
            documents.display()
        ));
        if let Some((snapshot, _)) = &before.shop {
            self.log.more(&format!(
                "createdb {RESTORED} && restic -r {} dump {} /{}.dump | pg_restore --dbname={RESTORED}",
                repository.display(),
                snapshot.id.short(),
                shop::DATABASE
            ));
        }
        let checking = tokio::process::Command::new("restic")
            .arg("-r")
            .arg(&repository)
            .args(["check", "--read-data", "--no-cache", "--quiet"])
            .env("RESTIC_PASSWORD_FILE", &password)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        match checking.await {
            Ok(output) if output.status.success() => self.log.more("restic check --read-data: no errors were found"),
            Ok(output) => self.log.more(&format!(
                "restic check: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(_) => self
                .log
                .more("(restic is not installed here, so it was not asked to check)"),
        }
    }

    /// Looks again and again until `found` finds something.
    async fn until<T>(
        &self,
        what: &str,
        mut found: impl AsyncFnMut(&Client) -> Result<Option<T>, SandboxError>,
    ) -> Result<T, SandboxError> {
        let clock = self.world.clock();
        let since = clock.monotonic();
        while clock.elapsed(since) < PATIENCE {
            if let Some(thing) = found(&self.client).await? {
                return Ok(thing);
            }
            clock.sleep(LOOK_EVERY).await;
        }
        Err(SandboxError::TooLong {
            what: what.to_owned(),
            seconds: PATIENCE.as_secs(),
        })
    }
}

fn request(snapshot: &SnapshotRecord, target: RecoveryTarget) -> RecoveryRequest {
    RecoveryRequest {
        snapshot: snapshot.id.clone(),
        repository: snapshot.repository.clone(),
        target,
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

fn failed(what: &str, outcome: Outcome, error: Option<crate::domain::run::Failure>) -> SandboxError {
    let why = error.as_ref().map_or(String::new(), |error| format!(": {error}"));
    SandboxError::Engine {
        message: format!("{what} {}{why}", outcome.word()),
        hint: error.and_then(|error| error.hint),
    }
}
