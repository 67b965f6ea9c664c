//! Does a whole node keep what it acknowledged, on any number of cores, over restarts?
//!
//! Each test runs a node in this process, on its own directory and a port that the system chose,
//! and talks to it over TCP with the blocking client.

mod admin;
mod core_direct;
mod running;

use std::io::Write;
use std::time::Duration;

use corelog::client::{
    Acks, Client, CommittedOffset, Consumer, ConsumerOptions, GroupOptions, NewTopic, OffsetReset,
    OffsetSpec, Producer, ProducerOptions, ProducerRecord, StartAt,
};
use corelog::io::{self, blocking};
use corelog::model::{Offset, PartitionId, Timestamp, TopicName, TopicPartition};
use running::RunningNode;

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn partition(name: &str, index: i32) -> TopicPartition {
    TopicPartition {
        topic: topic(name),
        index,
    }
}

fn create(client: &mut Client, name: &str, partitions: i32) {
    let mut new = NewTopic::new(topic(name));
    new.partition_count = Some(partitions);
    client.create_topic(&new).unwrap();
}

/// Produces values `from..to`, each to the partition `value % partitions`.
fn produce(client: Client, name: &str, partitions: i32, values: std::ops::Range<u32>) {
    let mut producer = Producer::new(client, ProducerOptions::default()).unwrap();
    for value in values {
        let text = value.to_string();
        let record = ProducerRecord {
            partition: Some(value as i32 % partitions),
            key: Some(text.as_bytes()),
            value: Some(text.as_bytes()),
            ..ProducerRecord::default()
        };
        producer.send(&topic(name), &record).unwrap();
    }
    producer.flush().unwrap();
    for delivery in producer.deliveries() {
        delivery.outcome.unwrap();
    }
}

/// Reads `count` records from the start of all partitions, and checks that each partition's
/// values are in order and at consecutive offsets.
fn consume(client: Client, name: &str, partitions: i32, count: usize) -> Vec<u32> {
    let starts: Vec<_> = (0..partitions)
        .map(|index| (partition(name, index), StartAt::Earliest))
        .collect();
    let mut consumer = Consumer::assign(client, &starts, ConsumerOptions::default()).unwrap();
    let mut next = vec![Offset(0); partitions as usize];
    let mut last = vec![None; partitions as usize];
    let mut values = Vec::new();
    for _ in 0..POLLS_MAX {
        if values.len() == count {
            break;
        }
        for batch in consumer.poll().unwrap() {
            let index = batch.partition.index as usize;
            for record in batch.records().unwrap() {
                assert_eq!(record.offset, next[index], "offsets of partition {index}");
                next[index] = record.offset.next();
                let text = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                let value: u32 = text.parse().unwrap();
                assert!(last[index] < Some(value), "order of partition {index}");
                last[index] = Some(value);
                values.push(value);
            }
        }
    }
    assert_eq!(values.len(), count, "records within {POLLS_MAX} polls");
    values.sort_unstable();
    values
}

/// Polls, of half a second at most, before what is missing counts as lost.
const POLLS_MAX: usize = 200;

fn from_the_start() -> ConsumerOptions {
    ConsumerOptions {
        reset: OffsetReset::Earliest,
        ..ConsumerOptions::default()
    }
}

#[test]
fn records_come_back_in_order_from_every_core() {
    for cores in [1, 2, 4] {
        let node = RunningNode::start_new(cores);
        create(&mut node.client(), "numbers", 5);
        produce(node.client(), "numbers", 5, 0..5000);
        let values = consume(node.client(), "numbers", 5, 5000);
        assert_eq!(values, (0..5000).collect::<Vec<_>>(), "{cores} cores");
    }
}

