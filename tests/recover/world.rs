//! A cluster with checksums under load, a repository, and everything a source is called with.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifeboat::clock::Clock;
use lifeboat::domain::Bytes;
use lifeboat::domain::job::SqlProbe;
use lifeboat::domain::recovery::RecoveryTarget;
use lifeboat::domain::snapshot::{EvidenceLevel, SnapshotRecord};
use lifeboat::domain::source::{PhysicalChoice, PhysicalSource, ReadFrom, Source, SourceKind};
use lifeboat::repo::{Progress, Repository};
use lifeboat::source::postgres::server::{Launch, PrivateServer, Programs};
use lifeboat::source::postgres::{ask, execute};
use lifeboat::source::{
    BackedUp, BackupJob, Manifest, Milestone, PlanParts, Restored, Secrets, SourceError, Subject, Verified, VerifyJob,
    Work, back_up, plan, restore, verify,
};
use lifeboat::store::memory::MemoryStore;
use tokio_util::sync::CancellationToken;

pub struct World {
    pub server: PrivateServer,
    pub repo: Repository,
    pub store: Arc<MemoryStore>,
    pub clock: Clock,
    pub cancel: CancellationToken,
    pub progress: Arc<Progress>,
    pub programs: Programs,
    pub source: Source,
    runs: Mutex<u32>,
    dir: tempfile::TempDir,
}

/// Small buffers, so that pages are written while the cluster is copied; a log that is soon thrown away.
const SETTINGS: [&str; 9] = [
    "shared_buffers=2MB",
    "fsync=off",
    "autovacuum=off",
    "max_wal_size=32MB",
    "wal_keep_size=0",
    "bgwriter_delay=10ms",
    "max_connections=20",
    "hot_standby=on",
    "log_min_messages=info",
];

impl World {
    /// A cluster with checksums and the tables of pgbench.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let programs = Programs::find(None, None).unwrap_or_else(|error| panic!("{error}; apt-get install postgresql"));
        let data = own_dir(dir.path(), "data");
        let init = as_server(&programs.bin_dir.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args([
                "-U",
                "lifeboat",
                "-A",
                "trust",
                "--data-checksums",
                "--wal-segsize=1",
                "--no-sync",
                "--locale=C",
            ])
            .output()
            .unwrap();
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
        let clock = Clock::system();
        let mut launch = Launch::of_own(&data, &dir.path().join("home"), programs.clone(), "lifeboat").unwrap();
        for setting in SETTINGS {
            launch = launch.set(setting);
        }
        let server = PrivateServer::start(launch, &clock).await.unwrap();
        let password = "secret".to_owned().into();
        let store = Arc::new(MemoryStore::new());
        let repo = Repository::init(Arc::clone(&store) as _, &password, clock.clone())
            .await
            .unwrap();
        let source = Source {
            name: "orders".into(),
            kind: SourceKind::PostgresPhysical(PhysicalSource {
                connection: server.connection(),
                database: "postgres".to_owned(),
                standby: None,
                from: ReadFrom::Primary,
                method: PhysicalChoice::Local,
                data_directory: None,
                scratch_dir: Some(own_dir(dir.path(), "spool")),
                log_window: None,
                receive_slot: None,
            }),
        };
        let world = Self {
            repo,
            store,
            server,
            clock,
            cancel: CancellationToken::new(),
            progress: Progress::new(),
            programs,
            source,
            runs: Mutex::new(0),
            dir,
        };
        let filled = world.bench(&["-i", "-q", "-s", "3"]).status().unwrap();
        assert!(filled.success());
        world
    }

    /// The source, with another way of reading.
    pub fn with(&self, change: impl FnOnce(&mut PhysicalSource)) -> Source {
        let mut source = self.source.clone();
        if let SourceKind::PostgresPhysical(physical) = &mut source.kind {
            change(physical);
        }
        source
    }

    pub fn remote(&self) -> Source {
        self.with(|physical| physical.method = PhysicalChoice::Remote)
    }

