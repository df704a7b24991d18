//! What comes back is what went in.

use lifeboat::domain::job::Expectation;
use lifeboat::domain::recovery::RecoveryTarget;
use lifeboat::domain::snapshot::EvidenceLevel;
use lifeboat::domain::source::{FilesSource, Source, SourceKind};
use lifeboat::source::{Manifest, label};

use crate::world::{World, into_database};

#[tokio::test]
async fn a_database_comes_back_the_same_under_another_name() {
    let world = World::with_shop().await;
    let before = world.contents("shop").await;
    let backed_up = world.back_up().await.unwrap();
    let snapshot = &backed_up.snapshot;
    let facts = snapshot.database.as_ref().unwrap();
    assert_eq!(facts.row_counts["public.orders"], 3000);
    assert_eq!(facts.tables, 2);
    assert!(facts.system_identifier.is_some() && facts.server_version.starts_with(char::is_numeric));
    assert!(!snapshot.partial && snapshot.files >= 3, "{snapshot:?}");
    assert!(snapshot.taken_at <= snapshot.committed_at);
    assert_eq!(label(&snapshot.tags, "job"), Some("shop-nightly"));

    // What is written after the dump must not come back.
    world.sql("shop", "delete from orders where id > 10").await;
    let plan = world.plan(snapshot, &into_database("shop_restored")).await.unwrap();
    assert!(plan.blockers.is_empty(), "{:?}", plan.blockers);
    assert!(plan.target_identity.contains(facts.system_identifier.as_ref().unwrap()));
    assert!(plan.restic_command.contains("/shop.dump"), "{}", plan.restic_command);
    let restored = world.restore(snapshot, &into_database("shop_restored")).await.unwrap();
    assert!(
        restored.findings.iter().all(|finding| finding.ok),
        "{:?}",
        restored.findings
    );
    assert_eq!(world.contents("shop_restored").await, before);
    let indexes = "select count(*) from pg_indexes where schemaname = 'public'";
    assert_eq!(
        world.ask("shop_restored", indexes).await,
        world.ask("shop", indexes).await
    );
    assert_eq!(
        world
            .ask(
                "shop_restored",
                "select count(*) from pg_constraint where contype = 'f'"
            )
            .await,
        "1"
    );
    assert_eq!(
        world
            .ask(
                "shop_restored",
                "insert into customers (name) values ('next') returning id"
            )
            .await,
        "501"
    );
    assert_eq!(
        world.databases().await,
        ["shop", "shop_restored"],
        "no scratch database is left"
    );
}

#[tokio::test]
async fn names_full_of_quotes_spaces_and_equals_signs_work() {
    let mut world = World::new().await;
    world.database = "it's \"odd\" = x/y".to_owned();
    world
        .sql("postgres", "create database \"it's \"\"odd\"\" = x/y\"")
        .await;
    world
        .sql(
            &world.database,
            "create schema \"A.b\"; create table \"A.b\".\"My \"\"Table\"\"\" (\"a b\" int);
             insert into \"A.b\".\"My \"\"Table\"\"\" select generate_series(1, 7);
             create role \"odd 'owner'\"; alter table \"A.b\".\"My \"\"Table\"\"\" owner to \"odd 'owner'\"",
        )
        .await;
    let snapshot = world.back_up().await.unwrap().snapshot;
    let target = "new \"and\" odd = name";
    world.restore(&snapshot, &into_database(target)).await.unwrap();
    assert_eq!(world.contents(target).await, world.contents(&world.database).await);
    let owner = "select string_agg(tableowner, ',') from pg_tables where schemaname = 'A.b'";
    assert_eq!(world.ask(target, owner).await, "odd 'owner'");
}

#[tokio::test]
async fn evidence_rises_step_by_step_and_nothing_is_left_behind() {
    let world = World::with_shop().await;
    let snapshot = world.back_up().await.unwrap().snapshot;
    let probes = [
        ("select count(*) from orders", Expectation::AtLeast(3000)),
        ("select max(name) from customers", Expectation::NotEmpty),
    ];
    let verified = world.verify(&snapshot, EvidenceLevel::Probed, &probes).await.unwrap();
    assert_eq!(verified.failure(), None);
    assert_eq!(world.proved(), EvidenceLevel::ALL[1..]);
    assert_eq!(verified.level(), Some(EvidenceLevel::Probed));
    assert!(
        verified.findings().any(|finding| finding.detail.contains("3500 rows")),
        "{verified:?}"
    );
    assert_eq!(world.databases().await, ["shop"]);
}

