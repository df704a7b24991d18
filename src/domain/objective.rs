//! What was promised: how much may be lost and how long recovery may take, and how we stand against it.

use serde::{Deserialize, Serialize};

use super::id::{RecoveryId, ServiceName, SnapshotId, SourceName};
use super::snapshot::Evidence;
use super::units::{Millis, Timestamp};

/// The recovery point and recovery time objectives of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// The largest tolerable loss, as time.
    pub rpo: Millis,
    /// The longest tolerable time to recover.
    pub rto: Millis,
}

/// A name people know, the sources it is made of and what was promised for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// What it is made of.
    pub sources: Vec<SourceName>,
    /// What was promised.
    pub objective: Objective,
}

/// How a gauge stands against its objective. The order is of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GaugeLevel {
    /// Within the objective.
    Met,
    /// Within it, but with less than a quarter of it left.
    AtRisk,
    /// Past it, or nothing can be restored at all.
    Breached,
    /// Never measured.
    Unknown,
}

impl GaugeLevel {
    /// The word that stands beside the colour.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::AtRisk => "AT RISK",
            Self::Breached => "BREACHED",
            Self::Unknown => "unknown",
        }
    }
}

/// What would be lost if the service failed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpoGauge {
    /// The promise.
    pub objective: Millis,
    /// Now minus the newest instant provably restorable, of the source that is worst off; none when some source has no restore point.
    pub loss: Option<Millis>,
    /// That newest instant.
    pub recoverable_to: Option<Timestamp>,
    /// The source that is worst off.
    pub worst_source: Option<SourceName>,
    /// The snapshot that instant comes from.
    pub snapshot: Option<SnapshotId>,
    /// How far that snapshot has been proved.
    pub evidence: Option<Evidence>,
    /// Whether that instant is reached through the archived log behind the snapshot.
    #[serde(default)]
    pub by_log: bool,
    /// How long until the objective is breached if nothing more succeeds.
    pub breach_in: Option<Millis>,
    /// The verdict.
    pub level: GaugeLevel,
}

/// How long recovery takes, by measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtoGauge {
    /// The promise.
    pub objective: Millis,
    /// The sum over the service's sources of the median measured recovery time; none while a source has no measurement.
    pub measured: Option<Millis>,
    /// Ninetieth percentile in the same way.
    pub measured_p90: Option<Millis>,
    /// How many recoveries were measured.
    pub samples: usize,
    /// When the last of them ended.
    pub last_at: Option<Timestamp>,
    /// Which it was.
    pub last_recovery: Option<RecoveryId>,
    /// The verdict.
    pub level: GaugeLevel,
}
