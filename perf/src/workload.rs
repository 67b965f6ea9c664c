//! A workload: a file that says what load a broker gets and under which promises.

use std::fmt;
use std::path::{Path, PathBuf};

use corelog::frame::Codec;
use corelog::io::blocking;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::limits::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, CONNECTIONS_MAX, CORES_MAX, IN_FLIGHT_MAX, PARTITIONS_MAX,
    RATE_MAX, RECORD_BYTES_MAX, SECONDS_MAX, TOPIC_BYTES_MAX, WORKLOAD_FILE_BYTES_MAX,
};
use crate::problem::Problem;

/// What a workload file says. Every key is there or has the default that its file's section shows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workload {
    /// What results are filed under.
    pub(crate) name: String,
    /// The question that it answers.
    pub(crate) question: String,
    pub(crate) broker: BrokerPart,
    pub(crate) client: ClientPart,
    pub(crate) topic: TopicPart,
    pub(crate) load: LoadPart,
    pub(crate) run: RunPart,
}

/// The broker that `perf` starts. A broker elsewhere is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BrokerPart {
    /// CPUs that it gets, one shard each; fewer on a machine that has not enough.
    pub(crate) cores: u16,
    pub(crate) durability: Durability,
    /// Where its temporary directory is made; beside the build's other files if absent.
    pub(crate) dir: Option<PathBuf>,
}

/// What the load generator may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientPart {
    /// CPUs, one thread with one ring each; fewer on a machine that has not enough.
    pub(crate) cores: u16,
}

/// The topic that is made for the run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicPart {
    pub(crate) partitions: u32,
    /// `segment.bytes`; the broker's default if absent.
    pub(crate) segment_bytes: Option<u64>,
    /// `retention.bytes`, of each partition; the broker's default if absent.
    pub(crate) retention_bytes: Option<u64>,
}

/// Who sends what, and when.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadPart {
    pub(crate) connections: u32,
    /// Which partitions a connection sends to, one after the other.
    pub(crate) spread: Spread,
    /// A request carries one batch with so many records.
    pub(crate) batch_records: u32,
    /// Bytes of a record's value; it has no key.
    pub(crate) record_bytes: u32,
    pub(crate) codec: BatchCodec,
    pub(crate) acks: Acks,
    pub(crate) rate: Rate,
    /// Requests of one connection whose answer is still to come. At a fixed rate what does not
    /// fit waits, and its waiting counts as latency.
    pub(crate) in_flight: u32,
}

/// How long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunPart {
    /// Load before the part that counts.
    pub(crate) warm_up_seconds: u32,
    pub(crate) seconds: u32,
}

/// What an acknowledgement promises: the broker's `corelog.durability`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// The data sync has completed.
    Sync,
    /// The write has completed.
    Written,
}

impl Durability {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Durability::Sync => "sync",
            Durability::Written => "written",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Spread {
    /// Each connection has its own share of the partitions; with more connections than
    /// partitions, several have the same one.
    Own,
    /// Each connection sends to all partitions in turn, each beginning at another one.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BatchCodec {
    None,
    Lz4,
}

impl From<BatchCodec> for Codec {
    fn from(codec: BatchCodec) -> Codec {
        match codec {
            BatchCodec::None => Codec::None,
            BatchCodec::Lz4 => Codec::Lz4,
        }
    }
}

/// When a batch counts as produced, in Kafka's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Acks {
    #[serde(rename = "all")]
    All,
    #[serde(rename = "1")]
    Leader,
    /// When it was handed to the kernel: the broker does not answer.
    #[serde(rename = "0")]
    None,
}

impl Acks {
    /// As it stands in the request.
    pub(crate) fn code(self) -> i16 {
        match self {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        }
    }
}

/// How often requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    /// Open loop: so many records a second over all connections, whatever the answers do.
    RecordsPerSecond(u64),
    /// Closed loop: the next request as soon as there are fewer than `in_flight`.
    Max,
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Rate::RecordsPerSecond(rate) => serializer.serialize_u64(*rate),
            Rate::Max => serializer.serialize_str("max"),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rate, D::Error> {
        deserializer.deserialize_any(RateVisitor)
    }
}

struct RateVisitor;

impl Visitor<'_> for RateVisitor {
    type Value = Rate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "records a second from 1 to {RATE_MAX}, or \"max\"")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Rate, E> {
        let rate = u64::try_from(value)
            .ok()
            .filter(|rate| (1..=RATE_MAX).contains(rate));
        rate.map(Rate::RecordsPerSecond)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Rate, E> {
        match value {
            "max" => Ok(Rate::Max),
            _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
        }
    }
}

impl Workload {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Workload, Problem> {
        let failed = |what: String| Problem::new(format!("{}: {what}", path.display()));
        let bytes = blocking::read_file(path)
            .map_err(|error| failed(error.to_string()).hint("workloads: perf/workloads/*.toml"))?;
        if bytes.len() > WORKLOAD_FILE_BYTES_MAX {
            let most = WORKLOAD_FILE_BYTES_MAX;
            return Err(failed(format!(
                "{} bytes; a workload has at most {most}",
                bytes.len()
            )));
        }
        let text = String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
        Workload::parse(&text).map_err(|problem| failed(problem.to_string()))
    }

    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Workload, Problem> {
        let workload: Workload = toml::from_str(text)
            .map_err(|error| Problem::new(error.to_string().trim_end().to_owned()))?;
        workload.check()?;
        Ok(workload)
    }

