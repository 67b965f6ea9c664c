//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use corelog::bench::limits::SECONDS_MAX;

use crate::goals::GOALS_COUNT;
use crate::limits::PAIRS_MAX;

/// What a broker does on this machine, and what the machine could do.
///
/// Figures are worth something only on a machine that has nothing else to do, with a release
/// build: cargo build --release --locked -p corelog -p corelog-perf
#[derive(Debug, Parser)]
#[command(name = "perf", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put a workload on a broker: on a corelog of its own, or on one that runs
    Run(RunArguments),
    /// Measure what the machine could do without a broker: writes, syncs, round trips
    Floors(FloorsArguments),
    /// Put a workload on corelog and on another broker in turns, and compare slice by slice
    Compare(CompareArguments),
    /// Measure the twelve goals: corelog against the machine's floors and against Apache Kafka
    Goals(GoalsArguments),
    /// Serve floors F1 to F4: what `goals` starts
    #[command(hide = true)]
    FloorServer(FloorServerArguments),
    /// Draw results: the spectrum of latencies and throughput over time, as SVG
    Plot(PlotArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The workload, for example perf/workloads/w1-durable-ingest.toml
    pub(crate) workload: PathBuf,
    /// Set a key of the workload to something else, for example load.rate=10000
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// A broker that runs; without it a corelog is started for the run
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) bootstrap: Option<String>,
    /// With --bootstrap: what `corelog start --ready-file` wrote, which tells the durability and
    /// the process whose CPU time counts
    #[arg(long, value_name = "FILE", requires = "bootstrap")]
    pub(crate) ready_file: Option<PathBuf>,
    /// How long it counts, instead of what the workload says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(SECONDS_MAX)))]
    pub(crate) seconds: Option<u32>,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the latencies' percentiles for HdrHistogram's plotters
    #[arg(long, value_name = "FILE")]
    pub(crate) hdr: Option<PathBuf>,
    /// Draw the spectrum of latencies and the throughput over time into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
    /// Where the broker's temporary directory is made [default: as the workload says, or
    /// target/perf]
    #[arg(long, value_name = "DIR", conflicts_with = "bootstrap")]
    pub(crate) dir: Option<PathBuf>,
    /// The corelog to start [default: the release build]
    #[arg(long, value_name = "BINARY", conflicts_with = "bootstrap")]
    pub(crate) broker: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FloorsArguments {
    /// Where files are written; the disk that the broker would use [default: target/perf]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// How long each floor is measured
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) seconds: u32,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// The workload, for example perf/workloads/w1-durable-ingest.toml
    pub(crate) workload: PathBuf,
    /// Set a key of the workload to something else, for example load.rate=10000
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// `kafka` starts an Apache Kafka with the workload's durability on the same CPUs, by ci/kafka
    #[arg(long, value_name = "kafka|HOST:PORT")]
    pub(crate) peer: String,
    /// Pairs of slices
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAIRS_MAX)))]
    pub(crate) pairs: u32,
    /// How long each slice counts
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) slice_seconds: u32,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw both brokers' spectrum of latencies into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
    /// Where the brokers' temporary directories are made [default: as the workload says, or
    /// target/perf]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The corelog to start [default: the release build]
    #[arg(long, value_name = "BINARY")]
    pub(crate) broker: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct GoalsArguments {
    /// Fewer pairs and shorter slices
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only the goals with these numbers
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=i64::from(GOALS_COUNT)))]
    pub(crate) only: Vec<u8>,
    /// Where summary.json is written [default: target/perf]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Where the temporary directories of brokers and floors are made; the disk that is measured
    /// [default: target/perf]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The corelog to start [default: the release build]
    #[arg(long, value_name = "BINARY")]
    pub(crate) broker: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FloorServerArguments {
    /// Where the floors' files are
    pub(crate) dir: PathBuf,
    /// How many there are
    #[arg(long)]
    pub(crate) files: usize,
    /// Bytes of each
    #[arg(long)]
    pub(crate) file_bytes: u64,
}

#[derive(Debug, Args)]
pub(crate) struct PlotArguments {
    /// What `perf run --json` or `perf compare --json` wrote, or lists of percentiles by `--hdr`
    /// (.hgrm); several in one picture, each with the name that the legend shall show
    #[arg(required = true, value_name = "[NAME=]RESULT")]
    pub(crate) results: Vec<String>,
    /// Where the pictures go; a name that ends in .svg is the file of one picture, the spectrum
    #[arg(short, long, value_name = "DIR|FILE.svg", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Above the spectrum: durability and rate [default: those of the results]
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Below the title: the machine [default: that of the results]
    #[arg(long, value_name = "TEXT")]
    pub(crate) subtitle: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
