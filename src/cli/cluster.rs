//! `lifeboat cluster`: looks at replicated servers and switches between them. Every verb that changes something shows its plan,
//! asks for the member's name, looks again and refuses with every reason when a precondition does not hold.
//!
//! It works from the configuration alone, without an agent: a switchover must not wait for anything that may be down too.

use super::args::{ActArgs, ClusterArgs, ClusterCommand, FenceArgs, PromoteArgs, RebuildArgs, UnfenceArgs, WaitArgs};
use super::confirm::{self, Change};
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::output::Render;
use crate::config::Config;
use crate::domain::cluster::record::RebuildKind;
use crate::domain::cluster::{Allowance, Severity};
use crate::domain::id::{ClusterName, MemberName};
use crate::domain::restore_point;
use crate::source::SourceError;
use crate::source::postgres::cluster::{ClusterError, ClusterHandle};
use report::{Fence, Fenced, Let, Looked, Planned, Point, Statuses};

mod report;

/// Runs a verb of `lifeboat cluster`.
pub async fn run(args: ClusterArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let config = ctx.config()?;
    match args.command {
        ClusterCommand::Status { cluster } => status(&config, cluster.as_deref(), ctx).await,
        ClusterCommand::Fence(args) => fence(&config, args, ctx).await,
        ClusterCommand::Unfence(args) => unfence(&config, args, ctx).await,
        ClusterCommand::Wait(args) => wait(&config, args, ctx).await,
        ClusterCommand::Promote(args) => promote(&config, args, ctx).await,
        ClusterCommand::Rewind(args) => rebuild(&config, args, RebuildKind::Rewind, false, ctx).await,
        ClusterCommand::Reclone {
            rebuild: args,
            discard_old,
        } => rebuild(&config, args, RebuildKind::Reclone, discard_old, ctx).await,
        ClusterCommand::RestorePoint { cluster, point } => restore_point(&config, &cluster, &point, ctx).await,
    }
}

/// The reason why `what` failed.
fn of_cluster(what: impl Into<String>, error: &ClusterError) -> CliError {
    let told = match error {
        ClusterError::Refused(_) => CliError::refused(format!("{}; nothing was changed", what.into())),
        ClusterError::Source(SourceError::Cancelled) => CliError::cancelled(what),
        _ => CliError::failed(what),
    };
    told.why(error).maybe_hint(error.hint())
}

/// The cluster with a name, and the way to each of its members.
async fn handle(config: &Config, name: &str, ctx: &Ctx) -> Result<ClusterHandle, CliError> {
    let known = &config.definitions.clusters;
    let Some(cluster) = known.get(&ClusterName::from(name)) else {
        let names: Vec<&str> = known.keys().map(ClusterName::as_str).collect();
        let hint = if names.is_empty() {
            "define one: config.example.toml shows how, under [cluster.orders]".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        };
        return Err(CliError::usage(format!("the configuration has no cluster {name}")).hint(hint));
    };
    let by = format!("{}@{}", ctx.actor.name, ctx.actor.host);
    let (clock, cancel) = (ctx.clock.clone(), ctx.interrupts().stop);
    Ok(ClusterHandle::reach(cluster.clone(), &config.agent.state_dir, by, clock, cancel).await)
}

async fn status(config: &Config, name: Option<&str>, ctx: &Ctx) -> Result<Exit, CliError> {
    let names: Vec<String> = match name {
        Some(name) => vec![name.to_owned()],
        None => config.definitions.clusters.keys().map(|name| name.0.clone()).collect(),
    };
    let mut all = Vec::new();
    for name in &names {
        let handle = handle(config, name, ctx).await?;
        let looked = handle.picture().await;
        let (seen, record, picture) =
            looked.map_err(|error| of_cluster(format!("cluster {name} cannot be looked at"), &error))?;
        all.push(Looked {
            cluster: handle.cluster.name,
            picture,
            seen,
            record,
        });
    }
    let exit = match all.iter().filter_map(|one| one.picture.worst()).max() {
        Some(Severity::Critical) => Exit::Failed,
        Some(Severity::Warning) => Exit::Partial,
        None => Exit::Done,
    };
    ctx.print(&Statuses(all))?;
    Ok(exit)
}

/// Shows a plan, and has it confirmed by the name of the member; whether to go on.
fn go_on(
    ctx: &Ctx,
    act: &ActArgs,
    plan: &impl Render,
    (doing, work): (&str, &str),
    what: String,
    member: &MemberName,
) -> Result<bool, CliError> {
    let change = Change {
        doing,
        work,
        what,
        name: member.as_str(),
    };
    confirm::go_on(ctx, plan, &change, act.plan, act.yes.as_deref())
}

