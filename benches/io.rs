//! What the engine under the broker costs on this machine, without the broker.
//!
//! `cargo bench --bench io [-- DIRECTORY]`; the files are written in DIRECTORY, or in the build
//! directory. Goal: see within seconds whether a change to `io` made its floor higher.
//! Not a goal: figures that compare machines, or that say what the broker does; `perf floors` runs
//! the same loops for longer, and deep queues, beside a broker's figures.
//!
//! Each line is one closed loop: one thing in flight at a time, so that it shows latency.

#[path = "../perf/src/loops.rs"]
mod loops;

use std::path::PathBuf;
use std::time::Duration;

use corelog::io::{self, Sync};
use loops::{
    Between, Budget, Place, Shape, Times, file_writes, mailbox_round_trip, tcp_round_trip,
};

const ROUND_TRIPS: Budget = Budget {
    warm_up: 500,
    rounds: 19_500,
    time: Duration::from_secs(60),
};
const WRITES: Budget = Budget {
    rounds: 3_000,
    ..ROUND_TRIPS
};
const WRITE_BYTES: usize = 4096;
/// Each write has bytes of its own.
const FILE_BYTES: u64 = (WRITES.warm_up + WRITES.rounds) as u64 * WRITE_BYTES as u64;

fn main() {
    // cargo itself adds `--bench`.
    let given = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let parent = given.map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    let directory = tempfile::tempdir_in(parent).expect("a directory for the files");
    let cpus = io::available_cpus();
    let cpus = [cpus.first().copied(), cpus.get(1).copied()];
    println!("| what | p50 us | p99 us | max us | rounds |\n|---|---|---|---|---|");
    for (name, between) in [
        (
            "mailbox round trip, both cores sleep between",
            Between::Sleep,
        ),
        ("mailbox round trip, both cores spin between", Between::Spin),
        (
            "mailbox round trip, both cores have another task",
            Between::Work,
        ),
    ] {
        print(name, mailbox_round_trip(cpus, between, ROUND_TRIPS));
    }
    let name = "TCP round trip, 64 bytes, both cores sleep between";
    print(name, tcp_round_trip(cpus, ROUND_TRIPS));
    for (name, sync, place) in [
        ("write 4 KiB, allocated", Sync::None, Place::Allocated),
        ("write 4 KiB, overwritten", Sync::None, Place::Overwritten),
        (
            "write 4 KiB with data sync, allocated",
            Sync::Data,
            Place::Allocated,
        ),
        (
            "write 4 KiB with data sync, overwritten",
            Sync::Data,
            Place::Overwritten,
        ),
    ] {
        let shape = Shape {
            place,
            file_bytes: FILE_BYTES,
            write_bytes: WRITE_BYTES,
        };
        let path = directory.path().join(name);
        print(name, file_writes(cpus[0], &path, shape, sync, WRITES));
    }
}

fn print(name: &str, times: io::Result<Times>) {
    let times = times.expect(name);
    let us = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "| {name} | {:.1} | {:.1} | {:.1} | {} |",
        us(0.5),
        us(0.99),
        us(1.0),
        times.len()
    );
}
