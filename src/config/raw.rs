//! The options as they are written in TOML. Nothing here has a meaning yet; `build` gives it one.
//!
//! Every field of every struct is named in `config.example.toml`; a test sees to it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;

#[cfg(test)]
use super::section::fields;
use crate::domain::job::{Expectation, MissedPolicy};
use crate::domain::snapshot::EvidenceLevel;
use crate::domain::source::{DumpFormat, PhysicalChoice, ReadFrom, SecretRef, TlsMode};
use crate::domain::units::{Bytes, Millis, human_duration, parse_bytes};

/// The sections and keys of the main file's top level.
pub(super) const TOP: [&str; 9] = [
    "site",
    "environment",
    "agent",
    "repository",
    "source",
    "job",
    "service",
    "cluster",
    "drill",
];

/// `[agent]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAgent {
    pub(super) state_dir: Option<AbsolutePath>,
    pub(super) socket: Option<Spanned<AbsolutePath>>,
    pub(super) log_file: Option<AbsolutePath>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) idle_exit: Option<Spanned<Duration>>,
    pub(super) concurrent_runs: Option<Spanned<usize>>,
    pub(super) concurrent_recoveries: Option<Spanned<usize>>,
    pub(super) memory_budget: Option<Spanned<Size>>,
}

/// `[repository.NAME]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRepository {
    pub(super) url: Spanned<String>,
    pub(super) password: Secret,
    pub(super) access_key_id: Option<Spanned<String>>,
    pub(super) secret_access_key: Option<Secret>,
    pub(super) limit_upload: Option<Spanned<Size>>,
    pub(super) limit_download: Option<Spanned<Size>>,
    pub(super) max_size: Option<Spanned<Size>>,
    pub(super) trash: Option<Duration>,
    pub(super) grace: Option<Duration>,
    pub(super) prune: Option<Spanned<String>>,
    pub(super) check: Option<Spanned<RawCheck>>,
    pub(super) zone: Option<Spanned<String>>,
}

/// `check` of a repository.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCheck {
    pub(super) schedule: String,
    pub(super) read_data_subset: Option<String>,
}

/// `[source.NAME]` with `kind = "files"`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFiles {
    pub(super) kind: String,
    pub(super) paths: Spanned<Vec<AbsolutePath>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) exclude: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) one_file_system: bool,
}

/// `[source.NAME]` with `kind = "postgres-dump"`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPostgresDump {
    pub(super) kind: String,
    pub(super) host: String,
    pub(super) port: Option<Spanned<u16>>,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) tls: Option<TlsMode>,
    pub(super) bin_dir: Option<AbsolutePath>,
    pub(super) database: String,
    pub(super) format: Option<DumpFormat>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tables: Vec<Spanned<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) exclude_tables: Vec<Spanned<String>>,
    pub(super) scratch: Option<RawConnection>,
}

/// `[source.NAME]` with `kind = "postgres-physical"`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPostgresPhysical {
    pub(super) kind: String,
    pub(super) host: String,
    pub(super) port: Option<Spanned<u16>>,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) tls: Option<TlsMode>,
    pub(super) bin_dir: Option<AbsolutePath>,
    pub(super) database: Option<String>,
    pub(super) data_directory: Option<AbsolutePath>,
    pub(super) method: Option<PhysicalChoice>,
    pub(super) from: Option<ReadFrom>,
    pub(super) scratch_dir: Option<AbsolutePath>,
    pub(super) log_window: Option<Duration>,
    pub(super) receive_slot: Option<Spanned<String>>,
    pub(super) standby: Option<RawConnection>,
}

/// `scratch` of a `postgres-dump`, `standby` of a `postgres-physical`; what is absent is as in the source.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConnection {
    pub(super) host: Option<String>,
    pub(super) port: Option<Spanned<u16>>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) tls: Option<TlsMode>,
    pub(super) bin_dir: Option<AbsolutePath>,
}

/// `[job.NAME]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawJob {
    pub(super) source: Spanned<String>,
    pub(super) repository: Spanned<String>,
    pub(super) schedule: Option<Spanned<String>>,
    pub(super) zone: Option<Spanned<String>>,
    pub(super) missed: Option<MissedPolicy>,
    pub(super) timeout: Option<Spanned<Duration>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<Spanned<String>>,
    pub(super) retry: Option<Spanned<RawRetry>>,
    pub(super) verify: Option<Spanned<RawVerify>>,
    pub(super) hooks: Option<RawHooks>,
    pub(super) retention: Option<Spanned<RawRetention>>,
}

/// `retention` of a job.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRetention {
    pub(super) last: Option<u32>,
    pub(super) hourly: Option<u32>,
    pub(super) daily: Option<u32>,
    pub(super) weekly: Option<u32>,
    pub(super) monthly: Option<u32>,
    pub(super) yearly: Option<u32>,
    pub(super) within: Option<Duration>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    pub(super) max_delete: Option<String>,
}

/// `retry` of a job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetry {
    pub(super) attempts: Option<u32>,
    pub(super) backoff: Option<Duration>,
}

/// `verify` of a job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVerify {
    pub(super) level: EvidenceLevel,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) probes: Vec<RawProbe>,
}

/// One of `verify.probes`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProbe {
    pub(super) name: String,
    pub(super) sql: String,
    pub(super) expect: Expectation,
}

/// `hooks` of a job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHooks {
    pub(super) before: Option<Spanned<RawHook>>,
    pub(super) after_success: Option<Spanned<RawHook>>,
    pub(super) after_failure: Option<Spanned<RawHook>>,
}

/// One hook.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHook {
    pub(super) command: Vec<String>,
    #[serde(default)]
    pub(super) shell: bool,
    pub(super) timeout: Option<Duration>,
}