async fn fence(config: &Config, args: FenceArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let handle = handle(config, &args.cluster, ctx).await?;
    let member = args.member.map(MemberName);
    let vouched = member.as_ref().filter(|_| args.gone);
    let failed = |error: ClusterError| of_cluster("the primary is not fenced", &error);
    let plan = handle.plan_fence(member.as_ref(), vouched).await.map_err(failed)?;
    let member = plan.member.clone();
    let what = format!("{member} takes no more writes, and every session on it is ended");
    let planned = Planned::new(&handle.cluster.name, Fence(plan));
    let words = ("fence a primary", "the fence");
    if !go_on(ctx, &args.act, &planned, words, what, &member)? {
        return Ok(Exit::Done);
    }
    let tell = |line: &str| ctx.out.remark(line);
    let lsn = handle
        .fence(&member, vouched, &tell)
        .await
        .map_err(|error| of_cluster(format!("the fence of {member} is not proved"), &error))?;
    ctx.print(&Fenced {
        cluster: handle.cluster.name,
        member,
        lsn,
    })?;
    Ok(Exit::Done)
}

async fn unfence(config: &Config, args: UnfenceArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let handle = handle(config, &args.cluster, ctx).await?;
    let failed = |error: ClusterError| of_cluster("the fence stays", &error);
    let asked = args.member.map(MemberName);
    let plan = handle.plan_unfence(asked.as_ref()).await.map_err(failed)?;
    let member = plan.member.clone();
    let what = format!("{member} takes writes again");
    let planned = Planned::new(&handle.cluster.name, plan);
    let words = ("let a primary go", "the end of the fence");
    if !go_on(ctx, &args.act, &planned, words, what, &member)? {
        return Ok(Exit::Done);
    }
    let tell = |line: &str| ctx.out.remark(line);
    handle.unfence(&member, &tell).await.map_err(failed)?;
    ctx.print(&Let {
        cluster: handle.cluster.name,
        member,
    })?;
    Ok(Exit::Done)
}

async fn wait(config: &Config, args: WaitArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let handle = handle(config, &args.cluster, ctx).await?;
    let tell = |line: &str| ctx.out.remark(line);
    let waited = handle
        .wait(&MemberName(args.member), args.timeout.to_std(), &tell)
        .await;
    ctx.print(&waited.map_err(|error| of_cluster("the standby has not everything yet", &error))?)?;
    Ok(Exit::Done)
}

async fn promote(config: &Config, args: PromoteArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let handle = handle(config, &args.cluster, ctx).await?;
    let member = MemberName(args.member);
    let allowed = args.allow_loss.unwrap_or(Allowance::AtMost(handle.cluster.max_loss));
    let patience = args.patience.to_std();
    let failed = |error: ClusterError| of_cluster(format!("{member} is not promoted"), &error);
    let (plan, _) = handle.plan_promote(&member, allowed, patience).await.map_err(failed)?;
    let what = format!("{member} becomes the primary, on a new timeline; that cannot be undone");
    let planned = Planned::new(&handle.cluster.name, plan);
    let words = ("promote a standby", "the promotion");
    if !go_on(ctx, &args.act, &planned, words, what, &member)? {
        return Ok(Exit::Done);
    }
    let tell = |line: &str| ctx.out.remark(line);
    let promoted = handle
        .promote(&member, allowed, patience, &tell)
        .await
        .map_err(failed)?;
    ctx.print(&promoted)?;
    Ok(Exit::Done)
}

async fn rebuild(
    config: &Config,
    args: RebuildArgs,
    kind: RebuildKind,
    discard: bool,
    ctx: &Ctx,
) -> Result<Exit, CliError> {
    let handle = handle(config, &args.cluster, ctx).await?;
    let member = MemberName(args.member);
    let failed = |error: ClusterError| of_cluster(format!("the {} of {member} is not done", kind.word()), &error);
    let plan = handle.plan_rebuild(&member, kind, args.stop).await.map_err(failed)?;
    let what = format!("{} is overwritten to follow {}", plan.directory.display(), plan.primary);
    let planned = Planned::new(&handle.cluster.name, plan);
    let (doing, work) = (format!("{} a member", kind.word()), format!("the {}", kind.word()));
    if !go_on(ctx, &args.act, &planned, (&doing, &work), what, &member)? {
        return Ok(Exit::Done);
    }
    let tell = |line: &str| ctx.out.remark(line);
    let timeout = args.timeout.to_std();
    let rebuilt = handle.rebuild(&member, kind, args.stop, discard, timeout, &tell).await;
    ctx.print(&rebuilt.map_err(failed)?)?;
    Ok(Exit::Done)
}

async fn restore_point(config: &Config, name: &str, point: &str, ctx: &Ctx) -> Result<Exit, CliError> {
    ctx.may_change("create a restore point")?;
    if let Some(wrong) = restore_point::wrong_name(point) {
        return Err(CliError::usage(wrong).hint(format!("use 1 to {} bytes", restore_point::NAME_BYTES)));
    }
    let handle = handle(config, name, ctx).await?;
    let made = handle.restore_point(point).await;
    let (member, lsn) = made.map_err(|error| of_cluster("the restore point is not created", &error))?;
    ctx.print(&Point {
        cluster: handle.cluster.name,
        member,
        name: point.to_owned(),
        lsn,
    })?;
    Ok(Exit::Done)
}
