//! `corelog demo`: a broker of its own in a temporary directory, records through TCP and back,
//! every one of them checked.

use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::arguments::DemoArguments;
use super::failure::Failure;
use super::progress;
use super::records::{Checker, Maker};
use super::screen::{Screen, Table};
use super::signals;
use crate::client::{
    Client, ClientOptions, Consumer, ConsumerOptions, NewTopic, OffsetReset, Producer,
    ProducerOptions, ProducerRecord, StartAt,
};
use crate::io::blocking::{self, ScratchDir};
use crate::io::housekeeping::now;
use crate::model::{TopicName, TopicPartition};

/// Runs the command.
pub(super) fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    let interrupted = signals::interrupt_flag()?;
    let dir = ScratchDir::new(arguments.dir.as_deref())
        .map_err(|error| Failure::new(format!("cannot make a temporary directory: {error}")))?;
    let node = Node::start(&dir, &arguments.overrides)?;
    let client = Client::connect(&node.address, ClientOptions::default())?;
    let topic = TopicName::new("demo").expect("a legal name");
    let outcome = drive(client, arguments, &topic, &node, &interrupted);
    if interrupted.load(Ordering::Relaxed) {
        // A terminal's signal has reached the broker as well.
        return Err(Failure::interrupted(
            "interrupted; the broker and its data are gone",
        ));
    }
    let outcome = outcome?;
    let mut screen = Screen::new(blocking::stdout(), arguments.output);
    screen.show(|| text(&outcome), || to_json(&outcome))?;
    node.stop()
}

/// How long the node may take to recover and listen; it has nothing to recover.
const START_WAIT: Duration = Duration::from_secs(20);
/// How long it may take to stop.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// A broker in a process of its own, which ends with this one.
struct Node {
    child: Child,
    /// Its standard input: when it closes, for whatever reason, the broker stops.
    life_line: Option<ChildStdin>,
    log: PathBuf,
    address: String,
    durability: String,
    is_in_memory: bool,
}

impl Node {
    fn start(dir: &ScratchDir, overrides: &[String]) -> Result<Node, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::new(format!("cannot find this binary: {error}")))?;
        let ready_file = dir.path().join("ready.json");
        let log = dir.path().join("log");
        let data = dir.path().join("data");
        let mut command = Command::new(program);
        command
            .args(["start", "--stop-at-end-of-input", "--ready-file"])
            .arg(&ready_file);
        let own = [
            "listeners=PLAINTEXT://127.0.0.1:0".to_string(),
            "corelog.admin.listener=127.0.0.1:0".to_string(),
            format!("log.dirs={}", data.display()),
        ];
        for text in own.iter().chain(overrides) {
            command.args(["--override", text]);
        }
        let failed = |error| Failure::new(format!("cannot start a broker: {error}"));
        let log_file = blocking::create_file(&log).map_err(failed)?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log_file);
        let mut child = command.spawn().map_err(failed)?;
        let mut node = Node {
            life_line: child.stdin.take(),
            child,
            log,
            address: String::new(),
            durability: String::new(),
            is_in_memory: false,
        };
        let ready = node.wait_ready(&ready_file)?;
        node.address = ready["listeners"][0]
            .as_str()
            .unwrap_or_default()
            .to_string();
        node.durability = ready["durability"].as_str().unwrap_or_default().to_string();
        node.is_in_memory = ready["in_memory"].as_bool().unwrap_or_default();
        Ok(node)
    }

    fn wait_ready(&mut self, file: &std::path::Path) -> Result<Value, Failure> {
        let deadline = now() + START_WAIT;
        loop {
            if let Ok(bytes) = blocking::read_file(file) {
                return serde_json::from_slice(&bytes)
                    .map_err(|error| Failure::new(format!("the broker's ready file: {error}")));
            }
            if self.child.try_wait().ok().flatten().is_some() || now() > deadline {
                return Err(Failure::new(format!(
                    "the broker did not start:\n{}",
                    self.last_words()
                )));
            }
            blocking::sleep(Duration::from_millis(10));
        }
    }

    /// The end of what the broker logged, as a quotation.
    fn last_words(&self) -> String {
        let mut text = String::new();
        if let Ok(log) = blocking::open_file(&self.log) {
            let _ = BufReader::new(log).read_to_string(&mut text);
        }
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(10)..];
        last.iter()
            .map(|line| format!("  | {line}\n"))
            .collect::<String>()
            .trim_end()
            .to_string()
    }

    /// Stops it gracefully; anything but exit code 0 is a failure.
    fn stop(mut self) -> Result<(), Failure> {
        drop(self.life_line.take());
        let deadline = now() + STOP_WAIT;
        while now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    let words = self.last_words();
                    return Err(Failure::new(format!(
                        "the broker ended with {status}:\n{words}"
                    )));
                }
                Ok(None) => blocking::sleep(Duration::from_millis(10)),
                Err(error) => return Err(Failure::new(format!("the broker is lost: {error}"))),
            }
        }
        Err(Failure::new(format!(
            "the broker did not stop within {} s",
            STOP_WAIT.as_secs()
        )))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // After a graceful stop both fail, which is as it should be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was measured.
