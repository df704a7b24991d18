//! Having a member follow the primary: its own settings, `standby.signal`, where to stream from, and a look whether it does.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ClusterError, ClusterHandle, Tell, command, look};
use crate::domain::cluster::{Answer, Member, RebuildPlan, Receiver, Role};
use crate::domain::id::MemberName;
use crate::source::postgres::Login;
use crate::source::postgres::child::{escaped, in_quotes, ssl_authorities, ssl_mode};

/// The settings that are a member's own, whatever it was copied from.
const OWN_FILES: [&str; 4] = [
    "postgresql.conf",
    "pg_hba.conf",
    "pg_ident.conf",
    "postgresql.auto.conf",
];
/// Settings are small; what is larger than this is something else.
const MOST: u64 = 4 << 20;
/// How long a slot may be in use by somebody who is gone.
const SLOT_PATIENCE: Duration = Duration::from_secs(30);
pub(super) const AUTO: &str = "postgresql.auto.conf";
const PASS_FILE: &str = "lifeboat.pgpass";
/// What we set, and what a fence of the old primary has left.
const REPLACED: [&str; 4] = [
    "primary_conninfo",
    "primary_slot_name",
    "lifeboat.fence",
    "default_transaction_read_only",
];

/// What is added to the name of a directory for the settings that are kept while it is rewound.
const KEPT: &str = ".lifeboat-own";

/// The settings of a member, kept while its directory is overwritten.
#[derive(Debug, Clone)]
pub(super) struct OwnSettings(Vec<(&'static str, Vec<u8>)>);

impl OwnSettings {
    /// Those of a directory that has none.
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    /// Reads them; files that are not there are not the member's own.
    pub(super) fn read(directory: &Path) -> Result<Self, ClusterError> {
        let mut kept = Vec::new();
        for name in OWN_FILES {
            let path = directory.join(name);
            match fs::metadata(&path).map(|meta| meta.len()) {
                Ok(length) if length <= MOST => {
                    let bytes = fs::read(&path).map_err(|error| ClusterError::local("read", &path, &error))?;
                    kept.push((name, bytes));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(ClusterError::local("read", &path, &error)),
            }
        }
        Ok(Self(kept))
    }

    /// Those that were put aside before a rewind that did not end: what is in the directory now may be the primary's.
    pub(super) fn kept(directory: &Path) -> Result<Option<Self>, ClusterError> {
        let kept = beside(directory, KEPT);
        let there = kept
            .try_exists()
            .map_err(|error| ClusterError::local("read", &kept, &error))?;
        there.then(|| Self::read(&kept)).transpose()
    }

    /// Puts them aside, whole or not at all.
    pub(super) fn keep(&self, directory: &Path) -> Result<(), ClusterError> {
        let (kept, part) = (beside(directory, KEPT), beside(directory, ".lifeboat-own-new"));
        let failed = |error: std::io::Error| ClusterError::local("write", &part, &error);
        remove(&part)?;
        fs::DirBuilder::new().mode(0o700).create(&part).map_err(failed)?;
        self.write(&part, None)?;
        remove(&kept)?;
        fs::rename(&part, &kept).map_err(failed)?;
        let parent = directory.parent().unwrap_or(Path::new("/"));
        fs::File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(failed)
    }

    /// Removes what was put aside.
    pub(super) fn forget(directory: &Path) -> Result<(), ClusterError> {
        remove(&beside(directory, KEPT))
    }

    fn write(&self, directory: &Path, owner: Option<(u32, u32)>) -> Result<(), ClusterError> {
        for (name, bytes) in &self.0 {
            put(&directory.join(name), bytes, owner)?;
        }
        Ok(())
    }
}

/// A directory with a longer name beside another.
pub(super) fn beside(directory: &Path, word: &str) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(word);
    PathBuf::from(name)
}

/// Removes a directory with what is in it, when it is there.
pub(super) fn remove(directory: &Path) -> Result<(), ClusterError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(ClusterError::local("remove", directory, &error)),
        _ => Ok(()),
    }
}

