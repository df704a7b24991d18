//! Commands a person would type, each run as a process of its own and shown as it would be typed.

use std::path::Path;
use std::process::{Output, Stdio};

use serde::Deserialize;

use super::{Drill, unexpected};
use crate::sandbox::SandboxError;
use crate::source::quote;

/// Of what a command says, so many lines are shown.
const SHOWN: usize = 6;

impl Drill<'_> {
    /// Runs a command of ours on the sandbox and reads what it answers.
    pub(super) async fn lifeboat<T: for<'de> Deserialize<'de>>(&self, words: &[&str]) -> Result<T, SandboxError> {
        let ended = self.run_lifeboat(words, &["--json"]).await?;
        serde_json::from_slice(&ended.stdout)
            .map_err(|error| unexpected(&format!("an answer nobody expected: {error}")))
    }

    /// Runs a command of ours on the sandbox and shows what it says.
    pub(super) async fn lifeboat_says(&self, words: &[&str]) -> Result<(), SandboxError> {
        let ended = self.run_lifeboat(words, &[]).await?;
        self.show_lines(&ended);
        Ok(())
    }

    /// Runs the command that has the shop's name mean another server.
    pub(super) async fn route(&self, member: &str) -> Result<(), SandboxError> {
        let program = self.world.path().join("route");
        self.show_words(&quote(&program.display().to_string()), &[member]);
        let ended = ended(tokio::process::Command::new(&program).arg(member), &program).await?;
        self.show_lines(&ended);
        Ok(())
    }

    async fn run_lifeboat(&self, words: &[&str], more: &[&str]) -> Result<Output, SandboxError> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => {
                std::env::current_exe().map_err(|error| SandboxError::local("find", "this program".as_ref(), error))?
            }
        };
        self.show_words("lifeboat", words);
        let mut command = tokio::process::Command::new(&program);
        command
            .args(words)
            .args(more)
            .arg("--config")
            .arg(self.world.path().join("lifeboat.toml"));
        ended(&mut command, &program).await
    }

    fn show_words(&self, program: &str, words: &[&str]) {
        let shown: Vec<String> = words.iter().map(|word| quote(word)).collect();
        self.log.line(&format!("$ {program} {}", shown.join(" ")));
    }

    fn show_lines(&self, ended: &Output) {
        let text = String::from_utf8_lossy(&ended.stdout);
        for line in text.lines().filter(|line| !line.trim().is_empty()).take(SHOWN) {
            self.log.more(line);
        }
    }
}

/// What a command said when it had ended well.
async fn ended(command: &mut tokio::process::Command, program: &Path) -> Result<Output, SandboxError> {
    let ended = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| SandboxError::local("run", program, error))?;
    if ended.status.success() {
        return Ok(ended);
    }
    Err(unexpected(String::from_utf8_lossy(&ended.stderr).trim()))
}
