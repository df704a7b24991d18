//! The sandbox's agent as a process of its own, as on a real machine: begun again by a minder whenever it ends, as a service
//! manager does it, so that it can be killed at any moment.
//!
//! The world is built with the engine in this process. When the agent moves out, that engine is stopped in good order and
//! another program goes on with its journal and its configuration. Whatever happens, the agent ends with its minder.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_util::task::AbortOnDropHandle;

use super::World;
use crate::api::Client;
use crate::clock::Clock;
use crate::sandbox::SandboxError;

/// What is waited before an agent that could not begin is begun again.
const BEGIN_AGAIN: Duration = Duration::from_millis(50);

/// That the agent is to be a process of its own.
#[derive(Debug, Clone)]
pub struct Apart {
    /// The program.
    pub program: PathBuf,
    /// The directory that says where it has killed itself already: it does so at every point it has not been to. Only a program
    /// that was built for tests does.
    pub crash: Option<PathBuf>,
}

/// An agent and its minder. Dropped means ended.
#[derive(Debug)]
pub(super) struct Minded {
    /// Its process; zero while there is none.
    pid: Arc<AtomicU32>,
    /// How often it ended.
    ends: Arc<AtomicU32>,
    _minding: AbortOnDropHandle<()>,
}

impl World {
    /// Has the agent be another process from here on.
    pub(in crate::sandbox) async fn move_out(&mut self, apart: &Apart) -> Result<(), SandboxError> {
        // It can only fail by having stopped already.
        let _ = self.engine.stop("the agent of the sandbox moves out").await;
        self.answering.cancel();
        let log = self.path().join("agent.log");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| SandboxError::local("write", &log, error))?;
        let (pid, ends) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let mut command = tokio::process::Command::new(&apart.program);
        command.arg("--config").arg(self.path().join("lifeboat.toml"));
        command.args(["agent", "run"]).current_dir("/").kill_on_drop(true);
        if let Some(crash) = &apart.crash {
            command.env("LIFEBOAT_CRASH", crash);
        }
        let minding = mind(command, log, (pid.clone(), ends.clone()), self.clock.clone());
        self.apart = Some(Minded {
            pid,
            ends,
            _minding: AbortOnDropHandle::new(tokio::spawn(minding)),
        });
        self.client = Client::connect(&self.socket, self.client.actor().clone());
        Ok(())
    }

    /// Whether the agent is a process of its own.
    pub(in crate::sandbox) fn is_apart(&self) -> bool {
        self.apart.is_some()
    }

    /// Kills an agent that is a process of its own; whether there was one.
    pub(in crate::sandbox) fn kill_agent(&self) -> bool {
        let pid = self.apart.as_ref().map_or(0, |apart| apart.pid.load(Ordering::SeqCst));
        // The minder has not waited for it, so the number is still its.
        i32::try_from(pid).is_ok_and(|pid| pid > 0 && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
    }

    /// How often an agent of its own has ended.
    pub(in crate::sandbox) fn agent_ended(&self) -> u32 {
        self.apart.as_ref().map_or(0, |apart| apart.ends.load(Ordering::SeqCst))
    }
}

/// Begins the agent, and begins it again whenever it has ended.
async fn mind(
    mut command: tokio::process::Command,
    log: File,
    (pid, ends): (Arc<AtomicU32>, Arc<AtomicU32>),
    clock: Clock,
) {
    loop {
        let out = log.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
        let err = log.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
        let started = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let killed = match started {
            Ok(mut child) => {
                pid.store(child.id().unwrap_or(0), Ordering::SeqCst);
                let ended = child.wait().await;
                pid.store(0, Ordering::SeqCst);
                ends.fetch_add(1, Ordering::SeqCst);
                ended.is_ok_and(|status| status.code().is_none())
            }
            Err(_) => false,
        };
        if !killed {
            clock.sleep(BEGIN_AGAIN).await;
        }
    }
}
