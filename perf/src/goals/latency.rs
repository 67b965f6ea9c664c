//! Goal 3: one durable acknowledgement against what it is made of: a round trip over TCP and a
//! write with data sync.

use corelog::bench::Problem;
use corelog::io::Sync;

use super::entry::{Measured, Part, Target};
use super::stage::{Stage, spin_setting, us_at, workload};
use crate::floors::disk::{self, Access, DiskLoad, DiskSlice};
use crate::loops::{Budget, Times, tcp_round_trip};
use crate::workload::Durability;

/// Produce p50 with one in flight / (TCP round trip p50 + p50 of a synced 4 KiB write), and the
/// same of the p99s: of a broker that sleeps between, and of one that spins. The floors sleep.
pub(super) fn one_in_flight(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let mut parts = against_floors(stage, &[], "")?;
    let spin = [spin_setting()];
    parts.extend(against_floors(stage, &spin, ", the broker spins")?);
    Ok(parts)
}

/// The two of a broker with these settings; their names end in how it waits.
fn against_floors(stage: &Stage, settings: &[String], how: &str) -> Result<Vec<Part>, Problem> {
    let workload = workload(include_str!("../../workloads/w3-one-in-flight.toml"));
    let broker = stage.corelog(Durability::Sync, settings)?;
    let plan = stage.plan(&workload, &broker.facts, broker.dir.path())?;
    let pairs = stage.in_turns(|| stage.slice(&plan, broker.facts.pid), || floor(stage))?;
    broker.stop()?;
    let us = |quantile: f64| {
        Measured::of_pairs(&pairs, ["broker us", "floors us"], |slice, floor| {
            let floor_ns = round_trip_ns(&floor.0, quantile) + floor.1.ns_at(quantile);
            (us_at(slice, quantile), floor_ns / 1000.0)
        })
    };
    let trip_us = |trips: &Times| round_trip_ns(trips, 0.5) / 1000.0;
    let p50 = us(0.5).map(|measured| {
        measured
            .median(&pairs, "round trip us", |_, floor| trip_us(&floor.0))
            .median(&pairs, "synced write us", |_, floor| {
                floor.1.ns_at(0.5) / 1000.0
            })
    });
    Ok(vec![
        Part::new(
            format!("p50 / (round trip + synced write){how}"),
            Target::AtMost(1.3),
            p50,
        ),
        Part::new(
            format!("p99 / (round trip + synced write){how}"),
            Target::AtMost(1.5),
            us(0.99),
        ),
    ])
}

fn round_trip_ns(times: &Times, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64
}

/// Half a slice each.
fn floor(stage: &Stage) -> Result<(Times, DiskSlice), Problem> {
    let time = stage.effort.slice / 2;
    let cpus = [stage.seats.client.first(), stage.seats.broker.first()].map(|cpu| cpu.copied());
    let budget = Budget {
        warm_up: 100,
        rounds: u32::MAX - 100,
        time,
    };
    let trips = tcp_round_trip(cpus, budget)
        .map_err(|error| Problem::new(format!("the TCP round trip: {error}")))?;
    Ok((trips, synced_writes(stage, time)?))
}

/// Writes of 4 KiB with data sync, one after the other, to one file.
pub(super) fn synced_writes(
    stage: &Stage,
    time: std::time::Duration,
) -> Result<DiskSlice, Problem> {
    let load = DiskLoad {
        access: Access::Write(Sync::Data),
        bytes: 4 << 10,
        depth: 1,
        files: 1,
        time,
        beside: None,
    };
    disk::slice(&stage.seats.broker, stage.files()?, load)
}
