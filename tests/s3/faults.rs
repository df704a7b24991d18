//! What can go wrong between a store and its server, and what is made of it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hyper::Method;
use lifeboat::clock::Clock;
use lifeboat::store::{Access, AccessKey, ErrorKind, Store, StoreError, open_with};
use secrecy::SecretString;

use crate::server::{Action, BUCKET, Conditions, KEY, SECRET, Seen, Server};
use crate::{open, open_at, served, wait_for};

const DATA: Bytes = Bytes::from_static(b"some bytes");

/// Does some work on a clock that is turned by hand, so that waiting takes no time.
async fn turning<T>(clock: &Clock, work: impl Future<Output = T>) -> T {
    let turn = async {
        loop {
            clock.advance(std::time::Duration::from_secs(1));
            Clock::system().sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        done = work => done,
        () = turn => unreachable!("the clock turns for ever"),
    }
}

fn requests(server: &Server, method: &Method) -> usize {
    server.seen().iter().filter(|seen| seen.method == *method).count()
}

/// What a put says when its request is met by an action.
async fn put_met_by(action: Action) -> StoreError {
    let (_dir, server) = served(Conditions::Honoured).await;
    server.rule(move |seen| (seen.method == Method::PUT).then(|| action.clone()));
    open(&server.url("p")).put("data/a", DATA).await.expect_err("it fails")
}

#[tokio::test]
async fn a_server_that_ignores_the_condition_is_found_out_and_replaces_nothing() {
    let (_dir, server) = served(Conditions::Ignored).await;
    let (one, two) = (open(&server.url("p")), open(&server.url("p")));
    one.put("config", DATA).await.unwrap();
    for store in [&one, &two] {
        let error = store.put("config", Bytes::from_static(b"other")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::AlreadyExists);
        assert_eq!(store.get("config").await.unwrap(), DATA);
    }
    // From now on each write looks first, and reads back what it wrote.
    let (heads, gets) = (requests(&server, &Method::HEAD), requests(&server, &Method::GET));
    one.put("wal/1", DATA).await.unwrap();
    assert_eq!(requests(&server, &Method::HEAD), heads + 1);
    assert_eq!(requests(&server, &Method::GET), gets + 1);
}

#[tokio::test]
async fn a_server_that_honours_the_condition_is_asked_once() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let store = open(&server.url("p"));
    store.put("config", DATA).await.unwrap();
    let before = server.seen().len();
    store.put("wal/1", DATA).await.unwrap();
    assert_eq!(server.seen().len(), before + 1, "one request for one object");
}

#[tokio::test]
async fn a_server_that_refuses_the_condition_is_met_by_looking_first() {
    let (_dir, server) = served(Conditions::Refused).await;
    let store = open(&server.url("p"));
    let name = format!("data/ab/{}", hex::encode(sha2_of(&DATA)));
    for key in ["config", name.as_str()] {
        store.put(key, DATA).await.unwrap();
        let error = store.put(key, DATA).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::AlreadyExists, "{key}");
        assert_eq!(store.get(key).await.unwrap(), DATA);
    }
    let large = Bytes::from(vec![7; 33 << 20]);
    store.put("data/large", large.clone()).await.unwrap();
    assert_eq!(
        store.put("data/large", large).await.unwrap_err().kind,
        ErrorKind::AlreadyExists
    );
}

fn sha2_of(data: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(data).into()
}

