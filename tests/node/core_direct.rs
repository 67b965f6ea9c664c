//! With `corelog.listener.mode=core`: do clients land on the core that owns the partition, is what
//! tools put together whole, and is a request at the wrong core served all the same?

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use corelog::client::{
    Client, ClientOptions, CommittedOffset, ConfigChange, ConfigOwner, Connection, Consumer,
    GroupOptions, NewTopic, Producer, ProducerOptions, ProducerRecord, TopicDescription,
};
use corelog::metrics::Counter;
use corelog::model::{NodeId, Offset};
use corelog::protocol::ErrorCode;
use corelog::protocol::messages::{
    CreateTopicsRequest, DescribeClusterRequest, DescribeLogDirsRequest,
    DescribeTopicPartitionsRequest, ListGroupsRequest, ListOffsetsRequest, StrBytes,
    create_topics_request, list_offsets_request,
};

use super::running::RunningNode;
use super::{consume, create, from_the_start, partition, produce, topic};

const MODE: &str = "corelog.listener.mode=core";

/// The ids of the first node's virtual brokers.
fn ids(cores: u16) -> Vec<NodeId> {
    (0..cores)
        .map(|core| NodeId(1_010_000 + i32::from(core)))
        .collect()
}

fn connect(address: SocketAddr) -> Connection {
    Connection::open(&address.to_string(), &ClientOptions::default()).unwrap()
}

/// A connection to each virtual broker, by way of the first listener.
fn connect_to_cores(node: &RunningNode) -> Vec<Connection> {
    let brokers = node.ready().core_brokers.iter();
    brokers.map(|broker| connect(broker.addresses[0])).collect()
}

fn leaders(topic: &TopicDescription) -> Vec<NodeId> {
    topic
        .partitions
        .iter()
        .map(|one| one.leader.unwrap())
        .collect()
}

