//! Where a recovery of a cluster ends: at the end of its base backup, or at an instant of the log behind it.
//!
//! ```text
//!    go on to    [an instant of the log]   the snapshot alone     (space changes)
//!    instant     2026-11-20 03:11:00
//!    pick        ━━━━━━━━━━━━━━━━━━━x━━━━━━━━━━^━━━━━  1h1m ago   (left, right: a minute; H, L: an hour)
//!    then        [paused, to look first]   open for writing
//! ```

use chrono::NaiveDateTime;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::domain::pitr::{LogSight, Target, TimelineChoice};
use crate::domain::recovery::InstantWish;
use crate::domain::{Millis, Timestamp};
use crate::tui::canvas::{Canvas, Look};
use crate::tui::theme::Role;
use crate::tui::widgets::input::Input;
use crate::tui::widgets::instants;
use crate::tui::words;

/// How a moment is written in the form.
const FORM: &str = "%Y-%m-%d %H:%M:%S";

/// Where it ends, as it is being chosen.
#[derive(Debug, Clone)]
pub struct Goal {
    /// Whether it goes on behind the snapshot.
    pub on: bool,
    /// The instant; the end of the log when empty.
    pub text: Input,
    /// Whether the server is opened there.
    pub open: bool,
    sight: Option<LogSight>,
    now: Timestamp,
    /// Where a copy is already: a log is only replayed forward.
    not_before: Option<Timestamp>,
}

impl Goal {
    /// A goal for a cluster; with what was seen of its log, when anything was.
    pub fn new(sight: Option<LogSight>, now: Timestamp) -> Self {
        Self {
            on: sight.as_ref().is_some_and(|sight| sight.recoverable_to.is_some()),
            text: Input::default(),
            open: false,
            sight,
            now,
            not_before: None,
        }
    }

    /// A goal for a copy that was replayed to a target already.
    pub fn beyond(sight: Option<LogSight>, now: Timestamp, from: &Target) -> Self {
        let at = match from {
            Target::Time(at) => Some(*at),
            _ => None,
        };
        Self {
            on: true,
            text: at.map_or_else(Input::default, |at| {
                let whole = at.timestamp_subsec_nanos() == 0;
                let form = if whole { FORM } else { "%Y-%m-%d %H:%M:%S%.f" };
                Input::with(at.format(form).to_string())
            }),
            not_before: at,
            ..Self::new(sight, now)
        }
    }

    /// What the form asks for; none when it is the snapshot alone.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the instant.
    pub fn wish(&self) -> Result<Option<InstantWish>, String> {
        if !self.on {
            return Ok(None);
        }
        let to = match self.text.text().trim() {
            "" => Target::Latest,
            text => Target::Time(self.moment(text)?),
        };
        Ok(Some(InstantWish {
            to,
            inclusive: true,
            timeline: TimelineChoice::default(),
            any_base: true,
            open: self.open,
        }))
    }

