//! Acting for the steps of a runbook: asking checks, doing what a step does, verifying it, taking it back.
//!
//! The core decides when and has journalled that a step acts before [`act`] is called. Everything here may be killed at any
//! moment: what a step in doubt has done is found out by its verification, so no action keeps anything of its own.
//!
//! | file | kinds |
//! | --- | --- |
//! | `check` | the questions |
//! | `data` | backup, verify, drill: commands to the engine, waited for |
//! | `restore` | restore and recover: the same, bound to the plan that was shown |
//! | `cluster` | fence, unfence, replay, promote, rewind, and the services of members |
//! | `found` | what a step in doubt did, by the engine's own records |
//! | `leftover` | programs that outlived their agent |
//! | `program` | command, route, notify, systemd: explicit words, bounded output, killed with all they started |
//! | `web` | http, and what is done by a request |
//! | `server` | sql, and the servers statements go to |

mod check;
mod cluster;
mod data;
mod found;
mod leftover;
mod program;
mod restore;
mod server;
mod web;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::run::Failure;
use crate::domain::runbook::action::Action;
use crate::domain::runbook::check::{Check, CheckOutcome, CheckResult, together};
use crate::domain::runbook::next::Doing;
use crate::domain::runbook::run::Checked;
use crate::domain::runbook::template::{Template, Values};
use crate::domain::runbook::tidy;
use crate::domain::runbook::{RunbookRun, Step, StepEnd, StepSeen, Undo};
use crate::domain::units::parse_duration;
use crate::engine::Engine;
use crate::engine::hands::Work;
use crate::engine::work::Worker;

/// How long what was done may take to show, when its step says nothing of it.
const SHOWS_WITHIN: Duration = Duration::from_secs(30);
/// How often what is waited for is asked.
const EVERY: Duration = Duration::from_millis(500);

/// What is to be done for a step.
#[derive(Clone)]
pub struct StepOrder {
    /// The execution, as it is.
    pub run: Arc<RunbookRun>,
    /// The step, by its place.
    pub at: usize,
    /// What.
    pub doing: Doing,
    /// Whose commands the step may give.
    pub engine: Engine,
    /// Told what is going on, line by line.
    pub tell: Arc<dyn Fn(String) + Send + Sync>,
}

impl std::fmt::Debug for StepOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepOrder")
            .field("run", &self.run.id)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// What the kinds of action are given.
struct Site<'a> {
    worker: &'a Worker,
    work: &'a Work,
    order: &'a StepOrder,
}

impl Site<'_> {
    fn tell(&self, line: impl Into<String>) {
        (self.order.tell)(tidy::line(&line.into()));
    }

    /// Waits a little; an error when somebody cancelled.
    async fn pause(&self, length: Duration) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = self.work.cancel.cancelled() => Err(cancelled()),
            () = self.worker.clock.sleep(length) => Ok(()),
        }
    }

    /// Asks checks, with what is known.
    async fn ask(&self, checks: &[Check], values: &Values) -> Vec<CheckResult> {
        let mut results = Vec::new();
        for one in checks {
            results.push(match one.resolved(values) {
                Ok(ready) => check::ask(self, &ready).await,
                Err(name) => CheckResult {
                    title: one.words(),
                    outcome: CheckOutcome::Unknown,
                    detail: format!("{{{name}}} is not known"),
                },
            });
        }
        results
    }
}

fn cancelled() -> Failure {
    Failure::permanent("it was stopped", "look at what it did before going on")
}

/// Does what is to be done for a step. What others said comes out of here bounded and harmless.
pub(super) async fn perform(worker: &Worker, work: Work, order: StepOrder) -> StepSeen {
    performed(worker, work, order).await.tidied()
}

