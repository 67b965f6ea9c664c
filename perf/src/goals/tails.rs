//! Goal 9: the tail of latencies while segments roll and retention deletes.

use std::time::Duration;

use corelog::bench::Problem;

use super::entry::{Measured, Part, Target};
use super::stage::{Stage, ingest_in, rate_of, us_at};
use crate::floors::sink::Step;
use crate::session::Slice;
use crate::workload::Durability;

/// Of the broker's highest rate; it must not be the queue that is measured.
const RATE_SHARE: f64 = 0.4;

/// (p99.9 - p50) of produce requests at a fixed rate, in segments so small that each rolls several
/// times in a slice and retention deletes all the time / the same of F4 under the same schedule:
/// a server that writes every request with data sync to files that never end.
pub(super) fn rolls_and_retention(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let mut workload = ingest_in(15, 8);
    workload.topic.segment_bytes = Some(1 << 20);
    workload.topic.retention_bytes = Some(4 << 20);
    let broker = stage.corelog(Durability::Sync, &[])?;
    let mut plan = stage.plan(&workload, &broker.facts, broker.dir.path())?;
    let fastest = stage.slice(&plan, broker.facts.pid)?;
    plan.traffic.load.rate = rate_of(fastest.book.records_per_second(), RATE_SHARE);
    plan.traffic.load.in_flight = 64;
    plan.length = match stage.effort.is_quick {
        true => Duration::from_secs(3),
        false => Duration::from_secs(20),
    };
    let sink = stage.sink()?;
    let floor_plan = sink.plan(Step::Sync, &plan)?;
    let pairs = stage.in_turns(
        || stage.slice(&plan, broker.facts.pid),
        || stage.slice(&floor_plan, Some(sink.pid())),
    )?;
    broker.stop()?;
    let tail = |slice: &Slice| us_at(slice, 0.999) - us_at(slice, 0.5);
    let measured = Measured::of_pairs(&pairs, ["broker us", "F4 us"], |broker, floor| {
        (tail(broker), tail(floor))
    });
    let rolls = |slice: &Slice| {
        let bytes = slice.book.records() as f64 * f64::from(workload.load.record_bytes);
        bytes / f64::from(1 << 20)
    };
    let requests = |slice: &Slice| slice.book.latency.len() as f64;
    let measured = measured.map(|measured| {
        measured
            .median(&pairs, "rolls in a slice", |own, _| rolls(own))
            .median(&pairs, "requests in a slice", |own, _| requests(own))
    });
    let name = "(p99.9 - p50) / F4's at the same schedule";
    Ok(vec![Part::new(name, Target::AtMost(2.0), measured)])
}
