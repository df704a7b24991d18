//! Runbooks that are for other days than the five scenarios: both servers lost, the glass broken, and quiet days.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{Drill, Story, unexpected};
use crate::domain::runbook::template::Values;
use crate::domain::snapshot::EvidenceLevel;
use crate::domain::view::Query;
use crate::sandbox::dir::recovered;
use crate::sandbox::member::{Member, members};
use crate::sandbox::settings::near_repository;
use crate::sandbox::{SandboxError, shop};
use crate::source::postgres::ask;
use crate::source::quote;

impl Story {
    /// Says values of the runbook.
    pub(super) fn set<'a, V: AsRef<str> + 'a>(&mut self, values: impl IntoIterator<Item = &'a (&'a str, V)>) {
        for (name, value) in values {
            self.values.insert((*name).to_owned(), value.as_ref().to_owned());
        }
    }
}

impl Drill<'_> {
    pub(super) async fn base_backup(&self) -> Result<(), SandboxError> {
        self.log
            .line("back up     cluster; the agent streams its log into the repository");
        let run = self.run("cluster").await?;
        self.backed_up(run).await.map(drop)
    }

    pub(super) async fn base_ready(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        story.set(&[("source", "cluster")]);
        self.base_backup().await
    }

    /// The restore test left its evidence with the snapshot.
    pub(super) async fn prove_restored(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        let query = Query {
            job: Some("cluster".to_owned()),
            ..Query::default()
        };
        let page = self.patiently(async || self.client.snapshots(&query).await).await?;
        let newest = page.items.into_iter().next();
        let newest = newest.ok_or_else(|| unexpected("there is no snapshot of the cluster"))?;
        let proved = newest.evidence.level >= EvidenceLevel::Restored && newest.evidence.failure.is_none();
        let text = format!(
            "snapshot {} of the cluster is {}",
            newest.id.short(),
            newest.evidence.level
        );
        story.proof.push((proved, text));
        Ok(())
    }

    /// A program that a person is called by; it keeps what it was told.
    pub(super) fn pager(&self) -> Result<String, SandboxError> {
        let program = self.world.path().join("page");
        let told = quote(&self.world.path().join("paged").display().to_string());
        let text = format!("#!/bin/sh\ncat >> {told}\necho >> {told}\n");
        let written = std::fs::write(&program, text).and_then(|()| {
            let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&program, runs)
        });
        written.map_err(|error| SandboxError::local("write", &program, error))?;
        Ok(program.display().to_string())
    }

    /// The old primary is started again by its own command, read-only as its fence left it.
    pub(super) async fn start_old_primary(&self) -> Result<(), SandboxError> {
        let [first, _] = members(self.world.path());
        self.log.more("         the machine of db1 is back");
        self.service(&first, "start").await
    }

    async fn service(&self, member: &Member, verb: &str) -> Result<(), SandboxError> {
        let login = self.world.login().ok_or_else(|| unexpected("there is no server"))?;
        let bin_dir = login.connection.bin_dir.unwrap_or_default();
        let words = member.service(verb, &bin_dir);
        let ran = tokio::process::Command::new(&words[0])
            .args(&words[1..])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await
            .map_err(|error| SandboxError::local("run", Path::new(&words[0]), error))?;
        if ran.success() {
            return Ok(());
        }
        Err(unexpected(&format!("{} of {} ended with {ran}", verb, member.name)))
    }

    pub(super) async fn log_ready(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        self.base_backup().await?;
        let service = self.the_service()?;
        service.count_anew();
        self.orders_come_in(&service).await?;
        story.safe = service.taken();
        service.count_anew();
        self.recoverable_to(self.world.clock().now()).await?;
        let directory = recovered(self.world.path()).display().to_string();
        story.set(&[
            ("repository", "sandbox"),
            ("source", "cluster"),
            ("directory", &directory),
        ]);
        Ok(())
    }

    /// The standby goes the way of its primary.
    pub(super) async fn kill_standby(&self) -> Result<(), SandboxError> {
        let [_, second] = members(self.world.path());
        let home = second.home.clone();
        let killed = tokio::task::spawn_blocking(move || second.kill()).await;
        let killed = killed.map_err(std::io::Error::other).flatten();
        killed.map_err(|error| SandboxError::local("kill the server of", &home, error))?;
        self.log
            .line("INCIDENT    db2 was killed, too: nothing is left but the repository");
        Ok(())
    }

    /// Looks whether the newest orders are there, and opens the copy.
    pub(super) async fn open_recovered(&mut self, story: &Story, known: &Values) -> Result<(), SandboxError> {
        let mut login = self.world.login().ok_or_else(|| unexpected("there is no server"))?;
        let value = |name: &str| known.get(name).cloned().unwrap_or_default();
        login.connection.host = value("recover.socket");
        login.connection.port = value("recover.port").parse().unwrap_or(login.connection.port);
        login.connection.user = value("recover.user");
        let newest = story.safe.runs.last().map_or(0, |(_, last)| *last);
        let sql = format!("select (max(id) >= {newest})::text from orders");
        if ask(&login, shop::DATABASE, &sql, self.world.clock()).await?.as_deref() != Some("true") {
            return Err(unexpected("the newest orders are not in the recovered copy"));
        }
        let directory = value("directory");
        self.lifeboat_says(&["recover", "--promote", &directory]).await
    }

    /// The copy takes the place of the data that is lost, under the start command of its service.
    pub(super) async fn serve_from_recovered(&mut self, story: &mut Story, known: &Values) -> Result<(), SandboxError> {
        let [first, _] = members(self.world.path());
        let from = PathBuf::from(known.get("directory").map_or("", String::as_str));
        let (to, lost) = (first.data(), first.home.join("lost"));
        let moved = std::fs::rename(&to, &lost).and_then(|()| std::fs::rename(&from, &to));
        moved.map_err(|error| SandboxError::local("move", &from, error))?;
        self.service(&first, "start").await?;
        let service = self.the_service()?;
        self.orders_come_in(&service).await?;
        self.see_whether_back(story);
        Ok(())
    }

    pub(super) async fn prove_recovered(&mut self, story: &mut Story) -> Result<(), SandboxError> {
        self.prove_orders(story, &["db1"]).await
    }

    /// What two people do with the sealed password, on a machine where this program is not.
    pub(super) async fn break_glass(&mut self, story: &mut Story, step: &str) -> Result<(), SandboxError> {
        let root = self.world.path().to_owned();
        let (sealed, glass) = (root.join("password"), root.join("glass"));
        match step {
            "open" => tokio::fs::metadata(&sealed)
                .await
                .map(drop)
                .map_err(|error| SandboxError::local("open", &sealed, error)),
            "list" => self.restic(&sealed, &["snapshots", "--compact"]).await,
            "restore" => {
                let target = glass.display().to_string();
                self.restic(&sealed, &["restore", "latest", "--target", &target])
                    .await?;
                let documents = self.world.documents();
                let inside = documents.strip_prefix("/").unwrap_or(&documents);
                self.compare_files(story, glass.join(inside)).await
            }
            "seal" => self.seal_again(story, &sealed).await,
            _ => Err(unexpected(&format!(
                "step {step} asks for something nobody here can do"
            ))),
        }
    }

    async fn seal_again(&mut self, story: &mut Story, sealed: &Path) -> Result<(), SandboxError> {
        let (new, old) = (sealed.with_extension("new"), sealed.with_extension("old"));
        let failed = |error| SandboxError::local("write", &new, error);
        tokio::fs::write(&new, format!("{:016x}\n", getrandom::u64().unwrap_or(1)))
            .await
            .map_err(failed)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&new, private).map_err(failed)?;
        let repository = near_repository(self.world.path()).display().to_string();
        let (new_file, old_file) = (new.display().to_string(), sealed.display().to_string());
        let words = ["repo", "key", "password", "--new-password-file", &new_file];
        let place = ["--repository", &repository, "--password-file", &old_file];
        self.lifeboat_says(&[&words[..], &place[..]].concat()).await?;
        let moved = std::fs::rename(sealed, &old).and_then(|()| std::fs::rename(&new, sealed));
        moved.map_err(failed)?;
        let opens = self.restic(sealed, &["cat", "config"]).await.is_ok();
        story
            .proof
            .push((opens, "the new password opens the repository".to_owned()));
        let shut = self.restic(&old, &["cat", "config"]).await.is_err();
        story
            .proof
            .push((shut, "the old password does not any more".to_owned()));
        "nothing: the repository had every file".clone_into(&mut story.lost);
        Ok(())
    }

    /// The other program, which knows nothing of this one.
    async fn restic(&self, password: &Path, words: &[&str]) -> Result<(), SandboxError> {
        self.log
            .more(&format!("         restic -r REPOSITORY {}", words.join(" ")));
        let ended = tokio::process::Command::new("restic")
            .arg("-r")
            .arg(near_repository(self.world.path()))
            .args(words)
            .args(["--no-cache", "--no-lock", "--quiet"])
            .env("RESTIC_PASSWORD_FILE", password)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await;
        match ended {
            Ok(ended) if ended.status.success() => Ok(()),
            Ok(ended) => Err(unexpected(String::from_utf8_lossy(&ended.stderr).trim())),
            Err(error) => Err(SandboxError::Engine {
                message: format!("restic cannot be run: {error}"),
                hint: Some("install restic: who breaks the glass reads the repository with it".to_owned()),
            }),
        }
    }
}
