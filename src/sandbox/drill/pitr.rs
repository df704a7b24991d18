//! The second act: somebody deletes without a WHERE, and the cluster comes back as it was one second before.
//!
//! The recovery is the command a person would type, run as a process of its own. The proof is independent of it: every
//! table is counted and hashed when the shop has just closed, before the deletion, and again on the recovered server.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;

use super::wait::LOOK_EVERY;
use super::{Drill, unexpected};
use crate::domain::source::{PostgresConnection, TlsMode};
use crate::domain::units::Millis;
use crate::domain::wal::Lsn;
use crate::sandbox::dir::recovered;
use crate::sandbox::{SandboxError, shop};
use crate::source::postgres::{Login, ask, contents, execute};
use crate::source::quote;

/// What somebody types. The commit waits for its log, so that where the log ends afterwards is behind it.
const WRONG: &str = "begin; set local synchronous_commit = on; delete from payments; commit";
/// How long the log may take to arrive in the repository.
const PATIENCE: Duration = Duration::from_mins(1);

/// What `lifeboat recover --json` says of the server it paused.
#[derive(Debug, Deserialize)]
struct Paused {
    socket: String,
    port: u16,
    role: String,
    replayed: u64,
    lay_down_millis: Option<u64>,
    replay_millis: u64,
}

impl Drill<'_> {
    /// Plays it; whether everything that was there before the deletion is there again.
    pub(super) async fn second_before(&mut self, login: &Login) -> Result<bool, SandboxError> {
        let clock = self.world.clock().clone();
        self.log
            .line("back up     cluster, while orders come in; its log is streamed into the repository");
        let job = self.run("cluster").await?;
        self.backed_up(job).await?;
        clock.sleep(Duration::from_secs(2)).await;
        self.world.open_shop(false);
        // The last order may still be on its way.
        clock.sleep(Duration::from_millis(500)).await;
        let before = contents(login, shop::DATABASE, &clock).await?;
        clock.sleep(Duration::from_millis(1_500)).await;
        let (deleted_at, since) = (clock.now(), clock.monotonic());
        execute(login, shop::DATABASE, WRONG, &clock).await?;
        let payments = before.get("public.payments").map_or(0, |table| table.rows);
        self.log.line(&format!(
            "INCIDENT    DELETE FROM payments, without WHERE: {payments} rows are gone"
        ));
        self.log_arrives(login).await?;
        let point = (deleted_at - chrono::TimeDelta::seconds(1)).format("%Y-%m-%d %H:%M:%S%.3fZ");
        let target = recovered(self.world.path());
        let paused: Paused = self
            .lifeboat(
                &["recover", "cluster", "--to", &point.to_string(), "--pause", "--target"],
                &target,
            )
            .await?;
        let rto = Millis::from(clock.elapsed(since));
        self.log.line(&format!(
            "recovered   to one second before, in {rto}: laid down in {}, {} of log replayed in {}, paused there for a look",
            Millis(paused.lay_down_millis.unwrap_or(0)),
            crate::domain::units::Bytes(paused.replayed),
            Millis(paused.replay_millis),
        ));
        let connection = PostgresConnection {
            host: paused.socket,
            port: paused.port,
            user: paused.role,
            password: None,
            tls: TlsMode::Disable,
            bin_dir: login.connection.bin_dir.clone(),
        };
        let after = contents(&Login::new(connection, None), shop::DATABASE, &clock).await?;
        let same = before == after;
        for (table, content) in &before {
            let mark = if after.get(table) == Some(content) {
                "same "
            } else {
                "OTHER"
            };
            self.log.more(&format!("{mark} {table}: {} rows", content.rows));
        }
        let _: serde_json::Value = self
            .lifeboat(&["recover", "--yes", "recovered", "--discard"], &target)
            .await?;
        self.world.open_shop(true);
        Ok(same)
    }

    /// Waits until the log up to now is in the repository.
    async fn log_arrives(&self, login: &Login) -> Result<(), SandboxError> {
        let clock = self.world.clock();
        let now = ask(login, shop::DATABASE, "select pg_current_wal_flush_lsn()", clock).await?;
        let now: Lsn = now
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| unexpected("the server does not say where its log is"))?;
        let stream = self.world.log().ok_or_else(|| unexpected("nobody receives the log"))?;
        let since = clock.monotonic();
        while stream.reached() < now {
            if clock.elapsed(since) > PATIENCE {
                let why = stream.trouble().map_or(String::new(), |why| format!(": {why}"));
                return Err(unexpected(&format!("the log does not arrive{why}")));
            }
            clock.sleep(LOOK_EVERY).await;
        }
        let behind = Millis::from(clock.elapsed(since));
        self.log.more(&format!("its log is in the repository {behind} later"));
        Ok(())
    }

    /// Runs a command of ours on the sandbox and reads what it answers.
    async fn lifeboat<T: for<'de> Deserialize<'de>>(&self, words: &[&str], path: &Path) -> Result<T, SandboxError> {
        let program =
            std::env::current_exe().map_err(|error| SandboxError::local("find", "this program".as_ref(), error))?;
        let shown: Vec<String> = words.iter().map(|word| quote(word)).collect();
        self.log.line(&format!(
            "$ lifeboat {} {}",
            shown.join(" "),
            quote(&path.display().to_string())
        ));
        let ended = tokio::process::Command::new(program)
            .args(words)
            .arg(path)
            .arg("--json")
            .arg("--config")
            .arg(self.world.path().join("lifeboat.toml"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| SandboxError::local("run", "this program".as_ref(), error))?;
        if !ended.status.success() {
            return Err(unexpected(String::from_utf8_lossy(&ended.stderr).trim()));
        }
        serde_json::from_slice(&ended.stdout)
            .map_err(|error| unexpected(&format!("an answer nobody expected: {error}")))
    }
}
