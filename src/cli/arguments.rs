//! The command line: subcommands, their options and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::position::{self, Position};

/// A broker that speaks the Kafka protocol, one thread per core.
///
/// Without a subcommand it starts a broker on embedded defaults: 127.0.0.1:9092, data in
/// ./corelog-data, all cores.
#[derive(Debug, Parser)]
#[command(name = "corelog", version, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

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
    /// Start a broker in a temporary directory, send a million records through it, check them
    Demo(DemoArguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where the cluster is, and how to print.
#[derive(Args, Clone, Debug)]
pub(super) struct ClusterArguments {
    /// A broker of the cluster; several with commas between
    #[arg(
        short,
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092"
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
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// Number of replicas; the broker's default.replication.factor otherwise
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
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
        #[arg(value_parser = clap::value_parser!(i32).range(1..))]
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
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
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
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: Option<i32>,
    /// Where to begin: beginning, end, N, -N (that many before the end), s@TIME (milliseconds or
    /// a date)
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
        check("completions bash", true);
        check("completions tcsh", false);
        check("frobnicate", false);
    }
}
