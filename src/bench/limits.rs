//! Every bound of the load generator, with its unit.

use std::time::Duration;

/// Connections of one load.
pub const CONNECTIONS_MAX: u32 = 4096;
/// Partitions of all topics of one load together.
pub const PARTITIONS_MAX: u32 = 20_000;
/// Keys that take turns.
pub const KEYS_COUNT: u64 = 10_000;
/// Requests in flight of one connection.
pub const IN_FLIGHT_MAX: u32 = 1024;
/// Records of one batch.
pub const BATCH_RECORDS_MAX: u32 = 100_000;
/// Bytes of one record's value.
pub const RECORD_BYTES_MAX: u32 = 1 << 20;
/// Bytes of the values of one batch; Kafka refuses batches above `message.max.bytes`, 1 MiB and a
/// little, unless it is told otherwise.
pub const BATCH_BYTES_MAX: u64 = 1 << 20;
/// Records a second of one load.
pub const RATE_MAX: u64 = 1_000_000_000;
/// Seconds of the part of a run that counts, and of its warm-up.
pub const SECONDS_MAX: u32 = 24 * 3600;
/// Different batches that are sent in turn; more would only fill the client's caches.
pub const DIFFERENT_BATCHES_MAX: usize = 8;
/// Different requests that a topic's keyed connections send in turn.
pub const DIFFERENT_REQUESTS_MAX: usize = 8;
/// Bytes that one fetch may ask for.
pub const FETCH_BYTES_MAX: u32 = 256 << 20;
/// Threads of the client.
pub const THREADS_MAX: u16 = 256;
/// Bytes of one answer to a produce request.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What an answer to a fetch has beside its records: for itself, and for each partition.
pub const FETCH_ANSWER_BYTES: usize = 1024;
pub const FETCH_ANSWER_PARTITION_BYTES: usize = 128;
/// The longest latency that is told apart from longer ones, in nanoseconds: an hour.
pub const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// How long a step of a result's time series is, and how many there are at most: a longer run has
/// longer steps.
pub const STEP: Duration = Duration::from_millis(100);
pub const STEPS_COUNT_MAX: u32 = 36_000;
/// How long answers are waited for after the last request, in seconds.
pub const DRAIN_SECONDS: u64 = 10;
/// Before an intended send time the client watches the clock instead of sleeping, so that a
/// timer's slack is not taken for the broker's latency; in nanoseconds.
pub const WATCH_CLOCK_NS: u64 = 100_000;
/// A run ends when the data directory's file system has less room than this, in bytes.
pub const SPACE_LEFT_BYTES_MIN: u64 = 2 << 30;
/// How long partitions may be without a leader, in seconds.
pub const LEADER_SECONDS: u64 = 10;
/// How long a broker may take until it gives producer ids, in seconds.
pub const PRODUCER_ID_SECONDS: u64 = 30;
const _: () = assert!(RECORD_BYTES_MAX as u64 <= BATCH_BYTES_MAX);
