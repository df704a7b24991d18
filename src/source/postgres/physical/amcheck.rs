//! `pg_amcheck` on a recovered copy: are tables and indexes what they should be.

use std::path::Path;

use tokio::io::AsyncReadExt;

use crate::domain::recovery::Finding;
use crate::source::postgres::child::Program;
use crate::source::postgres::server::PrivateServer;
use crate::source::{SourceError, Work};

/// What is kept of its words.
const WORDS: u64 = 64 << 10;

/// Has `pg_amcheck` look at every table and index, when it is installed.
pub(super) async fn run(server: &PrivateServer, work: &Work<'_>) -> Result<Option<Finding>, SourceError> {
    let program = server.bin_dir().join("pg_amcheck");
    let finding = |ok, detail: String| {
        Some(Finding {
            what: "pg_amcheck".to_owned(),
            ok,
            detail,
        })
    };
    if !program.is_file() {
        return Ok(finding(true, "not installed, so not run".to_owned()));
    }
    work.progress.set_current("checking tables and indexes");
    let login = server.login();
    let mut child = Program::new("pg_amcheck", &program, "the recovered copy")
        .arg("--all")
        .arg("--install-missing")
        .connect(&login, None)
        .start(Some(&login))?;
    drop(child.take_stdin());
    let output = child.take_stdout();
    let reading = async {
        let mut words = Vec::new();
        if let Some(mut output) = output {
            let kept = (&mut output).take(WORDS).read_to_end(&mut words).await;
            kept.map_err(|error| SourceError::local("read from", Path::new("pg_amcheck"), &error))?;
            // What follows is thrown away, so that it can end.
            let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
        }
        Ok(String::from_utf8_lossy(&words).into_owned())
    };
    let words = match work.cancellable(reading).await {
        Ok(words) => words,
        Err(error) => {
            child.kill().await;
            return Err(error);
        }
    };
    Ok(match child.finish().await {
        Ok(()) => finding(true, "nothing wrong with any table or index".to_owned()),
        // It says with 2 that it found something; with 1 that it could not look.
        Err(SourceError::Child { status, .. }) if status.ends_with(": 2") => {
            let first: Vec<&str> = words.lines().take(3).collect();
            finding(false, first.join("; "))
        }
        Err(SourceError::Child { stderr, .. }) => finding(true, format!("could not be run: {stderr}")),
        Err(error) => return Err(error),
    })
}
