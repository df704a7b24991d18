//! Who gets the place, and who gets an answer.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::fake::Fake;
use super::{ana, on_socket};
use crate::api::{BindError, Client, ErrorKind, Server, Socket};
use crate::clock::Clock;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn only_the_owner_can_reach_it_and_it_is_gone_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/lifeboat/agent.sock");
    let socket = Socket::bind(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_a_killed_agent_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    // A listener that is closed without its file being removed is what kill -9 leaves.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let (client, _server) = on_socket(&Fake::new(), &path).await;
    assert!(client.overview().await.is_ok());
}

#[tokio::test]
async fn a_live_agent_is_never_pushed_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let (client, _server) = on_socket(&Fake::new(), &path).await;
    assert!(matches!(Socket::bind(&path).await, Err(BindError::InUse(_))));
    // Nor one that does not hold our lock.
    std::fs::remove_file(dir.path().join("a.sock.lock")).unwrap();
    assert!(matches!(Socket::bind(&path).await, Err(BindError::InUse(_))));
    assert!(client.overview().await.is_ok());
}

#[tokio::test]
async fn of_many_that_start_at_once_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let racers: Vec<_> = (0..16)
        .map(|_| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                // The runtime outlives the race, so that the winner goes on listening.
                let won = runtime.block_on(Socket::bind(&path));
                (won, runtime)
            })
        })
        .collect();
    let mut ends = Vec::new();
    for racer in racers {
        ends.push(racer.await.unwrap());
    }
    let winners = ends.iter().filter(|(won, _)| won.is_ok()).count();
    assert_eq!(winners, 1);
    assert!(
        ends.iter()
            .all(|(won, _)| matches!(won, Ok(_) | Err(BindError::InUse(_))))
    );
    tokio::task::spawn_blocking(move || drop(ends)).await.unwrap();
}

#[tokio::test]
async fn another_file_in_its_place_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Socket::bind(&path).await, Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_directory_others_may_write_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = dir.path().join("a.sock");
    assert!(matches!(Socket::bind(&path).await, Err(BindError::OpenDirectory(_))));
    let long = dir.path().join("x".repeat(120));
    assert!(matches!(Socket::bind(&long).await, Err(BindError::TooLong(_))));
}

#[tokio::test]
async fn other_users_get_no_answer() {
    let own = nix::unistd::geteuid().as_raw();
    assert!(super::super::admits(own) && super::super::admits(0));
    assert!(!super::super::admits(own + 1));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let server = Server::new(Fake::new(), Clock::system(), false);
    let socket = Socket::bind(&path).await.unwrap();
    tokio::spawn(async move { server.serve_admitting(socket, |_| false).await });
    let error = Client::connect(&path, ana()).overview().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
}

#[tokio::test]
async fn without_an_agent_the_client_says_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::connect(&dir.path().join("none.sock"), ana());
    let error = client.overview().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.hint.unwrap().contains("lifeboat agent run"));
}

#[tokio::test]
async fn a_client_outlives_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let fake = Fake::new();
    let server = Server::new(Arc::clone(&fake), Clock::system(), false);
    let socket = Socket::bind(&path).await.unwrap();
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve_socket(socket).await }
    });
    let client = Client::connect(&path, ana());
    let mut stream = client.stream().await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    client.stop().await.unwrap();
    assert_eq!(fake.asked(), ["stop asked by ana@laptop"]);
    assert!(server.stopped().is_cancelled());
    serving.await.unwrap();
    assert!(stream.next().await.is_none(), "the stream ends with the agent");
    assert_eq!(client.overview().await.unwrap_err().kind, ErrorKind::Unreachable);
    let (_, _server) = on_socket(&fake, &path).await;
    assert!(
        client.overview().await.is_ok(),
        "the next request after a restart simply works"
    );
}
