//! How the console is to be, and what it leaves behind.

use std::path::PathBuf;

use thiserror::Error;

use super::app::{App, Settings};
use super::glyphs;
use super::keymap::Keymap;
use super::theme::{self, Depth, Theme};
use super::words;
use crate::clock::Clock;

/// How the console is to be.
#[derive(Debug, Clone)]
pub struct TuiOptions {
    /// The time.
    pub clock: Clock,
    /// Whether changes are refused on this side already.
    pub read_only: bool,
    /// Whether the agent is this same process, so that leaving ends its work.
    pub embedded: bool,
    /// The theme's name; `default` when absent.
    pub theme: Option<String>,
    /// How many colours; by the environment when absent.
    pub depth: Option<Depth>,
    /// The text of a key map file.
    pub keymap: Option<String>,
    /// Lines instead of screens.
    pub plain: bool,
    /// What the sandbox can break for practice: the words of `POST /v1/practice`, and what cures it.
    pub practice: Vec<(String, String)>,
    /// Whether frames are bracketed with synchronized output.
    pub synchronized: bool,
}

impl TuiOptions {
    /// What is right for most.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            read_only: false,
            embedded: false,
            theme: None,
            depth: None,
            keymap: None,
            plain: false,
            practice: Vec::new(),
            synchronized: true,
        }
    }

    /// Takes what is not chosen yet from where people choose it: the theme from `LIFEBOAT_THEME`, the keys from
    /// `lifeboat/keymap.toml` in their configuration directory.
    ///
    /// # Errors
    /// [`TuiError::Settings`] when the key map is there and cannot be read.
    pub fn with_environment(mut self) -> Result<Self, TuiError> {
        self.theme = self.theme.or_else(|| std::env::var("LIFEBOAT_THEME").ok());
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
        if let (None, Some(config)) = (&self.keymap, config) {
            let path = config.join("lifeboat/keymap.toml");
            self.keymap = match std::fs::read_to_string(&path) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => {
                    return Err(TuiError::Settings(format!(
                        "{} cannot be read: {error}",
                        path.display()
                    )));
                }
            };
        }
        Ok(self)
    }

    /// What does not change while the console runs, taken from here and from the environment.
    pub(super) fn settings(&self) -> Result<Settings, TuiError> {
        let var = |name: &str| std::env::var(name).ok();
        let depth = self.depth.unwrap_or_else(|| theme::depth_from_env(var));
        let theme = Theme::named(self.theme.as_deref().unwrap_or("default"), depth).map_err(TuiError::Settings)?;
        let keymap = self
            .keymap
            .as_deref()
            .map_or_else(|| Ok(Keymap::default()), Keymap::with_overrides);
        Ok(Settings {
            read_only: self.read_only,
            embedded: self.embedded,
            me: String::new(),
            incidents: self.practice.clone(),
            theme,
            glyphs: glyphs::from_env(var),
            keymap: keymap.map_err(TuiError::Settings)?,
        })
    }
}

/// What is left to say when the console has gone: to be printed on standard output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExitNote {
    /// The screen's text, for the ticket, when that was asked for.
    pub screen: Option<String>,
    /// What goes on running, and how to come back.
    pub text: String,
}

impl std::fmt::Display for ExitNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(screen) = &self.screen {
            writeln!(f, "{screen}")?;
        }
        f.write_str(&self.text)
    }
}

/// Why there is no console.
#[derive(Debug, Error)]
pub enum TuiError {
    /// Standard input or output is not a terminal.
    #[error("the console needs a terminal on standard input and output")]
    NoTerminal,
    /// A theme or key map is not understood.
    #[error("{0}")]
    Settings(String),
    /// The terminal failed.
    #[error("the terminal failed: {0}")]
    Terminal(#[from] std::io::Error),
    /// Something panicked; what it said is on the terminal.
    #[error("the console ended because of a defect in it; the agent goes on")]
    Panicked,
}

impl TuiError {
    /// What to do next.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoTerminal => Some("lifeboat status prints the same picture; --plain shows lines instead of screens"),
            Self::Panicked => Some("start lifeboat again; please report what it said above"),
            Self::Settings(_) | Self::Terminal(_) => None,
        }
    }
}

/// The text of a picture, without blanks at the ends of lines.
pub fn screen_text(picture: &ratatui::buffer::Buffer) -> String {
    let area = picture.area;
    let row = |y| {
        (area.left()..area.right())
            .map(|x| picture[(x, y)].symbol())
            .collect::<String>()
    };
    let lines: Vec<String> = (area.top()..area.bottom())
        .map(|y| row(y).trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// What goes on running when the console has gone.
pub(super) fn going_on(app: &App) -> String {
    let Some(overview) = &app.overview else {
        return "No contact with an agent.".to_owned();
    };
    let mut work = Vec::new();
    if !overview.runs.is_empty() {
        work.push(words::plural(overview.runs.len() as u64, "backup"));
    }
    if !overview.recoveries.is_empty() {
        work.push(words::plural(overview.recoveries.len() as u64, "recovery"));
    }
    if app.settings.embedded {
        return match work.as_slice() {
            [] => "The engine ended with this console; nothing was running.".to_owned(),
            work => format!("The engine ended with this console; {} stopped.", work.join(" and ")),
        };
    }
    let agent = format!("the agent on {} (pid {})", overview.agent.host, overview.agent.pid);
    let work = if work.is_empty() {
        format!("Nothing is running. Schedules go on in {agent}.")
    } else {
        format!("{} and the schedules go on in {agent}.", work.join(" and "))
    };
    format!("{work}\nCome back with: lifeboat")
}
