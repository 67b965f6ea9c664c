//! A member of a group against a coordinator that changes its mind.

use std::time::Duration;

use corelog::client::{
    Client, ClientOptions, Consumer, ConsumerOptions, GroupOptions, OffsetReset, Producer,
    ProducerOptions, ProducerRecord,
};
use corelog::model::{Offset, TopicName, TopicPartition};
use corelog::protocol::ErrorCode;

use crate::broker::{Broker, TOPIC};

const PARTITIONS: usize = 2;
const RECORDS: i64 = 30;

fn topic() -> TopicName {
    TopicName::new(TOPIC).unwrap()
}

fn client(broker: &Broker) -> Client {
    Client::connect(&broker.bootstrap(), ClientOptions::default()).unwrap()
}

/// Adds records with the given numbers to each partition, one per batch.
fn produce(broker: &Broker, numbers: std::ops::Range<i64>) {
    let options = ProducerOptions {
        batch_bytes: 1,
        ..ProducerOptions::default()
    };
    let mut producer = Producer::new(client(broker), options).unwrap();
    for number in numbers {
        for partition in 0..PARTITIONS {
            let value = number.to_string();
            let record = ProducerRecord {
                partition: Some(partition as i32),
                value: Some(value.as_bytes()),
                ..ProducerRecord::default()
            };
            producer.send(&topic(), &record).unwrap();
        }
    }
    producer.flush().unwrap();
}

fn member(broker: &Broker, auto_commit: Option<Duration>) -> Consumer {
    let group = GroupOptions {
        heartbeat_interval: Duration::from_millis(1),
        auto_commit,
        ..GroupOptions::new("g", vec![topic()])
    };
    let options = ConsumerOptions {
        max_wait: Duration::from_millis(20),
        reset: OffsetReset::Earliest,
        ..ConsumerOptions::default()
    };
    Consumer::subscribe(client(broker), group, options).unwrap()
}

/// Polls until every partition was read to `end`; how many records came.
fn read_to(consumer: &mut Consumer, end: i64) -> usize {
    let mut count = 0;
    for _ in 0..1000 {
        for batch in consumer.poll().unwrap() {
            count += batch.records().unwrap().len();
        }
        let is_done = (0..PARTITIONS).all(|index| {
            let partition = TopicPartition {
                topic: topic(),
                index: index as i32,
            };
            consumer.position(&partition) == Some(Offset(end))
        });
        if is_done {
            return count;
        }
    }
    panic!("the end was not reached: {:?}", consumer.assignment());
}

const FOR_EVER: Option<Duration> = Some(Duration::from_secs(3600));

#[test]
fn a_member_joins_reads_commits_and_leaves() {
    let broker = Broker::start(PARTITIONS);
    produce(&broker, 0..RECORDS);
    let mut consumer = member(&broker, FOR_EVER);
    assert_eq!(
        read_to(&mut consumer, RECORDS),
        RECORDS as usize * PARTITIONS
    );
    assert_eq!(consumer.assignment().len(), PARTITIONS);
    consumer.close().unwrap();
    {
        let state = broker.state.lock().unwrap();
        assert_eq!(state.group.generation, 1);
        let committed: Vec<_> = state
            .group
            .committed
            .iter()
            .map(|(&p, &o)| (p, o))
            .collect();
        assert_eq!(committed, [(0, RECORDS), (1, RECORDS)]);
        assert_eq!(state.group.left, ["member-1"]);
    }
    // Another member goes on where the first one committed.
    produce(&broker, RECORDS..RECORDS + 3);
    let mut consumer = member(&broker, FOR_EVER);
    assert_eq!(read_to(&mut consumer, RECORDS + 3), 3 * PARTITIONS);
}

#[test]
fn without_automatic_commits_only_commit_commits() {
    let broker = Broker::start(PARTITIONS);
    produce(&broker, 0..RECORDS);
    let mut consumer = member(&broker, None);
    read_to(&mut consumer, RECORDS);
    assert!(broker.state.lock().unwrap().group.committed.is_empty());
    consumer.commit().unwrap();
    assert_eq!(broker.state.lock().unwrap().group.committed[&1], RECORDS);
    produce(&broker, RECORDS..RECORDS + 1);
    read_to(&mut consumer, RECORDS + 1);
    consumer.close().unwrap();
    assert_eq!(broker.state.lock().unwrap().group.committed[&1], RECORDS);
}

#[test]
fn whatever_ends_a_generation_the_member_joins_again_and_misses_nothing() {
    use ErrorCode::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, IllegalGeneration, NotCoordinator,
        RebalanceInProgress, UnknownMemberId,
    };
    let check = |heartbeat: ErrorCode, refusals: &[ErrorCode], member_after: &str| {
        let broker = Broker::start(PARTITIONS);
        produce(&broker, 0..RECORDS);
        let mut consumer = member(&broker, FOR_EVER);
        read_to(&mut consumer, RECORDS);
        {
            let group = &mut broker.state.lock().unwrap().group;
            group.heartbeats.push_back(heartbeat);
        }
        // The heartbeat that tells comes with the next poll, or with one right after it.
        for _ in 0..100 {
            if broker.state.lock().unwrap().group.heartbeats.is_empty() {
                break;
            }
            broker.state.lock().unwrap().group.refusals.extend(refusals);
            std::thread::sleep(Duration::from_millis(2));
            consumer.poll().unwrap();
        }
        produce(&broker, RECORDS..RECORDS + 5);
        read_to(&mut consumer, RECORDS + 5);
        consumer.close().unwrap();
        let state = broker.state.lock().unwrap();
        let context = format!("{heartbeat} {refusals:?}");
        assert!(state.group.generation >= 2, "{context}");
        assert_eq!(state.group.member, member_after, "{context}");
        assert_eq!(state.group.committed[&0], RECORDS + 5, "{context}");
    };
    check(RebalanceInProgress, &[], "member-1");
    check(IllegalGeneration, &[], "member-1");
    check(UnknownMemberId, &[], "member-2");
    check(NotCoordinator, &[], "member-1");
    check(CoordinatorNotAvailable, &[], "member-1");
    check(
        RebalanceInProgress,
        &[RebalanceInProgress, RebalanceInProgress],
        "member-1",
    );
    check(
        RebalanceInProgress,
        &[CoordinatorLoadInProgress],
        "member-1",
    );
}

#[test]
fn a_refusal_for_good_is_told() {
    let broker = Broker::start(PARTITIONS);
    let refusal = ErrorCode::GroupAuthorizationFailed;
    broker
        .state
        .lock()
        .unwrap()
        .group
        .refusals
        .push_back(refusal);
    let error = member(&broker, FOR_EVER).poll().unwrap_err();
    assert_eq!(error.code(), Some(refusal));
    assert!(
        error.to_string().contains("GROUP_AUTHORIZATION_FAILED"),
        "{error}"
    );
}
