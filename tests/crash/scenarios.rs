//! Single situations that chance meets too rarely, set up by hand on the medium.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use corelog::frame::{ChunkStamp, FRAME_HEADER_BYTES, FrameHeader, FrameKind};
use corelog::io;
use corelog::io::sim::{Chance, Fault, OpKind, Outcome, Simulation, with_disk};
use corelog::log::{self, Durability, LogConfig, ReadError, StoreConfig, checkpoint};
use corelog::model::{Offset, PartitionId, Timestamp};

use super::model::batch;
use super::node::{DIR, Node, World, partition, tiny_store};
use super::random::small_segments;
use super::workload::{self, Habits};

pub const BLOCK: usize = 4096;

pub fn the_partition() -> PartitionId {
    partition(1, 0)
}

pub fn one_segment() -> LogConfig {
    LogConfig {
        retention_ms: None,
        ..LogConfig::default()
    }
}

/// A store with chunks of these sizes.
pub fn store_of(chunk_bytes: &[u64]) -> StoreConfig {
    StoreConfig {
        chunk_bytes: chunk_bytes.to_vec(),
        ..tiny_store()
    }
}

/// A machine and what it has promised about one partition.
pub struct Case {
    pub sim: Simulation,
    pub world: Rc<World>,
}

/// A frame on the medium.
#[derive(Clone, Debug)]
pub struct Lying {
    pub path: String,
    pub position: usize,
    pub header: FrameHeader,
}

impl Case {
    pub fn new() -> Case {
        Case::with(7, tiny_store(), &[the_partition()])
    }

    /// A machine with these logs, of one segment each.
    pub fn with(seed: u64, store: StoreConfig, partitions: &[PartitionId]) -> Case {
        Case {
            sim: Simulation::new(seed),
            world: World::new(store, one_segment(), partitions),
        }
    }

    /// All small frames of a day stand in one chunk.
    pub fn with_one_chunk() -> Case {
        Case::with(7, store_of(&[64 << 10, 2 << 20]), &[the_partition()])
    }

    /// Starts the broker, lets `act` happen, and lets the power go.
    pub fn run<F: Future<Output = ()> + 'static>(
        &self,
        act: impl Fn(Rc<Node>) -> F + Clone + 'static,
    ) {
        self.run_on(act);
        self.sim.lose_power();
    }

    /// Starts the broker and lets `act` happen.
    pub fn run_on<F: Future<Output = ()> + 'static>(
        &self,
        act: impl Fn(Rc<Node>) -> F + Clone + 'static,
    ) {
        let world = self.world.clone();
        let outcome = self.sim.run_cores(1, move |_| {
            let (world, act) = (world.clone(), act.clone());
            async move { act(Node::start(&world).await).await }
        });
        assert_eq!(outcome, Outcome::Finished);
    }

    /// The partition's frames as they lie, in the order of their sequences.
    pub fn frames(&self) -> Vec<Lying> {
        let disk = self.sim.disk();
        let mut frames = Vec::new();
        for path in disk
            .paths()
            .into_iter()
            .filter(|path| path.ends_with(".chunk"))
        {
            let content = disk.content(Path::new(&path)).expect("it has a name");
            for (index, block) in content.chunks(BLOCK).enumerate() {
                if let Ok(header) = FrameHeader::read(block) {
                    let position = index * BLOCK;
                    frames.push(Lying {
                        path: path.clone(),
                        position,
                        header,
                    });
                }
            }
        }
        frames.sort_by_key(|frame| (frame.header.sequence, frame.header.incarnation));
        frames
    }

    pub fn overwrite(&self, path: &str, position: usize, bytes: &[u8]) {
        let mut disk = self.sim.disk();
        let mut content = disk.content(Path::new(path)).expect("it has a name");
        content[position..position + bytes.len()].copy_from_slice(bytes);
        disk.put(Path::new(path), &content);
    }

    pub fn erase(&self, frame: &Lying) {
        self.overwrite(
            &frame.path,
            frame.position,
            &vec![0; frame.header.frame_bytes as usize],
        );
    }

    fn content(&self, path: &str) -> Vec<u8> {
        self.sim
            .disk()
            .content(Path::new(path))
            .expect("it has a name")
    }
}

