//! `kafka-console-producer.sh`: a record for each line of the standard input.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::time::Duration;

use super::flags::{self, Flag, Given, Refusal, maybe, refused, switch, value};
use super::{Failed, Stop, connect, words_of};
use crate::cli::screen::Screen;
use crate::client::{Acks, ClientError, Producer, ProducerOptions, ProducerRecord};
use crate::frame::Codec;
use crate::io::blocking;
use crate::model::TopicName;

pub(super) const FLAGS: &[Flag] = &[
    value("bootstrap-server", "HOST:PORT of a broker"),
    value("topic", "The topic"),
    value(
        "reader-property",
        "parse.key, key.separator, ignore.error, null.marker",
    ),
    value("property", "As --reader-property, by its old name"),
    value(
        "command-property",
        "acks, batch.size, buffer.memory, compression.type and some more",
    ),
    value(
        "producer-property",
        "As --command-property, by its old name",
    ),
    maybe(
        "compression-codec",
        "none, gzip, snappy, lz4 or zstd; without a value gzip",
    ),
    value("request-required-acks", "all, -1, 1 or 0"),
    value("batch-size", "Bytes of a batch"),
    value("max-memory-bytes", "Bytes that may wait"),
    value("timeout", "Milliseconds that a batch may wait for more"),
    switch("sync", "Wait for each record's answer"),
    refused("broker-list", "--bootstrap-server"),
    refused("producer.config", "--command-property KEY=VALUE"),
    refused("command-config", "--command-property KEY=VALUE"),
    refused("line-reader", "--reader-property"),
    refused("reader-config", "--reader-property"),
    refused(
        "message-send-max-retries",
        "--command-property delivery.timeout.ms=MS",
    ),
    refused(
        "retry-backoff-ms",
        "--command-property delivery.timeout.ms=MS",
    ),
    refused(
        "request-timeout-ms",
        "--command-property delivery.timeout.ms=MS",
    ),
    refused(
        "metadata-expiry-ms",
        "no flag: metadata is asked for when it is needed",
    ),
    refused(
        "metadata-max-age-ms",
        "no flag: metadata is asked for when it is needed",
    ),
    refused("max-block-ms", "--command-property delivery.timeout.ms=MS"),
    refused("max-partition-memory-bytes", "--batch-size"),
    refused("socket-buffer-size", "no flag: the kernel chooses"),
];

/// How lines become records.
#[derive(Debug, PartialEq, Eq)]
struct Reader {
    parses_key: bool,
    separator: String,
    ignores_error: bool,
    null_marker: Option<String>,
}

/// Runs the tool.
pub(super) fn run(words: &[String], screen: &mut Screen) -> Result<(), Stop> {
    let given = flags::parse(FLAGS, words)?;
    for (old, new) in [
        ("producer-property", "command-property"),
        ("property", "reader-property"),
    ] {
        if given.has(old) {
            let text = format!(
                "Warning: --{old} is deprecated and will be removed in a future version. Use \
                 --{new} instead.\n"
            );
            screen.bytes(text.as_bytes())?;
        }
    }
    let name = given.one("topic");
    let name = name.ok_or_else(|| Refusal::said("Missing required argument \"[topic]\""))?;
    let bootstrap = given
        .one("bootstrap-server")
        .ok_or_else(|| Refusal::said("Missing required argument \"[bootstrap-server]\""))?;
    let topic =
        TopicName::new(name).map_err(|_| Refusal::said(format!("{name:?} is no topic name")))?;
    let reader = reader(&given)?;
    let options = options(&given)?;
    screen.flush()?;
    let producer = connect(bootstrap)
        .and_then(|client| Producer::new(client, options))
        .map_err(failed)?;
    send_all(producer, &topic, &reader, given.has("sync"))
}

fn failed(error: ClientError) -> Failed {
    let hint = error
        .hint()
        .map_or(String::new(), |hint| format!("  try: {hint}\n"));
    Failed::on_stderr(format!("{}\n{hint}", words_of(&error)))
}

