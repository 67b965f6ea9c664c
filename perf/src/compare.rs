//! `perf compare`: corelog and a peer under the same load, in turns.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use corelog::bench::{Plan, Problem, histogram, percentiles, spectrum};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Value, json};

use crate::broker::{Corelog, Facts, Kafka, Settings};
use crate::limits::{COMPARE_WARM_UP, SLICE_WARM_UP};
use crate::machine::{Machine, Seats, cpu_list};
use crate::paired::{Ratio, first_begins, median};
use crate::report::{Context, doubts, megabytes_per_second};
use crate::session::{self, Slice};
use crate::workload::Workload;

/// Whom corelog is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// An Apache Kafka of our own, with the workload's durability, started by this script.
    Kafka(PathBuf),
    /// A broker that runs, with whatever durability it has.
    Running(String),
}

/// How a comparison is made.
#[derive(Clone, Debug)]
pub(crate) struct Course<'a> {
    pub(crate) workload: &'a Workload,
    pub(crate) peer: &'a Peer,
    /// The corelog to start.
    pub(crate) binary: &'a Path,
    /// Where temporary directories are made.
    pub(crate) parent: &'a Path,
    pub(crate) pairs: u32,
    pub(crate) slice: std::time::Duration,
}

/// What a slice is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Figures {
    megabytes_per_second: f64,
    records_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    /// Microseconds of the broker's processor time for each record.
    broker_cpu_us_per_record: Option<f64>,
}

impl Figures {
    fn of(workload: &Workload, slice: &Slice) -> Figures {
        let us = |quantile| slice.book.latency.value_at_quantile(quantile) as f64 / 1000.0;
        let records = slice.book.records() as f64;
        Figures {
            megabytes_per_second: megabytes_per_second(&workload.load, slice),
            records_per_second: slice.book.records_per_second(),
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            broker_cpu_us_per_record: slice
                .broker_cpu_seconds
                .map(|seconds| seconds * 1e6 / records),
        }
    }
}

