//! Per-core counters and latencies, written by their core without atomics, published once a second.
//!
//! A core counts in memory that is its own ([`add`], [`set`], [`record`], ...): the functions write
//! to the thread that calls them, so nothing is handed around and nothing is shared. Once a second
//! each core copies its figures into its place of the [`Board`], from which the housekeeping thread
//! reads. A crash loses them; nothing decides by them.
//!
//! In a simulation all cores live on one thread and so count together.

mod board;

#[cfg(test)]
pub(crate) use board::partition_of;
pub use board::{
    Board, CommittedOffset, CoreSnapshot, LatencySnapshot, NodeFacts, PartitionFigures, lag,
};

use std::cell::{Cell, RefCell};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::limits::{METRICS_API_KEYS_MAX, METRICS_ERROR_CODES_MAX, METRICS_LATENCY_MAX_S};

/// Adds to a counter of this core.
pub fn add(counter: Counter, count: u64) {
    LOCAL.with(|local| bump(&local.counters[counter as usize], count));
}

/// Sets a gauge of this core.
pub fn set(gauge: Gauge, value: u64) {
    LOCAL.with(|local| local.gauges[gauge as usize].set(value));
}

/// Adds to a gauge of this core.
pub fn raise(gauge: Gauge, by: u64) {
    LOCAL.with(|local| bump(&local.gauges[gauge as usize], by));
}

/// Takes from a gauge of this core what was added to it.
pub fn lower(gauge: Gauge, by: u64) {
    LOCAL.with(|local| {
        let cell = &local.gauges[gauge as usize];
        cell.set(cell.get().saturating_sub(by));
    });
}

/// Counts one request by its API key. Keys that Kafka does not have count as one.
pub fn count_request(api_key: i16) {
    let last = METRICS_API_KEYS_MAX - 1;
    let index = usize::try_from(api_key).map_or(last, |key| key.min(last));
    LOCAL.with(|local| bump(&local.requests[index], 1));
}

/// Counts one Kafka error code that was sent to a client; 0 is no error and is not counted.
pub fn count_error(code: i16) {
    if code == 0 {
        return;
    }
    // -1 (UNKNOWN_SERVER_ERROR) takes the place of 0, which is never counted.
    let last = METRICS_ERROR_CODES_MAX - 1;
    let index = if code == -1 {
        0
    } else {
        usize::try_from(code).map_or(last, |code| code.min(last))
    };
    LOCAL.with(|local| bump(&local.errors[index], 1));
}

/// Records how long a stage took for one request, batch or group.
pub fn record(stage: Stage, elapsed: Duration) {
    let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
    LOCAL.with(|local| {
        let mut latencies = local.latencies.borrow_mut();
        latencies
            .get_or_insert_with(Latencies::new)
            .record(stage, elapsed_ns);
    });
}

/// Copies payload, and counts the bytes: the only copy of payload in the files that docs/style.md
/// lists as hot. Panics if the lengths differ, as `copy_from_slice` does.
pub fn copy_payload(to: &mut [u8], from: &[u8]) {
    to.copy_from_slice(from);
    add(Counter::CopiedBytes, from.len() as u64);
}

fn bump(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get().wrapping_add(count));
}

/// An enum whose variants are figures, each with its name in the exposition and its one-line help.
macro_rules! figures {
    (
        $(#[$doc:meta])*
        $name:ident { $(#[doc = $help:literal] $variant:ident = $metric:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = $help] $variant,)*
        }

        impl $name {
            /// All of them, in the order of their values.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The name on `/metrics`, without the prefix `corelog_`.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $metric,)* }
            }

            /// What is counted, for people.
            pub fn help(self) -> &'static str {
                match self { $($name::$variant => $help.trim_ascii(),)* }
            }
        }
    };
}