async fn performed(worker: &Worker, work: Work, order: StepOrder) -> StepSeen {
    let site = Site {
        worker,
        work: &work,
        order: &order,
    };
    let step = &order.run.runbook.steps[order.at];
    let values = &order.run.values;
    match order.doing {
        Doing::Look => {
            let at = worker.clock.now();
            let mut results = site.ask(&step.precheck, values).await;
            if let Ok(action) = step.action.resolved(values) {
                results.extend(restore::plan_line(&site, &action).await);
            }
            StepSeen::Checked(Checked { at, results })
        }
        Doing::Verify => {
            if leftover::ended(&worker.state_dir, &order.run.id, &step.id).await {
                site.tell(format!("{}: its program was still at work and was ended", step.id));
            }
            settled(&site, step).await
        }
        Doing::Undo => StepSeen::Undone(take_back(&site, step).await.err()),
        Doing::Act | Doing::Stop => {
            let mut end = act(&site, step).await;
            end.stopped = end.error.is_some() && work.cancel.is_cancelled();
            StepSeen::Ended(Box::new(end))
        }
    }
}

/// Whether a step in doubt was done. What cannot be told yet is asked again for a while: a server that was just started lets
/// nobody in for some seconds.
async fn settled(site: &Site<'_>, step: &Step) -> StepSeen {
    let started = site.worker.clock.monotonic();
    let (mut evidence, mut outputs) = loop {
        let mut evidence = site.ask(&step.verify, &site.order.run.values).await;
        let mut outputs = Values::new();
        if let Some((line, found)) = found::record(site, &step.action).await {
            evidence.push(line);
            outputs = found;
        }
        let unknown = together(&evidence) == CheckOutcome::Unknown;
        if !unknown || site.worker.clock.elapsed(started) >= SHOWS_WITHIN || site.pause(EVERY).await.is_err() {
            break (evidence, outputs);
        }
    };
    // What a switchover has begun and not noted as over is ended by the same command begun again.
    evidence.extend(cluster::unfinished(site, &step.action).await);
    if evidence.is_empty() || together(&evidence) != CheckOutcome::Holds {
        return StepSeen::Verified(evidence);
    }
    outputs.extend(found::outputs(site, &step.action).await);
    StepSeen::FoundDone { evidence, outputs }
}

async fn take_back(site: &Site<'_>, step: &Step) -> Result<(), Failure> {
    let Undo::Action(undo) = &step.undo else {
        return Ok(());
    };
    let action = undo.resolved(&site.order.run.values).map_err(|name| unknown(&name))?;
    site.tell(format!("taking back {}: {}", step.id, action.words()));
    do_it(site, step, &action).await.map(drop)
}

fn unknown(name: &str) -> Failure {
    Failure::permanent(format!("{{{name}}} is not known"), "say it, then try again")
}

async fn act(site: &Site<'_>, step: &Step) -> StepEnd {
    let failed = |error: Failure| StepEnd {
        error: Some(error),
        ..StepEnd::default()
    };
    let mut values = site.order.run.values.clone();
    let action = match step.action.resolved(&values) {
        Ok(action) => action,
        Err(name) => return failed(unknown(&name)),
    };
    site.tell(format!("{}: {}", step.id, action.words()));
    let mut outputs = match do_it(site, step, &action).await {
        Ok(outputs) => outputs,
        Err(error) => return failed(error),
    };
    for (name, value) in &outputs {
        values.insert(format!("{}.{name}", step.id), value.clone());
    }
    let patient = match &action {
        Action::Wait(wait) if wait.length.is_none() => step.timeout.to_std(),
        // What is only looked at is as it is.
        Action::Check(_) => Duration::ZERO,
        // What does not show before its time is over is said to be done and not proved, rather than late.
        _ => SHOWS_WITHIN.min(step.timeout.to_std().mul_f32(0.75)),
    };
    let evidence = match verified(site, step, &values, patient).await {
        Ok(evidence) => evidence,
        Err(error) => return failed(error),
    };
    let error = (together(&evidence) != CheckOutcome::Holds).then(|| not_proved(&action, &evidence));
    if error.is_none() && matches!(action, Action::Wait(_)) {
        outputs.insert("held".to_owned(), "true".to_owned());
    }
    StepEnd {
        outputs,
        evidence,
        error,
        ..StepEnd::default()
    }
}

