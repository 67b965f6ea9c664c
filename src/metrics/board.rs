//! Where cores publish their figures and the housekeeping thread reads them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::{Counter, Gauge, LOCAL, Latencies, Stage, StageLatency};
use crate::limits::METRICS_ERROR_CODES_MAX;
use crate::model::{CoreId, Offset, TopicPartition};

/// One place per core for its latest figures, shared by all threads of the process.
///
/// A core never waits here: if the reader holds its place, the core keeps its figures until the
/// next time; they are sums, so nothing is lost. The reader waits for a core's copy at most.
#[derive(Clone, Debug)]
pub struct Board {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cores: Vec<Mutex<CoreSnapshot>>,
    ready: AtomicBool,
    cluster_id: OnceLock<Arc<str>>,
}

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// The version of the binary.
    pub version: &'static str,
    /// `node.id`.
    pub node_id: i32,
    /// What an acknowledgement means: `sync` or `written`.
    pub durability: &'static str,
    /// The name of an API by its key, where the broker serves it.
    pub api_name: fn(i16) -> Option<&'static str>,
    /// The name of a Kafka error by its code.
    pub error_name: fn(i16) -> Option<&'static str>,
}

/// Where one partition's log begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFigures {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset that can be read.
    pub log_start_offset: Offset,
    /// The offset that the next record gets.
    pub log_end_offset: Offset,
    /// Up to where readers see.
    pub high_watermark: Offset,
    /// Logical bytes of the log.
    pub size_bytes: u64,
}

/// Where one group stands in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The group's id.
    pub group: Arc<str>,
    /// The partition.
    pub partition: TopicPartition,
    /// The offset that the group reads next.
    pub offset: Offset,
}

/// One core's figures at one moment.
#[derive(Clone, Debug, Default)]
pub struct CoreSnapshot {
    publish_count: u64,
    counters: Vec<u64>,
    gauges: Vec<u64>,
    requests: Vec<u64>,
    errors: Vec<u64>,
    latencies: Option<Latencies>,
    executor: Vec<(&'static str, u64)>,
    partitions: Arc<[PartitionFigures]>,
    committed: Arc<[CommittedOffset]>,
}

/// One stage's latencies of one core.
#[derive(Clone, Copy, Debug)]
pub struct LatencySnapshot<'a> {
    latency: &'a StageLatency,
}

impl Board {
    /// A board for so many cores, with nothing on it; not ready.
    pub fn new(cores: usize) -> Board {
        let cores = (0..cores).map(|_| Mutex::default()).collect();
        Board {
            shared: Arc::new(Shared {
                cores,
                ready: AtomicBool::new(false),
                cluster_id: OnceLock::new(),
            }),
        }
    }

    /// Copies what the calling core counted to its place. To be called by each core once a second:
    /// a core that stops doing so is reported as stalled. `executor` is what the caller knows of
    /// the core's executor: names as on `/metrics`, and values that only grow.
    pub fn publish(&self, core: CoreId, executor: &[(&'static str, u64)]) {
        let Ok(mut place) = self.place(core).try_lock() else {
            return;
        };
        place.publish_count += 1;
        place.executor.clear();
        place.executor.extend(executor);
        LOCAL.with(|local| {
            let copy = |to: &mut Vec<u64>, from: &[std::cell::Cell<u64>]| {
                to.clear();
                to.extend(from.iter().map(std::cell::Cell::get));
            };
            copy(&mut place.counters, &local.counters);
            copy(&mut place.gauges, &local.gauges);
            copy(&mut place.requests, &local.requests);
            copy(&mut place.errors, &local.errors);
            place.latencies.clone_from(&local.latencies.borrow());
        });
    }

    /// Replaces what the board says of the core's partitions. Costs one entry per partition, so a
    /// core with many does it less often than it publishes its counters.
    pub fn publish_partitions(&self, core: CoreId, partitions: Vec<PartitionFigures>) {
        if let Ok(mut place) = self.place(core).try_lock() {
            place.partitions = partitions.into();
        }
    }

    /// Replaces what the board says of the groups that the core coordinates.
    pub fn publish_committed(&self, core: CoreId, committed: Vec<CommittedOffset>) {
        if let Ok(mut place) = self.place(core).try_lock() {
            place.committed = committed.into();
        }
    }

    /// Says whether the node serves: after recovery, once all listeners accept; not while it stops.
    pub fn set_ready(&self, ready: bool) {
        self.shared.ready.store(ready, Ordering::Release);
    }

    /// Whether the node serves.
    pub fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Acquire)
    }

    /// Says which cluster the data directory belongs to, which is known once it is open.
    pub fn set_cluster_id(&self, id: Arc<str>) {
        // It never changes, so a second time says nothing new.
        let _ = self.shared.cluster_id.set(id);
    }

