//! The shop's cluster: `db1`, made anew, and `db2`, a copy that follows it; and the ways to them.
//!
//! ```text
//!   shop, jobs ──▶ net/shop ──▶ server/s            the name of the shop's database: a link, switched by `route db1|db2`
//!   standby, cluster commands ──▶ net/db1 ──▶ server/s      \\ ways that can be cut, while the servers
//!                             └─▶ net/db2 ──▶ standby/s     / themselves and the shop notice nothing
//! ```
//!
//! The servers are ours to begin with. What is done with them later is done by the commands in the configuration, as on any
//! machine: `cluster rewind --stop` stops a server with `pg_ctl` and starts another on the same data, which is not our child.
//! So the end of each is looked for by its data directory ([`end`]), and a child that has ended is taken note of at once: as
//! long as nobody has, its number is in use and PostgreSQL refuses to start another on the data.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::SandboxError;
use super::member::{Member, connection, members, network, options, shop_name};
use super::relay::Relay;
use super::server::{PostgresServer, ServerError};
use crate::clock::Clock;
use crate::source::postgres::Login;
use crate::source::postgres::server::{PORT, RunAs, end_on, log_path};

/// How often is looked whether a server has ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The running cluster.
#[derive(Debug)]
pub(super) struct Pair {
    servers: Arc<Mutex<Vec<PostgresServer>>>,
    relays: [Relay; 2],
    _noticing: AbortOnDropHandle<()>,
    sandbox: PathBuf,
    /// The first number of the servers' version.
    pub(super) major: u32,
    /// The directory of their programs.
    pub(super) bin_dir: PathBuf,
    /// The process of the first primary.
    pub(super) pid: u32,
}

impl Pair {
    /// Starts the first primary, and opens the ways.
    pub(super) async fn start(sandbox: &Path, clock: &Clock) -> Result<Self, SandboxError> {
        let [first, second] = members(sandbox);
        for home in [&first.home, &second.home, &network(sandbox)] {
            fs::create_dir_all(home).map_err(|error| SandboxError::local("create", home, error))?;
            // The servers run as another user when we are root, and must be able to reach their data and each other.
            let open = fs::Permissions::from_mode(0o711);
            fs::set_permissions(home, open).map_err(|error| SandboxError::local("open", home, error))?;
        }
        let server = PostgresServer::start(&first.home, options(), clock).await?;
        give_log(&first)?;
        // pg_rewind has a server that was killed recover by itself first, which knows the settings in files only; without this
        // one it then refuses.
        let file = first.data().join("postgresql.conf");
        fs::OpenOptions::new()
            .append(true)
            .open(&file)
            .and_then(|mut settings| settings.write_all(b"\nwal_log_hints = on\n"))
            .map_err(|error| SandboxError::local("write", &file, error))?;
        first.answer_to_name(sandbox)?;
        let socket = |member: &Member| member.sockets().join(format!(".s.PGSQL.{PORT}"));
        let relays = [
            Relay::open(&first.way, socket(&first), clock)?,
            Relay::open(&second.way, socket(&second), clock)?,
        ];
        let (major, bin_dir, pid) = (server.major, server.bin_dir.clone(), server.pid().unwrap_or(0));
        let servers = Arc::new(Mutex::new(vec![server]));
        let (clock, noticed) = (clock.clone(), Arc::downgrade(&servers));
        let noticing = tokio::spawn(async move {
            while let Some(servers) = noticed.upgrade() {
                // Whoever has them is about to end them.
                if let Ok(mut servers) = servers.try_lock() {
                    for server in servers.iter_mut() {
                        server.has_ended();
                    }
                }
                drop(servers);
                clock.sleep(LOOK_EVERY).await;
            }
        });
        Ok(Self {
            servers,
            relays,
            _noticing: AbortOnDropHandle::new(noticing),
            sandbox: sandbox.to_owned(),
            major,
            bin_dir,
            pid,
        })
    }

    /// Makes the standby, while whatever else is done with the primary goes on.
    pub(super) async fn follow(&self, clock: &Clock) -> Result<(), SandboxError> {
        let [first, second] = members(&self.sandbox);
        let primary = self.login(&first.way);
        let server = PostgresServer::follow(&second.home, &primary, second.name, &options(), clock).await?;
        give_log(&second)?;
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.push(server);
        Ok(())
    }

    /// Who we are on whatever server is behind a directory.
    fn login(&self, host: &Path) -> Login {
        Login::new(connection(host, &self.bin_dir), None)
    }

    /// Who we are on the server that the name of the shop's database means.
    pub(super) fn shop_login(&self) -> Login {
        self.login(&shop_name(&self.sandbox))
    }

