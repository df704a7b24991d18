//! Answers: each finds the place its question came from.

use crate::domain::command::Command;
use crate::domain::recovery::{RecoveryPlan, RecoveryRequest};
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::view::{Page, Query, Receipt};

use super::app::App;
use super::finder;
use super::link::{Answer, Question, Trouble};
use super::message::Effect;
use super::navigation;
use super::overlays::Overlay;
use super::overlays::pager::Pager;
use super::place::{Pane, Place};
use super::runbooks;
use super::screens::recoveries::RecoveryRow;
use super::screens::restore::PlanState;
use super::screens::topology::MemberRow;
use super::screens::tree::{Preview, TreeRow};
use super::servers;
use super::table::{Item, Table};

/// Takes in an answer, or why there is none.
pub fn answered(app: &mut App, question: Question, result: Result<Answer, Trouble>) -> Vec<Effect> {
    match result {
        Ok(answer) => good(app, question, answer),
        Err(trouble) => {
            if let Question::Command(command) = &question
                && let Some(effects) = runbooks::refused(app, command, &trouble)
            {
                return effects;
            }
            bad(app, &question, trouble);
            Vec::new()
        }
    }
}

fn good(app: &mut App, question: Question, answer: Answer) -> Vec<Effect> {
    let now = app.now;
    match (question, answer) {
        (Question::Runs(query), Answer::Runs(page)) => {
            if app.runs_of.as_ref().map(super::super::domain::id::JobName::as_str) == query.job.as_deref() {
                place(&mut app.runs, &query, page, now);
            }
        }
        (Question::Snapshots(query), Answer::Snapshots(page)) if query.gone == Some(true) => {
            return finder::came(app, &query, page);
        }
        (Question::Snapshots(query), Answer::Snapshots(page)) => snapshots(app, &query, page),
        (Question::Recoveries(query), Answer::Recoveries(page)) => {
            let items = page
                .items
                .into_iter()
                .map(|record| RecoveryRow::Done(Box::new(record)))
                .collect();
            place(&mut app.recoveries, &query, Page { items, next: page.next }, now);
            return servers::note(app);
        }
        (Question::Alerts(query), Answer::Alerts(page)) => place(&mut app.alerts, &query, page, now),
        (Question::Clusters, Answer::Clusters(views)) => {
            app.topology.loading = false;
            app.topology.set(MemberRow::of(&views), now);
        }
        (Question::Journal(query), Answer::Journal(page)) => place(&mut app.audit, &query, page, now),
        (Question::Tree(snapshot, path), Answer::Tree(entries)) => {
            if app
                .tree_of
                .as_ref()
                .is_some_and(|(id, at)| id.0 == snapshot && *at == path)
            {
                app.tree.loading = false;
                app.tree
                    .set(entries.into_iter().map(|entry| TreeRow { entry }).collect(), now);
                if let Some(child) = app.tree_child.take() {
                    app.tree.select_key(&child);
                }
            }
        }
        (Question::Content(snapshot, path, _), Answer::Content(bytes)) => {
            app.preview = Some(Preview::new(snapshot, path, &bytes));
        }
        (Question::Log(run), Answer::Text(text)) => {
            app.overlay = Some(Overlay::Pager(Pager::new(format!("Log of {run}"), &text)));
        }
        (Question::Retention(job), Answer::Retention(plan)) => {
            if matches!(&app.place, Place::Retention(here) if here.0 == job) {
                app.retention.loading = false;
                app.retention.set(plan.decisions.clone(), now);
                app.retention_plan = Some(*plan);
            }
        }
        (Question::Plan(request), Answer::Plan(plan)) => planned(app, &request, *plan),
        (Question::Runbook(_), Answer::Runbook(document)) => {
            app.documents.insert(document.name.clone(), *document);
        }
        (Question::Readiness(name), Answer::Readiness(found)) => runbooks::is_ready(app, &name, &found),
        (Question::Executions(query), Answer::Executions(page)) => place(&mut app.executions, &query, page, now),
        (Question::PlanRunbook(wish), Answer::RunbookPlan(plan)) => runbooks::planned(app, &wish, Ok(*plan)),
        (Question::Command(command), Answer::Receipt(receipt)) => return done(app, command, receipt),
        (Question::Practice(_), Answer::Text(text)) => app.say(text),
        (question, _) => app.complain(format!("the agent answered something else to: {}", words(&question))),
    }
    Vec::new()
}

/// Puts a page where it belongs: a first page without conditions begins a list anew, others add to it.
fn place<T: Item>(table: &mut Table<T>, query: &Query, page: Page<T>, now: crate::domain::Timestamp) {
    let narrowed = query.text.is_some() || query.evidence.is_some() || query.since.is_some() || query.id.is_some();
    table.merge(page.items, now);
    if !narrowed {
        table.loading = false;
        table.next = page.next;
    }
}

fn snapshots(app: &mut App, query: &Query, page: Page<SnapshotRecord>) {
    let now = app.now;
    let table = if query.trash == Some(true) {
        &mut app.trash
    } else {
        &mut app.snapshots
    };
    place(table, query, page, now);
}

