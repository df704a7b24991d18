//! A recovery as it is ordered: what an earlier one has left, then the files, then the log.
//!
//! The three are called one after the other, so that whoever orders can ask a person in between and show each for itself.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::{Hold, Note, Phase, RecoveryError, Replay, Replayed, Seen, Then, home_of, replay};
use crate::clock::Clock;
use crate::domain::pitr::Plan;
use crate::source::postgres::physical::{LaidDown, LayDownOptions, PhysicalError, is_laying, lay_down};
use crate::source::postgres::server;
use crate::source::postgres::wal::WalArchive;
use crate::source::{SourceError, Work};

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Order {
    /// The archive of the cluster's log.
    pub archive: WalArchive,
    /// Where to.
    pub plan: Plan,
    /// The directory the cluster is laid down in.
    pub target: PathBuf,
    /// Whether an old copy there is made the new one.
    pub delta: bool,
    /// Where tablespaces go: name, number or old place, and the new one.
    pub tablespaces: Vec<(String, PathBuf)>,
    /// What to do at the target.
    pub then: Then,
    /// Roles that may be logged in with, the likeliest first.
    pub roles: Vec<String>,
    /// Where the server's programs are; found by version when absent.
    pub bin_dir: Option<PathBuf>,
    /// Further settings of the server, `name=value`.
    pub settings: Vec<String>,
    /// The repository, as it was given, for the note.
    pub repository: Option<String>,
    /// The source, as it was given, for the note.
    pub source: Option<String>,
    /// Who it is done for, for the note.
    pub owner: Option<String>,
}

/// What is in the place a recovery is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing.
    Nothing,
    /// An old copy that this order may replace.
    Old,
    /// What an earlier call has begun, with another target or not to the end.
    Begun,
    /// Everything that has to be laid down for this order.
    Laid,
}

impl Order {
    /// Takes the place, looks at it, and ends a server that an earlier recovery has left there.
    ///
    /// # Errors
    /// What is in the way and not ours: a server that runs, files without `delta`; somebody who acts on the place.
    pub async fn earlier(&self, clock: &Clock) -> Result<(Earlier, Hold), RecoveryError> {
        // What is refused anyway gets nothing of ours beside it.
        if self.ours()?.is_none() {
            self.in_the_way()?;
        }
        let hold = Hold::begin(&self.target, "recovering into it", clock).await?;
        Ok((self.earlier_held(clock).await?, hold))
    }

    /// The note of what an earlier call has begun there, of this cluster and not opened.
    fn ours(&self) -> Result<Option<Note>, RecoveryError> {
        let note = Note::read(&home_of(&self.target))?;
        Ok(note.filter(|note| note.phase != Phase::Opened && note.system == self.archive.system()))
    }

    async fn earlier_held(&self, clock: &Clock) -> Result<Earlier, RecoveryError> {
        let home = home_of(&self.target);
        let Some(note) = self.ours()? else {
            return self.in_the_way();
        };
        end_server(&self.target, &home, clock).await?;
        let same = note.base == self.plan.base
            && note.timeline == self.plan.timeline
            && note.target == self.plan.target
            && note.inclusive == self.plan.inclusive;
        let laid = same && note.phase != Phase::Laying && self.target.join("global/pg_control").exists();
        Ok(if laid { Earlier::Laid } else { Earlier::Begun })
    }

