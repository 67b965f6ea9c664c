//! Goals 5 and 6: what many partitions and many connections cost.

use corelog::bench::{Problem, Spread};

use super::entry::{Measured, Part, Target};
use super::stage::{Stage, ingest_in, megabytes, workload};
use crate::workload::{Durability, Workload};

/// Goal 5: MB/s over 1,000 active partitions / over one, with the same connections, as fast as
/// both can; in batches of 128 KiB, and in small ones, of which each partition gets few at a time.
pub(super) fn partitions(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let target = Target::AtLeast(0.85);
    let mut parts = Vec::new();
    for (name, batch_records) in [("128 KiB batches", 126), ("16 KiB batches", 15)] {
        let many = over(1000, batch_records);
        let one = over(1, batch_records);
        let measured = compare(stage, [&many, &one], ["1,000 MB/s", "1 MB/s"])?;
        let name = format!("MB/s over 1,000 / over 1, {name}");
        parts.push(Part::new(name, target, measured));
    }
    Ok(parts)
}

/// Goal 6: MB/s of 400 connections whose records have keys / of 4 without, over 100 partitions,
/// idempotent as Kafka's producers are.
pub(super) fn connections(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let keyed = workload(include_str!("../../workloads/w5-keyed.toml"));
    let unkeyed = workload(include_str!("../../workloads/w5-unkeyed.toml"));
    let measured = compare(stage, [&keyed, &unkeyed], ["keyed MB/s", "unkeyed MB/s"])?;
    let name = "MB/s, 400 keyed connections / 4 unkeyed";
    Ok(vec![Part::new(name, Target::AtLeast(0.7), measured)])
}

/// Four connections, each of which sends to all partitions in turn. Segments are small where there
/// are many of them, so that both fit the disk.
fn over(partitions: u32, batch_records: u32) -> Workload {
    let mut workload = ingest_in(batch_records, 8);
    workload.topic.partitions = partitions;
    workload.load.spread = Spread::All;
    let (segment_mib, retention_mib) = if partitions > 100 { (4, 4) } else { (64, 256) };
    workload.topic.segment_bytes = Some(segment_mib << 20);
    workload.topic.retention_bytes = Some(retention_mib << 20);
    workload
}

/// Two workloads on the same broker in turns: the ratio of their MB/s.
fn compare(
    stage: &Stage,
    workloads: [&Workload; 2],
    names: [&str; 2],
) -> Result<Result<Measured, String>, Problem> {
    let broker = stage.corelog(Durability::Sync, &[])?;
    let first = stage.plan(workloads[0], &broker.facts, broker.dir.path())?;
    let second = stage.plan(workloads[1], &broker.facts, broker.dir.path())?;
    let pairs = stage.in_turns(
        || stage.slice(&first, broker.facts.pid),
        || stage.slice(&second, broker.facts.pid),
    )?;
    broker.stop()?;
    Ok(Measured::of_pairs(&pairs, names, |a, b| {
        (megabytes(&first, a), megabytes(&second, b))
    }))
}
