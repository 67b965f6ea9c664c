//! `corelog produce`: one record per line.
//!
//! While no broker answers it tries again, for as long as `--delivery-timeout-ms` says. However it
//! ends, it says how many lines were acknowledged; if it fails also which ones were not.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use super::arguments::{AcksArgument, Compression, OutputFormat, ProduceArguments};
use super::failure::{Exit, Failure};
use super::input_lines::{self, Outstanding};
use super::topic::topic_name;
use super::{progress, screen_of, signals};
use crate::client::{
    Acks, Client, ClientError, ClientOptions, ConfigOwner, Producer, ProducerOptions,
    ProducerRecord,
};
use crate::frame::Codec;
use crate::io::blocking;
use crate::io::housekeeping::now;
use crate::model::TopicName;
use crate::protocol::ErrorCode;

/// Runs the command.
pub(super) fn run(arguments: &ProduceArguments) -> Result<(), Failure> {
    let topic = topic_name(&arguments.topic)?;
    let mut screen = screen_of(&arguments.cluster);
    let acks = acks(arguments.acks);
    let options = ProducerOptions {
        acks,
        codec: codec(arguments.compression),
        is_idempotent: acks == Acks::All,
        delivery_timeout: Duration::from_millis(arguments.delivery_timeout_ms),
        ..ProducerOptions::default()
    };
    let standing = watch_for_signals(arguments.cluster.output)?;
    let bootstrap = &arguments.cluster.bootstrap_server;
    let producer = patiently(arguments, &standing, || {
        Producer::new(
            Client::connect(bootstrap, ClientOptions::default())?,
            options,
        )
    })
    .map_err(|failure| standing.add_to(failure))?;
    let names = match arguments.files.is_empty() {
        true => vec!["standard input".to_owned()],
        false => arguments
            .files
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
    };
    let mut lines = Lines {
        producer,
        topic,
        arguments,
        standing,
        sum: Sum::default(),
        created: None,
        has_topic: false,
        outstanding: Outstanding::default(),
        names,
    };
    if let Err(failure) = lines.send_all() {
        // What is on its way may still be acknowledged, or is given up in its time.
        let _ = lines.producer.flush();
        let _ = lines.count();
        return Err(lines.add_rest(lines.standing.add_to(failure)));
    }
    let record_count = lines.standing.acknowledged.load(Ordering::Relaxed);
    if !screen.is_json() {
        // The standard output stays empty: there is nothing that a pipe could use.
        let created = lines.created.map_or(String::new(), |partitions| {
            format!(", a topic that was created now; partitions: {partitions}")
        });
        progress::note(&format!(
            "{record_count} records to {}{created}",
            lines.topic
        ));
        return Ok(());
    }
    screen.show(String::new, || {
        json!({
            "topic": lines.topic.as_str(),
            "records": record_count,
            "batches": lines.sum.batch_count,
            "batch_bytes": lines.sum.batch_bytes,
            "created": lines.created.is_some(),
        })
    })
}

/// How far the command is: for whoever has to say so when it is ended.
#[derive(Default)]
struct Standing {
    acknowledged: AtomicU64,
    /// It waits for input, and everything so far was answered.
    is_idle: AtomicBool,
    is_interrupted: AtomicBool,
}

impl Standing {
    fn add_to(&self, failure: Failure) -> Failure {
        let count = self.acknowledged.load(Ordering::Relaxed);
        failure.adding(&format!("; {count} lines were acknowledged"))
    }

    fn check(&self) -> Result<(), Failure> {
        match self.is_interrupted.load(Ordering::Relaxed) {
            true => Err(Failure::interrupted("interrupted")),
            false => Ok(()),
        }
    }
}

/// How long what is on its way is waited for after an interrupt.
const INTERRUPT_WAIT: Duration = Duration::from_secs(2);

/// The first signal ends the command as soon as what it sent is answered, the second one at once.
fn watch_for_signals(output: OutputFormat) -> Result<Arc<Standing>, Failure> {
    let standing = Arc::new(Standing::default());
    let watched = standing.clone();
    signals::each(move || {
        if !watched.is_interrupted.swap(true, Ordering::Relaxed) {
            let watched = watched.clone();
            // The end of the command ends this thread as well.
            let waiting = crate::io::spawn_thread("interrupt", move || {
                let deadline = now() + INTERRUPT_WAIT;
                while !watched.is_idle.load(Ordering::Relaxed) && now() < deadline {
                    blocking::sleep(LOOK_PAUSE);
                }
                end(&watched, output);
            });
            if waiting.is_ok() {
                return;
            }
        }
        end(&watched, output);
    })?;
    Ok(standing)
}

fn end(standing: &Standing, output: OutputFormat) -> ! {
    let failure = standing.add_to(Failure::interrupted("interrupted"));
    failure.report(blocking::stderr(), output);
    std::process::exit(i32::from(Exit::Interrupted.code()));
}

/// The pause between two looks, and between two tries.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
const TRY_PAUSE: Duration = Duration::from_millis(250);

