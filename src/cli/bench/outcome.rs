//! What came of a load, for people and for scripts.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::run::failed;
use crate::bench::limits::DRAIN_SECONDS;
use crate::bench::{
    Acks, BatchCodec, Book, LoadPart, PERCENTILES, Problem, Rate, Traffic, percentiles, us_at,
};
use crate::cli::failure::Failure;
use crate::cli::screen::{Table, counted};
use crate::client::ClientError;
use crate::model::TopicName;
use crate::protocol::{ApiKey, ErrorCode};

/// Which of the three it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Produce,
    Consume,
    E2e,
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Verb::Produce => "produce",
            Verb::Consume => "consume",
            Verb::E2e => "e2e",
        }
    }
}

/// The result of a load, and what it must be read with.
pub(super) struct Outcome {
    pub(super) verb: Verb,
    pub(super) bootstrap: String,
    pub(super) topic: TopicName,
    pub(super) partitions: usize,
    pub(super) topic_is_created: bool,
    pub(super) topic_is_deleted: bool,
    /// It was to be deleted, and was there before.
    pub(super) topic_is_kept: bool,
    pub(super) durability: Option<String>,
    pub(super) traffic: Traffic,
    pub(super) book: Book,
    /// Processor time of this client while it counted.
    pub(super) cpu_seconds: f64,
    pub(super) threads: u16,
    pub(super) is_interrupted: bool,
    /// What ended it before its time.
    pub(super) problem: Option<Problem>,
}

/// From here on the client itself is likely to be the limit.
const CLIENT_BUSY_SHARE: f64 = 0.9;

/// No share is of a shorter time than this, in seconds: the kernel counts in steps of 10 ms.
const LEAST_SECONDS: f64 = 0.01;

impl Outcome {
    /// The times that `--hdr` is about.
    pub(super) fn times(&self) -> &Histogram<u64> {
        match self.verb {
            Verb::Produce => &self.book.latency,
            Verb::Consume => &self.book.fetch_latency,
            Verb::E2e => &self.book.end_to_end,
        }
    }

    /// Every distribution that was measured, with its name in text and in JSON.
    fn distributions(&self) -> Vec<(&'static str, &'static str, &Histogram<u64>)> {
        let book = &self.book;
        let fetched = ("fetch-to-answer", "fetch_latency", &book.fetch_latency);
        if self.verb == Verb::Consume {
            return vec![fetched];
        }
        let mut all = vec![("send-to-acknowledgement", "latency", &book.latency)];
        if self.traffic.load.rate != Rate::Max {
            all.push(("send-to-kernel", "send_delay", &book.send_delay));
        }
        if self.verb == Verb::E2e {
            all.push(("send-to-arrival", "end_to_end", &book.end_to_end));
        }
        all
    }

    /// Records that count: acknowledged, or read. Where the rate was not reached, only what was
    /// acknowledged in time: the rest came from a queue, after the end.
    fn records(&self) -> u64 {
        match self.verb {
            Verb::Consume => self.book.fetched_records(),
            Verb::Produce | Verb::E2e if self.missed().is_some() => self.book.records(),
            Verb::Produce | Verb::E2e => self.book.counted_records,
        }
    }

    /// The rate that was asked for and not reached, and by how many records the queue has grown.
    fn missed(&self) -> Option<(u64, u64)> {
        let load = &self.traffic.load;
        let Rate::RecordsPerSecond(rate) = load.rate else {
            return None;
        };
        let requests = u64::from(load.connections) * u64::from(load.in_flight);
        let in_flight = requests * u64::from(load.batch_records);
        let behind = self.book.behind_records(rate, in_flight);
        (load.connections > 0 && behind > 0).then_some((rate, behind))
    }

    fn records_per_second(&self) -> f64 {
        match self.verb {
            Verb::Consume => self.book.fetched_records_per_second(),
            Verb::Produce | Verb::E2e => self.book.records_per_second(),
        }
    }

    /// In 10^6 bytes: of values where this client made them, else of batches as they came.
    fn megabytes_per_second(&self) -> f64 {
        match self.verb {
            Verb::Consume => self.book.fetched_bytes() as f64 / self.book.length_seconds() / 1e6,
            Verb::Produce | Verb::E2e => {
                let bytes = f64::from(self.traffic.load.record_bytes);
                self.records_per_second() * bytes / 1e6
            }
        }
    }

    fn requests_per_second(&self) -> f64 {
        let requests = match self.verb {
            Verb::Consume => self.book.fetch_latency.len(),
            Verb::Produce | Verb::E2e => self.book.requests(),
        };
        requests as f64 / self.book.length_seconds()
    }

    /// Of one thread's time, while it counted.
    fn client_busy_share(&self) -> f64 {
        // An interrupt may end it before it counts.
        self.cpu_seconds / self.book.length_seconds().max(LEAST_SECONDS)
    }

