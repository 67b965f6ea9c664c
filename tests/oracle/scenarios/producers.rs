//! Idempotent producers.

use kafka_protocol::messages::{
    DescribeProducersRequest, InitProducerIdRequest, ProduceRequest, TopicName, TransactionalId,
    describe_producers_request::TopicRequest,
};

use super::fetch::fetch_all;
use super::produce::{data, request};
use crate::batch::{Batch, TRANSACTIONAL};
use crate::session::{Session, Topic, eventually, text};

pub(crate) fn init_producer_id(s: &mut Session) {
    let mut c = s.connect();
    for v in s.versions::<InitProducerIdRequest>() {
        let ask = || {
            InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_transaction_timeout_ms(60_000)
        };
        let first = s.call(&mut c, "an id", v, &ask());
        let second = s.call(&mut c, "another id", v, &ask());
        s.fact(
            &format!("ids differ in v{v}"),
            first.producer_id != second.producer_id,
        );
        let empty = ask().with_transactional_id(Some(TransactionalId(text(""))));
        s.call(&mut c, "an empty transactional id", v, &empty);
        s.call(
            &mut c,
            "timeout 0",
            v,
            &ask().with_transaction_timeout_ms(0),
        );
        if v >= 3 {
            for (label, id, epoch) in [
                ("an id without an epoch", first.producer_id, -1),
                ("an epoch without an id", (-1).into(), 3),
                ("an id and its epoch", first.producer_id, 0),
                ("an id and a later epoch", first.producer_id, 5),
            ] {
                let request = ask().with_producer_id(id).with_producer_epoch(epoch);
                s.call(&mut c, label, v, &request);
            }
        }
    }
}

/// A producer id that this broker gave out.
fn producer_id(s: &Session) -> i64 {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000);
    let mut c = s.connect();
    let mut id = -1;
    // The first ids come from the controller, and a broker may say so instead of waiting.
    eventually("a producer id", || {
        id = c.exchange(1, &request).producer_id.0;
        id >= 0
    });
    id
}

pub(crate) fn sequences(s: &mut Session) {
    let v = s.newest::<ProduceRequest>();
    let mut versions = vec![3, 7, 10, v];
    versions.dedup();
    for v in versions {
        let topic = s.topic(&format!("sequences-{v}"), 2, &[]);
        let (a, b, c) = (producer_id(s), producer_id(s), producer_id(s));
        let max = i32::MAX;
        // Producer, epoch, first sequence, records, partition.
        let steps: &[(&str, i64, i16, i32, usize, i32)] = &[
            ("first", a, 0, 0, 3, 0),
            ("second", a, 0, 3, 2, 0),
            ("second again", a, 0, 3, 2, 0),
            ("first again", a, 0, 0, 3, 0),
            ("a gap", a, 0, 7, 1, 0),
            ("an overlap", a, 0, 4, 2, 0),
            ("part of the second", a, 0, 3, 1, 0),
            ("the first and more", a, 0, 0, 5, 0),
            ("third", a, 0, 5, 1, 0),
            ("fourth", a, 0, 6, 1, 0),
            ("fifth", a, 0, 7, 1, 0),
            ("sixth", a, 0, 8, 1, 0),
            ("seventh", a, 0, 9, 1, 0),
            // The window holds five batches: the second has left it.
            ("second, too late", a, 0, 3, 2, 0),
            ("third, in time", a, 0, 5, 1, 0),
            ("another partition", a, 0, 0, 1, 1),
            ("a new epoch that does not start at 0", a, 1, 10, 1, 0),
            ("a new epoch", a, 1, 0, 1, 0),
            ("the old epoch", a, 0, 10, 1, 0),
            ("an old epoch's batch again", a, 0, 9, 1, 0),
            ("the new epoch goes on", a, 1, 1, 1, 0),
            ("an epoch is skipped", a, 5, 0, 1, 0),
            ("an unknown producer in the middle", b, 0, 40, 1, 0),
            ("and its next", b, 0, 41, 1, 0),
            ("an id that nobody gave out", 987_654_321, 0, 0, 1, 0),
            ("near the end of sequences", c, 0, max - 1, 2, 0),
            ("wrapped to 0", c, 0, 0, 1, 0),
            ("after the wrap", c, 0, 1, 1, 0),
            ("a batch that wraps inside", b, 1, 0, 1, 0),
            ("a negative epoch", b, -1, 1, 1, 0),
        ];
        let mut connection = s.connect();
        for (label, id, epoch, sequence, count, partition) in steps {
            let values: Vec<String> = (0..*count).map(|i| format!("{label} {i}")).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let batch = Batch::of(&values).by_producer(*id, *epoch, *sequence);
            let request = request(
                -1,
                vec![data(v, &topic, &[(*partition, Some(batch.bytes()))])],
            );
            s.call(&mut connection, label, v, &request);
        }
        // A batch whose sequences pass the largest one.
        let wrapping = producer_id(s);
        for (label, sequence, count) in [
            ("up to the end", max - 3, 3),
            ("over the end", max, 3),
            ("then", 2, 1),
        ] {
            let batch = Batch::sized(count, 10).by_producer(wrapping, 0, sequence);
            let request = request(-1, vec![data(v, &topic, &[(0, Some(batch.bytes()))])]);
            s.call(&mut connection, label, v, &request);
        }
        let batch = Batch::of(&["t"])
            .by_producer(c, 0, 2)
            .attributes(TRANSACTIONAL);
        let request = request(-1, vec![data(v, &topic, &[(0, Some(batch.bytes()))])]);
        s.call(
            &mut connection,
            "transactional, outside of a transaction",
            v,
            &request,
        );
        fetch_all(s, &topic, 0, &format!("what was appended in v{v}"));
    }
    pipelined(s);
}

