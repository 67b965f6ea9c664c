//! Produce: every version, every refusal, what is kept of a record.

use bytes::Bytes;
use kafka_protocol::messages::{
    ListOffsetsRequest, ProduceRequest, TopicName, TransactionalId,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};
use uuid::Uuid;

use super::fetch::fetch_all;
use crate::batch::{
    Batch, CONTROL, GZIP, LOG_APPEND_TIME, LZ4, Record, SNAPPY, TRANSACTIONAL, ZSTD,
    base_timestamp, corrupted, with_length_off_by, with_magic, with_records,
};
use crate::session::{Connection, Session, Topic, text};

pub(crate) fn data(v: i16, topic: &Topic, partitions: &[(i32, Option<Bytes>)]) -> TopicProduceData {
    let partitions = partitions.iter().map(|(index, records)| {
        PartitionProduceData::default()
            .with_index(*index)
            .with_records(records.clone())
    });
    let data = TopicProduceData::default().with_partition_data(partitions.collect());
    match v {
        13.. => data.with_topic_id(topic.id),
        _ => data.with_name(topic.name.clone()),
    }
}

pub(crate) fn request(acks: i16, topics: Vec<TopicProduceData>) -> ProduceRequest {
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(topics)
}

fn one(v: i16, topic: &Topic, batch: Bytes) -> ProduceRequest {
    request(-1, vec![data(v, topic, &[(0, Some(batch))])])
}

fn unknown_topic() -> Topic {
    Topic {
        name: TopicName(text("never-made")),
        id: Uuid::from_u128(7),
    }
}

/// The offset after the last record, so that a refusal is seen to have appended nothing.
fn end_offset(s: &mut Session, c: &mut Connection, topic: &Topic, label: &str) {
    let request = ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![
            ListOffsetsTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(vec![ListOffsetsPartition::default().with_timestamp(-1)]),
        ]);
    let response = c.exchange(4, &request);
    s.fact(label, response.topics[0].partitions[0].offset);
}

pub(crate) fn versions(s: &mut Session) {
    let mut c = s.connect();
    for v in s.versions::<ProduceRequest>() {
        let topic = s.topic(&format!("v{v}"), 2, &[]);
        let batch = Batch::of(&["a", "b", "c"]).bytes();
        for acks in [1, -1] {
            let request = request(acks, vec![data(v, &topic, &[(0, Some(batch.clone()))])]);
            s.call(&mut c, &format!("acks {acks}"), v, &request);
        }
        let two = data(
            v,
            &topic,
            &[(0, Some(batch.clone())), (1, Some(batch.clone()))],
        );
        s.call(&mut c, "two partitions", v, &request(-1, vec![two]));
        let missing = data(
            v,
            &topic,
            &[(0, Some(batch.clone())), (7, Some(batch.clone()))],
        );
        s.call(
            &mut c,
            "one unknown partition",
            v,
            &request(-1, vec![missing]),
        );
        s.call(
            &mut c,
            "unknown topic",
            v,
            &one(v, &unknown_topic(), batch.clone()),
        );
        let mixed = vec![
            data(v, &topic, &[(0, Some(batch.clone()))]),
            data(v, &unknown_topic(), &[(0, Some(batch.clone()))]),
        ];
        s.call(&mut c, "known and unknown topic", v, &request(-1, mixed));
        let wrong = corrupted(&batch);
        s.call(&mut c, "wrong checksum", v, &one(v, &topic, wrong.clone()));
        let half = data(v, &topic, &[(0, Some(wrong)), (1, Some(batch.clone()))]);
        s.call(&mut c, "one good, one bad", v, &request(-1, vec![half]));
        s.call(
            &mut c,
            "acks 2",
            v,
            &request(2, vec![data(v, &topic, &[(0, Some(batch.clone()))])]),
        );
        s.call(
            &mut c,
            "acks -2",
            v,
            &request(-2, vec![data(v, &topic, &[(0, Some(batch.clone()))])]),
        );
        s.call(&mut c, "no topics", v, &request(-1, vec![]));
        s.call(
            &mut c,
            "no partitions",
            v,
            &request(-1, vec![data(v, &topic, &[])]),
        );
        let zstd = Batch::of(&["z"]).attributes(ZSTD).bytes();
        s.call(&mut c, "zstd", v, &one(v, &topic, zstd));
        let gap = Batch {
            last_offset_delta: Some(9),
            ..Batch::of(&["a", "b"])
        };
        s.call(&mut c, "wrong last offset", v, &one(v, &topic, gap.bytes()));
        end_offset(s, &mut c, &topic, &format!("end offset after v{v}"));

        // acks=0 is never answered, so the next answer on the connection is the next request's.
        c.write_unanswered(
            v,
            &request(0, vec![data(v, &topic, &[(1, Some(batch.clone()))])]),
        );
        s.call(&mut c, "after acks 0", v, &one(v, &topic, batch.clone()));
        let mut closing = s.connect();
        let bad = request(0, vec![data(v, &topic, &[(1, Some(corrupted(&batch)))])]);
        closing.write_unanswered(v, &bad);
        s.reaction(
            &mut closing,
            &format!("acks 0 and a wrong checksum in v{v}"),
        );
    }
}