#[test]
fn a_peer_that_announces_much_and_sends_nothing_keeps_nobody_waiting() {
    let node = RunningNode::start_new_with(1, &["corelog.request.memory.bytes=8388608"]);
    create(&mut node.client(), "numbers", 1);
    let address = node.address().parse().unwrap();
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut peer = blocking::TcpStream::connect(address, Duration::from_secs(5)).unwrap();
        peer.write_all(&(7_i32 << 20).to_be_bytes()).unwrap();
        idle.push(peer);
    }
    // They have been read when a connection that came later is served.
    node.client().topic(&topic("numbers")).unwrap();
    let began = io::now();
    let mut producer = Producer::new(node.client(), ProducerOptions::default()).unwrap();
    let large = vec![7; 900_000];
    for _ in 0..3 {
        let record = ProducerRecord {
            value: Some(&large),
            ..ProducerRecord::default()
        };
        producer.send(&topic("numbers"), &record).unwrap();
        producer.flush().unwrap();
    }
    produce(node.client(), "numbers", 1, 0..100);
    let waited = io::now() - began;
    assert!(waited < Duration::from_secs(30), "{waited:?}");
    assert!(idle.iter().all(|peer| !peer.has_input().unwrap()));
}

#[test]
fn a_restart_on_another_number_of_cores_keeps_everything() {
    let mut node = RunningNode::start_new(2);
    create(&mut node.client(), "kept", 7);
    let id = node.client().topic(&topic("kept")).unwrap().id;
    for (round, cores) in [3, 1, 4].into_iter().enumerate() {
        let from = round as u32 * 1000;
        produce(node.client(), "kept", 7, from..from + 1000);
        node = node.restart(cores);
        let known = node.client().topic(&topic("kept")).unwrap();
        assert_eq!(known.id, id);
        let values = consume(node.client(), "kept", 7, from as usize + 1000);
        assert_eq!(
            values,
            (0..from + 1000).collect::<Vec<_>>(),
            "{cores} cores"
        );
    }
}

#[test]
fn committed_offsets_and_groups_survive_a_restart() {
    let node = RunningNode::start_new(2);
    create(&mut node.client(), "read", 2);
    produce(node.client(), "read", 2, 0..100);
    let mut options = GroupOptions::new("readers", vec![topic("read")]);
    options.session_timeout = std::time::Duration::from_secs(10);
    let mut consumer = Consumer::subscribe(node.client(), options, from_the_start()).unwrap();
    let mut count = 0;
    for _ in 0..POLLS_MAX {
        if count == 100 {
            break;
        }
        count += consumer
            .poll()
            .unwrap()
            .iter()
            .map(|b| b.records().unwrap().len())
            .sum::<usize>();
    }
    consumer.commit().unwrap();
    consumer.close().unwrap();
    let node = node.restart(1);
    let committed = node.client().committed_offsets("readers", None).unwrap();
    let mut offsets: Vec<_> = committed
        .iter()
        .map(|c| (c.partition.index, c.offset.0))
        .collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [(0, 50), (1, 50)]);
}

#[test]
fn offsets_are_found_by_time_and_records_deleted() {
    let node = RunningNode::start_new(2);
    create(&mut node.client(), "timed", 1);
    let now_ms = corelog::io::housekeeping::wall_clock().0;
    let options = ProducerOptions {
        acks: Acks::Leader,
        is_idempotent: false,
        ..Default::default()
    };
    let mut producer = Producer::new(node.client(), options).unwrap();
    for value in 0..100i64 {
        let record = ProducerRecord {
            timestamp: Some(Timestamp(now_ms - 1000 + value)),
            value: Some(b"v"),
            ..ProducerRecord::default()
        };
        producer.send(&topic("timed"), &record).unwrap();
    }
    producer.flush().unwrap();
    let mut client = node.client();
    let mut offset_of = |spec| {
        let listed = client
            .list_offsets(&[(partition("timed", 0), spec)])
            .unwrap();
        listed[0].offset.unwrap().0
    };
    assert_eq!(offset_of(OffsetSpec::Earliest), 0);
    assert_eq!(offset_of(OffsetSpec::Latest), 100);
    assert_eq!(offset_of(OffsetSpec::At(Timestamp(now_ms - 1000 + 42))), 42);
    assert_eq!(offset_of(OffsetSpec::MaxTimestamp), 99);
    client
        .delete_records(&partition("timed", 0), Offset(42))
        .unwrap();
    let node = node.restart(2);
    let listed = node
        .client()
        .list_offsets(&[(partition("timed", 0), OffsetSpec::Earliest)]);
    assert_eq!(listed.unwrap()[0].offset, Some(Offset(42)));
}