/// Appends batches, each durable before the next: a frame each.
pub async fn append_each(node: &Node, sizes: &[usize]) {
    let log = node.logs.borrow()[&the_partition()].clone();
    for size in sizes {
        assert!(node.append(the_partition(), |base, epoch| batch(
            0, base, epoch, 3, *size
        )));
        log.wait_durable(log.end_offset())
            .await
            .expect("the disk is well");
    }
}

/// Reads the batch at each offset; gives the offsets that are reported as damaged.
pub async fn damaged_offsets(node: &Node) -> Vec<i64> {
    let log = node.logs.borrow()[&the_partition()].clone();
    let model = node.world.models.borrow()[&the_partition()].clone();
    let mut damaged = Vec::new();
    for from in log.start_offset().0..log.durable_offset().0 {
        match log.read(Offset(from), log.durable_offset(), 1, true).await {
            Ok(slices) => {
                model.check_slices(from, &slices);
                assert!(slices.next_offset.0 > from);
            }
            Err(ReadError::Corrupt { .. }) => damaged.push(from),
            Err(error) => panic!("{from}: {error:?}"),
        }
    }
    damaged
}

#[test]
fn a_frame_that_a_producer_forged_is_not_believed() {
    let case = Case::new();
    case.run(|node| async move { append_each(&node, &[100, 100]).await });
    let last = case.frames().pop().expect("two frames");
    // A record that holds the image of the very next frame, and of one that claims more; all of
    // it right but for the nonce, which never leaves the broker. A torn write leaves it bare.
    let chunk = ChunkStamp {
        nonce: [0x55; 16],
        ..last.header.chunk
    };
    let payload = batch(9, last.header.end_offset.0, 1, 3, 100).bytes;
    let mut frame = vec![0; BLOCK];
    frame[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + payload.len()].copy_from_slice(&payload);
    let next = FrameHeader {
        kind: FrameKind::Data,
        chunk,
        batch_count: 1,
        payload_bytes: payload.len() as u32,
        batches_crc: crc32c::crc32c(&payload[..61]),
        previous_crc: last.header.crc,
        sequence: last.header.sequence + 1,
        base_offset: last.header.end_offset,
        end_offset: last.header.end_offset + 3,
        ..last.header
    };
    let end = last.position + last.header.frame_bytes as usize;
    next.write(&mut frame);
    case.overwrite(&last.path, end, &frame);
    let claim = FrameHeader {
        sequence: next.sequence + 5,
        durable_through: next.sequence + 4,
        base_offset: next.end_offset,
        end_offset: next.end_offset + 3,
        ..next
    };
    claim.write(&mut frame);
    case.overwrite(&last.path, end + BLOCK, &frame);
    // The checks of every start: the log is what was appended, and nothing of it is damaged.
    case.run(|node| async move { append_each(&node, &[100]).await });
}

#[test]
fn each_life_of_a_chunk_has_a_nonce_of_its_own() {
    let world = World::new(tiny_store(), small_segments(), &[the_partition()]);
    let case = Case {
        sim: Simulation::new(8),
        world,
    };
    let mut lives: BTreeMap<[u8; 16], (String, u64)> = BTreeMap::new();
    let mut recycled = false;
    for day in 0..6 {
        case.run(move |node| async move {
            let habits = Habits {
                deletes: false,
                ..Habits::default()
            };
            workload::run(&node, &mut Chance::new(day, "day"), habits).await;
        });
        for frame in case.frames() {
            let ChunkStamp { generation, nonce } = frame.header.chunk;
            recycled |= generation > 1;
            let life = (frame.path.clone(), generation);
            let known = lives.insert(nonce, life.clone());
            assert!(
                known.is_none_or(|known| known == life),
                "{life:?} has another's nonce"
            );
        }
    }
    assert!(recycled, "chunks are recycled");
}

/// Erases the frames `erased` (by index) of a log that was sealed; the records of these, and no
/// others, must be reported as damaged.
fn check_erased(sizes: &'static [usize], erased: &[usize], expected: &[std::ops::Range<i64>]) {
    for checkpoints in [false, true] {
        check_erased_with(sizes, erased, expected, checkpoints);
    }
}