fn reader(given: &Given) -> Result<Reader, Refusal> {
    let mut reader = Reader {
        parses_key: false,
        separator: "\t".into(),
        ignores_error: false,
        null_marker: None,
    };
    for (key, value) in given.properties(&["reader-property", "property"])? {
        match key {
            "parse.key" => reader.parses_key = value.trim().eq_ignore_ascii_case("true"),
            "ignore.error" => reader.ignores_error = value.trim().eq_ignore_ascii_case("true"),
            "key.separator" => reader.separator = value.to_string(),
            "null.marker" => reader.null_marker = Some(value.to_string()),
            other => {
                return Err(
                    Refusal::said(format!("the reader's property {other} is not served"))
                        .instead("parse.key, key.separator, ignore.error, null.marker"),
                );
            }
        }
    }
    Ok(reader)
}

fn options(given: &Given) -> Result<ProducerOptions, Refusal> {
    let mut options = ProducerOptions {
        batch_bytes: 16_384,
        delivery_timeout: Duration::from_secs(120),
        ..ProducerOptions::default()
    };
    let flags = [
        ("request-required-acks", "acks"),
        ("batch-size", "batch.size"),
        ("max-memory-bytes", "buffer.memory"),
        ("timeout", "linger.ms"),
    ];
    for (flag, key) in flags {
        if let Some(value) = given.one(flag) {
            set(&mut options, key, value)?;
        }
    }
    if given.has("compression-codec") {
        let codec = given.one("compression-codec").unwrap_or("gzip");
        set(&mut options, "compression.type", codec)?;
    }
    for (key, value) in given.properties(&["command-property", "producer-property"])? {
        set(&mut options, key, value)?;
    }
    Ok(options)
}

/// Sets what one of Kafka's producer properties means.
pub(super) fn set(options: &mut ProducerOptions, key: &str, value: &str) -> Result<(), Refusal> {
    let wrong = || Refusal::said(format!("Invalid value {value} for configuration {key}"));
    let number = || value.trim().parse::<usize>().map_err(|_| wrong());
    let ms = || Ok(Duration::from_millis(number()? as u64));
    match key {
        "acks" => {
            options.acks = match value.trim() {
                "all" | "-1" => Acks::All,
                "1" => Acks::Leader,
                "0" => Acks::None,
                _ => return Err(wrong()),
            };
            options.is_idempotent &= options.acks == Acks::All;
        }
        "batch.size" => options.batch_bytes = number()?.clamp(1, 1 << 20),
        "buffer.memory" => options.buffer_bytes = number()?.max(1),
        "compression.type" => {
            options.codec = match value.trim() {
                "none" => Codec::None,
                "gzip" => Codec::Gzip,
                "snappy" => Codec::Snappy,
                "lz4" => Codec::Lz4,
                "zstd" => Codec::Zstd,
                _ => return Err(wrong()),
            };
        }
        "delivery.timeout.ms" => options.delivery_timeout = ms()?,
        "enable.idempotence" => {
            options.is_idempotent = value.trim() == "true" && options.acks == Acks::All;
        }
        "linger.ms" => options.linger = ms()?,
        "max.in.flight.requests.per.connection" => options.in_flight_max = number()?.clamp(1, 5),
        "max.request.size" => options.request_bytes = number()?.max(1),
        other => {
            return Err(
                Refusal::said(format!("the producer's property {other} is not served")).instead(
                    "acks, batch.size, buffer.memory, compression.type, delivery.timeout.ms, \
                     enable.idempotence, linger.ms, max.in.flight.requests.per.connection, \
                     max.request.size",
                ),
            );
        }
    }
    Ok(())
}

