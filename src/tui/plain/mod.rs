//! Lines instead of screens: for screen readers, dumb terminals and logs. What is printed stays; nothing is redrawn.
//!
//! The same memory as the screens is kept behind the lines, so an execution of a runbook is led by numbered answers with the
//! rules and the refusals of the wizard ([`lead`]). When the input ends, the lines go on.

pub mod lead;

use std::io::{self, BufRead, Write};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::app::{App, Settings};
use super::link::Link;
use super::message::{Effect, Message, Moment};
use super::options::ExitNote;
use super::runtime::follow;
use super::update::update;
use super::words;
use crate::clock::Clock;
use crate::domain::Millis;
use crate::domain::view::{Overview, StreamItem};
use lead::Talk;

/// Lines of input that may wait to be taken in.
const WAITING: usize = 64;

/// Prints the state, then every event as it happens, and leads runbooks by numbered answers, until somebody stops it.
///
/// # Errors
/// When standard output is gone.
pub async fn run<L: Link>(link: L, clock: &Clock, settings: Settings) -> io::Result<ExitNote> {
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let (sender, mut inbox) = mpsc::channel(1024);
    let mut lines = read_lines();
    let mut plain = Plain {
        app: App::new(settings, clock.now(), (100, 50)),
        talk: Talk::default(),
        shown: false,
        out: io::stdout(),
        clock: clock.clone(),
        started: clock.monotonic(),
        link: link.clone(),
        sender: sender.clone(),
    };
    let follower = Follower(tokio::spawn(follow(link, clock.clone(), sender)));
    let mut reading = true;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = stop.recv() => break,
            line = lines.recv(), if reading => match line {
                Some(line) => plain.typed(&line)?,
                None => reading = false,
            },
            Some(message) = inbox.recv() => plain.take(message)?,
        }
    }
    drop(follower);
    Ok(note())
}

/// The task that keeps the stream open; it ends with the lines.
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Standard input, line by line, on a thread of its own: reading it blocks.
fn read_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// What is behind the lines.
struct Plain<L> {
    app: App,
    talk: Talk,
    /// Whether the state was printed since there is contact.
    shown: bool,
    out: io::Stdout,
    clock: Clock,
    started: std::time::Instant,
    link: L,
    sender: mpsc::Sender<Message>,
}

impl<L: Link> Plain<L> {
    fn moment(&self) -> Moment {
        Moment {
            wall: self.clock.now(),
            uptime: Millis::from(self.clock.elapsed(self.started)),
        }
    }

    /// Takes in what happened, and prints what is new.
    fn take(&mut self, message: Message) -> io::Result<()> {
        match &message {
            Message::Stream(item) => match &**item {
                StreamItem::Overview { overview } if !self.shown => {
                    self.shown = true;
                    state(&mut self.out, overview)?;
                }
                StreamItem::Event { record } => {
                    let who = &record.actor.name;
                    writeln!(
                        self.out,
                        "{}  {who}: {}",
                        words::full(record.at),
                        record.event.summary()
                    )?;
                }
                _ => {}
            },
            Message::Detached(trouble, retry) => {
                self.shown = false;
                let (at, why) = (words::full(self.clock.now()), &trouble.message);
                let seconds = Duration::from_millis(retry.0).as_secs().max(1);
                writeln!(
                    self.out,
                    "{at}  no contact with the agent: {why}; trying again in {seconds} s"
                )?;
            }
            _ => {}
        }
        // Lines show no pages, so the pages a screen would ask for after an absence are not asked for.
        let wanted = !matches!(message, Message::Attached);
        let moment = self.moment();
        let effects = update(&mut self.app, message, moment);
        if wanted {
            self.perform(effects);
        }
        let mut lines = self.talk.heard(&mut self.app);
        lines.extend(self.talk.picture(&self.app));
        self.print(&lines)
    }

    fn typed(&mut self, line: &str) -> io::Result<()> {
        let moment = self.moment();
        // The moment is told to the memory as any message tells it.
        update(&mut self.app, Message::Second, moment);
        let (mut lines, effects) = self.talk.line(&mut self.app, line);
        lines.extend(self.talk.heard(&mut self.app));
        self.perform(effects);
        self.print(&lines)
    }

    /// Asks the agent; what only a screen could do is left.
    fn perform(&self, effects: Vec<Effect>) {
        for effect in effects {
            let Effect::Ask(question) = effect else { continue };
            let (link, sender) = (self.link.clone(), self.sender.clone());
            tokio::spawn(async move {
                let answer = link.ask(question.clone()).await;
                let _ = sender.send(Message::Answered(Box::new((question, answer)))).await;
            });
        }
    }

    fn print(&mut self, lines: &[String]) -> io::Result<()> {
        for line in lines {
            writeln!(self.out, "{line}")?;
        }
        self.out.flush()
    }
}

fn note() -> ExitNote {
    ExitNote {
        screen: None,
        text: "The agent and its work go on. Commands: lifeboat help".to_owned(),
    }
}

/// The picture as lines, worst first.
fn state(out: &mut impl Write, overview: &Overview) -> io::Result<()> {
    let mode = if overview.read_only { "read-only" } else { "read-write" };
    writeln!(
        out,
        "{} {}, {mode}, {}",
        overview.environment.to_uppercase(),
        overview.site,
        words::full(overview.at)
    )?;
    if let Some(text) = &overview.practice {
        writeln!(out, "{text}")?;
    }
    for alert in &overview.alerts {
        writeln!(
            out,
            "alert, {}: {}. Next: {}",
            alert.severity.word(),
            alert.message,
            alert.next_step
        )?;
    }
    for service in &overview.services {
        let loss = service.rpo.loss.map_or("everything".to_owned(), words::coarse);
        let back = service
            .rto
            .measured
            .map_or("not measured".to_owned(), |took| took.to_string());
        writeln!(
            out,
            "service {}: would lose {loss} of {}, {}; takes {back} of {} to recover, {}",
            service.name,
            words::promise(service.rpo.objective),
            service.rpo.level.word(),
            words::promise(service.rto.objective),
            service.rto.level.word(),
        )?;
    }
    for job in &overview.jobs {
        let (state, _) = super::screens::jobs::state(job);
        let next = job.next_due.map_or("not scheduled".to_owned(), |due| {
            format!("next {}", words::until(overview.at, due))
        });
        writeln!(out, "job {}: {state}, {next}", job.name)?;
    }
    writeln!(out, "Events follow as they happen; Ctrl-C leaves.")
}
