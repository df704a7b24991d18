//! `lifeboat job add|edit|remove`: jobs as files of their own in `conf.d`; what people wrote by hand stays as it is.

use serde::Serialize;

use super::args::{JobAddArgs, JobEditArgs};
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::output::{Render, Text};
use super::target::parse_postgres;
use crate::config::Config;
use crate::config::dropin::{self, Kind};
use crate::domain::id::{JobName, RepositoryName, SourceName, is_valid_name};
use crate::domain::job::{Hooks, Job, MissedPolicy, RetryPolicy, VerifyPolicy};
use crate::domain::schedule::Schedule;
use crate::domain::snapshot::EvidenceLevel;
use crate::domain::source::{DumpSelection, FilesSource, PostgresSource, SecretRef, Source, SourceKind};

/// What was changed.
#[derive(Debug, Serialize)]
struct Changed {
    job: String,
    message: String,
}

impl Render for Changed {
    fn text(&self, out: &mut Text) {
        out.line(&self.message);
    }
}

/// Adds a job, and its source unless there is one.
pub fn add(ctx: &Ctx, args: JobAddArgs) -> Result<Exit, CliError> {
    ctx.may_change("add a job")?;
    let what = format!("job {} was not added", args.name);
    if !is_valid_name(&args.name) {
        return Err(CliError::usage(what)
            .why(format!("\"{}\" cannot be a name", args.name))
            .hint("use letters, digits, - _ and ., at most 64"));
    }
    let config = ctx.config()?;
    if config.definitions.jobs.contains_key(&JobName::from(args.name.as_str())) {
        return Err(CliError::usage(what)
            .why("there is one already")
            .hint("see it with: lifeboat config show"));
    }
    let failed = |error: CliError| CliError {
        what: what.clone(),
        why: Some(error.why.unwrap_or(error.what)),
        ..error
    };
    let repository = repository(&config, args.repository.as_deref()).map_err(failed)?;
    let schedule = match &args.schedule {
        Some(cron) => Some(
            Schedule::parse(cron, args.zone.as_deref().unwrap_or_default())
                .map_err(|why| CliError::usage(&what).why(why))?,
        ),
        None => None,
    };
    let source = source(&args).map_err(failed)?;
    let source_name = match (&source, &args.source) {
        (Some(source), _) => source.name.clone(),
        (None, Some(name)) => SourceName::from(name.as_str()),
        (None, None) => {
            return Err(CliError::usage(what)
                .why("it protects nothing")
                .hint("give --path, --postgres or --source"));
        }
    };
    let config = match &source {
        Some(source) => dropin::write_source(&config, source).map_err(|error| failed(error.into()))?,
        None => config,
    };
    let level = args.verify.unwrap_or(EvidenceLevel::Written);
    let job = Job {
        name: JobName::from(args.name.as_str()),
        source: source_name,
        repository,
        schedule,
        missed: MissedPolicy::default(),
        retry: RetryPolicy::default(),
        timeout: None,
        verify: VerifyPolicy {
            level,
            ..VerifyPolicy::default()
        },
        hooks: Hooks::default(),
        tags: args.tag,
        retention: args.keep.changed(None, args.zone.as_deref().unwrap_or_default()),
    };
    if let Err(error) = dropin::write_job(&config, &job) {
        if let Some(source) = &source {
            // Half of it is worse than nothing; that this may fail too is in the error that is told.
            let _ = dropin::remove(&config, Kind::Source, source.name.as_str());
        }
        return Err(failed(error.into()));
    }
    let name = args.name;
    let message =
        format!("job {name} added; a running agent takes it up within seconds. Try it: lifeboat job run --wait {name}");
    ctx.print(&Changed { job: name, message })?;
    Ok(Exit::Done)
}

