//! Roles and tablespaces, which belong to no database: `pg_dumpall --globals-only`, beside the dump.
//!
//! They are small and held in memory, up to a limit; passwords are in them only when the role may read those.

use tokio::io::AsyncReadExt;

use super::child::Program;
use super::connect::{Login, ServerFacts};
use super::tools::Tools;
use crate::domain::source::PostgresSource;
use crate::source::{SourceError, Work};

/// Roles and tablespaces of the largest servers known take a few megabytes.
const GLOBALS_LIMIT: u64 = 64 << 20;

/// Reads roles and tablespaces; without passwords when the role may not read those, and says so.
pub(super) async fn globals(
    login: &Login,
    database: &PostgresSource,
    facts: &ServerFacts,
    tools: &Tools,
    work: &Work<'_>,
) -> Result<(Vec<u8>, Option<String>), SourceError> {
    let with_passwords = facts.superuser;
    let mut program = Program::new(
        "pg_dumpall",
        &tools.program("pg_dumpall"),
        format!("roles of {}", login.connection.display()),
    )
    .arg("--globals-only")
    .arg_if(!with_passwords, "--no-role-passwords")
    .connect(login, None);
    // The one database we are known to be let into; a name that reads as a connection string must be left out.
    let name = &database.database;
    if !name.contains('=') && !name.contains("://") {
        program = program.arg(format!("--database={name}"));
    }
    let mut running = program.start(Some(login))?;
    drop(running.take_stdin());
    let output = running.take_stdout();
    let reading = async {
        let mut bytes = Vec::new();
        if let Some(output) = output {
            let read = output.take(GLOBALS_LIMIT).read_to_end(&mut bytes).await;
            read.map_err(|error| SourceError::local("read from", std::path::Path::new("pg_dumpall"), &error))?;
        }
        Ok(bytes)
    };
    let bytes = match work.cancellable(reading).await {
        Ok(bytes) => bytes,
        Err(error) => {
            running.kill().await;
            return Err(error);
        }
    };
    running.finish().await?;
    let note = "roles were dumped without their passwords, because the role that dumped is no superuser";
    Ok((bytes, (!with_passwords).then(|| note.to_owned())))
}
