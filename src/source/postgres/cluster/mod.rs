//! A replicated cluster: looked at, fenced, promoted, rebuilt. What may be done is decided in [`crate::domain::cluster`]; this
//! room looks, and does.
//!
//! A switchover is four commands, each whole in itself, each refused when the one before has not done its work:
//!
//! ```text
//! fence PRIMARY ─▶ wait STANDBY ─▶ promote STANDBY ─▶ (stop PRIMARY) rewind PRIMARY      and the same back: failback
//!   read-only,      replayed to      pg_promote,        follows the new primary,
//!   proved, LSN     that LSN         proved to write    proved to stream
//! ```
//!
//! **Looked at twice.** Every step looks at all members again right before it acts, under a lock, and decides from that; what
//! was shown to a person a minute ago is never acted on.
//!
//! **Crash windows.** Before anything is changed, a note goes to the [`Ledger`] durably, and again when it is over. Wherever a
//! process is killed, `look` and the note together say what was begun ([`crate::domain::cluster::record`] has the table), and
//! the same command begun again finishes it.
//!
//! **What a fence is.** `default_transaction_read_only` by `ALTER SYSTEM`, so that it outlives a restart; every session of others
//! ended; the fence command, when there is one. Proved by an attempt to write, and by a snapshot without a transaction under way.
//! A session that sets its own transactions to read write is not kept out by a setting: the number of the next transaction is
//! remembered, so that such a writer is found, and only the fence command keeps it out for good.
//!
//! **Secrets.** Passwords reach servers in the protocol and children in a private `PGPASSFILE`. A standby that needs one to
//! follow its primary has it in `lifeboat.pgpass` in its data directory, which only the server's user can read.
//!
//! **Whose files.** `pg_rewind` and `pg_basebackup` run as the owner of the data directory and copy the primary's settings; the
//! member's own (`postgresql.conf`, `pg_hba.conf`, `pg_ident.conf`, `postgresql.auto.conf`) are put back.
//!
//! | file | what it does |
//! | --- | --- |
//! | `look`, `local` | what every member says, and its data directory |
//! | [`ledger`] | the notes, and the lock |
//! | `fence`, `disk` | keeps writers out and lets them in; the same of a server that is down |
//! | `promote` | waits for a standby, promotes it |
//! | `rebuild`, `place`, `follow` | rewinds or clones a member, puts the clone in place, has it follow the primary |
//! | `command`, `leftover` | the commands of the configuration: fence, start, stop; programs a killed process left at work |
//!
//! What this room never does: promote on its own account, take silence for absence, delete a data directory that was not
//! asked for, start a server that was not stopped by it.

mod command;
mod disk;
mod error;
mod fence;
mod follow;
pub mod ledger;
mod leftover;
mod local;
mod look;
mod place;
mod promote;
mod rebuild;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use error::ClusterError;
pub use ledger::Ledger;
pub use promote::{Promoted, Waited};
pub use rebuild::Rebuilt;

use super::Login;
use super::connect::Session;
use crate::clock::Clock;
use crate::config::secret;
use crate::domain::cluster::{Cluster, Member, Picture, Record, Refusal, Seen, Service, picture};
use crate::domain::id::MemberName;
use crate::domain::wal::Lsn;
use crate::source::SourceError;

/// How often something that is waited for is looked at.
const EVERY: Duration = Duration::from_millis(200);

/// A cluster, with what is needed to act on it.
#[derive(Debug, Clone)]
pub struct ClusterHandle {
    /// What it is made of.
    pub cluster: Cluster,
    /// Who we are on each member, or why that is not known: then it does not answer, and says so.
    pub logins: BTreeMap<MemberName, Result<Login, String>>,
    /// The notes of this machine.
    pub ledger: Ledger,
    /// Who acts: `ana@host`.
    pub by: String,
    /// Time.
    pub clock: Clock,
    /// Stops what is waited for.
    pub cancel: CancellationToken,
    /// How long a member has to answer; as long as a connection may take when absent.
    pub patience: Option<Duration>,
}

/// Told what is being done, line by line.
pub type Tell<'a> = &'a (dyn Fn(&str) + Send + Sync);

