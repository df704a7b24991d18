//! Dumps of a part of a database, and a restored database in the place of the live one. All names are as odd as allowed.

use std::collections::BTreeMap;

use lifeboat::domain::source::{DumpFormat, DumpSelection, Source, SourceKind};
use lifeboat::source::{Manifest, SourceError};

use crate::world::{World, into_database};

const ODD: &str = "create schema \"a \"\"b\"\" c\"; create table \"a \"\"b\"\" c\".\"Order's * lines\" (n int); \
     insert into \"a \"\"b\"\" c\".\"Order's * lines\" select generate_series(1, 7); \
     create table public.log (at int) partition by range (at); \
     create table public.log_1 partition of public.log for values from (0) to (10); \
     insert into public.log values (1), (2)";

fn chosen(world: &World, format: DumpFormat, tables: &[&str], exclude: &[&str]) -> Source {
    let words = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let mut source = world.source();
    if let SourceKind::PostgresDump(database) = &mut source.kind {
        database.selection = DumpSelection {
            format,
            tables: words(tables),
            exclude_tables: words(exclude),
        };
    }
    source
}

async fn rows(world: &World, source: &Source) -> BTreeMap<String, u64> {
    let made = world.back_up_source(source).await.unwrap();
    made.snapshot.database.unwrap().row_counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_database_is_dumped_and_restored() {
    let world = World::with_shop().await;
    world.ask(&world.database, ODD).await;
    let odd = "\"a \"\"b\"\" c\".\"Order's * lines\"";
    let some = chosen(&world, DumpFormat::Custom, &[odd, "public.log"], &[]);
    let found = rows(&world, &some).await;
    let wanted = BTreeMap::from([(odd.to_owned(), 7), ("public.log_1".to_owned(), 2)]);
    assert_eq!(found, wanted);
    // Restored, it is as recorded: exactly these tables.
    let made = world.back_up_source(&some).await.unwrap();
    let restored = world.restore(&made.snapshot, &into_database("a \"part")).await.unwrap();
    assert!(
        restored.findings.iter().all(|finding| finding.ok),
        "{:?}",
        restored.findings
    );
    assert_eq!(world.ask("a \"part", "select sum(at)::text from public.log").await, "3");
    // All but some.
    let most = chosen(&world, DumpFormat::Custom, &[], &["public.*"]);
    assert_eq!(rows(&world, &most).await, BTreeMap::from([(odd.to_owned(), 7)]));
    // Definitions only: the tables, and none of their rows.
    let made = world
        .back_up_source(&chosen(&world, DumpFormat::SchemaOnly, &[], &[]))
        .await
        .unwrap();
    let restored = world.restore(&made.snapshot, &into_database("empty")).await.unwrap();
    assert!(
        restored.findings.iter().all(|finding| finding.ok),
        "{:?}",
        restored.findings
    );
    assert_eq!(
        world.ask("empty", "select count(*)::text from public.orders").await,
        "0"
    );
    // Rows only: they need tables, and it says so before it begins.
    let made = world
        .back_up_source(&chosen(&world, DumpFormat::DataOnly, &["public.orders"], &[]))
        .await
        .unwrap();
    let manifest = Manifest::read(&world.repo, &made.snapshot.id).await.unwrap().unwrap();
    assert_eq!(manifest.database.unwrap().selection.format, DumpFormat::DataOnly);
    let refused = world.restore(&made.snapshot, &into_database("rows")).await.unwrap_err();
    assert!(refused.to_string().contains("rows only"), "{refused}");
    // What is chosen and excluded leaves nothing, and nothing is not the whole database.
    let none = chosen(&world, DumpFormat::Custom, &["public.log"], &["public.*"]);
    let error = world.back_up_source(&none).await.unwrap_err();
    assert!(error.to_string().contains("nothing would be dumped"), "{error}");
    // A table that is not there is no empty backup.
    let nothing = chosen(&world, DumpFormat::Custom, &["public.ordres"], &[]);
    let error = world.back_up_source(&nothing).await.unwrap_err();
    assert!(matches!(error, SourceError::Invalid { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_takes_the_place_of_the_live_one_and_back() {
    use lifeboat::source::postgres::switch::{plan, switch};
    let world = World::with_shop().await;
    let (live, new, kept) = ("the \"live\" one", "a re'stored; --", "be fore");
    for name in [live, new] {
        let sql = format!("create database \"{}\"", name.replace('"', "\"\""));
        world.ask("postgres", &sql).await;
        world
            .ask(
                name,
                &format!("create table who as select '{}'::text as n", name.replace('\'', "''")),
            )
            .await;
    }
    let login = world.server.login();
    // Somebody is on it, and somebody keeps coming back.
    let socket = world.server.connection().host;
    let busy = tokio::spawn(async move {
        loop {
            let mut config = tokio_postgres::Config::new();
            config.host(&socket).user("lifeboat").dbname(live);
            if let Ok((client, driver)) = config.connect(tokio_postgres::NoTls).await {
                let driver = tokio::spawn(driver);
                while client.simple_query("select n from who").await.is_ok() {}
                driver.abort();
            }
            tokio::task::yield_now().await;
        }
    });
    let there = plan(&login, live, new, kept, &world.clock).await.unwrap();
    switch(&login, &there, &world.clock).await.unwrap();
    assert_eq!(world.ask(live, "select n from who").await, new);
    assert_eq!(world.ask(kept, "select n from who").await, live);
    let back = plan(&login, live, kept, new, &world.clock).await.unwrap();
    switch(&login, &back, &world.clock).await.unwrap();
    busy.abort();
    assert_eq!(world.ask(live, "select n from who").await, live);
    assert_eq!(world.ask(new, "select n from who").await, new);
    // What is not there, or in the way, is said before anything is touched.
    let missing = plan(&login, live, "nowhere", kept, &world.clock).await.unwrap_err();
    assert!(matches!(missing, SourceError::NoSuchDatabase { .. }), "{missing}");
    let taken = plan(&login, live, new, &world.database, &world.clock)
        .await
        .unwrap_err();
    assert!(matches!(taken, SourceError::DatabaseExists { .. }), "{taken}");
    for name in ["postgres", live, ""] {
        assert!(plan(&login, live, name, kept, &world.clock).await.is_err());
    }
}
