//! Goal 10: what it costs a connection that its partition lives on another core.
//!
//! The broker's cores take turns at serving new connections. So each slice opens one connection to
//! one partition, and the broker's own counters say afterwards on which cores both were.

use std::time::Duration;

use corelog::bench::{Plan, Problem};
use corelog::io::blocking;

use super::entry::{Measured, Part, Target};
use super::stage::{Stage, ingest, megabytes, spin_setting, us_at, workload};
use crate::floors::hiccup;
use crate::limits::SPIN_US;
use crate::loops::{Between, Budget, mailbox_round_trip};
use crate::paired::Pairs;
use crate::scrape::{PUBLISHED, Page};
use crate::session::Slice;
use crate::workload::{Durability, Workload};

/// For each pair so many slices are tried at most; half of them are of either kind on average.
const SLICES_PER_PAIR_MAX: usize = 5;

/// MB/s from the wrong core / from the right one; added p50 / mailbox round trip; and whether any
/// message crosses cores where clients are sent to the right one. Without syncs, which would hide
/// the cost.
pub(super) fn wrong_core(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let names = [
        "MB/s, wrong core / right core",
        "added p50 / mailbox round trip, both cores park",
        "added p50 / mailbox round trip, both cores spin",
    ];
    let targets = [
        Target::AtLeast(0.85),
        Target::AtMost(3.0),
        Target::AtMost(3.0),
    ];
    let results = match stage.seats.broker.len() {
        0 | 1 => names.map(|_| Err("it takes two CPUs for the broker".to_owned())),
        _ => measure(stage)?,
    };
    let mut parts: Vec<Part> = names
        .into_iter()
        .zip(targets)
        .zip(results)
        .map(|((name, target), result)| Part::new(name, target, result))
        .collect();
    let name = "messages between cores per request, with core-direct routing";
    let hops = match stage.seats.broker.len() {
        0 | 1 => Err("it takes two CPUs for the broker".to_owned()),
        _ => core_direct(stage)?,
    };
    parts.push(Part::new(name, Target::AtMost(0.0), hops));
    Ok(parts)
}

/// Messages between cores for each acknowledged request while clients send to the core that owns
/// the partition.
fn core_direct(stage: &Stage) -> Result<Result<Measured, String>, Problem> {
    let mode = ["corelog.listener.mode=core".to_owned()];
    let broker = stage.corelog(Durability::Written, &mode)?;
    let plan = stage.plan(&ingest(), &broker.facts, broker.dir.path())?;
    blocking::sleep(PUBLISHED);
    let before = Page::read(&broker.facts)?;
    let slice = stage.slice(&plan, broker.facts.pid)?;
    blocking::sleep(PUBLISHED);
    let after = Page::read(&broker.facts)?;
    broker.stop()?;
    let more = |name| after.sum(name) - before.sum(name);
    let (messages, requests) = (more("cross_core_messages"), more("acknowledged_requests"));
    if requests <= 0.0 {
        return Ok(Err("the broker counted no acknowledged request".to_owned()));
    }
    let measured = Measured::once(messages / requests)
        .figure("messages", messages)
        .figure("requests", requests)
        .figure("MB/s", megabytes(&plan, &slice));
    Ok(Ok(measured))
}

fn measure(stage: &Stage) -> Result<[Result<Measured, String>; 3], Problem> {
    let mut stream = ingest();
    stream.topic.partitions = 1;
    stream.load.connections = 1;
    let fast = by_core(stage, &stream, Between::Sleep)?;
    let single = workload(include_str!("../../workloads/w3-one-in-flight.toml"));
    let names = ["wrong MB/s", "right MB/s"];
    let rates = Measured::of_pairs(&fast.1, names, |wrong, right| {
        (megabytes(&fast.0, wrong), megabytes(&fast.0, right))
    });
    // The broker's cores wait for a message as those of the round trip do.
    let added = |between| {
        let (_, pairs) = by_core(stage, &single, between)?;
        let trip_us = trip_us(stage, between)?;
        let names = ["added us", "round trip us"];
        let added = Measured::of_pairs(&pairs, names, |wrong, right| {
            (us_at(wrong, 0.5) - us_at(right, 0.5), trip_us)
        });
        Ok::<_, Problem>(
            added.map(|added| added.median(&pairs, "right core us", |_, right| us_at(right, 0.5))),
        )
    };
    let parked = added(Between::Sleep)?;
    let spinning = added(Between::Spin)?;
    Ok([rates, parked, spinning])
}