    /// The cluster's id, in Kafka's form; empty before it is known.
    pub fn cluster_id(&self) -> &str {
        self.shared.cluster_id.get().map_or("", |id| id)
    }

    /// A copy of all figures, core by core. For the housekeeping thread.
    pub fn read(&self) -> Vec<CoreSnapshot> {
        let lock = |core: &Mutex<CoreSnapshot>| -> CoreSnapshot {
            core.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        self.shared.cores.iter().map(lock).collect()
    }

    /// How often each core published.
    pub fn heartbeats(&self) -> Vec<u64> {
        let lock = |core: &Mutex<CoreSnapshot>| {
            let place = core.lock().unwrap_or_else(PoisonError::into_inner);
            place.publish_count
        };
        self.shared.cores.iter().map(lock).collect()
    }

    fn place(&self, core: CoreId) -> &Mutex<CoreSnapshot> {
        &self.shared.cores[usize::from(core.0)]
    }
}

impl CoreSnapshot {
    /// How often the core published: a heartbeat.
    pub fn publish_count(&self) -> u64 {
        self.publish_count
    }

    /// A counter's value.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(counter as usize).copied().unwrap_or(0)
    }

    /// A gauge's value.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges.get(gauge as usize).copied().unwrap_or(0)
    }

    /// Requests by API key, without those that never came. The largest key stands for all others.
    pub fn requests(&self) -> impl Iterator<Item = (i16, u64)> {
        let counted = self.requests.iter().copied().enumerate();
        counted
            .filter(|(_, count)| *count > 0)
            .map(|(key, count)| (key as i16, count))
    }

    /// Error codes sent, without those that never were. The largest code stands for all others.
    pub fn errors(&self) -> impl Iterator<Item = (i16, u64)> {
        const { assert!(METRICS_ERROR_CODES_MAX <= i16::MAX as usize) };
        let counted = self.errors.iter().copied().enumerate();
        let code = |index: usize| if index == 0 { -1 } else { index as i16 };
        counted
            .filter(|(_, count)| *count > 0)
            .map(move |(index, count)| (code(index), count))
    }

    /// A stage's latencies; `None` if the core recorded nothing yet.
    pub fn latency(&self, stage: Stage) -> Option<LatencySnapshot<'_>> {
        let latencies = self.latencies.as_ref()?;
        Some(LatencySnapshot {
            latency: &latencies.stages[stage as usize],
        })
    }

    /// What the core's executor did.
    pub fn executor(&self) -> &[(&'static str, u64)] {
        &self.executor
    }

    /// The core's partitions.
    pub fn partitions(&self) -> &[PartitionFigures] {
        &self.partitions
    }

    /// The offsets of the groups that the core coordinates.
    pub fn committed(&self) -> &[CommittedOffset] {
        &self.committed
    }
}

impl LatencySnapshot<'_> {
    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.latency.histogram.len()
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.latency.sum_ns)
    }

    /// The latency that this part of them (0 to 1) did not exceed, to two digits.
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latency.histogram.value_at_quantile(quantile))
    }

    /// How many took at most so long, to two digits.
    pub fn count_up_to(&self, bound: Duration) -> u64 {
        let bound_ns = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        self.latency.histogram.count_between(0, bound_ns)
    }
}

/// The lag of a group in a partition, in records: `None` where the partition is not known.
pub fn lag(committed: &CommittedOffset, log_end_offset: Option<Offset>) -> Option<u64> {
    let behind = log_end_offset? - committed.offset;
    Some(u64::try_from(behind).unwrap_or(0))
}

/// A partition for tests.
#[cfg(test)]
pub(crate) fn partition_of(topic: &str, index: i32) -> TopicPartition {
    let topic = crate::model::TopicName::new(topic).expect("a legal name");
    TopicPartition { topic, index }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_does_not_wait_for_the_reader() {
        let board = Board::new(1);
        let held = board.place(CoreId(0)).lock().expect("not poisoned");
        board.publish(CoreId(0), &[]);
        drop(held);
        assert_eq!(board.read()[0].publish_count(), 0);
        board.publish(CoreId(0), &[]);
        assert_eq!(board.read()[0].publish_count(), 1);
    }

    #[test]
    fn readiness_is_what_was_said_last() {
        let board = Board::new(1);
        assert!(!board.is_ready());
        board.clone().set_ready(true);
        assert!(board.is_ready());
        board.set_ready(false);
        assert!(!board.is_ready());
    }

    #[test]
    fn lag_is_never_negative() {
        let check = |offset, end: Option<i64>, expected| {
            let committed = CommittedOffset {
                group: "g".into(),
                partition: partition_of("t", 0),
                offset: Offset(offset),
            };
            assert_eq!(lag(&committed, end.map(Offset)), expected);
        };
        check(3, Some(10), Some(7));
        check(10, Some(10), Some(0));
        check(11, Some(10), Some(0));
        check(3, None, None);
    }
}
