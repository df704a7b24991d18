//! Lines instead of screens: for screen readers, dumb terminals and logs. What is printed stays; nothing is redrawn.

use std::io::{self, Write};
use std::time::Duration;

use futures_util::StreamExt;

use super::link::Link;
use super::options::ExitNote;
use super::words;
use crate::clock::Clock;
use crate::domain::view::{Overview, StreamItem};

/// Prints the state, then every event as it happens, until the input ends or somebody stops it.
///
/// # Errors
/// When standard output is gone.
pub async fn run<L: Link>(link: L, clock: &Clock) -> io::Result<ExitNote> {
    let mut out = io::stdout();
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut shown = false;
    loop {
        let trouble = match link.stream().await {
            Err(trouble) => trouble.message,
            Ok(mut live) => loop {
                let item = tokio::select! {
                    _ = tokio::signal::ctrl_c() => return Ok(note()),
                    _ = stop.recv() => return Ok(note()),
                    item = live.next() => item,
                };
                match item {
                    Some(Ok(StreamItem::Overview { overview })) if !shown => {
                        shown = true;
                        state(&mut out, &overview)?;
                    }
                    Some(Ok(StreamItem::Event { record })) => {
                        let who = &record.actor.name;
                        writeln!(out, "{}  {who}: {}", words::full(record.at), record.event.summary())?;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(trouble)) => break trouble.message,
                    None => break "the agent closed the connection".to_owned(),
                }
            },
        };
        writeln!(
            out,
            "{}  no contact with the agent: {trouble}; trying again in 5 s",
            words::full(clock.now())
        )?;
        shown = false;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(note()),
            _ = stop.recv() => return Ok(note()),
            () = clock.sleep(Duration::from_secs(5)) => {}
        }
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
