//! What is lost by damage: what is known of it stays known, and who is in its way is not stuck.

use std::cell::RefCell;
use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use corelog::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind, Incarnation};
use corelog::io;
use corelog::io::sim::{Fault, OpKind, Outcome, Simulation, with_disk};
use corelog::log::{self, ChunkStore, Durability, Log, LogConfig, StoreConfig, checkpoint};
use corelog::model::{CoreId, LeaderEpoch, Offset, PartitionId, Timestamp};

use super::journal::{append_to_all, logs, rounds};
use super::model::batch;
use super::node::{DIR, Node, World, partition, tiny_store};
use super::scenarios::{BLOCK, Case, append_each, damaged_offsets, one_segment, the_partition};
use super::workload;

/// What must not take for ever.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = io::timeout(Duration::from_secs(120), future).await;
    ended.unwrap_or_else(|| panic!("{what} takes for ever"))
}

/// No chunk is to be had any more, whatever is asked for.
pub fn no_space() -> Fault {
    Fault::error(OpKind::Allocate).with_errno(28).lasting()
}

/// Sets what was promised of the partition: that all below `acked` is durable, and no more is
/// there.
pub fn promised(case: &Case, acked: i64) {
    let mut models = case.world.models.borrow_mut();
    let model = models.get_mut(&the_partition()).expect("known");
    model.acked = acked;
    model.batches.retain(|batch| batch.end <= acked);
}

/// The last of two frames is damaged, of which a checkpoint knew that it is durable.
fn check_last_frame_is_missed(case: &Case) {
    case.sim.disk().heal();
    let durable = case.frames();
    let last = durable.iter().find(|frame| frame.header.sequence == 2);
    case.erase(last.expect("it is there"));
    promised(case, 6);
    case.world.damaged.set(true);
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.end_offset(), Offset(6), "offsets are not given again");
        assert_eq!(damaged_offsets(&node).await, [3, 4, 5]);
    });
}

#[test]
fn a_checkpoint_keeps_what_the_one_before_knew_of_a_log_that_waits_for_space() {
    let case = Case::new();
    case.run(|node| async move {
        append_each(&node, &[100, 100]).await;
        workload::checkpoint_all(&node).await;
        with_disk(|disk| disk.inject(no_space()));
        let id = the_partition();
        // It has no place in the chunk.
        assert!(node.append(id, |base, epoch| batch(0, base, epoch, 1, 300_000)));
        for _ in 0..3 {
            io::sleep(Duration::from_secs(1)).await;
            soon("a checkpoint", workload::checkpoint_all(&node)).await;
        }
        let log = node.logs.borrow()[&id].clone();
        assert!(log.durable_offset() < log.end_offset(), "it waits");
    });
    check_last_frame_is_missed(&case);
}

#[test]
fn a_checkpoint_keeps_what_the_one_before_knew_of_a_log_that_cannot_be_opened() {
    let case = Case::new();
    case.run(|node| async move {
        append_each(&node, &[100, 100]).await;
        workload::checkpoint_all(&node).await;
    });
    let outcome = case.sim.run_cores(1, |_| async {
        let dir = Path::new(DIR);
        let mut inventory = log::scan(dir).await.expect("the disk is well");
        // The number of cores has changed: what is known of it stood in another core's file.
        let core = CoreId(1);
        let store = ChunkStore::open(dir, core, inventory.pool(core, 2), tiny_store());
        let found = inventory.take(the_partition());
        with_disk(|disk| disk.inject(Fault::error(OpKind::Read).on(".chunk")));
        let incarnation = Incarnation(50);
        let id = the_partition();
        let opened = Log::open(&store, id, found, one_segment(), incarnation, |_| {}).await;
        assert!(opened.is_err(), "its chunk cannot be read");
        with_disk(|disk| disk.heal());
        for _ in 0..2 {
            let written = checkpoint::write(&store, Vec::new()).await;
            written.expect("the disk is well");
        }
        // The other core writes one without it.
        let other = inventory.pool(CoreId(0), 2);
        let other = ChunkStore::open(dir, CoreId(0), other, tiny_store());
        let written = checkpoint::write(&other, Vec::new()).await;
        written.expect("the disk is well");
    });
    assert_eq!(outcome, Outcome::Finished);
    case.sim.lose_power();
    check_last_frame_is_missed(&case);
}

