//! Steps on the members of a cluster. Every one of them decides from what the members say at this moment; what a check or a
//! person saw a minute ago is never acted on.

use super::Site;
use crate::domain::cluster::record::RebuildKind;
use crate::domain::cluster::{Allowance, Picture, Seen};
use crate::domain::id::{ClusterName, MemberName};
use crate::domain::run::Failure;
use crate::domain::runbook::Cause;
use crate::domain::runbook::action::{Action, OfMember, Promote, Rewind, Service, ServiceDo};
use crate::domain::runbook::check::{CheckOutcome, CheckResult};
use crate::domain::runbook::template::{Template, Values};
use crate::domain::units::Millis;
use crate::engine::work::failure::of_cluster;
use crate::source::postgres::cluster::{ClusterError, ClusterHandle};

/// How long a standby may take to catch up before a promotion is refused.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// What a rebuild is refused for at one moment and not at the next, on a machine that is busy.
const PASSING: [&str; 3] = ["no-primary", "elsewhere", "unreadable"];
/// The pause before it is asked for again.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(500);

/// A cluster of the configuration, with what is needed to act on it.
pub(super) async fn handle(site: &Site<'_>, name: &str) -> Result<ClusterHandle, Failure> {
    let Some(cluster) = site.work.definitions.clusters.get(&ClusterName::from(name)) else {
        return Err(Failure::permanent(
            format!("there is no cluster {name}"),
            "check the configuration",
        ));
    };
    let by = format!("{}@{}", site.order.run.held_by, site.worker.host);
    let (clock, cancel) = (site.worker.clock.clone(), site.work.cancel.clone());
    let mut handle = ClusterHandle::reach(cluster.clone(), &site.worker.state_dir, by, clock, cancel).await;
    // Whoever was silent for the watch is not waited for longer by what the watch has begun: every look counts as outage.
    if matches!(site.order.run.cause, Cause::Auto { .. }) {
        handle.patience = Some(handle.cluster.failover.patience());
    }
    Ok(handle)
}

/// Acts on a cluster on a thread of its own, which also keeps a server that is slow from holding up others.
async fn on<T, F>(
    site: &Site<'_>,
    cluster: &Template,
    act: impl FnOnce(ClusterHandle, Teller) -> F + Send + 'static,
) -> Result<T, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ClusterError>>,
{
    let handle = handle(site, &cluster.text()).await?;
    let tell = site.order.tell.clone();
    let teller: Teller = Box::new(move |line: &str| tell(line.to_owned()));
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(act(handle, teller))).await;
    match done {
        Ok(done) => done.map_err(|error| of_cluster(&error)),
        Err(error) => Err(Failure::permanent(
            format!("it broke off: {error}"),
            "look into the agent's log",
        )),
    }
}

/// Told what is being done, line by line.
type Teller = Box<dyn Fn(&str) + Send + Sync>;

/// What the members of a cluster say now, and what it adds up to.
pub(super) async fn picture(site: &Site<'_>, cluster: &Template) -> Result<(Seen, Picture), Failure> {
    let look = async |handle: ClusterHandle, _| handle.picture().await.map(|(seen, _, picture)| (seen, picture));
    on(site, cluster, look).await
}

