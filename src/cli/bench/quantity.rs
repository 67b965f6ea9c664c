//! Numbers with units on the command line: `100MB/s`, `16KiB`, `1m30s`. Pure.

use std::time::Duration;

use crate::bench::Rate;
use crate::bench::limits::{RATE_MAX, SECONDS_MAX};

/// How fast, before it is known how large a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Pace {
    /// As fast as answers come.
    Max,
    RecordsPerSecond(u64),
    BytesPerSecond(u64),
}

impl Pace {
    /// The rate in records, each with a value of so many bytes.
    pub(super) fn of_records(self, record_bytes: u32) -> Rate {
        match self {
            Pace::Max => Rate::Max,
            Pace::RecordsPerSecond(records) => Rate::RecordsPerSecond(records.min(RATE_MAX)),
            Pace::BytesPerSecond(bytes) => {
                let records = bytes / u64::from(record_bytes);
                Rate::RecordsPerSecond(records.clamp(1, RATE_MAX))
            }
        }
    }
}

/// Records a second (`5000`, `100k/s`) or bytes a second (`100MB/s`); 0 is as fast as it goes.
pub(in crate::cli) fn pace(text: &str) -> Result<Pace, String> {
    let wrong = || {
        format!(
            "expected records a second as in 5000 or 100k/s, at most {RATE_MAX}, bytes a second \
             as in 100MB/s, or 0 for as fast as it goes"
        )
    };
    let amount = text.strip_suffix("/s").unwrap_or(text);
    let (number, unit) = split(amount).ok_or_else(wrong)?;
    if unit.ends_with('B') {
        let bytes = scaled(number, scale(unit).ok_or_else(wrong)?).ok_or_else(wrong)?;
        return Ok(match bytes {
            0 => Pace::Max,
            bytes => Pace::BytesPerSecond(bytes),
        });
    }
    let factor = match unit {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        _ => return Err(wrong()),
    };
    match scaled(number, factor).filter(|records| *records <= RATE_MAX) {
        Some(0) => Ok(Pace::Max),
        Some(records) => Ok(Pace::RecordsPerSecond(records)),
        None => Err(wrong()),
    }
}

/// `16384`, `16KiB`, `1MB`.
pub(in crate::cli) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "expected bytes from 1 on, as in 16384, 16KiB, 1k or 1MB".to_string();
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor = match unit {
        "" => 1,
        unit => scale(unit).ok_or_else(wrong)?,
    };
    scaled(number, factor)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

/// `10`, `10s`, `500ms`, `2m`, `1h`; a day at most.
pub(in crate::cli) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time up to a day, as in 10s, 500ms, 2m or 1h".to_string();
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    scaled(number, unit_ms)
        .filter(|ms| *ms <= u64::from(SECONDS_MAX) * 1000)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

/// The same, and longer than nothing.
pub(in crate::cli) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected a time longer than 0".to_string()),
        time => Ok(time),
    }
}

/// A number without a sign, and what stands behind it.
fn split(text: &str) -> Option<(f64, &str)> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c| !is_number(c)).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Bytes of a unit, by its case-sensitive name; `KB` is taken for `kB`.
fn scale(unit: &str) -> Option<u64> {
    Some(match unit {
        "B" => 1,
        "k" | "kB" | "KB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    })
}

/// The product, as a whole number below 2^53.
fn scaled(number: f64, factor: u64) -> Option<u64> {
    let product = number * factor as f64;
    (product < (1_u64 << 53) as f64).then_some(product as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        let check = |text: &str, expected: Option<Pace>| {
            assert_eq!(pace(text).ok(), expected, "{text}");
        };
        check("0", Some(Pace::Max));
        check("0MB/s", Some(Pace::Max));
        check("5000", Some(Pace::RecordsPerSecond(5000)));
        check("5000/s", Some(Pace::RecordsPerSecond(5000)));
        check("2.5k/s", Some(Pace::RecordsPerSecond(2500)));
        check("1M", Some(Pace::RecordsPerSecond(1_000_000)));
        check("100MB/s", Some(Pace::BytesPerSecond(100_000_000)));
        check("1.5GiB/s", Some(Pace::BytesPerSecond(3 << 29)));
        for wrong in [
            "", "-1", "x", "5/m", "5mb/s", "2G", "1e3", "1001M", "/s", "9.9.9",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_rate_in_bytes_is_one_in_records() {
        let check = |pace: Pace, record_bytes, expected| {
            assert_eq!(pace.of_records(record_bytes), expected, "{pace:?}");
        };
        check(Pace::Max, 100, Rate::Max);
        check(Pace::RecordsPerSecond(7), 100, Rate::RecordsPerSecond(7));
        check(Pace::BytesPerSecond(1000), 100, Rate::RecordsPerSecond(10));
        check(Pace::BytesPerSecond(1), 100, Rate::RecordsPerSecond(1));
    }

    #[test]
    fn sizes_and_times_have_units() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        };
        check("16384", Some(16384));
        check("16KiB", Some(16384));
        check("1MB", Some(1_000_000));
        check("1k", Some(1000));
        check("1.5M", Some(1_500_000));
        for wrong in ["0", "16K", "-5", "99999999GiB"] {
            check(wrong, None);
        }
        let check = |text: &str, expected_ms: Option<u64>| {
            let expected = expected_ms.map(Duration::from_millis);
            assert_eq!(duration(text).ok(), expected, "{text}");
        };
        check("10", Some(10_000));
        check("1.5s", Some(1500));
        check("500ms", Some(500));
        check("2m", Some(120_000));
        check("24h", Some(86_400_000));
        for wrong in ["25h", "1d", "s", "-1s", ""] {
            check(wrong, None);
        }
        assert!(some_time("0").is_err() && some_time("1ms").is_ok());
    }
}
