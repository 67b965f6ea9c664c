//! One short day, crashed at every single operation of the disk, and its recovery again.

use std::rc::Rc;
use std::time::Duration;

use corelog::io;
use corelog::io::sim::{Chance, Crash, CrashPoint, Outcome, Simulation};
use corelog::log::{Durability, StoreConfig};
use corelog::model::{Offset, PartitionId};

use super::model::batch;
use super::node::{Node, World, partition, tiny_store};
use super::random::small_segments;
use super::workload::{self};

/// A day that does everything once: first chunk, roll, start moved, checkpoint, seal, deletion.
async fn short_day(world: Rc<World>) {
    let node = Node::start(&world).await;
    let id = partition(1, 0);
    let log = node.logs.borrow()[&id].clone();
    for size in [500, 4_000, 20_000, 9_000] {
        node.append(id, |base, epoch| batch(0, base, epoch, 2, size));
        node.append(id, |base, epoch| batch(0, base, epoch, 1, size));
        let end = log.end_offset();
        log.wait_durable(end).await.expect("nothing fails here");
        world.acknowledge(id, end.0);
    }
    world
        .models
        .borrow_mut()
        .get_mut(&id)
        .expect("known")
        .start_requested = 7;
    log.set_start_offset(Offset(7), node.owner_state(id))
        .await
        .expect("nothing fails here");
    world.models.borrow_mut().get_mut(&id).expect("known").start = 7;
    node.append(id, |base, epoch| batch(0, base, epoch, 2, 100));
    workload::checkpoint_all(&node).await;
    node.append(id, |base, epoch| batch(0, base, epoch, 2, 300));
    io::sleep(Duration::from_secs(7)).await;
    let other = partition(1, 1);
    node.append(other, |base, epoch| batch(0, base, epoch, 2, 12_000));
    let doomed = node.logs.borrow()[&other].clone();
    doomed
        .wait_durable(doomed.end_offset())
        .await
        .expect("nothing fails here");
    world.models.borrow_mut().remove(&other);
    world.deleted.borrow_mut().push(other);
    node.logs.borrow_mut().remove(&other);
    doomed.delete().await.expect("nothing fails here");
    node.append(id, |base, epoch| batch(0, base, epoch, 3, 9_000));
    log.close().await.expect("nothing fails here");
}

fn world(durability: Durability) -> Rc<World> {
    let partitions: Vec<PartitionId> = (0..2).map(|index| partition(1, index)).collect();
    let store = StoreConfig {
        durability,
        ..tiny_store()
    };
    World::new(store, small_segments(), &partitions)
}

fn check_everywhere(crash: Crash, durability: Durability, seed: u64) -> u64 {
    Simulation::crash_everywhere(
        || Simulation::new(seed),
        crash,
        |sim| {
            let world = world(durability);
            let today = world.clone();
            (sim.run_cores(1, move |_| short_day(today.clone())), world)
        },
        |sim, world| {
            // The next start is crashed too, wherever it may be, and then the one after.
            for n in 0..3u64 {
                let at = sim.counts().ops + Chance::new(seed, "again").between(1, 40) * (n + 1);
                sim.crash_at(CrashPoint::DiskOp(at), crash);
                let _ = start(sim, &world);
                sim.cancel_crash();
            }
            assert_eq!(start(sim, &world), Outcome::Finished);
        },
    )
}

fn start(sim: &Simulation, world: &Rc<World>) -> Outcome {
    let world = world.clone();
    sim.run_cores(1, move |_| {
        let world = world.clone();
        async move {
            let node = Node::start(&world).await;
            let id = partition(1, 0);
            node.append(id, |base, epoch| batch(0, base, epoch, 2, 100));
        }
    })
}

#[test]
fn no_operation_of_the_disk_is_a_bad_moment_for_a_power_loss() {
    for seed in 0..3 {
        let crashes = check_everywhere(Crash::PowerLoss, Durability::Sync, seed);
        assert!(
            crashes > 60,
            "{crashes} operations are too few to have done everything"
        );
    }
}

#[test]
fn no_operation_of_the_disk_is_a_bad_moment_for_a_kill() {
    check_everywhere(Crash::Kill, Durability::Sync, 4);
    // Without a sync per write a kill still loses nothing.
    check_everywhere(Crash::Kill, Durability::Written, 5);
}
