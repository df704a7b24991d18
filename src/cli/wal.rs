//! `lifeboat wal`: the archive of a PostgreSQL log, on a repository directly, with no configuration and no agent.
//!
//! PostgreSQL calls `push` and `fetch` itself and reads nothing but their exit code, so these say nothing when all is well.

mod prune;
pub(super) mod receive;
mod report;

use std::path::Path;
use std::process::{Command, Stdio};

use self::report::Looked;
use super::args::{FetchArgs, PushArgs, VerifyArgs, WalArgs, WalCommand};
use super::context::Ctx;
use super::direct::{self, of_repo};
use super::error::{CliError, Exit};
use super::output::Listing;
use super::recover::of_recovery;
use crate::domain::job::RepositoryDefinition;
use crate::domain::pitr::{self, Base, Interval};
use crate::domain::wal::{SegmentSize, SystemId, WalName};
use crate::repo::Repository;
use crate::source::SourceError;
use crate::source::postgres::recovery::{Known, bases, fetch_through};
use crate::source::postgres::wal::report::Look;
use crate::source::postgres::wal::{
    FetchSpool, PushSpool, Verdict, WalArchive, WalError, WalFile, fetch, file, prefetch, push, pusher, report as look,
    workers,
};

/// Runs a verb on the archive.
pub async fn run(args: WalArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let definition = || ctx.repository(&args.repository);
    match args.command {
        WalCommand::Push(push) => {
            ctx.may_change("archive")?;
            push_one(&push, definition, ctx).await
        }
        WalCommand::Fetch(fetch) => Ok(careful(fetch_one(&fetch, definition, ctx).await, ctx)),
        WalCommand::Receive(receive) => {
            ctx.may_change("receive")?;
            receive::run(&receive, &definition()?, ctx).await
        }
        WalCommand::List { system } => {
            let reports = reports(&definition()?, system, &Look::default(), ctx).await?;
            ctx.print(&Listing(report::rows(&reports)))?;
            Ok(Exit::Done)
        }
        WalCommand::Prune(prune) => prune::run(&prune, &definition()?, ctx).await,
        WalCommand::Verify(verify) => verify_all(&verify, &definition()?, ctx).await,
    }
}

/// What went wrong with a log or its archive, as the reason why `what` failed.
fn of_wal(what: impl Into<String>, error: &WalError) -> CliError {
    if let WalError::Source(SourceError::Repo(error)) = error {
        return of_repo(what, error);
    }
    let exit = match error {
        error if error.is_refusal() => Exit::Refused,
        error if error.is_cancelled() => Exit::Cancelled,
        WalError::Invalid { .. } => Exit::Usage,
        _ => Exit::Failed,
    };
    CliError::failed(what).why(error).maybe_hint(error.hint()).exit(exit)
}

async fn push_one(
    args: &PushArgs,
    definition: impl Fn() -> Result<RepositoryDefinition, CliError>,
    ctx: &Ctx,
) -> Result<Exit, CliError> {
    let what = || format!("{} is not archived", args.path.display());
    let failed = |error: WalError| of_wal(what(), &error);
    let file = WalFile::at(&args.path).map_err(failed)?;
    let system = push::system(&file).map_err(failed)?;
    let spool = match &args.spool {
        // What the server does not wait for is pushed by hand, and nobody comes back for the result.
        Some(dir) if args.pusher || file.is_ready() => match PushSpool::open(dir, &file.data_dir()) {
            Ok(spool) => Some(spool),
            Err(error) => {
                ctx.out.remark(&format!("without the background: {error}"));
                None
            }
        },
        _ => None,
    };
    if let Some(spool) = &spool {
        if args.pusher {
            return push_ready(args, &file, spool, system, definition, ctx).await;
        }
        let start = || in_background("LIFEBOAT_WAL_PUSHER", &spool.log());
        match push::through(spool, &file, start, &ctx.clock, args.patience.to_std()).await {
            Some(Verdict::Archived) => return Ok(Exit::Done),
            Some(Verdict::Failed { error, hint, refused }) => {
                let exit = if refused { Exit::Refused } else { Exit::Failed };
                return Err(CliError::failed(what()).why(error).maybe_hint(hint).exit(exit));
            }
            None => {}
        }
    }
    let repo = direct::open(&definition()?, ctx).await?;
    push::one(&WalArchive::new(repo, system), &file).await.map_err(failed)?;
    Ok(Exit::Done)
}

