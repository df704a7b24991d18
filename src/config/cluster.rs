//! What the options of a cluster mean.

use std::path::Path;

use toml::Spanned;

use super::failover;
use super::job::hook;
use super::postgres::{MAINTENANCE, port};
use super::raw::{RawCluster, RawMember};
use super::section::{Place, Problems};
use crate::domain::cluster::{Cluster, Failover, Member, Service};
use crate::domain::id::is_valid_name;
use crate::domain::source::{PostgresConnection, TlsMode};
use crate::domain::units::{Bytes, Millis};

/// A standby further behind than this is a sign of trouble, when nothing else is said.
const MAX_LAG: Millis = Millis::from_secs(60);

/// Makes a cluster of its options.
///
/// Runbooks are read later; which are referred to goes to `uses`.
pub(super) fn build(
    place: &Place<'_>,
    raw: RawCluster,
    name: &str,
    uses: &mut Vec<failover::Use>,
    problems: &mut Problems,
) -> Cluster {
    let offset = raw.members.span().start;
    let mut members: Vec<Member> = Vec::new();
    for raw in raw.members.into_inner() {
        let offset = raw.span().start;
        let member = member(place, raw, problems);
        let twin = members.iter().find(|other| {
            let same_server =
                (&other.connection.host, other.connection.port) == (&member.connection.host, member.connection.port);
            other.name == member.name
                || same_server
                || both_at(other.data_directory.as_deref(), member.data_directory.as_deref())
        });
        if let Some(twin) = twin {
            let message = format!(
                "{} and {} have the same name, server or data directory",
                twin.name, member.name
            );
            let hint = Some("every member is a server of its own".to_owned());
            place.problem(problems, offset, "members", message, hint);
        }
        members.push(member);
    }
    if members.is_empty() {
        let hint = Some("write [[cluster.NAME.members]] for each server".to_owned());
        place.problem(problems, offset, "members", "there are none", hint);
    }
    let mut cluster = Cluster {
        name: name.into(),
        members,
        fence: raw.fence.map(|raw| hook(place, "fence", raw, problems)),
        max_loss: raw.max_loss.map_or(Bytes(0), |size| size.0),
        max_lag: raw.max_lag.map_or(MAX_LAG, |length| length.0),
        failover: Failover::default(),
    };
    if let Some(raw) = raw.failover {
        cluster.failover = failover::build(place, raw, &cluster, uses, problems);
    }
    cluster
}

fn both_at(one: Option<&Path>, other: Option<&Path>) -> bool {
    one.is_some() && one == other
}

fn member(place: &Place<'_>, raw: Spanned<RawMember>, problems: &mut Problems) -> Member {
    let offset = raw.span().start;
    let raw = raw.into_inner();
    let name = raw.name;
    let mut wrong = |key: &str, message: String, hint: Option<&str>| {
        place.problem(
            problems,
            offset,
            &format!("members.{key}"),
            message,
            hint.map(str::to_owned),
        );
    };
    if !is_valid_name(&name) {
        let hint = "use letters, digits, - _ and ., at most 64, beginning with a letter, a digit or _";
        wrong("name", format!("\"{name}\" cannot be a name"), Some(hint));
    }
    for (key, text) in [("host", &raw.host), ("user", &raw.user)] {
        if text.trim().is_empty() {
            wrong(key, format!("that of {name} is empty"), None);
        }
    }
    let tls = raw.tls.unwrap_or_default();
    if raw.host.starts_with('/') && matches!(tls, TlsMode::Require | TlsMode::VerifyFull) {
        let hint = "a Unix socket is not encrypted; write tls = \"disable\" or a host name";
        wrong(
            "tls",
            format!("the host of {name} is the directory of a Unix socket"),
            Some(hint),
        );
    }
    let is_slot = |slot: &String| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        !slot.is_empty() && slot.len() <= 63 && slot.chars().all(allowed)
    };
    if let Some(slot) = raw.slot.as_ref().filter(|slot| !is_slot(slot)) {
        let hint = "use lower-case letters, digits and _, at most 63";
        wrong("slot", format!("\"{slot}\" cannot name a replication slot"), Some(hint));
    }
    if raw.start.is_some() != raw.stop.is_some() {
        let hint = "a member has both, or neither";
        wrong("start", format!("{name} has one of start and stop"), Some(hint));
    }
    let start = raw.start.map(|raw| hook(place, "members.start", raw, problems));
    let stop = raw.stop.map(|raw| hook(place, "members.stop", raw, problems));
    Member {
        connection: PostgresConnection {
            host: raw.host,
            port: port(place, "members.port", raw.port, 5432, problems),
            user: raw.user,
            password: raw.password.map(|secret| secret.0),
            tls,
            bin_dir: raw.bin_dir.map(|path| path.0),
        },
        name: name.into(),
        database: raw.database.unwrap_or_else(|| MAINTENANCE.to_owned()),
        data_directory: raw.data_directory.map(|path| path.0),
        config_file: raw.config_file.map(|path| path.0),
        slot: raw.slot,
        service: start.zip(stop).map(|(start, stop)| Service { start, stop }),
    }
}
