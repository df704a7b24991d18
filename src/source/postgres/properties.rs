//! What belongs to a database itself and is in no dump of it: its owner, grants, settings, limit and comment.
//!
//! A database that takes the place of another has to have them, or the applications that come back find doors closed and settings
//! gone. They are read as SQL that gives them to a database of a name.

use super::connect::{Session, literal, quoted};
use crate::source::SourceError;

/// Settings whose value is a list, each part of which is quoted for itself (`GUC_LIST_QUOTE` of the server).
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The statements that give what one database has to another, which has none of it yet.
pub(super) async fn of(session: &Session, from: &str, to: &str) -> Result<String, SourceError> {
    let name = quoted(to);
    let doing = "read what belongs to the database";
    let sql = "select pg_catalog.pg_get_userbyid(datdba)::text, datconnlimit, datacl is not null,
                      pg_catalog.shobj_description(oid, 'pg_database')
                 from pg_catalog.pg_database where datname = $1";
    let rows = session.rows(doing, sql, &[&from]).await?;
    let Some(row) = rows.first() else {
        return Err(SourceError::NoSuchDatabase {
            server: session.server.clone(),
            database: from.to_owned(),
        });
    };
    let comment = row
        .get::<_, Option<String>>(3)
        .map_or("null".to_owned(), |text| literal(&text));
    let mut out = vec![
        format!("alter database {name} connection limit {}", row.get::<_, i32>(1)),
        format!("comment on database {name} is {comment}"),
        // The grants of a new database are those of its owner: who that is comes first.
        format!("alter database {name} owner to {}", quoted(row.get(0))),
    ];
    if row.get(2) {
        out.push(format!("revoke all on database {name} from public"));
        let sql = "select case when a.grantee = 0 then null else pg_catalog.pg_get_userbyid(a.grantee)::text end,
                          a.privilege_type::text, a.is_grantable
                     from pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a where d.datname = $1";
        for row in session.rows(doing, sql, &[&from]).await? {
            let grantee: Option<String> = row.get(0);
            let grantee = grantee.map_or("public".to_owned(), |role| quoted(&role));
            let onward = if row.get(2) { " with grant option" } else { "" };
            let privilege: String = row.get(1);
            out.push(format!("grant {privilege} on database {name} to {grantee}{onward}"));
        }
    }
    let sql = "select case when s.setrole = 0 then null else pg_catalog.pg_get_userbyid(s.setrole)::text end,
                      pg_catalog.unnest(s.setconfig)
                 from pg_catalog.pg_db_role_setting s join pg_catalog.pg_database d on d.oid = s.setdatabase
                where d.datname = $1";
    for row in session.rows(doing, sql, &[&from]).await? {
        let (role, setting): (Option<String>, String) = (row.get(0), row.get(1));
        let whose = match role {
            Some(role) => format!("role {} in database {name}", quoted(&role)),
            None => format!("database {name}"),
        };
        let (key, value) = setting.split_once('=').unwrap_or((&setting, ""));
        out.push(format!(
            "alter {whose} set {} to {}",
            setting_name(key),
            setting_value(key, value)
        ));
    }
    Ok(out.into_iter().map(|statement| statement + "; ").collect())
}

/// A name like `work_mem` or `app.tenant`, each part in quotes.
fn setting_name(key: &str) -> String {
    key.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

fn setting_value(key: &str, value: &str) -> String {
    if !LISTS.contains(&key.to_ascii_lowercase().as_str()) {
        return literal(value);
    }
    let parts: Vec<String> = parts(value).iter().map(|part| literal(part)).collect();
    if parts.is_empty() {
        "''".to_owned()
    } else {
        parts.join(", ")
    }
}

/// The parts of a list: between commas, without the double quotes around them.
fn parts(list: &str) -> Vec<String> {
    let (mut parts, mut part, mut inside) = (Vec::new(), String::new(), false);
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if inside && letters.peek() == Some(&'"') => {
                part.push('"');
                letters.next();
            }
            '"' => inside = !inside,
            ',' if !inside => parts.push(std::mem::take(&mut part)),
            ' ' if !inside => {}
            _ => part.push(letter),
        }
    }
    if !list.trim().is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_quoted_part_by_part() {
        let value = r#""$user", public, "a ""b"", c""#;
        assert_eq!(
            setting_value("search_path", value),
            r#"E'$user', E'public', E'a "b", c'"#
        );
        assert_eq!(setting_value("search_path", ""), "''");
        assert_eq!(setting_value("work_mem", "64MB"), "E'64MB'");
        assert_eq!(setting_name("app.tenant"), "\"app\".\"tenant\"");
    }
}
