//! One request, one answer.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::fake::Fake;
use super::{ana, in_memory, on_socket};
use crate::api::types::Query;
use crate::api::{Client, ErrorKind, Server, pipe};
use crate::clock::Clock;
use crate::domain::command::Command;
use crate::domain::recovery::{RecoveryRequest, RecoveryTarget};
use crate::domain::snapshot::EvidenceLevel;

fn run(job: &str) -> Command {
    Command::RunJob { job: job.into() }
}

async fn everything(client: &Client, fake: &Arc<Fake>) {
    assert_eq!(client.overview().await.unwrap(), super::fake::overview(1));
    let query = Query {
        job: Some("orders & co = ä/+%".to_owned()),
        since: Some("2026-03-01T12:00:00.123Z".parse().unwrap()),
        evidence: Some(EvidenceLevel::Probed),
        limit: Some(7),
        ..Query::default()
    };
    assert_eq!(client.runs(&query).await.unwrap().next.as_deref(), Some("next"));
    assert_eq!(
        fake.asked().pop().unwrap(),
        format!("runs {query:?}"),
        "the query arrives as it was"
    );
    client.snapshots(&Query::default()).await.unwrap();
    assert_eq!(fake.asked().pop().unwrap(), format!("snapshots {:?}", Query::default()));
    client.recoveries(&query).await.unwrap();
    client.alerts(&query).await.unwrap();
    assert_eq!(client.journal(&query).await.unwrap().items.len(), 1);
    let trash = Query {
        trash: Some(true),
        ..Query::default()
    };
    client.maintenance(&trash).await.unwrap();
    assert_eq!(fake.asked().pop().unwrap(), format!("maintenance {trash:?}"));
    assert_eq!(client.retention("a b/?").await.unwrap().job.as_str(), "a b/?");
    assert_eq!(client.run_log("run 1/?").await.unwrap(), "log of run 1/?\n");
    let tree = client.snapshot_tree("abc", "/a b/ü?&x=%2F").await.unwrap();
    assert_eq!(tree[0].name, "abc:/a b/ü?&x=%2F");
    let content = client.snapshot_content("abc", "/x", 9).await.unwrap();
    assert_eq!(content, b"/x\x00\xff9");
    assert_eq!(client.command(run("orders")).await.unwrap().seq, 7);
    assert_eq!(fake.asked().pop().unwrap(), "ana run job");
    assert_eq!(client.practice("drop-table").await.unwrap(), "broke drop-table");
}

#[tokio::test]
async fn everything_arrives_over_the_pipe() {
    let fake = Fake::new();
    let (client, _server) = in_memory(&fake, Clock::system());
    everything(&client, &fake).await;
}

#[tokio::test]
async fn everything_arrives_over_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let (client, _server) = on_socket(&fake, &dir.path().join("a.sock")).await;
    everything(&client, &fake).await;
}

#[tokio::test]
async fn refusals_and_failures_keep_their_kind_and_hint() {
    let fake = Fake::new();
    let (client, _server) = in_memory(&fake, Clock::system());
    for (job, kind, hint) in [
        ("missing", ErrorKind::NotFound, Some("look")),
        ("busy", ErrorKind::Conflict, None),
        ("danger", ErrorKind::Interlock, Some("choose another target")),
        ("broken", ErrorKind::Failed, Some("make room")),
    ] {
        let error = client.command(run(job)).await.unwrap_err();
        assert_eq!((error.kind, error.hint.as_deref()), (kind, hint));
    }
    let request = RecoveryRequest {
        snapshot: "abc".into(),
        repository: "vault".into(),
        target: RecoveryTarget::Scratch {
            level: EvidenceLevel::Probed,
        },
        instant: None,
        reason: None,
        plan_digest: None,
    };
    let error = client.plan(&request).await.unwrap_err();
    assert!(
        error.is_unreachable(),
        "a stopping agent is worth asking again: {error:?}"
    );
}

#[tokio::test]
async fn a_read_only_client_changes_nothing_but_may_plan() {
    let fake = Fake::new();
    let (client, _server) = in_memory(&fake, Clock::system());
    let client = client.read_only(true);
    for error in [
        client.command(run("orders")).await.unwrap_err(),
        client.practice("x").await.unwrap_err(),
        client.stop().await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::ReadOnly);
    }
    assert!(fake.asked().is_empty(), "nothing reached the engine");
    assert!(client.overview().await.unwrap().read_only);
    let mut stream = client.stream().await.unwrap();
    let first = serde_json::to_value(stream.next().await.unwrap().unwrap()).unwrap();
    assert_eq!(first["overview"]["read_only"], true);
}

#[tokio::test]
async fn a_read_only_agent_holds_every_client_to_it() {
    let fake = Fake::new();
    let server = Server::new(Arc::clone(&fake), Clock::system(), true);
    let (pipe, listener) = pipe();
    tokio::spawn(async move { server.serve_pipe(listener).await });
    let client = Client::in_memory(pipe, ana());
    assert_eq!(
        client.command(run("orders")).await.unwrap_err().kind,
        ErrorKind::ReadOnly
    );
    assert!(fake.asked().is_empty());
}

/// Sends raw bytes and returns the whole answer.
async fn raw(path: &std::path::Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // The server may hang up before it has taken all of it.
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn garbage_ends_in_an_answer_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let fake = Fake::new();
    let (client, _server) = on_socket(&fake, &path).await;
    let nested = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let unknown = br#"{"actor":{"name":"a","host":"b","via":"c"},"command":"erase_everything"}"#;
    for (request, status) in [
        (post("/v1/commands", b"{"), "400"),
        (post("/v1/commands", b""), "400"),
        (post("/v1/commands", &[0xff, 0xfe, 0x00]), "400"),
        (post("/v1/commands", &nested), "400"),
        (post("/v1/commands", unknown), "400"),
        (post("/v1/commands", &vec![b' '; 3 << 20]), "400"),
        (post("/v1/plan", b"[]"), "400"),
        (b"GET /v1/runs?limit=many HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "400"),
        (
            b"GET /v1/snapshots?since=yesterday HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            "400",
        ),
        (b"GET /v1/runs/%ff/log HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "400"),
        (b"GET /v2/overview HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "404"),
        (b"DELETE /v1/overview HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "404"),
        (b"\x16\x03\x01 not http at all\r\n\r\n".to_vec(), "400"),
    ] {
        let answer = raw(&path, &request).await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{shown:?} gave {answer:?}"
        );
        if !shown.contains("not http") {
            assert!(answer.contains(r#""kind":"invalid""#), "{shown:?} gave {answer:?}");
        }
    }
    assert!(fake.asked().is_empty(), "nothing reached the engine");
    assert!(client.overview().await.is_ok());
}

#[tokio::test]
async fn a_page_is_never_longer_than_a_thousand_rows() {
    let fake = Fake::new();
    let (client, _server) = in_memory(&fake, Clock::system());
    let query = Query {
        limit: Some(u32::MAX),
        ..Query::default()
    };
    client.runs(&query).await.unwrap();
    assert!(fake.asked()[0].contains("limit: Some(1000)"), "{:?}", fake.asked());
}
