//! One load from its first connection to its result.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::DURATION;
use super::arguments::RunArguments;
use super::outcome::{Outcome, Verb};
use super::target::{Target, Topic, durability};
use crate::bench::limits::SECONDS_MAX;
use crate::bench::{Found, Load, Plan, Problem, Rate, Traffic, Watcher, hgrm};
use crate::cli::arguments::OutputFormat;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::{connect, signals};
use crate::client::Client;
use crate::io::{self, Instant, blocking, housekeeping};

/// What is to be done.
pub(super) struct Job<'a> {
    pub(super) verb: Verb,
    pub(super) target: Target<'a>,
    pub(super) traffic: Traffic,
    pub(super) warm_up: Duration,
    pub(super) run: &'a RunArguments,
}

/// Does it, and prints what came of it.
pub(super) fn drive(job: &Job<'_>) -> Result<(), Failure> {
    job.target.name()?;
    let cut = Cut::of(job)?;
    if let Some(path) = &job.run.hdr {
        // Before the load, not after it.
        blocking::create_file(path).map_err(|error| cannot_write(path, &error))?;
    }
    let interrupted = signals::interrupt_flag()?;
    let mut client = connect(&job.run.cluster)?;
    let topic = job.target.find(&mut client)?;
    let measured = measure(job, cut, &mut client, &topic, interrupted);
    // However it ended.
    let cleaned = topic.clean_up(&mut client);
    let mut outcome = measured?;
    outcome.topic_is_deleted = match outcome.problem {
        None => cleaned?,
        // What comes of a broker that is gone: nothing.
        Some(_) => cleaned.unwrap_or(false),
    };
    if let Some(path) = &job.run.hdr {
        let text = hgrm(outcome.times());
        blocking::write_file(path, text.as_bytes()).map_err(|error| cannot_write(path, &error))?;
    }
    let format = match job.run.json {
        true => OutputFormat::Json,
        false => job.run.cluster.output,
    };
    let mut screen = Screen::new(blocking::stdout(), format);
    screen.show(|| outcome.text(), || outcome.to_json())?;
    outcome.verdict()
}

fn cannot_write(path: &std::path::Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}", path.display()))
        .try_this("--hdr with a file in a directory that is there and yours")
}

/// When a load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// After the warm-up and this time.
    After(Duration, Duration),
    /// With so many records, or after this time if that is earlier.
    Records(u64, Duration),
}

impl Cut {
    fn of(job: &Job<'_>) -> Result<Cut, Failure> {
        let longest = Duration::from_secs(SECONDS_MAX.into());
        let load = &job.traffic.load;
        match (job.run.records, job.run.duration) {
            (None, None) if job.verb == Verb::Consume => Ok(Cut::Records(u64::MAX, longest)),
            (None, Some(limit)) if job.verb == Verb::Consume => Ok(Cut::Records(u64::MAX, limit)),
            (None, limit) => Ok(Cut::After(job.warm_up, limit.unwrap_or(DURATION))),
            (Some(records), limit) => match load.rate {
                Rate::Max => Ok(Cut::Records(records, limit.unwrap_or(longest))),
                Rate::RecordsPerSecond(rate) => {
                    let time = time_of(records, load.batch_records, rate);
                    let time = limit.map_or(time, |limit| limit.min(time));
                    if time > longest {
                        return Err(Failure::usage(format!(
                            "{records} records at {rate} a second take more than a day"
                        ))
                        .try_this("a higher --rate, or fewer --records"));
                    }
                    Ok(Cut::After(Duration::ZERO, time))
                }
            },
        }
    }
}

