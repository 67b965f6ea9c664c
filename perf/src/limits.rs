//! Every bound of the harness, with its unit.

use std::time::Duration;

/// Connections of one workload.
pub(crate) const CONNECTIONS_MAX: u32 = 4096;
/// Partitions of one workload's topic.
pub(crate) const PARTITIONS_MAX: u32 = 20_000;
/// Requests in flight of one connection.
pub(crate) const IN_FLIGHT_MAX: u32 = 1024;
/// Records of one batch.
pub(crate) const BATCH_RECORDS_MAX: u32 = 100_000;
/// Bytes of one record's value.
pub(crate) const RECORD_BYTES_MAX: u32 = 1 << 20;
/// Bytes of the values of one batch; Kafka refuses batches above `message.max.bytes`, 1 MiB and a
/// little, unless it is told otherwise.
pub(crate) const BATCH_BYTES_MAX: u64 = 1 << 20;
/// Records a second of one workload.
pub(crate) const RATE_MAX: u64 = 1_000_000_000;
/// Cores of the broker, and of the client.
pub(crate) const CORES_MAX: u16 = 256;
/// Numbers of CPUs, as the kernel counts them; it has no more.
pub(crate) const CPU_NUMBERS_MAX: usize = 8192;
/// Seconds of the part of a run that counts, and of its warm-up.
pub(crate) const SECONDS_MAX: u32 = 24 * 3600;
/// Bytes of a workload file.
pub(crate) const WORKLOAD_FILE_BYTES_MAX: usize = 64 << 10;
/// Bytes that a topic's configuration may name.
pub(crate) const TOPIC_BYTES_MAX: u64 = 1 << 50;

/// Different batches that are sent in turn; more would only fill the client's caches.
pub(crate) const DIFFERENT_BATCHES_MAX: usize = 8;
/// Bytes of one answer to a produce request of one partition.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The longest latency that is told apart from longer ones, in nanoseconds: an hour.
pub(crate) const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// How long answers are waited for after the last request, in seconds.
pub(crate) const DRAIN_SECONDS: u64 = 10;
/// Before an intended send time the client watches the clock instead of sleeping, so that a
/// timer's slack is not taken for the broker's latency; in nanoseconds.
pub(crate) const WATCH_CLOCK_NS: u64 = 100_000;
/// A run ends when the data directory's file system has less room than this, in bytes.
pub(crate) const SPACE_LEFT_BYTES_MIN: u64 = 2 << 30;

/// How long a broker may take to start, and to stop, in seconds.
pub(crate) const BROKER_START_SECONDS: u64 = 60;
pub(crate) const BROKER_STOP_SECONDS: u64 = 30;

/// Pairs of slices of one comparison.
pub(crate) const PAIRS_MAX: u32 = 1000;
/// Load on each broker of a comparison before its first slice: a JVM is not what it will be before
/// it has had some.
pub(crate) const COMPARE_WARM_UP: Duration = Duration::from_secs(10);
/// Load before each slice of a comparison that does not count: connections open, caches fill.
pub(crate) const SLICE_WARM_UP: Duration = Duration::from_millis(300);
/// Samples that are drawn for an interval.
pub(crate) const RESAMPLES_COUNT: usize = 10_000;

/// The deepest queue of writes that a floor is looked for at.
pub(crate) const WRITE_DEPTH_MAX: usize = 32;
/// Bytes of the file that floors are measured on: well above what one write or one queue covers.
pub(crate) const FLOOR_FILE_BYTES: u64 = 256 << 20;

const _: () = assert!(RECORD_BYTES_MAX as u64 <= BATCH_BYTES_MAX);
const _: () = assert!(FLOOR_FILE_BYTES >= 16 * WRITE_DEPTH_MAX as u64 * (128 << 10));
