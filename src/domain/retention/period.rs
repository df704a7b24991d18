//! The calendar's periods, as the rules of retention count them.

use chrono::{Datelike, Days, Months, NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use serde::{Deserialize, Serialize};

/// The calendar's periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From full hour to full hour.
    Hourly,
    /// From midnight to midnight.
    Daily,
    /// From Monday to Sunday.
    Weekly,
    /// A month of the calendar.
    Monthly,
    /// A year of the calendar.
    Yearly,
}

impl Period {
    /// All periods, shortest first.
    pub const ALL: [Self; 5] = [Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];

    /// The word used in the configuration and on screens.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }

    /// The first moment of the period that a local time is in.
    pub(super) fn start(self, local: NaiveDateTime) -> NaiveDateTime {
        let date = local.date();
        let first = |year, month| NaiveDate::from_ymd_opt(year, month, 1).unwrap_or(date);
        let (date, hour) = match self {
            Self::Hourly => (date, local.hour()),
            Self::Daily => (date, 0),
            Self::Weekly => {
                let since_monday = u64::from(date.weekday().num_days_from_monday());
                (date.checked_sub_days(Days::new(since_monday)).unwrap_or(date), 0)
            }
            Self::Monthly => (first(date.year(), date.month()), 0),
            Self::Yearly => (first(date.year(), 1), 0),
        };
        date.and_hms_opt(hour, 0, 0).unwrap_or(local)
    }

    /// The first moment of the period that many periods later.
    pub(super) fn later(self, start: NaiveDateTime, periods: u32) -> Option<NaiveDateTime> {
        match self {
            Self::Hourly => start.checked_add_signed(TimeDelta::try_hours(i64::from(periods))?),
            Self::Daily => start.checked_add_days(Days::new(u64::from(periods))),
            Self::Weekly => start.checked_add_days(Days::new(u64::from(periods) * 7)),
            Self::Monthly => start.checked_add_months(Months::new(periods)),
            Self::Yearly => start.checked_add_months(Months::new(periods.checked_mul(12)?)),
        }
    }
}