struct Outcome {
    record_count: u64,
    payload_bytes: u64,
    partition_count: i32,
    durability: String,
    is_in_memory: bool,
    produce: Duration,
    consume: Duration,
    /// Acknowledgements of batches while many are in flight, in nanoseconds.
    under_load: Histogram<u64>,
    /// Acknowledgements of single records, one after the other, in nanoseconds.
    alone: Histogram<u64>,
}

/// Single records that are sent one after the other.
const ALONE_COUNT: u64 = 500;
/// Requests in flight to the broker while it is under load.
const IN_FLIGHT: usize = 5;

fn drive(
    mut client: Client,
    arguments: &DemoArguments,
    topic: &TopicName,
    node: &Node,
    interrupted: &AtomicBool,
) -> Result<Outcome, Failure> {
    client.create_topic(&NewTopic {
        partition_count: Some(arguments.partitions),
        ..NewTopic::new(topic.clone())
    })?;
    let mut maker = Maker::new(arguments.record_size as usize, arguments.partitions);
    let mut under_load = histogram();
    let begin = now();
    produce(
        client.another()?,
        topic,
        &mut maker,
        arguments.records,
        &mut under_load,
        interrupted,
    )?;
    let produce_time = now() - begin;
    let begin = now();
    let checker = consume(client.another()?, topic, &maker, interrupted)?;
    let consume_time = now() - begin;
    checker.finish(&maker).map_err(|wrong| {
        Failure::new(format!("what came back is not what was sent: {wrong}"))
            .because("this is a defect of the broker")
    })?;
    let mut alone = histogram();
    produce_alone(client, topic, &mut maker, &mut alone)?;
    Ok(Outcome {
        record_count: arguments.records,
        payload_bytes: arguments.records * arguments.record_size,
        partition_count: arguments.partitions,
        durability: node.durability.clone(),
        is_in_memory: node.is_in_memory,
        produce: produce_time,
        consume: consume_time,
        under_load,
        alone,
    })
}

fn histogram() -> Histogram<u64> {
    let max_ns = 60 * 1_000_000_000;
    Histogram::new_with_bounds(1_000, max_ns, 3).expect("bounds are constants")
}

fn produce(
    client: Client,
    topic: &TopicName,
    maker: &mut Maker,
    record_count: u64,
    latencies: &mut Histogram<u64>,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let options = ProducerOptions {
        in_flight_max: IN_FLIGHT,
        ..ProducerOptions::default()
    };
    let mut producer = Producer::new(client, options)?;
    let bar = progress::bar(record_count, "produced");
    for number in 0..record_count {
        send(&mut producer, topic, maker)?;
        if number % 1024 == 0 {
            stop_if(interrupted)?;
            bar.set_position(number);
            settle(&mut producer, latencies)?;
        }
    }
    producer.flush()?;
    settle(&mut producer, latencies)?;
    bar.set_position(record_count);
    bar.finish();
    Ok(())
}

fn produce_alone(
    client: Client,
    topic: &TopicName,
    maker: &mut Maker,
    latencies: &mut Histogram<u64>,
) -> Result<(), Failure> {
    let mut producer = Producer::new(client, ProducerOptions::default())?;
    for _ in 0..ALONE_COUNT {
        send(&mut producer, topic, maker)?;
        producer.flush()?;
        settle(&mut producer, latencies)?;
    }
    Ok(())
}

fn send(producer: &mut Producer, topic: &TopicName, maker: &mut Maker) -> Result<(), Failure> {
    let (partition, value) = maker.next();
    let record = ProducerRecord {
        partition: Some(partition),
        value: Some(value),
        ..ProducerRecord::default()
    };
    producer.send(topic, &record)?;
    Ok(())
}

