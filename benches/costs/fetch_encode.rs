//! What does it cost to write a fetch response, whose records are handed on as they are: for one
//! partition, and for a hundred with eight slices each?

use std::hint::black_box;

use bytes::Bytes;
use criterion::Criterion;

use crate::model::{Offset, TopicId};
use corelog::protocol::ErrorCode;
use corelog::protocol::fetch::{
    FetchPartitionResponse, FetchResponse, FetchTopicResponse, encode_fetch_response,
};

/// What today's clients ask with.
const VERSION: i16 = 16;

pub(super) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fetch_encode");
    for (partition_count, slice_count) in [(1, 1), (100, 8)] {
        let response = response(partition_count, slice_count);
        let pieces = encode_fetch_response(&response, VERSION);
        assert!(pieces.len() >= (partition_count * slice_count) as usize);
        let name = format!("{partition_count} partitions of {slice_count} slices");
        group.bench_function(name, |bencher| {
            bencher.iter(|| encode_fetch_response(black_box(&response), VERSION));
        });
    }
    group.finish();
}

fn response(partition_count: i32, slice_count: i32) -> FetchResponse {
    let slice = Bytes::from(vec![7; 16 << 10]);
    let partition = |index| FetchPartitionResponse {
        high_watermark: Offset(1000),
        last_stable_offset: Offset(1000),
        log_start_offset: Offset(0),
        records: (0..slice_count).map(|_| slice.clone()).collect(),
        ..FetchPartitionResponse::refused(index, ErrorCode::None)
    };
    let mut response = FetchResponse::refused(ErrorCode::None);
    response.topics = vec![FetchTopicResponse {
        name: Default::default(),
        topic_id: TopicId([7; 16]),
        partitions: (0..partition_count).map(partition).collect(),
    }];
    response
}
