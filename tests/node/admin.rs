//! The admin APIs in every version that is served, and what they make over restarts.

use corelog::client::{ClientOptions, Connection};
use corelog::protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeTopicPartitionsRequest, IncrementalAlterConfigsRequest,
    StrBytes, Uuid, alter_configs_request, create_partitions_request, create_topics_request,
    delete_topics_request, describe_configs_request, describe_log_dirs_request,
    describe_producers_request, describe_topic_partitions_request,
    incremental_alter_configs_request,
};
use corelog::protocol::{ApiKey, ErrorCode};

use super::running::RunningNode;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn connect(node: &RunningNode) -> Connection {
    Connection::open(node.address(), &ClientOptions::default()).unwrap()
}

/// The versions of an API that the node serves.
fn versions(connection: &Connection, api: ApiKey) -> std::ops::RangeInclusive<i16> {
    let (min, max) = connection.served_versions()[&api.code()];
    min..=max
}

fn text(text: &str) -> StrBytes {
    StrBytes::from(text.to_owned())
}

/// Creates a topic of three partitions with one configuration; gives the error and the id.
fn create(connection: &mut Connection, name: &str, version: i16) -> (i16, Uuid) {
    let mut set = create_topics_request::CreatableTopicConfig::default();
    set.name = text("retention.ms");
    set.value = Some(text("5000"));
    let mut topic = create_topics_request::CreatableTopic::default();
    topic.name = text(name);
    topic.num_partitions = 3;
    topic.replication_factor = 1;
    topic.configs = vec![set];
    let mut request = CreateTopicsRequest::default();
    request.topics = vec![topic];
    let response = connection.call_version(&request, version).unwrap();
    assert_eq!(response.topics.len(), 1, "v{version}");
    let made = &response.topics[0];
    if version >= 5 && made.error_code == 0 {
        assert_eq!((made.num_partitions, made.replication_factor), (3, 1));
        let configs = made.configs.as_ref().unwrap();
        let set = configs
            .iter()
            .find(|config| config.name.as_str() == "retention.ms")
            .unwrap();
        assert_eq!(set.value.as_ref().unwrap().as_str(), "5000");
        assert_eq!(set.config_source, 1);
    }
    (made.error_code, made.topic_id)
}

/// The value and the source of one configuration.
fn described(
    connection: &mut Connection,
    kind: i8,
    name: &str,
    key: &str,
    version: i16,
) -> (Option<String>, i8) {
    let mut resource = describe_configs_request::DescribeConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = text(name);
    resource.configuration_keys = Some(vec![text(key)]);
    let mut request = DescribeConfigsRequest::default();
    request.resources = vec![resource];
    request.include_synonyms = true;
    request.include_documentation = version >= 3;
    let response = connection.call_version(&request, version).unwrap();
    let result = &response.results[0];
    assert_eq!(result.error_code, 0, "{kind} {name} v{version}");
    let Some(found) = result.configs.first() else {
        return (None, 0);
    };
    if version >= 3 {
        assert!(!found.documentation.as_ref().unwrap().as_str().is_empty());
    }
    (
        found.value.as_ref().map(|value| value.as_str().to_owned()),
        found.config_source,
    )
}

/// Sets one configuration of one resource; gives the error.
fn set(connection: &mut Connection, resource: (i8, &str), set: (&str, &str), version: i16) -> i16 {
    let mut config = incremental_alter_configs_request::AlterableConfig::default();
    config.name = text(set.0);
    config.value = Some(text(set.1));
    let mut changed = incremental_alter_configs_request::AlterConfigsResource::default();
    changed.resource_type = resource.0;
    changed.resource_name = text(resource.1);
    changed.configs = vec![config];
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = vec![changed];
    let response = connection.call_version(&request, version).unwrap();
    response.responses[0].error_code
}

fn delete(connection: &mut Connection, name: &str, id: Option<Uuid>, version: i16) -> i16 {
    let mut request = DeleteTopicsRequest::default();
    if version >= 6 {
        let mut topic = delete_topics_request::DeleteTopicState::default();
        match id {
            Some(id) => {
                topic.name = None;
                topic.topic_id = id;
            }
            None => topic.name = Some(text(name)),
        }
        request.topics = vec![topic];
    } else {
        request.topic_names = vec![text(name)];
    }
    let response = connection.call_version(&request, version).unwrap();
    assert_eq!(response.responses.len(), 1);
    if id.is_some() && response.responses[0].error_code == 0 {
        assert_eq!(response.responses[0].name.as_ref().unwrap().as_str(), name);
    }
    response.responses[0].error_code
}

