//! `lifeboat agent`: the engine without a screen, and asking after it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::args::AgentCommand;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::output::{Paint, Render, Text};
use super::reload::{ConfigWatch, Idle};
use crate::api::types::{AgentView, Overview};
use crate::api::{BindError, Server, Socket, VERSION};
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::{Engine, EngineOptions};

/// How long an agent may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How long after its end it may take to be said that an engine was stopped.
const STOP_SAID_WITHIN: Duration = Duration::from_secs(5);

/// Runs a verb of `lifeboat agent`.
pub async fn run(command: Option<AgentCommand>, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        None => serve(ctx, false).await,
        Some(AgentCommand::Run { detached }) => serve(ctx, detached).await,
        Some(AgentCommand::Status) => status(ctx).await,
        Some(AgentCommand::Stop) => stop(ctx).await,
    }
}

/// Runs the engine until a signal or a client ends it, or, when a console started it, until nobody needs it.
async fn serve(ctx: &Ctx, started_on_demand: bool) -> Result<Exit, CliError> {
    let config = ctx.config()?;
    super::logging::begin(config.agent.log_level.word(), ctx.global.verbose);
    let path = ctx.global.socket.as_ref().unwrap_or(&config.agent.socket);
    // The socket comes before the journal: of two agents that start at once, the slower one ends here, having touched nothing.
    let socket = Socket::bind(path).await.map_err(|error| not_bound(&error))?;
    let mut signals = Signals::new()?;
    let engine = start_engine(ctx, &config).await?;
    let server = Server::new(engine.clone(), ctx.clock.clone(), ctx.global.read_only);
    let stopped = server.stopped();
    tracing::info!(socket = %path.display(), version = VERSION, pid = std::process::id(), "the agent is ready");
    let serving = tokio::spawn(async move { server.serve_socket(socket).await });
    let mut watch = ConfigWatch::new(&config, ctx.clock.clone());
    let idle_exit = config.agent.idle_exit.filter(|_| started_on_demand);
    let mut idle = Idle::new(idle_exit, engine.overview(), ctx.clock.clone());
    let mut pictures = engine.overview();
    let reason = loop {
        tokio::select! {
            reason = signals.next() => match reason {
                Some(reason) => break Some(reason),
                None => watch.reload(&engine),
            },
            () = watch.changed() => watch.reload(&engine),
            () = idle.long_enough() => break Some("idle"),
            () = stopped.cancelled() => break None,
            () = died(&mut pictures, &stopped, &ctx.clock) => return Err(lost()),
        }
    };
    if let Some(reason) = reason {
        tracing::info!(reason, "the agent ends");
        // It can only fail by having stopped already, which is what is wanted.
        let _ = engine.stop(reason).await;
        stopped.cancel();
    }
    let _ = serving.await;
    Ok(Exit::Done)
}

/// Waits until the engine is gone though nobody stopped it. Better no agent than one that answers and does nothing: whoever
/// started it starts another, which goes on where this one was.
async fn died(pictures: &mut watch::Receiver<Arc<Overview>>, stopped: &CancellationToken, clock: &Clock) {
    while pictures.changed().await.is_ok() {}
    // One that was stopped ends a moment before this is said.
    tokio::select! {
        () = stopped.cancelled() => std::future::pending().await,
        () = clock.sleep(STOP_SAID_WITHIN) => {}
    }
}

fn lost() -> CliError {
    let hint = "start it again; it goes on where it was. Its last words are in its log";
    CliError::failed("the engine has ended by a fault of its own").hint(hint)
}

