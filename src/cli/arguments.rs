//! The command line: subcommands, their options and their help.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::bench::BenchCommand;
use super::doctor::Area;
use super::position::{self, Position};

/// A broker that speaks the Kafka protocol, one thread per core.
///
/// Without a subcommand it starts a broker on embedded defaults: 127.0.0.1:9092, data in
/// ./corelog-data, all cores.
#[derive(Debug, Parser)]
#[command(name = "corelog", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0 done   1 failed or refused   2 wrong command line   3 no broker answers
  78 wrong configuration   130 ended by a signal (a broker: by the second one)

With --output json a failure is an object on stderr:
  {\"error\":{\"code\":\"TOPIC_ALREADY_EXISTS\",\"message\":\"...\"}}";

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a broker
    Start(StartArguments),
    /// Create, list, describe, delete and alter topics
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Produce one record per line of the standard input, or of files
    Produce(ProduceArguments),
    /// Print records
    Consume(ConsumeArguments),
    /// List, describe and delete consumer groups, and move their offsets
    #[command(subcommand)]
    Group(GroupCommand),
    /// Show and change the configuration of brokers while they run
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Put load on a broker, and measure it
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Start a broker in a temporary directory, send a million records through it, check them
    Demo(DemoArguments),
    /// Look at this machine, its disk and its network, and say what would help a broker
    Doctor(DoctorArguments),
    /// Answer to the names of Apache Kafka's tools
    #[command(subcommand)]
    KafkaTools(KafkaToolsCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where the cluster is, and how to print.
#[derive(Args, Clone, Debug)]
pub(super) struct ClusterArguments {
    /// A broker of the cluster; several with commas between; the port is 9092 if left out
    #[arg(
        short,
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092",
        value_parser = bootstrap
    )]
    pub(super) bootstrap_server: String,
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub(super) output: OutputFormat,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// Text for people, as Apache Kafka's tools print it
    Table,
    /// JSON for scripts
    Json,
}

/// `corelog start`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct StartArguments {
    /// A server.properties file; without it the embedded defaults count
    pub(super) file: Option<PathBuf>,
    /// Set a key over the file and the environment; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub(super) overrides: Vec<String>,
    /// How log lines look; as corelog.log.format
    #[arg(long, value_enum)]
    pub(super) log_format: Option<LogFormatArgument>,
    /// Write a JSON object with the addresses to this file once clients are served
    #[arg(long, value_name = "FILE")]
    pub(super) ready_file: Option<PathBuf>,
    /// Stop, as after SIGTERM, when the standard input ends
    #[arg(long)]
    pub(super) stop_at_end_of_input: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormatArgument {
    /// Kafka's one-line form
    Text,
    /// One JSON object a line
    Json,
}

