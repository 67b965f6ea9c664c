//! Produce: phase one fixes the order, phase two is durable.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::iter;
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
use crate::model::{CoreId, Offset, PartitionId, Timestamp};
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

/// Requests that wait until the disk has taken what was appended before. Their logs are open; those
/// whose log is not stand in its line, and count here.
pub(super) struct Backlog {
    /// What the backlogs of all cores may hold together. A request that timed out is counted here
    /// only.
    node_bytes_max: usize,
    node_bytes: Arc<AtomicUsize>,
    waiting: RefCell<VecDeque<Waiting>>,
    draining: Cell<bool>,
}

/// What stands in the line of a log that is being opened.
pub(super) enum InLine {
    /// Batches for it.
    Produce(Waiting),
    /// A producer's first batch, for which there was no room: its header.
    Refused(PartitionId, Vec<u8>),
}

/// Batches that are not appended yet.
pub(super) struct Waiting {
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

    /// These bytes wait from now on.
    fn hold(&self, bytes: usize) {
        self.node_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// They do not wait any more.
    fn give_back(&self, bytes: usize) {
        self.node_bytes.fetch_sub(bytes, Ordering::Relaxed);
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
        let produced = match self.sole_owner(&parts) {
            Some(core) => Either::Left(self.produce_on(core, parts, wait_durable).await),
            // Boxed, so that the others need not carry its size.
            None => Either::Right(Box::pin(self.produce_on_several(parts, wait_durable)).await),
        };
        metrics::record(Stage::Route, io::now() - started);
        produced
    }

    async fn produce_on_several(
        self: &Rc<Self>,
        parts: Vec<ProducePart>,
        wait_durable: bool,
    ) -> impl Future<Output = Vec<ProduceResult>> + 'static {
        let count = parts.len();
        let keyed = parts
            .into_iter()
            .map(|part| (part.partition, part))
            .collect();
        let (places, by_core) = self.split(keyed);
        let mut produced = Vec::with_capacity(places.len());
        for ((core, parts), places) in by_core.into_iter().zip(places) {
            let results = self.produce_on(core, parts, wait_durable).await;
            produced.push(async move { (places, results.await) });
        }
        async move {
            let unknown = || Err(ProduceError::Shard(ShardError::UnknownPartition));
            let mut merged: Vec<ProduceResult> = (0..count).map(|_| unknown()).collect();
            for (places, results) in join_all(produced).await {
                for (place, result) in places.into_iter().zip(results) {
                    merged[place] = result;
                }
            }
            merged
        }
    }

    /// The core that owns all of them; most requests go to one partition.
    fn sole_owner(&self, parts: &[ProducePart]) -> Option<CoreId> {
        let mut owners = parts.iter().map(|part| self.owner(part.partition));
        let first = owners.next()??;
        owners.all(|owner| owner == Some(first)).then_some(first)
    }

