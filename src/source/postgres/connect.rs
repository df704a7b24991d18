//! Connections: who we are to which server, over a Unix socket or TLS, never waiting without an end.
//!
//! A server may be dead (refused at once), deaf (accepts and says nothing) or slow (starting up, out of connections).
//! Each is told apart here, so that the screens can say which. Statements are interrupted on the server too when the
//! caller gives up, because a backend that counts a large table does not notice that nobody is listening any more.

use std::future::Future;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::tls_config;
use crate::clock::Clock;
use crate::domain::source::{PostgresConnection, TlsMode};
use crate::source::SourceError;

/// How long a server may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The oldest server this program works with, as `server_version_num` has it.
const OLDEST_SERVER: i32 = 130_000;

/// Who we are to which server.
#[derive(Debug, Clone)]
pub struct Login {
    /// The server and the role.
    pub connection: PostgresConnection,
    /// The password, when one is needed.
    pub password: Option<SecretString>,
    /// What the server lists our connections as.
    pub(super) application: String,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, for example `15.14`.
    pub version: String,
    /// The first number of its version.
    pub major: u32,
    /// Whether it is a standby.
    pub standby: bool,
    /// The role we are.
    pub role: String,
    /// Whether that role may do everything.
    pub superuser: bool,
    /// Whether that role may create databases.
    pub may_create_databases: bool,
    /// The system identifier of the cluster, when the role may read it.
    pub system_identifier: Option<String>,
}

impl ServerFacts {
    /// The server in words, for plans: role, primary or standby, version, system identifier.
    pub fn identity(&self, login: &Login) -> String {
        let part = if self.standby { "standby" } else { "primary" };
        let system = self.system_identifier.as_deref().unwrap_or("not readable by this role");
        format!(
            "PostgreSQL {} {part} at {}, system identifier {system}",
            self.version,
            login.connection.display()
        )
    }
}

/// How the server is reached.
#[derive(Clone)]
pub(super) enum Transport {
    Plain,
    Tls(MakeRustlsConnect),
}

/// An open connection to one database.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) server: String,
    pub(super) transport: Transport,
    driver: JoinHandle<()>,
}

impl Login {
    /// Somebody on a server.
    pub fn new(connection: PostgresConnection, password: Option<SecretString>) -> Self {
        Self {
            connection,
            password,
            application: "lifeboat".to_owned(),
        }
    }

    /// The same, with connections of its own name, so that they can be told from others of ours.
    pub(super) fn named(&self, application: String) -> Self {
        Self {
            application,
            ..self.clone()
        }
    }

    /// Ends every connection of this name, whatever it is doing; what cannot be ended now, the server's own time limits end.
    pub(super) async fn end_all(&self, database: &str, clock: &Clock) {
        let ending = async {
            let session = Self::new(self.connection.clone(), self.password.clone())
                .open(database, clock)
                .await?;
            let sql = format!(
                "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity where application_name = {}",
                literal(&self.application)
            );
            session.execute("end our connections", &sql).await
        };
        // Nobody is left to tell.
        let _ = within(clock, CONNECT_TIMEOUT, ending).await;
    }

    /// Connects to a database, within ten seconds or not at all.
    pub(super) async fn open(&self, database: &str, clock: &Clock) -> Result<Session, SourceError> {
        let server = self.connection.display();
        // Boxed: the handshake is large, and callers would carry it in every future.
        let connecting = Box::pin(self.open_unbounded(database));
        match within(clock, CONNECT_TIMEOUT, connecting).await {
            Some(result) => result,
            None => Err(SourceError::Silent {
                server,
                seconds: CONNECT_TIMEOUT.as_secs(),
            }),
        }
    }

