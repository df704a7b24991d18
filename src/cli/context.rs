//! What every command is handed: the options, the printer, the clock, and the ways to the agent and to a repository.

use std::io::IsTerminal;
use std::path::PathBuf;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::args::{ColorWhen, Global, RepositoryArgs};
use super::error::CliError;
use super::launch;
use super::output::{Printer, Render, Style};
use super::progress::Progress;
use super::settings::Settings;
use crate::api::Client;
use crate::clock::Clock;
use crate::domain::command::Actor;
use crate::domain::id::RepositoryName;
use crate::domain::job::RepositoryDefinition;
use crate::domain::source::SecretRef;

/// What every command is handed.
#[derive(Debug)]
pub struct Ctx {
    /// The options that hold for every command.
    pub global: Global,
    /// Where results go.
    pub out: Printer,
    /// The time.
    pub clock: Clock,
    /// Who asks.
    pub actor: Actor,
    /// The engine in this process, once `--embedded` has started it.
    pub(super) embedded: OnceCell<launch::Embedded>,
}

impl Ctx {
    /// Makes the context of one command.
    pub fn new(global: Global, clock: Clock, via: &str) -> Self {
        let out = printer(&global, &clock);
        Self {
            global,
            out,
            clock,
            actor: actor(via),
            embedded: OnceCell::new(),
        }
    }

    /// Prints a result.
    pub fn print(&self, result: &impl Render) -> Result<(), CliError> {
        self.out.print(result)
    }

    /// Begins to tell the progress of a piece of work.
    pub fn progress(&self, title: impl Into<String>) -> Progress {
        Progress::new(title, &self.out, &self.clock)
    }

    /// Loads the configuration.
    pub fn settings(&self) -> Result<Settings, CliError> {
        Settings::load(self.global.config.as_deref())
    }

    /// Finds the agent, starts one when there is none, and makes a client of it.
    pub async fn client(&self) -> Result<Client, CliError> {
        launch::client(self).await
    }

    /// Makes a client of the agent that is running, without starting one.
    pub fn client_of_running(&self) -> Result<Client, CliError> {
        Ok(Client::connect(&self.socket()?, self.actor.clone()).read_only(self.global.read_only))
    }

    /// Where the agent listens.
    pub fn socket(&self) -> Result<PathBuf, CliError> {
        match &self.global.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(self.settings()?.socket),
        }
    }

    /// Finds out which repository is meant and where its password comes from; the configuration is read only if needed.
    pub fn repository(&self, args: &RepositoryArgs) -> Result<RepositoryDefinition, CliError> {
        let password = password_of(args)?;
        let Some(wanted) = &args.repository else {
            return self.only_repository(password);
        };
        if crate::domain::id::is_valid_name(wanted)
            && let Ok(settings) = self.settings()
            && let Some(known) = settings
                .definitions
                .repositories
                .get(&RepositoryName::from(wanted.as_str()))
        {
            return Ok(with_password(known, password));
        }
        let password = password.or_else(password_in_environment).ok_or_else(|| {
            CliError::usage(format!("no password for the repository {wanted}"))
                .hint("give --password-file FILE, or set LIFEBOAT_PASSWORD_FILE, LIFEBOAT_PASSWORD_COMMAND or LIFEBOAT_PASSWORD")
        })?;
        Ok(RepositoryDefinition {
            name: RepositoryName::from("repository"),
            url: wanted.clone(),
            password,
        })
    }

    fn only_repository(&self, password: Option<SecretRef>) -> Result<RepositoryDefinition, CliError> {
        let hint = "say which with --repository URL (and --password-file FILE)";
        let settings = self
            .settings()
            .map_err(|error| CliError::usage("no repository is given").why(error.what).hint(hint))?;
        let mut known = settings.definitions.repositories.values();
        match (known.next(), known.next()) {
            (Some(only), None) => Ok(with_password(only, password)),
            (None, _) => Err(CliError::usage("the configuration names no repository").hint(hint)),
            (Some(_), Some(_)) => {
                let names: Vec<&str> = settings
                    .definitions
                    .repositories
                    .keys()
                    .map(RepositoryName::as_str)
                    .collect();
                Err(CliError::usage("the configuration names several repositories")
                    .why(names.join(", "))
                    .hint("say which with --repository NAME"))
            }
        }
    }

    /// Takes Ctrl-C into its hands: the first asks the work to stop, the second lets go of it.
    pub fn interrupts(&self) -> Interrupts {
        let interrupts = Interrupts {
            stop: CancellationToken::new(),
            detach: CancellationToken::new(),
        };
        let (stop, detach) = (interrupts.stop.clone(), interrupts.detach.clone());
        tokio::spawn(async move {
            for token in [stop, detach] {
                if tokio::signal::ctrl_c().await.is_err() {
                    return;
                }
                token.cancel();
            }
        });
        interrupts
    }

    /// Refuses what changes something when the command line says `--read-only`.
    pub fn may_change(&self, what: &str) -> Result<(), CliError> {
        if self.global.read_only {
            return Err(
                CliError::refused(format!("refused to {what}: --read-only")).hint("try again without --read-only")
            );
        }
        Ok(())
    }

    /// Ends what `--embedded` started.
    pub(super) async fn close(self) {
        if let Some(embedded) = self.embedded.into_inner() {
            embedded.stop().await;
        }
    }
}

