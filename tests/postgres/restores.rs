//! Dumps back into databases in every way there is: as text, in part, in parallel, rows alone, and over what exists.

use lifeboat::domain::recovery::{DatabaseRestore, RecoveryTarget};
use lifeboat::domain::snapshot::{EvidenceLevel, SnapshotRecord};
use lifeboat::domain::source::{DumpFormat, DumpSelection, Source, SourceKind};
use lifeboat::source::{Restored, SourceError};

use crate::world::{World, until};

const LIVE: &str = "the \"live\" one's";

/// Tables with everything that may belong to one, and functions whose text looks like what it is not.
const RICH: &str = "create type state as enum ('new', 'paid'); \
    create table shops (id serial primary key, name text); \
    create table sales (id bigserial primary key, shop int not null references shops, state state default 'new', n int check (n > 0)); \
    create index sales_by_shop on sales (shop); comment on index sales_by_shop is 'it''s; \\ fine'; \
    create function touch() returns trigger language plpgsql as $f$ begin /*\nCOPY x FROM stdin;\n\\! false\n*/ return new; end $f$; \
    create function two() returns int begin atomic select case when true then 1 end; select 2; end; \
    create trigger touched before update on sales for each row execute function touch(); \
    create table log (at int, what text) partition by range (at); \
    create table log_1 partition of log for values from (0) to (1000); \
    insert into shops (name) select E'shop\\t\\\\.\\n\\\\.' || n from generate_series(1, 10) n; \
    insert into sales (shop, n) select 1 + n % 10, n from generate_series(1, 2000) n; \
    insert into log select n, 'x' from generate_series(1, 50) n; \
    select lo_from_bytea(4711, 'large')";

fn with(world: &World, format: DumpFormat) -> Source {
    let mut source = world.source();
    if let SourceKind::PostgresDump(database) = &mut source.kind {
        database.selection = DumpSelection {
            format,
            ..DumpSelection::default()
        };
    }
    source
}

async fn rich() -> World {
    let mut world = World::new().await;
    LIVE.clone_into(&mut world.database);
    world
        .ask("postgres", "create database \"the \"\"live\"\" one's\"")
        .await;
    world.ask(LIVE, RICH).await;
    world
}

async fn dumped(world: &World, format: DumpFormat) -> SnapshotRecord {
    world.back_up_source(&with(world, format)).await.unwrap().snapshot
}

async fn into(
    world: &World,
    snapshot: &SnapshotRecord,
    name: &str,
    how: DatabaseRestore,
) -> Result<Restored, SourceError> {
    let target = RecoveryTarget::Database {
        connection: None,
        database: name.to_owned(),
        how: Box::new(how),
    };
    world.restore(snapshot, &target).await
}

fn over() -> DatabaseRestore {
    DatabaseRestore {
        drop_existing: true,
        ..DatabaseRestore::default()
    }
}

fn all_well(restored: &Restored) {
    assert!(
        restored.findings.iter().all(|finding| finding.ok),
        "{:?}",
        restored.findings
    );
}

