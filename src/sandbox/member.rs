//! The two servers of the shop's cluster as places: where each lives, how it is reached, how it is started and stopped.
//!
//! Everything follows from the sandbox's directory, so that whoever finds one that was left knows where to look.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::SandboxError;
use super::server::{SUPERUSER, ServerOptions};
use crate::domain::source::{PostgresConnection, TlsMode};
use crate::repo::Id;
use crate::source::postgres::server::{PORT, log_path, sockets};
use crate::source::quote;

/// What the name of the shop's database is, in the directory of the network.
const SHOP: &str = "shop";
/// Longer paths are left to others: a socket's has a hundred bytes and a few.
const LONGEST: usize = 100;
/// Where a server of the cluster lives.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its name in the cluster, which is that of its slot, too.
    pub(super) name: &'static str,
    /// Where its data, socket and log are.
    pub(super) home: PathBuf,
    /// The directory of the socket that others reach it by.
    pub(super) way: PathBuf,
}

/// The servers of a sandbox: the first primary, and the first standby.
pub(super) fn members(sandbox: &Path) -> [Member; 2] {
    [("db1", "server"), ("db2", "standby")].map(|(name, home)| Member {
        name,
        home: sandbox.join(home),
        way: network(sandbox).join(name),
    })
}

/// The directory of the sandbox's network.
pub(super) fn network(sandbox: &Path) -> PathBuf {
    let near = sandbox.join("net");
    if near.as_os_str().len() + "/shop/.s.PGSQL.5432".len() < LONGEST {
        return near;
    }
    let name = Id::of(sandbox.as_os_str().as_encoded_bytes()).short();
    std::env::temp_dir().join(format!("lifeboat-net-{name}"))
}

/// What the shop connects to: the name that means one server or the other.
pub(super) fn shop_name(sandbox: &Path) -> PathBuf {
    network(sandbox).join(SHOP)
}

/// The command that has the shop's name mean another server, as a step of a switchover: atomic, for whoever looks it up.
pub(super) fn route_script(sandbox: &Path) -> String {
    let word = |path: PathBuf| quote(&path.display().to_string());
    let cases = members(sandbox).map(|member| {
        let to = word(member.sockets());
        format!("{}) to={to} ;;\n", member.name)
    });
    let (name, new) = (word(shop_name(sandbox)), word(network(sandbox).join(".new")));
    format!(
        "#!/bin/sh\n# The sandbox's stand-in for DNS: says which server the name of the shop's database means.\nset -eu\n\
         # Whoever says the cluster's name first says the member's last.\nmember=\nfor member; do :; done\n\
         case \"$member\" in\n{}*) echo \"usage: $0 db1|db2\" >&2; exit 2 ;;\nesac\n\
         ln -sfn \"$to\" {new}\nmv -fT {new} {name}\necho \"the shop's database is $member now\"\n",
        cases.concat()
    )
}

impl Member {
    /// Its data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The directory of its own socket.
    pub(super) fn sockets(&self) -> PathBuf {
        sockets(&self.home)
    }

    /// Kills its server, whoever started it, as a loss of power would; its process, when it ran.
    pub(super) fn kill(&self) -> std::io::Result<Option<u32>> {
        let note = match fs::read_to_string(self.data().join("postmaster.pid")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            note => note?,
        };
        let pid = note.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
        // The number may be somebody else's by now: a server works in its data directory.
        let works_here = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|place| place == self.data());
        let Some(pid) = pid.filter(works_here) else {
            return Ok(None);
        };
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        Ok(u32::try_from(pid).ok())
    }

    /// The command that starts or stops its server, as its own user.
    pub(super) fn service(&self, verb: &str, bin_dir: &Path) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        let mut words = Vec::new();
        if let Ok(meta) = fs::metadata(self.data())
            && nix::unistd::geteuid().is_root()
            && meta.uid() != 0
        {
            let (user, group) = (meta.uid(), meta.gid());
            let become_it = [format!("--reuid={user}"), format!("--regid={group}")];
            words.push("setpriv".to_owned());
            words.extend(become_it);
            words.push("--clear-groups".to_owned());
        }
        words.extend([text(bin_dir.join("pg_ctl")), "-D".to_owned(), text(self.data())]);
        words.extend(["-w", "-s", "-m", "fast"].map(str::to_owned));
        if verb == "start" {
            words.extend([
                "-l".to_owned(),
                text(log_path(&self.home)),
                "-o".to_owned(),
                self.options(),
            ]);
        }
        words.push(verb.to_owned());
        words
    }

    /// What is on the command line of its server, as a shell reads it.
    fn options(&self) -> String {
        let always = [
            "listen_addresses=".to_owned(),
            "unix_socket_permissions=0700".to_owned(),
        ];
        let mut words = vec!["-k".to_owned(), quote(&self.sockets().display().to_string())];
        words.extend(["-p".to_owned(), PORT.to_string()]);
        for setting in always.into_iter().chain(options().all_settings()) {
            words.extend(["-c".to_owned(), quote(&setting)]);
        }
        words.join(" ")
    }

    /// Has the name of the shop's database mean this server, from one moment to the next.
    pub(super) fn answer_to_name(&self, sandbox: &Path) -> Result<(), SandboxError> {
        let (name, new) = (shop_name(sandbox), network(sandbox).join(".new"));
        let pointed = symlink(self.sockets(), &new).and_then(|()| fs::rename(&new, &name));
        pointed.map_err(|error| SandboxError::local("point", &name, error))
    }
}

/// How both servers are set up: what was acknowledged survives the end of a server, and `pg_rewind` can make it follow again.
pub(super) fn options() -> ServerOptions {
    let settings = [
        "synchronous_commit=on",
        "full_page_writes=on",
        "wal_log_hints=on",
        "wal_keep_size=256MB",
        "wal_receiver_status_interval=1",
        "wal_retrieve_retry_interval=200",
    ];
    ServerOptions {
        settings: settings.map(str::to_owned).to_vec(),
        ..ServerOptions::default()
    }
}

/// How a server behind a directory is reached.
pub(super) fn connection(host: &Path, bin_dir: &Path) -> PostgresConnection {
    PostgresConnection {
        host: host.display().to_string(),
        port: PORT,
        user: SUPERUSER.to_owned(),
        password: None,
        tls: TlsMode::Disable,
        bin_dir: Some(bin_dir.to_owned()),
    }
}
