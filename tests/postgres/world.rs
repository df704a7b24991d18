//! A server, a repository in memory and everything a source is called with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifeboat::clock::Clock;
use lifeboat::domain::Bytes;
use lifeboat::domain::job::{Expectation, SqlProbe};
use lifeboat::domain::recovery::RecoveryTarget;
use lifeboat::domain::snapshot::{EvidenceLevel, SnapshotRecord};
use lifeboat::domain::source::{PostgresSource, Source, SourceKind};
use lifeboat::repo::{Progress, Repository};
use lifeboat::sandbox::server::{PostgresServer, ServerError, ServerOptions};
use lifeboat::source::postgres::{TableContent, contents, execute};
use lifeboat::source::{
    BackedUp, BackupJob, Milestone, PlanParts, Restored, Secrets, SourceError, Subject, Verified, VerifyJob, Work,
    back_up, plan, restore, verify,
};
use lifeboat::store::memory::MemoryStore;
use tokio_util::sync::CancellationToken;

pub struct World {
    pub server: PostgresServer,
    pub store: Arc<MemoryStore>,
    pub repo: Repository,
    pub clock: Clock,
    pub cancel: CancellationToken,
    pub progress: Arc<Progress>,
    pub milestones: Mutex<Vec<Milestone>>,
    pub database: String,
    pub dir: tempfile::TempDir,
}

pub async fn server(dir: &std::path::Path, options: ServerOptions) -> PostgresServer {
    match PostgresServer::start(dir, options, &Clock::system()).await {
        Ok(server) => server,
        Err(error @ ServerError::NotInstalled { .. }) => panic!("{error}; apt-get install postgresql"),
        Err(error) => panic!("{error}"),
    }
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = server(dir.path(), ServerOptions::default()).await;
        let store = Arc::new(MemoryStore::new());
        let clock = Clock::system();
        let repo = Repository::init(store.clone(), &"secret".to_owned().into(), clock.clone())
            .await
            .unwrap();
        Self {
            server,
            store,
            repo,
            clock,
            cancel: CancellationToken::new(),
            progress: Progress::new(),
            milestones: Mutex::default(),
            database: "shop".to_owned(),
            dir,
        }
    }

    /// A world with some related tables in database `shop`.
    pub async fn with_shop() -> Self {
        let world = Self::new().await;
        world.sql("postgres", "create database shop").await;
        world
            .sql(
                "shop",
                "create table customers (id bigint generated always as identity primary key, name text not null, at timestamptz);
                 create table orders (id bigint primary key, customer bigint not null references customers, total numeric(10,2));
                 create index on orders (customer);
                 create view totals as select customer, sum(total) from orders group by 1;
                 insert into customers (name, at) select 'customer ' || n, now() from generate_series(1, 500) n;
                 insert into orders select n, 1 + n % 500, n / 7.0 from generate_series(1, 3000) n;",
            )
            .await;
        world
    }

    pub async fn sql(&self, database: &str, sql: &str) {
        execute(&self.server.login(), database, sql, &self.clock).await.unwrap();
    }

    pub async fn contents(&self, database: &str) -> BTreeMap<String, TableContent> {
        contents(&self.server.login(), database, &self.clock).await.unwrap()
    }

    /// Names of databases, without those every server has.
    pub async fn databases(&self) -> Vec<String> {
        let text = self.ask("postgres", "select string_agg(quote_literal(datname), ' ' order by datname) from pg_database where datname !~ '^(template|postgres)'").await;
        text.split_whitespace()
            .map(|name| name.trim_matches('\'').to_owned())
            .collect()
    }

    pub async fn ask(&self, database: &str, sql: &str) -> String {
        let socket = format!("{}/.s.PGSQL.5432", self.server.connection().host);
        let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        let mut config = tokio_postgres::Config::new();
        config.user("lifeboat").dbname(database);
        let (client, connection) = config.connect_raw(stream, tokio_postgres::NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let messages = client.simple_query(sql).await.unwrap();
        let answer = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        drop(client);
        let _ = driver.await;
        answer.unwrap_or_default()
    }

    pub fn source(&self) -> Source {
        Source {
            name: "shop-db".into(),
            kind: SourceKind::PostgresDump(PostgresSource {
                connection: self.server.connection(),
                database: self.database.clone(),
                selection: lifeboat::domain::source::DumpSelection::default(),
                scratch: None,
            }),
        }
    }

    pub fn job(&self) -> BackupJob {
        BackupJob {
            job: "shop-nightly".into(),
            run: "run-1".into(),
            repository: "main".into(),
            tags: vec!["nightly".to_owned()],
            comment: None,
            host: "here".to_owned(),
            memory_budget: Bytes(32 << 20),
            started_at: self.clock.now(),
        }
    }

    pub async fn back_up(&self) -> Result<BackedUp, SourceError> {
        self.back_up_source(&self.source()).await
    }

    pub async fn back_up_source(&self, source: &Source) -> Result<BackedUp, SourceError> {
        let (progress, cancel) = (self.progress.clone(), self.cancel.clone());
        back_up(
            source,
            &Secrets::default(),
            &self.repo,
            self.job(),
            &self.clock,
            progress,
            cancel,
        )
        .await
    }

    pub fn subject(&self, snapshot: &SnapshotRecord) -> Subject {
        Subject {
            instant: None,
            snapshot: snapshot.clone(),
            source: Some(self.source()),
            secrets: Secrets::default(),
            repository_url: "/srv/backup".to_owned(),
            owner: None,
            host: "here".to_owned(),
        }
    }

    pub fn verify_job(&self, level: EvidenceLevel, probes: &[(&str, Expectation)]) -> VerifyJob {
        VerifyJob {
            id: format!("ver-{}", self.milestones.lock().unwrap().len()),
            level,
            probes: probes
                .iter()
                .map(|(sql, expect)| SqlProbe {
                    name: (*sql).to_owned(),
                    sql: (*sql).to_owned(),
                    expect: expect.clone(),
                })
                .collect(),
            scratch_dir: self.scratch_dir(),
        }
    }

    pub fn scratch_dir(&self) -> PathBuf {
        self.dir.path().join("scratch")
    }

    pub async fn verify(
        &self,
        snapshot: &SnapshotRecord,
        level: EvidenceLevel,
        probes: &[(&str, Expectation)],
    ) -> Result<Verified, SourceError> {
        let job = self.verify_job(level, probes);
        let note = |milestone| self.milestones.lock().unwrap().push(milestone);
        verify(&self.subject(snapshot), &job, &self.work(&note)).await
    }

    pub async fn plan(&self, snapshot: &SnapshotRecord, target: &RecoveryTarget) -> Result<PlanParts, SourceError> {
        plan(&self.subject(snapshot), target, &self.work(&|_| {})).await
    }

    pub async fn restore(&self, snapshot: &SnapshotRecord, target: &RecoveryTarget) -> Result<Restored, SourceError> {
        restore(&self.subject(snapshot), target, "rec-1", &self.work(&|_| {})).await
    }

    pub fn work<'a>(&'a self, reached: &'a (dyn Fn(Milestone) + Send + Sync)) -> Work<'a> {
        Work {
            repo: &self.repo,
            clock: &self.clock,
            progress: self.progress.clone(),
            cancel: self.cancel.clone(),
            reached,
        }
    }

    /// The levels announced as proved, in order.
    pub fn proved(&self) -> Vec<EvidenceLevel> {
        let milestones = self.milestones.lock().unwrap();
        let level = |milestone: &Milestone| match milestone {
            Milestone::Proved(level, _) => Some(*level),
            _ => None,
        };
        milestones.iter().filter_map(level).collect()
    }

    pub async fn snapshot_count(&self) -> usize {
        self.repo.snapshots().await.unwrap().len()
    }
}

