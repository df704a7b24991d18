//! An S3 server on a directory, for benches and for trying things out by hand.
//!
//! ```text
//! cargo run --example s3-server -- DIRECTORY [--port N] [--latency MS]
//! ```
//!
//! It prints the address of a repository on it, and then serves until it is ended. The credentials are
//! `AWS_ACCESS_KEY_ID=lifeboat` and `AWS_SECRET_ACCESS_KEY=lifeboat-secret`; the bucket is `backups`.

#[allow(dead_code, reason = "each of its users needs a part of it")]
mod server;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use server::{BUCKET, Conditions, Server};

/// Serves a directory as S3.
#[derive(Debug, Parser)]
struct Options {
    /// Where the objects are kept.
    directory: PathBuf,
    /// The port; a free one when it is 0.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Milliseconds before each request is looked at, as if the server were far away.
    #[arg(long, default_value_t = 0)]
    latency: u64,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let latency = Duration::from_millis(options.latency);
    let mut server = Server::start(&options.directory, options.port, latency, Conditions::Honoured).await;
    let mut out = std::io::stdout();
    // Who reads the address may close the pipe after it.
    let _ = writeln!(out, "s3://{BUCKET}/repository?endpoint={}", server.endpoint());
    let _ = out.flush();
    server.forever().await;
}
