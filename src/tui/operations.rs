//! From a choice to a command: what is harmless is given at once, what is dangerous gets its dialog first.

use crate::domain::command::Command;
use crate::domain::follow_up::FollowUp;
use crate::domain::id::{JobName, RecoveryId, RunId, SnapshotId};
use crate::domain::recovery::{RecoveryPlan, RecoveryTarget};
use crate::domain::view::{JobView, ProgressView};

use super::app::App;
use super::keeping;
use super::link::Question;
use super::message::Effect;
use super::overlays::Overlay;
use super::overlays::dialog::{Dialog, Warning};
use super::overlays::move_on::MoveOn;
use super::overlays::note::{Note, NoteFor};
use super::screens::restore::Restore;
use super::servers;
use super::subject::Operation;
use super::words;

/// Begins an operation somebody chose.
pub fn begin(app: &mut App, operation: Operation) -> Vec<Effect> {
    if let Some(why) = app.why_locked().filter(|_| !operation.only_plans()) {
        app.complain(format!("not now: {why}"));
        return Vec::new();
    }
    let overlay = match operation {
        Operation::Give(commands) => return commands.into_iter().map(give).collect(),
        Operation::Acknowledge(keys) => Overlay::Note(Note::new(NoteFor::Acknowledge(keys))),
        Operation::Resolve(key) => Overlay::Note(Note::new(NoteFor::Resolve(key))),
        Operation::Pin(ids) => Overlay::Note(Note::new(NoteFor::Pin(ids))),
        Operation::Forget(ids) => Overlay::Note(Note::new(NoteFor::Forget(ids))),
        Operation::Tag(id) => Overlay::Note(Note::new(NoteFor::Tag(id))),
        Operation::ApplyRetention(job) => {
            let warning = keeping::apply_retention(app, &job);
            let job = Some(job);
            dialog(app, warning, Command::ApplyRetention { job, confirmed: true })
        }
        Operation::Prune(repository) => {
            let warning = keeping::prune(app, &repository);
            dialog(app, warning, Command::PruneRepository { repository })
        }
        Operation::Restore(snapshot, paths) => return open_restore(app, &snapshot, paths),
        Operation::BeginRunbook(name, drill) => return super::runbooks::begin(app, name, drill),
        Operation::FindClean(job) => return super::finder::go(app, job, None),
        Operation::Look(id, found) => {
            super::finder::look(app, id, found);
            return Vec::new();
        }
        Operation::UseInstead { run, step, snapshot } => {
            super::finder::use_instead(app, run, step, snapshot);
            return Vec::new();
        }
        Operation::Lead(id, lead) => return super::wizard::lead(app, &id, lead),
        Operation::StopRun(run, job) => dialog(app, stop_run(app, &run, &job), Command::CancelRun { run }),
        Operation::DisableJob(job) => {
            let warning = disable_job(app, &job);
            dialog(
                app,
                warning,
                Command::DisableJob {
                    job,
                    reason: Some("from the console".to_owned()),
                },
            )
        }
        Operation::StopRecovery(id) => {
            let warning = stop_recovery(app, &id);
            dialog(app, warning, Command::CancelRecovery { recovery: id })
        }
        Operation::Promote(id) => {
            let Some(warning) = servers::promote(app, &id) else {
                return Vec::new();
            };
            dialog(app, warning, follow(id, FollowUp::Promote))
        }
        Operation::Discard(id) => {
            let Some(warning) = servers::discard(app, &id) else {
                return Vec::new();
            };
            dialog(app, warning, follow(id, FollowUp::Discard))
        }
        Operation::MoveOn(id) => {
            let Some(view) = app.waiting(&id) else {
                return Vec::new();
            };
            Overlay::MoveOn(Box::new(MoveOn::new(app, view.waiting.clone())))
        }
        Operation::RestorePoint(cluster) => Overlay::Note(Note::new(NoteFor::RestorePoint(cluster))),
        Operation::Practice(incident) => {
            let warning = practice(app, &incident);
            Overlay::Dialog(Box::new(Dialog::new(
                warning,
                vec![Effect::Ask(Question::Practice(incident))],
                app.uptime,
            )))
        }
    };
    app.overlay = Some(overlay);
    Vec::new()
}

const fn follow(recovery: RecoveryId, what: FollowUp) -> Command {
    Command::FollowUpRecovery { recovery, what }
}

fn give(command: Command) -> Effect {
    Effect::Ask(Question::Command(command))
}

fn dialog(app: &App, warning: Warning, command: Command) -> Overlay {
    Overlay::Dialog(Box::new(Dialog::new(warning, vec![give(command)], app.uptime)))
}

/// Opens the restore form; the snapshot has to be known in full, so it is fetched when it is not.
fn open_restore(app: &mut App, id: &SnapshotId, paths: Vec<String>) -> Vec<Effect> {
    let Some(snapshot) = app.snapshots.get(id.as_str()).cloned() else {
        app.say(format!("fetching snapshot {}; choose it again on screen 3", id.short()));
        let query = crate::domain::view::Query {
            id: Some(id.0.clone()),
            ..Default::default()
        };
        return vec![Effect::Ask(Question::Snapshots(query))];
    };
    app.overlay = Some(Overlay::Restore(Box::new(Restore::new(app, snapshot, paths))));
    Vec::new()
}

