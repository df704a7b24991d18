//! What can happen in the shop's database, and putting a restored one in its place.

use super::{Incidents, RESTORED};
use crate::domain::run::Failure;
use crate::sandbox::shop::DATABASE;
use crate::source::postgres::{Login, execute};

/// What an intruder leaves of what people wrote; what is due stays, so that the shop goes on and nobody looks.
const NOISE: &str = "
update customers set name = md5(random()::text), email = md5(random()::text) || id;
update orders set note = md5(random()::text) || md5(random()::text) where note is not null;
";

impl Incidents {
    pub(super) async fn drop_table(&self, login: &Login) -> Result<String, Failure> {
        self.sql(login, DATABASE, "drop table order_items cascade").await?;
        Ok("table order_items is gone; the shop takes no more orders".to_owned())
    }

    pub(super) async fn encrypt_rows(&self, login: &Login) -> Result<String, Failure> {
        self.sql(login, DATABASE, NOISE).await?;
        Ok("the names and addresses of all customers, and what they wrote, are noise now".to_owned())
    }

    pub(super) async fn delete_rows(&self, login: &Login) -> Result<String, Failure> {
        self.sql(login, DATABASE, "delete from payments").await?;
        Ok("DELETE FROM payments, without WHERE: every payment there was is gone".to_owned())
    }

    async fn sql(&self, login: &Login, database: &str, sql: &str) -> Result<(), Failure> {
        execute(login, database, sql, &self.clock)
            .await
            .map_err(|error| Failure::from(&error))
    }

    /// After everybody was shown out, in one transaction: the broken database steps aside, the restored one takes its place.
    pub(super) async fn swap(&self, login: &Login) -> Result<String, Failure> {
        let aside = format!("{DATABASE}_broken_{}", self.clock.now().format("%H%M%S"));
        let close = format!(
            "alter database {DATABASE} allow_connections false;
             select pg_terminate_backend(pid) from pg_stat_activity where datname in ('{DATABASE}', '{RESTORED}')"
        );
        let rename = format!(
            "begin;
             alter database {DATABASE} rename to {aside};
             alter database {RESTORED} rename to {DATABASE};
             commit;"
        );
        self.sql(login, "postgres", &close).await?;
        let swapped = self.sql(login, "postgres", &rename).await;
        // Whichever it is called now, people may look into it again.
        let broken = if swapped.is_ok() { &aside } else { DATABASE };
        self.sql(
            login,
            "postgres",
            &format!("alter database {broken} allow_connections true"),
        )
        .await?;
        swapped.map(|()| format!("{RESTORED} is now {DATABASE}; the broken one is kept as {aside}"))
    }
}
