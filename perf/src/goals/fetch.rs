//! Goals 7 and 8: what consumers get, from memory and from the disk.

use corelog::bench::{ConsumePart, Problem, Rate};
use corelog::io::blocking;

use super::entry::{Measured, Part, Target};
use super::stage::{Stage, us_at, workload};
use crate::broker::{Corelog, Settings};
use crate::floors::disk::{self, Access, DiskLoad, DiskSlice, Steady};
use crate::floors::drain;
use crate::machine::cpu_seconds_of;
use crate::report::fetched_megabytes_per_second;
use crate::scrape::{PUBLISHED, Page};
use crate::session::{self, Slice};
use crate::workload::{BacklogPart, Durability, Workload};

/// Goal 7: MB/s of consumers that read the tail from memory, each from the core that owns its
/// partitions / of readers that get as much as can be sent; and bytes copied in user space per byte
/// of payload, on one core.
pub(super) fn tail(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let workload = workload(include_str!("../../workloads/w6-tail-read.toml"));
    let mut settings = workload.broker.settings.clone();
    settings.push("corelog.listener.mode=core".to_owned());
    let broker = stage.corelog(Durability::Sync, &settings)?;
    let plan = stage.plan(&workload, &broker.facts, broker.dir.path())?;
    let sink = stage.sink()?;
    let readers = workload
        .consume
        .as_ref()
        .map_or(1, |consume| consume.connections) as usize;
    let cpus = &stage.seats.client;
    let (senders, time) = (sink.senders(), stage.effort.slice);
    let pairs = stage.in_turns(
        || stage.slice(&plan, broker.facts.pid),
        || {
            let spent = || cpu_seconds_of(sink.pid()).unwrap_or(f64::NAN);
            let before = spent();
            let drained = drain::slice(senders, cpus, readers, plan.warm_up, time)?;
            Ok((drained, spent() - before))
        },
    )?;
    broker.stop()?;
    let names = ["fetched MB/s", "sent MB/s"];
    let measured = Measured::of_pairs(&pairs, names, |slice, (floor, _)| {
        let fetched = slice.book.fetched_bytes() as f64 / slice.book.length_seconds();
        (fetched / 1e6, floor.bytes_per_second / 1e6)
    });
    // Also where something else keeps the machine busy, this says what a byte costs each side.
    let fetched = |slice: &Slice| slice.book.fetched_bytes() as f64;
    let measured = measured.map(|measured| {
        measured
            .median(&pairs, "broker's CPU us per MB", |slice, _| {
                us_per_megabyte(slice.broker_cpu_seconds.unwrap_or(f64::NAN), fetched(slice))
            })
            .median(&pairs, "sender's CPU us per MB", |_, (floor, spent)| {
                us_per_megabyte(*spent, floor.bytes)
            })
            .median(&pairs, "consumers' CPU us per MB", |slice, _| {
                us_per_megabyte(slice.client_cpu_seconds, fetched(slice))
            })
            .median(&pairs, "readers' CPU us per MB", |_, (floor, _)| {
                us_per_megabyte(floor.client_cpu_seconds, floor.bytes)
            })
    });
    let copied = copied_bytes(stage)?;
    Ok(vec![
        Part::new(
            "fetched / sent without a broker",
            Target::AtLeast(0.9),
            measured,
        ),
        Part::new(
            "bytes copied per byte of payload",
            Target::AtMost(0.05),
            copied,
        ),
    ])
}

fn us_per_megabyte(cpu_seconds: f64, bytes: f64) -> f64 {
    cpu_seconds * 1e6 / (bytes / 1e6)
}

/// For a byte that is produced, and for the same byte when it is fetched: a broker with one core
/// takes batches of 128 KiB and hands them to consumers.
fn copied_bytes(stage: &Stage) -> Result<Result<Measured, String>, Problem> {
    let workload = workload(include_str!("../../workloads/w6-tail-read.toml"));
    let settings = Settings {
        cpus: &stage.seats.broker[..1],
        ..stage.settings(Durability::Sync, &workload.broker.settings)
    };
    let broker = Corelog::start(&stage.binary, &settings)?;
    let (facts, dir) = (&broker.facts, broker.dir.path());
    let page = || {
        blocking::sleep(PUBLISHED);
        Page::read(facts)
    };
    let before = page()?;
    let plan = session::prepare(&workload, facts, &stage.seats.client, Some(dir))?;
    let produced = page()?;
    stage.slice(&plan, facts.pid)?;
    let fetched = page()?;
    broker.stop()?;
    let more = |name, from: &Page, to: &Page| to.sum(name) - from.sum(name);
    let incoming = more("payload_in_bytes", &before, &produced);
    let outgoing = more("payload_out_bytes", &produced, &fetched);
    if incoming <= 0.0 || outgoing <= 0.0 {
        return Ok(Err("the broker counted no payload".to_owned()));
    }
    let copied_in = more("copied_bytes", &before, &produced) / incoming;
    let copied_out = more("copied_bytes", &produced, &fetched) / outgoing;
    Ok(Ok(Measured::once(copied_in + copied_out)
        .figure("of a byte produced", copied_in)
        .figure("of a byte fetched", copied_out)))
}

/// Of each core, in bytes: the tail that is kept in memory while a cold reader is measured.
const TAIL_CACHE_BYTES: u64 = 32 << 20;

