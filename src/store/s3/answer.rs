//! What a failed request means: its class, one line for people, and what the operator should do.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use chrono::{DateTime, Utc};

use crate::domain::address::S3Address;
use crate::store::{ErrorKind, StoreError};

/// A failed request, before it is told to anybody.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure {
    /// The HTTP status; 0 when there was no answer.
    pub(super) status: u16,
    /// The word of the server for what went wrong; empty when it said none.
    pub(super) code: String,
    /// The sentence of the server, or of the transport.
    pub(super) message: String,
    /// The region the server says the bucket is in.
    region: Option<String>,
    /// The time by the server's clock.
    date: Option<DateTime<Utc>>,
    /// Whether the request never got an answer.
    unanswered: bool,
}

impl Failure {
    /// Reads what the client reports.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let answered = error.raw_response().map(|response| {
            let header = |name: &str| response.headers().get(name).map(str::to_owned);
            Self {
                status: response.status().as_u16(),
                region: header("x-amz-bucket-region"),
                date: header("date").and_then(|date| http_date(&date)),
                ..Self::default()
            }
        });
        let mut failure = answered.unwrap_or_default();
        failure.unanswered = failure.status == 0;
        match error {
            SdkError::ServiceError(service) => {
                service.err().code().unwrap_or_default().clone_into(&mut failure.code);
                service
                    .err()
                    .message()
                    .unwrap_or_default()
                    .clone_into(&mut failure.message);
            }
            // Half an answer, or one that is none of the service: a proxy's page, a connection cut in the headers.
            SdkError::ResponseError(_) if !(400..500).contains(&failure.status) => failure.unanswered = true,
            _ => {}
        }
        if failure.message.is_empty() && failure.code.is_empty() {
            failure.message = chain(error);
        }
        failure
    }

    /// A request that was given up because nothing was heard or nothing moved.
    pub(super) fn silence(what: &str, after: Duration) -> Self {
        Self::cut(format!("{what} for {} s", after.as_secs()))
    }

    /// An answer that ended too early.
    pub(super) fn cut(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            unanswered: true,
            ..Self::default()
        }
    }

    /// Whether the server wants fewer requests.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.status, 429 | 503)
            || matches!(
                self.code.as_str(),
                "SlowDown" | "ServiceUnavailable" | "RequestLimitExceeded"
            )
            || self.code.starts_with("Throttl")
    }

    /// Whether the object is not there; a missing bucket is something else.
    pub(super) fn is_missing(&self) -> bool {
        self.status == 404 && matches!(self.code.as_str(), "" | "NoSuchKey" | "NotFound" | "404")
    }

    /// Whether the condition of a write was not met: there is an object.
    pub(super) fn is_there_already(&self) -> bool {
        self.status == 412 || self.code == "PreconditionFailed"
    }

    /// Whether the server does not know what was asked of it.
    pub(super) fn is_not_implemented(&self) -> bool {
        self.status == 501 || self.code == "NotImplemented"
    }

    /// Whether the server agreed, in words that cannot be read.
    pub(super) fn is_garbled_success(&self) -> bool {
        (200..300).contains(&self.status) && self.code.is_empty()
    }

    /// Whether the credentials are good, but not for this.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.code.as_str(), "AccessDenied" | "AllAccessDisabled" | "Forbidden")
            || (self.status == 403 && self.code.is_empty())
    }

    /// Whether a head request got the short answer that says nothing but "no".
    pub(super) fn is_mute(&self) -> bool {
        self.code.len() <= 3 && matches!(self.status, 301 | 307 | 400 | 403)
    }

    /// The class, and the remedy where there is a better one than the class has.
    fn class(&self, address: &S3Address) -> (ErrorKind, Option<String>) {
        use ErrorKind::{
            AlreadyExists, Cold, Locked, NoSpace, NotFound, Other, Permission, ShortRead, Transient, Unsupported,
        };
        let hint = |text: &str| Some(text.to_owned());
        match self.code.as_str() {
            "NoSuchBucket" => (
                Other,
                Some(format!("create the bucket {} first, or check its name", address.bucket)),
            ),
            "InvalidAccessKeyId" | "NotSignedUp" => (
                Permission,
                hint("the server does not know this access key: check AWS_ACCESS_KEY_ID, the profile or access_key_id"),
            ),
            "SignatureDoesNotMatch" => (
                Permission,
                hint(
                    "the secret key does not belong to the access key: check AWS_SECRET_ACCESS_KEY or secret_access_key",
                ),
            ),
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
                (Permission, hint("the credentials have expired: renew them"))
            }
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "IllegalLocationConstraintException"
            | "InvalidRegionName" => (Other, Some(self.right_region())),
            "RequestTimeTooSkewed" => (
                Other,
                hint(
                    "set this machine's clock (timedatectl set-ntp true): the server refuses signatures from another time",
                ),
            ),
            "InvalidObjectState" => (Cold, None),
            "PreconditionFailed" => (AlreadyExists, None),
            "QuotaExceeded"
            | "XMinioStorageFull"
            | "XMinioAdminBucketQuotaExceeded"
            | "InsufficientCapacity"
            | "InsufficientStorage" => (NoSpace, None),
            "InvalidStorageClass" => (
                Unsupported,
                hint("this server has no such storage class: change class_data or class_meta"),
            ),
            "ObjectLockConfigurationNotFoundError" => (Unsupported, hint(NO_LOCK)),
            "InvalidRequest" if self.message.contains("Object Lock") => (Unsupported, hint(NO_LOCK)),
            _ if self.is_busy() => (
                Transient,
                hint("the server is busy: fewer requests at one time (parallel=4) may help"),
            ),
            _ if self.is_retention() => (Locked, None),
            "ConditionalRequestConflict"
            | "OperationAborted"
            | "RequestTimeout"
            | "InternalError"
            | "BadDigest"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch"
            | "IncompleteBody" => (Transient, None),
            _ if self.is_missing() => (NotFound, None),
            _ if self.is_denied() => (
                Permission,
                hint(
                    "allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket on the bucket to these credentials",
                ),
            ),
            _ if self.unanswered => self.transport(),
            _ => match self.status {
                301 | 307 => (Other, Some(self.right_region())),
                412 => (AlreadyExists, None),
                416 => (ShortRead, None),
                501 => (Unsupported, hint("this server cannot do that")),
                507 => (NoSpace, None),
                408 | 409 | 500 | 502 | 504 => (Transient, None),
                _ => (Other, None),
            },
        }
    }

    /// A connection that failed: most ends are worth another try, a certificate nobody trusts is not.
    fn transport(&self) -> (ErrorKind, Option<String>) {
        let said = self.message.to_lowercase();
        if said.contains("certificate") {
            let hint = "the server's certificate is not trusted: install its authority's, or check endpoint=";
            return (ErrorKind::Other, Some(hint.to_owned()));
        }
        if said.contains("corrupt message") || said.contains("invalidcontenttype") {
            let hint = "the server does not speak TLS there: write endpoint=http://…, or check the port";
            return (ErrorKind::Other, Some(hint.to_owned()));
        }
        let refused = ["refused", "lookup", "resolve", "dns error", "unreachable"];
        let hint = refused.iter().any(|word| said.contains(word)).then(|| {
            "check endpoint= in the address, and that the server runs and can be reached from here".to_owned()
        });
        (ErrorKind::Transient, hint)
    }

    fn right_region(&self) -> String {
        // "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'"
        let named = || self.message.split("expecting '").nth(1)?.split('\'').next();
        match self.region.as_deref().or_else(named) {
            Some(region) => format!("write region={region} in the address"),
            None => "write the region of the bucket in the address: region=…".to_owned(),
        }
    }

    /// Whether the server keeps the object because of a retention or a legal hold.
    fn is_retention(&self) -> bool {
        let said = self.message.to_lowercase();
        self.code == "ObjectLocked"
            || (matches!(
                self.code.as_str(),
                "AccessDenied" | "InvalidRequest" | "MethodNotAllowed"
            ) && ["worm", "object lock", "retention", "legal hold"]
                .iter()
                .any(|word| said.contains(word)))
    }

    /// Makes the error that is reported.
    pub(super) fn told(self, action: &'static str, key: String, address: &S3Address, now: DateTime<Utc>) -> StoreError {
        let (kind, hint) = self.class(address);
        let mut message = match (self.message.trim(), self.code.as_str()) {
            ("", "") => format!("the server answered {}", self.status),
            ("", code) => code.to_owned(),
            (said, "") => said.to_owned(),
            (said, code) => format!("{} ({code})", said.trim_end_matches('.')),
        };
        if self.code == "RequestTimeTooSkewed"
            && let Some(date) = self.date
        {
            message = format!("{}: {message}", skew(date, now));
        }
        let error = StoreError::new(kind, action, key, message);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

const NO_LOCK: &str = "the bucket was made without Object Lock: enable it there, or leave out lock_mode and lock_days";

/// By how much the clocks differ, for people.
fn skew(server: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - server).num_seconds();
    let (word, seconds) = if seconds < 0 {
        ("behind", -seconds)
    } else {
        ("ahead of", seconds)
    };
    let amount = match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    };
    format!("this machine's clock is {amount} {word} the server's")
}