fn output(name: &str, value: &dyn ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// Whether the notes on a cluster say that what a step does was begun and not ended; nothing when the step is none of that kind.
pub(super) async fn unfinished(site: &Site<'_>, action: &Action) -> Option<CheckResult> {
    let (cluster, sign) = match action {
        Action::Fence(of) | Action::Unfence(of) => (&of.cluster, "fence-unfinished"),
        Action::Promote(promote) => (&promote.cluster, "promotion-unfinished"),
        Action::Rewind(rewind) => (&rewind.cluster, "rebuild-unfinished"),
        _ => return None,
    };
    let name = cluster.resolve(&site.order.run.values).map(Template::plain);
    let (outcome, detail) = match name {
        Ok(name) => match picture(site, &name).await {
            Ok((_, picture)) => match picture.signs.iter().find(|found| found.sign == sign) {
                Some(found) => (CheckOutcome::Fails, found.what.clone()),
                None => (CheckOutcome::Holds, "nothing is left to be ended".to_owned()),
            },
            Err(failure) => (CheckOutcome::Unknown, failure.message),
        },
        Err(name) => (CheckOutcome::Unknown, format!("{{{name}}} is not known")),
    };
    Some(CheckResult {
        title: "it was noted as ended".to_owned(),
        outcome,
        detail,
    })
}

fn is_true(option: Option<&Template>) -> bool {
    option.is_some_and(|option| option.text() == "true")
}

pub(super) async fn fence(site: &Site<'_>, of: &OfMember) -> Result<Values, Failure> {
    let member = MemberName::from(of.member.text());
    let (gone, stop) = (is_true(of.gone.as_ref()), is_true(of.stop.as_ref()));
    let act = async move |handle: ClusterHandle, tell: Teller| {
        if stop {
            handle.stop_hanging(&member, &*tell).await?;
        }
        handle.fence(&member, gone.then_some(&member), &*tell).await
    };
    let lsn = on(site, &of.cluster, act).await?;
    let lsn = lsn.map_or_else(|| "unknown".to_owned(), |lsn| lsn.to_string());
    Ok(Values::from([output("lsn", &lsn)]))
}

pub(super) async fn unfence(site: &Site<'_>, of: &OfMember) -> Result<Values, Failure> {
    let member = MemberName::from(of.member.text());
    let act = async move |handle: ClusterHandle, tell: Teller| handle.unfence(&member, &*tell).await;
    on(site, &of.cluster, act).await?;
    Ok(Values::new())
}

pub(super) async fn replay(site: &Site<'_>, of: &OfMember, timeout: Millis) -> Result<Values, Failure> {
    let member = MemberName::from(of.member.text());
    let received = is_true(of.received.as_ref());
    let act = async move |handle: ClusterHandle, tell: Teller| {
        if received {
            return handle.wait_for_received(&member, timeout.to_std(), &*tell).await;
        }
        handle.wait(&member, timeout.to_std(), &*tell).await
    };
    on(site, &of.cluster, act).await?;
    Ok(Values::new())
}

pub(super) async fn promote(site: &Site<'_>, promote: &Promote) -> Result<Values, Failure> {
    let member = MemberName::from(promote.member.text());
    let allowed = match promote.allow_loss.as_ref().map(Template::text).as_deref() {
        None | Some("" | "configured") => None,
        Some(text) => {
            let read = Allowance::parse(text);
            Some(read.map_err(|error| Failure::permanent(error, "write for example 16MiB, or any"))?)
        }
    };
    let act = async move |handle: ClusterHandle, tell: Teller| {
        let allowed = allowed.unwrap_or(Allowance::AtMost(handle.cluster.max_loss));
        handle.promote(&member, allowed, PATIENCE, &*tell).await
    };
    let promoted = on(site, &promote.cluster, act).await?;
    for remark in &promoted.remarks {
        site.tell(remark.clone());
    }
    let lost = promoted
        .loss
        .map_or_else(|| "unknown".to_owned(), |loss| loss.to_string());
    Ok(Values::from([
        output("timeline", &promoted.timeline),
        output("lost", &lost),
    ]))
}

pub(super) async fn rewind(site: &Site<'_>, rewind: &Rewind, timeout: Millis) -> Result<Values, Failure> {
    let member = MemberName::from(rewind.member.text());
    let kind = if rewind.clone {
        RebuildKind::Reclone
    } else {
        RebuildKind::Rewind
    };
    let act = async move |handle: ClusterHandle, tell: Teller| {
        let (mut kind, mut told) = (kind, false);
        let begun = handle.clock.monotonic();
        loop {
            let rebuilt = handle
                .rebuild(&member, kind, true, false, timeout.to_std(), &*tell)
                .await;
            let Err(ClusterError::Refused(refusals)) = &rebuilt else {
                return rebuilt;
            };
            let is = |reason: &str| refusals.iter().any(|refusal| refusal.reason == reason);
            if is("half-rewound") {
                // The agent died in it, and the directory is worth nothing now: what is left is to copy all of it, whatever
                // else a rewind would be refused for.
                tell("a rewind was begun and did not end; the member is cloned anew");
                kind = RebuildKind::Reclone;
                continue;
            }
            // A primary that did not answer this one time, a member that was just stopping, a process that was ending on its
            // directory: nothing was touched.
            let passes = refusals
                .iter()
                .all(|refusal| PASSING.contains(&refusal.reason.as_str()));
            if !passes || handle.cancel.is_cancelled() || handle.clock.elapsed(begun) >= PATIENCE {
                return rebuilt;
            }
            if !std::mem::replace(&mut told, true) {
                let first = refusals.first().map_or("", |refusal| refusal.what.as_str());
                tell(&format!("not yet: {first}"));
            }
            handle.clock.sleep(AGAIN).await;
        }
    };
    let rebuilt = on(site, &rewind.cluster, act).await?;
    if let Some(kept) = &rebuilt.kept {
        site.tell(format!("its old directory is kept at {}", kept.display()));
    }
    Ok(Values::new())
}

pub(super) async fn service(site: &Site<'_>, service: &Service) -> Result<Values, Failure> {
    let (Some(cluster), Some(member)) = (&service.cluster, &service.member) else {
        return Ok(Values::new());
    };
    let (member, act) = (MemberName::from(member.text()), service.act);
    let act = async move |handle: ClusterHandle, _| {
        if matches!(act, ServiceDo::Stop | ServiceDo::Restart) {
            handle.stop_service(&member).await?;
        }
        if matches!(act, ServiceDo::Start | ServiceDo::Restart) {
            handle.start_service(&member).await?;
        }
        Ok(())
    };
    on(site, cluster, act).await?;
    Ok(Values::new())
}
