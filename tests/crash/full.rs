//! A disk without space: who may still write, what is given back, and that nobody waits for ever.

use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use corelog::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind};
use corelog::io;
use corelog::io::sim::{DiskOptions, Fault, OpKind, Outcome, Simulation, with_disk};
use corelog::log::{AppendError, LogConfig, Stopped, StoreConfig};
use corelog::model::{LeaderEpoch, Offset, PartitionId, Timestamp};

use super::model::{Model, batch};
use super::node::{Node, World, partition, tiny_store};
use super::random::small_segments;
use super::scenarios::store_of;

const METADATA: PartitionId = PartitionId::METADATA;

fn p() -> PartitionId {
    partition(1, 0)
}

fn q() -> PartitionId {
    partition(1, 1)
}

/// A machine with a small disk, and what was promised on it.
struct Small {
    sim: Simulation,
    world: Rc<World>,
}

impl Small {
    fn new(capacity_bytes: u64, store: StoreConfig, partitions: &[PartitionId]) -> Small {
        let disk = DiskOptions {
            capacity_bytes,
            ..DiskOptions::default()
        };
        let config = LogConfig {
            retention_bytes: None,
            ..small_segments()
        };
        Small {
            sim: Simulation::builder(3).disk(disk).build(),
            world: World::new(store, config, partitions),
        }
    }

    fn run<F: Future<Output = ()> + 'static>(&self, act: impl Fn(Rc<Node>) -> F + Clone + 'static) {
        let world = self.world.clone();
        let outcome = self.sim.run_cores(1, move |_| {
            let (world, act) = (world.clone(), act.clone());
            async move { act(Node::start(&world).await).await }
        });
        assert_eq!(outcome, Outcome::Finished);
    }

    /// Space returns, the power goes, and a start finds everything.
    fn check_restart(&self) {
        self.sim.disk().options_mut().capacity_bytes = 1 << 30;
        self.sim.lose_power();
        self.run(|_| async {});
    }
}

/// What must not take for ever.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = io::timeout(Duration::from_secs(120), future).await;
    ended.unwrap_or_else(|| {
        let files = with_disk(|disk| {
            let length = |path: String| {
                let content = disk.content(Path::new(&path));
                (content.map_or(0, |content| content.len()), path)
            };
            disk.paths().into_iter().map(length).collect::<Vec<_>>()
        });
        panic!("{what} takes for ever; the disk holds {files:?}")
    })
}

async fn durable(node: &Node, id: PartitionId) {
    let log = node.logs.borrow()[&id].clone();
    let written = soon("a write", log.wait_durable(log.end_offset())).await;
    written.expect("nothing failed");
}

/// Appends until there is no space; some of it waits for a chunk then.
async fn fill(node: &Node, id: PartitionId) {
    while node.append(id, |base, epoch| batch(0, base, epoch, 2, 2_000)) {
        io::sleep(Duration::from_millis(1)).await;
    }
    let log = node.logs.borrow()[&id].clone();
    assert!(log.durable_offset() < log.end_offset());
}

/// Changes what was promised of a partition.
fn promise(node: &Node, id: PartitionId, change: impl FnOnce(&mut Model)) {
    change(node.world.models.borrow_mut().get_mut(&id).expect("known"));
}

/// Deletes all that is durable.
async fn delete_records(node: &Node, id: PartitionId) {
    let log = node.logs.borrow()[&id].clone();
    let to = log.durable_offset();
    promise(node, id, |model| model.start_requested = to.0);
    let moving = log.set_start_offset(to, node.owner_state(id));
    let moved = soon("a move of the log's start", moving).await;
    moved.expect("nothing failed");
    promise(node, id, |model| model.start = to.0);
}

#[test]
fn a_close_does_not_wait_for_space() {
    let small = Small::new(400_000, tiny_store(), &[p(), q()]);
    small.run(|node| async move {
        assert!(node.append(q(), |base, epoch| batch(0, base, epoch, 1, 10)));
        durable(&node, q()).await;
        fill(&node, p()).await;
        // This one has a place.
        assert!(node.append(q(), |base, epoch| batch(0, base, epoch, 1, 10)));
        for id in [p(), q()] {
            let log = node.logs.borrow()[&id].clone();
            let closed = soon("a close", log.close()).await;
            closed.expect("nothing failed");
        }
        let log = node.logs.borrow()[&q()].clone();
        assert_eq!(log.durable_offset(), log.end_offset());
    });
    small.check_restart();
}

#[test]
fn metadata_has_space_when_nobody_else_has() {
    let store = StoreConfig {
        reserve_bytes: 100_000,
        ..tiny_store()
    };
    let small = Small::new(500_000, store, &[p(), METADATA]);
    small.run(|node| async move {
        fill(&node, p()).await;
        for _ in 0..3 {
            assert!(node.append(METADATA, |base, epoch| batch(0, base, epoch, 1, 1_000)));
            durable(&node, METADATA).await;
            assert!(node.stores[0].is_full(), "its space is no one else's");
        }
    });
    small.check_restart();
}