/// `corelog topic`.
#[derive(Debug, Subcommand)]
pub(super) enum TopicCommand {
    /// Create a topic
    Create {
        /// The topic's name
        name: String,
        /// Number of partitions; the broker's num.partitions otherwise
        #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = one_or_more)]
        partitions: Option<i32>,
        /// Number of replicas; the broker's default.replication.factor otherwise
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        #[arg(value_parser = clap::value_parser!(i16).range(1..))]
        replication_factor: Option<i16>,
        /// A topic configuration; may be repeated
        #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
        configs: Vec<(String, String)>,
        /// Succeed if the topic exists
        #[arg(long)]
        if_not_exists: bool,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
    /// List the topics
    List {
        /// Leave out the topics that the brokers own
        #[arg(long)]
        exclude_internal: bool,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
    /// Show partitions, leaders, replicas and configurations
    Describe {
        /// The topics; all of them otherwise
        names: Vec<String>,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
    /// Delete topics with all of their records
    Delete {
        /// The topics
        #[arg(required = true)]
        names: Vec<String>,
        /// Succeed if a topic does not exist
        #[arg(long)]
        if_exists: bool,
        /// Delete topics that the brokers own, too; with __consumer_offsets the offsets of all
        /// groups are gone
        #[arg(long)]
        force_internal: bool,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
    /// Add partitions, set and unset configurations
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Alter {
        /// The topic
        name: String,
        /// The new number of partitions, larger than before
        #[arg(long, value_name = "N", group = "change")]
        #[arg(allow_negative_numbers = true, value_parser = one_or_more)]
        partitions: Option<i32>,
        /// Set a configuration; may be repeated
        #[arg(long = "config", value_name = "KEY=VALUE", group = "change")]
        #[arg(value_parser = key_value)]
        configs: Vec<(String, String)>,
        /// Go back to the broker's value of a configuration; may be repeated
        #[arg(long = "delete-config", value_name = "KEY", group = "change")]
        delete_configs: Vec<String>,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
}

/// `corelog produce`.
#[derive(Args, Clone, Debug)]
pub(super) struct ProduceArguments {
    /// The topic
    pub(super) topic: String,
    /// Files to read lines from, instead of the standard input
    pub(super) files: Vec<PathBuf>,
    /// The partition; otherwise the key decides, or records go round
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = partition_index)]
    pub(super) partition: Option<i32>,
    /// The key of every record
    #[arg(short, long, conflicts_with = "key_delimiter")]
    pub(super) key: Option<String>,
    /// What separates key and value in a line
    #[arg(short = 'K', long, value_name = "TEXT")]
    pub(super) key_delimiter: Option<String>,
    /// A header of every record; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = key_value)]
    pub(super) headers: Vec<(String, String)>,
    /// How batches are compressed
    #[arg(short = 'z', long, value_enum, default_value_t = Compression::None)]
    pub(super) compression: Compression,
    /// An empty value is null (a tombstone), an empty key is no key
    #[arg(short = 'Z', long)]
    pub(super) null: bool,
    /// What to wait for: every in-sync replica, the leader, or nothing
    #[arg(short, long, value_enum, default_value_t = AcksArgument::All)]
    pub(super) acks: AcksArgument,
    /// How long each record is tried while no broker takes it
    #[arg(long, value_name = "MS", default_value_t = 120_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=i32::MAX as u64))]
    pub(super) delivery_timeout_ms: u64,
    #[command(flatten)]
    pub(super) cluster: ClusterArguments,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Compression {
    /// Not at all
    None,
    /// gzip
    Gzip,
    /// snappy
    Snappy,
    /// LZ4
    Lz4,
    /// Zstandard
    Zstd,
}

/// What a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum AcksArgument {
    /// Every in-sync replica
    #[value(alias = "-1")]
    All,
    /// The leader
    #[value(name = "1")]
    Leader,
    /// Nothing
    #[value(name = "0")]
    None,
}

/// `corelog consume`.
#[derive(Args, Clone, Debug)]
#[command(after_help = FORMAT_HELP)]
pub(super) struct ConsumeArguments {
    /// The topics
    #[arg(required = true)]
    pub(super) topics: Vec<String>,
    /// One partition only
    #[arg(short, long, value_name = "N", conflicts_with = "group")]
    #[arg(allow_negative_numbers = true, value_parser = partition_index)]
    pub(super) partition: Option<i32>,
    /// Where to begin: beginning, end, N, -N (that many before the end), s@TIME (milliseconds or
    /// a date); with --group beginning or end, for partitions of which the group has no offset
    #[arg(short, long, value_name = "WHERE", default_value = "beginning")]
    #[arg(allow_hyphen_values = true, value_parser = position::parse)]
    pub(super) offset: Position,
    /// Exit at the end of the partitions
    #[arg(short, long)]
    pub(super) exit: bool,
    /// Exit after so many records
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// Share the partitions with the members of this group, and commit what was printed
    #[arg(short, long, visible_short_alias = 'G', value_name = "ID")]
    pub(super) group: Option<String>,
    /// How to print a record
    #[arg(short, long, default_value = r"%s\n", hide_default_value = true)]
    pub(super) format: String,
    #[command(flatten)]
    pub(super) cluster: ClusterArguments,
}

const FORMAT_HELP: &str = r"Format letters (default %s\n):
  %s value        %S its length (-1 for null)   %R its length, 4 bytes big-endian
  %k key          %K its length (-1 for null)   %T timestamp in milliseconds
  %t topic        %p partition                  %o offset
  %h headers      %% a percent sign             \n \r \t \\ \xNN the byte";

/// `corelog group`.
#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// List the groups
    List {
        #[command(flatten)]
        cluster: ClusterArguments,
    },
    /// Show members, offsets and lag
    Describe {
        /// The groups; all of them otherwise
        groups: Vec<String>,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
    /// Move the offsets of a group that has no members
    ResetOffsets(ResetArguments),
    /// Delete groups that have no members
    Delete {
        /// The groups
        #[arg(required = true)]
        groups: Vec<String>,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
}

/// `corelog group reset-offsets`.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("scope").required(true))]
#[command(group = clap::ArgGroup::new("to").required(true))]
pub(super) struct ResetArguments {
    /// The group
    pub(super) group: String,
    /// A topic, or partitions of it; may be repeated
    #[arg(long = "topic", value_name = "TOPIC[:N,N]", group = "scope")]
    pub(super) topics: Vec<String>,
    /// Every topic that the group has offsets of
    #[arg(long, group = "scope")]
    pub(super) all_topics: bool,
    /// To the first record that is there
    #[arg(long, group = "to")]
    pub(super) to_earliest: bool,
    /// After the last record
    #[arg(long, group = "to")]
    pub(super) to_latest: bool,
    /// To an offset
    #[arg(long, value_name = "N", group = "to")]
    #[arg(value_parser = clap::value_parser!(i64).range(0..))]
    pub(super) to_offset: Option<i64>,
    /// So many records forward, or back if negative
    #[arg(long, value_name = "N", group = "to", allow_negative_numbers = true)]
    pub(super) shift_by: Option<i64>,
    /// To the first record that is not older: YYYY-MM-DDTHH:MM:SS[.mmm][Z|+HH:MM], in UTC unless
    /// it says otherwise
    #[arg(long, value_name = "DATE", group = "to")]
    pub(super) to_datetime: Option<String>,
    /// Only show what would change; so it is without --execute
    #[arg(long, conflicts_with = "execute")]
    pub(super) dry_run: bool,
    /// Change it
    #[arg(long)]
    pub(super) execute: bool,
    #[command(flatten)]
    pub(super) cluster: ClusterArguments,
}

/// `corelog config`.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show what is set, and where
    Describe {
        /// One broker, with what it was started with; otherwise what is set for all of them
        #[arg(long, value_name = "ID")]
        broker: Option<i32>,
        /// Show the defaults, too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
    /// Set and unset keys that may change while brokers run
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Alter {
        /// One broker; otherwise all of them
        #[arg(long, value_name = "ID")]
        broker: Option<i32>,
        /// Set a key; may be repeated
        #[arg(long = "config", value_name = "KEY=VALUE", group = "change")]
        #[arg(value_parser = key_value)]
        configs: Vec<(String, String)>,
        /// Go back to the value of before; may be repeated
        #[arg(long = "delete-config", value_name = "KEY", group = "change")]
        delete_configs: Vec<String>,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
}

/// `corelog demo`.
#[derive(Args, Clone, Debug)]
pub(super) struct DemoArguments {
    /// How many records
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) records: u64,
    /// Bytes of each record's value
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(16..=100_000))]
    pub(super) record_size: u64,
    /// Partitions of the topic
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub(super) partitions: i32,
    /// Where the temporary directory is made; the system's place for such otherwise
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Set a key of the broker; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub(super) overrides: Vec<String>,
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub(super) output: OutputFormat,
}

/// `corelog kafka-tools`.
#[derive(Debug, Subcommand)]
pub(super) enum KafkaToolsCommand {
    /// Make links to this binary: kafka-topics.sh, kafka-console-producer.sh,
    /// kafka-console-consumer.sh, kafka-consumer-groups.sh, kafka-producer-perf-test.sh
    Install {
        /// The directory; links that are there are replaced, files are not
        dir: PathBuf,
    },
}

/// `corelog doctor`.
#[derive(Args, Clone, Debug)]
#[command(after_help = DOCTOR_HELP)]
pub(super) struct DoctorArguments {
    /// The server.properties file that the broker would be started with
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Set a key over the file and the environment; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub(super) overrides: Vec<String>,
    /// Ask a running broker, too
    #[arg(short, long, value_name = "HOST:PORT", value_parser = bootstrap)]
    pub(super) bootstrap_server: Option<String>,
    /// Try this directory instead of the configuration's log.dirs
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Only these checks; with commas between
    #[arg(
        long,
        value_enum,
        value_name = "AREA",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    pub(super) only: Vec<Area>,
    /// How long a thread spins on each CPU, all at the same time; 0 does not
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(super) jitter: Duration,
    /// A warning ends it with exit code 2, too
    #[arg(long)]
    pub(super) strict: bool,
    /// Say of every check why it matters
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// One JSON object, for scripts
    #[arg(long)]
    pub(super) json: bool,
}

const DOCTOR_HELP: &str = "\
Areas: kernel, cpu, memory, disk, network, broker, jitter

Exit codes: 0 a broker may run here   2 a check failed, or with --strict a warning
n/a stands where something could not be looked at, or does not exist here.";

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (0.0..=3600.0).contains(seconds));
    let seconds = seconds.ok_or_else(|| "it must be a number from 0 to 3600".to_string())?;
    Ok(Duration::from_secs_f64(seconds))
}