#[tokio::test]
async fn bytes_that_are_not_what_their_name_says_are_refused_by_the_server() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let store = open(&server.url("p"));
    let name = format!("data/ab/{}", hex::encode(sha2_of(b"something else")));
    assert!(store.put(&name, DATA).await.is_err());
    assert_eq!(store.head(&name).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn every_write_asks_for_the_lock_but_that_of_a_lock_file() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let store = open(&(server.url("p") + "&lock_mode=COMPLIANCE&lock_days=7"));
    store.put("locks/1", DATA).await.unwrap();
    store.put("data/1", DATA).await.unwrap();
    store.put("data/large", Bytes::from(vec![7; 33 << 20])).await.unwrap();
    let asked = |what: fn(&Seen) -> bool| {
        let found: Vec<bool> = server
            .seen()
            .iter()
            .filter(|seen| what(seen))
            .map(|seen| seen.locks)
            .collect();
        assert!(!found.is_empty());
        found
    };
    assert!(
        asked(|seen| seen.method == Method::PUT && seen.path.contains("/locks/"))
            .iter()
            .all(|locks| !locks)
    );
    assert!(
        asked(|seen| seen.method == Method::PUT && seen.path.ends_with("/data/1"))
            .iter()
            .all(|locks| *locks)
    );
    assert_eq!(
        asked(|seen| seen.method == Method::POST && seen.query.starts_with("uploads")),
        [true]
    );
}

#[tokio::test]
async fn a_busy_server_may_be_tried_again() {
    for (status, code) in [
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
    ] {
        let error = put_met_by(Action::Refuse(status, code, "Please reduce your request rate.")).await;
        assert_eq!(error.kind, ErrorKind::Transient, "{code}: {error}");
    }
}

#[tokio::test]
async fn a_put_that_is_cut_may_have_happened_and_is_met_again() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let store = open(&server.url("p"));
    server.rule(|seen| (seen.method == Method::PUT).then_some(Action::DoAndHang));
    let name = format!("index/{}", hex::encode(sha2_of(&DATA)));
    assert!(store.put(&name, DATA).await.unwrap_err().retryable());
    server.rule(|_| None);
    assert_eq!(store.put(&name, DATA).await.unwrap_err().kind, ErrorKind::AlreadyExists);
    assert_eq!(store.get(&name).await.unwrap(), DATA);
}

#[tokio::test]
async fn a_large_put_that_is_cut_in_a_part_leaves_no_parts() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let store = open(&server.url("p"));
    server.rule(|seen| seen.query.contains("partNumber=2").then_some(Action::Hang));
    let error = store
        .put("data/large", Bytes::from(vec![7; 40 << 20]))
        .await
        .unwrap_err();
    assert!(error.retryable(), "{error}");
    wait_for("the upload is aborted", || requests(&server, &Method::DELETE) == 1).await;
    assert_eq!(store.head("data/large").await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_large_put_that_is_dropped_leaves_no_parts() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let store = open(&server.url("p"));
    server.rule(|seen| seen.query.contains("partNumber=2").then_some(Action::Silence));
    let put = store.put("data/large", Bytes::from(vec![7; 40 << 20]));
    tokio::select! {
        done = put => panic!("{done:?}"),
        () = wait_for("a part is on its way", || server.seen().iter().any(|seen| seen.query.contains("partNumber=2"))) => {}
    }
    wait_for("the upload is aborted", || requests(&server, &Method::DELETE) == 1).await;
}

#[tokio::test]
async fn only_uploads_of_dead_processes_are_tidied_away() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let now = Clock::system().now();
    let upload = |id: &str, began: DateTime<Utc>| {
        let began = began.format("%Y-%m-%dT%H:%M:%S.000Z");
        format!("<Upload><Key>p/data/x</Key><UploadId>{id}</UploadId><Initiated>{began}</Initiated></Upload>")
    };
    let body = format!(
        "<ListMultipartUploadsResult>{}{}</ListMultipartUploadsResult>",
        upload("old", now - chrono::Duration::hours(25)),
        upload("new", now - chrono::Duration::hours(23)),
    );
    server.rule(move |seen| match seen.method {
        Method::GET => Some(Action::Answer(200, Vec::new(), body.clone())),
        _ => Some(Action::Answer(204, Vec::new(), String::new())),
    });
    assert_eq!(open(&server.url("p")).tidy().await.unwrap(), 1);
    let aborted: Vec<Seen> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.method == Method::DELETE)
        .collect();
    assert!(
        aborted.len() == 1 && aborted[0].query.contains("uploadId=old"),
        "{aborted:?}"
    );
}

