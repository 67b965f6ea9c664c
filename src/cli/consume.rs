//! `corelog consume`: prints records.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::arguments::ConsumeArguments;
use super::failure::Failure;
use super::format::{Format, Shown};
use super::position::Position;
use super::screen::Screen;
use super::topic::topic_name;
use super::{connect, screen_of, signals};
use crate::client::{
    Client, Consumer, ConsumerOptions, FetchedBatch, GroupOptions, OffsetReset, OffsetSpec, StartAt,
};
use crate::frame::BatchHeader;
use crate::io::blocking;
use crate::model::{Offset, TopicPartition};
use crate::protocol::ErrorCode;

/// Runs the command.
pub(super) fn run(arguments: &ConsumeArguments) -> Result<(), Failure> {
    let format = Format::parse(&arguments.format).map_err(|error| {
        Failure::usage(format!("--format: {error}")).try_this("corelog consume --help")
    })?;
    let interrupted = signals::interrupt_flag()?;
    let consumer = start(arguments)?;
    let mut printer = Printer {
        screen: screen_of(&arguments.cluster),
        format,
        left: arguments.count,
        buffer: Vec::new(),
    };
    let mut reading = Reading {
        consumer,
        exits_at_end: arguments.exit,
        interrupted,
    };
    let printed = reading.run(&mut printer);
    let closed = reading.consumer.close();
    printed?;
    Ok(closed?)
}

fn start(arguments: &ConsumeArguments) -> Result<Consumer, Failure> {
    let mut client = connect(&arguments.cluster)?;
    let names = arguments.topics.iter().map(|name| topic_name(name));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let mut options = ConsumerOptions {
        reset: OffsetReset::Earliest,
        max_wait: POLL_WAIT,
        ..ConsumerOptions::default()
    };
    if let Some(group) = &arguments.group {
        options.reset = match arguments.offset {
            Position::Beginning => OffsetReset::Earliest,
            Position::End => OffsetReset::Latest,
            Position::At(_) | Position::BeforeEnd(_) | Position::Since(_) => {
                return Err(Failure::usage("a group goes on at its committed offsets")
                    .because(
                        "with --group, --offset is beginning or end: where to begin in \
                         partitions of which the group has no offset",
                    )
                    .try_this("corelog group reset-offsets"));
            }
        };
        return Ok(Consumer::subscribe(
            client,
            GroupOptions::new(group, names),
            options,
        )?);
    }
    if matches!(arguments.offset, Position::At(_)) {
        // Who asks for an offset that is not there is told so.
        options.reset = OffsetReset::Fail;
    }
    let mut partitions = Vec::new();
    for name in names {
        let topic = client.topic(&name)?;
        let indexes = topic.partitions.iter().map(|partition| partition.index);
        let wanted: Vec<i32> = indexes
            .filter(|index| arguments.partition.is_none_or(|only| only == *index))
            .collect();
        if let (Some(only), true) = (arguments.partition, wanted.is_empty()) {
            return Err(
                Failure::new(format!("topic {name} has no partition {only}"))
                    .try_this(format!("corelog topic describe {name}")),
            );
        }
        partitions.extend(wanted.into_iter().map(|index| TopicPartition {
            topic: name.clone(),
            index,
        }));
    }
    let starts = starts(&mut client, partitions, arguments.offset)?;
    Ok(Consumer::assign(client, &starts, options)?)
}

/// How long a poll waits for records: also how soon an interrupt is noticed.
const POLL_WAIT: Duration = Duration::from_millis(250);

fn starts(
    client: &mut Client,
    partitions: Vec<TopicPartition>,
    position: Position,
) -> Result<Vec<(TopicPartition, StartAt)>, Failure> {
    let start = match position {
        Position::Beginning => StartAt::Earliest,
        Position::End => StartAt::Latest,
        Position::At(offset) if partitions.len() > 1 => {
            return near(client, partitions, offset);
        }
        Position::At(offset) => StartAt::Offset(offset),
        Position::Since(timestamp) => StartAt::Timestamp(timestamp),
        Position::BeforeEnd(count) => return before_end(client, partitions, count),
    };
    Ok(partitions
        .into_iter()
        .map(|partition| (partition, start))
        .collect())
}

