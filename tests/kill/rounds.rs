//! The rounds of a run.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use corelog::client::{Client, ClientError, ClientOptions};
use corelog::io::blocking;
use corelog::io::housekeeping::now;

use crate::arguments::Arguments;
use crate::broker::{Broker, Setting, last_words};
use crate::chance::Chance;
use crate::churn::Topics;
use crate::disk::Disk;
use crate::groups::Groups;
use crate::load::Load;
use crate::produce::Producer;
use crate::verdict::Verdict;
use crate::watch;

/// What threads that live longer than a round know of the run.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) verdict: Verdict,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    /// Where the broker is, whenever there is one.
    pub(crate) address: OnceLock<String>,
    pub(crate) is_over: AtomicBool,
}

/// What goes on from round to round.
struct Run<'a> {
    arguments: &'a Arguments,
    shared: &'a Shared,
    chance: Chance,
    disk: Disk,
    setting: Setting,
    producers: Vec<Producer>,
    producer_ids: Mutex<BTreeSet<i64>>,
    /// Bytes of the broker's log that were looked through.
    log_read: usize,
}

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// SIGKILL under load, or a power cut where the disk has one.
    Crash,
    /// A graceful stop under load.
    Stop,
    /// Every batch is acknowledged and read back, then the broker stops.
    Settle,
}

/// What a thread does under load.
type Work = fn(&Shared, &Load, &mut Chance);

const PRODUCERS_MAX: usize = 6;
const PRODUCERS_AT_FIRST: usize = 4;
const COORDINATOR_LOAD_MAX: Duration = Duration::from_secs(20);
/// Topics are read back by so many threads.
const READERS: usize = 3;

