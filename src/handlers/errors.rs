//! The one mapping from the rooms' errors to Kafka's codes.

use crate::controller::RefusedReason;
use crate::coordinator::GroupError;
use crate::frame::BatchError;
use crate::partition::{AppendRefused, OffsetsError, ReadRefused};
use crate::protocol::ErrorCode;
use crate::shard::{FetchError, OffsetsRefused, ProduceError, ShardError};

pub(super) fn of_shard(error: ShardError) -> ErrorCode {
    match error {
        ShardError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        ShardError::Offline => ErrorCode::KafkaStorageError,
    }
}

pub(super) fn of_produce(error: &ProduceError) -> ErrorCode {
    match error {
        ProduceError::Shard(error) => of_shard(*error),
        ProduceError::Batch(error) => of_batch(error),
        ProduceError::Refused(AppendRefused::StaleProducerEpoch) => ErrorCode::InvalidProducerEpoch,
        ProduceError::Refused(AppendRefused::OutOfOrderSequence) => {
            ErrorCode::OutOfOrderSequenceNumber
        }
        ProduceError::Refused(AppendRefused::Storage) => ErrorCode::KafkaStorageError,
        ProduceError::Refused(AppendRefused::TooLarge) => ErrorCode::RecordListTooLarge,
        // Clients try again after it.
        ProduceError::Refused(AppendRefused::Busy) => ErrorCode::RequestTimedOut,
    }
}

fn of_batch(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Length | BatchError::Rubbish | BatchError::UnknownMagic | BatchError::Crc => {
            ErrorCode::CorruptMessage
        }
        BatchError::TooLarge => ErrorCode::MessageTooLarge,
        BatchError::Codec => ErrorCode::UnsupportedCompressionType,
        BatchError::Truncated
        | BatchError::Trailing
        | BatchError::Magic
        | BatchError::BaseOffset
        | BatchError::Counts
        | BatchError::Control
        | BatchError::Sequence
        | BatchError::Record(_)
        | BatchError::RecordsRemain
        | BatchError::Decompress
        | BatchError::DecompressedTooLarge => ErrorCode::InvalidRecord,
        BatchError::Records(errors) => {
            if errors.iter().any(|error| error.reason.is_timestamp()) {
                ErrorCode::InvalidTimestamp
            } else {
                ErrorCode::InvalidRecord
            }
        }
    }
}

pub(super) fn of_read(error: ReadRefused) -> ErrorCode {
    match error {
        ReadRefused::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadRefused::FencedEpoch => ErrorCode::FencedLeaderEpoch,
        ReadRefused::UnknownEpoch => ErrorCode::UnknownLeaderEpoch,
        ReadRefused::Storage => ErrorCode::KafkaStorageError,
        ReadRefused::Corrupt => ErrorCode::CorruptMessage,
    }
}

pub(super) fn of_fetch(error: FetchError) -> ErrorCode {
    match error {
        FetchError::Shard(error) => of_shard(error),
        FetchError::Refused(error) => of_read(error),
    }
}

pub(super) fn of_offsets(error: OffsetsRefused) -> ErrorCode {
    match error {
        OffsetsRefused::Shard(error) => of_shard(error),
        OffsetsRefused::Epoch(error) => of_read(error),
        OffsetsRefused::Offsets(OffsetsError::OutOfRange) => ErrorCode::OffsetOutOfRange,
        OffsetsRefused::Offsets(OffsetsError::Storage) => ErrorCode::KafkaStorageError,
        OffsetsRefused::Offsets(OffsetsError::Corrupt) => ErrorCode::CorruptMessage,
    }
}

pub(super) fn of_refused(reason: RefusedReason) -> ErrorCode {
    match reason {
        RefusedReason::TopicName => ErrorCode::InvalidTopicException,
        RefusedReason::TopicExists => ErrorCode::TopicAlreadyExists,
        RefusedReason::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
        RefusedReason::UnknownTopicId => ErrorCode::UnknownTopicId,
        RefusedReason::Partitions => ErrorCode::InvalidPartitions,
        RefusedReason::ReplicationFactor => ErrorCode::InvalidReplicationFactor,
        RefusedReason::Assignment => ErrorCode::InvalidReplicaAssignment,
        RefusedReason::Config => ErrorCode::InvalidConfig,
        RefusedReason::Request => ErrorCode::InvalidRequest,
        RefusedReason::TooManyPartitions => ErrorCode::PolicyViolation,
        RefusedReason::DeletionDisabled => ErrorCode::TopicDeletionDisabled,
        RefusedReason::Storage => ErrorCode::KafkaStorageError,
    }
}

pub(super) fn of_group(error: GroupError) -> ErrorCode {
    match error {
        GroupError::LoadInProgress => ErrorCode::CoordinatorLoadInProgress,
        GroupError::NotAvailable => ErrorCode::CoordinatorNotAvailable,
        GroupError::NotCoordinator => ErrorCode::NotCoordinator,
        GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
        GroupError::InvalidRequest => ErrorCode::InvalidRequest,
        GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        GroupError::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
        GroupError::UnknownMember => ErrorCode::UnknownMemberId,
        GroupError::MemberIdRequired => ErrorCode::MemberIdRequired,
        GroupError::FencedInstance => ErrorCode::FencedInstanceId,
        GroupError::GroupMaxSize => ErrorCode::GroupMaxSizeReached,
        GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
        GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupError::NonEmptyGroup => ErrorCode::NonEmptyGroup,
        GroupError::GroupIdNotFound => ErrorCode::GroupIdNotFound,
        GroupError::SubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        GroupError::MetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
        GroupError::RecordTooLarge => ErrorCode::UnknownServerError,
    }
}
