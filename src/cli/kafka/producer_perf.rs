//! `kafka-producer-perf-test.sh`: sends records as fast as may be, or at a rate, and says how long
//! each took from `send` to its answer. In milliseconds and in Kafka's lines, so that figures of
//! both may stand beside each other.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::console_producer::set;
use super::flags::{self, Flag, Given, Refusal, many, refused, switch, value};
use super::{Failed, Stop, connect, words_of};
use crate::cli::screen::Screen;
use crate::client::{ClientError, Producer, ProducerOptions, ProducerRecord};
use crate::io::housekeeping::now;
use crate::io::{Instant, blocking};
use crate::model::TopicName;

pub(super) const FLAGS: &[Flag] = &[
    value("bootstrap-server", "HOST:PORT of a broker"),
    value("topic", "The topic"),
    value("num-records", "How many records"),
    value("throughput", "Records a second; -1 for as fast as may be"),
    value("record-size", "Bytes of each record"),
    value(
        "payload-file",
        "A file of values, one of which is chosen for each record",
    ),
    value(
        "payload-delimiter",
        "What stands between values in the file; \\n if it is not given",
    ),
    switch("payload-monotonic", "Values that count"),
    many("command-property", "KEY=VALUE of the producer"),
    many("producer-props", "As --command-property, by its old name"),
    value("warmup-records", "Records that a second line leaves out"),
    value(
        "reporting-interval",
        "Milliseconds between lines; 5000 if it is not given",
    ),
    refused(
        "print-metrics",
        "corelog's own metrics: http://127.0.0.1:9644/metrics",
    ),
    refused("producer.config", "--command-property KEY=VALUE"),
    refused("command-config", "--command-property KEY=VALUE"),
    refused("transactional-id", "no flag: there are no transactions"),
    refused(
        "transaction-duration-ms",
        "no flag: there are no transactions",
    ),
];

/// What is to be done.
#[derive(Debug)]
struct Plan {
    bootstrap: String,
    topic: TopicName,
    record_count: u64,
    warmup_count: u64,
    /// Records a second; `None` does not wait.
    rate: Option<f64>,
    interval: Duration,
    payload: Payload,
    options: ProducerOptions,
}

/// Where values come from.
#[derive(Debug, PartialEq, Eq)]
enum Payload {
    Random(usize),
    Chosen(Vec<Vec<u8>>),
    Counting,
}

/// Runs the tool.
pub(super) fn run(words: &[String], screen: &mut Screen) -> Result<(), Stop> {
    let given = flags::parse(FLAGS, words).map_err(wrong)?;
    if given.has("producer-props") {
        screen.bytes(
            b"Option --producer-props has been deprecated and will be removed in a future version. \
              Use --command-property instead.\n",
        )?;
    }
    let plan = plan(&given, screen)?;
    if plan.warmup_count > 0 {
        let count = plan.warmup_count;
        let text = format!(
            "Warmup first {count} records. Steady state results will print after the complete \
             test summary.\n"
        );
        screen.bytes(text.as_bytes())?;
    }
    screen.flush()?;
    drive(&plan, screen)
}

/// As this one of Kafka's tools says it.
fn wrong(refusal: Refusal) -> Failed {
    let text = refusal.to_string();
    let text = match text.split_once(" is not a recognized option") {
        Some((flag, rest)) => format!("unrecognized arguments: '--{flag}'{rest}"),
        None => text,
    };
    Failed::on_stderr(format!("kafka-producer-perf-test: error: {text}"))
}

fn failed(error: ClientError) -> Failed {
    let hint = error
        .hint()
        .map_or(String::new(), |hint| format!("  try: {hint}\n"));
    Failed::on_stderr(format!("{}\n{hint}", words_of(&error)))
}

