//! The outside of the console: the loop that feeds `update`, carries out effects, and draws when the queue is empty.
//!
//! Input is drawn at once; what the engine sends is drawn at most twice a second over SSH and four times locally; a
//! second that changes nothing visible writes nothing.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use ratatui::layout::Rect;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::app::{App, STALE_AFTER, Settings};
use super::frame::FrameWriter;
use super::link::{Link, Question, Trouble};
use super::message::{Effect, Message, Moment};
use super::options::{ExitNote, TuiError, TuiOptions, going_on, screen_text};
use super::plain;
use super::terminal::{self, Terminal};
use super::update::update;
use super::view::view;
use crate::clock::Clock;
use crate::domain::Millis;

/// Runs the console until somebody leaves it.
///
/// # Errors
/// [`TuiError`], with the terminal given back.
pub async fn run<L: Link>(link: L, options: TuiOptions) -> Result<ExitNote, TuiError> {
    let settings = Settings {
        me: link.who(),
        ..options.settings()?
    };
    if options.plain {
        return Ok(plain::run(link, &options.clock, settings).await?);
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(TuiError::NoTerminal);
    }
    let mut signals = Signals::new()?;
    let terminal = Terminal::enter()?;
    let mut console = Console::new(link, options, settings, terminal)?;
    console.live(&mut signals).await
}

/// The signals a console answers.
struct Signals {
    end: [Signal; 3],
    stop: Signal,
    go_on: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            end: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::interrupt())?,
            ],
            stop: signal(SignalKind::from_raw(nix::libc::SIGTSTP))?,
            go_on: signal(SignalKind::from_raw(nix::libc::SIGCONT))?,
        })
    }

    async fn next(&mut self) -> Asked {
        let [terminate, hangup, interrupt] = &mut self.end;
        tokio::select! {
            _ = terminate.recv() => Asked::End,
            _ = hangup.recv() => Asked::End,
            _ = interrupt.recv() => Asked::End,
            _ = self.stop.recv() => Asked::Stop,
            _ = self.go_on.recv() => Asked::GoOn,
        }
    }
}

/// What a signal asks for.
enum Asked {
    End,
    Stop,
    GoOn,
}

/// A console that runs.
struct Console<L> {
    link: L,
    clock: Clock,
    started: std::time::Instant,
    app: App,
    terminal: Terminal,
    writer: FrameWriter<std::fs::File>,
    sender: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
    /// The shortest time between two frames that nobody asked for with a key.
    pace: Duration,
    leaving: Option<bool>,
    /// When it came back from a suspension.
    resumed: Option<std::time::Instant>,
}

/// Whether and how soon the screen has to be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Dirty {
    No,
    Soon,
    Now,
}

impl<L: Link> Console<L> {
    fn new(link: L, options: TuiOptions, settings: Settings, terminal: Terminal) -> Result<Self, TuiError> {
        let size = crossterm::terminal::size()?;
        let clock = options.clock;
        let (sender, inbox) = mpsc::channel(1024);
        let writer = FrameWriter::new(
            terminal.writer()?,
            Rect::new(0, 0, size.0, size.1),
            options.synchronized,
        );
        let over_ssh = std::env::var_os("SSH_TTY").is_some();
        Ok(Self {
            link,
            started: clock.monotonic(),
            app: App::new(settings, clock.now(), size),
            clock,
            terminal,
            writer,
            sender,
            inbox,
            pace: Duration::from_millis(if over_ssh { 500 } else { 250 }),
            leaving: None,
            resumed: None,
        })
    }

    async fn live(&mut self, signals: &mut Signals) -> Result<ExitNote, TuiError> {
        let follower = tokio::spawn(follow(self.link.clone(), self.clock.clone(), self.sender.clone()));
        let ended = self.turn(signals).await;
        follower.abort();
        ended
    }

