//! A workload: a file that says what load a broker gets and under which promises.

use std::fmt;
use std::path::{Path, PathBuf};

use corelog::bench::limits::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, CONNECTIONS_MAX, FETCH_BYTES_MAX, IN_FLIGHT_MAX,
    PARTITIONS_MAX, RECORD_BYTES_MAX, SECONDS_MAX,
};
use corelog::bench::{Acks, ConsumePart, LoadPart, Problem, Traffic};
use corelog::io::blocking;
use serde::{Deserialize, Serialize};

use crate::limits::{
    BACKLOG_BYTES_MAX, CORES_MAX, FETCH_WAIT_MS_MAX, KEY_BYTES_MAX, SETTINGS_MAX, TOPIC_BYTES_MAX,
    TOPICS_MAX, WORKLOAD_FILE_BYTES_MAX,
};

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
    /// Who reads; nobody if absent.
    pub(crate) consume: Option<ConsumePart>,
    /// What is produced before the run begins; nothing if absent.
    pub(crate) backlog: Option<BacklogPart>,
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
    /// Further settings, `KEY=VALUE`, of a corelog that is started for the run.
    #[serde(default)]
    pub(crate) settings: Vec<String>,
}

/// What the load generator may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientPart {
    /// CPUs, one thread with one ring each; fewer on a machine that has not enough.
    pub(crate) cores: u16,
}

/// The topics that are made for the run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicPart {
    /// How many; one if absent.
    #[serde(default = "one")]
    pub(crate) count: u32,
    /// Of each topic.
    pub(crate) partitions: u32,
    /// `segment.bytes`; the broker's default if absent.
    pub(crate) segment_bytes: Option<u64>,
    /// `retention.bytes`, of each partition; the broker's default if absent.
    pub(crate) retention_bytes: Option<u64>,
}

fn one() -> u32 {
    1
}

/// Produced before the run begins, as fast as it can, in batches of the load's shape, without
/// keys.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BacklogPart {
    /// Bytes of values, of all partitions together.
    pub(crate) bytes: u64,
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

impl Workload {
    /// Reads a file, with some of its keys set to something else: `SECTION.KEY=VALUE`.
    pub(crate) fn read(path: &Path, changes: &[String]) -> Result<Workload, Problem> {
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
        let parsed = match changes {
            [] => Workload::parse(&text),
            changes => Workload::parse_changed(&text, changes),
        };
        parsed.map_err(|problem| failed(problem.to_string()))
    }

    fn parse_changed(text: &str, changes: &[String]) -> Result<Workload, Problem> {
        let bad = |error: toml::de::Error| Problem::new(error.to_string().trim_end().to_owned());
        let mut table: toml::Table = text.parse().map_err(bad)?;
        for change in changes {
            let malformed =
                || Problem::new(format!("{change:?} is not of the form SECTION.KEY=VALUE"));
            let (key, value) = change.split_once('=').ok_or_else(malformed)?;
            let (section, key) = key.trim().split_once('.').ok_or_else(malformed)?;
            // What is no number, no truth and no list is a word.
            let value = match format!("value = {value}").parse::<toml::Table>() {
                Ok(mut parsed) => parsed.remove("value").ok_or_else(malformed)?,
                Err(_) => toml::Value::String(value.to_owned()),
            };
            let section = table
                .entry(section)
                .or_insert_with(|| toml::Table::new().into());
            let section = section.as_table_mut().ok_or_else(malformed)?;
            section.insert(key.to_owned(), value);
        }
        let workload: Workload = table.try_into().map_err(bad)?;
        workload.check()?;
        Ok(workload)
    }

    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Workload, Problem> {
        let workload: Workload = toml::from_str(text)
            .map_err(|error| Problem::new(error.to_string().trim_end().to_owned()))?;
        workload.check()?;
        Ok(workload)
    }

