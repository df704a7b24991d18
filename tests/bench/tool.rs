//! What the benchmark needs beside the program: a repository as large as asked, a bare walk, and this machine's own limits.
//!
//! ```text
//! cargo run --release --example bench-tool -- fill REPOSITORY --snapshots 10000 --blobs 1000000
//! cargo run --release --example bench-tool -- open REPOSITORY
//! cargo run --release --example bench-tool -- walk DIRECTORY
//! cargo run --release --example bench-tool -- limit DIRECTORY
//! ```
//!
//! The password is in the file that `LIFEBOAT_PASSWORD_FILE` names. Each prints one JSON object.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use clap::Parser;
use lifeboat::clock::Clock;
use lifeboat::repo::crypto::CipherKey;
use lifeboat::repo::index::{IndexBlob, IndexFile, IndexPack};
use lifeboat::repo::key::KeyFile;
use lifeboat::repo::pack::BlobKind;
use lifeboat::repo::{Id, Repository, SnapshotFile};
use secrecy::SecretString;
use serde_json::{Value, json};

/// Helps the benchmark.
#[derive(Debug, Parser)]
enum Command {
    /// Makes a repository with so many snapshots and blobs; nothing is behind them.
    Fill {
        /// Where; must not exist.
        repository: PathBuf,
        #[arg(long, default_value_t = 10_000)]
        snapshots: u32,
        #[arg(long, default_value_t = 1_000_000)]
        blobs: u32,
    },
    /// Opens a repository, reads its snapshots and its index.
    Open { repository: PathBuf },
    /// Looks at every entry of a directory on two threads a core, and does nothing else.
    Walk { directory: PathBuf },
    /// Hashes, compresses and encrypts some of a directory on one thread.
    Limit {
        directory: PathBuf,
        /// How much of it at most.
        #[arg(long, default_value_t = 1 << 30)]
        bytes: u64,
    },
}

/// The size of a sample.
const SAMPLE: usize = 16 << 10;

fn main() {
    let clock = Clock::system();
    let said = match Command::parse() {
        Command::Fill {
            repository,
            snapshots,
            blobs,
        } => fill(&repository, snapshots, blobs, &clock),
        Command::Open { repository } => open(&repository, &clock),
        Command::Walk { directory } => walk(&directory, &clock),
        Command::Limit { directory, bytes } => limit(&directory, bytes, &clock),
    };
    println!("{said}");
}

fn password() -> SecretString {
    let file = std::env::var("LIFEBOAT_PASSWORD_FILE").expect("LIFEBOAT_PASSWORD_FILE names the password file");
    let text = fs::read_to_string(file).expect("the password file can be read");
    SecretString::from(text.trim_end_matches('\n').to_owned())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

/// Opens the key file the way the format says, to write what the program itself would never write.
fn master_key(repository: &Path, password: &str) -> CipherKey {
    let folder = fs::read_dir(repository.join("keys")).expect("a keys folder");
    let path = folder.flatten().next().expect("a key").path();
    let file: KeyFile = serde_json::from_slice(&fs::read(path).expect("a key file")).expect("JSON");
    let decode = |text: &str| BASE64_STANDARD.decode(text).expect("base64");
    let log_n = u8::try_from(file.n.trailing_zeros()).expect("a power of two");
    let params = scrypt::Params::new(log_n, file.r, file.p).expect("parameters");
    let mut derived = [0; 64];
    scrypt::scrypt(password.as_bytes(), &decode(&file.salt), &params, &mut derived).expect("scrypt");
    let plain = CipherKey::new(derived).open(&decode(&file.data)).expect("the password");
    let json: Value = serde_json::from_slice(&plain).expect("JSON");
    let parts = [&json["encrypt"], &json["mac"]["k"], &json["mac"]["r"]];
    let bytes: Vec<u8> = parts
        .iter()
        .flat_map(|part| decode(part.as_str().expect("text")))
        .collect();
    CipherKey::new(bytes.try_into().expect("64 bytes"))
}

fn fill(repository: &Path, snapshots: u32, blobs: u32, clock: &Clock) -> Value {
    use secrecy::ExposeSecret;
    let store = lifeboat::store::open(&repository.to_string_lossy()).expect("a store");
    let password = password();
    runtime()
        .block_on(Repository::init(store, &password, clock.clone()))
        .expect("a new repository");
    let key = master_key(repository, password.expose_secret());
    let write = |folder: &str, plain: &[u8]| {
        let mut encoded = vec![2];
        encoded.extend(zstd::bulk::compress(plain, 3).expect("zstd"));
        let sealed = key.seal(&encoded).expect("randomness");
        fs::write(repository.join(folder).join(Id::of(&sealed).hex()), sealed).expect("room");
    };
    let id = |what: &str, number: u32| Id::of(format!("{what} {number}").as_bytes());
    for first in (0..blobs).step_by(30_000) {
        let numbers: Vec<u32> = (first..blobs.min(first + 30_000)).collect();
        let pack = |numbers: &[u32]| IndexPack {
            id: id("pack", numbers[0]),
            blobs: (0..)
                .zip(numbers)
                .map(|(at, number)| IndexBlob {
                    id: id("blob", *number),
                    kind: if number % 20 == 0 {
                        BlobKind::Tree
                    } else {
                        BlobKind::Data
                    },
                    offset: at * 400_000,
                    length: 400_000,
                    uncompressed_length: 1_000_000,
                })
                .collect(),
        };
        let file = IndexFile {
            packs: numbers.chunks(40).map(pack).collect(),
            ..IndexFile::default()
        };
        write("index", &serde_json::to_vec(&file).expect("JSON"));
    }
    for number in 0..snapshots {
        let snapshot = SnapshotFile {
            time: (clock.now() - chrono::Duration::minutes(i64::from(number))).fixed_offset(),
            parent: Some(id("snapshot", number)),
            tree: id("tree", number),
            paths: vec!["/srv/www".into(), "/etc".into()],
            hostname: format!("host{}", number % 50),
            username: "root".into(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: vec!["lifeboat".into(), format!("job=files-{}", number % 7)],
            original: None,
            program_version: "bench".into(),
            summary: Some(lifeboat::repo::Summary::default()),
            description: None,
        };
        write("snapshots", &serde_json::to_vec(&snapshot).expect("JSON"));
    }
    json!({"snapshots": snapshots, "blobs": blobs})
}

fn open(repository: &Path, clock: &Clock) -> Value {
    let (began, password) = (clock.monotonic(), password());
    let store = lifeboat::store::open(&repository.to_string_lossy()).expect("a store");
    runtime().block_on(async {
        let repo = Repository::open(store, &password, clock.clone())
            .await
            .expect("a repository");
        let opened = clock.elapsed(began);
        let snapshots = repo.snapshots().await.expect("snapshots").len();
        let listed = clock.elapsed(began);
        let blobs = repo.load_index().await.expect("an index").len();
        json!({
            "seconds": clock.elapsed(began).as_secs_f64(), "key_s": opened.as_secs_f64(),
            "snapshots_s": (listed - opened).as_secs_f64(), "snapshots": snapshots, "blobs": blobs,
        })
    })
}

fn walk(directory: &Path, clock: &Clock) -> Value {
    let began = clock.monotonic();
    let todo = Mutex::new((vec![directory.to_path_buf()], 1usize));
    let entries = Mutex::new(0u64);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads * 2 {
            scope.spawn(|| {
                loop {
                    let next = {
                        let mut todo = todo.lock().expect("a sound lock");
                        if todo.1 == 0 {
                            return;
                        }
                        todo.0.pop()
                    };
                    let Some(dir) = next else {
                        std::thread::yield_now();
                        continue;
                    };
                    let (mut below, mut count) = (Vec::new(), 0);
                    for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                        count += 1;
                        if entry.metadata().is_ok_and(|meta| meta.is_dir()) {
                            below.push(entry.path());
                        }
                    }
                    *entries.lock().expect("a sound lock") += count;
                    let mut todo = todo.lock().expect("a sound lock");
                    todo.1 += below.len();
                    todo.1 -= 1;
                    todo.0.extend(below);
                }
            });
        }
    });
    let entries = *entries.lock().expect("a sound lock");
    json!({"seconds": clock.elapsed(began).as_secs_f64(), "entries": entries})
}

