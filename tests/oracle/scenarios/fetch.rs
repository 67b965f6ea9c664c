//! Fetch: versions, limits, waiting, sessions, epochs.

use std::ops::Range;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{
    DeleteRecordsRequest, FetchRequest, FetchResponse, TopicName,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
};
use uuid::Uuid;

use crate::batch::{Batch, GZIP, ZSTD};
use crate::session::{Session, Topic, text};

/// A partition to be fetched: index, offset, current epoch, last fetched epoch, most bytes.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    index: i32,
    offset: i64,
    epoch: i32,
    last_epoch: i32,
    max_bytes: i32,
}

pub(crate) fn from(index: i32, offset: i64) -> Ask {
    Ask {
        index,
        offset,
        epoch: -1,
        last_epoch: -1,
        max_bytes: 1 << 20,
    }
}

fn topic(v: i16, topic: &Topic, partitions: &[Ask]) -> FetchTopic {
    let partitions = partitions.iter().map(|ask| {
        let mut partition = FetchPartition::default()
            .with_partition(ask.index)
            .with_fetch_offset(ask.offset)
            .with_partition_max_bytes(ask.max_bytes);
        if v >= 9 {
            partition = partition.with_current_leader_epoch(ask.epoch);
        }
        if v >= 12 {
            partition = partition.with_last_fetched_epoch(ask.last_epoch);
        }
        partition
    });
    let topic_of = FetchTopic::default().with_partitions(partitions.collect());
    match v {
        13.. => topic_of.with_topic_id(topic.id),
        _ => topic_of.with_topic(topic.name.clone()),
    }
}

/// Answered at once, without a session.
pub(crate) fn request(topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(0)
        .with_max_bytes(50 << 20)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(topics)
}

fn at_version(v: i16, mut request: FetchRequest) -> FetchRequest {
    if v < 7 {
        request.session_epoch = -1;
        request.session_id = 0;
    }
    request
}

/// Everything that a partition holds: its batches are written down, its bytes given back.
pub(crate) fn fetch_all(s: &mut Session, of: &Topic, partition: i32, label: &str) -> Vec<u8> {
    fetch_from(s, of, partition, 0, label)
}

pub(crate) fn fetch_from(
    s: &mut Session,
    of: &Topic,
    index: i32,
    offset: i64,
    label: &str,
) -> Vec<u8> {
    let mut c = s.connect();
    let mut bytes = Vec::new();
    let mut next = offset;
    loop {
        let response = c.exchange(11, &request(vec![topic(11, of, &[from(index, next)])]));
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0, "fetching all of {of:?}");
        let records = partition.records.clone().unwrap_or_default();
        if records.is_empty() {
            break;
        }
        bytes.extend_from_slice(&records);
        let mut rest = &records[..];
        while rest.len() >= 61 {
            let at = |at: usize| i64::from_be_bytes(rest[at..at + 8].try_into().expect("8 bytes"));
            next = at(0) + (at(23) >> 32) + 1;
            rest = &rest[(12 + (at(8) >> 32) as usize).min(rest.len())..];
        }
    }
    s.fact(label, crate::batch::described(&bytes));
    bytes
}

fn unknown_topic() -> Topic {
    Topic {
        name: TopicName(text("never-made")),
        id: Uuid::from_u128(7),
    }
}

