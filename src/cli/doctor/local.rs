//! What can be seen from this machine without the agent: directories, secrets, sources, servers, schedules.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::output::short;
use super::Finding;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::address::Address;
use crate::domain::job::{Definitions, Job};
use crate::domain::source::{PostgresConnection, SecretRef, SourceKind};
use crate::domain::{Bytes, Millis, Timestamp};

/// How long a server may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// Less free than this, in percent, is worth a word.
const LITTLE_FREE: u64 = 10;
/// Less free than this, in percent, is trouble.
const TOO_LITTLE_FREE: u64 = 3;

/// Looks at files, directories, secrets and definitions.
pub fn look(config: &Config, now: Timestamp, findings: &mut Vec<Finding>) {
    clock(config, now, findings);
    state_directory(&config.agent.state_dir, findings);
    let definitions = &config.definitions;
    for repository in definitions.repositories.values() {
        let what = format!("repository {}", repository.name);
        findings.extend(secret(&format!("{what}: password"), &repository.password));
        if let Some(key) = &repository.access.key {
            findings.extend(secret(&format!("{what}: secret_access_key"), &key.secret));
        }
        if let Ok(Address::Directory(path)) = Address::parse(&repository.url) {
            findings.push(local_repository(&what, Path::new(&path)));
        }
    }
    for source in definitions.sources.values() {
        let what = format!("source {}", source.name);
        match &source.kind {
            SourceKind::Files(files) => findings.extend(files.paths.iter().map(|path| readable(&what, path))),
            SourceKind::PostgresDump(postgres) => {
                if let Some(password) = &postgres.connection.password {
                    findings.extend(secret(&format!("{what}: password"), password));
                }
            }
            SourceKind::PostgresPhysical(cluster) => {
                let standby = cluster.standby.as_ref().and_then(|standby| standby.password.as_ref());
                for password in cluster.connection.password.iter().chain(standby) {
                    findings.extend(secret(&format!("{what}: password"), password));
                }
                findings.extend(cluster.data_directory.iter().map(|path| readable(&what, path)));
            }
        }
        if definitions.jobs_of(&source.name).next().is_none() {
            let remedy = "add a job for it: lifeboat job add";
            findings.push(Finding::warning(what, "no job protects it", remedy));
        }
    }
    findings.extend(
        definitions
            .jobs
            .values()
            .filter_map(|job| schedule(job, definitions, now)),
    );
}

fn clock(config: &Config, now: Timestamp, findings: &mut Vec<Finding>) {
    let last_write = std::fs::metadata(&config.agent.journal).and_then(|metadata| metadata.modified());
    let behind = last_write
        .ok()
        .map(Timestamp::from)
        .filter(|written| *written > now + chrono::Duration::minutes(1));
    findings.push(match behind {
        Some(written) => Finding::problem(
            "clock",
            format!("it shows {now}, but the journal was written at {written}"),
            "set it, or schedules and ages are wrong: timedatectl set-ntp true",
        ),
        None => Finding::ok("clock", now.format("%Y-%m-%d %H:%M:%S UTC").to_string()),
    });
}

fn state_directory(directory: &Path, findings: &mut Vec<Finding>) {
    let what = format!("state directory {}", directory.display());
    let metadata = match std::fs::metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.push(Finding::ok(what, "made by the agent at its first start"));
            return;
        }
        Err(error) => {
            findings.push(Finding::problem(
                what,
                error.to_string(),
                "check its owner, or choose another with agent.state_dir",
            ));
            return;
        }
    };
    if metadata.mode() & 0o077 != 0 {
        let remedy = format!("chmod 700 {}", directory.display());
        findings.push(Finding::warning(what.clone(), "others may look into it", remedy));
    }
    if let Err(error) = nix::unistd::access(directory, nix::unistd::AccessFlags::W_OK) {
        findings.push(Finding::problem(
            what,
            format!("not writable: {error}"),
            "run this as the agent's user, or change its owner",
        ));
        return;
    }
    findings.extend(free_space(&what, directory));
}

