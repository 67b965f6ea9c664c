//! Chunks that are written ahead of need: when, how many, and that it ends.

use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use corelog::io;
use corelog::io::sim::{DiskOptions, Outcome, Simulation, with_disk};
use corelog::limits::PREWRITTEN_SMALLEST_COUNT;
use corelog::log::{LogConfig, StoreConfig};
use corelog::metrics::{Board, Counter, Gauge};
use corelog::model::{CoreId, PartitionId};

use super::model::batch;
use super::node::{DIR, Node, World, partition, tiny_store};

fn p() -> PartitionId {
    partition(1, 0)
}

fn counter(counter: Counter) -> u64 {
    let board = Board::new(1);
    board.publish(CoreId(0), &[]);
    board.read()[0].counter(counter)
}

fn gauge(gauge: Gauge) -> u64 {
    let board = Board::new(1);
    board.publish(CoreId(0), &[]);
    board.read()[0].gauge(gauge)
}

/// What the core has counted of its reserve.
fn counted() -> (u64, u64, u64) {
    (
        counter(Counter::PrewrittenBytes),
        gauge(Gauge::PrewrittenChunks),
        counter(Counter::UnwrittenChunksTaken),
    )
}

fn chunk_files() -> usize {
    let chunks = Path::new(DIR).join("chunks");
    let names = with_disk(|disk| disk.paths());
    let is_chunk =
        |path: &&String| Path::new(path).starts_with(&chunks) && path.ends_with(".chunk");
    names.iter().filter(is_chunk).count()
}

fn operations() -> u64 {
    with_disk(|disk| disk.counts().ops)
}

async fn append(node: &Node) {
    append_to(node, p()).await;
}

async fn append_rounds(node: &Node, ids: &[PartitionId], rounds: usize) {
    for _ in 0..rounds {
        for id in ids {
            append_to(node, *id).await;
        }
        io::sleep(Duration::from_millis(100)).await;
    }
}

async fn append_to(node: &Node, id: PartitionId) {
    assert!(node.append(id, |base, epoch| batch(0, base, epoch, 1, 2_000)));
    let log = node.logs.borrow()[&id].clone();
    let written = log.wait_durable(log.end_offset()).await;
    written.expect("nothing failed");
}

/// Runs a node with one partition, as `check_all` does.
fn check<F>(capacity_bytes: u64, store: StoreConfig, act: impl Fn(Rc<Node>) -> F + Clone + 'static)
where
    F: Future<Output = ()> + 'static,
{
    check_all(&[p()], capacity_bytes, store, act);
}

/// Runs a node on a disk of this capacity, then cuts the power and starts it again.
fn check_all<F>(
    partitions: &[PartitionId],
    capacity_bytes: u64,
    store: StoreConfig,
    act: impl Fn(Rc<Node>) -> F + Clone + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    let disk = DiskOptions {
        capacity_bytes,
        ..DiskOptions::default()
    };
    let sim = Simulation::builder(5).disk(disk).build();
    let world = World::new(store, LogConfig::default(), partitions);
    let started = world.clone();
    let outcome = sim.run_cores(1, move |_| {
        let (world, act) = (started.clone(), act.clone());
        async move { act(Node::start(&world).await).await }
    });
    assert_eq!(outcome, Outcome::Finished);
    sim.lose_power();
    let outcome = sim.run_cores(1, move |_| {
        let world = world.clone();
        async move { drop(Node::start(&world).await) }
    });
    assert_eq!(outcome, Outcome::Finished);
}

#[test]
fn the_reserve_is_filled_once_and_only_when_a_log_has_begun() {
    check(1 << 30, tiny_store(), |node| async move {
        io::sleep(Duration::from_secs(60)).await;
        assert_eq!((counted().0, chunk_files()), (0, 0), "nobody has appended");
        append(&node).await;
        io::sleep(Duration::from_secs(60)).await;
        let (bytes, ready, _) = counted();
        assert_eq!(ready, PREWRITTEN_SMALLEST_COUNT as u64);
        assert_eq!(chunk_files(), PREWRITTEN_SMALLEST_COUNT + 1);
        let quiet_since = operations();
        io::sleep(Duration::from_secs(3_600)).await;
        assert_eq!((operations(), counted().0), (quiet_since, bytes));
    });
}

#[test]
fn a_log_that_grows_finds_its_next_chunk_written() {
    check(1 << 30, tiny_store(), |node| async move {
        for _ in 0..200 {
            append(&node).await;
            io::sleep(Duration::from_millis(500)).await;
        }
        let (_, ready, unwritten) = counted();
        assert!(chunk_files() > 3 && ready > 0);
        // The very first one, and the first one of the second class, which nothing foretold.
        assert!(unwritten <= 2, "{unwritten} were taken as they were");
    });
}

#[test]
fn logs_that_fill_their_chunks_together_wait_for_none() {
    let ids: Vec<PartitionId> = (0..8).map(|index| partition(1, index)).collect();
    let all = ids.clone();
    check_all(&ids, 1 << 30, tiny_store(), move |node| {
        let ids = all.clone();
        async move {
            let mut first_waits = 0;
            for round in 0..150 {
                for id in &ids {
                    append_to(&node, *id).await;
                }
                if round == 0 {
                    // For chunks that nothing foretold.
                    first_waits = counter(Counter::ChunkWaits);
                }
                assert_eq!(counter(Counter::ChunkWaits), first_waits, "round {round}");
                io::sleep(Duration::from_millis(100)).await;
            }
            assert!(first_waits > 0);
            // Eight logs in three sizes of chunk, and the reserve.
            let files = chunk_files();
            assert!((24..40).contains(&files), "{files}");
            io::sleep(Duration::from_secs(60)).await;
            assert_eq!(chunk_files(), files, "logs that stop ask for none");
        }
    });
}

#[test]
fn logs_that_have_stopped_ask_for_no_chunks() {
    let all: Vec<PartitionId> = (0..16).map(|index| partition(1, index)).collect();
    // Wherever in a chunk they stop.
    for rounds in 1..=30 {
        let ids = all.clone();
        check_all(&all, 1 << 30, tiny_store(), move |node| {
            let ids = ids.clone();
            async move {
                append_rounds(&node, &ids[..8], rounds).await;
                io::sleep(Duration::from_secs(60)).await;
                // These take what was created for the first ones, and stop with half a chunk left.
                append_rounds(&node, &ids[8..], 30).await;
                io::sleep(Duration::from_secs(60)).await;
                // The reserve, and one of each size.
                let free = gauge(Gauge::FreeChunks);
                assert!(free <= 7, "{free} after {rounds} rounds");
            }
        });
    }
}

#[test]
fn where_space_is_short_there_is_no_reserve() {
    check(600_000, tiny_store(), |node| async move {
        append(&node).await;
        io::sleep(Duration::from_secs(60)).await;
        assert_eq!((counted().0, chunk_files()), (0, 1));
    });
}

#[test]
fn who_wants_no_reserve_has_none() {
    let store = StoreConfig {
        prewrite: false,
        ..tiny_store()
    };
    check(1 << 30, store, |node| async move {
        append(&node).await;
        io::sleep(Duration::from_secs(60)).await;
        assert_eq!((counted().0, chunk_files()), (0, 1));
    });
}