/// Appends a batch of three small records under this epoch.
pub fn append_in_epoch(node: &Node, id: PartitionId, epoch: i32) {
    let log = node.logs.borrow()[&id].clone();
    let base = log.end_offset();
    let batch = batch(0, base.0, epoch, 3, 100);
    let newest = Timestamp(batch.max_timestamp);
    let appended = log.append(&batch.bytes, base, LeaderEpoch(epoch), newest);
    appended.expect("there is space");
    let mut models = node.world.models.borrow_mut();
    models.get_mut(&id).expect("known").batches.push(batch);
}

#[test]
fn what_is_damaged_twice_ends_the_log_behind_all_that_is_known_of_it() {
    let case = Case::with_one_chunk();
    case.run(|node| async move {
        append_each(&node, &[100]).await;
        // Three frames in one write: another leader epoch is another frame.
        for later in 0..3 {
            append_in_epoch(&node, the_partition(), node.epoch + later);
        }
        let log = node.logs.borrow()[&the_partition()].clone();
        let written = log.wait_durable(log.end_offset()).await;
        written.expect("the disk is well");
    });
    let frames = case.frames();
    assert_eq!(frames[2].header.durable_through, 1, "in flight together");
    let together = FrameHeader {
        durable_through: 1,
        ..frames[3].header
    };
    let mut block = vec![0; FRAME_HEADER_BYTES];
    together.write(&mut block);
    case.overwrite(&frames[3].path, frames[3].position, &block);
    // The first of the three did not reach the disk.
    case.erase(&frames[1]);
    promised(&case, 3);
    case.world.starts.set(5);
    case.run(|node| async move {
        // Too long for the present chunk: the cut is known from the next one's header.
        append_each(&node, &[100_000]).await;
    });
    // Of what is durable nothing can be read; frames that were cut off are still there.
    let frames = case.frames();
    assert_eq!(frames.len(), 4);
    case.erase(&frames[0]);
    let later = frames.iter().find(|frame| frame.header.incarnation.0 == 2);
    case.erase(later.expect("it is there"));
    case.world.damaged.set(true);
    for _ in 0..2 {
        case.run(|node| async move {
            let log = node.logs.borrow()[&the_partition()].clone();
            assert!(log.end_offset() >= Offset(6));
            assert_eq!(
                log.recovery().quarantined.first(),
                Some(&(Offset(0)..Offset(6)))
            );
            append_each(&node, &[100]).await;
            let damaged = damaged_offsets(&node).await;
            assert_eq!(damaged, (0..6).collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_claim_of_what_the_checkpoint_knows_says_nothing_of_where_it_ended() {
    let case = Case::with_one_chunk();
    case.run(|node| async move {
        append_each(&node, &[100]).await;
        let log = node.logs.borrow()[&the_partition()].clone();
        let state = node.owner_state(the_partition())();
        let entry = log.checkpoint(state);
        append_each(&node, &[100]).await;
        // It is written when more is durable than when it was made.
        let written = checkpoint::write(&node.stores[0], vec![entry]).await;
        written.expect("the disk is well");
        append_each(&node, &[100, 100]).await;
    });
    let frames = case.frames();
    // The first of the two did not reach the disk; the other was built before it was durable.
    case.erase(&frames[2]);
    let together = FrameHeader {
        durable_through: 2,
        ..frames[3].header
    };
    let mut block = vec![0; FRAME_HEADER_BYTES];
    together.write(&mut block);
    case.overwrite(&frames[3].path, frames[3].position, &block);
    promised(&case, 6);
    case.world.starts.set(5);
    case.run(|node| async move {
        // Too long for the present chunk: the cut is known from the next one's header.
        append_each(&node, &[100_000]).await;
    });
    // Nor did this frame, and one that was durable is damaged.
    let frames = case.frames();
    let later = frames.iter().find(|frame| frame.header.incarnation.0 == 2);
    case.erase(later.expect("it is there"));
    case.erase(&frames[1]);
    promised(&case, 6);
    case.world.damaged.set(true);
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.recovery().quarantined, [Offset(3)..Offset(6)]);
        assert_eq!(log.end_offset(), Offset(6));
    });
}

async fn delete_all(node: &Rc<Node>) {
    let all = node.logs.take();
    for (id, log) in all {
        node.world.models.borrow_mut().remove(&id);
        node.world.deleted.borrow_mut().push(id);
        let deleted = soon("a deletion", log.delete()).await;
        deleted.expect("the disk is well");
    }
}

/// A log of which a checkpoint knows that its last frame was durable, and that is damaged.
fn behind_a_lost_frame() -> Case {
    let store = StoreConfig {
        prewrite: false,
        ..tiny_store()
    };
    let case = Case::with(64, store, &[the_partition()]);
    case.run(|node| async move {
        append_each(&node, &[100]).await;
        let log = node.logs.borrow()[&the_partition()].clone();
        let entry = log.checkpoint(Vec::new());
        append_each(&node, &[100]).await;
        // It is written when more is durable than when it was made.
        let written = checkpoint::write(&node.stores[0], vec![entry]).await;
        written.expect("the disk is well");
    });
    case.erase(&case.frames()[1]);
    case.world.damaged.set(true);
    remove_free_chunks(&case.sim);
    case
}

#[test]
fn a_log_behind_a_loss_that_a_checkpoint_knows_of_is_deleted_without_space() {
    let case = behind_a_lost_frame();
    case.sim.disk().inject(no_space());
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.recovery().quarantined, [Offset(3)..Offset(6)]);
        assert_eq!(log.end_offset(), Offset(6));
        delete_all(&node).await;
    });
    case.sim.disk().heal();
    case.run(|_| async {});
}

