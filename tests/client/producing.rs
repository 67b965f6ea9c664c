//! A producer against a broker that refuses and breaks off.

use std::time::Duration;

use corelog::client::{
    Acks, Client, ClientOptions, Delivery, Producer, ProducerOptions, ProducerRecord,
};
use corelog::frame::records;
use corelog::model::{Offset, TopicName};
use corelog::protocol::ErrorCode;

use crate::broker::{Broker, Fault, TOPIC};

const RECORDS: usize = 200;

fn producer(broker: &Broker, options: ProducerOptions) -> Producer {
    let client = Client::connect(&broker.bootstrap(), ClientOptions::default()).unwrap();
    Producer::new(client, options).unwrap()
}

/// Small batches, one per request, so that several are in flight.
fn small_batches() -> ProducerOptions {
    ProducerOptions {
        batch_bytes: 200,
        linger: Duration::from_secs(60),
        request_bytes: 1,
        ..ProducerOptions::default()
    }
}

fn send_all(producer: &mut Producer, partition: Option<i32>) -> Vec<Delivery> {
    let topic = TopicName::new(TOPIC).unwrap();
    for number in 0..RECORDS {
        let value = format!("{number:08}");
        let value = Some(value.as_bytes());
        let record = ProducerRecord {
            partition,
            value,
            ..ProducerRecord::default()
        };
        producer.send(&topic, &record).unwrap();
    }
    producer.flush().unwrap();
    producer.deliveries()
}

/// The values that a partition holds, in order.
fn stored(broker: &Broker, partition: usize) -> Vec<String> {
    let state = broker.state.lock().unwrap();
    let mut values = Vec::new();
    for batch in &state.logs[partition] {
        for record in &records(batch, 1 << 20).unwrap() {
            let value = record.unwrap().value.unwrap().to_vec();
            values.push(String::from_utf8(value).unwrap());
        }
    }
    values
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{number:08}")).collect()
}

#[test]
fn what_fails_for_a_moment_is_stored_once_and_in_order() {
    let check = |faults: &[Fault]| {
        let broker = Broker::start(1);
        broker.state.lock().unwrap().faults.extend(faults);
        let mut producer = producer(&broker, small_batches());
        let deliveries = send_all(&mut producer, Some(0));
        assert_eq!(stored(&broker, 0), numbers(0..RECORDS), "{faults:?}");
        let mut offset = 0;
        let mut told: Vec<(Offset, i32)> = deliveries
            .iter()
            .map(|delivery| (*delivery.outcome.as_ref().unwrap(), delivery.record_count))
            .collect();
        told.sort();
        for (base, count) in told {
            assert_eq!(base, Offset(offset), "{faults:?}");
            offset += i64::from(count);
        }
        assert_eq!(offset, RECORDS as i64, "{faults:?}");
    };
    use ErrorCode::{KafkaStorageError, NotLeaderOrFollower};
    let busy = Fault::Refuse(NotLeaderOrFollower);
    check(&[]);
    check(&[busy]);
    check(&[Fault::None, Fault::None, busy]);
    check(&[busy, busy, Fault::None, busy]);
    check(&[
        Fault::None,
        Fault::Refuse(KafkaStorageError),
        Fault::None,
        busy,
    ]);
    check(&[Fault::CloseBefore]);
    check(&[Fault::None, Fault::CloseAfter]);
    check(&[
        Fault::None,
        busy,
        Fault::CloseAfter,
        Fault::None,
        Fault::CloseBefore,
        busy,
    ]);
}

