//! Positions in a partition: offsets and timestamps.

use std::fmt;
use std::ops::{Add, Sub};

/// The position of one record in one partition; the first record has offset 0.
///
/// An end offset (`log_end_offset`, `high_watermark`) is exclusive: it is the offset that the
/// next record will get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    /// The offset of a partition's first record.
    pub const ZERO: Offset = Offset(0);
    /// What Kafka's protocol sends where there is no offset.
    pub const NONE: Offset = Offset(-1);

    /// The offset after this one.
    pub fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl Add<i64> for Offset {
    type Output = Offset;
    fn add(self, count: i64) -> Offset {
        Offset(self.0 + count)
    }
}

impl Sub for Offset {
    type Output = i64;
    fn sub(self, other: Offset) -> i64 {
        self.0 - other.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since the Unix epoch, as Kafka's record timestamps are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// What Kafka's protocol sends where there is no timestamp.
    pub const NONE: Timestamp = Timestamp(-1);
}
