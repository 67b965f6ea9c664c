//! The command line of `corelog bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::quantity::{self, Pace};
use crate::bench::STAMP_BYTES;
use crate::bench::limits::{
    BATCH_RECORDS_MAX, CONNECTIONS_MAX, IN_FLIGHT_MAX, PARTITIONS_MAX, RECORD_BYTES_MAX,
    THREADS_MAX,
};
use crate::cli::arguments::{AcksArgument, ClusterArguments, Compression};

/// `corelog bench`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BenchCommand {
    /// Produce records at a rate, or as fast as it goes, and measure each acknowledgement
    Produce(ProduceArguments),
    /// Read a topic from its beginning to its end
    Consume(ConsumeArguments),
    /// Produce and consume at the same time, and measure from the intended send to the arrival
    E2e(E2eArguments),
}

const PRODUCE_HELP: &str = "\
At a rate, latency counts from the time at which a request was meant to be sent: a stall of the
broker shows in every request that fell into it. Without one a request leaves as soon as there are
fewer than --in-flight, and a slow broker is asked less. MB is 10^6 bytes of values.

Examples:
  corelog bench produce                                    as fast as it goes, for 10 s
  corelog bench produce --rate 20MB/s --hdr produce.hgrm   latencies at a rate
  corelog bench produce --records 100000 --json --delete-topic";

/// `corelog bench produce`.
#[derive(Args, Clone, Debug)]
#[command(after_help = PRODUCE_HELP)]
pub(in crate::cli) struct ProduceArguments {
    #[command(flatten)]
    pub(super) load: LoadArguments,
    /// Records a second of all connections (5000, 100k/s) or bytes (100MB/s); 0 is as fast as it
    /// goes
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = quantity::pace)]
    pub(super) rate: Pace,
    /// Records of a request; as many as --batch-bytes holds otherwise
    #[arg(long, value_name = "N", conflicts_with = "batch_bytes")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_RECORDS_MAX)))]
    pub(super) batch_records: Option<u32>,
    /// Bytes of a request's values, at most
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = quantity::bytes)]
    pub(super) batch_bytes: u64,
    /// How batches are compressed; half of each value is random
    #[arg(short = 'z', long, value_enum, default_value_t = Compression::None)]
    pub(super) compression: Compression,
    /// What to wait for: every in-sync replica, the leader, or nothing
    #[arg(short, long, value_enum, default_value_t = AcksArgument::All)]
    pub(super) acks: AcksArgument,
    #[command(flatten)]
    pub(super) run: RunArguments,
}

/// What is produced, and where to.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct LoadArguments {
    /// The topic; created if it is not there
    #[arg(long, value_name = "NAME", default_value = DEFAULT_TOPIC)]
    pub(super) topic: String,
    /// Partitions, if the topic has to be created [default: 8]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=i64::from(PARTITIONS_MAX)))]
    pub(super) partitions: Option<i32>,
    /// Delete the topic at the end, if it was created for this run
    #[arg(long)]
    pub(super) delete_topic: bool,
    /// Bytes of each record's value, as in 100, 1k or 16KiB
    #[arg(long, value_name = "SIZE", default_value = "1024", value_parser = record_bytes)]
    pub(super) record_bytes: u32,
    /// Connections, to which the partitions are dealt
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    pub(super) connections: u32,
    /// Requests of a connection that wait for their answer; further ones wait, and it counts
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(IN_FLIGHT_MAX)))]
    pub(super) in_flight: u32,
    /// Load before the part that counts; none with --records
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = quantity::duration)]
    pub(super) warm_up: Duration,
}

/// The topic of whoever names none.
const DEFAULT_TOPIC: &str = "corelog-bench";

/// How long, how it is shown, and where the cluster is.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct RunArguments {
    /// How long [default: 10s, unless --records says how many; to consume, to the end]
    #[arg(long, value_name = "TIME", value_parser = quantity::some_time)]
    pub(super) duration: Option<Duration>,
    /// How many records, in whole requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=RECORDS_MAX))]
    pub(super) records: Option<u64>,
    /// Threads of this client, with a ring each
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(THREADS_MAX)))]
    pub(super) threads: u16,
    /// Write the spectrum of latencies as HdrHistogram's plotters read it (.hgrm)
    #[arg(long, value_name = "FILE")]
    pub(super) hdr: Option<PathBuf>,
    /// One JSON object, for scripts; as --output json
    #[arg(long)]
    pub(super) json: bool,
    /// No bar on stderr; without a terminal there is none anyway
    #[arg(long)]
    pub(super) no_progress: bool,
    #[command(flatten)]
    pub(super) cluster: ClusterArguments,
}

/// So many fit into a day at the highest rate.
const RECORDS_MAX: u64 = 1 << 46;

/// `corelog bench consume`.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct ConsumeArguments {
    /// The topic
    #[arg(long, value_name = "NAME", default_value = DEFAULT_TOPIC)]
    pub(super) topic: String,
    /// Connections, to which the partitions are dealt; no more than there are partitions
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    pub(super) connections: u32,
    /// Bytes of one answer, and of one partition in it
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = fetch_bytes)]
    pub(super) fetch_bytes: u32,
    #[command(flatten)]
    pub(super) run: RunArguments,
}

/// `corelog bench e2e`.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct E2eArguments {
    #[command(flatten)]
    pub(super) load: LoadArguments,
    /// Records a second of all connections (5000, 100k/s) or bytes (100MB/s); 0 is as fast as it
    /// goes
    #[arg(long, value_name = "RATE", default_value = "1000/s", value_parser = quantity::pace)]
    pub(super) rate: Pace,
    /// Records of a request
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_RECORDS_MAX)))]
    pub(super) batch_records: u32,
    /// What the producer waits for; a consumer sees only what every in-sync replica has
    #[arg(short, long, value_enum, default_value_t = AcksArgument::All)]
    pub(super) acks: AcksArgument,
    #[command(flatten)]
    pub(super) run: RunArguments,
}

fn record_bytes(text: &str) -> Result<u32, String> {
    let bytes = u32::try_from(quantity::bytes(text)?).ok();
    bytes
        .filter(|bytes| (RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(bytes))
        .ok_or_else(|| format!("from {RECORD_BYTES_MIN} to {RECORD_BYTES_MAX} bytes"))
}

/// A value has room for the time at which it is sent.
const RECORD_BYTES_MIN: u32 = STAMP_BYTES as u32;

fn fetch_bytes(text: &str) -> Result<u32, String> {
    let bytes = u32::try_from(quantity::bytes(text)?).ok();
    let most = crate::bench::limits::FETCH_BYTES_MAX;
    bytes
        .filter(|bytes| *bytes <= most)
        .ok_or_else(|| format!("at most {most} bytes"))
}
