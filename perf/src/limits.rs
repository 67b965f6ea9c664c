//! Every bound of the harness, with its unit; those of the load itself are in
//! `corelog::bench::limits`.

use std::time::Duration;

/// Topics of one workload.
pub(crate) const TOPICS_MAX: u32 = 1000;
/// Bytes of one record's key.
pub(crate) const KEY_BYTES_MAX: u32 = 1024;
/// Bytes that are produced before a run begins.
pub(crate) const BACKLOG_BYTES_MAX: u64 = 1 << 40;
/// How long one fetch may wait for data, in milliseconds.
pub(crate) const FETCH_WAIT_MS_MAX: u32 = 30_000;
/// Settings of the broker in one workload.
pub(crate) const SETTINGS_MAX: usize = 64;
/// Cores of the broker, and of the client.
pub(crate) const CORES_MAX: u16 = 256;
/// Numbers of CPUs, as the kernel counts them; it has no more.
pub(crate) const CPU_NUMBERS_MAX: usize = 8192;
/// Bytes of a workload file.
pub(crate) const WORKLOAD_FILE_BYTES_MAX: usize = 64 << 10;
/// Bytes that a topic's configuration may name.
pub(crate) const TOPIC_BYTES_MAX: u64 = 1 << 50;

/// Lines of one picture.
pub(crate) const PLOT_SERIES_MAX: usize = 6;
/// Points of a line of throughput; more would be noise.
pub(crate) const PLOT_POINTS_MAX: usize = 200;
/// Bytes of a result's file.
pub(crate) const RESULT_FILE_BYTES_MAX: usize = 64 << 20;

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

/// `corelog.spin.us` of a broker that spins while it is measured: longer than the gap between two
/// requests of a connection with one in flight, and than a synced write.
pub(crate) const SPIN_US: u32 = 1000;

/// How long the hiccup probe spins before and after each slice.
pub(crate) const HICCUP_PROBE: Duration = Duration::from_millis(20);
/// A slice does not count beside a gap longer than this, in nanoseconds.
pub(crate) const HICCUP_GAP_NS_MAX: u64 = 1_000_000;
/// Nor with a larger share of its CPUs' time given to others by the host.
pub(crate) const STOLEN_SHARE_MAX: f64 = 0.05;

const _: () = assert!(SINK_READ_BYTES as u64 <= FLOOR_FILES_BYTES);
