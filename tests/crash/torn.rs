//! Two misfortunes at once: records that were durable are damaged, and the power has torn the write
//! that went on behind them.

use std::path::Path;
use std::time::Duration;

use corelog::frame::{FRAME_HEADER_BYTES, FrameHeader};
use corelog::io;
use corelog::io::sim::{Chance, Crash, CrashPoint, Outcome};
use corelog::model::Offset;

use super::damage::{append_in_epoch, no_space, promised, remove_free_chunks, soon};
use super::journal::{append_to_all, logs, rounds};
use super::model::batch;
use super::node::Node;
use super::scenarios::{Case, Lying, append_each, damaged_offsets, store_of, the_partition};
use super::workload::checkpoint_all;

/// One chunk has room for all frames of a case, unless they are large.
fn case_of(seed: u64) -> Case {
    case_in(seed, &[64 << 10, 16 << 20])
}

fn case_in(seed: u64, chunk_bytes: &[u64]) -> Case {
    Case::with(seed, store_of(chunk_bytes), &logs(3))
}

/// Appends to the partition, in a frame that ends at 2, behind rounds of other logs.
async fn begin(node: &Node) {
    for _ in 0..4 {
        append_to_all(node, &logs(3)[1..], 100).await;
    }
    append_to_all(node, &logs(1), 100).await;
    flush(node).await;
}

async fn flush(node: &Node) {
    let log = node.logs.borrow()[&the_partition()].clone();
    log.flush().await.expect("the disk is well");
}

/// Damages frames, and sets what was acknowledged before.
fn damage(case: &Case, damaged: &[usize], acked: i64) {
    let frames = frames_of(case);
    for index in damaged {
        case.erase(&frames[*index]);
    }
    promised(case, acked);
    case.world.damaged.set(true);
    case.world.starts.set(5);
}

/// Where the partition's frames end.
fn ends(case: &Case) -> Vec<i64> {
    let frames = frames_of(case).into_iter();
    frames.map(|frame| frame.header.end_offset.0).collect()
}

fn frames_of(case: &Case) -> Vec<Lying> {
    let mut frames = case.frames();
    frames.retain(|frame| frame.header.partition == the_partition());
    frames
}

/// Makes the last frames, `count` of them, ones that went out together with the one before them.
fn write_together(case: &Case, count: usize) {
    let frames = frames_of(case);
    let (before, last) = frames.split_at(frames.len() - count);
    let first = before.last().expect("there are some");
    for frame in last {
        let together = FrameHeader {
            durable_through: first.header.durable_through,
            ..frame.header
        };
        let mut block = vec![0; FRAME_HEADER_BYTES];
        together.write(&mut block);
        case.overwrite(&frame.path, frame.position, &block);
    }
}

/// The second frame, of which the journal has the first part, is damaged, and so is the first part
/// of the write behind it, of three frames, the first of them with records of `value_bytes`. `None`
/// if chance has it otherwise.
fn partly_journaled(case: Case, start: Offset, value_bytes: usize) -> Option<Case> {
    case.run(move |node| async move {
        begin(&node).await;
        let log = node.logs.borrow()[&the_partition()].clone();
        let moved = log.set_start_offset(start, Vec::new).await;
        moved.expect("the disk is well");
        append_to_all(&node, &logs(3), 100).await;
        // It joins what the journal has. Nobody shares a round with it: its frame is written.
        append_each(&node, &[100, value_bytes]).await;
        append_in_epoch(&node, the_partition(), node.epoch + 1);
        append_in_epoch(&node, the_partition(), node.epoch + 2);
        flush(&node).await;
    });
    let ends = ends(&case);
    let is_meant = ends.ends_with(&[2, 7, 10, 13, 16]) && shares_rounds(&case);
    write_together(&case, 2);
    let second = ends.len().checked_sub(4)?;
    damage(&case, &[second, second + 1], 7);
    is_meant.then_some(case)
}

/// All in one chunk.
fn in_one_chunk(seed: u64) -> Option<Case> {
    partly_journaled(case_of(seed), Offset(0), 100)
}

/// The write is in another chunk than the damage before it.
fn in_another_chunk(seed: u64) -> Option<Case> {
    let case = case_in(seed, &[64 << 10, 128 << 10]);
    let case = partly_journaled(case, Offset(0), 14_000)?;
    assert_two_chunks(&case, &[2, 13, 16]);
    Some(case)
}

/// The same, and the log's start has passed all that is whole of the first chunk.
fn in_front_of_the_log(seed: u64) -> Option<Case> {
    let case = case_in(seed, &[68 << 10]);
    let case = partly_journaled(case, Offset(2), 11_500)?;
    assert_two_chunks(&case, &[2, 2, 13, 16]);
    Some(case)
}

