//! What a person types for a step when this program is gone: the document of a runbook, printed before the disaster, has to be
//! enough at night.
//!
//! Lines are for the PostgreSQL and restic programs of any distribution, with the names of the runbook in their places. Steps that
//! are commands, statements or words for people say themselves what to type, and have no line here.

use super::action::{Action, OfMember};

/// Keeps clients from writing and ends what they are doing; new sessions may only read.
const FENCE: &str = "alter system set default_transaction_read_only = on; select pg_reload_conf(); \
    select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid();";

fn at(of: &OfMember, sql: &str) -> String {
    format!("psql -h {} -d postgres, as a superuser: {sql}", of.member.text())
}

impl Action {
    /// How the same is done without this program; none when the step says so itself, or it cannot be.
    pub fn by_hand(&self) -> Option<String> {
        Some(match self {
            Self::Restore(act) => {
                let (snapshot, target) = (act.snapshot.text(), act.target.text());
                format!(
                    "restic -r REPOSITORY restore {snapshot} --target {target} (snapshots: restic -r REPOSITORY snapshots)"
                )
            }
            Self::Recover(act) => format!(
                "restic -r REPOSITORY restore SNAPSHOT --target {target}, of {source}; there set restore_command, one of \
                 recovery_target_time, _lsn, _xid or _name to '{to}', recovery_target_action = 'pause', unix_socket_directories and \
                 listen_addresses = ''; touch recovery.signal; pg_ctl -D {target} start",
                target = act.target.text(),
                source = act.source.text(),
                to = act.to.text()
            ),
            Self::Verify(act) => format!(
                "restic -r REPOSITORY restore {} --target SCRATCH --verify",
                act.snapshot.text()
            ),
            Self::Fence(act) if act.gone.as_ref().is_some_and(|gone| gone.text() == "true") => {
                format!(
                    "switch {} off, or cut it off the network, and make sure it stays so",
                    act.member.text()
                )
            }
            Self::Fence(act) => at(act, FENCE),
            Self::Unfence(act) => at(
                act,
                "alter system reset default_transaction_read_only; select pg_reload_conf();",
            ),
            Self::Replay(act) => at(
                act,
                "select pg_last_wal_replay_lsn(); until it is what pg_current_wal_lsn() of the fenced primary says",
            ),
            Self::Promote(act) => format!(
                "psql -h {} -d postgres, as a superuser: select pg_promote(); then select pg_is_in_recovery(); has to be f",
                act.member.text()
            ),
            Self::Rewind(act) if act.clone => format!(
                "stop {member}, move its data directory away, and on its machine: pg_basebackup -h PRIMARY -D DATA_DIRECTORY -R -X \
                 stream -c fast; start {member}",
                member = act.member.text()
            ),
            Self::Rewind(act) => format!(
                "stop {member} cleanly, and on its machine: pg_rewind --target-pgdata DATA_DIRECTORY --source-server 'host=PRIMARY \
                 dbname=postgres' -R; start {member}",
                member = act.member.text()
            ),
            Self::Service(act) => {
                let member = act.member.as_ref()?;
                format!(
                    "on the machine of {}: pg_ctl -D DATA_DIRECTORY {}",
                    member.text(),
                    act.act.word()
                )
            }
            _ => return None,
        })
    }
}
