//! A real server process, moto: versions, Object Lock, cold storage classes.
//!
//! `tests/run` installs it under `target/tools` where it is missing; a missing one is a failure, never a skip.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use lifeboat::clock::Clock;

use crate::server::{KEY, SECRET};

/// A running moto; killed with the value.
pub struct Moto {
    child: Child,
    pub endpoint: String,
}

impl Moto {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        let child = Command::new(program())
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server starts");
        let moto = Self {
            child,
            endpoint: format!("http://127.0.0.1:{port}"),
        };
        let clock = Clock::system();
        let began = clock.monotonic();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(clock.elapsed(began) < Duration::from_secs(60), "moto did not come up");
            clock.sleep(Duration::from_millis(50)).await;
        }
        moto
    }

    /// A client that looks at the server past the store.
    pub fn client(&self) -> Client {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .endpoint_url(&self.endpoint)
            .region(Region::new("us-east-1"))
            .force_path_style(true)
            .credentials_provider(
                Credentials::builder()
                    .access_key_id(KEY)
                    .secret_access_key(SECRET)
                    .provider_name("tests")
                    .build(),
            )
            .build();
        Client::from_conf(config)
    }

    /// Makes a bucket, and the address of a repository in it.
    pub async fn bucket(&self, name: &str, lock: bool) -> String {
        let made = self
            .client()
            .create_bucket()
            .bucket(name)
            .object_lock_enabled_for_bucket(lock)
            .send()
            .await;
        made.expect("a bucket");
        format!("s3://{name}/prefix?endpoint={}", self.endpoint)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where moto is: under `target/tools`, or on the path.
fn program() -> PathBuf {
    let ours = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/moto/bin/moto_server");
    if ours.exists() {
        return ours;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join("moto_server"))
        .find(|file| file.exists());
    found.expect(
        "moto_server is missing; install it with: python3 -m venv target/tools/moto && \
         target/tools/moto/bin/pip install 'moto[server,s3]'",
    )
}