fn check_erased_with(
    sizes: &'static [usize],
    erased: &[usize],
    expected: &[std::ops::Range<i64>],
    checkpoints: bool,
) {
    let case = Case::new();
    case.run(move |node| async move {
        append_each(&node, sizes).await;
        let log = node.logs.borrow()[&the_partition()].clone();
        log.close().await.expect("the disk is well");
    });
    let frames = case.frames();
    for index in erased {
        case.erase(&frames[*index]);
    }
    case.world.damaged.set(true);
    let expected: Vec<i64> = expected.iter().cloned().flatten().collect();
    // The verdict stays the same when the log has gone on behind the damage.
    for _ in 0..3 {
        let expected = expected.clone();
        case.run(move |node| {
            let expected = expected.clone();
            async move {
                let log = node.logs.borrow()[&the_partition()].clone();
                let quarantined: Vec<i64> = log
                    .recovery()
                    .quarantined
                    .iter()
                    .flat_map(|range| range.start.0..range.end.0)
                    .collect();
                assert_eq!(quarantined, expected, "as recovery reports it");
                assert_eq!(damaged_offsets(&node).await, expected, "as readers find it");
                append_each(&node, &[100, 100]).await;
                assert_eq!(
                    damaged_offsets(&node).await,
                    expected,
                    "with more behind it"
                );
                if checkpoints {
                    // The next start does not read what lies before it.
                    workload::checkpoint_all(&node).await;
                }
            }
        });
    }
}

#[test]
fn damage_below_what_was_durable_is_kept_apart_and_nothing_behind_it_is_lost() {
    check_erased(&[100, 100, 100, 100], &[1], std::slice::from_ref(&(3..6)));
    check_erased(&[100, 100, 100, 100], &[0], std::slice::from_ref(&(0..3)));
    check_erased(&[100, 100, 100, 100], &[3], std::slice::from_ref(&(9..12)));
    check_erased(
        &[100, 100, 100, 100],
        &[1, 2],
        std::slice::from_ref(&(3..9)),
    );
    check_erased(&[100, 100, 100, 100, 100], &[1, 3], &[3..6, 9..12]);
    // Long enough to reach over several chunks.
    let sizes = &[3_000; 12];
    check_erased(sizes, &[2, 3, 4, 5, 6], std::slice::from_ref(&(6..21)));
    check_erased(sizes, &[0, 1, 2, 11], &[0..9, 33..36]);
}

#[test]
fn the_last_frame_of_a_sealed_log_is_missed_wherever_in_its_chunk_it_ends() {
    // One more frame each time, over the ends of two chunks.
    for count in 1..=16 {
        let last = count as i64 * 3;
        check_erased(
            &[100; 16][..count],
            &[count - 1],
            std::slice::from_ref(&(last - 3..last)),
        );
    }
}

#[test]
fn a_tail_that_was_cut_off_never_comes_back() {
    let case = Case::new();
    // Two frames in flight together behind a durable one: neither claims the other.
    case.run(|node| async move {
        append_each(&node, &[100]).await;
        let id = the_partition();
        node.append(id, |base, epoch| batch(0, base, epoch, 1, 300_000));
        node.append(id, |base, epoch| batch(0, base, epoch, 1, 300_000));
        let log = node.logs.borrow()[&id].clone();
        log.wait_durable(log.end_offset())
            .await
            .expect("the disk is well");
    });
    let frames = case.frames();
    assert_eq!(frames[1].header.durable_through, 1);
    assert_eq!(frames[2].header.durable_through, 1, "both were in flight");
    // The power went while they were: the first of the two is lost, the second is there.
    case.erase(&frames[1]);
    case.world
        .models
        .borrow_mut()
        .get_mut(&the_partition())
        .expect("known")
        .acked = 3;
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.end_offset(), Offset(3), "the tail is cut");
        // The same offsets are given to other records, and a checkpoint remembers them.
        append_each(&node, &[100, 100]).await;
        workload::checkpoint_all(&node).await;
    });
    // Their frames are damaged. What the checkpoint knows to be durable must not be taken from
    // the old tail, which is still there, whole, and of the right sequence.
    let frames = case.frames();
    let new = frames
        .iter()
        .filter(|frame| frame.header.incarnation.0 == 2);
    new.for_each(|frame| case.erase(frame));
    assert!(
        case.frames().iter().any(|frame| frame.header.sequence == 3),
        "the old tail is there"
    );
    case.world.damaged.set(true);
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.end_offset(), Offset(9), "offsets are not given again");
        assert_eq!(damaged_offsets(&node).await, (3..9).collect::<Vec<_>>());
        append_each(&node, &[100]).await;
    });
}

