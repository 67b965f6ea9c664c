//! What does an append cost the core, from the checked batch to the bytes of a frame that will be
//! written, without the wait for the disk: for single records and for batches of 64 KiB?

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{Criterion, Throughput};

use super::batch;
use crate::frame::{BatchBuilder, Codec, Incarnation};
use crate::model::{CoreId, LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};
use corelog::io::{self, CoreSpec};
use corelog::log::{self, ChunkStore, Log, LogConfig, StoreConfig};

pub(super) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log_append");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    for (name, value_bytes) in [("one record of 1 KiB", 1024), ("64 KiB", 64 << 10)] {
        let bytes = batch(Codec::None, 1, value_bytes).len();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
                appends(dir.path(), value_bytes, count)
            });
        });
    }
    group.finish();
}

/// Appends that many batches, and returns the time within `append`; waiting for the disk does not
/// count.
fn appends(dir: &Path, value_bytes: usize, count: u64) -> Duration {
    let (dir, sum) = (dir.to_owned(), Arc::new(Mutex::new(Duration::ZERO)));
    let told = sum.clone();
    io::run(&CoreSpec::unpinned(1), move |_| {
        let (dir, told) = (dir.clone(), told.clone());
        async move {
            let took = append_all(&dir, value_bytes, count).await;
            *told.lock().expect("one core") = took;
        }
    })
    .expect("this machine has io_uring");
    *sum.lock().expect("one core")
}

/// Bytes that are appended before the disk is waited for.
const ROUND_BYTES: usize = 4 << 20;

async fn append_all(dir: &Path, value_bytes: usize, count: u64) -> Duration {
    let mut inventory = log::scan(dir).await.expect("a new directory");
    let partition = PartitionId {
        topic_id: TopicId([9; 16]),
        index: 0,
    };
    let found = inventory.take(partition);
    let pool = inventory.pool(CoreId(0), 1);
    let store = ChunkStore::open(dir, CoreId(0), pool, StoreConfig::default());
    let config = LogConfig::default();
    let log = Log::open(&store, partition, found, config, Incarnation(1), |_| {});
    let log = log.await.expect("a new log");
    let value = vec![7; value_bytes];
    let mut took = Duration::ZERO;
    let mut next = 0;
    while next < count as i64 {
        // Made before the clock runs: an append finds its batch in the receive buffer.
        let round = (ROUND_BYTES / value_bytes) as i64;
        let end = (next + round).min(count as i64);
        let batches: Vec<Vec<u8>> = (next..end)
            .map(|offset| {
                let builder = BatchBuilder::new(Codec::None);
                let mut builder = builder.at(Offset(offset), LeaderEpoch(1));
                builder.push(Timestamp(1_000_000), None, Some(&value));
                builder.build()
            })
            .collect();
        let start = io::now();
        for batch in &batches {
            let base = Offset(next);
            log.append(batch, base, LeaderEpoch(1), Timestamp(1_000_000))
                .expect("there is room");
            next += 1;
        }
        took += io::now().since(start);
        log.wait_durable(Offset(next))
            .await
            .expect("the disk takes it");
    }
    log.close().await.expect("the disk takes it");
    took
}
