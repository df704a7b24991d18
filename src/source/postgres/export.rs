//! The dump in a snapshot as a file: as `pg_dump` wrote it, or as SQL text through `pg_restore`, gzip-compressed.
//!
//! Both are streams of bounded memory, written under another name and renamed when whole ([`Part`]); a file that exists is
//! never replaced. `pg_restore` of the version that wrote the dump, or a later one, makes the text; no server is asked.

use std::io::Write;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::child::{Program, Running};
use super::restore::Dump;
use crate::domain::Bytes;
use crate::domain::id::SnapshotId;
use crate::repo::export::Part;
use crate::repo::{Phase, RepoError};
use crate::source::{SourceError, Work};

/// How much of the text is taken at a time.
const PIECE: usize = 256 << 10;
/// How many pieces may wait for the compression.
const WAITING: usize = 8;

/// The form of an exported dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpForm {
    /// SQL text, gzip-compressed.
    SqlGz,
    /// The custom format of `pg_dump`, as it is stored.
    Custom,
}

/// Writes the dump of a snapshot to a new file; returns the bytes of the dump that was read.
pub async fn export(
    snapshot: &SnapshotId,
    form: DumpForm,
    target: &Path,
    work: &Work<'_>,
) -> Result<Bytes, SourceError> {
    work.progress.set_phase(Phase::Preparing);
    let dump = work.cancellable(Dump::in_snapshot(snapshot.clone(), work)).await?;
    let (part, total) = (Part::create(target)?, dump.artifact.bytes);
    work.progress
        .bytes_total
        .fetch_add(total, std::sync::atomic::Ordering::Relaxed);
    work.progress.set_phase(Phase::Copying);
    match form {
        DumpForm::Custom if dump.is_plain() => {
            return Err(SourceError::Invalid {
                what: "the dump is SQL text, which cannot be made into the custom format".to_owned(),
                hint: Some("export it as SQL text".to_owned()),
            });
        }
        DumpForm::Custom => {
            let mut file = tokio::fs::File::from_std(part.file()?);
            let copying = async {
                let mut reader = dump.open(work).await?;
                while let Some(blob) = reader.next_blob().await? {
                    let written = file.write_all(&blob).await;
                    written.map_err(|error| SourceError::local("write", target, &error))?;
                    count(work, blob.len());
                }
                file.flush()
                    .await
                    .map_err(|error| SourceError::local("write", target, &error))
            };
            work.cancellable(copying).await?;
            part.publish(file.into_std().await).await?;
        }
        DumpForm::SqlGz => {
            let file = as_text(&dump, part.file()?, target, work).await?;
            part.publish(file).await?;
        }
    }
    work.progress.set_phase(Phase::Done);
    Ok(Bytes(total))
}

fn count(work: &Work<'_>, bytes: usize) {
    let done = &work.progress.bytes_done;
    done.fetch_add(bytes as u64, std::sync::atomic::Ordering::Relaxed);
}

/// Streams the dump through `pg_restore` and the text into the compression.
async fn as_text(
    dump: &Dump,
    file: std::fs::File,
    target: &Path,
    work: &Work<'_>,
) -> Result<std::fs::File, SourceError> {
    let (pieces, inbox) = mpsc::channel::<Vec<u8>>(WAITING);
    let compressing = tokio::task::spawn_blocking(move || compress(file, inbox));
    if dump.is_plain() {
        work.cancellable(copy(dump, pieces, work)).await?;
    } else {
        through_restore(dump, pieces, work).await?;
    }
    let compressed = compressing
        .await
        .map_err(|error| RepoError::local("write", target, &std::io::Error::other(error)))?;
    compressed.map_err(|error| SourceError::local("write", target, &error))
}

/// Hands on a dump that is text already.
async fn copy(dump: &Dump, pieces: mpsc::Sender<Vec<u8>>, work: &Work<'_>) -> Result<(), SourceError> {
    let mut reader = dump.open(work).await?;
    while let Some(blob) = reader.next_blob().await? {
        count(work, blob.len());
        // The compression has failed when it takes nothing more; it says why.
        if pieces.send(blob).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Has `pg_restore` make the text of a dump in the custom format.
async fn through_restore(dump: &Dump, pieces: mpsc::Sender<Vec<u8>>, work: &Work<'_>) -> Result<(), SourceError> {
    let tools = dump.tools(None, 0, work).await?;
    let subject = format!("the dump in snapshot {}", dump.snapshot.short());
    let mut running = Program::new("pg_restore", &tools.program("pg_restore"), subject)
        .arg("--file=-")
        .start(None)?;
    let piped = work.cancellable(pipe(dump, &mut running, pieces, work)).await;
    match piped {
        Ok(()) => running.finish().await,
        Err(error) => {
            running.kill().await;
            Err(error)
        }
    }
}

/// Feeds the child and takes its text, both at once; ends when both have ended.
async fn pipe(
    dump: &Dump,
    running: &mut Running,
    pieces: mpsc::Sender<Vec<u8>>,
    work: &Work<'_>,
) -> Result<(), SourceError> {
    let (mut input, output) = (running.take_stdin(), running.take_stdout());
    let feeding = async {
        let mut reader = dump.open(work).await?;
        while let Some(blob) = reader.next_blob().await? {
            count(work, blob.len());
            // A child that closed its input has failed; its exit status tells.
            if let Some(pipe) = &mut input
                && pipe.write_all(&blob).await.is_err()
            {
                break;
            }
        }
        drop(input);
        Ok::<(), SourceError>(())
    };
    let taking = async move {
        let Some(mut output) = output else { return Ok(()) };
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = output.read_buf(&mut piece).await;
            let read =
                read.map_err(|error| SourceError::local("read", Path::new("the output of pg_restore"), &error))?;
            // The compression has failed when it takes nothing more; it says why.
            if read == 0 || pieces.send(piece).await.is_err() {
                return Ok(());
            }
        }
    };
    let (fed, taken) = tokio::join!(feeding, taking);
    fed.and(taken)
}

fn compress(file: std::fs::File, mut inbox: mpsc::Receiver<Vec<u8>>) -> std::io::Result<std::fs::File> {
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    while let Some(piece) = inbox.blocking_recv() {
        encoder.write_all(&piece)?;
    }
    encoder.finish()
}