fn planned(app: &mut App, request: &RecoveryRequest, plan: RecoveryPlan) {
    if let Some(Overlay::Restore(form)) = &mut app.overlay
        && form.plan == PlanState::Asked
        && form.request().as_ref() == Ok(request)
    {
        form.plan = PlanState::Here(Box::new(plan));
        return;
    }
    let same = |row: &&RecoveryRow| row.request() == request;
    if let Some(id) = app.recoveries.all().find(same).map(|row| row.id().clone()) {
        app.plans.insert(id, plan);
    }
}

/// A command was carried out: says so, and goes where its effect can be watched.
fn done(app: &mut App, command: Command, receipt: Receipt) -> Vec<Effect> {
    match command {
        Command::StartRecovery { request } => {
            let Some(id) = receipt.recovery else { return Vec::new() };
            let same = |plan: &RecoveryPlan| request.plan_digest.as_ref() == Some(&plan.digest);
            if let Some(plan) = app.confirmed.take().filter(same) {
                app.plans.insert(id.clone(), plan);
            }
            // In one process with its engine a console is not what one may close meanwhile.
            let closing = if app.settings.embedded { "ends" } else { "goes on" };
            app.say(format!("{id} has begun; it {closing} if this console closes"));
            let effects = navigation::go(app, Place::Recoveries);
            if !app.recoveries.select_key(id.as_str()) {
                app.awaited = Some(id);
            }
            app.pane = Pane::Detail;
            effects
        }
        Command::StartRunbook { .. } | Command::SayInRunbook { .. } => runbooks::done(app, &command, receipt),
        Command::FollowUpRecovery { recovery, what } => {
            app.say(format!("{} the server of {recovery}", what.doing()));
            Vec::new()
        }
        Command::CreateRestorePoint { name, .. } => {
            app.say(format!("asked for restore point {name}"));
            Vec::new()
        }
        Command::RunDrill { drill, .. } => {
            app.say(format!("drill {drill} has begun; screen 4 shows it"));
            Vec::new()
        }
        Command::RunJob { job } => {
            app.say(format!("job {job} has been started"));
            Vec::new()
        }
        Command::VerifySnapshot { snapshot, level } => {
            app.say(format!(
                "verifying {} up to {level}; screen 4 shows it",
                snapshot.short()
            ));
            Vec::new()
        }
        Command::ApplyRetention { .. } if receipt.maintenance.is_empty() => {
            app.say("nothing has to go");
            Vec::new()
        }
        other if !receipt.maintenance.is_empty() => {
            app.say(format!("{}: under way; screen 1 shows it", other.word()));
            Vec::new()
        }
        other => {
            app.say(format!("done: {}", other.word()));
            Vec::new()
        }
    }
}

fn bad(app: &mut App, question: &Question, trouble: Trouble) {
    match question {
        Question::Plan(request) => {
            if let Some(Overlay::Restore(form)) = &mut app.overlay
                && form.plan == PlanState::Asked
                && form.request().as_ref() == Ok(&**request)
            {
                form.plan = PlanState::Failed(trouble);
            }
            // A plan asked for only to show a command is not worth a complaint.
            return;
        }
        Question::PlanRunbook(wish) => return runbooks::planned(app, wish, Err(trouble)),
        Question::Executions(_) => app.executions.loading = false,
        Question::Runs(_) => app.runs.loading = false,
        Question::Snapshots(query) if query.trash == Some(true) => app.trash.loading = false,
        Question::Snapshots(query) if query.gone == Some(true) => app.finder.rows.loading = false,
        Question::Snapshots(_) => app.snapshots.loading = false,
        Question::Retention(_) => app.retention.loading = false,
        Question::Recoveries(_) => app.recoveries.loading = false,
        Question::Alerts(_) => app.alerts.loading = false,
        Question::Clusters => app.topology.loading = false,
        Question::Journal(_) => app.audit.loading = false,
        Question::Tree(..) => app.tree.loading = false,
        _ => {}
    }
    let hint = trouble.hint.map_or(String::new(), |hint| format!(" (hint: {hint})"));
    app.complain(format!("{}: {}{hint}", words(question), trouble.message));
}

fn words(question: &Question) -> String {
    match question {
        Question::Runs(_) => "runs".to_owned(),
        Question::Snapshots(_) => "snapshots".to_owned(),
        Question::Recoveries(_) => "recoveries".to_owned(),
        Question::Alerts(_) => "alerts".to_owned(),
        Question::Clusters => "clusters".to_owned(),
        Question::Journal(_) => "journal".to_owned(),
        Question::Tree(_, path) | Question::Content(_, path, _) => path.clone(),
        Question::Retention(job) => format!("retention of {job}"),
        Question::Log(run) => format!("log of {run}"),
        Question::Plan(_) | Question::PlanRunbook(_) => "plan".to_owned(),
        Question::Runbook(name) => format!("runbook {name}"),
        Question::Readiness(name) => format!("whether {name} is ready"),
        Question::Executions(_) => "history of runbooks".to_owned(),
        Question::Command(command) => command.word().to_owned(),
        Question::Practice(incident) => incident.clone(),
    }
}
