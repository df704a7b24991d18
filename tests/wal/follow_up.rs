//! What becomes of a server that the agent has recovered: moved, started again, opened and thrown away through the engine,
//! and found out about when the agent is killed between the order and its end.

use std::path::{Path, PathBuf};

use lifeboat::api::Client;
use lifeboat::domain::command::Command;
use lifeboat::domain::follow_up::{Fate, FollowUp, FollowUpState, LeftServer};
use lifeboat::domain::id::RecoveryId;
use lifeboat::domain::pitr::{Target, TimelineChoice};
use lifeboat::domain::recovery::{InstantWish, RecoveryRecord, RecoveryRequest, RecoveryTarget};
use lifeboat::domain::run::Outcome;
use lifeboat::domain::view::Query;

use crate::engine::{agent, carried_out, configure, engine, left_by, seen};
use crate::ledger::{Entry, SUM, servers_on, spend, target};
use crate::world::{Killed, World, code, psql, said};

/// A world with an agent, and what was spent in it.
pub struct Scene {
    pub world: World,
    config: String,
    pub entries: Vec<Entry>,
    agent: Option<Killed>,
    pub client: Client,
}

impl Scene {
    pub async fn new() -> Self {
        let world = World::new(true).await;
        world.sql("create table account (id bigint generated always as identity, amount bigint not null)");
        let path = configure(&world, 0);
        let connection = world.server.connection();
        let text = std::fs::read_to_string(&path).unwrap();
        let member = format!(
            "[cluster.orders]\n[[cluster.orders.members]]\nname = \"db1\"\nhost = \"{}\"\nport = {}\nuser = \"lifeboat\"\n\
             tls = \"disable\"\n",
            connection.host, connection.port
        );
        std::fs::write(&path, text + &member).unwrap();
        let config = path.to_str().unwrap().to_owned();
        let mut entries = Vec::new();
        spend(&world, &mut entries, 3);
        let (run, exit) = engine(&world, &config, &["job", "run", "orders", "--wait"]);
        assert_eq!(exit, 0, "{run:#}");
        spend(&world, &mut entries, 12);
        let last = world.switch();
        world.archived(&last).await;
        let (agent, client) = agent(&world, &config);
        let overview = seen(&world, &client, "the agent answers", |_| true).await;
        assert!(overview.waiting.is_empty());
        Self {
            world,
            config,
            entries,
            agent: Some(agent),
            client,
        }
    }

    fn instant(&self, entry: usize) -> Target {
        let text = self.entries[entry].after.replacen(' ', "T", 1);
        Target::Time(format!("{text}:00").parse().unwrap())
    }

    /// Recovers to just after an entry, and waits there.
    pub async fn recover(&self, place: &str, entry: usize) -> RecoveryRecord {
        let snapshots = self.client.snapshots(&Query::default()).await.unwrap().items;
        let request = RecoveryRequest {
            snapshot: snapshots[0].id.clone(),
            repository: snapshots[0].repository.clone(),
            target: RecoveryTarget::Directory {
                path: place.into(),
                include: Vec::new(),
                subpath: None,
                delta: false,
                quick: false,
                tablespaces: Vec::new(),
            },
            instant: Some(Box::new(InstantWish {
                to: self.instant(entry),
                inclusive: true,
                timeline: TimelineChoice::default(),
                any_base: true,
                open: false,
            })),
            reason: None,
            plan_digest: None,
        };
        let record = carried_out(&self.world, &self.client, request).await;
        assert_eq!(record.outcome, Outcome::Succeeded, "{record:?}");
        record
    }

    pub async fn order(&self, recovery: &RecoveryId, what: FollowUp) {
        let recovery = recovery.clone();
        let command = Command::FollowUpRecovery { recovery, what };
        self.client.command(command).await.unwrap();
    }

    /// Waits until nothing is being done with a server, and says how it stands.
    pub async fn settled(&self, recovery: &RecoveryId) -> LeftServer {
        seen(&self.world, &self.client, "what was asked has ended", |overview| {
            overview.waiting.iter().all(|view| view.waiting.follow_up.is_none())
        })
        .await;
        left_by(&self.client, recovery).await
    }

    /// Kills the agent, at once and without a word.
    fn kill(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.0.kill().unwrap();
        agent.0.wait().unwrap();
    }

    fn start(&mut self) {
        let (agent, client) = agent(&self.world, &self.config);
        self.agent = Some(agent);
        self.client = client;
    }

