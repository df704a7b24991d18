//! What a person's practice came to: for every incident of the palette the time to detect it, to decide, and to recover, and
//! what was lost.
//!
//! ```text
//!   broken ──detect──▶ an alert, or the first thing a person does ──decide──▶ a recovery, a runbook, upkeep ──recover──▶ holds again
//! ```
//!
//! This file keeps the book, from events alone; who looks whether a thing holds again is `keeper`. An incident that nobody
//! noticed before it was mended, or that was mended with bare hands, has no such time, and the score says so instead of making
//! one up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::incidents::{
    DAMAGE_REPOSITORY, DELETE_FILES, DISK_FULL, ENCRYPT_FILES, ENCRYPT_ROWS, KILL_PRIMARY, LOSE_REGION,
    OVERWRITE_FILES, SPLIT_NETWORK,
};
use crate::domain::alert::AlertKind;
use crate::domain::event::{Event, EventRecord};
use crate::domain::runbook::RunbookFact;
use crate::domain::units::{Millis, Timestamp};

/// So many lines of the book are shown on the screen.
const SHOWN: usize = 2;

/// The book. Its clones are the same book.
#[derive(Debug, Clone, Default)]
pub(super) struct Scores(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    open: Vec<Broken>,
    cured: Vec<Score>,
}

/// Something that is broken.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    /// By which incident.
    pub(super) incident: &'static str,
    /// Since when.
    pub(super) at: Timestamp,
    noticed: Option<Timestamp>,
    decided: Option<Timestamp>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Score {
    incident: &'static str,
    detect: Option<Millis>,
    decide: Option<Millis>,
    recover: Option<Millis>,
    all: Millis,
    lost: String,
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |time: Option<Millis>| time.map_or("-".to_owned(), |time| time.to_string());
        write!(
            f,
            "{}: cured in {} (detect {}, decide {}, recover {}); lost: {}",
            self.incident,
            self.all,
            time(self.detect),
            time(self.decide),
            time(self.recover),
            self.lost
        )
    }
}

/// The alerts that tell of an incident.
fn alerts(incident: &str) -> &'static [AlertKind] {
    use AlertKind as Kind;
    match incident {
        KILL_PRIMARY | LOSE_REGION | SPLIT_NETWORK => &[Kind::PrimaryDown, Kind::SecondaryUnreachable],
        DAMAGE_REPOSITORY => &[Kind::RepositoryDamaged, Kind::VerificationFailed],
        DISK_FULL => &[Kind::StorageFull, Kind::BackupFailed, Kind::BackupFailedTwice],
        ENCRYPT_FILES | OVERWRITE_FILES | DELETE_FILES | ENCRYPT_ROWS => {
            &[Kind::MassEncryption, Kind::SizeAnomaly, Kind::VerificationFailed]
        }
        _ => &[Kind::VerificationFailed, Kind::SizeAnomaly, Kind::BackupFailed],
    }
}

impl Scores {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was broken. Breaking what is broken changes nothing.
    pub(super) fn broke(&self, incident: &'static str, at: Timestamp) {
        let mut book = self.book();
        if book.open.iter().all(|broken| broken.incident != incident) {
            book.open.push(Broken {
                incident,
                at,
                noticed: None,
                decided: None,
            });
        }
    }

    /// What is broken now.
    pub(super) fn open(&self) -> Vec<Broken> {
        self.book().open.clone()
    }

    /// Takes in what happened.
    pub(super) fn see(&self, record: &EventRecord) {
        let acts = match &record.event {
            Event::RecoveryRequested { .. } | Event::MaintenanceRequested { .. } => true,
            Event::Runbook { fact, .. } => matches!(fact, RunbookFact::Started { .. }),
            _ => false,
        };
        let by_person = acts && record.actor.name != "agent";
        for broken in self.book().open.iter_mut().filter(|broken| broken.at <= record.at) {
            let told = match &record.event {
                Event::AlertOpened { alert } => alerts(broken.incident).contains(&alert.kind),
                _ => by_person,
            };
            if told {
                broken.noticed.get_or_insert(record.at);
            }
            if by_person {
                broken.decided.get_or_insert(record.at);
            }
        }
    }

    /// It holds again; returns the line of the book, once.
    pub(super) fn cured(&self, incident: &str, now: Timestamp, lost: String) -> Option<String> {
        let mut book = self.book();
        let place = book.open.iter().position(|broken| broken.incident == incident)?;
        let broken = book.open.remove(place);
        let between = |from: Option<Timestamp>, to: Option<Timestamp>| Some(Millis::between(from?, to?));
        let score = Score {
            incident: broken.incident,
            detect: between(Some(broken.at), broken.noticed),
            decide: between(broken.noticed, broken.decided),
            recover: between(broken.decided.or(broken.noticed), Some(now)),
            all: Millis::between(broken.at, now),
            lost,
        };
        let line = score.to_string();
        tracing::info!("practice: {line}");
        book.cured.push(score);
        Some(line)
    }

