//! Finding the files, refusing those that others could have written, and making one configuration of them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::build::{Built, build};
use super::error::ConfigError;
use super::section::{Problems, SourceFile};
use super::{AgentSettings, Config};

/// The longest path a Unix socket can have, without the closing zero.
const LONGEST_SOCKET: usize = 107;
/// A configuration larger than this is something else.
const LARGEST_FILE: u64 = 8 << 20;

/// What the search and the defaults depend on, so that tests can say.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) variable: fn(&str) -> Option<OsString>,
    pub(super) root: bool,
    pub(super) host: String,
}

impl Surroundings {
    pub(super) fn real() -> Self {
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        Self {
            variable: |name| std::env::var_os(name).filter(|value| !value.is_empty()),
            root: nix::unistd::geteuid().is_root(),
            host: host.unwrap_or_else(|_| "localhost".to_owned()),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).map(PathBuf::from)
    }

    fn home(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        self.path(variable)
            .or_else(|| Some(self.path("HOME")?.join(below_home)))
    }
}

/// A file whose text is taken from here instead of from the disk; without a text it is taken to be absent.
#[derive(Debug, Clone)]
pub(super) struct Overlay {
    pub(super) path: PathBuf,
    pub(super) text: Option<String>,
}

/// The configuration file that is used: the one that was named, or the first there is in the usual places.
pub(super) fn find(named: Option<&Path>, world: &Surroundings) -> Result<PathBuf, ConfigError> {
    if let Some(path) = named.map(Path::to_path_buf).or_else(|| world.path("LIFEBOAT_CONFIG")) {
        return whole(&path);
    }
    let tried: Vec<PathBuf> = [
        Some(PathBuf::from("lifeboat.toml")),
        world
            .home("XDG_CONFIG_HOME", ".config")
            .map(|dir| dir.join("lifeboat/lifeboat.toml")),
        Some(PathBuf::from("/etc/lifeboat/lifeboat.toml")),
    ]
    .into_iter()
    .flatten()
    .collect();
    match tried.iter().find(|path| path.exists()) {
        Some(found) => whole(found),
        None => Err(ConfigError::NotFound { tried }),
    }
}

/// The same path from the root on: the agent may be started, and go on, elsewhere.
fn whole(path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|source| ConfigError::io("find", path, source))
}

/// The directory of drop-ins beside a configuration file.
pub(super) fn dropin_directory(main: &Path) -> PathBuf {
    main.with_file_name("conf.d")
}

/// Reads the main file and its drop-ins and makes one configuration of them.
pub(super) fn load(main: &Path, overlay: Option<&Overlay>, world: &Surroundings) -> Result<Config, ConfigError> {
    let mut files = vec![read_file(main)?];
    for path in dropins(main, overlay)? {
        match overlay.filter(|overlay| overlay.path == path) {
            Some(Overlay { text: None, .. }) => {}
            Some(Overlay { text: Some(text), .. }) => files.push(SourceFile {
                path,
                text: text.clone(),
            }),
            None => files.push(read_file(&path)?),
        }
    }
    let mut problems = Problems::default();
    let mut built = build(&files, &mut problems);
    let runbooks = runbook_files(main)?;
    let before = problems.0.len();
    built.runbooks = super::runbook::build(&runbooks, &mut problems);
    if problems.0.len() == before {
        super::failover::check(&built.uses, &built.runbooks, &mut problems);
    }
    files.extend(runbooks);
    let agent = agent_settings(&built, &files[0], world, &mut problems);
    match agent {
        Some(agent) if problems.0.is_empty() => Ok(Config {
            path: main.to_path_buf(),
            files: files.into_iter().map(|file| file.path).collect(),
            definitions: built.definitions(&world.host),
            agent,
        }),
        _ => {
            // In the order in which a person mends them.
            let place = |file: &Path| files.iter().position(|known| known.path == file);
            problems.0.sort_by_key(|problem| (place(&problem.file), problem.line));
            Err(ConfigError::Invalid { problems: problems.0 })
        }
    }
}

/// Where the agent of a configuration listens; none when the main file does not say that much.
pub(super) fn socket_of(main: &Path, world: &Surroundings) -> Option<PathBuf> {
    let file = read_file(main).ok()?;
    let mut problems = Problems::default();
    let built = build(std::slice::from_ref(&file), &mut problems);
    agent_settings(&built, &file, world, &mut problems).map(|agent| agent.socket)
}

fn dropins(main: &Path, overlay: Option<&Overlay>) -> Result<Vec<PathBuf>, ConfigError> {
    let mut found = toml_files(&dropin_directory(main))?;
    found.extend(overlay.map(|overlay| overlay.path.clone()));
    found.retain(|path| is_visible_toml(path));
    found.sort();
    found.dedup();
    Ok(found)
}

fn is_visible_toml(path: &Path) -> bool {
    let visible = path.file_name().is_some_and(|name| !name.as_bytes().starts_with(b"."));
    visible && path.extension().is_some_and(|extension| extension == "toml")
}