/// Five requests of one producer in flight, then all of them again.
fn pipelined(s: &mut Session) {
    let v = s.newest::<ProduceRequest>();
    let topic = s.topic("pipelined", 1, &[]);
    let id = producer_id(s);
    let mut connection = s.connect();
    for round in ["first", "again"] {
        for i in 0..5 {
            let batch = Batch::sized(2, 50).by_producer(id, 0, i * 2);
            connection.send(
                v,
                &request(-1, vec![data(v, &topic, &[(0, Some(batch.bytes()))])]),
            );
        }
        for i in 0..5 {
            s.answer::<ProduceRequest>(&mut connection, &format!("{round}, request {i}"));
        }
    }
    fetch_all(s, &topic, 0, "what was appended by five in flight");
}

pub(crate) fn describe_producers(s: &mut Session) {
    let topic = s.topic("described", 2, &[]);
    let (first, second) = (producer_id(s), producer_id(s));
    for (id, epoch, sequence) in [(first, 0, 0), (first, 0, 1), (second, 0, 0), (second, 1, 0)] {
        let batch = Batch::of(&["v"]).by_producer(id, epoch, sequence);
        s.append(&topic, 0, batch.bytes());
    }
    s.append(&topic, 0, Batch::of(&["nobody's"]).bytes());
    let mut c = s.connect();
    let ask = |topic: &Topic, partitions: &[i32]| {
        TopicRequest::default()
            .with_name(topic.name.clone())
            .with_partition_indexes(partitions.to_vec())
    };
    let unknown = Topic {
        name: TopicName(text("never-made")),
        id: topic.id,
    };
    for v in s.versions::<DescribeProducersRequest>() {
        for (label, topics) in [
            ("two partitions", vec![ask(&topic, &[0, 1])]),
            ("an unknown partition", vec![ask(&topic, &[0, 9])]),
            ("an unknown topic", vec![ask(&unknown, &[0])]),
            ("no partitions", vec![ask(&topic, &[])]),
            ("no topics", vec![]),
        ] {
            s.call(
                &mut c,
                label,
                v,
                &DescribeProducersRequest::default().with_topics(topics),
            );
        }
    }
}