#[test]
fn a_batch_that_is_refused_for_good_is_told_and_the_rest_goes_on_under_a_new_id() {
    let broker = Broker::start(1);
    let fatal = Fault::Refuse(ErrorCode::MessageTooLarge);
    broker
        .state
        .lock()
        .unwrap()
        .faults
        .extend([Fault::None, fatal]);
    let mut producer = producer(&broker, small_batches());
    let first_id = producer.producer_id();
    let deliveries = send_all(&mut producer, Some(0));
    let failed: Vec<ErrorCode> = deliveries
        .iter()
        .filter_map(|delivery| delivery.outcome.as_ref().err()?.code())
        .collect();
    assert_eq!(failed[0], ErrorCode::MessageTooLarge);
    assert!(
        failed[1..]
            .iter()
            .all(|&code| code == ErrorCode::OutOfOrderSequenceNumber)
    );
    assert_ne!(producer.producer_id(), first_id);

    // What was told to be stored is stored, and nothing else is.
    let count = |is_stored: bool| -> i32 {
        let told = deliveries
            .iter()
            .filter(|delivery| delivery.outcome.is_ok() == is_stored);
        told.map(|delivery| delivery.record_count).sum()
    };
    assert_eq!(count(true) + count(false), RECORDS as i32);
    let values = stored(&broker, 0);
    assert_eq!(values.len(), count(true) as usize);
    assert!(values.is_sorted());
    let later = send_all(&mut producer, Some(0));
    assert!(later.iter().all(|delivery| delivery.outcome.is_ok()));
    assert_eq!(stored(&broker, 0).len(), values.len() + RECORDS);
}

#[test]
fn a_batch_is_given_up_when_its_time_is_over() {
    let broker = Broker::start(1);
    let busy = Fault::Refuse(ErrorCode::NotEnoughReplicas);
    broker.state.lock().unwrap().faults.extend([busy; 1000]);
    let options = ProducerOptions {
        delivery_timeout: Duration::from_millis(300),
        ..ProducerOptions::default()
    };
    let mut producer = producer(&broker, options);
    let deliveries = send_all(&mut producer, Some(0));
    assert!(!deliveries.is_empty());
    for delivery in &deliveries {
        let code = delivery.outcome.as_ref().unwrap_err().code();
        assert_eq!(code, Some(ErrorCode::RequestTimedOut));
    }
    assert_eq!(stored(&broker, 0), Vec::<String>::new());
}

#[test]
fn without_acknowledgement_nothing_is_waited_for() {
    let broker = Broker::start(1);
    let options = ProducerOptions {
        acks: Acks::None,
        ..small_batches()
    };
    let mut producer = producer(&broker, options);
    assert_eq!(producer.producer_id(), None);
    let deliveries = send_all(&mut producer, Some(0));
    assert!(
        deliveries
            .iter()
            .all(|delivery| *delivery.outcome.as_ref().unwrap() == Offset::NONE)
    );
    // The broker reads what is on its way.
    for _ in 0..500 {
        if stored(&broker, 0).len() == RECORDS {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(stored(&broker, 0), numbers(0..RECORDS));
}

#[test]
fn records_without_a_key_go_round_and_batches_share_requests() {
    let broker = Broker::start(4);
    let options = ProducerOptions {
        batch_bytes: 500,
        linger: Duration::from_secs(60),
        in_flight_max: 1,
        ..ProducerOptions::default()
    };
    let mut producer = producer(&broker, options);
    let deliveries = send_all(&mut producer, None);
    let mut all: Vec<String> = (0..4)
        .flat_map(|partition| stored(&broker, partition))
        .collect();
    all.sort();
    assert_eq!(all, numbers(0..RECORDS));
    assert!((0..4).all(|partition| !stored(&broker, partition).is_empty()));
    assert!(broker.state.lock().unwrap().produce_requests <= deliveries.len());
}

#[test]
fn a_partition_that_does_not_exist_is_refused_at_once() {
    let broker = Broker::start(2);
    let mut producer = producer(&broker, ProducerOptions::default());
    let topic = TopicName::new(TOPIC).unwrap();
    let record = ProducerRecord {
        partition: Some(2),
        ..ProducerRecord::default()
    };
    let error = producer.send(&topic, &record).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
}
