//! Fetch (key 1), versions 4 to 18, written by hand because it is the hot path.
//!
//! Source: Apache Kafka, FetchRequest.json and FetchResponse.json. 7 brought sessions (KIP-227),
//! 12 the flexible encoding, 13 topic ids (KIP-516), 15 replica states (KIP-903), 16 node
//! endpoints (KIP-951). A response is a list of pieces, so that record data is never copied.

use bytes::Bytes;

use crate::limits::REQUEST_ELEMENTS_MAX;
use crate::model::{LeaderEpoch, NodeId, Offset, ProducerId, TopicId};

use super::api::ApiKey;
use super::error_code::ErrorCode;
use super::messages::StrBytes;
use super::produce::{CurrentLeader, NodeEndpoint, encode_current_leader, encode_node_endpoints};
use super::wire::{Reader, WireError, Writer};

/// A request for batches of partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// The cluster that the client believes to be talking to; from version 12 on.
    pub cluster_id: Option<StrBytes>,
    /// The follower that asks, or -1 for a consumer.
    pub replica_id: NodeId,
    /// The follower's epoch, or -1; from version 15 on.
    pub replica_epoch: i64,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// Answer when this much is there.
    pub min_bytes: i32,
    /// Stop at this much, but for the first batch.
    pub max_bytes: i32,
    /// 0 reads uncommitted, 1 reads committed.
    pub isolation_level: i8,
    /// The fetch session, 0 for none; from version 7 on.
    pub session_id: i32,
    /// The session's next epoch, -1 for no session; from version 7 on.
    pub session_epoch: i32,
    /// What to read, in the client's order; within a session only what changed.
    pub topics: Vec<FetchTopic>,
    /// What the session should no longer read.
    pub forgotten_topics: Vec<ForgottenTopic>,
    /// The consumer's rack, empty if it has none; from version 11 on.
    pub rack_id: StrBytes,
}

/// What to read of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    /// The topic's name up to version 12, else empty.
    pub name: StrBytes,
    /// The topic's id from version 13 on, else zero.
    pub topic_id: TopicId,
    /// The partitions, in the client's order.
    pub partitions: Vec<FetchPartition>,
}

/// What to read of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// The partition's index within its topic.
    pub index: i32,
    /// The epoch of the leader that the client knows, or -1; from version 9 on.
    pub current_leader_epoch: LeaderEpoch,
    /// The first offset to read.
    pub fetch_offset: Offset,
    /// The epoch of the last batch that a follower has, or -1; from version 12 on.
    pub last_fetched_epoch: LeaderEpoch,
    /// A follower's first offset, or -1; from version 5 on.
    pub log_start_offset: Offset,
    /// Stop at this much, but for the first batch.
    pub max_bytes: i32,
    /// A follower's log directory; from version 17 on.
    pub replica_directory_id: TopicId,
    /// The high watermark that a follower knows, from version 18 on; `i64::MAX` where absent.
    pub high_watermark: i64,
}

/// What a session should no longer read of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenTopic {
    /// The topic's name up to version 12, else empty.
    pub name: StrBytes,
    /// The topic's id from version 13 on, else zero.
    pub topic_id: TopicId,
    /// The partitions' indexes.
    pub partitions: Vec<i32>,
}

impl FetchRequest {
    /// Reads the body of a request whose header said `version`, which must be one of 4 to 18.
    pub fn decode(body: &Bytes, version: i16) -> Result<FetchRequest, WireError> {
        let flexible = ApiKey::Fetch.is_flexible(version);
        let mut reader = Reader::new(body, flexible, REQUEST_ELEMENTS_MAX);
        let has_session = version >= 7;
        let mut request = FetchRequest {
            cluster_id: None,
            replica_id: NodeId(if version <= 14 { reader.i32()? } else { -1 }),
            replica_epoch: -1,
            max_wait_ms: reader.i32()?,
            min_bytes: reader.i32()?,
            max_bytes: reader.i32()?,
            isolation_level: reader.i8()?,
            session_id: if has_session { reader.i32()? } else { 0 },
            session_epoch: if has_session { reader.i32()? } else { -1 },
            topics: reader.array(TOPIC_BYTES_MIN, |reader| decode_topic(reader, version))?,
            forgotten_topics: match has_session {
                true => reader.array(TOPIC_BYTES_MIN, |r| decode_forgotten(r, version))?,
                false => Vec::new(),
            },
            rack_id: if version >= 11 {
                reader.string()?
            } else {
                StrBytes::default()
            },
        };
        reader.tagged_fields(|tag, reader| match tag {
            0 => {
                request.cluster_id = reader.nullable_string()?;
                Ok(true)
            }
            1 if version >= 15 => {
                request.replica_id = NodeId(reader.i32()?);
                request.replica_epoch = reader.i64()?;
                reader.skip_tagged_fields()?;
                Ok(true)
            }
            _ => Ok(false),
        })?;
        Ok(request)
    }
}