fn free_space(what: &str, directory: &Path) -> Option<Finding> {
    let space = nix::sys::statvfs::statvfs(directory).ok()?;
    let block = space.fragment_size();
    let free = space.blocks_available().saturating_mul(block);
    let total = space.blocks().saturating_mul(block);
    let percent = free.saturating_mul(100).checked_div(total)?;
    let detail = format!("{} free, {percent}%", Bytes(free));
    let remedy = "make room: a full disk ends backups and stops the journal";
    Some(match percent {
        0..TOO_LITTLE_FREE => Finding::problem(what, detail, remedy),
        TOO_LITTLE_FREE..LITTLE_FREE => Finding::warning(what, detail, remedy),
        _ => Finding::ok(what, detail),
    })
}

fn local_repository(what: &str, path: &Path) -> Finding {
    let make = format!("make it with: lifeboat repo init --repository {}", path.display());
    match std::fs::metadata(path.join("config")) {
        Ok(_) => free_space(what, path).unwrap_or_else(|| Finding::ok(what, path.display().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::problem(what, format!("there is no repository at {}", path.display()), make)
        }
        Err(error) => Finding::problem(
            what,
            format!("{}: {error}", path.display()),
            "check its owner, or run this as the agent's user",
        ),
    }
}

fn secret(what: &str, secret: &SecretRef) -> Option<Finding> {
    match secret {
        SecretRef::File(path) => Some(match std::fs::metadata(path) {
            Err(error) => Finding::problem(
                what,
                format!("{}: {error}", path.display()),
                "put it there, readable by its owner only",
            ),
            Ok(metadata) if metadata.mode() & 0o077 != 0 => Finding::problem(
                what,
                format!("others may read {}", path.display()),
                format!("chmod 600 {}", path.display()),
            ),
            Ok(_) => Finding::ok(what, format!("in {}", path.display())),
        }),
        SecretRef::Command(words) => {
            let program = words.first().map(String::as_str).unwrap_or_default();
            find_program(program).is_none().then(|| {
                Finding::problem(
                    what,
                    format!("there is no program {program}"),
                    "install it, or name it with its whole path",
                )
            })
        }
        // It is the agent's environment that counts, which cannot be seen from here.
        SecretRef::Env(_) => None,
    }
}

fn readable(what: &str, path: &Path) -> Finding {
    let opened = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::read_dir(path).map(|_| ()),
        Ok(_) => std::fs::File::open(path).map(|_| ()),
        Err(error) => Err(error),
    };
    match opened {
        Ok(()) => Finding::ok(what, format!("{} can be read", path.display())),
        Err(error) => Finding::problem(
            what,
            format!("{}: {error}", path.display()),
            "correct the path, or give the agent's user the right to read it",
        ),
    }
}

/// A schedule that comes round too seldom for what was promised.
fn schedule(job: &Job, definitions: &Definitions, now: Timestamp) -> Option<Finding> {
    let what = format!("job {}", job.name);
    let objective = definitions
        .services_of(&job.source)
        .map(|service| service.objective.rpo)
        .min()?;
    let Some(schedule) = &job.schedule else {
        return Some(Finding::warning(
            what,
            "it has no schedule, but a service relies on it",
            "give it one",
        ));
    };
    let first = schedule.next_after(now)?;
    let interval = Millis::between(first, schedule.next_after(first)?);
    (interval > objective).then(|| {
        let detail = format!(
            "it runs every {}, but only {} may be lost",
            short(interval),
            short(objective)
        );
        Finding::problem(what, detail, "let it run more often, or promise less")
    })
}