fn plan(given: &Given, screen: &mut Screen) -> Result<Plan, Stop> {
    let mut options = ProducerOptions {
        batch_bytes: 16_384,
        delivery_timeout: Duration::from_secs(120),
        ..ProducerOptions::default()
    };
    let mut bootstrap = None;
    let properties = given.properties(&["command-property", "producer-props"]);
    for (key, value) in properties.map_err(wrong)? {
        match key {
            "bootstrap.servers" => bootstrap = Some(value),
            // They name the producer in a Java process, or its classes.
            "client.id" | "key.serializer" | "value.serializer" => {}
            key => set(&mut options, key, value).map_err(wrong)?,
        }
    }
    let bootstrap = given.one("bootstrap-server").or(bootstrap).ok_or_else(|| {
        let text = "At least one of --bootstrap-server, --command-property, --producer-props, \
                    --producer.config or --command-config must be specified.";
        wrong(Refusal::said(text).instead("--bootstrap-server HOST:PORT"))
    })?;
    let needed = |flag: &'static str| {
        let text = given.one(flag);
        text.ok_or_else(|| wrong(Refusal::said(format!("argument --{flag} is required"))))
    };
    let topic = needed("topic")?;
    let record_count = number(given, "num-records", needed("num-records")?)?;
    let rate: f64 = number(given, "throughput", needed("throughput")?)?;
    let or = |flag: &'static str, default: u64| match given.one(flag) {
        Some(text) => number(given, flag, text),
        None => Ok(default),
    };
    Ok(Plan {
        bootstrap: bootstrap.to_string(),
        topic: TopicName::new(topic)
            .map_err(|_| wrong(Refusal::said(format!("{topic:?} is no topic name"))))?,
        record_count,
        warmup_count: or("warmup-records", 0)?.min(record_count),
        rate: (rate > 0.0).then_some(rate),
        interval: Duration::from_millis(or("reporting-interval", 5000)?),
        payload: payload(given, screen)?,
        options,
    })
}

fn number<N: std::str::FromStr>(_: &Given, flag: &str, text: &str) -> Result<N, Failed> {
    let error = |_| {
        wrong(Refusal::said(format!(
            "argument --{flag}: could not convert '{text}'"
        )))
    };
    text.parse().map_err(error)
}

fn payload(given: &Given, screen: &mut Screen) -> Result<Payload, Stop> {
    let kinds = ["record-size", "payload-file", "payload-monotonic"];
    let mut kinds = kinds.into_iter().filter(|kind| given.has(kind));
    match (kinds.next(), kinds.next()) {
        (None, _) => {
            let text = "one of the arguments --record-size --payload-file --payload-monotonic is \
                        required";
            Err(wrong(Refusal::said(text)).into())
        }
        (Some(first), Some(second)) => {
            let text = format!("argument  --{second}: not allowed\nwith argument --{first}");
            Err(wrong(Refusal::said(text)).into())
        }
        (Some("record-size"), None) => {
            let text = given.one("record-size").unwrap_or_default();
            let bytes: usize = number(given, "record-size", text)?;
            if !(1..=100 << 20).contains(&bytes) {
                let text = "--record-size should be from 1 to 104857600.";
                return Err(wrong(Refusal::said(text)).into());
            }
            Ok(Payload::Random(bytes))
        }
        (Some("payload-file"), None) => from_file(given, screen),
        (Some(_), None) => Ok(Payload::Counting),
    }
}

fn from_file(given: &Given, screen: &mut Screen) -> Result<Payload, Stop> {
    let path = given.one("payload-file").unwrap_or_default();
    let shown = blocking::absolute(std::path::Path::new(path));
    screen.bytes(format!("Reading payloads from: {}\n", shown.display()).as_bytes())?;
    let bytes = blocking::read_file(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let delimiter = given.one("payload-delimiter").unwrap_or("\n");
    let delimiter = delimiter.replace("\\n", "\n").replace("\\t", "\t");
    let parts = text
        .split(delimiter.as_str())
        .filter(|part| !part.is_empty());
    let values: Vec<Vec<u8>> = parts.map(|part| part.as_bytes().to_vec()).collect();
    if values.is_empty() {
        return Err(Failed::on_stderr("File does not exist or empty file provided.\n").into());
    }
    screen.bytes(format!("Number of messages read: {}\n", values.len()).as_bytes())?;
    Ok(Payload::Chosen(values))
}

/// Pseudo-random numbers, the same in each run: a linear congruence.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) as usize) % bound.max(1)
    }
}

/// Puts the next record's value in place.
fn next_value(payload: &Payload, dice: &mut Dice, number: u64, value: &mut Vec<u8>) {
    match payload {
        Payload::Random(bytes) => {
            value.clear();
            value.extend((0..*bytes).map(|_| b'A' + dice.below(26) as u8));
        }
        Payload::Chosen(values) => value.clone_from(&values[dice.below(values.len())]),
        Payload::Counting => *value = number.to_string().into_bytes(),
    }
}

/// Sent records of one partition whose answers are still to come: when, and how many bytes.
type Waiting = VecDeque<(Instant, usize)>;

/// Records on their way, and what is known of those that arrived.
struct Run<'p> {
    plan: &'p Plan,
    producer: Producer,
    waiting: HashMap<i32, Waiting>,
    whole: Figures,
    window: Figures,
    /// Without the warm-up.
    steady: Option<Figures>,
    /// How many records have been sent when the warm-up ends, and when that was.
    steady_from: Option<Instant>,
    failure: Option<ClientError>,
}

