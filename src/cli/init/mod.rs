//! `lifeboat init`: a first configuration that works, with a repository, a source and a job.

mod found;

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::InitArgs;
use super::context::{Ctx, host_name};
use super::error::{CliError, Exit};
use super::output::{Render, Text, clean};
use super::target::{parse_postgres, parse_server};
use crate::config;
use crate::domain::source::{POSTGRES_PHYSICAL, PostgresConnection, SecretRef, TlsMode};
use crate::repo::Repository;
use crate::store;
use found::{Found, local_servers};

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    config: PathBuf,
    repository: PathBuf,
    password_file: PathBuf,
    password_made: bool,
    jobs: Vec<String>,
    servers_found: Vec<String>,
    clusters_found: Vec<Found>,
}

impl Render for Written {
    fn text(&self, out: &mut Text) {
        out.field("configuration", self.config.display().to_string());
        out.field("repository", self.repository.display().to_string());
        out.field("password", self.password_file.display().to_string());
        if self.password_made {
            out.line("Keep a copy of that password elsewhere: without it nobody can read the backups.");
        }
        for found in &self.clusters_found {
            let server = &found.server;
            out.line(format!(
                "A PostgreSQL server was found at {server}; protect a database of it with:"
            ));
            out.line(format!(
                "  lifeboat job add NAME --postgres postgres://USER@{server}/DATABASE"
            ));
            if let Some(copy) = &found.copy {
                out.line(format!(
                    "Its whole cluster can be copied as {}, {}: `kind = \"postgres-physical\"`.",
                    copy.user,
                    copy.words()
                ));
            } else if let Some(why) = &found.why_not {
                out.line(format!("Its whole cluster cannot be copied yet: {why}"));
            }
        }
        out.heading("Next");
        let config = format!("lifeboat --config {}", self.config.display());
        out.line(format!("  {config} doctor"));
        for job in &self.jobs {
            out.line(format!("  {config} job run --wait {job}"));
        }
        out.line(format!("  {config}"));
    }
}

/// What the configuration will say.
#[derive(Debug)]
struct Wanted {
    repository: PathBuf,
    password_file: PathBuf,
    paths: Vec<PathBuf>,
    databases: Vec<(PostgresConnection, String)>,
    /// Servers whose whole cluster is copied.
    clusters: Vec<PostgresConnection>,
    schedule: String,
    zone: String,
    /// Where the agent keeps its state, unless the usual place is right.
    state_dir: Option<PathBuf>,
}

/// Runs `lifeboat init`.
pub async fn run(args: InitArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    ctx.may_change("write a configuration")?;
    let path = absolute(&args.output)?;
    if path.exists() {
        return Err(CliError::usage(format!("{} exists already", path.display()))
            .hint("add to it with: lifeboat job add, or choose another place with --output"));
    }
    let found = local_servers(&ctx.clock).await;
    let wanted = ask(args, ctx, &path, &found)?;
    let password_made = make_password(&wanted.password_file)?;
    let (text, jobs) = compose(&wanted);
    write_private(&path, text.as_bytes())
        .map_err(|error| CliError::failed(format!("{} cannot be written", path.display())).why(error))?;
    let made = match config::load(Some(&path)) {
        Ok(_) => make_repository(&wanted, ctx).await,
        Err(error) => Err(CliError::from(error)),
    };
    if let Err(error) = made {
        // Nothing that does not work is left behind; the password is, for it may be in use already.
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    ctx.print(&Written {
        config: path,
        repository: wanted.repository,
        password_file: wanted.password_file,
        password_made,
        jobs,
        servers_found: found.iter().map(|found| found.server.clone()).collect(),
        clusters_found: found,
    })?;
    Ok(Exit::Done)
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|error| CliError::usage(format!("{} is not a path", path.display())).why(error))
}