fn settle(producer: &mut Producer, latencies: &mut Histogram<u64>) -> Result<(), Failure> {
    for delivery in producer.deliveries() {
        delivery.outcome?;
        latencies.saturating_record(u64::try_from(delivery.latency.as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(())
}

fn stop_if(interrupted: &AtomicBool) -> Result<(), Failure> {
    match interrupted.load(Ordering::Relaxed) {
        true => Err(Failure::interrupted("interrupted")),
        false => Ok(()),
    }
}

fn consume(
    client: Client,
    topic: &TopicName,
    maker: &Maker,
    interrupted: &AtomicBool,
) -> Result<Checker, Failure> {
    let options = ConsumerOptions {
        reset: OffsetReset::Fail,
        ..ConsumerOptions::default()
    };
    let partitions: Vec<_> = (0..maker.partition_count())
        .map(|index| TopicPartition {
            topic: topic.clone(),
            index,
        })
        .map(|partition| (partition, StartAt::Earliest))
        .collect();
    let mut consumer = Consumer::assign(client, &partitions, options)?;
    let mut checker = Checker::new(maker.partition_count());
    let bar = progress::bar(maker.made_count(), "consumed");
    let mut silent_polls = 0;
    while checker.count() < maker.made_count() && silent_polls < SILENT_POLLS_MAX {
        stop_if(interrupted)?;
        let batches = consumer.poll()?;
        silent_polls = if batches.is_empty() {
            silent_polls + 1
        } else {
            0
        };
        for batch in batches {
            batch.visit(|record| checker.check(batch.partition.index, record))?;
        }
        bar.set_position(checker.count());
    }
    bar.finish();
    Ok(checker)
}

/// Polls without a record, half a second each, after which the rest is taken to be lost.
const SILENT_POLLS_MAX: u32 = 10;

fn text(outcome: &Outcome) -> String {
    let rate = |time: Duration| {
        let seconds = time.as_secs_f64().max(1e-9);
        let records = outcome.record_count as f64 / seconds;
        let megabytes = outcome.payload_bytes as f64 / seconds / 1e6;
        format!("{records:.0} records/s, {megabytes:.1} MB/s, {seconds:.2} s")
    };
    let mut table = Table::new(&[
        "ACKNOWLEDGED",
        "COUNT",
        "P50-MS",
        "P99-MS",
        "P99.9-MS",
        "MAX-MS",
    ]);
    let mut row = |name: &str, latencies: &Histogram<u64>| {
        let at = |quantile| format!("{:.3}", latencies.value_at_quantile(quantile) as f64 / 1e6);
        let count = latencies.len().to_string();
        table.row([name.into(), count, at(0.5), at(0.99), at(0.999), at(1.0)]);
    };
    row("batches under load", &outcome.under_load);
    row("single records", &outcome.alone);
    format!(
        "\
{count} records of {size} bytes through {partitions} partitions: all there, in order, intact.
durability {durability}
produced   {produced}
consumed   {consumed}

{table}",
        count = outcome.record_count,
        size = outcome.payload_bytes / outcome.record_count,
        partitions = outcome.partition_count,
        durability = match outcome.is_in_memory {
            true => format!(
                "{}, but in memory (tmpfs), where a sync costs and keeps nothing: --dir DIR takes \
                 a disk",
                outcome.durability
            ),
            false => outcome.durability.clone(),
        },
        produced = rate(outcome.produce),
        consumed = rate(outcome.consume),
    )
}

fn to_json(outcome: &Outcome) -> Value {
    let latency = |latencies: &Histogram<u64>| {
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
        json!({
            "count": latencies.len(), "p50_ms": at(0.5), "p99_ms": at(0.99),
            "p999_ms": at(0.999), "max_ms": at(1.0),
        })
    };
    json!({
        "records": outcome.record_count,
        "payload_bytes": outcome.payload_bytes,
        "partitions": outcome.partition_count,
        "durability": outcome.durability,
        "in_memory": outcome.is_in_memory,
        "produce_seconds": outcome.produce.as_secs_f64(),
        "consume_seconds": outcome.consume.as_secs_f64(),
        "batch_latency_under_load": latency(&outcome.under_load),
        "single_record_latency": latency(&outcome.alone),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_with_their_units() {
        let mut latencies = histogram();
        for ns in [1_000_000, 2_000_000, 3_000_000] {
            latencies.record(ns).expect("within bounds");
        }
        let outcome = Outcome {
            record_count: 1000,
            payload_bytes: 100_000,
            partition_count: 4,
            durability: "sync".into(),
            is_in_memory: false,
            produce: Duration::from_millis(500),
            consume: Duration::from_millis(250),
            under_load: latencies.clone(),
            alone: latencies,
        };
        let expected = "\
1000 records of 100 bytes through 4 partitions: all there, in order, intact.
durability sync
produced   2000 records/s, 0.2 MB/s, 0.50 s
consumed   4000 records/s, 0.4 MB/s, 0.25 s

ACKNOWLEDGED        COUNT  P50-MS  P99-MS  P99.9-MS  MAX-MS
batches under load  3      2.001   3.000   3.000     3.000
single records      3      2.001   3.000   3.000     3.000
";
        assert_eq!(text(&outcome), expected);
        assert_eq!(to_json(&outcome)["batch_latency_under_load"]["count"], 3);
    }
}