    /// Bytes of the values of one batch.
    pub(crate) fn batch_bytes(&self) -> u64 {
        u64::from(self.load.batch_records) * u64::from(self.load.record_bytes)
    }

    fn check(&self) -> Result<(), Problem> {
        let Workload {
            broker,
            client,
            topic,
            load,
            run,
            ..
        } = self;
        between("broker.cores", broker.cores, 1, CORES_MAX)?;
        between("client.cores", client.cores, 1, CORES_MAX)?;
        between("topic.partitions", topic.partitions, 1, PARTITIONS_MAX)?;
        if let Some(bytes) = topic.segment_bytes {
            between("topic.segment_bytes", bytes, 1 << 20, i32::MAX as u64)?;
        }
        if let Some(bytes) = topic.retention_bytes {
            between("topic.retention_bytes", bytes, 1, TOPIC_BYTES_MAX)?;
        }
        between("load.connections", load.connections, 1, CONNECTIONS_MAX)?;
        let records = load.batch_records;
        between("load.batch_records", records, 1, BATCH_RECORDS_MAX)?;
        between("load.record_bytes", load.record_bytes, 1, RECORD_BYTES_MAX)?;
        between("load.in_flight", load.in_flight, 1, IN_FLIGHT_MAX)?;
        let batch = "load.batch_records * load.record_bytes";
        between(batch, self.batch_bytes(), 1, BATCH_BYTES_MAX)?;
        between("run.warm_up_seconds", run.warm_up_seconds, 0, SECONDS_MAX)?;
        between("run.seconds", run.seconds, 1, SECONDS_MAX)
    }
}

fn between<T: PartialOrd + fmt::Display + Copy>(
    key: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), Problem> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(Problem::new(format!(
            "{key} = {value}: allowed is {least} to {most}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "T"
question = "Does it parse?"
[broker]
cores = 1
durability = "sync"
[client]
cores = 1
[topic]
partitions = 16
[load]
connections = 4
spread = "own"
batch_records = 126
record_bytes = 1024
codec = "none"
acks = "all"
rate = "max"
in_flight = 4
[run]
warm_up_seconds = 1
seconds = 5
"#;

    #[test]
    fn a_whole_file_is_understood() {
        let workload = Workload::parse(GOOD).expect("a good file");
        assert_eq!(workload.load.rate, Rate::Max);
        assert_eq!(workload.load.acks, Acks::All);
        assert_eq!(workload.batch_bytes(), 129_024);
        let fixed = Workload::parse(&GOOD.replace("\"max\"", "20_000")).expect("a good file");
        assert_eq!(fixed.load.rate, Rate::RecordsPerSecond(20_000));
    }

    /// Replaces one line by another and expects an error that has all the words.
    fn check(line: &str, other: &str, words: &[&str]) {
        assert!(GOOD.contains(line), "{line}");
        let error = Workload::parse(&GOOD.replacen(line, other, 1)).expect_err(other);
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "{other}: {word:?} is not in: {text}");
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_and_what_is_allowed() {
        check(
            "codec = \"none\"",
            "codec = \"gzip\"",
            &["gzip", "none", "lz4", "line 16"],
        );
        check("acks = \"all\"", "acks = \"2\"", &["2", "all", "1", "0"]);
        check(
            "durability = \"sync\"",
            "durability = \"none\"",
            &["sync", "written"],
        );
        check("rate = \"max\"", "rate = 0", &["0", "from 1 to", "\"max\""]);
        check("rate = \"max\"", "rate = \"fast\"", &["fast", "\"max\""]);
        check(
            "connections = 4",
            "connections = 0",
            &["load.connections = 0", "1 to 4096"],
        );
        check(
            "connections = 4",
            "conections = 4",
            &["conections", "connections"],
        );
        check("connections = 4", "", &["missing field", "connections"]);
        check(
            "record_bytes = 1024",
            "record_bytes = 100000",
            &["load.batch_records", "12600000", "1 to 1048576"],
        );
        check("seconds = 5", "seconds = 0", &["run.seconds = 0", "1 to"]);
    }

    #[test]
    fn every_workload_of_the_repository_is_good() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
        let entries = std::fs::read_dir(&dir).expect("the directory is there");
        let mut count = 0;
        for entry in entries.flatten() {
            let path = entry.path();
            let workload = Workload::read(&path).unwrap_or_else(|problem| panic!("{problem}"));
            let stem = path.file_stem().expect("a name").to_string_lossy();
            assert!(
                stem.starts_with(&workload.name.to_lowercase()),
                "{}",
                path.display()
            );
            count += 1;
        }
        assert!(count >= 3, "{count} workloads");
    }
}
