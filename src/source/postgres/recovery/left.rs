//! A server that a recovery has left, as the engine asks for it: opened, moved, thrown away, looked at.

use std::path::PathBuf;

use super::follow_up::{self, Begun, Means, seen_of};
use super::instant::Teller;
use super::{Hold, Known, RecoveryError, bases, home_of};
use crate::clock::Clock;
use crate::domain::follow_up::{Fate, FollowUp, LeftServer, ServerSeen};
use crate::repo::Phase;
use crate::source::Work;
use crate::source::postgres::wal::WalArchive;

/// Opens it, moves it on, or starts it again; it is left running.
///
/// # Errors
/// When that was refused or failed; [`settle`] says how it stands then.
pub async fn follow_up(
    server: &LeftServer,
    what: &FollowUp,
    roles: Vec<String>,
    bin_dir: Option<PathBuf>,
    work: &Work<'_>,
) -> Result<ServerSeen, RecoveryError> {
    let (mut begun, hold) = Begun::hold(&server.directory, what.doing(), work.clock).await?;
    begun.may_go_on()?;
    let archive = WalArchive::new(work.repo.clone(), begun.note.system);
    let found = bases(work.repo, None, Some(begun.note.system)).await?;
    let known = Known::of(found.found, &archive).await?;
    let teller = Teller::begin(&work.progress);
    let means = Means {
        archive: &archive,
        known: &known,
        bin_dir,
        roles,
        settings: Vec::new(),
        clock: work.clock,
        cancel: &work.cancel,
        tell: &|seen| teller.tell(seen),
    };
    let replayed = match what {
        FollowUp::Promote => follow_up::open(&mut begun, &hold, &means).await?,
        FollowUp::Move { to, inclusive } => {
            let wish = begun.wish_for(to.clone(), *inclusive);
            follow_up::resume(&mut begun, &hold, &wish, &means).await?
        }
        FollowUp::Resume => {
            let wish = begun.wish();
            follow_up::resume(&mut begun, &hold, &wish, &means).await?
        }
        FollowUp::Discard => {
            drop(hold);
            return discard(server, work.clock).await;
        }
    };
    work.progress.set_phase(Phase::Done);
    let seen = seen_of(&replayed, &begun.note.target, begun.note.inclusive);
    replayed.server.keep()?;
    Ok(seen)
}

/// Stops it and removes what was laid down; one that is not there any more was removed before.
pub async fn discard(server: &LeftServer, clock: &Clock) -> Result<ServerSeen, RecoveryError> {
    if server.directory.exists() || home_of(&server.directory).exists() {
        let (begun, hold) = Begun::hold(&server.directory, FollowUp::Discard.doing(), clock).await?;
        follow_up::discard(&begun, &hold, clock).await?;
    }
    Ok(ServerSeen {
        fate: Fate::Discarded,
        psql: None,
        ..server.seen.clone()
    })
}

/// Looks at it without asking it; none while somebody else acts on it.
pub async fn look_at(server: &LeftServer) -> Result<Option<ServerSeen>, RecoveryError> {
    let server = server.clone();
    let looking = tokio::task::spawn_blocking(move || super::settle::look(&server.directory, &server.seen));
    looking.await.map_err(|_| RecoveryError::cancelled())?
}

/// Finds out how it stands after a follow-up that was interrupted or failed; does nothing of it again.
pub async fn settle(server: &LeftServer, removing: bool, clock: &Clock) -> Result<ServerSeen, RecoveryError> {
    // With no note left there is nothing anybody could act on.
    let _hold = if home_of(&server.directory).exists() {
        Some(Hold::take(&server.directory, "finding out how it stands", clock).await?)
    } else {
        None
    };
    super::settle::settle(&server.directory, &server.seen, removing, clock).await
}