/// HOST:PORT, with commas between; a host without a port gets Kafka's.
fn bootstrap(text: &str) -> Result<String, String> {
    let with_port = |address: &str| {
        let host = address.trim_start_matches('[').trim_end_matches(']');
        if host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_ipv6())
        {
            return Ok(format!("[{host}]:9092"));
        }
        match address.rsplit_once(':') {
            None => Ok(format!("{address}:9092")),
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(address.to_string())
            }
            Some(_) => Err(format!("{address} is not HOST:PORT")),
        }
    };
    let addresses = text
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let addresses = addresses.map(with_port).collect::<Result<Vec<_>, _>>()?;
    match addresses.is_empty() {
        true => Err("no HOST:PORT is given".to_string()),
        false => Ok(addresses.join(",")),
    }
}

fn partition_index(text: &str) -> Result<i32, String> {
    let index = text.parse().ok().filter(|index| *index >= 0);
    index.ok_or_else(|| "a partition is a number from 0 on".to_string())
}

fn one_or_more(text: &str) -> Result<i32, String> {
    let number = text.parse().ok().filter(|number| *number >= 1);
    number.ok_or_else(|| "it must be a number from 1 on".to_string())
}

/// What `--output` asks for, on a line that may turn out to be wrong.
pub(super) fn asked_format(words: &[OsString]) -> OutputFormat {
    let words = words.iter().map(OsString::as_os_str);
    let options: Vec<&OsStr> = words.take_while(|word| *word != "--").collect();
    let is_json = options.iter().any(|word| *word == "--output=json")
        || options
            .windows(2)
            .any(|pair| pair[0] == "--output" && pair[1] == "json")
        || options.get(1).is_some_and(|command| *command == "bench")
            && options.iter().any(|word| *word == "--json");
    match is_json {
        true => OutputFormat::Json,
        false => OutputFormat::Table,
    }
}

