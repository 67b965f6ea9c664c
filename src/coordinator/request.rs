//! What the handlers ask of a coordinator and what it answers: own structures, free of versions.
//!
//! A handler translates each version of the wire's messages to these and back; a field that a
//! version lacks has here the value that Kafka gives it.

use std::sync::Arc;

use bytes::Bytes;

use super::group::GroupState;

/// Why a group request is refused. The names are Kafka's; `handlers` maps each to its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupError {
    /// COORDINATOR_LOAD_IN_PROGRESS: the partition's records are still being replayed.
    LoadInProgress,
    /// COORDINATOR_NOT_AVAILABLE: a bound of the coordinator is reached; try again later.
    NotAvailable,
    /// NOT_COORDINATOR: this coordinator was closed, or its log failed.
    NotCoordinator,
    /// INVALID_GROUP_ID: empty, or longer than Kafka's strings may be.
    InvalidGroupId,
    /// INVALID_REQUEST: a string is longer than Kafka's strings may be.
    InvalidRequest,
    /// INVALID_SESSION_TIMEOUT: outside `group.min.session.timeout.ms` and its maximum.
    InvalidSessionTimeout,
    /// INCONSISTENT_GROUP_PROTOCOL: no protocol in common, or another protocol type.
    InconsistentProtocol,
    /// UNKNOWN_MEMBER_ID.
    UnknownMember,
    /// MEMBER_ID_REQUIRED: join again with the id that the response carries.
    MemberIdRequired,
    /// FENCED_INSTANCE_ID: another member has taken over the static instance.
    FencedInstance,
    /// GROUP_MAX_SIZE_REACHED.
    GroupMaxSize,
    /// ILLEGAL_GENERATION.
    IllegalGeneration,
    /// REBALANCE_IN_PROGRESS.
    RebalanceInProgress,
    /// NON_EMPTY_GROUP: the group has members.
    NonEmptyGroup,
    /// GROUP_ID_NOT_FOUND.
    GroupIdNotFound,
    /// GROUP_SUBSCRIBED_TO_TOPIC.
    SubscribedToTopic,
    /// OFFSET_METADATA_TOO_LARGE.
    MetadataTooLarge,
    /// UNKNOWN_SERVER_ERROR: a record would exceed what one append may carry.
    RecordTooLarge,
}

/// A request with everything in it that the coordinator needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// JoinGroup.
    Join(JoinRequest),
    /// SyncGroup.
    Sync(SyncRequest),
    /// Heartbeat.
    Heartbeat(HeartbeatRequest),
    /// LeaveGroup.
    Leave(LeaveRequest),
    /// OffsetCommit.
    Commit(CommitRequest),
    /// OffsetFetch, for one group.
    Fetch(FetchRequest),
    /// OffsetDelete.
    DeleteOffsets(DeleteOffsetsRequest),
    /// DescribeGroups, for one group.
    Describe(DescribeRequest),
    /// ListGroups, for this coordinator's groups.
    List(ListRequest),
    /// DeleteGroups, for one group.
    DeleteGroup(DeleteGroupRequest),
}

/// The answer to a request; its variant is that of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// JoinGroup.
    Join(JoinResponse),
    /// SyncGroup.
    Sync(SyncResponse),
    /// Heartbeat.
    Heartbeat(Result<(), GroupError>),
    /// LeaveGroup: one result per member of the request, in its order.
    Leave(Result<Vec<LeftMember>, GroupError>),
    /// OffsetCommit: one result per partition, in the order of the request.
    Commit(Vec<TopicOutcome>),
    /// OffsetFetch.
    Fetch(Result<Vec<FetchedTopic>, GroupError>),
    /// OffsetDelete.
    DeleteOffsets(Result<Vec<TopicOutcome>, GroupError>),
    /// DescribeGroups.
    Describe(Result<DescribedGroup, GroupError>),
    /// ListGroups.
    List(Result<Vec<ListedGroup>, GroupError>),
    /// DeleteGroups.
    DeleteGroup(Result<(), GroupError>),
}

/// JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group_id: String,
    /// Empty for a member that has no id yet.
    pub member_id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub group_instance_id: Option<String>,
    /// The client id of the request's header.
    pub client_id: String,
    /// The client's address, in Java's form with a leading slash.
    pub client_host: String,
    /// How long the member may be silent.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for the member; the session timeout in version 0.
    pub rebalance_timeout_ms: i32,
    /// "consumer", "connect", "sr" or whatever the client's protocol is called; opaque.
    pub protocol_type: String,
    /// Protocols that the member supports, the preferred one first, with opaque metadata.
    pub protocols: Vec<(String, Bytes)>,
    /// Whether a member without id must come back with the one it is given (KIP-394, version 4).
    pub requires_known_member_id: bool,
    /// Whether a leader understands being told to skip the assignment (KIP-814, version 9).
    pub supports_skip_assignment: bool,
    /// Chance for a new member id: the state machine has none of its own.
    pub fresh_uuid: [u8; 16],
}

