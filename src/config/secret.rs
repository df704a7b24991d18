//! Fetching a secret at the moment it is needed: from a file, an environment variable, or a command.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use secrecy::SecretString;
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::clock::Clock;
use crate::domain::source::SecretRef;

/// How long a command may take to print a secret.
const PATIENCE: Duration = Duration::from_secs(10);
/// A secret longer than this is something else.
const LONGEST: u64 = 64 << 10;
/// The variables a secret command gets to see: enough to find its programs, its home and its agents, and nothing else.
const PASSED_ON: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
    "SSH_AUTH_SOCK",
    "VAULT_ADDR",
    "AWS_PROFILE",
];

/// Why a secret could not be had. None of these repeats anything that may be the secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("cannot read the secret file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others than its owner can use the file.
    #[error("the secret file {} can be used by others than its owner (mode {mode:04o})", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The environment variable is not set, or not text.
    #[error("the environment variable {name} is not set to a text")]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// The command could not be started, failed, or took too long.
    #[error("the secret command {program} {why}")]
    Command {
        /// The program.
        program: String,
        /// What happened.
        why: String,
    },
    /// There was nothing where the secret should be.
    #[error("{from} holds no secret: its first line is empty")]
    Empty {
        /// Where it was looked for.
        from: String,
    },
    /// What was there is not a line of text.
    #[error("{from} holds no secret: it is not a line of UTF-8 text")]
    NotText {
        /// Where it was looked for.
        from: String,
    },
}

impl SecretError {
    /// What the operator should do next.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unreadable { path, .. } => {
                format!("check that it is there and who owns it: ls -l {}", path.display())
            }
            Self::Exposed { path, .. } => format!("run: chmod 600 {}", path.display()),
            Self::NoVariable { name } => format!("set {name} in the agent's environment, or use a file"),
            Self::Command { program, .. } => {
                format!("run {program} by hand as the agent's user; it must print one line")
            }
            Self::Empty { .. } | Self::NotText { .. } => "put the secret on the first line, as text".to_owned(),
        };
        Some(text)
    }
}

/// Fetches a secret.
pub async fn resolve(secret: &SecretRef) -> Result<SecretString, SecretError> {
    match secret {
        SecretRef::File(path) => {
            let path = path.clone();
            // A file can be a pipe, or on a share that hangs.
            let task = tokio::task::spawn_blocking(move || from_file(&path));
            task.await.unwrap_or_else(|_| {
                Err(SecretError::Empty {
                    from: "the secret file".to_owned(),
                })
            })
        }
        SecretRef::Env(name) => {
            let value = std::env::var(name).map_err(|_| SecretError::NoVariable { name: name.clone() })?;
            first_line(value.into_bytes(), &format!("the variable {name}"))
        }
        SecretRef::Command(argv) => from_command(argv, &Clock::system(), PATIENCE).await,
    }
}

