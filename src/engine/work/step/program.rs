//! Programs of a step: explicit words, a clean environment with the values in it, bounded output, killed with all they started.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::leftover::{self, Note};
use super::{Site, cancelled};
use crate::domain::job::Hook;
use crate::domain::run::Failure;
use crate::domain::runbook::next::Doing;
use crate::domain::runbook::template::Template;
use crate::domain::runbook::tidy;
use crate::source::{hook_command, kill_group};

/// What is kept of what a program says, in bytes from the end.
const KEPT: usize = tidy::OUTPUT;
/// Lines that are told at most; a program may print a gigabyte.
const TOLD: usize = 200;

/// How long the output of a program that has ended may stay open.
const LEFT_OPEN: std::time::Duration = std::time::Duration::from_secs(2);

/// The words of a command whose values are in place.
pub(super) fn words(command: &[Template]) -> Vec<String> {
    command.iter().map(Template::text).collect()
}

/// How a program ended.
pub(super) struct Ended {
    status: ExitStatus,
    /// The end of what it printed.
    out: String,
    /// The end of what it complained about.
    err: String,
}

impl Ended {
    /// Its status; none when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What it said: what it printed, or else what it complained about.
    pub fn said(&self) -> &str {
        if self.out.is_empty() { &self.err } else { &self.out }
    }

    /// How it ended and the last thing it said of why, as whoever reads it at night needs it. The command stands beside it.
    pub fn how(&self) -> String {
        let status = match (self.status.code(), self.status.signal()) {
            (Some(status), _) => format!("it ended with status {status}"),
            (None, Some(signal)) => format!("it was killed by signal {signal}"),
            (None, None) => "it was killed".to_owned(),
        };
        // What went wrong is said on the error output; few say it on the other.
        let last = |text: &str| {
            text.lines()
                .rev()
                .map(str::trim)
                .find(|line| !line.is_empty())
                .map(str::to_owned)
        };
        match last(&self.err).or_else(|| last(&self.out)) {
            Some(last) => format!("{status}: {last}"),
            None => format!("{status} and said nothing"),
        }
    }
}

/// Runs a program to its end; returns the end of what it printed.
///
/// # Errors
/// When it cannot be started, ends with anything but zero, or is stopped.
pub(super) async fn run(
    site: &Site<'_>,
    words: &[String],
    shell: bool,
    input: Option<String>,
) -> Result<String, Failure> {
    let ended = ended(site, words, shell, input).await?;
    if ended.code() == Some(0) {
        return Ok(ended.said().to_owned());
    }
    Err(failed(ended.how()))
}

fn failed(message: String) -> Failure {
    Failure {
        message,
        hint: Some("run it by hand as the agent's user".to_owned()),
        retryable: true,
    }
}

/// Runs a program to its end, whatever that is.
///
/// # Errors
/// When it cannot be started, or is stopped.
pub(super) async fn ended(
    site: &Site<'_>,
    words: &[String],
    shell: bool,
    input: Option<String>,
) -> Result<Ended, Failure> {
    let mut words = words.to_vec();
    // This very program, so that a runbook works wherever it was put.
    if words.first().is_some_and(|program| program == "lifeboat")
        && let Ok(own) = std::env::current_exe()
    {
        words[0] = own.display().to_string();
    }
    let program = words.first().cloned().unwrap_or_default();
    let hook = Hook {
        command: words,
        shell,
        timeout: site.order.run.runbook.steps[site.order.at].timeout,
    };
    let mut command = hook_command(&hook).ok_or_else(|| failed("there is no program".to_owned()))?;
    command.envs(variables(site)).current_dir("/");
    // What only asks is over with its agent, whatever it does.
    let acts = site.order.doing != Doing::Look && site.order.doing != Doing::Verify;
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| failed(not_started(&program, shell, &error)))?;
    let group = child.id();
    let (run, step) = (&site.order.run.id, &site.order.run.runbook.steps[site.order.at].id);
    let _note = acts.then(|| Note::leave(&site.worker.state_dir, run, step, group));
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    }
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let mut said = (String::new(), String::new());
    let end = async {
        let reading = async { tokio::join!(tail(site, out), tail(site, err)) };
        tokio::pin!(reading);
        tokio::select! {
            read = &mut reading => {
                said = read;
                child.wait().await
            }
            status = child.wait() => {
                // A program that leaves a child behind with its output open has ended all the same.
                tokio::select! {
                    read = &mut reading => said = read,
                    () = site.worker.clock.sleep(LEFT_OPEN) => {}
                }
                status
            }
        }
    };
    let status = tokio::select! {
        status = end => status.map_err(|error| failed(format!("it was lost: {error}")))?,
        () = site.work.cancel.cancelled() => {
            kill_group(group);
            return Err(cancelled());
        }
    };
    Ok(Ended {
        status,
        out: said.0.trim_end().to_owned(),
        err: said.1.trim_end().to_owned(),
    })
}

fn not_started(program: &str, shell: bool, error: &std::io::Error) -> String {
    let program = if shell { "sh" } else { program };
    match error.kind() {
        ErrorKind::NotFound => format!("{program} cannot be started: there is no such program"),
        ErrorKind::PermissionDenied => format!("{program} cannot be started: the agent's user may not"),
        _ => format!("{program} cannot be started: {error}"),
    }
}

/// Every value as `LIFEBOAT_NAME`, and where the configuration is.
fn variables(site: &Site<'_>) -> Vec<(String, String)> {
    let name = |name: &str| format!("LIFEBOAT_{}", name.to_ascii_uppercase().replace(['.', '-'], "_"));
    let values = site.order.run.values.iter();
    let mut all: Vec<(String, String)> = values.map(|(key, value)| (name(key), value.clone())).collect();
    all.push(leftover::variable(
        &site.order.run.id,
        &site.order.run.runbook.steps[site.order.at].id,
    ));
    if let Some(path) = &site.order.engine.overview().borrow().agent.config_path {
        all.push(("LIFEBOAT_CONFIG".to_owned(), path.clone()));
    }
    all
}

/// Reads to the end, keeps the last of it, tells the first lines.
async fn tail(site: &Site<'_>, stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let (mut kept, mut line, mut told) = (Vec::new(), Vec::new(), 0);
    let mut buffer = vec![0; 8 << 10];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let bytes = &buffer[..length];
        kept.extend_from_slice(bytes);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
        for byte in bytes {
            match byte {
                _ if told == TOLD => break,
                b'\n' => {
                    told += 1;
                    site.tell(String::from_utf8_lossy(&line).into_owned());
                    line.clear();
                }
                byte if line.len() < 500 => line.push(*byte),
                _ => {}
            }
        }
    }
    let from = kept.len().saturating_sub(KEPT);
    let text = String::from_utf8_lossy(&kept[from..]);
    // A byte that is no text may become three, and a letter may have been cut in two: the end is what counts.
    let text = text.trim_start_matches(char::REPLACEMENT_CHARACTER);
    tidy::text(&text[text.ceil_char_boundary(text.len().saturating_sub(KEPT))..], KEPT)
}