    /// Refuses what is not ours before anything of ours is written beside it.
    fn in_the_way(&self) -> Result<Earlier, RecoveryError> {
        server::refuse_in_use(&self.target)?;
        match self.target.read_dir().map(|mut entries| entries.next().is_some()) {
            Ok(true) if !self.delta => {
                let directory = self.target.clone();
                Err(SourceError::from(PhysicalError::NotEmpty { directory }).into())
            }
            Ok(true) => Ok(Earlier::Old),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(SourceError::local("look into", &self.target, &error).into())
            }
            _ => Ok(Earlier::Nothing),
        }
    }

    /// Lays the base backup down; none when that was done before.
    pub async fn lay(
        &self,
        earlier: Earlier,
        _hold: &Hold,
        work: &Work<'_>,
    ) -> Result<Option<LaidDown>, RecoveryError> {
        let home = home_of(&self.target);
        let mut note = self.note(work.clock);
        let laid = if earlier == Earlier::Laid {
            note.tablespaces = Note::read(&home)?.map_or_else(Vec::new, |before| before.tablespaces);
            None
        } else {
            let fresh = Note::read(&home)?.is_none();
            note.write(&home)?;
            let options = LayDownOptions {
                delta: earlier != Earlier::Nothing,
                tablespaces: self.tablespaces.clone(),
            };
            let laid = lay_down(&self.plan.base, &self.target, &options, work).await;
            if fresh && laid.is_err() && !is_laying(&self.target) {
                // It was refused before anything was touched: what is there is not ours to be remembered.
                Note::forget(&home);
            }
            let laid = laid?;
            note.tablespaces = laid.tablespaces.iter().map(|(_, place)| place.clone()).collect();
            Some(laid)
        };
        note.reached(Phase::Replaying, &home)?;
        Ok(laid)
    }

    /// Replays the log on what was laid down; returns with the server at the target.
    pub async fn replay(
        &self,
        _hold: &Hold,
        clock: &Clock,
        cancel: &CancellationToken,
        tell: &(dyn Fn(&Seen) + Sync),
    ) -> Result<Replayed, RecoveryError> {
        let home = home_of(&self.target);
        let order = Replay {
            plan: self.plan.clone(),
            then: self.then,
            data: self.target.clone(),
            home: home.clone(),
            program: program()?,
            bin_dir: self.bin_dir.clone(),
            roles: self.roles.clone(),
            settings: self.settings.clone(),
        };
        let replayed = replay(&order, &self.archive, clock, cancel, tell).await?;
        if let Some(mut note) = Note::read(&home)? {
            note.reached(Phase::of(replayed.seen.standing), &home)?;
        }
        Ok(replayed)
    }

    fn note(&self, clock: &Clock) -> Note {
        Note {
            phase: Phase::Laying,
            system: self.archive.system(),
            base: self.plan.base.clone(),
            timeline: self.plan.timeline,
            target: self.plan.target.clone(),
            inclusive: self.plan.inclusive,
            repository: self.repository.clone(),
            source: self.source.clone(),
            tablespaces: Vec::new(),
            roles: self.roles.clone(),
            bin_dir: self.bin_dir.clone(),
            owner: self.owner.clone(),
            began_at: clock.now(),
        }
    }
}

/// Ends the server that an earlier call has left on a copy, off the runtime.
pub async fn end_server(data: &Path, home: &Path, clock: &Clock) -> Result<(), RecoveryError> {
    let (data, home, clock) = (data.to_owned(), home.to_owned(), clock.clone());
    let ending = tokio::task::spawn_blocking(move || server::end_on(&data, &home, &clock));
    Ok(ending.await.map_err(|_| RecoveryError::cancelled())??)
}

/// This program, for the server to call.
pub fn program() -> Result<PathBuf, RecoveryError> {
    let found = std::env::current_exe();
    found.map_err(|error| SourceError::local("find", Path::new("this program"), &error).into())
}

/// Roles to log in with, the likeliest first: one that was given, that of the source, the usual one, our own.
pub fn roles(given: Option<&str>, of_source: Option<&str>) -> Vec<String> {
    let ours = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let ours = ours.map(|user| user.name);
    let all = [given, of_source, Some("postgres"), ours.as_deref()];
    let mut roles: Vec<String> = Vec::new();
    for role in all.into_iter().flatten() {
        if !roles.iter().any(|known| known == role) {
            roles.push(role.to_owned());
        }
    }
    roles
}
