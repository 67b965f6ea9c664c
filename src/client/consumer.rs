//! Consuming: a position per partition, one fetch in flight per leader, batches handed on as they
//! came.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::frame::{self, BatchHeader, Record, RecordsError};
use crate::io::{Instant, blocking};
use crate::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use crate::model::{LeaderEpoch, NodeId, Offset, Timestamp, TopicId, TopicName, TopicPartition};
use crate::protocol::messages::StrBytes;
use crate::protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use crate::protocol::messages::fetch_response::{FetchResponse, PartitionData};
use crate::protocol::{ApiKey, ErrorCode};

use super::clock;
use super::cluster::Client;
use super::connection::Connection;
use super::error::{ClientError, error_code};
use super::groups::CommittedOffset;
use super::membership::{GroupOptions, Membership};
use super::offsets::OffsetSpec;

/// Where to begin to read a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the first record that is still there.
    Earliest,
    /// At the next record to come.
    Latest,
    /// At an offset.
    Offset(Offset),
    /// At the first record that is not older; at the next record to come if all are.
    Timestamp(Timestamp),
}

/// What to do without a valid position: in a group that committed none, or where the records at
/// the position are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// Go on at the first record that is still there.
    Earliest,
    /// Go on at the next record to come.
    Latest,
    /// Give up with OFFSET_OUT_OF_RANGE.
    Fail,
}

/// How a consumer reads.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerOptions {
    /// How long `poll` waits for records.
    pub max_wait: Duration,
    /// A broker answers before `max_wait` when this much is there.
    pub min_bytes: i32,
    /// The size of an answer, but for its first batch.
    pub max_bytes: i32,
    /// The size of one partition's part of an answer, but for its first batch.
    pub partition_max_bytes: i32,
    /// What to do without a valid position.
    pub reset: OffsetReset,
    /// Whether each batch's checksum is checked.
    pub checks_crc: bool,
}

impl Default for ConsumerOptions {
    fn default() -> ConsumerOptions {
        ConsumerOptions {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            reset: OffsetReset::Latest,
            checks_crc: true,
        }
    }
}

/// A batch as a broker sent it.
#[derive(Clone, Debug)]
pub struct FetchedBatch {
    /// Where it came from.
    pub partition: TopicPartition,
    /// The first offset that was asked for; the batch may begin before it.
    pub from: Offset,
    /// The end of what was acknowledged when the broker answered.
    pub high_watermark: Offset,
    /// The batch.
    pub bytes: Bytes,
}

/// A record of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its key; `None` is null.
    pub key: Option<Bytes>,
    /// Its value; `None` is null.
    pub value: Option<Bytes>,
    /// Its headers, in order; keys may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl FetchedBatch {
    /// Calls `visit` with each record that was asked for, in order, without copying it.
    pub fn visit(&self, mut visit: impl FnMut(&Record<'_>)) -> Result<(), ClientError> {
        let failed = |error: RecordsError| ClientError::Batch {
            subject: self.partition.to_string(),
            error,
        };
        let records = frame::records(&self.bytes, DECOMPRESSED_BATCH_BYTES_MAX).map_err(failed)?;
        for record in &records {
            let record = record.map_err(failed)?;
            if record.offset >= self.from {
                visit(&record);
            }
        }
        Ok(())
    }

    /// The records that were asked for, in order.
    pub fn records(&self) -> Result<Vec<ConsumerRecord>, ClientError> {
        let mut records = Vec::new();
        let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        self.visit(|record| {
            records.push(ConsumerRecord {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.map(copy),
                value: record.value.map(copy),
                headers: record
                    .headers
                    .map(|(key, value)| (copy(key), value.map(copy)))
                    .collect(),
            });
        })?;
        Ok(records)
    }
}

/// Reads partitions: given ones, or those that a group assigns. One thread uses it.
pub struct Consumer {
    client: Client,
    options: ConsumerOptions,
    membership: Option<Membership>,
    positions: BTreeMap<TopicPartition, Position>,
    links: BTreeMap<NodeId, Link>,
    commit_at: Instant,
    /// Which partition a request begins with goes round, so that none starves.
    turn: usize,
}