/// The CPU time that hashing, compressing and sealing this data takes on one thread, in pieces of a mebibyte.
fn limit(directory: &Path, most: u64, clock: &Clock) -> Value {
    let key = CipherKey::random().expect("randomness");
    let mut zstd = zstd::bulk::Compressor::new(3).expect("zstd");
    let mut fast = zstd::bulk::Compressor::new(1).expect("zstd");
    let (mut hash, mut pack, mut seal) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut bytes, mut stored, mut seen) = (0u64, 0u64, HashSet::new());
    let mut todo = vec![directory.to_path_buf()];
    while let Some(path) = todo.pop().filter(|_| bytes < most) {
        if path.is_dir() {
            let mut below: Vec<PathBuf> = fs::read_dir(&path)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            below.sort();
            todo.extend(below);
            continue;
        }
        let Ok(mut file) = fs::File::open(&path) else { continue };
        loop {
            let mut piece = Vec::new();
            let read = (&mut file).take(1 << 20).read_to_end(&mut piece).unwrap_or(0);
            if read == 0 {
                break;
            }
            bytes += read as u64;
            let at = clock.monotonic();
            let id = Id::of(&piece);
            hash += clock.elapsed(at);
            if !seen.insert(id) {
                continue;
            }
            let at = clock.monotonic();
            // What a sample shows to be noise is not compressed; the sample counts.
            let noise = piece.len() >= 128 << 10
                && [0, piece.len() / 2, piece.len() - SAMPLE].iter().all(|from| {
                    let packed = fast.compress(&piece[*from..from + SAMPLE]).expect("zstd");
                    packed.len() * 100 >= SAMPLE * 97
                });
            let packed = if noise {
                Vec::new()
            } else {
                zstd.compress(&piece).expect("zstd")
            };
            pack += clock.elapsed(at);
            let smaller = if noise || packed.len() >= piece.len() {
                piece
            } else {
                packed
            };
            let at = clock.monotonic();
            let sealed = key.seal(&smaller).expect("randomness");
            seal += clock.elapsed(at);
            let at = clock.monotonic();
            std::hint::black_box(Id::of(&sealed));
            hash += clock.elapsed(at);
            stored += sealed.len() as u64;
        }
    }
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let one = (hash + pack + seal).as_secs_f64();
    json!({
        "bytes": bytes, "stored": stored, "cores": cores, "sha256_s": hash.as_secs_f64(), "zstd_s": pack.as_secs_f64(),
        "aes_s": seal.as_secs_f64(), "cpu_s": one, "limit_s": one / cores as f64,
    })
}
