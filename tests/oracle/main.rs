//! Does corelog answer as Apache Kafka does?
//!
//! Sends the same sequences of requests to both and compares the answers field by field, for every
//! API that corelog advertises, in every version that both know, with an error path for each. The
//! requests are encoded with the crate `kafka-protocol`, which shares no code with the product.
//!
//! It needs two fresh brokers with the same node id, so it is no part of a plain `cargo test`:
//! `ci/oracle` starts them and runs it. By hand:
//!
//!     ORACLE_KAFKA=HOST:PORT ORACLE_CORELOG=HOST:PORT cargo test --test oracle [-- SCENARIO...]
//!
//! - What must differ is named or left out before the comparison: `tree.rs` lists it.
//! - What may differ stands in `allowed.txt`, each with a reason. An entry that nothing needs any
//!   more fails the run. `ORACLE_ALLOWED=none` compares without the list; two brokers of Apache
//!   Kafka must then show no difference, which is how the scenarios themselves are tested.
//! - `ORACLE_TRANSCRIPTS=DIR` writes everything that both answered to files of DIR.
//! - The run fails if a version of an API that corelog advertises was not both served and refused,
//!   but for the versions that `coverage.rs` lists because nothing can be wrong with them.

#![allow(
    clippy::disallowed_methods,
    reason = "the program stands outside the broker: its clock and sockets are the system's"
)]

mod batch;
mod compare;
mod coverage;
mod scenarios;
mod session;
mod tree;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use compare::AllowedList;
use session::{Entry, Outcome, Session, Versions};

fn main() -> ExitCode {
    let address = |name: &str| std::env::var(name).ok().filter(|a| !a.is_empty());
    let (Some(kafka), Some(corelog)) = (address("ORACLE_KAFKA"), address("ORACLE_CORELOG")) else {
        eprintln!(
            "The oracle compares two running brokers: set ORACLE_KAFKA and ORACLE_CORELOG to \
             their addresses (HOST:PORT), or let ci/oracle start them."
        );
        return ExitCode::FAILURE;
    };
    let only: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let mut advertised = session::advertised(&corelog);
    let mut common = in_common(&session::advertised(&kafka), &advertised);
    let list = match std::env::var("ORACLE_ALLOWED").as_deref() {
        Ok("none") => {
            common.retain(|key, versions| coverage::in_scope(*key, versions));
            advertised.clone_from(&common);
            ""
        }
        _ => include_str!("allowed.txt"),
    };
    let started_ms = tree::now_ms();
    batch::set_base_timestamp(started_ms);
    let (kafka, corelog) = std::thread::scope(|scope| {
        let side = |address: String| {
            let (common, only) = (common.clone(), &only);
            scope.spawn(move || run(&address, common, started_ms, only))
        };
        let (kafka, corelog) = (side(kafka), side(corelog));
        (kafka.join().expect("joins"), corelog.join().expect("joins"))
    });
    if let Some(directory) = address("ORACLE_TRANSCRIPTS") {
        for (name, entries) in [("kafka", &kafka), ("corelog", &corelog)] {
            let lines = entries
                .iter()
                .map(|e| format!("{}: {}\n", e.place(), e.outcome));
            std::fs::write(format!("{directory}/{name}.txt"), lines.collect::<String>())
                .expect("the transcripts' directory exists");
        }
    }
    let sides = (kafka.as_slice(), corelog.as_slice());
    report((&advertised, &common), sides, list, &only, started_ms)
}

/// What both advertise, in the versions that both know.
fn in_common(kafka: &Versions, corelog: &Versions) -> Versions {
    let mut common = Versions::new();
    for (key, (min, max)) in corelog {
        if let Some((kafka_min, kafka_max)) = kafka.get(key) {
            common.insert(*key, (*min.max(kafka_min), *max.min(kafka_max)));
        }
    }
    common
}

fn run(address: &str, common: Versions, started_ms: i64, only: &[String]) -> Vec<Entry> {
    let mut session = Session::new(address, common, started_ms);
    scenarios::warm_up(&session);
    for (name, scenario) in scenarios::ALL {
        if !only.is_empty() && !only.iter().any(|o| o == name) {
            continue;
        }
        session.begin(name);
        let result = catch_unwind(AssertUnwindSafe(|| scenario(&mut session)));
        if let Err(panic) = result {
            let why = panic
                .downcast_ref::<String>()
                .cloned()
                .or(panic.downcast_ref::<&str>().map(|s| s.to_string()))
                .unwrap_or_default();
            let last = session.entries.last().map_or(String::new(), Entry::place);
            let why = format!("{why}, after {last}");
            session.write_down("(end)", None, Outcome::Broken(why));
        }
    }
    session.entries
}

fn report(
    (advertised, common): (&Versions, &Versions),
    (kafka, corelog): (&[Entry], &[Entry]),
    list: &str,
    only: &[String],
    started_ms: i64,
) -> ExitCode {
    let prefix = &session::prefix(started_ms);
    let mut allowed = AllowedList::read(list);
    let (mut allowances, mut failures) = (0, 0);
    let broken = kafka
        .iter()
        .filter(|e| matches!(e.outcome, Outcome::Broken(_)));
    for entry in broken {
        let Outcome::Broken(why) = &entry.outcome else {
            continue;
        };
        println!("NOT TESTED {}: against Apache Kafka: {why}", entry.place());
        failures += 1;
    }
    // The same difference in several versions is told once.
    let mut groups: BTreeMap<[String; 4], Vec<String>> = BTreeMap::new();
    for mut found in compare::differences(kafka, corelog) {
        found.make_readable(prefix);
        if allowed.allows(&found) {
            allowances += 1;
            continue;
        }
        failures += 1;
        let (label, version) = found.place.rsplit_once(" v").unwrap_or((&found.place, ""));
        let group = [label.into(), found.field, found.kafka, found.corelog];
        groups.entry(group).or_default().push(version.into());
    }
    for ([label, field, kafka, corelog], versions) in &groups {
        println!("DIFFERENT {label} [{}]", versions.join(","));
        println!("    field    {field}");
        println!("    kafka    {kafka}");
        println!("    corelog  {corelog}");
    }
    let whole = only.is_empty();
    if whole {
        for entry in allowed.unused() {
            println!("NOT NEEDED {entry}");
            failures += 1;
        }
        for gap in coverage::gaps(advertised, common, corelog) {
            println!("NOT COVERED {gap}");
            failures += 1;
        }
    }
    coverage::print(common, corelog);
    let seconds = (tree::now_ms() - started_ms) / 1000;
    println!(
        "{} answers compared in {seconds} s, {allowances} differences allowed by the list",
        corelog.len()
    );
    println!("{} passed, {failures} failed", corelog.len());
    if failures == 0 && !corelog.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