figures! {
    /// What a core counts. Counters only grow.
    Counter {
        /// Bytes read from client sockets.
        ReceivedBytes = "received_bytes",
        /// Bytes written to client sockets.
        SentBytes = "sent_bytes",
        /// Bytes of batches appended for producers.
        PayloadInBytes = "payload_in_bytes",
        /// Bytes of batches that the broker itself made and appended: offsets, groups, metadata.
        PayloadOwnBytes = "payload_own_bytes",
        /// Bytes of batches sent to consumers.
        PayloadOutBytes = "payload_out_bytes",
        /// Bytes of payload copied in user space between socket and disk.
        CopiedBytes = "copied_bytes",
        /// Records appended for producers.
        RecordsIn = "records_in",
        /// Batches appended for producers.
        BatchesIn = "batches_in",
        /// Produce requests acknowledged.
        AcknowledgedRequests = "acknowledged_requests",
        /// Partitions of produce requests that were refused.
        FailedProduces = "failed_produces",
        /// Partitions of fetch requests that were refused.
        FailedFetches = "failed_fetches",
        /// Fetches that waited for more bytes.
        ParkedFetches = "parked_fetches",
        /// Writes of a commit group that completed.
        GroupWrites = "group_writes",
        /// Bytes of those writes, with headers and padding.
        WrittenBytes = "written_bytes",
        /// Data syncs of the disk, whether with a write or alone.
        Syncs = "syncs",
        /// Bytes of zeros written into free chunks ahead of need.
        PrewrittenBytes = "prewritten_bytes",
        /// Chunks that a log took with blocks that nothing was written to yet.
        UnwrittenChunksTaken = "unwritten_chunks_taken",
        /// Times that a log had to wait for a chunk, because none was free.
        ChunkWaits = "chunk_waits",
        /// Rounds of the journal, each one write for the small groups of many partitions.
        JournalRounds = "journal_rounds",
        /// What those rounds held: one part of one partition each.
        JournalEntries = "journal_entries",
        /// Bytes of those rounds, with headers and padding.
        JournalBytes = "journal_bytes",
        /// Groups that went to their chunk when the journal had them, or a part of them.
        JournalWriteBacks = "journal_write_backs",
        /// Reads that the disk served because no buffer held the bytes.
        ColdReads = "cold_reads",
        /// Bytes of those reads.
        ColdReadBytes = "cold_read_bytes",
        /// Connections accepted.
        ConnectionsAccepted = "connections_accepted",
        /// Connections closed, by whichever side.
        ConnectionsClosed = "connections_closed",
        /// Connections refused because a limit was reached.
        ConnectionsRefused = "connections_refused",
        /// Messages sent to other cores.
        CrossCoreMessages = "cross_core_messages",
        /// Of these, produce requests, or parts of them, for partitions of another core.
        ProduceHops = "produce_hops",
        /// Of these, reads of fetch requests, or parts of them, from partitions of another core.
        FetchHops = "fetch_hops",
        /// Of these, watches that a waiting fetch placed on partitions of another core.
        WatchHops = "watch_hops",
        /// Of these, questions about offsets of partitions of another core.
        OffsetsHops = "offsets_hops",
        /// Of these, requests for a group whose coordinator is on another core.
        GroupHops = "group_hops",
        /// Of these, looks at the partitions of another core.
        InspectHops = "inspect_hops",
        /// Of these, requests for the controller on core 0.
        ControlHops = "control_hops",
        /// Of these, changes of the metadata that core 0 told another core.
        ApplyHops = "apply_hops",
        /// Times that a connection was not read from because a budget was used up.
        BackPressurePauses = "back_pressure_pauses",
    }
}

figures! {
    /// What a core has now.
    Gauge {
        /// Partitions that the core owns.
        Partitions = "partitions",
        /// Partitions of the core whose log directory has stopped.
        OfflinePartitions = "offline_partitions",
        /// Consumer groups that the core coordinates.
        Groups = "groups",
        /// Bytes of requests that are being read or not yet answered.
        RequestMemoryBytes = "request_memory_bytes",
        /// Bytes of fetches' answers that are being read or not yet sent.
        ResponseMemoryBytes = "response_memory_bytes",
        /// Fetches that wait for more bytes.
        WaitingFetches = "waiting_fetches",
        /// Writes in flight to the disk.
        WritesInFlight = "writes_in_flight",
        /// Preallocated chunks that wait for use.
        FreeChunks = "free_chunks",
        /// Those of them whose blocks are all written.
        PrewrittenChunks = "prewritten_chunks",
        /// Chunks that the journal occupies.
        JournalChunks = "journal_chunks",
        /// Files that are open.
        OpenFiles = "open_files",
    }
}

figures! {
    /// A stage of a request's way whose latency is recorded.
    Stage {
        /// From a request's first byte to its last.
        Receive = "receive",
        /// To the owner core and, if that is another one, back.
        Route = "route",
        /// From validation to the place in the open commit group.
        Append = "append",
        /// From the group's write to its completion with data sync.
        Sync = "sync",
        /// From the response being ready to its last byte being sent.
        Respond = "respond",
    }
}

/// One core's latencies, a histogram of nanoseconds per stage.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    stages: Vec<StageLatency>,
}

#[derive(Clone, Debug)]
struct StageLatency {
    histogram: Histogram<u64>,
    /// Exact, where the histogram knows values to two digits.
    sum_ns: u64,
}