    /// The same for batches whose partitions one core owns.
    async fn produce_on(
        self: &Rc<Self>,
        core: CoreId,
        parts: Vec<ProducePart>,
        wait_durable: bool,
    ) -> impl Future<Output = Vec<ProduceResult>> + 'static {
        if core == self.core {
            return Either::Left(self.produce_local(parts, wait_durable));
        }
        let call = Call::Produce {
            parts,
            wait_durable,
        };
        let (_, answer) = self.send_call(core, call).await;
        Either::Right(async move {
            let answer = answer.await;
            match answer.expect("every call is answered while the shards run") {
                Answer::Produce(results) => results,
                _ => unreachable!("a produce is answered with a produce"),
            }
        })
    }

    /// Takes in batches for partitions of this core. Their order is fixed when this returns: they
    /// are appended, or they stand behind those that came before them, in the line of their log if
    /// that is being opened, else in the backlog.
    pub(super) fn produce_local(
        self: &Rc<Self>,
        parts: Vec<ProducePart>,
        wait_durable: bool,
    ) -> impl Future<Output = Vec<ProduceResult>> + 'static {
        let open = self.are_open(parts.iter().map(|part| part.partition));
        if open && self.backlog.is_empty() && self.store.has_room() {
            return Either::Left(self.append_all(parts, wait_durable));
        }
        Either::Right(self.produce_later(parts, wait_durable))
    }

    /// The same for batches that have to wait, or some of them: each for its own log, and those
    /// whose logs are open together.
    fn produce_later(
        self: &Rc<Self>,
        parts: Vec<ProducePart>,
        wait_durable: bool,
    ) -> impl Future<Output = Vec<ProduceResult>> + 'static {
        let count = parts.len();
        let mut groups: BTreeMap<Option<PartitionId>, (Vec<usize>, Vec<ProducePart>)> =
            BTreeMap::new();
        for (place, part) in parts.into_iter().enumerate() {
            let id = part.partition;
            let waits_for = (!self.are_open(iter::once(id))).then_some(id);
            let (places, parts) = groups.entry(waits_for).or_default();
            places.push(place);
            parts.push(part);
        }
        let answers: Vec<_> = groups
            .into_iter()
            .map(|(log, (places, parts))| (places, self.wait_for(log, parts, wait_durable)))
            .collect();
        async move {
            let mut merged: Vec<Option<ProduceResult>> = (0..count).map(|_| None).collect();
            for (places, answer) in answers {
                let results = answer.await.expect("every line is taken in to its end");
                for (place, result) in places.into_iter().zip(results) {
                    merged[place] = Some(result);
                }
            }
            let merged = merged.into_iter();
            merged
                .map(|result| result.expect("each part is in one group"))
                .collect()
        }
    }

    /// Puts batches into the line of this log, or, if theirs are open, into the backlog.
    fn wait_for(
        self: &Rc<Self>,
        log: Option<PartitionId>,
        parts: Vec<ProducePart>,
        wait_durable: bool,
    ) -> oneshot::Receiver<Vec<ProduceResult>> {
        let (sender, receiver) = oneshot::channel();
        // What is too short for a batch takes room as well.
        let bytes = parts
            .iter()
            .map(|part| part.batch.len().max(BATCH_HEADER_BYTES))
            .sum();
        if !self.backlog.takes(bytes) {
            let refuse = |part: &ProducePart| {
                if let Some(header) = first_of_a_producer(&part.batch) {
                    let refused = InLine::Refused(part.partition, header.to_vec());
                    self.line_up(log, refused);
                }
                Err(ProduceError::Refused(AppendRefused::Busy))
            };
            let _ = sender.send(parts.iter().map(refuse).collect());
            return receiver;
        }
        self.backlog.hold(bytes);
        let waiting = Waiting {
            parts,
            bytes,
            wait_durable,
            sender,
        };
        self.line_up(log, InLine::Produce(waiting));
        receiver
    }

    fn line_up(self: &Rc<Self>, log: Option<PartitionId>, next: InLine) {
        match log {
            Some(id) => self.stand_in_line(id, next),
            None => self.take_in(next),
        }
    }

    /// Takes in what waits for no log: appends it, unless others wait for the disk.
    pub(super) fn take_in(self: &Rc<Self>, next: InLine) {
        let waiting = match next {
            InLine::Produce(waiting) => waiting,
            InLine::Refused(id, header) => {
                if let Ok(partition) = self.local(id) {
                    partition.refuse_for_now(&header);
                }
                return;
            }
        };
        if self.backlog.is_empty() && self.store.has_room() {
            self.append_waiting(waiting);
            return;
        }
        metrics::add(Counter::BackPressurePauses, 1);
        self.backlog.waiting.borrow_mut().push_back(waiting);
        if !self.backlog.draining.replace(true) {
            io::spawn(self.clone().drain_backlog()).detach();
        }
    }

    /// Appends what waits, in order, as the disk makes room.
    async fn drain_backlog(self: Rc<Self>) {
        // What stands in the backlog keeps others behind it, so it stays there meanwhile.
        while !self.backlog.is_empty() {
            self.store.wait_room().await;
            let first = self.backlog.waiting.borrow_mut().pop_front();
            let Some(waiting) = first else { break };
            self.append_waiting(waiting);
            // There may be room for all at once, or an error; the core has other work as well.
            io::yield_now().await;
        }
        self.backlog.draining.set(false);
    }

    fn append_waiting(self: &Rc<Self>, waiting: Waiting) {
        self.backlog.give_back(waiting.bytes);
        let results = self.append_all(waiting.parts, waiting.wait_durable);
        io::spawn(async move {
            // The connection may have gone meanwhile.
            let _ = waiting.sender.send(results.await);
        })
        .detach();
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
        // Lists of their own: to collect in the place of `parts` would shrink memory that another
        // core allocated, under the lock of that core's allocator.
        let mut appended: Vec<Result<(Rc<Partition>, Produced), ProduceError>> =
            Vec::with_capacity(parts.len());
        for (number, part) in parts.into_iter().enumerate() {
            appended.push(self.append(part, waits(number)));
        }
        metrics::record(Stage::Append, io::now() - started);
        async move {
            pending.settled().await;
            if wait_durable {
                metrics::add(Counter::AcknowledgedRequests, 1);
            }
            let mut results = Vec::with_capacity(appended.len());
            for (number, appended) in appended.into_iter().enumerate() {
                results.push(match appended {
                    Ok((_, produced)) if !pending.is_refused(number) => Ok(produced),
                    Ok((partition, _)) => Err(why_not_durable(&partition)),
                    Err(error) => Err(error),
                });
            }
            results
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

/// The header, if the batch is the first of an idempotent producer: no other is awaited.
fn first_of_a_producer(batch: &[u8]) -> Option<&[u8]> {
    let bytes = batch.get(..BATCH_HEADER_BYTES)?;
    let header = BatchHeader::read(bytes)?;
    (header.producer_id.0 >= 0 && header.base_sequence == 0).then_some(bytes)
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