pub(crate) fn refusals(s: &mut Session) {
    let good = Batch::of(&["a", "b", "c"]);
    let bytes = good.bytes();
    let two_batches = [&bytes[..], &bytes[..]].concat();
    let record = |offset_delta: i32, timestamp_delta: i64| Record {
        key: None,
        value: Some(b"v".to_vec()),
        headers: vec![],
        timestamp_delta,
        offset_delta,
    };
    let deltas = |deltas: &[i32]| Batch {
        records: deltas.iter().map(|d| record(*d, 0)).collect(),
        ..good.clone()
    };
    let counted = |count: i32| {
        Batch {
            record_count: Some(count),
            ..good.clone()
        }
        .bytes()
    };
    let last = |delta: i32| {
        Batch {
            last_offset_delta: Some(delta),
            ..good.clone()
        }
        .bytes()
    };
    let cases: Vec<(&str, Option<Bytes>)> = vec![
        ("null records", None),
        ("no bytes", Some(Bytes::new())),
        ("a few bytes", Some(Bytes::from_static(b"not a batch"))),
        ("zeros", Some(vec![0; 80].into())),
        ("wrong checksum", Some(corrupted(&bytes))),
        ("magic 0", Some(with_magic(&bytes, 0))),
        ("magic 1", Some(with_magic(&bytes, 1))),
        ("magic 3", Some(with_magic(&bytes, 3))),
        ("length one short", Some(with_length_off_by(&bytes, -1))),
        ("length one long", Some(with_length_off_by(&bytes, 1))),
        (
            "length 0",
            Some(with_length_off_by(&bytes, 12 - bytes.len() as i32)),
        ),
        ("negative length", Some(with_length_off_by(&bytes, -1000))),
        (
            "huge length",
            Some(with_length_off_by(&bytes, i32::MAX / 2)),
        ),
        ("cut short", Some(bytes.slice(..bytes.len() - 5))),
        ("two batches", Some(two_batches.into())),
        ("count one too small", Some(counted(2))),
        ("count one too large", Some(counted(4))),
        ("count 0", Some(counted(0))),
        ("negative count", Some(counted(-1))),
        ("huge count", Some(counted(i32::MAX))),
        ("last offset too small", Some(last(1))),
        ("last offset too large", Some(last(3))),
        ("negative last offset", Some(last(-1))),
        ("a gap in the offsets", Some(deltas(&[0, 2]).bytes())),
        ("offsets that start at 1", Some(deltas(&[1, 2]).bytes())),
        ("offsets that go back", Some(deltas(&[1, 0]).bytes())),
        (
            "control batch",
            Some(good.clone().attributes(CONTROL).bytes()),
        ),
        (
            "transactional batch",
            Some(good.clone().attributes(TRANSACTIONAL).bytes()),
        ),
        ("codec 5", Some(good.clone().attributes(5).bytes())),
        ("codec 7", Some(good.clone().attributes(7).bytes())),
        (
            "gzip that is none",
            Some(with_records(
                &good.clone().attributes(GZIP).bytes(),
                b"junk",
            )),
        ),
        (
            "snappy that is none",
            Some(with_records(
                &good.clone().attributes(SNAPPY).bytes(),
                b"junk",
            )),
        ),
        (
            "lz4 that is none",
            Some(with_records(&good.clone().attributes(LZ4).bytes(), b"junk")),
        ),
        (
            "zstd that is none",
            Some(with_records(
                &good.clone().attributes(ZSTD).bytes(),
                b"junk",
            )),
        ),
        (
            "records that are none",
            Some(with_records(&bytes, &[0xff; 20])),
        ),
        ("no records at all", Some(with_records(&bytes, &[]))),
        (
            "bytes after the records",
            Some(with_records(&bytes, &[&bytes[61..], b"more"].concat())),
        ),
        (
            "empty batch",
            Some(
                Batch {
                    records: vec![],
                    ..good.clone()
                }
                .bytes(),
            ),
        ),
        (
            "producer id without sequence",
            Some(good.clone().by_producer(5, 0, -1).bytes()),
        ),
        (
            "two hours ahead",
            Some(good.clone().at(s.started_ms + 7_200_000).bytes()),
        ),
        (
            "half an hour ahead",
            Some(good.clone().at(s.started_ms + 1_800_000).bytes()),
        ),
        ("negative timestamp", Some(good.clone().at(-1).bytes())),
        ("timestamp -2", Some(Batch::of(&["x"]).at(-2).bytes())),
        (
            "a wrong max timestamp",
            Some(
                Batch {
                    max_timestamp: Some(5),
                    ..good.clone()
                }
                .bytes(),
            ),
        ),
        (
            "log append time from a client",
            Some(good.clone().attributes(LOG_APPEND_TIME).bytes()),
        ),
        (
            "base offset that is not 0",
            Some(
                Batch {
                    base_offset: 77,
                    ..good.clone()
                }
                .bytes(),
            ),
        ),
        (
            "leader epoch that is not -1",
            Some(
                Batch {
                    leader_epoch: 9,
                    ..good.clone()
                }
                .bytes(),
            ),
        ),
    ];
    let mut versions = vec![3, 8, 12, s.newest::<ProduceRequest>()];
    versions.dedup();
    for v in versions {
        // A partition for each, so that what one does is not seen in the next.
        let topic = s.topic(&format!("refused-{v}"), cases.len() as i32, &[]);
        for (partition, (label, records)) in cases.iter().enumerate() {
            let partition = partition as i32;
            // A broker may close the connection on what it cannot take apart.
            let request = request(-1, vec![data(v, &topic, &[(partition, records.clone())])]);
            s.attempt(label, v, &request);
            fetch_all(s, &topic, partition, &format!("appended, {label}, v{v}"));
        }
        let limited = s.topic(&format!("limited-{v}"), 4, &[("max.message.bytes", "500")]);
        for (partition, label, batch) in [
            (0, "small enough", Batch::sized(1, 300)),
            (1, "too large", Batch::sized(1, 500)),
            (2, "too large together", Batch::sized(3, 200)),
            (
                3,
                "compressed to less than the limit",
                Batch::sized(3, 400).attributes(GZIP),
            ),
        ] {
            let data = data(v, &limited, &[(partition, Some(batch.bytes()))]);
            s.attempt(label, v, &request(-1, vec![data]));
        }
        if v >= 11 {
            let topic = s.topic(&format!("no-transaction-{v}"), 1, &[]);
            let request = one(v, &topic, bytes.clone())
                .with_transactional_id(Some(TransactionalId(text("nobody"))));
            s.attempt("transactional id without such a batch", v, &request);
        }
    }
}

