//! `lifeboat status` and `lifeboat objectives`: what the Overview shows.

use super::context::Ctx;
use super::error::{CliError, Exit};
use super::output::{Column, Listing, Paint, Render, Row, Style, Text, moment, short};
use crate::api::types::{JobView, Overview, ProgressView, RepositoryView, ServiceView};
use crate::domain::Millis;
use crate::domain::alert::{Alert, Severity};
use crate::domain::drill::DrillView;
use crate::domain::maintenance::Maintenance;
use crate::domain::objective::GaugeLevel;
use crate::domain::upkeep::UpkeepRun;

/// Runs `lifeboat status`.
pub async fn status(ctx: &Ctx) -> Result<Exit, CliError> {
    ctx.print(&overview(ctx).await?)?;
    Ok(Exit::Done)
}

/// Runs `lifeboat objectives`.
pub async fn objectives(ctx: &Ctx) -> Result<Exit, CliError> {
    ctx.print(&Objectives(overview(ctx).await?.services))?;
    Ok(Exit::Done)
}

/// Fetches the live picture.
pub async fn overview(ctx: &Ctx) -> Result<Overview, CliError> {
    let client = ctx.client().await?;
    let overview = client.overview().await;
    overview.map_err(|error| CliError::from_client("the state cannot be shown", error))
}

impl Render for Overview {
    fn text(&self, out: &mut Text) {
        let agent = &self.agent;
        let up = short(Millis::between(agent.started_at, out.style.now));
        let rights = if self.read_only { "read-only" } else { "read-write" };
        out.painted(Paint::Strong, format!("{} {}  {rights}", self.environment, self.site));
        out.line(format!(
            "agent {} on {}, pid {}, up {up}, {} attached",
            agent.version, agent.host, agent.pid, agent.clients
        ));
        for trouble in self.troubles() {
            out.painted(Paint::Bad, trouble);
        }
        if !self.services.is_empty() {
            out.heading("Services");
            let rows: Vec<_> = self.services.iter().map(|service| service.cells(&out.style)).collect();
            out.table(ServiceView::COLUMNS, &rows);
        }
        out.heading("Alerts");
        alerts(out, &self.alerts);
        out.heading("Jobs");
        Listing(self.jobs.clone()).text(out);
        if !self.executions.is_empty() {
            out.heading("Runbooks");
            Listing(self.executions.clone()).text(out);
        }
        if !(self.runs.is_empty() && self.recoveries.is_empty() && self.maintenance.is_empty()) {
            out.heading("Running");
        }
        for view in &self.runs {
            out.line(working(
                view.run.id.as_str(),
                view.run.job.as_str(),
                view.progress.as_ref(),
            ));
        }
        for view in &self.recoveries {
            let target = view.recovery.request.target.display();
            out.line(working(view.recovery.id.as_str(), &target, view.progress.as_ref()));
        }
        for view in &self.maintenance {
            let Maintenance {
                id, task, repository, ..
            } = &view.maintenance;
            let subject = format!("{} {repository}", task.word());
            out.line(working(id.as_str(), &subject, view.progress.as_ref()));
        }
        if !self.waiting.is_empty() {
            out.heading("Recovered servers that wait");
        }
        for view in &self.waiting {
            super::recovery::write_waiting(&view.waiting, out);
        }
        drills(out, &self.drills);
        if !self.repositories.is_empty() {
            out.heading("Repositories");
        }
        for repository in &self.repositories {
            let state = match (repository.reachable, &repository.failure) {
                (Some(true), _) => "answers".to_owned(),
                (Some(false), Some(failure)) => format!("DOES NOT ANSWER: {failure}"),
                (Some(false), None) => "DOES NOT ANSWER".to_owned(),
                (None, _) => "not asked yet".to_owned(),
            };
            let used = match (repository.room, repository.used_percent) {
                (Some(room), _) => format!(", {room}"),
                (None, Some(used)) => format!(", disk {used}% full"),
                (None, None) => String::new(),
            };
            let counted = repository.snapshots;
            out.line(format!(
                "{}  {}  {counted} snapshots, {state}{used}",
                repository.name, repository.url
            ));
            upkeep(out, repository);
        }
    }
}

