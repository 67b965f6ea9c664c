//! What does it cost to find an offset or a timestamp in the sparse index of a full chunk of
//! 128 MiB?

use std::hint::black_box;

use criterion::Criterion;

use crate::frame::{ChunkStamp, FrameHeader, FrameKind, Incarnation};
use crate::index::Index;
use crate::model::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};

const CHUNK_BYTES: u64 = 128 << 20;
const FRAME_BYTES: u32 = 64 << 10;
const RECORDS_PER_FRAME: i64 = 64;

pub(super) fn measure(criterion: &mut Criterion) {
    let frame_count = (CHUNK_BYTES / u64::from(FRAME_BYTES)) as i64;
    let mut index = Index::known_from(0);
    for number in 0..frame_count {
        let position = number as u64 * u64::from(FRAME_BYTES);
        index.note(CHUNK_BYTES, position, &frame(number));
    }
    let end = frame_count * RECORDS_PER_FRAME;
    // A step that meets every entry in an order that no cache foresees.
    let mut offset = 0;
    let mut next = move || {
        offset = (offset + 7919 * RECORDS_PER_FRAME) % end;
        offset
    };
    let mut group = criterion.benchmark_group("index_lookup");
    assert!(index.position_of(Offset(end - 1)).is_some());
    group.bench_function("offset", |bencher| {
        bencher.iter(|| black_box(&index).position_of(Offset(next())));
    });
    group.bench_function("timestamp", |bencher| {
        bencher.iter(|| black_box(&index).position_of_timestamp(Timestamp(next())));
    });
    group.finish();
}

fn frame(number: i64) -> FrameHeader {
    let base = number * RECORDS_PER_FRAME;
    FrameHeader {
        kind: FrameKind::Data,
        batch_count: 1,
        frame_bytes: FRAME_BYTES,
        payload_bytes: FRAME_BYTES - 256,
        batches_crc: 0,
        previous_crc: 0,
        sequence: number as u64 + 1,
        durable_through: number as u64,
        partition: PartitionId {
            topic_id: TopicId([9; 16]),
            index: 0,
        },
        leader_epoch: LeaderEpoch(1),
        base_offset: Offset(base),
        end_offset: Offset(base + RECORDS_PER_FRAME),
        max_timestamp: Timestamp(base + RECORDS_PER_FRAME - 1),
        log_start_offset: Offset(0),
        chunk: ChunkStamp {
            generation: 1,
            nonce: [7; 16],
        },
        incarnation: Incarnation(1),
        incarnation_start: 1,
        segment: 0,
        written: Timestamp(0),
        crc: 0,
    }
}