/// What is whole ends so, and of it the last two frames lie in a chunk of their own.
fn assert_two_chunks(case: &Case, whole: &[i64]) {
    assert_eq!(ends(case), whole);
    let mut frames = frames_of(case);
    let rest = frames.split_off(whole.len() - 2);
    assert_eq!(rest[0].path, rest[1].path);
    assert!(frames.iter().all(|frame| frame.path != rest[0].path));
}

/// The second frame is damaged, and the journal has none of it; it has all of the third, which was
/// the first half of a torn write. `None` if chance has it otherwise.
fn journaled_behind(seed: u64) -> Option<Case> {
    let case = case_of(seed);
    case.run(|node| async move {
        begin(&node).await;
        append_to_all(&node, &logs(1), 100).await;
        flush(&node).await;
        append_to_all(&node, &logs(3), 100).await;
        append_in_epoch(&node, the_partition(), node.epoch + 1);
        flush(&node).await;
    });
    let is_meant = ends(&case) == [2, 4, 6, 9] && shares_rounds(&case);
    write_together(&case, 1);
    damage(&case, &[1, 2], 6);
    is_meant.then_some(case)
}

#[test]
fn what_the_journal_has_in_part_is_not_where_the_log_ends() {
    let case = in_one_chunk(66).expect("as it is meant to be");
    for start in 0..3 {
        case.run(move |node| async move {
            let log = node.logs.borrow()[&the_partition()].clone();
            let cut = (start == 0).then_some(Offset(10));
            assert_eq!(log.recovery().cut, cut);
            assert_eq!(log.recovery().quarantined, [Offset(4)..Offset(10)]);
            assert_eq!(damaged_offsets(&node).await, [4, 5, 6, 7, 8, 9]);
            append_each(&node, &[100]).await;
            flush(&node).await;
        });
    }
}

/// Whether the partition was in time for a round with the others.
fn shares_rounds(case: &Case) -> bool {
    rounds(&case.sim).iter().any(|(path, position)| {
        let content = case.sim.disk().content(Path::new(path));
        content.expect("it is there")[position + 12] == 3
    })
}

/// The first start behind the damage writes a checkpoint and is killed at each of its operations,
/// the second one somewhere, and the next ones find what the first would have found.
fn check_killed_everywhere(damaged_case: fn(u64) -> Option<Case>, damaged: &'static [i64]) {
    let seeds = (70..).filter(|seed| damaged_case(*seed).is_some());
    for seed in seeds.take(16) {
        let mut chance = Chance::new(seed, "the second kill");
        for after in 1.. {
            let case = damaged_case(seed).expect("looked at above");
            let outcome = start_and_kill(&case, after);
            let _ = start_and_kill(&case, chance.between(1, 80));
            for _ in 0..2 {
                case.run(move |node| async move {
                    assert_eq!(damaged_offsets(&node).await, damaged, "{seed}, {after}");
                    append_each(&node, &[100]).await;
                    flush(&node).await;
                });
            }
            if outcome == Outcome::Finished {
                assert!(after > 20, "{after} operations are too few");
                break;
            }
        }
    }
}

/// Starts the broker and takes its power at an operation.
fn start_and_kill(case: &Case, after: u64) -> Outcome {
    let at = case.sim.counts().ops + after;
    case.sim.crash_at(CrashPoint::DiskOp(at), Crash::PowerLoss);
    let world = case.world.clone();
    let outcome = case.sim.run_cores(1, move |_| {
        let world = world.clone();
        async move {
            let node = Node::start(&world).await;
            checkpoint_all(&node).await;
            append_each(&node, &[100]).await;
            flush(&node).await;
        }
    });
    case.sim.cancel_crash();
    outcome
}

#[test]
fn a_start_behind_damage_and_a_torn_write_may_be_killed_anywhere() {
    check_killed_everywhere(journaled_behind, &[2, 3]);
}

#[test]
fn so_may_one_that_ends_the_log_behind_what_the_journal_has() {
    check_killed_everywhere(in_one_chunk, &[4, 5, 6, 7, 8, 9]);
}

#[test]
fn so_may_one_that_finds_the_rest_of_the_torn_write_in_another_chunk() {
    check_killed_everywhere(in_another_chunk, &[4, 5, 6, 7, 8, 9]);
}

#[test]
fn so_may_one_that_finds_the_damage_where_the_log_starts() {
    check_killed_everywhere(in_front_of_the_log, &[4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_torn_write_that_was_cut_off_at_the_end_says_nothing_of_damage_before_it() {
    let case = case_of(76);
    case.run(|node| async move {
        begin(&node).await;
        for _ in 0..2 {
            append_to_all(&node, &logs(1), 100).await;
            flush(&node).await;
        }
        append_in_epoch(&node, the_partition(), node.epoch);
        append_in_epoch(&node, the_partition(), node.epoch + 1);
        flush(&node).await;
    });
    assert_eq!(ends(&case), [2, 4, 6, 9, 12]);
    write_together(&case, 1);
    damage(&case, &[3], 6);
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.recovery().cut, Some(Offset(6)));
        for _ in 0..4 {
            append_to_all(&node, &logs(3)[1..], 100).await;
        }
        append_to_all(&node, &logs(3), 100).await;
        flush(&node).await;
    });
    // The rest of the torn write still lies behind what took the place of its first half.
    let mut ends = ends(&case);
    ends.sort_unstable();
    assert_eq!(ends, [2, 4, 6, 8, 12]);
    assert!(shares_rounds(&case));
    damage(&case, &[1], 8);
    case.run(|node| async move {
        let log = node.logs.borrow()[&the_partition()].clone();
        assert_eq!(log.recovery().quarantined, [Offset(2)..Offset(4)]);
        assert_eq!(log.end_offset(), Offset(8));
    });
}

