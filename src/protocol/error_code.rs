//! Every error code of Kafka's protocol, as a closed enum.
//!
//! Source: Apache Kafka 4.1, "Error Codes". The number travels; name and retriability are
//! Kafka's, the messages are ours. Rooms below `handlers` have their own small error enums; only
//! `handlers` maps those to these.

use std::fmt;

macro_rules! error_codes {
    ($($variant:ident = $code:literal, $name:literal, $retriable:literal, $message:literal;)*) => {
        /// An error code of Kafka's protocol; `None` is success.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $message] $variant = $code,)*
        }

        impl ErrorCode {
            /// Every code, in the order of their numbers.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The error of a number; `None` if Kafka gives that number no meaning yet.
            pub fn from_code(code: i16) -> Option<ErrorCode> {
                match code {
                    $($code => Some(ErrorCode::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name, as in `UNKNOWN_TOPIC_OR_PARTITION`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $name,)*
                }
            }

            /// Whether a client may send the same request again and hope.
            pub fn is_retriable(self) -> bool {
                match self {
                    $(ErrorCode::$variant => $retriable,)*
                }
            }

            /// What it means, in one sentence.
            pub fn message(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $message,)*
                }
            }
        }
    };
}

#[rustfmt::skip]
error_codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", false,
        "The broker failed in a way that it has no code for; its log says more.";
    None = 0, "NONE", false,
        "No error.";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", false,
        "The offset is below the log's start or beyond its end.";
    CorruptMessage = 2, "CORRUPT_MESSAGE", true,
        "A batch is damaged: checksum, length or layout do not fit.";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", true,
        "This broker hosts no such topic or partition.";
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", false,
        "The fetch size that was asked for is not valid.";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", true,
        "The partition has no leader at the moment.";
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", true,
        "This broker does not lead the partition, or holds no replica of it.";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", true,
        "The request was not finished within its timeout.";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", false,
        "The broker that is needed is not available.";
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", true,
        "The replica that is needed is not available.";
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", false,
        "A batch is larger than the topic's max.message.bytes.";
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", false,
        "The request comes from a controller that has been replaced.";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", false,
        "The metadata string of an offset commit is too long.";
    NetworkException = 13, "NETWORK_EXCEPTION", true,
        "The connection was lost before the answer arrived.";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", true,
        "The coordinator is still reading its state from the log.";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", true,
        "The coordinator is not available.";
    NotCoordinator = 16, "NOT_COORDINATOR", true,
        "This broker is not the coordinator of that key.";
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", false,
        "The name is not a legal topic name, or the topic may not be used like this.";
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", false,
        "A batch is larger than the topic's segment.bytes.";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", true,
        "Fewer replicas are in sync than min.insync.replicas asks for.";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", true,
        "The batch was written, but fewer replicas were in sync than required.";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", false,
        "acks must be 0, 1 or -1.";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", false,
        "The generation is not the group's current one.";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", false,
        "The member's protocols have nothing in common with the group's.";
    InvalidGroupId = 24, "INVALID_GROUP_ID", false,
        "The group id is not valid.";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", false,
        "The group has no such member.";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", false,
        "The session timeout is outside the range that the broker allows.";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", false,
        "The group is rebalancing; the member must join again.";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", false,
        "The offset commit is larger than the broker takes.";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", false,
        "The principal may not do this to the topic.";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", false,
        "The principal may not do this to the group.";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", false,
        "The principal may not do this to the cluster.";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", false,
        "A record's timestamp is outside the range that the topic allows.";
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", false,
        "The broker does not offer that SASL mechanism.";
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", false,
        "The request does not fit the state of the authentication.";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", false,
        "The broker does not serve that version of the API.";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", false,
        "A topic of that name exists already.";
    InvalidPartitions = 37, "INVALID_PARTITIONS", false,
        "The number of partitions is not valid.";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", false,
        "The replication factor is below 1 or above the number of brokers.";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", false,
        "The assignment of replicas to brokers is not valid.";
    InvalidConfig = 40, "INVALID_CONFIG", false,
        "A configuration key or value is not valid.";
    NotController = 41, "NOT_CONTROLLER", true,
        "This broker is not the controller.";
    InvalidRequest = 42, "INVALID_REQUEST", false,
        "The request contradicts itself or the protocol.";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", false,
        "The format of the stored messages does not support the request.";
    PolicyViolation = 44, "POLICY_VIOLATION", false,
        "The request breaks a policy of the cluster.";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", false,
        "The producer's sequence number leaves a gap or goes back.";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", false,
        "The producer's sequence number was used before.";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", false,
        "The producer's epoch is older than the one in use.";
    InvalidTxnState = 48, "INVALID_TXN_STATE", false,
        "The transaction's state does not allow the operation.";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", false,
        "The producer id does not belong to that transactional id.";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", false,
        "The transaction timeout is above transaction.max.timeout.ms.";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", true,
        "Another operation on the same transaction is under way.";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", false,
        "The transaction's coordinator has been replaced.";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false,
        "The principal may not use the transactional id.";
    SecurityDisabled = 54, "SECURITY_DISABLED", false,
        "Security features are switched off.";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", false,
        "Another part of the request failed, so this part was not tried.";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", true,
        "The disk failed or is full.";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", false,
        "The broker has no such log directory.";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", false,
        "The credentials were refused.";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", false,
        "The broker no longer knows the producer id.";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", false,
        "A reassignment of the partition is under way.";
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", false,
        "Delegation tokens are switched off.";
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", false,
        "The broker has no such delegation token.";
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", false,
        "The principal neither owns nor may renew the token.";
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", false,
        "Delegation tokens may not be requested over this connection.";
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", false,
        "The principal may not use delegation tokens like this.";
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", false,
        "The delegation token has expired.";
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", false,
        "The type of the principal is not supported.";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", false,
        "The group still has members.";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", false,
        "There is no such group.";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", true,
        "The broker has dropped the fetch session.";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", true,
        "The epoch does not follow the fetch session's last one.";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", true,
        "The leader has no listener of the name that the request came in on.";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", false,
        "Topics may not be deleted here.";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", true,
        "The leader epoch of the request is older than the broker's.";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", true,
        "The leader epoch of the request is newer than the broker's.";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", false,
        "The request's version is too old for that compression.";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", false,
        "The broker's epoch has changed.";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", true,
        "The new leader cannot vouch for offsets yet.";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", false,
        "The member must join again with the id that it was given.";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", true,
        "The preferred leader is not available.";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", false,
        "The group has as many members as it may have.";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", false,
        "Another member has taken over the group instance id.";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", true,
        "No replica that may lead is available.";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", true,
        "The partition needs no election.";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", false,
        "No reassignment of the partition is under way.";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", false,
        "The group still consumes the topic.";
    InvalidRecord = 87, "INVALID_RECORD", false,
        "A record does not pass the broker's checks.";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", true,
        "An offset is still part of an open transaction.";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", true,
        "The request goes beyond a quota; try again later.";
    ProducerFenced = 90, "PRODUCER_FENCED", false,
        "A newer producer with the same transactional id has taken over.";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", false,
        "The request names a resource that does not exist.";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", false,
        "The request names the same resource twice.";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", false,
        "The credential does not meet the rules.";
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", false,
        "Sender or receiver is not one of the voters.";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", false,
        "The version of the update is not valid.";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", false,
        "The finalized features could not be updated.";
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", false,
        "A forwarded principal could not be read.";
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", false,
        "There is no such snapshot.";
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", false,
        "The position is outside the snapshot.";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", true,
        "This broker hosts no topic of that id.";
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", false,
        "Another broker uses that node id.";
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", false,
        "No broker of that node id is registered.";
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", true,
        "The topic id is not the one of the log.";
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", false,
        "The cluster id is another cluster's.";
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", false,
        "There is no such transactional id.";
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", true,
        "The fetch session mixes topic ids and topic names.";
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", false,
        "A replica of the proposed in-sync set may not be in it.";
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", false,
        "The change took effect, but another broker leads now.";
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", false,
        "The offset is only in tiered storage.";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", false,
        "The member's epoch is fenced; it must give up its partitions and join again.";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", false,
        "Another member still holds the group instance id.";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", false,
        "The group does not support that assignor.";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", false,
        "The member's epoch is behind; it must heartbeat first.";
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", false,
        "The request came to an endpoint of the wrong type.";
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", false,
        "That type of endpoint is not supported.";
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", false,
        "No controller has that id.";
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", false,
        "The telemetry subscription is unknown or outdated.";
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", false,
        "The telemetry payload is larger than the broker takes.";
    InvalidRegistration = 119, "INVALID_REGISTRATION", false,
        "The broker's registration is not valid.";
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", false,
        "The transaction failed; abort it to go on.";
    InvalidRecordState = 121, "INVALID_RECORD_STATE", false,
        "The record's state does not allow the acknowledgement.";
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", true,
        "The broker has dropped the share session.";
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", true,
        "The epoch does not follow the share session's last one.";
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", false,
        "The share group's state epoch does not match.";
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", false,
        "The voter key is not the receiving replica's.";
    DuplicateVoter = 126, "DUPLICATE_VOTER", false,
        "The voter is in the set already.";
    VoterNotFound = 127, "VOTER_NOT_FOUND", false,
        "The voter is not in the set.";
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", false,
        "The regular expression is not valid.";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", false,
        "The client's metadata is too old; it must bootstrap again.";
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", false,
        "The streams topology is not valid.";
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", false,
        "The streams topology's epoch is not valid.";
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", false,
        "The streams topology's epoch is outdated.";
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", true,
        "The broker holds as many share sessions as it may.";
}

impl ErrorCode {
    /// The number that travels.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Whether this is the absence of an error.
    pub fn is_none(self) -> bool {
        self == ErrorCode::None
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_gap_and_lead_back_to_their_code() {
        let numbers: Vec<i16> = ErrorCode::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(numbers, (-1..=133).collect::<Vec<i16>>());
        for &error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), Some(error));
        }
        assert_eq!(ErrorCode::from_code(134), None);
        assert_eq!(ErrorCode::from_code(-2), None);
    }

    #[test]
    fn names_and_retriability_are_those_that_clients_know() {
        use kafka_protocol::error::ResponseError;
        // Kafka made this one retriable after the table that the other crate was written from.
        let newer = [ErrorCode::ConcurrentTransactions];
        for &error in ErrorCode::ALL {
            let Some(theirs) = ResponseError::try_from_code(error.code()) else {
                assert_eq!(error, ErrorCode::None);
                continue;
            };
            let name: String = error.name().split('_').collect::<String>().to_lowercase();
            assert_eq!(
                name,
                format!("{theirs:?}").to_lowercase(),
                "{}",
                error.code()
            );
            if !newer.contains(&error) {
                assert_eq!(error.is_retriable(), theirs.is_retriable(), "{error}");
            }
        }
    }
}
