//! Scenarios: a small world whose events are decided, applied and settled as the engine does it, at any time of day.

mod log;
mod servers;
mod storage;
mod world;

use super::alert::AlertKind;
use super::command::{Command, Observation, RunResult};
use super::decide::{self};
use super::gauge;
use super::job::{Job, MissedPolicy};
use super::objective::GaugeLevel;
use super::observe;
use super::react::{self, Effect};
use super::recovery::{PhaseTime, RecoveryPhase};
use super::run::{Failure, Outcome};
use super::snapshot::{EvidenceFailure, EvidenceLevel};
use super::units::{Bytes, Millis};
use world::World;

#[test]
fn a_due_job_runs_once_and_only_once() {
    let mut world = World::new();
    assert!(world.effects().is_empty());
    world.wait(14 * 60);
    let run = world.begin();
    assert!(world.effects().is_empty(), "one run per job");
    world.wait(20);
    world.end(&run, Outcome::Succeeded);
    assert!(world.effects().is_empty(), "a due time runs once");
    assert!(world.open().is_empty());
    world.wait(15 * 60);
    assert_eq!(world.effects().len(), 1);
}

#[test]
fn a_run_that_overruns_is_followed_by_one_run_and_no_alert() {
    let mut world = World::new();
    world.wait(14 * 60);
    let run = world.begin();
    world.wait(50 * 60);
    assert!(
        world.effects().is_empty(),
        "what comes due while a run of the job goes on waits for its end"
    );
    world.end(&run, Outcome::Succeeded);
    assert_eq!(world.effects().len(), 1);
    assert!(!world.open().contains(&AlertKind::ScheduleMissed));
}

#[test]
fn what_was_due_while_no_agent_ran_is_made_up_for_or_skipped() {
    let mut world = World::new();
    world.now += chrono::Duration::hours(5);
    world.start();
    assert!(world.open().contains(&AlertKind::ScheduleMissed));
    let run = world.begin();
    world.end(&run, Outcome::Succeeded);
    assert!(!world.open().contains(&AlertKind::ScheduleMissed));

    world.definitions.jobs.values_mut().next().unwrap().missed = MissedPolicy::Skip;
    world.now += chrono::Duration::hours(5);
    world.start();
    assert!(world.effects().is_empty());
    assert!(world.open().contains(&AlertKind::ScheduleMissed));
}

#[test]
fn failures_are_retried_then_counted_and_a_success_clears_them() {
    let mut world = World::new();
    world.command(&Command::RunJob { job: "docs".into() }).unwrap();
    let run = world.begin();
    world.end(&run, Outcome::Failed);
    assert!(
        world.open().is_empty(),
        "an attempt that will be repeated is no failure yet"
    );
    assert!(world.effects().is_empty(), "not before its time");
    world.wait(10);
    assert_eq!(world.begin(), run, "the same run, another attempt");
    world.end(&run, Outcome::Failed);
    assert_eq!(world.open(), [AlertKind::BackupFailed]);
    world.back_up_failing_for_good();
    assert_eq!(world.open(), [AlertKind::BackupFailedTwice]);
    world.back_up(Outcome::Succeeded);
    assert!(world.open().is_empty());
}

impl World {
    fn back_up_failing_for_good(&mut self) {
        self.command(&Command::RunJob { job: "docs".into() }).unwrap();
        let run = self.begin();
        let result = RunResult::failed(Outcome::Failed, Failure::permanent("wrong password", "set it right"));
        self.observe(Observation::RunEnded {
            run,
            result: Box::new(result),
        });
    }
}

#[test]
fn a_partial_backup_is_never_green_and_moves_no_recovery_point() {
    let mut world = World::new();
    world.back_up(Outcome::Succeeded);
    let before = world.rpo().recoverable_to;
    world.wait(60);
    world.back_up(Outcome::Partial);
    assert_eq!(world.open(), [AlertKind::BackupPartial]);
    assert_eq!(world.rpo().recoverable_to, before);
}

