//! A point on the monotonic clock.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds since some fixed point of this process's life; the same clock on every core.
///
/// Only differences mean anything: it is not the wall clock, and it is never stored.
/// Arithmetic saturates, so that "now plus the longest Duration" is a deadline that never comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The point that is `ns` nanoseconds after the clock's zero.
    pub const fn from_nanos(ns: u64) -> Instant {
        Instant(ns)
    }

    /// Nanoseconds after the clock's zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How much later this is than `earlier`; zero if it is not later.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(ns))
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let second = Instant::from_nanos(1_000_000_000);
        assert_eq!(
            (second + Duration::from_millis(5)).as_nanos(),
            1_005_000_000
        );
        assert_eq!(
            second - Instant::from_nanos(1),
            Duration::from_nanos(999_999_999)
        );
        assert_eq!(Instant::from_nanos(1) - second, Duration::ZERO);
        assert_eq!((second + Duration::MAX).as_nanos(), u64::MAX);
    }
}
