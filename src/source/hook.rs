//! Commands of the configuration: explicit words, a clean environment, no shell unless it is asked for, a group of their own.
//!
//! Whoever runs one says where its output goes and what it is told, waits for it with a limit of time, and ends it together with
//! all it started ([`kill_group`]).

use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

use crate::domain::job::Hook;

/// What a command may know of our environment.
const KEPT: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// The command of a hook, without input; none when there is no program in it.
pub(crate) fn hook_command(hook: &Hook) -> Option<Command> {
    let (program, words) = hook.command.split_first()?;
    let mut command = Command::new(if hook.shell { "/bin/sh" } else { program });
    if hook.shell {
        command.arg("-c").arg(hook.command.join(" "));
    } else {
        command.args(words);
    }
    let kept = KEPT
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.env_clear().envs(kept.collect::<Vec<_>>());
    command.stdin(Stdio::null()).process_group(0);
    Some(command)
}

/// Kills a command and all it started; `leader` is the number it had when it was started.
pub(crate) fn kill_group(leader: Option<u32>) {
    if let Some(group) = leader.and_then(|pid| i32::try_from(pid).ok()) {
        // One that has ended already needs no signal.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}