    /// Reads a moment: a date and a time in UTC, a time of the last day, or one with an offset.
    fn moment(&self, text: &str) -> Result<Timestamp, String> {
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(at);
        }
        let today = self.now.format("%Y-%m-%d");
        let whole = if text.contains('-') {
            text.to_owned()
        } else {
            format!("{today} {text}")
        };
        let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
        let read = forms
            .iter()
            .find_map(|form| NaiveDateTime::parse_from_str(&whole, form).ok());
        let Some(at) = read.map(|local| local.and_utc()) else {
            return Err(format!(
                "\"{text}\" is not a time; write 03:11:00, or 2026-03-01 03:11:00, in UTC"
            ));
        };
        // A time alone that is still to come was meant of yesterday.
        let yesterday = !text.contains('-') && at > self.now;
        Ok(if yesterday { at - chrono::Duration::days(1) } else { at })
    }

    /// Moves the instant by so many minutes, within what can be restored.
    pub fn nudge(&mut self, minutes: i64) {
        let Some((first, last)) = self.bounds() else { return };
        let here = self.moment(self.text.text().trim()).unwrap_or(last);
        let there = here + chrono::Duration::minutes(minutes);
        // Up to whole minutes, so that what is picked is what people say.
        let whole = there - chrono::Duration::seconds(there.timestamp().rem_euclid(60));
        let picked = whole.clamp(first, last);
        self.text = Input::with(picked.format(FORM).to_string());
    }

    /// The first and the last instant that can be restored.
    fn bounds(&self) -> Option<(Timestamp, Timestamp)> {
        let sight = self.sight.as_ref()?;
        // Whole seconds, because that is how they are written here; the first is rounded up into what can be restored.
        let (first, last) = (sight.stretches.first()?.from_at, sight.recoverable_to?);
        let first = self.not_before.map_or(first, |at| first.max(at));
        let part = first.timestamp_subsec_nanos();
        let up = if part == 0 { 0 } else { 1_000_000_000 - i64::from(part) };
        let down = i64::from(last.timestamp_subsec_nanos());
        let (first, last) = (
            first + chrono::Duration::nanoseconds(up),
            last - chrono::Duration::nanoseconds(down),
        );
        Some((first, last.max(first)))
    }

    /// The line of what can be restored, with a mark where the instant is.
    pub fn line(&self, look: Look<'_>, width: usize) -> Line<'static> {
        let (Some(sight), Some((first, last))) = (&self.sight, self.bounds()) else {
            return look.line("nothing is known of its log yet", Role::Dim);
        };
        let at = self.moment(self.text.text().trim()).unwrap_or(last);
        let bar = width.saturating_sub(14).clamp(8, 60);
        let whole = Millis::between(first, last).0.max(1);
        let column = Millis::between(first, at).0.saturating_mul(bar as u64) / whole;
        let column = usize::try_from(column).unwrap_or(0).min(bar - 1);
        let mut spans = Vec::new();
        let mut place = 0;
        for span in instants::bar(sight, first, last, bar, look) {
            for letter in span.content.chars() {
                let mark = if place == column {
                    "^".to_owned()
                } else {
                    letter.to_string()
                };
                let style = if place == column {
                    look.span("", Role::Accent).style
                } else {
                    span.style
                };
                spans.push(Span::styled(mark, style));
                place += 1;
            }
        }
        let age = words::age(look.now, at);
        spans.push(look.span(format!("  {age} ago"), Role::Text));
        Line::from(spans)
    }

    /// What stands under the line: from when to when.
    pub fn note(&self) -> String {
        match self.bounds() {
            Some((first, last)) => format!(
                "{} to {} UTC; left, right: a minute; H, L: an hour",
                first.format(FORM),
                last.format(FORM)
            ),
            None => "what can be restored is seen a few seconds after the agent began".to_owned(),
        }
    }

    /// Draws the value of the field that picks.
    pub fn draw(&self, canvas: &mut Canvas<'_>, area: Rect, x: u16, y: u16) {
        let width = usize::from(area.width.saturating_sub(x));
        let line = self.line(canvas.look, width);
        canvas.line(area, x, y, &line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pitr::Interval;
    use crate::domain::wal::{Lsn, TimelineId};

    fn goal() -> Goal {
        let now: Timestamp = "2026-11-20T03:12:30Z".parse().unwrap();
        let from = now - chrono::Duration::hours(3);
        let stretch = Interval {
            timeline: TimelineId(1),
            from: Lsn(1),
            from_at: from,
            to: Lsn(2),
            to_at: None,
            bases: Vec::new(),
            gap: None,
        };
        let sight = LogSight {
            recoverable_to: Some(now - chrono::Duration::seconds(4)),
            stretches: vec![stretch],
            ..LogSight::nothing(&"db".into(), &"near".into(), now)
        };
        Goal::new(Some(sight), now)
    }

    fn at(goal: &Goal) -> String {
        match goal.wish().unwrap().unwrap().to {
            Target::Time(at) => at.to_rfc3339(),
            other => other.to_string(),
        }
    }

    #[test]
    fn a_minute_is_picked_within_what_can_be_restored() {
        let mut goal = goal();
        assert_eq!(at(&goal), "the end of the log");
        goal.nudge(-1);
        assert_eq!(at(&goal), "2026-11-20T03:11:00+00:00");
        goal.nudge(-60);
        assert_eq!(at(&goal), "2026-11-20T02:11:00+00:00");
        goal.nudge(-6000);
        assert_eq!(at(&goal), "2026-11-20T00:12:30+00:00", "the first instant there is");
        goal.nudge(6000);
        assert_eq!(at(&goal), "2026-11-20T03:12:26+00:00", "and the last");
        goal.on = false;
        assert_eq!(goal.wish().unwrap(), None);
    }

    #[test]
    fn a_time_is_read_as_people_write_it() {
        let mut goal = goal();
        for (text, expected) in [
            ("03:11", "2026-11-20T03:11:00+00:00"),
            ("03:11:07.5", "2026-11-20T03:11:07.500+00:00"),
            ("23:50", "2026-11-19T23:50:00+00:00"),
            ("2026-11-19 10:00", "2026-11-19T10:00:00+00:00"),
            ("2026-11-20T04:11:00+01:00", "2026-11-20T03:11:00+00:00"),
        ] {
            goal.text = Input::with(text);
            assert_eq!(at(&goal), expected, "{text}");
        }
        goal.text = Input::with("five past three");
        assert!(goal.wish().unwrap_err().contains("03:11:00"));
    }
}
