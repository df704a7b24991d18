//! Writing what the console creates: a file of its own in `conf.d`, checked as a whole before it is kept.
//!
//! One file holds everything of one name, so the job and the source `documents` share `conf.d/documents.toml`. Comments
//! and order of a file that is there are kept. Files that people write are never touched.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Spanned;
use toml_edit::{DocumentMut, Item, Table};

use super::Config;
use super::error::ConfigError;
use super::load::{Overlay, Surroundings, dropin_directory, load};
use super::raw::{
    AbsolutePath, Duration, RawCheck, RawConnection, RawFiles, RawHook, RawHooks, RawJob, RawPostgresDump,
    RawPostgresPhysical, RawProbe, RawRepository, RawRetention, RawRetry, RawService, RawVerify, Secret, Size,
};
use crate::domain::id::is_valid_name;
use crate::domain::job::{Hook, Job, RepositoryDefinition, UpkeepPolicy};
use crate::domain::objective::Service;
use crate::domain::retention::RetentionPolicy;
use crate::domain::source::{DumpFormat, PostgresConnection, Source, SourceKind};

/// The kinds of thing that have names in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `[repository.NAME]`.
    Repository,
    /// `[source.NAME]`.
    Source,
    /// `[job.NAME]`.
    Job,
    /// `[service.NAME]`.
    Service,
}

impl Kind {
    /// The word before the name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Source => "source",
            Self::Job => "job",
            Self::Service => "service",
        }
    }

    fn is_defined(self, config: &Config, name: &str) -> bool {
        let all = &config.definitions;
        match self {
            Self::Repository => all.repositories.contains_key(&name.into()),
            Self::Source => all.sources.contains_key(&name.into()),
            Self::Job => all.jobs.contains_key(&name.into()),
            Self::Service => all.services.contains_key(&name.into()),
        }
    }
}

/// Writes a repository, new or changed; returns the configuration with it.
pub fn write_repository(config: &Config, repository: &RepositoryDefinition) -> Result<Config, ConfigError> {
    let (upkeep, default) = (&repository.upkeep, UpkeepPolicy::default());
    let check = upkeep.check.as_ref().map(|check| &check.schedule);
    let schedule = upkeep.prune.as_ref().or(check);
    let raw = RawRepository {
        url: anywhere(repository.url.clone()),
        password: Secret(repository.password.clone()),
        trash: (upkeep.trash != default.trash).then_some(Duration(upkeep.trash)),
        grace: (upkeep.grace != default.grace).then_some(Duration(upkeep.grace)),
        prune: upkeep
            .prune
            .as_ref()
            .map(|schedule| anywhere(schedule.expression().to_owned())),
        check: upkeep.check.as_ref().map(|check| {
            anywhere(RawCheck {
                schedule: check.schedule.expression().to_owned(),
                read_data_subset: check.read_data_subset.clone(),
            })
        }),
        zone: schedule.map(|schedule| anywhere(schedule.zone().to_owned())),
        access_key_id: repository.access.key.as_ref().map(|key| anywhere(key.id.clone())),
        secret_access_key: repository.access.key.as_ref().map(|key| Secret(key.secret.clone())),
        limit_upload: repository.access.limit_upload.map(|limit| anywhere(Size(limit))),
        limit_download: repository.access.limit_download.map(|limit| anywhere(Size(limit))),
        max_size: repository.access.max_size.map(|most| anywhere(Size(most))),
    };
    write(config, Kind::Repository, repository.name.as_str(), &raw)
}

/// Writes a source, new or changed; returns the configuration with it.
pub fn write_source(config: &Config, source: &Source) -> Result<Config, ConfigError> {
    let name = source.name.as_str();
    let kind = source.kind.word().to_owned();
    match &source.kind {
        SourceKind::Files(files) => {
            let raw = RawFiles {
                kind,
                paths: anywhere(files.paths.iter().cloned().map(AbsolutePath).collect()),
                exclude: files.exclude.iter().cloned().map(anywhere).collect(),
                one_file_system: files.one_file_system,
            };
            write(config, Kind::Source, name, &raw)
        }
        SourceKind::PostgresDump(postgres) => {
            let connection = raw_connection(&postgres.connection);
            let raw = RawPostgresDump {
                kind,
                host: postgres.connection.host.clone(),
                port: connection.port,
                user: postgres.connection.user.clone(),
                password: connection.password,
                tls: connection.tls,
                bin_dir: connection.bin_dir,
                database: postgres.database.clone(),
                format: Some(postgres.selection.format).filter(|format| *format != DumpFormat::default()),
                tables: postgres.selection.tables.iter().cloned().map(anywhere).collect(),
                exclude_tables: postgres
                    .selection
                    .exclude_tables
                    .iter()
                    .cloned()
                    .map(anywhere)
                    .collect(),
                scratch: postgres.scratch.as_ref().map(raw_connection),
            };
            write(config, Kind::Source, name, &raw)
        }
        SourceKind::PostgresPhysical(cluster) => {
            let connection = raw_connection(&cluster.connection);
            let raw = RawPostgresPhysical {
                kind,
                host: cluster.connection.host.clone(),
                port: connection.port,
                user: cluster.connection.user.clone(),
                password: connection.password,
                tls: connection.tls,
                bin_dir: connection.bin_dir,
                database: Some(cluster.database.clone()),
                data_directory: cluster.data_directory.clone().map(AbsolutePath),
                method: Some(cluster.method),
                from: Some(cluster.from),
                scratch_dir: cluster.scratch_dir.clone().map(AbsolutePath),
                log_window: cluster.log_window.map(Duration),
                receive_slot: cluster.receive_slot.clone().map(|slot| Spanned::new(0..0, slot)),
                standby: cluster.standby.as_ref().map(raw_connection),
            };
            write(config, Kind::Source, name, &raw)
        }
    }
}