    /// Who we are on each server, by its own socket.
    pub(super) fn members(&self) -> Vec<(&'static str, Login)> {
        let login = |member: &Member| (member.name, self.login(&member.sockets()));
        members(&self.sandbox).iter().map(login).collect()
    }

    /// What cuts the ways to the servers.
    pub(super) fn switches(&self) -> [watch::Sender<bool>; 2] {
        [self.relays[0].switch(), self.relays[1].switch()]
    }

    /// Stops what runs, in good order. Blocks.
    pub(super) fn stop(&self, clock: &Clock) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        // The last first: a primary waits for its standby to have everything.
        while let Some(mut server) = servers.pop() {
            server.stop();
        }
        end(&self.sandbox, clock);
    }
}

/// The log is written by whoever starts the server next, as its user.
fn give_log(member: &Member) -> Result<(), ServerError> {
    match RunAs::server_user()? {
        Some(user) => user.give(&log_path(&member.home)),
        None => Ok(()),
    }
}

/// Ends whatever server runs in a sandbox, whoever started it, and removes what of its network is elsewhere. Blocks.
pub(super) fn end(sandbox: &Path, clock: &Clock) {
    for member in members(sandbox).iter().rev() {
        // One that is somebody else's cannot be in a directory of ours.
        let _ = end_on(&member.data(), &member.home, clock);
    }
    let network = network(sandbox);
    if network.parent() != Some(sandbox) {
        // In most cases there is none.
        let _ = fs::remove_dir_all(network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::hands::Practice;
    use crate::sandbox::incidents::Incidents;
    use crate::sandbox::score::Scores;
    use crate::source::postgres::ask;

    async fn until(what: &str, clock: &Clock, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..600 {
            if holds().await {
                return;
            }
            clock.sleep(Duration::from_millis(50)).await;
        }
        panic!("waited in vain: {what}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_way_is_cut_a_primary_killed_and_started_again_and_a_region_lost() {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = dir.path().canonicalize().unwrap();
        fs::set_permissions(&sandbox, fs::Permissions::from_mode(0o711)).unwrap();
        let clock = Clock::system();
        let pair = Pair::start(&sandbox, &clock).await.expect("apt-get install postgresql");
        pair.follow(&clock).await.unwrap();
        let incidents = Incidents {
            login: Some(pair.shop_login()),
            sandbox: sandbox.clone(),
            ways: Some(pair.switches()),
            scores: Scores::default(),
            clock: clock.clone(),
        };
        let [first, second] = members(&sandbox);
        let says = async |host: &Path, sql: &str| ask(&pair.login(host), "postgres", sql, &clock).await.ok().flatten();
        let streams = "select count(*)::text from pg_stat_wal_receiver where status = 'streaming'";
        let follows = async || says(&second.sockets(), streams).await.as_deref() == Some("1");
        let shop = shop_name(&sandbox);
        until("the standby streams", &clock, follows).await;
        incidents.act("split-network".to_owned()).await.unwrap();
        assert_eq!(says(&first.way, "select 1").await, None, "nobody else gets there");
        assert_eq!(
            says(&shop, "select 1").await.as_deref(),
            Some("1"),
            "the shop notices nothing"
        );
        until("the standby has lost it", &clock, async || !follows().await).await;
        incidents.act("mend-network".to_owned()).await.unwrap();
        until("the standby streams again", &clock, follows).await;

        let said = incidents.act("kill-primary".to_owned()).await.unwrap();
        assert!(said.contains("db1, process"), "{said}");
        assert_eq!(says(&shop, "select 1").await, None);
        // What is left of it ends by itself, and its child is taken note of: only then can it be started again.
        let words = first.service("start", &pair.bin_dir);
        let start = async || {
            let command = tokio::process::Command::new(&words[0])
                .args(&words[1..])
                .current_dir("/")
                .status();
            command.await.unwrap().success()
        };
        until("it is started by its command", &clock, start).await;
        assert_eq!(says(&shop, "select 1").await.as_deref(), Some("1"));

        incidents.act("lose-region".to_owned()).await.unwrap();
        assert_eq!(says(&shop, "select 1").await, None);
        assert!(!first.data().exists());
        assert_eq!(
            says(&second.way, "select 1").await.as_deref(),
            Some("1"),
            "the other region goes on"
        );
        second.answer_to_name(&sandbox).unwrap();
        assert_eq!(
            says(&shop, "select 1").await.as_deref(),
            Some("1"),
            "the name means it from here on"
        );
        let stopping = Arc::new(pair);
        tokio::task::spawn_blocking(move || stopping.stop(&clock))
            .await
            .unwrap();
        assert!(
            !second.data().join("postmaster.pid").exists(),
            "it was stopped in good order"
        );
    }
}
