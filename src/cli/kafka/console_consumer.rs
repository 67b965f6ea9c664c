//! `kafka-console-consumer.sh`: prints records.
//!
//! Without `--group` it reads the partitions as they are, and makes no group for that.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::flags::{self, Flag, Given, Refusal, refused, switch, value};
use super::{Failed, Stop, connect, words_of};
use crate::cli::screen::Screen;
use crate::cli::signals;
use crate::client::{
    Client, ClientError, Consumer, ConsumerOptions, FetchedBatch, GroupOptions, OffsetReset,
    StartAt,
};
use crate::frame::{BatchHeader, Record};
use crate::io::blocking;
use crate::io::housekeeping::now;
use crate::model::{Offset, TopicName, TopicPartition};

pub(super) const FLAGS: &[Flag] = &[
    value("bootstrap-server", "HOST:PORT of a broker"),
    value("topic", "The topic"),
    value(
        "group",
        "Share the partitions with the members of this group",
    ),
    switch("from-beginning", "Begin at the first record that is there"),
    value("partition", "One partition only"),
    value("offset", "earliest, latest or a number; with --partition"),
    value("max-messages", "End after so many records"),
    value("timeout-ms", "End when nothing came for so long"),
    value(
        "formatter-property",
        "print.key, print.offset, key.separator and some more",
    ),
    value("property", "As --formatter-property, by its old name"),
    value("isolation-level", "Either one: there are no transactions"),
    value("command-property", "auto.offset.reset, group.id"),
    value(
        "consumer-property",
        "As --command-property, by its old name",
    ),
    refused("include", "--topic, once for each"),
    refused("whitelist", "--topic"),
    refused("command-config", "--command-property KEY=VALUE"),
    refused("consumer.config", "--command-property KEY=VALUE"),
    refused(
        "formatter",
        "--formatter-property, or corelog consume --format",
    ),
    refused(
        "formatter-config",
        "--formatter-property, or corelog consume --format",
    ),
    refused("key-deserializer", "corelog consume --format"),
    refused("value-deserializer", "corelog consume --format"),
    refused(
        "skip-message-on-error",
        "no flag: printing a record cannot fail",
    ),
    refused("enable-systest-events", "no flag"),
];

/// How records are printed.
#[derive(Debug, PartialEq, Eq)]
struct Formatter {
    timestamp: bool,
    partition: bool,
    offset: bool,
    headers: bool,
    key: bool,
    value: bool,
    separator: String,
    line_end: String,
    headers_separator: String,
    null: String,
}

impl Default for Formatter {
    fn default() -> Formatter {
        Formatter {
            timestamp: false,
            partition: false,
            offset: false,
            headers: false,
            key: false,
            value: true,
            separator: "\t".into(),
            line_end: "\n".into(),
            headers_separator: ",".into(),
            null: "null".into(),
        }
    }
}

/// Runs the tool.
pub(super) fn run(words: &[String], screen: &mut Screen) -> Result<(), Stop> {
    let given = flags::parse(FLAGS, words)?;
    for (old, new) in [
        ("property", "formatter-property"),
        ("consumer-property", "command-property"),
    ] {
        if given.has(old) {
            let text = format!(
                "Option --{old} is deprecated and will be removed in a future version. Use \
                 --{new} instead.\n"
            );
            screen.bytes(text.as_bytes())?;
        }
    }
    let Some(topic) = given.one("topic") else {
        let text = "Exactly one of the following arguments is required: [topic], [include]";
        return Err(Refusal::said(text).into());
    };
    let bootstrap = given
        .one("bootstrap-server")
        .ok_or_else(|| Refusal::said("Missing required argument \"[bootstrap-server]\""))?;
    let topic =
        TopicName::new(topic).map_err(|_| Refusal::said(format!("{topic:?} is no topic name")))?;
    let start = start(&given)?;
    let formatter = formatter(&given)?;
    let limits = Limits {
        messages: number(&given, "max-messages")?,
        silence: number(&given, "timeout-ms")?.map(Duration::from_millis),
    };
    let client = connect(bootstrap).map_err(failed)?;
    let consumer = open(client, &topic, &start).map_err(failed)?;
    read(consumer, &formatter, &limits, screen)
}

fn failed(error: ClientError) -> Failed {
    let hint = error
        .hint()
        .map_or(String::new(), |hint| format!("  try: {hint}\n"));
    Failed::on_stderr(format!("{}\n{hint}", words_of(&error)))
}

fn number(given: &Given, flag: &'static str) -> Result<Option<u64>, Refusal> {
    let wrong =
        |text: &str| Refusal::said(format!("Cannot parse argument '{text}' of option {flag}"));
    let text = given.one(flag);
    text.map(|text| text.parse().map_err(|_| wrong(text)))
        .transpose()
}

/// What is read, and from where.
#[derive(Debug, PartialEq, Eq)]
struct Start {
    group: Option<String>,
    partition: Option<i32>,
    at: StartAt,
}

