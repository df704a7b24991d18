//! Building the world and taking it down.

mod apart;

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::bucket::Bucket;
use super::dir::{SandboxDir, make_private, reap_killed};
use super::incidents::{Incidents, Offer};
use super::keeper::Keeper;
use super::orders::{Customers, Service};
use super::pair::Pair;
use super::score::Scores;
use super::server::ServerError;
use super::settings::FAR;
use super::{DemoOptions, SandboxError, documents, member, reload, settings, shop};
use crate::api::{Client, Pipe, Server, Socket, pipe};
use crate::clock::Clock;
use crate::config;
use crate::domain::command::{Actor, Command};
use crate::engine::hands::Practice;
use crate::engine::{Engine, EngineOptions};
use crate::repo::Repository;
use crate::source::postgres::Login;
use crate::store::{self, Access};
pub use apart::Apart;

/// A running sandbox: server, data, engine, a way to talk to it. Dropped means gone.
pub struct World {
    client: Client,
    pipe: Pipe,
    engine: Engine,
    apart: Option<apart::Minded>,
    socket: PathBuf,
    answering: CancellationToken,
    customers: Option<Customers>,
    service: Option<Service>,
    _listening: Option<AbortOnDropHandle<()>>,
    _watching: AbortOnDropHandle<()>,
    keeping: Option<AbortOnDropHandle<()>>,
    pair: Option<Arc<Pair>>,
    _bucket: Bucket,
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
        let (pair, no_server) = start_servers(dir.path(), clock).await?;
        match (&pair, &no_server) {
            (Some(pair), _) => tell(&format!(
                "server      PostgreSQL {} on a private socket, process {}; a standby is made of it",
                pair.major, pair.pid
            )),
            (None, why) => tell(&format!("server      none: {}", why.as_deref().unwrap_or(""))),
        }
        let bucket = Bucket::start(&settings::far_objects(dir.path()), clock).await?;
        tell(&format!(
            "bucket      S3 on {}, the loopback address: the far region's",
            bucket.address()
        ));
        tokio::try_join!(
            fill(dir.path(), pair.as_ref(), clock),
            make_repositories(dir.path(), &bucket, clock)
        )?;
        let config_path = dir.path().join("lifeboat.toml");
        let bin_dir = pair.as_ref().map(|pair| pair.bin_dir.as_path());
        write_private(&config_path, &settings::configuration(dir.path(), &bucket, bin_dir))?;
        let login = pair.as_ref().map(Pair::shop_login);
        let incidents = Incidents {
            login: login.clone(),
            sandbox: dir.path().to_owned(),
            ways: pair.as_ref().map(Pair::switches),
            scores: Scores::default(),
            clock: clock.clone(),
        };
        let (engine, socket) = start_engine(&config_path, &incidents, clock).await?;
        let (client, pipe, answering) = serve(&engine, &socket, clock).await?;
        let agent_socket = socket;
        let service = login.map(|login| Service::new(login, clock.clone()));
        let socket = dir.path().join("orders.sock");
        let listening = service.as_ref().map(|service| service.listen(&socket)).transpose()?;
        let watching = reload::watch(config_path, engine.clone(), clock.clone());
        let customers = service.clone().map(Customers::start);
        Ok(Self {
            client,
            pipe,
            engine,
            apart: None,
            socket: agent_socket,
            answering,
            customers,
            service,
            _listening: listening,
            _watching: watching,
            keeping: None,
            pair: pair.map(Arc::new),
            _bucket: bucket,
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
        // Those of this region first: they are what somebody will restore from.
        let (far, near): (Vec<_>, Vec<_>) = picture
            .jobs
            .into_iter()
            .partition(|job| job.name.as_str().ends_with(FAR));
        for job in near.into_iter().chain(far) {
            // Refused when its schedule was faster, which is just as well.
            let _ = self.client.command(Command::RunJob { job: job.name }).await;
        }
    }

    /// Keeps the score of what is broken and cured from here on.
    pub fn keep_score(&mut self) {
        let keeper = Keeper {
            scores: self.incidents.scores.clone(),
            client: self.client.clone(),
            sandbox: self.dir.path().to_owned(),
            documents: self.documents(),
            login: self.login(),
            service: self.service.clone(),
            ways: self.incidents.ways.clone(),
            clock: self.clock.clone(),
        };
        self.keeping = Some(keeper.start());
    }

    /// Breaks something, or mends it, whoever the agent is.
    pub(super) async fn practise(&self, incident: &str) -> Result<String, SandboxError> {
        let said = self.incidents.act(incident.to_owned()).await;
        said.map_err(|failure| SandboxError::Engine {
            message: failure.message,
            hint: failure.hint,
        })
    }

    /// What practice came to so far, a line an incident.
    pub fn scores(&self) -> Vec<String> {
        self.incidents.scores.all()
    }

    /// What can be broken here, for the palette.
    pub fn incidents(&self) -> Vec<Offer> {
        self.incidents.offers()
    }

    /// A client of its engine for somebody: some steps take two people.
    pub(super) fn client_of(&self, name: &str) -> Client {
        let actor = Actor {
            name: name.to_owned(),
            ..self.client.actor().clone()
        };
        if self.is_apart() {
            return Client::connect(&self.socket, actor);
        }
        Client::in_memory(self.pipe.clone(), actor)
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
        self.incidents.documents()
    }

    /// Who we are on the server that is the shop's now.
    pub(super) fn login(&self) -> Option<Login> {
        self.incidents.login.clone()
    }

    /// Who we are on each server of the shop's cluster, by its own socket.
    pub(super) fn members(&self) -> Vec<(&'static str, Login)> {
        self.pair.as_ref().map_or_else(Vec::new, |pair| pair.members())
    }

    /// The service that takes orders, when there is a server to write them to.
    pub(super) fn service(&self) -> Option<&Service> {
        self.service.as_ref()
    }

    /// Time.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Lets no customer in any more, or lets them in again.
    pub(super) fn open_shop(&mut self, open: bool) {
        self.customers = self.service.clone().filter(|_| open).map(Customers::start);
    }

    /// Takes it down in good order; the files stay when that was asked for.
    pub async fn close(mut self) {
        self.keeping = None;
        self.customers = None;
        self.apart = None;
        // It can only fail by having stopped already.
        let _ = self.engine.stop("the sandbox is taken down").await;
        self.answering.cancel();
        if let Some(pair) = self.pair.take() {
            let clock = self.clock.clone();
            // It only panics when it does, and then the directory's removal ends them.
            let _ = tokio::task::spawn_blocking(move || pair.stop(&clock)).await;
        }
    }
}

async fn start_servers(dir: &Path, clock: &Clock) -> Result<(Option<Pair>, Option<String>), SandboxError> {
    // The servers run as another user when we are root, and must be able to reach their data.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    fs::set_permissions(dir, open).map_err(|error| SandboxError::local("open", dir, error))?;
    match Pair::start(dir, clock).await {
        Ok(pair) => {
            let route = dir.join("route");
            write(&route, 0o755, &member::route_script(dir))?;
            Ok((Some(pair), None))
        }
        Err(SandboxError::Server(error @ (ServerError::NotInstalled { .. } | ServerError::NoUser))) => Ok((
            None,
            Some(format!("{error}. To play the other half too, {}", error.hint())),
        )),
        Err(error) => Err(error),
    }
}

/// Makes the data, and beside it the standby, which then has the shop filled in it as it is filled in the primary.
async fn fill(dir: &Path, pair: Option<&Pair>, clock: &Clock) -> Result<(), SandboxError> {
    let documents = dir.join("documents");
    let root = documents.clone();
    let stop = CancellationToken::new();
    // Dropped with this future: a thread that still wrote would outlive the directory's removal.
    let _stops = stop.clone().drop_guard();
    let writing =
        tokio::task::spawn_blocking(move || make_private(&root).and_then(|()| documents::create(&root, &stop)));
    if let Some(pair) = pair {
        let login = pair.shop_login();
        let shop = async { shop::create(&login, clock).await.map_err(SandboxError::from) };
        tokio::try_join!(shop, pair.follow(clock))?;
    }
    writing
        .await
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(|error| SandboxError::local("write", &documents, error))
}

/// Makes the repositories of both regions; one password opens both.
async fn make_repositories(dir: &Path, bucket: &Bucket, clock: &Clock) -> Result<(), SandboxError> {
    let password = new_password();
    write_private(&dir.join("password"), password.expose_secret())?;
    write_private(&settings::far_secret(dir), bucket.key().secret.expose_secret())?;
    let near = settings::near_repository(dir).display().to_string();
    let far = Access {
        key: Some(bucket.key().clone()),
        clock: clock.clone(),
        ..Access::default()
    };
    for (url, access) in [(near, Access::default()), (bucket.url(settings::FAR_PREFIX), far)] {
        let store = store::open_with(&url, access).map_err(crate::repo::RepoError::from)?;
        drop(Repository::init(store, &password, clock.clone()).await?);
    }
    Ok(())
}

/// Starts the engine; also says where its agent would listen.
async fn start_engine(
    config_path: &Path,
    incidents: &Incidents,
    clock: &Clock,
) -> Result<(Engine, PathBuf), SandboxError> {
    let config = config::load(Some(config_path)).map_err(|error| SandboxError::Engine {
        message: format!("the sandbox's configuration is wrong: {error}"),
        hint: error.hint(),
    })?;
    let state_dir = config.agent.state_dir;
    make_private(&state_dir).map_err(|error| SandboxError::local("create", &state_dir, error))?;
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
    Ok((Engine::start(options).await?, config.agent.socket))
}

/// The console and the drill talk to the engine as they would to an agent, through an in-memory pipe; the commands that are
/// steps of a runbook, and whoever points the command line at the sandbox, through a socket in its directory.
async fn serve(
    engine: &Engine,
    socket: &Path,
    clock: &Clock,
) -> Result<(Client, Pipe, CancellationToken), SandboxError> {
    let (pipe, listener) = pipe();
    let server = Arc::new(Server::new(engine.clone(), clock.clone(), false));
    let answering = server.stopped();
    let socket = Socket::bind(socket).await.map_err(|error| SandboxError::Engine {
        hint: Some(error.hint().to_owned()),
        message: error.to_string(),
    })?;
    let listening = server.clone();
    tokio::spawn(async move { listening.serve_socket(socket).await });
    tokio::spawn(async move { server.serve_pipe(listener).await });
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let actor = Actor {
        name: user.map_or_else(|| "operator".to_owned(), |user| user.name),
        host: host_name(),
        via: "demo".to_owned(),
    };
    Ok((Client::in_memory(pipe.clone(), actor), pipe, answering))
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
    write(path, 0o600, text)
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), SandboxError> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| writeln!(file, "{text}"))
        .map_err(|error| SandboxError::local("write", path, error))
}
