//! The journal: many small logs that share rounds, crashed, damaged, without space.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use corelog::io;
use corelog::io::sim::{Chance, Crash, CrashPoint, DiskOptions, Fault, OpKind, Outcome};
use corelog::io::sim::{Simulation, with_disk};
use corelog::log::{LogConfig, StoreConfig};
use corelog::model::{Offset, PartitionId};

use super::model::batch;
use super::node::{Node, World, partition, tiny_store};
use super::random::{seeds, small_segments};
use super::workload::{self, Habits};

const BLOCK: usize = 4096;

pub fn logs(count: i32) -> Vec<PartitionId> {
    (0..count).map(|index| partition(1, index)).collect()
}

fn small_batches() -> Habits {
    Habits {
        steps: 120,
        deletes: true,
        readers: true,
        value_bytes_max: 400,
    }
}

/// The blocks of the medium that begin a round of the journal: file and position.
pub fn rounds(sim: &Simulation) -> Vec<(String, usize)> {
    let disk = sim.disk();
    let paths = disk.paths().into_iter();
    let mut rounds = Vec::new();
    for path in paths.filter(|path| path.ends_with(".chunk")) {
        let content = disk.content(Path::new(&path)).unwrap_or_default();
        for (index, block) in content.chunks(BLOCK).enumerate() {
            if block[4..8] == *b"CLJR" {
                rounds.push((path.clone(), index * BLOCK));
            }
        }
    }
    rounds
}

/// Appends a small batch to each log and waits until all are durable.
pub async fn append_to_all(node: &Node, ids: &[PartitionId], value_bytes: usize) {
    for id in ids {
        node.append(*id, |base, epoch| batch(0, base, epoch, 2, value_bytes));
    }
    for id in ids {
        let log = node.logs.borrow()[id].clone();
        let end = log.end_offset();
        log.wait_durable(end).await.expect("nothing fails here");
        node.world.acknowledge(*id, end.0);
    }
}

fn replayed(node: &Node) -> u64 {
    let logs = node.logs.borrow();
    logs.values().map(|log| log.recovery().journaled).sum()
}

/// Starts on what the disk holds; gives how many batches came from a journal.
fn restart(sim: &Simulation, world: &Rc<World>) -> u64 {
    let found = Rc::new(Cell::new(0));
    let (world, count) = (world.clone(), found.clone());
    let outcome = sim.run_cores(1, move |_| {
        let (world, count) = (world.clone(), count.clone());
        async move {
            let node = Node::start(&world).await;
            count.set(replayed(&node));
        }
    });
    assert_eq!(outcome, Outcome::Finished);
    found.get()
}

/// One life of many small logs, as `random::live` has of few.
fn live(seed: u64, disk: DiskOptions, tally: &Tally) {
    let sim = Simulation::builder(seed).disk(disk).build();
    let world = World::new(tiny_store(), small_segments(), &logs(8));
    let mut chance = Chance::new(seed, "life");
    for _ in 0..5 {
        world.cores.set(chance.between(1, 3) as u16);
        let at = sim.counts().ops + chance.between(1, 900);
        let crash = if chance.below(3) == 0 {
            Crash::Kill
        } else {
            Crash::PowerLoss
        };
        sim.crash_at(CrashPoint::DiskOp(at), crash);
        let (day, today, replays) = (chance.next_u64(), world.clone(), tally.replayed.clone());
        let outcome = sim.run_cores(1, move |_| {
            let (world, replays) = (today.clone(), replays.clone());
            async move {
                let node = Node::start(&world).await;
                replays.set(replays.get() + replayed(&node));
                workload::run(&node, &mut Chance::new(day, "day"), small_batches()).await;
            }
        });
        if outcome == Outcome::Finished {
            sim.cancel_crash();
            if chance.coin() {
                sim.lose_power();
            }
        }
        tally.rounds.set(tally.rounds.get() + rounds(&sim).len());
    }
    restart(&sim, &world);
}

/// Whether what is tested here has happened at all.
#[derive(Default)]
struct Tally {
    rounds: Cell<usize>,
    replayed: Rc<Cell<u64>>,
}

#[test]
fn many_small_logs_lose_nothing_that_was_acknowledged() {
    let tally = Tally::default();
    for seed in seeds(100) {
        live(10_000 + seed, DiskOptions::default(), &tally);
    }
    for seed in seeds(30) {
        let disk = DiskOptions {
            stale_allocation: true,
            ..DiskOptions::default()
        };
        live(20_000 + seed, disk, &tally);
    }
    assert!(tally.rounds.get() > 1_000, "{} rounds", tally.rounds.get());
    assert!(
        tally.replayed.get() > 300,
        "{} batches",
        tally.replayed.get()
    );
}