/// The fewest bytes of a topic: an empty compact name, no partitions, no tags.
const TOPIC_BYTES_MIN: usize = 3;
/// The fewest bytes of a partition: those of version 4.
const PARTITION_BYTES_MIN: usize = 16;

fn decode_name(reader: &mut Reader<'_>, version: i16) -> Result<(StrBytes, TopicId), WireError> {
    if version >= 13 {
        Ok((StrBytes::default(), reader.topic_id()?))
    } else {
        Ok((reader.string()?, TopicId::ZERO))
    }
}

fn decode_topic(reader: &mut Reader<'_>, version: i16) -> Result<FetchTopic, WireError> {
    let (name, topic_id) = decode_name(reader, version)?;
    let topic = FetchTopic {
        name,
        topic_id,
        partitions: reader.array(PARTITION_BYTES_MIN, |r| decode_partition(r, version))?,
    };
    reader.skip_tagged_fields()?;
    Ok(topic)
}

fn decode_partition(reader: &mut Reader<'_>, version: i16) -> Result<FetchPartition, WireError> {
    let mut partition = FetchPartition {
        index: reader.i32()?,
        current_leader_epoch: LeaderEpoch(if version >= 9 { reader.i32()? } else { -1 }),
        fetch_offset: Offset(reader.i64()?),
        last_fetched_epoch: LeaderEpoch(if version >= 12 { reader.i32()? } else { -1 }),
        log_start_offset: Offset(if version >= 5 { reader.i64()? } else { -1 }),
        max_bytes: reader.i32()?,
        replica_directory_id: TopicId::ZERO,
        high_watermark: i64::MAX,
    };
    reader.tagged_fields(|tag, reader| match tag {
        0 if version >= 17 => {
            partition.replica_directory_id = reader.topic_id()?;
            Ok(true)
        }
        1 if version >= 18 => {
            partition.high_watermark = reader.i64()?;
            Ok(true)
        }
        _ => Ok(false),
    })?;
    Ok(partition)
}

fn decode_forgotten(reader: &mut Reader<'_>, version: i16) -> Result<ForgottenTopic, WireError> {
    let (name, topic_id) = decode_name(reader, version)?;
    let topic = ForgottenTopic {
        name,
        topic_id,
        partitions: reader.array(size_of::<i32>(), |reader| reader.i32())?,
    };
    reader.skip_tagged_fields()?;
    Ok(topic)
}

/// The answer to a fetch request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchResponse {
    /// How long the client should stay quiet (KIP-219).
    pub throttle_time_ms: i32,
    /// Why the whole request was refused; sent from version 7 on.
    pub error: ErrorCode,
    /// The session, 0 for none; sent from version 7 on.
    pub session_id: i32,
    /// The topics; within a session only those with something to tell.
    pub topics: Vec<FetchTopicResponse>,
    /// Where the leaders named in `current_leader` listen (KIP-951); sent from version 16 on.
    pub node_endpoints: Vec<NodeEndpoint>,
}

impl FetchResponse {
    /// The answer that refuses the whole request.
    pub fn refused(error: ErrorCode) -> FetchResponse {
        FetchResponse {
            throttle_time_ms: 0,
            error,
            session_id: 0,
            topics: Vec::new(),
            node_endpoints: Vec::new(),
        }
    }
}

/// The answer for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopicResponse {
    /// The topic's name; sent up to version 12.
    pub name: StrBytes,
    /// The topic's id; sent from version 13 on.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<FetchPartitionResponse>,
}

/// The answer for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartitionResponse {
    /// The partition's index within its topic.
    pub index: i32,
    /// Why nothing was read, or `None`.
    pub error: ErrorCode,
    /// The end of what is acknowledged, or `Offset::NONE`.
    pub high_watermark: Offset,
    /// The end of what no open transaction can change, or `Offset::NONE`.
    pub last_stable_offset: Offset,
    /// The partition's first offset, or `Offset::NONE`; sent from version 5 on.
    pub log_start_offset: Offset,
    /// Where the client's log leaves the leader's; sent from version 12 on.
    pub diverging_epoch: Option<DivergingEpoch>,
    /// Who leads, where `error` says that this broker does not; sent from version 12 on.
    pub current_leader: Option<CurrentLeader>,
    /// The aborted transactions among the records, for a reader of committed records; else null.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The replica to read from next time, or -1; sent from version 11 on.
    pub preferred_read_replica: NodeId,
    /// Whole batches, as slices of whatever holds them. None is sent as no bytes, never as null,
    /// which old clients cannot read.
    pub records: Vec<Bytes>,
}

