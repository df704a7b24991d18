//! Clusters copied while they work, laid down, started.

use lifeboat::domain::job::{Expectation, SqlProbe};
use lifeboat::domain::recovery::RecoveryTarget;
use lifeboat::domain::snapshot::EvidenceLevel;
use lifeboat::domain::source::{PostgresConnection, Source, SourceKind};
use lifeboat::repo::Repository;
use lifeboat::repo::pack::BlobKind;
use lifeboat::source::postgres::physical::way;
use lifeboat::source::{Milestone, PhysicalMethod, Secrets};
use lifeboat::store::{Access, AccessKey, open_with};

use crate::faults::mapped;
use crate::server::{Conditions, KEY, SECRET, Server};
use crate::world::{World, ledger, whole};

/// Copies under load, lays down, starts: one moment, all of it, at least as new as promised.
async fn comes_back(world: &World, source: &Source, name: &str) {
    let load = world.load();
    let done = world.back_up(source).await.unwrap();
    drop(load);
    assert!(!done.snapshot.partial && done.warning.is_none(), "{done:?}");
    let facts = done.snapshot.cluster.clone().unwrap();
    assert!(facts.start_lsn < facts.stop_lsn && facts.stopped_at >= done.snapshot.taken_at);
    let target = world.path(name);
    world.restore(&done.snapshot, &whole(&target, false)).await.unwrap();
    let copy = world.start(&target, name).await;
    let (sums, same) = ledger(&copy, &world.clock).await;
    assert!(same, "{name}: {sums}\n{}", copy.log_tail());
    assert!(!sums.starts_with("0 "), "there was no load: {sums}");
    // Everything that was committed before the moment it promises is there.
    let taken = done.snapshot.taken_at.to_rfc3339();
    let counted =
        format!("select count(*)::text from pgbench_history where mtime < '{taken}'::timestamptz - interval '1 s'");
    let there = crate::world::question(&copy, &counted, &world.clock).await;
    assert_eq!(there, world.ask(&counted).await, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_under_load_comes_back_as_of_one_moment() {
    let world = World::new().await;
    comes_back(&world, &world.source, "local").await;
    comes_back(&world, &world.remote(), "remote").await;
    let slots = world.ask("select count(*)::text from pg_replication_slots").await;
    assert_eq!(slots, "0", "no slot is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_backup_takes_over_what_did_not_change_and_stores_only_changed_blocks() {
    let world = World::new().await;
    world
        .sql("create table idle as select n, repeat(md5(n::text), 4) t from generate_series(1, 40000) n; checkpoint")
        .await;
    // Files whose last write is younger than a file system can tell are read again.
    let first = world.back_up(&world.source).await.unwrap();
    world.clock.sleep(std::time::Duration::from_secs(3)).await;
    let second = world.back_up(&world.source).await.unwrap();
    assert!(
        second.stats.added.0 * 20 < first.stats.added.0,
        "{:?} after {:?}",
        second.stats,
        first.stats
    );
    world
        .sql("update pgbench_accounts set abalance = 1 where aid % 100 < 5 and aid < 100000")
        .await;
    let third = world.back_up(&world.source).await.unwrap();
    assert!(
        third.stats.files_changed < 60,
        "what is idle was read again: {:?}",
        third.stats
    );
    assert!(
        third.stats.added.0 * 3 < first.stats.added.0,
        "{:?} after {:?}",
        third.stats,
        first.stats
    );
    let target = world.path("third");
    world.restore(&third.snapshot, &whole(&target, false)).await.unwrap();
    let copy = world.start(&target, "third").await;
    let sql = "select count(*) || ' ' || sum(n) || ' ' || md5(string_agg(t, '' order by n)) from idle";
    assert_eq!(
        crate::world::question(&copy, sql, &world.clock).await,
        world.ask(sql).await
    );
    let sql = "select sum(abalance)::text from pgbench_accounts";
    assert_eq!(
        crate::world::question(&copy, sql, &world.clock).await,
        world.ask(sql).await
    );
    let manifest = world.manifest(&third).await.cluster.unwrap();
    assert_eq!(manifest.method, PhysicalMethod::Local);
    assert!(manifest.checksums && manifest.damaged_total == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tablespaces_come_back_where_they_are_wanted() {
    let world = World::new().await;
    let space = world.place("fast disk");
    world
        .sql(&format!("create tablespace fast location '{}'", space.display()))
        .await;
    world
        .sql("create table far tablespace fast as select n from generate_series(1, 5000) n")
        .await;
    for (source, name) in [(world.source.clone(), "space-local"), (world.remote(), "space-remote")] {
        let done = world.back_up(&source).await.unwrap();
        let target = world.path(name);
        // Where they were is in use by the server itself.
        let plan = world.plan(&done.snapshot, &whole(&target, false)).await;
        assert!(
            plan.blockers[0].contains("fast disk exists and is not empty"),
            "{plan:?}"
        );
        let new = world.path(&format!("{name} moved"));
        world
            .restore(&done.snapshot, &mapped(&target, "fast", &new))
            .await
            .unwrap();
        let copy = world.start(&target, name).await;
        let sql = "select count(*) || pg_tablespace_location(oid) from far, pg_tablespace where spcname = 'fast' group by oid";
        let expected = format!("5000{}", new.display());
        assert_eq!(crate::world::question(&copy, sql, &world.clock).await, expected);
        drop(copy);
        // A tablespace it was given since is none of the snapshot's: its link goes, and it stays as it is.
        let foreign = target.join("pg_tblspc/99999");
        std::os::unix::fs::symlink(&space, &foreign).unwrap();
        let mut again = mapped(&target, "fast", &new);
        if let RecoveryTarget::Directory { delta, .. } = &mut again {
            *delta = true;
        }
        world.restore(&done.snapshot, &again).await.unwrap();
        assert!(!foreign.is_symlink() && space.exists());
        let copy = world.start(&target, &format!("{name}-again")).await;
        assert_eq!(crate::world::question(&copy, sql, &world.clock).await, expected);
    }
    let left = std::fs::read_dir(world.path("spool")).unwrap().count();
    assert_eq!(left, 0, "nothing is left in the spool");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_proved_level_by_level() {
    let world = World::new().await;
    let space = world.place("proof-space");
    world
        .sql(&format!("create tablespace fast location '{}'", space.display()))
        .await;
    world
        .sql("create table far tablespace fast as select n from generate_series(1, 5000) n")
        .await;
    world
        .sql("create unlogged table passing as select n from generate_series(1, 5000) n")
        .await;
    let done = world.back_up(&world.source).await.unwrap();
    let probe = |sql: &str, expect| SqlProbe {
        name: sql.to_owned(),
        sql: sql.to_owned(),
        expect,
    };
    let good = vec![
        probe("select count(*) from far", Expectation::Equals("5000".to_owned())),
        // Unlogged relations are empty, as after a crash.
        probe("select count(*) from passing", Expectation::Equals("0".to_owned())),
    ];
    let verified = world.verify(&done.snapshot, EvidenceLevel::Probed, good).await.unwrap();
    let findings: Vec<_> = verified.findings().collect();
    assert_eq!(verified.level(), Some(EvidenceLevel::Probed), "{findings:?}");
    let checked = findings
        .iter()
        .any(|finding| finding.what == "pg_amcheck" && finding.detail.contains("nothing wrong"));
    assert!(checked, "{findings:?}");
    assert_eq!(
        std::fs::read_dir(world.path("spool")).unwrap().count(),
        0,
        "the scratch place is gone"
    );

    let bad = vec![probe(
        "select count(*) from far",
        Expectation::Equals("5001".to_owned()),
    )];
    let refuted = world.verify(&done.snapshot, EvidenceLevel::Probed, bad).await.unwrap();
    assert_eq!(refuted.level(), Some(EvidenceLevel::Restored));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_lost_a_blob_while_it_was_proved_is_refuted() {
    let world = World::new().await;
    let done = world.back_up(&world.source).await.unwrap();
    let (id, mut blob) = (done.snapshot.id.as_str(), None);
    let seen = |_, node: &lifeboat::repo::tree::Node| blob = blob.or(node.content.first().copied());
    world.repo.visit(id, "/data/base", seen).await.unwrap();
    let index = world.repo.load_index().await.unwrap();
    let at = index.find(BlobKind::Data, &blob.unwrap()).unwrap();
    let pack = index.pack(&at).to_string();
    let rot = |milestone| {
        // Every blob was read when it got here, so that only the restore can miss it.
        if matches!(milestone, Milestone::Proved(EvidenceLevel::Decoded, _)) {
            let key = format!("data/{}/{pack}", &pack[..2]);
            assert!(
                world.store.damage(&key, |bytes| bytes[at.offset as usize + 20] ^= 1),
                "{key}"
            );
        }
    };
    let verified = world
        .verify_watched(&done.snapshot, EvidenceLevel::Restored, Vec::new(), &rot)
        .await
        .unwrap();
    let failure = verified.failure().unwrap();
    assert_eq!(failure.level, EvidenceLevel::Restored, "{failure:?}");
    assert!(failure.message.contains("could not be laid into"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_comes_back_out_of_a_bucket() {
    let mut world = World::new().await;
    let bucket = tempfile::tempdir().unwrap();
    let s3 = Server::start(bucket.path(), 0, std::time::Duration::ZERO, Conditions::Honoured).await;
    let access = Access {
        key: Some(AccessKey {
            id: KEY.to_owned(),
            secret: SECRET.to_owned().into(),
        }),
        clock: world.clock.clone(),
        ..Access::default()
    };
    let store = open_with(&s3.url("clusters"), access).unwrap();
    let password = "secret".to_owned().into();
    world.repo = Repository::init(store, &password, world.clock.clone()).await.unwrap();
    comes_back(&world, &world.source, "bucket").await;
    // An old copy becomes the snapshot again, and the snapshot is proved by a private server.
    let done = world.back_up(&world.source).await.unwrap();
    let target = whole(&world.path("bucket"), true);
    world.restore(&done.snapshot, &target).await.unwrap();
    let verified = world
        .verify(&done.snapshot, EvidenceLevel::Restored, Vec::new())
        .await
        .unwrap();
    let findings: Vec<_> = verified.findings().collect();
    assert_eq!(verified.level(), Some(EvidenceLevel::Restored), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_may_do_decides_which_way_a_cluster_can_be_copied() {
    let world = World::new().await;
    world
        .sql("create role sender login replication; create role nobody login; create role reader login in role pg_read_all_settings")
        .await;
    let asked = async |user: &str| {
        let connection = PostgresConnection {
            user: user.to_owned(),
            ..world.server.connection()
        };
        let source = world.with(|physical| physical.connection = connection);
        let SourceKind::PostgresPhysical(physical) = source.kind else {
            panic!("another kind")
        };
        way(&physical, &Secrets::default(), &world.clock).await
    };
    assert_eq!(asked("lifeboat").await.unwrap(), PhysicalMethod::Local);
    assert_eq!(asked("sender").await.unwrap(), PhysicalMethod::Remote);
    let error = asked("nobody").await.unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    // Reading the files is not enough: somebody has to begin the backup.
    let error = asked("reader").await.unwrap_err();
    assert!(error.hint().is_some(), "{error}");
}