#[test]
fn the_last_good_restore_point_is_never_forgotten() {
    let mut world = World::new();
    world.back_up(Outcome::Succeeded);
    let good = world.rpo().snapshot;
    for _ in 0..30 {
        world.wait(1);
        world.back_up(Outcome::Partial);
    }
    assert_eq!(world.rpo().snapshot, good);
}

#[test]
fn the_recovery_point_alerts_open_and_close_at_different_thresholds() {
    let mut world = World::new();
    world.definitions.jobs.values_mut().next().unwrap().schedule = None;
    assert_eq!(
        world.rpo().level,
        GaugeLevel::Unknown,
        "a new job has its objective's time for its first backup"
    );
    world.back_up(Outcome::Succeeded);
    assert_eq!(world.rpo().level, GaugeLevel::Met);
    world.wait(2700);
    assert!(world.open().is_empty());
    world.wait(1);
    assert_eq!(world.open(), [AlertKind::RpoAtRisk]);
    world.wait(900);
    assert_eq!(world.open(), [AlertKind::RpoBreached]);
    world.back_up(Outcome::Succeeded);
    assert!(world.open().is_empty());
}

#[test]
fn the_next_moment_a_rule_may_speak_is_known() {
    let mut world = World::new();
    world.definitions.jobs.values_mut().next().unwrap().schedule = None;
    world.back_up(Outcome::Succeeded);
    let at_risk = react::wake_at(&world.state, &world.definitions, world.now).unwrap();
    world.now = at_risk;
    world.settle();
    assert_eq!(world.open(), [AlertKind::RpoAtRisk]);
}

#[test]
fn nothing_restorable_is_a_breach_once_the_first_backup_is_overdue() {
    let mut world = World::new();
    world.wait(3601);
    assert!(world.open().contains(&AlertKind::RpoBreached));
}

#[test]
fn an_interrupted_run_is_recorded_and_asked_for_again_but_not_for_ever() {
    let mut world = World::new();
    world.command(&Command::RunJob { job: "docs".into() }).unwrap();
    world.begin();
    world.start();
    assert_eq!(world.job().last_outcome(), Some(Outcome::Interrupted));
    world.begin();
    world.start();
    assert!(
        world.effects().is_empty(),
        "a backup that kills the agent must not do so for ever"
    );
}

#[test]
fn a_refuted_snapshot_counts_no_longer_and_a_proved_newer_one_ends_the_alert() {
    let mut world = World::new();
    world.definitions.jobs.values_mut().next().unwrap().verify.level = EvidenceLevel::Checksummed;
    world.back_up(Outcome::Succeeded);
    let Some(Effect::ExecuteRecovery(recovery)) = world.effects().first().cloned() else {
        panic!("no verification")
    };
    let snapshot = world.rpo().snapshot.unwrap();
    world.observe(Observation::RecoveryStarting {
        recovery: recovery.clone(),
    });
    let failure = EvidenceFailure {
        level: EvidenceLevel::Checksummed,
        at: world.now,
        message: "a blob is damaged".into(),
    };
    world.observe(Observation::EvidenceGathered {
        snapshot,
        level: EvidenceLevel::Checksummed,
        failure: Some(failure),
    });
    let live = world.state.recoveries[&recovery].clone();
    let error = Some(Failure::transient("a blob is damaged"));
    let record = observe::ended_recovery(&live, Outcome::Failed, error, world.now);
    world.observe(Observation::RecoveryEnded {
        recovery,
        record: Box::new(record),
    });
    assert_eq!(world.open(), [AlertKind::VerificationFailed]);
    assert_eq!(world.rpo().recoverable_to, None);
    assert!(
        world.effects().is_empty(),
        "what was refuted is not tried again by itself"
    );

    world.wait(60);
    world.back_up(Outcome::Succeeded);
    assert_eq!(
        world.open(),
        [AlertKind::VerificationFailed],
        "a newer snapshot proves nothing yet"
    );
    let snapshot = world.rpo().snapshot.unwrap();
    world.observe(Observation::EvidenceGathered {
        snapshot,
        level: EvidenceLevel::Checksummed,
        failure: None,
    });
    assert!(world.open().is_empty());
}

