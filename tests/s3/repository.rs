//! A whole repository in a bucket: ours and restic's hands on the same bytes, through storms and kills.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use hyper::Method;
use lifeboat::clock::Clock;
use lifeboat::repo::{BackupOptions, Progress, Repository, RestoreOptions};
use secrecy::SecretString;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::server::{Action, BUCKET, Conditions, KEY, SECRET, Server};
use crate::{open, served, wait_for};

const PASSWORD: &str = "correct horse battery staple";

fn password() -> SecretString {
    SecretString::from(PASSWORD.to_owned())
}

/// Bytes that look random and are the same at every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// A tree of so many files of so many bytes.
fn tree(root: &Path, files: u64, bytes: usize) {
    for n in 0..files {
        let dir = root.join(format!("d{}", n % 7));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("f{n}")), noise(n + 1, bytes)).unwrap();
    }
}

/// The files of a directory and the hashes of their contents.
fn contents(root: &Path) -> BTreeMap<Vec<u8>, [u8; 32]> {
    use sha2::Digest;
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
                found.insert(name, sha2::Sha256::digest(fs::read(path).unwrap()).into());
            }
        }
    }
    found
}

async fn restic(server: &Server, prefix: &str, args: &[&str]) -> String {
    let output = Command::new("restic")
        .args([
            "--no-cache",
            "-r",
            &format!("s3:{}/{BUCKET}/{prefix}", server.endpoint()),
        ])
        .args(args)
        .env("RESTIC_PASSWORD", PASSWORD)
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap_or_else(|error| panic!("restic cannot be run ({error}): install it with `apt-get install restic`"));
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "restic {args:?}\n{said}");
    said
}

/// The program, with the key of the servers here and nothing else in its environment.
fn lifeboat(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
    command
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .env_clear()
        .env("HOME", dir)
        .env("PATH", "/usr/bin:/bin")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("LIFEBOAT_PASSWORD", PASSWORD);
    command
}

fn with_key(mut command: Command) -> Command {
    command
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET);
    command
}