/// How long so many records take in whole requests: when the next one would be sent.
fn time_of(records: u64, batch_records: u32, records_per_second: u64) -> Duration {
    let batch_records = u64::from(batch_records);
    let whole = u128::from(records.div_ceil(batch_records)) * u128::from(batch_records);
    let ns = whole * 1_000_000_000 / u128::from(records_per_second);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

fn measure(
    job: &Job<'_>,
    cut: Cut,
    client: &mut Client,
    topic: &Topic,
    interrupted: Arc<AtomicBool>,
) -> Result<Outcome, Failure> {
    let durability = durability(client);
    let found = Found::ask(client, std::slice::from_ref(&topic.name)).map_err(failed)?;
    let expected = match job.verb {
        Verb::Consume => Some(topic.records(client, &found)?),
        Verb::Produce | Verb::E2e => None,
    };
    let traffic = seated(&job.traffic, topic.partitions, found.leaders.len());
    let bootstrap = &job.run.cluster.bootstrap_server;
    let plan = Plan {
        cpus: vec![None; job.run.threads.into()],
        ..Plan::new(traffic, bootstrap, client, found).map_err(failed)?
    };
    let mut load = Load::open(&plan).map_err(failed)?;
    let bar = bar(job);
    let mut meter = Meter::new(bar.clone(), expected, interrupted.clone());
    let book = match cut {
        Cut::After(warm_up, length) => load.slice(warm_up, length, &mut meter),
        Cut::Records(records, longest) => load.run_to(records, longest, &mut meter),
    };
    bar.finish_and_clear();
    let (book, problem) = match book {
        Ok(book) => (book, None),
        Err(problem) => match load.take_cut_short() {
            Some(book) => (book, Some(problem)),
            None => return Err(failed(problem)),
        },
    };
    Ok(Outcome {
        verb: job.verb,
        bootstrap: bootstrap.clone(),
        topic: topic.name.clone(),
        partitions: topic.partitions,
        topic_is_created: topic.is_created,
        topic_is_deleted: false,
        topic_is_kept: topic.is_kept,
        durability,
        traffic: plan.traffic,
        book,
        cpu_seconds: meter.cpu_seconds(),
        threads: job.run.threads,
        is_interrupted: interrupted.load(Ordering::Relaxed),
        problem,
    })
}

/// As many connections as make sense: each leader has one, and no consumer is without partitions.
fn seated(traffic: &Traffic, partitions: usize, leaders: usize) -> Traffic {
    let (partitions, leaders) = (partitions as u32, leaders as u32);
    let mut traffic = traffic.clone();
    if traffic.load.connections > 0 {
        traffic.load.connections = traffic.load.connections.max(leaders);
    }
    if let Some(consume) = &mut traffic.consume {
        consume.connections = consume.connections.min(partitions).max(leaders);
    }
    traffic
}

pub(super) fn failed(problem: Problem) -> Failure {
    let failure = match problem.is_lost() {
        true => Failure::unreachable(problem.what()),
        false => Failure::new(problem.what()),
    };
    match problem.remedy() {
        Some(remedy) => failure.try_this(remedy),
        None if problem.is_lost() => {
            failure.try_this("the broker's log, and `corelog doctor -b HOST:PORT`")
        }
        None => failure,
    }
}

/// Drawn on stderr, and only if that is a terminal.
fn bar(job: &Job<'_>) -> ProgressBar {
    if job.run.no_progress {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(PARTS), ProgressDrawTarget::stderr());
    let template = "{prefix} {bar:40} {percent:>3} % {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(job.verb.as_str());
    bar
}

/// Parts of the bar.
const PARTS: u64 = 1000;

/// Reads this process's time at the edges of what counts, moves the bar, and hears of signals.
struct Meter {
    bar: ProgressBar,
    /// Records that are to be read.
    expected: Option<u64>,
    interrupted: Arc<AtomicBool>,
    readings: Vec<f64>,
    /// The records at the last tick, and when that was.
    last: (u64, Instant),
}

impl Meter {
    fn new(bar: ProgressBar, expected: Option<u64>, interrupted: Arc<AtomicBool>) -> Meter {
        Meter {
            bar,
            expected,
            interrupted,
            readings: Vec::new(),
            last: (0, io::now()),
        }
    }

    fn cpu_seconds(&self) -> f64 {
        match self.readings[..] {
            [begin, end] => end - begin,
            _ => 0.0,
        }
    }
}

impl Watcher for Meter {
    fn at_edge(&mut self) {
        self.readings
            .push(housekeeping::process_figures().cpu_seconds);
    }

    fn tick(&mut self, share: f64, records: u64) {
        let now = io::now();
        let seconds = (now - self.last.1).as_secs_f64();
        let rate = records.saturating_sub(self.last.0) as f64 / seconds.max(1e-3);
        self.last = (records, now);
        let share = match self.expected {
            Some(expected) => records as f64 / expected as f64,
            None => share,
        };
        self.bar
            .set_position((share.min(1.0) * PARTS as f64) as u64);
        self.bar.set_message(format!("{rate:.0} records/s"));
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_records_take_their_time() {
        let check = |records, batch_records, rate, expected_ms| {
            let time = time_of(records, batch_records, rate);
            assert_eq!(time, Duration::from_millis(expected_ms), "{records}");
        };
        check(1000, 1, 1000, 1000);
        check(1000, 10, 1000, 1000);
        check(1001, 10, 1000, 1010);
        check(1, 1, 1000, 1);
        assert_eq!(
            time_of(u64::MAX, 1, 1),
            Duration::from_nanos(u64::MAX),
            "no overflow"
        );
    }

    #[test]
    fn a_lost_broker_has_an_exit_code_of_its_own() {
        use crate::cli::failure::Exit;
        assert_eq!(failed(Problem::lost("gone")).exit(), Exit::Unreachable);
        assert_eq!(failed(Problem::new("refused")).exit(), Exit::Failed);
    }
}
