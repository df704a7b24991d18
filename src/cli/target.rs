//! Where a restore goes, as people write it.

use std::path::PathBuf;

use super::error::CliError;
use crate::domain::recovery::RecoveryTarget;
use crate::domain::source::{PostgresConnection, TlsMode};

/// Where a restore goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A directory.
    Directory(PathBuf),
    /// A new database on a server.
    Database {
        /// The server.
        connection: PostgresConnection,
        /// The database to create.
        database: String,
    },
}

/// Reads a directory or `postgres://USER@HOST:PORT/NAME`; a directory of a Unix socket is written `%2Frun%2Fpostgresql`.
pub fn parse_target(text: &str) -> Result<Target, CliError> {
    if text.is_empty() {
        return Err(CliError::usage("no target is given").hint("say where with --target DIR"));
    }
    match text.split_once("://") {
        Some(("postgres" | "postgresql", _)) => {
            let (connection, database) = parse_postgres(text)?;
            Ok(Target::Database { connection, database })
        }
        Some((scheme, _)) => Err(
            CliError::usage(format!("{scheme}:// is not a target that is known here"))
                .hint("give a directory, or postgres://USER@HOST:PORT/NAME"),
        ),
        None => Ok(Target::Directory(PathBuf::from(text))),
    }
}

/// Reads `postgres://USER@HOST:PORT`, where a database may be named too and is left out. A password in it is refused.
pub fn parse_server(url: &str) -> Result<PostgresConnection, CliError> {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url.find('?').unwrap_or(url.len());
    let named = url.get(start..end).is_some_and(|place| place.contains('/'));
    let url = if named {
        url.to_owned()
    } else {
        format!("{}/postgres{}", &url[..end], &url[end..])
    };
    parse_postgres(&url).map(|(connection, _)| connection)
}

/// Reads `postgres://USER@HOST:PORT/NAME`. A password in it is refused: it would stand in the list of processes.
pub fn parse_postgres(url: &str) -> Result<(PostgresConnection, String), CliError> {
    let hint = "write postgres://USER@HOST:PORT/NAME, without a password";
    let wrong = |why: &str| {
        CliError::usage("the database's URL is not understood")
            .why(why)
            .hint(hint)
    };
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').ok_or_else(|| wrong("it names no database"))?;
    let (user, place) = authority.rsplit_once('@').ok_or_else(|| wrong("it names no user"))?;
    if user.contains(':') {
        return Err(CliError::usage("the database's URL holds a password")
            .why("others can read the arguments of a process")
            .hint("leave it out; it is read from PGPASSFILE, ~/.pgpass or the source's own settings"));
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let port = port.parse().map_err(|_| wrong("its port is not a number"))?;
            (host, port)
        }
        _ => (place, 5432),
    };
    let decoded =
        |text: &str, what: &str| decode(text).ok_or_else(|| wrong(&format!("its {what} is not encoded well")));
    let host = decoded(host.trim_start_matches('[').trim_end_matches(']'), "host")?;
    let database = decoded(database, "database")?;
    let user = decoded(user, "user")?;
    for (what, value) in [("host", &host), ("database", &database), ("user", &user)] {
        if value.is_empty() {
            return Err(wrong(&format!("its {what} is empty")));
        }
    }
    let tls =
        tls(query, &host).ok_or_else(|| wrong("the only option is sslmode=disable|prefer|require|verify-full"))?;
    let connection = PostgresConnection {
        host,
        port,
        user,
        password: None,
        tls,
        bin_dir: None,
    };
    Ok((connection, database))
}

fn tls(query: &str, host: &str) -> Option<TlsMode> {
    match query {
        "" if host.starts_with('/') => Some(TlsMode::Disable),
        "" | "sslmode=prefer" => Some(TlsMode::Prefer),
        "sslmode=disable" => Some(TlsMode::Disable),
        "sslmode=require" => Some(TlsMode::Require),
        "sslmode=verify-full" => Some(TlsMode::VerifyFull),
        _ => None,
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            bytes.extend(hex::decode(after.get(..2)?).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// What has to be typed to confirm that a target is overwritten: the database, or the directory's own name.
pub fn confirmation_name(target: &RecoveryTarget) -> String {
    match target {
        RecoveryTarget::Directory { path, .. } => {
            let name = path.file_name();
            name.map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            )
        }
        RecoveryTarget::Database { database, .. } => database.clone(),
        RecoveryTarget::Scratch { level } => level.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let (connection, database) = parse_postgres("postgres://ana@db1:5433/shop").unwrap();
        assert_eq!(
            (connection.display().as_str(), database.as_str()),
            ("ana@db1:5433", "shop")
        );
        let (connection, _) = parse_postgres("postgresql://ana@%2Frun%2Fpostgresql/shop").unwrap();
        assert_eq!(
            (connection.host.as_str(), connection.tls),
            ("/run/postgresql", TlsMode::Disable)
        );
        let (connection, _) = parse_postgres("postgres://ana@[::1]:5433/shop?sslmode=require").unwrap();
        assert_eq!(
            (connection.host.as_str(), connection.port, connection.tls),
            ("::1", 5433, TlsMode::Require)
        );
        assert_eq!(parse_target("./out").unwrap(), Target::Directory("./out".into()));
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        let error = parse_postgres("postgres://ana:hunter2@db1/shop").unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn nonsense_is_a_sentence() {
        for bad in [
            "postgres://db1/shop",
            "postgres://ana@db1",
            "postgres://ana@db1:x/shop",
            "postgres://ana@/shop",
            "postgres://ana@db1/%f",
            "postgres://ana@db1/shop?sslmode=maybe",
            "s3://bucket/x",
            "",
        ] {
            assert!(parse_target(bad).is_err(), "{bad}");
        }
    }
}
