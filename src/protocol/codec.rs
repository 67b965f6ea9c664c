//! Encoding and decoding of the APIs that are not written by hand, behind one door.
//!
//! Decoding is bounded per API: by the size of the request, the elements of one array, the length
//! of one string and of one byte field. The bounds follow from what the API carries at the
//! largest scale that corelog serves; a request beyond them closes its connection. Bytes behind a
//! message are ignored, as Kafka ignores them.

use std::fmt;

use bytes::{Bytes, BytesMut};
use kafka_wire::{KafkaMessage, KafkaRequest, KafkaResponse, OutboundFrameLimits};
use kafka_wire_core::{ApiVersion, DecodeError, DecodeLimits, Decoder};

use crate::limits::{
    REQUEST_ELEMENTS_MAX, REQUEST_LARGE_BYTES_MAX, REQUEST_MEDIUM_BYTES_MAX,
    REQUEST_NESTED_BYTES_MAX, REQUEST_SMALL_BYTES_MAX, REQUEST_STRING_BYTES_MAX,
    RESPONSE_BYTES_MAX, RESPONSE_ELEMENTS_MAX, TAGGED_FIELD_BYTES_MAX, TAGGED_FIELDS_MAX,
};

use super::api::ApiKey;
use super::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, StrBytes};
use super::wire::WireError;

/// Why a message was not decoded or encoded. The detail is for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The codecs do not know the version.
    UnsupportedVersion {
        /// The message's name and the version.
        detail: String,
    },
    /// A bound of the API is exceeded.
    TooLarge {
        /// Which bound, and where.
        detail: String,
    },
    /// The bytes are not the message.
    Malformed {
        /// What is wrong, and where.
        detail: String,
    },
    /// The structure has a value that the version cannot express: a mistake of ours.
    NotRepresentable {
        /// Which field.
        detail: String,
    },
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::UnsupportedVersion { detail }
            | ProtocolError::TooLarge { detail }
            | ProtocolError::Malformed { detail }
            | ProtocolError::NotRepresentable { detail } => f.write_str(detail),
        }
    }
}

impl std::error::Error for ProtocolError {}

impl From<WireError> for ProtocolError {
    fn from(error: WireError) -> ProtocolError {
        let detail = format!("{error:?}");
        match error {
            WireError::TooManyElements => ProtocolError::TooLarge { detail },
            WireError::Truncated
            | WireError::NegativeLength
            | WireError::UnexpectedNull
            | WireError::NotUtf8
            | WireError::BadVarint
            | WireError::BadTaggedField => ProtocolError::Malformed { detail },
        }
    }
}

impl From<DecodeError> for ProtocolError {
    fn from(error: DecodeError) -> ProtocolError {
        let detail = error.to_string();
        match error {
            DecodeError::UnsupportedVersion { .. } => ProtocolError::UnsupportedVersion { detail },
            DecodeError::LimitExceeded { .. } => ProtocolError::TooLarge { detail },
            _ => ProtocolError::Malformed { detail },
        }
    }
}

/// Reads a request's body, within the bounds of its API.
pub fn decode<R: KafkaRequest>(body: Bytes, version: i16) -> Result<R, ProtocolError> {
    let limits = match ApiKey::from_code(R::API_KEY.value()) {
        Some(api) => request_limits(api),
        None => limits(REQUEST_SMALL_BYTES_MAX, REQUEST_SMALL_BYTES_MAX),
    };
    decode_within(body, version, limits)
}

/// Reads a response's body: for clients, which trust their broker further than it trusts them.
pub fn decode_response<R: KafkaResponse>(body: Bytes, version: i16) -> Result<R, ProtocolError> {
    let mut limits = limits(RESPONSE_BYTES_MAX, RESPONSE_BYTES_MAX);
    limits.max_array_elements = RESPONSE_ELEMENTS_MAX;
    decode_within(body, version, limits)
}

pub(super) fn decode_within<M: KafkaMessage>(
    body: Bytes,
    version: i16,
    limits: DecodeLimits,
) -> Result<M, ProtocolError> {
    let mut decoder = Decoder::new(body, limits)?;
    Ok(M::decode(&mut decoder, ApiVersion::new(version))?)
}

/// Writes a message's body.
pub fn encode<M: KafkaMessage>(message: &M, version: i16) -> Result<Bytes, ProtocolError> {
    message
        .encode_to_bytes(ApiVersion::new(version))
        .map_err(|error| ProtocolError::NotRepresentable {
            detail: error.to_string(),
        })
}

/// Writes a whole request: size, header, body. For clients.
pub fn encode_request<R: KafkaRequest>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<Bytes, ProtocolError> {
    let mut frame = BytesMut::new();
    let client_id = Some(client_id.clone());
    let frame_limits = OutboundFrameLimits::new(i32::MAX as usize);
    let version = ApiVersion::new(version);
    kafka_wire::encode_request(
        &mut frame,
        correlation_id,
        client_id,
        request,
        version,
        frame_limits,
    )
    .map_err(|error| ProtocolError::NotRepresentable {
        detail: error.to_string(),
    })?;
    Ok(frame.freeze())
}