    /// Connects to a database every server has, for statements that concern the whole server.
    pub(super) async fn open_maintenance(&self, also: Option<&str>, clock: &Clock) -> Result<Session, SourceError> {
        let mut last = None;
        for database in ["postgres", "template1"].into_iter().chain(also) {
            match self.open(database, clock).await {
                Ok(session) => return Ok(session),
                Err(error @ (SourceError::NoSuchDatabase { .. } | SourceError::Denied { .. })) => {
                    last.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(SourceError::Cancelled))
    }

    async fn open_unbounded(&self, database: &str) -> Result<Session, SourceError> {
        let connection = &self.connection;
        let server = connection.display();
        let mut config = Config::new();
        config
            .host(&connection.host)
            .port(connection.port)
            .user(&connection.user)
            .dbname(database)
            .application_name(&self.application)
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(Duration::from_secs(30))
            .ssl_mode(match connection.tls {
                TlsMode::Disable => SslMode::Disable,
                TlsMode::Prefer => SslMode::Prefer,
                TlsMode::Require | TlsMode::VerifyFull => SslMode::Require,
            });
        if let Some(password) = &self.password {
            config.password(password.expose_secret());
        }
        let plain = connection.host.starts_with('/') || connection.tls == TlsMode::Disable;
        let explain = |error: &tokio_postgres::Error| explain_connect(error, &server, database);
        if plain {
            config.ssl_mode(SslMode::Disable);
            let (client, driver) = config.connect(NoTls).await.map_err(|error| explain(&error))?;
            return Ok(Session::new(client, driver, server, Transport::Plain));
        }
        let tls = MakeRustlsConnect::new(tls_config(connection.tls, &server)?);
        let (client, driver) = config.connect(tls.clone()).await.map_err(|error| explain(&error))?;
        Ok(Session::new(client, driver, server, Transport::Tls(tls)))
    }
}

impl Session {
    fn new<S, T>(client: Client, driver: tokio_postgres::Connection<S, T>, server: String, transport: Transport) -> Self
    where
        tokio_postgres::Connection<S, T>: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
    {
        // What ends the connection ends the statements that wait on it too, and those report it.
        let driver = tokio::spawn(async move {
            let _ = driver.await;
        });
        Self {
            client,
            server,
            transport,
            driver,
        }
    }

    /// Runs statements that return nothing of interest.
    pub(super) async fn execute(&self, doing: &str, sql: &str) -> Result<(), SourceError> {
        self.client
            .batch_execute(sql)
            .await
            .map_err(|error| self.explain(doing, &error))
    }

    /// Runs a query and returns its rows.
    pub(super) async fn rows(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, SourceError> {
        self.client
            .query(sql, parameters)
            .await
            .map_err(|error| self.explain(doing, &error))
    }

    /// Says what went wrong with a statement.
    pub(super) fn explain(&self, doing: &str, error: &tokio_postgres::Error) -> SourceError {
        let why = words(error);
        match error.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => SourceError::Denied {
                server: self.server.clone(),
                why: format!("cannot {doing}: {why}"),
            },
            code => SourceError::Query {
                doing: doing.to_owned(),
                server: self.server.clone(),
                why,
                retryable: error.is_closed() || code.is_some_and(may_pass),
            },
        }
    }

    /// Waits until the server has answered everything: one that answers to nobody writes that into its log.
    ///
    /// Statements that are dropped are closed on the server, which answers that, too.
    pub(super) async fn settle(&self, clock: &Clock) {
        // Whoever does not answer has lost the connection already.
        within(clock, Duration::from_secs(1), self.client.batch_execute("")).await;
    }

    /// Asks the server to stop what this connection is running; gives up after a second.
    pub(super) async fn interrupt(&self, clock: &Clock) {
        super::watched::cancel(self.client.cancel_token(), &self.transport, clock).await;
    }

    /// What the server says of itself; refuses one that is too old.
    pub(super) async fn facts(&self) -> Result<ServerFacts, SourceError> {
        let doing = "read the server's version and role";
        let row = self
            .rows(
                doing,
                "select current_setting('server_version_num')::int, current_setting('server_version'),
                        pg_is_in_recovery(), current_user::text, r.rolsuper, r.rolsuper or r.rolcreatedb,
                        has_function_privilege('pg_catalog.pg_control_system()', 'execute')
                   from pg_catalog.pg_roles r where r.rolname = current_user",
                &[],
            )
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| SourceError::Denied {
                server: self.server.clone(),
                why: "the role cannot see itself in pg_roles".to_owned(),
            })?;
        let number: i32 = row.get(0);
        let full: String = row.get(1);
        let version = full.split_whitespace().next().unwrap_or(&full).to_owned();
        if number < OLDEST_SERVER {
            return Err(SourceError::UnsupportedServer {
                server: self.server.clone(),
                version,
            });
        }
        let system_identifier = if row.get(6) {
            let rows = self
                .rows(
                    doing,
                    "select system_identifier::text from pg_catalog.pg_control_system()",
                    &[],
                )
                .await?;
            rows.first().map(|row| row.get(0))
        } else {
            None
        };
        Ok(ServerFacts {
            version,
            major: u32::try_from(number / 10_000).unwrap_or(0),
            standby: row.get(2),
            role: row.get(3),
            superuser: row.get(4),
            may_create_databases: row.get(5),
            system_identifier,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// Runs `work` until `limit` has passed on `clock`; none when it did not end in time.
pub(crate) async fn within<T>(clock: &Clock, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        result = work => Some(result),
        () = clock.sleep(limit) => None,
    }
}

/// A name as SQL writes it, whatever characters are in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL writes it, whatever characters are in it.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The server's own words when it said something, else the cause below.
fn words(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let mut text = said.message().to_owned();
        if let Some(detail) = said.detail() {
            text = format!("{text} ({detail})");
        }
        return text;
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Whether a statement that ended this way may succeed later.
fn may_pass(code: &SqlState) -> bool {
    [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::OBJECT_IN_USE,
        SqlState::UNDEFINED_TABLE,
    ]
    .contains(code)
}

fn explain_connect(error: &tokio_postgres::Error, server: &str, database: &str) -> SourceError {
    let server = server.to_owned();
    let why = words(error);
    match error.code() {
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => SourceError::NoSuchDatabase {
            server,
            database: database.to_owned(),
        },
        Some(code)
            if [
                SqlState::INVALID_PASSWORD,
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                SqlState::INSUFFICIENT_PRIVILEGE,
            ]
            .contains(code) =>
        {
            SourceError::Denied { server, why }
        }
        None if why.contains("password missing") => SourceError::Denied {
            server,
            why: "it asks for a password and none is configured".to_owned(),
        },
        None if why.contains("tls") || why.contains("TLS") || why.contains("certificate") => {
            SourceError::Tls { server, why }
        }
        Some(_) => SourceError::Closed { server, why },
        None => SourceError::Unreachable { server, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(quoted("a\"b c"), "\"a\"\"b c\"");
        assert_eq!(literal("it's \\ here"), "E'it\\'s \\\\ here'");
    }
}
