//! `lifeboat wal receive`: runs until it is asked to stop, and tells on the error stream what happens.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use super::of_wal;
use crate::cli::args::ReceiveArgs;
use crate::cli::context::Ctx;
use crate::cli::direct;
use crate::cli::error::{CliError, Exit};
use crate::cli::target::parse_postgres;
use crate::config::secret;
use crate::domain::id::SourceName;
use crate::domain::job::RepositoryDefinition;
use crate::domain::source::{PostgresConnection, SecretRef, SourceKind};
use crate::source::postgres::Login;
use crate::source::postgres::wal::receive::{self, Note, ReceiveOptions};

pub(super) async fn run(args: &ReceiveArgs, definition: &RepositoryDefinition, ctx: &Ctx) -> Result<Exit, CliError> {
    let (connection, database) = server_of(
        args.server.as_deref(),
        args.source.as_deref(),
        args.server_password_file.as_deref(),
        ctx,
    )?;
    let password = match &connection.password {
        Some(reference) => Some(secret::resolve(reference).await.map_err(|error| {
            CliError::usage("the password on the server cannot be read")
                .why(&error)
                .maybe_hint(error.hint())
        })?),
        None => None,
    };
    let options = ReceiveOptions {
        login: Login::new(connection, password),
        database,
        slot: args.slot.clone(),
        dir: args.dir.clone(),
        growing_every: args.partial_every.to_std(),
        limit: args.limit,
    };
    // Taken before anything is begun, so that nothing that was begun can be left behind by a signal.
    let stop = ctx.interrupts().stop;
    let mut terminated = signal(SignalKind::terminate())?;
    let on_signal = stop.clone();
    let watch = tokio::spawn(async move {
        terminated.recv().await;
        on_signal.cancel();
    });
    let repo = direct::open(definition, ctx).await?;
    let tell = |note: Note| {
        let chatty = matches!(note, Note::Reached(_) | Note::Archived(_));
        if !chatty || ctx.global.verbose > 0 {
            ctx.out.remark(&note.to_string());
        }
    };
    let ended = receive::run(&options, &repo, &tell, &ctx.clock, &stop).await;
    watch.abort();
    ended.map_err(|error| of_wal("the log is not received any more", &error))?;
    ctx.out
        .remark("stopped; what was received is archived or waits in the directory");
    Ok(Exit::Cancelled)
}

/// The server and a database on it to ask questions in.
pub(in crate::cli) fn server_of(
    server: Option<&str>,
    source: Option<&str>,
    password_file: Option<&Path>,
    ctx: &Ctx,
) -> Result<(PostgresConnection, String), CliError> {
    let (mut connection, database) = match (server, source) {
        (Some(url), _) => parse_postgres(url)?,
        (None, name) => {
            let name = SourceName(name.unwrap_or_default().to_owned());
            let config = ctx.config()?;
            match config.definitions.sources.get(&name).map(|source| &source.kind) {
                Some(SourceKind::PostgresDump(source)) => (source.connection.clone(), source.database.clone()),
                Some(SourceKind::PostgresPhysical(source)) => (source.connection.clone(), source.database.clone()),
                Some(_) => return Err(CliError::usage(format!("source {name} is not a PostgreSQL server"))),
                None => return Err(CliError::usage(format!("the configuration has no source {name}"))),
            }
        }
    };
    if let Some(file) = password_file {
        connection.password = Some(SecretRef::File(file.to_owned()));
    } else if server.is_some() && std::env::var_os("PGPASSWORD").is_some() {
        connection.password = Some(SecretRef::Env("PGPASSWORD".to_owned()));
    }
    Ok((connection, database))
}