/// The TOML files of a directory, in the order of their names; none when it is not there.
fn toml_files(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source| ConfigError::io("list", directory, source);
    let mut found = Vec::new();
    match fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                found.push(entry.map_err(failed)?.path());
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    found.retain(|path| is_visible_toml(path));
    found.sort();
    Ok(found)
}

/// The directory of runbooks beside a configuration file.
pub(super) fn runbook_directory(main: &Path) -> PathBuf {
    main.with_file_name("runbooks")
}

fn runbook_files(main: &Path) -> Result<Vec<SourceFile>, ConfigError> {
    toml_files(&runbook_directory(main))?
        .iter()
        .map(|path| read_file(path))
        .collect()
}

fn read_file(path: &Path) -> Result<SourceFile, ConfigError> {
    let failed = |source| ConfigError::io("read", path, source);
    // A pipe that lies there must not be waited for.
    let mut options = File::options();
    options.read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    let file = options.open(path).map_err(failed)?;
    // The permissions of what was opened, not of what may have been put in its place since.
    let meta = file.metadata().map_err(failed)?;
    if meta.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    if !meta.is_file() {
        return Err(failed(std::io::Error::other("it is not a file")));
    }
    check_permissions(path, meta.mode(), meta.uid())?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        failed(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("it is not text: byte {offset} is not UTF-8"),
        ))
    })?;
    Ok(SourceFile {
        path: path.to_path_buf(),
        text,
    })
}

/// Who can write the configuration can have the agent run any command, and who can read it learns what is protected and
/// where its passwords are. So it must belong to whoever uses it, or to root; nobody else may write it, and people
/// outside its group may not read it.
fn check_permissions(path: &Path, mode: u32, owner: u32) -> Result<(), ConfigError> {
    let exposed = |what: String, remedy: String| {
        Err(ConfigError::Exposed {
            path: path.to_path_buf(),
            what,
            remedy,
        })
    };
    if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        return exposed(
            format!("belongs to the user with id {owner}, who can change it at any time"),
            format!("chown \"$(id -u)\" {}", path.display()),
        );
    }
    let who = match mode {
        mode if mode & 0o022 != 0 => "can be written by others than its owner",
        mode if mode & 0o007 != 0 => "can be read by everybody",
        _ => return Ok(()),
    };
    exposed(
        format!("{who} (mode {:04o})", mode & 0o7777),
        format!("chmod 600 {}", path.display()),
    )
}

fn agent_settings(
    built: &Built,
    main: &SourceFile,
    world: &Surroundings,
    problems: &mut Problems,
) -> Option<AgentSettings> {
    let raw = &built.agent;
    let default = if world.root {
        Some(PathBuf::from("/var/lib/lifeboat"))
    } else {
        world
            .home("XDG_STATE_HOME", ".local/state")
            .map(|dir| dir.join("lifeboat"))
    };
    let Some(state_dir) = raw.state_dir.as_ref().map(|path| path.0.clone()).or(default) else {
        let hint = Some("write state_dir = \"/path\" under [agent]".to_owned());
        problems.add(
            main,
            0,
            "agent.state_dir",
            "it is missing, and without HOME it has no default",
            hint,
        );
        return None;
    };
    // Beside the journal it guards, because $XDG_RUNTIME_DIR goes away when its user logs out, and the agent stays.
    let socket = raw
        .socket
        .as_ref()
        .map_or_else(|| state_dir.join("agent.sock"), |path| path.get_ref().0.clone());
    if socket.as_os_str().len() > LONGEST_SOCKET {
        let offset = raw.socket.as_ref().map_or(0, |path| path.span().start);
        let message = format!(
            "{} is too long for a socket, which has at most {LONGEST_SOCKET} bytes",
            socket.display()
        );
        let hint = Some("write socket = \"/run/lifeboat.sock\", or another short path, under [agent]".to_owned());
        problems.add(main, offset, "agent.socket", message, hint);
    }
    Some(AgentSettings {
        journal: state_dir.join("journal.db"),
        log_file: raw
            .log_file
            .as_ref()
            .map_or_else(|| state_dir.join("agent.log"), |path| path.0.clone()),
        log_level: raw.log_level.unwrap_or_default(),
        idle_exit: raw.idle_exit.as_ref().map(|length| length.get_ref().0),
        socket,
        state_dir,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_user_is_refused() {
        let me = nix::unistd::geteuid().as_raw();
        let path = Path::new("/etc/lifeboat/lifeboat.toml");
        check_permissions(path, 0o100_600, me).unwrap();
        check_permissions(path, 0o100_600, 0).unwrap();
        let error = check_permissions(path, 0o100_600, me + 4711).unwrap_err();
        assert!(error.to_string().contains("can change it at any time"), "{error}");
        assert!(error.hint().unwrap().contains("chown"), "{error}");
    }
}