#[test]
fn a_log_behind_a_loss_moves_its_start_with_space_of_the_reserve() {
    let case = behind_a_lost_frame();
    let store = StoreConfig {
        reserve_bytes: 1 << 50,
        ..case.world.store.clone()
    };
    let world = World::new(store, one_segment(), &[the_partition()]);
    world.models.swap(&case.world.models);
    world.starts.set(case.world.starts.get());
    world.damaged.set(true);
    let case = Case { world, ..case };
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.recovery().quarantined, [Offset(3)..Offset(6)]);
        assert!(node.append(the_partition(), |base, epoch| batch(0, base, epoch, 1, 100)));
        io::sleep(Duration::from_secs(3)).await;
        assert!(node.stores[0].is_full(), "nobody else has space");
        assert_eq!(log.durable_offset(), Offset(6), "it waits");
        let moved = soon("a move", log.set_start_offset(Offset(6), Vec::new)).await;
        moved.expect("the disk is well");
        assert_eq!(log.start_offset(), Offset(6));
    });
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.start_offset(), Offset(6));
        assert!(log.recovery().quarantined.is_empty());
    });
}

/// Logs that are written without syncs take over what a journal has, with a loss in the midst.
/// Gives the machine as it is then, what was lost of each log, and what outlives the machine.
fn written_behind_a_loss(append_count: usize) -> (Simulation, Rc<World>, Losses) {
    let (sim, world) = behind_a_damaged_round(1);
    let store = StoreConfig {
        durability: Durability::Written,
        ..world.store.clone()
    };
    let written = World::new(store, world.config.get(), &logs(6));
    written.models.swap(&world.models);
    written.starts.set(world.starts.get());
    written.damaged.set(true);
    let lost = Losses::default();
    let (today, losses) = (written.clone(), lost.clone());
    let outcome = sim.run_cores(1, move |_| {
        let (world, losses) = (today.clone(), losses.clone());
        async move {
            let node = Node::start(&world).await;
            assert!(journaled(&node) > 6, "some of it before the loss");
            losses.replace(losses_of(&node));
            io::sleep(Duration::from_secs(1)).await;
            for _ in 0..append_count {
                append_to_all(&node, &logs(6), 100).await;
            }
        }
    });
    assert_eq!(outcome, Outcome::Finished);
    (sim, written, lost)
}

type Losses = Rc<RefCell<Vec<Vec<Range<Offset>>>>>;