#[test]
fn whoever_asks_is_told_of_the_same_virtual_brokers() {
    let node = RunningNode::start_new_with(3, &[MODE]);
    let mut client = node.client();
    create(&mut client, "spread", 7);
    let known = client.topic(&topic("spread")).unwrap();
    let expected: Vec<NodeId> = (0..7).map(|index| ids(3)[index % 3]).collect();
    assert_eq!(leaders(&known), expected);
    for one in &known.partitions {
        assert_eq!(one.replicas, [one.leader.unwrap()]);
        assert_eq!(one.in_sync, one.replicas);
    }
    let cluster = client.cluster().clone();
    let told: Vec<_> = cluster
        .nodes
        .iter()
        .map(|one| (one.id, one.port as u16))
        .collect();
    let brokers = node.ready().core_brokers.iter();
    let bound: Vec<_> = brokers
        .map(|one| (one.id, one.addresses[0].port()))
        .collect();
    assert_eq!(told, bound);
    assert_eq!(told.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids(3));
    assert_eq!(cluster.controller, Some(ids(3)[0]));

    // The coordinator of a group is the leader of its partition of the offsets topic.
    let mut coordinators = BTreeSet::new();
    for at in 0..20 {
        coordinators.insert(client.coordinator(&format!("group-{at}")).unwrap());
    }
    let offsets = client.topic(&topic("__consumer_offsets")).unwrap();
    assert_eq!(coordinators, leaders(&offsets).into_iter().collect());

    for connection in connect_to_cores(&node)
        .iter_mut()
        .chain([&mut connect(node.ready().addresses[0])])
    {
        let described = connection.call(&DescribeClusterRequest::default()).unwrap();
        let brokers = described.brokers.iter();
        let found: Vec<_> = brokers
            .map(|one| (NodeId(one.broker_id), one.port as u16))
            .collect();
        assert_eq!(found, bound);
        assert_eq!(described.controller_id, ids(3)[0].0);
        let mut request = DescribeTopicPartitionsRequest::default();
        request.response_partition_limit = 100;
        let described = connection.call(&request).unwrap();
        let found = described
            .topics
            .iter()
            .find(|one| one.name.as_deref() == Some("spread"));
        let partitions = found.unwrap().partitions.iter();
        let found: Vec<_> = partitions.map(|one| NodeId(one.leader_id)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn each_listener_tells_of_ports_of_its_own() {
    let node = RunningNode::start_new_with(
        2,
        &[
            MODE,
            "listeners=INNER://127.0.0.1:0,OUTER://[::1]:0",
            "advertised.listeners=INNER://127.0.0.1:0,OUTER://localhost:0",
            "listener.security.protocol.map=INNER:PLAINTEXT,OUTER:PLAINTEXT",
            "inter.broker.listener.name=INNER",
        ],
    );
    for (at, host) in [(0, "127.0.0.1"), (1, "localhost")] {
        let bootstrap = node.ready().addresses[at].to_string();
        let client = Client::connect(&bootstrap, ClientOptions::default()).unwrap();
        let told: Vec<_> = client.cluster().nodes.clone();
        assert_eq!(told.len(), 2);
        for (told, broker) in told.iter().zip(&node.ready().core_brokers) {
            assert_eq!((told.id, told.host.as_str()), (broker.id, host));
            assert_eq!(told.port, i32::from(broker.addresses[at].port()));
            // Whoever comes in by a listener is told of that listener again.
            let address = broker.addresses[at].to_string();
            let other = Client::connect(&address, ClientOptions::default()).unwrap();
            assert_eq!(other.cluster().nodes, client.cluster().nodes);
        }
    }
}

#[test]
fn a_client_that_knows_the_leaders_needs_no_hop() {
    let node = RunningNode::start_new_with(3, &[MODE]);
    create(&mut node.client(), "direct", 6);
    produce(node.client(), "direct", 6, 0..3000);
    assert_eq!(consume(node.client(), "direct", 6, 3000).len(), 3000);
    let options = GroupOptions::new("readers", vec![topic("direct")]);
    let mut consumer = Consumer::subscribe(node.client(), options, from_the_start()).unwrap();
    let mut count = 0;
    while count < 3000 {
        let batches = consumer.poll().unwrap();
        count += batches
            .iter()
            .map(|one| one.records().unwrap().len())
            .sum::<usize>();
    }
    consumer.commit().unwrap();
    // Nothing is left: these wait for a watermark.
    for _ in 0..3 {
        consumer.poll().unwrap();
    }
    consumer.close().unwrap();
    for counter in [
        Counter::ProduceHops,
        Counter::FetchHops,
        Counter::WatchHops,
        Counter::OffsetsHops,
        Counter::GroupHops,
    ] {
        assert_eq!(node.counter(counter), 0, "{counter:?}");
    }
    assert!(node.counter(Counter::ApplyHops) > 0, "hops are counted");
}

#[test]
fn a_request_at_the_wrong_core_is_served() {
    let node = RunningNode::start_new_with(2, &[MODE]);
    create(&mut node.client(), "asked", 2);
    produce(node.client(), "asked", 2, 0..10);
    let hops = node.counter(Counter::OffsetsHops);
    for connection in &mut connect_to_cores(&node) {
        let partitions = (0..2).map(|index| {
            let mut asked = list_offsets_request::ListOffsetsPartition::default();
            asked.partition_index = index;
            asked.timestamp = -1;
            asked
        });
        let mut asked = list_offsets_request::ListOffsetsTopic::default();
        asked.name = StrBytes::from("asked");
        asked.partitions = partitions.collect();
        let mut request = ListOffsetsRequest::default();
        request.replica_id = -1;
        request.topics = vec![asked];
        let answer = connection.call(&request).unwrap();
        for partition in &answer.topics[0].partitions {
            assert_eq!((partition.error_code, partition.offset), (0, 5));
        }
    }
    assert_eq!(node.counter(Counter::OffsetsHops), hops + 2);
}

#[test]
fn what_tools_put_together_is_whole_and_nothing_twice() {
    let node = RunningNode::start_new_with(3, &[MODE]);
    let mut client = node.client();
    create(&mut client, "parts", 7);
    let mut groups = BTreeSet::new();
    for at in 0..12 {
        let group = format!("group-{at}");
        let commit = CommittedOffset::new(partition("parts", at % 7), Offset(0));
        client.commit_offsets(&group, &[commit]).unwrap();
        groups.insert(group);
    }
    let listed = client.list_groups().unwrap();
    assert_eq!(listed.len(), groups.len());
    for group in &listed {
        assert!(groups.contains(&group.group_id));
        let coordinator = client.coordinator(&group.group_id).unwrap();
        assert_eq!(coordinator, group.coordinator, "{}", group.group_id);
    }
    let mut partitions = BTreeMap::new();
    let all = 7 + client
        .topic(&topic("__consumer_offsets"))
        .unwrap()
        .partitions
        .len();
    let mut every = DescribeLogDirsRequest::default();
    every.topics = None;
    for (core, connection) in connect_to_cores(&node).iter_mut().enumerate() {
        let answer = connection.call(&every).unwrap();
        assert_eq!(answer.results.len(), 1);
        for topic in &answer.results[0].topics {
            for partition in &topic.partitions {
                let key = (topic.name.to_string(), partition.partition_index);
                assert_eq!(partitions.insert(key, ids(3)[core]), None);
            }
        }
    }
    assert_eq!(partitions.len(), all);
    let spread = client.topic(&topic("parts")).unwrap();
    for (index, leader) in leaders(&spread).into_iter().enumerate() {
        assert_eq!(partitions[&("parts".to_owned(), index as i32)], leader);
    }
    // The bootstrap port stands for the whole node.
    let mut bootstrap = connect(node.ready().addresses[0]);
    let answer = bootstrap.call(&ListGroupsRequest::default()).unwrap();
    assert_eq!(answer.groups.len(), groups.len());
    let answer = bootstrap.call(&every).unwrap();
    let counts = answer.results[0]
        .topics
        .iter()
        .map(|topic| topic.partitions.len());
    assert_eq!(counts.sum::<usize>(), all);
}

#[test]
fn what_is_set_for_a_virtual_broker_is_set_for_its_node() {
    let node = RunningNode::start_new_with(2, &[MODE]);
    let mut client = node.client();
    let (first, second) = (ids(2)[0].0, ids(2)[1].0);
    let set = ConfigChange::Set("message.max.bytes".to_owned(), "5000".to_owned());
    client
        .alter_configs(&ConfigOwner::Broker(first), &[set])
        .unwrap();
    for id in [first, second] {
        let configs = client.configs(&ConfigOwner::Broker(id)).unwrap();
        let value = |name: &str| {
            let found = configs.iter().find(|one| one.key == name).unwrap();
            found.value.clone().unwrap()
        };
        assert_eq!(value("message.max.bytes"), "5000");
        assert_eq!(value("node.id"), id.to_string());
    }
}

#[test]
fn replicas_count_nodes_and_assignments_choose_cores() {
    let node = RunningNode::start_new_with(3, &[MODE]);
    let mut client = node.client();
    let mut two = NewTopic::new(topic("two"));
    two.replication_factor = Some(2);
    let refused = client.create_topic(&two).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::InvalidReplicationFactor));
    let create_on = |name: &str, brokers: &[&[NodeId]]| {
        let assignment = brokers.iter().enumerate().map(|(index, brokers)| {
            let mut one = create_topics_request::CreatableReplicaAssignment::default();
            one.partition_index = index as i32;
            one.broker_ids = brokers.iter().map(|id| id.0).collect();
            one
        });
        let mut topic = create_topics_request::CreatableTopic::default();
        topic.name = StrBytes::from(name.to_owned());
        topic.num_partitions = -1;
        topic.replication_factor = -1;
        topic.assignments = assignment.collect();
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![topic];
        let mut connection = connect(node.ready().core_brokers[1].addresses[0]);
        connection.call(&request).unwrap().topics[0].error_code
    };
    let of = ids(3);
    let wanted = [of[2], of[2], of[0], of[2]];
    let lists: Vec<&[NodeId]> = wanted.iter().map(std::slice::from_ref).collect();
    assert_eq!(create_on("chosen", &lists), 0);
    assert_eq!(leaders(&client.topic(&topic("chosen")).unwrap()), wanted);
    assert_eq!(create_on("node", &[&[NodeId(1)]]), 0);
    let refused = ErrorCode::InvalidReplicaAssignment.code();
    assert_eq!(create_on("twice", &[&[of[0], of[1]]]), refused);
}

#[test]
fn clients_go_on_after_a_restart_on_another_number_of_cores() {
    let mut node = RunningNode::start_new_with(2, &[MODE, "corelog.listener.core.ports=0"]);
    create(&mut node.client(), "going", 5);
    let mut producer = Producer::new(node.client(), ProducerOptions::default()).unwrap();
    let mut sent = 0;
    for cores in [3, 1, 2] {
        for _ in 0..2 {
            for _ in 0..50 {
                let text = sent.to_string();
                let record = ProducerRecord {
                    partition: Some(sent % 5),
                    value: Some(text.as_bytes()),
                    ..ProducerRecord::default()
                };
                producer.send(&topic("going"), &record).unwrap();
                sent += 1;
            }
            producer.flush().unwrap();
        }
        node = node.restart_in_place(cores);
        let mut client = node.client();
        let known = client.topic(&topic("going")).unwrap();
        let used: BTreeSet<NodeId> = leaders(&known).into_iter().collect();
        assert_eq!(used, ids(cores).into_iter().collect());
    }
    let values = consume(node.client(), "going", 5, sent as usize);
    assert_eq!(values, (0..sent as u32).collect::<Vec<_>>());
}