    /// A directory below this world that belongs to the user of the servers.
    pub fn place(&self, name: &str) -> PathBuf {
        own_dir(self.dir.path(), name)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// pgbench, about to be started.
    pub fn bench(&self, args: &[&str]) -> Command {
        let mut command = as_server(&self.programs.bin_dir.join("pgbench"));
        command
            .args(["-h", &self.server.connection().host, "-U", "lifeboat"])
            .args(args)
            .arg("postgres")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// A load that goes on until it is dropped.
    pub fn load(&self) -> Load {
        Load(self.bench(&["-n", "-c", "2", "-T", "120"]).spawn().unwrap())
    }

    pub async fn sql(&self, sql: &str) {
        execute(&self.server.login(), "postgres", sql, &self.clock)
            .await
            .unwrap();
    }

    pub async fn ask(&self, sql: &str) -> String {
        question(&self.server, sql, &self.clock).await
    }

    fn job(&self) -> BackupJob {
        let mut runs = self.runs.lock().unwrap();
        *runs += 1;
        BackupJob {
            job: "orders-nightly".into(),
            run: format!("run-{runs}").as_str().into(),
            repository: "main".into(),
            tags: Vec::new(),
            comment: None,
            host: "here".to_owned(),
            memory_budget: Bytes(32 << 20),
            started_at: self.clock.now(),
        }
    }

    pub async fn back_up(&self, source: &Source) -> Result<BackedUp, SourceError> {
        let (progress, cancel) = (self.progress.clone(), self.cancel.clone());
        let secrets = Secrets::default();
        back_up(source, &secrets, &self.repo, self.job(), &self.clock, progress, cancel).await
    }

    pub async fn manifest(&self, done: &BackedUp) -> Manifest {
        Manifest::read(&self.repo, &done.snapshot.id).await.unwrap().unwrap()
    }

    pub fn subject(&self, snapshot: &SnapshotRecord) -> Subject {
        Subject {
            instant: None,
            snapshot: snapshot.clone(),
            source: Some(self.source.clone()),
            secrets: Secrets::default(),
            repository_url: "/srv/backup".to_owned(),
            owner: None,
            host: "here".to_owned(),
        }
    }

    pub fn work<'a>(&'a self, reached: &'a (dyn Fn(Milestone) + Send + Sync)) -> Work<'a> {
        Work {
            repo: &self.repo,
            clock: &self.clock,
            progress: Progress::new(),
            cancel: self.cancel.clone(),
            reached,
        }
    }

    pub async fn plan(&self, snapshot: &SnapshotRecord, target: &RecoveryTarget) -> PlanParts {
        plan(&self.subject(snapshot), target, &self.work(&|_| {}))
            .await
            .unwrap()
    }

    pub async fn restore(&self, snapshot: &SnapshotRecord, target: &RecoveryTarget) -> Result<Restored, SourceError> {
        restore(&self.subject(snapshot), target, "rec-1", &self.work(&|_| {})).await
    }

    pub async fn verify(
        &self,
        snapshot: &SnapshotRecord,
        level: EvidenceLevel,
        probes: Vec<SqlProbe>,
    ) -> Result<Verified, SourceError> {
        self.verify_watched(snapshot, level, probes, &|_| {}).await
    }

    /// The same; each milestone is told as it is reached.
    pub async fn verify_watched(
        &self,
        snapshot: &SnapshotRecord,
        level: EvidenceLevel,
        probes: Vec<SqlProbe>,
        reached: &(dyn Fn(Milestone) + Send + Sync),
    ) -> Result<Verified, SourceError> {
        let job = VerifyJob {
            id: "ver-1".to_owned(),
            level,
            probes,
            scratch_dir: self.place("scratch"),
        };
        verify(&self.subject(snapshot), &job, &self.work(reached)).await
    }

    /// Waits until the ballast is being copied.
    pub async fn until_copying(&self) {
        for _ in 0..1200 {
            // More than all the rest takes.
            if self.progress.sample().bytes_done > 256 << 20 {
                return;
            }
            self.clock.sleep(Duration::from_millis(25)).await;
        }
        panic!("the copy did not begin: {:?}", self.progress.sample());
    }

    /// A token that is not cancelled, counters that say nothing.
    pub fn renew(&mut self) {
        self.cancel = CancellationToken::new();
        self.progress = Progress::new();
    }

    /// Gives a file to the user of the servers.
    pub fn give(&self, path: &Path) {
        let owner = fs::metadata(self.data()).unwrap();
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// Waits until the server answers something.
    pub async fn until(&self, what: &str, sql: &str, answer: &str) {
        for _ in 0..1200 {
            if self.ask(sql).await == answer {
                return;
            }
            self.clock.sleep(Duration::from_millis(25)).await;
        }
        panic!("waited in vain: {what}");
    }

    /// How many snapshots there are.
    pub async fn snapshots(&self) -> usize {
        self.repo.snapshots().await.unwrap().len()
    }

    /// Starts a server on a directory; it recovers by what lies in it, and opens.
    pub async fn start(&self, data: &Path, name: &str) -> PrivateServer {
        let home = self.path(&format!("home-{name}"));
        let launch = Launch::of_copy(data, &home, self.programs.clone(), "lifeboat").unwrap();
        let launch = launch.set("fsync=off").set("max_connections=20");
        PrivateServer::start(launch, &self.clock).await.unwrap()
    }
}

/// A whole cluster into a directory.
pub fn whole(path: &Path, delta: bool) -> RecoveryTarget {
    RecoveryTarget::Directory {
        path: path.to_owned(),
        include: Vec::new(),
        subpath: None,
        delta,
        quick: false,
        tablespaces: Vec::new(),
    }
}

/// What a server answers.
pub async fn question(server: &PrivateServer, sql: &str, clock: &Clock) -> String {
    ask(&server.login(), "postgres", sql, clock)
        .await
        .unwrap()
        .unwrap_or_default()
}

/// Every transfer of pgbench changes an account, a teller and a branch by the same and writes it down: the sums agree in any
/// moment that ever was, and in no mixture of moments.
pub async fn ledger(server: &PrivateServer, clock: &Clock) -> (String, bool) {
    let sql = "select (select sum(abalance) from pgbench_accounts) || ' ' || (select sum(tbalance) from pgbench_tellers) || ' '
               || (select sum(bbalance) from pgbench_branches) || ' ' || (select coalesce(sum(delta), 0) from pgbench_history)";
    let sums = question(server, sql, clock).await;
    let mut parts = sums.split(' ');
    let first = parts.next().map(str::to_owned);
    let same = parts.all(|part| Some(part) == first.as_deref());
    let rows = question(server, "select count(*)::text from pgbench_history", clock).await;
    (format!("{rows} transfers, sums {sums}"), same)
}

/// A file that takes for ever to copy.
pub struct Ballast(fs::File);

/// Puts a file into a cluster that takes for ever to copy, until it is cut to nothing.
pub fn ballast(data: &Path) -> Ballast {
    let file = fs::File::create(data.join("ballast")).unwrap();
    file.set_len(1 << 40).unwrap();
    Ballast(file)
}

impl Ballast {
    /// The same, of another size.
    pub fn of(self, bytes: u64) -> Self {
        self.0.set_len(bytes).unwrap();
        self
    }

    /// Lets the copy end.
    pub fn drop_it(&self) {
        self.0.set_len(0).unwrap();
    }
}

/// A load; gone when dropped.
pub struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server_user() -> Option<nix::unistd::User> {
    nix::unistd::geteuid().is_root().then(|| {
        let user = nix::unistd::User::from_name("postgres").unwrap();
        user.expect("there is a user postgres")
    })
}

fn own_dir(parent: &Path, name: &str) -> PathBuf {
    let path = parent.join(name);
    fs::create_dir_all(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    if let Some(user) = server_user() {
        chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    path
}

/// A command as the user the servers run as.
pub fn as_server(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/");
    if let Some(user) = server_user() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}
