//! What every goal is measured with: the CPUs, the brokers, the floors, and the turns in which
//! they are measured.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corelog::bench::{Plan, Problem, Rate};
use indicatif::ProgressBar;

use crate::broker::{Corelog, Facts, Settings};
use crate::floors::disk::FloorFiles;
use crate::floors::hiccup;
use crate::floors::serving::Sink;
use crate::limits::{FLOOR_FILES, FLOOR_FILES_BYTES, SLICE_WARM_UP, SPIN_US};
use crate::machine::{Machine, Seats};
use crate::paired::{Pairs, first_begins};
use crate::session::{self, Slice};
use crate::workload::{Durability, Workload};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    pub(crate) is_quick: bool,
    pub(crate) pairs: usize,
    /// How long a slice counts.
    pub(crate) slice: Duration,
    /// Load on a new broker before the first slice.
    pub(crate) warm_up: Duration,
}

impl Effort {
    pub(crate) fn new(is_quick: bool) -> Effort {
        let (pairs, slice_ms, warm_up_s) = if is_quick { (5, 700, 2) } else { (15, 1000, 5) };
        Effort {
            is_quick,
            pairs,
            slice: Duration::from_millis(slice_ms),
            warm_up: Duration::from_secs(warm_up_s),
        }
    }
}

/// Everything that goals share.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) machine: Machine,
    pub(crate) seats: Seats,
    pub(crate) effort: Effort,
    /// The corelog to start.
    pub(crate) binary: PathBuf,
    /// Where temporary directories are made.
    pub(crate) parent: PathBuf,
    pub(crate) bar: ProgressBar,
    files: OnceCell<FloorFiles>,
    sink: OnceCell<Sink>,
}

impl Stage {
    pub(crate) fn new(machine: Machine, effort: Effort, binary: &Path, parent: &Path) -> Stage {
        let cores = GOAL_CORES;
        Stage {
            seats: Seats::share_out(&machine.cpus, cores, cores),
            machine,
            effort,
            binary: binary.to_owned(),
            parent: parent.to_owned(),
            bar: session::progress("goals"),
            files: OnceCell::new(),
            sink: OnceCell::new(),
        }
    }

    /// A corelog of its own on the broker's CPUs.
    pub(crate) fn corelog(
        &self,
        durability: Durability,
        overrides: &[String],
    ) -> Result<Corelog, Problem> {
        Corelog::start(&self.binary, &self.settings(durability, overrides))
    }

