//! Produce (key 0), versions 3 to 13, written by hand because it is the hot path.
//!
//! Source: Apache Kafka, ProduceRequest.json and ProduceResponse.json. 9 is the first flexible
//! version; 13 names topics by id (KIP-516). Batches are slices of the request's bytes.

use bytes::Bytes;

use crate::limits::REQUEST_ELEMENTS_MAX;
use crate::model::{LeaderEpoch, NodeId, Offset, Timestamp, TopicId};

use super::api::ApiKey;
use super::arriving::Apart;
use super::error_code::ErrorCode;
use super::messages::StrBytes;
use super::wire::{Reader, WireError, Writer};

/// A request to append batches to partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceRequest {
    /// The transaction that the batches belong to.
    pub transactional_id: Option<StrBytes>,
    /// When to answer: 0 never, 1 when the leader has the batches, -1 when all in sync have them.
    /// Not yet checked.
    pub acks: i16,
    /// How long to wait for `acks`.
    pub timeout_ms: i32,
    /// The topics, in the client's order.
    pub topics: Vec<ProduceTopic>,
}

/// The batches for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopic {
    /// The topic's name up to version 12, else empty.
    pub name: StrBytes,
    /// The topic's id from version 13 on, else zero.
    pub topic_id: TopicId,
    /// The partitions, in the client's order.
    pub partitions: Vec<ProducePartition>,
}

/// The batches for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartition {
    /// The partition's index within its topic.
    pub index: i32,
    /// The record batches, unchecked, or null.
    pub records: Option<Records>,
}

/// Where a partition's record batches are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// A slice of the request's bytes.
    Here(Bytes),
    /// The next of the batches that were taken out.
    Apart,
}

impl ProduceRequest {
    /// Reads the body of a request whose header said `version`, which must be one of 3 to 13.
    pub fn decode(body: &Bytes, version: i16) -> Result<ProduceRequest, WireError> {
        ProduceRequest::decode_around(body, version, &[])
    }

    /// The same if batches were taken out of the body as it arrived.
    pub fn decode_around(
        body: &Bytes,
        version: i16,
        apart: &[Apart],
    ) -> Result<ProduceRequest, WireError> {
        let mut taken = Taken { apart, next: 0 };
        let flexible = ApiKey::Produce.is_flexible(version);
        let mut reader = Reader::new(body, flexible, REQUEST_ELEMENTS_MAX);
        let request = ProduceRequest {
            transactional_id: reader.nullable_string()?,
            acks: reader.i16()?,
            timeout_ms: reader.i32()?,
            topics: reader.array(TOPIC_BYTES_MIN, |reader| {
                decode_topic(reader, version, &mut taken)
            })?,
        };
        reader.skip_tagged_fields()?;
        Ok(request)
    }
}

/// The fewest bytes of a topic: an empty compact name, no partitions, no tags.
const TOPIC_BYTES_MIN: usize = 3;
/// The fewest bytes of a partition: index, null records, no tags.
const PARTITION_BYTES_MIN: usize = 6;

/// The batches that were taken out of the body, in its order.
struct Taken<'a> {
    apart: &'a [Apart],
    next: usize,
}

impl Taken<'_> {
    fn records(&mut self, reader: &mut Reader<'_>) -> Result<Option<Records>, WireError> {
        let Some(length) = reader.nullable_length()? else {
            return Ok(None);
        };
        let here = Apart {
            at: reader.position(),
            length,
        };
        if self.apart.get(self.next) == Some(&here) {
            self.next += 1;
            return Ok(Some(Records::Apart));
        }
        Ok(Some(Records::Here(reader.bytes(length)?)))
    }
}

fn decode_topic(
    reader: &mut Reader<'_>,
    version: i16,
    taken: &mut Taken<'_>,
) -> Result<ProduceTopic, WireError> {
    let by_id = version >= 13;
    let topic = ProduceTopic {
        name: if by_id {
            StrBytes::default()
        } else {
            reader.string()?
        },
        topic_id: if by_id {
            reader.topic_id()?
        } else {
            TopicId::ZERO
        },
        partitions: reader.array(PARTITION_BYTES_MIN, |reader| {
            let partition = ProducePartition {
                index: reader.i32()?,
                records: taken.records(reader)?,
            };
            reader.skip_tagged_fields()?;
            Ok(partition)
        })?,
    };
    reader.skip_tagged_fields()?;
    Ok(topic)
}

/// The answer to a produce request; never sent for acks 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceResponse {
    /// The topics, in the request's order.
    pub topics: Vec<ProduceTopicResponse>,
    /// How long the client should stay quiet (KIP-219).
    pub throttle_time_ms: i32,
    /// Where the leaders named in `current_leader` listen (KIP-951); sent from version 10 on.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// The answer for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopicResponse {
    /// The topic's name; sent up to version 12.
    pub name: StrBytes,
    /// The topic's id; sent from version 13 on.
    pub topic_id: TopicId,
    /// The partitions, in the request's order.
    pub partitions: Vec<ProducePartitionResponse>,
}

