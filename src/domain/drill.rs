//! Drills: recoveries that are done for practice, on a schedule and by hand, so that nobody has to hope.
//!
//! A drill restores into a scratch place, asks what it is told to ask, measures every phase and leaves nothing behind. It
//! takes the newest restore point, or one at random: a backup that was good when it was made, and is read again years later,
//! is what a random one finds out about.

mod dice;

use serde::{Deserialize, Serialize};

use super::command::{Refusal, RefusalKind};
use super::decide::Context;
use super::event::Event;
use super::id::{DrillName, RecoveryId, SourceName};
use super::job::SqlProbe;
use super::pitr::{self, TimelineChoice};
use super::recovery::{InstantWish, PhaseTime, Recovery, RecoveryRecord, RecoveryRequest, RecoveryTarget};
use super::rules::log::is_unseen;
use super::run::Outcome;
use super::schedule::Schedule;
use super::snapshot::{EvidenceLevel, SnapshotRecord};
use super::state::State;
use super::units::{Millis, Timestamp};
use dice::Dice;

/// Due times counted at most when many were missed.
const MISSED_COUNTED: usize = 1000;

/// A drill, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// Its name.
    pub name: DrillName,
    /// What is brought back.
    pub source: SourceName,
    /// When; only by hand when absent.
    pub schedule: Option<Schedule>,
    /// Which restore point.
    pub point: DrillPoint,
    /// How far it is proved.
    pub level: EvidenceLevel,
    /// Questions put to the restored copy; those of the source's job when empty.
    pub probes: Vec<SqlProbe>,
    /// How long it may take; the recovery time objective of the source's services when absent.
    pub limit: Option<Millis>,
}

/// Which restore point a drill takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillPoint {
    /// The newest.
    #[default]
    Latest,
    /// Any, each as likely as the others.
    Random,
    /// What was there at this instant.
    At(Timestamp),
}

impl DrillPoint {
    /// The point in a word or two.
    pub fn words(self) -> String {
        match self {
            Self::Latest => "latest".to_owned(),
            Self::Random => "random".to_owned(),
            Self::At(at) => pitr::instant(at),
        }
    }
}

/// What is known of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillFacts {
    /// When it was first seen.
    pub appeared_at: Timestamp,
    /// The latest due time that was acted on.
    pub last_due: Option<Timestamp>,
    /// How it ended last.
    pub last: Option<DrillResult>,
    /// When it last ended well.
    pub last_success_at: Option<Timestamp>,
}

/// How a drill ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillResult {
    /// The recovery it was.
    pub recovery: RecoveryId,
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// How long it took, from the plan to the last answer.
    pub took: Millis,
    /// Why it did not end well.
    pub error: Option<String>,
    /// How long each phase took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseTime>,
}

/// A drill as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillView {
    /// Its name.
    pub name: DrillName,
    /// What is brought back.
    pub source: SourceName,
    /// When, in words.
    pub schedule: Option<String>,
    /// Which restore point, in words.
    pub point: String,
    /// How far it is proved.
    pub level: EvidenceLevel,
    /// When it is done next.
    pub next_due: Option<Timestamp>,
    /// The one that is under way.
    pub running: Option<RecoveryId>,
    /// How long it may take.
    pub limit: Option<Millis>,
    /// How it ended last.
    pub last: Option<DrillResult>,
    /// When it last ended well.
    pub last_success_at: Option<Timestamp>,
    /// Since when it is overdue: its second due time without one that ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue_since: Option<Timestamp>,
}

impl DrillView {
    /// What is wrong with it, in a few words; none when it is as it should be.
    pub fn trouble(&self) -> Option<String> {
        let failed = self.last.as_ref().and_then(|last| {
            let why = last.error.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            match (last.outcome, self.limit.filter(|limit| last.took > *limit)) {
                (Outcome::Succeeded, None) => None,
                (Outcome::Succeeded, Some(limit)) => Some(format!("took {}, {limit} are allowed", last.took)),
                (outcome, _) => Some(format!("{}{why}", outcome.word())),
            }
        });
        let overdue = self.overdue_since.map(|_| match self.last_success_at {
            Some(at) => format!("overdue, last done well {}", at.format("%Y-%m-%d %H:%M UTC")),
            None => "overdue, was never done well".to_owned(),
        });
        match (failed, overdue) {
            (Some(failed), Some(overdue)) => Some(format!("{failed}; {overdue}")),
            (failed, overdue) => failed.or(overdue),
        }
    }
}