    pub fn ask(&self, server: &LeftServer, sql: &str) -> String {
        let words = server.seen.psql.as_deref().unwrap_or_else(|| panic!("{server:?}"));
        let socket = words.split_whitespace().nth(2).unwrap();
        psql(&self.world.server.bin_dir, socket, sql)
    }

    fn sum(&self, entry: usize) -> String {
        self.entries[entry].sum.to_string()
    }

    /// A command of the program that asks this agent.
    pub fn program(&self, args: &[&str]) -> (serde_json::Value, i32) {
        let mut all = vec!["--json", "--config", &self.config];
        all.extend(args);
        let output = self.world.lifeboat(&self.world.own(), &all);
        let text = String::from_utf8_lossy(&output.stdout);
        let value = serde_json::from_str(&text).or_else(|_| serde_json::from_str(text.lines().last().unwrap_or("")));
        (value.unwrap_or_else(|_| said(&output).into()), code(&output))
    }
}

#[tokio::test]
async fn a_server_is_moved_started_again_and_opened_through_the_agent() {
    let mut scene = Scene::new().await;
    let place = target(&scene.world, "stepwise");
    let record = scene.recover(&place, 5).await;
    let id = record.id.clone();
    let left = record.left.clone().unwrap();
    assert_eq!(scene.ask(&left, SUM), scene.sum(5));

    let to = scene.instant(8);
    scene
        .order(
            &id,
            FollowUp::Move {
                to: to.clone(),
                inclusive: true,
            },
        )
        .await;
    let moved = scene.settled(&id).await;
    assert_eq!((moved.seen.fate, &moved.seen.target), (Fate::Waiting, &to), "{moved:?}");
    assert_eq!(scene.ask(&moved, SUM), scene.sum(8));
    assert_eq!((moved.by.as_str(), moved.steps.len()), ("ana", 1));

    // To a place that was named from here, through the agent.
    spend(&scene.world, &mut scene.entries, 2);
    let named = scene.entries.len() - 1;
    let point = || Command::CreateRestorePoint {
        cluster: "orders".into(),
        name: "before the deploy".to_owned(),
    };
    scene.client.command(point()).await.unwrap();
    let made = seen(&scene.world, &scene.client, "the place has its name", |overview| {
        overview.restore_points.values().any(|known| !known.made.is_empty())
    })
    .await;
    assert_eq!(made.restore_points[&"orders".into()].made[0].by, "ana");
    let twice = scene.client.command(point()).await.unwrap_err();
    assert!(twice.message.contains("has a restore point"), "{twice:?}");
    spend(&scene.world, &mut scene.entries, 2);
    let last = scene.world.switch();
    scene.world.archived(&last).await;
    let to = Target::Name("before the deploy".to_owned());
    let what = FollowUp::Move {
        to: to.clone(),
        inclusive: true,
    };
    scene.order(&id, what).await;
    let moved = scene.settled(&id).await;
    assert_eq!((moved.seen.fate, &moved.seen.target), (Fate::Waiting, &to), "{moved:?}");
    assert_eq!(scene.ask(&moved, SUM), scene.sum(named));

    // One nobody can reach is refused, and the server waits where it was.
    let nowhere = Target::Name("no such name".to_owned());
    scene
        .order(
            &id,
            FollowUp::Move {
                to: nowhere,
                inclusive: true,
            },
        )
        .await;
    let still = scene.settled(&id).await;
    assert_eq!((still.seen.fate, &still.seen.target), (Fate::Waiting, &to), "{still:?}");
    assert_eq!(still.steps.last().unwrap().outcome, Outcome::Failed);
    assert_eq!(scene.ask(&still, SUM), scene.sum(named));

    // The server dies; the agent says so, and starts it again at the same place.
    for pid in servers_on(&place) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    }
    let gone = seen(&scene.world, &scene.client, "it is said to be gone", |overview| {
        overview.waiting[0].waiting.server.seen.fate == Fate::Gone
    })
    .await;
    assert_eq!(gone.waiting[0].waiting.server.seen.psql, None);
    scene.order(&id, FollowUp::Resume).await;
    let again = scene.settled(&id).await;
    assert_eq!(again.seen.fate, Fate::Waiting, "{again:?}");
    assert_eq!(scene.ask(&again, SUM), scene.sum(named));

    // After another agent has taken over, by command; the wrong name changes nothing.
    scene.kill();
    scene.start();
    seen(&scene.world, &scene.client, "the second agent answers", |overview| {
        !overview.waiting.is_empty()
    })
    .await;
    let (waiting, _) = scene.program(&["recovery", "waiting"]);
    assert_eq!(waiting[0]["server"]["fate"], "waiting", "{waiting:#}");
    let (refused, exit) = scene.program(&["recovery", "promote", id.as_str(), "--yes", "another"]);
    assert_eq!(exit, 4, "{refused:#}");
    let (opened, exit) = scene.program(&["recovery", "promote", id.as_str(), "--yes", "stepwise", "--wait"]);
    assert_eq!(exit, 0, "{opened:#}");
    let server = left_by(&scene.client, &id).await;
    assert_eq!(server.seen.fate, Fate::Promoted, "{server:?}");
    assert_eq!(scene.ask(&server, "select pg_is_in_recovery()"), "f");
    scene.ask(&server, "insert into account (amount) values (1)");
    let (_, exit) = scene.program(&["recovery", "discard", id.as_str(), "--yes", "stepwise"]);
    assert_ne!(exit, 0, "it is a cluster of its own");
    assert!(Path::new(&place).exists());
    stop(&place, &scene).await;
}