#[test]
fn topics_are_made_and_deleted_in_every_version() {
    let node = RunningNode::start_new(2);
    let mut connection = connect(&node);
    for version in versions(&connection, ApiKey::CreateTopics) {
        let name = format!("made-{version}");
        let (error, id) = create(&mut connection, &name, version);
        assert_eq!(error, 0, "v{version}");
        assert_eq!(id != Uuid::default(), version >= 7, "v{version}");
        let again = create(&mut connection, &name, version).0;
        assert_eq!(again, ErrorCode::TopicAlreadyExists.code(), "v{version}");
        let bad = create(&mut connection, "no name", version).0;
        assert_eq!(bad, ErrorCode::InvalidTopicException.code(), "v{version}");
    }
    for version in versions(&connection, ApiKey::CreatePartitions) {
        let mut topic = create_partitions_request::CreatePartitionsTopic::default();
        topic.name = text("made-7");
        topic.count = 4 + i32::from(version);
        topic.assignments = None;
        let mut request = CreatePartitionsRequest::default();
        request.topics = vec![topic.clone()];
        let response = connection.call_version(&request, version).unwrap();
        assert_eq!(response.results[0].error_code, 0, "v{version}");
        let response = connection.call_version(&request, version).unwrap();
        let error = ErrorCode::InvalidPartitions.code();
        assert_eq!(response.results[0].error_code, error, "v{version}");
    }
    let newest = *versions(&connection, ApiKey::CreateTopics).end();
    for version in versions(&connection, ApiKey::DeleteTopics) {
        let name = format!("gone-{version}");
        let id = create(&mut connection, &name, newest).1;
        assert_eq!(
            delete(&mut connection, &name, Some(id), version),
            0,
            "v{version}"
        );
        let unknown = delete(&mut connection, &name, None, version);
        assert_eq!(
            unknown,
            ErrorCode::UnknownTopicOrPartition.code(),
            "v{version}"
        );
    }
}

#[test]
fn configurations_change_at_once_and_stay_over_a_restart() {
    let node = RunningNode::start_new(2);
    let mut connection = connect(&node);
    assert_eq!(create(&mut connection, "a", 7).0, 0);
    for version in versions(&connection, ApiKey::IncrementalAlterConfigs) {
        let value = format!("{}", 6000 + i64::from(version));
        let changed = set(
            &mut connection,
            (TOPIC, "a"),
            ("segment.ms", &value),
            version,
        );
        assert_eq!(changed, 0, "v{version}");
        for version in versions(&connection, ApiKey::DescribeConfigs) {
            let found = described(&mut connection, TOPIC, "a", "segment.ms", version);
            assert_eq!(found, (Some(value.clone()), 1), "v{version}");
        }
        let refused = set(
            &mut connection,
            (TOPIC, "a"),
            ("cleanup.policy", "compact"),
            version,
        );
        assert_eq!(refused, ErrorCode::InvalidConfig.code(), "v{version}");
        let refused = set(
            &mut connection,
            (BROKER, "9"),
            ("message.max.bytes", "9"),
            version,
        );
        assert_eq!(refused, ErrorCode::InvalidRequest.code(), "v{version}");
    }
    // The defaults of all brokers, then of this one, reach topics that do not say otherwise.
    let default = described(&mut connection, TOPIC, "a", "max.message.bytes", 4);
    assert_eq!(default, (Some("1048588".to_owned()), 5));
    assert_eq!(
        set(
            &mut connection,
            (BROKER, ""),
            ("message.max.bytes", "2000000"),
            1
        ),
        0
    );
    let all = described(&mut connection, TOPIC, "a", "max.message.bytes", 4);
    assert_eq!(all, (Some("2000000".to_owned()), 3));
    assert_eq!(
        set(
            &mut connection,
            (BROKER, "1"),
            ("message.max.bytes", "3000000"),
            1
        ),
        0
    );

    let node = node.restart(3);
    let mut connection = connect(&node);
    let one = described(&mut connection, TOPIC, "a", "max.message.bytes", 4);
    assert_eq!(one, (Some("3000000".to_owned()), 2));
    let own = described(&mut connection, TOPIC, "a", "retention.ms", 4);
    assert_eq!(own, (Some("5000".to_owned()), 1));

    // The older request names the whole set.
    for version in versions(&connection, ApiKey::AlterConfigs) {
        let mut config = alter_configs_request::AlterableConfig::default();
        config.name = text("segment.ms");
        config.value = Some(text("7000"));
        let mut changed = alter_configs_request::AlterConfigsResource::default();
        changed.resource_type = TOPIC;
        changed.resource_name = text("a");
        changed.configs = vec![config];
        let mut request = AlterConfigsRequest::default();
        request.resources = vec![changed];
        let response = connection.call_version(&request, version).unwrap();
        assert_eq!(response.responses[0].error_code, 0, "v{version}");
        let given_back = described(&mut connection, TOPIC, "a", "retention.ms", 4);
        assert_eq!(given_back, (Some("604800000".to_owned()), 5), "v{version}");
        let kept = described(&mut connection, TOPIC, "a", "segment.ms", 4);
        assert_eq!(kept, (Some("7000".to_owned()), 1), "v{version}");
    }
}