#[test]
fn measured_recoveries_give_the_recovery_time() {
    let mut world = World::new();
    world.back_up(Outcome::Succeeded);
    let snapshot = world.state.sources.values().next().unwrap().restore_points[0].clone();
    for seconds in [10, 30, 20] {
        let events = world
            .context(|context| decide::verify(context, "ana", &snapshot, EvidenceLevel::Restored))
            .unwrap();
        world.commit(events);
        let live = world.state.recoveries.values().next().unwrap().clone();
        let mut record = observe::ended_recovery(&live, Outcome::Succeeded, None, world.now);
        record.evidence = Some(EvidenceLevel::Restored);
        record.written = Bytes(1 << 30);
        record.phases = vec![
            PhaseTime {
                phase: RecoveryPhase::Plan,
                took: Millis::from_secs(500),
            },
            PhaseTime {
                phase: RecoveryPhase::Restore,
                took: Millis::from_secs(seconds),
            },
        ];
        world.observe(Observation::RecoveryEnded {
            recovery: live.id,
            record: Box::new(record),
        });
    }
    let service = world.definitions.services.values().next().unwrap();
    let rto = gauge::rto(&world.state, service);
    assert_eq!(rto.measured, Some(Millis::from_secs(20)));
    assert_eq!(rto.measured_p90, Some(Millis::from_secs(30)));
    assert_eq!(rto.level, GaugeLevel::Met);
    let estimate = gauge::estimate(world.state.sources.values().next(), Bytes(2 << 30), None);
    let (median, samples) = (estimate.median, estimate.samples);
    assert_eq!((median, samples), (Some(Millis::from_secs(40)), 3));
}

#[test]
fn an_alert_closed_by_hand_stays_closed_until_its_condition_has_been_over() {
    let mut world = World::new();
    world.back_up_failing_for_good();
    let key = AlertKind::BackupFailed.key("docs");
    world
        .command(&Command::ResolveAlert {
            key: key.clone(),
            reason: "known".into(),
        })
        .unwrap();
    assert!(world.open().is_empty());
    world.wait(60);
    assert!(world.open().is_empty());
    world.back_up(Outcome::Succeeded);
    world.back_up_failing_for_good();
    assert_eq!(world.open(), [AlertKind::BackupFailed]);
}

#[test]
fn commands_that_make_no_sense_are_refused_with_a_reason() {
    let mut world = World::new();
    assert!(world.command(&Command::RunJob { job: "nope".into() }).is_err());
    world.command(&Command::RunJob { job: "docs".into() }).unwrap();
    assert!(world.command(&Command::RunJob { job: "docs".into() }).is_err());
    assert!(
        world
            .command(&Command::AcknowledgeAlert {
                key: "x/y".into(),
                note: None
            })
            .is_err()
    );
    let run = world.begin();
    world.command(&Command::CancelRun { run: run.clone() }).unwrap();
    assert_eq!(world.effects(), [Effect::StopRun(run.clone())]);
    world.end(&run, Outcome::Cancelled);
    assert!(world.open().is_empty(), "what somebody asked for is no alert");
}

#[test]
fn a_disabled_job_is_left_alone_and_missed_nothing() {
    let mut world = World::new();
    world
        .command(&Command::DisableJob {
            job: "docs".into(),
            reason: None,
        })
        .unwrap();
    world.wait(7200);
    assert!(world.effects().is_empty());
    world.command(&Command::EnableJob { job: "docs".into() }).unwrap();
    assert!(world.effects().is_empty());
    assert!(!world.open().contains(&AlertKind::ScheduleMissed));
}

#[test]
fn no_more_runs_at_once_than_the_limit() {
    let mut world = World::new();
    let job = world.definitions.jobs.values().next().unwrap().clone();
    for name in ["b", "c", "d"] {
        world.definitions.jobs.insert(
            name.into(),
            Job {
                name: name.into(),
                ..job.clone()
            },
        );
    }
    world.settle();
    for name in ["docs", "b", "c", "d"] {
        world.command(&Command::RunJob { job: name.into() }).unwrap();
    }
    assert_eq!(world.effects().len(), 2);
    world.begin();
    world.begin();
    assert!(world.effects().is_empty());
}