/// Median of a message's way to another core and back, in microseconds.
fn trip_us(stage: &Stage, between: Between) -> Result<f64, Problem> {
    let cpus = [0, 1].map(|at| stage.seats.broker.get(at).copied());
    let budget = Budget {
        warm_up: 100,
        rounds: u32::MAX - 100,
        time: stage.effort.slice,
    };
    let times = mailbox_round_trip(cpus, between, budget)
        .map_err(|error| Problem::new(format!("the mailbox round trip: {error}")))?;
    Ok(times.value_at_quantile(0.5) as f64 / 1000.0)
}

/// Slices of one connection and one partition, wrong core and right core paired in the order in
/// which they came. With a broker that spins the client does so, too: the waking of a client is
/// many times what a message then costs.
fn by_core(
    stage: &Stage,
    workload: &Workload,
    between: Between,
) -> Result<(Plan, Pairs<Slice, Slice>), Problem> {
    let (settings, spin) = match between {
        Between::Spin => (vec![spin_setting()], SPIN_US.into()),
        Between::Sleep | Between::Work => (Vec::new(), 0),
    };
    let broker = stage.corelog(Durability::Written, &settings)?;
    let mut plan = stage.plan(workload, &broker.facts, broker.dir.path())?;
    plan.spin = Duration::from_micros(spin);
    let wanted = stage.effort.pairs;
    let mut waiting: [Vec<(Slice, bool)>; 2] = [Vec::new(), Vec::new()];
    let mut pairs = Pairs::new(wanted);
    blocking::sleep(PUBLISHED);
    let mut before = Page::read(&broker.facts)?;
    for number in 0..wanted * SLICES_PER_PAIR_MAX {
        if pairs.is_done() {
            break;
        }
        stage.say(&format!("slice {} for {wanted} pairs", number + 1));
        let cpus = &stage.seats.broker;
        let (slice, seen) = hiccup::around(cpus, || stage.slice(&plan, broker.facts.pid))?;
        blocking::sleep(PUBLISHED);
        let after = Page::read(&broker.facts)?;
        let received = busiest(
            &before.by_core("received_bytes"),
            &after.by_core("received_bytes"),
        );
        let appended = busiest(&before.by_core("records_in"), &after.by_core("records_in"));
        before = after;
        let is_right = received == appended;
        waiting[usize::from(is_right)].push((slice, seen.is_hiccup()));
        if let [Some(_), Some(_)] = [waiting[0].first(), waiting[1].first()] {
            let (wrong, wrong_hiccup) = waiting[0].remove(0);
            let (right, right_hiccup) = waiting[1].remove(0);
            pairs.push(wrong, right, wrong_hiccup || right_hiccup);
        }
    }
    broker.stop()?;
    Ok((plan, pairs))
}

/// The core whose counter moved most.
fn busiest(before: &[f64], after: &[f64]) -> Option<usize> {
    let moved = before
        .iter()
        .zip(after)
        .map(|(before, after)| after - before);
    let most = moved.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    most.filter(|most| most.1 > 0.0).map(|most| most.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_that_did_most_is_found() {
        assert_eq!(busiest(&[10.0, 500.0], &[900.0, 520.0]), Some(0));
        assert_eq!(busiest(&[0.0, 0.0, 0.0], &[1.0, 3.0, 2.0]), Some(1));
        assert_eq!(busiest(&[7.0], &[7.0]), None);
        assert_eq!(busiest(&[], &[]), None);
    }
}
