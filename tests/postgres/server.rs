//! The private server that tests and the demo share.

use lifeboat::clock::Clock;
use lifeboat::sandbox::server::{ServerOptions, reap};
use lifeboat::source::postgres::{ask, execute};

use crate::world::{World, server, until};

#[tokio::test]
async fn it_is_never_root_listens_nowhere_and_goes_with_its_handle() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path(), ServerOptions::default()).await;
    let pid = server.pid().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    assert!(!uid.split_whitespace().any(|word| word == "0"), "{uid}");
    let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(words.contains("listen_addresses=\0"), "{words}");
    drop(server);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn a_server_whose_parent_was_killed_is_found_by_its_pid_file() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let server = server(dir.path(), ServerOptions::default()).await;
    let pid = server.pid().unwrap();
    std::mem::forget(server);
    let mark = dir.path().join("server.json");
    let text = std::fs::read_to_string(&mark).unwrap();
    let running = || std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| !words.is_empty());
    // A number that now belongs to somebody else must be left alone, and so must what was left running on purpose.
    std::fs::write(&mark, text.replace(&pid.to_string(), "1")).unwrap();
    reap(dir.path(), &clock);
    std::fs::write(&mark, text.replace("\"kept\":false", "\"kept\":true")).unwrap();
    reap(dir.path(), &clock);
    assert!(running());
    std::fs::write(&mark, &text).unwrap();
    reap(dir.path(), &clock);
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its parent, this test, lives on, so what is left of it is a zombie at most, once it has ended for good.
    until("the server is gone", async || {
        state().is_empty() || state().contains(" Z ")
    })
    .await;
}

#[tokio::test]
async fn a_directory_with_a_long_path_gets_its_socket_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(90));
    std::fs::create_dir(&long).unwrap();
    let server = server(&long, ServerOptions::default()).await;
    let sockets = std::path::PathBuf::from(server.connection().host);
    assert!(!sockets.starts_with(&long) && sockets.exists());
    drop(server);
    assert!(!sockets.exists());
}

#[tokio::test]
async fn an_answer_of_any_size_is_bounded_and_what_nobody_waits_for_is_stopped_on_the_server() {
    let world = World::new().await;
    let login = world.server.login();
    let clock = &world.clock;
    let large = ask(&login, "postgres", "select repeat('x', 30000000)", clock).await;
    assert_eq!(large.unwrap().unwrap().len(), 64 << 10);
    let rows = "select g, repeat('x', 100) from generate_series(1, 300000) g";
    assert_eq!(ask(&login, "postgres", rows, clock).await.unwrap().unwrap(), "1");
    let late = "select 1 / (299999 - g) from generate_series(1, 300000) g";
    ask(&login, "postgres", late, clock).await.unwrap_err();
    for (what, sql) in [("asked", "select pg_sleep(611)"), ("done", "select pg_sleep(612)")] {
        let running = format!("select count(*) from pg_stat_activity where query = '{sql}' and state = 'active'");
        let count = async || ask(&login, "postgres", &running, clock).await.unwrap().unwrap();
        let (task_login, task_clock) = (login.clone(), clock.clone());
        let waiting = tokio::spawn(async move {
            if what == "asked" {
                drop(ask(&task_login, "postgres", sql, &task_clock).await);
            } else {
                drop(execute(&task_login, "postgres", sql, &task_clock).await);
            }
        });
        until("the server sleeps", async || count().await == "1").await;
        waiting.abort();
        until("the server was told to stop", async || count().await == "0").await;
    }
}
