//! Which fields each structure has in which versions, so that random ones can be made.
//!
//! Source: Apache Kafka, the message schemas. A field outside its versions keeps its default.

use std::ops::RangeBounds;

use bytes::Bytes;
use corelog::protocol::messages::*;

use crate::random::Random;

/// Makes a random value as a version can express it.
pub(crate) trait Fill {
    fn fill(random: &mut Random, version: i16) -> Self;
}

macro_rules! fill_numbers {
    ($($number:ty),*) => {
        $(impl Fill for $number {
            fn fill(random: &mut Random, _: i16) -> $number {
                match random.below(6) {
                    0 => 0,
                    1 => -1,
                    2 => <$number>::MAX,
                    3 => <$number>::MIN,
                    _ => random.next() as $number,
                }
            }
        })*
    };
}

fill_numbers!(i8, i16, i32, i64);

impl Fill for bool {
    fn fill(random: &mut Random, _: i16) -> bool {
        random.below(2) == 1
    }
}

impl Fill for Uuid {
    fn fill(random: &mut Random, _: i16) -> Uuid {
        Uuid::from_bytes(std::array::from_fn(|_| random.next() as u8))
    }
}

impl Fill for StrBytes {
    fn fill(random: &mut Random, _: i16) -> StrBytes {
        let length = [0, 1, 5, 20, 130][random.below(5)];
        let letters = ['a', 'Z', '0', '.', '-', '_', ' ', '\u{e9}', '\u{1f600}'];
        let text = (0..length).map(|_| letters[random.below(letters.len())]);
        StrBytes::from(text.collect::<String>())
    }
}

impl Fill for Bytes {
    fn fill(random: &mut Random, _: i16) -> Bytes {
        let length = [0, 1, 61, 200][random.below(4)];
        (0..length).map(|_| random.next() as u8).collect()
    }
}

impl<T: Fill> Fill for Option<T> {
    fn fill(random: &mut Random, version: i16) -> Option<T> {
        let is_null = random.has_nulls && random.below(3) == 0;
        (!is_null).then(|| T::fill(random, version))
    }
}

impl<T: Fill> Fill for Vec<T> {
    fn fill(random: &mut Random, version: i16) -> Vec<T> {
        let length = [0, 1, 1, 2, 3][random.below(5)];
        (0..length).map(|_| T::fill(random, version)).collect()
    }
}

macro_rules! fields {
    ($($path:path { $($field:ident: $versions:expr),* $(,)? })*) => {
        $(impl Fill for $path {
            #[allow(unused_variables, unused_mut)]
            fn fill(random: &mut Random, version: i16) -> $path {
                let mut value = <$path>::default();
                $(if RangeBounds::<i16>::contains(&($versions), &version) {
                    value.$field = Fill::fill(random, version);
                })*
                value
            }
        })*
    };
}