fn told<'a>(restored: &'a Restored, what: &str) -> &'a str {
    let found = restored.findings.iter().find(|finding| finding.what == what);
    found.map_or_else(|| panic!("{:?}", restored.findings), |finding| finding.detail.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_dump_comes_back_and_obeys_nobody() {
    let world = rich().await;
    let snapshot = dumped(&world, DumpFormat::Plain).await;
    let verified = world.verify(&snapshot, EvidenceLevel::Probed, &[]).await.unwrap();
    assert_eq!(
        verified.level(),
        Some(EvidenceLevel::Probed),
        "{:?}",
        verified.failure()
    );
    all_well(
        &into(&world, &snapshot, "copy", DatabaseRestore::default())
            .await
            .unwrap(),
    );
    assert_eq!(world.contents("copy").await, world.contents(LIVE).await);
    assert_eq!(world.ask("copy", "select two() + length(lo_get(4711))").await, "7");
    // What psql would obey is refused, before or after good statements, and leaves no database.
    let text = manifest(&world, &snapshot).await;
    let mark = world.dir.path().join("obeyed");
    let lines = [
        format!("create table a (n int);\n\\! touch {}\n", mark.display()),
        format!("select 1 \\g |touch {}\n", mark.display()),
    ];
    for hostile in lines {
        let forged = world.forge(&snapshot, hostile.as_bytes(), &text).await;
        let error = into(&world, &forged, "hostile", DatabaseRestore::default())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("a command for psql"), "{error}");
    }
    assert!(!mark.exists());
    // One that fails in the middle is nothing at all.
    let broken = world
        .forge(&snapshot, b"create table a (n int);\nselect 1/0;\n", &text)
        .await;
    let error = into(&world, &broken, "broken", DatabaseRestore::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("division by zero"), "{error}");
    let names = world
        .ask(
            "postgres",
            "select string_agg(datname, ',' order by datname) from pg_database where not datistemplate",
        )
        .await;
    assert_eq!(names, format!("copy,postgres,{LIVE}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn some_tables_come_back_with_all_that_belongs_to_them() {
    let world = rich().await;
    let snapshot = dumped(&world, DumpFormat::Custom).await;
    let tables = |names: &[&str]| DatabaseRestore {
        tables: names.iter().map(ToString::to_string).collect(),
        ..DatabaseRestore::default()
    };
    let one = into(&world, &snapshot, "one", tables(&["public.sales"])).await.unwrap();
    all_well(&one);
    assert!(told(&one, "left out").contains("sales_shop_fkey"), "{one:?}");
    let hanging = "select (select count(*) from pg_indexes where tablename = 'sales') || ' '
                       || (select count(*) from pg_trigger where tgname = 'touched') || ' ' || nextval('sales_id_seq')
                       || ' ' || (select count(*) from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace)
                       || ' ' || (select state from sales limit 1)";
    assert_eq!(world.ask("one", hanging).await, "2 1 2001 1 new");
    // With the table it refers to, the reference comes too; in parallel.
    let both = DatabaseRestore {
        jobs: 3,
        ..tables(&["public.s*s"])
    };
    let both = into(&world, &snapshot, "both", both).await.unwrap();
    all_well(&both);
    assert!(both.findings.iter().all(|finding| finding.what != "left out"));
    assert_eq!(
        world
            .ask("both", "select count(*) from pg_constraint where contype = 'f'")
            .await,
        "1"
    );
    let parts = into(&world, &snapshot, "parts", tables(&["public.log"])).await.unwrap();
    assert!(
        told(&parts, "rows of every table").starts_with("1 tables, 50 rows"),
        "{parts:?}"
    );
    let jobs = DatabaseRestore {
        jobs: 2,
        ..DatabaseRestore::default()
    };
    all_well(&into(&world, &snapshot, "whole", jobs).await.unwrap());
    assert_eq!(world.contents("whole").await, world.contents(LIVE).await);
    let missing = into(&world, &snapshot, "none", tables(&["public.sails"]))
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("no table public.sails"), "{missing}");
    assert!(!world.databases().await.contains(&"none".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_alone_go_into_empty_tables_and_nowhere_else() {
    let world = rich().await;
    let (rows, definitions) = (
        dumped(&world, DumpFormat::DataOnly).await,
        dumped(&world, DumpFormat::SchemaOnly).await,
    );
    let plainly = DatabaseRestore::default;
    let nowhere = into(&world, &rows, "target", plainly()).await.unwrap_err();
    assert!(nowhere.to_string().contains("there is no database"), "{nowhere}");
    all_well(&into(&world, &definitions, "target", plainly()).await.unwrap());
    all_well(&into(&world, &rows, "target", plainly()).await.unwrap());
    assert_eq!(world.contents("target").await, world.contents(LIVE).await);
    let twice = into(&world, &rows, "target", plainly()).await.unwrap_err();
    assert!(twice.to_string().contains("rows already in"), "{twice}");
    world
        .ask("target", "drop table sales cascade; truncate shops, log")
        .await;
    let lacking = into(&world, &rows, "target", plainly()).await.unwrap_err();
    assert!(
        lacking.to_string().contains("lacks the tables public.sales"),
        "{lacking}"
    );
    let replaced = into(&world, &rows, "target", over()).await.unwrap_err();
    assert!(replaced.to_string().contains("leave --drop-existing out"), "{replaced}");
}

/// Damages the live database after its dump; the owner, grants and settings are those of before.
const ACCIDENT: &str = "create role clerk; create role \"web \"\"app\"; alter database \"the \"\"live\"\" one's\" owner to clerk; \
    revoke connect on database \"the \"\"live\"\" one's\" from public; \
    grant connect on database \"the \"\"live\"\" one's\" to \"web \"\"app\"; \
    alter database \"the \"\"live\"\" one's\" set search_path to \"$user\", public, \"a b\"; \
    alter role clerk in database \"the \"\"live\"\" one's\" set work_mem to '64MB'; \
    comment on database \"the \"\"live\"\" one's\" is 'it''s ours'";
const OWN: &str = "select pg_get_userbyid(datdba) || ' ' || shobj_description(oid, 'pg_database') || ' ' || (select string_agg(a::text, ' ' order by a::text) from unnest(datacl) a) || ' '
    || (select string_agg(setrole::regrole::text || setconfig::text, ' ' order by setrole) from pg_db_role_setting where setdatabase = d.oid)
    from pg_database d where datname = 'the \"live\" one''s'";

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_takes_the_place_of_a_database_after_a_safety_backup() {
    let world = rich().await;
    let snapshot = dumped(&world, DumpFormat::Custom).await;
    let good = world.contents(LIVE).await;
    world.ask(LIVE, ACCIDENT).await;
    world.ask(LIVE, "delete from sales where n > 1000").await;
    let (own, damaged) = (world.ask("postgres", OWN).await, world.contents(LIVE).await);
    // Without the word for it, or with a part of it, nothing is touched.
    let exists = into(&world, &snapshot, LIVE, DatabaseRestore::default())
        .await
        .unwrap_err();
    assert!(exists.to_string().contains("--drop-existing"), "{exists}");
    let part = DatabaseRestore {
        tables: vec!["public.sales".to_owned()],
        ..over()
    };
    let part = into(&world, &snapshot, LIVE, part).await.unwrap_err();
    assert!(part.to_string().contains("a part of a database"), "{part}");
    let target = RecoveryTarget::Database {
        connection: None,
        database: LIVE.to_owned(),
        how: Box::new(over()),
    };
    assert_eq!(world.plan(&snapshot, &target).await.unwrap().overwrites, 1);
    assert_eq!(
        (world.contents(LIVE).await, world.snapshot_count().await),
        (damaged.clone(), 1)
    );

    let restored = into(&world, &snapshot, LIVE, over()).await.unwrap();
    all_well(&restored);
    assert_eq!(world.contents(LIVE).await, good);
    assert_eq!(world.ask("postgres", OWN).await, own);
    assert!(
        told(&restored, "the old database").contains("was dropped"),
        "{restored:?}"
    );
    assert_eq!(
        world
            .ask("postgres", "select count(*) from pg_database where not datistemplate")
            .await,
        "2"
    );
    // The undo: the safety backup in the place of it.
    let made = world.repo.snapshots().await.unwrap();
    let safety = made
        .iter()
        .find(|one| one.snapshot.tags.iter().any(|tag| tag == "safety"))
        .unwrap();
    let mut before = snapshot.clone();
    before.id = safety.id.clone().into();
    assert!(told(&restored, "undo").contains(before.id.short()), "{restored:?}");
    all_well(&into(&world, &before, LIVE, over()).await.unwrap());
    assert_eq!(world.contents(LIVE).await, damaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_replaced_stays_as_it_is() {
    let world = rich().await;
    let snapshot = dumped(&world, DumpFormat::Custom).await;
    let good = world.contents(LIVE).await;
    let names = async |world: &World| {
        let sql = "select string_agg(datname, ',' order by datname) from pg_database where not datistemplate";
        world.ask("postgres", sql).await
    };
    let alone = format!("postgres,{LIVE}");
    // A dump that cannot be read to its end.
    let text = manifest(&world, &snapshot).await;
    let whole = file(&world, &snapshot, &dump_name(&world, &snapshot).await).await;
    let half = &whole[..whole.len() - 30_000];
    let broken = world.forge(&snapshot, half, &text).await;
    into(&world, &broken, LIVE, over()).await.unwrap_err();
    assert_eq!(
        (world.contents(LIVE).await, names(&world).await),
        (good.clone(), alone.clone())
    );
    // One that is not what was recorded: the copy is kept aside.
    let other = text.replace(": 2000", ": 2001").replace(":2000", ":2001");
    assert_ne!(other, text);
    let odd = world.forge(&snapshot, &whole, &other).await;
    let error = into(&world, &odd, LIVE, over()).await.unwrap_err();
    assert!(error.to_string().contains("not as recorded"), "{error}");
    assert_eq!(world.contents(LIVE).await, good);
    let sql = "select datname from pg_database where datname like '%restored_before%'";
    let aside = world.ask("postgres", sql).await;
    assert!(error.hint().unwrap().contains("restored_before"), "{error:?}");
    world
        .ask("postgres", &format!("drop database \"{}\"", aside.replace('"', "\"\"")))
        .await;
    // Whoever writes meanwhile finds it again: the old one is kept.
    let target = RecoveryTarget::Database {
        connection: None,
        database: LIVE.to_owned(),
        how: Box::new(over()),
    };
    let writing = async {
        reached(&world, "reading the safety backup back").await;
        world.ask(LIVE, "insert into log values (999, 'late')").await;
        std::future::pending::<()>().await;
    };
    let restored = tokio::select! {
        restored = world.restore(&snapshot, &target) => restored.unwrap(),
        () = writing => unreachable!(),
    };
    assert!(
        told(&restored, "the old database").contains("is kept as"),
        "{restored:?}"
    );
    assert_eq!(world.contents(LIVE).await, good);
    let kept = world
        .ask(
            "postgres",
            "select datname from pg_database where datname like '%before%'",
        )
        .await;
    assert_eq!(world.ask(&kept, "select what from log where at = 999").await, "late");
    world
        .ask("postgres", &format!("drop database \"{}\"", kept.replace('"', "\"\"")))
        .await;
    // Cancelled on the way, there is nothing left of it.
    let cancelling = async {
        reached(&world, "tables and rows").await;
        world.cancel.cancel();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = world.restore(&snapshot, &target) => ended.unwrap_err(),
        () = cancelling => unreachable!(),
    };
    assert!(matches!(ended, SourceError::Cancelled), "{ended}");
    until("nothing is left of it", async || names(&world).await == alone).await;
    assert_eq!(world.contents(LIVE).await, good);
}

async fn file(world: &World, snapshot: &SnapshotRecord, name: &str) -> Vec<u8> {
    let path = format!("/{name}");
    let mut reader = world.repo.open_file(snapshot.id.as_str(), &path).await.unwrap();
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut bytes)
        .await
        .unwrap();
    bytes
}

async fn dump_name(world: &World, snapshot: &SnapshotRecord) -> String {
    let read = lifeboat::source::Manifest::read(&world.repo, &snapshot.id).await;
    read.unwrap().unwrap().database.unwrap().dump
}

/// The manifest of a snapshot, for a dump called as those of [`World::forge`].
async fn manifest(world: &World, snapshot: &SnapshotRecord) -> String {
    let text = String::from_utf8(file(world, snapshot, "lifeboat.json").await).unwrap();
    let name = dump_name(world, snapshot).await.replace('"', "\\\"");
    assert!(text.contains(&name), "{text}");
    text.replace(&name, "shop.dump")
}

/// Waits until the work is at something, however short that is.
async fn reached(world: &World, what: &str) {
    while world.progress.sample().current != what {
        tokio::task::yield_now().await;
    }
}