fn send_all(
    mut producer: Producer,
    topic: &TopicName,
    reader: &Reader,
    is_sync: bool,
) -> Result<(), Stop> {
    let prompts = blocking::stdin().is_terminal();
    let mut input = BufReader::new(blocking::stdin().lock());
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        if prompts {
            let _ = blocking::stdout().write_all(b">");
            let _ = blocking::stdout().flush();
        }
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        let read = read.map_err(|error| Failed::on_stderr(format!("cannot read: {error}\n")))?;
        if read == 0 {
            break;
        }
        number += 1;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let (key, value) = match split(reader, text) {
            Some(split) => split,
            None => {
                // What came before is not lost for the sake of a later line.
                let _ = producer.flush();
                let shown = String::from_utf8_lossy(text);
                let said = format!("No key separator found on line number {number}: '{shown}'\n");
                return Err(Failed::on_stderr(said).into());
            }
        };
        let record = ProducerRecord {
            key,
            value,
            ..ProducerRecord::default()
        };
        producer.send(topic, &record).map_err(failed)?;
        if is_sync || prompts {
            producer.flush().map_err(failed)?;
        }
        answered(&mut producer)?;
    }
    producer.flush().map_err(failed)?;
    answered(&mut producer)
}

fn answered(producer: &mut Producer) -> Result<(), Stop> {
    let lost = producer
        .deliveries()
        .into_iter()
        .find_map(|delivery| delivery.outcome.err());
    lost.map_or(Ok(()), |error| Err(failed(error).into()))
}

type KeyValue<'l> = (Option<&'l [u8]>, Option<&'l [u8]>);

/// A line's key and value; `None` if it has no separator and should have one.
fn split<'l>(reader: &Reader, line: &'l [u8]) -> Option<KeyValue<'l>> {
    let marker = reader.null_marker.as_deref().map(str::as_bytes);
    let some = |bytes: &'l [u8]| (Some(bytes) != marker).then_some(bytes);
    if !reader.parses_key {
        return Some((None, some(line)));
    }
    let separator = reader.separator.as_bytes();
    let at = line
        .windows(separator.len().max(1))
        .position(|window| window == separator);
    match at {
        Some(at) => Some((some(&line[..at]), some(&line[at + separator.len()..]))),
        None if reader.ignores_error => Some((None, some(line))),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> Result<Given, Refusal> {
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        flags::parse(FLAGS, &words)
    }

    #[test]
    fn lines_are_split_as_kafka_splits_them() {
        let check = |line: &str, text: &str, expected: Option<(Option<&str>, Option<&str>)>| {
            let reader = reader(&given(line).expect(line)).expect(line);
            let expected =
                expected.map(|(key, value)| (key.map(str::as_bytes), value.map(str::as_bytes)));
            assert_eq!(split(&reader, text.as_bytes()), expected, "{line}: {text}");
        };
        check("--topic t", "a\tb", Some((None, Some("a\tb"))));
        let keyed = "--property parse.key=true --reader-property key.separator=:";
        check(keyed, "a:b:c", Some((Some("a"), Some("b:c"))));
        check(keyed, "ab", None);
        let lenient = "--property parse.key=true --property ignore.error=true";
        check(lenient, "ab", Some((None, Some("ab"))));
        check(lenient, "a\tb", Some((Some("a"), Some("b"))));
        check("--property null.marker=N", "N", Some((None, None)));
        assert!(reader(&given("--property parse.headers=true").expect("read")).is_err());
    }

    #[test]
    fn properties_are_those_that_do_something() {
        let check = |line: &str| options(&given(line).expect(line));
        let set =
            check("--command-property acks=1 --compression-codec --batch-size 100").expect("set");
        assert_eq!(
            (set.acks, set.codec, set.batch_bytes),
            (Acks::Leader, Codec::Gzip, 100)
        );
        assert!(!set.is_idempotent);
        assert!(check("--command-property acks=2").is_err());
        assert!(check("--command-property transactional.id=t").is_err());
        assert!(given("--line-reader x").is_err());
    }
}