    /// The newest lines, for the screen; empty when nothing was broken yet.
    pub(super) fn words(&self, now: Timestamp) -> String {
        let book = self.book();
        let open = book.open.iter().rev().map(|broken| {
            let since = Millis::between(broken.at, now);
            match broken.noticed {
                Some(noticed) => {
                    let detect = Millis::between(broken.at, noticed);
                    format!("{}: broken for {since}, noticed after {detect}", broken.incident)
                }
                None => format!("{}: broken for {since}, not noticed yet", broken.incident),
            }
        });
        let cured = book.cured.iter().rev().map(ToString::to_string);
        let lines: Vec<String> = open.chain(cured).take(SHOWN).collect();
        lines.join(" · ")
    }

    /// The whole book, a line each: what was cured, in order, and what still is not.
    pub(super) fn all(&self) -> Vec<String> {
        let book = self.book();
        let cured = book.cured.iter().map(ToString::to_string);
        let open = book.open.iter().map(|broken| format!("{}: not cured", broken.incident));
        cured.chain(open).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::{Alert, AlertSubject};
    use crate::domain::command::Actor;
    use crate::domain::maintenance::{Maintenance, MaintenanceState, Task};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + chrono::Duration::seconds(seconds)
    }

    fn event(seconds: i64, by: &str, event: Event) -> EventRecord {
        let actor = Actor {
            name: by.to_owned(),
            host: "here".to_owned(),
            via: "demo".to_owned(),
        };
        EventRecord {
            seq: 1,
            at: at(seconds),
            actor,
            version: 1,
            event,
            previous_hash: String::new(),
            hash: String::new(),
        }
    }

    fn alert(kind: AlertKind) -> Event {
        let alert = Alert {
            key: kind.key("x"),
            kind,
            severity: kind.severity(),
            subject: AlertSubject::default(),
            message: String::new(),
            next_step: String::new(),
            opened_at: at(0),
            acknowledged: None,
        };
        Event::AlertOpened { alert }
    }

    fn prune(by: &str) -> Event {
        let maintenance = Maintenance {
            id: "m".into(),
            repository: "sandbox".into(),
            task: Task::Prune,
            requested_by: by.to_owned(),
            requested_at: at(0),
            due: None,
            started_at: None,
            attempt: 0,
            state: MaintenanceState::Queued,
            cancel_requested: None,
        };
        Event::MaintenanceRequested { maintenance }
    }

    #[test]
    fn the_alert_that_tells_of_it_detects_and_the_first_act_of_a_person_decides() {
        let scores = Scores::default();
        scores.see(&event(5, "agent", alert(AlertKind::StorageFull)));
        scores.broke(DISK_FULL, at(10));
        scores.broke(DISK_FULL, at(11));
        scores.see(&event(12, "agent", alert(AlertKind::PrimaryDown)));
        assert!(scores.words(at(13)).contains("broken for 3.0s, not noticed yet"));
        scores.see(&event(14, "agent", alert(AlertKind::StorageFull)));
        scores.see(&event(15, "agent", prune("agent")));
        scores.see(&event(16, "agent", alert(AlertKind::BackupFailed)));
        assert!(
            scores.words(at(17)).contains("noticed after 4.0s"),
            "{}",
            scores.words(at(17))
        );
        scores.see(&event(20, "ana", prune("ana")));
        let line = scores.cured(DISK_FULL, at(50), "nothing".to_owned());
        assert!(line.is_some_and(|line| line.starts_with("disk-full: cured in ")));
        assert_eq!(scores.cured(DISK_FULL, at(60), "nothing".to_owned()), None, "once");
        let line = "disk-full: cured in 40.0s (detect 4.0s, decide 6.0s, recover 30.0s); lost: nothing";
        assert_eq!(scores.all(), [line]);
        assert!(scores.open().is_empty());
    }

    #[test]
    fn what_nobody_noticed_and_what_was_mended_with_bare_hands_has_no_such_time() {
        let scores = Scores::default();
        scores.broke(KILL_PRIMARY, at(0));
        scores.broke(OVERWRITE_FILES, at(1));
        scores.cured(KILL_PRIMARY, at(30), "nothing".to_owned());
        let line = "kill-primary: cured in 30.0s (detect -, decide -, recover -); lost: nothing";
        assert_eq!(scores.all(), [line, "overwrite-files: not cured"]);
        assert!(
            scores.words(at(31)).starts_with("overwrite-files: broken for"),
            "what is open comes first"
        );
    }
}
