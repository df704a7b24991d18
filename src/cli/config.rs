//! `lifeboat config`: what the configuration says, or what is wrong with it.

use std::path::PathBuf;

use serde::Serialize;

use super::args::ConfigCommand;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::output::{Paint, Render, Text, short};
use crate::config::Config;
use crate::domain::id::SourceName;
use crate::domain::job::{Definitions, Job};
use crate::domain::schedule::Schedule;
use crate::domain::source::{PostgresConnection, SecretRef, SourceKind};

/// Runs a verb of `lifeboat config`.
pub fn run(command: ConfigCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    let config = ctx.config()?;
    match command {
        ConfigCommand::Check => ctx.print(&Checked::of(&config))?,
        ConfigCommand::Show => ctx.print(&Shown::of(config))?,
    }
    Ok(Exit::Done)
}

/// That the configuration can be used, and what it defines.
#[derive(Debug, Serialize)]
struct Checked {
    files: Vec<PathBuf>,
    repositories: usize,
    sources: usize,
    jobs: usize,
    services: usize,
    clusters: usize,
    drills: usize,
    runbooks: usize,
}

impl Checked {
    fn of(config: &Config) -> Self {
        let all = &config.definitions;
        Self {
            files: config.files.clone(),
            repositories: all.repositories.len(),
            sources: all.sources.len(),
            jobs: all.jobs.len(),
            services: all.services.len(),
            clusters: all.clusters.len(),
            drills: all.drills.len(),
            runbooks: all.runbooks.len(),
        }
    }
}

impl Render for Checked {
    fn text(&self, out: &mut Text) {
        for file in &self.files {
            out.line(file.display().to_string());
        }
        out.painted(
            Paint::Good,
            format!(
                "correct: repositories {}, sources {}, jobs {}, services {}, clusters {}, drills {}, runbooks {}",
                self.repositories, self.sources, self.jobs, self.services, self.clusters, self.drills, self.runbooks
            ),
        );
    }
}

/// The configuration as it was understood; secrets are references and stay so.
#[derive(Debug, Serialize)]
struct Shown {
    files: Vec<PathBuf>,
    state_dir: PathBuf,
    journal: PathBuf,
    socket: PathBuf,
    log_file: PathBuf,
    log_level: &'static str,
    #[serde(flatten)]
    definitions: Definitions,
}

impl Shown {
    fn of(config: Config) -> Self {
        Self {
            files: config.files,
            state_dir: config.agent.state_dir,
            journal: config.agent.journal,
            socket: config.agent.socket,
            log_file: config.agent.log_file,
            log_level: config.agent.log_level.word(),
            definitions: config.definitions,
        }
    }
}

fn secret(secret: &SecretRef) -> String {
    match secret {
        SecretRef::File(path) => format!("file {}", path.display()),
        SecretRef::Env(name) => format!("variable {name}"),
        SecretRef::Command(words) => format!("command {}", words.first().map_or("", String::as_str)),
    }
}

impl Render for Shown {
    fn text(&self, out: &mut Text) {
        let all = &self.definitions;
        out.field("site", format!("{} {}", all.environment, all.site));
        for file in &self.files {
            out.field("file", file.display().to_string());
        }
        out.field("state", self.state_dir.display().to_string());
        out.field("journal", self.journal.display().to_string());
        out.field("socket", self.socket.display().to_string());
        out.field("log", format!("{}, {}", self.log_file.display(), self.log_level));
        for repository in all.repositories.values() {
            out.heading(&format!("repository {}", repository.name));
            out.field("url", &repository.url);
            out.field("password", secret(&repository.password));
            let access = &repository.access;
            if let Some(key) = &access.key {
                out.field(
                    "access key",
                    format!("{}, its secret from {}", key.id, secret(&key.secret)),
                );
            }
            out.maybe("limit up", access.limit_upload.map(|limit| format!("{limit}/s")));
            out.maybe("limit down", access.limit_download.map(|limit| format!("{limit}/s")));
        }
        for source in all.sources.values() {
            out.heading(&format!("source {} ({})", source.name, source.kind.word()));
            match &source.kind {
                SourceKind::Files(files) => {
                    for path in &files.paths {
                        out.field("path", path.display().to_string());
                    }
                    for pattern in &files.exclude {
                        out.field("exclude", pattern);
                    }
                }
                SourceKind::PostgresDump(postgres) => {
                    out.field("server", postgres.connection.display());
                    out.field("database", &postgres.database);
                    out.maybe("password", postgres.connection.password.as_ref().map(secret));
                }
                SourceKind::PostgresPhysical(cluster) => {
                    out.field("server", cluster.connection.display());
                    out.maybe("password", cluster.connection.password.as_ref().map(secret));
                    out.maybe("standby", cluster.standby.as_ref().map(PostgresConnection::display));
                    out.field("read from", cluster.from.word());
                    out.field("method", cluster.method.word());
                    let place = |path: &std::path::PathBuf| path.display().to_string();
                    out.maybe("data directory", cluster.data_directory.as_ref().map(place));
                    out.maybe("scratch", cluster.scratch_dir.as_ref().map(place));
                }
            }
        }
        for job in all.jobs.values() {
            job_text(out, job);
        }
        for service in all.services.values() {
            out.heading(&format!("service {}", service.name));
            let sources: Vec<&str> = service.sources.iter().map(SourceName::as_str).collect();
            out.field("sources", sources.join(", "));
            let objective = service.objective;
            out.field(
                "promise",
                format!("RPO {}, RTO {}", short(objective.rpo), short(objective.rto)),
            );
        }
        for cluster in all.clusters.values() {
            out.heading(&format!("cluster {}", cluster.name));
            for member in &cluster.members {
                let place = member.data_directory.as_ref();
                let place = place.map_or_else(String::new, |path| format!(", here in {}", path.display()));
                out.field(member.name.as_str(), format!("{}{place}", member.connection.display()));
            }
            out.maybe("fence", cluster.fence.as_ref().map(|hook| hook.command.join(" ")));
        }
        for drill in all.drills.values() {
            out.heading(&format!("drill {}", drill.name));
            out.field("source", drill.source.as_str());
            let schedule = drill.schedule.as_ref();
            out.field(
                "schedule",
                schedule.map_or_else(|| "by hand".to_owned(), Schedule::in_words),
            );
            out.field("restores", format!("{}, to level {}", drill.point.words(), drill.level));
            out.maybe("limit", drill.limit.map(short));
        }
    }
}

fn job_text(out: &mut Text, job: &Job) {
    out.heading(&format!("job {}", job.name));
    out.field("source", job.source.as_str());
    out.field("repository", job.repository.as_str());
    let schedule = job.schedule.as_ref();
    out.field(
        "schedule",
        schedule.map_or_else(|| "by hand".to_owned(), Schedule::in_words),
    );
    out.field("proved to", job.verify.level.word());
    out.field("attempts", job.retry.attempts.to_string());
    out.maybe("timeout", job.timeout.map(short));
}
