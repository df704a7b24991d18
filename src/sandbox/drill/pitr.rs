//! The second act: somebody deletes without a WHERE, and the cluster comes back as it was one second before.
//!
//! The recovery is the command a person would type, run as a process of its own. The proof is independent of it: every
//! table is counted and hashed when the shop has just closed, before the deletion, and again on the recovered server.

use std::time::Duration;

use serde::Deserialize;

use super::wait::LOOK_EVERY;
use super::{Drill, unexpected};
use crate::domain::source::{PostgresConnection, TlsMode};
use crate::domain::units::{Millis, Timestamp};
use crate::sandbox::dir::recovered;
use crate::sandbox::{SandboxError, shop};
use crate::source::postgres::{Login, contents, execute};

/// What somebody types.
const WRONG: &str = "delete from payments";
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
            .line("back up     cluster, while orders come in; the agent streams its log into the repository");
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
        self.recoverable_to(clock.now()).await?;
        let point = (deleted_at - chrono::TimeDelta::seconds(1)).format("%Y-%m-%d %H:%M:%S%.3fZ");
        let target = recovered(self.world.path()).display().to_string();
        let paused: Paused = self
            .lifeboat(&[
                "recover",
                "cluster",
                "--to",
                &point.to_string(),
                "--pause",
                "--target",
                &target,
            ])
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
            .lifeboat(&["recover", "--yes", "recovered", "--discard", &target])
            .await?;
        self.world.open_shop(true);
        Ok(same)
    }

    /// Waits until the gauge says that everything up to a moment can be had back.
    pub(super) async fn recoverable_to(&self, moment: Timestamp) -> Result<(), SandboxError> {
        let clock = self.world.clock();
        let since = clock.monotonic();
        loop {
            let sights = self.client.overview().await?.logs;
            if sights
                .iter()
                .any(|sight| sight.recoverable_to.is_some_and(|to| to > moment))
            {
                break;
            }
            if clock.elapsed(since) > PATIENCE {
                let trouble = sights.iter().find_map(|sight| sight.receiver.as_ref()?.trouble.clone());
                let why = trouble.map_or(String::new(), |why| format!(": {why}"));
                return Err(unexpected(&format!("the log does not arrive{why}")));
            }
            clock.sleep(LOOK_EVERY).await;
        }
        let behind = Millis::from(clock.elapsed(since));
        self.log.more(&format!(
            "the gauge says so {behind} later: everything up to then can be had back"
        ));
        Ok(())
    }
}