/// Keys, values, headers and compressed batches come back bit by bit.
pub(crate) fn records(s: &mut Session) {
    let topic = s.topic("kept", 1, &[]);
    let mut c = s.connect();
    let v = s.newest::<ProduceRequest>();
    let mut odd = Batch::of(&["value", "", "x"]);
    odd.records[0].key = None;
    odd.records[1].value = None;
    odd.records[2].headers = vec![
        ("name", Some(b"one".to_vec())),
        ("name", Some(b"two".to_vec())),
        ("", None),
    ];
    // Records need not be in the order of their timestamps.
    odd.records[1].timestamp_delta = -500;
    s.call(&mut c, "odd records", v, &one(v, &topic, odd.bytes()));
    for (label, codec) in [
        ("gzip", GZIP),
        ("snappy", SNAPPY),
        ("lz4", LZ4),
        ("zstd", ZSTD),
    ] {
        let batch = Batch::sized(20, 100).attributes(codec).bytes();
        s.call(&mut c, label, v, &one(v, &topic, batch));
    }
    let sent: Vec<Bytes> = [0, GZIP, SNAPPY, LZ4, ZSTD]
        .map(|codec| match codec {
            0 => odd.bytes(),
            _ => Batch::sized(20, 100).attributes(codec).bytes(),
        })
        .into();
    let fetched = fetch_all(s, &topic, 0, "what comes back");
    // All but the base offset and the leader epoch, which the broker fills in.
    let mut at = 0;
    for (i, batch) in sent.iter().enumerate() {
        let back = &fetched[at..at + batch.len()];
        let same = back[8..12] == batch[8..12] && back[16..] == batch[16..];
        s.fact(&format!("batch {i} is unchanged"), same);
        at += batch.len();
    }
}