fn losses_of(node: &Node) -> Vec<Vec<Range<Offset>>> {
    let logs = node.logs.borrow();
    let lost = logs.values().map(|log| log.recovery().quarantined.clone());
    let lost: Vec<_> = lost.collect();
    assert!(lost.iter().all(|ranges| ranges.len() == 1), "{lost:?}");
    lost
}

/// A start that finds what is there, and the same losses as the one before.
fn check_losses(sim: &Simulation, world: Rc<World>, lost: Losses) {
    let outcome = sim.run_cores(1, move |_| {
        let (world, lost) = (world.clone(), lost.clone());
        async move {
            let node = Node::start(&world).await;
            assert_eq!(losses_of(&node), *lost.borrow());
        }
    });
    assert_eq!(outcome, Outcome::Finished);
}

#[test]
fn what_is_written_behind_a_loss_survives_the_end_of_the_process() {
    let (sim, world, lost) = written_behind_a_loss(2);
    check_losses(&sim, world, lost);
}

#[test]
fn what_is_only_written_before_a_loss_is_not_called_durable() {
    let (sim, world, lost) = written_behind_a_loss(0);
    sim.lose_power();
    check_losses(&sim, world, lost);
}

/// Removes the files of the chunks that nobody has.
pub fn remove_free_chunks(sim: &Simulation) {
    const FREE: u8 = 1;
    let outcome = sim.run_cores(1, |_| async {
        let is_free = |path: &String| {
            let content = with_disk(|disk| disk.content(Path::new(path)));
            path.ends_with(".chunk") && content.is_some_and(|content| content[10] == FREE)
        };
        let paths = with_disk(|disk| disk.paths());
        for path in paths.into_iter().filter(is_free) {
            let removed = io::fs::remove_file(&path).await;
            removed.expect("the disk is well");
        }
    });
    assert_eq!(outcome, Outcome::Finished);
}

/// A machine on which the records of several logs are in the journal, behind a frame of each, and
/// one round of all is damaged, behind `whole_count` others.
fn behind_a_damaged_round(whole_count: usize) -> (Simulation, Rc<World>) {
    let sim = Simulation::new(61);
    let store = StoreConfig {
        prewrite: false,
        ..tiny_store()
    };
    let config = LogConfig {
        retention_ms: None,
        ..LogConfig::default()
    };
    let world = World::new(store, config, &logs(6));
    let today = world.clone();
    let outcome = sim.run_cores(1, move |_| {
        let world = today.clone();
        async move {
            let node = Node::start(&world).await;
            for id in logs(6) {
                append_to_all(&node, &[id], 100).await;
            }
            for _ in 0..6 {
                append_to_all(&node, &logs(6), 100).await;
            }
        }
    });
    assert_eq!(outcome, Outcome::Finished);
    sim.lose_power();
    let rounds = rounds(&sim);
    let entries = |round: &(String, usize)| {
        let content = sim
            .disk()
            .content(Path::new(&round.0))
            .expect("it is there");
        content[round.1 + 12]
    };
    let mut full = rounds.iter().filter(|round| entries(round) == 6);
    let (path, position) = full.nth(whole_count).expect("one of all logs").clone();
    assert!(full.next().is_some(), "others stand behind it");
    sim.disk()
        .flip_bit(Path::new(&path), (position + 25) as u64, 0);
    world.damaged.set(true);
    remove_free_chunks(&sim);
    (sim, world)
}

#[test]
fn a_log_behind_a_loss_of_the_journal_is_deleted_without_space() {
    let (sim, world) = behind_a_damaged_round(0);
    sim.disk().inject(no_space());
    let today = world.clone();
    let outcome = sim.run_cores(1, move |_| {
        let world = today.clone();
        async move {
            let node = Node::start(&world).await;
            io::sleep(Duration::from_secs(1)).await;
            let logs = node.logs.borrow().clone();
            let lossy = logs
                .values()
                .filter(|log| !log.recovery().quarantined.is_empty());
            assert_eq!(lossy.count(), 6);
            assert!(node.stores[0].is_full());
            delete_all(&node).await;
        }
    });
    assert_eq!(outcome, Outcome::Finished);
    sim.disk().heal();
    sim.lose_power();
    let outcome = sim.run_cores(1, move |_| {
        let world = world.clone();
        async move { drop(Node::start(&world).await) }
    });
    assert_eq!(outcome, Outcome::Finished);
}

