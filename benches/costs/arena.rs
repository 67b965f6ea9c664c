//! What does a buffer for direct I/O cost, from asking for it to giving it back: as it was left by
//! who had it before, zeroed, and as the shared bytes that readers of the tail hold?

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};

use corelog::io::AlignedBuf;

pub(super) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("arena");
    for bytes in [4 << 10, 64 << 10, 1 << 20] {
        group.bench_function(BenchmarkId::new("stale", bytes), |bencher| {
            bencher.iter(|| {
                let mut buffer = AlignedBuf::stale(black_box(bytes));
                // Memory that nobody touched may not be there yet.
                buffer[0] = 1;
                buffer
            });
        });
        group.bench_function(BenchmarkId::new("zeroed", bytes), |bencher| {
            bencher.iter(|| {
                let mut buffer = AlignedBuf::zeroed(black_box(bytes));
                buffer[0] = 1;
                buffer
            });
        });
        group.bench_function(BenchmarkId::new("freeze, share, drop", bytes), |bencher| {
            bencher.iter(|| {
                let mut buffer = AlignedBuf::stale(black_box(bytes));
                buffer[0] = 1;
                let shared = buffer.freeze();
                (shared.slice(..1), shared)
            });
        });
    }
    group.finish();
}
