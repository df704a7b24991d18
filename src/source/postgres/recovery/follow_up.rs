//! What comes after a pause: open the server, go on to a later target, start it again, throw everything away. The command line
//! and the agent call the same functions.
//!
//! **One at a time.** Whoever acts holds the lock of the copy ([`Hold`]) and has read the note under it ([`Begun::hold`]); a
//! second one, in whatever process, is refused and told who acts.
//!
//! **Looked at first.** A server that was opened, by us, by somebody at a `psql` prompt or by a process that was killed before
//! it could note that, is never replayed again and never removed: PostgreSQL takes the signal file of a recovery away when it
//! opens, for good, and that is what is asked.
//!
//! **Crash windows.** The order of a promotion is: signal to the server → it is open → note *opened*; that of a move: note
//! *replaying* with the new target → server at the target → note *paused*; that of a removal: tablespaces → data → note.
//! Killed in between, the copy, its server and the note say how far it came, and [`super::settle`] finds that out. It does not do
//! again what was to be done.

use std::fs;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::order::{end_server, program};
use super::{Hold, Known, Note, Phase, RecoveryError, Replay, Replayed, Seen, Then, home_of, reached};
use crate::clock::Clock;
use crate::domain::follow_up::{Fate, ServerSeen};
use crate::domain::pitr::{Plan, Target, TimelineChoice, Wish};
use crate::domain::source::PostgresConnection;
use crate::source::postgres::physical::is_laying;
use crate::source::postgres::server::PrivateServer;
use crate::source::postgres::wal::WalArchive;
use crate::source::quote;

/// A recovery that an earlier call has begun.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The copy.
    pub data: PathBuf,
    /// Our own directory beside it.
    pub home: PathBuf,
    /// What is remembered of it.
    pub note: Note,
}

/// What a server is moved with.
#[expect(missing_debug_implementations, reason = "it holds a function")]
pub struct Means<'a> {
    /// The archive of the cluster's log.
    pub archive: &'a WalArchive,
    /// What can be recovered of it.
    pub known: &'a Known,
    /// Where the server's programs are, when that is said now.
    pub bin_dir: Option<PathBuf>,
    /// Roles to try before those that are remembered.
    pub roles: Vec<String>,
    /// Further settings, `name=value`.
    pub settings: Vec<String>,
    /// Time.
    pub clock: &'a Clock,
    /// Stops a replay; an opening is not stopped half-way.
    pub cancel: &'a CancellationToken,
    /// Told how far a replay is.
    pub tell: &'a (dyn Fn(&Seen) + Sync),
}

impl Begun {
    /// The one in a directory.
    ///
    /// # Errors
    /// When there is none of ours.
    pub fn read(data: &Path) -> Result<Self, RecoveryError> {
        let home = home_of(data);
        let note = Note::read(&home)?.ok_or_else(|| RecoveryError::NotOurs {
            path: data.to_owned(),
            why: "there is no note of it beside the directory".to_owned(),
        })?;
        let data = data.to_owned();
        Ok(Self { data, home, note })
    }

    /// The one in a directory, with the right to act on it.
    ///
    /// # Errors
    /// When there is none of ours, or somebody else acts on it.
    pub async fn hold(data: &Path, doing: &str, clock: &Clock) -> Result<(Self, Hold), RecoveryError> {
        // Without a note there is nothing to hold, and the lock would be the first thing of ours there.
        Self::read(data)?;
        let hold = Hold::take(data, doing, clock).await?;
        Ok((Self::read(data)?, hold))
    }

    /// The wish of it.
    pub fn wish(&self) -> Wish {
        Wish {
            target: self.note.target.clone(),
            inclusive: self.note.inclusive,
            timeline: TimelineChoice::Number(self.note.timeline),
            base: Some(self.note.base.clone()),
        }
    }

    /// Another target of it, on the same line of history and from the same base.
    pub fn wish_for(&self, target: Target, inclusive: bool) -> Wish {
        Wish {
            target,
            inclusive,
            ..self.wish()
        }
    }

    /// Whether it was opened: as the note says, or by the signal that PostgreSQL has taken away.
    pub(super) fn was_opened(&self) -> bool {
        let has = |name: &str| self.data.join(name).exists();
        match self.note.phase {
            Phase::Opened => true,
            Phase::Laying => false,
            // The label of the base backup is there until a server has begun to replay; the signal until it has opened.
            Phase::Replaying | Phase::Paused => {
                has("global/pg_control") && !has("recovery.signal") && !has("standby.signal") && !has("backup_label")
            }
        }
    }

    fn not_opened(&self) -> Result<(), RecoveryError> {
        let path = self.data.clone();
        if self.was_opened() {
            return Err(RecoveryError::Opened { path });
        }
        Ok(())
    }

    /// Refuses what cannot go on: it was opened, or its files are not all laid down.
    pub fn may_go_on(&self) -> Result<(), RecoveryError> {
        self.not_opened()?;
        if self.note.phase == Phase::Laying {
            let path = self.data.clone();
            return Err(RecoveryError::NotLaid { path });
        }
        Ok(())
    }