/// Replaces a file whole and durably.
pub(super) fn put(path: &Path, bytes: &[u8], owner: Option<(u32, u32)>) -> Result<(), ClusterError> {
    let failed = |error: std::io::Error| ClusterError::local("write", path, &error);
    let mut temp = path.as_os_str().to_owned();
    temp.push(".lifeboat");
    let temp = Path::new(&temp);
    let mut options = fs::OpenOptions::new();
    let opened = options.create(true).truncate(true).write(true).mode(0o600).open(temp);
    let mut file = opened.map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    if let Some((user, group)) = owner {
        std::os::unix::fs::chown(temp, Some(user), Some(group)).map_err(failed)?;
    }
    fs::rename(temp, path).map_err(failed)
}

/// Where a standby streams from, without a password.
fn conninfo(member: &Member, primary: &Login, pass_file: Option<&Path>) -> String {
    let connection = &primary.connection;
    let mut words = vec![
        format!("host={}", in_quotes(&connection.host)),
        format!("port={}", connection.port),
        format!("user={}", in_quotes(&connection.user)),
        format!("application_name={}", in_quotes(member.name.as_str())),
        format!("sslmode={}", ssl_mode(primary)),
        format!(
            "sslrootcert={}",
            in_quotes(&ssl_authorities(primary).display().to_string())
        ),
    ];
    words.extend(pass_file.map(|path| format!("passfile={}", in_quotes(&path.display().to_string()))));
    words.join(" ")
}

/// The settings of `ALTER SYSTEM` as a standby needs them: what was there, without what is replaced, and ours.
fn auto_conf(before: &str, conninfo: &str, slot: Option<&str>) -> String {
    let replaced = |line: &str| {
        let name = line.split(['=', ' ', '\t']).next().unwrap_or_default();
        REPLACED.iter().any(|one| name.eq_ignore_ascii_case(one))
    };
    let mut text: String = before
        .lines()
        .filter(|line| !replaced(line.trim_start()))
        .flat_map(|line| [line, "\n"])
        .collect();
    let value = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    let mut add = |name: &str, wanted: &str| text.extend([name, " = ", &value(wanted), "\n"]);
    add("primary_conninfo", conninfo);
    if let Some(slot) = slot {
        add("primary_slot_name", slot);
    }
    text
}

/// Makes a standby of a data directory. `home` is where the directory will be when the server starts.
pub(super) fn make_standby(
    directory: &Path,
    home: &Path,
    member: &Member,
    primary: &Login,
    own: &OwnSettings,
    owner: Option<(u32, u32)>,
) -> Result<(), ClusterError> {
    own.write(directory, owner)?;
    let pass_file = match &primary.password {
        Some(password) => {
            let line = format!("*:*:*:*:{}\n", escaped(password));
            put(&directory.join(PASS_FILE), line.as_bytes(), owner)?;
            Some(home.join(PASS_FILE))
        }
        None => None,
    };
    let path = directory.join(AUTO);
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(ClusterError::local("read", &path, &error)),
    };
    let text = auto_conf(
        &before,
        &conninfo(member, primary, pass_file.as_deref()),
        member.slot.as_deref(),
    );
    put(&path, text.as_bytes(), owner)?;
    put(&directory.join("standby.signal"), b"", owner)?;
    // A directory that was meant to recover to some point must not do that now.
    let _ = fs::remove_file(directory.join("recovery.signal"));
    let synced = fs::File::open(directory).and_then(|dir| dir.sync_all());
    synced.map_err(|error| ClusterError::local("write", directory, &error))
}

impl ClusterHandle {
    /// Makes the slot a member uses on the primary, when it is to use one and there is none.
    pub(super) async fn ensure_slot(&self, member: &Member, primary: &MemberName) -> Result<(), ClusterError> {
        let Some(slot) = &member.slot else { return Ok(()) };
        let session = self.session(primary).await?;
        let doing = format!("make the replication slot {slot}");
        let sql = "select pg_catalog.pg_create_physical_replication_slot($1::text::name, true)::text
                    where not exists (select 1 from pg_catalog.pg_replication_slots where slot_name = $1::text::name)";
        session.rows(&doing, sql, &[slot]).await?;
        let active = "select coalesce(active_pid, 0) from pg_catalog.pg_replication_slots
                       where slot_name = $1::text::name and active";
        let started = self.clock.monotonic();
        // Whoever was killed is noticed by the primary a little later.
        while let Some(row) = session.rows(&doing, active, &[slot]).await?.first() {
            if self.clock.elapsed(started) > SLOT_PATIENCE {
                let pid: i32 = row.get(0);
                return Err(ClusterError::NotProved {
                    what: format!("the slot {slot} of {primary} is in use"),
                    why: format!("process {pid} there sends to somebody by it"),
                    next: format!(
                        "is {} running somewhere else? every member has a slot of its own",
                        member.name
                    ),
                });
            }
            self.pause().await?;
        }
        Ok(())
    }

