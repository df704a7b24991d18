//! From options to definitions: what each option means, and whether they fit together.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::cluster;
use super::drill;
use super::job;
use super::postgres;
use super::raw::{RawAgent, RawDrill, RawFiles, RawJob, RawPostgresDump, RawPostgresPhysical, RawService, TOP};
use super::repository::repository;
use super::section::{self, Place, Problems, SourceFile, read, suggestion};
use crate::domain::cluster::Cluster;
use crate::domain::drill::Drill;
use crate::domain::id::{ClusterName, DrillName, RepositoryName, RunbookName, ServiceName, SourceName, is_valid_name};
use crate::domain::job::{Definitions, Job, Limits, RepositoryDefinition};
use crate::domain::objective::{Objective, Service};
use crate::domain::runbook::Runbook;
use crate::domain::source::{FilesSource, POSTGRES_PHYSICAL, Source, SourceKind};
use crate::domain::units::{Bytes, Millis};

/// The recovery point objective of a service that names none: the strictest of the usual classes.
const DEFAULT_RPO: Millis = Millis::from_secs(3600);
/// The recovery time objective of a service that names none.
const DEFAULT_RTO: Millis = Millis::from_secs(4 * 3600);
/// The smallest pipeline that still has room for one full pack in every stage.
const SMALLEST_BUDGET: Bytes = Bytes(16 << 20);

/// What the files say.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) site: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) agent: RawAgent,
    pub(super) limits: Limits,
    pub(super) repositories: BTreeMap<RepositoryName, RepositoryDefinition>,
    pub(super) sources: BTreeMap<SourceName, Source>,
    pub(super) jobs: BTreeMap<crate::domain::id::JobName, Job>,
    pub(super) services: BTreeMap<ServiceName, Service>,
    pub(super) clusters: BTreeMap<ClusterName, Cluster>,
    pub(super) drills: BTreeMap<DrillName, Drill>,
    pub(super) runbooks: BTreeMap<RunbookName, Runbook>,
    /// The runbooks that are referred to.
    pub(super) uses: Vec<super::failover::Use>,
}

impl Built {
    /// The definitions, with a name for a site that has none.
    pub(super) fn definitions(&self, host: &str) -> Definitions {
        Definitions {
            site: self.site.clone().unwrap_or_else(|| host.to_owned()),
            // What nobody called a test is treated as the real thing.
            environment: self.environment.clone().unwrap_or_else(|| "PROD".to_owned()),
            repositories: self.repositories.clone(),
            sources: self.sources.clone(),
            jobs: self.jobs.clone(),
            services: self.services.clone(),
            clusters: self.clusters.clone(),
            drills: self.drills.clone(),
            runbooks: self.runbooks.clone(),
            limits: self.limits,
        }
    }
}

type Value<'t> = Spanned<DeValue<'t>>;

/// One `[kind.name]`, before it is read.
struct Named<'t> {
    place: Place<'t>,
    name: String,
    value: Value<'t>,
}

/// The named sections of one kind, over all files.
pub(super) struct Sections<'t>(Vec<Named<'t>>);

impl Sections<'_> {
    /// All names, also of sections that turn out to be wrong: a reference to such a one is not a second problem.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|named| named.name.clone()).collect()
    }
}

