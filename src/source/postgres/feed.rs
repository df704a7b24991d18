//! Feeding dumps to `pg_restore`: whole, or only as far as the table of contents, or by a file that has all of it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::child::{Program, Running, random_word};
use super::pick::{Picked, pick};
use super::restore::Dump;
use super::toc;
use super::tools::Tools;
use crate::domain::Bytes;
use crate::repo::Progress;
use crate::source::files::free_space;
use crate::source::{SourceError, Work};

/// Waits for a child that needs no input; kills it when the caller cancels.
pub(super) async fn finish(mut running: Running, work: &Work<'_>) -> Result<(), SourceError> {
    drop(running.take_stdin());
    // Its output is nothing but must not fill the pipe.
    let mut output = running.take_stdout();
    let drained = work
        .cancellable(async {
            if let Some(output) = output.as_mut() {
                let mut sink = tokio::io::sink();
                // The exit status, which follows, says whether it ended well.
                let _ = tokio::io::copy(output, &mut sink).await;
            }
            Ok(())
        })
        .await;
    match drained {
        Ok(()) => running.finish().await,
        Err(error) => {
            running.kill().await;
            Err(error)
        }
    }
}

/// Streams the dump into a child; when the child has had enough, stops, or with `whole` reads on to the end.
pub(super) async fn feed(
    dump: &Dump,
    mut running: Running,
    whole: bool,
    mut seen: impl FnMut(&[u8]),
    work: &Work<'_>,
) -> Result<(), SourceError> {
    let feeding = async {
        let mut reader = dump.open(work).await?;
        let (mut input, output) = (running.take_stdin(), running.take_stdout());
        let draining = tokio::spawn(async move {
            if let Some(mut output) = output {
                let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
            }
        });
        while let Some(blob) = reader.next_blob().await? {
            seen(&blob);
            // A child that closed its input has failed or has all it wants; its exit status tells which.
            if let Some(pipe) = &mut input
                && pipe.write_all(&blob).await.is_err()
            {
                input = None;
            }
            if input.is_none() && !whole {
                break;
            }
        }
        drop(input);
        // Its end is the child's end; a panic in it is impossible and would cost nothing.
        let _ = draining.await;
        Ok(())
    };
    match work.cancellable(feeding).await {
        Ok(()) => running.finish().await,
        Err(error) => {
            running.kill().await;
            Err(error)
        }
    }
}

/// A dump in a private file: its beginning, with at least its whole table of contents, or all of it.
pub(super) struct Head {
    /// The file.
    pub(super) path: PathBuf,
    /// How many entries the table of contents has; not counted when all of it was fetched.
    pub(super) entries: u64,
}

