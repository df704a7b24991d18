//! What the options of a drill mean.

use super::job::{check_probes, probe, schedule};
use super::raw::RawDrill;
use super::section::{Place, Problems};
use crate::domain::drill::{Drill, DrillPoint};
use crate::domain::snapshot::EvidenceLevel;
use crate::domain::units::Millis;

/// Makes a drill of its options; `kind` is that of its source, when that is known.
pub(super) fn build(
    place: &Place<'_>,
    raw: RawDrill,
    name: &str,
    kind: Option<&'static str>,
    problems: &mut Problems,
) -> Drill {
    let level = raw
        .level
        .as_ref()
        .map_or(EvidenceLevel::Probed, |level| *level.get_ref());
    if let Some(written) = raw.level.as_ref().filter(|_| level < EvidenceLevel::Restored) {
        let hint = Some("write restored or probed".to_owned());
        let message = format!("at {level} nothing is restored, so it is no drill");
        place.problem(problems, written.span().start, "level", message, hint);
    }
    if let Some(zero) = raw.limit.as_ref().filter(|limit| limit.get_ref().0 == Millis(0)) {
        let hint = Some("leave it out for what the service promises".to_owned());
        place.problem(
            problems,
            zero.span().start,
            "limit",
            "no drill can end in no time",
            hint,
        );
    }
    check_probes(place, "probes", &raw.probes, level, kind, problems);
    let schedule = schedule(place, raw.schedule, raw.zone.as_ref(), false, problems);
    Drill {
        name: name.into(),
        source: raw.source.into_inner().into(),
        schedule,
        point: match raw.point {
            Some(super::raw::RawPoint::Random) => DrillPoint::Random,
            Some(super::raw::RawPoint::Latest) | None => DrillPoint::Latest,
        },
        level,
        probes: raw.probes.into_inner().into_iter().map(probe).collect(),
        limit: raw.limit.map(|limit| limit.get_ref().0),
    }
}