/// Reads all files, the main one first; every problem goes to `problems`.
pub(super) fn build(files: &[SourceFile], problems: &mut Problems) -> Built {
    let mut built = Built::default();
    let mut collected: BTreeMap<&str, Sections<'_>> = BTreeMap::new();
    let parsed = files.iter().filter_map(|file| section::parse(file, "", problems));
    let tables: Vec<DeTable<'_>> = parsed.map(Spanned::into_inner).collect();
    // What a garbled file defines is not known, so nothing can be said yet about who refers to it.
    if !problems.0.is_empty() {
        return built;
    }
    for (index, (file, table)) in files.iter().zip(tables).enumerate() {
        for (key, value) in table {
            let offset = key.span().start;
            let name = key.into_inner();
            match (TOP.iter().find(|top| **top == name), index == 0) {
                (Some(kind @ (&"repository" | &"source" | &"job" | &"service" | &"cluster" | &"drill")), _) => {
                    let sections = collected.entry(kind).or_insert_with(|| Sections(Vec::new()));
                    collect(sections, kind, file, offset, value, problems);
                }
                (Some(top), true) => top_level(&mut built, file, offset, top, value, problems),
                (Some(top), false) => {
                    let hint = Some(format!("move it to {}", files[0].path.display()));
                    problems.add(file, offset, *top, "this belongs in the main file", hint);
                }
                (None, _) => {
                    let hint = suggestion(&name, TOP.into_iter());
                    problems.add(file, offset, name, "there is no such option", hint);
                }
            }
        }
    }
    let mut of = |kind| collected.remove(kind).unwrap_or_else(|| Sections(Vec::new()));
    let (repositories, sources, jobs, services) = (of("repository"), of("source"), of("job"), of("service"));
    let drills = of("drill");
    each(of("cluster"), problems, |place, raw, name, problems| {
        let cluster = cluster::build(place, raw, name, &mut built.uses, problems);
        built.clusters.insert(name.into(), cluster);
    });
    let (repository_names, source_names) = (repositories.names(), sources.names());
    each(repositories, problems, |place, raw, name, problems| {
        built
            .repositories
            .insert(name.into(), repository(place, raw, name, problems));
    });
    read_sources(sources, &mut built, problems);
    each(services, problems, |place, raw, name, problems| {
        built
            .services
            .insert(name.into(), service(place, raw, name, &source_names, problems));
    });
    let kinds: BTreeMap<String, &'static str> = built
        .sources
        .iter()
        .map(|(name, source)| (name.0.clone(), source.kind.word()))
        .collect();
    each(jobs, problems, |place, raw: RawJob, name, problems| {
        job::check_reference(place, "source", &raw.source, &source_names, problems);
        job::check_reference(place, "repository", &raw.repository, &repository_names, problems);
        let kind = kinds.get(raw.source.get_ref()).copied();
        built
            .jobs
            .insert(name.into(), job::build(place, raw, name, kind, problems));
    });
    each(drills, problems, |place, raw: RawDrill, name, problems| {
        job::check_reference(place, "source", &raw.source, &source_names, problems);
        let kind = kinds.get(raw.source.get_ref()).copied();
        built
            .drills
            .insert(name.into(), drill::build(place, raw, name, kind, problems));
    });
    built
}

fn collect<'t>(
    sections: &mut Sections<'t>,
    kind: &str,
    file: &'t SourceFile,
    offset: usize,
    value: Value<'t>,
    problems: &mut Problems,
) {
    let DeValue::Table(table) = value.into_inner() else {
        let hint = Some(format!("write [{kind}.NAME]"));
        problems.add(file, offset, kind, "it needs a name", hint);
        return;
    };
    for (key, value) in table {
        let place = Place {
            file,
            key: format!("{kind}.{}", key.get_ref()),
            offset: key.span().start,
        };
        let name = key.get_ref().to_string();
        if !is_valid_name(&name) {
            let message = format!("\"{name}\" cannot be a name");
            let hint = "use letters, digits, - _ and ., at most 64, beginning with a letter, a digit or _";
            problems.add(file, place.offset, place.key, message, Some(hint.to_owned()));
            continue;
        }
        if let Some(other) = sections.0.iter().find(|other| other.name == name) {
            let message = format!(
                "it is defined twice: also in {}:{}",
                other.place.file.path.display(),
                other.place.file.line(other.place.offset)
            );
            problems.add(
                file,
                place.offset,
                place.key,
                message,
                Some("keep one of them".to_owned()),
            );
            continue;
        }
        sections.0.push(Named { place, name, value });
    }
}

fn each<'t, T: DeserializeOwned>(
    sections: Sections<'t>,
    problems: &mut Problems,
    mut use_it: impl FnMut(&Place<'t>, T, &str, &mut Problems),
) {
    for Named { place, name, value } in sections.0 {
        if let Some(raw) = read::<T>(&place, value, problems) {
            use_it(&place, raw, &name, problems);
        }
    }
}

fn top_level(
    built: &mut Built,
    file: &SourceFile,
    offset: usize,
    key: &str,
    value: Value<'_>,
    problems: &mut Problems,
) {
    if key == "agent" {
        let place = Place {
            file,
            key: key.to_owned(),
            offset,
        };
        if let Some(agent) = read::<RawAgent>(&place, value, problems) {
            built.limits = limits(&place, &agent, problems);
            built.agent = agent;
        }
        return;
    }
    let text = match value.get_ref().as_str() {
        Some(text) if !text.trim().is_empty() => text.to_owned(),
        _ => return problems.add(file, value.span().start, key, "a text was expected here", None),
    };
    if key == "site" {
        built.site = Some(text);
    } else {
        built.environment = Some(text);
    }
}