/// Where topics are named by position, `--topic NAME`, as Kafka's own tools have it, is taken for
/// the same.
pub(super) fn without_topic_option(words: Vec<OsString>) -> Vec<OsString> {
    let word = |at: usize| {
        words
            .get(at)
            .and_then(|word| word.to_str())
            .unwrap_or_default()
    };
    let (at, takes_several) = match (word(1), word(2)) {
        ("produce", _) => (2, false),
        ("consume", _) => (2, true),
        ("topic", "create" | "alter") => (3, false),
        ("topic", "describe" | "delete") => (3, true),
        _ => return words,
    };
    let mut names = Vec::new();
    let mut others = Vec::new();
    let mut rest = words[at..].iter().cloned();
    while let Some(word) = rest.next() {
        let text = word.to_str().unwrap_or_default();
        if text == "--" || !(takes_several || names.is_empty()) {
            others.push(word);
            others.extend(rest.by_ref());
        } else if text == "--topic" {
            match rest.next() {
                Some(name) => names.push(name),
                None => others.push(word),
            }
        } else if let Some(name) = text.strip_prefix("--topic=") {
            names.push(name.into());
        } else {
            others.push(word);
        }
    }
    let before = words[..at].iter().cloned();
    before.chain(names).chain(others).collect()
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.to_string())),
        Some(_) | None => Err("is not KEY=VALUE".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    fn check(line: &str, is_accepted: bool) {
        let words =
            std::iter::once("corelog").chain(line.split(' ').filter(|word| !word.is_empty()));
        let result = Arguments::try_parse_from(words);
        assert_eq!(result.is_ok(), is_accepted, "{line}: {result:?}");
    }

    #[test]
    fn lines_are_accepted_or_refused() {
        check("", true);
        check("start", true);
        check(
            "start a.properties --override a=b --override c=d --log-format json",
            true,
        );
        check("start --log-format xml", false);
        check(
            "topic create t --partitions 3 --replication-factor 1 --config a=b --config c=",
            true,
        );
        check("topic create t --partitions 0", false);
        check("topic create t --config a", false);
        check("topic create", false);
        check("topic delete", false);
        check("topic alter t", false);
        check(
            "topic alter t --partitions 4 --config a=b --delete-config c",
            true,
        );
        check("produce t -k a -K :", false);
        check("produce t -a all -z zstd -H a=b", true);
        check("produce t -a 1", true);
        check("produce t -a -1", false);
        check("produce t --acks=-1", true);
        check("consume t -o -5 -e -c 3 -f %s", true);
        check("consume t -o s@2026-11-22T00:00:00Z", true);
        check("consume t -o middle", false);
        check("consume t u -G g", true);
        check("consume t -g g -p 1", false);
        check("consume t -p -1", false);
        check("produce t --delivery-timeout-ms 0", false);
        check("topic list -b nonsense:x", false);
        check("topic list -b ,", false);
        check("group reset-offsets g --topic t --to-earliest", true);
        check(
            "group reset-offsets g --topic t --topic u:0,1 --shift-by -3 --execute",
            true,
        );
        check("group reset-offsets g --topic t", false);
        check("group reset-offsets g --to-earliest", false);
        check(
            "group reset-offsets g --topic t --all-topics --to-earliest",
            false,
        );
        check(
            "group reset-offsets g --topic t --to-earliest --to-latest",
            false,
        );
        check(
            "group reset-offsets g --topic t --to-earliest --dry-run --execute",
            false,
        );
        check(
            "doctor --jitter 0.1 --only cpu,disk --strict --json -b h:1",
            true,
        );
        check("doctor --jitter -1", false);
        check("doctor --only nothing", false);
        check("bench produce", true);
        check(
            "bench produce --topic t --rate 10MB/s --record-bytes 100 --batch-records 10 --json",
            true,
        );
        check("bench produce --batch-records 1 --batch-bytes 1KiB", false);
        check("bench produce --rate fast", false);
        check("bench produce --rate 5 --duration 0", false);
        check("bench produce --records 5 --duration 1m --hdr f", true);
        check("bench produce --record-bytes 7", false);
        check("bench consume --topic t --no-progress --threads 2", true);
        check("bench consume --rate 5", false);
        check("bench consume --fetch-bytes 1GiB", false);
        check("bench e2e --rate 0 --acks 1", true);
        check("bench e2e --compression lz4", false);
        check("bench", false);
        check("kafka-tools install bin", true);
        check("kafka-tools install", false);
        check("completions bash", true);
        check("completions tcsh", false);
        check("frobnicate", false);
    }

    #[test]
    fn a_broker_without_a_port_has_kafkas() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(bootstrap(text).ok().as_deref(), expected, "{text}");
        };
        check("127.0.0.1", Some("127.0.0.1:9092"));
        check("h:1, i", Some("h:1,i:9092"));
        check("::1", Some("[::1]:9092"));
        check("[::1]", Some("[::1]:9092"));
        check("[::1]:7", Some("[::1]:7"));
        check("h:", None);
        check(":1", None);
        check("", None);
    }

    #[test]
    fn kafkas_topic_option_is_taken_where_the_name_has_a_place() {
        let check = |line: &str, expected: &str| {
            let words = line.split(' ').map(OsString::from).collect();
            let words = without_topic_option(words);
            let words: Vec<_> = words.iter().filter_map(|word| word.to_str()).collect();
            assert_eq!(words.join(" "), expected, "{line}");
        };
        check(
            "c topic create --partitions 3 --topic t",
            "c topic create t --partitions 3",
        );
        check("c topic delete --topic=t --topic u", "c topic delete t u");
        check("c produce --topic t a b", "c produce t a b");
        check("c produce --topic t --topic u", "c produce t --topic u");
        check("c produce t -- --topic", "c produce t -- --topic");
        check("c consume -e --topic", "c consume -e --topic");
        check(
            "c group reset-offsets g --topic t",
            "c group reset-offsets g --topic t",
        );
    }

    #[test]
    fn the_format_is_known_of_a_wrong_line_too() {
        let check = |line: &str, expected| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(asked_format(&words), expected, "{line}");
        };
        check("c frobnicate --output json", OutputFormat::Json);
        check("c frobnicate --output=json", OutputFormat::Json);
        check("c frobnicate --output table json", OutputFormat::Table);
        check("c produce t -- --output json", OutputFormat::Table);
        check("c bench produce --rate x --json", OutputFormat::Json);
        check("c produce --json", OutputFormat::Table);
    }
}
