//! An S3 server of the sandbox's own: the bucket of the far region, on a directory.
//!
//! It is s3s on s3s-fs, in this process, and ends with it: there is no server to look for after a kill. What it keeps is laid
//! out as the keys say, so that a repository in it can be read as a directory when the server is gone (`--keep`).
//!
//! What it never does: listen on anything but the loopback address, answer a request that is not signed with the key that was
//! made up for this one sandbox, or say that key anywhere but in files only the sandbox's owner can read.

mod objects;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

pub use objects::{Conditions, Objects};

use super::SandboxError;
use super::dir::make_private;
use crate::clock::Clock;
use crate::store::AccessKey;

/// The bucket that is there from the beginning.
pub(super) const BUCKET: &str = "backups";

/// A running server. Dropped means gone, with every connection.
#[derive(Debug)]
pub(super) struct Bucket {
    address: SocketAddr,
    key: AccessKey,
    _serving: AbortOnDropHandle<()>,
}

impl Bucket {
    /// Serves a directory on a port of the system's choice.
    pub(super) async fn start(root: &Path, clock: &Clock) -> Result<Self, SandboxError> {
        let bucket = root.join(BUCKET);
        make_private(&bucket).map_err(|error| SandboxError::local("create", &bucket, error))?;
        let key = AccessKey {
            id: format!("sandbox-{}", random::<4>()),
            secret: SecretString::from(random::<20>()),
        };
        let objects = Objects::new(root, Conditions::Honoured);
        let objects = objects.map_err(|error| SandboxError::local("serve", root, error))?;
        let mut service = S3ServiceBuilder::new(objects);
        service.set_auth(SimpleAuth::from_single(key.id.clone(), key.secret.expose_secret()));
        let unheard = |error| SandboxError::NoPort { error };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unheard)?;
        let address = listener.local_addr().map_err(unheard)?;
        let serving = tokio::spawn(serve(listener, service.build(), clock.clone()));
        let serving = AbortOnDropHandle::new(serving);
        // Where the loopback interface is down one can listen, and nobody gets there.
        drop(tokio::net::TcpStream::connect(address).await.map_err(unheard)?);
        Ok(Self {
            address,
            key,
            _serving: serving,
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a repository in it.
    pub(super) fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}?endpoint=http://{}", self.address)
    }

    /// Who may read and write in it.
    pub(super) fn key(&self) -> &AccessKey {
        &self.key
    }
}

/// So many bytes of the kernel's generator, in letters.
fn random<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    // It does not fail once the system is up, and nothing in the sandbox is worth guessing it.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

async fn serve(listener: TcpListener, service: S3Service, clock: Clock) {
    // Gone with this future.
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Too many files are open; the next attempt may find fewer.
            clock.sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = socket.set_nodelay(true);
        let service = service.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let service = service.clone();
                async move { service.call(request.map(s3s::Body::from)).await }
            });
            // A client that goes away is no problem of the server.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), answer)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use bytes::Bytes;

    use super::*;
    use crate::store::{self, Access};

    fn open(bucket: &Bucket, secret: &str) -> std::sync::Arc<dyn store::Store> {
        let key = AccessKey {
            id: bucket.key.id.clone(),
            secret: SecretString::from(secret),
        };
        let access = Access {
            key: Some(key),
            ..Access::default()
        };
        store::open_with(&bucket.url("repository"), access).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_keeps_what_a_store_promises_and_answers_only_who_has_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("far");
        let bucket = Bucket::start(&root, &Clock::system()).await.unwrap();
        assert!(bucket.address().ip().is_loopback());
        let ours = open(&bucket, bucket.key.secret.expose_secret());
        store::conformance::run(&*ours).await;
        ours.put("data/cd/cdef", Bytes::from_static(b"bytes")).await.unwrap();
        let file = root.join(BUCKET).join("repository/data/cd/cdef");
        assert_eq!(std::fs::read(file).unwrap(), b"bytes", "laid out as the keys say");

        let error = open(&bucket, "guessed").get("data/cd/cdef").await.unwrap_err();
        assert_eq!(error.kind, store::ErrorKind::Permission, "{error}");
        let mut plain = tokio::net::TcpStream::connect(bucket.address()).await.unwrap();
        let request = format!("GET /{BUCKET}/repository/data/cd/cdef HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        plain.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        plain.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 403"),
            "a request that is not signed: {answer}"
        );
        let (url, said) = (bucket.url("repository"), format!("{bucket:?}"));
        assert!(!url.contains(bucket.key.secret.expose_secret()));
        assert!(!said.contains(bucket.key.secret.expose_secret()));

        for made in [&root, &root.join(BUCKET)] {
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(made).unwrap());
            assert_eq!(mode & 0o777, 0o700, "{}", made.display());
        }
        let address = bucket.address();
        drop(bucket);
        // It ends with the value; the task that is aborted lets go of the port soon after.
        let clock = Clock::system();
        let gone = async || tokio::net::TcpStream::connect(address).await.is_err();
        for _ in 0..200 {
            if gone().await {
                return;
            }
            clock.sleep(Duration::from_millis(20)).await;
        }
        panic!("somebody still answers on {address}");
    }
}
