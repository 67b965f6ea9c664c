//! Dates as people write them, in UTC, and milliseconds since the epoch.

use crate::model::Timestamp;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// From 0000-03-01, where the algorithm's years begin, to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;
/// Days of 400 years, after which the Gregorian calendar repeats itself.
const DAYS_OF_CYCLE: i64 = 146_097;

/// A moment's calendar fields, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DateTime {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) ms: i64,
}

impl DateTime {
    /// The fields of a timestamp.
    pub(super) fn of(timestamp: Timestamp) -> DateTime {
        let days = timestamp.0.div_euclid(DAY_MS);
        let in_day = timestamp.0.rem_euclid(DAY_MS);
        // Years begin on 1 March, so that a leap day is the last day of a year.
        let shifted = days + DAYS_TO_EPOCH;
        let cycle = shifted.div_euclid(DAYS_OF_CYCLE);
        let day_of_cycle = shifted.rem_euclid(DAYS_OF_CYCLE);
        let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524
            - day_of_cycle / 146_096)
            / 365;
        let day_of_year =
            day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        DateTime {
            year: year_of_cycle + cycle * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            hour: in_day / 3_600_000,
            minute: in_day / 60_000 % 60,
            second: in_day / 1000 % 60,
            ms: in_day % 1000,
        }
    }

    /// As log4j writes it: `2026-11-22 06:37:05,123`.
    pub(super) fn in_log(self) -> String {
        let DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
            ms,
        } = self;
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},{ms:03}")
    }

    /// The moment, if the fields name one.
    pub(super) fn timestamp(self) -> Option<Timestamp> {
        let year = if self.month <= 2 {
            self.year - 1
        } else {
            self.year
        };
        let march_month = if self.month > 2 {
            self.month - 3
        } else {
            self.month + 9
        };
        let day_of_year = (153 * march_month + 2) / 5 + self.day - 1;
        let year_of_cycle = year.rem_euclid(400);
        let day_of_cycle =
            year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
        let days = year.div_euclid(400) * DAYS_OF_CYCLE + day_of_cycle - DAYS_TO_EPOCH;
        let in_day = self.hour * 3_600_000 + self.minute * 60_000 + self.second * 1000 + self.ms;
        let timestamp = Timestamp(days * DAY_MS + in_day);
        // A day that the month does not have comes back as another one.
        (DateTime::of(timestamp) == self).then_some(timestamp)
    }
}

/// Reads `YYYY-MM-DDTHH:MM:SS`, with `.mmm` and with `Z` or `+HH:MM` if given; UTC otherwise.
/// A space may stand for the `T`, and a date alone is its midnight.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let (text, offset_ms) = split_zone(text.trim())?;
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let [year, month, day] = numbers(date, '-')?;
    let (time, fraction) = time.split_once(['.', ',']).unwrap_or((time, "0"));
    let [hour, minute, second] = match time.matches(':').count() {
        1 => numbers(&format!("{time}:00"), ':')?,
        _ => numbers(time, ':')?,
    };
    if fraction.is_empty() || fraction.len() > 9 || !is_digits(fraction) {
        return None;
    }
    let ms = format!("{fraction:0<3}")[..3].parse().ok()?;
    let moment = DateTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ms,
    };
    Some(Timestamp(moment.timestamp()?.0 - offset_ms))
}

/// The text without its zone, and the zone's distance from UTC.
fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(text) = text.strip_suffix('Z') {
        return Some((text, 0));
    }
    // A minus before the time belongs to the date.
    let after_time = text.find(':').unwrap_or(text.len());
    let Some(at) = text[after_time..]
        .find(['+', '-'])
        .map(|at| at + after_time)
    else {
        return Some((text, 0));
    };
    let (text, zone) = text.split_at(at);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let zone = zone[1..].replace(':', "");
    if zone.len() != 4 || !is_digits(&zone) {
        return None;
    }
    let minutes = zone[..2].parse::<i64>().ok()? * 60 + zone[2..].parse::<i64>().ok()?;
    Some((text, sign * minutes * 60_000))
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let is_number = !part.is_empty() && part.len() <= 4 && is_digits(part);
        is_number.then(|| part.parse().ok()).flatten()
    });
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(parse(text), expected.map(Timestamp), "{text}");
    }

    #[test]
    fn moments_are_read_in_the_forms_that_people_write() {
        check("1970-01-01T00:00:00", Some(0));
        check("2026-11-22T06:37:05.123Z", Some(1_795_329_425_123));
        check("2026-11-22 06:37:05,123", Some(1_795_329_425_123));
        check("2026-11-22T07:37:05.123+01:00", Some(1_795_329_425_123));
        check("2026-11-22T05:07:05.123-0130", Some(1_795_329_425_123));
        check("2026-11-22", Some(1_795_305_600_000));
        check("2026-11-22T06:37", Some(1_795_329_420_000));
        check("2000-02-29", Some(951_782_400_000));
        check("2026-02-29", None);
        check("2026-13-01", None);
        check("2026-11-22T25:00:00", None);
        check("2026-11-22T06:37:05.12345678901", None);
        check("1969-12-31T23:59:59.5", Some(-500));
        check("tomorrow", None);
        check("", None);
        check("2026-11-22T06:37:05+1", None);
    }

    #[test]
    fn every_day_comes_back_as_itself() {
        for day in -800_000..800_000 {
            let timestamp = Timestamp(day * DAY_MS + 12_345);
            assert_eq!(
                DateTime::of(timestamp).timestamp(),
                Some(timestamp),
                "{day}"
            );
        }
    }
}