fn drive(plan: &Plan, screen: &mut Screen) -> Result<(), Stop> {
    let mut client = connect(&plan.bootstrap).map_err(failed)?;
    let partitions = client
        .topic_or_create(&plan.topic)
        .map_err(failed)?
        .partitions
        .len();
    let producer = Producer::new(client, plan.options).map_err(failed)?;
    let start = now();
    let mut run = Run {
        plan,
        producer,
        waiting: HashMap::new(),
        whole: Figures::new(start),
        window: Figures::new(start),
        steady: None,
        steady_from: None,
        failure: None,
    };
    let mut spread = Spread::new(partitions.max(1), &plan.options);
    let (mut dice, mut value) = (Dice(0), Vec::new());
    for number in 0..plan.record_count {
        next_value(&plan.payload, &mut dice, number, &mut value);
        let due = plan
            .rate
            .map(|rate| start + Duration::from_secs_f64(number as f64 / rate));
        while due.is_some_and(|due| now() < due) {
            run.take_answers(screen)?;
            let left = due.map_or(Duration::ZERO, |due| due.since(now()));
            blocking::sleep(left.min(Duration::from_millis(1)));
        }
        let sent = now();
        if plan.warmup_count > 0 && number == plan.warmup_count {
            run.steady = Some(Figures::new(sent));
            run.steady_from = Some(sent);
        }
        let index = spread.next(value.len(), sent);
        let record = ProducerRecord {
            partition: Some(index),
            value: Some(&value),
            ..ProducerRecord::default()
        };
        run.waiting
            .entry(index)
            .or_default()
            .push_back((sent, value.len()));
        run.producer.send(&plan.topic, &record).map_err(failed)?;
        // Asking costs more than sending a small record.
        if number % 16 == 0 {
            run.take_answers(screen)?;
        }
    }
    run.producer.flush().map_err(failed)?;
    run.take_answers(screen)?;
    if let Some(error) = run.failure.take() {
        return Err(failed(error).into());
    }
    screen.bytes(run.whole.total("").as_bytes())?;
    if let Some(steady) = &run.steady {
        screen.bytes(steady.total(" steady state").as_bytes())?;
    }
    Ok(())
}

impl Run<'_> {
    /// Counts what was answered, and prints a line when it is time.
    fn take_answers(&mut self, screen: &mut Screen) -> Result<(), Stop> {
        self.producer.poll().map_err(failed)?;
        let at = now();
        for delivery in self.producer.deliveries() {
            let waiting = self.waiting.entry(delivery.partition.index).or_default();
            let count = usize::try_from(delivery.record_count).unwrap_or(0);
            let answered = waiting.drain(..count.min(waiting.len()));
            if let Err(error) = delivery.outcome {
                drop(answered);
                self.failure.get_or_insert(error);
                continue;
            }
            for (sent, bytes) in answered {
                let latency_ms = at.since(sent).as_millis() as u64;
                self.whole.count(latency_ms, bytes);
                self.window.count(latency_ms, bytes);
                if let (Some(steady), Some(from)) = (&mut self.steady, self.steady_from)
                    && sent >= from
                {
                    steady.count(latency_ms, bytes);
                }
            }
        }
        if at.since(self.window.start) >= self.plan.interval && self.window.records > 0 {
            screen.bytes(self.window.line(at).as_bytes())?;
            screen.flush()?;
            self.window = Figures::new(at);
        }
        Ok(())
    }
}

/// Chooses partitions as the producer does for records without a key: one until a batch is full or
/// old, then the next. Chosen here, so that an answer's records are known.
struct Spread {
    count: usize,
    index: usize,
    bytes: usize,
    since: Option<Instant>,
    batch_bytes: usize,
    linger: Duration,
}

impl Spread {
    fn new(count: usize, options: &ProducerOptions) -> Spread {
        Spread {
            count,
            index: 0,
            bytes: 0,
            since: None,
            batch_bytes: options.batch_bytes,
            linger: options.linger,
        }
    }

    fn next(&mut self, bytes: usize, at: Instant) -> i32 {
        let since = *self.since.get_or_insert(at);
        if self.bytes >= self.batch_bytes || (self.bytes > 0 && at.since(since) > self.linger) {
            self.index = (self.index + 1) % self.count;
            self.bytes = 0;
            self.since = Some(at);
        }
        self.bytes += bytes;
        i32::try_from(self.index).unwrap_or(0)
    }
}