#[test]
fn a_checkpoint_without_space_does_not_forget_a_loss() {
    let case = in_one_chunk(66).expect("as it is meant to be");
    for _ in 0..2 {
        remove_free_chunks(&case.sim);
        case.sim.disk().inject(no_space());
        case.run(|node| async move {
            let log = node.logs.borrow()[&the_partition()].clone();
            for _ in 0..2 {
                soon("a checkpoint", checkpoint_all(&node)).await;
                io::sleep(Duration::from_secs(1)).await;
            }
            assert!(node.stores[0].is_full());
            soon("a close", log.close())
                .await
                .expect("the disk is well");
            soon("a checkpoint", checkpoint_all(&node)).await;
        });
        case.sim.disk().heal();
    }
    for _ in 0..2 {
        case.run(|node| async move {
            assert_eq!(damaged_offsets(&node).await, [4, 5, 6, 7, 8, 9]);
            append_each(&node, &[100]).await;
            flush(&node).await;
        });
    }
}

#[test]
fn frames_behind_much_damage_are_no_rest_of_a_torn_write() {
    let case = case_of(75);
    case.run(|node| async move {
        begin(&node).await;
        append_to_all(&node, &logs(3), 100).await;
        flush(&node).await;
        append_each(&node, &[330_000, 330_000]).await;
        // Two writes that are in flight together.
        for _ in 0..2 {
            let appended = node.append(the_partition(), |base, epoch| {
                batch(0, base, epoch, 3, 330_000)
            });
            assert!(appended);
        }
        flush(&node).await;
        append_each(&node, &[330_000, 330_000]).await;
    });
    assert_eq!(ends(&case), [2, 4, 7, 10, 13, 16, 19, 22]);
    let sixth = frames_of(&case).swap_remove(5);
    assert_eq!(sixth.header.durable_through, 4, "two writes in flight");
    damage(&case, &[1, 2, 3, 4], 22);
    for _ in 0..2 {
        case.run(|node| async move {
            let log = node.logs.borrow()[&the_partition()].clone();
            assert!(log.end_offset() >= Offset(22));
            let lost = (2..13).collect::<Vec<_>>();
            assert_eq!(damaged_offsets(&node).await, lost);
            append_each(&node, &[100]).await;
        });
    }
}

/// A log's first frame, small, and its second, which is too large for the same chunk, go out
/// together, and the power takes the first chunk.
fn lose_the_first_chunk(case: &Case, acked: i64) {
    write_together(case, 1);
    let frames = frames_of(case);
    assert_eq!(frames.len(), 2);
    assert_ne!(frames[0].path, frames[1].path);
    assert_eq!(frames[1].header.durable_through, 0, "in flight together");
    let path = frames[0].path.clone();
    let outcome = case.sim.run_cores(1, move |_| {
        let path = path.clone();
        async move {
            let removed = io::fs::remove_file(&path).await;
            removed.expect("the disk is well");
        }
    });
    assert_eq!(outcome, Outcome::Finished);
    promised(case, acked);
    // Twice: what the first start finds the second finds, too.
    for _ in 0..2 {
        case.run(move |node| async move {
            let log = node.logs.borrow()[&the_partition()].clone();
            assert_eq!(log.end_offset(), Offset(acked));
        });
    }
    case.run(|node| async move { append_each(&node, &[100, 300_000]).await });
    case.run(|_| async {});
}

#[test]
fn a_log_whose_first_chunk_never_came_to_be_is_empty() {
    let case = case_of(91);
    case.run(|node| async move {
        let id = the_partition();
        assert!(node.append(id, |base, epoch| batch(0, base, epoch, 3, 100)));
        append_each(&node, &[300_000]).await;
    });
    lose_the_first_chunk(&case, 0);
}

#[test]
fn a_log_whose_first_chunk_never_came_to_be_has_what_the_journal_has() {
    let case = case_of(92);
    case.run(|node| async move {
        for _ in 0..4 {
            append_to_all(&node, &logs(3)[1..], 100).await;
        }
        append_to_all(&node, &logs(3), 100).await;
        append_each(&node, &[300_000]).await;
    });
    lose_the_first_chunk(&case, 2);
}
