//! One request and its answer: bounded in time and size, over TLS with the authorities of this system.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Method};

/// More of an answer than this is not read, in bytes.
const LONGEST: usize = 1 << 20;

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// Where to: `http://…` or `https://…`.
    pub url: String,
    /// What is sent.
    pub body: Option<String>,
    /// What the body is; `application/json` when it begins like one.
    pub content_type: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What was said; at most a mebibyte, bytes that are not UTF-8 replaced.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The request makes no sense.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// Nobody answered, or not in time.
    #[error("{host} does not answer: {why}")]
    NoAnswer {
        /// Who was asked.
        host: String,
        /// Why there is none.
        why: String,
    },
}

impl HttpError {
    /// Whether the same may work a little later.
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::NoAnswer { .. })
    }
}

/// Sends a request and waits for its answer.
///
/// # Errors
/// When nobody answers within `limit`. Any status is an answer.
pub async fn send(request: &Request, limit: Duration) -> Result<Answer, HttpError> {
    let invalid = |what: String| HttpError::Invalid { what };
    let method = Method::from_bytes(request.method.to_ascii_uppercase().as_bytes())
        .map_err(|_| invalid(format!("\"{}\" is not a method", request.method)))?;
    let url = reqwest::Url::parse(&request.url).map_err(|error| invalid(format!("this is no address: {error}")))?;
    // What may be secret in an address stays out of every error.
    let host = url.host_str().unwrap_or("nobody").to_owned();
    let no_answer = |error: reqwest::Error| HttpError::NoAnswer {
        host: host.clone(),
        why: reason(&error.without_url()),
    };
    let mut builder = client(limit)?.request(method, url);
    if let Some(body) = &request.body {
        let json = body.trim_start().starts_with(['{', '[']);
        let content = request.content_type.as_deref();
        let content = content.unwrap_or(if json {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        });
        builder = builder.header("content-type", content).body(body.clone());
    }
    let mut response = builder.send().await.map_err(no_answer)?;
    let mut body = Vec::new();
    while body.len() < LONGEST {
        match response.chunk().await.map_err(no_answer)? {
            Some(chunk) => body.extend_from_slice(&chunk[..chunk.len().min(LONGEST - body.len())]),
            None => break,
        }
    }
    Ok(Answer {
        status: response.status().as_u16(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn client(limit: Duration) -> Result<Client, HttpError> {
    let failed = |what: String| HttpError::Invalid { what };
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .no_proxy()
        .timeout(limit)
        .build()
        .map_err(|error| failed(error.to_string()))
}

/// The innermost reason, which is the one that says something.
fn reason(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn get(url: String) -> Request {
        Request {
            method: "get".to_owned(),
            url,
            body: None,
            content_type: None,
        }
    }

    #[tokio::test]
    async fn an_answer_is_bounded_and_a_silence_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x?token=secret", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for turn in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 1024];
                let _ = stream.read(&mut bytes).await;
                if turn > 0 {
                    // Says nothing, and does not hang up.
                    std::mem::forget(stream);
                    continue;
                }
                let head = "HTTP/1.1 503 no\r\ncontent-length: 9000000\r\n\r\n";
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&vec![b'x'; 9_000_000]).await;
            }
        });
        let answer = send(&get(url.clone()), Duration::from_secs(20)).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (503, LONGEST));
        let error = send(&get(url), Duration::from_millis(200)).await.unwrap_err();
        assert!(error.retryable() && !error.to_string().contains("secret"), "{error}");
        let error = send(&get("http://127.0.0.1:1/".to_owned()), Duration::from_secs(5))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("127.0.0.1 does not answer"), "{error}");
        send(&get("not an address".to_owned()), Duration::from_secs(5))
            .await
            .unwrap_err();
    }
}