    /// What casts doubt on the figures, in words.
    fn notes(&self) -> Vec<String> {
        let (book, load) = (&self.book, &self.traffic.load);
        let mut notes = Vec::new();
        if let Some(problem) = &self.problem {
            let seconds = book.length_seconds();
            notes.push(format!(
                "cut short: {}; the figures end with the last answer, {seconds:.1} s after the \
                 begin of what counts",
                problem.what()
            ));
        }
        if self.is_interrupted {
            notes.push("interrupted: the figures are those of a shorter run".to_owned());
        }
        if self.verb != Verb::Consume && load.acks == Acks::None {
            notes.push("acks=0: a send ends where the kernel took it, nothing is promised".into());
        }
        if let Some((rate, behind)) = self.missed() {
            let reached = self.records_per_second();
            notes.push(format!(
                "the rate was not reached: {reached:.0} of {rate} records/s ({:.0} %); the \
                 latencies are those of a queue that grew by {behind} records until the end, not \
                 of the broker at a rate that it takes: a lower --rate measures that, and --rate 0 \
                 what it takes",
                reached * 100.0 / rate as f64
            ));
        }
        let is_fast =
            self.verb == Verb::Consume || load.rate == Rate::Max || self.missed().is_some();
        if is_fast && self.client_busy_share() > CLIENT_BUSY_SHARE * f64::from(self.threads) {
            notes.push("this client was busy all the time: more --threads may bring more".into());
        }
        if book.unanswered > 0 {
            let when = match self.problem {
                None => format!("{DRAIN_SECONDS} s after the end"),
                Some(_) => "when it ended".to_owned(),
            };
            notes.push(format!(
                "{} had no answer {when}; the latency is the age reached by then",
                counted(book.unanswered, "request")
            ));
        }
        let missing = book.counted_records.saturating_sub(book.end_to_end.len());
        if self.verb == Verb::E2e && missing > 0 && self.problem.is_none() {
            notes.push(format!(
                "{missing} acknowledged records had not arrived {DRAIN_SECONDS} s after the end"
            ));
        }
        if self.topic_is_kept {
            notes.push("the topic was there before this run: it is not deleted".to_owned());
        }
        notes
    }