/// Asks the verification until it holds; what it came to at last when it does not.
async fn verified(
    site: &Site<'_>,
    step: &Step,
    values: &Values,
    patience: Duration,
) -> Result<Vec<CheckResult>, Failure> {
    let started = site.worker.clock.monotonic();
    let mut told = None;
    loop {
        let results = site.ask(&step.verify, values).await;
        if together(&results) == CheckOutcome::Holds || site.worker.clock.elapsed(started) >= patience {
            return Ok(results);
        }
        let first = results
            .iter()
            .find(|result| !result.holds())
            .map(|result| result.detail.clone());
        if told != first {
            if let Some(detail) = &first {
                site.tell(format!("not yet: {detail}"));
            }
            told = first;
        }
        site.pause(EVERY).await?;
    }
}

fn not_proved(action: &Action, evidence: &[CheckResult]) -> Failure {
    let first = evidence.iter().find(|result| !result.holds());
    let why = first.map_or_else(String::new, |result| format!("{}: {}", result.title, result.detail));
    // Nothing was done where there is only something to ask.
    if matches!(action, Action::Check(_) | Action::Wait(_)) {
        return Failure {
            message: format!("it does not hold: {why}"),
            hint: Some("mend it, then ask again".to_owned()),
            retryable: true,
        };
    }
    Failure::permanent(
        format!("it was done, and is not proved: {why}"),
        "find out why before going on; trying again does it once more",
    )
}

/// Does what an action says; returns what it found out.
async fn do_it(site: &Site<'_>, step: &Step, action: &Action) -> Result<Values, Failure> {
    let nothing = Ok(Values::new());
    match action {
        Action::Manual(_) | Action::Check(_) | Action::Approve(_) => nothing,
        Action::Choose(choose) => {
            let value = site.order.run.values.get(&choose.variable).cloned().unwrap_or_default();
            Ok(Values::from([("value".to_owned(), value)]))
        }
        Action::Wait(wait) => match &wait.length {
            Some(length) => {
                let length = parse_duration(&length.text())
                    .map_err(|error| Failure::permanent(error, "correct the runbook or the value"))?;
                site.pause(length.to_std()).await?;
                nothing
            }
            None => nothing,
        },
        Action::Backup(backup) => data::backup(site, backup).await,
        Action::Restore(wanted) => restore::restore(site, wanted).await,
        Action::Recover(wanted) => restore::recover(site, wanted).await,
        Action::Verify(verify) => data::verify(site, verify).await,
        Action::Drill(drill) => data::drill(site, drill).await,
        Action::Fence(of) => cluster::fence(site, of).await,
        Action::Unfence(of) => cluster::unfence(site, of).await,
        Action::Replay(of) => cluster::replay(site, of, step.timeout).await,
        Action::Promote(promote) => cluster::promote(site, promote).await,
        Action::Rewind(rewind) => cluster::rewind(site, rewind, step.timeout).await,
        Action::Service(service) => match &service.unit {
            Some(unit) => {
                let words = ["systemctl", service.act.word(), &unit.text()].map(ToOwned::to_owned);
                program::run(site, &words, false, None).await.map(drop)?;
                nothing
            }
            None => cluster::service(site, service).await,
        },
        Action::Route(route) => match &route.url {
            Some(url) => {
                let method = route.method.as_ref().map_or("POST".to_owned(), Template::text);
                web::send(
                    site,
                    &method,
                    &url.text(),
                    route.body.as_ref().map(Template::text),
                    None,
                )
                .await
            }
            None => program::run(site, &program::words(&route.command), false, None)
                .await
                .map(|_| Values::new()),
        },
        Action::Command(program) => {
            let output = program::run(site, &program::words(&program.command), program.shell, None).await?;
            Ok(Values::from([("output".to_owned(), output)]))
        }
        Action::Http(request) => {
            let method = request.method.as_ref().map_or("GET".to_owned(), Template::text);
            let body = request.body.as_ref().map(Template::text);
            web::send(site, &method, &request.url.text(), body, request.status).await
        }
        Action::Sql(sql) => server::statement(site, sql).await,
        Action::Notify(notify) => {
            let message = notify.message.text();
            if let Some(url) = &notify.url {
                let body = serde_json::json!({ "text": message }).to_string();
                web::send(site, "POST", &url.text(), Some(body), None).await?;
            } else {
                program::run(site, &program::words(&notify.command), false, Some(message)).await?;
            }
            nothing
        }
        Action::FindClean(find) => data::find_clean(site, find).await,
    }
}
