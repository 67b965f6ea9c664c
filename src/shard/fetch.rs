//! Fetch: read every partition on its core, park until there is enough, read again.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select, select_all};

use super::message::{Answer, Call};
use super::{Hold, Shard, ShardError};
use crate::frame::BatchHeader;
use crate::io;
use crate::limits::{FETCH_BUDGET_SHARE, FETCH_READS_PER_TURN_MAX, FETCH_ROOM_WAIT_MS_MIN};
use crate::metrics::{self, Counter, Gauge};
use crate::model::{CoreId, Offset, PartitionId};
use crate::partition::{PartitionRead, ReadRefused, ReadRequest, Watch};

/// One partition of a fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchPart {
    /// The partition.
    pub partition: PartitionId,
    /// What to read of it.
    pub request: ReadRequest,
}

/// Why a part of a fetch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// No shard has the partition.
    Shard(ShardError),
    /// The partition refused.
    Refused(ReadRefused),
}

/// What came of one part.
pub type FetchResult = Result<PartitionRead, FetchError>;

/// What came of all parts.
#[derive(Debug)]
pub struct Fetched {
    /// One for each part, in their order.
    pub results: Vec<FetchResult>,
    /// The memory that they are counted with; to be kept until they are sent.
    pub hold: Hold,
}

/// The bounds of a whole fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchBounds {
    /// Answer as soon as this many bytes are there.
    pub min_bytes: usize,
    /// The most bytes of all parts together, but for the first batch.
    pub max_bytes: usize,
    /// The longest wait for `min_bytes`.
    pub max_wait: Duration,
}

impl Shard {
    /// Reads `parts` in their order. Answers at once if there are `min_bytes`, an error or a
    /// divergence; else parks in the partitions until one of them moves, and reads again.
    pub async fn fetch(self: &Rc<Self>, parts: Vec<FetchPart>, bounds: FetchBounds) -> Fetched {
        let started = io::now();
        let deadline = started + bounds.max_wait;
        let room_wait_min = Duration::from_millis(FETCH_ROOM_WAIT_MS_MIN);
        let asked_bytes = parts.iter().map(|part| part.request.max_bytes);
        let asked_bytes = asked_bytes.fold(0, usize::saturating_add);
        // One client must not keep the whole budget from the others by not reading.
        let answer_bytes_max = asked_bytes
            .min(bounds.max_bytes)
            .min(self.response_budget.share(FETCH_BUDGET_SHARE));
        let min_bytes = bounds.min_bytes.min(answer_bytes_max);
        loop {
            let room = self.response_budget.hold(answer_bytes_max);
            let patience = deadline.max(started + room_wait_min) - io::now();
            let Some(mut hold) = io::timeout(patience, room).await else {
                // Others' answers fill the budget. Nothing is a right answer too, and the client
                // may have gone long ago.
                let hold = self.response_budget.hold(0).await;
                let results = self.fetch_once(&parts, 0, false).await;
                return Fetched { results, hold };
            };
            let results = self.fetch_once(&parts, answer_bytes_max, true).await;
            // Nothing can come of no partitions, so that is answered at once, as in Kafka.
            if parts.is_empty() || is_enough(&results, min_bytes) || io::now() >= deadline {
                hold.shrink(bytes_of(&results));
                return Fetched { results, hold };
            }
            drop(hold);
            let seen = parts
                .iter()
                .zip(&results)
                .filter_map(|(part, result)| match result {
                    Ok(read) => Some((part.partition, read.high_watermark)),
                    Err(_) => None,
                });
            metrics::add(Counter::ParkedFetches, 1);
            metrics::raise(Gauge::WaitingFetches, 1);
            self.park(seen.collect(), deadline).await;
            metrics::lower(Gauge::WaitingFetches, 1);
        }
    }

    async fn fetch_once(
        self: &Rc<Self>,
        parts: &[FetchPart],
        max_bytes: usize,
        at_least_one: bool,
    ) -> Vec<FetchResult> {
        let keyed: Vec<_> = parts.iter().map(|part| (part.partition, *part)).collect();
        let (_, by_core) = self.split(keyed.clone());
        let cores_count = by_core.len();
        // With several owners each one is asked for the whole and the surplus is cut here, so
        // that one idle core does not leave the others' share of the answer empty.
        let results = self
            .scatter(
                keyed,
                |parts| Call::Fetch {
                    parts,
                    max_bytes,
                    at_least_one,
                },
                |answer| match answer {
                    Answer::Fetch(results) => results,
                    _ => unreachable!("a fetch is answered with a fetch"),
                },
            )
            .await;
        let mut results: Vec<FetchResult> = results
            .into_iter()
            .map(|result| result.unwrap_or(Err(FetchError::Shard(ShardError::UnknownPartition))))
            .collect();
        if cores_count > 1 {
            cut(parts, &mut results, max_bytes);
        }
        results
    }