/// How far a partition is read.
#[derive(Clone, Copy, Debug)]
struct Position {
    next: Offset,
    /// What was committed, if anything was.
    committed: Option<Offset>,
    /// The epoch of the last batch read, or -1.
    leader_epoch: LeaderEpoch,
    high_watermark: Option<Offset>,
    retry_at: Instant,
}

impl Position {
    fn new(next: Offset) -> Position {
        Position {
            next,
            committed: None,
            leader_epoch: LeaderEpoch(-1),
            high_watermark: None,
            retry_at: Instant::default(),
        }
    }
}

/// A connection, and what its fetch in flight asked for.
struct Link {
    connection: Connection,
    asked: Option<BTreeMap<TopicPartition, Offset>>,
}

/// The first version of Fetch that names topics by id.
const FETCH_BY_ID_VERSION: i16 = 13;

impl Consumer {
    /// Reads the given partitions.
    pub fn assign(
        client: Client,
        partitions: &[(TopicPartition, StartAt)],
        options: ConsumerOptions,
    ) -> Result<Consumer, ClientError> {
        let mut consumer = Consumer::new(client, None, options);
        consumer.start(partitions)?;
        Ok(consumer)
    }

    /// Reads what the group assigns; it is joined by the first `poll`.
    pub fn subscribe(
        client: Client,
        group: GroupOptions,
        options: ConsumerOptions,
    ) -> Result<Consumer, ClientError> {
        Ok(Consumer::new(client, Some(Membership::new(group)), options))
    }

    fn new(client: Client, membership: Option<Membership>, options: ConsumerOptions) -> Consumer {
        Consumer {
            client,
            options,
            membership,
            positions: BTreeMap::new(),
            links: BTreeMap::new(),
            commit_at: Instant::default(),
            turn: 0,
        }
    }

