//! `perf floors`: F5, F6 and F7 one after the other, for people who want to know the machine.
//!
//! Each latency has one operation in flight; a rate is looked for at each depth of the queue, and
//! the best counts.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use corelog::bench::{Problem, percentiles};
use corelog::io::blocking::{self, ScratchDir};
use corelog::io::{self, Sync};
use serde_json::{Value, json};

use super::disk::{self, Access, DiskLoad, FloorFiles, depths};
use crate::limits::FLOOR_FILES;
use crate::loops::{
    Between, Budget, Place, Shape, Times, file_writes, mailbox_round_trip, tcp_round_trip,
};
use crate::machine::Machine;

/// The sizes of writes and reads, in bytes: the smallest that a direct write may be, and a full
/// batch.
const SIZES: [usize; 2] = [4 << 10, 128 << 10];

/// All floors of one machine and one disk.
#[derive(Debug)]
pub(crate) struct Floors {
    machine: Machine,
    in_memory: bool,
    latencies: Vec<(String, Times)>,
    rates: Vec<DepthRates>,
}

/// How many bytes a second the disk takes or gives at one size, over 16 files, on all CPUs.
#[derive(Clone, Debug, PartialEq)]
struct DepthRates {
    what: String,
    /// By the depth of the queue.
    by_depth: Vec<(usize, f64)>,
}

impl DepthRates {
    fn best(&self) -> (usize, f64) {
        let most = |a: &&(usize, f64), b: &&(usize, f64)| a.1.total_cmp(&b.1);
        self.by_depth
            .iter()
            .max_by(most)
            .copied()
            .unwrap_or_default()
    }
}

/// Measures all of them, each for about `time`, the writes on files of `file_bytes`. `told` hears
/// what comes next.
pub(crate) fn measure(
    parent: &Path,
    file_bytes: u64,
    time: Duration,
    mut told: impl FnMut(&str),
) -> Result<Floors, Problem> {
    let machine = Machine::look();
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| Problem::new(format!("{what}: {error}"))
    };
    std::fs::create_dir_all(parent).map_err(failed("the directory"))?;
    let dir =
        ScratchDir::new(Some(&blocking::absolute(parent))).map_err(failed("the directory"))?;
    let cpus = [machine.cpus.first().copied(), machine.cpus.get(1).copied()];
    let budget = Budget {
        warm_up: 100,
        rounds: u32::MAX - 100,
        time,
    };
    let mut latencies = Vec::new();
    for (what, between) in [
        (
            "mailbox round trip, both cores sleep between",
            Between::Sleep,
        ),
        ("mailbox round trip, both cores spin between", Between::Spin),
        ("mailbox round trip, both cores are busy", Between::Work),
    ] {
        told(what);
        let times = mailbox_round_trip(cpus, between, budget).map_err(failed(what))?;
        latencies.push((what.to_owned(), times));
    }
    let what = "TCP loopback round trip, 64 bytes";
    told(what);
    let times = tcp_round_trip(cpus, budget).map_err(failed(what))?;
    latencies.push((what.to_owned(), times));
    let what = "write 4 KiB with data sync, space never written";
    told(what);
    let shape = Shape {
        place: Place::Allocated,
        file_bytes,
        write_bytes: SIZES[0],
    };
    let path = dir.path().join("allocated");
    // Once round the file its space has been written.
    let once = Budget {
        rounds: (file_bytes / SIZES[0] as u64) as u32 - budget.warm_up,
        ..budget
    };
    let times = file_writes(cpus[0], &path, shape, Sync::Data, once).map_err(failed(what))?;
    latencies.push((what.to_owned(), times));
    let files = FloorFiles::make(dir.path(), FLOOR_FILES, file_bytes / FLOOR_FILES as u64)?;
    let mut rates = Vec::new();
    let accesses = [
        ("write", "with data sync", Access::Write(Sync::Data)),
        ("write", "without sync", Access::Write(Sync::None)),
        ("read", "in order", Access::Read),
    ];
    for bytes in SIZES {
        for (verb, how, access) in accesses {
            let what = format!("{verb} {} KiB {how}", bytes >> 10);
            let mut load = DiskLoad {
                access,
                bytes,
                depth: 1,
                files: 1,
                time,
                beside: None,
            };
            told(&what);
            let one = disk::slice(&machine.cpus[..1], &files, load)?;
            latencies.push((what.clone(), one.times));
            load.files = FLOOR_FILES;
            let mut by_depth = Vec::new();
            for depth in depths() {
                told(&format!("{what}, {depth} in flight"));
                let slice = disk::slice(&machine.cpus, &files, DiskLoad { depth, ..load })?;
                by_depth.push((depth, slice.bytes_per_second));
            }
            rates.push(DepthRates { what, by_depth });
        }
    }
    Ok(Floors {
        machine,
        in_memory: blocking::lies_in_memory(dir.path()),
        latencies,
        rates,
    })
}