fn said(output: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

async fn run(dir: &Path, args: &[&str]) -> String {
    let output = with_key(lifeboat(dir, args)).output().await.unwrap();
    assert!(output.status.success(), "lifeboat {args:?}\n{}", said(&output));
    said(&output)
}

fn backup_of(path: &Path) -> BackupOptions {
    BackupOptions {
        paths: vec![path.to_path_buf()],
        pack_bytes: 1 << 20,
        ..BackupOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_we_write_restic_checks_and_what_restic_writes_we_restore() {
    let (dir, server) = served(Conditions::Honoured).await;
    let source = dir.path().join("source");
    tree(&source, 40, 200_000);
    let repo = Repository::init(open(&server.url("ours")), &password(), Clock::system())
        .await
        .unwrap();
    let stop = CancellationToken::new;
    repo.backup(backup_of(&source), Progress::new(), stop()).await.unwrap();
    restic(&server, "ours", &["check", "--read-data"]).await;
    let target = dir.path().join("by-restic");
    restic(
        &server,
        "ours",
        &["restore", "latest", "--target", target.to_str().unwrap()],
    )
    .await;
    let below = |target: &Path| target.join(source.strip_prefix("/").unwrap());
    assert_eq!(contents(&below(&target)), contents(&source));

    restic(&server, "theirs", &["init"]).await;
    restic(&server, "theirs", &["backup", source.to_str().unwrap()]).await;
    let repo = Repository::open(open(&server.url("theirs")), &password(), Clock::system())
        .await
        .unwrap();
    let snapshot = repo.snapshot("latest").await.unwrap();
    let target = dir.path().join("by-us");
    let options = RestoreOptions::new(snapshot.id.clone(), target.clone());
    repo.restore(options, Progress::new(), stop()).await.unwrap();
    assert_eq!(contents(&below(&target)), contents(&source));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_comes_through_a_storm_and_counts_it() {
    let (dir, server) = served(Conditions::Honoured).await;
    let source = dir.path().join("source");
    tree(&source, 30, 300_000);
    let repo = Repository::init(open(&server.url("p")), &password(), Clock::system())
        .await
        .unwrap();
    server.rule(|seen| match (seen.nth % 4, seen.nth % 5) {
        (0, _) => Some(Action::Refuse(503, "SlowDown", "Please reduce your request rate.")),
        (_, 0) if seen.method == Method::PUT => Some(Action::DoAndHang),
        _ => None,
    });
    let progress = Progress::new();
    repo.backup(backup_of(&source), progress.clone(), CancellationToken::new())
        .await
        .unwrap();
    server.rule(|_| None);
    assert!(
        progress.retries.load(std::sync::atomic::Ordering::Relaxed) > 0,
        "the storm is counted"
    );
    restic(&server, "p", &["check", "--read-data"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_work_on_a_bucket_with_no_configuration() {
    let (dir, server) = served(Conditions::Honoured).await;
    let (dir, source) = (dir.path(), dir.path().join("source"));
    tree(&source, 10, 50_000);
    let url = server.url("p");
    run(dir, &["repo", "init", "--repository", &url]).await;
    run(dir, &["backup", source.to_str().unwrap(), "--repository", &url]).await;
    let listed = run(dir, &["--json", "snapshot", "list", "--repository", &url]).await;
    assert!(listed.contains(source.to_str().unwrap()), "{listed}");
    run(dir, &["repo", "check", "--read-data", "--repository", &url]).await;
    let target = dir.join("target");
    run(
        dir,
        &[
            "restore",
            "latest",
            "--target",
            target.to_str().unwrap(),
            "--repository",
            &url,
        ],
    )
    .await;
    assert_eq!(
        contents(&target.join(source.strip_prefix("/").unwrap())),
        contents(&source)
    );
    restic(&server, "p", &["check", "--read-data"]).await;

    let nobody = lifeboat(dir, &["snapshot", "list", "--repository", &url])
        .output()
        .await
        .unwrap();
    let told = said(&nobody);
    assert!(
        !nobody.status.success() && told.contains("no credentials were found"),
        "{told}"
    );
    assert!(told.contains("AWS_ACCESS_KEY_ID"), "{told}");
    let careless = url.replace("s3://", "s3://AKIAKEY:hunter2@");
    let refused = lifeboat(dir, &["snapshot", "list", "--repository", &careless])
        .output()
        .await
        .unwrap();
    let told = said(&refused);
    assert!(
        told.contains("carries credentials") && !told.contains("hunter2"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_looks_at_a_bucket_with_the_key_of_the_configuration() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, server) = served(Conditions::Honoured).await;
    let dir = dir.path();
    let private = |name: &str, text: &str| {
        fs::write(dir.join(name), text).unwrap();
        fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o600)).unwrap();
    };
    private("password", PASSWORD);
    private("secret", SECRET);
    private(
        "lifeboat.toml",
        &format!(
            "[agent]\nstate_dir = \"{0}/state\"\n[repository.vault]\nurl = \"{1}\"\npassword = {{ file = \"{0}/password\" }}\n\
             access_key_id = \"{KEY}\"\nsecret_access_key = {{ file = \"{0}/secret\" }}\nlimit_upload = \"1GiB\"\n",
            dir.display(),
            server.url("p"),
        ),
    );
    let doctor = || async { said(&lifeboat(dir, &["doctor"]).output().await.unwrap()) };
    let told = doctor().await;
    assert!(
        told.contains("the bucket answers, but there is no repository"),
        "{told}"
    );
    let init = lifeboat(dir, &["repo", "init", "--repository", "vault"])
        .output()
        .await
        .unwrap();
    assert!(init.status.success(), "{}", said(&init));
    let told = doctor().await;
    assert!(told.contains("[ ok ] repository vault: answers at s3://"), "{told}");
    private("secret", "wrong");
    let told = doctor().await;
    assert!(
        told.contains("BAD") && told.contains("the secret key does not belong"),
        "{told}"
    );
    assert!(!told.contains(SECRET), "{told}");
}

/// How much is backed up, in MiB, and how often it is killed; larger by hand with `LIFEBOAT_KILL_MIB` and `LIFEBOAT_KILLS`.
fn measure(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_killed_again_and_again_ends_whole() {
    let (mib, kills) = (measure("LIFEBOAT_KILL_MIB", 192), measure("LIFEBOAT_KILLS", 4));
    let dir = tempfile::tempdir().unwrap();
    let (source, dir) = (dir.path().join("source"), dir.path());
    // Slow enough that there is a middle to be killed in.
    let server = Server::start(&dir.join("bucket"), 0, Duration::from_millis(20), Conditions::Honoured).await;
    tree(&source, mib, 1 << 20);
    let url = server.url("p");
    run(dir, &["repo", "init", "--repository", &url]).await;
    let packs = || {
        let is_pack = |seen: &crate::server::Seen| seen.method == Method::PUT && seen.path.contains("/data/");
        server.seen().into_iter().filter(is_pack).count()
    };
    let backup = || {
        with_key(lifeboat(
            dir,
            &["backup", source.to_str().unwrap(), "--repository", &url],
        ))
    };
    let mut in_the_middle = 0;
    for round in 0..kills {
        let mut child = backup().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Each time a little later: before the first pack, in it, after some.
        let until = packs() + usize::try_from(round).unwrap();
        wait_for("it gets so far", || {
            packs() > until || matches!(child.try_wait(), Ok(Some(_)))
        })
        .await;
        if matches!(child.try_wait(), Ok(None)) {
            in_the_middle += 1;
        }
        child.kill().await.unwrap();
    }
    assert!(
        in_the_middle >= kills.min(2),
        "only {in_the_middle} of {kills} were killed while they worked"
    );
    let last = backup().output().await.unwrap();
    assert!(last.status.success(), "{}", said(&last));
    run(dir, &["repo", "check", "--read-data", "--repository", &url]).await;
    let target = dir.join("target");
    run(
        dir,
        &[
            "restore",
            "latest",
            "--target",
            target.to_str().unwrap(),
            "--repository",
            &url,
        ],
    )
    .await;
    assert_eq!(
        contents(&target.join(source.strip_prefix("/").unwrap())),
        contents(&source)
    );
    restic(&server, "p", &["check", "--read-data"]).await;
}