/// Names the drills that failed, took too long or are overdue.
fn drills(out: &mut Text, drills: &[DrillView]) {
    let troubled: Vec<_> = drills
        .iter()
        .filter_map(|drill| Some((drill, drill.trouble()?)))
        .collect();
    if troubled.is_empty() {
        return;
    }
    out.heading("Drills");
    for (drill, trouble) in troubled {
        out.painted(Paint::Bad, format!("{} of {}: {trouble}", drill.name, drill.source));
        let next = drill.running.as_ref().map_or_else(
            || format!("do it now: lifeboat drill run {} --wait", drill.name),
            |live| format!("{live} is under way"),
        );
        out.line(format!("  next: {next}"));
    }
}

/// Writes how a repository is kept in order, where there is something to say.
fn upkeep(out: &mut Text, repository: &RepositoryView) {
    let Some(upkeep) = &repository.upkeep else { return };
    if let Some(damage) = &upkeep.damage {
        out.painted(Paint::Bad, format!("  DAMAGED: {damage}"));
    }
    let said = |word: &str, last: &Option<UpkeepRun>, schedule: &Option<String>| {
        let last = last.as_ref();
        let last = last.map(|run| {
            format!(
                "{word} {} {}: {}",
                run.outcome.word(),
                out.style.ago(Some(run.at)),
                run.summary
            )
        });
        let next = schedule.as_ref().map(|schedule| format!("{word} {schedule}"));
        last.or(next)
    };
    let lines = [
        said("prune", &upkeep.prune, &upkeep.prune_schedule),
        said("check", &upkeep.check, &upkeep.check_schedule),
    ];
    for line in lines.into_iter().flatten() {
        out.line(format!("  {line}"));
    }
}

/// Writes open alerts, each with what to do next.
pub fn alerts(out: &mut Text, alerts: &[Alert]) {
    if alerts.is_empty() {
        out.painted(Paint::Good, "none open");
    }
    for alert in alerts {
        let paint = match alert.severity {
            Severity::Critical => Paint::Bad,
            Severity::Warning => Paint::Warn,
        };
        let taken = match &alert.acknowledged {
            Some(taken) => format!(", taken by {}", taken.by),
            None => String::new(),
        };
        let since = out.style.ago(Some(alert.opened_at));
        out.painted(
            paint,
            format!("{} {}  {since}{taken}", alert.severity.word().to_uppercase(), alert.key),
        );
        out.line(format!("  {}", alert.message));
        out.line(format!("  next: {}", alert.next_step));
    }
}

fn working(id: &str, subject: &str, progress: Option<&ProgressView>) -> String {
    let Some(progress) = progress else {
        return format!("{id}  {subject}  waiting");
    };
    let part = match progress.fraction() {
        Some(fraction) => format!("{:.0}%", (fraction * 100.0).floor()),
        None => progress.bytes_done.to_string(),
    };
    let eta = progress.eta.map_or_else(String::new, |eta| format!("  {eta} left"));
    format!("{id}  {subject}  {} {part}  {}/s{eta}", progress.phase, progress.rate)
}

fn maybe(length: Option<Millis>) -> String {
    length.map_or_else(|| "-".to_owned(), short)
}

impl Row for ServiceView {
    const COLUMNS: &'static [Column] = &[
        Column::cut("SERVICE"),
        Column::left("RPO"),
        Column::right("LOSS NOW"),
        Column::right("OF"),
        Column::left("EVIDENCE"),
        Column::left("RTO"),
        Column::right("MEASURED"),
        Column::right("OF"),
    ];
    const EMPTY: &'static str = "no services are defined";

    fn cells(&self, _style: &Style) -> Vec<String> {
        let evidence = self.rpo.evidence.as_ref();
        vec![
            self.name.to_string(),
            self.rpo.level.word().to_owned(),
            maybe(self.rpo.loss),
            short(self.rpo.objective),
            evidence.map_or("-", |evidence| evidence.level.word()).to_owned(),
            self.rto.level.word().to_owned(),
            maybe(self.rto.measured),
            short(self.rto.objective),
        ]
    }
}