/// Takes the flags, and asks for what they leave open when there is somebody to ask.
fn ask(args: InitArgs, ctx: &Ctx, config: &Path, found: &[Found]) -> Result<Wanted, CliError> {
    let asking = !args.yes && !ctx.out.json && io::stdin().is_terminal() && io::stderr().is_terminal();
    let beside = |name: &str| config.with_file_name(name).display().to_string();
    let answer = |given: Option<String>, question: &str, default: String| match given {
        Some(given) => Ok(given),
        None if asking => prompt(question, &default),
        None => Ok(default),
    };
    let repository = answer(args.repository, "Where do backups go?", beside("lifeboat-repository"))?;
    let given = args.password_file.map(|path| path.display().to_string());
    let password_file = answer(
        given,
        "Which file holds the repository's password?",
        beside("lifeboat.password"),
    )?;
    let clusters = clusters(&args.physical, args.local_servers, asking, found)?;
    let mut paths = args.paths;
    if paths.is_empty() && args.postgres.is_empty() && clusters.is_empty() {
        if !asking {
            return Err(CliError::usage("there is nothing to protect")
                .hint("give --path PATH, --postgres URL, --physical URL or --local-servers"));
        }
        let here = config.parent().unwrap_or(Path::new("/")).display().to_string();
        paths.push(PathBuf::from(prompt("Which directory is protected first?", &here)?));
    }
    let databases = args
        .postgres
        .iter()
        .map(|url| parse_postgres(url))
        .collect::<Result<_, _>>()?;
    Ok(Wanted {
        repository: absolute(Path::new(&repository))?,
        password_file: absolute(Path::new(&password_file))?,
        paths: paths.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
        databases,
        clusters,
        schedule: args.schedule,
        zone: args.zone,
        state_dir: state_dir(config),
    })
}

/// The servers whose clusters are copied: those that were named, and those that were found and are wanted.
fn clusters(named: &[String], all: bool, asking: bool, found: &[Found]) -> Result<Vec<PostgresConnection>, CliError> {
    let mut clusters = named
        .iter()
        .map(|url| parse_server(url))
        .collect::<Result<Vec<_>, _>>()?;
    for Found { server, copy, .. } in found {
        let Some(copy) = copy else { continue };
        let place = (&copy.connection.host, copy.connection.port);
        if clusters.iter().any(|known| (&known.host, known.port) == place) {
            continue;
        }
        let question = format!(
            "A PostgreSQL server was found at {server}. Is its whole cluster protected, {}?",
            copy.words()
        );
        if all || asking && prompt(&question, "yes")?.to_lowercase().starts_with('y') {
            clusters.push(copy.connection.clone());
        }
    }
    if all && clusters.is_empty() {
        let whys = found.iter().filter_map(|found| found.why_not.as_deref());
        let whys: Vec<&str> = whys.collect();
        return Err(
            CliError::usage("no PostgreSQL server of this machine can be copied whole")
                .why(if whys.is_empty() {
                    "none was found".to_owned()
                } else {
                    whys.join("; ")
                })
                .hint("run it as the owner of the data directory, or name a server and a role with --physical URL"),
        );
    }
    Ok(clusters)
}

/// A configuration in no usual place gets an agent of its own, so that two of them never meet on one socket.
fn state_dir(config: &Path) -> Option<PathBuf> {
    let directory = config.parent()?;
    let usual = directory.file_name().is_some_and(|name| name == "lifeboat");
    (!usual).then(|| directory.join("lifeboat-state"))
}

fn prompt(question: &str, default: &str) -> Result<String, CliError> {
    let mut err = io::stderr().lock();
    write!(err, "{question} [{}] ", clean(default))?;
    err.flush()?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line)?;
    if read == 0 {
        return Err(CliError::cancelled("no answer; nothing was written"));
    }
    Ok(Some(line.trim())
        .filter(|line| !line.is_empty())
        .unwrap_or(default)
        .to_owned())
}

/// Makes a password of 256 random bits unless there is one; says whether it did.
fn make_password(path: &Path) -> Result<bool, CliError> {
    if path.exists() {
        return Ok(false);
    }
    let failed = |why: String| CliError::failed(format!("the password {} cannot be made", path.display())).why(why);
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| failed(error.to_string()))?;
    write_private(path, format!("{}\n", hex::encode(bytes)).as_bytes()).map_err(|error| failed(error.to_string()))?;
    Ok(true)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)?;
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