    async fn turn(&mut self, signals: &mut Signals) -> Result<ExitNote, TuiError> {
        let clock = self.clock.clone();
        let mut input = EventStream::new();
        let mut second = Box::pin(clock.sleep(Duration::from_secs(1)));
        let mut drawn = self.clock.monotonic();
        let mut dirty = Dirty::Now;
        loop {
            if terminal::has_panicked() {
                return Err(TuiError::Panicked);
            }
            if let Some(leave_screen) = self.leaving {
                return Ok(self.exit_note(leave_screen));
            }
            let waited = self.clock.elapsed(drawn);
            if dirty == Dirty::Now || (dirty == Dirty::Soon && waited >= self.pace) {
                self.draw()?;
                (dirty, drawn) = (Dirty::No, self.clock.monotonic());
            }
            let pause = self.pace.saturating_sub(self.clock.elapsed(drawn));
            tokio::select! {
                biased;
                asked = signals.next() => {
                    match asked {
                        Asked::End => return Ok(self.exit_note(false)),
                        _ if self.is_echo() => {}
                        Asked::Stop => self.suspend()?,
                        // Somebody stopped us without asking; what they left on the terminal is not ours.
                        Asked::GoOn => self.come_back()?,
                    }
                    dirty = Dirty::Now;
                }
                event = input.next() => {
                    let Some(Ok(event)) = event else { return Ok(self.exit_note(false)) };
                    self.typed(event)?;
                    // Whatever else has been typed or resized meanwhile comes before the drawing. Not asked of the stream:
                    // it remembers who asked last, and would wake nobody for the next key.
                    while crossterm::event::poll(Duration::ZERO)? {
                        self.typed(crossterm::event::read()?)?;
                    }
                    if self.app.suspend_asked {
                        self.suspend()?;
                    }
                    dirty = Dirty::Now;
                }
                Some(message) = self.inbox.recv() => {
                    dirty = dirty.max(self.take(message)?);
                    while let Ok(message) = self.inbox.try_recv() {
                        dirty = dirty.max(self.take(message)?);
                    }
                }
                () = clock.sleep(pause), if dirty == Dirty::Soon => {}
                () = &mut second => {
                    second = Box::pin(clock.sleep(Duration::from_secs(1)));
                    self.take(Message::Second)?;
                    dirty = dirty.max(Dirty::Soon);
                }
            }
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            wall: self.clock.now(),
            uptime: Millis::from(self.clock.elapsed(self.started)),
        }
    }

    fn draw(&mut self) -> Result<(), TuiError> {
        let (picture, cursor) = view(&self.app);
        self.writer.show(picture, cursor)?;
        Ok(())
    }

    fn typed(&mut self, event: Event) -> Result<(), TuiError> {
        let message = match event {
            Event::Key(key) => Message::Key(key),
            Event::Paste(text) => Message::Paste(text),
            Event::Resize(columns, rows) => Message::Resized(columns, rows),
            Event::FocusGained | Event::FocusLost | Event::Mouse(_) => return Ok(()),
        };
        self.take(message).map(drop)
    }

    /// Gives a message to `update` and carries out what it asks for.
    fn take(&mut self, message: Message) -> Result<Dirty, TuiError> {
        let dirty = match &message {
            Message::Second | Message::Stream(_) => Dirty::Soon,
            _ => Dirty::Now,
        };
        let moment = self.moment();
        for effect in update(&mut self.app, message, moment) {
            self.carry_out(effect)?;
        }
        Ok(dirty)
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), TuiError> {
        match effect {
            Effect::Ask(question) => self.ask(question),
            Effect::Copy(text) => {
                // Terminals refuse or cut what is larger; better nothing than half of it.
                let text =
                    base64::engine::general_purpose::STANDARD.encode(text.chars().take(50_000).collect::<String>());
                let mut out = self.terminal.writer()?;
                out.write_all(format!("\x1b]52;c;{text}\x07").as_bytes())?;
            }
            Effect::Save(name, text) => {
                let sender = self.sender.clone();
                tokio::spawn(async move {
                    let saved = tokio::task::spawn_blocking(move || save(&name, &text)).await;
                    let result = saved.unwrap_or_else(|error| Err(error.to_string()));
                    let _ = sender.send(Message::Saved(result)).await;
                });
            }
            Effect::Suspend => self.app.suspend_asked = true,
            Effect::Repaint => self.writer.forget(Rect::new(0, 0, self.app.size.0, self.app.size.1)),
            Effect::Quit { leave_screen } => self.leaving = Some(leave_screen),
        }
        Ok(())
    }

