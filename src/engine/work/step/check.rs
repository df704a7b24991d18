//! The questions of steps, put to the real thing. A question that nobody answers is not answered no.

use std::path::Path;
use std::time::Duration;

use super::{Site, cluster, data, program, restore, server, web};
use crate::domain::cluster::{Answer, LocalState, MemberSeen, Picture, Role};
use crate::domain::gauge;
use crate::domain::id::{MemberName, RepositoryName, SourceName};
use crate::domain::run::Failure;
use crate::domain::runbook::action::Server;
use crate::domain::runbook::check::{self, Check, CheckOutcome, CheckResult, ClusterIs, MemberIs, Question};
use crate::domain::runbook::template::Template;
use crate::domain::units::{Millis, parse_duration};
use crate::engine::work::claim::{Claims, Place};
use crate::engine::work::{browse, failure};
use crate::source::postgres;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a question: the outcome, and what was seen.
type Found = (CheckOutcome, String);

fn holds(yes: bool, detail: impl Into<String>) -> Found {
    let outcome = if yes { CheckOutcome::Holds } else { CheckOutcome::Fails };
    (outcome, detail.into())
}

fn unknown(detail: impl Into<String>) -> Found {
    (CheckOutcome::Unknown, detail.into())
}

/// Asks one check.
pub(super) async fn ask(site: &Site<'_>, check: &Check) -> CheckResult {
    let asked = async {
        match &check.question {
            Question::Member(ask) => member(site, ask).await,
            Question::Cluster(ask) => of_cluster(site, ask).await,
            Question::Query(ask) => query(site, ask).await,
            Question::Answers(ask) => answers(site, ask).await,
            Question::Runs(ask) => runs(site, ask).await,
            Question::Snapshot(ask) => snapshot(site, ask).await,
            Question::Recoverable(ask) => Ok(recoverable(site, ask)),
            Question::Repository(ask) => repository(site, ask).await,
            Question::Path(ask) => Ok(path(site, &ask.path.text(), ask.exists).await),
            Question::Value(ask) => {
                let value = ask.value.text();
                Ok(holds(ask.expect.holds(Some(&value)), format!("it is \"{value}\"")))
            }
        }
    };
    let found = tokio::select! {
        found = asked => found.unwrap_or_else(|failure| unknown(failure.to_string())),
        () = site.worker.clock.sleep(PATIENCE) => unknown(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    CheckResult {
        title: check.words(),
        outcome: found.0,
        detail: found.1,
    }
}

async fn member(site: &Site<'_>, ask: &check::Member) -> Result<Found, Failure> {
    let (seen, picture) = cluster::picture(site, &ask.cluster).await?;
    let name = MemberName::from(ask.member.text());
    let Some(member) = seen.member(&name) else {
        return Ok(unknown(format!("{} has no member {name}", ask.cluster.text())));
    };
    let fenced = picture
        .lines
        .iter()
        .find(|line| line.name == name)
        .map(|line| line.fenced);
    let is_fenced = fenced.is_some_and(crate::domain::cluster::Fenced::is_held);
    if ask.is == MemberIs::Fenced {
        let detail = if is_fenced {
            "its fence is proved"
        } else {
            "it is not fenced"
        };
        return Ok(holds(is_fenced, detail));
    }
    if ask.is == MemberIs::Down {
        return Ok(down(member));
    }
    if ask.is == MemberIs::Silent {
        return Ok(silent(member));
    }
    let server = match &member.answer {
        Answer::Answers(server) => server,
        // A server that is known to be down surely is none of these.
        Answer::Silent { why, .. } if is_stopped(member) => return Ok(holds(false, format!("it is down: {why}"))),
        Answer::Silent { why, .. } => return Ok(unknown(format!("it does not answer: {why}"))),
    };
    let place = format!("{} at {}, timeline {}", server.role.word(), server.lsn, server.timeline);
    Ok(match ask.is {
        MemberIs::Up => holds(true, place),
        MemberIs::Primary => holds(server.role == Role::Primary, place),
        MemberIs::Standby => holds(server.role == Role::Standby, place),
        MemberIs::Writable => {
            let yes = server.role == Role::Primary && !server.read_only && !is_fenced;
            let word = if server.read_only { ", read-only" } else { "" };
            holds(yes, format!("{place}{word}"))
        }
        MemberIs::Streaming => streaming(ask, server, &picture, &name, &place)?,
        MemberIs::Fenced | MemberIs::Down | MemberIs::Silent => unknown(place),
    })
}

fn is_stopped(member: &MemberSeen) -> bool {
    let state = member.local.as_ref().map(|local| &local.state);
    matches!(state, Some(LocalState::Stopped | LocalState::Empty))
}

fn silent(member: &MemberSeen) -> Found {
    match &member.answer {
        Answer::Answers(_) => holds(false, "it answers"),
        Answer::Silent { why, refuses: true } => holds(false, format!("it is there: {why}")),
        Answer::Silent { why, .. } => holds(true, why.clone()),
    }
}

fn down(member: &MemberSeen) -> Found {
    match (&member.answer, member.local.as_ref().map(|local| &local.state)) {
        (Answer::Answers(_), _) => holds(false, "it answers"),
        (_, Some(LocalState::Running { pid })) => holds(false, format!("process {pid} has its data directory")),
        (_, Some(LocalState::Stopped | LocalState::Empty)) => holds(true, "no process has its data directory"),
        (Answer::Silent { why, .. }, _) => unknown(format!(
            "it does not answer ({why}), and its data directory cannot be seen from here"
        )),
    }
}

fn streaming(
    ask: &check::Member,
    server: &crate::domain::cluster::ServerSeen,
    picture: &Picture,
    name: &MemberName,
    place: &str,
) -> Result<Found, Failure> {
    let receives = server
        .receiver
        .as_ref()
        .is_some_and(|receiver| receiver.status == "streaming");
    if server.role != Role::Standby || !receives {
        return Ok(holds(false, format!("{place}, not streaming")));
    }
    let lag = picture
        .lines
        .iter()
        .find(|line| line.name == *name)
        .and_then(|line| line.lag);
    let allowed = ask.max_lag.as_ref().map(length).transpose()?;
    let late = allowed.zip(lag).is_some_and(|(allowed, lag)| lag > allowed);
    let lag = lag.map_or_else(String::new, |lag| format!(", {lag} behind"));
    Ok(holds(!late, format!("{place}, streaming{lag}")))
}

fn length(text: &Template) -> Result<Millis, Failure> {
    parse_duration(&text.text()).map_err(|error| Failure::permanent(error, "correct the value"))
}

async fn of_cluster(site: &Site<'_>, ask: &check::Cluster) -> Result<Found, Failure> {
    let (seen, picture) = cluster::picture(site, &ask.cluster).await?;
    let fenced = |name: &MemberName| {
        let line = picture.lines.iter().find(|line| line.name == *name);
        line.is_some_and(|line| line.fenced.is_held())
    };
    let writable: Vec<&str> = seen
        .primaries()
        .filter(|(name, server)| !server.read_only && !fenced(name))
        .map(|(name, _)| name.as_str())
        .collect();
    let silent: Vec<&str> = seen
        .members
        .iter()
        .filter(|member| member.answer.server().is_none() && !is_stopped(member) && !fenced(&member.name))
        .map(|member| member.name.as_str())
        .collect();
    let who = match writable.as_slice() {
        [] => "nobody takes writes".to_owned(),
        some => format!("{} takes writes", some.join(" and ")),
    };
    let also = if silent.is_empty() {
        String::new()
    } else {
        format!("; {} does not answer", silent.join(" and "))
    };
    Ok(match ask.is {
        // One that does not answer and is not fenced may be another.
        ClusterIs::OnePrimary if writable.len() == 1 && !silent.is_empty() => unknown(format!("{who}{also}")),
        ClusterIs::OnePrimary => holds(writable.len() == 1, format!("{who}{also}")),
        ClusterIs::NoPrimary if writable.is_empty() && !silent.is_empty() => unknown(format!("{who}{also}")),
        ClusterIs::NoPrimary => holds(writable.is_empty(), format!("{who}{also}")),
        ClusterIs::Healthy => match picture.signs.first() {
            Some(sign) => holds(false, sign.what.clone()),
            None => holds(true, who),
        },
    })
}

async fn query(site: &Site<'_>, ask: &check::Query) -> Result<Found, Failure> {
    let at: &Server = &ask.at;
    let (login, database) = server::login(site, at).await?;
    let answer = postgres::ask(&login, &database, &ask.sql.text(), &site.worker.clock).await;
    let answer = answer.map_err(|error| failure::of_source(&error))?;
    let shown = answer.as_deref().unwrap_or("nothing").to_owned();
    Ok(holds(
        ask.expect.holds(answer.as_deref()),
        format!("the answer is {shown}, expected {}", ask.expect),
    ))
}

async fn answers(site: &Site<'_>, ask: &check::Answers) -> Result<Found, Failure> {
    let answer = match web::answer(site, "GET", &ask.url.text(), None, Duration::from_secs(10)).await {
        Ok(answer) => answer,
        // Whoever is asked whether it answers, and does not, has given its answer.
        Err(failure) => return Ok(holds(false, failure.message)),
    };
    let right = web::is_expected(answer.status, ask.status);
    let wanted = ask.contains.as_ref().map(Template::text);
    let said = wanted.as_ref().is_none_or(|wanted| answer.body.contains(wanted));
    let detail = match (right, said, wanted) {
        (true, false, Some(wanted)) => format!("the answer is {}, without \"{wanted}\"", answer.status),
        _ => format!("the answer is {}", answer.status),
    };
    Ok(holds(right && said, detail))
}

async fn runs(site: &Site<'_>, ask: &check::Runs) -> Result<Found, Failure> {
    let ended = program::ended(site, &program::words(&ask.command), false, None).await?;
    let right = ended.code() == Some(ask.exit.unwrap_or(0));
    let wanted = ask.contains.as_ref().map(Template::text);
    let said = wanted.as_ref().is_none_or(|wanted| ended.said().contains(wanted));
    let detail = match (right, said, wanted) {
        (true, false, Some(wanted)) => format!("{}, without \"{wanted}\"", ended.how()),
        _ => ended.how(),
    };
    Ok(holds(right && said, detail))
}

async fn snapshot(site: &Site<'_>, ask: &check::Snapshot) -> Result<Found, Failure> {
    let name = ask.source.text();
    let Ok(newest) = data::newest(site, &name).await else {
        return Ok(holds(false, format!("source {name} has no complete snapshot")));
    };
    let age = Millis::between(newest.taken_at, site.worker.clock.now());
    let evidence = &newest.evidence;
    let detail = format!("{} is {age} old and {}", newest.id.short(), evidence.level);
    if let Some(refuted) = &evidence.failure {
        return Ok(holds(false, format!("{detail}, and was refuted: {}", refuted.message)));
    }
    let young = match &ask.max_age {
        Some(most) => age <= length(most)?,
        None => true,
    };
    Ok(holds(
        young && ask.level.is_none_or(|level| evidence.level >= level),
        detail,
    ))
}

fn recoverable(site: &Site<'_>, ask: &check::Recoverable) -> Found {
    let source = SourceName::from(ask.source.text());
    let most = match length(&ask.max_loss) {
        Ok(most) => most,
        Err(failure) => return unknown(failure.message),
    };
    let state = site.order.engine.state();
    let Some(point) = gauge::newest_restorable(&state, &source) else {
        return holds(false, "nothing can be restored");
    };
    let overview = site.order.engine.overview().borrow().clone();
    let by_log = overview.logs.iter().filter(|sight| sight.source == source);
    let newest = by_log
        .filter_map(|sight| sight.recoverable_to)
        .fold(point.taken_at, std::cmp::max);
    let loss = Millis::between(newest, site.worker.clock.now());
    holds(loss <= most, format!("{loss} would be lost now"))
}

async fn repository(site: &Site<'_>, ask: &check::Repository) -> Result<Found, Failure> {
    let name = RepositoryName::from(ask.repository.text());
    let Some(definition) = site.work.definitions.repositories.get(&name) else {
        return Ok(holds(false, format!("there is no repository {name}")));
    };
    let opened = site.worker.repositories.get(definition, &site.worker.clock).await;
    let repo = match opened {
        Ok(repo) => repo,
        Err(failure) => return Ok(holds(false, failure.to_string())),
    };
    if let Some(most) = ask.max_used {
        return Ok(match repo.store().room().await {
            Ok(Some(room)) => holds(room.percent() <= u64::from(most), room.to_string()),
            Ok(None) => holds(true, "it has no bound that is known".to_owned()),
            Err(error) => holds(false, error.to_string()),
        });
    }
    Ok(match browse::names(&repo, "snapshots/").await {
        Ok(held) => holds(true, format!("{} snapshots", held.len())),
        Err(failure) => holds(false, failure.to_string()),
    })
}

/// Whether something is there. The beginning of what this very step was restoring when its agent died counts as nothing: it is
/// gone on with.
async fn path(site: &Site<'_>, path: &str, wanted: bool) -> Found {
    let (claims, place, owner) = (
        Claims::of(&site.worker.state_dir),
        path.to_owned(),
        restore::reason(site),
    );
    let claimed = tokio::task::spawn_blocking(move || claims.look_at(Path::new(&place), &owner));
    match (claimed.await, wanted) {
        (Ok(Place::Ours), false) => return holds(true, "it is there: this step has begun it, and goes on with it"),
        (Ok(Place::Taken(why)), false) => {
            let hint = why.hint.as_deref().unwrap_or_default();
            return holds(false, format!("{why}; {hint}"));
        }
        _ => {}
    }
    match std::fs::symlink_metadata(path) {
        Ok(_) => holds(wanted, "it is there"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => holds(!wanted, "it is not there"),
        Err(error) => unknown(error.to_string()),
    }
}