/// Tries while no broker answers, up to the delivery timeout.
fn patiently<T>(
    arguments: &ProduceArguments,
    standing: &Standing,
    mut attempt: impl FnMut() -> Result<T, ClientError>,
) -> Result<T, Failure> {
    let deadline = now() + Duration::from_millis(arguments.delivery_timeout_ms);
    let mut has_told = arguments.cluster.output == OutputFormat::Json;
    loop {
        let error = match attempt() {
            Ok(value) => return Ok(value),
            // What a broker has answered is no matter of waiting for one.
            Err(error) if error.code().is_some() || !error.is_retriable() => {
                return Err(error.into());
            }
            Err(error) => error,
        };
        standing.check()?;
        if now() >= deadline {
            return Err(error.into());
        }
        if !has_told {
            has_told = true;
            let limit_ms = arguments.delivery_timeout_ms;
            let text = format!("corelog: {error}; trying again for {limit_ms} ms");
            // A stderr that is closed misses a remark only.
            let _ = writeln!(blocking::stderr(), "{text}");
        }
        blocking::sleep(TRY_PAUSE);
    }
}

/// Bytes of the input that are read at once.
const BUFFER_BYTES: usize = 1 << 20;

fn open(path: &Path) -> Result<impl Read, Failure> {
    blocking::open_file(path).map_err(|error| cannot_read(&path.display().to_string(), &error))
}

fn cannot_read(name: &str, error: &crate::io::Error) -> Failure {
    Failure::new(format!("cannot read {name}: {error}"))
}

fn acks(argument: AcksArgument) -> Acks {
    match argument {
        AcksArgument::All => Acks::All,
        AcksArgument::Leader => Acks::Leader,
        AcksArgument::None => Acks::None,
    }
}

fn codec(argument: Compression) -> Codec {
    match argument {
        Compression::None => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}

/// Lines on their way to the broker.
struct Lines<'a> {
    producer: Producer,
    topic: TopicName,
    arguments: &'a ProduceArguments,
    standing: Arc<Standing>,
    sum: Sum,
    /// The number of partitions, if the topic was created for the first line.
    created: Option<usize>,
    has_topic: bool,
    outstanding: Outstanding,
    /// Of the inputs.
    names: Vec<String>,
}

/// What was delivered.
#[derive(Default)]
struct Sum {
    batch_count: u64,
    batch_bytes: u64,
}

