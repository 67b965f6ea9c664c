//! When each batch of an open loop is meant to be sent. Pure.

use std::time::Duration;

/// The intended send times of one connection, as distances from the start of the load.
///
/// The batches of all connections together are spread evenly over time, and the connections take
/// them in turn. A time depends on the batch's number only: what was late before changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Of all connections together.
    pub(super) records_per_second: u64,
    pub(super) batch_records: u32,
    /// Which connection this is, and of how many.
    pub(super) connection: u32,
    pub(super) connections: u32,
}

impl Schedule {
    /// When the connection's batch of this number, counted from 0, is meant to be sent.
    pub(super) fn intended(&self, number: u64) -> Duration {
        let of_all =
            u128::from(number) * u128::from(self.connections) + u128::from(self.connection);
        let records = of_all * u128::from(self.batch_records);
        let ns = records * 1_000_000_000 / u128::from(self.records_per_second);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// How many batches are meant to be sent before this time.
    pub(super) fn count_before(&self, end: Duration) -> u64 {
        let mut least = 0;
        let mut most = 1;
        while self.intended(most - 1) < end {
            (least, most) = (most, most.saturating_mul(2));
        }
        // Between the two: `least` batches are before `end`, the one before `most` is not.
        while least + 1 < most {
            let middle = least + (most - least) / 2;
            match self.intended(middle - 1) < end {
                true => least = middle,
                false => most = middle,
            }
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(records_per_second: u64, batch_records: u32, place: (u32, u32)) -> Schedule {
        Schedule {
            records_per_second,
            batch_records,
            connection: place.0,
            connections: place.1,
        }
    }

    #[test]
    fn batches_are_spread_evenly_and_taken_in_turn() {
        let check = |schedule: Schedule, number, expected_us| {
            let expected = Duration::from_micros(expected_us);
            assert_eq!(schedule.intended(number), expected, "{schedule:?} {number}");
        };
        // 1,000 batches of 100 records a second: one a millisecond.
        check(schedule(100_000, 100, (0, 1)), 0, 0);
        check(schedule(100_000, 100, (0, 1)), 7, 7_000);
        check(schedule(100_000, 100, (0, 4)), 1, 4_000);
        check(schedule(100_000, 100, (3, 4)), 0, 3_000);
        check(schedule(100_000, 100, (3, 4)), 2, 11_000);
    }

    #[test]
    fn the_rate_does_not_drift() {
        // A third of a second between batches is no whole number of nanoseconds.
        let schedule = schedule(3, 1, (0, 1));
        assert_eq!(schedule.intended(3 * 86_400), Duration::from_secs(86_400));
        assert_eq!(schedule.intended(1), Duration::from_nanos(333_333_333));
    }

    #[test]
    fn what_is_due_before_a_time_is_counted() {
        for place in [(0, 1), (0, 3), (2, 3)] {
            let schedule = schedule(1000, 10, place);
            for end_ms in [0, 1, 9, 10, 11, 20, 30, 31, 1234, 60_000] {
                let end = Duration::from_millis(end_ms);
                let count = schedule.count_before(end);
                let slow = (0..).take_while(|&number| schedule.intended(number) < end);
                assert_eq!(count, slow.count() as u64, "{place:?} {end_ms}");
            }
        }
    }

    #[test]
    fn an_endless_time_ends_the_count() {
        let schedule = schedule(1, 100, (0, 1));
        assert!(schedule.count_before(Duration::from_nanos(u64::MAX)) > 0);
    }
}