    fn ask(&self, question: Question) {
        let (link, sender) = (self.link.clone(), self.sender.clone());
        // Questions are answered at once or not at all; commands may have to wait for a hook or a lock.
        let patience = match question {
            Question::Command(_) | Question::Practice(_) | Question::Plan(_) => Duration::from_mins(2),
            _ => Duration::from_secs(30),
        };
        tokio::spawn(async move {
            let answer = tokio::time::timeout(patience, link.ask(question.clone())).await;
            let late = || Err(Trouble::new(format!("no answer within {} s", patience.as_secs())));
            let _ = sender
                .send(Message::Answered(Box::new((
                    question,
                    answer.unwrap_or_else(|_| late()),
                ))))
                .await;
        });
    }

    fn suspend(&mut self) -> Result<(), TuiError> {
        self.app.suspend_asked = false;
        self.terminal.suspend()?;
        self.resumed = Some(self.clock.monotonic());
        self.repaint_at_new_size()
    }

    /// Whether a signal is but the echo of a suspension that has ended just now: what we sent ourselves and what woke us
    /// reach this loop only after we are awake.
    fn is_echo(&self) -> bool {
        self.resumed
            .is_some_and(|at| self.clock.elapsed(at) < Duration::from_secs(1))
    }

    fn come_back(&mut self) -> Result<(), TuiError> {
        self.terminal.again()?;
        self.repaint_at_new_size()
    }

    fn repaint_at_new_size(&mut self) -> Result<(), TuiError> {
        let (columns, rows) = crossterm::terminal::size()?;
        self.take(Message::Resized(columns, rows))?;
        self.writer.forget(Rect::new(0, 0, columns, rows));
        Ok(())
    }

    fn exit_note(&self, leave_screen: bool) -> ExitNote {
        let screen = leave_screen.then(|| {
            let (picture, _) = view(&self.app);
            screen_text(&picture)
        });
        ExitNote {
            screen,
            text: going_on(&self.app),
        }
    }
}

fn save(name: &str, text: &str) -> Result<String, String> {
    let open = std::fs::OpenOptions::new().write(true).create_new(true).open(name);
    let written = open.and_then(|mut file| file.write_all(text.as_bytes()));
    written
        .map(|()| name.to_owned())
        .map_err(|error| format!("{name} was not written: {error}"))
}

/// Keeps a live stream open for as long as the console lives.
pub(super) async fn follow<L: Link>(link: L, clock: Clock, sender: mpsc::Sender<Message>) {
    const LEAST: Duration = Duration::from_millis(500);
    const MOST: Duration = Duration::from_secs(10);
    let mut pause = LEAST;
    loop {
        let opened = tokio::time::timeout(MOST, link.stream()).await;
        let trouble = match opened {
            Err(_) => Trouble::new("the agent does not answer"),
            Ok(Err(trouble)) => trouble,
            Ok(Ok(mut live)) => {
                pause = LEAST;
                if sender.send(Message::Attached).await.is_err() {
                    return;
                }
                loop {
                    match tokio::time::timeout(STALE_AFTER.to_std(), live.next()).await {
                        Ok(Some(Ok(item))) => {
                            if sender.send(Message::Stream(Arc::new(item))).await.is_err() {
                                return;
                            }
                        }
                        Ok(Some(Err(trouble))) => break trouble,
                        Ok(None) => break Trouble::new("the agent closed the connection"),
                        Err(_) => break Trouble::new("nothing was heard of the agent for 25 s"),
                    }
                }
            }
        };
        if sender
            .send(Message::Detached(trouble, Millis::from(pause)))
            .await
            .is_err()
        {
            return;
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(MOST);
    }
}