#[tokio::test]
async fn a_download_that_is_cut_or_stands_still_may_be_tried_again() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let clock = Clock::manual(DateTime::<Utc>::UNIX_EPOCH);
    let store = open_at(&server.url("p"), clock.clone());
    store.put("data/a", Bytes::from(vec![7; 100_000])).await.unwrap();
    server.rule(|seen| (seen.method == Method::GET).then_some(Action::Cut(5000)));
    for error in [
        store.get("data/a").await.unwrap_err(),
        store.get_range("data/a", 10, 50_000).await.unwrap_err(),
    ] {
        assert!(error.retryable(), "{error}");
    }
    server.rule(|seen| (seen.method == Method::GET).then_some(Action::Silence));
    let error = turning(&clock, store.get("data/a")).await.unwrap_err();
    assert!(
        error.retryable() && error.message.contains("no answer for 30 s"),
        "{error}"
    );
    server.rule(|seen| (seen.method == Method::PUT).then_some(Action::Silence));
    let error = turning(&clock, store.put("data/b", DATA)).await.unwrap_err();
    assert!(error.retryable() && error.message.contains("stood still"), "{error}");
}

#[tokio::test]
async fn a_server_that_ignores_ranges_does_not_pass_for_one_that_has_them() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let store = open(&server.url("p"));
    server.rule(|_| Some(Action::Answer(200, Vec::new(), "0123456789".to_owned())));
    assert!(store.get_range("data/a", 3, 4).await.is_err());
    assert!(store.get_range("data/a", 0, 4).await.is_err());
    assert_eq!(
        store.get_range("data/a", 5, 6).await.unwrap_err().kind,
        ErrorKind::ShortRead
    );
    let other = vec![("content-range", "bytes 0-3/10".to_owned())];
    server.rule(move |_| Some(Action::Answer(206, other.clone(), "0123".to_owned())));
    assert!(store.get_range("data/a", 3, 4).await.is_err());
}

fn page(keys: &[&str], next: Option<&str>) -> String {
    let contents = |key: &&str| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>");
    let contents: String = keys.iter().map(contents).collect();
    let next = match next {
        Some("") => "<IsTruncated>true</IsTruncated>".to_owned(),
        Some(token) => format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"),
        None => "<IsTruncated>false</IsTruncated>".to_owned(),
    };
    format!("<ListBucketResult>{next}{contents}</ListBucketResult>")
}

/// What a listing says whose second page is `second`.
async fn listing(second: Action) -> Result<usize, StoreError> {
    let (_dir, server) = served(Conditions::Honoured).await;
    server.rule(move |seen| {
        let first = page(&["p/data/a", "p/data/b"], Some("two"));
        Some(if seen.query.contains("continuation-token=two") {
            second.clone()
        } else {
            Action::Answer(200, Vec::new(), first)
        })
    });
    open(&server.url("p")).list("data/").await.map(|found| found.len())
}

#[tokio::test]
async fn a_listing_is_whole_or_an_error() {
    let answer = |body: String| Action::Answer(200, Vec::new(), body);
    assert_eq!(listing(answer(page(&["p/data/c"], None))).await.unwrap(), 3);
    for (second, retryable) in [
        (Action::Refuse(503, "SlowDown", ""), true),
        (Action::Refuse(500, "InternalError", ""), true),
        (Action::Hang, true),
        (answer(page(&["p/data/c"], Some("two"))), false),
        (answer(page(&["p/data/c"], Some(""))), false),
        (answer(page(&["p/data/b"], None)), false),
        (answer(page(&["p/data/a"], None)), false),
        (answer(page(&["q/data/c"], None)), false),
        (answer(page(&["p/index/c"], None)), false),
        (answer("<ListBucketResult><Contents><Key>p/da".to_owned()), false),
        (answer("<html>welcome to our proxy</html>".to_owned()), false),
    ] {
        let error = listing(second.clone()).await.expect_err("a broken listing");
        assert_eq!(error.retryable(), retryable, "{second:?}: {error}");
    }
}