pub(crate) fn versions(s: &mut Session) {
    let t = s.topic("read", 3, &[]);
    let other = s.topic("other", 1, &[]);
    s.append(&t, 0, Batch::of(&["a", "b", "c"]).bytes());
    s.append(&t, 0, Batch::of(&["d", "e"]).attributes(GZIP).bytes());
    s.append(&t, 1, Batch::of(&["f"]).attributes(ZSTD).bytes());
    s.append(&other, 0, Batch::of(&["g"]).bytes());
    let mut c = s.connect();
    for v in s.versions::<FetchRequest>() {
        let cases: Vec<(&str, Vec<FetchTopic>)> = vec![
            ("from the start", vec![topic(v, &t, &[from(0, 0)])]),
            ("from the second batch", vec![topic(v, &t, &[from(0, 3)])]),
            (
                "from inside the first batch",
                vec![topic(v, &t, &[from(0, 1)])],
            ),
            (
                "from inside a compressed batch",
                vec![topic(v, &t, &[from(0, 4)])],
            ),
            ("at the end", vec![topic(v, &t, &[from(0, 5)])]),
            ("past the end", vec![topic(v, &t, &[from(0, 6)])]),
            ("before the start", vec![topic(v, &t, &[from(0, -1)])]),
            ("zstd", vec![topic(v, &t, &[from(1, 0)])]),
            ("an empty partition", vec![topic(v, &t, &[from(2, 0)])]),
            (
                "three partitions",
                vec![topic(v, &t, &[from(2, 0), from(0, 0), from(1, 0)])],
            ),
            (
                "two topics",
                vec![topic(v, &other, &[from(0, 0)]), topic(v, &t, &[from(1, 0)])],
            ),
            (
                "an unknown partition",
                vec![topic(v, &t, &[from(9, 0), from(0, 0)])],
            ),
            (
                "an unknown topic",
                vec![topic(v, &unknown_topic(), &[from(0, 0)])],
            ),
            (
                "a known and an unknown topic",
                vec![
                    topic(v, &unknown_topic(), &[from(0, 0)]),
                    topic(v, &other, &[from(0, 0)]),
                ],
            ),
            ("no partitions", vec![topic(v, &t, &[])]),
            ("no topics", vec![]),
        ];
        for (label, topics) in cases {
            s.fetch(&mut c, label, v, &at_version(v, request(topics)));
        }
        let order = request(vec![topic(v, &t, &[from(2, 0), from(0, 0), from(1, 0)])]);
        let response = c.exchange(v, &at_version(v, order));
        let partitions = response.responses.iter().flat_map(|t| &t.partitions);
        let order: Vec<i32> = partitions.map(|p| p.partition_index).collect();
        s.fact(
            &format!("the order of partitions in v{v}"),
            format!("{order:?}"),
        );
        let committed = request(vec![topic(v, &t, &[from(0, 0)])]).with_isolation_level(1);
        s.fetch(&mut c, "read committed", v, &at_version(v, committed));
    }
}

pub(crate) fn limits(s: &mut Session) {
    let t = s.topic("limits", 2, &[]);
    for partition in 0..2 {
        for _ in 0..4 {
            s.append(&t, partition, Batch::sized(1, 1000).bytes());
        }
    }
    let batch = Batch::sized(1, 1000).bytes().len() as i32;
    let mut c = s.connect();
    let mut versions = vec![4, 11, s.newest::<FetchRequest>()];
    versions.dedup();
    for v in versions {
        for (label, partition_max, max) in [
            ("one byte of a partition", 1, 1 << 20),
            ("no bytes of a partition", 0, 1 << 20),
            ("one byte in all", 1 << 20, 1),
            ("no bytes in all", 1 << 20, 0),
            ("one byte short of two batches", 2 * batch - 1, 1 << 20),
            ("two batches of a partition", 2 * batch, 1 << 20),
            ("two batches in all", 1 << 20, 2 * batch),
            ("five batches in all", 1 << 20, 5 * batch),
            (
                "five batches in all, three of a partition",
                3 * batch,
                5 * batch,
            ),
            ("negative limits", -1, -1),
        ] {
            let asks = [0, 1].map(|index| Ask {
                max_bytes: partition_max,
                ..from(index, 0)
            });
            let request = request(vec![topic(v, &t, &asks)]).with_max_bytes(max);
            s.fetch(&mut c, label, v, &at_version(v, request));
        }
        // An empty partition first: the next one still gives its first batch whole.
        let asks = [from(0, 4), from(1, 0)].map(|ask| Ask {
            max_bytes: 1,
            ..ask
        });
        let request = request(vec![topic(v, &t, &asks)]).with_max_bytes(1);
        s.fetch(
            &mut c,
            "an empty one, then one byte",
            v,
            &at_version(v, request),
        );
    }
}

/// Offsets around the start of a log whose beginning was deleted.
pub(crate) fn offsets(s: &mut Session) {
    let t = s.topic("moved", 1, &[]);
    for _ in 0..4 {
        s.append(&t, 0, Batch::of(&["a", "b", "c"]).bytes());
    }
    let mut c = s.connect();
    let deletion = DeleteRecordsRequest::default()
        .with_timeout_ms(10_000)
        .with_topics(vec![
            DeleteRecordsTopic::default()
                .with_name(t.name.clone())
                .with_partitions(vec![DeleteRecordsPartition::default().with_offset(4)]),
        ]);
    c.exchange(1, &deletion);
    for v in s.versions::<FetchRequest>() {
        for offset in [0, 3, 4, 5, 11, 12, 13, i64::MAX] {
            let request = request(vec![topic(v, &t, &[from(0, offset)])]);
            s.fetch(
                &mut c,
                &format!("offset {offset}"),
                v,
                &at_version(v, request),
            );
        }
    }
}

// Bounds between what may happen and what else could, far from both: a busy machine holds up either
// broker now and then.

/// Less than the 5 s that it would have waited.
const DID_NOT_WAIT: Duration = Duration::from_secs(4);
const WAITED_600_MS: Range<Duration> = Duration::from_millis(550)..Duration::from_secs(5);
/// Less than the 10 s that it would have waited without the append.
const WOKEN_AFTER_200_MS: Range<Duration> = Duration::from_millis(150)..Duration::from_secs(9);