impl Latencies {
    fn new() -> Latencies {
        let max_ns = METRICS_LATENCY_MAX_S * 1_000_000_000;
        let empty = StageLatency {
            histogram: Histogram::new_with_bounds(1_000, max_ns, 2).expect("bounds are constants"),
            sum_ns: 0,
        };
        Latencies {
            stages: vec![empty; Stage::ALL.len()],
        }
    }

    fn record(&mut self, stage: Stage, elapsed_ns: u64) {
        let latency = &mut self.stages[stage as usize];
        latency.histogram.saturating_record(elapsed_ns);
        latency.sum_ns = latency.sum_ns.saturating_add(elapsed_ns);
    }
}

/// What one thread counted.
struct Local {
    counters: [Cell<u64>; Counter::ALL.len()],
    gauges: [Cell<u64>; Gauge::ALL.len()],
    requests: [Cell<u64>; METRICS_API_KEYS_MAX],
    errors: [Cell<u64>; METRICS_ERROR_CODES_MAX],
    latencies: RefCell<Option<Latencies>>,
}

thread_local! {
    static LOCAL: Local = const {
        Local {
            counters: [const { Cell::new(0) }; Counter::ALL.len()],
            gauges: [const { Cell::new(0) }; Gauge::ALL.len()],
            requests: [const { Cell::new(0) }; METRICS_API_KEYS_MAX],
            errors: [const { Cell::new(0) }; METRICS_ERROR_CODES_MAX],
            latencies: RefCell::new(None),
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CoreId;

    #[test]
    fn variants_stand_at_their_value() {
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
        for (index, stage) in Stage::ALL.iter().enumerate() {
            assert_eq!(*stage as usize, index);
        }
        assert_eq!(
            Counter::Syncs.help(),
            "Data syncs of the disk, whether with a write or alone."
        );
    }

    /// A fresh thread has fresh counters, so tests do not see one another's.
    fn on_a_core(body: impl FnOnce() + Send) -> CoreSnapshot {
        let board = Board::new(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                body();
                board.publish(CoreId(0), &[("turns", 7)]);
            });
        });
        board.read().remove(0)
    }

    #[test]
    fn what_a_core_counts_is_what_the_board_shows() {
        let shown = on_a_core(|| {
            add(Counter::Syncs, 2);
            add(Counter::Syncs, 3);
            set(Gauge::Partitions, 9);
            set(Gauge::Partitions, 8);
            count_request(18);
            count_error(0);
            count_error(3);
            let mut to = [0; 4];
            copy_payload(&mut to, b"abcd");
            assert_eq!(&to, b"abcd");
        });
        assert_eq!(shown.counter(Counter::Syncs), 5);
        assert_eq!(shown.counter(Counter::CopiedBytes), 4);
        assert_eq!(shown.gauge(Gauge::Partitions), 8);
        assert_eq!(shown.requests().collect::<Vec<_>>(), [(18, 1)]);
        assert_eq!(shown.errors().collect::<Vec<_>>(), [(3, 1)]);
        assert_eq!(shown.executor(), [("turns", 7)]);
        assert_eq!(shown.publish_count(), 1);
    }

    #[test]
    fn keys_and_codes_that_nobody_knows_do_not_write_out_of_bounds() {
        let shown = on_a_core(|| {
            count_request(-1);
            count_request(i16::MAX);
            count_error(-1);
            count_error(i16::MIN);
            count_error(i16::MAX);
        });
        let other = (METRICS_API_KEYS_MAX - 1) as i16;
        assert_eq!(shown.requests().collect::<Vec<_>>(), [(other, 2)]);
        let other = (METRICS_ERROR_CODES_MAX - 1) as i16;
        assert_eq!(shown.errors().collect::<Vec<_>>(), [(-1, 1), (other, 2)]);
    }

    #[test]
    fn latencies_are_kept_per_stage() {
        let shown = on_a_core(|| {
            record(Stage::Sync, Duration::from_micros(200));
            record(Stage::Sync, Duration::from_micros(400));
            record(Stage::Append, Duration::MAX);
        });
        let sync = shown.latency(Stage::Sync).expect("recorded");
        assert_eq!((sync.count(), sync.sum()), (2, Duration::from_micros(600)));
        let median_ns = sync.quantile(0.5).as_nanos() as f64;
        assert!((median_ns - 200_000.0).abs() < 2_000.0, "{median_ns}");
        assert_eq!(sync.count_up_to(Duration::from_micros(300)), 1);
        assert_eq!(sync.count_up_to(Duration::from_secs(1)), 2);
        assert_eq!(
            shown.latency(Stage::Append).map(|latency| latency.count()),
            Some(1)
        );
        assert_eq!(
            shown.latency(Stage::Receive).map(|latency| latency.count()),
            Some(0)
        );
    }
}