/// The drill that is under way.
pub fn live<'a>(state: &'a State, drill: &DrillName) -> Option<&'a Recovery> {
    state
        .recoveries
        .values()
        .find(|recovery| recovery.drill.as_ref() == Some(drill))
}

/// How long a drill may take: what it says, else what was promised.
pub fn limit(definitions: &super::job::Definitions, drill: &Drill) -> Option<Millis> {
    let promised = super::gauge::objective_of(definitions, &drill.source).map(|(_, rto)| rto);
    drill.limit.or(promised)
}

/// When a drill is overdue: at the second due time without one that ended well.
pub fn overdue_at(drill: &Drill, facts: &DrillFacts) -> Option<Timestamp> {
    let schedule = drill.schedule.as_ref()?;
    let since = facts.last_success_at.unwrap_or(facts.appeared_at);
    schedule.next_after(schedule.next_after(since)?)
}

/// Drills that came into the configuration or left it.
pub(super) fn come_and_go(context: &Context<'_>) -> Vec<Event> {
    let (state, definitions) = (context.state, context.definitions);
    let appeared = definitions
        .drills
        .keys()
        .filter(|drill| !state.drills.contains_key(drill));
    let gone = state
        .drills
        .keys()
        .filter(|drill| !definitions.drills.contains_key(drill));
    let gone = gone.filter(|drill| live(state, drill).is_none());
    let appeared = appeared.map(|drill| Event::DrillAppeared { drill: drill.clone() });
    appeared
        .chain(gone.map(|drill| Event::DrillDisappeared { drill: drill.clone() }))
        .collect()
}

/// The drills whose time has come, and the time that came. What was missed while no agent ran is done once; nothing is begun
/// before it is known what the log of a cluster holds.
pub fn due(context: &Context<'_>) -> Vec<(DrillName, Timestamp)> {
    let is_due = |drill: &Drill| {
        let facts = context.state.drills.get(&drill.name)?;
        let ready = live(context.state, &drill.name).is_none() && !is_unseen(context, &drill.source);
        ready.then_some(())?;
        let baseline = facts.last_due.unwrap_or(facts.appeared_at);
        let (due, _) = drill
            .schedule
            .as_ref()?
            .latest_due(baseline, context.now, MISSED_COUNTED)?;
        Some((drill.name.clone(), due))
    };
    context.definitions.drills.values().filter_map(is_due).collect()
}

/// When a drill is due next.
pub(super) fn wake_at(definitions: &super::job::Definitions, now: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
    let drills = definitions.drills.values();
    drills.filter_map(move |drill| drill.schedule.as_ref()?.next_after(now))
}

/// Begins a drill with one of some snapshots of its source, newest first.
///
/// # Errors
/// A refusal: there is no such drill, one of it is under way, or nothing can be restored.
pub fn begin(
    context: &Context<'_>,
    by: &str,
    name: &DrillName,
    point: Option<DrillPoint>,
    due: Option<Timestamp>,
    candidates: &[SnapshotRecord],
) -> Result<Vec<Event>, Refusal> {
    let Some(drill) = context.definitions.drills.get(name) else {
        return Err(Refusal::not_found(
            format!("there is no drill {name}"),
            "list them with: lifeboat drill list",
        ));
    };
    if let Some(live) = live(context.state, name) {
        let hint = format!("watch it: lifeboat drill list, or stop it: {}", live.id);
        return Err(Refusal::conflict(
            format!("drill {name} is under way ({})", live.id),
            Some(&hint),
        ));
    }
    let restorable: Vec<&SnapshotRecord> = candidates.iter().filter(|snapshot| snapshot.is_restorable()).collect();
    let chosen = choose(context, drill, point.unwrap_or(drill.point), &restorable);
    let Some((snapshot, instant)) = chosen else {
        return Err(Refusal {
            reason: format!("nothing of {} can be restored for drill {name}", drill.source),
            hint: Some("see what there is: lifeboat snapshot list".to_owned()),
            kind: RefusalKind::Conflict,
        });
    };
    let request = RecoveryRequest {
        snapshot: snapshot.id.clone(),
        repository: snapshot.repository.clone(),
        target: RecoveryTarget::Scratch { level: drill.level },
        instant: instant.map(Box::new),
        reason: Some(format!("drill {name}")),
        plan_digest: None,
    };
    let recovery = Recovery {
        drill: Some(name.clone()),
        ..super::decide::new_recovery(context, by, request, snapshot)
    };
    let begun = Event::DrillBegun {
        drill: name.clone(),
        recovery: recovery.id.clone(),
        due,
    };
    Ok(vec![begun, Event::RecoveryRequested { recovery }])
}