fn before_end(
    client: &mut Client,
    partitions: Vec<TopicPartition>,
    count: i64,
) -> Result<Vec<(TopicPartition, StartAt)>, Failure> {
    let begin = |(partition, start, end): (TopicPartition, Offset, Offset)| {
        let offset = Offset(end.0.saturating_sub(count)).max(start);
        (partition, StartAt::Offset(offset))
    };
    Ok(bounds(client, partitions)?.into_iter().map(begin).collect())
}

/// One offset in several partitions, some of which may not reach to it: those are read from the
/// nearest offset that they have, and named. Who means one partition says so with -p.
fn near(
    client: &mut Client,
    partitions: Vec<TopicPartition>,
    wanted: Offset,
) -> Result<Vec<(TopicPartition, StartAt)>, Failure> {
    let bounds = bounds(client, partitions)?;
    if bounds.iter().all(|(_, _, end)| *end < wanted) {
        let ends = bounds
            .iter()
            .map(|(partition, _, end)| format!("{partition} ends at {end}"));
        let ends = ends.collect::<Vec<_>>().join(", ");
        return Err(
            Failure::new(format!("no partition has offset {wanted}: {ends}"))
                .coded(ErrorCode::OffsetOutOfRange.name())
                .try_this(
                    "-o -1 for the last record of each partition, or -p N -o M for one of them",
                ),
        );
    }
    let begin = |(partition, start, end): (TopicPartition, Offset, Offset)| {
        let nearest = wanted.clamp(start, end);
        if nearest != wanted {
            let text = format!(
                "corelog: {partition} has offsets from {start} to {end}: it is read from {nearest}; \
                 -p N reads one partition only"
            );
            // A stderr that is closed misses a remark only.
            let _ = writeln!(blocking::stderr(), "{text}");
        }
        (partition, StartAt::Offset(nearest))
    };
    Ok(bounds.into_iter().map(begin).collect())
}

/// The first offset of each partition and the one after its last.
fn bounds(
    client: &mut Client,
    partitions: Vec<TopicPartition>,
) -> Result<Vec<(TopicPartition, Offset, Offset)>, Failure> {
    let mut list = |spec| {
        let wanted: Vec<_> = partitions
            .iter()
            .map(|partition| (partition.clone(), spec))
            .collect();
        client.list_offsets(&wanted)
    };
    let starts = list(OffsetSpec::Earliest)?;
    let ends = list(OffsetSpec::Latest)?;
    let of = |listed: &[crate::client::ListedOffset], partition: &TopicPartition| {
        let found = listed.iter().find(|listed| listed.partition == *partition);
        found
            .and_then(|listed| listed.offset)
            .unwrap_or(Offset::ZERO)
    };
    let both = |partition: TopicPartition| {
        let (start, end) = (of(&starts, &partition), of(&ends, &partition));
        (partition, start, end.max(start))
    };
    Ok(partitions.iter().cloned().map(both).collect())
}

struct Reading {
    consumer: Consumer,
    exits_at_end: bool,
    interrupted: Arc<AtomicBool>,
}

