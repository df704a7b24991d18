//! A dump leaves the repository as a file that needs no Lifeboat.

use std::fs;
use std::io::Read as _;

use lifeboat::domain::id::SnapshotId;
use lifeboat::source::postgres::export::{DumpForm, export};
use lifeboat::source::{Manifest, SourceError};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_becomes_a_file_and_sql_text() {
    let world = World::with_shop().await;
    let id = world.back_up().await.unwrap().snapshot.id;
    let dir = tempfile::tempdir().unwrap();
    let work = world.work(&|_| {});
    let (raw, text) = (dir.path().join("shop.dump"), dir.path().join("shop.sql.gz"));
    let bytes = export(&id, DumpForm::Custom, &raw, &work).await.unwrap();
    let manifest = Manifest::read(work.repo, &id).await.unwrap().unwrap();
    let name = &manifest.database.as_ref().unwrap().dump;
    let artifact = manifest.artifacts.iter().find(|one| one.name == *name).unwrap();
    let written = fs::read(&raw).unwrap();
    assert_eq!((bytes.0, written.len() as u64), (artifact.bytes, artifact.bytes));
    assert_eq!(lifeboat::repo::Id::of(&written).hex(), artifact.sha256);

    export(&id, DumpForm::SqlGz, &text, &work).await.unwrap();
    let mut sql = String::new();
    let packed = fs::File::open(&text).unwrap();
    flate2::read::MultiGzDecoder::new(packed)
        .read_to_string(&mut sql)
        .unwrap();
    let rows = sql.lines().skip_while(|line| !line.starts_with("COPY public.orders "));
    assert_eq!(rows.skip(1).take_while(|line| *line != "\\.").count(), 3000);
    assert!(sql.contains("CREATE TABLE public.customers") && sql.contains("FOREIGN KEY"));

    let again = export(&id, DumpForm::SqlGz, &text, &work).await;
    assert!(again.is_err(), "a file that exists is never replaced");
    let nothing = dir.path().join("nothing.dump");
    let unknown = SnapshotId::from("ab".repeat(32).as_str());
    let error: Result<_, SourceError> = export(&unknown, DumpForm::Custom, &nothing, &work).await;
    assert!(error.is_err() && !nothing.exists());
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        2,
        "nothing is left of what failed"
    );
}