/// `[service.NAME]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawService {
    pub(super) sources: Spanned<Vec<Spanned<String>>>,
    pub(super) rpo: Option<Spanned<Duration>>,
    pub(super) rto: Option<Spanned<Duration>>,
}

/// `[cluster.NAME]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCluster {
    pub(super) members: Spanned<Vec<Spanned<RawMember>>>,
    pub(super) fence: Option<Spanned<RawHook>>,
    pub(super) max_loss: Option<Size>,
    pub(super) max_lag: Option<Duration>,
    pub(super) failover: Option<Spanned<RawFailover>>,
}

/// `failover` of a cluster.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFailover {
    pub(super) automatic: Option<Spanned<bool>>,
    pub(super) every: Option<Spanned<Duration>>,
    pub(super) failures: Option<Spanned<u32>>,
    pub(super) runbook: Option<Spanned<String>>,
    pub(super) standby: Option<Spanned<String>>,
    pub(super) max_loss: Option<Spanned<String>>,
    pub(super) cooling_off: Option<Spanned<Duration>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) set: BTreeMap<String, Spanned<String>>,
}

/// One of the `members` of a cluster.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMember {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: Option<Spanned<u16>>,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) tls: Option<TlsMode>,
    pub(super) bin_dir: Option<AbsolutePath>,
    pub(super) database: Option<String>,
    pub(super) data_directory: Option<AbsolutePath>,
    pub(super) config_file: Option<AbsolutePath>,
    pub(super) slot: Option<String>,
    pub(super) start: Option<Spanned<RawHook>>,
    pub(super) stop: Option<Spanned<RawHook>>,
}

/// `[drill.NAME]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDrill {
    pub(super) source: Spanned<String>,
    pub(super) schedule: Option<Spanned<String>>,
    pub(super) zone: Option<Spanned<String>>,
    pub(super) point: Option<RawPoint>,
    pub(super) level: Option<Spanned<EvidenceLevel>>,
    pub(super) limit: Option<Spanned<Duration>>,
    #[serde(default = "no_probes")]
    pub(super) probes: Spanned<Vec<RawProbe>>,
}

fn no_probes() -> Spanned<Vec<RawProbe>> {
    Spanned::new(0..0, Vec::new())
}

/// `point` of a drill.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawPoint {
    Latest,
    Random,
}

/// Every key there is, by the section it is in.
#[cfg(test)]
pub(super) fn every_key() -> Vec<(&'static str, &'static [&'static str])> {
    vec![
        ("top", &TOP),
        ("agent", fields::<RawAgent>()),
        ("repository", fields::<RawRepository>()),
        ("source files", fields::<RawFiles>()),
        ("source postgres-dump", fields::<RawPostgresDump>()),
        ("source postgres-physical", fields::<RawPostgresPhysical>()),
        ("scratch", fields::<RawConnection>()),
        ("check", fields::<RawCheck>()),
        ("job", fields::<RawJob>()),
        ("retention", fields::<RawRetention>()),
        ("retry", fields::<RawRetry>()),
        ("verify", fields::<RawVerify>()),
        ("probes", fields::<RawProbe>()),
        ("hooks", fields::<RawHooks>()),
        ("hook", fields::<RawHook>()),
        ("service", fields::<RawService>()),
        ("cluster", fields::<RawCluster>()),
        ("member", fields::<RawMember>()),
        ("failover", fields::<RawFailover>()),
        ("drill", fields::<RawDrill>()),
    ]
}

/// How much the agent writes to its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// Also what may fail soon.
    Warn,
    /// Also what was done.
    #[default]
    Info,
    /// Also how.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word, as `tracing` reads it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// A length of time, such as `1h30m`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Duration(#[serde(with = "human_duration")] pub(super) Millis);

/// A size, such as `128MiB`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size(pub(super) Bytes);

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.0;
        let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)]
            .into_iter()
            .find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
        match unit {
            Some((word, shift)) => serializer.collect_str(&format_args!("{}{word}", bytes >> shift)),
            None => serializer.collect_str(&bytes),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_bytes(&text).map(Self).map_err(D::Error::custom)
    }
}

/// A path that does not depend on where the agent was started.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct AbsolutePath(pub(super) PathBuf);

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        absolute(&text).map(Self).map_err(D::Error::custom)
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() && !text.contains('\0') {
        return Ok(path);
    }
    Err(format!(
        "\"{text}\" is not an absolute path; write the whole path, beginning with /"
    ))
}

/// Where a secret comes from. Reading it never repeats what was found: it may be the secret itself.
#[derive(Debug, Clone)]
pub(super) struct Secret(pub(super) SecretRef);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = || {
            D::Error::custom(
                "a secret is never written here; write where it comes from: { file = \"/path\" }, \
                 { env = \"VARIABLE\" } or { command = [\"program\", \"argument\"] }",
            )
        };
        let toml::Value::Table(table) = toml::Value::deserialize(deserializer)? else {
            return Err(expected());
        };
        let mut entries = table.into_iter();
        let secret = match (entries.next(), entries.next()) {
            (Some((kind, toml::Value::String(path))), None) if kind == "file" => {
                SecretRef::File(absolute(&path).map_err(D::Error::custom)?)
            }
            (Some((kind, toml::Value::String(name))), None) if kind == "env" && !name.is_empty() => {
                SecretRef::Env(name)
            }
            (Some((kind, toml::Value::Array(words))), None) if kind == "command" && !words.is_empty() => {
                let words = words.into_iter().map(|word| match word {
                    toml::Value::String(word) => Ok(word),
                    _ => Err(expected()),
                });
                SecretRef::Command(words.collect::<Result<_, _>>()?)
            }
            _ => return Err(expected()),
        };
        Ok(Self(secret))
    }
}