    /// Starts a member, when its service is known, and waits until it streams; whether it was started.
    pub(super) async fn start(
        &self,
        plan: &RebuildPlan,
        timeout: Duration,
        tell: Tell<'_>,
    ) -> Result<bool, ClusterError> {
        let name = &plan.member;
        let member = self.member(name)?;
        let Some(service) = &member.service else {
            return Ok(false);
        };
        tell(&format!("starting {name}"));
        command::run(self, &format!("the start of {name}"), &service.start, name).await?;
        let started = self.clock.monotonic();
        loop {
            let answer = look::ask(self, member).await;
            let server = answer.server();
            let streams = |one: &Receiver| one.status == "streaming";
            if let Some(server) = server
                && server.role == Role::Standby
                && server.receiver.as_ref().is_some_and(streams)
                && server.timeline >= plan.timeline
            {
                tell(&format!(
                    "{name} is a standby and streams on timeline {}",
                    server.timeline
                ));
                return Ok(true);
            }
            if self.clock.elapsed(started) > timeout {
                let why = match &answer {
                    Answer::Answers(server) => {
                        format!("it is a {} on timeline {}", server.role.word(), server.timeline)
                    }
                    Answer::Silent { why, .. } => why.clone(),
                };
                return Err(ClusterError::NotProved {
                    what: format!("{name} was started and does not stream within {} s", timeout.as_secs()),
                    why,
                    next: format!(
                        "look into its log in {}; if it cannot follow, reclone it",
                        plan.directory.display()
                    ),
                });
            }
            self.pause().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::source::{PostgresConnection, TlsMode};

    #[test]
    fn a_standby_checks_the_certificate_of_its_primary_as_we_do() {
        let member = Member {
            name: "db1".into(),
            connection: connection(TlsMode::VerifyFull),
            database: "postgres".to_owned(),
            data_directory: None,
            config_file: None,
            slot: None,
            service: None,
        };
        let login = |tls| Login::new(connection(tls), None);
        let checked = conninfo(&member, &login(TlsMode::VerifyFull), None);
        let authorities = in_quotes(&ssl_authorities(&login(TlsMode::VerifyFull)).display().to_string());
        let wanted = format!("sslmode=verify-full sslrootcert={authorities}");
        assert!(checked.ends_with(&wanted), "{checked}");
        let unseen = conninfo(&member, &login(TlsMode::Require), None);
        assert!(
            unseen.ends_with("sslmode=require sslrootcert='/nonexistent/authorities'"),
            "{unseen}"
        );
        assert!(unseen.contains("user='o\\'neil'"), "{unseen}");
    }

    fn connection(tls: TlsMode) -> PostgresConnection {
        PostgresConnection {
            host: "db2.example".to_owned(),
            port: 5432,
            user: "o'neil".to_owned(),
            password: None,
            tls,
            bin_dir: None,
        }
    }

    #[test]
    fn settings_of_a_standby_replace_those_of_a_primary() {
        let before = "# made by ALTER SYSTEM\nshared_buffers = '1GB'\nprimary_conninfo = 'host=old'\n\
                      lifeboat.fence = '{}'\ndefault_transaction_read_only = 'on'\n";
        let text = auto_conf(before, "host='it''s'", Some("db1"));
        let wanted = "# made by ALTER SYSTEM\nshared_buffers = '1GB'\nprimary_conninfo = 'host=''it''''s'''\nprimary_slot_name = 'db1'\n";
        assert_eq!(text, wanted);
    }
}