/// A day of rounds: several turns of the journal's chunks, a move of a start, a checkpoint, a seal,
/// a deletion.
async fn day_of_rounds(world: Rc<World>) {
    let node = Node::start(&world).await;
    let ids = logs(4);
    for turn in 0..70 {
        append_to_all(&node, &ids, 300).await;
        if turn == 30 {
            let log = node.logs.borrow()[&ids[0]].clone();
            let to = log.durable_offset();
            let known = |change: &dyn Fn(&mut super::model::Model)| {
                change(world.models.borrow_mut().get_mut(&ids[0]).expect("known"));
            };
            known(&|model| model.start_requested = to.0);
            let moved = log.set_start_offset(to, node.owner_state(ids[0])).await;
            moved.expect("nothing fails here");
            known(&|model| model.start = to.0);
            workload::checkpoint_all(&node).await;
        }
    }
    io::sleep(Duration::from_secs(7)).await;
    append_to_all(&node, &ids, 100).await;
    append_to_all(&node, &ids, 100).await;
    let doomed = node.logs.borrow_mut().remove(&ids[3]).expect("known");
    world.models.borrow_mut().remove(&ids[3]);
    world.deleted.borrow_mut().push(ids[3]);
    doomed.delete().await.expect("nothing fails here");
    append_to_all(&node, &ids[..3], 100).await;
    let log = node.logs.borrow()[&ids[1]].clone();
    log.close().await.expect("nothing fails here");
}

fn check_everywhere(crash: Crash, seed: u64) {
    let crashes = Simulation::crash_everywhere(
        || Simulation::new(seed),
        crash,
        |sim| {
            let world = World::new(tiny_store(), small_segments(), &logs(4));
            let today = world.clone();
            let outcome = sim.run_cores(1, move |_| day_of_rounds(today.clone()));
            if outcome == Outcome::Finished {
                assert!(rounds(sim).len() > 20, "the journal is used");
            }
            (outcome, world)
        },
        |sim, world| {
            // The next start is crashed too, wherever it may be, and so is the one after.
            for n in 0..2u64 {
                world.cores.set(1 + n as u16);
                let at = sim.counts().ops + Chance::new(seed, "again").between(1, 40) * (n + 1);
                sim.crash_at(CrashPoint::DiskOp(at), crash);
                let today = world.clone();
                let _ = sim.run_cores(1, move |_| go_on(today.clone()));
                sim.cancel_crash();
            }
            restart(sim, &world);
        },
    );
    assert!(crashes > 200, "{crashes} operations are too few");
}

async fn go_on(world: Rc<World>) {
    let node = Node::start(&world).await;
    let ids: Vec<PartitionId> = node.logs.borrow().keys().copied().collect();
    for _ in 0..4 {
        append_to_all(&node, &ids, 100).await;
    }
    io::sleep(Duration::from_secs(1)).await;
}

#[test]
fn no_operation_of_the_disk_is_a_bad_moment_for_a_journal() {
    check_everywhere(Crash::PowerLoss, 31);
    check_everywhere(Crash::Kill, 32);
}

#[test]
fn what_the_journal_holds_is_read_before_it_is_in_a_segment() {
    let sim = Simulation::new(33);
    let world = World::new(tiny_store(), small_segments(), &logs(4));
    let today = world.clone();
    let outcome = sim.run_cores(1, move |_| {
        let world = today.clone();
        async move {
            let node = Node::start(&world).await;
            let ids = logs(4);
            // Fewer rounds than one chunk of the journal takes: nothing is written back.
            for _ in 0..12 {
                append_to_all(&node, &ids, 200).await;
                for id in &ids {
                    let log = node.logs.borrow()[id].clone();
                    let model = world.models.borrow()[id].clone();
                    node.check_content(&log, &model).await;
                    let newest = model.batches.iter().map(|batch| batch.max_timestamp).max();
                    assert_eq!(log.max_timestamp().0, newest.expect("some"));
                }
            }
        }
    });
    assert_eq!(outcome, Outcome::Finished);
    sim.lose_power();
    assert!(restart(&sim, &world) > 0, "nothing was left in the journal");
}

/// A write fails somewhere: what the journal had is still read, and found by the next start.
#[test]
fn after_a_failed_write_what_was_journaled_is_still_there() {
    for seed in seeds(40) {
        let sim = Simulation::new(40_000 + seed);
        let world = World::new(tiny_store(), small_segments(), &logs(6));
        let mut chance = Chance::new(seed, "faults");
        for _ in 0..3 {
            let (day, after) = (chance.next_u64(), chance.below(150));
            let today = world.clone();
            let outcome = sim.run_cores(1, move |_| {
                let world = today.clone();
                async move {
                    let node = Node::start(&world).await;
                    let fault = Fault::error(OpKind::Write).after(after);
                    with_disk(|disk| disk.inject(fault.on("chunks")));
                    let habits = Habits {
                        deletes: false,
                        ..small_batches()
                    };
                    workload::run(&node, &mut Chance::new(day, "day"), habits).await;
                    with_disk(|disk| disk.heal());
                    let logs = node.logs.borrow().clone();
                    for (id, log) in &logs {
                        let mut model = world.models.borrow()[id].clone();
                        let durable = log.durable_offset().0;
                        model.batches.retain(|batch| batch.end <= durable);
                        model.start = log.start_offset().0;
                        node.check_content(log, &model).await;
                    }
                }
            });
            assert_eq!(outcome, Outcome::Finished);
            sim.disk().heal();
            if chance.coin() {
                sim.lose_power();
            }
        }
        restart(&sim, &world);
    }
}