fn limits(place: &Place<'_>, agent: &RawAgent, problems: &mut Problems) -> Limits {
    let default = Limits::default();
    let mut count = |key, value: &Option<Spanned<usize>>, default| match value {
        Some(number) if !(1..=64).contains(number.get_ref()) => {
            let message = format!("{} is out of range; write 1 to 64", number.get_ref());
            place.problem(problems, number.span().start, key, message, None);
            default
        }
        Some(number) => *number.get_ref(),
        None => default,
    };
    let concurrent_runs = count("concurrent_runs", &agent.concurrent_runs, default.concurrent_runs);
    let concurrent_recoveries = count(
        "concurrent_recoveries",
        &agent.concurrent_recoveries,
        default.concurrent_recoveries,
    );
    let budget = agent.memory_budget.as_ref();
    if let Some(small) = budget.filter(|budget| budget.get_ref().0 < SMALLEST_BUDGET) {
        let message = format!(
            "{} is too little to work with; write at least {SMALLEST_BUDGET}",
            small.get_ref().0
        );
        place.problem(problems, small.span().start, "memory_budget", message, None);
    }
    Limits {
        concurrent_runs,
        concurrent_recoveries,
        memory_budget: budget.map_or(default.memory_budget, |budget| budget.get_ref().0),
    }
}

fn read_sources(sections: Sections<'_>, built: &mut Built, problems: &mut Problems) {
    for Named { place, name, value } in sections.0 {
        let found = value
            .get_ref()
            .get("kind")
            .map(|kind| (kind.span().start, kind.get_ref().as_str()));
        let kind = match found {
            Some((_, Some("files"))) => {
                read::<RawFiles>(&place, value, problems).map(|raw| SourceKind::Files(files(&place, raw, problems)))
            }
            Some((_, Some("postgres-dump"))) => read::<RawPostgresDump>(&place, value, problems)
                .map(|raw| SourceKind::PostgresDump(postgres::dump(&place, raw, problems))),
            Some((_, Some(POSTGRES_PHYSICAL))) => read::<RawPostgresPhysical>(&place, value, problems)
                .map(|raw| SourceKind::PostgresPhysical(postgres::physical(&place, raw, problems))),
            other => {
                let (offset, message) = match other {
                    Some((offset, Some(word))) => (offset, format!("there is no kind of source \"{word}\"")),
                    Some((offset, None)) => (offset, "a text was expected here".to_owned()),
                    None => (place.offset, "it is missing".to_owned()),
                };
                let hint = Some("write kind = \"files\", \"postgres-dump\" or \"postgres-physical\"".to_owned());
                place.problem(problems, offset, "kind", message, hint);
                None
            }
        };
        if let Some(kind) = kind {
            let name = SourceName(name);
            built.sources.insert(name.clone(), Source { name, kind });
        }
    }
}

fn files(place: &Place<'_>, raw: RawFiles, problems: &mut Problems) -> FilesSource {
    if raw.paths.get_ref().is_empty() {
        let hint = Some("write at least one, such as paths = [\"/srv/documents\"]".to_owned());
        place.problem(problems, raw.paths.span().start, "paths", "there are none", hint);
    }
    for pattern in &raw.exclude {
        let added = ignore::gitignore::GitignoreBuilder::new("/")
            .add_line(None, pattern.get_ref())
            .err();
        if let Some(error) = added {
            let hint = Some("patterns are written as in .gitignore".to_owned());
            place.problem(problems, pattern.span().start, "exclude", error.to_string(), hint);
        }
    }
    FilesSource {
        paths: raw.paths.into_inner().into_iter().map(|path| path.0).collect(),
        exclude: raw.exclude.into_iter().map(Spanned::into_inner).collect(),
        one_file_system: raw.one_file_system,
    }
}

fn service(place: &Place<'_>, raw: RawService, name: &str, known: &[String], problems: &mut Problems) -> Service {
    if raw.sources.get_ref().is_empty() {
        place.problem(problems, raw.sources.span().start, "sources", "there are none", None);
    }
    for source in raw.sources.get_ref() {
        if !known.contains(source.get_ref()) {
            let message = format!("there is no source \"{}\"", source.get_ref());
            let hint = suggestion(source.get_ref(), known.iter().map(String::as_str));
            place.problem(problems, source.span().start, "sources", message, hint);
        }
    }
    let mut promise = |key, value: Option<Spanned<super::raw::Duration>>, default| match value {
        Some(zero) if zero.get_ref().0 == Millis(0) => {
            place.problem(problems, zero.span().start, key, "nobody can promise zero", None);
            default
        }
        Some(length) => length.get_ref().0,
        None => default,
    };
    Service {
        objective: Objective {
            rpo: promise("rpo", raw.rpo, DEFAULT_RPO),
            rto: promise("rto", raw.rto, DEFAULT_RTO),
        },
        name: name.into(),
        sources: raw
            .sources
            .into_inner()
            .into_iter()
            .map(|source| SourceName(source.into_inner()))
            .collect(),
    }
}
