//! Interlocks before anything is forgotten, and the order in which maintenance takes its turns.

use super::*;
use crate::domain::job::{Definitions, Job, RepositoryDefinition};
use crate::domain::maintenance::MaintenanceResult;
use crate::domain::react::Effect;
use crate::domain::recovery::Recovery;
use crate::domain::run::Failure;
use crate::domain::seen::Seen;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn definitions() -> Definitions {
    let repository = |name: &str| {
        let definition = serde_json::json!({
            "name": name, "url": "/nowhere", "password": {"env": "NOTHING"},
            "upkeep": {"trash": 604_800_000, "grace": 86_400_000, "prune": {"cron": "0 4 * * *"}, "check": null},
        });
        serde_json::from_value::<RepositoryDefinition>(definition).unwrap()
    };
    let job: Job = serde_json::from_value(serde_json::json!({
        "name": "docs", "source": "docs", "repository": "near", "schedule": null, "missed": "skip",
        "retry": {"attempts": 1, "backoff": 1000}, "timeout": null, "verify": {"level": "written", "probes": []},
        "hooks": {"before": null, "after_success": null, "after_failure": null}, "tags": [], "retention": null,
    }))
    .unwrap();
    Definitions {
        site: "here".into(),
        environment: "TEST".into(),
        repositories: ["near", "far"].map(|name| (name.into(), repository(name))).into(),
        sources: BTreeMap::new(),
        jobs: BTreeMap::from([("docs".into(), job)]),
        services: BTreeMap::new(),
        clusters: BTreeMap::new(),
        drills: BTreeMap::new(),
        runbooks: std::collections::BTreeMap::new(),
        limits: crate::domain::job::Limits::default(),
    }
}

fn live(id: &str, task: Task, state: MaintenanceState) -> Maintenance {
    Maintenance {
        id: id.into(),
        repository: "near".into(),
        task,
        requested_by: "ana".into(),
        requested_at: at("2026-03-01T00:00:00Z"),
        due: None,
        started_at: None,
        attempt: u32::from(state == MaintenanceState::Running),
        state,
        cancel_requested: None,
    }
}

fn recovery(snapshot: &str, verification: bool) -> Recovery {
    let target = if verification {
        serde_json::json!({"target": "scratch", "level": "restored"})
    } else {
        serde_json::json!({"target": "directory", "path": "/tmp/x", "include": [], "subpath": null, "delta": false,
            "overwrite": false})
    };
    serde_json::from_value(serde_json::json!({
        "id": "rec-1", "request": {"snapshot": snapshot, "repository": "near", "target": target, "reason": null,
        "plan_digest": null}, "source": null, "job": null, "kind": "files", "requested_by": "ana",
        "requested_at": "2026-03-01T00:00:00Z", "started_at": null, "state": "queued", "phase": "plan",
        "estimate": null, "cancel_requested": null,
    }))
    .unwrap()
}

fn state(maintenance: impl IntoIterator<Item = Maintenance>) -> State {
    State {
        maintenance: maintenance.into_iter().map(|live| (live.id.clone(), live)).collect(),
        ..State::default()
    }
}

fn begins(state: &State) -> Vec<String> {
    let effects = effects(state, &definitions());
    let begun = effects.into_iter().filter_map(|effect| match effect {
        Effect::ExecuteMaintenance(id) => Some(id.0),
        _ => None,
    });
    begun.collect()
}

const CHECK: Task = Task::Check { subset: None };

fn pin(id: &str) -> Task {
    Task::Pin {
        snapshot: id.into(),
        reason: None,
    }
}

#[test]
fn a_prune_has_the_repository_to_itself_and_short_work_passes_a_long_check() {
    use MaintenanceState::{Queued, Running};
    let begun = |all: [Maintenance; 2]| begins(&state(all));
    assert_eq!(begun([live("a", CHECK, Running), live("b", pin("x"), Queued)]), ["b"]);
    assert_eq!(
        begun([live("a", CHECK, Running), live("b", Task::Prune, Queued)]),
        [""; 0]
    );
    assert_eq!(
        begun([live("a", Task::Prune, Running), live("b", pin("x"), Queued)]),
        [""; 0]
    );
    assert_eq!(begun([live("a", pin("x"), Queued), live("b", pin("y"), Queued)]), ["a"]);
    let mut elsewhere = live("b", Task::Prune, Queued);
    elsewhere.repository = "far".into();
    assert_eq!(begun([live("a", Task::Prune, Running), elsewhere]), ["b"]);
}

#[test]
fn a_persons_recovery_does_not_wait_for_a_prune_but_a_verification_does() {
    use MaintenanceState::{Queued, Running};
    let place = RepositoryName::from("near");
    let mut running = state([live("a", Task::Prune, Running)]);
    running.recoveries.insert("rec-1".into(), recovery("x", false));
    assert_eq!(effects(&running, &definitions()), [Effect::StopMaintenance("a".into())]);
    assert_eq!(holds_back_recovery(&running, &place, true), (true, None));
    let mut queued = state([live("a", Task::Prune, Queued)]);
    queued.recoveries.insert("rec-1".into(), recovery("x", false));
    assert_eq!(holds_back_recovery(&queued, &place, false), (false, None));
    assert!(begins(&queued).is_empty(), "the prune waits for the recovery");
    queued.recoveries.insert("rec-1".into(), recovery("x", true));
    assert_eq!(begins(&queued), ["a"], "the verification waits for the prune");
    assert!(
        holds_back(&queued, &definitions(), &"docs".into()),
        "and so does the next run"
    );
}

