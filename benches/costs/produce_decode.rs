//! What does it cost to read a produce request, whose batches are only sliced: for one partition
//! of one topic, and for a hundred?

use std::hint::black_box;

use bytes::Bytes;
use criterion::Criterion;

use super::batch;
use crate::frame::Codec;
use corelog::protocol::produce::ProduceRequest;

/// The last version without tagged fields, so that a few lines write it.
const VERSION: i16 = 8;

pub(super) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("produce_decode");
    let batch = batch(Codec::None, 1, 1024);
    for partition_count in [1, 100] {
        let body = request(partition_count, &batch);
        let read = ProduceRequest::decode(&body, VERSION).expect("a request");
        assert_eq!(read.topics[0].partitions.len(), partition_count);
        group.bench_function(format!("{partition_count} partitions"), |bencher| {
            bencher.iter(|| ProduceRequest::decode(black_box(&body), VERSION));
        });
    }
    group.finish();
}

fn request(partition_count: usize, batch: &[u8]) -> Bytes {
    let length = |length: usize| (length as i32).to_be_bytes();
    let mut body = Vec::new();
    body.extend((-1i16).to_be_bytes()); // no transactional id
    body.extend((-1i16).to_be_bytes()); // acks
    body.extend(30_000i32.to_be_bytes());
    body.extend(length(1));
    body.extend(6i16.to_be_bytes());
    body.extend(b"orders");
    body.extend(length(partition_count));
    for index in 0..partition_count {
        body.extend(length(index));
        body.extend(length(batch.len()));
        body.extend(batch);
    }
    Bytes::from(body)
}
