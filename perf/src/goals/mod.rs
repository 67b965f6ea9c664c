//! `perf goals`: the twelve numbers that say how near the broker is to what the machine could do,
//! and how far from its peers.
//!
//! Each goal is a ratio of two things that are measured in turns (`stage`), and an entry in
//! summary.json (`entry`). What cannot be measured here has no number and says why.

pub(crate) mod entry;
pub(crate) mod stage;

mod cores;
mod fetch;
mod flatness;
mod ingest;
mod kafka;
mod latency;
mod requests;
mod start;
mod tails;

use std::path::Path;

use corelog::bench::Problem;
use corelog::io::{self, housekeeping};
use serde_json::{Value, json};

use self::entry::{Entry, Part, Target};
use self::stage::Stage;
use crate::machine::revision;

/// How a goal's parts are measured.
type Measure = fn(&Stage) -> Result<Vec<Part>, Problem>;

/// One of the twelve.
struct Goal {
    number: u8,
    name: &'static str,
    /// Of the broker, while it is measured.
    durability: &'static str,
    /// The first part's, for an entry that could not be measured at all.
    target: Target,
    measure: Measure,
}

const GOALS: [Goal; 12] = [
    Goal {
        number: 1,
        name: "durable ingest / disk with data sync",
        durability: "sync",
        target: Target::AtLeast(0.9),
        measure: ingest::durable,
    },
    Goal {
        number: 2,
        name: "processor time per record / TCP sink with CRC and write",
        durability: "written",
        target: Target::AtMost(1.25),
        measure: ingest::processor_time,
    },
    Goal {
        number: 3,
        name: "durable acknowledgement / round trip and synced write",
        durability: "sync",
        target: Target::AtMost(1.3),
        measure: latency::one_in_flight,
    },
    Goal {
        number: 4,
        name: "durable requests/s / synced writes/s",
        durability: "sync",
        target: Target::AtLeast(20.0),
        measure: requests::many_small,
    },
    Goal {
        number: 5,
        name: "1,000 active partitions / 1",
        durability: "sync",
        target: Target::AtLeast(0.85),
        measure: flatness::partitions,
    },
    Goal {
        number: 6,
        name: "400 keyed connections / 4 unkeyed",
        durability: "sync",
        target: Target::AtLeast(0.7),
        measure: flatness::connections,
    },
    Goal {
        number: 7,
        name: "tail fetch / raw send",
        durability: "sync",
        target: Target::AtLeast(0.9),
        measure: fetch::tail,
    },
    Goal {
        number: 8,
        name: "produce beside a cold reader / without",
        durability: "sync",
        target: Target::AtMost(1.2),
        measure: fetch::cold_reader,
    },
    Goal {
        number: 9,
        name: "tail through rolls and retention / of synced writes",
        durability: "sync",
        target: Target::AtMost(2.0),
        measure: tails::rolls_and_retention,
    },
    Goal {
        number: 10,
        name: "wrong core / right core",
        durability: "written",
        target: Target::AtLeast(0.85),
        measure: cores::wrong_core,
    },
    Goal {
        number: 11,
        name: "corelog / Apache Kafka",
        durability: "sync",
        target: Target::AtLeast(3.0),
        measure: kafka::against_kafka,
    },
    Goal {
        number: 12,
        name: "idle partitions and restart",
        durability: "sync",
        target: Target::AtMost(16.0),
        measure: start::idle_and_restart,
    },
];

/// The highest number of a goal.
pub(crate) const GOALS_COUNT: u8 = GOALS.len() as u8;

/// Measures the goals with these numbers, or all, tells about each as soon as it is known, and
/// writes `summary.json` after each: who interrupts has what there is.
pub(crate) fn run(
    stage: &Stage,
    only: &[u8],
    out: &Path,
    mut tell: impl FnMut(&str) -> Result<(), Problem>,
) -> Result<(), Problem> {
    std::fs::create_dir_all(out)
        .map_err(|error| Problem::new(format!("cannot make {}: {error}", out.display())))?;
    tell(&head(stage))?;
    let revision = revision();
    let mut entries = Vec::new();
    let mut notes = String::new();
    for goal in &GOALS {
        if !only.is_empty() && !only.contains(&goal.number) {
            continue;
        }
        stage.bar.set_prefix(format!("goal {}", goal.number));
        let entry = measure(stage, goal);
        stage.bar.suspend(|| tell(&entry.rows()))?;
        notes.push_str(&entry.notes());
        entries.push(entry.to_json(&context(stage, revision.as_deref())));
        let path = out.join("summary.json");
        let text = format!("{:#}\n", Value::Array(entries.clone()));
        io::blocking::write_file(&path, text.as_bytes())
            .map_err(|error| Problem::new(format!("cannot write {}: {error}", path.display())))?;
    }
    stage.bar.finish_and_clear();
    if !notes.is_empty() {
        tell(&format!("\n{notes}"))?;
    }
    Ok(())
}

/// A goal that fails has no number, and the others are measured all the same.
fn measure(stage: &Stage, goal: &Goal) -> Entry {
    let begin = io::now();
    let parts = (goal.measure)(stage).map_err(|problem| problem.to_string());
    Entry {
        goal: goal.number,
        name: goal.name,
        durability: goal.durability,
        parts: parts.unwrap_or_else(|why| vec![Part::new(goal.name, goal.target, Err(why))]),
        seconds: (io::now() - begin).as_secs_f64(),
    }
}

/// What a number must be read with.
fn context(stage: &Stage, revision: Option<&str>) -> Value {
    json!({
        "at_ms": housekeeping::wall_clock().0,
        "command_line": std::env::args().collect::<Vec<_>>(),
        "machine": stage.machine,
        "seats": stage.seats,
        "revision": revision,
        "is_quick": stage.effort.is_quick,
        "pairs": stage.effort.pairs,
        "slice_seconds": stage.effort.slice.as_secs_f64(),
        "notes": seat_notes(stage),
    })
}

/// What the number of CPUs does to every goal, in words.
fn seat_notes(stage: &Stage) -> Vec<String> {
    let (broker, client) = (stage.seats.broker.len(), stage.seats.client.len());
    let mut notes = Vec::new();
    if stage.seats.shared {
        notes.push("broker and client share one CPU".to_owned());
    } else if broker < 2 || client < 2 {
        notes.push(format!("the broker has {broker} CPU, the client {client}"));
    }
    notes
}

fn head(stage: &Stage) -> String {
    let machine = &stage.machine;
    let mut text = format!(
        "machine     {}, {} CPUs, Linux {}, load before {}\n\
         CPUs        {} for the broker and the floors, {} for the client\n\
         pairs       {} of {} s each, in turns (ABBA); medians of the ratios, with the 95 % interval\n",
        machine.cpu_model,
        machine.cpus.len(),
        machine.kernel,
        machine.load_before,
        crate::machine::cpu_list(&stage.seats.broker),
        crate::machine::cpu_list(&stage.seats.client),
        stage.effort.pairs,
        stage.effort.slice.as_secs_f64(),
    );
    for note in seat_notes(stage) {
        text.push_str(&format!("note        {note}\n"));
    }
    text.push_str("\n| goal | what | ratio | low | high | target | met | medians |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_twelve_goals_in_order() {
        let numbers: Vec<u8> = GOALS.iter().map(|goal| goal.number).collect();
        assert_eq!(numbers, (1..=12).collect::<Vec<u8>>());
        for goal in &GOALS {
            assert!(["sync", "written"].contains(&goal.durability));
        }
    }
}