    pub(super) fn text(&self) -> String {
        let verb = match self.verb {
            Verb::Produce => "Produced",
            Verb::Consume => "Consumed",
            Verb::E2e => "Produced and consumed",
        };
        let state = match (self.topic_is_created, self.topic_is_deleted) {
            (true, true) => ", created and deleted",
            (true, false) => ", created",
            (false, _) => "",
        };
        let mut text = format!(
            "{verb} {} in {:.1} s; topic {}, {}{state}.\n",
            counted(self.records(), "record"),
            self.book.length_seconds(),
            self.topic,
            counted(self.partitions as u64, "partition"),
        );
        let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<12}{value}\n"));
        line("load", &self.load_words());
        let durability = match &self.durability {
            Some(durability) => format!("{durability} (corelog.durability of the broker)"),
            None => "unknown: the broker has no corelog.durability to tell".to_owned(),
        };
        line("durability", &durability);
        for note in self.notes() {
            line("note", &note);
        }
        for (name, count) in &self.book.refused {
            line(
                "refused",
                &format!("{}: {name}", counted(*count, "request")),
            );
        }
        if self.topic_is_created && !self.topic_is_deleted {
            line("clean up", &format!("corelog topic delete {}", self.topic));
        }
        let mut rates = Table::new(&["RECORDS/S", "MB/S", "REQUESTS/S", "CLIENT-CPU"]);
        rates.row([
            format!("{:.0}", self.records_per_second()),
            format!("{:.2}", self.megabytes_per_second()),
            format!("{:.0}", self.requests_per_second()),
            format!("{:.0}%", self.client_busy_share() * 100.0),
        ]);
        let mut times = Table::new(&TIME_HEADINGS);
        for (name, _, histogram) in self.distributions() {
            let [p50, p90, p99, p999, p9999, max] =
                PERCENTILES.map(|(quantile, ..)| format!("{:.0}", us_at(histogram, quantile)));
            times.row([name.to_owned(), p50, p90, p99, p999, p9999, max]);
        }
        format!("{text}\n{rates}\n{times}")
    }

    fn load_words(&self) -> String {
        let consumers = self.traffic.consume.as_ref().map(|consume| {
            format!(
                "{}, fetches of {} bytes at most",
                counted(consume.connections.into(), "consumer"),
                consume.max_bytes
            )
        });
        match (self.verb, consumers) {
            (Verb::Consume, consumers) => consumers.unwrap_or_default(),
            (Verb::Produce, _) | (Verb::E2e, None) => producer_words(&self.traffic.load),
            (Verb::E2e, Some(consumers)) => {
                format!("{}; {consumers}", producer_words(&self.traffic.load))
            }
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let (book, load_rate) = (&self.book, self.traffic.load.rate);
        let mut object = json!({
            "command": self.verb.as_str(),
            "bootstrap_server": self.bootstrap,
            "topic": {
                "name": self.topic.as_str(),
                "partitions": self.partitions,
                "created": self.topic_is_created,
                "deleted": self.topic_is_deleted,
            },
            "durability": self.durability,
            "seconds": book.length_seconds(),
            "records": self.records(),
            "records_per_second": self.records_per_second(),
            "megabytes_per_second": self.megabytes_per_second(),
            "requests_per_second": self.requests_per_second(),
            "client": { "threads": self.threads, "cpu_seconds": self.cpu_seconds },
            "notes": self.notes(),
        });
        if self.verb != Verb::Consume {
            object["load"] = json!(self.traffic.load);
            object["rate_reached"] = match load_rate {
                Rate::Max => Value::Null,
                Rate::RecordsPerSecond(_) => self.missed().is_none().into(),
            };
            object["unanswered"] = book.unanswered.into();
            object["errors"] = json!(book.refused);
        }
        if let Some(consume) = &self.traffic.consume {
            object["consume"] = json!(consume);
            object["fetched_records"] = book.fetched_records().into();
            object["fetched_bytes"] = book.fetched_bytes().into();
        }
        for (_, key, histogram) in self.distributions() {
            object[key] = percentiles(histogram);
        }
        object
    }

    /// Whether the figures are those of what was asked for.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if let Some(problem) = &self.problem {
            let failure = match problem.is_lost() {
                false => failed(problem.clone()),
                true => failed(Problem::lost(format!(
                    "the broker at {} went away: {}",
                    self.bootstrap,
                    problem.what()
                ))),
            };
            return Err(failure);
        }
        if self.is_interrupted {
            return Err(Failure::interrupted("interrupted"));
        }
        let refused = self.book.refused.iter().max_by_key(|(_, count)| **count);
        let Some((&name, count)) = refused else {
            return Ok(());
        };
        let failure = Failure::new(format!("{count} requests were refused: {name}")).coded(name);
        let failure = failure.because(
            "The figures are those of a broker that refuses, not of one that takes records.",
        );
        let hint = code_of(name).and_then(|code| {
            let error = ClientError::Broker {
                api: ApiKey::Produce,
                subject: self.topic.to_string(),
                code,
                message: None,
            };
            error.hint()
        });
        Err(failure.try_this(hint.unwrap_or("the broker's log, which may say more")))
    }
}

/// Microseconds; a send begins when it was meant to.
const TIME_HEADINGS: [&str; 7] = [
    "MICROSECONDS",
    "P50",
    "P90",
    "P99",
    "P99.9",
    "P99.99",
    "MAX",
];

fn producer_words(load: &LoadPart) -> String {
    let pace = match load.rate {
        Rate::Max => "as fast as answers come".to_owned(),
        Rate::RecordsPerSecond(rate) => format!("{rate} records/s at intended times"),
    };
    let codec = match load.codec {
        BatchCodec::None => "not compressed",
        codec => codec.as_str(),
    };
    let acks = match load.acks {
        Acks::All => "all",
        Acks::Leader => "1",
        Acks::None => "0",
    };
    format!(
        "{}, {} in flight each, {} of {} bytes in a request, {codec}, acks={acks}; {pace}",
        counted(load.connections.into(), "connection"),
        load.in_flight,
        counted(load.batch_records.into(), "record"),
        load.record_bytes
    )
}

