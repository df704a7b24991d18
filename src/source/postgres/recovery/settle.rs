//! How a server stands that was left waiting: a look from outside, and a thorough one after something was interrupted.
//!
//! A look asks the file system and the process table, never the server, so that it may be done every few seconds. Settling
//! asks the server too, notes what it finds, and does nothing again that was to be done.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::follow_up::{Begun, psql};
use super::look::Looker;
use super::{Hold, Note, Phase, RecoveryError, home_of};
use crate::clock::Clock;
use crate::domain::follow_up::{Fate, ServerSeen};
use crate::domain::pitr::Target;
use crate::source::postgres::server::PrivateServer;

/// How often a server that is being settled is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How many looks at a server that nobody steers have to say the same before that is believed.
const STEADY: u32 = 5;
/// The same for one that follows the end of the log, of which PostgreSQL cannot say that it stands still.
const STEADY_AT_END: u32 = 30;
/// How many looks there are at most: a server that gets nowhere within half a minute without its log is ended.
const LOOKS: u32 = 300;

/// Looks at what is in a place where a server was left waiting, without asking the server; none while somebody else acts on
/// it. `before` is what was known: it stays as far as nothing says otherwise. Blocks.
pub fn look(data: &Path, before: &ServerSeen) -> Result<Option<ServerSeen>, RecoveryError> {
    if Hold::is_held(&home_of(data)) {
        return Ok(None);
    }
    stands(data, before)
}

/// How it stands by its files and its process; none while it is on its way.
fn stands(data: &Path, before: &ServerSeen) -> Result<Option<ServerSeen>, RecoveryError> {
    let home = home_of(data);
    let seen = |fate, psql| ServerSeen {
        fate,
        psql,
        ..before.clone()
    };
    let Some(note) = Note::read(&home)? else {
        // Whoever opens it by command has it stopped, and takes our note away.
        let laid = data.join("global/pg_control").exists();
        return Ok(Some(seen(if laid { Fate::Promoted } else { Fate::Discarded }, None)));
    };
    let begun = Begun {
        data: data.to_owned(),
        home,
        note,
    };
    if !data.exists() {
        // Whoever throws it away takes the note away, too.
        return Ok(Some(seen(Fate::Lost, None)));
    }
    let running = PrivateServer::running(&begun.home)?;
    let at_note = |fate| ServerSeen {
        fate,
        target: begun.note.target.clone(),
        inclusive: begun.note.inclusive,
        psql: running.as_ref().map(psql),
        // Where a place was replayed to is only known of that place.
        lsn: before.lsn.filter(|_| before.target == begun.note.target),
        last_commit: before.last_commit.filter(|_| before.target == begun.note.target),
    };
    Ok(match (begun.was_opened(), &running, begun.note.phase) {
        (true, ..) => Some(at_note(Fate::Promoted)),
        (false, None, _) => Some(at_note(Fate::Gone)),
        (false, Some(_), Phase::Paused) => Some(at_note(Fate::Waiting)),
        // Somebody lays it down anew, or moves it on.
        (false, Some(_), _) => None,
    })
}

/// Finds out how a server stands whose follow-up was interrupted, and notes it. Nothing is done again: a server that is still
/// on its way without anybody to steer it is given half a minute to get somewhere, then it is ended. Only a removal that came
/// as far as our note is finished.
pub async fn settle(
    data: &Path,
    before: &ServerSeen,
    removing: bool,
    clock: &Clock,
) -> Result<ServerSeen, RecoveryError> {
    let home = home_of(data);
    let Some(mut note) = Note::read(&home)? else {
        return Ok(stands(data, before)?.unwrap_or_else(|| before.clone()));
    };
    if !data.exists() {
        if removing {
            // Everything but the note is gone, and the note is what goes last.
            fs::remove_dir_all(&home).map_err(|error| RecoveryError::local("remove", &home, &error))?;
        }
        return Ok(stands(data, before)?.unwrap_or_else(|| before.clone()));
    }
    let mut told = (None, None);
    if let Some(mut server) = PrivateServer::attach(&home, clock)? {
        // A wish that the server has not taken must not come true later, when nobody waits for it.
        let _ = fs::remove_file(data.join("promote"));
        match until_steady(&mut server, &note, clock).await? {
            Some((phase, lsn, last_commit)) => {
                note.reached(phase, &home)?;
                server.keep()?;
                told = (lsn, last_commit);
            }
            None => super::stop(server).await?,
        }
    }
    let mut seen = stands(data, before)?.unwrap_or_else(|| ServerSeen {
        fate: Fate::Gone,
        ..before.clone()
    });
    seen.lsn = told.0.or(seen.lsn);
    seen.last_commit = told.1.or(seen.last_commit);
    if seen.fate == Fate::Promoted && note.phase != Phase::Opened {
        note.reached(Phase::Opened, &home)?;
    }
    Ok(seen)
}