fn decide(state: &State, wanted: &Command, looked_up: &LookedUp) -> Result<Vec<Event>, Refusal> {
    let definitions = definitions();
    let context = Context {
        state,
        seen: &Seen::default(),
        definitions: &definitions,
        now: at("2026-03-01T12:00:00Z"),
        unique: 7,
    };
    let ana = Actor {
        name: "ana".into(),
        host: "h".into(),
        via: "cli".into(),
    };
    command(&context, &ana, wanted, looked_up)
}

fn record(id: &str) -> SnapshotRecord {
    serde_json::from_value(serde_json::json!({
        "id": id, "repository": "near", "source": null, "job": null, "run": null, "kind": "files",
        "taken_at": "2026-03-01T00:00:00Z", "committed_at": "2026-03-01T00:00:00Z", "host": "h", "paths": [],
        "tags": ["daily", "job=docs"], "comment": null, "size": 1, "added": 1, "files": 1, "duration": 1,
        "partial": false, "errors": 0, "database": null, "vanished_at": null,
        "evidence": {"level": "written", "at": "2026-03-01T00:00:00Z", "failure": null},
    }))
    .unwrap()
}

#[test]
fn what_a_recovery_reads_is_neither_forgotten_nor_renamed() {
    let looked_up = LookedUp {
        snapshots: vec![record("aa"), record("bb")],
        ..LookedUp::default()
    };
    let forget = Command::ForgetSnapshots {
        snapshots: vec!["aa".into(), "bb".into()],
        reason: "space".into(),
    };
    let mut state = State::default();
    assert_eq!(
        decide(&state, &forget, &looked_up).unwrap().len(),
        1,
        "one piece of work for both"
    );
    state.recoveries.insert("rec-1".into(), recovery("bb", true));
    assert_eq!(
        decide(&state, &forget, &looked_up).unwrap_err().kind,
        RefusalKind::Interlock
    );
    let only_bb = LookedUp {
        snapshots: vec![record("bb")],
        ..LookedUp::default()
    };
    let tag = Command::TagSnapshot {
        snapshot: "bb".into(),
        add: vec!["x".into()],
        remove: vec![],
    };
    assert_eq!(decide(&state, &tag, &only_bb).unwrap_err().kind, RefusalKind::Conflict);
}

#[test]
fn words_that_say_what_a_snapshot_is_stay() {
    let looked_up = LookedUp {
        snapshots: vec![record("aa")],
        ..LookedUp::default()
    };
    for (add, remove) in [
        (vec![], vec!["job=docs"]),
        (vec!["partial"], vec![]),
        (vec!["a,b"], vec![]),
        (vec!["daily"], vec!["weekly"]),
    ] {
        let own = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
        let tag = Command::TagSnapshot {
            snapshot: "aa".into(),
            add: own(add),
            remove: own(remove),
        };
        let refused = decide(&State::default(), &tag, &looked_up).unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Invalid, "{}", refused.reason);
    }
}

#[test]
fn an_interrupted_prune_of_the_schedule_is_asked_for_once_more() {
    let mut prune = live("a", Task::Prune, MaintenanceState::Running);
    prune.due = Some(at("2026-03-01T04:00:00Z"));
    let mut state = state([prune, live("b", pin("x"), MaintenanceState::Running)]);
    let why = Failure::transient("the agent ended");
    let definitions = definitions();
    let words = |state: &State| {
        let context = Context {
            state,
            seen: &Seen::default(),
            definitions: &definitions,
            now: at("2026-03-01T12:00:00Z"),
            unique: 7,
        };
        let events = interrupted(&context, &why);
        events.iter().map(Event::word).collect::<Vec<_>>()
    };
    assert_eq!(
        words(&state),
        ["maintenance_finished", "maintenance_requested"],
        "the pin begins again by itself"
    );
    let mut facts = crate::domain::upkeep::UpkeepFacts::since(at("2026-03-01T00:00:00Z"));
    facts.prune = Some(crate::domain::upkeep::UpkeepRun {
        at: at("2026-03-01T05:00:00Z"),
        outcome: Outcome::Interrupted,
        summary: String::new(),
        freed: crate::domain::Bytes(0),
        error: None,
    });
    state.upkeep.insert("near".into(), facts);
    assert_eq!(words(&state), ["maintenance_finished"], "but not for ever");
}

#[test]
fn a_prune_that_made_way_waits_for_its_turn_again_and_one_that_was_stopped_does_not() {
    let mut state = state([live("a", Task::Prune, MaintenanceState::Running)]);
    let definitions = definitions();
    let words = |state: &State| {
        let context = Context {
            state,
            seen: &Seen::default(),
            definitions: &definitions,
            now: at("2026-03-01T12:00:00Z"),
            unique: 7,
        };
        let result = MaintenanceResult::failed(Outcome::Cancelled, Failure::transient("stopped"));
        let events = ended(&context, &"a".into(), result);
        events.iter().map(Event::word).collect::<Vec<_>>()
    };
    assert_eq!(words(&state), ["maintenance_finished", "maintenance_requested"]);
    state.maintenance.get_mut(&"a".into()).unwrap().cancel_requested = Some("ana".into());
    assert_eq!(words(&state), ["maintenance_finished"]);
}

#[test]
fn parts_of_a_repository_are_percents_fractions_or_all() {
    for text in ["5%", "0.5%", "1/7", "7/7", "all"] {
        assert!(is_subset(text), "{text}");
    }
    for text in ["", "5", "0%", "101%", "0/7", "8/7", "x/y", "most"] {
        assert!(!is_subset(text), "{text}");
    }
    let check = Command::CheckRepository {
        repository: "near".into(),
        subset: Some("most".into()),
    };
    assert!(decide(&State::default(), &check, &LookedUp::default()).is_err());
}
