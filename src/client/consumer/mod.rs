//! Consuming: a position per partition, one fetch in flight per leader, batches handed on as they
//! came.

mod fetching;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::frame::{self, Record, RecordsError};
use crate::io::{self, Instant, blocking};
use crate::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use crate::model::{LeaderEpoch, NodeId, Offset, Timestamp, TopicId, TopicName, TopicPartition};
use crate::protocol::{ApiKey, ErrorCode};

use super::cluster::Client;
use super::connection::{Connection, RETRY_PAUSE};
use super::error::ClientError;
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
    /// Since when no broker has answered; `poll` bears that for as long as the options say.
    failing_since: Option<Instant>,
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
    asked: Option<Asked>,
}

/// What a fetch asked for.
struct Asked {
    offsets: BTreeMap<TopicPartition, Offset>,
    /// The topics' names by the ids that they had when it was sent; versions that name topics by
    /// name have no use for it.
    topics: BTreeMap<TopicId, TopicName>,
}

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
            failing_since: None,
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

    /// Goes back to before `batches`, which `poll` gave and nobody got to see: they are read again,
    /// and not committed.
    pub fn unread(&mut self, batches: &[FetchedBatch]) {
        for batch in batches.iter().rev() {
            self.seek(&batch.partition, batch.from);
        }
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
            blocking::sleep(self.options.max_wait.min(RETRY_PAUSE));
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
            let is_due = io::now() >= self.commit_at;
            if let Some(interval) = membership.options.auto_commit
                && is_due
            {
                self.commit_at = io::now() + interval;
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
        self.commit_at = io::now() + interval;
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
}
