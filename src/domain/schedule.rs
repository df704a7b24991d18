//! When a job runs: cron expressions in a named time zone.
//!
//! A schedule never runs twice for one local time and never skips a day because of daylight saving: times that a clock
//! change removes run at the first moment after it, times that it repeats run once.

use chrono::TimeZone;
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A cron expression and the zone it is read in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ScheduleText", into = "ScheduleText")]
pub struct Schedule {
    expression: String,
    zone: Tz,
    cron: Box<Cron>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ScheduleText {
    cron: String,
    #[serde(default)]
    zone: String,
}

impl TryFrom<ScheduleText> for Schedule {
    type Error = String;
    fn try_from(text: ScheduleText) -> Result<Self, String> {
        Self::parse(&text.cron, &text.zone)
    }
}

impl From<Schedule> for ScheduleText {
    fn from(schedule: Schedule) -> Self {
        Self {
            cron: schedule.expression,
            zone: schedule.zone.name().to_owned(),
        }
    }
}

impl Schedule {
    /// Reads a cron expression of five fields (or six, with seconds first, or `@daily` and its kin); an empty zone is UTC.
    ///
    /// # Errors
    /// A sentence that names the expression or zone and what was expected.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, String> {
        let zone: Tz = match zone {
            "" => Tz::UTC,
            name => name
                .parse()
                .map_err(|_| format!("\"{name}\" is not a time zone; write for example UTC or Europe/Madrid"))?,
        };
        let cron = CronParser::builder()
            .seconds(Seconds::Optional)
            .build()
            .parse(expression)
            .map_err(|error| {
                format!("\"{expression}\" is not a cron schedule ({error}); write for example 0 2 * * *")
            })?;
        let schedule = Self {
            expression: expression.to_owned(),
            zone,
            cron: Box::new(cron),
        };
        if schedule.next_after(chrono::DateTime::UNIX_EPOCH).is_none() {
            return Err(format!("\"{expression}\" never comes round"));
        }
        Ok(schedule)
    }

    /// The expression as it was written.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The time zone's name.
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// The first moment after `instant` at which the schedule is due.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let local = self.zone.from_utc_datetime(&instant.naive_utc());
        let next = self.cron.find_next_occurrence(&local, false).ok()?;
        Some(next.with_timezone(&chrono::Utc))
    }

    /// The latest due moment in `(after, until]`, and how many there were, counted up to `limit`.
    pub fn latest_due(&self, after: Timestamp, until: Timestamp, limit: usize) -> Option<(Timestamp, usize)> {
        let mut latest = None;
        let mut count = 0;
        let mut cursor = after;
        while let Some(next) = self.next_after(cursor).filter(|next| *next <= until && *next > cursor) {
            latest = Some(next);
            count += 1;
            cursor = next;
            if count >= limit {
                break;
            }
        }
        latest.map(|latest| (latest, count))
    }

    /// The schedule in words where they are simple, else the expression: `daily at 02:00 UTC`, `every 15 min`.
    pub fn in_words(&self) -> String {
        let fields: Vec<&str> = self.expression.split_whitespace().collect();
        let zone = self.zone.name();
        let number = |text: &str| text.parse::<u32>().ok();
        match fields.as_slice() {
            [minute, hour, "*", "*", "*"] if number(minute).is_some() && number(hour).is_some() => {
                format!(
                    "daily at {:02}:{:02} {zone}",
                    number(hour).unwrap_or(0),
                    number(minute).unwrap_or(0)
                )
            }
            [minute, "*", "*", "*", "*"] if number(minute).is_some() => {
                format!("hourly at :{:02}", number(minute).unwrap_or(0))
            }
            ["*", "*", "*", "*", "*"] | ["0", "*", "*", "*", "*", "*"] => "every minute".to_owned(),
            [step, "*", "*", "*", "*"] if step.starts_with("*/") => format!("every {} min", &step[2..]),
            [step, "*", "*", "*", "*", "*"] if step.starts_with("*/") => format!("every {} s", &step[2..]),
            ["0", step, "*", "*", "*"] if step.starts_with("*/") => format!("every {} h", &step[2..]),
            _ => format!("{} {zone}", self.expression),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_removed_by_daylight_saving_still_runs_once() {
        let schedule = Schedule::parse("30 2 * * *", "Europe/Madrid").unwrap();
        // On 2026-03-29 the clocks in Madrid go from 02:00 to 03:00.
        let (latest, count) = schedule
            .latest_due(at("2026-03-28T12:00:00Z"), at("2026-03-29T12:00:00Z"), 10)
            .unwrap();
        assert_eq!(count, 1);
        assert!(
            latest >= at("2026-03-29T01:00:00Z") && latest <= at("2026-03-29T01:30:00Z"),
            "{latest}"
        );
    }

    #[test]
    fn a_time_repeated_by_daylight_saving_runs_once() {
        let schedule = Schedule::parse("30 2 * * *", "Europe/Madrid").unwrap();
        let (_, count) = schedule
            .latest_due(at("2026-10-24T12:00:00Z"), at("2026-10-25T12:00:00Z"), 10)
            .unwrap();
        assert_eq!(count, 1);
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence() {
        assert!(Schedule::parse("sometimes", "").unwrap_err().contains("cron"));
        assert!(
            Schedule::parse("0 2 * * *", "Mars/Olympus")
                .unwrap_err()
                .contains("time zone")
        );
        assert!(Schedule::parse("0 0 30 2 *", "").is_err());
    }

    #[test]
    fn words_are_plain() {
        assert_eq!(
            Schedule::parse("0 2 * * *", "").unwrap().in_words(),
            "daily at 02:00 UTC"
        );
        assert_eq!(Schedule::parse("*/15 * * * *", "").unwrap().in_words(), "every 15 min");
        assert_eq!(Schedule::parse("*/20 * * * * *", "").unwrap().in_words(), "every 20 s");
        assert_eq!(Schedule::parse("0 * * * * *", "").unwrap().in_words(), "every minute");
    }
}