    /// Who sends and who reads.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            load: self.load.clone(),
            consume: self.consume.clone(),
        }
    }

    /// Partitions of all topics together.
    pub(crate) fn partitions(&self) -> u32 {
        self.topic.count.saturating_mul(self.topic.partitions)
    }

    fn check(&self) -> Result<(), Problem> {
        let (broker, client, run) = (&self.broker, &self.client, &self.run);
        between("broker.cores", broker.cores, 1, CORES_MAX)?;
        let settings = broker.settings.len();
        between("the number of broker.settings", settings, 0, SETTINGS_MAX)?;
        between("client.cores", client.cores, 1, CORES_MAX)?;
        self.check_topic()?;
        self.check_load()?;
        self.check_consume()?;
        if let Some(backlog) = &self.backlog {
            between("backlog.bytes", backlog.bytes, 1, BACKLOG_BYTES_MAX)?;
        }
        between("run.warm_up_seconds", run.warm_up_seconds, 0, SECONDS_MAX)?;
        between("run.seconds", run.seconds, 1, SECONDS_MAX)
    }

    fn check_topic(&self) -> Result<(), Problem> {
        let topic = &self.topic;
        between("topic.count", topic.count, 1, TOPICS_MAX)?;
        between("topic.partitions", topic.partitions, 1, PARTITIONS_MAX)?;
        let partitions = "topic.count * topic.partitions";
        between(partitions, self.partitions(), 1, PARTITIONS_MAX)?;
        if let Some(bytes) = topic.segment_bytes {
            between("topic.segment_bytes", bytes, 1 << 20, i32::MAX as u64)?;
        }
        if let Some(bytes) = topic.retention_bytes {
            between("topic.retention_bytes", bytes, 1, TOPIC_BYTES_MAX)?;
        }
        Ok(())
    }

    fn check_load(&self) -> Result<(), Problem> {
        let load = &self.load;
        between("load.connections", load.connections, 0, CONNECTIONS_MAX)?;
        if load.connections == 0 && self.consume.is_none() {
            return Err(Problem::new(
                "load.connections = 0 without [consume]: nobody does anything",
            ));
        }
        let records = load.batch_records;
        between("load.batch_records", records, 1, BATCH_RECORDS_MAX)?;
        between("load.record_bytes", load.record_bytes, 1, RECORD_BYTES_MAX)?;
        between("load.key_bytes", load.key_bytes, 1, KEY_BYTES_MAX)?;
        between("load.in_flight", load.in_flight, 1, IN_FLIGHT_MAX)?;
        if load.idempotent && load.acks != Acks::All {
            return Err(Problem::new("load.idempotent needs load.acks = \"all\""));
        }
        let batch = "load.batch_records * load.record_bytes";
        between(batch, self.traffic().batch_bytes(), 1, BATCH_BYTES_MAX)
    }

    fn check_consume(&self) -> Result<(), Problem> {
        let Some(consume) = &self.consume else {
            return Ok(());
        };
        let (least, most) = (1, self.partitions().min(CONNECTIONS_MAX));
        between("consume.connections", consume.connections, least, most)?;
        let bytes = consume.max_bytes;
        between("consume.max_bytes", bytes, 1, FETCH_BYTES_MAX)?;
        let partition_bytes = consume.partition_max_bytes;
        between(
            "consume.partition_max_bytes",
            partition_bytes,
            1,
            FETCH_BYTES_MAX,
        )?;
        between("consume.min_bytes", consume.min_bytes, 1, bytes)?;
        let wait_ms = consume.max_wait_ms;
        between("consume.max_wait_ms", wait_ms, 0, FETCH_WAIT_MS_MAX)?;
        if self.load.connections == 0 && self.backlog.is_none() {
            return Err(Problem::new(
                "load.connections = 0 without [backlog]: there is nothing to consume",
            ));
        }
        Ok(())
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
pub(crate) mod tests {
    use corelog::bench::{Rate, Spread};

    use super::*;

    /// W1 in small.
    pub(crate) fn w1() -> Workload {
        let text = include_str!("../workloads/w1-durable-ingest.toml");
        let mut workload = Workload::parse(text).expect("a good file");
        workload.topic.partitions = 3;
        workload.load.spread = Spread::Own;
        workload.load.batch_records = 5;
        workload.load.record_bytes = 100;
        workload
    }

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
        assert_eq!(workload.traffic().batch_bytes(), 129_024);
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
            "codec = \"rar\"",
            &["rar", "none", "lz4", "line 16"],
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
            "connections = 5000",
            &["load.connections = 5000", "0 to 4096"],
        );
        check(
            "connections = 4",
            "connections = 0",
            &["load.connections = 0", "nobody"],
        );
        check(
            "acks = \"all\"",
            "acks = \"1\"\nidempotent = true",
            &["idempotent", "all"],
        );
        check(
            "partitions = 16",
            "partitions = 16\ncount = 1251",
            &["topic.count = 1251", "1 to 1000"],
        );
        check(
            "partitions = 16",
            "partitions = 101\ncount = 200",
            &["topic.count * topic.partitions = 20200", "1 to 20000"],
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
        let consume = |line: &str, words: &[&str]| {
            let section = format!("[consume]\nstart = \"latest\"\n{line}\n[run]");
            check("[run]", &section, words);
        };
        consume("connections = 17", &["consume.connections = 17", "1 to 16"]);
        consume("connections = 1\nmax_bytes = 0", &["consume.max_bytes = 0"]);
        consume("connections = 1\nstrat = 1", &["strat", "start"]);
        consume(
            "connections = 1\nmax_bytes = 9\nmin_bytes = 10",
            &["consume.min_bytes = 10", "1 to 9"],
        );
        check(
            "[run]",
            "[backlog]\nbytes = 0\n[run]",
            &["backlog.bytes = 0"],
        );
    }

    #[test]
    fn every_workload_of_the_repository_is_good() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
        let entries = std::fs::read_dir(&dir).expect("the directory is there");
        let mut count = 0;
        for entry in entries.flatten() {
            let path = entry.path();
            let workload = Workload::read(&path, &[]).unwrap_or_else(|problem| panic!("{problem}"));
            let stem = path.file_stem().expect("a name").to_string_lossy();
            assert!(
                stem.starts_with(&workload.name.to_lowercase()),
                "{}",
                path.display()
            );
            count += 1;
        }
        assert!(count >= 16, "{count} workloads");
    }

    #[test]
    fn single_keys_can_be_set_to_something_else() {
        let changed = |changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|change| change.to_string()).collect();
            Workload::parse_changed(GOOD, &changes)
        };
        let workload = changed(&[
            "load.rate=2000",
            "topic.partitions = 3",
            "load.spread=hot",
            "consume.connections=2",
            "consume.start=\"latest\"",
        ]);
        let workload = workload.expect("good changes");
        assert_eq!(workload.load.rate, Rate::RecordsPerSecond(2000));
        assert_eq!(
            (workload.topic.partitions, workload.load.spread),
            (3, Spread::Hot)
        );
        assert_eq!(workload.consume.map(|consume| consume.connections), Some(2));
        for (change, word) in [
            ("load.rate", "SECTION.KEY=VALUE"),
            ("rate=5", "SECTION.KEY=VALUE"),
            ("load.rate=0", "from 1 to"),
            ("load.rat=5", "rat"),
            ("name.x=5", "SECTION.KEY=VALUE"),
            ("topic.count=0", "topic.count = 0"),
        ] {
            let text = changed(&[change]).expect_err(change).to_string();
            assert!(text.contains(word), "{change}: {word:?} is not in: {text}");
        }
    }
}