/// Changes a job that was added.
pub fn edit(ctx: &Ctx, args: JobEditArgs) -> Result<Exit, CliError> {
    ctx.may_change("change a job")?;
    let name = args.name;
    let what = format!("job {name} was not changed");
    let config = ctx.config()?;
    let Some(job) = config.definitions.jobs.get(&JobName::from(name.as_str())) else {
        return Err(CliError::usage(what)
            .why("there is none")
            .hint("list them with: lifeboat job list"));
    };
    let mut changed = job.clone();
    if args.schedule.is_some() || args.zone.is_some() {
        let now = job.schedule.as_ref();
        let cron = args.schedule.as_deref().or(now.map(Schedule::expression));
        let cron = cron.ok_or_else(|| {
            CliError::usage(&what)
                .why("it has no schedule")
                .hint("give --schedule too")
        })?;
        let zone = args.zone.as_deref().or(now.map(Schedule::zone)).unwrap_or_default();
        changed.schedule = Some(Schedule::parse(cron, zone).map_err(|why| CliError::usage(&what).why(why))?);
    }
    if args.no_schedule {
        changed.schedule = None;
    }
    if let Some(repository) = &args.repository {
        changed.repository = RepositoryName::from(repository.as_str());
    }
    changed.verify.level = args.verify.unwrap_or(changed.verify.level);
    changed.timeout = args.timeout.or(changed.timeout);
    if !args.tag.is_empty() {
        changed.tags = args.tag;
    }
    let zone = changed.schedule.as_ref().map_or("", Schedule::zone);
    changed.retention = if args.keep_all {
        None
    } else {
        args.keep.changed(changed.retention.as_ref(), zone)
    };
    if let Some(policy) = changed.retention.as_mut().filter(|_| !zone.is_empty()) {
        // One zone for the schedule and the calendar.
        zone.clone_into(&mut policy.zone);
    }
    if changed == *job {
        return Err(CliError::usage(what)
            .why("nothing would be different")
            .hint("say what to change, for example --schedule '0 3 * * *'"));
    }
    dropin::write_job(&config, &changed).map_err(|error| {
        let error = CliError::from(error);
        CliError {
            why: Some(error.why.unwrap_or(error.what)),
            what,
            ..error
        }
    })?;
    let message = format!("job {name} changed; a running agent takes it up within seconds");
    ctx.print(&Changed { job: name, message })?;
    Ok(Exit::Done)
}

fn repository(config: &Config, wanted: Option<&str>) -> Result<RepositoryName, CliError> {
    let mut known = config.definitions.repositories.keys();
    match (wanted, known.next(), known.next()) {
        (Some(name), ..) => Ok(RepositoryName::from(name)),
        (None, Some(only), None) => Ok(only.clone()),
        (None, None, _) => {
            Err(CliError::usage("the configuration names no repository").hint("make one with: lifeboat init"))
        }
        (None, Some(_), Some(_)) => {
            Err(CliError::usage("the configuration names several repositories")
                .hint("say which with --repository NAME"))
        }
    }
}

/// The source that the arguments define, named like the job.
fn source(args: &JobAddArgs) -> Result<Option<Source>, CliError> {
    let kind = if !args.paths.is_empty() {
        let absolute =
            |path| std::path::absolute(path).map_err(|error| CliError::usage("a path cannot be used").why(error));
        let paths = args.paths.iter().map(absolute).collect::<Result<_, _>>()?;
        SourceKind::Files(FilesSource {
            paths,
            exclude: args.exclude.clone(),
            one_file_system: false,
        })
    } else if let Some(url) = &args.postgres {
        let (mut connection, database) = parse_postgres(url)?;
        connection.password = args.postgres_password_file.clone().map(SecretRef::File);
        SourceKind::PostgresDump(PostgresSource {
            connection,
            database,
            selection: DumpSelection::default(),
            scratch: None,
        })
    } else {
        return Ok(None);
    };
    let name = SourceName::from(args.name.as_str());
    Ok(Some(Source { name, kind }))
}

/// Removes a job that was added this way, and its source when nothing else uses it.
pub fn remove(ctx: &Ctx, name: &str) -> Result<Exit, CliError> {
    ctx.may_change("remove a job")?;
    let config = ctx.config()?;
    let source = config
        .definitions
        .jobs
        .get(&JobName::from(name))
        .map(|job| job.source.clone());
    let config = dropin::remove(&config, Kind::Job, name).map_err(|error| {
        let hint = error.hint();
        CliError::usage(format!("job {name} was not removed"))
            .why(error)
            .maybe_hint(hint)
    })?;
    let mut message = format!("job {name} removed; its snapshots stay");
    // The source of the same name came with the job. One that is used elsewhere is refused, and stays.
    if let Some(source) = source.filter(|source| source.as_str() == name)
        && dropin::remove(&config, Kind::Source, source.as_str()).is_ok()
    {
        message = format!("job {name} and its source removed; its snapshots stay");
    }
    let job = name.to_owned();
    ctx.print(&Changed { job, message })?;
    Ok(Exit::Done)
}
