//! Uploads in parts that nobody waits for any more: begun or about to be, none is left in the bucket.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use lifeboat::clock::Clock;

use crate::moto::Moto;
use crate::server::{Conditions, Server};
use crate::{open, wait_for};

fn large() -> Bytes {
    Bytes::from(vec![7; 200 << 20])
}

#[tokio::test]
async fn an_upload_that_is_dropped_leaves_no_parts_on_a_real_server() {
    let moto = Moto::start().await;
    let store = open(&moto.bucket("parts", false).await);
    let put = tokio::spawn(async move { store.put("data/large", large()).await });
    let client = moto.client();
    let uploads = || async {
        let listed = client.list_multipart_uploads().bucket("parts").send().await;
        listed.unwrap().uploads().len()
    };
    let clock = Clock::system();
    let began = clock.monotonic();
    while uploads().await == 0 {
        assert!(
            clock.elapsed(began) < Duration::from_mins(1) && !put.is_finished(),
            "no upload was seen"
        );
    }
    put.abort();
    let began = clock.monotonic();
    while uploads().await > 0 {
        assert!(clock.elapsed(began) < Duration::from_mins(1), "uploads are left");
        clock.sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_upload_that_is_dropped_before_the_server_has_said_which_it_is_is_aborted_too() {
    let dir = tempfile::tempdir().unwrap();
    // It thinks about every request for a while: whoever asks is gone by the time that it answers.
    let server = Server::start(dir.path(), 0, Duration::from_millis(300), Conditions::Honoured).await;
    let store = open(&server.url("slow"));
    let put = tokio::spawn(async move { store.put("data/large", large()).await });
    let asked = |method: Method, word: &'static str| {
        let seen = server.seen();
        seen.iter()
            .any(|seen| seen.method == method && seen.query.contains(word))
    };
    wait_for("the upload is asked for", || asked(Method::POST, "uploads")).await;
    put.abort();
    wait_for("it is aborted", || asked(Method::DELETE, "uploadId")).await;
    assert!(!asked(Method::PUT, "partNumber"), "nothing was written to it");
}