#[test]
fn the_brokers_own_appends_do_not_wait_for_producers() {
    let small = Small::new(1 << 30, tiny_store(), &[p(), METADATA]);
    small.run(|node| async move {
        while node.append(p(), |base, epoch| batch(0, base, epoch, 1, 1_000_000)) {}
        let log = node.logs.borrow()[&p()].clone();
        let more = batch(0, log.end_offset().0, node.epoch, 1, 10);
        let sent = |own: bool| {
            let (base, epoch) = (Offset(more.base), LeaderEpoch(node.epoch));
            let newest = Timestamp(more.max_timestamp);
            match own {
                true => log.append_own(&more.bytes, base, epoch, newest),
                false => log.append(&more.bytes, base, epoch, newest),
            }
        };
        assert_eq!(sent(false), Err(AppendError::Busy));
        assert!(node.append(METADATA, |base, epoch| batch(0, base, epoch, 1, 10)));
        assert_eq!(sent(true), Ok(()));
        promise(&node, p(), |model| model.batches.push(more));
        durable(&node, p()).await;
        durable(&node, METADATA).await;
    });
    small.check_restart();
}

#[test]
fn what_one_core_has_freed_another_can_use() {
    // A chunk holds several frames, so that the disk is large enough for what is appended.
    let store = store_of(&[64 << 10, 2 << 20]);
    let small = Small::new(600_000, store, &[p(), q()]);
    small.world.cores.set(2);
    small.run(|node| async move {
        fill(&node, p()).await;
        delete_records(&node, p()).await;
        durable(&node, p()).await;
        soon("space on the other core", async {
            let log = node.logs.borrow()[&q()].clone();
            for _ in 0..20 {
                while !node.append(q(), |base, epoch| batch(0, base, epoch, 2, 2_000)) {
                    io::sleep(Duration::from_millis(100)).await;
                }
                log.wait_durable(log.end_offset())
                    .await
                    .expect("nothing failed");
            }
        })
        .await;
    });
    small.check_restart();
}

#[test]
fn chunks_that_are_too_small_make_room_for_one_that_is_not() {
    // With a reserve the last chunk that is to be had may be one of another size.
    let store = StoreConfig {
        prewrite: false,
        ..tiny_store()
    };
    let small = Small::new(2_400_000, store, &[p(), q()]);
    small.run(|node| async move {
        fill(&node, p()).await;
        delete_records(&node, p()).await;
        durable(&node, p()).await;
        soon("a large chunk", async {
            while !node.append(q(), |base, epoch| batch(0, base, epoch, 1, 300_000)) {
                io::sleep(Duration::from_millis(100)).await;
            }
            durable(&node, q()).await;
        })
        .await;
    });
    small.check_restart();
}

#[test]
fn a_stop_on_another_core_ends_the_wait_for_space() {
    let small = Small::new(500_000, tiny_store(), &[p(), q()]);
    small.world.cores.set(2);
    small.run(|node| async move {
        assert!(node.append(q(), |base, epoch| batch(0, base, epoch, 1, 10)));
        durable(&node, q()).await;
        fill(&node, p()).await;
        with_disk(|disk| disk.inject(Fault::error(OpKind::Write).on("chunks")));
        assert!(node.append(q(), |base, epoch| batch(0, base, epoch, 1, 10)));
        for id in [q(), p()] {
            let log = node.logs.borrow()[&id].clone();
            let waited = soon("a write", log.wait_durable(log.end_offset())).await;
            assert_eq!(waited, Err(Stopped));
        }
        with_disk(|disk| disk.heal());
    });
}

/// The frames of a partition as they lie on the disk, in the order of their sequences.
fn frames(small: &Small, id: PartitionId) -> Vec<(String, usize, FrameHeader)> {
    let disk = small.sim.disk();
    let mut frames = Vec::new();
    for path in disk.paths() {
        let content = disk.content(Path::new(&path)).unwrap_or_default();
        for (index, block) in content.chunks(4096).enumerate() {
            let read = FrameHeader::read(block).ok();
            if let Some(frame) = read.filter(|frame| frame.partition == id) {
                frames.push((path.clone(), index * 4096, frame));
            }
        }
    }
    frames.sort_by_key(|(_, _, frame)| frame.sequence);
    frames
}

#[test]
fn a_log_start_that_goes_ahead_is_in_every_frame_behind_it() {
    let small = Small::new(500_000, tiny_store(), &[p(), q()]);
    small.run(|node| async move {
        fill(&node, p()).await;
        let log = node.logs.borrow()[&p()].clone();
        let to = Offset(log.durable_offset().0 / 4 * 2);
        promise(&node, p(), |model| model.start_requested = to.0);
        // As retention does: it asks again and again, and does not wait for ever.
        for _ in 0..20 {
            let moving = log.set_start_offset(to, node.owner_state(p()));
            io::timeout(Duration::from_micros(1), moving).await;
        }
        with_disk(|disk| disk.options_mut().capacity_bytes = 1 << 30);
        durable(&node, p()).await;
        assert_eq!(log.start_offset(), to);
        promise(&node, p(), |model| model.start = to.0);
    });
    let frames = frames(&small, p());
    let starts: Vec<Offset> = frames
        .iter()
        .map(|(_, _, frame)| frame.log_start_offset)
        .collect();
    assert!(starts.is_sorted(), "{starts:?}");
    let marks = frames
        .iter()
        .filter(|(_, _, frame)| frame.kind == FrameKind::Mark);
    let moved = *starts.last().expect("there are frames");
    assert!(moved > Offset::ZERO);
    let moves = marks.filter(|(_, _, frame)| frame.log_start_offset == moved);
    assert_eq!(moves.count(), 1, "what was asked for again is written once");
    small.check_restart();
}

