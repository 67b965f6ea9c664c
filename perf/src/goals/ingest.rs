//! Goals 1 and 2: durable ingest against the disk, and processor time against a server that only
//! receives, checksums and writes.

use corelog::bench::Problem;
use corelog::io::Sync;

use super::entry::{Measured, Part, Target};
use super::stage::{Stage, cpu_ns_per_record, ingest, ingest_in, megabytes};
use crate::floors::disk::{self, Access, DiskLoad};
use crate::floors::sink::Step;
use crate::session::Slice;
use crate::workload::{Durability, Workload};

/// Goal 1: acknowledged payload bytes a second / the disk's in writes of 128 KiB with data sync,
/// at its best depth, over as many files.
pub(super) fn durable(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let workload = ingest();
    let broker = stage.corelog(Durability::Sync, &[])?;
    let plan = stage.plan(&workload, &broker.facts, broker.dir.path())?;
    let (cpus, files) = (&stage.seats.broker, stage.files()?);
    let mut load = DiskLoad {
        access: Access::Write(Sync::Data),
        bytes: 128 << 10,
        depth: 1,
        files: workload.topic.partitions as usize,
        time: stage.effort.slice / 2,
        beside: None,
    };
    stage.say("the disk's best depth");
    load.depth = disk::best_depth(cpus, files, load)?.0;
    load.time = stage.effort.slice;
    let pairs = stage.in_turns(
        || stage.slice(&plan, broker.facts.pid),
        || disk::slice(cpus, files, load),
    )?;
    // What the disk is left with when the same bytes come over a socket on the same CPUs.
    let sink = stage.sink()?;
    let floor_plan = sink.plan(Step::Sync, &plan)?;
    let served = stage.in_turns(
        || stage.slice(&plan, broker.facts.pid),
        || stage.slice(&floor_plan, Some(sink.pid())),
    )?;
    broker.stop()?;
    let measured = Measured::of_pairs(&pairs, ["broker MB/s", "disk MB/s"], |slice, floor| {
        (megabytes(&plan, slice), floor.bytes_per_second / 1e6)
    });
    let cpu_seconds = |slice: &Slice| slice.broker_cpu_seconds.unwrap_or(f64::NAN);
    let measured = measured.map(|measured| {
        measured
            .figure("disk's depth", load.depth as f64)
            .median(&pairs, "broker CPU s", |slice, _| cpu_seconds(slice))
            .median(&pairs, "disk's CPU s", |_, floor| floor.cpu_seconds)
    });
    let served = Measured::of_pairs(&served, ["", "F4 MB/s"], |broker, floor| {
        (megabytes(&plan, broker), megabytes(&plan, floor))
    });
    let measured = measured.map(|measured| match &served {
        Ok(served) => measured
            .figure("F4 MB/s", served.figures[1].1)
            .figure("broker / F4", served.ratio),
        Err(_) => measured,
    });
    let target = Target::AtLeast(0.9);
    Ok(vec![Part::new(
        "MB/s / disk with data sync",
        target,
        measured,
    )])
}

/// Goal 2: processor time per record / F3's. Both write and neither syncs: `written`.
pub(super) fn processor_time(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let name = "CPU ns per record / F3's";
    Ok(vec![
        against_f3(stage, &format!("{name}, 128 KiB batches"), &ingest(), 1.25)?,
        against_f3(
            stage,
            &format!("{name}, single records, 16 in flight"),
            &ingest_in(1, 16),
            2.0,
        )?,
    ])
}

fn against_f3(
    stage: &Stage,
    name: &str,
    workload: &Workload,
    at_most: f64,
) -> Result<Part, Problem> {
    let broker = stage.corelog(Durability::Written, &[])?;
    let plan = stage.plan(workload, &broker.facts, broker.dir.path())?;
    let sink = stage.sink()?;
    let floor_plan = sink.plan(Step::Write, &plan)?;
    let pairs = stage.in_turns(
        || stage.slice(&plan, broker.facts.pid),
        || stage.slice(&floor_plan, Some(sink.pid())),
    )?;
    broker.stop()?;
    let measured = Measured::of_pairs(&pairs, ["broker ns", "F3 ns"], |broker, floor| {
        (cpu_ns_per_record(broker), cpu_ns_per_record(floor))
    });
    let measured = measured.map(|measured| {
        measured
            .median(&pairs, "broker MB/s", |own, _| megabytes(&plan, own))
            .median(&pairs, "F3 MB/s", |_, floor| megabytes(&plan, floor))
    });
    Ok(Part::new(name, Target::AtMost(at_most), measured))
}