/// Reads the subscription that a consumer joins a group with: the metadata of its JoinGroup.
pub fn decode_subscription(metadata: Bytes) -> Result<ConsumerProtocolSubscription, ProtocolError> {
    let bounds = limits(REQUEST_LARGE_BYTES_MAX, REQUEST_LARGE_BYTES_MAX);
    Ok(kafka_wire::decode_consumer_protocol_subscription(metadata, bounds)?.1)
}

/// Writes the subscription that a consumer joins a group with.
pub fn encode_subscription(
    subscription: &ConsumerProtocolSubscription,
) -> Result<Bytes, ProtocolError> {
    let mut bytes = BytesMut::new();
    let version = ApiVersion::new(CONSUMER_PROTOCOL_VERSION);
    kafka_wire::encode_consumer_protocol_subscription(&mut bytes, subscription, version).map_err(
        |error| ProtocolError::NotRepresentable {
            detail: error.to_string(),
        },
    )?;
    Ok(bytes.freeze())
}

/// Reads the partitions that a leader assigned to a consumer: the assignment of its SyncGroup.
pub fn decode_assignment(assignment: Bytes) -> Result<ConsumerProtocolAssignment, ProtocolError> {
    let bounds = limits(REQUEST_LARGE_BYTES_MAX, REQUEST_LARGE_BYTES_MAX);
    Ok(kafka_wire::decode_consumer_protocol_assignment(assignment, bounds)?.1)
}

/// Writes the partitions that a leader assigns to a consumer.
pub fn encode_assignment(assignment: &ConsumerProtocolAssignment) -> Result<Bytes, ProtocolError> {
    let mut bytes = BytesMut::new();
    let version = ApiVersion::new(CONSUMER_PROTOCOL_VERSION);
    kafka_wire::encode_consumer_protocol_assignment(&mut bytes, assignment, version).map_err(
        |error| ProtocolError::NotRepresentable {
            detail: error.to_string(),
        },
    )?;
    Ok(bytes.freeze())
}

/// The version of subscriptions and assignments that are written: what every consumer reads.
const CONSUMER_PROTOCOL_VERSION: i16 = 1;

/// The bounds of an API's request.
fn request_limits(api: ApiKey) -> DecodeLimits {
    match api {
        // A handful of ids, or a batch of them.
        ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::FindCoordinator
        | ApiKey::ListGroups
        | ApiKey::ApiVersions
        | ApiKey::InitProducerId
        | ApiKey::DescribeGroups
        | ApiKey::DeleteGroups
        | ApiKey::DescribeCluster => limits(REQUEST_SMALL_BYTES_MAX, 0),
        // Settings of topics, topics of groups.
        ApiKey::OffsetFetch
        | ApiKey::CreateTopics
        | ApiKey::DescribeConfigs
        | ApiKey::AlterConfigs
        | ApiKey::CreatePartitions
        | ApiKey::IncrementalAlterConfigs => limits(REQUEST_NESTED_BYTES_MAX, 0),
        // Names of topics with a few numbers each.
        ApiKey::ListOffsets
        | ApiKey::Metadata
        | ApiKey::DeleteTopics
        | ApiKey::DeleteRecords
        | ApiKey::OffsetForLeaderEpoch
        | ApiKey::DescribeLogDirs
        | ApiKey::OffsetDelete
        | ApiKey::DescribeProducers
        | ApiKey::DescribeTopicPartitions => limits(REQUEST_MEDIUM_BYTES_MAX, 0),
        // Every partition of a group with the metadata of its commit, or opaque bytes per member.
        ApiKey::OffsetCommit | ApiKey::JoinGroup | ApiKey::SyncGroup => {
            limits(REQUEST_LARGE_BYTES_MAX, REQUEST_LARGE_BYTES_MAX)
        }
        // Written by hand; the broker never decodes them here.
        ApiKey::Produce | ApiKey::Fetch => limits(RESPONSE_BYTES_MAX, RESPONSE_BYTES_MAX),
    }
}

fn limits(message_bytes_max: usize, field_bytes_max: usize) -> DecodeLimits {
    let mut limits = DecodeLimits::default();
    limits.max_frame_bytes = message_bytes_max;
    limits.max_string_bytes = REQUEST_STRING_BYTES_MAX;
    limits.max_bytes_bytes = field_bytes_max;
    limits.max_array_elements = REQUEST_ELEMENTS_MAX;
    limits.max_tagged_fields = TAGGED_FIELDS_MAX;
    limits.max_tag_bytes = TAGGED_FIELD_BYTES_MAX;
    limits.max_total_tag_bytes = TAGGED_FIELD_BYTES_MAX;
    limits
}
