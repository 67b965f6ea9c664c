//! What does it cost to check a producer's batch before it is appended, for a batch of one record,
//! for a large one, and for a compressed one, which is decompressed on the way?

use std::hint::black_box;

use criterion::{Criterion, Throughput};

use super::batch;
use crate::frame::{BatchRules, Codec, validate};
use crate::model::Timestamp;

pub(super) fn measure(criterion: &mut Criterion) {
    let rules = BatchRules {
        now: Timestamp(1_000_000),
        timestamp_type: corelog::config::TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        batch_bytes_max: 1 << 20,
        compacted: false,
        decompressed_bytes_max: 64 << 20,
    };
    let mut group = criterion.benchmark_group("frame_validate");
    for (name, codec, record_count) in [
        ("one record of 1 KiB", Codec::None, 1),
        ("127 records of 1 KiB", Codec::None, 127),
        ("127 records of 1 KiB, lz4", Codec::Lz4, 127),
        ("127 records of 1 KiB, zstd", Codec::Zstd, 127),
    ] {
        let batch = batch(codec, record_count, 1024);
        validate(&batch, &rules).expect("a batch that may be appended");
        group.throughput(Throughput::Bytes(batch.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| validate(black_box(&batch), &rules));
        });
    }
    group.finish();
}