impl Reading {
    fn run(&mut self, printer: &mut Printer) -> Result<(), Failure> {
        while !self.interrupted.load(Ordering::Relaxed) {
            let batches = self.consumer.poll()?;
            let shown = self.show(&batches, printer);
            if shown.is_err() {
                // What did not get out is not to be committed.
                self.consumer.unread(&batches);
            }
            shown?;
            if printer.is_full() || (self.exits_at_end && self.is_at_end()) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn show(&mut self, batches: &[FetchedBatch], printer: &mut Printer) -> Result<(), Failure> {
        for (index, batch) in batches.iter().enumerate() {
            let next = printer.print(batch)?;
            if printer.is_full() {
                // What was fetched but not printed belongs to the next reader of the group.
                self.consumer.seek(&batch.partition, next);
                for unseen in batches[index + 1..].iter().rev() {
                    if unseen.partition != batch.partition {
                        let header = BatchHeader::read(&unseen.bytes);
                        let base = header.map_or(unseen.from, |header| header.base_offset);
                        self.consumer.seek(&unseen.partition, base.max(unseen.from));
                    }
                }
                break;
            }
        }
        printer.screen.flush()
    }

    fn is_at_end(&self) -> bool {
        let assigned = self.consumer.assignment();
        assigned.iter().all(|partition| {
            let end = self.consumer.high_watermark(partition);
            end.is_some() && self.consumer.position(partition) >= end
        })
    }
}

struct Printer {
    screen: Screen,
    format: Format,
    /// How many records may still be printed.
    left: Option<u64>,
    buffer: Vec<u8>,
}

impl Printer {
    fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Prints a batch's records, as many as may be, and returns the offset after the last one.
    fn print(&mut self, batch: &FetchedBatch) -> Result<Offset, Failure> {
        self.buffer.clear();
        let mut next = batch.from;
        batch.visit(|record| {
            if self.left == Some(0) {
                return;
            }
            self.left = self.left.map(|left| left - 1);
            next = record.offset.next();
            let headers: Vec<_> = record.headers.collect();
            let shown = Shown {
                partition: &batch.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: &headers,
            };
            if self.screen.is_json() {
                self.buffer.extend(envelope(&shown).to_string().as_bytes());
                self.buffer.push(b'\n');
            } else {
                self.format.print(&shown, &mut self.buffer);
            }
        })?;
        self.screen.bytes(&self.buffer)?;
        Ok(next)
    }
}

/// kcat's JSON envelope. Bytes that are no text stand under `..._base64` instead.
fn envelope(record: &Shown<'_>) -> Value {
    let mut object = Map::new();
    object.insert("topic".into(), record.partition.topic.as_str().into());
    object.insert("partition".into(), record.partition.index.into());
    object.insert("offset".into(), record.offset.0.into());
    object.insert("ts".into(), record.timestamp.0.into());
    let mut put = |name: &str, bytes: Option<&[u8]>| match bytes.map(std::str::from_utf8) {
        None => drop(object.insert(name.into(), Value::Null)),
        Some(Ok(text)) => drop(object.insert(name.into(), text.into())),
        Some(Err(_)) => {
            let encoded = STANDARD.encode(bytes.unwrap_or_default());
            object.insert(format!("{name}_base64"), encoded.into());
        }
    };
    put("key", record.key);
    put("payload", record.value);
    let header = |(name, value): &(&[u8], Option<&[u8]>)| {
        json!({
            "name": String::from_utf8_lossy(name),
            "value": value.map(String::from_utf8_lossy),
        })
    };
    if !record.headers.is_empty() {
        object.insert(
            "headers".into(),
            record.headers.iter().map(header).collect(),
        );
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::partition_of;
    use crate::model::Timestamp;

    #[test]
    fn a_record_is_an_object_with_kcats_names() {
        let check = |key: Option<&[u8]>, value: Option<&[u8]>, expected: Value| {
            let shown = Shown {
                partition: &partition_of("orders", 3),
                offset: Offset(42),
                timestamp: Timestamp(7),
                key,
                value,
                headers: &[],
            };
            let mut whole = json!({ "topic": "orders", "partition": 3, "offset": 42, "ts": 7 });
            let more = expected.as_object().cloned().unwrap_or_default();
            whole.as_object_mut().expect("an object").extend(more);
            assert_eq!(envelope(&shown), whole);
        };
        check(None, Some(b"v"), json!({ "key": null, "payload": "v" }));
        check(Some(b""), None, json!({ "key": "", "payload": null }));
        check(
            Some(b"k"),
            Some(&[0xff]),
            json!({ "key": "k", "payload_base64": "/w==" }),
        );
    }
}