#[test]
fn the_cluster_is_described_in_every_version() {
    let node = RunningNode::start_new(2);
    let mut connection = connect(&node);
    assert_eq!(create(&mut connection, "a", 7).0, 0);
    for version in versions(&connection, ApiKey::DescribeCluster) {
        let mut request = DescribeClusterRequest::default();
        request.include_cluster_authorized_operations = true;
        let response = connection.call_version(&request, version).unwrap();
        assert_eq!(
            (response.error_code, response.controller_id),
            (0, 1),
            "v{version}"
        );
        assert_eq!(response.brokers.len(), 1);
        assert_eq!(response.cluster_id.as_str().len(), 22);
        let address = format!(
            "{}:{}",
            response.brokers[0].host.as_str(),
            response.brokers[0].port
        );
        assert_eq!(address, node.address());
        if version >= 1 {
            request.endpoint_type = 2;
            let response = connection.call_version(&request, version).unwrap();
            assert_eq!(
                response.error_code,
                ErrorCode::MismatchedEndpointType.code()
            );
        }
    }
    for version in versions(&connection, ApiKey::DescribeLogDirs) {
        let mut topic = describe_log_dirs_request::DescribableLogDirTopic::default();
        topic.topic = text("a");
        topic.partitions = vec![0, 2];
        for (topics, count) in [
            (None, 3),
            (Some(vec![topic.clone()]), 2),
            (Some(Vec::new()), 0),
        ] {
            let mut request = DescribeLogDirsRequest::default();
            request.topics = topics;
            let response = connection.call_version(&request, version).unwrap();
            let directory = &response.results[0];
            assert_eq!(directory.error_code, 0, "v{version}");
            let found: usize = directory
                .topics
                .iter()
                .map(|topic| topic.partitions.len())
                .sum();
            assert_eq!(found, count, "v{version}");
            assert_eq!(directory.total_bytes > 0, version >= 4, "v{version}");
        }
    }
    for version in versions(&connection, ApiKey::DescribeTopicPartitions) {
        let mut request = DescribeTopicPartitionsRequest::default();
        let mut topic = describe_topic_partitions_request::TopicRequest::default();
        topic.name = text("a");
        request.topics = vec![topic];
        request.response_partition_limit = 2;
        let response = connection.call_version(&request, version).unwrap();
        assert_eq!(response.topics[0].partitions.len(), 2);
        let next = response.next_cursor.unwrap();
        assert_eq!((next.topic_name.as_str(), next.partition_index), ("a", 2));
    }
    for version in versions(&connection, ApiKey::DescribeProducers) {
        let mut request = DescribeProducersRequest::default();
        let mut topic = describe_producers_request::TopicRequest::default();
        topic.name = text("a");
        topic.partition_indexes = vec![0, 99];
        request.topics = vec![topic];
        let response = connection.call_version(&request, version).unwrap();
        let errors: Vec<_> = response.topics[0]
            .partitions
            .iter()
            .map(|found| found.error_code)
            .collect();
        assert_eq!(errors, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    }
}

#[test]
fn a_deleted_topics_successor_has_another_id_and_no_records() {
    let node = RunningNode::start_new(2);
    let mut connection = connect(&node);
    let first = create(&mut connection, "a", 7).1;
    assert_eq!(delete(&mut connection, "a", Some(first), 6), 0);
    let second = create(&mut connection, "a", 7).1;
    assert_ne!(first, second);
    let node = node.restart(1);
    let mut connection = connect(&node);
    let stale = delete(&mut connection, "a", Some(first), 6);
    assert_eq!(stale, ErrorCode::UnknownTopicId.code());
    assert_eq!(delete(&mut connection, "a", Some(second), 6), 0);
}
