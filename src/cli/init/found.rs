//! The PostgreSQL servers of this machine, and whether their clusters can be copied whole.
//!
//! Asked are the servers that listen in the usual places, as the user who asks and as `postgres`, without a password. Nothing
//! is changed on them.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;
use crate::domain::source::{PhysicalChoice, PhysicalSource, PostgresConnection, ReadFrom, TlsMode};
use crate::repo::host;
use crate::source::postgres::physical::way;
use crate::source::{PhysicalMethod, Secrets, SourceError};

/// How long one server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that listens on this machine.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Found {
    /// The place of its socket, as in a URL.
    pub(super) server: String,
    /// Who may copy its cluster, and how; none when nobody here may.
    pub(super) copy: Option<Copyable>,
    /// Why nobody here may.
    pub(super) why_not: Option<String>,
}

/// How a cluster can be copied.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Copyable {
    #[serde(skip)]
    pub(super) connection: PostgresConnection,
    /// The role.
    pub(super) user: String,
    /// The way.
    pub(super) method: PhysicalMethod,
}

impl Copyable {
    /// How its files come, in words.
    pub(super) const fn words(&self) -> &'static str {
        match self.method {
            PhysicalMethod::Local => "read from its data directory",
            PhysicalMethod::Remote => "sent over the connection",
        }
    }
}

/// The PostgreSQL servers that listen in the usual places of this machine.
pub(super) async fn local_servers(clock: &Clock) -> Vec<Found> {
    let mut found = Vec::new();
    for directory in ["/run/postgresql", "/tmp"] {
        for port in listening(Path::new(directory)) {
            let copy = copyable(directory, port, clock).await;
            found.push(Found {
                server: format!("{}:{port}", directory.replace('/', "%2F")),
                why_not: copy.as_ref().err().cloned(),
                copy: copy.ok(),
            });
        }
    }
    found
}

/// The ports in the names of the sockets somebody listens on.
fn listening(directory: &Path) -> Vec<u16> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut ports: Vec<u16> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let port = name.strip_prefix(".s.PGSQL.")?.parse().ok()?;
            UnixStream::connect(entry.path()).is_ok().then_some(port)
        })
        .collect();
    ports.sort_unstable();
    ports
}

async fn copyable(directory: &str, port: u16, clock: &Clock) -> Result<Copyable, String> {
    let mut users = vec![host::username(), "postgres".to_owned()];
    users.dedup();
    let mut why = String::new();
    for user in users {
        let connection = PostgresConnection {
            host: directory.to_owned(),
            port,
            user: user.clone(),
            password: None,
            tls: TlsMode::default(),
            bin_dir: None,
        };
        let source = PhysicalSource {
            connection: connection.clone(),
            database: "postgres".to_owned(),
            standby: None,
            from: ReadFrom::Primary,
            method: PhysicalChoice::Auto,
            data_directory: None,
            scratch_dir: None,
            log_window: None,
            receive_slot: None,
        };
        let secrets = Secrets::default();
        let asked = tokio::select! {
            asked = way(&source, &secrets, clock) => asked,
            () = clock.sleep(PATIENCE) => Err(SourceError::Silent {
                server: connection.display(),
                seconds: PATIENCE.as_secs(),
            }),
        };
        match asked {
            Ok(method) => {
                return Ok(Copyable {
                    connection,
                    user,
                    method,
                });
            }
            // The first answer says most: it is about the user who asks.
            Err(error) if why.is_empty() => why = error.to_string(),
            Err(_) => {}
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_somebody_listens_on_are_servers() {
        let dir = tempfile::tempdir().unwrap();
        let _listens = std::os::unix::net::UnixListener::bind(dir.path().join(".s.PGSQL.5433")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(".s.PGSQL.5434")).unwrap());
        std::fs::write(dir.path().join(".s.PGSQL.5433.lock"), "1\n").unwrap();
        assert_eq!(listening(dir.path()), [5433]);
    }
}
