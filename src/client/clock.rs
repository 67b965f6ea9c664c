//! The clocks of the client's thread, which is no core.
#![allow(clippy::disallowed_methods)]

use std::sync::OnceLock;
use std::time::Duration;

use crate::io::Instant;
use crate::model::Timestamp;

/// The pause before an operation is tried again.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The monotonic clock.
pub(super) fn now() -> Instant {
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    let start = START.get_or_init(std::time::Instant::now);
    Instant::from_nanos(start.elapsed().as_nanos() as u64)
}

/// The time of day.
pub(super) fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| since.as_millis() as i64))
}
