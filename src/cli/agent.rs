//! `lifeboat agent`: the engine without a screen, and asking after it.

use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::args::AgentCommand;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::output::{Paint, Render, Text};
use super::settings::Settings;
use crate::api::types::AgentView;
use crate::api::{BindError, Server, Socket, VERSION};
use crate::engine::{Engine, EngineOptions};

/// How often the configuration is looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);
/// How long an agent may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Runs a verb of `lifeboat agent`.
pub async fn run(command: Option<AgentCommand>, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        None | Some(AgentCommand::Run { .. }) => serve(ctx).await,
        Some(AgentCommand::Status) => status(ctx).await,
        Some(AgentCommand::Stop) => stop(ctx).await,
    }
}

/// Runs the engine until a signal or a client ends it.
async fn serve(ctx: &Ctx) -> Result<Exit, CliError> {
    let settings = ctx.settings()?;
    let path = ctx.global.socket.clone().unwrap_or_else(|| settings.socket.clone());
    // The socket comes before the journal: of two agents that start at once, the slower one ends here, having touched nothing.
    let socket = Socket::bind(&path).await.map_err(|error| not_bound(&error))?;
    let mut signals = Signals::new()?;
    let engine = start_engine(ctx, &settings).await?;
    let server = Server::new(engine.clone(), ctx.clock.clone(), ctx.global.read_only);
    let stopped = server.stopped();
    tracing::info!(socket = %path.display(), version = VERSION, "the agent is ready");
    let serving = tokio::spawn(async move { server.serve_socket(socket).await });
    let mut watch = ConfigWatch::new(&settings);
    let reason = loop {
        tokio::select! {
            reason = signals.next() => match reason {
                Some(reason) => break Some(reason),
                None => watch.reload(&engine),
            },
            () = ctx.clock.sleep(RELOAD_INTERVAL) => watch.look(&engine),
            () = stopped.cancelled() => break None,
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

/// Starts an engine on a configuration.
pub(super) async fn start_engine(ctx: &Ctx, settings: &Settings) -> Result<Engine, CliError> {
    let options = EngineOptions {
        definitions: settings.definitions.clone(),
        config_path: Some(settings.path.clone()),
        journal: settings.journal.clone(),
        state_dir: settings.state_dir.clone(),
        clock: ctx.clock.clone(),
        host: super::context::host_name(),
        hands: None,
        practice: None,
    };
    let failed = |why: String, hint: Option<&str>| {
        CliError::failed("the engine could not be started")
            .why(why)
            .maybe_hint(hint)
    };
    settings
        .prepare_state_dir()
        .map_err(|error| failed(error.what, error.hint.as_deref()))?;
    let engine = Engine::start(options).await;
    engine.map_err(|error| failed(error.to_string(), error.hint()))
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

/// Notices that the configuration has changed.
struct ConfigWatch {
    path: std::path::PathBuf,
    seen: u64,
}

impl ConfigWatch {
    fn new(settings: &Settings) -> Self {
        Self {
            path: settings.path.clone(),
            seen: super::settings::fingerprint(&settings.path),
        }
    }

    fn look(&mut self, engine: &Engine) {
        if super::settings::fingerprint(&self.path) != self.seen {
            self.reload(engine);
        }
    }

    fn reload(&mut self, engine: &Engine) {
        // Taken before it is read: a change in between is seen as one more.
        self.seen = super::settings::fingerprint(&self.path);
        let loaded = Settings::load(Some(&self.path));
        match &loaded {
            Ok(_) => tracing::info!(config = %self.path.display(), "the configuration was read again"),
            Err(error) => tracing::error!(
                error = error.what,
                why = error.why,
                "the configuration cannot be read; the one before stays"
            ),
        }
        engine.reload(
            loaded
                .map(|settings| settings.definitions)
                .map_err(|error| match error.why {
                    Some(why) => format!("{}: {why}", error.what),
                    None => error.what,
                }),
        );
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