fn start(given: &Given) -> Result<Start, Refusal> {
    let mut group = given.one("group").map(str::to_string);
    let mut at = match given.has("from-beginning") {
        true => StartAt::Earliest,
        false => StartAt::Latest,
    };
    for (key, value) in given.properties(&["command-property", "consumer-property"])? {
        match (key, value) {
            ("group.id", id) => group = Some(id.to_string()),
            ("auto.offset.reset", "earliest") => at = StartAt::Earliest,
            ("auto.offset.reset", "latest") => {}
            (other, _) => {
                return Err(Refusal::said(format!(
                    "the consumer's property {other} is not served"
                ))
                .instead("group.id, auto.offset.reset"));
            }
        }
    }
    let level = given.one("isolation-level").unwrap_or("read_uncommitted");
    if !["read_uncommitted", "read_committed"].contains(&level) {
        return Err(Refusal::said(format!("{level} is no isolation level")));
    }
    let partition = number(given, "partition")?;
    if partition.is_none() && given.has("offset") {
        return Err(Refusal::said(
            "The partition is required when offset is specified.",
        ));
    }
    if partition.is_some() && group.is_some() {
        return Err(Refusal::said(
            "Options group and partition cannot be specified together.",
        ));
    }
    if given.has("offset") && given.has("from-beginning") {
        return Err(Refusal::said(
            "Options from-beginning and offset cannot be specified together.",
        ));
    }
    match given.one("offset") {
        None => {}
        Some("earliest") => at = StartAt::Earliest,
        Some("latest") => at = StartAt::Latest,
        Some(text) => {
            let offset = text.parse().ok().filter(|offset| *offset >= 0);
            let offset = offset.ok_or_else(|| {
                Refusal::said(format!(
                    "The provided offset value '{text}' is incorrect. Valid values are \
                     'earliest', 'latest', or a non-negative long."
                ))
            })?;
            at = StartAt::Offset(Offset(offset));
        }
    }
    Ok(Start {
        group,
        partition: partition.map(|index| i32::try_from(index).unwrap_or(i32::MAX)),
        at,
    })
}

fn formatter(given: &Given) -> Result<Formatter, Refusal> {
    let mut formatter = Formatter::default();
    for (key, value) in given.properties(&["formatter-property", "property"])? {
        let is_true = value.trim().eq_ignore_ascii_case("true");
        match key {
            "print.timestamp" => formatter.timestamp = is_true,
            "print.partition" => formatter.partition = is_true,
            "print.offset" => formatter.offset = is_true,
            "print.headers" => formatter.headers = is_true,
            "print.key" => formatter.key = is_true,
            "print.value" => formatter.value = is_true,
            "key.separator" => formatter.separator = value.to_string(),
            "line.separator" => formatter.line_end = value.to_string(),
            "headers.separator" => formatter.headers_separator = value.to_string(),
            "null.literal" => formatter.null = value.to_string(),
            other => {
                return Err(Refusal::said(format!(
                    "the formatter's property {other} is not served"
                ))
                .instead(
                    "print.timestamp, print.partition, print.offset, print.headers, \
                         print.key, print.value, key.separator, line.separator, \
                         headers.separator, null.literal",
                ));
            }
        }
    }
    Ok(formatter)
}

/// How long a poll waits: also how soon a limit of time or an interrupt is noticed.
const POLL_WAIT: Duration = Duration::from_millis(100);

fn open(mut client: Client, topic: &TopicName, start: &Start) -> Result<Consumer, ClientError> {
    let options = ConsumerOptions {
        max_wait: POLL_WAIT,
        reset: match start.at {
            StartAt::Earliest => OffsetReset::Earliest,
            StartAt::Latest | StartAt::Offset(_) | StartAt::Timestamp(_) => OffsetReset::Latest,
        },
        ..ConsumerOptions::default()
    };
    if let Some(group) = &start.group {
        let group = GroupOptions::new(group, vec![topic.clone()]);
        return Consumer::subscribe(client, group, options);
    }
    let described = client.topic_or_create(topic)?;
    let indexes = described.partitions.iter().map(|partition| partition.index);
    let wanted = indexes.filter(|index| start.partition.is_none_or(|only| only == *index));
    let wanted: Vec<_> = wanted
        .map(|index| {
            let topic = topic.clone();
            (TopicPartition { topic, index }, start.at)
        })
        .collect();
    Consumer::assign(client, &wanted, options)
}

struct Limits {
    messages: Option<u64>,
    silence: Option<Duration>,
}