/// Writes a job, new or changed; returns the configuration with it.
pub fn write_job(config: &Config, job: &Job) -> Result<Config, ConfigError> {
    let probe = |probe: &crate::domain::job::SqlProbe| RawProbe {
        name: probe.name.clone(),
        sql: probe.sql.clone(),
        expect: probe.expect.clone(),
    };
    let hooks = RawHooks {
        before: job.hooks.before.as_ref().map(raw_hook),
        after_success: job.hooks.after_success.as_ref().map(raw_hook),
        after_failure: job.hooks.after_failure.as_ref().map(raw_hook),
    };
    let has_hooks = hooks.before.is_some() || hooks.after_success.is_some() || hooks.after_failure.is_some();
    let raw = RawJob {
        source: anywhere(job.source.0.clone()),
        repository: anywhere(job.repository.0.clone()),
        schedule: job
            .schedule
            .as_ref()
            .map(|schedule| anywhere(schedule.expression().to_owned())),
        zone: zone_of(job).map(anywhere),
        missed: Some(job.missed),
        timeout: job.timeout.map(|timeout| anywhere(Duration(timeout))),
        tags: job.tags.iter().cloned().map(anywhere).collect(),
        retry: Some(anywhere(RawRetry {
            attempts: Some(job.retry.attempts),
            backoff: Some(Duration(job.retry.backoff)),
        })),
        verify: Some(anywhere(RawVerify {
            level: job.verify.level,
            probes: job.verify.probes.iter().map(probe).collect(),
        })),
        hooks: has_hooks.then_some(hooks),
        retention: job.retention.as_ref().map(|policy| anywhere(raw_retention(policy))),
    };
    write(config, Kind::Job, job.name.as_str(), &raw)
}

/// Writes a service, new or changed; returns the configuration with it.
pub fn write_service(config: &Config, service: &Service) -> Result<Config, ConfigError> {
    let raw = RawService {
        sources: anywhere(
            service
                .sources
                .iter()
                .map(|source| anywhere(source.0.clone()))
                .collect(),
        ),
        rpo: Some(anywhere(Duration(service.objective.rpo))),
        rto: Some(anywhere(Duration(service.objective.rto))),
    };
    write(config, Kind::Service, service.name.as_str(), &raw)
}

/// Takes away what was written here; returns the configuration without it.
///
/// # Errors
/// [`ConfigError::Invalid`] when something else still refers to it; nothing is changed then.
pub fn remove(config: &Config, kind: Kind, name: &str) -> Result<Config, ConfigError> {
    let path = dropin_path(config, name);
    let what = format!("{} {name}", kind.word());
    if !kind.is_defined(config, name) {
        return Err(ConfigError::Unknown { what });
    }
    let mut document = existing(&path)?.unwrap_or_default();
    let sections = document.get_mut(kind.word()).and_then(Item::as_table_like_mut);
    if sections.and_then(|sections| sections.remove(name)).is_none() {
        return Err(elsewhere(config, what, kind, name));
    }
    // A heading without sections is nothing that anybody wrote.
    if document
        .get(kind.word())
        .and_then(Item::as_table_like)
        .is_some_and(toml_edit::TableLike::is_empty)
    {
        document.remove(kind.word());
    }
    let text = (!document.is_empty()).then(|| document.to_string());
    keep(config, path, text)
}