/// The floors for people.
pub(crate) fn table(floors: &Floors) -> String {
    let mut text = format!(
        "machine     {}, {} CPUs, Linux {}, load before {}\n",
        floors.machine.cpu_model,
        floors.machine.cpus.len(),
        floors.machine.kernel,
        floors.machine.load_before,
    );
    if floors.machine.cpus.len() < 2 {
        text.push_str("note        both ends of each round trip shared one CPU\n");
    }
    if floors.in_memory {
        text.push_str("note        the files lie in memory: the writes say nothing of a disk\n");
    }
    text.push_str("\n| us, one in flight | p50 | p99 | p99.9 | max | rounds |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    for (what, times) in &floors.latencies {
        let us = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
        writeln!(
            text,
            "| {what} | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
            us(0.5),
            us(0.99),
            us(0.999),
            us(1.0),
            times.len()
        )
        .expect("a string grows");
    }
    let Some(first) = floors.rates.first() else {
        return text;
    };
    let depths: Vec<String> = first.by_depth.iter().map(|at| at.0.to_string()).collect();
    writeln!(
        text,
        "\n| MB/s at in flight | {} | best |",
        depths.join(" | ")
    )
    .expect("it grows");
    writeln!(text, "|---|{}---|", "---|".repeat(depths.len())).expect("it grows");
    for rates in &floors.rates {
        let cells: Vec<String> = rates
            .by_depth
            .iter()
            .map(|(_, rate)| format!("{:.1}", rate / 1e6))
            .collect();
        let best = rates.best().1 / 1e6;
        let row = format!("| {} | {} | {best:.1} |", rates.what, cells.join(" | "));
        writeln!(text, "{row}").expect("a string grows");
    }
    text
}

/// The floors for programs.
pub(crate) fn to_json(floors: &Floors) -> Value {
    let latencies = floors.latencies.iter();
    let latencies: serde_json::Map<String, Value> = latencies
        .map(|(what, times)| (what.clone(), percentiles(times)))
        .collect();
    let rates = floors.rates.iter().map(|rates| {
        let by_depth = rates.by_depth.iter();
        let by_depth: serde_json::Map<String, Value> = by_depth
            .map(|(depth, rate)| (depth.to_string(), json!(rate)))
            .collect();
        let (depth, best) = rates.best();
        let value = json!({
            "bytes_per_second_by_depth": by_depth,
            "best_bytes_per_second": best,
            "best_depth": depth,
        });
        (rates.what.clone(), value)
    });
    json!({
        "machine": floors.machine,
        "command_line": std::env::args().collect::<Vec<_>>(),
        "at_ms": io::housekeeping::wall_clock().0,
        "in_memory": floors.in_memory,
        "latencies": latencies,
        "disk_rates": rates.collect::<serde_json::Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the machine is, every floor is there and is more than nothing.
    #[test]
    fn every_floor_is_measured() {
        let mut steps = 0;
        let time = Duration::from_millis(30);
        let floors =
            measure(&std::env::temp_dir(), 8 << 20, time, |_| steps += 1).expect("the floors");
        assert_eq!(floors.latencies.len(), 11);
        assert_eq!(floors.rates.len(), 6);
        assert_eq!(steps, 11 + 6 * 6);
        for (what, times) in &floors.latencies {
            assert!(times.value_at_quantile(0.5) > 0, "{what}");
        }
        for rates in &floors.rates {
            let depths: Vec<usize> = rates.by_depth.iter().map(|at| at.0).collect();
            assert_eq!(depths, [1, 2, 4, 8, 16, 32]);
            assert!(rates.best().1 > 0.0, "{rates:?}");
        }
        let text = table(&floors);
        assert!(text.contains("| write 4 KiB with data sync |"), "{text}");
        let object = to_json(&floors);
        let best = &object["disk_rates"]["write 128 KiB with data sync"]["best_bytes_per_second"];
        assert!(best.as_f64() > Some(0.0), "{object}");
    }

    #[test]
    fn the_best_depth_is_found() {
        let rates = DepthRates {
            what: String::new(),
            by_depth: vec![(1, 1.0), (2, 3.0), (4, 2.0)],
        };
        assert_eq!(rates.best(), (2, 3.0));
    }
}
