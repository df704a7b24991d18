//! Finding the agent, and starting one when there is none, the way tmux starts its server.
//!
//! Two commands that start at once both try; the lock beside the socket lets one agent through, the other ends with
//! "refused", and both commands find the one that won.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::context::Ctx;
use super::error::{CliError, Exit};
use crate::api::{Client, Server, pipe};
use crate::config::Config;
use crate::engine::Engine;

/// How long a new agent may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);
/// A log longer than this is put aside when a new agent starts.
const LOG_LIMIT: u64 = 16 << 20;

/// The engine in this process, for `--embedded`.
#[derive(Debug)]
pub struct Embedded {
    client: Client,
    engine: Engine,
}

impl Embedded {
    async fn start(ctx: &Ctx) -> Result<Self, CliError> {
        let engine = super::agent::start_engine(ctx, &ctx.config()?).await?;
        let (pipe, listener) = pipe();
        let server = Server::new(engine.clone(), ctx.clock.clone(), ctx.global.read_only);
        tokio::spawn(async move { server.serve_pipe(listener).await });
        let client = Client::in_memory(pipe, ctx.actor.clone()).read_only(ctx.global.read_only);
        Ok(Self { client, engine })
    }

    /// Ends it in good order.
    pub async fn stop(self) {
        // It can only fail by having stopped already.
        let _ = self.engine.stop("the program that ran it ends").await;
    }
}

/// Finds the agent, starts one when there is none, and makes a client of it.
pub(super) async fn client(ctx: &Ctx) -> Result<Client, CliError> {
    if ctx.global.embedded {
        let embedded = ctx.embedded.get_or_try_init(|| Embedded::start(ctx)).await?;
        return Ok(embedded.client.clone());
    }
    let client = ctx.client_of_running()?;
    let socket = ctx.socket()?;
    if answers(&socket) {
        return Ok(client);
    }
    let config = ctx.config().map_err(|error| {
        CliError::failed(format!("no agent answers on {}", socket.display()))
            .why(error.what)
            .maybe_hint(error.hint)
    })?;
    start(ctx, &config, &socket, &client).await?;
    Ok(client)
}

/// Whether somebody listens there.
pub(super) fn answers(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

async fn start(ctx: &Ctx, config: &Config, socket: &Path, client: &Client) -> Result<(), CliError> {
    let log_path = &config.agent.log_file;
    let (log, begins_at) = open_log(log_path)?;
    ctx.out.remark("starting the agent");
    let mut child = spawn(config, socket, log)?;
    let begun = ctx.clock.monotonic();
    let mut ended = None;
    loop {
        // That somebody listens is not enough: an agent listens first and may still fail to open its journal.
        if answers(socket) && client.overview().await.is_ok() {
            return Ok(());
        }
        if ended.is_none() {
            ended = child.try_wait().ok().flatten();
        }
        // Refused: another agent was faster, and will answer in a moment.
        let lost_race = ended.is_none_or(|status| status.code() == Some(Exit::Refused as i32));
        if !lost_race || ctx.clock.elapsed(begun) > PATIENCE {
            let why = match ended {
                Some(status) => format!("it ended with {status}"),
                None => format!("it did not answer within {} s", PATIENCE.as_secs()),
            };
            return Err(not_started(&why, log_path, begins_at));
        }
        ctx.clock.sleep(Duration::from_millis(25)).await;
    }
}

fn spawn(config: &Config, socket: &Path, log: File) -> Result<Child, CliError> {
    let failed = |error: std::io::Error| CliError::failed("the agent could not be started").why(error);
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&config.path).arg("--socket").arg(socket);
    command.args(["agent", "run", "--detached"]);
    // `--read-only` is not handed on: it binds this client, and must not leave an agent behind that nobody can use.
    let errors = log.try_clone().map_err(failed)?;
    command
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // The directory it was started from must not be kept busy for as long as the agent lives.
        .current_dir("/");
    command.spawn().map_err(failed)
}

fn open_log(path: &Path) -> Result<(File, u64), CliError> {
    let failed = |error: std::io::Error| {
        CliError::failed(format!("the agent's log {} cannot be opened", path.display()))
            .why(error)
            .hint("check the owner of the directory, or choose another place with agent.log_file")
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed)?;
    if path.metadata().is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        std::fs::rename(path, PathBuf::from(aside)).map_err(failed)?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok((file, length))
}

/// What the agent said before it ended, so that nobody has to go and look.
fn not_started(why: &str, log: &Path, begins_at: u64) -> CliError {
    let mut said = String::new();
    if let Ok(mut file) = File::open(log) {
        let _ = file
            .seek(SeekFrom::Start(begins_at))
            .and_then(|_| file.take(64 * 1024).read_to_string(&mut said));
    }
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(5)..].join(" | ");
    let why = if tail.is_empty() {
        why.to_owned()
    } else {
        format!("{why}; it said: {tail}")
    };
    CliError::failed("the agent could not be started")
        .why(why)
        .hint(format!(
            "see {}, or run it in the foreground with: lifeboat agent run",
            log.display()
        ))
}