/// Latencies, counted by the millisecond.
struct Figures {
    start: Instant,
    records: u64,
    bytes: u64,
    sum_ms: u64,
    max_ms: u64,
    by_ms: Vec<u64>,
}

/// Latencies that are told apart, in milliseconds; longer ones count as this long.
const LATENCY_MS_MAX: usize = 600_000;

impl Figures {
    fn new(start: Instant) -> Figures {
        Figures {
            start,
            records: 0,
            bytes: 0,
            sum_ms: 0,
            max_ms: 0,
            by_ms: Vec::new(),
        }
    }

    fn count(&mut self, latency_ms: u64, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
        self.sum_ms += latency_ms;
        self.max_ms = self.max_ms.max(latency_ms);
        let at = usize::try_from(latency_ms).map_or(LATENCY_MS_MAX, |at| at.min(LATENCY_MS_MAX));
        if self.by_ms.len() <= at {
            self.by_ms.resize(at + 1, 0);
        }
        self.by_ms[at] += 1;
    }

    /// The latency of the record that so large a part of them is not slower than.
    fn percentile(&self, part: f64) -> u64 {
        let place = (part * self.records as f64) as u64;
        let mut passed = 0;
        for (ms, count) in self.by_ms.iter().enumerate() {
            passed += count;
            if passed > place {
                return ms as u64;
            }
        }
        self.max_ms
    }

    /// Records a second, MiB a second, and the average latency.
    fn rates(&self, at: Instant) -> (f64, f64, f64) {
        let seconds = (at.since(self.start).as_secs_f64()).max(0.001);
        let mb = self.bytes as f64 / seconds / (1024.0 * 1024.0);
        let average_ms = self.sum_ms as f64 / self.records.max(1) as f64;
        (self.records as f64 / seconds, mb, average_ms)
    }

    fn line(&self, at: Instant) -> String {
        let (records, mb, average_ms) = self.rates(at);
        format!(
            "{} records sent, {records:.1} records/sec ({mb:.2} MB/sec), {average_ms:.1} ms avg \
             latency, {:.1} ms max latency.\n",
            self.records, self.max_ms as f64
        )
    }

    fn total(&self, kind: &str) -> String {
        let (records, mb, average_ms) = self.rates(now());
        format!(
            "{}{kind} records sent, {records:.6} records/sec ({mb:.2} MB/sec), {average_ms:.2} ms \
             avg latency, {:.2} ms max latency, {} ms 50th, {} ms 95th, {} ms 99th, {} ms \
             99.9th.\n",
            self.records,
            self.max_ms as f64,
            self.percentile(0.5),
            self.percentile(0.95),
            self.percentile(0.99),
            self.percentile(0.999)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_records() {
        let mut figures = Figures::new(Instant::from_nanos(0));
        for ms in 0..1000 {
            figures.count(ms, 10);
        }
        let check = |part, expected| assert_eq!(figures.percentile(part), expected, "{part}");
        check(0.5, 500);
        check(0.99, 990);
        check(0.999, 999);
        figures.count(u64::MAX / 2, 10);
        assert_eq!(figures.percentile(0.9999), LATENCY_MS_MAX as u64);
        let line = Figures::new(Instant::from_nanos(0)).line(Instant::from_nanos(1_000_000_000));
        assert_eq!(
            line,
            "0 records sent, 0.0 records/sec (0.00 MB/sec), 0.0 ms avg latency, 0.0 ms max latency.\n"
        );
    }

    #[test]
    fn records_go_round_by_batches() {
        let options = ProducerOptions {
            batch_bytes: 100,
            linger: Duration::from_millis(5),
            ..ProducerOptions::default()
        };
        let mut spread = Spread::new(3, &options);
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        assert_eq!([spread.next(60, at(0)), spread.next(60, at(1))], [0, 0]);
        assert_eq!(spread.next(60, at(1)), 1);
        assert_eq!(spread.next(60, at(10)), 2);
        assert_eq!(spread.next(60, at(20)), 0);
    }

    #[test]
    fn values_are_what_was_asked_for() {
        let mut value = Vec::new();
        let mut dice = Dice(0);
        next_value(&Payload::Random(20), &mut dice, 0, &mut value);
        assert!(value.len() == 20 && value.iter().all(u8::is_ascii_uppercase));
        next_value(&Payload::Counting, &mut dice, 17, &mut value);
        assert_eq!(value, b"17");
        let chosen = Payload::Chosen(vec![b"a".to_vec()]);
        next_value(&chosen, &mut dice, 0, &mut value);
        assert_eq!(value, b"a");
    }
}
