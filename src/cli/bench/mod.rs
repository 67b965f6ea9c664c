//! `corelog bench`: the load generator for people, against any broker that runs.
//!
//! `produce`, `consume` and `e2e` describe traffic, `run` puts it on the broker with one
//! `bench::Load`, `outcome` says what came of it. A topic is created if it is not there; it is
//! deleted only on request, and only by the run that created it.

mod arguments;
mod outcome;
mod quantity;
mod run;
mod target;

use std::time::Duration;

use self::arguments::{ConsumeArguments, E2eArguments, LoadArguments, ProduceArguments};
use self::outcome::Verb;
use self::run::{Job, drive};
use self::target::Target;
use super::arguments::{AcksArgument, Compression};
use super::failure::Failure;
use crate::bench::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};
use crate::bench::{Acks, BatchCodec, ConsumePart, Keys, LoadPart, Rate, Spread, Start, Traffic};

pub(super) use self::arguments::BenchCommand;

/// Runs the command.
pub(super) fn run(command: BenchCommand) -> Result<(), Failure> {
    // More connections than a shell allows files.
    let _ = crate::io::raise_open_files_limit();
    match command {
        BenchCommand::Produce(arguments) => produce(&arguments),
        BenchCommand::Consume(arguments) => consume(&arguments),
        BenchCommand::E2e(arguments) => e2e(&arguments),
    }
}

/// How long a load is put on the broker if nobody says.
const DURATION: Duration = Duration::from_secs(10);
/// How long a consumer of `e2e` waits for more at most, in ms: so long it takes to end.
const MAX_WAIT_MS: u32 = 100;

fn produce(arguments: &ProduceArguments) -> Result<(), Failure> {
    let ProduceArguments { load, run, .. } = arguments;
    let record_bytes = u64::from(load.record_bytes);
    let fitting = (arguments.batch_bytes / record_bytes).clamp(1, BATCH_RECORDS_MAX.into());
    let part = LoadPart {
        codec: codec(arguments.compression),
        ..load_part(
            load,
            arguments.batch_records.unwrap_or(fitting as u32),
            arguments.rate.of_records(load.record_bytes),
            arguments.acks,
        )?
    };
    let traffic = Traffic {
        load: part,
        consume: None,
    };
    drive(&Job {
        verb: Verb::Produce,
        target: Target::to_write(load),
        traffic,
        warm_up: load.warm_up,
        run,
    })
}

fn consume(arguments: &ConsumeArguments) -> Result<(), Failure> {
    // Nobody sends it.
    let load = LoadPart {
        connections: 0,
        ..still()
    };
    let consume = ConsumePart {
        stop_at_end: true,
        max_bytes: arguments.fetch_bytes,
        partition_max_bytes: arguments.fetch_bytes,
        ..consume_part(arguments.connections, Start::Earliest)
    };
    drive(&Job {
        verb: Verb::Consume,
        target: Target::to_read(&arguments.topic),
        traffic: Traffic {
            load,
            consume: Some(consume),
        },
        warm_up: Duration::ZERO,
        run: &arguments.run,
    })
}

fn e2e(arguments: &E2eArguments) -> Result<(), Failure> {
    let load = &arguments.load;
    let rate = arguments.rate.of_records(load.record_bytes);
    let part = load_part(load, arguments.batch_records, rate, arguments.acks)?;
    drive(&Job {
        verb: Verb::E2e,
        target: Target::to_write(load),
        traffic: Traffic {
            consume: Some(consume_part(part.connections, Start::Latest)),
            load: part,
        },
        warm_up: load.warm_up,
        run: &arguments.run,
    })
}

fn load_part(
    load: &LoadArguments,
    batch_records: u32,
    rate: Rate,
    acks: AcksArgument,
) -> Result<LoadPart, Failure> {
    let bytes = u64::from(batch_records) * u64::from(load.record_bytes);
    if bytes > BATCH_BYTES_MAX {
        return Err(Failure::usage(format!(
            "{batch_records} records of {} bytes are {bytes} bytes in a request; at most \
             {BATCH_BYTES_MAX}",
            load.record_bytes
        ))
        .try_this("a smaller --batch-records or --record-bytes"));
    }
    Ok(LoadPart {
        connections: load.connections,
        batch_records,
        record_bytes: load.record_bytes,
        acks: match acks {
            AcksArgument::All => Acks::All,
            AcksArgument::Leader => Acks::Leader,
            AcksArgument::None => Acks::None,
        },
        rate,
        in_flight: load.in_flight,
        ..still()
    })
}

/// A load that nobody sends.
fn still() -> LoadPart {
    LoadPart {
        connections: 0,
        spread: Spread::Own,
        batch_records: 1,
        record_bytes: 8,
        keys: Keys::None,
        key_bytes: 16,
        idempotent: false,
        codec: BatchCodec::None,
        acks: Acks::All,
        rate: Rate::Max,
        in_flight: 1,
    }
}

fn consume_part(connections: u32, start: Start) -> ConsumePart {
    ConsumePart {
        connections,
        start,
        again: false,
        stop_at_end: false,
        max_bytes: 50 << 20,
        partition_max_bytes: 1 << 20,
        min_bytes: 1,
        max_wait_ms: MAX_WAIT_MS,
    }
}

fn codec(compression: Compression) -> BatchCodec {
    match compression {
        Compression::None => BatchCodec::None,
        Compression::Gzip => BatchCodec::Gzip,
        Compression::Snappy => BatchCodec::Snappy,
        Compression::Lz4 => BatchCodec::Lz4,
        Compression::Zstd => BatchCodec::Zstd,
    }
}
