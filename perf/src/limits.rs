//! Every bound of the harness, with its unit.

use std::time::Duration;

/// Connections of one workload.
pub(crate) const CONNECTIONS_MAX: u32 = 4096;
/// Topics of one workload.
pub(crate) const TOPICS_MAX: u32 = 1000;
/// Partitions of all topics of one workload together.
pub(crate) const PARTITIONS_MAX: u32 = 20_000;
/// Bytes of one record's key.
pub(crate) const KEY_BYTES_MAX: u32 = 1024;
/// Keys that take turns.
pub(crate) const KEYS_COUNT: u64 = 10_000;
/// Bytes that are produced before a run begins.
pub(crate) const BACKLOG_BYTES_MAX: u64 = 1 << 40;
/// Bytes that one fetch may ask for.
pub(crate) const FETCH_BYTES_MAX: u32 = 256 << 20;
/// How long one fetch may wait for data, in milliseconds.
pub(crate) const FETCH_WAIT_MS_MAX: u32 = 30_000;
/// Settings of the broker in one workload.
pub(crate) const SETTINGS_MAX: usize = 64;
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
/// Different requests that a topic's keyed connections send in turn.
pub(crate) const DIFFERENT_REQUESTS_MAX: usize = 8;
/// Bytes of one answer to a produce request.
pub(crate) const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What an answer to a fetch has beside its records: for itself, and for each partition.
pub(crate) const FETCH_ANSWER_BYTES: usize = 1024;
pub(crate) const FETCH_ANSWER_PARTITION_BYTES: usize = 128;
/// The longest latency that is told apart from longer ones, in nanoseconds: an hour.
pub(crate) const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// How long a step of a result's time series is, and how many there are at most: a longer run has
/// longer steps.
pub(crate) const STEP: Duration = Duration::from_millis(100);
pub(crate) const STEPS_COUNT_MAX: u32 = 36_000;
/// How long answers are waited for after the last request, in seconds.
pub(crate) const DRAIN_SECONDS: u64 = 10;
/// Before an intended send time the client watches the clock instead of sleeping, so that a
/// timer's slack is not taken for the broker's latency; in nanoseconds.
pub(crate) const WATCH_CLOCK_NS: u64 = 100_000;
/// A run ends when the data directory's file system has less room than this, in bytes.
pub(crate) const SPACE_LEFT_BYTES_MIN: u64 = 2 << 30;

/// Lines of one picture.
pub(crate) const PLOT_SERIES_MAX: usize = 6;
/// Points of a line of throughput; more would be noise.
pub(crate) const PLOT_POINTS_MAX: usize = 200;
/// Bytes of a result's file.
pub(crate) const RESULT_FILE_BYTES_MAX: usize = 64 << 20;

/// How long a broker may take until it gives producer ids, in seconds.
pub(crate) const PRODUCER_ID_SECONDS: u64 = 30;
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

/// Files that the floors write to and read: as many as the broker keeps open for 16 partitions.
pub(crate) const FLOOR_FILES: usize = 16;
/// Bytes of each of them.
pub(crate) const FLOOR_FILES_BYTES: u64 = 32 << 20;
/// Bytes that a floor's server takes from a connection before it writes them: two batches of the
/// largest workload's 128 KiB.
pub(crate) const SINK_READ_BYTES: usize = 256 << 10;
/// Writes of one connection of a floor's server that wait for their end; it reads no further then.
pub(crate) const SINK_WRITES_MAX: usize = 2;

/// What is sent at once when nothing is asked for: pieces as large as a batch of W6-tail, as many
/// as a fetch of four partitions is answered with.
pub(crate) const SEND_PIECE_BYTES: usize = 128 << 10;
pub(crate) const SEND_PIECES: usize = 32;
/// The memory of all cores together that is sent from in turn: the backlog of W6-tail, so that the
/// floor reads as much different memory as the broker does.
pub(crate) const SEND_MEMORY_BYTES: usize = 64 << 20;
/// What its readers fill before they use their memory again: what a consumer has for an answer.
pub(crate) const DRAIN_READ_BYTES: usize = SEND_PIECES * SEND_PIECE_BYTES;

/// Bytes of a broker's /metrics.
pub(crate) const METRICS_PAGE_BYTES_MAX: u64 = 64 << 20;

/// How long the hiccup probe spins before and after each slice.
pub(crate) const HICCUP_PROBE: Duration = Duration::from_millis(20);
/// A slice does not count beside a gap longer than this, in nanoseconds.
pub(crate) const HICCUP_GAP_NS_MAX: u64 = 1_000_000;
/// Nor with a larger share of its CPUs' time given to others by the host.
pub(crate) const STOLEN_SHARE_MAX: f64 = 0.05;

const _: () = assert!(SINK_READ_BYTES as u64 <= FLOOR_FILES_BYTES);
