//! Goal 11: Apache Kafka on the same CPUs with the same durability, a sync behind every
//! acknowledgement.

use std::path::Path;
use std::time::Duration;

use corelog::bench::{Plan, Problem};

use super::entry::{Measured, Part, Target};
use super::stage::{Stage, ingest, megabytes, rate_of, us_at, workload};
use crate::broker::{Facts, Kafka};
use crate::floors::sink::Step;
use crate::limits::COMPARE_WARM_UP;
use crate::paired::Pairs;
use crate::session::Slice;
use crate::workload::{Durability, Workload};

/// What is compared: the shape of batches, and how many times as much is wished for.
struct Shape {
    name: &'static str,
    workload: Workload,
    at_least: f64,
}

/// Of the slower one's highest rate: where latencies are compared.
const RATE_SHARE: f64 = 0.7;

/// MB/s in large, small and single-record batches; p99 and p99.9 at 70 % of what the slower one
/// can do, and those of F4 at the same schedule, which say what of them is the machine's. Both run
/// all the time; only one has load.
pub(super) fn against_kafka(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/kafka");
    stage.say("Apache Kafka starts");
    let settings = stage.settings(Durability::Sync, &[]);
    let kafka = match Kafka::start(&script, &settings) {
        Ok(kafka) => kafka,
        Err(problem) => {
            let why = format!("there is no Apache Kafka here: {problem}");
            let name = "MB/s / Apache Kafka's";
            return Ok(vec![Part::new(name, Target::AtLeast(3.0), Err(why))]);
        }
    };
    let broker = stage.corelog(Durability::Sync, &[])?;
    let mut parts = Vec::new();
    let mut latencies = Vec::new();
    for (number, shape) in shapes().into_iter().enumerate() {
        let warm_up = if number == 0 {
            COMPARE_WARM_UP
        } else {
            COMPARE_WARM_UP / 3
        };
        let plan = |facts: &Facts, dir: &Path| -> Result<Plan, Problem> {
            let mut plan = stage.plan(&shape.workload, facts, dir)?;
            plan.length = warm_up;
            stage.slice(&plan, facts.pid)?;
            plan.length = stage.effort.slice;
            Ok(plan)
        };
        let plans = [
            plan(&broker.facts, broker.dir.path())?,
            plan(&kafka.facts, kafka.dir.path())?,
        ];
        let pids = [broker.facts.pid, kafka.facts.pid];
        let pairs = in_turns(stage, &plans, pids)?;
        let names = ["corelog MB/s", "Kafka MB/s"];
        let measured = Measured::of_pairs(&pairs, names, |own, other| {
            (megabytes(&plans[0], own), megabytes(&plans[1], other))
        });
        let slower = measured.as_ref().map(|measured| {
            let least = measured.figures[0].1.min(measured.figures[1].1);
            least * 1e6 / f64::from(shape.workload.load.record_bytes)
        });
        let name = format!("MB/s / Apache Kafka's, {}", shape.name);
        let target = Target::AtLeast(shape.at_least);
        // A quick run compares the latencies of one shape.
        if let (Ok(slower), true) = (slower, number == 0 || !stage.effort.is_quick) {
            latencies.extend(at_rate(stage, shape.name, plans, pids, slower)?);
        }
        parts.push(Part::new(name, target, measured));
    }
    broker.stop()?;
    parts.extend(latencies);
    Ok(parts)
}

fn shapes() -> [Shape; 3] {
    let small = |batch_records| {
        let mut small = workload(include_str!("../../workloads/w8-single-records.toml"));
        small.load.batch_records = batch_records;
        small
    };
    [
        Shape {
            name: "128 KiB batches",
            workload: ingest(),
            at_least: 3.0,
        },
        Shape {
            name: "10-record batches",
            workload: small(10),
            at_least: 5.0,
        },
        Shape {
            name: "1-record batches",
            workload: small(1),
            at_least: 5.0,
        },
    ]
}

fn in_turns(
    stage: &Stage,
    plans: &[Plan; 2],
    pids: [Option<u32>; 2],
) -> Result<Pairs<Slice, Slice>, Problem> {
    stage.in_turns(
        || stage.slice(&plans[0], pids[0]),
        || stage.slice(&plans[1], pids[1]),
    )
}

fn at_rate(
    stage: &Stage,
    shape: &str,
    mut plans: [Plan; 2],
    pids: [Option<u32>; 2],
    slower: f64,
) -> Result<Vec<Part>, Problem> {
    for plan in &mut plans {
        plan.traffic.load.rate = rate_of(slower, RATE_SHARE);
        plan.traffic.load.in_flight = 64;
        plan.length = stage.effort.slice.max(Duration::from_secs(1)) * 2;
    }
    let sink = stage.sink()?;
    let floor_plan = sink.plan(Step::Sync, &plans[0])?;
    let pairs = stage.in_turns(
        || stage.slice(&plans[0], pids[0]),
        || {
            let kafka = stage.slice(&plans[1], pids[1])?;
            Ok((kafka, stage.slice(&floor_plan, Some(sink.pid()))?))
        },
    )?;
    let part = |name: &str, quantile: f64| {
        let names = ["corelog us", "Kafka us"];
        let measured = Measured::of_pairs(&pairs, names, |own, (kafka, _)| {
            (us_at(own, quantile), us_at(kafka, quantile))
        });
        let name = format!("{name} / Apache Kafka's at 70 % of its MB/s, {shape}");
        let measured = measured.map(|measured| {
            measured
                .median(&pairs, "F4 us", |_, (_, floor)| us_at(floor, quantile))
                .figure("records/s", slower * RATE_SHARE)
        });
        Part::new(name, Target::AtMost(0.2), measured)
    };
    Ok(vec![part("p99", 0.99), part("p99.9", 0.999)])
}
