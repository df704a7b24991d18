//! Recovered servers through the core: asked once, done once, never done again when nobody knows whether it was done.

use super::*;
use crate::domain::follow_up::{Fate, FollowUp, LeftServer};
use crate::domain::pitr::{Target, TimelineChoice};
use crate::domain::recovery::InstantWish;

/// A recovered server as the hands find it.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// What became of it; none is what was known.
    pub(super) fate: Option<Fate>,
    /// Whether what is asked hangs until it is stopped.
    pub(super) hangs: bool,
    /// What was done with it.
    pub(super) acted: Vec<FollowUp>,
}

fn seen(waiting: &Waiting, fate: Option<Fate>) -> ServerSeen {
    ServerSeen {
        fate: fate.unwrap_or(waiting.server.seen.fate),
        ..waiting.server.seen.clone()
    }
}

pub(super) async fn follow_up(puppet: &Puppet, work: Work, waiting: Waiting) -> FollowUpResult {
    let what = waiting.follow_up.clone().unwrap().what;
    let hangs = {
        let mut stage = puppet.stage.lock().unwrap();
        stage.acted.push(what.clone());
        stage.hangs
    };
    if hangs {
        work.cancel.cancelled().await;
        return FollowUpResult {
            outcome: Outcome::Cancelled,
            error: None,
            seen: None,
        };
    }
    let fate = match what {
        FollowUp::Promote => Fate::Promoted,
        FollowUp::Discard => Fate::Discarded,
        FollowUp::Move { .. } | FollowUp::Resume => Fate::Waiting,
    };
    puppet.stage.lock().unwrap().fate = Some(fate);
    FollowUpResult {
        outcome: Outcome::Succeeded,
        error: None,
        seen: Some(seen(&waiting, Some(fate))),
    }
}

pub(super) fn look(puppet: &Puppet, waiting: &Waiting) -> ServerSeen {
    let fate = puppet.stage.lock().unwrap().fate;
    seen(waiting, fate)
}

pub(super) fn restore_point(name: &str) -> Result<(MemberName, Lsn), Failure> {
    match name {
        "nobody writes" => Err(Failure::permanent("no member takes writes", "promote one")),
        _ => Ok(("db1".into(), Lsn(7))),
    }
}

/// What the recovery leaves.
pub(super) fn left(recovery: &Recovery, now: crate::domain::Timestamp) -> Option<LeftServer> {
    let instant = recovery.request.instant.as_ref()?;
    Some(LeftServer {
        directory: "/srv/orders".into(),
        seen: ServerSeen {
            fate: Fate::Waiting,
            target: instant.to.clone(),
            inclusive: true,
            lsn: None,
            last_commit: None,
            psql: Some("psql".to_owned()),
        },
        since: now,
        by: recovery.requested_by.clone(),
        steps: Vec::new(),
    })
}

/// A recovery that has left a server.
async fn recovered(engine: &Engine) -> crate::domain::id::RecoveryId {
    engine
        .submit(ana(), Command::RunJob { job: "docs".into() })
        .await
        .unwrap();
    until(engine, "backed up", |picture| {
        outcomes(picture, "docs") == [Outcome::Succeeded]
    })
    .await;
    let snapshot = engine.snapshots(Query::default()).await.unwrap().items.remove(0);
    let request = RecoveryRequest {
        snapshot: snapshot.id,
        repository: "near".into(),
        target: RecoveryTarget::Directory {
            path: "/srv/orders".into(),
            include: Vec::new(),
            subpath: None,
            delta: false,
            quick: false,
            tablespaces: Vec::new(),
        },
        instant: Some(Box::new(InstantWish {
            to: Target::Latest,
            inclusive: true,
            timeline: TimelineChoice::default(),
            any_base: true,
            open: false,
        })),
        reason: None,
        plan_digest: None,
    };
    let command = Command::StartRecovery { request };
    let id = engine.submit(ana(), command.clone()).await.unwrap().recovery.unwrap();
    until(engine, "it waits", |picture| !picture.waiting.is_empty()).await;
    // Nothing is laid over a server that waits.
    let refused = engine.submit(ana(), command).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Refused(why) if why.kind == RefusalKind::Interlock),
        "{refused}"
    );
    id
}