impl Row for JobView {
    const COLUMNS: &'static [Column] = &[
        Column::cut("JOB"),
        Column::left("KIND"),
        Column::left("LAST"),
        Column::left("SUCCEEDED"),
        Column::left("NEXT"),
        Column::cut("SCHEDULE"),
        Column::cut("REPOSITORY"),
    ];
    const EMPTY: &'static str = "no jobs are defined; add one with: lifeboat job add";

    fn cells(&self, style: &Style) -> Vec<String> {
        let last = match (&self.running, self.outcomes.last()) {
            (Some(_), _) => "running",
            (None, Some(outcome)) => outcome.word(),
            (None, None) => "-",
        };
        let next = match (self.enabled, self.next_due) {
            (false, _) => "disabled".to_owned(),
            (true, None) => "by hand".to_owned(),
            (true, due) => style.ago(due),
        };
        vec![
            self.name.to_string(),
            self.kind.clone(),
            last.to_owned(),
            style.ago(self.last_success_at),
            next,
            self.schedule_words.clone().unwrap_or_else(|| "-".to_owned()),
            self.repository.to_string(),
        ]
    }
}

/// The services, each with both gauges in full.
#[derive(Debug, serde::Serialize)]
#[serde(transparent)]
struct Objectives(Vec<ServiceView>);

impl Render for Objectives {
    fn text(&self, out: &mut Text) {
        if self.0.is_empty() {
            out.line(ServiceView::EMPTY);
        }
        for service in &self.0 {
            out.heading(service.name.as_str());
            rpo(out, service);
            rto(out, service);
        }
    }
}

fn paint(level: GaugeLevel) -> Paint {
    match level {
        GaugeLevel::Met => Paint::Good,
        GaugeLevel::AtRisk => Paint::Warn,
        GaugeLevel::Breached => Paint::Bad,
        GaugeLevel::Unknown => Paint::Dim,
    }
}

fn rpo(out: &mut Text, service: &ServiceView) {
    let gauge = &service.rpo;
    let loss = match gauge.loss {
        Some(loss) => format!("{} would be lost now, of {}", short(loss), short(gauge.objective)),
        None => format!("nothing can be restored; the objective is {}", short(gauge.objective)),
    };
    let breach = match gauge.breach_in {
        Some(left) if gauge.loss.is_some() && gauge.level != GaugeLevel::Breached => {
            format!("; breached in {}", short(left))
        }
        _ => String::new(),
    };
    out.painted(
        paint(gauge.level),
        format!("  RPO {}: {loss}{breach}", gauge.level.word()),
    );
    if let Some(to) = gauge.recoverable_to {
        let snapshot = gauge.snapshot.as_ref().map_or("", |id| id.short());
        let with_log = if gauge.by_log { " and the log behind it" } else { "" };
        out.line(format!(
            "      recoverable to {} from snapshot {snapshot}{with_log}",
            moment(to)
        ));
    }
    if let Some(evidence) = &gauge.evidence {
        out.line(format!("      {} {}", evidence.level, out.style.ago(Some(evidence.at))));
    }
    if let Some(source) = gauge.worst_source.as_ref().filter(|_| service.sources.len() > 1) {
        out.line(format!("      worst off: {source}"));
    }
}

fn rto(out: &mut Text, service: &ServiceView) {
    let gauge = &service.rto;
    let measured = match gauge.measured {
        Some(measured) => format!(
            "{} measured (median of {}), of {}",
            short(measured),
            gauge.samples,
            short(gauge.objective)
        ),
        None => format!("never measured; the objective is {}", short(gauge.objective)),
    };
    out.painted(paint(gauge.level), format!("  RTO {}: {measured}", gauge.level.word()));
    if let (Some(at), Some(recovery)) = (gauge.last_at, &gauge.last_recovery) {
        out.line(format!("      last by {recovery} {}", out.style.ago(Some(at))));
    }
}
