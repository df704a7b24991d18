//! The server of PostgreSQL that a command works on directly, and who we are on it.

use std::path::Path;

use super::args::ServerArgs;
use super::context::Ctx;
use super::error::CliError;
use super::target::parse_postgres;
use crate::config::secret;
use crate::domain::id::SourceName;
use crate::domain::source::{PostgresConnection, SecretRef, SourceKind};
use crate::source::postgres::Login;

/// The login of the server the arguments name, and a database on it to ask questions in.
pub(super) async fn login_of(args: &ServerArgs, ctx: &Ctx) -> Result<(Login, String), CliError> {
    let what = "the password on the server";
    if let Some(url) = &args.server {
        return login_at(url, args.server_password_file.as_deref(), what).await;
    }
    let name = SourceName(args.source.clone().unwrap_or_default());
    let config = ctx.config()?;
    let (connection, database) = match config.definitions.sources.get(&name).map(|source| &source.kind) {
        Some(SourceKind::PostgresDump(source)) => (&source.connection, &source.database),
        Some(SourceKind::PostgresPhysical(source)) => (&source.connection, &source.database),
        Some(_) => return Err(CliError::usage(format!("source {name} is not a PostgreSQL server"))),
        None => return Err(CliError::usage(format!("the configuration has no source {name}"))),
    };
    let mut connection = connection.clone();
    if let Some(file) = &args.server_password_file {
        connection.password = Some(SecretRef::File(file.clone()));
    }
    Ok((login(connection, what).await?, database.clone()))
}

/// The login of `postgres://USER@HOST:PORT/DATABASE`, and the database; the password is in the file, else in PGPASSWORD.
pub(super) async fn login_at(url: &str, password_file: Option<&Path>, what: &str) -> Result<(Login, String), CliError> {
    let (mut connection, database) = parse_postgres(url)?;
    connection.password = match password_file {
        Some(file) => Some(SecretRef::File(file.to_owned())),
        None => std::env::var_os("PGPASSWORD").map(|_| SecretRef::Env("PGPASSWORD".to_owned())),
    };
    Ok((login(connection, what).await?, database))
}

/// A connection with its password read; `what` names the password when it cannot be.
pub(super) async fn login(connection: PostgresConnection, what: &str) -> Result<Login, CliError> {
    let password = match &connection.password {
        Some(reference) => Some(secret::resolve(reference).await.map_err(|error| {
            CliError::usage(format!("{what} cannot be read"))
                .why(&error)
                .maybe_hint(error.hint())
        })?),
        None => None,
    };
    Ok(Login::new(connection, password))
}
