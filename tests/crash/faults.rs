//! A disk that fails while the broker runs: errors, no space, flipped bits.

use std::rc::Rc;
use std::time::Duration;

use corelog::io::sim::{Chance, Crash, CrashPoint, DiskOptions, Fault, OpKind, Outcome};
use corelog::io::sim::{Simulation, with_disk};
use corelog::io::{self};
use corelog::log::{AppendError, LogConfig, ReadError, StoreConfig};
use corelog::model::{LeaderEpoch, Offset, PartitionId, Timestamp};

use super::model::batch;
use super::node::{Node, World, partition, tiny_store};
use super::random::{seeds, small_segments};
use super::workload::{self, Habits};

const P: fn() -> PartitionId = || partition(1, 0);

fn finish(sim: &Simulation, world: &Rc<World>) {
    let world = world.clone();
    let outcome = sim.run_cores(1, move |_| {
        let world = world.clone();
        async move {
            Node::start(&world).await;
        }
    });
    assert_eq!(outcome, Outcome::Finished);
}

/// One operation fails somewhere in a day: nothing is acknowledged any more, reads go on, and the
/// next start finds everything that was acknowledged before.
fn fail_once(seed: u64, kind: OpKind, errno: Option<i32>) {
    let sim = Simulation::new(seed);
    let world = World::new(tiny_store(), small_segments(), &[P(), partition(1, 1)]);
    let mut chance = Chance::new(seed, "faults");
    for _ in 0..3 {
        let (day, after) = (chance.next_u64(), chance.below(40));
        let today = world.clone();
        let outcome = sim.run_cores(1, move |_| {
            let world = today.clone();
            async move {
                let node = Node::start(&world).await;
                let fault = Fault::error(kind).after(after);
                let fault = errno.into_iter().fold(fault, Fault::with_errno);
                // Writes of checkpoints may fail without consequence; writes of chunks may not.
                with_disk(|disk| disk.inject(fault.on("chunks")));
                let habits = Habits {
                    deletes: false,
                    ..Habits::default()
                };
                workload::run(&node, &mut Chance::new(day, "day"), habits).await;
                let stopped = node.stores.iter().any(|store| store.is_stopped());
                with_disk(|disk| disk.heal());
                // Writes that were in flight when another one failed still become durable.
                io::sleep(Duration::from_secs(1)).await;
                let logs = node.logs.borrow().clone();
                for (id, log) in &logs {
                    let mut model = world.models.borrow()[id].clone();
                    model
                        .batches
                        .retain(|batch| batch.end <= log.durable_offset().0);
                    model.start = log.start_offset().0;
                    node.check_content(log, &model).await;
                    if stopped {
                        let more = batch(0, log.end_offset().0, node.epoch, 1, 10);
                        let refused = log.append(
                            &more.bytes,
                            log.end_offset(),
                            LeaderEpoch(node.epoch),
                            Timestamp(0),
                        );
                        assert_eq!(refused, Err(AppendError::Stopped));
                        assert!(log.wait_durable(log.end_offset().next()).await.is_err());
                    }
                }
            }
        });
        assert_eq!(outcome, Outcome::Finished);
        sim.disk().heal();
        if chance.coin() {
            sim.lose_power();
        }
    }
    finish(&sim, &world);
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged_and_nothing_is_lost() {
    for seed in seeds(40) {
        fail_once(seed, OpKind::Write, None);
    }
}

#[test]
fn a_chunk_that_cannot_be_made_loses_nothing() {
    for seed in seeds(15) {
        fail_once(100_000 + seed, OpKind::Sync, None);
        fail_once(200_000 + seed, OpKind::SyncDir, None);
        fail_once(300_000 + seed, OpKind::Rename, None);
        fail_once(400_000 + seed, OpKind::Allocate, Some(28));
        fail_once(500_000 + seed, OpKind::Create, Some(24));
    }
}

/// A disk that runs full: appends are refused, reads and retention go on, and when there is space
/// again everything that was accepted becomes durable.
#[test]
fn a_full_disk_refuses_and_recovers() {
    for seed in seeds(40) {
        let disk = DiskOptions {
            capacity_bytes: 500_000,
            ..DiskOptions::default()
        };
        let sim = Simulation::builder(seed).disk(disk).build();
        let config = LogConfig {
            retention_bytes: None,
            ..small_segments()
        };
        let store = StoreConfig {
            reserve_bytes: 50_000,
            ..tiny_store()
        };
        let world = World::new(store, config, &[P(), partition(1, 1)]);
        for day in 0..3u64 {
            let today = world.clone();
            let at = sim.counts().ops + 300 + day * 100;
            sim.crash_at(CrashPoint::DiskOp(at), Crash::PowerLoss);
            let outcome = sim.run_cores(1, move |_| full_day(today.clone(), seed + day));
            if outcome == Outcome::Finished {
                sim.cancel_crash();
            }
            let used = sim.disk().used_bytes();
            sim.disk().options_mut().capacity_bytes = used + 300_000;
        }
        sim.disk().options_mut().capacity_bytes = 1 << 30;
        finish(&sim, &world);
    }
}

async fn full_day(world: Rc<World>, seed: u64) {
    let node = Node::start(&world).await;
    let mut chance = Chance::new(seed, "full");
    let mut refused = 0;
    for _ in 0..200 {
        let id = partition(1, chance.below(2) as i32);
        let accepted = node.append(id, |base, epoch| batch(0, base, epoch, 2, 2_000));
        refused += u32::from(!accepted);
        io::sleep(Duration::from_micros(chance.below(2_000))).await;
        if chance.below(10) == 0 {
            let log = node.logs.borrow()[&id].clone();
            let model = world.models.borrow()[&id].clone();
            let from = chance.between(model.start as u64, model.acked as u64) as i64;
            match log.read(Offset(from), Offset(i64::MAX), 10_000, true).await {
                Ok(slices) => world.models.borrow()[&id].check_slices(from, &slices),
                Err(error) => panic!("{from}: {error:?}"),
            }
        }
    }
    assert!(refused > 0, "the disk was never full");
    // Deleting records makes room by itself.
    let log = node.logs.borrow()[&P()].clone();
    let to = log.durable_offset();
    world
        .models
        .borrow_mut()
        .get_mut(&P())
        .expect("known")
        .start_requested = to.0;
    let moved = log.set_start_offset(to, node.owner_state(P())).await;
    moved.expect("nothing failed");
    world
        .models
        .borrow_mut()
        .get_mut(&P())
        .expect("known")
        .start = to.0;
    with_disk(|disk| disk.options_mut().capacity_bytes = 1 << 30);
    for id in [P(), partition(1, 1)] {
        let log = node.logs.borrow()[&id].clone();
        log.wait_durable(log.end_offset())
            .await
            .expect("nothing failed");
        while !node.append(id, |base, epoch| batch(0, base, epoch, 1, 100)) {
            // The shard looks for space now and then; a run that never ends fails.
            io::sleep(Duration::from_millis(100)).await;
        }
        log.wait_durable(log.end_offset())
            .await
            .expect("nothing failed");
    }
}

/// Bits flip in the medium of a sealed log: what is served is right or refused, and no offset is
/// given again.
#[test]
fn a_flipped_bit_is_reported_and_never_served() {
    for seed in seeds(300) {
        let sim = Simulation::new(seed);
        let world = World::new(tiny_store(), small_segments(), &[P()]);
        let mut chance = Chance::new(seed, "flips");
        let (day, checkpoints) = (chance.next_u64(), chance.coin());
        let today = world.clone();
        let outcome = sim.run_cores(1, move |_| {
            let world = today.clone();
            async move {
                let node = Node::start(&world).await;
                let habits = Habits {
                    steps: 25,
                    deletes: false,
                    ..Habits::default()
                };
                workload::run(&node, &mut Chance::new(day, "day"), habits).await;
                if checkpoints {
                    workload::checkpoint_all(&node).await;
                }
                let log = node.logs.borrow()[&P()].clone();
                log.close().await.expect("nothing failed");
            }
        });
        assert_eq!(outcome, Outcome::Finished);
        flip_some(&sim, &mut chance);
        world.damaged.set(true);
        let after = world.clone();
        let outcome = sim.run_cores(1, move |_| read_damaged(after.clone()));
        assert_eq!(outcome, Outcome::Finished, "seed {seed}");
    }
}

fn flip_some(sim: &Simulation, chance: &mut Chance) {
    let mut disk = sim.disk();
    let paths = disk.paths();
    let kept: Vec<&String> = paths
        .iter()
        .filter(|path| !path.ends_with("incarnation"))
        .collect();
    for _ in 0..chance.between(1, 3) {
        let path = std::path::Path::new(kept[chance.index(kept.len())]);
        let length = disk.content(path).map_or(0, |content| content.len() as u64);
        // Headers and frames stand at the front; most of the rest is empty.
        let reach = if chance.coin() {
            length
        } else {
            length.min(20_000)
        };
        if reach > 0 {
            disk.flip_bit(path, chance.below(reach), chance.below(8) as u32);
        }
    }
}

async fn read_damaged(world: Rc<World>) {
    let node = Node::start(&world).await;
    let log = node.logs.borrow()[&P()].clone();
    let model = world.models.borrow()[&P()].clone();
    let mut from = log.start_offset().0;
    while from < log.durable_offset().0 {
        match log
            .read(Offset(from), log.durable_offset(), 9_000, true)
            .await
        {
            Ok(slices) => {
                model.check_slices(from, &slices);
                assert!(slices.next_offset.0 > from, "a read at {from} gave nothing");
                from = slices.next_offset.0;
            }
            Err(ReadError::Corrupt { from: damaged, to }) => {
                assert!(
                    damaged.0 <= from && from < to.0,
                    "{damaged}..{to} lacks {from}"
                );
                from += 1;
            }
            Err(error) => panic!("{from}: {error:?}"),
        }
    }
    assert!(
        node.append(P(), |base, epoch| batch(3, base, epoch, 2, 500)),
        "writing goes on"
    );
    log.wait_durable(log.end_offset())
        .await
        .expect("the disk does not fail");
}