    /// The client that this consumer uses.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The partitions that are read now.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.positions.keys().cloned().collect()
    }

    /// The offset of the next record of a partition.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.positions.get(partition).map(|position| position.next)
    }

    /// The end of what was acknowledged, as of the last answer.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<Offset> {
        self.positions.get(partition)?.high_watermark
    }

    /// Goes on elsewhere in a partition that is read.
    pub fn seek(&mut self, partition: &TopicPartition, next: Offset) {
        if let Some(position) = self.positions.get_mut(partition) {
            position.next = next;
        }
    }

    fn start(&mut self, partitions: &[(TopicPartition, StartAt)]) -> Result<(), ClientError> {
        let mut asked = Vec::new();
        for (partition, start) in partitions {
            let spec = match start {
                StartAt::Offset(offset) => {
                    self.positions
                        .insert(partition.clone(), Position::new(*offset));
                    continue;
                }
                StartAt::Earliest => OffsetSpec::Earliest,
                StartAt::Latest => OffsetSpec::Latest,
                StartAt::Timestamp(timestamp) => OffsetSpec::At(*timestamp),
            };
            asked.push((partition.clone(), spec));
        }
        let mut beyond = Vec::new();
        for listed in self.client.list_offsets(&asked)? {
            match listed.offset {
                Some(offset) => {
                    self.positions
                        .insert(listed.partition, Position::new(offset));
                }
                None => beyond.push((listed.partition, OffsetSpec::Latest)),
            }
        }
        if !beyond.is_empty() {
            for listed in self.client.list_offsets(&beyond)? {
                let end = listed.offset.unwrap_or(Offset::ZERO);
                self.positions.insert(listed.partition, Position::new(end));
            }
        }
        Ok(())
    }

    /// The next batches, in the order of their offsets within each partition; none if none came
    /// in time. As a member of a group it also joins, gives signs of life and commits.
    pub fn poll(&mut self) -> Result<Vec<FetchedBatch>, ClientError> {
        if let Some(mut membership) = self.membership.take() {
            let result = self.keep_membership(&mut membership);
            self.membership = Some(membership);
            result?;
        }
        self.ask()?;
        let asked: Vec<NodeId> = self
            .links
            .iter()
            .filter(|(_, l)| l.asked.is_some())
            .map(|(&node, _)| node)
            .collect();
        if asked.is_empty() {
            blocking::sleep(self.options.max_wait.min(clock::RETRY_PAUSE));
            return Ok(Vec::new());
        }
        let mut batches = Vec::new();
        for node in asked {
            self.receive(node, &mut batches)?;
        }
        // The next answers are on their way while the caller works on these.
        self.ask()?;
        Ok(batches)
    }

    fn keep_membership(&mut self, membership: &mut Membership) -> Result<(), ClientError> {
        if membership.is_current(&mut self.client)? {
            let is_due = clock::now() >= self.commit_at;
            if let Some(interval) = membership.options.auto_commit
                && is_due
            {
                self.commit_at = clock::now() + interval;
                self.commit_as(membership)?;
            }
            return Ok(());
        }
        if membership.options.auto_commit.is_some() && !self.positions.is_empty() {
            // The generation may be over already; then the next owner reads some records again.
            match self.commit_as(membership) {
                Err(error) if error.code().is_none() && !error.is_retriable() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.positions.clear();
        let assigned = membership.join(&mut self.client)?;
        let committed = membership.committed(&mut self.client, &assigned)?;
        let mut fresh = Vec::new();
        for partition in assigned {
            match committed
                .iter()
                .find(|committed| committed.partition == partition)
            {
                Some(committed) => {
                    let mut position = Position::new(committed.offset);
                    position.committed = Some(committed.offset);
                    self.positions.insert(partition, position);
                }
                None => fresh.push((partition.clone(), self.reset_start(&partition)?)),
            }
        }
        self.start(&fresh)?;
        let interval = membership.options.auto_commit.unwrap_or_default();
        self.commit_at = clock::now() + interval;
        Ok(())
    }

    fn reset_start(&self, partition: &TopicPartition) -> Result<StartAt, ClientError> {
        match self.options.reset {
            OffsetReset::Earliest => Ok(StartAt::Earliest),
            OffsetReset::Latest => Ok(StartAt::Latest),
            OffsetReset::Fail => Err(ClientError::Broker {
                api: ApiKey::Fetch,
                subject: partition.to_string(),
                code: ErrorCode::OffsetOutOfRange,
                message: None,
            }),
        }
    }

    /// Commits the positions of all partitions to the group; without a group it does nothing.
    pub fn commit(&mut self) -> Result<(), ClientError> {
        let Some(mut membership) = self.membership.take() else {
            return Ok(());
        };
        let result = self.commit_as(&mut membership);
        self.membership = Some(membership);
        result
    }

    fn commit_as(&mut self, membership: &mut Membership) -> Result<(), ClientError> {
        let changed = self
            .positions
            .iter()
            .filter(|(_, p)| p.committed != Some(p.next));
        let offsets: Vec<CommittedOffset> = changed
            .map(|(partition, position)| CommittedOffset {
                partition: partition.clone(),
                offset: position.next,
                leader_epoch: position.leader_epoch,
                metadata: Some(String::new()),
            })
            .collect();
        if offsets.is_empty() {
            return Ok(());
        }
        membership.commit(&mut self.client, &offsets)?;
        for committed in offsets {
            if let Some(position) = self.positions.get_mut(&committed.partition) {
                position.committed = Some(committed.offset);
            }
        }
        Ok(())
    }

    /// Commits if the group does so by itself, and leaves the group.
    pub fn close(mut self) -> Result<(), ClientError> {
        let Some(mut membership) = self.membership.take() else {
            return Ok(());
        };
        let committed = match membership.options.auto_commit {
            Some(_) => self.commit_as(&mut membership),
            None => Ok(()),
        };
        membership.leave(&mut self.client)?;
        committed
    }

    /// Sends a fetch to each leader that has none in flight.
    fn ask(&mut self) -> Result<(), ClientError> {
        let now = clock::now();
        let mut by_leader: BTreeMap<NodeId, Vec<(TopicPartition, Offset, LeaderEpoch)>> =
            BTreeMap::new();
        let due = self
            .positions
            .iter()
            .filter(|(_, position)| position.retry_at <= now);
        let due: Vec<(TopicPartition, Offset)> = due
            .map(|(partition, position)| (partition.clone(), position.next))
            .collect();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % due.len().max(1);
        for (partition, offset) in due[first..].iter().chain(&due[..first]) {
            let (leader, epoch) = self.client.leader(partition)?;
            let is_free = self
                .links
                .get(&leader)
                .is_none_or(|link| link.asked.is_none());
            if is_free {
                let asked = (partition.clone(), *offset, epoch);
                by_leader.entry(leader).or_default().push(asked);
            }
        }
        for (leader, partitions) in by_leader {
            self.ask_leader(leader, partitions)?;
        }
        Ok(())
    }

    fn ask_leader(
        &mut self,
        leader: NodeId,
        partitions: Vec<(TopicPartition, Offset, LeaderEpoch)>,
    ) -> Result<(), ClientError> {
        let mut ids = BTreeMap::new();
        for (partition, ..) in &partitions {
            let id = self.client.cached_topic(&partition.topic)?.id;
            ids.insert(partition.topic.clone(), id);
        }
        if !self.links.contains_key(&leader) {
            let mut connection = self.client.dial(leader)?;
            let slack = self.client.options().request_timeout;
            connection.set_timeout(self.options.max_wait + slack)?;
            self.links.insert(
                leader,
                Link {
                    connection,
                    asked: None,
                },
            );
        }
        let link = self.links.get_mut(&leader).expect("a link was just opened");
        let newest = match ids.values().all(|id| !id.is_zero()) {
            true => i16::MAX,
            false => FETCH_BY_ID_VERSION - 1,
        };
        let version = link.connection.version_at_most(ApiKey::Fetch, newest)?;
        let asked = partitions
            .iter()
            .map(|(p, offset, _)| (p.clone(), *offset))
            .collect();
        let request = fetch_request(&self.options, &ids, partitions, version);
        match link.connection.send(&request, version) {
            Ok(()) => link.asked = Some(asked),
            Err(error) if error.is_retriable() => self.drop_link(leader, asked.keys()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Closes a link that broke; its partitions' leaders are asked for anew.
    fn drop_link<'p>(
        &mut self,
        leader: NodeId,
        partitions: impl Iterator<Item = &'p TopicPartition>,
    ) {
        self.links.remove(&leader);
        for partition in partitions {
            self.postpone(partition);
        }
    }

    fn postpone(&mut self, partition: &TopicPartition) {
        self.client.forget_topic(&partition.topic);
        if let Some(position) = self.positions.get_mut(partition) {
            position.retry_at = clock::now() + clock::RETRY_PAUSE;
        }
    }

    fn receive(
        &mut self,
        leader: NodeId,
        batches: &mut Vec<FetchedBatch>,
    ) -> Result<(), ClientError> {
        let link = self
            .links
            .get_mut(&leader)
            .expect("only links in use are asked");
        let asked = link.asked.take().expect("a fetch is in flight");
        let response = match link.connection.receive::<FetchResponse>() {
            Ok(response) => response,
            Err(error) if error.is_retriable() => {
                self.drop_link(leader, asked.keys());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let subject = format!("node {}", leader.0);
        ClientError::check(ApiKey::Fetch, subject, response.error_code, None)?;
        let mut ids = BTreeMap::new();
        for topic in asked.keys().map(|partition| &partition.topic) {
            if !ids.values().any(|name| name == topic)
                && let Ok(described) = self.client.cached_topic(topic)
            {
                ids.insert(described.id, topic.clone());
            }
        }
        for topic in &response.responses {
            let name = match ids.get(&TopicId::from(topic.topic_id)) {
                Some(name) if topic.topic.is_empty() => name.clone(),
                _ => super::cluster::topic_name(&topic.topic)?,
            };
            for data in &topic.partitions {
                let partition = TopicPartition {
                    topic: name.clone(),
                    index: data.partition_index,
                };
                self.take(&partition, asked.get(&partition), data, batches)?;
            }
        }
        Ok(())
    }

    /// Takes one partition's part of an answer.
    fn take(
        &mut self,
        partition: &TopicPartition,
        asked: Option<&Offset>,
        data: &PartitionData,
        batches: &mut Vec<FetchedBatch>,
    ) -> Result<(), ClientError> {
        let position = self.positions.get_mut(partition);
        // The partition was given up, or read elsewhere, since it was asked for.
        let Some(position) = position.filter(|position| Some(&position.next) == asked) else {
            return Ok(());
        };
        match error_code(data.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                let start = self.reset_start(partition)?;
                return self.start(&[(partition.clone(), start)]);
            }
            code if code.is_retriable() => {
                self.postpone(partition);
                return Ok(());
            }
            _ => return ClientError::check(ApiKey::Fetch, partition, data.error_code, None),
        }
        position.high_watermark = Some(Offset(data.high_watermark));
        let from = position.next;
        let Some(records) = &data.records else {
            return Ok(());
        };
        let mut rest = records.clone();
        while let Some(bytes) = next_batch(&mut rest) {
            let failed = |error| ClientError::Batch {
                subject: partition.to_string(),
                error,
            };
            let header = BatchHeader::read(&bytes).ok_or(failed(RecordsError::Truncated))?;
            if self.options.checks_crc && frame::check_whole(&bytes).is_err() {
                return Err(failed(RecordsError::Malformed));
            }
            if header.last_offset() < from {
                continue;
            }
            position.next = header.last_offset().next();
            position.leader_epoch = header.leader_epoch;
            if !header.is_control() {
                batches.push(FetchedBatch {
                    partition: partition.clone(),
                    from,
                    high_watermark: Offset(data.high_watermark),
                    bytes,
                });
            }
        }
        Ok(())
    }
}

/// Splits the first whole batch off; an answer may end in a part of one.
fn next_batch(rest: &mut Bytes) -> Option<Bytes> {
    let length = BatchHeader::read(rest)?.total_bytes()?;
    (length <= rest.len()).then(|| rest.split_to(length))
}

fn fetch_request(
    options: &ConsumerOptions,
    ids: &BTreeMap<TopicName, TopicId>,
    partitions: Vec<(TopicPartition, Offset, LeaderEpoch)>,
    version: i16,
) -> FetchRequest {
    let mut request = FetchRequest::default();
    request.replica_id = -1;
    request.max_wait_ms = options.max_wait.as_millis() as i32;
    request.min_bytes = options.min_bytes;
    request.max_bytes = options.max_bytes;
    // No session.
    request.session_id = 0;
    request.session_epoch = -1;
    let mut places: BTreeMap<TopicName, usize> = BTreeMap::new();
    for (partition, offset, epoch) in partitions {
        let mut wanted = FetchPartition::default();
        wanted.partition = partition.index;
        wanted.current_leader_epoch = if version >= 9 { epoch.0 } else { -1 };
        wanted.fetch_offset = offset.0;
        wanted.partition_max_bytes = options.partition_max_bytes;
        let place = *places.entry(partition.topic.clone()).or_insert_with(|| {
            let mut topic = FetchTopic::default();
            if version >= FETCH_BY_ID_VERSION {
                topic.topic_id = ids[&partition.topic].into();
            } else {
                topic.topic = StrBytes::from(partition.topic.as_str());
            }
            request.topics.push(topic);
            request.topics.len() - 1
        });
        request.topics[place].partitions.push(wanted);
    }
    request
}
