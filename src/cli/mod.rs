//! The command line: everything a screen can do, a command can do, and everything a command prints, `--json` prints.
//!
//! One table of options ([`args`]) gives the parser, the help, the manual page and the completions. Each verb's file turns
//! its arguments into requests of the API (or, for break-glass verbs, into calls of the repository), and the answers into
//! serde structs with a rendering for people ([`output::Render`]); one printer writes both forms. A verb ends with an
//! [`Exit`], or with a [`CliError`] of up to three lines: what failed, why, and what to do next.
//!
//! | file | verbs | needs |
//! | --- | --- | --- |
//! | `repo`, `upkeep`, `labels`, `backup`, `snapshot`, `restore`, `recover`, `wal` | break-glass: on a repository directly | a repository and its password |
//! | `database` | a restored database in the place of the live one | a server |
//! | `cluster` | looking at replicated servers, and switching between them | a configuration |
//! | `launch`, `agent` | finding, starting and running the agent | a configuration |
//! | the others | views and commands | an agent |
//!
//! Never here: decisions (those are the engine's), secrets in arguments, and anything that only `--json` or only people get.

mod agent;
mod agent_restore;
mod agent_snapshot;
mod alert;
#[expect(clippy::doc_markdown, reason = "the comments are the help text")]
pub mod args;
mod backup;
mod cluster;
mod config;
mod confirm;
mod context;
mod database;
mod direct;
mod doctor;
mod drill;
mod error;
mod export;
mod find_clean;
mod follow;
mod init;
mod job;
mod job_edit;
mod journal;
mod keep;
mod labels;
mod launch;
mod logging;
mod manual;
mod moment;
mod output;
mod progress;
mod recover;
mod recovery;
mod reload;
mod repo;
mod restore;
mod retention;
mod runbook;
mod server;
mod snapshot;
mod stats;
mod target;
mod text;
mod upkeep;
mod views;
mod wal;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use clap::Parser;

pub use args::{Cli, ColorWhen, DemoArgs, Global};
pub use context::Ctx;
pub use error::{CliError, Exit};

use crate::api::Client;
use crate::clock::Clock;
use args::{AgentCommand, SnapshotCommand, Verb, WalCommand};

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
    if in_background(cli.verb.as_ref()) {
        // It fails only for the leader of a session, who has nothing to leave.
        let _ = nix::unistd::setsid();
    }
    if cli.verb.is_some() && cli.global.verbose > 0 {
        logging::begin("warn", cli.global.verbose);
    }
    // What PostgreSQL calls for every file mostly asks and ends: threads it has no use for would take longer than that.
    let mut builder = if is_short(cli.verb.as_ref()) {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = match builder.enable_all().build() {
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

/// Whether a command is one of the many that PostgreSQL waits for, one after the other.
fn is_short(verb: Option<&Verb>) -> bool {
    match verb {
        Some(Verb::Wal(args)) => match &args.command {
            WalCommand::Push(push) => !push.pusher,
            WalCommand::Fetch(fetch) => !fetch.fetcher,
            _ => false,
        },
        _ => false,
    }
}

/// Whether this is a process that another of ours left behind.
fn in_background(verb: Option<&Verb>) -> bool {
    match verb {
        Some(Verb::Agent {
            command: Some(AgentCommand::Run { detached }),
        }) => *detached,
        Some(Verb::Wal(args)) => match &args.command {
            WalCommand::Push(push) => push.pusher,
            WalCommand::Fetch(fetch) => fetch.fetcher,
            _ => false,
        },
        _ => false,
    }
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
        Some(Verb::Wal(args)) => wal::run(args, ctx).await,
        Some(Verb::Cluster(args)) => cluster::run(args, ctx).await,
        Some(Verb::Database { command }) => database::run(command, ctx).await,
        Some(Verb::Snapshot(args)) => snapshots(args, ctx).await,
        Some(Verb::Restore(args)) if args.repository.repository.is_some() => {
            ctx.may_change("restore")?;
            restore::run(args.clone(), &ctx.repository(&args.repository)?, ctx).await
        }
        Some(Verb::Restore(args)) => agent_restore::run(args, ctx).await,
        Some(Verb::Status) => views::status(ctx).await,
        Some(Verb::Objectives) => views::objectives(ctx).await,
        Some(Verb::Stats(args)) => stats::run(args, ctx).await,
        Some(Verb::Agent { command }) => agent::run(command, ctx).await,
        Some(Verb::Job { command }) => job::run(command, ctx).await,
        Some(Verb::Recover(args)) => recover::run(*args, ctx).await,
        Some(Verb::Recovery { command }) => recovery::run(command, ctx).await,
        Some(Verb::Drill { command }) => drill::run(command, ctx).await,
        Some(Verb::Runbook { command }) => runbook::run(command, ctx).await,
        Some(Verb::Retention { command }) => retention::run(command, ctx).await,
        Some(Verb::Maintenance { command }) => keep::run(command, ctx).await,
        Some(Verb::Alert { command }) => alert::run(command, ctx).await,
        Some(Verb::Journal { command }) => journal::run(command, ctx).await,
        Some(Verb::Completions { shell }) => manual::completions(shell),
        Some(Verb::Man { dir }) => manual::man(dir.as_deref()),
        Some(Verb::Doctor) => doctor::run(ctx).await,
        Some(Verb::Init(args)) => init::run(args, ctx).await,
        Some(Verb::Config { command }) => config::run(command, ctx),
    }
}

/// Some verbs read a repository directly in any case; the others ask the agent, unless a repository is given.
async fn snapshots(args: args::SnapshotArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let direct = matches!(
        args.command,
        SnapshotCommand::Find { .. }
            | SnapshotCommand::Diff { .. }
            | SnapshotCommand::Dump { .. }
            | SnapshotCommand::Export(_)
    );
    if direct || args.repository.repository.is_some() {
        snapshot::run(args.command, &ctx.repository(&args.repository)?, ctx).await
    } else {
        agent_snapshot::run(args.command, ctx).await
    }
}
