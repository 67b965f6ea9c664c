//! Producing: records are gathered into batches, several requests are in flight, what fails for a
//! moment is sent again in order.

mod dispatch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::frame::{BatchBuilder, Codec};
use crate::io::{self, Instant};
use crate::model::{
    NodeId, Offset, ProducerEpoch, ProducerId, Timestamp, TopicId, TopicName, TopicPartition,
};
use crate::protocol::messages::InitProducerIdRequest;
use crate::protocol::{ApiKey, ErrorCode};

use super::cluster::{Client, Target};
use super::connection::Connection;
use super::error::ClientError;
use super::partitioner::partition_of;

/// When a batch counts as produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// When it was sent; the broker does not answer.
    None,
    /// When the leader has it.
    Leader,
    /// When all replicas in sync have it.
    All,
}

impl Acks {
    fn code(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// How a producer gathers and sends.
#[derive(Clone, Copy, Debug)]
pub struct ProducerOptions {
    /// When a batch counts as produced.
    pub acks: Acks,
    /// How batches are compressed.
    pub codec: Codec,
    /// Whether what is sent again after an error is stored once; needs `Acks::All`.
    pub is_idempotent: bool,
    /// A batch is closed when its records have this size, before compression.
    pub batch_bytes: usize,
    /// A batch is closed when it is this old.
    pub linger: Duration,
    /// Batches for one broker are sent in requests of about this size.
    pub request_bytes: usize,
    /// Requests to one broker whose answers are still to come; at most 5 keep the order of an
    /// idempotent producer.
    pub in_flight_max: usize,
    /// Closed batches wait up to this size; then `send` waits for answers.
    pub buffer_bytes: usize,
    /// How long a batch is tried.
    pub delivery_timeout: Duration,
}

impl Default for ProducerOptions {
    fn default() -> ProducerOptions {
        ProducerOptions {
            acks: Acks::All,
            codec: Codec::None,
            is_idempotent: true,
            batch_bytes: 64 << 10,
            linger: Duration::from_millis(5),
            request_bytes: 1 << 20,
            in_flight_max: 5,
            buffer_bytes: 32 << 20,
            delivery_timeout: Duration::from_secs(60),
        }
    }
}

/// A record to be produced.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProducerRecord<'a> {
    /// The partition; else the key decides, else batches go round.
    pub partition: Option<i32>,
    /// Its timestamp, else the time of day.
    pub timestamp: Option<Timestamp>,
    /// Its key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is null: a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// What became of a batch.
#[derive(Debug)]
pub struct Delivery {
    /// Where it went.
    pub partition: TopicPartition,
    /// The offset of its first record, `Offset::NONE` where the broker does not tell; or why it
    /// was given up.
    pub outcome: Result<Offset, ClientError>,
    /// How many records were given to `send` for this partition before its first one.
    pub first_record: u64,
    /// Its number of records.
    pub record_count: i32,
    /// Its size as sent.
    pub batch_bytes: usize,
    /// From when it was first sent to its answer.
    pub latency: Duration,
}

/// Produces records. One thread uses it; answers are taken when it is called.
pub struct Producer {
    client: Client,
    options: ProducerOptions,
    identity: Option<Identity>,
    topics: BTreeMap<TopicName, TopicQueues>,
    /// Partitions with closed batches.
    ready: BTreeSet<TopicPartition>,
    ready_bytes: usize,
    /// Partitions with an open batch, by the time at which it is to be closed.
    open: BTreeSet<(Instant, TopicPartition)>,
    links: BTreeMap<NodeId, Link>,
    /// Partitions of which a batch failed for a moment.
    held: BTreeSet<TopicPartition>,
    /// A batch was closed since closed batches were last sent.
    has_news: bool,
    next_number: u64,
    delivered: Vec<Delivery>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    id: ProducerId,
    epoch: ProducerEpoch,
}

/// A topic's partitions, and the one that records without a key go to for now.
struct TopicQueues {
    id: TopicId,
    partitions: Vec<PartitionQueue>,
    sticky: usize,
}

/// What waits for one partition.
#[derive(Default)]
struct PartitionQueue {
    open: Option<OpenBatch>,
    /// Closed batches in the order of their numbers.
    ready: VecDeque<Batch>,
    in_flight: usize,
    /// A batch failed for a moment: nothing is sent until all answers are there, so that the
    /// order stays.
    is_held: bool,
    retry_at: Instant,
    /// The identity that this partition's sequence counts under.
    identity: Option<Identity>,
    next_sequence: i32,
    /// Records of all batches that were closed.
    closed_records: u64,
}

struct OpenBatch {
    builder: BatchBuilder,
    close_at: Instant,
}

/// A closed batch. Its bytes never change: what is sent again is the same batch.
#[derive(Debug)]
struct Batch {
    number: u64,
    identity: Option<Identity>,
    bytes: Bytes,
    first_record: u64,
    record_count: i32,
    give_up_at: Instant,
    first_sent: Option<Instant>,
}

/// A connection with requests in flight.
struct Link {
    connection: Connection,
    requests: VecDeque<Request>,
}

/// A request in flight: its batches, one per partition.
struct Request {
    sent: Instant,
    batches: Vec<(TopicPartition, Batch)>,
}

impl Producer {
    /// Makes a producer; an idempotent one asks for its id.
    pub fn new(client: Client, options: ProducerOptions) -> Result<Producer, ClientError> {
        let mut producer = Producer {
            client,
            options,
            identity: None,
            topics: BTreeMap::new(),
            ready: BTreeSet::new(),
            ready_bytes: 0,
            open: BTreeSet::new(),
            links: BTreeMap::new(),
            held: BTreeSet::new(),
            has_news: false,
            next_number: 0,
            delivered: Vec::new(),
        };
        if options.is_idempotent && options.acks == Acks::All {
            producer.identity = Some(producer.new_identity()?);
        }
        Ok(producer)
    }

    fn new_identity(&mut self) -> Result<Identity, ClientError> {
        let mut request = InitProducerIdRequest::default();
        request.transactional_id = None;
        request.transaction_timeout_ms = i32::MAX;
        self.client.retry(|client| {
            let response = client.call(Target::Any, &request)?;
            ClientError::check(
                ApiKey::InitProducerId,
                "producer",
                response.error_code,
                None,
            )?;
            Ok(Identity {
                id: ProducerId(response.producer_id),
                epoch: ProducerEpoch(response.producer_epoch),
            })
        })
    }

    /// The client that this producer uses.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The producer id of an idempotent producer.
    pub fn producer_id(&self) -> Option<ProducerId> {
        self.identity.map(|identity| identity.id)
    }

    /// Adds a record to a batch, and sends what is due; returns the record's partition. Waits only
    /// while too much waits already.
    pub fn send(
        &mut self,
        topic: &TopicName,
        record: &ProducerRecord<'_>,
    ) -> Result<i32, ClientError> {
        let now = io::now();
        let index = self.choose_partition(topic, record)?;
        let timestamp = record.timestamp.unwrap_or_else(io::wall_clock);
        let queue = &mut self
            .topics
            .get_mut(topic)
            .expect("just looked up")
            .partitions[index];
        let is_new = queue.open.is_none();
        if is_new {
            queue.open_batch(&self.options, self.identity, now);
        }
        let open = queue.open.as_mut().expect("just opened");
        let builder = &mut open.builder;
        builder.push_with_headers(timestamp, record.key, record.value, record.headers);
        let close_at = open.close_at;
        let is_full = builder.plain_bytes() >= self.options.batch_bytes;
        if is_new && !is_full {
            self.open.insert((close_at, partition_at(topic, index)));
        }
        if is_full {
            self.close(&partition_at(topic, index), now);
        }
        self.close_old(now);
        if self.has_news {
            self.poll()?;
        }
        while self.ready_bytes > self.options.buffer_bytes {
            self.advance()?;
        }
        Ok(index as i32)
    }

    fn choose_partition(
        &mut self,
        topic: &TopicName,
        record: &ProducerRecord<'_>,
    ) -> Result<usize, ClientError> {
        if !self.topics.contains_key(topic) {
            let described = self.client.topic_or_create(topic)?;
            let queues = TopicQueues {
                id: described.id,
                partitions: described
                    .partitions
                    .iter()
                    .map(|_| PartitionQueue::default())
                    .collect(),
                sticky: 0,
            };
            self.topics.insert(topic.clone(), queues);
        }
        let queues = &self.topics[topic];
        let count = queues.partitions.len();
        match (record.partition, record.key) {
            (Some(partition), _) => match usize::try_from(partition) {
                Ok(index) if index < count => Ok(index),
                _ => Err(ClientError::Broker {
                    api: ApiKey::Produce,
                    subject: format!("{topic}-{partition}"),
                    code: ErrorCode::UnknownTopicOrPartition,
                    message: None,
                }),
            },
            (None, Some(key)) => Ok(partition_of(key, count as i32) as usize),
            (None, None) => Ok(queues.sticky),
        }
    }

    fn queue(&mut self, partition: &TopicPartition) -> &mut PartitionQueue {
        let queues = self
            .topics
            .get_mut(&partition.topic)
            .expect("a partition in use is known");
        &mut queues.partitions[partition.index as usize]
    }

    /// Closes a partition's open batch.
    fn close(&mut self, partition: &TopicPartition, now: Instant) {
        let number = self.next_number;
        let give_up_at = now + self.options.delivery_timeout;
        let queues = self
            .topics
            .get_mut(&partition.topic)
            .expect("a partition in use is known");
        let queue = &mut queues.partitions[partition.index as usize];
        let Some(open) = queue.open.take() else {
            return;
        };
        let record_count = open.builder.record_count();
        let bytes = Bytes::from(open.builder.build());
        queue.next_sequence = next_sequence(queue.next_sequence, record_count);
        self.ready_bytes += bytes.len();
        queue.ready.push_back(Batch {
            number,
            identity: queue.identity,
            bytes,
            first_record: queue.closed_records,
            record_count,
            give_up_at,
            first_sent: None,
        });
        queue.closed_records += record_count as u64;
        queues.sticky = (queues.sticky + 1) % queues.partitions.len();
        self.next_number += 1;
        self.has_news = true;
        self.open.remove(&(open.close_at, partition.clone()));
        self.ready.insert(partition.clone());
    }

    fn close_old(&mut self, now: Instant) {
        while let Some((close_at, partition)) = self.open.first() {
            if *close_at > now {
                return;
            }
            let partition = partition.clone();
            self.close(&partition, now);
        }
    }

    /// Closes what is open, sends it, and returns when every batch was answered or given up.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        let now = io::now();
        while let Some((_, partition)) = self.open.first() {
            let partition = partition.clone();
            self.close(&partition, now);
        }
        while !self.ready.is_empty() || self.in_flight() > 0 {
            self.pump()?;
            self.advance()?;
        }
        Ok(())
    }

    /// Sends what is due and takes the answers that have arrived, without waiting.
    pub fn poll(&mut self) -> Result<(), ClientError> {
        self.close_old(io::now());
        let nodes: Vec<NodeId> = self.links.keys().copied().collect();
        for node in nodes {
            while self.links.get(&node).is_some_and(|link| {
                !link.requests.is_empty() && link.connection.has_answer().unwrap_or(true)
            }) {
                self.receive(node)?;
            }
        }
        self.pump()
    }

    /// What became of the batches that were answered or given up since the last call.
    pub fn deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.delivered)
    }

    /// Requests whose answers are still to come.
    pub fn in_flight(&self) -> usize {
        self.links.values().map(|link| link.requests.len()).sum()
    }
}

impl PartitionQueue {
    fn open_batch(&mut self, options: &ProducerOptions, identity: Option<Identity>, now: Instant) {
        let mut builder = BatchBuilder::new(options.codec);
        if let Some(identity) = identity {
            let identity = *self.identity.get_or_insert(identity);
            builder = builder.producer(identity.id, identity.epoch, self.next_sequence);
        }
        let close_at = now + options.linger;
        self.open = Some(OpenBatch { builder, close_at });
    }
}

fn partition_at(topic: &TopicName, index: usize) -> TopicPartition {
    TopicPartition {
        topic: topic.clone(),
        index: index as i32,
    }
}

/// The sequence number after `count` records; it wraps from the largest int32 to 0.
fn next_sequence(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) % (i64::from(i32::MAX) + 1)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        let check = |sequence: i32, count: i32, expected: i32| {
            assert_eq!(next_sequence(sequence, count), expected);
        };
        check(0, 1, 1);
        check(i32::MAX, 1, 0);
        check(i32::MAX - 1, 3, 1);
        check(i32::MAX, i32::MAX, i32::MAX - 1);
    }
}
