//! The suite that every store passes, on S3.

use lifeboat::store::conformance;

use crate::moto::Moto;
use crate::server::Conditions;
use crate::{open, served};

#[tokio::test]
async fn the_server_in_this_process() {
    let (_dir, server) = served(Conditions::Honoured).await;
    conformance::run(&*open(&server.url("a/prefix"))).await;
}

#[tokio::test]
async fn the_whole_bucket_as_a_store() {
    let (_dir, server) = served(Conditions::Honoured).await;
    let url = format!("s3:{}/{}", server.endpoint(), crate::server::BUCKET);
    conformance::run(&*open(&url)).await;
}

#[tokio::test]
async fn a_real_server() {
    let moto = Moto::start().await;
    let url = moto.bucket("backups", false).await;
    conformance::run(&*open(&url)).await;
}