fn write(config: &Config, kind: Kind, name: &str, raw: &impl Serialize) -> Result<Config, ConfigError> {
    let path = dropin_path(config, name);
    let invalid = |message: String| {
        let problem = super::Problem {
            file: path.clone(),
            line: 1,
            key: format!("{}.{name}", kind.word()),
            message,
            hint: None,
        };
        ConfigError::Invalid {
            problems: vec![problem],
        }
    };
    // The name becomes a file's name, so it is looked at before anything is done with it.
    if !is_valid_name(name) {
        return Err(invalid(format!("\"{name}\" cannot be a name")));
    }
    let text = toml::to_string(raw).map_err(|error| invalid(error.to_string()))?;
    let section: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| invalid(error.to_string()))?;
    let mut document = existing(&path)?.unwrap_or_default();
    let mut ours = Table::new();
    ours.set_implicit(true);
    let sections = document.entry(kind.word()).or_insert(Item::Table(ours));
    let Some(sections) = sections.as_table_like_mut() else {
        return Err(invalid(format!("{} is not a table in that file", kind.word())));
    };
    if kind.is_defined(config, name) && !sections.contains_key(name) {
        return Err(elsewhere(config, format!("{} {name}", kind.word()), kind, name));
    }
    let mut section = section.as_table().clone();
    if let Some(old) = sections.get(name).and_then(Item::as_table) {
        // The comments above the section say why it is there, and still do.
        *section.decor_mut() = old.decor().clone();
    }
    sections.insert(name, Item::Table(section));
    keep(config, path, Some(document.to_string()))
}

fn dropin_path(config: &Config, name: &str) -> PathBuf {
    dropin_directory(&config.path).join(format!("{name}.toml"))
}

/// The error that names the file in which something is defined that was not written here.
fn elsewhere(config: &Config, what: String, kind: Kind, name: &str) -> ConfigError {
    let holds = |path: &&PathBuf| {
        let document = existing(path).ok().flatten();
        document.is_some_and(|document| document.get(kind.word()).and_then(|table| table.get(name)).is_some())
    };
    ConfigError::Elsewhere {
        what,
        path: config.files.iter().find(holds).unwrap_or(&config.path).clone(),
    }
}

fn existing(path: &Path) -> Result<Option<DocumentMut>, ConfigError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ConfigError::io("read", path, error)),
    };
    let document = text.parse::<DocumentMut>().map_err(|error| {
        let error = std::io::Error::new(std::io::ErrorKind::InvalidData, error.message().to_owned());
        ConfigError::io("edit", path, error)
    })?;
    Ok(Some(document))
}

/// Checks what the configuration would be, and only then puts the file in its place, whole.
fn keep(config: &Config, path: PathBuf, text: Option<String>) -> Result<Config, ConfigError> {
    let world = Surroundings::real();
    let overlay = Overlay { path, text };
    let checked = load(&config.path, Some(&overlay), &world)?;
    let Overlay { path, text } = overlay;
    match text {
        Some(text) => replace(&path, &text)?,
        None => fs::remove_file(&path).map_err(|source| ConfigError::io("remove", &path, source))?,
    }
    Ok(checked)
}

fn replace(path: &Path, text: &str) -> Result<(), ConfigError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| ConfigError::io("make the directory", directory, source))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = directory.join(format!(".{name}.{}", std::process::id()));
    let put = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(directory)?.sync_all()
    };
    put().map_err(|source| {
        // Already failing; a draft that stays is hidden and is overwritten by the next.
        let _ = fs::remove_file(&draft);
        ConfigError::io("write", path, source)
    })
}

/// A value that was not read from a file, so it stands nowhere.
fn anywhere<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn raw_connection(connection: &PostgresConnection) -> RawConnection {
    RawConnection {
        host: Some(connection.host.clone()),
        port: Some(anywhere(connection.port)),
        user: Some(connection.user.clone()),
        password: connection.password.clone().map(Secret),
        tls: Some(connection.tls),
        bin_dir: connection.bin_dir.clone().map(AbsolutePath),
    }
}

/// The zone a job's schedule is read in, else that of its retention.
fn zone_of(job: &Job) -> Option<String> {
    let schedule = job.schedule.as_ref().map(|schedule| schedule.zone().to_owned());
    schedule.or_else(|| job.retention.as_ref().map(|policy| policy.zone.clone()))
}

fn raw_retention(policy: &RetentionPolicy) -> RawRetention {
    let some = |count: u32| (count > 0).then_some(count);
    RawRetention {
        last: some(policy.keep_last),
        hourly: some(policy.keep_hourly),
        daily: some(policy.keep_daily),
        weekly: some(policy.keep_weekly),
        monthly: some(policy.keep_monthly),
        yearly: some(policy.keep_yearly),
        within: policy.keep_within.map(Duration),
        tags: policy.keep_tags.clone(),
        max_delete: Some(format!("{}%", policy.max_delete)),
    }
}

fn raw_hook(hook: &Hook) -> Spanned<RawHook> {
    anywhere(RawHook {
        command: hook.command.clone(),
        shell: hook.shell,
        timeout: Some(Duration(hook.timeout)),
    })
}
