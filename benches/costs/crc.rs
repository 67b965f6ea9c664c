//! How many bytes a second does one core check with CRC-32C, and from which size on is it the
//! bytes rather than the call that cost?

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};

pub(super) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc");
    for bytes in [61, 256, 1024, 16 << 10, 128 << 10, 1 << 20] {
        let data: Vec<u8> = (0..bytes).map(|n| (n * 31) as u8).collect();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(bytes),
            &data,
            |bencher, data| {
                bencher.iter(|| crc32c::crc32c(black_box(data)));
            },
        );
    }
    group.finish();
}
