//! The in-memory pipe between a console and the engine in the same process.

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// How much may be written on either side before the other has read.
const CAPACITY: usize = 64 * 1024;

/// The client's end: each connection is a new pair of which the server gets the other half. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pipe(mpsc::Sender<DuplexStream>);

/// The server's end: yields one half of each connection.
#[derive(Debug)]
pub struct PipeListener(mpsc::Receiver<DuplexStream>);

/// Makes both ends.
pub fn pipe() -> (Pipe, PipeListener) {
    let (sender, receiver) = mpsc::channel(16);
    (Pipe(sender), PipeListener(receiver))
}

impl Pipe {
    /// Opens a connection; none when the server is gone.
    pub async fn connect(&self) -> Option<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(CAPACITY);
        self.0.send(theirs).await.ok().map(|()| ours)
    }
}

impl PipeListener {
    /// Waits for the next connection; none when every client is gone.
    pub async fn accept(&mut self) -> Option<DuplexStream> {
        self.0.recv().await
    }
}