#[test]
fn a_tail_that_was_cut_off_does_not_fill_a_gap_of_what_came_after() {
    let case = Case::new();
    case.run(|node| async move {
        append_each(&node, &[100]).await;
        let id = the_partition();
        node.append(id, |base, epoch| batch(0, base, epoch, 1, 300_000));
        node.append(id, |base, epoch| batch(0, base, epoch, 1, 300_000));
        let log = node.logs.borrow()[&id].clone();
        log.wait_durable(log.end_offset())
            .await
            .expect("the disk is well");
    });
    // The first of the two in flight is lost, the second is there: sequence 3 of the first start.
    case.erase(&case.frames()[1]);
    let mut model = case.world.models.borrow_mut();
    model.get_mut(&the_partition()).expect("known").acked = 3;
    drop(model);
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.end_offset(), Offset(3), "the tail is cut");
        append_each(&node, &[100, 100, 100]).await;
    });
    // Of the second start, sequences 2 and 3 are damaged. The next one says when that start began.
    for frame in case.frames() {
        let is_later = frame.header.incarnation.0 == 2;
        if is_later && (2..=3).contains(&frame.header.sequence) {
            case.erase(&frame);
        }
    }
    case.world.damaged.set(true);
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.end_offset(), Offset(12));
        assert_eq!(damaged_offsets(&node).await, (3..9).collect::<Vec<_>>());
    });
}

#[test]
fn a_footer_of_frames_that_were_cut_off_is_not_used() {
    let case = Case::new();
    // Fills a chunk, and begins the next, so that the first one's footer is written.
    case.run_on(|node| async move {
        append_each(&node, &[1_000, 1_000, 1_000, 1_000, 8_000]).await;
        io::sleep(Duration::from_secs(1)).await;
    });
    let frames = case.frames();
    let (first, second) = (frames[0].path.clone(), frames[4].path.clone());
    assert_ne!(
        first, second,
        "the last frame has no room in the first chunk"
    );
    let third_at = frames[2].position;
    let footer_at = case.content(&first).len() - BLOCK;
    let old_footer = case.content(&first)[footer_at..].to_vec();
    assert_eq!(&old_footer[4..8], b"CLIX", "the footer was written");
    // The second chunk never made it, nor did the last frames of the first.
    case.overwrite(&second, 0, &vec![0; 3 * BLOCK]);
    for frame in &frames[2..4] {
        case.erase(frame);
    }
    case.world.damaged.set(true);
    let mut model = case.world.models.borrow_mut();
    let known = model.get_mut(&the_partition()).expect("known");
    known.acked = 6;
    known.batches.truncate(2);
    drop(model);
    // Other frames take their place: one with records that are newer than all of those, and then
    // the chunk is left again.
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.end_offset(), Offset(6));
        assert!(node.append(the_partition(), |base, epoch| batch(0, base, epoch, 40, 60)));
        log.wait_durable(log.end_offset())
            .await
            .expect("the disk is well");
        append_each(&node, &[8_000]).await;
        // The next start begins at the second chunk, and knows of the first what its footer says.
        workload::checkpoint_all(&node).await;
    });
    let frames = case.frames();
    let newer = &frames[2];
    assert_eq!(newer.header.base_offset, Offset(6));
    assert_eq!(
        (newer.path.as_str(), newer.position),
        (first.as_str(), third_at),
        "the frames end where the footer says"
    );
    // The footer that belongs to them was not synced, and is lost.
    case.overwrite(&first, footer_at, &old_footer);
    case.run(|node| async move {
        assert!(damaged_offsets(&node).await.is_empty());
        let log = node.logs.borrow()[&the_partition()].clone();
        let batches = node.world.models.borrow()[&the_partition()].batches.clone();
        for batch in &batches {
            let found = log.find_timestamp(Timestamp(batch.max_timestamp), Offset(batch.base));
            assert_eq!(
                found.await.expect("nothing is damaged"),
                Some(batch.bytes.clone())
            );
        }
    });
}

