//! An S3 server in this process, on a directory: the one of the sandbox, behind a gate that can be slow, refuse, cut and
//! answer nonsense.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use lifeboat::clock::Clock;
pub use lifeboat::sandbox::bucket::Conditions;
use lifeboat::sandbox::bucket::Objects;
use s3s::StdError;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};

/// The access key of every server here.
pub const KEY: &str = "lifeboat";
/// Its secret half.
pub const SECRET: &str = "lifeboat-secret";
/// The bucket that is there from the beginning.
pub const BUCKET: &str = "backups";

/// What a rule sees of a request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    /// Whether it asks for the object to be locked.
    pub locks: bool,
    /// The requests that came, this one included.
    pub nth: usize,
}

/// What happens to a request that a rule meets.
#[derive(Debug, Clone)]
pub enum Action {
    /// It is answered by this status, this word in an error document, and this sentence.
    Refuse(u16, &'static str, &'static str),
    /// It is answered by this status, these headers and this body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The connection is closed without an answer, after the request was read.
    Hang,
    /// Nothing at all is heard of it.
    Silence,
    /// The answer's body is cut after so many bytes.
    Cut(u64),
    /// It is done, and then the connection is closed without an answer.
    DoAndHang,
}

type Rule = Box<dyn Fn(&Seen) -> Option<Action> + Send + Sync>;

/// What all connections of a server share.
struct Gate {
    latency: Duration,
    rule: Mutex<Option<Rule>>,
    requests: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    service: S3Service,
}

/// A running server; it ends with the value.
pub struct Server {
    pub address: SocketAddr,
    gate: Arc<Gate>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Serves a directory on a free port, or on the given one.
    pub async fn start(root: &Path, port: u16, latency: Duration, conditions: Conditions) -> Self {
        std::fs::create_dir_all(root.join(BUCKET)).expect("the bucket");
        let objects = Objects::new(root, conditions).expect("a directory to serve");
        let mut builder = S3ServiceBuilder::new(objects);
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let gate = Arc::new(Gate {
            latency,
            rule: Mutex::default(),
            requests: AtomicUsize::new(0),
            seen: Mutex::default(),
            service: builder.build(),
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(serve(listener, Arc::clone(&gate)));
        Self { address, gate, task }
    }

    /// The address of the server itself.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of a repository on it.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}?endpoint={}", self.endpoint())
    }

    /// Puts a rule in place of the one before.
    pub fn rule(&self, rule: impl Fn(&Seen) -> Option<Action> + Send + Sync + 'static) {
        *self.gate.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.gate.seen.lock().unwrap().clone()
    }

    /// Serves until the process ends.
    pub async fn forever(&mut self) {
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: tokio::net::TcpListener, gate: Arc<Gate>) {
    // The connections end with the server.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            return;
        };
        let _ = socket.set_nodelay(true);
        let gate = Arc::clone(&gate);
        connections.spawn(async move {
            let service = service_fn(move |request| pass(Arc::clone(&gate), request));
            // A client that goes away is no problem of the server.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

type Answer = Response<BoxBody<Bytes, StdError>>;

fn full(body: String) -> BoxBody<Bytes, StdError> {
    Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed()
}

/// One request through the gate.
async fn pass(gate: Arc<Gate>, request: Request<Incoming>) -> Result<Answer, StdError> {
    let seen = Seen {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        locks: request.headers().contains_key("x-amz-object-lock-retain-until-date"),
        nth: gate.requests.fetch_add(1, Ordering::SeqCst) + 1,
    };
    gate.seen.lock().unwrap().push(seen.clone());
    if !gate.latency.is_zero() {
        Clock::system().sleep(gate.latency).await;
    }
    let action = gate.rule.lock().unwrap().as_ref().and_then(|rule| rule(&seen));
    match action {
        Some(Action::Refuse(status, code, message)) => {
            let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
            drain(request).await;
            let body = if seen.method == Method::HEAD {
                String::new()
            } else {
                body
            };
            Ok(Response::builder().status(status).body(full(body))?)
        }
        Some(Action::Answer(status, headers, body)) => {
            drain(request).await;
            let mut answer = Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(name, value);
            }
            Ok(answer.body(full(body))?)
        }
        Some(Action::Hang) => {
            drain(request).await;
            Err("hung up".into())
        }
        Some(Action::Silence) => std::future::pending().await,
        Some(Action::DoAndHang) => {
            do_it(&gate, request).await?;
            Err("hung up".into())
        }
        Some(Action::Cut(left)) => {
            let answer = do_it(&gate, request).await?;
            Ok(answer.map(|inner| BoxBody::new(CutBody { inner, left })))
        }
        None => do_it(&gate, request).await,
    }
}

/// Reads a request to its end, so that the client gets to see the answer.
async fn drain(request: Request<Incoming>) {
    let _ = request.into_body().collect().await;
}

async fn do_it(gate: &Gate, request: Request<Incoming>) -> Result<Answer, StdError> {
    let answer = gate
        .service
        .call(request.map(s3s::Body::from))
        .await
        .map_err(|error| format!("{error:?}"))?;
    Ok(answer.map(BoxBody::new))
}

/// A body that ends in the middle.
struct CutBody {
    inner: BoxBody<Bytes, StdError>,
    left: u64,
}

impl Body for CutBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        if self.left == 0 {
            return Poll::Ready(Some(Err("cut".into())));
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let mut data = frame.into_data().unwrap_or_default();
                data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= data.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            other => other,
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.inner.size_hint()
    }
}