async fn make_repository(wanted: &Wanted, ctx: &Ctx) -> Result<(), CliError> {
    if wanted.repository.join("config").exists() {
        return Ok(());
    }
    let what = format!("the repository {} could not be made", wanted.repository.display());
    let url = wanted.repository.display().to_string();
    let store = store::open(&url).map_err(|error| CliError::failed(&what).maybe_hint(error.hint()).why(error))?;
    let secret = SecretRef::File(wanted.password_file.clone());
    let password = config::secret::resolve(&secret).await.map_err(|error| {
        let hint = error.hint();
        CliError::failed(&what).why(error).maybe_hint(hint)
    })?;
    let made = Repository::init(store, &password, ctx.clock.clone()).await;
    made.map(|_| ())
        .map_err(|error| CliError::failed(what).maybe_hint(error.hint()).why(error))
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

fn numbered(name: &str, index: usize) -> String {
    if index == 0 {
        name.to_owned()
    } else {
        format!("{name}-{}", index + 1)
    }
}

/// The lines of a source that say which server it is.
fn server(connection: &PostgresConnection) -> String {
    let (host, user) = (quoted(&connection.host), quoted(&connection.user));
    let mut text = format!("host = {host}\nport = {}\nuser = {user}\n", connection.port);
    // A word in quotes is the same in JSON and in TOML.
    if let Some(tls) = serde_json::to_string(&connection.tls)
        .ok()
        .filter(|_| connection.tls != TlsMode::default())
    {
        let _ = writeln!(text, "tls = {tls}");
    }
    text
}

/// Writes the configuration, and names its jobs.
fn compose(wanted: &Wanted) -> (String, Vec<String>) {
    let path = |path: &Path| quoted(&path.display().to_string());
    let mut text =
        String::from("# Every option there is: see config.example.toml. Check this with: lifeboat config check\n\n");
    let _ = writeln!(text, "site = {}\nenvironment = \"PROD\"", quoted(&host_name()));
    if let Some(directory) = &wanted.state_dir {
        let _ = writeln!(text, "\n[agent]\nstate_dir = {}", path(directory));
    }
    let _ = writeln!(text, "\n[repository.main]\nurl = {}", path(&wanted.repository));
    let _ = writeln!(text, "password = {{ file = {} }}", path(&wanted.password_file));
    let mut jobs = Vec::new();
    if !wanted.paths.is_empty() {
        let paths: Vec<String> = wanted.paths.iter().map(|one| path(one)).collect();
        let _ = writeln!(
            text,
            "\n[source.files]\nkind = \"files\"\npaths = [{}]",
            paths.join(", ")
        );
        jobs.push("files".to_owned());
    }
    for (index, (connection, database)) in wanted.databases.iter().enumerate() {
        let name = numbered("database", index);
        let _ = writeln!(text, "\n[source.{name}]\nkind = \"postgres-dump\"");
        text.push_str(&server(connection));
        let _ = writeln!(text, "database = {}", quoted(database));
        jobs.push(name);
    }
    for (index, connection) in wanted.clusters.iter().enumerate() {
        let name = numbered("cluster", index);
        let _ = writeln!(text, "\n[source.{name}]\nkind = \"{POSTGRES_PHYSICAL}\"");
        text.push_str(&server(connection));
        jobs.push(name);
    }
    for job in &jobs {
        let _ = writeln!(text, "\n[job.{job}]\nsource = \"{job}\"\nrepository = \"main\"");
        let _ = writeln!(
            text,
            "schedule = {}\nzone = {}",
            quoted(&wanted.schedule),
            quoted(&wanted.zone)
        );
        text.push_str("verify = { level = \"restored\" }\n");
    }
    let sources: Vec<String> = jobs.iter().map(|job| format!("\"{job}\"")).collect();
    let _ = writeln!(
        text,
        "\n[service.main]\nsources = [{}]\nrpo = \"2d\"\nrto = \"4h\"",
        sources.join(", ")
    );
    (text, jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_quotes_stay_names() {
        let wanted = Wanted {
            repository: "/srv/a \"b\"\\c".into(),
            password_file: "/srv/p".into(),
            paths: vec!["/data/ü".into()],
            databases: vec![parse_postgres("postgres://ana@db1/shop").unwrap()],
            clusters: vec![
                parse_server("postgres://ana@db1:5433?sslmode=require").unwrap(),
                parse_server("postgres://ana@%2Frun%2Fpostgresql").unwrap(),
            ],
            schedule: "0 2 * * *".to_owned(),
            zone: "UTC".to_owned(),
            state_dir: Some("/srv/state".into()),
        };
        let (text, jobs) = compose(&wanted);
        let table: toml_edit::DocumentMut = text.parse().unwrap();
        assert_eq!(table["repository"]["main"]["url"].as_str(), Some("/srv/a \"b\"\\c"));
        assert_eq!(jobs, ["files", "database", "cluster", "cluster-2"]);
        let cluster = &table["source"]["cluster"];
        assert_eq!(cluster["kind"].as_str(), Some("postgres-physical"));
        assert_eq!(
            (cluster["port"].as_integer(), cluster["tls"].as_str()),
            (Some(5433), Some("require"))
        );
        assert_eq!(table["source"]["cluster-2"]["host"].as_str(), Some("/run/postgresql"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lifeboat.toml");
        write_private(&file, text.as_bytes()).unwrap();
        let loaded = config::load(Some(&file)).unwrap();
        assert_eq!(loaded.definitions.jobs.len(), 4);
        assert_eq!(table["source"]["database"]["port"].as_integer(), Some(5432));
    }
}