#[test]
fn a_chunk_header_survives_damage_to_one_of_its_copies() {
    for copy in [0, BLOCK] {
        let case = Case::new();
        case.run(|node| async move { append_each(&node, &[1_000, 1_000]).await });
        let path = case.frames()[0].path.clone();
        case.overwrite(&path, copy, &[0xff; 512]);
        case.run(|node| async move { append_each(&node, &[1_000]).await });
    }
}

#[test]
fn a_chunk_whose_header_is_destroyed_is_known_by_its_first_frame() {
    // Each chunk of a log over several of them, the last one included; and all at once.
    for destroyed in [0..1, 1..2, 2..3, 0..3] {
        let case = Case::new();
        case.run(|node| async move { append_each(&node, &[3_000; 12]).await });
        let mut paths: Vec<String> = case.frames().into_iter().map(|frame| frame.path).collect();
        paths.dedup();
        assert_eq!(paths.len(), 3);
        for path in &paths[destroyed] {
            case.overwrite(path, 0, &vec![0xff; 2 * BLOCK]);
        }
        // The checks of every start: nothing is missing.
        case.run(|node| async move { append_each(&node, &[3_000]).await });
        case.run(|node| async move { append_each(&node, &[3_000]).await });
    }
}

#[test]
fn a_chunk_that_nobody_knows_is_left_alone() {
    let case = Case::new();
    case.run(|node| async move { append_each(&node, &[3_000; 12]).await });
    let middle = case.frames()[2].path.clone();
    case.overwrite(&middle, 0, &vec![0xff; 3 * BLOCK]);
    let before = case.content(&middle);
    case.world.damaged.set(true);
    for _ in 0..2 {
        case.run(|node| async move {
            let inventory = log::scan(Path::new(DIR)).await.expect("the disk is well");
            assert_eq!(inventory.unreadable().len(), 1);
            assert!(!damaged_offsets(&node).await.is_empty(), "it is missed");
            append_each(&node, &[3_000; 12]).await;
        });
        assert!(case.content(&middle) == before, "it is as it was");
    }
}

#[test]
fn a_chunk_that_cannot_be_read_ends_the_start() {
    for kind in [OpKind::Read, OpKind::Open] {
        let case = Case::new();
        case.run(|node| async move { append_each(&node, &[3_000; 12]).await });
        let outcome = case.sim.run_cores(1, move |_| async move {
            with_disk(|disk| disk.inject(Fault::error(kind).on(".chunk").after(1)));
            let error = log::scan(Path::new(DIR))
                .await
                .expect_err("a chunk is missing");
            let text = error.to_string();
            assert!(
                text.contains(".chunk: ") && text.contains("likely cause"),
                "{text}"
            );
            with_disk(|disk| disk.heal());
        });
        assert_eq!(outcome, Outcome::Finished);
        case.run(|node| async move { append_each(&node, &[3_000]).await });
    }
}

#[test]
fn metadata_survives_a_power_cut_whatever_the_records_wait_for() {
    let store = StoreConfig {
        durability: Durability::Written,
        ..tiny_store()
    };
    let case = Case::with(9, store, &[PartitionId::METADATA]);
    for _ in 0..3 {
        case.run_on(|node| async move {
            let log = node.logs.borrow()[&PartitionId::METADATA].clone();
            for _ in 0..3 {
                let metadata = PartitionId::METADATA;
                assert!(node.append(metadata, |base, epoch| batch(0, base, epoch, 1, 100)));
                let appended = log.wait_durable(log.end_offset()).await;
                appended.expect("the disk is well");
            }
        });
        // The checks of every start: what was reported durable is there.
        case.sim.disk().lose_all_volatile();
    }
}