/// Starts an engine on a configuration.
pub(super) async fn start_engine(ctx: &Ctx, config: &Config) -> Result<Engine, CliError> {
    let options = EngineOptions {
        definitions: config.definitions.clone(),
        config_path: Some(config.path.clone()),
        journal: config.agent.journal.clone(),
        state_dir: config.agent.state_dir.clone(),
        clock: ctx.clock.clone(),
        host: super::context::host_name(),
        hands: None,
        practice: None,
    };
    let state_dir = &config.agent.state_dir;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
    made.map_err(|error| {
        CliError::failed(format!("the state directory {} cannot be made", state_dir.display()))
            .why(error)
            .hint("check its owner, or choose another with agent.state_dir")
    })?;
    Engine::start(options).await.map_err(|error| {
        let hint = error.hint().map(str::to_owned);
        CliError::failed("the engine could not be started")
            .why(error)
            .maybe_hint(hint)
    })
}

fn not_bound(error: &BindError) -> CliError {
    let told = match error {
        BindError::InUse(_) => CliError::refused("the agent was not started"),
        _ => CliError::failed("the agent could not be started"),
    };
    told.why(error).hint(error.hint())
}

/// The signals that mean something to an agent.
struct Signals {
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, CliError> {
        let failed = |error| CliError::failed("signals cannot be handled").why(error);
        Ok(Self {
            hangup: signal(SignalKind::hangup()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// Waits for a signal: why to end, or none to read the configuration again. A terminal that goes away ends nothing.
    async fn next(&mut self) -> Option<&'static str> {
        tokio::select! {
            _ = self.hangup.recv() => None,
            _ = self.interrupt.recv() => Some("SIGINT"),
            _ = self.terminate.recv() => Some("SIGTERM"),
        }
    }
}

/// Whether an agent answers.
#[derive(Debug, Serialize)]
struct AgentStatus {
    running: bool,
    socket: std::path::PathBuf,
    agent: Option<AgentView>,
    problem: Option<String>,
}

impl Render for AgentStatus {
    fn text(&self, out: &mut Text) {
        let socket = self.socket.display();
        match (&self.agent, &self.problem) {
            (Some(agent), _) => {
                let up = out.style.ago(Some(agent.started_at));
                out.painted(Paint::Good, format!("agent {} answers on {socket}", agent.version));
                out.line(format!(
                    "pid {} on {}, started {up}, {} attached",
                    agent.pid, agent.host, agent.clients
                ));
                out.maybe("configuration", agent.config_path.as_deref());
                if agent.version != VERSION {
                    out.painted(
                        Paint::Warn,
                        format!("this program is {VERSION}: restart the agent with lifeboat agent stop"),
                    );
                }
            }
            (None, Some(problem)) => out.painted(Paint::Bad, problem),
            (None, None) => out.line(format!("no agent answers on {socket}")),
        }
    }
}

async fn status(ctx: &Ctx) -> Result<Exit, CliError> {
    let client = ctx.client_of_running()?;
    let socket = ctx.socket()?;
    let (agent, problem) = match client.overview().await {
        Ok(overview) => (Some(overview.agent), None),
        Err(error) => (None, Some(error.message)),
    };
    let running = agent.is_some();
    ctx.print(&AgentStatus {
        running,
        socket,
        agent,
        problem,
    })?;
    Ok(if running { Exit::Done } else { Exit::Failed })
}

/// What `agent stop` did.
#[derive(Debug, Serialize)]
struct Stopped {
    message: String,
}

impl Render for Stopped {
    fn text(&self, out: &mut Text) {
        out.line(&self.message);
    }
}

async fn stop(ctx: &Ctx) -> Result<Exit, CliError> {
    let client = ctx.client_of_running()?;
    let socket = ctx.socket()?;
    client
        .stop()
        .await
        .map_err(|error| CliError::from_client("the agent was not stopped", error))?;
    let begun = ctx.clock.monotonic();
    while super::launch::answers(&socket) {
        if ctx.clock.elapsed(begun) > STOP_PATIENCE {
            return Err(CliError::failed("the agent was asked to stop, but still answers")
                .hint("look at it with: lifeboat agent status"));
        }
        ctx.clock.sleep(Duration::from_millis(25)).await;
    }
    ctx.print(&Stopped {
        message: "the agent has ended".to_owned(),
    })?;
    Ok(Exit::Done)
}
