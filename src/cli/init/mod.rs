//! `lifeboat init`: a first configuration that works, with a repository, a source and a job.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::InitArgs;
use super::context::{Ctx, host_name};
use super::error::{CliError, Exit};
use super::output::{Render, Text, clean};
use super::target::parse_postgres;
use crate::config;
use crate::domain::source::{PostgresConnection, SecretRef};
use crate::repo::Repository;
use crate::store;

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    config: PathBuf,
    repository: PathBuf,
    password_file: PathBuf,
    password_made: bool,
    jobs: Vec<String>,
    servers_found: Vec<String>,
}

impl Render for Written {
    fn text(&self, out: &mut Text) {
        out.field("configuration", self.config.display().to_string());
        out.field("repository", self.repository.display().to_string());
        out.field("password", self.password_file.display().to_string());
        if self.password_made {
            out.line("Keep a copy of that password elsewhere: without it nobody can read the backups.");
        }
        for server in &self.servers_found {
            out.line(format!(
                "A PostgreSQL server was found at {server}; protect a database of it with:"
            ));
            out.line(format!(
                "  lifeboat job add NAME --postgres postgres://USER@{server}/DATABASE"
            ));
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
    let servers_found = local_servers();
    let wanted = ask(args, ctx, &path)?;
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
        servers_found,
    })?;
    Ok(Exit::Done)
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|error| CliError::usage(format!("{} is not a path", path.display())).why(error))
}

/// Takes the flags, and asks for what they leave open when there is somebody to ask.
fn ask(args: InitArgs, ctx: &Ctx, config: &Path) -> Result<Wanted, CliError> {
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
    let mut paths = args.paths;
    if paths.is_empty() && args.postgres.is_empty() {
        if !asking {
            return Err(CliError::usage("there is nothing to protect").hint("give --path PATH or --postgres URL"));
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
        schedule: args.schedule,
        zone: args.zone,
        state_dir: state_dir(config),
    })
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

/// Writes the configuration, and names its jobs.
fn compose(wanted: &Wanted) -> (String, Vec<String>) {
    let quoted = |text: &str| toml_edit::Value::from(text).to_string();
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
        let name = if index == 0 {
            "database".to_owned()
        } else {
            format!("database-{}", index + 1)
        };
        let _ = writeln!(
            text,
            "\n[source.{name}]\nkind = \"postgres-dump\"\nhost = {}",
            quoted(&connection.host)
        );
        let _ = writeln!(text, "port = {}\nuser = {}", connection.port, quoted(&connection.user));
        let _ = writeln!(text, "database = {}", quoted(database));
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

/// The PostgreSQL servers that listen in the usual places of this machine, as in a URL.
fn local_servers() -> Vec<String> {
    let mut found = Vec::new();
    for directory in ["/run/postgresql", "/tmp"] {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let port = name.strip_prefix(".s.PGSQL.").and_then(|port| port.parse::<u16>().ok());
            let listens = || std::os::unix::net::UnixStream::connect(entry.path()).is_ok();
            if let Some(port) = port.filter(|_| listens()) {
                found.push(format!("{}:{port}", directory.replace('/', "%2F")));
            }
        }
    }
    found
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
            schedule: "0 2 * * *".to_owned(),
            zone: "UTC".to_owned(),
            state_dir: Some("/srv/state".into()),
        };
        let (text, jobs) = compose(&wanted);
        let table: toml_edit::DocumentMut = text.parse().unwrap();
        assert_eq!(table["repository"]["main"]["url"].as_str(), Some("/srv/a \"b\"\\c"));
        assert_eq!(jobs, ["files", "database"]);
        assert_eq!(table["source"]["database"]["port"].as_integer(), Some(5432));
    }
}
