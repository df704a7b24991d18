//! The sandbox's configuration: an ordinary one, which the command line can be pointed at too.

use std::path::{Path, PathBuf};

use super::shop;
use crate::source::postgres::Login;

/// What the sandbox keeps: little enough that one sees snapshots go within minutes, enough for every exercise.
const RETENTION: &str = "retention = { last = 12, hourly = 6, within = \"10m\" }\n";
/// When the sandbox's repository is looked after.
const UPKEEP: &str =
    "trash = \"1h\"\ngrace = \"10m\"\nprune = \"*/15 * * * *\"\ncheck = { schedule = \"*/20 * * * *\" }\n";

/// The text of `lifeboat.toml` of a sandbox in `dir`.
pub(super) fn configuration(dir: &Path, login: Option<&Login>) -> String {
    let near = dir.join("state/agent.sock");
    // A socket's path has a hundred bytes and a few.
    let socket = if near.as_os_str().len() < 100 {
        near
    } else {
        std::env::temp_dir().join(format!("lifeboat-demo-{}.sock", std::process::id()))
    };
    let general = format!(
        "# The sandbox of lifeboat demo; an ordinary configuration. With the files kept:\n\
         #   lifeboat --config {} --embedded snapshot list\n\
         site = \"sandbox\"\nenvironment = \"DEMO\"\n\n\
         [agent]\nstate_dir = {}\nsocket = {}\n\n\
         [repository.sandbox]\nurl = {}\npassword = {{ file = {} }}\n{UPKEEP}",
        dir.join("lifeboat.toml").display(),
        quoted(dir.join("state")),
        quoted(socket),
        quoted(dir.join("repository")),
        quoted(dir.join("password")),
    );
    let documents = format!(
        "[source.documents]\nkind = \"files\"\npaths = [{}]\n\n\
         [job.documents]\nsource = \"documents\"\nrepository = \"sandbox\"\nschedule = \"*/30 * * * * *\"\n\
         retry = {{ attempts = 1, backoff = \"5s\" }}\nverify = {{ level = \"probed\" }}\n{RETENTION}",
        quoted(dir.join("documents")),
    );
    let sources = if login.is_some() {
        "\"shop\", \"documents\""
    } else {
        "\"documents\""
    };
    // The log of the cluster is streamed, so that seconds can be promised of it.
    let cluster = if login.is_some() {
        "\n[service.cluster]\nsources = [\"cluster\"]\nrpo = \"1m\"\nrto = \"3m\"\n\n\
         [drill.any-instant]\nsource = \"cluster\"\nschedule = \"30 */5 * * * *\"\npoint = \"random\"\n"
    } else {
        ""
    };
    let service = format!("[service.shop]\nsources = [{sources}]\nrpo = \"5m\"\nrto = \"3m\"\n{cluster}");
    let database = login.map(database);
    [Some(general), Some(documents), database, Some(service)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
}

fn database(login: &Login) -> String {
    let connection = &login.connection;
    let probe = |(name, sql, expect): &(&str, &str, &str)| {
        format!(
            "    {{ name = {}, sql = {}, expect = {expect} }},",
            text(name),
            text(sql)
        )
    };
    let probes: Vec<String> = shop::PROBES.iter().map(probe).collect();
    let bin_dir = quoted(connection.bin_dir.clone().unwrap_or_default());
    let cluster = format!(
        "[source.cluster]\nkind = \"postgres-physical\"\nhost = {0}\nport = {1}\nuser = {2}\ntls = \"disable\"\n\
         bin_dir = {bin_dir}\n\n\
         [job.cluster]\nsource = \"cluster\"\nrepository = \"sandbox\"\nschedule = \"0 */10 * * * *\"\n\
         retry = {{ attempts = 1, backoff = \"5s\" }}\nverify = {{ level = \"restored\" }}\n{RETENTION}\n\
         [cluster.shop]\n\n[[cluster.shop.members]]\nname = \"db1\"\nhost = {0}\nport = {1}\nuser = {2}\n\
         tls = \"disable\"\nbin_dir = {bin_dir}\n\n",
        text(&connection.host),
        connection.port,
        text(&connection.user),
    );
    format!(
        "{cluster}[source.shop]\nkind = \"postgres-dump\"\nhost = {}\nport = {}\nuser = {}\ntls = \"disable\"\n\
         bin_dir = {}\ndatabase = {}\n\n\
         [job.shop]\nsource = \"shop\"\nrepository = \"sandbox\"\nschedule = \"0 * * * * *\"\n\
         retry = {{ attempts = 1, backoff = \"5s\" }}\n\n\
         {RETENTION}\n[job.shop.verify]\nlevel = \"probed\"\nprobes = [\n{}\n]\n",
        text(&connection.host),
        connection.port,
        text(&connection.user),
        bin_dir,
        text(shop::DATABASE),
        probes.join("\n"),
    )
}

fn quoted(path: PathBuf) -> String {
    text(&path.into_os_string().to_string_lossy())
}

fn text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
