//! Whole lives of a broker, crashed at drawn points, over and over.

use std::rc::Rc;

use corelog::io;
use corelog::io::sim::{Chance, Crash, CrashPoint, DiskOptions, Outcome, Simulation};
use corelog::log::LogConfig;
use corelog::model::PartitionId;

use super::model::{Model, batch};
use super::node::{Node, World, partition, tiny_store};
use super::workload::{self, Habits};

/// Lives per test; `CRASH_SEEDS` asks for more.
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    let asked = option_env_u64("CRASH_SEEDS").unwrap_or(usual);
    let first = option_env_u64("CRASH_FIRST_SEED").unwrap_or(0);
    first..first + asked
}

fn option_env_u64(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

pub fn small_segments() -> LogConfig {
    LogConfig {
        segment_bytes: 40_000,
        retention_bytes: Some(60_000),
        retention_ms: None,
        ..LogConfig::default()
    }
}

/// One life: some starts on the same disk, each ended by a crash or by a pause without one.
fn live(seed: u64, starts: u32, crashes: &[Crash], habits: Habits, disk: DiskOptions) {
    let sim = Simulation::builder(seed).disk(disk).build();
    let partitions: Vec<PartitionId> = (0..3).map(|index| partition(1, index)).collect();
    let world = World::new(tiny_store(), small_segments(), &partitions);
    let mut chance = Chance::new(seed, "life");
    for _ in 0..starts {
        world.cores.set(chance.between(1, 3) as u16);
        let at = sim.counts().ops + chance.between(1, 400);
        sim.crash_at(CrashPoint::DiskOp(at), crashes[chance.index(crashes.len())]);
        let day = chance.next_u64();
        let world = world.clone();
        let outcome = sim.run_cores(1, move |_| day_of(world.clone(), day, habits));
        if outcome == Outcome::Finished {
            sim.cancel_crash();
            if chance.coin() {
                sim.lose_power();
            }
        }
    }
    // The last start must find everything, whatever came before.
    let outcome = sim.run_cores(1, move |_| {
        let world = world.clone();
        async move {
            Node::start(&world).await;
        }
    });
    assert_eq!(outcome, Outcome::Finished);
}

async fn day_of(world: Rc<World>, day: u64, habits: Habits) {
    let node = Node::start(&world).await;
    workload::run(&node, &mut Chance::new(day, "day"), habits).await;
}

#[test]
fn power_losses_and_kills_lose_nothing_that_was_acknowledged() {
    for seed in seeds(150) {
        let crashes = [Crash::PowerLoss, Crash::PowerLoss, Crash::Kill];
        live(seed, 8, &crashes, Habits::default(), DiskOptions::default());
    }
}

#[test]
fn stale_blocks_in_new_chunks_are_no_frames() {
    for seed in seeds(60) {
        let disk = DiskOptions {
            stale_allocation: true,
            ..DiskOptions::default()
        };
        live(
            1_000 + seed,
            8,
            &[Crash::PowerLoss, Crash::Kill],
            Habits::default(),
            disk,
        );
    }
}

/// Logs whose start follows their end, while a frame that is large enough to be written beside the
/// move begins the next chunk: what was passed is taken by the other log.
async fn day_of_moves(world: Rc<World>, day: u64) {
    let node = Node::start(&world).await;
    let mut chance = Chance::new(day, "moves");
    for _ in 0..12 {
        let id = partition(1, chance.below(2) as i32);
        let log = node.logs.borrow()[&id].clone();
        node.append(id, |base, epoch| batch(0, base, epoch, 2, 100));
        let end = log.end_offset();
        log.wait_durable(end).await.expect("nothing fails here");
        let known = |change: &dyn Fn(&mut Model)| {
            change(world.models.borrow_mut().get_mut(&id).expect("known"));
        };
        known(&|model| model.start_requested = end.0);
        let (moved, state) = (log.clone(), node.owner_state(id));
        let moving = io::spawn(async move { moved.set_start_offset(end, state).await });
        io::yield_now().await;
        let value_bytes = if chance.coin() { 300_000 } else { 3_000 };
        node.append(id, |base, epoch| batch(0, base, epoch, 1, value_bytes));
        moving.await.expect("nothing fails here");
        known(&|model| model.start = end.0);
    }
}

#[test]
fn a_chunk_is_given_back_only_when_its_successor_is_on_the_disk() {
    // In the last one a chunk was given back of which the journal still has a part, and the power
    // goes: what is missing there is none of a torn write.
    for seed in seeds(100).chain([500_399]) {
        let sim = Simulation::new(2_000 + seed);
        let partitions: Vec<PartitionId> = (0..2).map(|index| partition(1, index)).collect();
        let world = World::new(tiny_store(), small_segments(), &partitions);
        // A state would keep the chunk.
        let stateless = seed % 2 == 1;
        world.stateless.set(stateless);
        world.may_lack_state.set(stateless);
        let mut chance = Chance::new(seed, "days");
        for _ in 0..6 {
            let at = sim.counts().ops + chance.between(30, 250);
            sim.crash_at(CrashPoint::DiskOp(at), Crash::PowerLoss);
            let (day, today) = (chance.next_u64(), world.clone());
            let outcome = sim.run_cores(1, move |_| day_of_moves(today.clone(), day));
            if outcome == Outcome::Finished {
                sim.cancel_crash();
            }
        }
        let outcome = sim.run_cores(1, move |_| {
            let world = world.clone();
            async move {
                Node::start(&world).await;
            }
        });
        assert_eq!(outcome, Outcome::Finished);
    }
}