/// Without space there are no chunks for the journal nor for what it is written back to.
#[test]
fn a_full_disk_keeps_what_was_journaled() {
    for seed in seeds(30) {
        let disk = DiskOptions {
            capacity_bytes: 900_000,
            ..DiskOptions::default()
        };
        let sim = Simulation::builder(50_000 + seed).disk(disk).build();
        let config = LogConfig {
            retention_bytes: None,
            ..small_segments()
        };
        let store = StoreConfig {
            reserve_bytes: 50_000,
            ..tiny_store()
        };
        let world = World::new(store, config, &logs(5));
        for day in 0..3u64 {
            let today = world.clone();
            let at = sim.counts().ops + 400 + day * 200;
            sim.crash_at(CrashPoint::DiskOp(at), Crash::PowerLoss);
            let outcome = sim.run_cores(1, move |_| fill_the_disk(today.clone()));
            if outcome == Outcome::Finished {
                sim.cancel_crash();
            }
        }
        sim.disk().options_mut().capacity_bytes = 1 << 30;
        restart(&sim, &world);
    }
}

async fn fill_the_disk(world: Rc<World>) {
    let node = Node::start(&world).await;
    let mut refused = 0;
    for _ in 0..600 {
        for id in logs(5) {
            let accepted = node.append(id, |base, epoch| batch(0, base, epoch, 2, 900));
            refused += u32::from(!accepted);
        }
        io::sleep(Duration::from_micros(700)).await;
        if refused > 50 {
            break;
        }
    }
    assert!(refused > 0, "the disk was never full");
    let logs = node.logs.borrow().clone();
    for (id, log) in &logs {
        let mut model = world.models.borrow()[id].clone();
        model
            .batches
            .retain(|batch| batch.end <= log.durable_offset().0);
        node.check_content(log, &model).await;
    }
}

/// Damages a round that others stand behind: what it held is reported, the rest is there, and no
/// offset is given again. `byte` is counted from the start of the round.
fn check_damaged_round(byte: usize) {
    for checkpoints in [false, true] {
        check_damaged_round_with(byte, checkpoints);
    }
}

fn check_damaged_round_with(byte: usize, checkpoints: bool) {
    let sim = Simulation::new(60);
    let config = LogConfig {
        retention_ms: None,
        ..LogConfig::default()
    };
    let world = World::new(tiny_store(), config, &logs(3));
    let today = world.clone();
    let outcome = sim.run_cores(1, move |_| {
        let world = today.clone();
        async move {
            let node = Node::start(&world).await;
            for _ in 0..8 {
                append_to_all(&node, &logs(3), 100).await;
            }
        }
    });
    assert_eq!(outcome, Outcome::Finished);
    sim.lose_power();
    let rounds = rounds(&sim);
    assert!(rounds.len() >= 4, "{} rounds", rounds.len());
    let (path, position) = &rounds[1];
    sim.disk()
        .flip_bit(Path::new(path), (position + byte) as u64, 0);
    world.damaged.set(true);
    for _ in 0..3 {
        let today = world.clone();
        let outcome = sim.run_cores(1, move |_| {
            let world = today.clone();
            async move {
                let node = Node::start(&world).await;
                let mut lost = 0;
                for id in logs(3) {
                    let log = node.logs.borrow()[&id].clone();
                    let model = world.models.borrow()[&id].clone();
                    let damaged = log.recovery().quarantined.clone();
                    let inside = |at: i64| damaged.iter().any(|range| range.contains(&Offset(at)));
                    lost += damaged
                        .iter()
                        .map(|range| range.end.0 - range.start.0)
                        .sum::<i64>();
                    for from in 0..model.acked {
                        let read = log.read(Offset(from), log.durable_offset(), 1, true).await;
                        match read {
                            Ok(slices) => {
                                assert!(!inside(from));
                                model.check_slices(from, &slices);
                                assert!(slices.next_offset.0 > from);
                            }
                            Err(error) => assert!(inside(from), "{id} {from}: {error:?}"),
                        }
                    }
                    assert!(log.end_offset().0 >= model.acked);
                }
                assert!((2..=6).contains(&lost), "{lost} records are lost");
                append_to_all(&node, &logs(3), 100).await;
                if checkpoints {
                    // Frames have all of it then, and the next start does not read them.
                    let logs = node.logs.borrow().clone();
                    for log in logs.values() {
                        log.flush().await.expect("nothing fails here");
                    }
                    workload::checkpoint_all(&node).await;
                }
            }
        });
        assert_eq!(outcome, Outcome::Finished);
        sim.lose_power();
    }
}

#[test]
fn a_damaged_round_is_reported_and_nothing_behind_it_is_lost() {
    // The header, the table, and the batches of one entry.
    check_damaged_round(25);
    check_damaged_round(100);
    check_damaged_round(96 + 3 * 64 + 80);
}
