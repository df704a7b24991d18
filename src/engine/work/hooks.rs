//! Commands around a run: an explicit argument vector, a clean environment, a time limit; no shell unless it is asked for.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::job::Hook;
use crate::domain::run::Failure;
use crate::engine::log::RunLog;
use crate::source::{hook_command, kill_group};

/// Lines of a hook's output kept in the log.
const LINES: usize = 200;

/// Runs a hook to its end; what it prints goes to the log.
///
/// # Errors
/// When it cannot be started, ends with a status that is not zero, takes too long, or is cancelled. It is killed then,
/// with all it started.
pub(super) async fn run(
    name: &str,
    hook: &Hook,
    variables: &[(&str, String)],
    clock: &Clock,
    log: &RunLog,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let Some(mut command) = hook_command(hook) else {
        return Ok(());
    };
    command.envs(variables.iter().map(|(name, value)| (*name, value)));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let hint = format!("run it by hand as the agent's user: {}", hook.command.join(" "));
    let fail = |message: String| Failure {
        message,
        hint: Some(hint.clone()),
        retryable: true,
    };
    log.line(&format!("hook {name}: {}", hook.command.join(" ")));
    let mut child = command
        .spawn()
        .map_err(|error| fail(format!("hook {name} cannot be started: {error}")))?;
    let group = child.id();
    let output = (child.stdout.take(), child.stderr.take());
    let end = async {
        let ((), (), status) = tokio::join!(copy(output.0, name, log), copy(output.1, name, log), child.wait());
        status
    };
    let stopped = tokio::select! {
        status = end => match status {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => return Err(fail(format!("hook {name} failed: {status}"))),
            Err(error) => fail(format!("hook {name} was lost: {error}")),
        },
        () = clock.sleep(hook.timeout.to_std()) => fail(format!("hook {name} took longer than {}", hook.timeout)),
        () = cancel.cancelled() => Failure { message: format!("hook {name} was cancelled"), hint: None, retryable: false },
    };
    kill_group(group);
    Err(stopped)
}

async fn copy(stream: Option<impl AsyncRead + Unpin>, name: &str, log: &RunLog) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let mut lines = 0;
    // Read to the end even when the log is full: a hook that prints a gigabyte must not block on its pipe.
    while let Ok(1..) = tokio::io::AsyncReadExt::take(&mut reader, 64 << 10)
        .read_until(b'\n', &mut line)
        .await
    {
        lines += 1;
        if lines <= LINES {
            log.line(&format!("{name}| {}", String::from_utf8_lossy(&line).trim_end()));
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Millis;

    async fn play(command: &[&str], shell: bool, timeout: Millis) -> (Result<(), Failure>, String) {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::open(dir.path(), "run-1", Clock::system());
        let hook = Hook {
            command: command.iter().map(ToString::to_string).collect(),
            shell,
            timeout,
        };
        let variables = [("LIFEBOAT_JOB", "docs".to_owned())];
        let result = run(
            "before",
            &hook,
            &variables,
            &Clock::system(),
            &log,
            &CancellationToken::new(),
        )
        .await;
        (result, std::fs::read_to_string(dir.path().join("run-1.log")).unwrap())
    }

    #[tokio::test]
    async fn a_hook_sees_its_variables_and_leaves_its_output_in_the_log() {
        let (result, log) = play(&["echo", "job", "$LIFEBOAT_JOB"], true, Millis::from_secs(10)).await;
        result.unwrap();
        assert!(log.contains("before| job docs"), "{log}");
        let (result, log) = play(&["echo", "$LIFEBOAT_JOB"], false, Millis::from_secs(10)).await;
        result.unwrap();
        assert!(
            log.contains("before| $LIFEBOAT_JOB"),
            "no shell unless asked for: {log}"
        );
    }

    #[tokio::test]
    async fn a_hook_that_fails_hangs_or_is_missing_says_so() {
        let (result, _) = play(&["false"], false, Millis::from_secs(10)).await;
        assert!(result.unwrap_err().message.contains("exit status: 1"));
        let (result, _) = play(&["/no/such/program"], false, Millis::from_secs(10)).await;
        assert!(result.unwrap_err().message.contains("cannot be started"));
        let (result, _) = play(&["sleep 60 & wait"], true, Millis(100)).await;
        assert!(result.unwrap_err().message.contains("took longer"));
    }

    #[tokio::test]
    async fn a_hook_that_prints_without_end_is_bounded() {
        let (result, log) = play(&["yes | head -c 3000000"], true, Millis::from_secs(30)).await;
        result.unwrap();
        assert!(log.len() < 100_000, "{}", log.len());
    }
}