impl FetchPartitionResponse {
    /// The answer for a partition of which nothing was read.
    pub fn refused(index: i32, error: ErrorCode) -> FetchPartitionResponse {
        FetchPartitionResponse {
            index,
            error,
            high_watermark: Offset::NONE,
            last_stable_offset: Offset::NONE,
            log_start_offset: Offset::NONE,
            diverging_epoch: None,
            current_leader: None,
            aborted_transactions: None,
            preferred_read_replica: NodeId(-1),
            records: Vec::new(),
        }
    }
}

/// The end of the largest epoch that client and leader share (KIP-595).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DivergingEpoch {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its end on the leader.
    pub end_offset: Offset,
}

/// A transaction whose records a reader of committed records skips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: ProducerId,
    /// Its first offset in the partition.
    pub first_offset: Offset,
}

/// Writes the body of the response to a request of `version`, as pieces to be sent one after the
/// other: what this codec writes, interleaved with the slices of `records`, which are handed on
/// as they are.
pub fn encode_fetch_response(response: &FetchResponse, version: i16) -> Vec<Bytes> {
    let mut pieces = Pieces {
        writer: Writer::new(ApiKey::Fetch.is_flexible(version), capacity_bytes(response)),
        done: Vec::new(),
    };
    let writer = &mut pieces.writer;
    writer.i32(response.throttle_time_ms);
    if version >= 7 {
        writer.i16(response.error.code());
        writer.i32(response.session_id);
    }
    writer.length(response.topics.len());
    for topic in &response.topics {
        let writer = &mut pieces.writer;
        if version >= 13 {
            writer.topic_id(topic.topic_id);
        } else {
            writer.string(&topic.name);
        }
        writer.length(topic.partitions.len());
        for partition in &topic.partitions {
            encode_partition(&mut pieces, partition, version);
        }
        pieces.writer.no_tagged_fields();
    }
    let writer = &mut pieces.writer;
    if version >= 16 && !response.node_endpoints.is_empty() {
        writer.tagged_field_count(1);
        writer.tagged_field(0, |field| {
            encode_node_endpoints(field, &response.node_endpoints)
        });
    } else {
        writer.no_tagged_fields();
    }
    pieces.finish()
}

/// What the codec itself will write, roughly: one allocation then serves the whole response.
fn capacity_bytes(response: &FetchResponse) -> usize {
    let topics = response.topics.iter();
    64 + topics
        .map(|topic| 32 + topic.name.len() + 64 * topic.partitions.len())
        .sum::<usize>()
}

/// A response that is growing: pieces that are done, and the one that is being written.
struct Pieces {
    writer: Writer,
    done: Vec<Bytes>,
}

impl Pieces {
    fn cut(&mut self) {
        let piece = self.writer.split();
        if !piece.is_empty() {
            self.done.push(piece);
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.cut();
        self.done
    }
}

fn encode_partition(pieces: &mut Pieces, partition: &FetchPartitionResponse, version: i16) {
    let writer = &mut pieces.writer;
    writer.i32(partition.index);
    writer.i16(partition.error.code());
    writer.i64(partition.high_watermark.0);
    writer.i64(partition.last_stable_offset.0);
    if version >= 5 {
        writer.i64(partition.log_start_offset.0);
    }
    match &partition.aborted_transactions {
        None => writer.null_length(),
        Some(aborted) => {
            writer.length(aborted.len());
            for transaction in aborted {
                writer.i64(transaction.producer_id.0);
                writer.i64(transaction.first_offset.0);
                writer.no_tagged_fields();
            }
        }
    }
    if version >= 11 {
        writer.i32(partition.preferred_read_replica.0);
    }
    writer.length(partition.records.iter().map(Bytes::len).sum());
    if partition.records.iter().any(|slice| !slice.is_empty()) {
        pieces.cut();
        let slices = partition.records.iter().filter(|slice| !slice.is_empty());
        pieces.done.extend(slices.cloned());
    }
    encode_partition_tags(&mut pieces.writer, partition, version);
}

fn encode_partition_tags(writer: &mut Writer, partition: &FetchPartitionResponse, version: i16) {
    if version < 12 {
        return;
    }
    let diverging = partition.diverging_epoch;
    let leader = partition.current_leader;
    writer.tagged_field_count(u32::from(diverging.is_some()) + u32::from(leader.is_some()));
    if let Some(diverging) = diverging {
        writer.tagged_field(0, |field| {
            field.i32(diverging.epoch.0);
            field.i64(diverging.end_offset.0);
            field.no_tagged_fields();
        });
    }
    if let Some(leader) = leader {
        writer.tagged_field(1, |field| encode_current_leader(field, leader));
    }
}