/// The pusher in the background.
async fn push_ready(
    args: &PushArgs,
    file: &WalFile,
    spool: &PushSpool,
    system: SystemId,
    definition: impl Fn() -> Result<RepositoryDefinition, CliError>,
    ctx: &Ctx,
) -> Result<Exit, CliError> {
    let failed = |error: WalError| of_wal("the pusher ended", &error);
    let Some(_lock) = pusher::take_over(spool, &ctx.clock).await.map_err(failed)? else {
        return Ok(Exit::Done);
    };
    let opened = match definition() {
        Ok(definition) => direct::open(&definition, ctx).await,
        Err(error) => Err(error),
    };
    let repo = match opened {
        Ok(repo) => repo,
        Err(error) => {
            // Whoever waits for this file is told, because nobody reads what the pusher says.
            let verdict = Verdict::Failed {
                error: [Some(error.what.clone()), error.why.clone()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(": "),
                hint: error.hint.clone(),
                refused: false,
            };
            spool.tell(file, &verdict).map_err(failed)?;
            return Err(error);
        }
    };
    let archive = WalArchive::new(repo, system);
    let size = archive.segment_size().await.map_err(failed)?.unwrap_or_default();
    let wal_dir = file.path.parent().unwrap_or(Path::new("."));
    let ran = pusher::run(spool, wal_dir, &archive, workers(args.jobs, size), &ctx.clock).await;
    ran.map(|_| Exit::Done).map_err(failed)
}

/// Starts this very command again, in the background, with a word in its environment that says so.
fn in_background(word: &str, log: &Path) -> std::io::Result<()> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(word, "true");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(log)?);
    // Nobody waits for it: when this process ends, which is soon, the system takes care of it.
    command.spawn().map(drop)
}

/// Keeps PostgreSQL from taking "cannot be told" for "there is none": it would open the server before the data is back.
fn careful(result: Result<Exit, CliError>, ctx: &Ctx) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(error) => {
            ctx.out.error(&error);
            // A standby asks again and again, and never opens by itself.
            let asks_again = Path::new("standby.signal").exists();
            if asks_again { Exit::Failed } else { Exit::Halt }
        }
    }
}