/// Goal 8: p99 of producers at a fixed rate while consumers read a backlog of 4 times the tail's
/// memory again and again / without them; and what they read / what the disk gives beside the same
/// synced writes.
pub(super) fn cold_reader(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let mut workload = workload(include_str!("../../workloads/w6-backlog.toml"));
    let setting = format!("corelog.tail.cache.bytes={TAIL_CACHE_BYTES}");
    let tail_bytes = TAIL_CACHE_BYTES * stage.seats.broker.len() as u64;
    workload.backlog = Some(BacklogPart {
        bytes: 4 * tail_bytes,
    });
    workload.consume = workload.consume.map(|consume| ConsumePart {
        again: true,
        ..consume
    });
    let broker = stage.corelog(Durability::Sync, &[setting])?;
    let with = stage.plan(&workload, &broker.facts, broker.dir.path())?;
    let mut without = with.clone();
    without.traffic.consume = None;
    let disk = DiskBeside::new(stage, &workload)?;
    let pairs = stage.in_turns(
        || stage.slice(&with, broker.facts.pid),
        || {
            let slice = stage.slice(&without, broker.facts.pid)?;
            Ok((slice, disk.slices(stage)?))
        },
    )?;
    broker.stop()?;
    let names = ["p99 us beside a reader", "p99 us without"];
    let p99 = Measured::of_pairs(&pairs, names, |with, (without, _)| {
        (us_at(with, 0.99), us_at(without, 0.99))
    });
    // What the disk alone makes of the same writes and reads.
    let of_disk = |names, depth: fn(&DiskSlices) -> &DiskSlice| {
        Measured::of_pairs(&pairs, names, |_, (_, disk)| {
            let us = |slice: &DiskSlice| slice.steady_us_at(0.99);
            (us(depth(disk)), us(&disk.alone))
        })
    };
    let names = [
        "disk's p99 us beside its fastest reads",
        "disk's p99 us without",
    ];
    let fastest = of_disk(names, |disk| &disk.fastest);
    let names = ["disk's p99 us beside few reads", "disk's p99 us without"];
    let few = of_disk(names, |disk| &disk.few);
    let p99 = p99.map(|measured| match (&fastest, &few) {
        (Ok(fastest), Ok(few)) => measured
            .figures(&fastest.figures)
            .figure("disk's p99 / without, its fastest reads", fastest.ratio)
            .figures(&few.figures[..1])
            .figure("disk's p99 / without, few reads", few.ratio),
        _ => measured,
    });
    let names = ["read MB/s", "disk's remaining MB/s"];
    let read = Measured::of_pairs(&pairs, names, |slice, (_, disk)| {
        (
            fetched_megabytes_per_second(&with.traffic.load, slice),
            disk.fastest.bytes_per_second / 1e6,
        )
    });
    let read = read.map(|measured| {
        measured.median(&pairs, "disk's MB/s in few reads", |_, (_, disk)| {
            disk.few.bytes_per_second / 1e6
        })
    });
    Ok(vec![
        Part::new(
            "produce p99 beside a cold reader / without",
            Target::AtMost(1.2),
            p99,
        ),
        Part::new(
            "cold read / what the disk gives beside the same writes",
            Target::AtLeast(0.8),
            read,
        ),
    ])
}

/// Reads in flight on each core, so few that a synced write waits behind little: as many as the
/// broker has while it writes.
const FEW_READS: usize = 2;

/// The disk without a broker: the producers' writes, each synced, at the producers' rate, with
/// reads of 128 KiB beside them.
struct DiskBeside {
    load: DiskLoad,
    fastest_depth: usize,
}

struct DiskSlices {
    alone: DiskSlice,
    few: DiskSlice,
    fastest: DiskSlice,
}

impl DiskBeside {
    fn new(stage: &Stage, workload: &Workload) -> Result<DiskBeside, Problem> {
        let produced = &workload.load;
        let Rate::RecordsPerSecond(records_per_second) = produced.rate else {
            unreachable!("W6 has a rate")
        };
        let batch_bytes = produced.batch_records as usize * produced.record_bytes as usize;
        let mut load = DiskLoad {
            access: Access::Read,
            bytes: 128 << 10,
            depth: 1,
            files: workload.topic.partitions as usize,
            time: stage.effort.slice / 2,
            beside: Some(Steady {
                // A frame is the batch, what describes it, and what fills its last page.
                bytes: (batch_bytes + 1).next_multiple_of(4096),
                writes_per_second: (records_per_second / u64::from(produced.batch_records)) as u32,
            }),
        };
        stage.say("the disk's best depth");
        load.depth = disk::best_depth(&stage.seats.broker, stage.files()?, load)?.0;
        Ok(DiskBeside {
            fastest_depth: load.depth,
            load,
        })
    }

    fn slices(&self, stage: &Stage) -> Result<DiskSlices, Problem> {
        let cpus = &stage.seats.broker;
        let at = |depth| {
            let load = DiskLoad { depth, ..self.load };
            disk::slice(cpus, stage.files()?, load)
        };
        Ok(DiskSlices {
            alone: at(0)?,
            few: at(FEW_READS * cpus.len())?,
            fastest: at(self.fastest_depth)?,
        })
    }
}