/// A drill whose time has come and that cannot be done.
pub fn skipped(name: &DrillName, due: Timestamp, refusal: &Refusal) -> Event {
    Event::DrillSkipped {
        drill: name.clone(),
        due,
        reason: refusal.reason.clone(),
    }
}

fn choose<'a>(
    context: &Context<'_>,
    drill: &Drill,
    point: DrillPoint,
    restorable: &[&'a SnapshotRecord],
) -> Option<(&'a SnapshotRecord, Option<InstantWish>)> {
    let newest = *restorable.first()?;
    let sight = context
        .seen
        .logs_of(&drill.source)
        .find(|sight| !sight.stretches.is_empty());
    let mut dice = Dice::new(context);
    let wish = |to: pitr::Target| InstantWish {
        to,
        inclusive: true,
        timeline: TimelineChoice::default(),
        any_base: true,
        open: true,
    };
    let before = |at: Timestamp| {
        let ends = |snapshot: &SnapshotRecord| {
            snapshot
                .cluster
                .as_ref()
                .map_or(snapshot.taken_at, |facts| facts.stopped_at)
        };
        restorable.iter().copied().find(|snapshot| ends(snapshot) <= at)
    };
    match (point, sight) {
        (DrillPoint::Latest, Some(_)) => Some((newest, Some(wish(pitr::Target::Latest)))),
        (DrillPoint::Latest, None) => Some((newest, None)),
        (DrillPoint::At(at), Some(_)) => Some((before(at)?, Some(wish(pitr::Target::Time(at))))),
        (DrillPoint::At(at), None) => Some((before(at)?, None)),
        (DrillPoint::Random, Some(sight)) => {
            let at = dice.instant(sight)?;
            Some((before(at).unwrap_or(newest), Some(wish(pitr::Target::Time(at)))))
        }
        (DrillPoint::Random, None) => Some((restorable[dice.below(restorable.len() as u64)], None)),
    }
}

/// What an event about drills does to the state.
pub(super) fn apply(state: &mut State, at: Timestamp, event: &Event) {
    match event {
        Event::DrillAppeared { drill } => {
            state.drills.entry(drill.clone()).or_insert_with(|| DrillFacts {
                appeared_at: at,
                last_due: None,
                last: None,
                last_success_at: None,
            });
        }
        Event::DrillDisappeared { drill } => {
            state.drills.remove(drill);
        }
        Event::DrillBegun {
            drill, due: Some(due), ..
        }
        | Event::DrillSkipped { drill, due, .. } => {
            if let Some(facts) = state.drills.get_mut(drill) {
                facts.last_due = facts.last_due.max(Some(*due));
            }
        }
        _ => {}
    }
}

/// Notes how a drill ended.
pub(super) fn finished(state: &mut State, record: &RecoveryRecord) {
    let Some(facts) = record.drill.as_ref().and_then(|drill| state.drills.get_mut(drill)) else {
        return;
    };
    // What somebody stopped says nothing.
    if matches!(record.outcome, Outcome::Cancelled | Outcome::Interrupted) {
        return;
    }
    if record.outcome == Outcome::Succeeded {
        facts.last_success_at = Some(record.finished_at);
    }
    facts.last = Some(DrillResult {
        recovery: record.id.clone(),
        at: record.finished_at,
        outcome: record.outcome,
        took: super::apply::time_to_usable(record),
        error: record.error.as_ref().map(ToString::to_string),
        phases: record.phases.clone(),
    });
}