/// What Ctrl-C has asked for.
#[derive(Debug, Clone)]
pub struct Interrupts {
    /// Cancelled by the first: stop the work cleanly.
    pub stop: CancellationToken,
    /// Cancelled by the second: leave it to itself.
    pub detach: CancellationToken,
}

fn with_password(known: &RepositoryDefinition, password: Option<SecretRef>) -> RepositoryDefinition {
    let mut repository = known.clone();
    if let Some(password) = password {
        repository.password = password;
    }
    repository
}

fn password_of(args: &RepositoryArgs) -> Result<Option<SecretRef>, CliError> {
    if let Some(file) = &args.password_file {
        return Ok(Some(SecretRef::File(file.clone())));
    }
    let Some(command) = &args.password_command else {
        return Ok(None);
    };
    let words = split_words(command)
        .ok_or_else(|| CliError::usage("the password command has a quote that is not closed").why(command))?;
    if words.is_empty() {
        return Err(CliError::usage("the password command is empty"));
    }
    Ok(Some(SecretRef::Command(words)))
}

fn password_in_environment() -> Option<SecretRef> {
    const NAME: &str = "LIFEBOAT_PASSWORD";
    std::env::var_os(NAME).map(|_| SecretRef::Env(NAME.to_owned()))
}

/// Splits a command into words at spaces; quotes of both kinds keep spaces together. No shell is involved.
fn split_words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

fn printer(global: &Global, clock: &Clock) -> Printer {
    let terminal = std::io::stdout().is_terminal();
    let color = match global.color {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => {
            terminal && !global.plain && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    };
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse::<usize>().ok());
    let width = columns
        .or_else(|| {
            terminal
                .then(crossterm::terminal::size)?
                .ok()
                .map(|(width, _)| width.into())
        })
        .unwrap_or(80);
    Printer {
        json: global.json,
        style: Style {
            color,
            plain: global.plain,
            width: width.max(40),
            now: clock.now(),
        },
    }
}

/// Who runs this process: behind sudo, the person and not root.
fn actor(via: &str) -> Actor {
    let uid = nix::unistd::getuid();
    let sudo = uid.is_root().then(|| std::env::var("SUDO_USER").ok()).flatten();
    let account = || nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
    Actor {
        name: sudo
            .filter(|name| !name.is_empty())
            .or_else(account)
            .unwrap_or_else(|| format!("uid {uid}")),
        host: host_name(),
        via: via.to_owned(),
    }
}

/// The machine's name.
pub fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_command_is_split_without_a_shell() {
        let words = |text| split_words(text).map(|words| words.join("|"));
        assert_eq!(
            words("pass show 'lifeboat repo'").as_deref(),
            Some("pass|show|lifeboat repo")
        );
        assert_eq!(words("a \"\" b").as_deref(), Some("a||b"));
        assert_eq!(words("echo $(rm x); y").as_deref(), Some("echo|$(rm|x);|y"));
        assert_eq!(words("open 'quote"), None);
    }
}