/// Reads the `Date` header.
pub(super) fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

/// An error and its causes in one line, without saying anything twice.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !text.is_empty() && !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Address;

    fn told(status: u16, code: &str, message: &str) -> StoreError {
        let Ok(Address::S3(address)) = Address::parse("s3://b/p") else {
            panic!("a good address")
        };
        let failure = Failure {
            status,
            code: code.into(),
            message: message.into(),
            date: http_date("Fri, 20 Nov 2026 12:00:00 GMT"),
            ..Failure::default()
        };
        let now = http_date("Fri, 20 Nov 2026 12:17:00 GMT").unwrap();
        failure.told("read", "s3://b/p/config".into(), &address, now)
    }

    #[test]
    fn each_failure_has_its_class_and_its_hint() {
        for (status, code, message, kind, hint) in [
            (404, "NoSuchKey", "", ErrorKind::NotFound, "lifeboat repo check"),
            (404, "", "", ErrorKind::NotFound, ""),
            (404, "NoSuchBucket", "", ErrorKind::Other, "create the bucket b"),
            (
                403,
                "InvalidAccessKeyId",
                "",
                ErrorKind::Permission,
                "AWS_ACCESS_KEY_ID",
            ),
            (403, "SignatureDoesNotMatch", "", ErrorKind::Permission, "secret key"),
            (400, "ExpiredToken", "", ErrorKind::Permission, "renew"),
            (
                403,
                "AccessDenied",
                "Access Denied",
                ErrorKind::Permission,
                "s3:PutObject",
            ),
            (
                400,
                "AuthorizationHeaderMalformed",
                "the region 'us-east-1' is wrong; expecting 'eu-west-1'",
                ErrorKind::Other,
                "region=eu-west-1",
            ),
            (403, "RequestTimeTooSkewed", "", ErrorKind::Other, "clock"),
            (503, "SlowDown", "", ErrorKind::Transient, "busy"),
            (503, "", "", ErrorKind::Transient, "busy"),
            (500, "InternalError", "", ErrorKind::Transient, ""),
            (409, "ConditionalRequestConflict", "", ErrorKind::Transient, ""),
            (412, "PreconditionFailed", "", ErrorKind::AlreadyExists, ""),
            (416, "InvalidRange", "", ErrorKind::ShortRead, ""),
            (403, "InvalidObjectState", "", ErrorKind::Cold, "thawed"),
            (507, "XMinioStorageFull", "", ErrorKind::NoSpace, "space"),
            (
                400,
                "InvalidRequest",
                "Bucket is missing Object Lock Configuration",
                ErrorKind::Unsupported,
                "lock_mode",
            ),
            (
                403,
                "AccessDenied",
                "object is WORM protected",
                ErrorKind::Locked,
                "retention ends",
            ),
            (501, "NotImplemented", "", ErrorKind::Unsupported, "cannot do that"),
        ] {
            let error = told(status, code, message);
            assert_eq!(error.kind, kind, "{status} {code}");
            assert!(
                error.hint().unwrap_or_default().contains(hint),
                "{code}: {:?}",
                error.hint()
            );
        }
    }

    #[test]
    fn clocks_that_differ_are_told_by_how_much() {
        let error = told(403, "RequestTimeTooSkewed", "The difference is too large.");
        assert!(error.message.contains("17 min ahead of the server's"), "{error}");
    }

    #[test]
    fn silence_and_a_refused_connection_may_be_tried_again_but_not_a_bad_certificate() {
        let Ok(Address::S3(address)) = Address::parse("s3://b/p") else {
            panic!("a good address")
        };
        let told = |failure: Failure| failure.told("read", String::new(), &address, DateTime::<Utc>::UNIX_EPOCH);
        assert!(told(Failure::silence("no answer", Duration::from_secs(30))).retryable());
        let refused = told(Failure::cut("tcp connect error: Connection refused"));
        assert!(refused.retryable() && refused.hint().unwrap().contains("endpoint="));
        assert!(!told(Failure::cut("invalid peer certificate: UnknownIssuer")).retryable());
    }
}