#[tokio::test]
async fn a_wrong_expectation_stops_the_evidence_at_restored() {
    let world = World::with_shop().await;
    let snapshot = world.back_up().await.unwrap().snapshot;
    let probes = [("select count(*) from orders", Expectation::AtLeast(3001))];
    let verified = world.verify(&snapshot, EvidenceLevel::Probed, &probes).await.unwrap();
    assert_eq!(verified.level(), Some(EvidenceLevel::Restored));
    let failure = verified.failure().unwrap();
    assert_eq!(failure.level, EvidenceLevel::Probed);
    assert!(
        failure.message.contains("3000, expected >= 3001"),
        "{}",
        failure.message
    );
    assert_eq!(
        world.databases().await,
        ["shop"],
        "the scratch database is dropped all the same"
    );
}

#[tokio::test]
async fn roles_that_are_missing_are_said_and_done_without() {
    let world = World::with_shop().await;
    world
        .sql(
            "shop",
            "create role seller; alter table orders owner to seller; grant select on customers to seller",
        )
        .await;
    let snapshot = world.back_up().await.unwrap().snapshot;
    let manifest = Manifest::read(&world.repo, &snapshot.id).await.unwrap().unwrap();
    assert!(manifest.database.unwrap().roles.contains(&"seller".to_owned()));
    world.sql("shop", "drop owned by seller cascade").await;
    world.sql("postgres", "drop role seller").await;
    let plan = world.plan(&snapshot, &into_database("again")).await.unwrap();
    assert!(
        plan.warnings.iter().any(|warning| warning.contains("seller")),
        "{:?}",
        plan.warnings
    );
    world.restore(&snapshot, &into_database("again")).await.unwrap();
    assert_eq!(world.contents("again").await["public.orders"].rows, 3000);
    let globals = world
        .repo
        .read_file(&snapshot.id.0, "/globals.sql", 1 << 20)
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&globals).contains("CREATE ROLE seller"));
}

#[tokio::test]
async fn rows_are_counted_in_the_transaction_of_the_dump() {
    let world = World::with_shop().await;
    let login = world.server.login();
    let writing = tokio::spawn(async move {
        let clock = lifeboat::clock::Clock::system();
        for n in 0.. {
            let sql = format!("insert into orders select 10000 + {n}, 1, 1; delete from customers where id = -{n}");
            if lifeboat::source::postgres::execute(&login, "shop", &sql, &clock)
                .await
                .is_err()
            {
                return;
            }
        }
    });
    for _ in 0..3 {
        let snapshot = world.back_up().await.unwrap().snapshot;
        let verified = world.verify(&snapshot, EvidenceLevel::Probed, &[]).await.unwrap();
        assert_eq!(
            verified.failure(),
            None,
            "counts and content must be those of the dump, whatever is written meanwhile"
        );
    }
    writing.abort();
}