#[test]
fn offsets_of_a_group_without_members_are_set_and_deleted() {
    let node = RunningNode::start_new(1);
    create(&mut node.client(), "plain", 1);
    let mut client = node.client();
    let commit = CommittedOffset::new(partition("plain", 0), Offset(0));
    client.commit_offsets("alone", &[commit]).unwrap();
    assert_eq!(client.committed_offsets("alone", None).unwrap().len(), 1);
    client.delete_group("alone").unwrap();
    assert_eq!(client.committed_offsets("alone", None).unwrap().len(), 0);
}

#[test]
fn a_static_member_that_comes_back_reads_the_topics_that_it_asks_for_then() {
    let node = RunningNode::start_new(1);
    for name in ["first", "second"] {
        create(&mut node.client(), name, 2);
        produce(node.client(), name, 2, 0..10);
    }
    let assigned = |names: &[&str]| {
        let topics = names.iter().map(|name| topic(name)).collect();
        let mut group = GroupOptions::new("statics", topics);
        group.group_instance_id = Some("one".to_owned());
        let options = ConsumerOptions {
            reset: OffsetReset::Earliest,
            ..ConsumerOptions::default()
        };
        let mut member = Consumer::subscribe(node.client(), group, options).unwrap();
        member.poll().unwrap();
        member.commit().unwrap();
        let assignment = member.assignment();
        member.close().unwrap();
        assignment
    };
    let (first, second) = (
        [partition("first", 0), partition("first", 1)],
        [partition("second", 0), partition("second", 1)],
    );
    assert_eq!(
        assigned(&["first", "second"]),
        [first.clone(), second.clone()].concat()
    );
    assert_eq!(assigned(&["second"]), second);
    assert_eq!(assigned(&["first"]), first);
}

#[test]
fn records_are_not_taken_for_a_deleted_topics_when_the_metadata_is_lost() {
    let node = RunningNode::start_new(2);
    create(&mut node.client(), "kept", 3);
    produce(node.client(), "kept", 3, 0..300);
    let directory = node.stop();
    let chunks = directory.path().join("data/chunks");
    let metadata = PartitionId::METADATA.topic_id.0;
    let files = std::fs::read_dir(&chunks).unwrap();
    let path = files
        .map(|entry| entry.unwrap().path())
        .find(|path| blocking::read_file(path).unwrap()[56..72] == metadata)
        .expect("the metadata log has a chunk");
    let whole = blocking::read_file(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[..3 * 4096].fill(0);
    for lost in [Some(damaged), None] {
        match lost {
            Some(damaged) => blocking::write_file(&path, &damaged).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let refused = RunningNode::try_start(directory.clone(), 2).err();
        let refused = refused.expect("nothing says whose the records are");
        assert!(refused.contains("metadata log"), "{refused}");
    }
    blocking::write_file(&path, &whole).unwrap();
    let node = RunningNode::try_start(directory, 2).expect("nothing was changed");
    let values = consume(node.client(), "kept", 3, 300);
    assert_eq!(values, (0..300).collect::<Vec<_>>());
}

#[test]
fn the_newest_of_the_records_that_are_left_is_found() {
    let node = RunningNode::start_new(1);
    create(&mut node.client(), "backwards", 1);
    let now_ms = corelog::io::housekeeping::wall_clock().0;
    let mut producer = Producer::new(node.client(), ProducerOptions::default()).unwrap();
    for value in 0..100i64 {
        // Each is older than the one before, and all may be one batch.
        let record = ProducerRecord {
            timestamp: Some(Timestamp(now_ms - value)),
            value: Some(b"v"),
            ..ProducerRecord::default()
        };
        producer.send(&topic("backwards"), &record).unwrap();
    }
    producer.flush().unwrap();
    let mut client = node.client();
    for start in [0, 42, 99] {
        let moved = client.delete_records(&partition("backwards", 0), Offset(start));
        moved.unwrap();
        let newest = (partition("backwards", 0), OffsetSpec::MaxTimestamp);
        let listed = client.list_offsets(&[newest]).unwrap();
        assert_eq!(listed[0].offset, Some(Offset(start)));
    }
}
