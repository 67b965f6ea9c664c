//! A consumer against a broker, and connections to brokers that are not what they should be.

use std::time::Duration;

use corelog::client::{
    Client, ClientError, ClientOptions, Connection, Consumer, ConsumerOptions, OffsetReset,
    OffsetSpec, Producer, ProducerOptions, ProducerRecord, StartAt,
};
use corelog::model::{Offset, Timestamp, TopicName, TopicPartition};
use corelog::protocol::{ApiKey, ErrorCode};

use crate::broker::{Broker, TOPIC};

const RECORDS: i64 = 100;

fn client(broker: &Broker) -> Client {
    Client::connect(&broker.bootstrap(), ClientOptions::default()).unwrap()
}

fn partition() -> TopicPartition {
    TopicPartition {
        topic: TopicName::new(TOPIC).unwrap(),
        index: 0,
    }
}

/// A broker with a hundred records in one partition, several to a batch.
fn filled_broker() -> Broker {
    let broker = Broker::start(1);
    let options = ProducerOptions {
        batch_bytes: 200,
        linger: Duration::from_secs(60),
        ..ProducerOptions::default()
    };
    let mut producer = Producer::new(client(&broker), options).unwrap();
    for number in 0..RECORDS {
        let key = number.to_string();
        let record = ProducerRecord {
            key: Some(key.as_bytes()),
            headers: &[("a", None), ("a", Some(b"1"))],
            timestamp: Some(Timestamp(1000 + number)),
            ..ProducerRecord::default()
        };
        producer.send(&partition().topic, &record).unwrap();
    }
    producer.flush().unwrap();
    broker
}

/// The offsets that a consumer reads until it has reached the end.
fn read(
    broker: &Broker,
    start: StartAt,
    options: ConsumerOptions,
) -> Result<Vec<i64>, ClientError> {
    let mut consumer = Consumer::assign(client(broker), &[(partition(), start)], options)?;
    let mut offsets = Vec::new();
    while consumer.position(&partition()) < Some(Offset(RECORDS)) {
        for batch in consumer.poll()? {
            for record in batch.records()? {
                let number = record.offset.0;
                assert_eq!(record.key.as_deref(), Some(number.to_string().as_bytes()));
                assert_eq!(record.value, None);
                assert_eq!(record.timestamp, Timestamp(1000 + number));
                let headers: Vec<_> = record
                    .headers
                    .iter()
                    .map(|(k, v)| (&k[..], v.as_deref()))
                    .collect();
                assert_eq!(headers, [(&b"a"[..], None), (&b"a"[..], Some(&b"1"[..]))]);
                offsets.push(number);
            }
        }
    }
    if !offsets.is_empty() {
        assert_eq!(consumer.high_watermark(&partition()), Some(Offset(RECORDS)));
    }
    Ok(offsets)
}

#[test]
fn every_record_is_read_once_from_wherever_reading_begins() {
    let broker = filled_broker();
    let check = |start: StartAt, first: i64| {
        let offsets = read(&broker, start, ConsumerOptions::default()).unwrap();
        assert_eq!(offsets, (first..RECORDS).collect::<Vec<_>>(), "{start:?}");
    };
    check(StartAt::Earliest, 0);
    check(StartAt::Offset(Offset(1)), 1);
    check(StartAt::Offset(Offset(42)), 42);
    broker.state.lock().unwrap().half_batch = true;
    check(StartAt::Earliest, 0);
    check(StartAt::Offset(Offset(99)), 99);
}

#[test]
fn a_position_out_of_range_is_reset_as_told() {
    let broker = filled_broker();
    let beyond = StartAt::Offset(Offset(RECORDS - 1));
    broker.state.lock().unwrap().start_offset = 60;
    let reset = |reset| ConsumerOptions {
        reset,
        ..ConsumerOptions::default()
    };
    let before = StartAt::Offset(Offset(5));
    assert_eq!(
        read(&broker, before, reset(OffsetReset::Latest)).unwrap(),
        Vec::<i64>::new()
    );
    let error = read(&broker, before, reset(OffsetReset::Fail)).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
    assert_eq!(
        read(&broker, beyond, reset(OffsetReset::Fail)).unwrap(),
        [RECORDS - 1]
    );
    let offsets = read(&broker, before, reset(OffsetReset::Earliest)).unwrap();
    assert_eq!(offsets, (60..RECORDS).collect::<Vec<_>>());
}