fn from_file(path: &Path) -> Result<SecretString, SecretError> {
    let unreadable = |source| SecretError::Unreadable {
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed {
            path: path.to_path_buf(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(unreadable)?;
    first_line(bytes, &path.display().to_string())
}

async fn from_command(argv: &[String], clock: &Clock, patience: Duration) -> Result<SecretString, SecretError> {
    let program = argv.first().cloned().unwrap_or_default();
    let failed = |why: String| SecretError::Command {
        program: program.clone(),
        why,
    };
    let mut command = Command::new(&program);
    command
        .args(argv.iter().skip(1))
        .env_clear()
        .envs(
            PASSED_ON
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (mut output, mut complaint) = (Vec::new(), Vec::new());
        let read = async {
            if let Some(stdout) = stdout {
                stdout.take(LONGEST).read_to_end(&mut output).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        let listen = async {
            if let Some(stderr) = stderr {
                stderr.take(LONGEST).read_to_end(&mut complaint).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        tokio::try_join!(read, listen)?;
        Ok::<_, std::io::Error>((child.wait().await?, output, complaint))
    };
    let (status, output, complaint) = tokio::select! {
        done = work => done.map_err(|error| failed(format!("cannot be read: {error}")))?,
        () = clock.sleep(patience) => {
            return Err(failed(format!("took longer than {} s and was stopped", patience.as_secs())));
        }
    };
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        let first: String = complaint.lines().next().unwrap_or_default().chars().take(200).collect();
        return Err(failed(format!("failed ({status}) {first}").trim_end().to_owned()));
    }
    first_line(output, &format!("the output of {program}"))
}

fn first_line(bytes: Vec<u8>, from: &str) -> Result<SecretString, SecretError> {
    let text = String::from_utf8(bytes).map_err(|_| SecretError::NotText { from: from.to_owned() })?;
    let line = text.split('\n').next().unwrap_or_default();
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(SecretError::Empty { from: from.to_owned() });
    }
    Ok(SecretString::from(line.to_owned()))
}

/// How a repository password was named on the command line, for work without a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PasswordOptions {
    /// `--password-file`.
    pub file: Option<PathBuf>,
}

/// Where the password of a repository comes from that no configuration names: `--password-file`, else
/// `$LIFEBOAT_PASSWORD_FILE`, `$LIFEBOAT_PASSWORD_COMMAND` (words, quoted as in a shell; no shell runs) or
/// `$LIFEBOAT_PASSWORD`. None when none of them is given.
pub fn password_from(options: &PasswordOptions) -> Option<SecretRef> {
    password_with(options, |name| {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    })
}

fn password_with(options: &PasswordOptions, variable: impl Fn(&str) -> Option<String>) -> Option<SecretRef> {
    let file = options
        .file
        .clone()
        .or_else(|| variable("LIFEBOAT_PASSWORD_FILE").map(PathBuf::from));
    if let Some(file) = file {
        return Some(SecretRef::File(file));
    }
    if let Some(line) = variable("LIFEBOAT_PASSWORD_COMMAND") {
        return Some(SecretRef::Command(words(&line)));
    }
    variable("LIFEBOAT_PASSWORD").map(|_| SecretRef::Env("LIFEBOAT_PASSWORD".to_owned()))
}

/// Splits a line into words at blanks; quotes keep blanks, a backslash keeps the next character (not in single quotes).
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(letters.next()),
            (q @ ('"' | '\''), None) => {
                quote = Some(q);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    fn command(words: &[&str]) -> SecretRef {
        SecretRef::Command(words.iter().map(|&word| word.to_owned()).collect())
    }

    #[tokio::test]
    async fn a_file_only_its_owner_can_read_gives_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "correct horse \r\nsecond line\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let secret = resolve(&SecretRef::File(path.clone())).await.unwrap();
        assert_eq!(secret.expose_secret(), "correct horse ");
        for mode in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = resolve(&SecretRef::File(path.clone())).await.unwrap_err();
            assert!(error.hint().unwrap().contains("chmod 600"), "{error}");
            assert!(!format!("{error} {error:?}").contains("horse"));
        }
    }

    #[tokio::test]
    async fn what_is_no_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        for (content, expected) in [(&b""[..], "empty"), (b"\nsecond", "empty"), (b"\xff\xfe", "UTF-8")] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = resolve(&SecretRef::File(path.clone())).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let error = resolve(&SecretRef::File(dir.path().join("none"))).await.unwrap_err();
        assert!(matches!(error, SecretError::Unreadable { .. }));
        let error = resolve(&SecretRef::Env("LIFEBOAT_TEST_NO_SUCH".to_owned()))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("LIFEBOAT_TEST_NO_SUCH"));
    }

    #[tokio::test]
    async fn a_command_prints_the_secret_in_a_clean_environment() {
        let secret = resolve(&command(&["printf", "%s\\nrest", "s3cret; echo no"]))
            .await
            .unwrap();
        assert_eq!(secret.expose_secret(), "s3cret; echo no");
        // The test runner sets CARGO_MANIFEST_DIR, which is none of the command's business.
        let seen = resolve(&command(&["sh", "-c", "echo [$CARGO_MANIFEST_DIR]$HOME"]))
            .await
            .unwrap();
        assert!(seen.expose_secret().starts_with("[]/"), "{}", seen.expose_secret());
    }

    #[tokio::test]
    async fn a_command_that_fails_or_hangs_is_reported() {
        let error = resolve(&command(&["sh", "-c", "echo hidden; echo locked >&2; exit 3"]))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("locked") && error.to_string().contains('3'),
            "{error}"
        );
        assert!(!error.to_string().contains("hidden"));
        let error = resolve(&command(&["/no/such/program"])).await.unwrap_err();
        assert!(error.to_string().contains("cannot be started"), "{error}");
        let hang = vec!["sleep".to_owned(), "60".to_owned()];
        let error = from_command(&hang, &Clock::system(), Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("was stopped"), "{error}");
    }

    #[test]
    fn the_password_without_a_configuration_is_found_in_order() {
        let everything = |name: &str| Some(format!("{name} 'a b'"));
        let nothing = |_: &str| None;
        let file = PasswordOptions {
            file: Some("/f".into()),
        };
        let none = PasswordOptions::default();
        assert_eq!(password_with(&file, everything), Some(SecretRef::File("/f".into())));
        assert_eq!(
            password_with(&none, everything),
            Some(SecretRef::File("LIFEBOAT_PASSWORD_FILE 'a b'".into()))
        );
        let but_file = |name: &str| Some(format!("{name} 'a b'")).filter(|_| !name.ends_with("FILE"));
        assert_eq!(
            password_with(&none, but_file),
            Some(command(&["LIFEBOAT_PASSWORD_COMMAND", "a b"]))
        );
        let plain = |name: &str| (name == "LIFEBOAT_PASSWORD").then(|| "x".to_owned());
        assert_eq!(
            password_with(&none, plain),
            Some(SecretRef::Env("LIFEBOAT_PASSWORD".to_owned()))
        );
        assert_eq!(password_with(&none, nothing), None);
    }

    #[test]
    fn words_are_split_as_in_a_shell() {
        assert_eq!(
            words(r#"pass show "my vault"/'a "b"' c\ d """#),
            ["pass", "show", "my vault/a \"b\"", "c d", ""]
        );
        assert!(words("  ").is_empty());
    }
}