    pub(crate) fn settings<'a>(
        &'a self,
        durability: Durability,
        overrides: &'a [String],
    ) -> Settings<'a> {
        Settings {
            durability,
            cpus: &self.seats.broker,
            parent: &self.parent,
            overrides,
        }
    }

    /// The floors' files, made when they are first asked for.
    pub(crate) fn files(&self) -> Result<&FloorFiles, Problem> {
        if let Some(files) = self.files.get() {
            return Ok(files);
        }
        let files = FloorFiles::make(&self.parent, FLOOR_FILES, FLOOR_FILES_BYTES)?;
        Ok(self.files.get_or_init(|| files))
    }

    /// The floors' server, started when it is first asked for.
    pub(crate) fn sink(&self) -> Result<&Sink, Problem> {
        if let Some(sink) = self.sink.get() {
            return Ok(sink);
        }
        let sink = Sink::start(self.files()?, &self.seats.broker)?;
        Ok(self.sink.get_or_init(|| sink))
    }

    /// Makes the workload's topic, loads the broker for a while, and plans slices.
    pub(crate) fn plan(
        &self,
        workload: &Workload,
        facts: &Facts,
        dir: &Path,
    ) -> Result<Plan, Problem> {
        let mut plan = session::prepare(workload, facts, &self.seats.client, Some(dir))?;
        plan.warm_up = SLICE_WARM_UP;
        plan.length = self.effort.warm_up;
        self.say("warming up");
        session::run_slice(&plan, facts.pid, &ProgressBar::hidden())?;
        plan.length = self.effort.slice;
        Ok(plan)
    }

    /// One slice of load. Refused requests are no result.
    pub(crate) fn slice(&self, plan: &Plan, pid: Option<u32>) -> Result<Slice, Problem> {
        let slice = session::run_slice(plan, pid, &ProgressBar::hidden())?;
        match slice.book.refused.iter().next() {
            None => Ok(slice),
            Some((name, count)) => {
                let what = format!("{count} requests were refused: {name}");
                Err(Problem::new(what))
            }
        }
    }

    /// Measures two things in turns, and drops what lies beside a hiccup.
    pub(crate) fn in_turns<A, B>(
        &self,
        first: impl FnMut() -> Result<A, Problem>,
        second: impl FnMut() -> Result<B, Problem>,
    ) -> Result<Pairs<A, B>, Problem> {
        self.in_turns_of(self.effort.pairs, first, second)
    }

    /// The same with another number of pairs.
    pub(crate) fn in_turns_of<A, B>(
        &self,
        wanted: usize,
        mut first: impl FnMut() -> Result<A, Problem>,
        mut second: impl FnMut() -> Result<B, Problem>,
    ) -> Result<Pairs<A, B>, Problem> {
        let cpus = &self.seats.broker;
        let mut pairs = Pairs::new(wanted);
        for number in 0.. {
            if pairs.is_done() {
                break;
            }
            let dropped = pairs.dropped_count();
            self.say(&format!(
                "pair {} of {wanted}, {dropped} dropped",
                number + 1
            ));
            let ((a, seen_a), (b, seen_b));
            if first_begins(number) {
                (a, seen_a) = hiccup::around(cpus, &mut first)?;
                (b, seen_b) = hiccup::around(cpus, &mut second)?;
            } else {
                (b, seen_b) = hiccup::around(cpus, &mut second)?;
                (a, seen_a) = hiccup::around(cpus, &mut first)?;
            }
            pairs.push(a, b, seen_a.is_hiccup() || seen_b.is_hiccup());
        }
        Ok(pairs)
    }

    /// Tells people who watch what is going on.
    pub(crate) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.tick();
    }
}

/// CPUs of the broker, and of the client, where there are so many.
const GOAL_CORES: u16 = 2;

/// A workload of the repository, which goals change where they must.
pub(crate) fn workload(text: &str) -> Workload {
    Workload::parse(text).expect("the repository's workloads are tested")
}

/// Durable ingest: 128 KiB batches, 16 partitions, 4 connections.
pub(crate) fn ingest() -> Workload {
    workload(include_str!("../../workloads/w1-durable-ingest.toml"))
}

/// The same with small batches.
pub(crate) fn ingest_in(batch_records: u32, in_flight: u32) -> Workload {
    let mut workload = ingest();
    workload.load.batch_records = batch_records;
    workload.load.in_flight = in_flight;
    workload
}

/// As many records a second as this share of a slice's rate, in whole batches.
pub(crate) fn rate_of(records_per_second: f64, share: f64) -> Rate {
    Rate::RecordsPerSecond(((records_per_second * share) as u64).max(1))
}

/// The setting of a broker that spins while a connection waits for its only request.
pub(crate) fn spin_setting() -> String {
    format!("corelog.spin.us={SPIN_US}")
}

/// Payload in 10^6 bytes a second.
pub(crate) fn megabytes(plan: &Plan, slice: &Slice) -> f64 {
    crate::report::megabytes_per_second(&plan.traffic.load, slice)
}

/// Microseconds within which this share of the requests was answered.
pub(crate) fn us_at(slice: &Slice, quantile: f64) -> f64 {
    slice.book.latency.value_at_quantile(quantile) as f64 / 1000.0
}

/// Nanoseconds of the broker's processor time for each record; none where it cannot be known.
pub(crate) fn cpu_ns_per_record(slice: &Slice) -> f64 {
    let seconds = slice.broker_cpu_seconds.unwrap_or(f64::NAN);
    seconds * 1e9 / slice.book.records() as f64
}