/// Runs all rounds. Whether everything was well; an error means that the run could not go on.
pub(crate) fn run(arguments: &Arguments) -> Result<bool, String> {
    let shared = Shared::default();
    let mut run = Run::new(arguments, &shared)?;
    println!("seed {}, {}", arguments.seed, run.disk.describe());
    let mut chance = run.chance.fork();
    let (passed, failed) = std::thread::scope(|scope| {
        scope.spawn(|| shared.groups.consume(&shared, &mut chance));
        let counts = run.all_rounds();
        shared.is_over.store(true, Ordering::Relaxed);
        counts
    });
    for (figure, value) in shared.verdict.figures() {
        println!("{value:>12} {figure}");
    }
    run.disk.close()?;
    if failed == 0 {
        std::fs::remove_dir_all(&arguments.dir).map_err(|error| error.to_string())?;
    } else {
        println!(
            "the data and the broker's log are left in {}",
            arguments.dir.display()
        );
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

impl<'a> Run<'a> {
    fn new(arguments: &'a Arguments, shared: &'a Shared) -> Result<Run<'a>, String> {
        let mut chance = Chance::new(arguments.seed);
        let dir = std::path::absolute(&arguments.dir).map_err(|error| error.to_string())?;
        // What another run left would not be known to this one.
        std::fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let disk = Disk::open(arguments, &dir)?;
        let setting = Setting {
            binary: arguments.binary.clone(),
            data: disk.data(),
            notes: dir,
            port: 0,
            overrides: Vec::new(),
        };
        let producers = (0..PRODUCERS_AT_FIRST)
            .map(|number| Producer::new(number as u32, chance.fork()))
            .collect();
        Ok(Run {
            arguments,
            shared,
            chance,
            disk,
            setting,
            producers,
            producer_ids: Mutex::default(),
            log_read: 0,
        })
    }

    /// How many rounds were well, and how many were not; one that was not is the last.
    fn all_rounds(&mut self) -> (u32, u32) {
        for round in 1..=self.arguments.rounds {
            let ending = match self.chance.below(10) {
                _ if round == self.arguments.rounds => Ending::Settle,
                0 => Ending::Stop,
                1 => Ending::Settle,
                _ => Ending::Crash,
            };
            if !self.judged(round, ending) {
                return (round - 1, 1);
            }
        }
        (self.arguments.rounds, 0)
    }

    /// One round, its line, and what was wrong in it.
    fn judged(&mut self, round: u32, ending: Ending) -> bool {
        let began = now();
        let before = self.shared.verdict.figures();
        let outcome = self.round(ending);
        if let Err(what) = &outcome {
            self.shared.verdict.violation(what.clone());
        }
        self.look_through_log();
        let figures = self.shared.verdict.figures();
        let gained = |figure: &str| {
            let before = before.get(figure).copied().unwrap_or(0);
            figures.get(figure).copied().unwrap_or(0) - before
        };
        println!(
            "round {round}: {}; {} records acknowledged, {} read back, {} ms",
            outcome.unwrap_or_default(),
            gained("records acknowledged"),
            gained("records read back"),
            (now() - began).as_millis()
        );
        let violations = self.shared.verdict.take_violations();
        for what in violations.iter().take(20) {
            println!("  VIOLATION {what}");
        }
        if violations.len() > 20 {
            println!("  and {} more", violations.len() - 20);
        }
        violations.is_empty()
    }

    fn round(&mut self, ending: Ending) -> Result<String, String> {
        let told = self.draw_setting();
        let aborted = self.abort_some_starts()?;
        let broker = self.setting.start()?;
        self.setting.port = broker.port();
        self.shared.address.get_or_init(|| broker.address.clone());
        let start_ms = broker.start_duration.as_millis() as u64;
        self.shared.verdict.count("starts", 1 + aborted);
        self.shared
            .verdict
            .at_least("longest start in ms", start_ms);
        self.check(&broker.address)?;
        let mut broker = Some(broker);
        let load_ms = self.chance.between(20, 1_500);
        let how = self.put_under_load(&mut broker, ending, Duration::from_millis(load_ms))?;
        if let Some(broker) = broker {
            self.settle(&broker.address)?;
            broker.stop()?;
        }
        Ok(format!(
            "{told}, {aborted} starts killed, started in {start_ms} ms, {how} after {load_ms} ms"
        ))
    }

    /// Chooses what the next broker runs with, and tells the most important of it.
    fn draw_setting(&mut self) -> String {
        let chance = &mut self.chance;
        let cores = chance.between(1, 4);
        // Without the data sync an acknowledgement survives a killed process only.
        let durability = match chance.one_in(3) && !self.disk.loses_power() {
            true => "written",
            false => "sync",
        };
        let checkpoint_ms = chance.between(100, 1_500);
        let tail_bytes = *chance.pick(&[0, 1 << 20, 128 << 20]);
        let retention_ms = chance.between(50, 500);
        let chunk_bytes = *chance.pick(&[256 << 10, 256 << 10, 1 << 20]);
        // Clients find the cores of this start, and a request at the wrong one is served as well.
        let listener_mode = *chance.pick(&["broker", "broker", "core"]);
        self.setting.overrides = vec![
            format!("corelog.cores={cores}"),
            format!("corelog.durability={durability}"),
            format!("corelog.checkpoint.interval.ms={checkpoint_ms}"),
            format!("corelog.tail.cache.bytes={tail_bytes}"),
            format!("corelog.chunk.min.bytes={chunk_bytes}"),
            format!("corelog.listener.mode={listener_mode}"),
            format!("log.retention.check.interval.ms={retention_ms}"),
            // This machine's other programs want the CPUs too.
            "corelog.pin.cores=false".to_owned(),
            "auto.create.topics.enable=false".to_owned(),
            "group.initial.rebalance.delay.ms=0".to_owned(),
            "offsets.topic.num.partitions=4".to_owned(),
        ];
        self.setting.overrides.extend(self.disk.overrides());
        let given = self.arguments.overrides.iter().cloned();
        self.setting.overrides.extend(given);
        format!("{cores} cores, {durability}, {listener_mode}")
    }

    /// Kills a few brokers while they start: recovery must bear it.
    fn abort_some_starts(&mut self) -> Result<u64, String> {
        let mut aborted = 0;
        while self.setting.port > 0 && aborted < 3 && self.chance.one_in(3) {
            let after = Duration::from_micros(self.chance.between(0, 150_000));
            self.setting.start_and_kill(after)?;
            aborted += 1;
        }
        Ok(aborted)
    }

    /// Holds what a broker has after its start against what is known.
    fn check(&mut self, address: &str) -> Result<(), String> {
        let notes = &self.setting.notes;
        let failed =
            |error: ClientError| format!("after the start: {error}\n{}", last_words(notes));
        // Coordinators may still be loading.
        let options = ClientOptions {
            retry_for: COORDINATOR_LOAD_MAX,
            ..Load::options()
        };
        let mut client = Client::connect(address, options).map_err(failed)?;
        let found = client.topics().map_err(failed)?;
        self.shared.topics.resolve(&found, &self.shared.verdict);
        self.shared
            .groups
            .check(&mut client, &self.shared.verdict)
            .map_err(failed)?;
        self.read_back(address, false)
    }

    /// Reads all topics back. With `settled`, every record that was sent must be there.
    fn read_back(&mut self, address: &str, settled: bool) -> Result<(), String> {
        let topics = self.shared.topics.certain();
        let next = AtomicUsize::new(0);
        let verdict = &self.shared.verdict;
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                let mut chance = self.chance.fork();
                let (next, topics) = (&next, &topics);
                scope.spawn(move || {
                    while let Some(topic) = topics.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let client = Client::connect(address, Load::options());
                        let read = client.and_then(|client| {
                            watch::read_back(client, topic, verdict, settled, &mut chance)
                        });
                        if let Err(error) = read {
                            let name = &topic.name;
                            verdict.violation(format!("{name} cannot be read back: {error}"));
                        }
                    }
                });
            }
        });
        Ok(())
    }

    /// Load from all sides, and its end; tells how it ended.
    fn put_under_load(
        &mut self,
        broker: &mut Option<Broker>,
        ending: Ending,
        duration: Duration,
    ) -> Result<String, String> {
        let address = broker
            .as_ref()
            .expect("it was just started")
            .address
            .clone();
        let mut producers = std::mem::take(&mut self.producers);
        if producers.len() < PRODUCERS_MAX && self.chance.one_in(5) {
            producers.push(Producer::new(producers.len() as u32, self.chance.fork()));
        }
        let mut chances: Vec<Chance> = (0..5).map(|_| self.chance.fork()).collect();
        let topics = self.shared.topics.certain();
        let load = Load::new(&self.shared.verdict, &self.producer_ids, &address, topics)
            .where_disk_fills(self.disk.fills_up())
            .with_budget(self.arguments.round_bytes);
        let mut own = chances.pop().expect("there are five");
        let filled = self.shared.topics.fill_up(&load, &mut own);
        filled.map_err(|error| format!("no topics can be created: {error}"))?;
        let (shared, disk) = (self.shared, &mut self.disk);
        let outcome = std::thread::scope(|scope| {
            let load = &load;
            for producer in &mut producers {
                scope.spawn(move || producer.run(load));
            }
            let works: [Work; 4] = [
                |_, load, chance| watch::follow(load, chance),
                |_, load, chance| watch::follow(load, chance),
                |shared, load, chance| shared.topics.churn(load, chance),
                |shared, load, chance| shared.groups.commit(load, chance),
            ];
            for work in works {
                let mut chance = chances.pop().expect("one for each");
                scope.spawn(move || work(shared, load, &mut chance));
            }
            let outcome = disk
                .let_run(duration, load, &mut own)
                .and_then(|()| end(broker, ending, disk, load, &mut own));
            load.end();
            outcome
        });
        self.producers = producers;
        let how = outcome?;
        self.disk.restore(&mut own)?;
        Ok(how)
    }

    /// Gets every batch acknowledged, and reads everything back.
    fn settle(&mut self, address: &str) -> Result<(), String> {
        self.disk.make_space()?;
        let mut producers = std::mem::take(&mut self.producers);
        let topics = self.shared.topics.certain();
        let load = Load::new(&self.shared.verdict, &self.producer_ids, address, topics)
            .where_disk_fills(self.disk.fills_up());
        std::thread::scope(|scope| {
            for producer in &mut producers {
                scope.spawn(|| producer.settle(&load));
            }
        });
        self.producers = producers;
        self.read_back(address, true)
    }

    /// Lines of the broker's log that it must not write.
    fn look_through_log(&mut self) {
        let log = blocking::read_file(self.setting.notes.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log[self.log_read.min(log.len())..]).into_owned();
        self.log_read = log.len();
        // A disk without power makes no chunk either.
        let dead = text.lines().any(|line| self.disk.explains(line));
        let is_bad = |line: &&str| {
            line.contains("panicked")
                || (line.contains("ERROR") && !self.disk.explains(line))
                // The run keeps more than its disk was made for.
                || (line.contains("no chunk to be had") && !self.disk.fills_up() && !dead)
        };
        for line in text.lines().filter(is_bad).take(5) {
            self.shared
                .verdict
                .violation(format!("the broker says: {line}"));
        }
    }
}

/// Ends a round's broker, unless it is to live on; tells how.
fn end(
    broker: &mut Option<Broker>,
    ending: Ending,
    disk: &mut Disk,
    load: &Load,
    chance: &mut Chance,
) -> Result<String, String> {
    let running = broker.as_mut().expect("nobody has ended it");
    if let Some(status) = running.ended() {
        load.doom();
        return Err(format!("the broker ended by itself with {status}"));
    }
    match ending {
        Ending::Settle => Ok("settled".to_owned()),
        Ending::Stop => {
            load.doom();
            broker.take().expect("it runs").stop()?;
            Ok("stopped".to_owned())
        }
        Ending::Crash => {
            load.doom();
            let how = disk.cut(chance)?;
            broker.take().expect("it runs").kill()?;
            Ok(how.unwrap_or("killed".to_owned()))
        }
    }
}
