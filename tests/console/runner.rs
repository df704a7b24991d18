//! A console without a terminal: keys in, pictures and effects out, every question answered from the fixture.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lifeboat::domain::Millis;
use lifeboat::domain::view::{Overview, StreamItem};
use lifeboat::tui::app::{App, Settings};
use lifeboat::tui::glyphs;
use lifeboat::tui::keymap::Keymap;
use lifeboat::tui::link::{Link, Question, Trouble};
use lifeboat::tui::message::{Effect, Message, Moment};
use lifeboat::tui::options::screen_text;
use lifeboat::tui::theme::{Depth, Theme};
use lifeboat::tui::update::update;
use lifeboat::tui::view::view;
use ratatui::buffer::Buffer;

use crate::fixture;
use crate::script::{Mood, Script};

/// How a screen is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eye {
    /// Sixteen colours and Unicode.
    Sixteen,
    /// No colours and ASCII.
    Mono,
}

/// A console that is driven by hand.
pub struct Runner {
    pub app: App,
    pub uptime: u64,
    /// Questions that were asked, in order.
    pub asked: Vec<Question>,
    /// Everything else that was to be done.
    pub effects: Vec<Effect>,
    script: Script,
    tokio: tokio::runtime::Runtime,
}

impl Runner {
    /// A console with its first picture.
    pub fn new(size: (u16, u16), eye: Eye) -> Self {
        let mut runner = Self::blank(size, eye, false, 120);
        runner.tell(Message::Attached);
        runner.picture(fixture::overview());
        runner
    }

    /// A console that has heard nothing yet.
    pub fn blank(size: (u16, u16), eye: Eye, read_only: bool, snapshots: u64) -> Self {
        let depth = if eye == Eye::Sixteen {
            Depth::Sixteen
        } else {
            Depth::Mono
        };
        let settings = Settings {
            read_only,
            embedded: false,
            me: "ana".to_owned(),
            incidents: [
                ("drop-table", "runbook single-table-recovery"),
                ("delete-files", "restore the newest snapshot"),
            ]
            .map(|(name, cure)| (name.to_owned(), cure.to_owned()))
            .to_vec(),
            theme: Theme::named("default", depth).unwrap(),
            glyphs: if eye == Eye::Sixteen {
                glyphs::UNICODE
            } else {
                glyphs::ASCII
            },
            keymap: Keymap::default(),
        };
        Self {
            app: App::new(settings, fixture::now(), size),
            uptime: 1000,
            asked: Vec::new(),
            effects: Vec::new(),
            script: Script::new(Mood::Quiet, snapshots),
            tokio: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        }
    }

    /// Shows a picture.
    pub fn picture(&mut self, overview: Overview) {
        self.tell(Message::Stream(Arc::new(StreamItem::Overview {
            overview: Box::new(overview),
        })));
    }

    /// Lets something happen, and answers what is asked because of it.
    pub fn tell(&mut self, message: Message) {
        let moment = Moment {
            wall: fixture::now() + chrono::Duration::milliseconds(i64::try_from(self.uptime).unwrap() - 1000),
            uptime: Millis(self.uptime),
        };
        let effects = update(&mut self.app, message, moment);
        self.perform(effects);
    }

    /// Does what was to be done: questions are answered, everything else is kept.
    pub fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Ask(question) => {
                    self.asked.push(question.clone());
                    let answer = self.tokio.block_on(self.script.ask(question.clone()));
                    self.tell(Message::Answered(Box::new((question, answer))));
                }
                other => self.effects.push(other),
            }
        }
    }

    /// Presses keys: letters, and words such as `enter`, `esc`, `C-d` between spaces.
    pub fn press(&mut self, keys: &str) -> &mut Self {
        for key in keys.split(' ').filter(|key| !key.is_empty()) {
            let (code, modifiers) = match key {
                "enter" => (KeyCode::Enter, KeyModifiers::NONE),
                "esc" => (KeyCode::Esc, KeyModifiers::NONE),
                "tab" => (KeyCode::Tab, KeyModifiers::NONE),
                "space" => (KeyCode::Char(' '), KeyModifiers::NONE),
                "down" => (KeyCode::Down, KeyModifiers::NONE),
                "bs" => (KeyCode::Backspace, KeyModifiers::NONE),
                control if control.starts_with("C-") => {
                    (KeyCode::Char(control.chars().nth(2).unwrap()), KeyModifiers::CONTROL)
                }
                letters => {
                    for letter in letters.chars() {
                        self.tell(Message::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE)));
                    }
                    continue;
                }
            };
            self.tell(Message::Key(KeyEvent::new(code, modifiers)));
        }
        self
    }

    /// Lets time pass.
    pub fn wait(&mut self, millis: u64) -> &mut Self {
        self.uptime += millis;
        self.tell(Message::Second);
        self
    }

    /// Loses the agent.
    pub fn lose(&mut self) {
        self.tell(Message::Detached(
            Trouble::new("the agent closed the connection"),
            Millis(500),
        ));
    }

    /// The picture.
    pub fn buffer(&self) -> Buffer {
        view(&self.app).0
    }

    /// The picture's text.
    pub fn text(&self) -> String {
        screen_text(&self.buffer())
    }

    /// Whether the picture has that text.
    pub fn shows(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// The commands that were given.
    pub fn commands(&self) -> Vec<String> {
        let command = |question: &Question| match question {
            Question::Command(command) => Some(serde_json::to_string(command).unwrap()),
            Question::Practice(incident) => Some(format!("practice {incident}")),
            _ => None,
        };
        self.asked.iter().filter_map(command).collect()
    }
}