/// The answer to JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinResponse {
    /// Why the member is not in the generation.
    pub error: Option<GroupError>,
    /// The generation, or -1.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The protocol that was chosen.
    pub protocol_name: Option<String>,
    /// The leader's member id, or empty.
    pub leader: String,
    /// Whether the leader must not assign anew.
    pub skip_assignment: bool,
    /// The member's id.
    pub member_id: String,
    /// Everyone's metadata, for the leader alone.
    pub members: Vec<JoinedMember>,
}

impl JoinResponse {
    pub(super) fn failed(error: GroupError, member_id: &str) -> JoinResponse {
        JoinResponse {
            error: Some(error),
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member's id.
    pub member_id: String,
    /// Its static instance.
    pub group_instance_id: Option<String>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The group.
    pub group_id: String,
    /// The generation that the member joined.
    pub generation: i32,
    /// The member.
    pub member_id: String,
    /// Its static instance.
    pub group_instance_id: Option<String>,
    /// The protocol type that the member believes in, from version 5.
    pub protocol_type: Option<String>,
    /// The protocol that the member believes in, from version 5.
    pub protocol_name: Option<String>,
    /// The leader's assignments, by member id; opaque.
    pub assignments: Vec<(String, Bytes)>,
}

/// The answer to SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncResponse {
    /// Why there is no assignment.
    pub error: Option<GroupError>,
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The group's protocol.
    pub protocol_name: Option<String>,
    /// The member's assignment; empty if the leader gave it none.
    pub assignment: Bytes,
}

impl SyncResponse {
    pub(super) fn failed(error: GroupError) -> SyncResponse {
        SyncResponse {
            error: Some(error),
            protocol_type: None,
            protocol_name: None,
            assignment: Bytes::new(),
        }
    }
}

/// Heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatRequest {
    /// The group.
    pub group_id: String,
    /// The generation that the member is in.
    pub generation: i32,
    /// The member.
    pub member_id: String,
    /// Its static instance.
    pub group_instance_id: Option<String>,
}

/// LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveRequest {
    /// The group.
    pub group_id: String,
    /// Who leaves; versions 0 to 2 carry exactly one.
    pub members: Vec<LeavingMember>,
}

/// One member of a LeaveGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// The member; empty where an administrator removes a static instance.
    pub member_id: String,
    /// The static instance.
    pub group_instance_id: Option<String>,
}

/// One member of a LeaveGroup response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftMember {
    /// As in the request.
    pub member: LeavingMember,
    /// Why it was not removed.
    pub error: Option<GroupError>,
}

/// OffsetCommit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRequest {
    /// The group; may be empty, as old clients send it.
    pub group_id: String,
    /// The generation, or -1 for a consumer that is in no group.
    pub generation: i32,
    /// The member, or empty.
    pub member_id: String,
    /// Its static instance.
    pub group_instance_id: Option<String>,
    /// How long to keep the offsets, of versions 2 to 4; `None` for the broker's retention.
    pub retention_ms: Option<i64>,
    /// Whether an unknown group is GROUP_ID_NOT_FOUND, as from version 9, or
    /// ILLEGAL_GENERATION.
    pub reports_unknown_group: bool,
    /// What to commit.
    pub topics: Vec<(String, Vec<CommitPartition>)>,
}

/// One partition of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition's index.
    pub index: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read, or -1.
    pub leader_epoch: i32,
    /// The consumer's own words; null is stored as empty.
    pub metadata: Option<String>,
}

/// Per topic of a request, per partition: done, or why not.
pub type TopicOutcome = (String, Vec<(i32, Option<GroupError>)>);

/// OffsetFetch, for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// The group.
    pub group_id: String,
    /// The partitions, or `None` for all that have offsets.
    pub topics: Option<Vec<(String, Vec<i32>)>>,
}

/// A topic of an OffsetFetch answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic.
    pub name: String,
    /// Per partition its committed offset, if it has one.
    pub partitions: Vec<(i32, Option<CommittedOffset>)>,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch that was committed, or -1.
    pub leader_epoch: i32,
    /// The consumer's own words.
    pub metadata: Arc<str>,
}

/// OffsetDelete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsetsRequest {
    /// The group.
    pub group_id: String,
    /// The partitions.
    pub topics: Vec<(String, Vec<i32>)>,
}

/// DescribeGroups, for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeRequest {
    /// The group.
    pub group_id: String,
}

/// A group as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// The group's state.
    pub state: GroupState,
    /// The protocol type, or empty.
    pub protocol_type: String,
    /// The protocol, or empty; known while the group is stable.
    pub protocol_name: String,
    /// The members.
    pub members: Vec<DescribedMember>,
}

/// A member as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// The member's id.
    pub member_id: String,
    /// Its static instance.
    pub group_instance_id: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// Its address.
    pub client_host: String,
    /// Its metadata; empty while the group is not stable.
    pub metadata: Bytes,
    /// Its assignment; empty while the group is not stable.
    pub assignment: Bytes,
}

/// ListGroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// States to list, in any case; empty lists all.
    pub states: Vec<String>,
    /// Types to list, in any case; empty lists all. Every group here is "classic".
    pub types: Vec<String>,
}

/// A group as ListGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group_id: String,
    /// The protocol type, or empty.
    pub protocol_type: String,
    /// The group's state.
    pub state: GroupState,
}

/// DeleteGroups, for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteGroupRequest {
    /// The group.
    pub group_id: String,
}
