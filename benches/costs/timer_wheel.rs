//! What does a timeout cost that never comes true, as nearly all of a broker's do, while ten
//! thousand others wait; and what one that does?

use criterion::{BatchSize, Criterion};

use crate::wheel::Wheel;

const WAITING: u64 = 10_000;
const MS: u64 = 1_000_000;

pub(super) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer_wheel");
    let mut wheel = full();
    let mut now = 0;
    group.bench_function("insert and remove among 10,000", |bencher| {
        bencher.iter(|| {
            now += 7;
            let key = wheel.insert(now % 1000 * MS + 500 * MS, now);
            wheel.remove(key)
        });
    });
    group.bench_function("expire 10,000, a millisecond at a time", |bencher| {
        bencher.iter_batched(
            full,
            |mut wheel| {
                let mut due = Vec::new();
                for ms in 0..=WAITING / 10 {
                    wheel.advance(ms * MS, &mut due);
                }
                assert_eq!(due.len() as u64, WAITING);
                wheel
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// Deadlines spread over a second.
fn full() -> Wheel<u64> {
    let mut wheel = Wheel::new(0);
    for number in 0..WAITING {
        wheel.insert(number * MS / 10, number);
    }
    wheel
}
