//! Produce: phase one fixes the order, phase two is durable.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{Either, join_all};

use super::message::{Answer, Call, ProducePart};
use super::{Shard, ShardError};
use crate::config::TimestampType;
use crate::frame::{self, BATCH_HEADER_BYTES, BatchError, BatchHeader};
use crate::io;
use crate::io::sync::oneshot;
use crate::limits::BACKLOG_REQUEST_BUDGETS_MAX;
use crate::metrics::{self, Counter, Stage};
use crate::model::{Offset, PartitionId, Timestamp};
use crate::partition::{AppendRefused, Partition, Pending};

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The append time if the topic keeps it, else -1.
    pub log_append_time: Timestamp,
    /// The partition's first offset.
    pub log_start_offset: Offset,
}

/// Why a batch was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProduceError {
    /// No shard has the partition.
    Shard(ShardError),
    /// The batch is not one, or breaks a rule of its topic.
    Batch(BatchError),
    /// The partition refused.
    Refused(AppendRefused),
}

/// Requests that wait until the disk has taken what was appended before.
pub(super) struct Backlog {
    /// What the backlogs of all cores may hold together. A request that timed out is counted here
    /// only.
    node_bytes_max: usize,
    node_bytes: Arc<AtomicUsize>,
    waiting: RefCell<VecDeque<Waiting>>,
    draining: Cell<bool>,
}

struct Waiting {
    parts: Vec<ProducePart>,
    bytes: usize,
    wait_durable: bool,
    sender: oneshot::Sender<Vec<ProduceResult>>,
}

impl Backlog {
    /// `node_bytes` is shared by the backlogs of all cores.
    pub(super) fn new(
        request_memory_bytes: i64,
        cores_count: usize,
        node_bytes: Arc<AtomicUsize>,
    ) -> Backlog {
        let one_core = usize::try_from(request_memory_bytes).unwrap_or(0);
        let requests = one_core.saturating_mul(cores_count);
        Backlog {
            node_bytes_max: requests.saturating_mul(BACKLOG_REQUEST_BUDGETS_MAX),
            node_bytes,
            waiting: RefCell::default(),
            draining: Cell::new(false),
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// False if there is no room for `bytes` more.
    fn takes(&self, bytes: usize) -> bool {
        let held = self.node_bytes.load(Ordering::Relaxed);
        held.saturating_add(bytes) <= self.node_bytes_max
    }

    fn push(&self, waiting: Waiting) {
        self.node_bytes.fetch_add(waiting.bytes, Ordering::Relaxed);
        self.waiting.borrow_mut().push_back(waiting);
    }

    /// The partitions of the request that is next.
    fn first(&self) -> Vec<PartitionId> {
        let waiting = self.waiting.borrow();
        let parts = waiting.front().map(|first| &first.parts);
        parts
            .into_iter()
            .flatten()
            .map(|part| part.partition)
            .collect()
    }

    fn pop(&self) -> Option<Waiting> {
        let waiting = self.waiting.borrow_mut().pop_front()?;
        self.node_bytes.fetch_sub(waiting.bytes, Ordering::Relaxed);
        Some(waiting)
    }
}

/// What came of one part.
pub type ProduceResult = Result<Produced, ProduceError>;

impl Shard {
    /// Appends batches. When the outer future is done the order is fixed: each batch has its
    /// offset, or its message is in its owner's mailbox. The inner one gives the results, in the
    /// order of `parts`, after durability if `wait_durable`.
    pub async fn produce(
        self: &Rc<Self>,
        parts: Vec<ProducePart>,
        wait_durable: bool,
    ) -> impl Future<Output = Vec<ProduceResult>> + 'static {
        let started = io::now();
        let count = parts.len();
        let keyed = parts
            .into_iter()
            .map(|part| (part.partition, part))
            .collect();
        let (places, by_core) = self.split(keyed);
        let mut local = Vec::new();
        let mut remote = Vec::new();
        for ((core, parts), places) in by_core.into_iter().zip(places) {
            if core == self.core {
                local.push((places, self.produce_local(parts, wait_durable)));
            } else {
                let call = Call::Produce {
                    parts,
                    wait_durable,
                };
                remote.push((places, self.send_call(core, call).await.1));
            }
        }
        metrics::record(Stage::Route, io::now() - started);
        async move {
            let local = join_all(
                local
                    .into_iter()
                    .map(|(places, results)| async move { (places, results.await) }),
            );
            let remote = join_all(remote.into_iter().map(|(places, answer)| async move {
                match answer
                    .await
                    .expect("every call is answered while the shards run")
                {
                    Answer::Produce(results) => (places, results),
                    _ => unreachable!("a produce is answered with a produce"),
                }
            }));
            let (local, remote) = futures_util::future::join(local, remote).await;
            let unknown = || Err(ProduceError::Shard(ShardError::UnknownPartition));
            let mut merged: Vec<ProduceResult> = (0..count).map(|_| unknown()).collect();
            for (places, results) in local.into_iter().chain(remote) {
                for (place, result) in places.into_iter().zip(results) {
                    merged[place] = result;
                }
            }
            merged
        }
    }

    /// Takes in batches for partitions of this core. Their order is fixed when this returns: they
    /// are appended, or they stand in the backlog behind those that came before them.
    pub(super) fn produce_local(
        self: &Rc<Self>,
        parts: Vec<ProducePart>,
        wait_durable: bool,
    ) -> impl Future<Output = Vec<ProduceResult>> + 'static {
        let open = self.are_open(parts.iter().map(|part| part.partition));
        if open && self.backlog.is_empty() && self.store.has_room() {
            return Either::Left(self.append_all(parts, wait_durable));
        }
        if open {
            metrics::add(Counter::BackPressurePauses, 1);
        }
        parts
            .iter()
            .for_each(|part| self.begin_open(part.partition));
        let (sender, receiver) = oneshot::channel();
        let bytes = parts.iter().map(|part| part.batch.len()).sum();
        if !self.backlog.takes(bytes) {
            let refuse = |part: &ProducePart| {
                self.note_refused(part);
                Err(ProduceError::Refused(AppendRefused::Busy))
            };
            let _ = sender.send(parts.iter().map(refuse).collect());
            return Either::Right(answer_of(receiver));
        }
        self.backlog.push(Waiting {
            parts,
            bytes,
            wait_durable,
            sender,
        });
        if !self.backlog.draining.replace(true) {
            io::spawn(self.clone().drain_backlog()).detach();
        }
        Either::Right(answer_of(receiver))
    }