#[test]
fn a_log_start_ahead_of_the_frames_leaves_the_epochs_in_order() {
    let sim = Simulation::new(62);
    let world = World::new(tiny_store(), one_segment(), &logs(3));
    let today = world.clone();
    let outcome = sim.run_cores(1, move |_| {
        let world = today.clone();
        async move {
            let node = Node::start(&world).await;
            for _ in 0..4 {
                append_to_all(&node, &logs(3)[1..], 100).await;
            }
            // A frame, and then rounds of the next leader epoch.
            append_to_all(&node, &logs(1), 100).await;
            let open = node.logs.borrow().clone();
            for log in open.values() {
                log.flush().await.expect("nothing fails here");
            }
            for _ in 0..2 {
                for id in logs(3).into_iter().rev() {
                    append_in_epoch(&node, id, node.epoch + 1);
                }
                for id in logs(3) {
                    let log = node.logs.borrow()[&id].clone();
                    let end = log.end_offset();
                    log.wait_durable(end).await.expect("nothing fails here");
                    world.acknowledge(id, end.0);
                }
            }
        }
    });
    assert_eq!(outcome, Outcome::Finished);
    sim.lose_power();
    // On a full disk a move of the start goes ahead of the records that wait for a chunk.
    let id = partition(1, 0);
    let (path, position, last) = last_frame(&sim, id);
    let records = world.models.borrow()[&id].batches.clone();
    assert!(records.iter().map(|batch| batch.end).eq([2, 5, 8]));
    assert_eq!(
        last.end_offset,
        Offset(2),
        "the others are in the journal only"
    );
    let start = records.last().expect("some").base;
    let mark = FrameHeader {
        kind: FrameKind::Mark,
        batch_count: 0,
        frame_bytes: BLOCK as u32,
        payload_bytes: 0,
        batches_crc: 0,
        previous_crc: last.crc,
        sequence: last.sequence + 1,
        durable_through: last.sequence,
        base_offset: last.end_offset,
        max_timestamp: Timestamp::NONE,
        log_start_offset: Offset(start),
        ..last
    };
    let mut content = sim.disk().content(Path::new(&path)).expect("it has a name");
    let end = position + last.frame_bytes as usize;
    mark.write(&mut content[end..end + BLOCK]);
    sim.disk().put(Path::new(&path), &content);
    let outcome = sim.run_cores(1, move |_| async move {
        let dir = Path::new(DIR);
        let mut inventory = log::scan(dir).await.expect("the disk is well");
        let pool = inventory.pool(CoreId(0), 1);
        let store = ChunkStore::open(dir, CoreId(0), pool, tiny_store());
        let found = inventory.take(id);
        let incarnation = Incarnation(50);
        let opened = Log::open(&store, id, found, one_segment(), incarnation, |_| {}).await;
        let log = opened.expect("the disk is well");
        assert_eq!(log.start_offset(), Offset(start));
        // Before any of it is written again. The first epoch had ended before the log's start.
        let ends = [(1, start), (2, 8)];
        for (epoch, end) in ends {
            let epoch = LeaderEpoch(epoch);
            assert_eq!(log.epoch_end(epoch), Some((epoch, Offset(end))));
        }
    });
    assert_eq!(outcome, Outcome::Finished);
}

/// The partition's last frame: its file, where it lies, and its header.
fn last_frame(sim: &Simulation, id: PartitionId) -> (String, usize, FrameHeader) {
    let frames = frames_of(sim, id).into_iter();
    let last = frames.max_by_key(|(_, _, frame)| frame.sequence);
    last.expect("there is one")
}

