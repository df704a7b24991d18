//! Small pieces of a line: bars, levels, strips and sparklines. Each says in words or form what its colour says.

use ratatui::text::Span;

use crate::domain::alert::Severity;
use crate::domain::objective::GaugeLevel;
use crate::domain::run::Outcome;
use crate::domain::snapshot::{Evidence, EvidenceLevel};
use crate::tui::canvas::Look;
use crate::tui::theme::Role;
use crate::tui::words;

/// A bar of `width` columns, filled up to `fraction`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the fraction is clamped, and a float that is cast saturates"
)]
pub fn bar(look: Look<'_>, fraction: f64, width: usize, role: Role) -> [Span<'static>; 2] {
    let full = (fraction.clamp(0.0, 1.0) * width as f64).floor() as usize;
    // Something that has begun shows, and what is not done is never drawn as done.
    let full = if fraction > 0.0 { full.max(1) } else { full }.min(if fraction < 1.0 {
        width.saturating_sub(1)
    } else {
        width
    });
    [
        look.span(look.glyphs.bar_full.repeat(full), role),
        look.span(look.glyphs.bar_empty.repeat(width - full), Role::Rule),
    ]
}

/// How a level of evidence is coloured: only what has been restored is green.
pub fn evidence_role(evidence: &Evidence, partial: bool) -> Role {
    if evidence.failure.is_some() {
        Role::Crit
    } else if partial {
        Role::Warn
    } else if evidence.level >= EvidenceLevel::Restored {
        Role::Ok
    } else {
        Role::Text
    }
}

/// Evidence as steps, word and rank: `■■■□□ decoded 3/5`; what failed says so.
pub fn evidence(look: Look<'_>, evidence: &Evidence, partial: bool) -> Vec<Span<'static>> {
    let role = evidence_role(evidence, partial);
    let rank = usize::from(evidence.level.rank());
    let steps = |count: usize, glyph: &str| glyph.repeat(count);
    let (word, number) = match &evidence.failure {
        Some(failure) => (format!(" NOT {}", failure.level), String::new()),
        None => (format!(" {}", evidence.level), format!(" {rank}/5")),
    };
    vec![
        look.span(steps(rank, look.glyphs.step_full), role),
        look.span(
            steps(EvidenceLevel::ALL.len() - rank, look.glyphs.step_empty),
            Role::Rule,
        ),
        look.span(word, role),
        look.span(number, Role::Dim),
    ]
}

/// How an outcome is coloured.
pub const fn outcome_role(outcome: Outcome) -> Role {
    match outcome {
        Outcome::Succeeded => Role::Ok,
        Outcome::Partial | Outcome::Interrupted => Role::Warn,
        Outcome::Failed | Outcome::TimedOut => Role::Crit,
        Outcome::Cancelled => Role::Dim,
    }
}

/// The letter of an outcome in a strip; successes are quiet dots.
pub const fn outcome_glyph(look: Look<'_>, outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => look.glyphs.good,
        Outcome::Partial => "P",
        Outcome::Failed => "F",
        Outcome::TimedOut => "T",
        Outcome::Cancelled => "c",
        Outcome::Interrupted => "I",
    }
}

/// The latest outcomes, newest at the right.
pub fn strip(look: Look<'_>, outcomes: &[Outcome], width: usize) -> Vec<Span<'static>> {
    let latest = &outcomes[outcomes.len().saturating_sub(width)..];
    let blank = look.span(" ".repeat(width - latest.len()), Role::Rule);
    let letters = latest
        .iter()
        .map(|outcome| look.span(outcome_glyph(look, *outcome), outcome_role(*outcome)));
    std::iter::once(blank).chain(letters).collect()
}

/// A line of small columns, newest at the right, scaled to the largest.
pub fn spark(look: Look<'_>, values: &[u64], width: usize) -> String {
    let latest = &values[values.len().saturating_sub(width)..];
    let largest = latest.iter().copied().max().unwrap_or(0).max(1);
    let column =
        |value: &u64| look.glyphs.spark[usize::try_from(value.saturating_mul(7) / largest).unwrap_or(7).min(7)];
    latest.iter().map(column).collect()
}

/// A fraction in whole percent; 100 only when it is all of it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float that is cast saturates, and the result is at most 99"
)]
pub fn percent(fraction: f64) -> u64 {
    if fraction >= 1.0 {
        100
    } else {
        ((fraction * 100.0) as u64).min(99)
    }
}

/// How a gauge is coloured.
pub const fn gauge_role(level: GaugeLevel) -> Role {
    match level {
        GaugeLevel::Met => Role::Ok,
        GaugeLevel::AtRisk => Role::Warn,
        GaugeLevel::Breached => Role::Crit,
        GaugeLevel::Unknown => Role::Dim,
    }
}

/// How a severity is coloured.
pub const fn severity_role(severity: Severity) -> Role {
    match severity {
        Severity::Critical => Role::Crit,
        Severity::Warning => Role::Warn,
    }
}

/// A rate: `118.2M/s`; nothing while nothing moves.
pub fn rate(bytes: crate::domain::Bytes) -> String {
    if bytes.0 == 0 {
        String::new()
    } else {
        format!("{}/s", words::size(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::tui::glyphs;
    use crate::tui::theme::{Depth, Theme};

    fn with_look(test: impl Fn(Look<'_>)) {
        let theme = Theme::named("default", Depth::Sixteen).unwrap();
        test(Look {
            theme: &theme,
            glyphs: &glyphs::UNICODE,
            now: Timestamp::UNIX_EPOCH,
        });
    }

    #[test]
    fn a_bar_is_full_only_at_the_end_and_never_empty_once_begun() {
        with_look(|look| {
            let full = |fraction| bar(look, fraction, 10, Role::Ok)[0].content.chars().count();
            assert_eq!(
                [full(0.0), full(0.001), full(0.5), full(0.9999), full(1.0)],
                [0, 1, 5, 9, 10]
            );
            assert_eq!(
                bar(look, f64::NAN, 10, Role::Ok)[0].width() + bar(look, f64::NAN, 10, Role::Ok)[1].width(),
                10
            );
            assert_eq!(bar(look, 0.5, 0, Role::Ok)[0].width(), 0);
        });
    }

    #[test]
    fn a_hundred_percent_is_said_only_at_the_end() {
        assert_eq!(
            [percent(0.0), percent(0.5), percent(0.9999), percent(1.0)],
            [0, 50, 99, 100]
        );
    }

    #[test]
    fn partial_and_failed_are_never_green() {
        let mut proof = Evidence {
            level: EvidenceLevel::Probed,
            at: Timestamp::UNIX_EPOCH,
            failure: None,
        };
        assert_eq!(evidence_role(&proof, false), Role::Ok);
        assert_ne!(evidence_role(&proof, true), Role::Ok);
        proof.level = EvidenceLevel::Decoded;
        assert_ne!(evidence_role(&proof, false), Role::Ok);
        assert_ne!(outcome_role(Outcome::Partial), Role::Ok);
    }

    #[test]
    fn a_spark_shows_the_newest_and_scales_to_the_largest() {
        with_look(|look| {
            assert_eq!(spark(look, &[1000, 0, 50, 100], 3), "▁▄█");
            assert_eq!(spark(look, &[], 3), "");
            assert_eq!(spark(look, &[u64::MAX, 1], 2).chars().count(), 2);
        });
    }
}