fn open_as(url: &str, id: &str, secret: &str) -> std::sync::Arc<dyn Store> {
    let key = Some(AccessKey {
        id: id.to_owned(),
        secret: SecretString::from(secret.to_owned()),
    });
    let access = Access {
        key,
        ..Access::default()
    };
    open_with(url, access).unwrap()
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_secret_are_told_apart_also_by_a_head_request() {
    let (_dir, server) = served(Conditions::Honoured).await;
    for (id, secret, hint) in [
        ("nobody", SECRET, "does not know this access key"),
        (KEY, "wrong", "secret key"),
    ] {
        let store = open_as(&server.url("p"), id, secret);
        for error in [
            store.head("config").await.unwrap_err(),
            store.get("config").await.unwrap_err(),
            store.list("data/").await.unwrap_err(),
            store.put("config", DATA).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::Permission, "{error}");
            assert!(error.hint().unwrap().contains(hint), "{error}: {:?}", error.hint());
            assert!(!format!("{error:?}").contains("lifeboat-secret"));
        }
    }
}

#[tokio::test]
async fn who_may_read_but_not_write_is_told_so() {
    let (_dir, server) = served(Conditions::Honoured).await;
    server.rule(|seen| (seen.method == Method::PUT).then_some(Action::Refuse(403, "AccessDenied", "Access Denied")));
    let error = open(&server.url("p")).put("data/a", DATA).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ReadOnly);
    assert!(error.hint().unwrap().contains("s3:PutObject"));
    server.rule(|_| Some(Action::Refuse(403, "AccessDenied", "Access Denied")));
    let error = open(&server.url("p")).put("data/a", DATA).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permission);
}

#[tokio::test]
async fn the_right_region_is_named() {
    let malformed = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'";
    let error = put_met_by(Action::Refuse(400, "AuthorizationHeaderMalformed", malformed)).await;
    assert!(error.hint().unwrap().contains("region=eu-west-1"), "{error:?}");
    let (_dir, server) = served(Conditions::Honoured).await;
    let header = vec![("x-amz-bucket-region", "ap-south-1".to_owned())];
    server.rule(move |_| Some(Action::Answer(301, header.clone(), String::new())));
    let error = open(&server.url("p")).head("config").await.unwrap_err();
    assert!(error.hint().unwrap().contains("region=ap-south-1"), "{error:?}");
}

#[tokio::test]
async fn a_wrong_clock_is_told_by_how_much() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let date = (Clock::system().now() + chrono::Duration::minutes(90)).to_rfc2822();
    let body = "<Error><Code>RequestTimeTooSkewed</Code><Message>Too different.</Message></Error>".to_owned();
    server.rule(move |_| Some(Action::Answer(403, vec![("date", date.clone())], body.clone())));
    let store = open(&server.url("p"));
    let error = store.get("config").await.unwrap_err();
    assert!(error.message.contains("behind the server's"), "{error}");
    assert!(error.hint().unwrap().contains("timedatectl"));
    assert!(store.server_time().unwrap() > Clock::system().now() + chrono::Duration::minutes(80));
}

#[tokio::test]
async fn a_missing_bucket_is_no_missing_object() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let url = server.url("p").replace(BUCKET, "nowhere");
    let store = open(&url);
    for error in [
        store.create().await.unwrap_err(),
        store.list("data/").await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Other, "{error}");
        assert!(error.hint().unwrap().contains("create the bucket nowhere"), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_there_may_be_tried_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = open(&format!("s3://b/p?endpoint=http://127.0.0.1:{port}"))
        .get("config")
        .await
        .unwrap_err();
    assert!(error.retryable(), "{error}");
    assert!(error.hint().unwrap().contains("endpoint="), "{error:?}");
}

#[tokio::test]
async fn a_full_server_says_so() {
    let error = put_met_by(Action::Refuse(
        507,
        "XMinioStorageFull",
        "Storage backend has reached its minimum free drive threshold.",
    ))
    .await;
    assert_eq!(error.kind, ErrorKind::NoSpace);
}