type Steady = (Phase, Option<crate::domain::wal::Lsn>, Option<crate::domain::Timestamp>);

/// Waits until a server is open, or stands still; none when it has ended or gets nowhere.
async fn until_steady(server: &mut PrivateServer, note: &Note, clock: &Clock) -> Result<Option<Steady>, RecoveryError> {
    let mut looker = Looker::new(clock);
    let mut still = 0;
    for _ in 0..LOOKS {
        if server.has_ended() {
            return Ok(None);
        }
        if let Some(looked) = looker.look(server).await? {
            let steady = |phase| Some((phase, looked.lsn, looked.last_commit));
            if !looked.recovering {
                looker.end().await;
                return Ok(steady(Phase::Opened));
            }
            let at_end = note.target == Target::Latest;
            still = if looked.paused || at_end { still + 1 } else { 0 };
            if still >= if looked.paused { STEADY } else { STEADY_AT_END } {
                looker.end().await;
                return Ok(steady(Phase::Paused));
            }
        }
        clock.sleep(LOOK_EVERY).await;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::wal::{SystemId, TimelineId};

    fn begun(dir: &Path, phase: Phase) -> Begun {
        let data = dir.join("orders");
        fs::create_dir_all(data.join("global")).unwrap();
        fs::write(data.join("global/pg_control"), "").unwrap();
        let note = Note {
            phase,
            system: SystemId(7),
            base: "ab".into(),
            timeline: TimelineId(1),
            target: Target::Latest,
            inclusive: true,
            repository: None,
            source: None,
            tablespaces: Vec::new(),
            roles: Vec::new(),
            bin_dir: None,
            owner: None,
            began_at: Timestamp::UNIX_EPOCH,
        };
        note.write(&home_of(&data)).unwrap();
        Begun::read(&data).unwrap()
    }

    fn waiting() -> ServerSeen {
        ServerSeen {
            fate: Fate::Waiting,
            target: Target::Latest,
            inclusive: true,
            lsn: None,
            last_commit: None,
            psql: None,
        }
    }

    fn fate(begun: &Begun) -> Fate {
        look(&begun.data, &waiting()).unwrap().unwrap().fate
    }

    #[test]
    fn a_copy_whose_signal_postgresql_has_taken_away_was_opened_and_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let begun = begun(dir.path(), Phase::Paused);
        assert_eq!(fate(&begun), Fate::Promoted);
        assert!(matches!(begun.may_be_removed(), Err(RecoveryError::Opened { .. })));
        assert!(matches!(begun.may_go_on(), Err(RecoveryError::Opened { .. })));
        fs::write(begun.data.join("recovery.signal"), "").unwrap();
        assert_eq!(fate(&begun), Fate::Gone, "no server runs on it");
        assert!(begun.may_be_removed().is_ok() && begun.may_go_on().is_ok());
    }

    #[test]
    fn a_copy_that_no_server_was_started_on_yet_was_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let begun = begun(dir.path(), Phase::Replaying);
        fs::write(begun.data.join("backup_label"), "").unwrap();
        assert_eq!(fate(&begun), Fate::Gone);
        assert!(begun.may_go_on().is_ok());
    }

    #[tokio::test]
    async fn what_somebody_acts_on_is_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let begun = begun(dir.path(), Phase::Paused);
        let (_, hold) = Begun::hold(&begun.data, "removing", &clock).await.unwrap();
        assert_eq!(
            look(&begun.data, &waiting()).unwrap(),
            None,
            "half of a removal is no fate"
        );
        drop(hold);
        assert_eq!(fate(&begun), Fate::Promoted);
        assert!(begun.home.exists(), "what is noted stays noted");
    }

    #[tokio::test]
    async fn what_was_removed_or_opened_by_command_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let begun = begun(dir.path(), Phase::Paused);
        fs::remove_dir_all(&begun.home).unwrap();
        assert_eq!(fate(&begun), Fate::Promoted, "opened by command, and stopped");
        fs::remove_dir_all(&begun.data).unwrap();
        assert_eq!(fate(&begun), Fate::Discarded);
        // Without its directory, but with our note, it was not thrown away by us: nothing of it is removed.
        begun.note.write(&begun.home).unwrap();
        assert_eq!(fate(&begun), Fate::Lost);
        let seen = settle(&begun.data, &waiting(), false, &Clock::system()).await.unwrap();
        assert!(seen.fate == Fate::Lost && begun.home.exists());
        // A removal that was cut off before its note was gone is finished.
        let seen = settle(&begun.data, &waiting(), true, &Clock::system()).await.unwrap();
        assert_eq!(seen.fate, Fate::Discarded);
        assert!(!begun.home.exists());
    }
}
