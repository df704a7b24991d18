//! A stretch of network that can be cut: a socket that passes everything on to another, until it does not.
//!
//! Who is on the near side of it (standbys, health checks, the commands of a cluster) loses the far side when it is cut, and
//! gets it back when it is mended; the server itself, and whoever reaches it by its own socket, notices nothing. That is what
//! makes a split network dangerous, and worth practising.
//!
//! What it never does: listen anywhere but on a Unix socket in a directory only the server's user and root may enter.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::SandboxError;
use crate::clock::Clock;
use crate::source::postgres::server::{RunAs, make_private};

/// The way to one server. Dropped means gone, with everything that was on it.
#[derive(Debug)]
pub(super) struct Relay {
    cut: watch::Sender<bool>,
    _passing: AbortOnDropHandle<()>,
}

impl Relay {
    /// Opens a way in `dir`, under the name of the socket it leads to; nothing needs to be there yet.
    pub(super) fn open(dir: &Path, to: PathBuf, clock: &Clock) -> Result<Self, SandboxError> {
        make_private(dir, RunAs::server_user()?)?;
        let socket = dir.join(to.file_name().unwrap_or_default());
        let failed = |action, error| SandboxError::local(action, &socket, error);
        let listener = UnixListener::bind(&socket).map_err(|error| failed("open", error))?;
        // Who may get here is decided by the directory.
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&socket, open).map_err(|error| failed("open", error))?;
        let (cut, is_cut) = watch::channel(false);
        let passing = AbortOnDropHandle::new(tokio::spawn(pass(listener, to, is_cut, clock.clone())));
        Ok(Self { cut, _passing: passing })
    }

    /// What cuts it: set, everything on it is hung up on and nobody gets through any more.
    pub(super) fn switch(&self) -> watch::Sender<bool> {
        self.cut.clone()
    }
}

async fn pass(listener: UnixListener, to: PathBuf, is_cut: watch::Receiver<bool>, clock: Clock) {
    // Gone with this future.
    let mut passing = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((near, _)) if !*is_cut.borrow() => {
                    passing.spawn(one(near, to.clone(), is_cut.clone()));
                }
                // It is hung up on.
                Ok(_) => {}
                // Too many files are open; the next attempt may find fewer.
                Err(_) => clock.sleep(Duration::from_millis(50)).await,
            },
            Some(_) = passing.join_next() => {}
        }
    }
}

async fn one(mut near: UnixStream, to: PathBuf, mut is_cut: watch::Receiver<bool>) {
    let Ok(mut far) = UnixStream::connect(&to).await else {
        return;
    };
    tokio::select! {
        // However it ends, both sides are hung up on.
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        _ = is_cut.wait_for(|cut| *cut) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn echo(listener: UnixListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    }

    #[tokio::test]
    async fn what_is_cut_ends_what_was_on_it_and_lets_nobody_through_until_it_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("socket");
        let near = dir.path().join("near");
        let relay = Relay::open(&near, to.clone(), &Clock::system()).unwrap();
        let near = near.join("socket");
        let mut byte = [0; 1];
        // Nobody is there yet: hung up on.
        let mut early = UnixStream::connect(&near).await.unwrap();
        assert_eq!(early.read(&mut byte).await.unwrap_or(0), 0);
        let server = tokio::spawn(echo(UnixListener::bind(&to).unwrap()));
        let mut through = UnixStream::connect(&near).await.unwrap();
        through.write_all(b"x").await.unwrap();
        through.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"x");
        relay.switch().send_replace(true);
        assert_eq!(through.read(&mut byte).await.unwrap_or(0), 0, "it is hung up on");
        let mut kept_out = UnixStream::connect(&near).await.unwrap();
        assert_eq!(kept_out.read(&mut byte).await.unwrap_or(0), 0, "nobody gets through");
        relay.switch().send_replace(false);
        let mut again = UnixStream::connect(&near).await.unwrap();
        again.write_all(b"y").await.unwrap();
        again.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"y");
        server.abort();
    }
}