#[test]
fn a_file_that_somebody_has_truncated_is_damage() {
    // In the middle of the second frame, in front of it, and in front of everything.
    for length in [6, 5, 2] {
        let case = Case::new();
        case.run_on(move |node| async move {
            append_each(&node, &[3_000, 3_000, 3_000]).await;
            // The log is sealed, its buffers and its file are given back.
            io::sleep(Duration::from_secs(10)).await;
            let log = node.logs.borrow()[&the_partition()].clone();
            with_disk(|disk| {
                for path in disk.paths().iter().filter(|path| path.ends_with(".chunk")) {
                    let content = disk.content(Path::new(path)).expect("it has a name");
                    disk.put(Path::new(path), &content[..length * BLOCK]);
                }
            });
            for from in [0, 3, 6] {
                let read = log.read(Offset(from), log.durable_offset(), 100_000, true);
                let read = io::timeout(Duration::from_secs(60), read).await;
                match read.expect("a read ends") {
                    Err(ReadError::Corrupt { .. }) => {}
                    Ok(slices) => assert!(from < slices.next_offset.0 && slices.next_offset.0 < 9),
                    Err(error) => panic!("{from}: {error:?}"),
                }
            }
        });
    }
}

#[test]
fn checkpoints_of_one_core_do_not_get_in_each_others_way() {
    let case = Case::new();
    case.run(|node| async move {
        append_each(&node, &[100]).await;
        let log = node.logs.borrow()[&the_partition()].clone();
        let write =
            |state: Vec<u8>| checkpoint::write(&node.stores[0], vec![log.checkpoint(state)]);
        let state = node.world.models.borrow()[&the_partition()].state(3);
        let writes = (0..4).map(|_| write(state.clone()));
        for written in futures_util::future::join_all(writes).await {
            written.expect("the disk is well");
        }
    });
    case.run(|_| async {});
}

#[test]
fn the_largest_timestamp_is_that_of_what_is_durable_and_left() {
    let case = Case::new();
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        // Of the first seven records each is older than the one before.
        for _ in 0..7 {
            append_one(&node);
        }
        log.wait_durable(log.end_offset())
            .await
            .expect("the disk is well");
        assert_eq!(log.max_timestamp(), Timestamp(1_000_000));
        // One that is newer, and being written.
        append_one(&node);
        for _ in 0..20 {
            io::yield_now().await;
        }
        assert_eq!(log.durable_offset(), Offset(7), "it is being written");
        assert_eq!(log.max_timestamp(), Timestamp(1_000_000));
        log.wait_durable(log.end_offset())
            .await
            .expect("the disk is well");
        assert_eq!(log.max_timestamp(), Timestamp(1_000_070));
        // Three more in one frame, all older than the newest, each older than the one before.
        for _ in 0..3 {
            append_one(&node);
        }
        log.wait_durable(log.end_offset())
            .await
            .expect("the disk is well");
        assert_eq!(log.max_timestamp(), Timestamp(1_000_070));
        let left = [(0, 70), (7, 70), (8, 55), (9, 40), (10, 25)];
        for (from, newest) in left {
            let found = log.max_timestamp_from(Offset(from)).await;
            assert_eq!(found, Ok(Timestamp(1_000_000 + newest)), "from {from}");
        }
        let none = log.max_timestamp_from(Offset(11)).await;
        assert_eq!(none, Ok(Timestamp::NONE));
    });
}

fn append_one(node: &Node) {
    assert!(node.append(the_partition(), |base, epoch| batch(0, base, epoch, 1, 10)));
}

#[test]
fn no_frame_in_front_of_a_move_of_the_start_tells_of_it() {
    let store = StoreConfig {
        journal_bytes: 0,
        ..store_of(&[64 << 10, 2 << 20])
    };
    let case = Case::with(7, store, &[the_partition()]);
    case.run(|node| async move {
        let id = the_partition();
        append_each(&node, &[100]).await;
        let log = node.logs.borrow()[&id].clone();
        let to = log.end_offset();
        // It waits for a frame when the move comes.
        assert!(node.append(id, |base, epoch| batch(0, base, epoch, 3, 100)));
        let known = node.owner_state(id);
        log.set_start_offset(to, known).await.expect("all is well");
        let mut models = node.world.models.borrow_mut();
        let model = models.get_mut(&id).expect("it is known");
        (model.start_requested, model.start) = (to.0, to.0);
    });
    let frames = case.frames();
    let told: Vec<(FrameKind, i64)> = frames
        .iter()
        .map(|frame| (frame.header.kind, frame.header.log_start_offset.0))
        .collect();
    let data = |start| (FrameKind::Data, start);
    let expected = [data(0), data(0), (FrameKind::Mark, 3)];
    assert_eq!(told, expected);
    case.run(|_| async {});
}