/// The error of a name.
fn code_of(name: &str) -> Option<ErrorCode> {
    let codes = (-1..=i16::from(u8::MAX)).filter_map(ErrorCode::from_code);
    codes.into_iter().find(|code| code.name() == name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::{Keys, Spread};
    use crate::cli::failure::Exit;
    use crate::io::Instant;

    fn outcome(rate: Rate) -> Outcome {
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let mut book = Book::new(at(0), Duration::from_secs(2), 5);
        for ms in 0..100 {
            book.sent(at(ms), at(ms));
            book.acknowledged(at(ms), at(ms + 1 + ms / 99 * 9));
        }
        Outcome {
            verb: Verb::Produce,
            bootstrap: "h:1".to_owned(),
            topic: TopicName::new("t").expect("a good name"),
            partitions: 3,
            topic_is_created: true,
            topic_is_deleted: false,
            topic_is_kept: false,
            durability: Some("sync".to_owned()),
            traffic: Traffic {
                load: LoadPart {
                    connections: 4,
                    spread: Spread::Own,
                    batch_records: 5,
                    record_bytes: 1000,
                    keys: Keys::None,
                    key_bytes: 16,
                    idempotent: false,
                    codec: BatchCodec::None,
                    acks: Acks::All,
                    rate,
                    in_flight: 6,
                },
                consume: None,
            },
            book,
            cpu_seconds: 0.5,
            threads: 1,
            is_interrupted: false,
            problem: None,
        }
    }

    #[test]
    fn people_read_what_was_done_and_how_fast() {
        let expected = "\
Produced 500 records in 2.0 s; topic t, 3 partitions, created.
load        4 connections, 6 in flight each, 5 records of 1000 bytes in a request, not \
compressed, acks=all; 50 records/s at intended times
durability  sync (corelog.durability of the broker)
clean up    corelog topic delete t

RECORDS/S  MB/S  REQUESTS/S  CLIENT-CPU
250        0.25  50          25%

MICROSECONDS             P50   P90   P99   P99.9  P99.99  MAX
send-to-acknowledgement  1000  1000  1000  10002  10002   10002
send-to-kernel           0     0     0     0      0       0
";
        assert_eq!(outcome(Rate::RecordsPerSecond(50)).text(), expected);
    }

    #[test]
    fn a_rate_that_was_not_reached_is_said_with_what_the_times_are() {
        let held = outcome(Rate::RecordsPerSecond(250));
        assert_eq!(held.notes(), [""; 0]);
        assert_eq!(held.to_json()["rate_reached"], true);
        assert_eq!(outcome(Rate::Max).to_json()["rate_reached"], Value::Null);
        let mut missed = outcome(Rate::RecordsPerSecond(1000));
        // Answered after the end: it is no part of what was done within it.
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        missed.book.acknowledged(at(1999), at(4000));
        let text = missed.text();
        for words in [
            "Produced 500 records in 2.0 s",
            "not reached: 250 of 1000 records/s (25 %)",
            "a queue that grew by 1500 records",
            "250        0.25",
        ] {
            assert!(text.contains(words), "{words:?} is not in:\n{text}");
        }
        let object = missed.to_json();
        assert_eq!(
            (&object["records"], &object["rate_reached"]),
            (&500.into(), &false.into())
        );
    }

    #[test]
    fn what_casts_doubt_is_said() {
        let check = |change: fn(&mut Outcome), word: &str| {
            let mut outcome = outcome(Rate::Max);
            change(&mut outcome);
            let notes = outcome.notes();
            assert!(notes.len() == 1 && notes[0].contains(word), "{notes:?}");
            assert!(outcome.text().contains(word));
        };
        assert_eq!(outcome(Rate::Max).notes(), [""; 0]);
        check(|outcome| outcome.cpu_seconds = 1.9, "--threads");
        check(|outcome| outcome.traffic.load.acks = Acks::None, "acks=0");
        check(|outcome| outcome.book.unanswered = 3, "3 requests");
        check(|outcome| outcome.topic_is_kept = true, "not deleted");
        check(|outcome| outcome.is_interrupted = true, "interrupted");
    }

    #[test]
    fn a_load_that_was_cut_short_has_figures_and_is_a_failure() {
        let mut cut = outcome(Rate::Max);
        cut.book.end_with_the_last();
        cut.problem = Some(Problem::lost("the broker closed a connection"));
        let text = cut.text();
        for words in [
            "Produced 500 records in 0.1 s",
            "cut short: the broker closed",
        ] {
            assert!(text.contains(words), "{words:?} is not in:\n{text}");
        }
        let failure = cut.verdict().expect_err("cut short");
        assert_eq!(failure.exit(), Exit::Unreachable);
        let text = failure.to_string();
        assert!(
            text.starts_with("corelog: the broker at h:1 went away: "),
            "{text}"
        );
        cut.problem = Some(Problem::new("no room"));
        assert_eq!(cut.verdict().expect_err("cut short").exit(), Exit::Failed);
    }

    #[test]
    fn refused_requests_are_a_failure_with_advice() {
        assert_eq!(outcome(Rate::Max).verdict(), Ok(()));
        for (code, advice) in [
            (ErrorCode::MessageTooLarge, "max.message.bytes"),
            (ErrorCode::TopicAuthorizationFailed, "ACLs"),
            (ErrorCode::UnknownServerError, "the broker's log"),
        ] {
            let mut refused = outcome(Rate::Max);
            refused.book.refused(code);
            assert_eq!(refused.to_json()["errors"][code.name()], 1);
            let failure = refused.verdict().expect_err("refused");
            assert_eq!(failure.exit(), Exit::Failed);
            let text = failure.to_string();
            assert!(
                text.contains(code.name()) && text.contains(advice),
                "{text}"
            );
        }
    }
}
