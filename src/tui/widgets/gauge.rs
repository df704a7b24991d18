//! The gauges of a service: what would be lost now, and how long it takes to get back, each in one line.
//!
//! ```text
//!   orders      lose now  ━━━━━───────────  17m of 1h     met        breach in 43m
//!               recover   ━━──────────────  4m12s of 4h   met        6x, last 2d
//! ```

use ratatui::text::Span;

use super::parts;
use crate::domain::Millis;
use crate::domain::objective::{GaugeLevel, RpoGauge, RtoGauge};
use crate::domain::view::ServiceView;
use crate::tui::canvas::Look;
use crate::tui::theme::Role;
use crate::tui::words;

/// The verdict on a loss as it is this moment; the picture it comes from may be a little old.
fn verdict(gauge: &RpoGauge, loss: Option<Millis>) -> GaugeLevel {
    match loss {
        _ if gauge.level == GaugeLevel::Unknown => GaugeLevel::Unknown,
        None => GaugeLevel::Breached,
        Some(loss) if loss > gauge.objective => GaugeLevel::Breached,
        Some(loss) if loss.0 > gauge.objective.scaled(3, 4).0 => GaugeLevel::AtRisk.max(gauge.level),
        Some(_) => gauge.level,
    }
}

/// What would be lost if it failed now, against what is promised.
pub fn loss(service: &ServiceView, look: Look<'_>, width: usize) -> Vec<Span<'static>> {
    let gauge = &service.rpo;
    let loss = gauge
        .recoverable_to
        .map(|to| Millis::between(to, look.now))
        .or(gauge.loss);
    let level = verdict(gauge, loss);
    let promise = words::promise(gauge.objective);
    let text = match loss {
        Some(loss) => format!("{} of {promise}", words::against(loss, gauge.objective)),
        None => format!("all, of {promise}"),
    };
    let note = match (level, loss) {
        (GaugeLevel::Met | GaugeLevel::AtRisk, Some(loss)) => {
            let left = Millis(gauge.objective.0.saturating_sub(loss.0));
            format!("breach in {}", words::against(left, gauge.objective))
        }
        (_, None) => "no restore point".to_owned(),
        _ => gauge
            .worst_source
            .as_ref()
            .map_or(String::new(), |source| format!("by {source}")),
    };
    let fraction = loss.map_or(1.0, |loss| loss.0 as f64 / gauge.objective.0.max(1) as f64);
    gauge_line(
        look,
        width,
        &GaugeText {
            name: &service.name.0,
            label: "lose now",
            fraction,
            text,
            level,
            note,
        },
    )
}

/// How long it takes to get back, by measurement, against what is promised.
pub fn recovery(gauge: &RtoGauge, look: Look<'_>, width: usize) -> Vec<Span<'static>> {
    let promise = words::promise(gauge.objective);
    let (fraction, text) = match gauge.measured {
        Some(took) => (
            took.0 as f64 / gauge.objective.0.max(1) as f64,
            format!("{took} of {promise}"),
        ),
        None => (0.0, format!("- of {promise}")),
    };
    let note = match gauge.last_at {
        Some(at) if gauge.samples > 0 => format!("{}x, last {}", gauge.samples, words::age(look.now, at)),
        _ => "not measured".to_owned(),
    };
    gauge_line(
        look,
        width,
        &GaugeText {
            name: "",
            label: "recover",
            fraction,
            text,
            level: gauge.level,
            note,
        },
    )
}

/// What a gauge says.
struct GaugeText<'a> {
    name: &'a str,
    label: &'a str,
    fraction: f64,
    text: String,
    level: GaugeLevel,
    note: String,
}

/// A gauge in one line; the bar takes what the words leave.
fn gauge_line(look: Look<'_>, width: usize, gauge: &GaugeText<'_>) -> Vec<Span<'static>> {
    let role = parts::gauge_role(gauge.level);
    let name = 12.min(width / 5);
    let noted = width >= 76;
    let room = width.saturating_sub(2 + name + 1 + 9 + 1 + 14 + 1 + 8 + if noted { 17 } else { 0 });
    let bar = room.saturating_sub(2).min(24);
    let mut spans = vec![
        look.span(format!("  {:<name$.name$} ", gauge.name), Role::Text),
        look.span(format!("{:<9}", gauge.label), Role::Dim),
    ];
    if bar >= 4 {
        spans.extend(parts::bar(look, gauge.fraction, bar, role));
        spans.push(Span::raw("  "));
    }
    spans.push(look.span(format!("{:<15}", gauge.text), Role::Text));
    spans.push(look.span(format!("{:<9}", gauge.level.word()), role));
    if noted {
        spans.push(look.span(gauge.note.clone(), Role::Dim));
    }
    spans
}