#[tokio::test]
async fn files_are_backed_up_proved_and_restored() {
    let world = World::new().await;
    let tree = world.dir.path().join("docs");
    std::fs::create_dir_all(tree.join("deep/er")).unwrap();
    std::fs::write(tree.join("deep/er/large"), vec![7_u8; 5 << 20]).unwrap();
    std::fs::write(tree.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("deep/er/large", tree.join("link")).unwrap();
    let odd = std::ffi::OsString::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(
        b"not \xff utf-8",
    ));
    std::fs::create_dir(tree.join(&odd)).unwrap();
    std::fs::write(tree.join(&odd).join("inside"), "x").unwrap();
    let source = Source {
        name: "docs".into(),
        kind: SourceKind::Files(FilesSource {
            paths: vec![tree.clone()],
            ..FilesSource::default()
        }),
    };
    let snapshot = world.back_up_source(&source).await.unwrap().snapshot;
    assert!(!snapshot.partial && snapshot.database.is_none());
    let verified = world.verify(&snapshot, EvidenceLevel::Probed, &[]).await.unwrap();
    assert_eq!(verified.failure(), None);
    assert_eq!(verified.level(), Some(EvidenceLevel::Probed));
    let left: Vec<_> = std::fs::read_dir(world.scratch_dir()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");

    let target = RecoveryTarget::Directory {
        path: world.dir.path().join("back"),
        include: Vec::new(),
        subpath: Some(tree.display().to_string()),
        delta: false,
        quick: false,
        tablespaces: Vec::new(),
    };
    let plan = world.plan(&snapshot, &target).await.unwrap();
    assert!(plan.blockers.is_empty() && plan.overwrites == 0, "{plan:?}");
    let restored = world.restore(&snapshot, &target).await.unwrap();
    assert!(restored.errors.is_empty(), "{restored:?}");
    assert_eq!(
        std::fs::read(world.dir.path().join("back").join(&odd).join("inside")).unwrap(),
        b"x"
    );
    let again = world.plan(&snapshot, &target).await.unwrap();
    assert!(
        again.restic_command.contains("restic -r /srv/backup restore"),
        "{}",
        again.restic_command
    );
}

#[tokio::test]
async fn every_kind_of_object_comes_back() {
    let world = World::with_shop().await;
    world
        .sql(
            "shop",
            "create extension if not exists plpgsql;
             create table parts (at date not null, n int, g int generated always as (n * 2) stored) partition by range (at);
             create table parts_1 partition of parts for values from ('2026-01-01') to ('2026-02-01');
             create table parts_rest partition of parts default;
             insert into parts select '2026-01-01'::date + n, n from generate_series(1, 60) n;
             create table parent (a int); create table child (b text) inherits (parent);
             insert into parent values (1); insert into child values (2, 'x');
             create materialized view sums as select sum(total) from orders;
             create unlogged table volatile as select 1 as n;
             create table odd_values (f float8, x xml, t timestamptz, i interval, b bytea, m money, j jsonb, n numeric, a int[]);
             insert into odd_values values ('NaN', '<a/>', 'infinity', '1 mon 3 d', '\\x00ff', 3.5, '{\"a\": [1]}', 'NaN', '{1,null}'),
                (null, null, null, null, null, null, null, null, null), (0.1 + 0.2, null, now(), null, '', null, 'null', 1e-30, '{}');
             create table empty (); create table \"order\" (\"select\" int); insert into \"order\" values (1);
             select lo_from_bytea(0, '\\x1234');
             create function twice(int) returns int language sql as 'select $1 * 2';
             create trigger quiet before update on orders for each row execute function suppress_redundant_updates_trigger();
             alter table orders enable row level security; create policy p on orders using (true);
             create sequence tickets start 100; select nextval('tickets');
             comment on table orders is 'it''s \"all\" here';",
        )
        .await;
    let before = world.contents("shop").await;
    assert_eq!(
        before["public.child"].rows, 1,
        "a parent does not count its children's rows"
    );
    assert_eq!(before["public.order"].rows, 1, "{:?}", before.keys());
    let snapshot = world.back_up().await.unwrap().snapshot;
    let verified = world.verify(&snapshot, EvidenceLevel::Probed, &[]).await.unwrap();
    assert_eq!(verified.failure(), None);
    world.restore(&snapshot, &into_database("again")).await.unwrap();
    assert_eq!(world.contents("again").await, before);
    for question in [
        "select count(*) from pg_largeobject",
        "select sum from sums",
        "select twice(21)",
        "select nextval('tickets')",
        "select obj_description('orders'::regclass)",
        "select count(*) from pg_policy",
        "select count(*) from pg_trigger",
    ] {
        assert_eq!(
            world.ask("again", question).await,
            world.ask("shop", question).await,
            "{question}"
        );
    }
}

#[tokio::test]
async fn a_role_that_is_no_superuser_can_dump_and_restore_what_it_owns() {
    let world = World::with_shop().await;
    let hand_over =
        "create role clerk login createdb; alter table customers owner to clerk; alter table orders owner to clerk;
         alter view totals owner to clerk; alter database shop owner to clerk";
    world.sql("shop", hand_over).await;
    let mut source = world.source();
    let SourceKind::PostgresDump(database) = &mut source.kind else {
        unreachable!()
    };
    database.connection.user = "clerk".to_owned();
    let done = world.back_up_source(&source).await.unwrap();
    assert!(!done.snapshot.partial, "{:?}", done.item_errors);
    let manifest = Manifest::read(&world.repo, &done.snapshot.id).await.unwrap().unwrap();
    assert!(
        manifest
            .notes
            .iter()
            .any(|note| note.contains("without their passwords")),
        "{:?}",
        manifest.notes
    );
    let subject = lifeboat::source::Subject {
        source: Some(source),
        ..world.subject(&done.snapshot)
    };
    let work = world.work(&|_| {});
    lifeboat::source::restore(&subject, &into_database("again"), "rec-1", &work)
        .await
        .unwrap();
    assert_eq!(world.contents("again").await, world.contents("shop").await);
}
