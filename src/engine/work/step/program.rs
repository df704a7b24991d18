//! Programs of a step: explicit words, a clean environment with the values in it, bounded output, killed with all they started.

use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::leftover::{self, Note};
use super::{Site, cancelled};
use crate::domain::job::Hook;
use crate::domain::run::Failure;
use crate::domain::runbook::next::Doing;
use crate::domain::runbook::template::Template;
use crate::source::{hook_command, kill_group};

/// What is kept of what a program says, in bytes from the end.
const KEPT: usize = 16 << 10;
/// Lines that are told at most; a program may print a gigabyte.
const TOLD: usize = 200;

/// How long the output of a program that has ended may stay open.
const LEFT_OPEN: std::time::Duration = std::time::Duration::from_secs(2);

/// The words of a command whose values are in place.
pub(super) fn words(command: &[Template]) -> Vec<String> {
    command.iter().map(Template::text).collect()
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
    let (status, output) = ended(site, words, shell, input).await?;
    if status == Some(0) {
        return Ok(output);
    }
    let line = words.join(" ");
    let how = status.map_or_else(|| "killed".to_owned(), |status| format!("status {status}"));
    let said = output
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing");
    Err(Failure {
        // What went wrong comes first: it is what a short line has room for.
        message: format!("{how}: {said} ({line})"),
        hint: Some("run it by hand as the agent's user".to_owned()),
        retryable: true,
    })
}

/// Runs a program to its end; returns its status, none when a signal ended it, and the end of what it printed.
pub(super) async fn ended(
    site: &Site<'_>,
    words: &[String],
    shell: bool,
    input: Option<String>,
) -> Result<(Option<i32>, String), Failure> {
    let line = words.join(" ");
    let failed = |why: String| Failure {
        message: format!("{line}: {why}"),
        hint: Some("run it by hand as the agent's user".to_owned()),
        retryable: true,
    };
    let mut words = words.to_vec();
    // This very program, so that a runbook works wherever it was put.
    if words.first().is_some_and(|program| program == "lifeboat")
        && let Ok(own) = std::env::current_exe()
    {
        words[0] = own.display().to_string();
    }
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
        .map_err(|error| failed(format!("it cannot be started: {error}")))?;
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
    let output = if said.0.trim().is_empty() { said.1 } else { said.0 };
    Ok((status.code(), output.trim_end().to_owned()))
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
    // Control characters of a program must not reach a terminal.
    String::from_utf8_lossy(&kept[from..])
        .chars()
        .filter(|c| !c.is_control() || *c == '\n' || *c == '\t')
        .collect()
}
