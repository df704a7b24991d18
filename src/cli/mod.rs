//! The command line: everything a screen can do, a command can do, and everything a command prints, `--json` prints.
//!
//! One table of options ([`args`]) gives the parser, the help, the manual page and the completions. Each verb's file turns
//! its arguments into requests of the API (or, for break-glass verbs, into calls of the repository), and the answers into
//! serde structs with a rendering for people ([`output::Render`]); one printer writes both forms. A verb ends with an
//! [`Exit`], or with a [`CliError`] of up to three lines: what failed, why, and what to do next.
//!
//! | file | verbs | needs |
//! | --- | --- | --- |
//! | `repo`, `backup`, `snapshot`, `restore` | break-glass: on a repository directly | a repository and its password |
//! | `launch`, `agent` | finding, starting and running the agent | a configuration |
//! | the others | views and commands | an agent |
//!
//! Never here: decisions (those are the engine's), secrets in arguments, and anything that only `--json` or only people get.

#[expect(clippy::doc_markdown, reason = "the comments are the help text")]
pub mod args;
mod backup;
mod context;
mod error;
mod launch;
mod output;
mod progress;
mod repo;
mod restore;
mod settings;
mod snapshot;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use clap::Parser;

pub use args::{Cli, ColorWhen, DemoArgs, Global};
pub use context::Ctx;
pub use error::{CliError, Exit};

use crate::api::Client;
use crate::clock::Clock;
use args::Verb;

/// What a wired-in program ends with.
pub type Ending = Pin<Box<dyn Future<Output = Result<Exit, CliError>>>>;

/// The programs beside the command line; `main` wires them in, so that neither room knows the other.
#[derive(Debug, Clone, Copy)]
pub struct Wiring {
    /// Opens the console on an agent.
    pub console: fn(Client, Global) -> Ending,
    /// Builds the throw-away world and plays in it.
    pub demo: fn(DemoArgs, Global) -> Ending,
}

/// Parses the command line and runs it.
pub fn main(wiring: Wiring) -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the program could not be started: {error}");
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(run(cli, wiring));
    // Reads that nobody waits for any more, such as that of a terminal, must not hold up the end.
    runtime.shutdown_background();
    exit.into()
}

async fn run(cli: Cli, wiring: Wiring) -> Exit {
    let via = if cli.verb.is_none() { "console" } else { "cli" };
    let ctx = Ctx::new(cli.global, Clock::system(), via);
    let result = dispatch(cli.verb, &ctx, wiring).await;
    let out = ctx.out;
    ctx.close().await;
    result.unwrap_or_else(|error| {
        out.error(&error);
        error.exit
    })
}

async fn dispatch(verb: Option<Verb>, ctx: &Ctx, wiring: Wiring) -> Result<Exit, CliError> {
    match verb {
        None => (wiring.console)(ctx.client().await?, ctx.global.clone()).await,
        Some(Verb::Demo(args)) => (wiring.demo)(args, ctx.global.clone()).await,
        Some(Verb::Backup(args)) => {
            ctx.may_change("back up")?;
            backup::run(args, ctx).await
        }
        Some(Verb::Repo(args)) => repo::run(args, ctx).await,
        Some(Verb::Snapshot(args)) => snapshot::run(args.command, &ctx.repository(&args.repository)?, ctx).await,
        Some(Verb::Restore(args)) => {
            let repository = ctx.repository(&args.repository)?;
            restore::run(args, &repository, ctx).await
        }
        Some(_) => Err(CliError::failed("not built yet")),
    }
}
