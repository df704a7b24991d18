//! What the options of a PostgreSQL source mean: one database that is dumped, or a whole cluster whose files are copied.

use toml::Spanned;

use super::raw::{RawConnection, RawPostgresDump, RawPostgresPhysical};
use super::section::{Place, Problems};
use crate::domain::source::{DumpSelection, PhysicalSource, PostgresConnection, PostgresSource, ReadFrom, TlsMode};

/// The database that questions about a whole server are asked in; every `initdb` makes it.
pub(super) const MAINTENANCE: &str = "postgres";

/// Makes the source of a dump of its options.
pub(super) fn dump(place: &Place<'_>, raw: RawPostgresDump, problems: &mut Problems) -> PostgresSource {
    let text = [("host", &raw.host), ("user", &raw.user), ("database", &raw.database)];
    not_empty(place, &text, problems);
    let connection = PostgresConnection {
        host: raw.host,
        port: port(place, "port", raw.port, 5432, problems),
        user: raw.user,
        password: raw.password.map(|secret| secret.0),
        tls: raw.tls.unwrap_or_default(),
        bin_dir: raw.bin_dir.map(|path| path.0),
    };
    check_tls(place, "tls", &connection, problems);
    for pattern in raw.tables.iter().chain(&raw.exclude_tables) {
        if !pattern.get_ref().contains('.') {
            let message = format!("\"{}\" names no table", pattern.get_ref());
            let hint = Some("write schema.table, with * for any letters, such as public.orders or audit.*".to_owned());
            place.problem(problems, pattern.span().start, "tables", message, hint);
        }
    }
    let words = |list: Vec<Spanned<String>>| list.into_iter().map(Spanned::into_inner).collect();
    PostgresSource {
        selection: DumpSelection {
            format: raw.format.unwrap_or_default(),
            tables: words(raw.tables),
            exclude_tables: words(raw.exclude_tables),
        },
        scratch: raw
            .scratch
            .map(|scratch| other_server(place, "scratch", scratch, &connection, problems)),
        connection,
        database: raw.database,
    }
}

/// Makes the source of a physical backup of its options.
pub(super) fn physical(place: &Place<'_>, raw: RawPostgresPhysical, problems: &mut Problems) -> PhysicalSource {
    let database = raw.database.unwrap_or_else(|| MAINTENANCE.to_owned());
    let text = [("host", &raw.host), ("user", &raw.user), ("database", &database)];
    not_empty(place, &text, problems);
    let connection = PostgresConnection {
        host: raw.host,
        port: port(place, "port", raw.port, 5432, problems),
        user: raw.user,
        password: raw.password.map(|secret| secret.0),
        tls: raw.tls.unwrap_or_default(),
        bin_dir: raw.bin_dir.map(|path| path.0),
    };
    check_tls(place, "tls", &connection, problems);
    let standby = raw
        .standby
        .map(|standby| other_server(place, "standby", standby, &connection, problems));
    if let Some(standby) = &standby {
        check_tls(place, "standby.tls", standby, problems);
    }
    let from = raw.from.unwrap_or_default();
    if from != ReadFrom::Primary && standby.is_none() {
        let message = format!("{} needs a standby, and none is named", from.word());
        let hint = Some("write standby = { host = \"…\" }, or leave from out".to_owned());
        place.problem(problems, place.offset, "from", message, hint);
    }
    PhysicalSource {
        connection,
        database,
        standby,
        from,
        method: raw.method.unwrap_or_default(),
        data_directory: raw.data_directory.map(|path| path.0),
        scratch_dir: raw.scratch_dir.map(|path| path.0),
        log_window: raw.log_window.map(|window| window.0),
        receive_slot: raw.receive_slot.map(|slot| slot_name(place, slot, problems)),
    }
}

/// The name of a slot, as PostgreSQL allows it.
fn slot_name(place: &Place<'_>, slot: Spanned<String>, problems: &mut Problems) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let name = slot.get_ref();
    if name.is_empty() || name.len() > 63 || !name.chars().all(allowed) {
        let hint = Some("use lower-case letters, digits and _".to_owned());
        let message = format!("\"{name}\" cannot be a replication slot");
        place.problem(problems, slot.span().start, "receive_slot", message, hint);
    }
    slot.into_inner()
}

fn not_empty(place: &Place<'_>, texts: &[(&str, &String)], problems: &mut Problems) {
    for (key, _) in texts.iter().filter(|(_, text)| text.trim().is_empty()) {
        place.problem(problems, place.offset, key, "it is empty", None);
    }
}

fn check_tls(place: &Place<'_>, key: &str, connection: &PostgresConnection, problems: &mut Problems) {
    if connection.host.starts_with('/') && matches!(connection.tls, TlsMode::Require | TlsMode::VerifyFull) {
        let hint = Some("a Unix socket is not encrypted; write tls = \"disable\" or a host name".to_owned());
        let message = "this host is the directory of a Unix socket";
        place.problem(problems, place.offset, key, message, hint);
    }
}

/// Another server; what is absent is as in the source.
fn other_server(
    place: &Place<'_>,
    key: &str,
    raw: RawConnection,
    source: &PostgresConnection,
    problems: &mut Problems,
) -> PostgresConnection {
    PostgresConnection {
        host: raw.host.unwrap_or_else(|| source.host.clone()),
        port: port(place, &format!("{key}.port"), raw.port, source.port, problems),
        user: raw.user.unwrap_or_else(|| source.user.clone()),
        password: raw.password.map(|secret| secret.0).or_else(|| source.password.clone()),
        tls: raw.tls.unwrap_or(source.tls),
        bin_dir: raw.bin_dir.map(|path| path.0).or_else(|| source.bin_dir.clone()),
    }
}

pub(super) fn port(
    place: &Place<'_>,
    key: &str,
    raw: Option<Spanned<u16>>,
    default: u16,
    problems: &mut Problems,
) -> u16 {
    match raw {
        Some(zero) if *zero.get_ref() == 0 => {
            place.problem(problems, zero.span().start, key, "0 is no port; write 1 to 65535", None);
            default
        }
        Some(port) => port.into_inner(),
        None => default,
    }
}