pub(crate) fn waiting(s: &mut Session) {
    let t = s.topic("waited-for", 2, &[]);
    s.append(&t, 0, Batch::sized(1, 100).bytes());
    let mut c = s.connect();
    let mut versions = vec![4, 11, s.newest::<FetchRequest>()];
    versions.dedup();
    for v in versions {
        let timed = |s: &mut Session, c: &mut _, label: &str, request: FetchRequest| {
            let started = Instant::now();
            s.fetch(c, label, v, &at_version(v, request));
            started.elapsed()
        };
        let wait = |offset: i64, ms: i32, min_bytes: i32| {
            request(vec![topic(v, &t, &[from(0, offset)])])
                .with_max_wait_ms(ms)
                .with_min_bytes(min_bytes)
        };
        let there = s.append(&t, 0, Batch::sized(1, 100).bytes());
        let end = there + 1;
        let took = timed(s, &mut c, "enough bytes", wait(there, 5000, 1));
        s.fact(&format!("v{v}: it does not wait"), took < DID_NOT_WAIT);
        let took = timed(s, &mut c, "no bytes in time", wait(end, 600, 1));
        s.fact(&format!("v{v}: it waits"), WAITED_600_MS.contains(&took));
        let took = timed(
            s,
            &mut c,
            "too few bytes in time",
            wait(there, 600, 100_000),
        );
        s.fact(
            &format!("v{v}: it waits for more"),
            WAITED_600_MS.contains(&took),
        );
        let took = timed(s, &mut c, "min bytes 0", wait(end, 5000, 0));
        s.fact(&format!("v{v}: nothing is awaited"), took < DID_NOT_WAIT);
        let took = timed(s, &mut c, "an error", wait(end + 50, 5000, 1));
        s.fact(
            &format!("v{v}: an error does not wait"),
            took < DID_NOT_WAIT,
        );
        let both = request(vec![topic(v, &t, &[from(0, end), from(9, 0)])]);
        let both = both.with_max_wait_ms(5000).with_min_bytes(1);
        let took = timed(s, &mut c, "an error beside", both);
        s.fact(&format!("v{v}: nor an error beside"), took < DID_NOT_WAIT);

        // Woken by an append, to either of two partitions.
        for partition in [0, 1] {
            let end_of_1 = {
                let answer = c.exchange(11, &request(vec![topic(11, &t, &[from(1, 0)])]));
                answer.responses[0].partitions[0].high_watermark
            };
            let end_of_0 = {
                let answer = c.exchange(11, &request(vec![topic(11, &t, &[from(0, 0)])]));
                answer.responses[0].partitions[0].high_watermark
            };
            let parked = request(vec![topic(v, &t, &[from(0, end_of_0), from(1, end_of_1)])]);
            let parked = parked.with_max_wait_ms(10_000).with_min_bytes(1);
            let started = Instant::now();
            c.send(v, &at_version(v, parked));
            std::thread::sleep(Duration::from_millis(200));
            s.append(&t, partition, Batch::sized(1, 100).bytes());
            let (response, _) = c.receive::<FetchRequest>();
            let took = started.elapsed();
            s.fact(
                &format!("v{v}: an append to partition {partition} ends the wait"),
                WOKEN_AFTER_200_MS.contains(&took),
            );
            let bytes = |r: &FetchResponse| -> usize {
                let partitions = r.responses.iter().flat_map(|t| &t.partitions);
                partitions
                    .map(|p| p.records.as_ref().map_or(0, |r| r.len()))
                    .sum()
            };
            s.fact(
                &format!("v{v}: bytes of partition {partition}"),
                bytes(&response),
            );
        }
    }
}

