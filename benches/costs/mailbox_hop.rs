//! What does a message to another core and back cost, where both cores sleep between, where both
//! spin, and where both have other work? Half of it is what a request pays that landed on the
//! wrong core.

use std::time::Duration;

use criterion::Criterion;

use crate::loops::{Between, Budget, mailbox_round_trip};
use corelog::io;

pub(super) fn measure(criterion: &mut Criterion) {
    let cpus = io::available_cpus();
    let cpus = [cpus.first().copied(), cpus.get(1).copied()];
    let mut group = criterion.benchmark_group("mailbox_hop");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    for (name, between) in [
        ("round trip, both asleep", Between::Sleep),
        ("round trip, both spin", Between::Spin),
        ("round trip, both busy", Between::Work),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let budget = Budget {
                    warm_up: 0,
                    rounds: u32::try_from(count).unwrap_or(u32::MAX),
                    time: Duration::from_secs(60),
                };
                let times = mailbox_round_trip(cpus, between, budget).expect("two cores");
                Duration::from_nanos((times.mean() * count as f64) as u64)
            });
        });
    }
    group.finish();
}