impl Lines<'_> {
    fn send_all(&mut self) -> Result<(), Failure> {
        if self.arguments.files.is_empty() {
            self.send(0, blocking::stdin().lock())?;
        }
        for (number, path) in self.arguments.files.iter().enumerate() {
            self.send(number, open(path)?)?;
        }
        self.settle()
    }

    /// Sees to it that the topic is there. Not before the first line: no line, no topic.
    fn find_topic(&mut self) -> Result<(), Failure> {
        let (topic, client) = (&self.topic, self.producer.client());
        let (existed, partition_count) = patiently(self.arguments, &self.standing, || {
            let existed = client.topics()?.iter().any(|found| found.name == *topic);
            Ok((existed, client.topic_or_create(topic)?.partitions.len()))
        })?;
        self.created = (!existed).then_some(partition_count);
        self.has_topic = true;
        Ok(())
    }

    fn send(&mut self, number: usize, input: impl Read) -> Result<(), Failure> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
        let mut line_number = 0;
        let headers: Vec<(&str, Option<&[u8]>)> = self
            .arguments
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), Some(value.as_bytes())))
            .collect();
        let mut line = Vec::new();
        loop {
            line.clear();
            let is_idle = input.buffer().is_empty();
            self.standing.is_idle.store(is_idle, Ordering::Relaxed);
            let read = input.read_until(b'\n', &mut line);
            self.standing.is_idle.store(false, Ordering::Relaxed);
            self.standing.check()?;
            let read = read.map_err(|error| cannot_read(&self.names[number], &error))?;
            if read == 0 {
                return Ok(());
            }
            line_number += 1;
            if !self.has_topic {
                self.find_topic()?;
            }
            let (key, value) = split(self.arguments, line.strip_suffix(b"\n").unwrap_or(&line));
            let record = ProducerRecord {
                partition: self.arguments.partition,
                key,
                value,
                headers: &headers,
                ..ProducerRecord::default()
            };
            let partition = self.producer.send(&self.topic, &record)?;
            self.outstanding
                .sent(partition, number, line_number, line.len());
            // A person who types waits for the line; a pipe that has more ready does not.
            if input.buffer().is_empty() {
                self.settle()?;
            } else {
                self.count()?;
            }
        }
    }

    /// What the topic allows a batch to have; `None` if the broker does not tell.
    fn limit_bytes(&mut self) -> Option<String> {
        let owner = ConfigOwner::Topic(self.topic.clone());
        let entries = self.producer.client().configs(&owner).ok()?;
        let limit = entries
            .into_iter()
            .find(|entry| entry.key == "max.message.bytes");
        limit?.value
    }

    fn settle(&mut self) -> Result<(), Failure> {
        let flushed = self.producer.flush();
        self.count()?;
        Ok(flushed?)
    }

    fn count(&mut self) -> Result<(), Failure> {
        let mut first_error = None;
        for delivery in self.producer.deliveries() {
            let record_count = u64::try_from(delivery.record_count).unwrap_or(0);
            let (lines, largest) = self.outstanding.answered(
                delivery.partition.index,
                delivery.first_record,
                record_count,
                delivery.outcome.is_ok(),
            );
            match delivery.outcome {
                Ok(_) => {
                    let acknowledged = &self.standing.acknowledged;
                    acknowledged.fetch_add(record_count, Ordering::Relaxed);
                    self.sum.batch_count += 1;
                    self.sum.batch_bytes += delivery.batch_bytes as u64;
                }
                Err(error) => drop(first_error.get_or_insert((error, lines, largest))),
            }
        }
        match first_error {
            None => Ok(()),
            Some((error, lines, largest)) => Err(self.given_up(error, &lines, largest)),
        }
    }

    /// Adds which lines were sent and not acknowledged.
    fn add_rest(&self, failure: Failure) -> Failure {
        let rest = self.outstanding.all();
        match rest.is_empty() {
            true => failure,
            false => failure.adding(&format!(
                "; not acknowledged, or not known to be: {}; nothing behind them was sent",
                input_lines::words(&rest, &self.names)
            )),
        }
    }

    /// The failure of a batch with these lines, of which one may be the largest by far.
    fn given_up(
        &mut self,
        error: ClientError,
        lines: &[input_lines::Lines],
        largest: Option<(u64, usize)>,
    ) -> Failure {
        match error.code() {
            Some(code @ ErrorCode::MessageTooLarge) => {
                let (error, lines) = (error.to_string(), input_lines::words(lines, &self.names));
                let mut what = format!("{}: {lines}", error.trim_end_matches('.'));
                if let Some((line, bytes)) = largest {
                    what.push_str(&format!(" (line {line} has {bytes} bytes)"));
                }
                let limit = self.limit_bytes();
                if let Some(limit) = &limit {
                    what.push_str(&format!("; max.message.bytes of {} is {limit}", self.topic));
                }
                let bytes = largest.map_or("N".to_owned(), |(_, bytes)| {
                    // The batch has a header, the record one as well.
                    (bytes + 4096).next_multiple_of(4096).to_string()
                });
                Failure::new(what).coded(code.name()).try_this(format!(
                    "corelog topic alter {} --config max.message.bytes={bytes} (every topic: \
                     corelog config alter --config message.max.bytes={bytes})",
                    self.topic
                ))
            }
            Some(code @ (ErrorCode::RequestTimedOut | ErrorCode::NetworkException)) => {
                let limit_ms = self.arguments.delivery_timeout_ms;
                Failure::unreachable(format!("no broker took the lines within {limit_ms} ms"))
                    .coded(code.name())
                    .because(error.to_string())
            }
            _ => error.into(),
        }
    }
}

/// A line's key and value.
fn split<'l>(
    arguments: &'l ProduceArguments,
    line: &'l [u8],
) -> (Option<&'l [u8]>, Option<&'l [u8]>) {
    let some = |bytes: &'l [u8]| (!(arguments.null && bytes.is_empty())).then_some(bytes);
    let fixed_key = arguments.key.as_ref().and_then(|key| some(key.as_bytes()));
    let Some(delimiter) = arguments
        .key_delimiter
        .as_ref()
        .filter(|text| !text.is_empty())
    else {
        return (fixed_key, some(line));
    };
    let at = line
        .windows(delimiter.len())
        .position(|window| window == delimiter.as_bytes());
    match at {
        Some(at) => (some(&line[..at]), some(&line[at + delimiter.len()..])),
        // A line without the delimiter is a value without a key, as kcat has it.
        None => (None, some(line)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::arguments::{Arguments, Command};
    use super::*;

    fn check(options: &str, line: &str, key: Option<&str>, value: Option<&str>) {
        let words = ["corelog", "produce", "t"].into_iter();
        let words = words.chain(options.split(' ').filter(|word| !word.is_empty()));
        let arguments = match Arguments::try_parse_from(words).map(|arguments| arguments.command) {
            Ok(Some(Command::Produce(arguments))) => arguments,
            other => panic!("{other:?}"),
        };
        let split = split(&arguments, line.as_bytes());
        let expected = (key.map(str::as_bytes), value.map(str::as_bytes));
        assert_eq!(split, expected, "{options}: {line}");
    }

    #[test]
    fn lines_are_split_as_kcat_splits_them() {
        check("", "a:b", None, Some("a:b"));
        check("", "", None, Some(""));
        check("-Z", "", None, None);
        check("-k x", "a:b", Some("x"), Some("a:b"));
        check("-K :", "a:b:c", Some("a"), Some("b:c"));
        check("-K :", "ab", None, Some("ab"));
        check("-K :", ":b", Some(""), Some("b"));
        check("-K : -Z", ":b", None, Some("b"));
        check("-K : -Z", "a:", Some("a"), None);
        check("-K =>", "a=>b", Some("a"), Some("b"));
    }
}