/// The answer for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartitionResponse {
    /// The partition's index within its topic.
    pub index: i32,
    /// Why nothing was appended, or `None`.
    pub error: ErrorCode,
    /// The offset of the first record, or `Offset::NONE`.
    pub base_offset: Offset,
    /// The broker's append time where the topic wants it, else `Timestamp::NONE`.
    pub log_append_time: Timestamp,
    /// The partition's first offset, or `Offset::NONE`; sent from version 5 on.
    pub log_start_offset: Offset,
    /// The records that were refused; sent from version 8 on.
    pub record_errors: Vec<RecordError>,
    /// Why they were refused, in words; sent from version 8 on.
    pub error_message: Option<String>,
    /// Who leads, where `error` says that this broker does not; sent from version 10 on.
    pub current_leader: Option<CurrentLeader>,
}

impl ProducePartitionResponse {
    /// The answer for a partition to which nothing was appended.
    pub fn refused(index: i32, error: ErrorCode) -> ProducePartitionResponse {
        ProducePartitionResponse {
            index,
            error,
            base_offset: Offset::NONE,
            log_append_time: Timestamp::NONE,
            log_start_offset: Offset::NONE,
            record_errors: Vec::new(),
            error_message: None,
            current_leader: None,
        }
    }
}

/// One record that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The record's index within its batch.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: Option<String>,
}

/// The leader that a client should turn to (KIP-951).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentLeader {
    /// The leader.
    pub leader_id: NodeId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
}

/// Where a node listens, on the listener that the request came in on (KIP-951).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// The node.
    pub node_id: NodeId,
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// What a partition to which a batch was appended takes of an answer: numbers, and the lengths of
/// what is empty.
const PARTITION_ANSWER_BYTES: usize = 40;

impl ProduceResponse {
    /// Writes the body of the response to a request of `version`.
    pub fn encode(&self, version: i16) -> Bytes {
        let flexible = ApiKey::Produce.is_flexible(version);
        let partitions = self.topics.iter().map(|topic| topic.partitions.len());
        let partitions_bytes = PARTITION_ANSWER_BYTES * partitions.sum::<usize>();
        let mut writer = Writer::new(flexible, 64 + 64 * self.topics.len() + partitions_bytes);
        writer.length(self.topics.len());
        for topic in &self.topics {
            encode_topic(&mut writer, topic, version);
        }
        writer.i32(self.throttle_time_ms);
        if version >= 10 && !self.node_endpoints.is_empty() {
            writer.tagged_field_count(1);
            writer.tagged_field(0, |field| {
                encode_node_endpoints(field, &self.node_endpoints)
            });
        } else {
            writer.no_tagged_fields();
        }
        writer.finish()
    }
}

fn encode_topic(writer: &mut Writer, topic: &ProduceTopicResponse, version: i16) {
    if version >= 13 {
        writer.topic_id(topic.topic_id);
    } else {
        writer.string(&topic.name);
    }
    writer.length(topic.partitions.len());
    for partition in &topic.partitions {
        encode_partition(writer, partition, version);
    }
    writer.no_tagged_fields();
}

fn encode_partition(writer: &mut Writer, partition: &ProducePartitionResponse, version: i16) {
    writer.i32(partition.index);
    writer.i16(partition.error.code());
    writer.i64(partition.base_offset.0);
    writer.i64(partition.log_append_time.0);
    if version >= 5 {
        writer.i64(partition.log_start_offset.0);
    }
    if version >= 8 {
        writer.length(partition.record_errors.len());
        for error in &partition.record_errors {
            writer.i32(error.batch_index);
            writer.nullable_string(error.message.as_deref());
            writer.no_tagged_fields();
        }
        writer.nullable_string(partition.error_message.as_deref());
    }
    match partition.current_leader {
        Some(leader) if version >= 10 => {
            writer.tagged_field_count(1);
            writer.tagged_field(0, |field| encode_current_leader(field, leader));
        }
        _ => writer.no_tagged_fields(),
    }
}

/// Writes the content of the tagged field CurrentLeader, which Produce and Fetch share.
pub(super) fn encode_current_leader(field: &mut Writer, leader: CurrentLeader) {
    field.i32(leader.leader_id.0);
    field.i32(leader.leader_epoch.0);
    field.no_tagged_fields();
}

/// Writes the content of the tagged field NodeEndpoints, which Produce and Fetch share.
pub(super) fn encode_node_endpoints(field: &mut Writer, endpoints: &[NodeEndpoint]) {
    field.length(endpoints.len());
    for endpoint in endpoints {
        field.i32(endpoint.node_id.0);
        field.string(&endpoint.host);
        field.i32(endpoint.port);
        field.nullable_string(endpoint.rack.as_deref());
        field.no_tagged_fields();
    }
}