/// Looks at the PostgreSQL servers and the programs that talk to them.
pub async fn look_at_servers(config: &Config, clock: &Clock, findings: &mut Vec<Finding>) {
    for source in config.definitions.sources.values() {
        let (servers, program) = match &source.kind {
            SourceKind::Files(_) => continue,
            SourceKind::PostgresDump(postgres) => (vec![&postgres.connection], "pg_dump"),
            SourceKind::PostgresPhysical(cluster) => (
                std::iter::once(&cluster.connection).chain(&cluster.standby).collect(),
                "pg_basebackup",
            ),
        };
        for connection in &servers {
            let what = format!("source {}: server {}", source.name, connection.display());
            findings.push(match reach(connection, clock).await {
                Ok(()) => Finding::ok(what, "accepts connections"),
                Err(error) => Finding::problem(
                    what,
                    error.to_string(),
                    "start the server, or correct the source's host and port",
                ),
            });
        }
        let what = format!("source {}: {program}", source.name);
        let program = match servers.first().and_then(|server| server.bin_dir.as_ref()) {
            Some(directory) => Some(directory.join(program)).filter(|path| path.exists()),
            None => find_program(program),
        };
        findings.push(match program {
            Some(path) => Finding::ok(what, path.display().to_string()),
            None => Finding::problem(
                what,
                "not found",
                "install the client programs (apt-get install postgresql-client), or set bin_dir",
            ),
        });
    }
}

async fn reach(server: &PostgresConnection, clock: &Clock) -> io::Result<()> {
    let connect = async {
        if server.host.starts_with('/') {
            let socket = Path::new(&server.host).join(format!(".s.PGSQL.{}", server.port));
            tokio::net::UnixStream::connect(socket).await.map(|_| ())
        } else {
            let address = (server.host.as_str(), server.port);
            tokio::net::TcpStream::connect(address).await.map(|_| ())
        }
    };
    tokio::select! {
        connected = connect => connected,
        () = clock.sleep(PATIENCE) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s")),
    }
}

/// Finds a program by its name on PATH, where Debian hides PostgreSQL's, or by its path.
fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let hidden = versions.map(|entry| entry.path().join("bin"));
    std::env::split_paths(&path)
        .chain(hidden)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::super::Level;
    use super::*;
    use crate::domain::id::ServiceName;
    use crate::domain::job::Limits;
    use crate::domain::objective::{Objective, Service};
    use crate::domain::schedule::Schedule;

    fn job(cron: &str) -> Job {
        Job {
            name: "orders".into(),
            source: "orders-db".into(),
            repository: "vault".into(),
            schedule: Some(Schedule::parse(cron, "").unwrap()),
            missed: crate::domain::job::MissedPolicy::default(),
            retry: crate::domain::job::RetryPolicy::default(),
            timeout: None,
            verify: crate::domain::job::VerifyPolicy::default(),
            hooks: crate::domain::job::Hooks::default(),
            tags: vec![],
            retention: None,
        }
    }

    #[test]
    fn a_schedule_must_keep_its_promise() {
        let service = Service {
            name: "orders".into(),
            sources: vec!["orders-db".into()],
            objective: Objective {
                rpo: Millis::from_secs(3600),
                rto: Millis::from_secs(3600),
            },
        };
        let definitions = Definitions {
            site: String::new(),
            environment: String::new(),
            repositories: BTreeMap::new(),
            sources: BTreeMap::new(),
            jobs: BTreeMap::new(),
            services: BTreeMap::from([(ServiceName::from("orders"), service)]),
            clusters: BTreeMap::new(),
            drills: BTreeMap::new(),
            runbooks: std::collections::BTreeMap::new(),
            limits: Limits::default(),
        };
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        assert_eq!(schedule(&job("*/15 * * * *"), &definitions, now), None);
        let daily = schedule(&job("0 2 * * *"), &definitions, now).unwrap();
        assert_eq!(daily.level, Level::Problem);
    }

    #[test]
    fn a_password_others_can_read_is_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "x").unwrap();
        for (mode, level) in [(0o600, Level::Ok), (0o640, Level::Problem)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let finding = secret("password", &SecretRef::File(path.clone())).unwrap();
            assert_eq!(finding.level, level, "{mode:o}");
        }
    }
}