impl ClusterHandle {
    /// What is needed to act on a cluster as `by`; the notes are kept below `state_dir`.
    pub async fn reach(
        cluster: Cluster,
        state_dir: &Path,
        by: String,
        clock: Clock,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            logins: logins(&cluster).await,
            ledger: Ledger::new(state_dir, &cluster.name),
            cluster,
            by,
            clock,
            cancel,
            patience: None,
        }
    }

    /// Looks at every member at one time.
    pub async fn look(&self) -> Seen {
        look::all(self).await
    }

    /// What was begun and not finished.
    pub fn record(&self) -> Result<Record, ClusterError> {
        self.ledger.read()
    }

    /// Looks at every member and adds it up.
    pub async fn picture(&self) -> Result<(Seen, Record, Picture), ClusterError> {
        let (seen, record) = (self.look().await, self.record()?);
        let drawn = picture::draw(&self.cluster, &seen, &record);
        Ok((seen, record, drawn))
    }

    /// Has the primary name the present place in its log, so that a recovery can go to it; which member that is, and where.
    ///
    /// # Errors
    /// Refused when no member takes writes, or several do: then the name would not say which history is meant.
    pub async fn restore_point(&self, point: &str) -> Result<(MemberName, Lsn), ClusterError> {
        let (_, _, picture) = self.picture().await?;
        let Some(primary) = picture.primary else {
            let why = picture.signs.first().map(|sign| sign.what.clone());
            return Err(ClusterError::Refused(vec![Refusal {
                reason: "no-primary".to_owned(),
                what: why.unwrap_or_else(|| "no member takes writes".to_owned()),
                how: format!(
                    "a restore point is written by the primary: lifeboat cluster status {}",
                    self.cluster.name
                ),
            }]));
        };
        let session = self.session(&primary).await?;
        let doing = format!("create the restore point {point}");
        let rows = session
            .rows(&doing, "select pg_catalog.pg_create_restore_point($1)::text", &[&point])
            .await?;
        let lsn = look::lsn(rows.first().map(|row| row.get(0)), &session.server)?;
        Ok((primary, lsn))
    }

    /// Starts the server of a member by its service.
    pub async fn start_service(&self, member: &MemberName) -> Result<(), ClusterError> {
        let service = self.service(member)?;
        command::run(self, &format!("the start of {member}"), &service.start, member).await
    }

    /// Stops the server of a member by its service.
    pub async fn stop_service(&self, member: &MemberName) -> Result<(), ClusterError> {
        let service = self.service(member)?;
        command::run(self, &format!("the stop of {member}"), &service.stop, member).await
    }

    fn service(&self, name: &MemberName) -> Result<&Service, ClusterError> {
        self.member(name)?.service.as_ref().ok_or_else(|| {
            ClusterError::from(SourceError::Invalid {
                what: format!("how {name} is started and stopped is not configured"),
                hint: Some(format!(
                    "write start and stop for {name} in [cluster.{}]",
                    self.cluster.name
                )),
            })
        })
    }

    /// The definition of a member that is known to be there.
    fn member(&self, name: &MemberName) -> Result<&Member, ClusterError> {
        self.cluster.member(name).ok_or_else(|| {
            ClusterError::from(SourceError::Invalid {
                what: format!("cluster {} has no member {name}", self.cluster.name),
                hint: None,
            })
        })
    }

    fn login(&self, name: &MemberName) -> Result<Login, ClusterError> {
        let why = match self.logins.get(name) {
            Some(Ok(login)) => return Ok(login.clone()),
            Some(Err(why)) => why.as_str(),
            None => "it is not in the configuration",
        };
        Err(ClusterError::from(SourceError::Invalid {
            what: format!("the password of {name} cannot be read: {why}"),
            hint: Some("check the password of the member in the configuration".to_owned()),
        }))
    }

    async fn session(&self, name: &MemberName) -> Result<Session, ClusterError> {
        let (login, database) = (self.login(name)?, &self.member(name)?.database);
        let session = login.open(database, &self.clock).await?;
        // A role may have limits of its own that must not cut a step in two.
        session
            .execute("prepare to work", "set statement_timeout = 0; set lock_timeout = '10s'")
            .await?;
        Ok(session)
    }

    /// Waits a little; an error when somebody cancelled.
    async fn pause(&self) -> Result<(), ClusterError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(SourceError::Cancelled.into()),
            () = self.clock.sleep(EVERY) => Ok(()),
        }
    }
}

/// Who we are on each member. A member whose password cannot be read does not answer and says why; the others do.
async fn logins(cluster: &Cluster) -> BTreeMap<MemberName, Result<Login, String>> {
    let mut logins = BTreeMap::new();
    for member in &cluster.members {
        let password = match &member.connection.password {
            Some(reference) => secret::resolve(reference).await.map(Some),
            None => Ok(None),
        };
        let login = password.map(|password| Login::new(member.connection.clone(), password));
        logins.insert(member.name.clone(), login.map_err(|error| error.to_string()));
    }
    logins
}
