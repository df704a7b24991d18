//! What every command is handed: the options, the printer, the clock, and the ways to the agent and to a repository.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::args::{ColorWhen, Global, RepositoryArgs};
use super::error::CliError;
use super::launch;
use super::output::{Printer, Render, Style};
use super::progress::Progress;
use crate::api::Client;
use crate::clock::Clock;
use crate::config::{self, Config, PasswordOptions};
use crate::domain::command::Actor;
use crate::domain::id::{RepositoryName, is_valid_name};
use crate::domain::job::{RepositoryDefinition, StoreAccess, UpkeepPolicy};
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
    /// Whether it was said that the configuration cannot be used.
    warned: AtomicBool,
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
            warned: AtomicBool::new(false),
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
    pub fn config(&self) -> Result<Config, CliError> {
        Ok(config::load(self.global.config.as_deref())?)
    }

    /// Finds the agent, starts one when there is none, and makes a client of it.
    pub async fn client(&self) -> Result<Client, CliError> {
        launch::client(self).await
    }

    /// Makes a client of the agent that is running, without starting one.
    pub fn client_of_running(&self) -> Result<Client, CliError> {
        Ok(Client::connect(&self.socket()?, self.actor.clone()).read_only(self.global.read_only))
    }

    /// Where the agent listens. One that is running goes by the configuration it could last use, and is reached even when an
    /// edit has broken the files: nobody is shut out of what is under way by a slip of the pen in another runbook.
    pub fn socket(&self) -> Result<PathBuf, CliError> {
        if let Some(socket) = &self.global.socket {
            return Ok(socket.clone());
        }
        let error = match self.config() {
            Ok(config) => return Ok(config.agent.socket),
            Err(error) => error,
        };
        let running = config::socket_of(self.global.config.as_deref()).filter(|socket| launch::answers(socket));
        let Some(socket) = running else { return Err(error) };
        if !self.warned.swap(true, Ordering::Relaxed) {
            let why = error.why.as_deref().unwrap_or_default();
            self.out.remark(&format!(
                "the configuration cannot be used, so the agent goes by the one before; see: lifeboat config check\n{why}"
            ));
        }
        Ok(socket)
    }

    /// Finds out which repository is meant and where its password comes from; the configuration is read only if needed.
    pub fn repository(&self, args: &RepositoryArgs) -> Result<RepositoryDefinition, CliError> {
        let file = args.password_file.clone();
        let Some(wanted) = &args.repository else {
            return Ok(with_password_file(self.only_repository()?, file));
        };
        let name = RepositoryName::from(wanted.as_str());
        if is_valid_name(wanted)
            && let Ok(config) = self.config()
            && let Some(known) = config.definitions.repositories.get(&name)
        {
            return Ok(with_password_file(known.clone(), file));
        }
        let password = config::password_from(&PasswordOptions { file }).ok_or_else(|| {
            CliError::usage(format!("no password for the repository {wanted}")).hint(
                "give --password-file FILE, or set LIFEBOAT_PASSWORD_FILE, LIFEBOAT_PASSWORD_COMMAND or LIFEBOAT_PASSWORD",
            )
        })?;
        Ok(RepositoryDefinition {
            name: RepositoryName::from("repository"),
            url: wanted.clone(),
            password,
            upkeep: UpkeepPolicy::default(),
            access: StoreAccess::default(),
        })
    }

    fn only_repository(&self) -> Result<RepositoryDefinition, CliError> {
        let hint = "say which with --repository URL (and --password-file FILE)";
        let config = self.config();
        let config = config.map_err(|error| {
            CliError::usage("no repository is given")
                .why(error.why.unwrap_or(error.what))
                .hint(hint)
        })?;
        let repositories = config.definitions.repositories;
        let names: Vec<String> = repositories.keys().map(ToString::to_string).collect();
        let mut known = repositories.into_values();
        match (known.next(), known.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(CliError::usage("the configuration names no repository").hint(hint)),
            (Some(_), Some(_)) => Err(CliError::usage("the configuration names several repositories")
                .why(names.join(", "))
                .hint("say which with --repository NAME")),
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

fn with_password_file(mut repository: RepositoryDefinition, file: Option<PathBuf>) -> RepositoryDefinition {
    if let Some(file) = file {
        repository.password = SecretRef::File(file);
    }
    repository
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