#[rustfmt::skip]
fields! {
    produce_request::TopicProduceData { name: ..=12, topic_id: 13.., partition_data: .. }
    produce_request::PartitionProduceData { index: .., records: .. }
    produce_request::ProduceRequest {
        transactional_id: .., acks: .., timeout_ms: .., topic_data: ..,
    }
    produce_response::TopicProduceResponse { name: ..=12, topic_id: 13.., partition_responses: .. }
    produce_response::PartitionProduceResponse {
        index: .., error_code: .., base_offset: .., log_append_time_ms: .., log_start_offset: 5..,
        record_errors: 8.., error_message: 8.., current_leader: 10..,
    }
    produce_response::BatchIndexAndErrorMessage { batch_index: .., batch_index_error_message: .. }
    produce_response::LeaderIdAndEpoch { leader_id: .., leader_epoch: .. }
    produce_response::NodeEndpoint { node_id: .., host: .., port: .., rack: .. }
    produce_response::ProduceResponse { responses: .., throttle_time_ms: .., node_endpoints: 10.. }
    fetch_request::ReplicaState { replica_id: .., replica_epoch: .. }
    fetch_request::FetchTopic { topic: ..=12, topic_id: 13.., partitions: .. }
    fetch_request::FetchPartition {
        partition: .., current_leader_epoch: 9.., fetch_offset: .., last_fetched_epoch: 12..,
        log_start_offset: 5.., partition_max_bytes: .., replica_directory_id: 17..,
        high_watermark: 18..,
    }
    fetch_request::ForgottenTopic { topic: ..=12, topic_id: 13.., partitions: .. }
    fetch_request::FetchRequest {
        cluster_id: 12.., replica_id: ..=14, replica_state: 15.., max_wait_ms: .., min_bytes: ..,
        max_bytes: .., isolation_level: .., session_id: 7.., session_epoch: 7.., topics: ..,
        forgotten_topics_data: 7.., rack_id: 11..,
    }
    fetch_response::FetchableTopicResponse { topic: ..=12, topic_id: 13.., partitions: .. }
    fetch_response::PartitionData {
        partition_index: .., error_code: .., high_watermark: .., last_stable_offset: ..,
        log_start_offset: 5.., diverging_epoch: 12.., current_leader: 12.., snapshot_id: 12..,
        aborted_transactions: .., preferred_read_replica: 11.., records: ..,
    }
    fetch_response::EpochEndOffset { epoch: .., end_offset: .. }
    fetch_response::LeaderIdAndEpoch { leader_id: .., leader_epoch: .. }
    fetch_response::SnapshotId { end_offset: .., epoch: .. }
    fetch_response::AbortedTransaction { producer_id: .., first_offset: .. }
    fetch_response::NodeEndpoint { node_id: .., host: .., port: .., rack: .. }
    fetch_response::FetchResponse {
        throttle_time_ms: .., error_code: 7.., session_id: 7.., responses: .., node_endpoints: 16..,
    }
    list_offsets_request::ListOffsetsTopic { name: .., partitions: .. }
    list_offsets_request::ListOffsetsPartition {
        partition_index: .., current_leader_epoch: 4.., timestamp: ..,
    }
    list_offsets_request::ListOffsetsRequest {
        replica_id: .., isolation_level: 2.., topics: .., timeout_ms: 10..,
    }
    list_offsets_response::ListOffsetsTopicResponse { name: .., partitions: .. }
    list_offsets_response::ListOffsetsPartitionResponse {
        partition_index: .., error_code: .., timestamp: .., offset: .., leader_epoch: 4..,
    }
    list_offsets_response::ListOffsetsResponse { throttle_time_ms: 2.., topics: .. }
    metadata_request::MetadataRequestTopic { topic_id: 10.., name: .. }
    metadata_request::MetadataRequest {
        topics: .., allow_auto_topic_creation: 4.., include_cluster_authorized_operations: 8..=10,
        include_topic_authorized_operations: 8..,
    }
    metadata_response::MetadataResponseBroker { node_id: .., host: .., port: .., rack: 1.. }
    metadata_response::MetadataResponseTopic {
        error_code: .., name: .., topic_id: 10.., is_internal: 1.., partitions: ..,
        topic_authorized_operations: 8..,
    }
    metadata_response::MetadataResponsePartition {
        error_code: .., partition_index: .., leader_id: .., leader_epoch: 7.., replica_nodes: ..,
        isr_nodes: .., offline_replicas: 5..,
    }
    metadata_response::MetadataResponse {
        throttle_time_ms: 3.., brokers: .., cluster_id: 2.., controller_id: 1.., topics: ..,
        cluster_authorized_operations: 8..=10, error_code: 13..,
    }
    offset_commit_request::OffsetCommitRequestTopic { name: ..=9, topic_id: 10.., partitions: .. }
    offset_commit_request::OffsetCommitRequestPartition {
        partition_index: .., committed_offset: .., committed_leader_epoch: 6..,
        committed_metadata: ..,
    }
    offset_commit_request::OffsetCommitRequest {
        group_id: .., generation_id_or_member_epoch: .., member_id: .., group_instance_id: 7..,
        retention_time_ms: ..=4, topics: ..,
    }
    offset_commit_response::OffsetCommitResponseTopic { name: ..=9, topic_id: 10.., partitions: .. }
    offset_commit_response::OffsetCommitResponsePartition { partition_index: .., error_code: .. }
    offset_commit_response::OffsetCommitResponse { throttle_time_ms: 3.., topics: .. }
    offset_fetch_request::OffsetFetchRequestTopic { name: .., partition_indexes: .. }
    offset_fetch_request::OffsetFetchRequestGroup {
        group_id: .., member_id: 9.., member_epoch: 9.., topics: ..,
    }
    offset_fetch_request::OffsetFetchRequestTopics {
        name: ..=9, topic_id: 10.., partition_indexes: ..,
    }
    offset_fetch_request::OffsetFetchRequest {
        group_id: ..=7, topics: ..=7, groups: 8.., require_stable: 7..,
    }
    offset_fetch_response::OffsetFetchResponseTopic { name: .., partitions: .. }
    offset_fetch_response::OffsetFetchResponsePartition {
        partition_index: .., committed_offset: .., committed_leader_epoch: 5.., metadata: ..,
        error_code: ..,
    }
    offset_fetch_response::OffsetFetchResponseGroup { group_id: .., topics: .., error_code: .. }
    offset_fetch_response::OffsetFetchResponseTopics { name: ..=9, topic_id: 10.., partitions: .. }
    offset_fetch_response::OffsetFetchResponsePartitions {
        partition_index: .., committed_offset: .., committed_leader_epoch: .., metadata: ..,
        error_code: ..,
    }
    offset_fetch_response::OffsetFetchResponse {
        throttle_time_ms: 3.., topics: ..=7, error_code: 2..=7, groups: 8..,
    }
    find_coordinator_request::FindCoordinatorRequest {
        key: ..=3, key_type: 1.., coordinator_keys: 4..,
    }
    find_coordinator_response::Coordinator {
        key: .., node_id: .., host: .., port: .., error_code: .., error_message: ..,
    }
    find_coordinator_response::FindCoordinatorResponse {
        throttle_time_ms: 1.., error_code: ..=3, error_message: 1..=3, node_id: ..=3, host: ..=3,
        port: ..=3, coordinators: 4..,
    }
    join_group_request::JoinGroupRequestProtocol { name: .., metadata: .. }
    join_group_request::JoinGroupRequest {
        group_id: .., session_timeout_ms: .., rebalance_timeout_ms: 1.., member_id: ..,
        group_instance_id: 5.., protocol_type: .., protocols: .., reason: 8..,
    }
    join_group_response::JoinGroupResponseMember {
        member_id: .., group_instance_id: 5.., metadata: ..,
    }
    join_group_response::JoinGroupResponse {
        throttle_time_ms: 2.., error_code: .., generation_id: .., protocol_type: 7..,
        protocol_name: .., leader: .., skip_assignment: 9.., member_id: .., members: ..,
    }
    heartbeat_request::HeartbeatRequest {
        group_id: .., generation_id: .., member_id: .., group_instance_id: 3..,
    }
    heartbeat_response::HeartbeatResponse { throttle_time_ms: 1.., error_code: .. }
    leave_group_request::MemberIdentity { member_id: .., group_instance_id: .., reason: 5.. }
    leave_group_request::LeaveGroupRequest { group_id: .., member_id: ..=2, members: 3.. }
    leave_group_response::MemberResponse { member_id: .., group_instance_id: .., error_code: .. }
    leave_group_response::LeaveGroupResponse { throttle_time_ms: 1.., error_code: .., members: 3.. }
    sync_group_request::SyncGroupRequestAssignment { member_id: .., assignment: .. }
    sync_group_request::SyncGroupRequest {
        group_id: .., generation_id: .., member_id: .., group_instance_id: 3.., protocol_type: 5..,
        protocol_name: 5.., assignments: ..,
    }
    sync_group_response::SyncGroupResponse {
        throttle_time_ms: 1.., error_code: .., protocol_type: 5.., protocol_name: 5..,
        assignment: ..,
    }
    describe_groups_request::DescribeGroupsRequest {
        groups: .., include_authorized_operations: 3..,
    }
    describe_groups_response::DescribedGroup {
        error_code: .., error_message: 6.., group_id: .., group_state: .., protocol_type: ..,
        protocol_data: .., members: .., authorized_operations: 3..,
    }
    describe_groups_response::DescribedGroupMember {
        member_id: .., group_instance_id: 4.., client_id: .., client_host: .., member_metadata: ..,
        member_assignment: ..,
    }
    describe_groups_response::DescribeGroupsResponse { throttle_time_ms: 1.., groups: .. }
    list_groups_request::ListGroupsRequest { states_filter: 4.., types_filter: 5.. }
    list_groups_response::ListedGroup {
        group_id: .., protocol_type: .., group_state: 4.., group_type: 5..,
    }
    list_groups_response::ListGroupsResponse { throttle_time_ms: 1.., error_code: .., groups: .. }
    api_versions_request::ApiVersionsRequest {
        client_software_name: 3.., client_software_version: 3.., cluster_id: 5.., node_id: 5..,
    }
    api_versions_response::ApiVersion { api_key: .., min_version: .., max_version: .. }
    api_versions_response::SupportedFeatureKey { name: .., min_version: .., max_version: .. }
    api_versions_response::FinalizedFeatureKey {
        name: .., max_version_level: .., min_version_level: ..,
    }
    api_versions_response::ApiVersionsResponse {
        error_code: .., api_keys: .., throttle_time_ms: 1.., supported_features: 3..,
        finalized_features_epoch: 3.., finalized_features: 3.., zk_migration_ready: 3..,
    }
    create_topics_request::CreatableTopic {
        name: .., num_partitions: .., replication_factor: .., assignments: .., configs: ..,
    }
    create_topics_request::CreatableReplicaAssignment { partition_index: .., broker_ids: .. }
    create_topics_request::CreatableTopicConfig { name: .., value: .. }
    create_topics_request::CreateTopicsRequest { topics: .., timeout_ms: .., validate_only: .. }
    create_topics_response::CreatableTopicResult {
        name: .., topic_id: 7.., error_code: .., error_message: .., topic_config_error_code: 5..,
        num_partitions: 5.., replication_factor: 5.., configs: 5..,
    }
    create_topics_response::CreatableTopicConfigs {
        name: .., value: .., read_only: .., config_source: .., is_sensitive: ..,
    }
    create_topics_response::CreateTopicsResponse { throttle_time_ms: .., topics: .. }
    delete_topics_request::DeleteTopicState { name: .., topic_id: .. }
    delete_topics_request::DeleteTopicsRequest { topics: 6.., topic_names: ..=5, timeout_ms: .. }
    delete_topics_response::DeletableTopicResult {
        name: .., topic_id: 6.., error_code: .., error_message: 5..,
    }
    delete_topics_response::DeleteTopicsResponse { throttle_time_ms: .., responses: .. }
    delete_records_request::DeleteRecordsTopic { name: .., partitions: .. }
    delete_records_request::DeleteRecordsPartition { partition_index: .., offset: .. }
    delete_records_request::DeleteRecordsRequest { topics: .., timeout_ms: .. }
    delete_records_response::DeleteRecordsTopicResult { name: .., partitions: .. }
    delete_records_response::DeleteRecordsPartitionResult {
        partition_index: .., low_watermark: .., error_code: ..,
    }
    delete_records_response::DeleteRecordsResponse { throttle_time_ms: .., topics: .. }
    init_producer_id_request::InitProducerIdRequest {
        transactional_id: .., transaction_timeout_ms: .., producer_id: 3.., producer_epoch: 3..,
        enable2_pc: 6.., keep_prepared_txn: 6..,
    }
    init_producer_id_response::InitProducerIdResponse {
        throttle_time_ms: .., error_code: .., producer_id: .., producer_epoch: ..,
        ongoing_txn_producer_id: 6.., ongoing_txn_producer_epoch: 6..,
    }
    offset_for_leader_epoch_request::OffsetForLeaderTopic { topic: .., partitions: .. }
    offset_for_leader_epoch_request::OffsetForLeaderPartition {
        partition: .., current_leader_epoch: .., leader_epoch: ..,
    }
    offset_for_leader_epoch_request::OffsetForLeaderEpochRequest { replica_id: 3.., topics: .. }
    offset_for_leader_epoch_response::OffsetForLeaderTopicResult { topic: .., partitions: .. }
    offset_for_leader_epoch_response::EpochEndOffset {
        error_code: .., partition: .., leader_epoch: .., end_offset: ..,
    }
    offset_for_leader_epoch_response::OffsetForLeaderEpochResponse {
        throttle_time_ms: .., topics: ..,
    }
    describe_configs_request::DescribeConfigsResource {
        resource_type: .., resource_name: .., configuration_keys: ..,
    }
    describe_configs_request::DescribeConfigsRequest {
        resources: .., include_synonyms: .., include_documentation: 3..,
    }
    describe_configs_response::DescribeConfigsResult {
        error_code: .., error_message: .., resource_type: .., resource_name: .., configs: ..,
    }
    describe_configs_response::DescribeConfigsResourceResult {
        name: .., value: .., read_only: .., config_source: .., is_sensitive: .., synonyms: ..,
        config_type: 3.., documentation: 3..,
    }
    describe_configs_response::DescribeConfigsSynonym { name: .., value: .., source: .. }
    describe_configs_response::DescribeConfigsResponse { throttle_time_ms: .., results: .. }
    alter_configs_request::AlterConfigsResource {
        resource_type: .., resource_name: .., configs: ..,
    }
    alter_configs_request::AlterableConfig { name: .., value: .. }
    alter_configs_request::AlterConfigsRequest { resources: .., validate_only: .. }
    alter_configs_response::AlterConfigsResourceResponse {
        error_code: .., error_message: .., resource_type: .., resource_name: ..,
    }
    alter_configs_response::AlterConfigsResponse { throttle_time_ms: .., responses: .. }
    describe_log_dirs_request::DescribableLogDirTopic { topic: .., partitions: .. }
    describe_log_dirs_request::DescribeLogDirsRequest { topics: .. }
    describe_log_dirs_response::DescribeLogDirsResult {
        error_code: .., log_dir: .., topics: .., total_bytes: 4.., usable_bytes: 4..,
        is_cordoned: 5..,
    }
    describe_log_dirs_response::DescribeLogDirsTopic { name: .., partitions: .. }
    describe_log_dirs_response::DescribeLogDirsPartition {
        partition_index: .., partition_size: .., offset_lag: .., is_future_key: ..,
    }
    describe_log_dirs_response::DescribeLogDirsResponse {
        throttle_time_ms: .., error_code: 3.., results: ..,
    }
    create_partitions_request::CreatePartitionsTopic { name: .., count: .., assignments: .. }
    create_partitions_request::CreatePartitionsAssignment { broker_ids: .. }
    create_partitions_request::CreatePartitionsRequest {
        topics: .., timeout_ms: .., validate_only: ..,
    }
    create_partitions_response::CreatePartitionsTopicResult {
        name: .., error_code: .., error_message: ..,
    }
    create_partitions_response::CreatePartitionsResponse { throttle_time_ms: .., results: .. }
    delete_groups_request::DeleteGroupsRequest { groups_names: .. }
    delete_groups_response::DeletableGroupResult {
        group_id: .., error_code: .., error_message: 3..,
    }
    delete_groups_response::DeleteGroupsResponse { throttle_time_ms: .., results: .. }
    incremental_alter_configs_request::AlterConfigsResource {
        resource_type: .., resource_name: .., configs: ..,
    }
    incremental_alter_configs_request::AlterableConfig { name: .., config_operation: .., value: .. }
    incremental_alter_configs_request::IncrementalAlterConfigsRequest {
        resources: .., validate_only: ..,
    }
    incremental_alter_configs_response::AlterConfigsResourceResponse {
        error_code: .., error_message: .., resource_type: .., resource_name: ..,
    }
    incremental_alter_configs_response::IncrementalAlterConfigsResponse {
        throttle_time_ms: .., responses: ..,
    }
    offset_delete_request::OffsetDeleteRequestTopic { name: .., partitions: .. }
    offset_delete_request::OffsetDeleteRequestPartition { partition_index: .. }
    offset_delete_request::OffsetDeleteRequest { group_id: .., topics: .. }
    offset_delete_response::OffsetDeleteResponseTopic { name: .., partitions: .. }
    offset_delete_response::OffsetDeleteResponsePartition { partition_index: .., error_code: .. }
    offset_delete_response::OffsetDeleteResponse {
        error_code: .., throttle_time_ms: .., topics: ..,
    }
    describe_cluster_request::DescribeClusterRequest {
        include_cluster_authorized_operations: .., endpoint_type: 1.., include_fenced_brokers: 2..,
    }
    describe_cluster_response::DescribeClusterBroker {
        broker_id: .., host: .., port: .., rack: .., is_fenced: 2..,
    }
    describe_cluster_response::DescribeClusterResponse {
        throttle_time_ms: .., error_code: .., error_message: .., endpoint_type: 1.., cluster_id: ..,
        controller_id: .., brokers: .., cluster_authorized_operations: ..,
    }
    describe_producers_request::TopicRequest { name: .., partition_indexes: .. }
    describe_producers_request::DescribeProducersRequest { topics: .. }
    describe_producers_response::TopicResponse { name: .., partitions: .. }
    describe_producers_response::PartitionResponse {
        partition_index: .., error_code: .., error_message: .., active_producers: ..,
    }
    describe_producers_response::ProducerState {
        producer_id: .., producer_epoch: .., last_sequence: .., last_timestamp: ..,
        coordinator_epoch: .., current_txn_start_offset: ..,
    }
    describe_producers_response::DescribeProducersResponse { throttle_time_ms: .., topics: .. }
    describe_topic_partitions_request::TopicRequest { name: .. }
    describe_topic_partitions_request::Cursor { topic_name: .., partition_index: .. }
    describe_topic_partitions_request::DescribeTopicPartitionsRequest {
        topics: .., response_partition_limit: .., cursor: ..,
    }
    describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic {
        error_code: .., name: .., topic_id: .., is_internal: .., partitions: ..,
        topic_authorized_operations: ..,
    }
    describe_topic_partitions_response::DescribeTopicPartitionsResponsePartition {
        error_code: .., partition_index: .., leader_id: .., leader_epoch: .., replica_nodes: ..,
        isr_nodes: .., eligible_leader_replicas: .., last_known_elr: .., offline_replicas: ..,
    }
    describe_topic_partitions_response::Cursor { topic_name: .., partition_index: .. }
    describe_topic_partitions_response::DescribeTopicPartitionsResponse {
        throttle_time_ms: .., topics: .., next_cursor: ..,
    }
}