    /// Refuses what must not be removed: it was opened, or what is in the directory was there before anything of ours.
    pub fn may_be_removed(&self) -> Result<(), RecoveryError> {
        self.not_opened()?;
        let empty = self
            .data
            .read_dir()
            .map_or(true, |mut entries| entries.next().is_none());
        if self.note.phase == Phase::Laying && !empty && !is_laying(&self.data) {
            let path = self.data.clone();
            return Err(RecoveryError::Untouched { path });
        }
        Ok(())
    }

    /// Replays as planned, on a copy that no server runs on, and notes how far it came.
    async fn replay(&mut self, plan: Plan, then: Then, means: &Means<'_>) -> Result<Replayed, RecoveryError> {
        self.note.target = plan.target.clone();
        self.note.inclusive = plan.inclusive;
        self.note.reached(Phase::Replaying, &self.home)?;
        let order = Replay {
            plan,
            then,
            data: self.data.clone(),
            home: self.home.clone(),
            program: program()?,
            bin_dir: self.bin_dir(means),
            roles: means.roles.iter().chain(&self.note.roles).cloned().collect(),
            settings: means.settings.clone(),
        };
        let replayed = super::replay(&order, means.archive, means.clock, means.cancel, means.tell).await?;
        self.note.reached(Phase::of(replayed.seen.standing), &self.home)?;
        Ok(replayed)
    }

    fn bin_dir(&self, means: &Means<'_>) -> Option<PathBuf> {
        means.bin_dir.clone().or_else(|| self.note.bin_dir.clone())
    }
}

/// Opens the server that is paused; one that has ended since goes to the same target again and opens there.
pub async fn open(begun: &mut Begun, _hold: &Hold, means: &Means<'_>) -> Result<Replayed, RecoveryError> {
    begun.may_go_on()?;
    let running = PrivateServer::attach(&begun.home, means.clock)?;
    if let Some(server) = running.filter(|_| begun.note.phase == Phase::Paused) {
        let opened = super::promote(server, &begun.home, means.archive, means.clock, means.cancel).await?;
        begun.note.reached(Phase::Opened, &begun.home)?;
        return Ok(opened);
    }
    let plan = means.known.plan(&begun.wish(), means.archive).await?;
    end_server(&begun.data, &begun.home, means.clock).await?;
    begun.replay(plan, Then::Open, means).await
}

/// Goes on to a later target, or to the same one again, and waits there.
///
/// # Errors
/// A target that cannot be reached, or lies behind where the copy is, is refused while the server still waits.
pub async fn resume(
    begun: &mut Begun,
    _hold: &Hold,
    wish: &Wish,
    means: &Means<'_>,
) -> Result<Replayed, RecoveryError> {
    begun.may_go_on()?;
    let plan = means.known.plan(wish, means.archive).await?;
    if wish.target != begun.note.target || wish.inclusive != begun.note.inclusive {
        let at = reached(&begun.data, &begun.home, begun.bin_dir(means), means.clock).await?;
        if let Some(at) = at.filter(|at| plan.exact && plan.to < *at) {
            return Err(RecoveryError::Passed { at });
        }
    }
    end_server(&begun.data, &begun.home, means.clock).await?;
    begun.replay(plan, Then::Pause, means).await
}

/// Stops the server and removes everything that was laid down; what was removed.
pub async fn discard(begun: &Begun, hold: &Hold, clock: &Clock) -> Result<Vec<PathBuf>, RecoveryError> {
    begun.may_be_removed()?;
    end_server(&begun.data, &begun.home, clock).await?;
    remove(begun, hold).await
}

/// Removes the copy, its tablespaces and our note of it; the note last, so that an interrupted removal can be repeated.
pub async fn remove(begun: &Begun, _hold: &Hold) -> Result<Vec<PathBuf>, RecoveryError> {
    let mut all = begun.note.tablespaces.clone();
    // Those of one that was interrupted are only linked yet.
    let links = begun.data.join("pg_tblspc").read_dir().into_iter().flatten().flatten();
    all.extend(
        links
            .filter_map(|link| fs::read_link(link.path()).ok())
            .filter(|place| place.is_absolute()),
    );
    all.dedup();
    all.extend([begun.data.clone(), begun.home.clone()]);
    let mut removed = Vec::new();
    for path in all {
        let place = path.clone();
        let gone = tokio::task::spawn_blocking(move || fs::remove_dir_all(&place)).await;
        match gone.map_err(|_| RecoveryError::cancelled())? {
            Ok(()) => removed.push(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(RecoveryError::local("remove", &path, &error)),
        }
    }
    Ok(removed)
}

/// The command that looks at a server.
pub fn psql(connection: &PostgresConnection) -> String {
    format!(
        "psql -h {} -p {} -U {} postgres",
        quote(&connection.host),
        connection.port,
        quote(&connection.user)
    )
}

/// What is to be seen of a server that got where it should.
pub fn seen_of(replayed: &Replayed, target: &Target, inclusive: bool) -> ServerSeen {
    ServerSeen {
        fate: match Phase::of(replayed.seen.standing) {
            Phase::Opened => Fate::Promoted,
            _ => Fate::Waiting,
        },
        target: target.clone(),
        inclusive,
        lsn: replayed.seen.lsn,
        last_commit: replayed.seen.last_commit,
        psql: Some(psql(&replayed.server.connection())),
    }
}