fn read(
    mut consumer: Consumer,
    formatter: &Formatter,
    limits: &Limits,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let interrupted = signals::interrupt_flag()?;
    let mut count = 0;
    let mut last = now();
    let mut is_late = false;
    while !interrupted.load(Ordering::Relaxed) && limits.messages != Some(count) && !is_late {
        let batches = consumer.poll().map_err(failed)?;
        let before = count;
        let shown = show(
            &mut consumer,
            &batches,
            formatter,
            limits,
            &mut count,
            screen,
        );
        if let Err(stop) = shown {
            // What did not get out is not to be committed; the group goes on without this member.
            consumer.unread(&batches);
            let _ = consumer.close();
            return Err(stop);
        }
        if count > before {
            last = now();
        }
        is_late = limits
            .silence
            .is_some_and(|limit| now().since(last) >= limit);
    }
    let mut said = format!("Processed a total of {count} messages\n");
    if is_late {
        said.insert_str(0, "org.apache.kafka.common.errors.TimeoutException\n");
    }
    // Nothing can be done about a stderr that is closed.
    let _ = blocking::stderr().write_all(said.as_bytes());
    Ok(consumer.close().map_err(failed)?)
}

fn show(
    consumer: &mut Consumer,
    batches: &[FetchedBatch],
    formatter: &Formatter,
    limits: &Limits,
    count: &mut u64,
    screen: &mut Screen,
) -> Result<(), Stop> {
    for (index, batch) in batches.iter().enumerate() {
        let next = print(batch, formatter, limits.messages, count, screen)?;
        if limits.messages == Some(*count) {
            put_back(consumer, &batches[index..], next);
            break;
        }
    }
    Ok(screen.flush()?)
}

/// What was fetched and not printed belongs to the next reader of the group.
fn put_back(consumer: &mut Consumer, batches: &[FetchedBatch], next: Offset) {
    let Some((printed, unseen)) = batches.split_first() else {
        return;
    };
    consumer.seek(&printed.partition, next);
    for batch in unseen.iter().rev() {
        if batch.partition != printed.partition {
            let header = BatchHeader::read(&batch.bytes);
            let base = header.map_or(batch.from, |header| header.base_offset);
            consumer.seek(&batch.partition, base.max(batch.from));
        }
    }
}

/// Prints a batch's records, as many as may be, and returns the offset after the last one.
fn print(
    batch: &FetchedBatch,
    formatter: &Formatter,
    most: Option<u64>,
    count: &mut u64,
    screen: &mut Screen,
) -> Result<Offset, Stop> {
    let header = BatchHeader::read(&batch.bytes);
    let kind = match header.is_some_and(|header| header.is_log_append_time()) {
        true => "LogAppendTime",
        false => "CreateTime",
    };
    let mut bytes = Vec::new();
    let mut next = batch.from;
    let visited = batch.visit(|record| {
        if most == Some(*count) {
            return;
        }
        *count += 1;
        next = record.offset.next();
        formatter.print(batch.partition.index, kind, record, &mut bytes);
    });
    visited.map_err(failed)?;
    screen.bytes(&bytes)?;
    Ok(next)
}

impl Formatter {
    fn print(&self, partition: i32, kind: &str, record: &Record<'_>, to: &mut Vec<u8>) {
        let null = self.null.as_bytes();
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            parts.push(format!("{kind}:{}", record.timestamp.0).into());
        }
        if self.partition {
            parts.push(format!("Partition:{partition}").into());
        }
        if self.offset {
            parts.push(format!("Offset:{}", record.offset.0).into());
        }
        if self.headers {
            let headers: Vec<Vec<u8>> = record
                .headers
                .map(|(key, value)| [key, b":", value.unwrap_or(null)].concat())
                .collect();
            parts.push(match headers.is_empty() {
                true => b"NO_HEADERS".to_vec(),
                false => headers.join(self.headers_separator.as_bytes()),
            });
        }
        if self.key {
            parts.push(record.key.unwrap_or(null).to_vec());
        }
        if self.value {
            parts.push(record.value.unwrap_or(null).to_vec());
        }
        to.extend(parts.join(self.separator.as_bytes()));
        to.extend(self.line_end.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> Given {
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        flags::parse(FLAGS, &words).expect(line)
    }

    #[test]
    fn the_start_is_where_the_flags_say() {
        let check = |line: &str, at: StartAt| assert_eq!(start(&given(line)).expect(line).at, at);
        check("--topic t", StartAt::Latest);
        check("--topic t --from-beginning", StartAt::Earliest);
        check(
            "--topic t --partition 0 --offset 7",
            StartAt::Offset(Offset(7)),
        );
        check(
            "--command-property auto.offset.reset=earliest",
            StartAt::Earliest,
        );
        let refused = |line: &str| start(&given(line)).is_err();
        assert!(refused("--offset earliest"));
        assert!(refused("--partition 0 --group g"));
        assert!(refused("--partition 0 --offset earliest --from-beginning"));
        assert!(refused("--partition 0 --offset middle"));
        assert!(refused("--isolation-level none"));
        assert!(refused("--command-property fetch.min.bytes=1"));
    }

    #[test]
    fn the_formatter_prints_what_it_is_told_to() {
        let formatter = formatter(&given(
            "--property print.key=true --formatter-property print.value=false \
             --property key.separator=-",
        ));
        let formatter = formatter.expect("served");
        assert!(formatter.key && !formatter.value);
        assert_eq!(formatter.separator, "-");
        assert!(super::formatter(&given("--property print.epoch=true")).is_err());
    }
}