    /// Serves a fetch on the core that owns the partitions. Parts share the byte budget in their
    /// order; a part for which nothing is left is answered empty, not refused.
    pub(super) async fn fetch_local(
        self: &Rc<Self>,
        parts: Vec<FetchPart>,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Vec<FetchResult> {
        self.all_opened(parts.iter().map(|part| part.partition))
            .await;
        let mut left_bytes = max_bytes;
        let mut at_least_one = at_least_one;
        let mut results = Vec::with_capacity(parts.len());
        for window in parts.chunks(FETCH_READS_PER_TURN_MAX) {
            for part in window {
                let result = match self.local(part.partition) {
                    Ok(partition) => partition
                        .read(part.request, left_bytes, at_least_one)
                        .await
                        .map_err(FetchError::Refused),
                    Err(error) => Err(FetchError::Shard(error)),
                };
                if let Ok(read) = &result
                    && read.bytes > 0
                {
                    at_least_one = false;
                    left_bytes = left_bytes.saturating_sub(read.bytes);
                }
                results.push(result);
            }
            // A fetch of thousands of partitions does not keep the core from the others.
            io::yield_now().await;
        }
        results
    }

    /// Waits until the watermark of any of `seen` has moved, or until the deadline.
    async fn park(self: &Rc<Self>, seen: Vec<(PartitionId, Offset)>, deadline: io::Instant) {
        let (_, by_core) = self.split(seen.into_iter().map(|(id, hw)| (id, (id, hw))).collect());
        let mut local: Option<Rc<Watch>> = None;
        // The core and slot of each remote watch, and its place among the waits.
        let mut remote: Vec<(CoreId, usize, usize)> = Vec::new();
        let mut waits = Vec::new();
        for (core, parts) in by_core {
            if core == self.core {
                let watch = self.watch_local(&parts);
                local = Some(watch.clone());
                waits.push(Either::Left(Box::pin(async move { watch.fired().await })));
            } else {
                let (slot, answer) = self.send_call(core, Call::Watch(parts)).await;
                remote.push((core, slot, waits.len()));
                waits.push(Either::Right(Box::pin(async move {
                    // A closed channel is an end of the wait as well.
                    let _ = answer.await;
                })));
            }
        }
        let sleep = std::pin::pin!(io::sleep_until(deadline));
        if waits.is_empty() {
            return sleep.await;
        }
        let fired = match select(select_all(waits), sleep).await {
            Either::Left((((), index, _), _)) => Some(index),
            Either::Right(_) => None,
        };
        if let Some(watch) = local {
            watch.end();
        }
        for (core, slot, place) in remote {
            if Some(place) != fired {
                self.end_watch(core, slot).await;
            }
        }
    }

    /// Places one watch in partitions of this core.
    pub(super) fn watch_local(&self, parts: &[(PartitionId, Offset)]) -> Rc<Watch> {
        let watch = Watch::new();
        for (id, seen) in parts {
            match self.local(*id) {
                Ok(partition) => partition.watch(*seen, &watch),
                Err(_) => watch.fire(),
            }
        }
        watch
    }
}

fn bytes_of(results: &[FetchResult]) -> usize {
    let reads = results.iter().flatten();
    reads.map(|read| read.bytes).sum()
}

fn is_enough(results: &[FetchResult], min_bytes: usize) -> bool {
    let mut bytes = 0;
    for result in results {
        match result {
            Ok(read) if read.diverging.is_some() => return true,
            Ok(read) => bytes += read.bytes,
            Err(_) => return true,
        }
    }
    bytes >= min_bytes
}

/// Cuts what the cores gave without knowing of each other: only the first part that has data may
/// go beyond the bounds with its first batch, the others share what is left, in whole batches.
fn cut(parts: &[FetchPart], results: &mut [FetchResult], max_bytes: usize) {
    let mut bytes = 0;
    for (part, read) in parts.iter().zip(results) {
        let Ok(read) = read else {
            continue;
        };
        if bytes > 0 {
            let left_bytes = max_bytes.saturating_sub(bytes);
            keep(read, left_bytes.min(part.request.max_bytes));
        }
        bytes += read.bytes;
    }
}

/// Keeps as many whole batches as fit `max_bytes`.
fn keep(read: &mut PartitionRead, max_bytes: usize) {
    if read.bytes <= max_bytes {
        return;
    }
    let mut kept = 0;
    for slice in &mut read.slices {
        let mut end = 0;
        while let Some(batch) = BatchHeader::read(&slice[end..])
            && let Some(batch_bytes) = batch.total_bytes()
            && kept + batch_bytes <= max_bytes
        {
            kept += batch_bytes;
            end += batch_bytes;
        }
        let whole = end == slice.len();
        slice.truncate(end);
        if !whole {
            break;
        }
    }
    let mut left = kept;
    read.slices.retain(|slice| {
        let stays = left > 0 && !slice.is_empty();
        left = left.saturating_sub(slice.len());
        stays
    });
    read.bytes = kept;
}