pub fn into_database(name: &str) -> RecoveryTarget {
    RecoveryTarget::Database {
        connection: None,
        database: name.to_owned(),
        how: Box::default(),
    }
}

/// Waits until `holds`, for at most ten seconds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let clock = Clock::system();
    for _ in 0..500 {
        if holds().await {
            return;
        }
        clock.sleep(Duration::from_millis(20)).await;
    }
    panic!("waited ten seconds in vain: {what}");
}

impl World {
    /// Client programs of that name that work on this world's server.
    pub fn children_named(&self, name: &str) -> Vec<String> {
        let host = self.server.connection().host;
        let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        entries
            .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
            .filter(|words| {
                words.split('\0').next().is_some_and(|program| program.ends_with(name)) && words.contains(&host)
            })
            .collect()
    }

    pub async fn sql_as(&self, login: &lifeboat::source::postgres::Login, sql: &str) {
        execute(login, "postgres", sql, &self.clock).await.unwrap();
    }

    /// A snapshot like `good` with another dump and another manifest in it.
    pub async fn forge(&self, good: &SnapshotRecord, dump: &[u8], manifest: &str) -> SnapshotRecord {
        let options = lifeboat::repo::StreamOptions::default();
        let mut writer = self
            .repo
            .begin_stream_snapshot(options, self.progress.clone(), self.cancel.clone())
            .await
            .unwrap();
        writer.put_bytes("shop.dump", dump).await.unwrap();
        writer.put_bytes("lifeboat.json", manifest.as_bytes()).await.unwrap();
        let result = writer.commit().await.unwrap();
        let mut record = good.clone();
        record.id = result.snapshot.id.into();
        record
    }
}
