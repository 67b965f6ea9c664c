//! The structures of the APIs that are not written by hand, and the one place that names the
//! crate they come from.
//!
//! Each request and response stands here under Kafka's name, its nested structures in the module
//! of the same name: `MetadataResponse`, `metadata_response::MetadataResponseTopic`. They may
//! grow with a newer Kafka, so they are built from `Default` and then assigned. Strings and bytes
//! are slices of the request; what outlives it should be copied.
//!
//! # What a version cannot say
//!
//! Most fields that a version lacks are left out when it is written. These are refused as
//! `ProtocolError::NotRepresentable` unless they have their default, so a handler looks at the
//! version before it sets them:
//!
//! | response | field | only in versions |
//! |---|---|---|
//! | ListOffsets | `leader_epoch` other than -1 | 4 and later |
//! | Metadata | a topic's `name` null | 12 and later |
//! | Metadata | `topic_authorized_operations` | 8 and later |
//! | Metadata | `cluster_authorized_operations` | 8 to 10 |
//! | OffsetFetch | `topics` | up to 7; `groups` from 8 on |
//! | FindCoordinator | `error_code`, `node_id`, `host`, `port` | up to 3; then `coordinators` |
//! | JoinGroup | `protocol_name` null | 7 and later |
//! | JoinGroup | `skip_assignment` | 9 |
//! | LeaveGroup | `members` | 3 and later |
//! | DescribeGroups | `error_message` | 6 |
//! | DescribeGroups | `authorized_operations` | 3 and later |
//! | DeleteTopics | `name` null | 6 |
//! | DescribeCluster | `endpoint_type` other than 1; `is_fenced` | 1 and later; 2 |
//!
//! Produce, Fetch and ApiVersions are here for clients only, as modules; a broker uses the rooms'
//! own `produce`, `fetch` and `api_versions`.

use crate::model::TopicId;

pub use kafka_wire::{
    AlterConfigsRequest, AlterConfigsResponse, ConsumerProtocolAssignment,
    ConsumerProtocolSubscription, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, DeleteGroupsRequest, DeleteGroupsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, DescribeGroupsRequest, DescribeGroupsResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, InitProducerIdRequest, InitProducerIdResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, SyncGroupRequest, SyncGroupResponse,
};
pub use kafka_wire::{KafkaMessage, KafkaRequest, KafkaResponse, RequestResponsePair};
pub use kafka_wire::{
    alter_configs_request, alter_configs_response, api_versions_request, api_versions_response,
    consumer_protocol_assignment, consumer_protocol_subscription, create_partitions_request,
    create_partitions_response, create_topics_request, create_topics_response,
    delete_groups_request, delete_groups_response, delete_records_request, delete_records_response,
    delete_topics_request, delete_topics_response, describe_cluster_request,
    describe_cluster_response, describe_configs_request, describe_configs_response,
    describe_groups_request, describe_groups_response, describe_log_dirs_request,
    describe_log_dirs_response, describe_producers_request, describe_producers_response,
    describe_topic_partitions_request, describe_topic_partitions_response, fetch_request,
    fetch_response, find_coordinator_request, find_coordinator_response, heartbeat_request,
    heartbeat_response, incremental_alter_configs_request, incremental_alter_configs_response,
    init_producer_id_request, init_producer_id_response, join_group_request, join_group_response,
    leave_group_request, leave_group_response, list_groups_request, list_groups_response,
    list_offsets_request, list_offsets_response, metadata_request, metadata_response,
    offset_commit_request, offset_commit_response, offset_delete_request, offset_delete_response,
    offset_fetch_request, offset_fetch_response, offset_for_leader_epoch_request,
    offset_for_leader_epoch_response, produce_request, produce_response, sync_group_request,
    sync_group_response,
};
pub use kafka_wire_core::{StrBytes, Uuid};

impl From<Uuid> for TopicId {
    fn from(id: Uuid) -> TopicId {
        TopicId(id.to_bytes())
    }
}

impl From<TopicId> for Uuid {
    fn from(id: TopicId) -> Uuid {
        Uuid::from_bytes(id.0)
    }
}
