//! Goal 4: many small durable requests, which live on sharing syncs.

use corelog::bench::Problem;

use super::entry::{Measured, Part, Target};
use super::latency::synced_writes;
use super::stage::{Stage, spin_setting, workload};
use crate::scrape::{PUBLISHED, Page};
use crate::workload::Durability;

/// Requests a second of 16 connections with 4 in flight each, one partition each / how many synced
/// writes of 4 KiB one after the other make a second; and syncs per acknowledged request. Of a
/// broker whose cores sleep between requests, and of one whose cores look for them first.
pub(super) fn many_small(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let mut parts = Vec::from(measure(stage, &[], "")?);
    parts.extend(measure(stage, &[spin_setting()], ", the broker spins")?);
    Ok(parts)
}

fn measure(stage: &Stage, settings: &[String], how: &str) -> Result<[Part; 2], Problem> {
    let workload = workload(include_str!("../../workloads/w8-single-records.toml"));
    let broker = stage.corelog(Durability::Sync, settings)?;
    let plan = stage.plan(&workload, &broker.facts, broker.dir.path())?;
    corelog::io::blocking::sleep(PUBLISHED);
    let before = Page::read(&broker.facts)?;
    let pairs = stage.in_turns(
        || stage.slice(&plan, broker.facts.pid),
        || synced_writes(stage, stage.effort.slice),
    )?;
    corelog::io::blocking::sleep(PUBLISHED);
    let after = Page::read(&broker.facts)?;
    broker.stop()?;
    let names = ["requests/s", "1 / synced write p50"];
    let measured = Measured::of_pairs(&pairs, names, |slice, floor| {
        let requests = slice.book.requests() as f64 / slice.book.length_seconds();
        (requests, 1e9 / floor.ns_at(0.5))
    });
    let more = |name| after.sum(name) - before.sum(name);
    let (syncs, acknowledged) = (more("syncs"), more("acknowledged_requests"));
    let shared = match acknowledged > 0.0 {
        true => Ok(Measured::once(syncs / acknowledged)
            .figure("syncs", syncs)
            .figure("acknowledged requests", acknowledged)),
        false => Err("the broker counted no acknowledged request".to_owned()),
    };
    Ok([
        Part::new(
            format!("requests/s / synced writes/s{how}"),
            Target::AtLeast(20.0),
            measured,
        ),
        Part::new(
            format!("syncs per acknowledged request{how}"),
            Target::AtMost(1.0 / 16.0),
            shared,
        ),
    ])
}