    /// Lets the partition know of a batch that there is no room for; later, if it is not open yet.
    fn note_refused(self: &Rc<Self>, part: &ProducePart) {
        let id = part.partition;
        if let Ok(partition) = self.local(id) {
            partition.refuse_for_now(&part.batch);
        } else if !self.are_open([id].into_iter()) {
            let header = part.batch.get(..BATCH_HEADER_BYTES).unwrap_or_default();
            let header = header.to_vec();
            let shard = self.clone();
            io::spawn(async move {
                shard.opened(id).await;
                if let Ok(partition) = shard.local(id) {
                    partition.refuse_for_now(&header);
                }
            })
            .detach();
        }
    }

    /// Appends what waits, in order, as logs open and the disk makes room.
    async fn drain_backlog(self: Rc<Self>) {
        loop {
            // What stands in the backlog keeps others behind it, so it stays there meanwhile.
            if self.backlog.is_empty() {
                break;
            }
            let asked = self.backlog.first();
            self.all_opened(asked.into_iter()).await;
            self.store.wait_room().await;
            let Some(waiting) = self.backlog.pop() else {
                break;
            };
            let results = self.append_all(waiting.parts, waiting.wait_durable);
            io::spawn(async move {
                // The connection may have gone meanwhile.
                let _ = waiting.sender.send(results.await);
            })
            .detach();
            // There may be room for all at once, or an error; the core has other work as well.
            io::yield_now().await;
        }
        self.backlog.draining.set(false);
    }

    /// Validates and appends. The appends have happened when this returns; the future waits for
    /// durability.
    fn append_all(
        self: &Rc<Self>,
        parts: Vec<ProducePart>,
        wait_durable: bool,
    ) -> impl Future<Output = Vec<ProduceResult>> + 'static {
        let started = io::now();
        let pending = Pending::new();
        let waits = |number| wait_durable.then_some((&pending, number));
        let parts = parts.into_iter().enumerate();
        let appended: Vec<Result<(Rc<Partition>, Produced), ProduceError>> = parts
            .map(|(number, part)| self.append(part, waits(number)))
            .collect();
        metrics::record(Stage::Append, io::now() - started);
        async move {
            pending.settled().await;
            if wait_durable {
                metrics::add(Counter::AcknowledgedRequests, 1);
            }
            let appended = appended.into_iter().enumerate();
            let results = appended.map(|(number, appended)| match appended {
                Ok((_, produced)) if !pending.is_refused(number) => Ok(produced),
                Ok((partition, _)) => Err(why_not_durable(&partition)),
                Err(error) => Err(error),
            });
            results.collect()
        }
    }

    fn append(
        &self,
        part: ProducePart,
        pending: Option<(&Rc<Pending>, usize)>,
    ) -> Result<(Rc<Partition>, Produced), ProduceError> {
        let partition = self.local(part.partition).map_err(ProduceError::Shard)?;
        let topic = self
            .topic(part.partition.topic_id)
            .ok_or(ProduceError::Shard(ShardError::UnknownPartition))?;
        let rules = topic.batch_rules(io::wall_clock());
        let info = frame::validate(&part.batch, &rules).map_err(ProduceError::Batch)?;
        if part.batch.len() as u64 > topic.config.segment_bytes as u64 {
            return Err(ProduceError::Refused(AppendRefused::TooLarge));
        }
        count_payload(&info.header, part.batch.len());
        let log_append_time = match rules.timestamp_type {
            TimestampType::CreateTime => Timestamp::NONE,
            TimestampType::LogAppendTime => rules.now,
        };
        let batch = match info.stamp {
            None => part.batch,
            // The stated exception to "never rewritten": the CRC covers what is stamped.
            Some(stamp) => part.batch.stamped(&stamp),
        };
        let appended = partition.append(batch, &info, log_append_time, pending);
        let appended = appended.map_err(ProduceError::Refused)?;
        let produced = Produced {
            base_offset: appended.base_offset,
            log_append_time: appended.log_append_time,
            log_start_offset: appended.log_start_offset,
        };
        Ok((partition, produced))
    }
}

async fn answer_of(receiver: oneshot::Receiver<Vec<ProduceResult>>) -> Vec<ProduceResult> {
    receiver.await.expect("the backlog is drained to its end")
}

fn count_payload(header: &BatchHeader, bytes: usize) {
    metrics::add(Counter::PayloadInBytes, bytes as u64);
    metrics::add(Counter::BatchesIn, 1);
    metrics::add(Counter::RecordsIn, header.record_count.max(0) as u64);
}

/// Why a batch that was appended will not become durable.
fn why_not_durable(partition: &Partition) -> ProduceError {
    match partition.is_gone() {
        // Deleted meanwhile, which is not the disk's fault.
        true => ProduceError::Shard(ShardError::UnknownPartition),
        false => ProduceError::Refused(AppendRefused::Storage),
    }
}
