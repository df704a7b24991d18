//! What happens when things go wrong: damage, foreign clusters, servers that end, targets that are in use.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use lifeboat::domain::recovery::RecoveryTarget;
use lifeboat::domain::source::ReadFrom;
use lifeboat::source::SourceError;
use lifeboat::source::postgres::physical::PhysicalError;
use lifeboat::source::postgres::server::{Launch, PrivateServer, ServerError};

use crate::world::{World, ballast, ledger, question, whole};

/// Flips a bit in a page on disk.
fn damage(file: &Path, page: u64) {
    let mut opened = std::fs::File::options().read(true).write(true).open(file).unwrap();
    let at = SeekFrom::Start(page * 8192 + 5000);
    let mut byte = [0];
    opened.seek(at).unwrap();
    opened.read_exact(&mut byte).unwrap();
    opened.seek(at).unwrap();
    opened.write_all(&[byte[0] ^ 0x40]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_is_told_and_the_backup_goes_on() {
    let world = World::new().await;
    world
        .sql("create table idle as select n, repeat(md5(n::text), 4) t from generate_series(1, 9000) n; checkpoint")
        .await;
    let path = world.ask("select pg_relation_filepath('idle')").await;
    damage(&world.data().join(&path), 7);
    let expected = format!("/data/{path}");
    let check = async |source, what: &str| {
        let done = world.back_up(source).await.unwrap();
        let warning = done.warning.clone().unwrap_or_default();
        assert!(
            warning.contains("1 pages") && warning.contains(&expected),
            "{what}: {warning:?}"
        );
        assert!(!done.snapshot.partial, "{what}");
        // What history keeps says so too.
        assert_eq!(done.snapshot.cluster.as_ref().unwrap().damaged_pages, 1, "{what}");
        let cluster = world.manifest(&done).await.cluster.unwrap();
        let pages: Vec<_> = cluster
            .damaged_pages
            .iter()
            .map(|page| (page.file.as_str(), page.block))
            .collect();
        assert_eq!(
            (pages, cluster.damaged_total),
            (vec![(expected.as_str(), 7)], 1),
            "{what}"
        );
        done
    };
    let done = check(&world.source, "local").await;
    // Not taken over unread, though nothing has touched the file since.
    world.clock.sleep(std::time::Duration::from_secs(3)).await;
    check(&world.source, "local again").await;
    check(&world.remote(), "remote").await;
    let verified = world
        .verify(
            &done.snapshot,
            lifeboat::domain::snapshot::EvidenceLevel::Decoded,
            Vec::new(),
        )
        .await
        .unwrap();
    let findings: Vec<_> = verified.findings().collect();
    assert!(verified.failure().is_none(), "{findings:?}");
    let told = findings
        .iter()
        .any(|finding| finding.detail.contains("WARNING: 1 pages"));
    assert!(told, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_fails_the_backup_and_leaves_no_snapshot() {
    let mut world = World::new().await;
    let heavy = ballast(&world.data());
    let done = {
        let (backing_up, killing) = (world.back_up(&world.source), async {
            world.until_copying().await;
            // The server has the backup open as long as our connection lives.
            let open =
                world.ask("select count(*)::text from pg_stat_activity where application_name like 'lifeboat run-%'");
            assert_eq!(open.await, "1");
            world.server.signal(nix::sys::signal::Signal::SIGQUIT);
        });
        tokio::join!(backing_up, killing).0
    };
    let error = done.unwrap_err();
    assert!(
        matches!(&error, SourceError::Physical(PhysicalError::ServerGone { .. })),
        "{error}"
    );
    assert!(error.retryable() && error.hint().is_some());
    assert_eq!(world.snapshots().await, 0);
    world.server.crash();
    let error = world.back_up(&world.source).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    // It comes back, and so does the next backup.
    heavy.drop_it();
    let launch = Launch::of_own(&world.data(), &world.path("home"), world.programs.clone(), "lifeboat").unwrap();
    world.server = PrivateServer::start(launch, &world.clock).await.unwrap();
    world.back_up(&world.source).await.unwrap();
    assert_eq!(world.snapshots().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_backup_leaves_nothing_open_on_the_server() {
    let mut world = World::new().await;
    // A server sends a file it has begun to its end, whoever listens; so this one has an end.
    let _ballast = ballast(&world.data()).of(2 << 30);
    for source in [world.source.clone(), world.remote()] {
        world.renew();
        let cancelled = {
            let (backing_up, cancelling) = (world.back_up(&source), async {
                world.until_copying().await;
                world.cancel.cancel();
            });
            tokio::join!(backing_up, cancelling).0
        };
        assert!(cancelled.unwrap_err().is_cancelled());
        let left =
            "select (select count(*) from pg_replication_slots) || ' ' || (select count(*) from pg_stat_activity where
                    application_name like 'lifeboat run-%' or backend_type = 'walsender')";
        let mut seen = String::new();
        for _ in 0..1200 {
            seen = world.ask(left).await;
            if seen == "0 0" {
                break;
            }
            world.clock.sleep(std::time::Duration::from_millis(25)).await;
        }
        assert_eq!((seen.as_str(), world.snapshots().await), ("0 0", 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_old_copy_is_replaced_and_never_under_a_server() {
    let world = World::new().await;
    let done = world.back_up(&world.source).await.unwrap();
    let refused = async |path: &Path, delta| {
        let target = whole(path, delta);
        let plan = world.plan(&done.snapshot, &target).await;
        let error = world.restore(&done.snapshot, &target).await.unwrap_err();
        assert!(!plan.blockers.is_empty(), "{error}");
        assert!(error.hint().is_some());
        error
    };
    let running = refused(&world.data(), true).await;
    assert!(
        matches!(running, SourceError::Server(ServerError::InUse { .. })),
        "{running}"
    );
    let other = world.place("other");
    std::fs::write(other.join("letter"), "dear").unwrap();
    for delta in [true, false] {
        let error = refused(&other, delta).await;
        let expected = matches!(error, SourceError::Physical(PhysicalError::NotACopy { .. }));
        assert!(expected, "{error}");
    }

    let target = world.path("copy");
    world.restore(&done.snapshot, &whole(&target, false)).await.unwrap();
    let error = refused(&target, false).await;
    let expected = matches!(error, SourceError::Physical(PhysicalError::NotEmpty { .. }));
    assert!(expected, "{error}");
    // An old copy that went its own way becomes the snapshot again, little is written, and nothing of its own stays.
    let copy = world.start(&target, "copy").await;
    lifeboat::source::postgres::execute(
        &copy.login(),
        "postgres",
        "create table own (n int); delete from pgbench_tellers",
        &world.clock,
    )
    .await
    .unwrap();
    drop(copy);
    std::fs::write(target.join("standby.signal"), "").unwrap();
    let restored = world.restore(&done.snapshot, &whole(&target, true)).await.unwrap();
    assert!(restored.written.0 * 4 < done.stats.size.0, "{restored:?}");
    assert!(!target.join("standby.signal").exists());
    let copy = world.start(&target, "copy-again").await;
    assert!(ledger(&copy, &world.clock).await.1);
    assert_eq!(
        question(&copy, "select count(*)::text from pgbench_tellers", &world.clock).await,
        "30"
    );
    assert_eq!(
        question(&copy, "select to_regclass('own')::text", &world.clock).await,
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_under_the_same_name_is_refused() {
    let (world, other) = (World::new().await, World::new().await);
    world.back_up(&world.source).await.unwrap();
    let source = world.with(|physical| physical.connection = other.server.connection());
    let error = world.back_up(&source).await.unwrap_err();
    assert!(
        matches!(error, SourceError::Physical(PhysicalError::OtherSystem { .. })),
        "{error}"
    );
    let error = world
        .back_up(&other.with(|physical| physical.data_directory = Some(world.data())))
        .await
        .unwrap_err();
    assert!(
        matches!(error, SourceError::Physical(PhysicalError::OtherSystem { .. })),
        "{error}"
    );
    let mut elsewhere = other.with(|physical| physical.data_directory = Some(world.data()));
    elsewhere.name = "elsewhere".into();
    let error = world.back_up(&elsewhere).await.unwrap_err();
    assert!(
        matches!(error, SourceError::Physical(PhysicalError::OtherDirectory { .. })),
        "{error}"
    );
    assert_eq!(world.snapshots().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_copied_and_one_that_is_promoted_meanwhile_is_not() {
    let world = World::new().await;
    let done = world.back_up(&world.source).await.unwrap();
    let data = world.path("standby");
    world.restore(&done.snapshot, &whole(&data, false)).await.unwrap();
    std::fs::write(data.join("standby.signal"), "").unwrap();
    let primary = world.server.connection();
    let launch = Launch::of_own(&data, &world.path("home-standby"), world.programs.clone(), "lifeboat").unwrap();
    let launch = launch
        .set(format!(
            "primary_conninfo=host={} user=lifeboat application_name=second",
            primary.host
        ))
        .set("max_connections=20")
        .set("fsync=off")
        .set("hot_standby=on");
    let standby = PrivateServer::start(launch, &world.clock).await.unwrap();
    let source = world.with(|physical| {
        physical.standby = Some(standby.connection());
        physical.from = ReadFrom::Standby;
    });
    let load = world.load();
    let mut copied = world.back_up(&source).await;
    for _ in 0..200 {
        match copied {
            // It has only just begun to follow.
            Err(SourceError::Physical(PhysicalError::UnfitStandby { .. })) => copied = world.back_up(&source).await,
            _ => break,
        }
    }
    let copied = copied.unwrap();
    drop(load);
    let cluster = world.manifest(&copied).await.cluster.unwrap();
    assert!(cluster.standby);
    let target = world.path("of-standby");
    world.restore(&copied.snapshot, &whole(&target, false)).await.unwrap();
    let copy = world.start(&target, "of-standby").await;
    let (sums, same) = ledger(&copy, &world.clock).await;
    assert!(same, "{sums}");

    let heavy = ballast(&data);
    let promoted = {
        let (backing_up, promoting) = (world.back_up(&source), async {
            world.until_copying().await;
            let sql = "select pg_promote()::text";
            assert_eq!(question(&standby, sql, &world.clock).await, "true");
            heavy.drop_it();
        });
        tokio::join!(backing_up, promoting).0
    };
    let error = promoted.unwrap_err();
    assert!(
        matches!(&error, SourceError::Physical(PhysicalError::Promoted { .. })),
        "{error}"
    );
    let error = world.back_up(&source).await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Physical(PhysicalError::UnfitStandby { .. })),
        "{error}"
    );
    // Where the standby is only preferred, the primary is read, and the snapshot says why.
    let preferred = world.with(|physical| {
        physical.standby = Some(standby.connection());
        physical.from = ReadFrom::PreferStandby;
    });
    let done = world.back_up(&preferred).await.unwrap();
    let notes = world.manifest(&done).await.notes.join("; ");
    assert!(notes.contains("the primary was read"), "{notes}");
    assert_eq!(world.snapshots().await, 3);
}

/// A target with its tablespace elsewhere.
pub fn mapped(path: &Path, old: &str, new: &Path) -> RecoveryTarget {
    match whole(path, false) {
        RecoveryTarget::Directory {
            path,
            include,
            subpath,
            delta,
            quick,
            ..
        } => RecoveryTarget::Directory {
            path,
            include,
            subpath,
            delta,
            quick,
            tablespaces: vec![(old.to_owned(), new.to_owned())],
        },
        other => other,
    }
}