async fn ask(engine: &Engine, id: &crate::domain::id::RecoveryId, what: FollowUp) -> Answer<Receipt> {
    let recovery = id.clone();
    engine.submit(ana(), Command::FollowUpRecovery { recovery, what }).await
}

async fn record(engine: &Engine, id: &crate::domain::id::RecoveryId) -> LeftServer {
    let query = Query {
        id: Some(id.to_string()),
        ..Query::default()
    };
    engine.recoveries(query).await.unwrap().items.remove(0).left.unwrap()
}

#[tokio::test]
async fn a_server_that_waits_is_opened_once_and_its_record_says_by_whom() {
    let bench = Bench::new();
    let engine = bench.start().await;
    let id = recovered(&engine).await;
    ask(&engine, &id, FollowUp::Promote).await.unwrap();
    until(&engine, "opened", |picture| picture.waiting.is_empty()).await;
    let server = record(&engine, &id).await;
    assert_eq!((server.seen.fate, server.by.as_str()), (Fate::Promoted, "ana"));
    assert_eq!(server.steps.len(), 1);
    let refused = ask(&engine, &id, FollowUp::Discard).await.unwrap_err();
    assert!(refused.to_string().contains("no server that waits"), "{refused}");
    assert_eq!(bench.hands.stage.lock().unwrap().acted, [FollowUp::Promote]);
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn what_was_begun_when_the_agent_ended_is_looked_at_and_never_done_again() {
    for (found, outcome) in [
        (Fate::Promoted, Outcome::Succeeded),
        (Fate::Waiting, Outcome::Interrupted),
    ] {
        let bench = Bench::new();
        let engine = bench.start().await;
        let id = recovered(&engine).await;
        bench.hands.stage.lock().unwrap().hangs = true;
        ask(&engine, &id, FollowUp::Promote).await.unwrap();
        until(&engine, "begun", |_| {
            !bench.hands.stage.lock().unwrap().acted.is_empty()
        })
        .await;
        let refused = ask(&engine, &id, FollowUp::Discard).await.unwrap_err();
        assert!(
            refused.to_string().contains("opening already, asked by ana"),
            "{refused}"
        );
        let refused = engine
            .submit(ana(), Command::CancelRecovery { recovery: id.clone() })
            .await;
        assert!(refused.unwrap_err().to_string().contains("half-way"));
        engine.stop("kill").await.unwrap();
        bench.hands.stage.lock().unwrap().fate = Some(found);

        let engine = bench.start().await;
        until(&engine, "settled", |picture| {
            picture.waiting.iter().all(|view| view.waiting.follow_up.is_none())
        })
        .await;
        let server = record(&engine, &id).await;
        assert_eq!(
            (server.seen.fate, server.steps.last().unwrap().outcome),
            (found, outcome)
        );
        assert_eq!(
            bench.hands.stage.lock().unwrap().acted.len(),
            1,
            "once, whatever became of it"
        );
        engine.stop("the test is over").await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_has_gone_is_said_to_be_gone_and_can_be_started_again() {
    let bench = Bench::new();
    let engine = bench.start().await;
    let id = recovered(&engine).await;
    let refused = ask(&engine, &id, FollowUp::Resume).await.unwrap_err();
    assert!(refused.to_string().contains("is running"), "{refused}");
    bench.hands.stage.lock().unwrap().fate = Some(Fate::Gone);
    bench.clock.advance(Duration::from_secs(6));
    until(&engine, "seen", |picture| {
        picture.waiting[0].waiting.server.seen.fate == Fate::Gone
    })
    .await;
    assert_eq!(record(&engine, &id).await.by, "agent");
    ask(&engine, &id, FollowUp::Resume).await.unwrap();
    until(&engine, "waits again", |picture| {
        picture.waiting[0].waiting.server.seen.fate == Fate::Waiting
    })
    .await;
    assert_eq!(record(&engine, &id).await.by, "ana");
    engine.stop("the test is over").await.unwrap();
}