pub(crate) fn log_append_time(s: &mut Session) {
    let topic = s.topic(
        "append-time",
        1,
        &[("message.timestamp.type", "LogAppendTime")],
    );
    let mut c = s.connect();
    for v in s.versions::<ProduceRequest>() {
        let batch = Batch::of(&["a", "b"]);
        s.call(&mut c, "plain", v, &one(v, &topic, batch.bytes()));
        let batch = batch.attributes(GZIP).at(base_timestamp() + 5);
        s.call(&mut c, "gzip", v, &one(v, &topic, batch.bytes()));
    }
    fetch_all(s, &topic, 0, "what comes back");
}

/// Sizes and times that a topic's own configuration sets.
pub(crate) fn limits(s: &mut Session) {
    let v = s.newest::<ProduceRequest>();
    let mut c = s.connect();
    let early = s.topic("early", 1, &[("message.timestamp.before.max.ms", "60000")]);
    for (label, at) in [
        ("old", s.started_ms - 120_000),
        ("young", s.started_ms - 20_000),
    ] {
        s.call(
            &mut c,
            label,
            v,
            &one(v, &early, Batch::of(&["a", "b"]).at(at).bytes()),
        );
    }
    let late = s.topic("late", 1, &[("message.timestamp.after.max.ms", "1000")]);
    for (label, at) in [
        ("ahead", s.started_ms + 60_000),
        ("now", s.started_ms - 2000),
    ] {
        s.call(
            &mut c,
            label,
            v,
            &one(v, &late, Batch::of(&["a", "b"]).at(at).bytes()),
        );
    }
    let segment = s.topic(
        "segment",
        1,
        &[
            ("segment.bytes", "1048576"),
            ("max.message.bytes", "3000000"),
        ],
    );
    for (label, size) in [
        ("fits a segment", 1_000_000),
        ("larger than a segment", 1_200_000),
    ] {
        s.call(
            &mut c,
            label,
            v,
            &one(v, &segment, Batch::sized(1, size).bytes()),
        );
    }
    let large = s.topic("large", 1, &[]);
    for (label, size) in [
        ("largest", 1_048_588 - 61 - 17),
        ("one byte more", 1_048_588 - 61 - 16),
        ("far more", 2_000_000),
    ] {
        let mut batch = Batch::sized(1, size);
        batch.records[0].key = None;
        s.call(&mut c, label, v, &one(v, &large, batch.bytes()));
    }
    let replicas = s.topic("replicas", 1, &[("min.insync.replicas", "2")]);
    for acks in [1, -1] {
        let batch = Batch::of(&["a"]).bytes();
        let request = request(acks, vec![data(v, &replicas, &[(0, Some(batch))])]);
        s.call(
            &mut c,
            &format!("two in-sync replicas wanted, acks {acks}"),
            v,
            &request,
        );
    }
}