/// A name, and how the figure is taken from a slice; `None` if it was not measured.
type Column = (&'static str, fn(&Figures) -> Option<f64>);

const COLUMNS: [Column; 6] = [
    ("records/s", |figures| Some(figures.records_per_second)),
    ("MB/s", |figures| Some(figures.megabytes_per_second)),
    ("p50 us", |figures| Some(figures.p50_us)),
    ("p99 us", |figures| Some(figures.p99_us)),
    ("p99.9 us", |figures| Some(figures.p999_us)),
    ("broker CPU us/record", |figures| {
        figures.broker_cpu_us_per_record
    }),
];

/// What a comparison brought.
#[derive(Debug)]
pub(crate) struct Outcome {
    context: Context,
    peer: Facts,
    /// Corelog's slice and the peer's, pair by pair.
    pairs: Vec<(Figures, Figures)>,
    /// Latencies of all of corelog's slices together, and of the peer's.
    latencies: [Histogram<u64>; 2],
    doubts: Vec<String>,
}

/// A peer that was started, or that runs.
enum Opponent {
    Own(Kafka),
    Running(Facts),
}

impl Opponent {
    fn start(peer: &Peer, settings: &Settings<'_>) -> Result<Opponent, Problem> {
        match peer {
            Peer::Kafka(script) => Ok(Opponent::Own(Kafka::start(script, settings)?)),
            Peer::Running(address) => Ok(Opponent::Running(Facts::of_running(address, None)?)),
        }
    }

    fn facts(&self) -> &Facts {
        match self {
            Opponent::Own(kafka) => &kafka.facts,
            Opponent::Running(facts) => facts,
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            Opponent::Own(kafka) => Some(kafka.dir.path()),
            Opponent::Running(_) => None,
        }
    }
}

/// Starts both, warms them up, and measures pair by pair. Both run all the time, on the same CPUs;
/// only one of them has load.
pub(crate) fn run(course: &Course<'_>) -> Result<Outcome, Problem> {
    let workload = course.workload;
    let machine = Machine::look();
    let cores = (workload.broker.cores, workload.client.cores);
    let seats = Seats::share_out(&machine.cpus, cores.0, cores.1);
    let settings = Settings {
        durability: workload.broker.durability,
        cpus: &seats.broker,
        parent: course.parent,
        overrides: &workload.broker.settings,
    };
    let corelog = Corelog::start(course.binary, &settings)?;
    let opponent = Opponent::start(course.peer, &settings)?;
    let peer = opponent.facts().clone();
    let mut plans = [
        session::prepare(
            workload,
            &corelog.facts,
            &seats.client,
            Some(corelog.dir.path()),
        )?,
        session::prepare(workload, &peer, &seats.client, opponent.dir())?,
    ];
    let context = Context::new(machine, seats.clone(), corelog.facts.clone());
    let pids = [corelog.facts.pid, peer.pid];
    let bar = session::progress(&workload.name);
    for (plan, pid) in plans.iter_mut().zip(pids) {
        plan.warm_up = SLICE_WARM_UP;
        plan.length = COMPARE_WARM_UP;
        session::run_slice(plan, pid, &bar)?;
    }
    for plan in &mut plans {
        plan.length = course.slice;
    }
    let mut pairs = Vec::new();
    let mut latencies = [histogram(), histogram()];
    let mut found = Vec::new();
    for pair in 0..course.pairs as usize {
        bar.set_prefix(format!("{} {}/{}", workload.name, pair + 1, course.pairs));
        let turns = if first_begins(pair) { [0, 1] } else { [1, 0] };
        let mut figures = [None; 2];
        for who in turns {
            let slice = slice_of(&plans[who], pids[who], &bar)?;
            figures[who] = Some(Figures::of(workload, &slice));
            let added = latencies[who].add(&slice.book.latency);
            added.expect("histograms have the same bounds");
            let of_whom = [&context.broker.product, &peer.product][who];
            for doubt in doubts(&context, workload, &slice) {
                let doubt = format!("{of_whom}: {doubt}");
                if !found.contains(&doubt) {
                    found.push(doubt);
                }
            }
        }
        let [Some(own), Some(other)] = figures else {
            unreachable!("both had their turn")
        };
        pairs.push((own, other));
    }
    bar.finish_and_clear();
    corelog.stop()?;
    if peer.durability == "unknown" {
        found.push("the peer's durability is not known: see to it that it is the same".to_owned());
    }
    Ok(Outcome {
        context,
        peer,
        pairs,
        latencies,
        doubts: found,
    })
}

fn slice_of(plan: &Plan, pid: Option<u32>, bar: &indicatif::ProgressBar) -> Result<Slice, Problem> {
    let slice = session::run_slice(plan, pid, bar)?;
    match slice.book.refused.iter().next() {
        None => Ok(slice),
        Some((name, count)) => Err(Problem::new(format!(
            "{count} requests were refused: {name}"
        ))),
    }
}

impl Outcome {
    /// A column's values, pair by pair; `None` where one of the two was not measured.
    fn column(&self, of: fn(&Figures) -> Option<f64>) -> Vec<(f64, f64)> {
        let pairs = self.pairs.iter();
        pairs
            .filter_map(|(own, other)| of(own).zip(of(other)))
            .collect()
    }

    /// The comparison for people.
    pub(crate) fn table(&self, workload: &Workload) -> String {
        let named = |facts: &Facts| {
            let version = facts.version.as_deref().unwrap_or("-");
            format!(
                "{} {version}, durability {}, {}",
                facts.product,
                facts.durability,
                facts.spin_words()
            )
        };
        let machine = &self.context.machine;
        let mut text = format!(
            "{}: {}\n\
             machine     {}, {} CPUs, Linux {}, load before {}\n\
             first       {}\n\
             second      {}\n\
             CPUs        {} for each broker, {} for the client\n\
             pairs       {}, in turns (ABBA); medians, and the ratio's with its 95 % interval\n",
            workload.name,
            workload.question,
            machine.cpu_model,
            machine.cpus.len(),
            machine.kernel,
            machine.load_before,
            named(&self.context.broker),
            named(&self.peer),
            cpu_list(&self.context.seats.broker),
            cpu_list(&self.context.seats.client),
            self.pairs.len(),
        );
        for doubt in &self.doubts {
            writeln!(text, "note        {doubt}").expect("a string grows");
        }
        writeln!(
            text,
            "\n| | {} | {} | ratio | low | high |\n|---|---|---|---|---|---|",
            self.context.broker.product, self.peer.product
        )
        .expect("a string grows");
        for (name, of) in COLUMNS {
            let pairs = self.column(of);
            let Some(ratio) = Ratio::of(&pairs) else {
                continue;
            };
            let (own, other) = pairs.into_iter().unzip();
            writeln!(
                text,
                "| {name} | {:.1} | {:.1} | {:.3} | {:.3} | {:.3} |",
                median(own),
                median(other),
                ratio.median,
                ratio.low,
                ratio.high
            )
            .expect("a string grows");
        }
        text
    }

    /// The comparison for programs.
    pub(crate) fn to_json(&self, workload: &Workload) -> Value {
        let ratios: serde_json::Map<String, Value> = COLUMNS
            .iter()
            .map(|(name, of)| (name.to_string(), json!(Ratio::of(&self.column(*of)))))
            .collect();
        let pairs = self.pairs.iter();
        let pairs: Vec<Value> = pairs
            .map(|(own, other)| json!({ "corelog": own, "peer": other }))
            .collect();
        let curves = [&self.context.broker, &self.peer]
            .into_iter()
            .zip(&self.latencies);
        let curves: Vec<Value> = curves
            .map(|(broker, latency)| {
                json!({
                    "broker": broker,
                    "latency": percentiles(latency),
                    "spectrum": spectrum(latency),
                })
            })
            .collect();
        json!({
            "context": self.context,
            "peer": self.peer,
            "workload": workload,
            "ratios": ratios,
            "pairs": pairs,
            "curves": curves,
            "doubts": self.doubts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Heading, Source, pictures};
    use crate::report::tests::context;
    use crate::workload::tests::w1 as workload;

    fn figures(rate: f64, cpu: Option<f64>) -> Figures {
        Figures {
            megabytes_per_second: rate,
            records_per_second: rate * 10.0,
            p50_us: 1e3 / rate,
            p99_us: 2e3 / rate,
            p999_us: 3e3 / rate,
            broker_cpu_us_per_record: cpu,
        }
    }

    fn times(ns: &[u64]) -> Histogram<u64> {
        let mut times = histogram();
        for ns in ns {
            times.record(*ns).expect("within bounds");
        }
        times
    }

    fn outcome(peer_cpu: Option<f64>) -> Outcome {
        let context = context();
        let mut peer = context.broker.clone();
        peer.product = "kafka".to_owned();
        Outcome {
            context,
            peer,
            pairs: vec![(figures(200.0, Some(1.0)), figures(100.0, peer_cpu)); 3],
            latencies: [times(&[1_000_000]), times(&[2_000_000, 3_000_000])],
            doubts: vec!["kafka: slow".to_owned()],
        }
    }

    #[test]
    fn ratios_are_of_corelog_to_the_peer() {
        let text = outcome(Some(4.0)).table(&workload());
        for expected in [
            "| | corelog | kafka | ratio | low | high |",
            "| MB/s | 200.0 | 100.0 | 2.000 | 2.000 | 2.000 |",
            "| p50 us | 5.0 | 10.0 | 0.500 | 0.500 | 0.500 |",
            "| broker CPU us/record | 1.0 | 4.0 | 0.250 | 0.250 | 0.250 |",
            "note        kafka: slow",
        ] {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
        let object = outcome(Some(4.0)).to_json(&workload());
        assert_eq!(object["ratios"]["MB/s"]["median"], 2.0);
        assert_eq!(object["pairs"][2]["peer"]["megabytes_per_second"], 100.0);
        assert_eq!(object["curves"][1]["latency"]["count"], 2);
        let sources = [Source::Result(None, object)];
        let pictures = pictures(&sources, &Heading::default()).expect("it can be drawn");
        let names: Vec<&str> = pictures.iter().map(|picture| &*picture.file_name).collect();
        assert_eq!(names, ["w1-latency.svg"]);
        for name in [
            "corelog 0.1.0, sync",
            "Apache Kafka 0.1.0, sync",
            "<title>Latency as fast as it goes, durability sync</title>",
            ">X, 4 CPUs, Linux 6.18<",
        ] {
            assert!(pictures[0].svg.contains(name), "{name}");
        }
    }

    #[test]
    fn what_the_peer_does_not_tell_is_left_out() {
        let text = outcome(None).table(&workload());
        assert!(!text.contains("CPU us/record"), "{text}");
        assert!(outcome(None).to_json(&workload())["ratios"]["broker CPU us/record"].is_null());
    }
}