/// Ends an opened server as somebody would who has no more need of it.
async fn stop(place: &str, scene: &Scene) {
    for pid in servers_on(place) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGQUIT).unwrap();
    }
    scene
        .world
        .until("the server has ended", || servers_on(place).is_empty())
        .await;
}

#[tokio::test]
async fn an_agent_that_is_killed_between_the_order_and_its_end_finds_out_and_does_nothing_twice() {
    let mut scene = Scene::new().await;
    let place = target(&scene.world, "doubted");
    let record = scene.recover(&place, 5).await;
    let id = record.id.clone();
    let before = record.left.unwrap();
    // At moments from "just asked" to "most likely done"; whatever was reached, what is said is true.
    let mut opened = None;
    for millis in [0u64, 15, 40, 90, 180, 400] {
        scene.order(&id, FollowUp::Promote).await;
        // It has begun, so that no other agent may begin it; or it is over already.
        seen(&scene.world, &scene.client, "it has begun", |overview| {
            let live = overview
                .waiting
                .first()
                .and_then(|view| view.waiting.follow_up.as_ref());
            live.is_none_or(|live| live.state == FollowUpState::Running)
        })
        .await;
        scene.world.clock.sleep(std::time::Duration::from_millis(millis)).await;
        scene.kill();
        scene.start();
        let server = scene.settled(&id).await;
        let step = server.steps.last().unwrap();
        match server.seen.fate {
            Fate::Promoted => {
                assert_eq!(step.outcome, Outcome::Succeeded, "{server:?}");
                opened = Some(server);
                break;
            }
            Fate::Waiting => {
                assert_eq!(step.outcome, Outcome::Interrupted, "{server:?}");
                assert_eq!(scene.ask(&server, "select pg_is_in_recovery()"), "t");
                assert_eq!(scene.ask(&server, SUM), scene.sum(5));
            }
            Fate::Gone => {
                assert_eq!(step.outcome, Outcome::Interrupted, "{server:?}");
                assert!(servers_on(&place).is_empty());
            }
            Fate::Discarded | Fate::Lost => panic!("{server:?}"),
        }
        // Nothing is done again by itself.
        let steps = server.steps.len();
        scene.world.clock.sleep(std::time::Duration::from_millis(300)).await;
        assert_eq!(left_by(&scene.client, &id).await.steps.len(), steps);
    }
    if opened.is_none() {
        scene.order(&id, FollowUp::Promote).await;
        opened = Some(scene.settled(&id).await);
    }
    let server = opened.unwrap();
    assert_eq!(server.seen.fate, Fate::Promoted, "{server:?}");
    assert_eq!(server.directory, before.directory);
    if server.seen.psql.is_some() {
        assert_eq!(scene.ask(&server, SUM), scene.sum(5), "opened where it waited, once");
        assert_eq!(
            scene.ask(&server, "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"),
            "00000002",
            "one new timeline, not two"
        );
    }
    stop(&place, &scene).await;

    // The same for a removal: afterwards all of it is gone, or it is said that it is not.
    let place = target(&scene.world, "removed");
    let id = scene.recover(&place, 4).await.id;
    scene.order(&id, FollowUp::Discard).await;
    scene.world.clock.sleep(std::time::Duration::from_millis(60)).await;
    scene.kill();
    scene.start();
    let mut server = scene.settled(&id).await;
    if server.seen.fate.is_undecided() {
        scene.order(&id, FollowUp::Discard).await;
        server = scene.settled(&id).await;
    }
    assert_eq!(server.seen.fate, Fate::Discarded, "{server:?}");
    let home = PathBuf::from(format!("{place}.lifeboat"));
    assert!(!Path::new(&place).exists() && !home.exists() && servers_on(&place).is_empty());
}
