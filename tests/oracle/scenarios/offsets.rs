//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use kafka_protocol::messages::{
    DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, TopicName,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};

use crate::batch::{Batch, GZIP, base_timestamp};
use crate::session::{Connection, Session, text};

fn never_made() -> TopicName {
    TopicName(text("never-made"))
}

fn list(topic: &TopicName, asked: &[(i32, i64, i32)]) -> ListOffsetsRequest {
    let partitions = asked.iter().map(|(index, timestamp, epoch)| {
        ListOffsetsPartition::default()
            .with_partition_index(*index)
            .with_timestamp(*timestamp)
            .with_current_leader_epoch(*epoch)
    });
    ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![
            ListOffsetsTopic::default()
                .with_name(topic.clone())
                .with_partitions(partitions.collect()),
        ])
}

pub(crate) fn list_offsets(s: &mut Session) {
    let topic = s.topic("times", 3, &[]);
    // Timestamps go up, back and up again, inside compressed batches too.
    s.append(&topic, 0, Batch::of(&["a", "b", "c"]).bytes());
    let mut out_of_order = Batch::of(&["d", "e", "f"])
        .at(base_timestamp() + 10_000)
        .attributes(GZIP);
    out_of_order.records[1].timestamp_delta = 90_000;
    out_of_order.records[2].timestamp_delta = 4_000;
    s.append(&topic, 0, out_of_order.bytes());
    s.append(
        &topic,
        0,
        Batch::of(&["g", "h"]).at(base_timestamp() + 50_000).bytes(),
    );
    s.append(&topic, 1, Batch::of(&["i"]).bytes());
    let n = &topic.name;
    let mut c = s.connect();
    for v in s.versions::<ListOffsetsRequest>() {
        for special in [-1, -2, -3, -4, -5, -6, -7, i64::MIN] {
            let asked = [(0, special, -1), (1, special, -1), (2, special, -1)];
            s.call(&mut c, &format!("timestamp {special}"), v, &list(n, &asked));
        }
        for delta in [
            -5000, 0, 1, 999, 1000, 2000, 2001, 10_000, 14_000, 50_000, 99_999, 100_000, 100_001,
        ] {
            let asked = [(0, base_timestamp() + delta, -1)];
            s.call(&mut c, &format!("base and {delta} ms"), v, &list(n, &asked));
        }
        s.call(
            &mut c,
            "timestamp 0",
            v,
            &list(n, &[(0, 0, -1), (2, 0, -1)]),
        );
        s.call(
            &mut c,
            "the largest timestamp",
            v,
            &list(n, &[(0, i64::MAX, -1)]),
        );
        s.call(
            &mut c,
            "unknown partition",
            v,
            &list(n, &[(0, -1, -1), (9, -1, -1)]),
        );
        s.call(
            &mut c,
            "unknown topic",
            v,
            &list(&never_made(), &[(0, -1, -1)]),
        );
        s.call(
            &mut c,
            "one partition twice",
            v,
            &list(n, &[(0, -1, -1), (0, -2, -1)]),
        );
        s.call(&mut c, "no partitions", v, &list(n, &[]));
        if v >= 2 {
            let committed = list(n, &[(0, -1, -1)]).with_isolation_level(1);
            s.call(&mut c, "read committed", v, &committed);
        }
        if v >= 4 {
            for epoch in [0, 1, 1000] {
                s.call(
                    &mut c,
                    &format!("epoch {epoch}"),
                    v,
                    &list(n, &[(0, -1, epoch)]),
                );
            }
        }
        // Consumers are -1; a replica or a debugging client is another number.
        for replica in [-2, 1] {
            let request = list(n, &[(0, -1, -1)]).with_replica_id(replica.into());
            s.call(&mut c, &format!("replica {replica}"), v, &request);
        }
    }
    let unused = s.topic("empty", 1, &[]);
    for v in s.versions::<ListOffsetsRequest>() {
        for special in [-1, -2, -3] {
            let request = list(&unused.name, &[(0, special, -1)]);
            s.call(
                &mut c,
                &format!("empty log, timestamp {special}"),
                v,
                &request,
            );
        }
    }
}