#[test]
fn reading_from_a_time_beyond_all_records_begins_at_the_end() {
    let broker = filled_broker();
    let start = StartAt::Timestamp(Timestamp(i64::MAX));
    let mut consumer = Consumer::assign(
        client(&broker),
        &[(partition(), start)],
        ConsumerOptions::default(),
    )
    .unwrap();
    assert_eq!(consumer.position(&partition()), Some(Offset(RECORDS)));
    consumer.seek(&partition(), Offset(RECORDS - 2));
    let batches = consumer.poll().unwrap();
    let count: usize = batches
        .iter()
        .map(|batch| batch.records().unwrap().len())
        .sum();
    assert_eq!(count, 2);
}

#[test]
fn offsets_are_listed_in_the_order_in_which_they_were_asked_for() {
    let broker = filled_broker();
    broker.state.lock().unwrap().start_offset = 3;
    let wanted = [(partition(), OffsetSpec::Latest)];
    let listed = client(&broker).list_offsets(&wanted).unwrap();
    assert_eq!(listed[0].offset, Some(Offset(RECORDS)));
    let wanted = [(partition(), OffsetSpec::Earliest)];
    assert_eq!(
        client(&broker).list_offsets(&wanted).unwrap()[0].offset,
        Some(Offset(3))
    );
    let wanted = [(partition(), OffsetSpec::At(Timestamp(i64::MAX)))];
    assert_eq!(
        client(&broker).list_offsets(&wanted).unwrap()[0].offset,
        None
    );
}

#[test]
fn a_damaged_batch_is_told() {
    let broker = filled_broker();
    {
        let mut state = broker.state.lock().unwrap();
        let mut damaged = state.logs[0][1].to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        state.logs[0][1] = damaged.into();
    }
    let error = read(&broker, StartAt::Earliest, ConsumerOptions::default()).unwrap_err();
    assert!(matches!(error, ClientError::Batch { .. }), "{error}");
}

#[test]
fn a_broker_that_does_not_know_the_first_question_is_asked_again() {
    let broker = Broker::start(1);
    broker.state.lock().unwrap().is_old = true;
    let options = ClientOptions::default();
    let connection = Connection::open(&broker.bootstrap(), &options).unwrap();
    assert_eq!(connection.version(ApiKey::Fetch).unwrap(), 18);
    assert_eq!(connection.version_at_most(ApiKey::Fetch, 12).unwrap(), 12);
    let error = connection.version_at_most(ApiKey::Fetch, 3).unwrap_err();
    assert!(matches!(error, ClientError::Unsupported { .. }), "{error}");
}

#[test]
fn an_address_where_nothing_listens_is_told_with_a_hint() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = Client::connect(&address, ClientOptions::default()).unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
    assert!(error.to_string().contains(&address) && error.hint().is_some());
    let error = Client::connect("nonsense", ClientOptions::default()).unwrap_err();
    assert!(matches!(error, ClientError::BadAddress { .. }), "{error}");
}

#[test]
fn something_that_is_no_broker_is_told() {
    use std::io::Write;
    let check = |answer: &'static [u8]| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The client may have gone already.
            let _ = stream.write_all(answer);
            std::thread::sleep(Duration::from_millis(200));
        });
        let error = Client::connect(&address, ClientOptions::default()).unwrap_err();
        peer.join().unwrap();
        error
    };
    let error = check(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
    let error = check(&[0, 0, 0, 8, 0, 0, 0, 99, 0, 0, 0, 0]);
    assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
    let error = check(&[0, 0, 0, 8, 0]);
    assert!(matches!(error, ClientError::Disconnected { .. }), "{error}");
}