async fn fetch_one(
    args: &FetchArgs,
    definition: impl Fn() -> Result<RepositoryDefinition, CliError>,
    ctx: &Ctx,
) -> Result<Exit, CliError> {
    let what = || format!("{} cannot be fetched", args.name);
    let failed = |error: WalError| of_wal(what(), &error);
    let name: WalName = args.name.parse().map_err(|error| CliError::usage(what()).why(error))?;
    if let Some(door) = &args.door {
        let found = fetch_through(door, &name.to_string(), &args.path);
        let found = found.map_err(|why| CliError::failed(what()).why(why))?;
        return Ok(if found { Exit::Done } else { Exit::Failed });
    }
    let definition = definition()?;
    let known = match args.system {
        Some(system) => Some(system),
        None => file::system_of(Path::new(".")).map_err(failed)?,
    };
    let spool = match (&args.spool, known, name.segment()) {
        (Some(dir), Some(system), Some(_)) => {
            let key = format!("{}\n{system}", definition.url);
            let opened =
                FetchSpool::open(dir, &key).inspect_err(|error| ctx.out.remark(&format!("not ahead: {error}")));
            opened.ok()
        }
        _ => None,
    };
    if args.fetcher {
        return fetch_ahead(args, spool, known, &definition, ctx).await;
    }
    if let (Some(spool), Some(segment)) = (&spool, name.segment()) {
        // A standby asks for the end of the log again and again: nothing more comes behind that.
        let moved = spool.position() != Some(segment);
        // A full disk must not keep the segment itself from coming.
        let noted = spool.set_position(segment).is_ok();
        let taken = spool.take(segment, &args.path, &ctx.clock).await.map_err(failed)?;
        if noted && (taken || moved) && !spool.is_busy() {
            // Before this one is fetched: the key of the repository takes both their time.
            ahead(spool, ctx);
        }
        if taken {
            return Ok(Exit::Done);
        }
    }
    let repo = direct::open(&definition, ctx).await?;
    let system = match known {
        Some(system) => system,
        None => the_only_one(&repo).await?,
    };
    let archive = WalArchive::new(repo, system);
    if !fetch::one(&archive, name, &args.path, !args.whole_only)
        .await
        .map_err(failed)?
    {
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

/// Begins to fetch ahead; without it the work is only slower.
fn ahead(spool: &FetchSpool, ctx: &Ctx) {
    if let Err(error) = in_background("LIFEBOAT_WAL_FETCHER", &spool.log()) {
        ctx.out.remark(&format!("nothing is fetched ahead: {error}"));
    }
}

/// The fetcher in the background.
async fn fetch_ahead(
    args: &FetchArgs,
    spool: Option<FetchSpool>,
    system: Option<SystemId>,
    definition: &RepositoryDefinition,
    ctx: &Ctx,
) -> Result<Exit, CliError> {
    let failed = |error: WalError| of_wal("nothing is fetched ahead any more", &error);
    let (Some(spool), Some(system)) = (spool, system) else {
        return Ok(Exit::Done);
    };
    let Some(_lock) = spool.lock().map_err(failed)? else {
        return Ok(Exit::Done);
    };
    let archive = WalArchive::new(direct::open(definition, ctx).await?, system);
    let size: SegmentSize = archive.segment_size().await.map_err(failed)?.unwrap_or_default();
    let window = prefetch::Window {
        segments: args.ahead,
        jobs: workers(args.jobs, size),
    };
    let ran = prefetch::run(&spool, &archive, window, &ctx.clock).await;
    ran.map(|()| Exit::Done).map_err(failed)
}

async fn the_only_one(repo: &Repository) -> Result<SystemId, CliError> {
    let systems = WalArchive::systems(repo).await;
    let systems = systems.map_err(|error| of_wal("the archive cannot be read", &error))?;
    match systems.as_slice() {
        [only] => Ok(*only),
        [] => Err(CliError::usage("the repository holds no archive of a log").why("nothing was archived to it yet")),
        _ => Err(CliError::usage("the repository holds the logs of several clusters")
            .hint("say which with --system ID; `lifeboat wal list` shows them")),
    }
}

async fn reports(
    definition: &RepositoryDefinition,
    system: Option<SystemId>,
    how: &Look<'_>,
    ctx: &Ctx,
) -> Result<Vec<Looked>, CliError> {
    let failed = |error: WalError| of_wal("the archive cannot be read", &error);
    let repo = direct::open(definition, ctx).await?;
    let mut systems = WalArchive::systems(&repo).await.map_err(failed)?;
    if let Some(wanted) = system {
        if !systems.contains(&wanted) {
            return Err(CliError::usage(format!("the archive holds nothing of system {wanted}"))
                .hint("see what it holds with: lifeboat wal list"));
        }
        systems = vec![wanted];
    }
    let bases = bases(&repo, None, system).await;
    let bases = bases.map_err(|error| of_recovery("the snapshots cannot be listed", &error.into()))?;
    let mut reports = Vec::new();
    for system in systems {
        let archive = WalArchive::new(repo.clone(), system);
        let report = look::system(&archive, how).await.map_err(failed)?;
        let own = bases.found.iter().filter(|base| base.facts.system == system);
        let restorable = restorable(own.cloned().collect(), &archive, how.read_times, ctx).await?;
        reports.push(Looked { report, restorable });
    }
    Ok(reports)
}

/// What can be restored of a cluster; with the times of the newest commits, when they are to be read.
async fn restorable(bases: Vec<Base>, archive: &WalArchive, times: bool, ctx: &Ctx) -> Result<Vec<Interval>, CliError> {
    let look = async {
        let known = Known::of(bases, archive).await?;
        if times {
            known.intervals(archive).await
        } else {
            Ok(pitr::intervals(&known.bases, &known.log))
        }
    };
    match look.await {
        Ok(intervals) => Ok(intervals),
        Err(error) if error.retryable() => Err(of_recovery("it cannot be told what is restorable", &error)),
        // What is damaged is in the report itself.
        Err(error) => {
            ctx.out
                .remark(&format!("it cannot be told what is restorable: {error}"));
            Ok(Vec::new())
        }
    }
}

async fn verify_all(args: &VerifyArgs, definition: &RepositoryDefinition, ctx: &Ctx) -> Result<Exit, CliError> {
    let how = Look {
        data: args.data.as_deref(),
        late_after: args.late_after,
        read_data: args.read_data,
        read_times: true,
    };
    let of_data = match &args.data {
        Some(data) => file::system_of(data).map_err(|error| of_wal("the server's directory cannot be read", &error))?,
        None => None,
    };
    if args.data.is_some() && of_data.is_none() {
        return Err(
            CliError::usage("--data is not the data directory of a server").hint("give the one that holds pg_wal")
        );
    }
    let reports = reports(definition, args.system.or(of_data), &how, ctx).await?;
    let exit = if reports.iter().any(|looked| looked.report.is_broken()) {
        Exit::Failed
    } else if reports.iter().any(|looked| looked.report.is_late()) {
        Exit::Partial
    } else {
        Exit::Done
    };
    ctx.print(&report::Verified(reports))?;
    Ok(exit)
}
