//! What goes wrong is told clearly, and nothing half-made is left.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use lifeboat::clock::Clock;
use lifeboat::domain::snapshot::EvidenceLevel;
use lifeboat::domain::source::{SourceKind, TlsMode};
use lifeboat::sandbox::server::ServerOptions;
use lifeboat::source::postgres::{Login, execute};
use lifeboat::source::{Secrets, SourceError, back_up, reap_leftovers};

use crate::world::{World, into_database, server, until};

#[tokio::test]
async fn a_dead_server_is_told_and_worth_a_retry() {
    let mut world = World::with_shop().await;
    world.server.stop();
    let error = world.back_up().await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    assert!(error.retryable() && error.hint().unwrap().contains("server runs"));
    assert_eq!(world.snapshot_count().await, 0);
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_does_not_hang_us() {
    let mut world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let deaf = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let mut source = world.source();
    let SourceKind::PostgresDump(database) = &mut source.kind else {
        unreachable!()
    };
    database.connection.host = "127.0.0.1".to_owned();
    database.connection.port = port;
    // The clock of the connection is turned by hand; nobody waits ten seconds for a test.
    let clock = Clock::manual(world.clock.now());
    world.clock = clock.clone();
    let attempt = world.back_up_source(&source);
    let turning = async {
        loop {
            tokio::task::yield_now().await;
            clock.advance(Duration::from_secs(1));
        }
    };
    let error = tokio::select! {
        result = attempt => result.unwrap_err(),
        () = turning => unreachable!(),
    };
    assert!(matches!(error, SourceError::Silent { seconds: 10, .. }), "{error}");
    assert!(error.retryable());
    deaf.abort();
}

#[tokio::test]
async fn a_wrong_password_is_no_reason_to_retry_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let options = ServerOptions {
        password: Some("open sesame".to_owned().into()),
        ..ServerOptions::default()
    };
    let server = server(dir.path(), options).await;
    let clock = Clock::system();
    let connection = server.connection();
    let with = |password: Option<&str>| Login::new(connection.clone(), password.map(|text| text.to_owned().into()));
    let wrong = execute(&with(Some("hunter2")), "postgres", "", &clock)
        .await
        .unwrap_err();
    assert!(
        matches!(wrong, SourceError::Denied { .. }) && !wrong.retryable(),
        "{wrong}"
    );
    assert!(!format!("{wrong:?} {wrong}").contains("hunter2"));
    let none = execute(&with(None), "postgres", "", &clock).await.unwrap_err();
    assert!(none.to_string().contains("asks for a password"), "{none}");

    // The right one reaches the client programs too, through their password file.
    let mut world = World::new().await;
    world.server = server;
    world.sql_as(&with(Some("open sesame")), "create database shop").await;
    let secrets = Secrets {
        source: Some("open sesame".to_owned().into()),
        ..Secrets::default()
    };
    let (progress, cancel) = (world.progress.clone(), world.cancel.clone());
    back_up(
        &world.source(),
        &secrets,
        &world.repo,
        world.job(),
        &clock,
        progress,
        cancel,
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_missing_database_is_named() {
    let mut world = World::new().await;
    world.database = "shöp".to_owned();
    let error = world.back_up().await.unwrap_err();
    assert!(
        matches!(&error, SourceError::NoSuchDatabase { database, .. } if database == "shöp"),
        "{error}"
    );
}

#[tokio::test]
async fn tools_older_than_the_server_are_explained() {
    let world = World::with_shop().await;
    let bin = world.dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let fake = bin.join("pg_dump");
    std::fs::write(&fake, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 11.22'\n").unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut source = world.source();
    let SourceKind::PostgresDump(database) = &mut source.kind else {
        unreachable!()
    };
    database.connection.bin_dir = Some(bin);
    let error = world.back_up_source(&source).await.unwrap_err();
    assert!(error.to_string().contains("only version 11.22"), "{error}");
    assert!(error.hint().unwrap().contains("postgresql-client-") && !error.retryable());
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_of_a_dump_leaves_no_snapshot() {
    let mut world = World::with_shop().await;
    world
        .sql(
            "shop",
            "create table large as select n, md5(n::text) || md5((n * 7)::text) as text from generate_series(1, 800000) n",
        )
        .await;
    let (progress, cancel, clock) = (world.progress.clone(), world.cancel.clone(), world.clock.clone());
    let (source, repo, job) = (world.source(), world.repo.clone(), world.job());
    let seen = progress.clone();
    let dumping =
        tokio::spawn(async move { back_up(&source, &Secrets::default(), &repo, job, &clock, progress, cancel).await });
    until("bytes arrive", async || seen.sample().bytes_done > 1 << 20).await;
    assert!(
        !dumping.is_finished(),
        "the dump must still run for this test to mean anything"
    );
    world.server.crash();
    let error = dumping.await.unwrap().unwrap_err();
    assert!(error.retryable(), "{error}");
    assert_eq!(world.snapshot_count().await, 0);
    assert_eq!(world.children_named("pg_dump"), Vec::<String>::new());
}

#[tokio::test]
async fn a_dump_program_that_ends_badly_commits_nothing_however_much_it_wrote() {
    let world = World::with_shop().await;
    let real = &world.server.bin_dir;
    let bin = world.dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(real.join("pg_dumpall"), bin.join("pg_dumpall")).unwrap();
    let fake = bin.join("pg_dump");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && exec {0}/pg_dump --version\n{0}/pg_dump \"$@\"\necho 'disk on fire' >&2\nexit 1\n",
        real.display()
    );
    std::fs::write(&fake, script).unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut source = world.source();
    let SourceKind::PostgresDump(database) = &mut source.kind else {
        unreachable!()
    };
    database.connection.bin_dir = Some(bin);
    let error = world.back_up_source(&source).await.unwrap_err();
    assert!(error.to_string().contains("disk on fire"), "{error}");
    assert_eq!(world.snapshot_count().await, 0);
}

#[tokio::test]
async fn cancelling_a_dump_takes_less_than_a_second_and_leaves_nothing() {
    let world = World::with_shop().await;
    let login = world.server.login();
    let holding = tokio::spawn(async move {
        // An exclusive lock makes pg_dump wait for as long as we like.
        let sql = "begin; lock table orders; select pg_sleep(600)";
        let _ = execute(&login, "shop", sql, &Clock::system()).await;
    });
    let waiting = "select count(*) from pg_locks where not granted";
    let cancel = world.cancel.clone();
    let cancelling = async {
        until("pg_dump waits for the lock", async || {
            world.ask("postgres", waiting).await != "0"
        })
        .await;
        assert_ne!(world.children_named("pg_dump"), Vec::<String>::new());
        let asked = world.clock.monotonic();
        cancel.cancel();
        asked
    };
    let (result, asked) = tokio::join!(world.back_up(), cancelling);
    assert!(result.unwrap_err().is_cancelled());
    assert!(
        world.clock.elapsed(asked) < Duration::from_secs(1),
        "{:?}",
        world.clock.elapsed(asked)
    );
    assert_eq!(world.children_named("pg_dump"), Vec::<String>::new());
    assert_eq!(world.snapshot_count().await, 0);
    until("the server stops counting for us", async || {
        world.ask("postgres", waiting).await == "0"
    })
    .await;
    holding.abort();
}

#[tokio::test]
async fn cancelling_a_restore_drops_the_half_database() {
    let world = World::with_shop().await;
    // A constraint that takes its time keeps the restore from ending.
    world
        .sql(
            "shop",
            "create function slow(int) returns bool language plpgsql as 'begin return true; end';
             create table slow (n int check (slow(n))); insert into slow values (1);
             create or replace function slow(int) returns bool language plpgsql as 'begin perform pg_sleep(30); return true; end'",
        )
        .await;
    let snapshot = world.back_up().await.unwrap().snapshot;
    let cancel = world.cancel.clone();
    let cancelling = async {
        until("the scratch database appears", async || {
            world.databases().await.len() == 2
        })
        .await;
        let busy = "select count(*) from pg_stat_activity where application_name = 'lifeboat' and query like 'COPY%'";
        until("rows are copied", async || world.ask("postgres", busy).await != "0").await;
        let asked = world.clock.monotonic();
        cancel.cancel();
        asked
    };
    let target = into_database("shop_restored");
    let (result, asked) = tokio::join!(world.restore(&snapshot, &target), cancelling);
    assert!(result.unwrap_err().is_cancelled());
    assert!(
        world.clock.elapsed(asked) < Duration::from_secs(2),
        "{:?}",
        world.clock.elapsed(asked)
    );
    assert_eq!(world.databases().await, ["shop"]);
    assert_eq!(world.children_named("pg_restore"), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_restored_over_a_database_that_exists() {
    let world = World::with_shop().await;
    let snapshot = world.back_up().await.unwrap().snapshot;
    world.sql("postgres", "create database taken").await;
    world.sql("taken", "create table precious as select 1 as n").await;
    let plan = world.plan(&snapshot, &into_database("taken")).await.unwrap();
    assert!(
        plan.blockers.iter().any(|blocker| blocker.contains("already exists")),
        "{:?}",
        plan.blockers
    );
    let error = world.restore(&snapshot, &into_database("taken")).await.unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
    assert_eq!(world.contents("taken").await["public.precious"].rows, 1);
    assert_eq!(world.databases().await, ["shop", "taken"]);
}

#[tokio::test]
async fn what_a_killed_agent_left_is_reaped_and_nothing_else() {
    let world = World::with_shop().await;
    let dead = r#"{"host":"here","pid":4194999,"made_at":"2026-01-01T00:00:00Z"}"#;
    let now = world.clock.now().to_rfc3339();
    let living = format!(r#"{{"host":"elsewhere","pid":4194999,"made_at":"{now}"}}"#);
    for (name, mark) in [
        ("lifeboat_scratch_dead", dead),
        ("lifeboat_scratch_living", &living),
        ("lifeboat_not_scratch", dead),
    ] {
        world.sql("postgres", &format!("create database {name}")).await;
        world
            .sql("postgres", &format!("comment on database {name} is '{mark}'"))
            .await;
    }
    let sources = [(world.source(), Secrets::default())];
    let reaped = reap_leftovers(&sources, &world.scratch_dir(), "here", &world.clock).await;
    let names: Vec<String> = reaped.into_iter().map(Result::unwrap).collect();
    assert_eq!(names, ["lifeboat_scratch_dead"]);
    assert_eq!(
        world.databases().await,
        ["lifeboat_not_scratch", "lifeboat_scratch_living", "shop"]
    );
}

#[tokio::test]
async fn a_damaged_pack_is_found_before_anything_is_restored() {
    let world = World::with_shop().await;
    let snapshot = world.back_up().await.unwrap().snapshot;
    let mut packs = lifeboat::store::Store::list(world.store.as_ref(), "data/")
        .await
        .unwrap();
    packs.sort_by_key(|pack| std::cmp::Reverse(pack.size));
    assert!(world.store.damage(&packs[0].key, |bytes| bytes[100] ^= 1));
    let verified = world.verify(&snapshot, EvidenceLevel::Probed, &[]).await.unwrap();
    assert_eq!(verified.level(), None);
    assert_eq!(verified.failure().unwrap().level, EvidenceLevel::Checksummed);
}

#[tokio::test]
async fn a_dump_that_was_cut_short_or_is_not_as_recorded_is_refuted_at_its_level() {
    let world = World::with_shop().await;
    let good = world.back_up().await.unwrap().snapshot;
    let dump = world.repo.read_file(&good.id.0, "/shop.dump", 1 << 30).await.unwrap();
    let manifest = world
        .repo
        .read_file(&good.id.0, "/lifeboat.json", 1 << 20)
        .await
        .unwrap();
    let manifest = String::from_utf8(manifest).unwrap();

    let short = world.forge(&good, &dump[..dump.len() - 5000], &manifest).await;
    let verified = world.verify(&short, EvidenceLevel::Probed, &[]).await.unwrap();
    assert_eq!(
        verified.failure().unwrap().level,
        EvidenceLevel::Decoded,
        "{verified:?}"
    );

    let lying = world
        .forge(
            &good,
            &dump,
            &manifest.replace("\"public.orders\": 3000", "\"public.orders\": 3001"),
        )
        .await;
    let verified = world.verify(&lying, EvidenceLevel::Probed, &[]).await.unwrap();
    let failure = verified.failure().unwrap();
    assert_eq!(failure.level, EvidenceLevel::Probed);
    assert!(
        failure.message.contains("3000 rows, expected 3001"),
        "{}",
        failure.message
    );
    assert_eq!(world.databases().await, ["shop"]);
}

#[tokio::test]
async fn a_scratch_server_that_is_down_says_nothing_about_the_snapshot() {
    let mut world = World::with_shop().await;
    let snapshot = world.back_up().await.unwrap().snapshot;
    world.server.stop();
    let error = world.verify(&snapshot, EvidenceLevel::Probed, &[]).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    assert_eq!(
        world.proved(),
        [EvidenceLevel::Checksummed, EvidenceLevel::Decoded],
        "what needs no server is proved"
    );
}

#[tokio::test]
async fn encryption_is_used_and_certificates_are_checked_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let made = std::process::Command::new("openssl")
        .args(["req", "-new", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .arg("-keyout")
        .arg(keys.join("key"))
        .arg("-out")
        .arg(keys.join("certificate"))
        .output()
        .expect("apt-get install openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::set_permissions(keys.join("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    if let Some(user) = nix::unistd::User::from_name("postgres")
        .unwrap()
        .filter(|_| nix::unistd::geteuid().is_root())
    {
        std::os::unix::fs::chown(keys.join("key"), Some(user.uid.as_raw()), None).unwrap();
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let options = ServerOptions {
        password: Some("pässwörd".to_owned().into()),
        port: Some(port),
        settings: vec![
            "listen_addresses=127.0.0.1".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_key_file={}", keys.join("key").display()),
            format!("ssl_cert_file={}", keys.join("certificate").display()),
        ],
        ..ServerOptions::default()
    };
    let mut world = World::new().await;
    world.server = server(dir.path(), options).await;
    let login = |tls| {
        let mut login = world.server.login();
        login.connection.host = "127.0.0.1".to_owned();
        login.connection.tls = tls;
        login
    };
    world.sql_as(&login(TlsMode::Require), "create database shop").await;
    let used = "select version from pg_stat_ssl where pid = pg_backend_pid()";
    for mode in [TlsMode::Require, TlsMode::Prefer] {
        let version = lifeboat::source::postgres::ask(&login(mode), "shop", used, &world.clock)
            .await
            .unwrap();
        assert!(version.is_some_and(|version| version.starts_with("TLSv1.")), "{mode:?}");
        let mut source = world.source();
        let SourceKind::PostgresDump(database) = &mut source.kind else {
            unreachable!()
        };
        database.connection = login(mode).connection;
        let secrets = Secrets {
            source: login(mode).password,
            ..Secrets::default()
        };
        let (progress, cancel) = (world.progress.clone(), world.cancel.clone());
        // The client programs must be let in the same way as we are.
        back_up(
            &source,
            &secrets,
            &world.repo,
            world.job(),
            &world.clock,
            progress,
            cancel,
        )
        .await
        .unwrap();
    }
    let error = execute(&login(TlsMode::VerifyFull), "shop", "", &world.clock)
        .await
        .unwrap_err();
    assert!(
        matches!(error, SourceError::Tls { .. }) && error.hint().unwrap().contains("verify-full"),
        "{error}"
    );
}