impl Head {
    /// An empty file in a directory of its own.
    fn create() -> Result<(Self, tokio::fs::File), SourceError> {
        let directory = std::env::temp_dir().join(format!("lifeboat-{}", random_word()));
        let local = |error: std::io::Error| SourceError::local("write", &directory, &error);
        fs::DirBuilder::new().mode(0o700).create(&directory).map_err(local)?;
        let head = Self {
            path: directory.join("head.dump"),
            entries: 0,
        };
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&head.path);
        Ok((head, tokio::fs::File::from_std(file.map_err(local)?)))
    }

    /// Fetches the whole dump into the file; refused before the first byte when there is no room for it.
    pub(super) async fn whole(dump: &Dump, work: &Work<'_>) -> Result<Self, SourceError> {
        has_room(dump)?;
        let (head, mut file) = Self::create()?;
        let path = head.path.clone();
        let local = |error: std::io::Error| SourceError::local("write", &path, &error);
        let fetching = async {
            let mut reader = dump.open(work).await?;
            while let Some(blob) = reader.next_blob().await? {
                file.write_all(&blob).await.map_err(local)?;
                Progress::add(&work.progress.bytes_done, blob.len() as u64);
            }
            file.flush().await.map_err(local)
        };
        work.cancellable(fetching).await?;
        Ok(head)
    }

    /// What of the dump belongs to some tables; the list of it is beside the file.
    pub(super) async fn pick(&self, dump: &Dump, tables: &[String]) -> Result<(PathBuf, Picked), SourceError> {
        let (path, list, tables) = (self.path.clone(), self.path.with_extension("list"), tables.to_vec());
        let (snapshot, target) = (dump.snapshot.short().to_owned(), list.clone());
        let picking = tokio::task::spawn_blocking(move || {
            let bytes = fs::read(&path).map_err(|error| SourceError::local("read", &path, &error))?;
            let entries = toc::read(&bytes).map_err(|why| SourceError::Snapshot {
                snapshot,
                why: format!("has a dump whose table of contents cannot be read: {why}"),
            })?;
            let picked = pick(&entries, &tables).map_err(|pattern| SourceError::Invalid {
                what: format!("there is no table {pattern} in the dump"),
                hint: Some("write schema.table, in double quotes what SQL needs them for".to_owned()),
            })?;
            let mut lines = String::new();
            for id in &picked.ids {
                lines.extend([&id.to_string(), ";\n"]);
            }
            fs::write(&target, lines).map_err(|error| SourceError::local("write", &target, &error))?;
            Ok::<_, SourceError>(picked)
        });
        let picked = picking.await.map_err(|_| SourceError::Cancelled)??;
        Ok((list, picked))
    }

    /// Feeds `pg_restore --list` until it has read the table of contents, and keeps what it was fed.
    pub(super) async fn read(dump: &Dump, tools: &Tools, work: &Work<'_>) -> Result<Self, SourceError> {
        let (mut head, mut file) = Self::create()?;
        let path = head.path.clone();
        let local = |error: std::io::Error| SourceError::local("write", &path, &error);
        let subject = format!("the table of contents of snapshot {}", dump.snapshot.short());
        let mut running = Program::new("pg_restore", &tools.program("pg_restore"), subject)
            .arg("--list")
            .start(None)?;
        let listing = async {
            let (stdin, stdout) = (running.take_stdin(), running.take_stdout());
            let feeding = async {
                let mut reader = dump.open(work).await?;
                let Some(mut input) = stdin else { return Ok(()) };
                let mut buffer = vec![0; 256 << 10];
                while let count @ 1.. = reader.read(&mut buffer).await.map_err(repo_error)? {
                    file.write_all(&buffer[..count]).await.map_err(local)?;
                    if input.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
                file.flush().await.map_err(local)
            };
            let mut text = Vec::new();
            let reading = async {
                if let Some(mut output) = stdout {
                    output.read_to_end(&mut text).await.map_err(local)?;
                }
                Ok::<(), SourceError>(())
            };
            tokio::try_join!(feeding, reading)?;
            let text = String::from_utf8_lossy(&text);
            Ok(text
                .lines()
                .filter(|line| !line.starts_with(';') && !line.trim().is_empty())
                .count())
        };
        match work.cancellable(listing).await {
            Ok(entries) => {
                head.entries = entries as u64;
                running.finish().await?;
                Ok(head)
            }
            Err(error) => {
                running.kill().await;
                Err(error)
            }
        }
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        // Private to this user; what cannot be removed goes with the system's temporary files.
        let _ = self.path.parent().map(fs::remove_dir_all);
    }
}

/// Whether the temporary directory has room for the whole dump.
pub(super) fn has_room(dump: &Dump) -> Result<(), SourceError> {
    let (place, needed) = (std::env::temp_dir(), Bytes(dump.artifact.bytes));
    match free_space(&place).filter(|free| *free < needed) {
        Some(free) => Err(SourceError::NoRoom { place, free, needed }),
        None => Ok(()),
    }
}

/// The repository's own error inside an error of a read.
fn repo_error(error: std::io::Error) -> SourceError {
    let text = error.to_string();
    let inner = error
        .into_inner()
        .and_then(|inner| inner.downcast::<crate::repo::RepoError>().ok());
    match inner {
        Some(inner) => SourceError::Repo(*inner),
        _ => SourceError::local("read", Path::new("the dump"), &std::io::Error::other(text)),
    }
}
