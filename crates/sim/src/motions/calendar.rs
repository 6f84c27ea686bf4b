//! On which days parliament sits, with the spellings that a motion needs. Made once, so that a row only
//! copies.

use std::sync::LazyLock;

use chrono::{Datelike, Days, NaiveDate, Weekday};

/// The years that the motions are spread over.
pub(super) const YEARS: std::ops::RangeInclusive<i32> = 2022..=2025;

/// Weeks of the year in which parliament sits; the gaps are its recesses.
const WEEKS: [std::ops::RangeInclusive<u64>; 5] = [3..=7, 9..=16, 20..=27, 36..=41, 43..=50];

const MONTHS: [&str; 12] =
    ["januari", "februari", "maart", "april", "mei", "juni", "juli", "augustus", "september", "oktober", "november", "december"];

/// A day of sitting.
#[derive(Debug)]
pub(super) struct Day {
    pub(super) date: NaiveDate,
    /// Days since 1970-01-01, as Arrow's Date32 wants it.
    pub(super) days: i32,
    pub(super) year: i32,
    /// "5 maart 2024"
    pub(super) long: String,
    /// "2023-2024"
    pub(super) session: String,
}

/// Every day of sitting, in order.
pub(super) static DAYS: LazyLock<Vec<Day>> = LazyLock::new(|| {
    let weeks = || WEEKS.into_iter().flatten();
    YEARS
        .flat_map(|year| weeks().flat_map(move |week| (1..4).map(move |weekday| (year, week, weekday))))
        .filter_map(|(year, week, weekday)| {
            // Week 1 is the week with 4 January in it; Tuesday, Wednesday and Thursday are sitting days.
            let fourth = NaiveDate::from_ymd_opt(year, 1, 4)?;
            let monday = fourth.checked_sub_days(Days::new(u64::from(fourth.weekday().num_days_from_monday())))?;
            day(monday.checked_add_days(Days::new((week - 1) * 7 + weekday))?)
        })
        .collect()
});

fn day(date: NaiveDate) -> Option<Day> {
    let year = date.year();
    // The parliamentary year begins on the third Tuesday of September.
    let opening = NaiveDate::from_weekday_of_month_opt(year, 9, Weekday::Tue, 3)?;
    let first = if date < opening { year - 1 } else { year };
    let days = i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()?;
    let month = MONTHS[date.month0() as usize];
    Some(Day { date, days, year, long: format!("{} {month} {year}", date.day()), session: format!("{first}-{}", first + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_sound() {
        assert_eq!(DAYS.len(), 4 * 35 * 3, "no week fell away");
        assert!(DAYS.windows(2).all(|pair| pair[0].date < pair[1].date));
        for day in DAYS.iter() {
            assert!(YEARS.contains(&day.year), "{day:?}");
            assert_eq!(day.date.year(), day.year);
            assert!(!matches!(day.date.weekday(), Weekday::Mon | Weekday::Fri | Weekday::Sat | Weekday::Sun));
        }
    }

    #[test]
    fn a_day_is_spelled_as_in_the_papers() {
        let day = day(NaiveDate::from_ymd_opt(2024, 3, 5).expect("a date")).expect("a day");
        assert_eq!((day.long.as_str(), day.session.as_str(), day.days), ("5 maart 2024", "2023-2024", 19_787));
        let opening = super::day(NaiveDate::from_ymd_opt(2024, 9, 17).expect("a date")).expect("a day");
        assert_eq!(opening.session, "2024-2025");
    }
}
