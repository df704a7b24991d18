//! The client programs: found next to each other, and matched to the server by major version.
//!
//! `pg_dump` refuses a server newer than itself, and a `pg_restore` newer than the server it writes to may set options
//! that server does not know. So the rule for both is: the server's own major version when it is installed, else the
//! next newer one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::process::Command;

use super::connect::within;
use crate::clock::Clock;
use crate::source::SourceError;

/// The client programs of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tools {
    /// Their directory.
    pub(super) bin_dir: PathBuf,
    /// Their version, for example `15.14`.
    pub(super) version: String,
    /// The first number of it.
    pub(super) major: u32,
}

impl Tools {
    /// The path of one of them.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    /// Finds the installation whose `program` fits a server of version `major` and can read what version `at_least` wrote.
    pub(super) async fn find(
        program: &'static str,
        configured: Option<&Path>,
        major: u32,
        at_least: u32,
        clock: &Clock,
    ) -> Result<Self, SourceError> {
        Installed::look(program, configured, clock).await.fit(major, at_least)
    }
}

/// The installations of a program that were found, in the order in which they are preferred.
#[derive(Debug)]
pub(super) struct Installed {
    program: &'static str,
    configured: Option<PathBuf>,
    found: Vec<Tools>,
}

impl Installed {
    /// Asks each installation for its version, in the configured directory alone or in all usual places, at once.
    pub(super) async fn look(program: &'static str, configured: Option<&Path>, clock: &Clock) -> Self {
        let directories = match configured {
            Some(directory) => vec![directory.to_owned()],
            None => usual_places(),
        };
        let looks = directories.iter().map(|directory| look_into(directory, program, clock));
        Self {
            program,
            configured: configured.map(Path::to_owned),
            found: join_all(looks).await.into_iter().flatten().collect(),
        }
    }

    /// The one that fits a server of version `major` and can read what version `at_least` wrote.
    pub(super) fn fit(self, major: u32, at_least: u32) -> Result<Tools, SourceError> {
        let floor = major.max(at_least);
        if let Some(fit) = choose(&self.found, floor) {
            return Ok(fit.clone());
        }
        let program = self.program;
        let versions: BTreeSet<String> = self
            .found
            .iter()
            .map(|tools| format!("{} is only version {}", tools.program(program).display(), tools.version))
            .collect();
        let found = if !versions.is_empty() {
            versions.into_iter().collect::<Vec<_>>().join(", ")
        } else if let Some(directory) = self.configured {
            format!("there is none in {}", directory.display())
        } else {
            "there is none on PATH nor in the usual places".to_owned()
        };
        Err(SourceError::NoClientTool {
            program,
            major: floor,
            found,
        })
    }
}

/// The oldest that is not older than `floor`; of equals, the first found.
fn choose(found: &[Tools], floor: u32) -> Option<&Tools> {
    found
        .iter()
        .filter(|tools| tools.major >= floor)
        .min_by_key(|tools| tools.major)
}

/// Where PostgreSQL's programs are on the systems we know, PATH first.
pub(crate) fn usual_places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    // Debian and Ubuntu, Fedora and RHEL (PGDG), Homebrew, and a build from source.
    for (parent, inside) in [
        ("/usr/lib/postgresql", "bin"),
        ("/usr", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/usr/local/opt", "bin"),
        ("/usr/local", "bin"),
        ("/opt", "bin"),
    ] {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        let mut names: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| parent == "/usr/lib/postgresql" || named_like_postgres(path))
            .collect();
        names.sort();
        places.extend(names.into_iter().rev().map(|path| path.join(inside)));
    }
    let mut seen = BTreeSet::new();
    places.retain(|place| place.is_absolute() && seen.insert(place.clone()));
    places
}

fn named_like_postgres(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("pgsql") || name.starts_with("postgres") || name.starts_with("libpq")
}

async fn look_into(directory: &Path, program: &str, clock: &Clock) -> Option<Tools> {
    let path = directory.join(program);
    if !path.is_file() {
        return None;
    }
    let mut command = Command::new(&path);
    command
        .arg("--version")
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = within(clock, Duration::from_secs(5), command.output()).await?.ok()?;
    let (version, major) = parse_version(&String::from_utf8_lossy(&output.stdout))?;
    Some(Tools {
        bin_dir: directory.to_owned(),
        version,
        major,
    })
}

/// Reads `pg_dump (PostgreSQL) 15.14 (Debian 15.14-1)`, `… 16beta1`.
pub(super) fn parse_version(line: &str) -> Option<(String, u32)> {
    let version = line.split_once("(PostgreSQL)")?.1.split_whitespace().next()?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some((version.to_owned(), digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let debian = "pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n";
        assert_eq!(parse_version(debian), Some(("15.14".to_owned(), 15)));
        assert_eq!(
            parse_version("pg_dump (PostgreSQL) 18beta2"),
            Some(("18beta2".to_owned(), 18))
        );
        assert_eq!(parse_version("mysqldump 10"), None);
    }

    #[test]
    fn the_server_s_own_version_wins_and_an_older_one_never_does() {
        let tools = |major: u32| Tools {
            bin_dir: PathBuf::from(format!("/{major}")),
            version: major.to_string(),
            major,
        };
        let found = [tools(17), tools(13), tools(15), tools(16)];
        assert_eq!(choose(&found, 15).unwrap().major, 15);
        assert_eq!(choose(&found, 14).unwrap().major, 15);
        assert!(choose(&found, 18).is_none());
    }
}