pub(crate) fn offset_for_leader_epoch(s: &mut Session) {
    let topic = s.topic("epochs", 2, &[]);
    s.append(&topic, 0, Batch::of(&["a", "b", "c"]).bytes());
    let mut c = s.connect();
    for v in s.versions::<OffsetForLeaderEpochRequest>() {
        let ask = |name: &TopicName, asked: &[(i32, i32, i32)]| {
            let partitions = asked.iter().map(|(index, current, epoch)| {
                OffsetForLeaderPartition::default()
                    .with_partition(*index)
                    .with_current_leader_epoch(*current)
                    .with_leader_epoch(*epoch)
            });
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![
                OffsetForLeaderTopic::default()
                    .with_topic(name.clone())
                    .with_partitions(partitions.collect()),
            ]);
            match v {
                3.. => request.with_replica_id((-1).into()),
                _ => request,
            }
        };
        for (label, name, asked) in [
            ("the current epoch", &topic.name, vec![(0, -1, 0)]),
            ("of an empty log", &topic.name, vec![(1, -1, 0)]),
            ("a later epoch", &topic.name, vec![(0, -1, 5)]),
            ("no epoch", &topic.name, vec![(0, -1, -1)]),
            ("the leader knows the same", &topic.name, vec![(0, 0, 0)]),
            ("the leader knows less", &topic.name, vec![(0, 1000, 0)]),
            (
                "unknown partition",
                &topic.name,
                vec![(9, -1, 0), (0, -1, 0)],
            ),
            ("unknown topic", &never_made(), vec![(0, -1, 0)]),
            ("no partitions", &topic.name, vec![]),
        ] {
            s.call(&mut c, label, v, &ask(name, &asked));
        }
    }
}

/// The first and the last offset of partition 0.
fn bounds(s: &mut Session, c: &mut Connection, topic: &TopicName, label: &str) {
    let mut offset = |timestamp| {
        let response = c.exchange(4, &list(topic, &[(0, timestamp, -1)]));
        response.topics[0].partitions[0].offset
    };
    let told = (offset(-2), offset(-1));
    s.fact(&format!("offsets {label}"), format!("{told:?}"));
}

pub(crate) fn delete_records(s: &mut Session) {
    let mut c = s.connect();
    let ask = |name: &TopicName, asked: &[(i32, i64)]| {
        let partitions = asked.iter().map(|(index, offset)| {
            DeleteRecordsPartition::default()
                .with_partition_index(*index)
                .with_offset(*offset)
        });
        DeleteRecordsRequest::default()
            .with_timeout_ms(10_000)
            .with_topics(vec![
                DeleteRecordsTopic::default()
                    .with_name(name.clone())
                    .with_partitions(partitions.collect()),
            ])
    };
    for v in s.versions::<DeleteRecordsRequest>() {
        let topic = s.topic(&format!("trimmed-{v}"), 2, &[]);
        for _ in 0..3 {
            s.append(&topic, 0, Batch::of(&["a", "b", "c"]).bytes());
        }
        let n = &topic.name;
        for (label, request) in [
            ("inside a batch", ask(n, &[(0, 4)])),
            ("less than before", ask(n, &[(0, 2)])),
            ("the same", ask(n, &[(0, 4)])),
            ("past the end", ask(n, &[(0, 10)])),
            ("negative", ask(n, &[(0, -2)])),
            ("an empty partition", ask(n, &[(1, -1)])),
            ("unknown partition", ask(n, &[(9, 0), (0, 5)])),
            ("unknown topic", ask(&never_made(), &[(0, 0)])),
            ("a partition twice", ask(n, &[(0, 7), (0, 6)])),
            ("an unknown one twice", ask(n, &[(9, 0), (9, 1)])),
            ("to the end", ask(n, &[(0, -1)])),
            ("no partitions", ask(n, &[])),
        ] {
            s.call(&mut c, label, v, &request);
            bounds(s, &mut c, n, &format!("after {label} v{v}"));
        }
        s.append(&topic, 0, Batch::of(&["later"]).bytes());
        bounds(s, &mut c, n, &format!("after all v{v}"));
        super::fetch::fetch_from(s, &topic, 0, 9, &format!("what is left in v{v}"));
    }
}
