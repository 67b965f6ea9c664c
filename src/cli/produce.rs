//! `corelog produce`: one record per line.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::json;

use super::arguments::{AcksArgument, Compression, ProduceArguments};
use super::failure::Failure;
use super::topic::topic_name;
use super::{connect, progress, screen_of};
use crate::client::{Acks, Producer, ProducerOptions, ProducerRecord};
use crate::frame::Codec;
use crate::io::blocking;
use crate::model::TopicName;

/// Runs the command.
pub(super) fn run(arguments: &ProduceArguments) -> Result<(), Failure> {
    let topic = topic_name(&arguments.topic)?;
    let mut screen = screen_of(&arguments.cluster);
    let acks = acks(arguments.acks);
    let options = ProducerOptions {
        acks,
        codec: codec(arguments.compression),
        is_idempotent: acks == Acks::All,
        ..ProducerOptions::default()
    };
    let producer = Producer::new(connect(&arguments.cluster)?, options)?;
    let mut lines = Lines {
        producer,
        topic,
        arguments,
        sum: Sum::default(),
    };
    if arguments.files.is_empty() {
        lines.send(blocking::stdin().lock())?;
    }
    for path in &arguments.files {
        lines.send(open(path)?)?;
    }
    lines.settle()?;
    let Sum {
        record_count,
        batch_count,
        batch_bytes,
    } = lines.sum;
    if !screen.is_json() {
        // The standard output stays empty: there is nothing that a pipe could use.
        progress::note(&format!("{record_count} records to {}", lines.topic));
        return Ok(());
    }
    screen.show(String::new, || {
        json!({
            "topic": lines.topic.as_str(),
            "records": record_count,
            "batches": batch_count,
            "batch_bytes": batch_bytes,
        })
    })
}

/// Bytes of the input that are read at once.
const BUFFER_BYTES: usize = 1 << 20;

fn open(path: &Path) -> Result<impl Read, Failure> {
    blocking::open_file(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
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
    sum: Sum,
}

/// What was delivered.
#[derive(Default)]
struct Sum {
    record_count: u64,
    batch_count: u64,
    batch_bytes: u64,
}

impl Lines<'_> {
    fn send(&mut self, input: impl Read) -> Result<(), Failure> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
        let headers: Vec<(&str, Option<&[u8]>)> = self
            .arguments
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), Some(value.as_bytes())))
            .collect();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = input.read_until(b'\n', &mut line);
            let read = read.map_err(|error| Failure::new(format!("cannot read: {error}")))?;
            if read == 0 {
                return Ok(());
            }
            let (key, value) = split(self.arguments, line.strip_suffix(b"\n").unwrap_or(&line));
            let record = ProducerRecord {
                partition: self.arguments.partition,
                key,
                value,
                headers: &headers,
                ..ProducerRecord::default()
            };
            self.producer.send(&self.topic, &record)?;
            // A person who types waits for the line; a pipe that has more ready does not.
            if input.buffer().is_empty() {
                self.settle()?;
            } else {
                self.count()?;
            }
        }
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.producer.flush()?;
        self.count()
    }

    fn count(&mut self) -> Result<(), Failure> {
        for delivery in self.producer.deliveries() {
            delivery.outcome?;
            self.sum.record_count += u64::try_from(delivery.record_count).unwrap_or(0);
            self.sum.batch_count += 1;
            self.sum.batch_bytes += delivery.batch_bytes as u64;
        }
        Ok(())
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
