//! The third act: the shop moves to the standby while orders come in, and back again; nothing that was acknowledged is lost.
//!
//! Each step is the command a person would type. The proof asks no database what there was: the service keeps the number of
//! every order it has acknowledged, and each of them must be in the tables of both servers at the end.

use std::time::Duration;

use super::wait::LOOK_EVERY;
use super::{Drill, unexpected};
use crate::domain::units::Millis;
use crate::sandbox::orders::{Service, Taken};
use crate::sandbox::{SandboxError, shop};
use crate::source::postgres::{Login, ask};

/// So many orders make it a shop that is open.
const SOME: u64 = 15;
/// How long things may take that take a second.
const PATIENCE: Duration = Duration::from_secs(30);

impl Drill<'_> {
    /// Plays it; whether every acknowledged order is on both servers.
    pub(super) async fn switch_over(&mut self) -> Result<bool, SandboxError> {
        let service = self.world.service().cloned();
        let service = service.ok_or_else(|| unexpected("nobody takes orders"))?;
        self.log
            .line("switch over to the standby while orders come in, and back again");
        service.count_anew();
        self.orders_come_in(&service).await?;
        self.switch(&service, "db1", "db2").await?;
        self.switch(&service, "db2", "db1").await?;
        self.world.open_shop(false);
        // The last order may still be on its way.
        let clock = self.world.clock();
        clock.sleep(Duration::from_millis(500)).await;
        let taken = service.taken();
        self.log.line(&format!(
            "prove       each of the {} orders acknowledged since the switchover began, on both servers",
            taken.count
        ));
        let mut all = true;
        for (name, login) in self.world.members() {
            let there = self.there(&login, &taken).await?;
            all &= there == taken.count;
            let mark = if there == taken.count { "same " } else { "OTHER" };
            self.log
                .more(&format!("{mark} {name}: {there} of {} orders", taken.count));
        }
        self.log.line(&format!(
            "the shop took no orders for at most {}",
            Millis::from(taken.longest_pause)
        ));
        self.world.open_shop(true);
        Ok(all)
    }

    /// Has another server take the orders, by the commands a person would type; the first follows it then.
    pub(super) async fn switch(&self, service: &Service, from: &str, to: &str) -> Result<(), SandboxError> {
        self.lifeboat_says(&["cluster", "fence", "shop", from, "--yes", from])
            .await?;
        self.lifeboat_says(&["cluster", "wait", "shop", to]).await?;
        self.lifeboat_says(&["cluster", "promote", "shop", to, "--yes", to])
            .await?;
        self.route(to).await?;
        self.orders_come_in(service).await?;
        self.lifeboat_says(&["cluster", "rewind", "shop", from, "--stop", "--yes", from])
            .await
    }

    /// Waits until the shop has taken some more orders.
    pub(super) async fn orders_come_in(&self, service: &Service) -> Result<(), SandboxError> {
        let clock = self.world.clock();
        let (before, since) = (service.taken().count, clock.monotonic());
        while service.taken().count < before + SOME {
            if clock.elapsed(since) > PATIENCE {
                let why = service.is_well().await.err().unwrap_or_else(|| "it is slow".to_owned());
                return Err(unexpected(&format!("no orders come in: {why}")));
            }
            clock.sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// How many of some orders a server has; a standby is given the time to get there.
    pub(super) async fn there(&self, login: &Login, taken: &Taken) -> Result<u64, SandboxError> {
        let clock = self.world.clock();
        let runs: Vec<String> = taken.runs.iter().map(|(from, to)| format!("({from}, {to})")).collect();
        let sql = format!(
            "select count(*) from orders o join (values {}) run (first, last) on o.id between run.first and run.last",
            runs.join(", ")
        );
        let since = clock.monotonic();
        loop {
            let count = ask(login, shop::DATABASE, &sql, clock).await?;
            let count = count.and_then(|text| text.parse().ok()).unwrap_or(0);
            if count >= taken.count || clock.elapsed(since) > PATIENCE {
                return Ok(count);
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }
}