pub(crate) fn sessions(s: &mut Session) {
    let t = s.topic("session", 3, &[]);
    let other = s.topic("session-other", 1, &[]);
    s.append(&t, 0, Batch::of(&["a"]).bytes());
    for v in s.versions::<FetchRequest>().filter(|v| *v >= 7) {
        let mut c = s.connect();
        let in_session = |id: i32, epoch: i32, topics: Vec<FetchTopic>| {
            request(topics)
                .with_session_id(id)
                .with_session_epoch(epoch)
        };
        let forget = |topic: &Topic, partitions: &[i32]| {
            let forgotten = ForgottenTopic::default().with_partitions(partitions.to_vec());
            vec![match v {
                13.. => forgotten.with_topic_id(topic.id),
                _ => forgotten.with_topic(topic.name.clone()),
            }]
        };
        let end = |s: &Session, partition: i32| {
            let answer = s
                .connect()
                .exchange(11, &request(vec![topic(11, &t, &[from(partition, 0)])]));
            answer.responses[0].partitions[0].high_watermark
        };
        let (end_0, end_1) = (end(s, 0), end(s, 1));
        let all = vec![topic(
            v,
            &t,
            &[from(0, end_0 - 1), from(1, end_1), from(2, 0)],
        )];
        let made = s.fetch(&mut c, "a new session", v, &in_session(0, 0, all.clone()));
        let id = made.session_id;
        assert_ne!(id, 0, "the broker makes sessions");
        s.fetch(&mut c, "nothing changed", v, &in_session(id, 1, vec![]));
        let moved = vec![topic(v, &t, &[from(0, end_0)])];
        s.fetch(
            &mut c,
            "one partition moved on",
            v,
            &in_session(id, 2, moved),
        );
        s.append(&t, 1, Batch::of(&["b"]).bytes());
        s.fetch(&mut c, "one has data", v, &in_session(id, 3, vec![]));
        s.fetch(&mut c, "it still has", v, &in_session(id, 4, vec![]));
        let moved = vec![topic(v, &t, &[from(1, end_1 + 1)])];
        s.fetch(&mut c, "read on", v, &in_session(id, 5, moved));
        let more = vec![topic(v, &other, &[from(0, 0)])];
        s.fetch(&mut c, "one more topic", v, &in_session(id, 6, more));
        let request = in_session(id, 7, vec![]).with_forgotten_topics_data(forget(&t, &[1]));
        s.fetch(&mut c, "one forgotten", v, &request);
        s.append(&t, 1, Batch::of(&["unseen"]).bytes());
        s.append(&t, 2, Batch::of(&["seen"]).bytes());
        s.fetch(&mut c, "the others are told", v, &in_session(id, 8, vec![]));
        let unknown = vec![topic(v, &t, &[from(8, 0)])];
        s.fetch(
            &mut c,
            "an unknown partition joins",
            v,
            &in_session(id, 9, unknown),
        );
        s.fetch(&mut c, "its error stays", v, &in_session(id, 10, vec![]));
        let unknown = vec![topic(v, &unknown_topic(), &[from(0, 0)])];
        s.fetch(
            &mut c,
            "an unknown topic joins",
            v,
            &in_session(id, 11, unknown),
        );
        s.fetch(&mut c, "out of turn", v, &in_session(id, 99, vec![]));
        s.fetch(&mut c, "an epoch again", v, &in_session(id, 11, vec![]));
        s.fetch(
            &mut c,
            "the right epoch after errors",
            v,
            &in_session(id, 12, vec![]),
        );
        s.fetch(
            &mut c,
            "an unknown session",
            v,
            &in_session(id ^ 0x55, 1, vec![]),
        );
        s.fetch(
            &mut c,
            "an unknown session to close",
            v,
            &in_session(id ^ 0x55, -1, vec![]),
        );
        // Epoch 0 with an id ends that session and begins another one.
        let again = s.fetch(&mut c, "begin anew", v, &in_session(id, 0, all.clone()));
        s.fact(
            &format!("v{v}: the new session has a new id"),
            again.session_id != id,
        );
        s.fetch(&mut c, "the old one is gone", v, &in_session(id, 1, vec![]));
        let id = again.session_id;
        s.fetch(&mut c, "close", v, &in_session(id, -1, vec![]));
        s.fetch(&mut c, "it is closed", v, &in_session(id, 1, vec![]));
        s.fetch(
            &mut c,
            "without a session",
            v,
            &in_session(0, -1, all.clone()),
        );
        s.fetch(&mut c, "an empty session", v, &in_session(0, 0, vec![]));
        s.fetch(&mut c, "a negative epoch", v, &in_session(0, -2, all));
    }
}

pub(crate) fn epochs(s: &mut Session) {
    let t = s.topic("epochs", 1, &[]);
    s.append(&t, 0, Batch::of(&["a", "b"]).bytes());
    let mut c = s.connect();
    for v in s.versions::<FetchRequest>() {
        if v >= 9 {
            for epoch in [0, 1, 1000] {
                let ask = Ask {
                    epoch,
                    ..from(0, 0)
                };
                s.fetch(
                    &mut c,
                    &format!("current epoch {epoch}"),
                    v,
                    &request(vec![topic(v, &t, &[ask])]),
                );
            }
        }
        if v >= 12 {
            for (last_epoch, offset) in [(0, 0), (0, 2), (0, 9), (7, 1), (1000, 2)] {
                let ask = Ask {
                    last_epoch,
                    ..from(0, offset)
                };
                let label = format!("last fetched epoch {last_epoch} at {offset}");
                s.fetch(&mut c, &label, v, &request(vec![topic(v, &t, &[ask])]));
            }
        }
    }
    s.fact("epochs are known from version 9", 9);
}
