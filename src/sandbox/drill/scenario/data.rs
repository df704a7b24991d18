//! Data that is wrong: rows deleted, rows overwritten, files encrypted.

use std::process::Stdio;
use std::time::Duration;

use super::player::LEADS;
use super::{Drill, Scenario, Story, unexpected};
use crate::domain::alert::AlertKind;
use crate::domain::runbook::template::Values;
use crate::sandbox::drill::wait::LOOK_EVERY;
use crate::sandbox::incidents::RESTORED;
use crate::sandbox::{SandboxError, dir, proof, shop};
use crate::source::postgres::{ask, execute};
use crate::source::quote;

/// How long it may take until somebody notices.
const PATIENCE: Duration = Duration::from_mins(1);
/// What all payments of the time before come to.
const CHECKSUM: &str = "select count(*) || ' rows, ' || md5(string_agg(p::text, ',' order by id)) from payments p";
/// What the recovered table is called.
const COPIED: &str = "payments_recovered";
/// How many backups there are before the attack.
const BACKUPS: u32 = 3;

impl Drill<'_> {
    pub(super) async fn payments_ready(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let (service, clock) = (self.the_service()?, self.world.clock().clone());
        self.log
            .line("back up     cluster, while orders come in; the agent streams its log into the repository");
        service.count_anew();
        let run = self.run("cluster").await?;
        self.backed_up(run).await?;
        self.orders_come_in(&service).await?;
        // A quiet second, so that "one second before" has everything, and the comparison is with what stood still.
        self.world.open_shop(false);
        clock.sleep(Duration::from_millis(500)).await;
        story.payments = Some(self.ask_shop(CHECKSUM).await?);
        story.safe = service.taken();
        service.count_anew();
        clock.sleep(Duration::from_millis(1_500)).await;
        let directory = dir::recovered(self.world.path()).display().to_string();
        story.set(&[("source", "cluster"), ("directory", &directory)]);
        if story.which == Scenario::SingleTable {
            let login = self.world.login().ok_or_else(|| unexpected("there is no server"))?;
            let host = login.connection.host.replace('/', "%2F");
            let into = format!(
                "postgres://{}@{host}:{}/{}",
                login.connection.user,
                login.connection.port,
                shop::DATABASE
            );
            story.set(&[
                ("table", "public.payments"),
                ("database", shop::DATABASE),
                ("into", &into),
                ("name", COPIED),
            ]);
        }
        // Only known when it has happened; a second before is what the step asks for.
        let to = (clock.now() - chrono::TimeDelta::milliseconds(900)).format("%Y-%m-%d %H:%M:%S%.3fZ");
        story.values.insert("to".to_owned(), to.to_string());
        Ok(())
    }

    /// Copies the rows that are missing from the recovered server into the live one, which has taken orders meanwhile.
    pub(super) async fn take_payments_over(&mut self, known: &Values) -> Result<(), SandboxError> {
        let login = self.world.login().ok_or_else(|| unexpected("there is no server"))?;
        let psql = login
            .connection
            .bin_dir
            .as_ref()
            .map_or_else(|| "psql".into(), |bin_dir| bin_dir.join("psql").display().to_string());
        let value = |name: &str| quote(known.get(name).map_or("", String::as_str));
        let words = format!("{} -X -q -v ON_ERROR_STOP=1 -d {}", quote(&psql), shop::DATABASE);
        let connection = &login.connection;
        let line = format!(
            "{words} -h {} -p {} -U {} -c 'copy payments to stdout' | {words} -h {} -p {} -U {} -c 'copy payments from stdin'",
            value("recover.socket"),
            value("recover.port"),
            value("recover.user"),
            quote(&connection.host),
            connection.port,
            quote(&connection.user),
        );
        self.log
            .more("         alma: psql -c 'copy payments to stdout' | psql -c 'copy payments from stdin'");
        let copied = tokio::process::Command::new("sh")
            .args(["-c", &line])
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| SandboxError::local("run", "psql".as_ref(), error))?;
        if copied.status.success() && copied.stderr.is_empty() {
            return Ok(());
        }
        Err(unexpected(String::from_utf8_lossy(&copied.stderr).trim()))
    }

    /// Drops what was restored in part.
    pub(super) async fn drop_restored(&self) -> Result<(), SandboxError> {
        let login = self.world.login().ok_or_else(|| unexpected("there is no server"))?;
        let sql = format!("drop database if exists {RESTORED} with (force)");
        execute(&login, "postgres", &sql, self.world.clock()).await?;
        Ok(())
    }

    /// Removes a directory that holds a part of something.
    pub(super) async fn remove(&self, directory: &str) -> Result<(), SandboxError> {
        match tokio::fs::remove_dir_all(directory).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(SandboxError::local("remove", directory.as_ref(), error))
            }
            _ => Ok(()),
        }
    }

    /// Throws a recovery away that has ended and was not noted.
    pub(super) async fn discard(&self, directory: &str) -> Result<(), SandboxError> {
        self.lifeboat_says(&["recover", "--discard", directory, "--yes", directory])
            .await
    }

    /// Throws away what is left of a copy of one table: it is made from the beginning.
    pub(super) async fn clear_copy(&self, directory: &str) -> Result<(), SandboxError> {
        let login = self.world.login().ok_or_else(|| unexpected("there is no server"))?;
        let sql = format!("drop table if exists public.{COPIED}");
        execute(&login, shop::DATABASE, &sql, self.world.clock()).await?;
        if self.discard(directory).await.is_err() {
            self.remove(directory).await?;
        }
        Ok(())
    }

    /// Puts the rows of the recovered table where they were, as its owner has decided, and drops it.
    pub(super) async fn take_table_over(&mut self, known: &Values) -> Result<(), SandboxError> {
        let login = self.world.login().ok_or_else(|| unexpected("there is no server"))?;
        let name = known.get("name").map_or(COPIED, String::as_str);
        let sql = format!(
            "insert into payments overriding system value select * from public.{name}; drop table public.{name}"
        );
        self.log.more(&format!("         {LEADS}: psql -c '{sql}'"));
        execute(&login, shop::DATABASE, &sql, self.world.clock()).await?;
        Ok(())
    }

    /// The payments of before, by checksum; and one for every order the shop took before, during and after.
    pub(super) async fn prove_payments(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let service = self.the_service()?;
        let clock = self.world.clock().clone();
        story.back = Some(clock.monotonic());
        self.orders_come_in(&service).await?;
        self.world.open_shop(false);
        clock.sleep(Duration::from_millis(500)).await;
        let after = service.taken();
        let newest = story.safe.runs.last().map_or(0, |(_, last)| *last);
        let sum = self.ask_shop(&format!("{CHECKSUM} where order_id <= {newest}")).await?;
        let before = story.payments.take().unwrap_or_default();
        story
            .proof
            .push((sum == before, format!("payments of before: {sum}, expected {before}")));
        let login = self.world.login().ok_or_else(|| unexpected("there is no server"))?;
        for (when, taken) in [("before", &story.safe), ("since", &after)] {
            let missing = self.missing(&login, taken).await?;
            let text = format!(
                "{missing} of {} orders acknowledged {when} the incident are missing",
                taken.count
            );
            story.proof.push((missing == 0 && taken.count > 0, text));
        }
        let unpaid =
            "select count(*)::text from orders o where not exists (select from payments p where p.order_id = o.id)";
        let unpaid = self.ask_shop(unpaid).await?;
        story
            .proof
            .push((unpaid == "0", format!("{unpaid} orders without their payment")));
        self.world.open_shop(true);
        Ok(())
    }

    pub(super) async fn dump_ready(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let service = self.the_service()?;
        self.log.line("back up     shop, while orders come in");
        service.count_anew();
        let run = self.run("shop").await?;
        let snapshot = self.backed_up(run).await?;
        story.recorded = self.manifest(&snapshot).await?.database;
        for (name, value) in [
            ("source", "shop"),
            ("database", shop::DATABASE),
            ("snapshot", snapshot.id.as_str()),
        ] {
            story.values.insert(name.to_owned(), value.to_owned());
        }
        self.orders_come_in(&service).await
    }

    pub(super) async fn close_shop(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        self.world.open_shop(false);
        // The last order may still be on its way.
        self.world.clock().sleep(Duration::from_millis(500)).await;
        story.safe = self.the_service()?.taken();
        Ok(())
    }

    /// Asks the restored database what the application would ask.
    pub(super) async fn look_at_restored(&mut self) -> Result<(), SandboxError> {
        let login = self.world.login().ok_or_else(|| unexpected("there is no server"))?;
        let sql = "select count(*)::text from customers where email not like '%@example.org'";
        match ask(&login, RESTORED, sql, self.world.clock()).await?.as_deref() {
            Some("0") => Ok(()),
            other => Err(unexpected(&format!("the restored database has noise in it: {other:?}"))),
        }
    }

    /// Every table against what was recorded in the transaction of the dump, before anybody writes again.
    pub(super) async fn prove_tables_and_open(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let login = self.world.login().ok_or_else(|| unexpected("there is no server"))?;
        let recorded = story
            .recorded
            .take()
            .ok_or_else(|| unexpected("a dump without records"))?;
        for line in proof::tables(&login, &recorded, self.world.clock()).await? {
            story.proof.push((line.same, line.text));
        }
        let missing = self.missing(&login, &story.safe).await?;
        story.lost = format!("{missing} orders, all that were taken since the dump");
        self.world.open_shop(true);
        let service = self.the_service()?;
        self.orders_come_in(&service).await?;
        story.back = Some(self.world.clock().monotonic());
        Ok(())
    }

    pub(super) async fn files_ready(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let documents = self.world.documents();
        self.log
            .line(&format!("back up     documents, {BACKUPS} times, as people work"));
        for day in 1..=BACKUPS {
            let note = documents.join(format!("reports 2026/day {day}.txt"));
            let text = format!("on day {day} nothing happened\n").repeat(200);
            std::fs::write(&note, text).map_err(|error| SandboxError::local("write", &note, error))?;
            let run = self.run("documents").await?;
            self.backed_up(run).await?;
        }
        story.inventory = Some(proof::look(documents).await?);
        let directory = self.world.path().join("restored").display().to_string();
        if story.which == Scenario::BreakGlass {
            let reason = "nobody is sure of the agent's machine";
            story.set(&[("repository", "sandbox"), ("reason", reason)]);
        } else {
            story.set(&[("source", "documents"), ("job", "documents"), ("directory", &directory)]);
        }
        Ok(())
    }

    /// Compares what was restored into the new place.
    pub(super) async fn prove_restored_files(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let documents = self.world.documents();
        let inside = documents.strip_prefix("/").unwrap_or(&documents);
        let restored = self.world.path().join("restored").join(inside);
        self.compare_files(story, restored).await?;
        "nothing: the last clean snapshot has every file".clone_into(&mut story.lost);
        story.back = Some(self.world.clock().monotonic());
        Ok(())
    }

    /// Waits until the agent says that files look encrypted.
    pub(super) async fn notice_encryption(&mut self) -> Result<(), SandboxError> {
        let clock = self.world.clock().clone();
        let since = clock.monotonic();
        loop {
            let alerts = self.client.overview().await?.alerts;
            if let Some(alert) = alerts.iter().find(|alert| alert.kind == AlertKind::MassEncryption) {
                self.log.more(&format!("alert: {}", alert.message));
                return Ok(());
            }
            if clock.elapsed(since) > PATIENCE {
                return Err(unexpected("nobody noticed that the files are encrypted"));
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Asks the shop's database, as its monitoring does, until the answer is yes.
    pub(super) async fn notice_in_shop(&mut self, sql: &str) -> Result<(), SandboxError> {
        let clock = self.world.clock().clone();
        let since = clock.monotonic();
        while self.ask_shop(sql).await? != "true" {
            if clock.elapsed(since) > PATIENCE {
                return Err(unexpected("nobody noticed that the data is wrong"));
            }
            clock.sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn ask_shop(&self, sql: &str) -> Result<String, SandboxError> {
        let login = self.world.login().ok_or_else(|| unexpected("there is no server"))?;
        let answer = ask(&login, shop::DATABASE, sql, self.world.clock()).await?;
        Ok(answer.unwrap_or_default())
    }
}