/// Calls `$visit!(ApiKey, module and name of the request, those of the response)` for every API;
/// both crates name them alike.
macro_rules! for_every_api {
    ($visit:ident) => {
        $visit!(Produce, produce_request ProduceRequest, produce_response ProduceResponse);
        $visit!(Fetch, fetch_request FetchRequest, fetch_response FetchResponse);
        $visit!(
            ListOffsets,
            list_offsets_request ListOffsetsRequest,
            list_offsets_response ListOffsetsResponse
        );
        $visit!(Metadata, metadata_request MetadataRequest, metadata_response MetadataResponse);
        $visit!(
            OffsetCommit,
            offset_commit_request OffsetCommitRequest,
            offset_commit_response OffsetCommitResponse
        );
        $visit!(
            OffsetFetch,
            offset_fetch_request OffsetFetchRequest,
            offset_fetch_response OffsetFetchResponse
        );
        $visit!(
            FindCoordinator,
            find_coordinator_request FindCoordinatorRequest,
            find_coordinator_response FindCoordinatorResponse
        );
        $visit!(
            JoinGroup,
            join_group_request JoinGroupRequest,
            join_group_response JoinGroupResponse
        );
        $visit!(
            Heartbeat,
            heartbeat_request HeartbeatRequest,
            heartbeat_response HeartbeatResponse
        );
        $visit!(
            LeaveGroup,
            leave_group_request LeaveGroupRequest,
            leave_group_response LeaveGroupResponse
        );
        $visit!(
            SyncGroup,
            sync_group_request SyncGroupRequest,
            sync_group_response SyncGroupResponse
        );
        $visit!(
            DescribeGroups,
            describe_groups_request DescribeGroupsRequest,
            describe_groups_response DescribeGroupsResponse
        );
        $visit!(
            ListGroups,
            list_groups_request ListGroupsRequest,
            list_groups_response ListGroupsResponse
        );
        $visit!(
            ApiVersions,
            api_versions_request ApiVersionsRequest,
            api_versions_response ApiVersionsResponse
        );
        $visit!(
            CreateTopics,
            create_topics_request CreateTopicsRequest,
            create_topics_response CreateTopicsResponse
        );
        $visit!(
            DeleteTopics,
            delete_topics_request DeleteTopicsRequest,
            delete_topics_response DeleteTopicsResponse
        );
        $visit!(
            DeleteRecords,
            delete_records_request DeleteRecordsRequest,
            delete_records_response DeleteRecordsResponse
        );
        $visit!(
            InitProducerId,
            init_producer_id_request InitProducerIdRequest,
            init_producer_id_response InitProducerIdResponse
        );
        $visit!(
            OffsetForLeaderEpoch,
            offset_for_leader_epoch_request OffsetForLeaderEpochRequest,
            offset_for_leader_epoch_response OffsetForLeaderEpochResponse
        );
        $visit!(
            DescribeConfigs,
            describe_configs_request DescribeConfigsRequest,
            describe_configs_response DescribeConfigsResponse
        );
        $visit!(
            AlterConfigs,
            alter_configs_request AlterConfigsRequest,
            alter_configs_response AlterConfigsResponse
        );
        $visit!(
            DescribeLogDirs,
            describe_log_dirs_request DescribeLogDirsRequest,
            describe_log_dirs_response DescribeLogDirsResponse
        );
        $visit!(
            CreatePartitions,
            create_partitions_request CreatePartitionsRequest,
            create_partitions_response CreatePartitionsResponse
        );
        $visit!(
            DeleteGroups,
            delete_groups_request DeleteGroupsRequest,
            delete_groups_response DeleteGroupsResponse
        );
        $visit!(
            IncrementalAlterConfigs,
            incremental_alter_configs_request IncrementalAlterConfigsRequest,
            incremental_alter_configs_response IncrementalAlterConfigsResponse
        );
        $visit!(
            OffsetDelete,
            offset_delete_request OffsetDeleteRequest,
            offset_delete_response OffsetDeleteResponse
        );
        $visit!(
            DescribeCluster,
            describe_cluster_request DescribeClusterRequest,
            describe_cluster_response DescribeClusterResponse
        );
        $visit!(
            DescribeProducers,
            describe_producers_request DescribeProducersRequest,
            describe_producers_response DescribeProducersResponse
        );
        $visit!(
            DescribeTopicPartitions,
            describe_topic_partitions_request DescribeTopicPartitionsRequest,
            describe_topic_partitions_response DescribeTopicPartitionsResponse
        );
    };
}
pub(crate) use for_every_api;
