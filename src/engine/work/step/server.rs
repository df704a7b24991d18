//! Statements of a step, and the servers they go to.

use std::path::Path;

use super::{Site, cancelled, cluster};
use crate::domain::id::{MemberName, SourceName};
use crate::domain::run::Failure;
use crate::domain::runbook::action::{Server, Sql};
use crate::domain::runbook::template::{Template, Values};
use crate::domain::source::{PostgresConnection, SourceKind, TlsMode};
use crate::engine::work::{failure, secrets};
use crate::source::postgres::{self, Login};

/// Carries out a statement; with an expected answer, compares it.
pub(super) async fn statement(site: &Site<'_>, sql: &Sql) -> Result<Values, Failure> {
    let (login, database) = login(site, &sql.at).await?;
    let text = sql.statement.text();
    let clock = &site.worker.clock;
    let Some(expect) = &sql.expect else {
        let done = interruptible(site, postgres::execute(&login, &database, &text, clock)).await?;
        done.map_err(|error| failure::of_source(&error))?;
        return Ok(Values::from([("output".to_owned(), String::new())]));
    };
    let answer = interruptible(site, postgres::ask(&login, &database, &text, clock)).await?;
    let answer = answer.map_err(|error| failure::of_source(&error))?;
    if !expect.holds(answer.as_deref()) {
        let found = answer.as_deref().unwrap_or("nothing");
        return Err(Failure::permanent(
            format!("the answer is {found}, expected {expect}"),
            "look at the data before going on",
        ));
    }
    Ok(Values::from([("output".to_owned(), answer.unwrap_or_default())]))
}

async fn interruptible<T>(site: &Site<'_>, work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::select! {
        biased;
        () = site.work.cancel.cancelled() => Err(cancelled()),
        done = work => Ok(done),
    }
}

/// Who we are on a server, and the database there.
pub(super) async fn login(site: &Site<'_>, at: &Server) -> Result<(Login, String), Failure> {
    let named = at.database.as_ref().map(Template::text);
    if let Some(source) = &at.source {
        let name = SourceName::from(source.text());
        let Some(source) = site.work.definitions.sources.get(&name) else {
            return Err(Failure::permanent(
                format!("there is no source {name}"),
                "check the configuration",
            ));
        };
        let (connection, database) = match &source.kind {
            SourceKind::PostgresDump(database) => (database.connection.clone(), database.database.clone()),
            SourceKind::PostgresPhysical(cluster) => (cluster.connection.clone(), cluster.database.clone()),
            SourceKind::Files(_) => {
                return Err(Failure::permanent(
                    format!("source {name} is no database"),
                    "name one that is",
                ));
            }
        };
        let password = secrets::of_source(source).await?.source;
        return Ok((Login::new(connection, password), named.unwrap_or(database)));
    }
    if let (Some(cluster), Some(member)) = (&at.cluster, &at.member) {
        let handle = cluster::handle(site, &cluster.text()).await?;
        let name = MemberName::from(member.text());
        let login = match handle.logins.get(&name) {
            Some(Ok(login)) => login.clone(),
            Some(Err(why)) => return Err(Failure::permanent(why.clone(), "check the password of the member")),
            None => {
                let text = format!("cluster {} has no member {name}", cluster.text());
                return Err(Failure::permanent(text, "check the configuration"));
            }
        };
        let database = handle.cluster.member(&name).map(|member| member.database.clone());
        return Ok((login, named.or(database).unwrap_or_else(|| "postgres".to_owned())));
    }
    let directory = at.socket.as_ref().map(Template::text).unwrap_or_default();
    let port = match &at.port {
        Some(port) => {
            let port = port.text();
            let wrong = |_| Failure::permanent(format!("\"{port}\" is no port"), "write a number");
            port.trim().parse().map_err(wrong)?
        }
        None => port_in(Path::new(&directory)).await?,
    };
    let connection = PostgresConnection {
        host: directory,
        port,
        user: at.user.as_ref().map_or("postgres".to_owned(), Template::text),
        password: None,
        tls: TlsMode::Disable,
        bin_dir: None,
    };
    Ok((
        Login::new(connection, None),
        named.unwrap_or_else(|| "postgres".to_owned()),
    ))
}

/// The port of the only server that listens in a directory.
async fn port_in(directory: &Path) -> Result<u16, Failure> {
    let mut ports: Vec<u16> = Vec::new();
    if let Ok(mut entries) = tokio::fs::read_dir(directory).await {
        while let Ok(Some(entry)) = entries.next_entry().await {
            let name = entry.file_name();
            let port = name
                .to_str()
                .and_then(|name| name.strip_prefix(".s.PGSQL.")?.parse::<u16>().ok());
            ports.extend(port);
        }
    }
    let place = directory.display();
    match ports.as_slice() {
        [port] => Ok(*port),
        [] => Err(Failure::permanent(
            format!("no server listens in {place}"),
            "look whether it is still running",
        )),
        several => {
            let ports = several.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            Err(Failure::permanent(
                format!("several servers listen in {place}: {ports}"),
                "say which with port",
            ))
        }
    }
}
