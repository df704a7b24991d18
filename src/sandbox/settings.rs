//! The sandbox's configuration: an ordinary one, which the command line can be pointed at too.
//!
//! It has two regions. *Near* are `db1`, the documents and the repository `sandbox`, a directory; *far* are `db2` and the
//! repository `far`, in a bucket on an S3 server of the sandbox's own, which is what is left when the near one is lost. The key
//! to the bucket is in files of the sandbox's owner; the configuration only says where.

use std::path::{Path, PathBuf};

use super::bucket::{BUCKET, Bucket};
use super::member::{members, shop_name};
use super::shop;
use crate::source::postgres::server::PORT;

/// What the names of jobs end with that write to the other region.
pub(super) const FAR: &str = "-far";

/// The repository of the near region, and what it may take at most: far more than a day of practice needs.
pub(super) const NEAR: &str = "sandbox";
pub(super) const NEAR_MOST: u64 = 4 << 30;

/// Where the repository of the near region is.
pub(super) fn near_repository(dir: &Path) -> PathBuf {
    dir.join("repository")
}

/// What the bucket of the far region is kept in.
pub(super) fn far_objects(dir: &Path) -> PathBuf {
    dir.join("far")
}

/// What the repository's place in that bucket is called.
pub(super) const FAR_PREFIX: &str = "repository";

/// The file with the secret half of the key to that bucket.
pub(super) fn far_secret(dir: &Path) -> PathBuf {
    dir.join("far.key")
}

/// What the sandbox keeps: little enough that one sees snapshots go within minutes, enough for every exercise.
const RETENTION: &str = "retention = { last = 12, hourly = 6, within = \"10m\" }\n";
/// When the sandbox's repository is looked after.
const UPKEEP: &str =
    "trash = \"1h\"\ngrace = \"10m\"\nprune = \"*/15 * * * *\"\ncheck = { schedule = \"*/20 * * * *\" }\n";

/// The repository in the other region, and who writes to it: less often, as far as it is away.
const FAR_JOBS: [(&str, &str); 2] = [("shop", "30 */2 * * * *"), ("documents", "45 */5 * * * *")];

/// The text of `lifeboat.toml` of a sandbox in `dir`; `bin_dir` has the programs of its servers, when there are any.
pub(super) fn configuration(dir: &Path, bucket: &Bucket, bin_dir: Option<&Path>) -> String {
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
         [repository.{NEAR}]\nurl = {}\npassword = {{ file = {password} }}\nmax_size = \"{}GiB\"\n{UPKEEP}\n\
         # In the other region: what is left when this one is lost. The server of this bucket ends with the demo; what is kept\n\
         # of it can be read as a directory: lifeboat --repository {} --password-file {password} snapshot list\n\
         [repository.far]\nurl = {}\naccess_key_id = {}\nsecret_access_key = {{ file = {} }}\n\
         password = {{ file = {password} }}\n{UPKEEP}",
        dir.join("lifeboat.toml").display(),
        quoted(dir.join("state")),
        quoted(socket),
        quoted(near_repository(dir)),
        NEAR_MOST >> 30,
        quoted(far_objects(dir).join(BUCKET).join(FAR_PREFIX)),
        text(&bucket.url(FAR_PREFIX)),
        text(&bucket.key().id),
        quoted(far_secret(dir)),
        password = quoted(dir.join("password")),
    );
    let documents = format!(
        "[source.documents]\nkind = \"files\"\npaths = [{}]\n\n\
         [job.documents]\nsource = \"documents\"\nrepository = \"sandbox\"\nschedule = \"*/30 * * * * *\"\n\
         retry = {{ attempts = 1, backoff = \"5s\" }}\nverify = {{ level = \"probed\" }}\n{RETENTION}",
        quoted(dir.join("documents")),
    );
    let sources = if bin_dir.is_some() {
        "\"shop\", \"documents\""
    } else {
        "\"documents\""
    };
    // The log of the cluster is streamed, so that seconds can be promised of it.
    let cluster = if bin_dir.is_some() {
        "\n[service.cluster]\nsources = [\"cluster\"]\nrpo = \"1m\"\nrto = \"3m\"\n\n\
         [drill.any-instant]\nsource = \"cluster\"\nschedule = \"30 */5 * * * *\"\npoint = \"random\"\n"
    } else {
        ""
    };
    let service = format!("[service.shop]\nsources = [{sources}]\nrpo = \"5m\"\nrto = \"3m\"\n{cluster}");
    let database = bin_dir.map(|bin_dir| database(dir, bin_dir));
    let far = FAR_JOBS
        .iter()
        .filter(|(source, _)| bin_dir.is_some() || *source != "shop");
    let far = far.map(|(source, schedule)| {
        format!(
            "[job.{source}{FAR}]\nsource = \"{source}\"\nrepository = \"far\"\nschedule = \"{schedule}\"\n\
             retry = {{ attempts = 1, backoff = \"5s\" }}\n{RETENTION}\n"
        )
    });
    let far = far.collect::<String>();
    [Some(general), Some(documents), database, Some(far), Some(service)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
}

/// The cluster of the shop, and what is backed up of it: whichever server its name means.
fn database(dir: &Path, bin_dir: &Path) -> String {
    let probe = |(name, sql, expect): &(&str, &str, &str)| {
        format!(
            "    {{ name = {}, sql = {}, expect = {expect} }},",
            text(name),
            text(sql)
        )
    };
    let probes: Vec<String> = shop::PROBES.iter().map(probe).collect();
    let server = |host: PathBuf| {
        format!(
            "host = {}\nport = {PORT}\nuser = {}\ntls = \"disable\"\nbin_dir = {}\n",
            quoted(host),
            text(super::server::SUPERUSER),
            quoted(bin_dir.to_owned())
        )
    };
    let member = |member: &super::member::Member| {
        format!(
            "[[cluster.shop.members]]\nname = {0}\nslot = {0}\n{1}data_directory = {2}\n\
             start = {{ command = {3}, timeout = \"1m\" }}\nstop = {{ command = {4}, timeout = \"1m\" }}\n",
            text(member.name),
            server(member.way.clone()),
            quoted(member.data()),
            list(member.service("start", bin_dir)),
            list(member.service("stop", bin_dir)),
        )
    };
    let shop = server(shop_name(dir));
    format!(
        "[source.cluster]\nkind = \"postgres-physical\"\n{shop}receive_slot = \"lifeboat\"\n\n\
         [job.cluster]\nsource = \"cluster\"\nrepository = \"sandbox\"\nschedule = \"0 */10 * * * *\"\n\
         retry = {{ attempts = 1, backoff = \"5s\" }}\nverify = {{ level = \"restored\" }}\n{RETENTION}\n\
         [cluster.shop]\n\n{}\n\
         [source.shop]\nkind = \"postgres-dump\"\n{shop}database = {}\n\n\
         [job.shop]\nsource = \"shop\"\nrepository = \"sandbox\"\nschedule = \"0 * * * * *\"\n\
         retry = {{ attempts = 1, backoff = \"5s\" }}\n\n\
         {RETENTION}\n[job.shop.verify]\nlevel = \"probed\"\nprobes = [\n{}\n]\n",
        members(dir).each_ref().map(member).join("\n"),
        text(shop::DATABASE),
        probes.join("\n"),
    )
}

fn list(words: Vec<String>) -> String {
    toml::Value::from(words).to_string()
}

fn quoted(path: PathBuf) -> String {
    text(&path.into_os_string().to_string_lossy())
}

fn text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
