//! Building the world and taking it down.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use super::dir::{SandboxDir, reap_killed};
use super::incidents::Incidents;
use super::log::LogStream;
use super::server::{PostgresServer, ServerError, ServerOptions};
use super::shop::{self, Customers};
use super::{DemoOptions, SandboxError, documents, settings};
use crate::api::{Client, Server, pipe};
use crate::clock::Clock;
use crate::config;
use crate::domain::command::{Actor, Command};
use crate::engine::{Engine, EngineOptions};
use crate::repo::Repository;
use crate::source::postgres::Login;
use crate::store;

/// A running sandbox: server, data, engine, a way to talk to it. Dropped means gone.
pub struct World {
    client: Client,
    engine: Engine,
    answering: CancellationToken,
    customers: Option<Customers>,
    log: Option<LogStream>,
    server: Option<PostgresServer>,
    no_server: Option<String>,
    incidents: Incidents,
    clock: Clock,
    // Last, so that it is removed when everything that writes in it is gone.
    dir: SandboxDir,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl World {
    /// Builds everything; `tell` hears what is being done.
    pub async fn build(
        options: &DemoOptions,
        clock: &Clock,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, SandboxError> {
        for path in reap_killed(clock) {
            tell(&format!("removed {}, left by a demo that was killed", path.display()));
        }
        let dir = SandboxDir::take(options, clock)?;
        tell(&format!("sandbox     {}", dir.path().display()));
        let (server, no_server) = start_server(dir.path(), clock).await?;
        match (&server, &no_server) {
            (Some(server), _) => tell(&format!(
                "server      PostgreSQL {} on a private socket, process {}",
                server.major,
                server.pid().unwrap_or(0)
            )),
            (None, why) => tell(&format!("server      none: {}", why.as_deref().unwrap_or(""))),
        }
        let login = server.as_ref().map(PostgresServer::login);
        let documents = dir.path().join("documents");
        fill(&documents, login.as_ref(), clock).await?;
        let config_path = dir.path().join("lifeboat.toml");
        write_private(&config_path, &settings::configuration(dir.path(), login.as_ref()))?;
        let password = new_password();
        write_private(&dir.path().join("password"), password.expose_secret())?;
        let url = dir.path().join("repository").display().to_string();
        let store = store::open(&url).map_err(crate::repo::RepoError::from)?;
        let repo = Repository::init(store, &password, clock.clone()).await?;
        let incidents = Incidents {
            login: login.clone(),
            documents,
            clock: clock.clone(),
        };
        let engine = start_engine(&config_path, &incidents, clock).await?;
        let (client, answering) = serve(&engine, clock);
        let log = login
            .clone()
            .map(|login| LogStream::start(dir.path(), login, repo, clock.clone()));
        let customers = login.map(|login| Customers::start(login, clock.clone()));
        Ok(Self {
            client,
            engine,
            answering,
            customers,
            log,
            server,
            no_server,
            incidents,
            clock: clock.clone(),
            dir,
        })
    }

    /// A client of its engine.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Has every job run once now, so that whoever opens the console has something to restore within seconds.
    pub async fn first_backups(&self) {
        let Ok(picture) = self.client.overview().await else {
            return;
        };
        for job in picture.jobs {
            // Refused when its schedule was faster, which is just as well.
            let _ = self.client.command(Command::RunJob { job: job.name }).await;
        }
    }

    /// What can be broken here, for the palette.
    pub fn incidents(&self) -> Vec<String> {
        self.incidents.names()
    }

    /// Its directory; `lifeboat.toml` is in it.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Why there is no database server in it, and how to have one.
    pub fn no_server(&self) -> Option<&str> {
        self.no_server.as_deref()
    }

    /// Where the documents are.
    pub(super) fn documents(&self) -> PathBuf {
        self.incidents.documents.clone()
    }

    /// Who we are on its server.
    pub(super) fn login(&self) -> Option<Login> {
        self.incidents.login.clone()
    }

    /// The log of its server, on its way into the repository.
    pub(super) fn log(&self) -> Option<&LogStream> {
        self.log.as_ref()
    }

    /// Time.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Lets no customer in any more, or lets them in again.
    pub(super) fn open_shop(&mut self, open: bool) {
        self.customers = match (open, self.login()) {
            (true, Some(login)) => Some(Customers::start(login, self.clock.clone())),
            _ => None,
        };
    }

    /// Takes it down in good order; the files stay when that was asked for.
    pub async fn close(mut self) {
        self.customers = None;
        if let Some(log) = self.log.take() {
            log.stop().await;
        }
        // It can only fail by having stopped already.
        let _ = self.engine.stop("the sandbox is taken down").await;
        self.answering.cancel();
        if let Some(server) = &mut self.server {
            server.stop();
        }
    }
}

async fn start_server(dir: &Path, clock: &Clock) -> Result<(Option<PostgresServer>, Option<String>), SandboxError> {
    let place = dir.join("server");
    fs::create_dir_all(&place).map_err(|error| SandboxError::local("create", &place, error))?;
    // The server runs as another user when we are root, and must be able to reach its data.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    fs::set_permissions(dir, open).map_err(|error| SandboxError::local("open", dir, error))?;
    match PostgresServer::start(&place, ServerOptions::default(), clock).await {
        Ok(server) => Ok((Some(server), None)),
        Err(error @ (ServerError::NotInstalled { .. } | ServerError::NoUser)) => Ok((
            None,
            Some(format!("{error}. To play the other half too, {}", error.hint())),
        )),
        Err(error) => Err(error.into()),
    }
}

async fn fill(documents: &Path, login: Option<&Login>, clock: &Clock) -> Result<(), SandboxError> {
    let root = documents.to_owned();
    let stop = CancellationToken::new();
    // Dropped with this future: a thread that still wrote would outlive the directory's removal.
    let _stops = stop.clone().drop_guard();
    let writing = tokio::task::spawn_blocking(move || documents::create(&root, &stop));
    if let Some(login) = login {
        shop::create(login, clock).await?;
    }
    writing
        .await
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(|error| SandboxError::local("write", documents, error))
}

async fn start_engine(config_path: &Path, incidents: &Incidents, clock: &Clock) -> Result<Engine, SandboxError> {
    let config = config::load(Some(config_path)).map_err(|error| SandboxError::Engine {
        message: format!("the sandbox's configuration is wrong: {error}"),
        hint: error.hint(),
    })?;
    let state_dir = config.agent.state_dir;
    fs::create_dir_all(&state_dir).map_err(|error| SandboxError::local("create", &state_dir, error))?;
    let options = EngineOptions {
        definitions: config.definitions,
        config_path: Some(config.path),
        journal: config.agent.journal,
        state_dir,
        clock: clock.clone(),
        host: host_name(),
        hands: None,
        practice: Some(Arc::new(incidents.clone())),
    };
    Ok(Engine::start(options).await?)
}

/// The console and the drill talk to the engine as they would to an agent, through an in-memory pipe.
fn serve(engine: &Engine, clock: &Clock) -> (Client, CancellationToken) {
    let (pipe, listener) = pipe();
    let server = Server::new(engine.clone(), clock.clone(), false);
    let answering = server.stopped();
    tokio::spawn(async move { server.serve_pipe(listener).await });
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let actor = Actor {
        name: user.map_or_else(|| "operator".to_owned(), |user| user.name),
        host: host_name(),
        via: "demo".to_owned(),
    };
    (Client::in_memory(pipe, actor), answering)
}

fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".to_owned())
}

fn new_password() -> SecretString {
    let mut bytes = [0; 16];
    // The kernel's generator does not fail once the system is up, and nothing in the sandbox is worth guessing it.
    let _ = getrandom::fill(&mut bytes);
    SecretString::from(hex::encode(bytes))
}

fn write_private(path: &Path, text: &str) -> Result<(), SandboxError> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{text}"))
        .map_err(|error| SandboxError::local("write", path, error))
}