/// The partition's frames, each with its file and where it lies.
pub fn frames_of(sim: &Simulation, id: PartitionId) -> Vec<(String, usize, FrameHeader)> {
    let disk = sim.disk();
    let mut frames = Vec::new();
    for path in disk.paths() {
        let content = disk.content(Path::new(&path)).unwrap_or_default();
        for (index, block) in content.chunks(BLOCK).enumerate() {
            let read = FrameHeader::read(block).ok();
            if let Some(frame) = read.filter(|frame| frame.partition == id) {
                frames.push((path.clone(), index * BLOCK, frame));
            }
        }
    }
    frames
}

#[test]
fn a_torn_write_behind_damage_takes_nothing_that_the_journal_has() {
    let case = Case::with(65, tiny_store(), &logs(3));
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        for _ in 0..4 {
            append_to_all(&node, &logs(3)[1..], 100).await;
        }
        for _ in 0..2 {
            append_to_all(&node, &logs(1), 100).await;
            log.flush().await.expect("the disk is well");
        }
        for _ in 0..2 {
            append_to_all(&node, &logs(3), 100).await;
        }
        // Another leader epoch is another frame, which goes out with the one before it.
        append_in_epoch(&node, the_partition(), node.epoch + 1);
        log.flush().await.expect("the disk is well");
    });
    let mut frames = frames_of(&case.sim, the_partition());
    frames.sort_by_key(|(_, _, frame)| frame.sequence);
    let offsets = |(_, _, frame): &(_, _, FrameHeader)| (frame.end_offset.0, frame.durable_through);
    let ends: Vec<(i64, u64)> = frames.iter().map(offsets).collect();
    assert_eq!(ends, [(2, 0), (4, 1), (8, 2), (11, 3)]);
    // The second is damaged. The last two were in one write, of which the first half did not reach
    // the disk, so that the other was not acknowledged.
    let (path, position, last) = &frames[3];
    let together = FrameHeader {
        durable_through: 2,
        ..*last
    };
    let mut block = vec![0; FRAME_HEADER_BYTES];
    together.write(&mut block);
    case.overwrite(path, *position, &block);
    for (path, position, frame) in &frames[1..3] {
        case.overwrite(path, *position, &vec![0; frame.frame_bytes as usize]);
    }
    promised(&case, 8);
    case.world.damaged.set(true);
    case.world.starts.set(5);
    for _ in 0..3 {
        case.run(|node| async move {
            let log = node.logs.borrow()[&the_partition()].clone();
            assert_eq!(damaged_offsets(&node).await, [2, 3]);
            append_each(&node, &[100]).await;
            log.flush().await.expect("the disk is well");
        });
    }
}

#[test]
fn a_journal_is_kept_until_frames_have_what_it_holds() {
    let sim = Simulation::new(63);
    let world = World::new(tiny_store(), one_segment(), &logs(12));
    let today = world.clone();
    let outcome = sim.run_cores(1, move |_| {
        let world = today.clone();
        async move {
            let node = Node::start(&world).await;
            // When the journal has its chunks, the other logs need none of their own.
            for _ in 0..4 {
                append_to_all(&node, &logs(3), 100).await;
            }
            for _ in 0..2 {
                append_to_all(&node, &logs(12), 100).await;
            }
        }
    });
    assert_eq!(outcome, Outcome::Finished);
    // Without space what the journal holds cannot go to its logs' chunks, however long it waits.
    for _ in 0..2 {
        sim.lose_power();
        remove_free_chunks(&sim);
        sim.disk().inject(no_space());
        let today = world.clone();
        let outcome = sim.run_cores(1, move |_| {
            let world = today.clone();
            async move {
                let node = Node::start(&world).await;
                assert!(journaled(&node) > 6, "some of it is in the journal only");
                io::sleep(Duration::from_secs(60)).await;
            }
        });
        assert_eq!(outcome, Outcome::Finished);
    }
    sim.disk().heal();
    sim.lose_power();
    let outcome = sim.run_cores(1, move |_| {
        let world = world.clone();
        // The checks of every start: what was acknowledged is there.
        async move { drop(Node::start(&world).await) }
    });
    assert_eq!(outcome, Outcome::Finished);
}

/// What the node's logs found in journals only, in batches.
fn journaled(node: &Node) -> u64 {
    let logs = node.logs.borrow();
    logs.values().map(|log| log.recovery().journaled).sum()
}
