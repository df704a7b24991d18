//! From an address to a client: transport, credentials, region; and the first look at the bucket.
//!
//! Credentials are looked for where every program for AWS looks: the given key, the environment, the profile, a web
//! identity, the container, the machine. There being none is found here and not at some later request, so that it is told as
//! what it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    AppName, BehaviorVersion, ConfigBag, Credentials, Intercept, ProvideCredentials, Region,
    RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::BoxError;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use super::answer::{chain, http_date};
use super::{AccessKey, Bucket, multipart};
use crate::domain::address::S3Address;
use crate::store::{ErrorKind, StoreResult};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// A connection that was idle for longer is not used again: the servers close theirs after about 20 s.
const IDLE: Duration = Duration::from_secs(15);
/// The region of servers that have none.
const ANYWHERE: &str = "us-east-1";

/// Why there is no client.
pub(super) struct Unconnected {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// Makes a client of an address.
pub(super) async fn client(
    address: &S3Address,
    key: Option<&AccessKey>,
    server_time: Arc<Mutex<Option<DateTime<Utc>>>>,
) -> Result<Client, Unconnected> {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .pool_idle_timeout(IDLE)
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
        // Both directions are watched here, by progress and on our own clock; see `body` and `read`.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Ok(name) = AppName::new("lifeboat") {
        loader = loader.app_name(name);
    }
    loader = match (&address.region, &address.endpoint) {
        (Some(region), _) => loader.region(Region::new(region.clone())),
        // Only Amazon's own machines are asked which region they are in.
        (None, Some(_)) => loader.region(
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(Region::new(ANYWHERE)),
        ),
        (None, None) => loader.region(RegionProviderChain::default_provider().or_else(Region::new(ANYWHERE))),
    };
    if let Some(profile) = &address.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(key) = key {
        let given = Credentials::builder()
            .access_key_id(&key.id)
            .secret_access_key(key.secret.expose_secret())
            .provider_name("the repository's definition")
            .build();
        loader = loader.credentials_provider(given);
    }
    let shared = loader.load().await;
    match shared.credentials_provider() {
        Some(provider) => drop(provider.provide_credentials().await.map_err(no_credentials)?),
        None => return Err(no_credentials("none are configured")),
    }
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(address.path_style)
        // Each write names its SHA-256 itself; of reads, whole ones ask for what the server has.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(Watch(server_time));
    if let Some(endpoint) = &address.endpoint {
        config = config.endpoint_url(endpoint);
    }
    let config = config.build();
    // Reads the certificates of the system.
    tokio::task::spawn_blocking(move || Client::from_conf(config))
        .await
        .map_err(|error| Unconnected {
            kind: ErrorKind::Other,
            message: format!("the client could not be made: {error}"),
            hint: Some("check that the system's certificates can be read (ca-certificates)".to_owned()),
        })
}

fn no_credentials(error: impl Into<BoxError>) -> Unconnected {
    Unconnected {
        kind: ErrorKind::Permission,
        message: format!("no credentials were found: {}", chain(&*error.into())),
        hint: Some(
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile=… in the address, or give access_key_id and \
             secret_access_key in the [repository] section"
                .to_owned(),
        ),
    }
}

/// Looks whether the bucket is there and may be used. Buckets themselves are made by the operator, who knows the region,
/// the lock and the rules they need.
pub(super) async fn create(bucket: &Bucket) -> StoreResult<()> {
    let client = bucket.client("create", "").await?;
    // A listing and not a head request: its refusal has a body that says why.
    let request = client
        .list_objects_v2()
        .bucket(&bucket.address.bucket)
        .prefix(bucket.full("config"))
        .max_keys(1);
    bucket
        .send(request.send())
        .await
        .map_err(|failure| bucket.fail("create", "", failure))?;
    // What an earlier, interrupted life left behind is a matter of money, not of correctness.
    drop(multipart::tidy(bucket).await);
    Ok(())
}

/// Notes the time of each answer.
#[derive(Debug)]
struct Watch(Arc<Mutex<Option<DateTime<Utc>>>>);

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "server time"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").and_then(http_date);
        if date.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        }
        Ok(())
    }
}
