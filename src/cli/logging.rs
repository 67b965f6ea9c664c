//! Log lines: Kafka's one-line form or JSON, written by a thread of their own.
//!
//! A core formats its line and puts it in a bounded queue. When the queue is full, because
//! whatever reads stderr does not keep up, the line is dropped and counted: a core never waits.

use std::fmt::{self, Write as _};
use std::io::Write;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use super::datetime::DateTime;
use crate::config::LogFormat;
use crate::io::housekeeping::wall_clock;
use crate::limits::LOG_LINES_WAITING_MAX;
use crate::model::Timestamp;

/// The running log. Dropping it writes what waits, for at most a second.
pub(super) struct Logging {
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

/// A `corelog.log.level` that names no level.
#[derive(Debug)]
pub(super) struct BadLevel;

/// Starts the process's log to `out`. `level` is a level (`info`), or levels by room
/// (`info,corelog::log=debug`). Colours only where a person looks.
pub(super) fn start(
    out: impl Write + Send + 'static,
    format: LogFormat,
    level: &str,
    coloured: bool,
) -> Result<Logging, BadLevel> {
    let targets = targets(level)?;
    let (writer, logging) = queue(out);
    let clock = wall_clock;
    let subscriber = subscriber(writer, Line { format, clock }, coloured, targets);
    // A second log in one process (tests) leaves the first in place.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(logging)
}

impl Logging {
    /// A function that tells how many lines were dropped so far.
    pub(super) fn dropped_lines(&self) -> impl Fn() -> u64 + Send + use<> {
        let dropped = self.dropped.clone();
        move || dropped.dropped_lines() as u64
    }
}

fn queue(out: impl Write + Send + 'static) -> (NonBlocking, Logging) {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LOG_LINES_WAITING_MAX)
        .thread_name("log")
        .finish(out);
    let logging = Logging {
        dropped: writer.error_counter(),
        _writer: guard,
    };
    (writer, logging)
}

fn subscriber(
    writer: NonBlocking,
    line: Line,
    coloured: bool,
    targets: Targets,
) -> impl Subscriber + Send + Sync {
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(coloured)
        .with_writer(writer)
        .event_format(line);
    tracing_subscriber::registry().with(layer.with_filter(targets))
}

/// Reads `LEVEL` and `ROOM=LEVEL`, separated by commas. What names no level is refused here:
/// `Targets` would take it for a room.
fn targets(text: &str) -> Result<Targets, BadLevel> {
    let mut targets = Targets::new();
    for directive in text.split(',').map(str::trim) {
        let (target, level) = match directive.rsplit_once('=') {
            Some((target, level)) => (Some(target.trim()), level.trim()),
            None => (None, directive),
        };
        // An empty text parses as a level, too.
        let level: Option<LevelFilter> = level.parse().ok().filter(|_| !level.is_empty());
        let level = level.ok_or(BadLevel)?;
        targets = match target {
            Some(target) => targets.with_target(target, level),
            None => targets.with_default(level),
        };
    }
    Ok(targets)
}

/// Formats one event as one line.
struct Line {
    format: LogFormat,
    clock: fn() -> Timestamp,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let moment = DateTime::of((self.clock)());
        match self.format {
            LogFormat::Text => text(&mut writer, moment, event, &fields),
            LogFormat::Json => json(&mut writer, moment, event, fields),
        }
    }
}

/// `[2026-11-22 06:37:05,123] INFO msg key=value (target)`: log4j's `[%d] %p %m (%c)%n`.
fn text(
    writer: &mut Writer<'_>,
    moment: DateTime,
    event: &Event<'_>,
    fields: &Fields,
) -> fmt::Result {
    write!(writer, "[{}] ", moment.in_log())?;
    let level = level_name(event.metadata().level());
    if writer.has_ansi_escapes() {
        let colour = match *event.metadata().level() {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            Level::DEBUG | Level::TRACE => "2",
        };
        write!(writer, "\x1b[{colour}m{level}\x1b[0m")?;
    } else {
        write!(writer, "{level}")?;
    }
    write!(writer, " {}", one_line(&fields.message))?;
    for (name, value) in &fields.others {
        match value {
            Value::String(value) => write!(writer, " {name}={}", one_line(value))?,
            value => write!(writer, " {name}={value}")?,
        }
    }
    writeln!(writer, " ({})", event.metadata().target())
}