#[test]
fn a_log_start_that_does_not_go_ahead_keeps_its_owners_state() {
    let small = Small::new(500_000, tiny_store(), &[p(), q()]);
    small.run(|node| async move {
        fill(&node, p()).await;
        let log = node.logs.borrow()[&p()].clone();
        // The first ones take the blocks that are left; then one waits behind the records.
        let mut to = 0;
        while log.start_offset().0 == to {
            to += 2;
            assert!(to < log.durable_offset().0, "there was a place for all");
            promise(&node, p(), |model| model.start_requested = to);
            let moving = log.set_start_offset(Offset(to), node.owner_state(p()));
            io::timeout(Duration::from_millis(50), moving).await;
        }
        with_disk(|disk| disk.options_mut().capacity_bytes = 1 << 30);
        let moving = log.set_start_offset(Offset(to), node.owner_state(p()));
        let moved = soon("a move of the log's start", moving).await;
        moved.expect("nothing failed");
        promise(&node, p(), |model| model.start = to);
    });
    small.world.may_lack_state.set(false);
    small.check_restart();
}

/// A log of this many frames is idle; then there is no space, and its start moves.
fn check_move_behind_a_seal(count: usize) {
    let store = StoreConfig {
        prewrite: false,
        ..tiny_store()
    };
    let small = Small::new(1 << 30, store, &[p()]);
    small.run(move |node| async move {
        for _ in 0..count {
            assert!(node.append(p(), |base, epoch| batch(0, base, epoch, 1, 100)));
            durable(&node, p()).await;
        }
        io::sleep(Duration::from_secs(10)).await;
        with_disk(|disk| disk.options_mut().capacity_bytes = disk.used_bytes());
        delete_records(&node, p()).await;
    });
    let lying = frames(&small, p());
    let last = &lying[lying.len() - 3..];
    let kinds = last.iter().map(|(_, _, frame)| frame.kind);
    let meant = [FrameKind::Data, FrameKind::Mark, FrameKind::Mark];
    assert!(kinds.eq(meant), "{count} frames");
    assert!(last.iter().all(|(path, _, _)| *path == last[0].0));
    small.check_restart();
}

#[test]
fn behind_a_seal_a_log_start_has_a_place_wherever_in_its_chunk_that_ends() {
    // One more frame each time, over the end of a chunk.
    (1..=6).for_each(check_move_behind_a_seal);
}

#[test]
fn a_chunk_that_was_found_begun_and_empty_is_used_again() {
    let small = Small::new(1 << 30, tiny_store(), &[p(), q()]);
    small.world.config.set(LogConfig {
        retention_ms: None,
        ..LogConfig::default()
    });
    small.run(|node| async move {
        // Two frames in one chunk, and one in the next.
        for size in [100, 100, 8_000] {
            assert!(node.append(p(), |base, epoch| batch(0, base, epoch, 3, size)));
            durable(&node, p()).await;
        }
    });
    small.sim.lose_power();
    let lying = frames(&small, p());
    let (first, second) = (&lying[1], &lying[2]);
    assert_ne!(first.0, second.0);
    // The second frame is damaged; the one in the next chunk was not finished when the power went.
    for ((path, position, frame), whole) in [(first, true), (second, false)] {
        let mut content = small
            .sim
            .disk()
            .content(Path::new(path))
            .expect("it is there");
        let end = position + frame.frame_bytes as usize;
        let from = if whole { 0 } else { FRAME_HEADER_BYTES };
        content[position + from..end].fill(0);
        small.sim.disk().put(Path::new(path), &content);
    }
    let mut models = small.world.models.borrow_mut();
    models.get_mut(&p()).expect("known").acked = 6;
    drop(models);
    small.world.damaged.set(true);
    small.run(|node| async move {
        let log = node.logs.borrow()[&p()].clone();
        assert_eq!(log.recovery().quarantined, [Offset(3)..Offset(6)]);
        assert_eq!(log.end_offset(), Offset(6));
        // The chunk before gets frames again, and what it holds is still found.
        let read = log.read(Offset(0), Offset(3), 10_000, true).await;
        assert_eq!(read.expect("undamaged").next_offset, Offset(3));
        // Too large for the empty chunk, which is free from then on.
        assert!(node.append(p(), |base, epoch| batch(0, base, epoch, 1, 300_000)));
        durable(&node, p()).await;
        with_disk(|disk| {
            let used = disk.used_bytes();
            disk.options_mut().capacity_bytes = used;
        });
        assert!(node.append(q(), |base, epoch| batch(0, base, epoch, 1, 100)));
        durable(&node, q()).await;
    });
}