/// The dialog before a planned restore starts; what has to be typed is the name of the target.
pub fn restore_dialog(app: &App, plan: &RecoveryPlan) -> Dialog {
    let mut request = plan.request.clone();
    request.plan_digest = Some(plan.digest.clone());
    let (title, name) = match &request.target {
        RecoveryTarget::Directory { path, .. } => {
            let last = path.file_name().map(|name| name.to_string_lossy().into_owned());
            (
                if request.instant.is_some() {
                    "Recover a cluster to an instant"
                } else {
                    "Restore into a directory"
                },
                last.unwrap_or_else(|| path.display().to_string()),
            )
        }
        RecoveryTarget::Database { database, .. } => ("Restore into a new database", database.clone()),
        RecoveryTarget::Scratch { .. } => ("Verify", "verify".to_owned()),
    };
    let mut losses = Vec::new();
    if plan.overwrites > 0 {
        losses.push(format!(
            "{} overwritten",
            words::plural(plan.overwrites, "existing thing")
        ));
        losses.extend(plan.overwrites_sample.iter().take(5).cloned());
    }
    let warning = Warning {
        title: title.to_owned(),
        facts: vec![
            ("target", request.target.display()),
            ("machine", plan.target_identity.clone()),
            (
                "snapshot",
                format!(
                    "{}, {} {}/5",
                    request.snapshot.short(),
                    plan.evidence,
                    plan.evidence.rank()
                ),
            ),
            (
                "writes",
                format!("{} in {}", plan.write, words::plural(plan.items, "item")),
            ),
        ],
        losses,
        command: plan.command.clone(),
        undo: plan.undo.clone(),
        name,
    };
    Dialog::new(warning, vec![give(Command::StartRecovery { request })], app.uptime)
}

fn agent_facts(app: &App) -> (&'static str, String) {
    let words = app.overview.as_ref().map_or_else(String::new, |overview| {
        format!("{}, {} {}", overview.agent.host, overview.environment, overview.site)
    });
    ("host", words)
}

fn done_so_far(progress: Option<&ProgressView>) -> String {
    progress.map_or_else(
        || "nothing yet".to_owned(),
        |progress| format!("{} of work in \"{}\"", progress.bytes_done, progress.phase),
    )
}

fn stop_run(app: &App, run: &RunId, job: &JobName) -> Warning {
    let views = app.overview.iter().flat_map(|overview| &overview.runs);
    let view = views.into_iter().find(|view| view.run.id == *run);
    Warning {
        title: format!("Stop the run of {job}"),
        facts: vec![
            agent_facts(app),
            ("run", run.0.clone()),
            ("done so far", done_so_far(view.and_then(|view| view.progress.as_ref()))),
        ],
        losses: vec!["this run makes no snapshot; blobs already written are reused by the next".to_owned()],
        command: "none; only a console stops a run".to_owned(),
        undo: "no undo; run the job again".to_owned(),
        name: job.0.clone(),
    }
}

fn disable_job(app: &App, name: &JobName) -> Warning {
    let job = app.job(name);
    let served = |job: &JobView| {
        let services = app.overview.iter().flat_map(|overview| &overview.services);
        let served = services.filter(|service| service.sources.contains(&job.source));
        let says = |service: &crate::domain::view::ServiceView| {
            let breach = service
                .rpo
                .breach_in
                .map_or(String::new(), |left| format!(", breached in {}", words::coarse(left)));
            format!(
                "new restore points of {} (RPO {}{breach})",
                service.name,
                words::promise(service.rpo.objective)
            )
        };
        served.map(says).collect::<Vec<_>>()
    };
    let losses = job.map_or_else(Vec::new, served);
    Warning {
        title: format!("Disable the schedule of {name}"),
        facts: vec![
            agent_facts(app),
            ("protects", job.map_or(String::new(), |job| job.subject.clone())),
            (
                "schedule",
                job.and_then(|job| job.schedule_words.clone()).unwrap_or_default(),
            ),
        ],
        losses: if losses.is_empty() {
            vec!["new snapshots of this job".to_owned()]
        } else {
            losses
        },
        command: format!("lifeboat job disable {name}"),
        undo: format!("lifeboat job enable {name}"),
        name: name.0.clone(),
    }
}

fn stop_recovery(app: &App, id: &RecoveryId) -> Warning {
    let row = app.recoveries.get(id.as_str());
    let views = app.overview.iter().flat_map(|overview| &overview.recoveries);
    let view = views.into_iter().find(|view| view.recovery.id == *id);
    Warning {
        title: "Stop a recovery".to_owned(),
        facts: vec![
            agent_facts(app),
            ("recovery", id.0.clone()),
            (
                "target",
                row.map_or(String::new(), |row| row.request().target.display()),
            ),
            ("done so far", done_so_far(view.and_then(|view| view.progress.as_ref()))),
        ],
        losses: vec!["the target stays incomplete and is not usable".to_owned()],
        command: "none; only a console stops a recovery".to_owned(),
        undo: "no undo; plan it again, a delta restore keeps what is there".to_owned(),
        name: "stop".to_owned(),
    }
}

fn practice(app: &App, incident: &str) -> Warning {
    let known = app.settings.incidents.iter().find(|(name, _)| name == incident);
    let cure = known.map_or("restore the newest snapshot", |(_, cure)| cure.as_str());
    let loss = match incident {
        "drop-table" => "a table of the sandbox's shop database",
        "delete-files" => "documents of the sandbox",
        "overwrite-files" => "the contents of documents of the sandbox",
        "split-network" => "nothing; nobody but the shop reaches its primary",
        "damage-repository" => "some of what the sandbox's near repository stores",
        "disk-full" => "nothing; backups to the sandbox's near repository fail",
        _ => "data of the sandbox",
    };
    Warning {
        title: format!("Practice: {incident}"),
        facts: vec![
            agent_facts(app),
            ("role", "sandbox; nothing outside it is touched".to_owned()),
        ],
        losses: vec![loss.to_owned()],
        command: "none; this exists in the sandbox only".to_owned(),
        undo: format!("{cure}: that is the exercise"),
        name: incident.to_owned(),
    }
}