/// A message from a peer or a file must not make a second line that looks like one of ours.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// One object with the keys of the Elastic Common Schema.
fn json(
    writer: &mut Writer<'_>,
    moment: DateTime,
    event: &Event<'_>,
    fields: Fields,
) -> fmt::Result {
    let DateTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ms,
    } = moment;
    let timestamp =
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z");
    let mut line = Map::new();
    line.insert("@timestamp".into(), timestamp.into());
    line.insert(
        "log.level".into(),
        level_name(event.metadata().level()).into(),
    );
    line.insert("log.logger".into(), event.metadata().target().into());
    if let Some(name) = std::thread::current().name() {
        line.insert("process.thread.name".into(), name.into());
    }
    line.insert("message".into(), fields.message.into());
    line.extend(fields.others);
    writeln!(writer, "{}", Value::Object(line))
}

fn level_name(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// An event's message and its other fields.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.push((field.name().to_string(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.put(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.put(field, value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What `body` logs at level info, with a clock that stands still.
    fn logged(format: LogFormat, coloured: bool, body: impl FnOnce()) -> String {
        let lines = Lines::default();
        let (writer, logging) = queue(lines.clone());
        let clock = || Timestamp(1_795_329_425_123);
        let targets = targets("info,corelog::quiet=warn").expect("levels");
        let subscriber = subscriber(writer, Line { format, clock }, coloured, targets);
        tracing::subscriber::with_default(subscriber, body);
        drop(logging);
        let bytes = lines.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_line_has_kafkas_form() {
        let lines = logged(LogFormat::Text, false, || {
            tracing::info!(target: "corelog::net", port = 9092, host = "a\nb", "listens");
            tracing::debug!(target: "corelog::net", "is below the level");
            tracing::info!(target: "corelog::quiet", "is below its room's level");
            tracing::warn!(target: "corelog::log", "cut a torn tail of {} bytes", 512);
        });
        let expected = "[2026-11-22 06:37:05,123] INFO listens port=9092 host=a\\nb (corelog::net)\n\
            [2026-11-22 06:37:05,123] WARN cut a torn tail of 512 bytes (corelog::log)\n";
        assert_eq!(lines, expected);
    }

    #[test]
    fn colours_stand_around_the_level_only() {
        let line = logged(
            LogFormat::Text,
            true,
            || tracing::error!(target: "corelog", "stops"),
        );
        assert_eq!(
            line,
            "[2026-11-22 06:37:05,123] \x1b[31mERROR\x1b[0m stops (corelog)\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let line = logged(LogFormat::Json, false, || {
            tracing::info!(target: "corelog::net", port = 9092, ok = true, "says \"hello\"");
        });
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["@timestamp"], "2026-11-22T06:37:05.123Z");
        assert_eq!(value["log.level"], "INFO");
        assert_eq!(value["log.logger"], "corelog::net");
        assert_eq!(value["message"], "says \"hello\"");
        assert_eq!(
            (&value["port"], &value["ok"]),
            (&Value::from(9092), &Value::from(true))
        );
        assert_eq!(line.lines().count(), 1);
    }

    /// A reader that never reads, until it is let go.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_no_time() {
        let (let_go, held) = std::sync::mpsc::channel();
        let (mut writer, logging) = queue(Stuck(held));
        // One line is in the writer's hands, and the queue's size is in the queue.
        let count = LOG_LINES_WAITING_MAX + 100;
        for _ in 0..count {
            writer.write_all(b"a line\n").expect("never fails");
        }
        let dropped = (logging.dropped_lines())();
        assert!((98..=100).contains(&dropped), "{dropped}");
        drop(let_go);
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        let check = |text: &str, is_level: bool| {
            assert_eq!(targets(text).is_ok(), is_level, "{text}");
        };
        check("info", true);
        check("WARN", true);
        check("off", true);
        check("info, corelog::log=debug,corelog::net = trace", true);
        check("loud", false);
        check("corelog=loud", false);
        check("info,", false);
        check("", false);
    }
}
