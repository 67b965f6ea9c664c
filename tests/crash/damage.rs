//! What is lost by damage: what is known of it stays known, and who is in its way is not stuck.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use corelog::frame::Incarnation;
use corelog::io;
use corelog::io::sim::{Fault, OpKind, Outcome, with_disk};
use corelog::log::{self, ChunkStore, Log, checkpoint};
use corelog::model::{CoreId, LeaderEpoch, Offset, PartitionId, Timestamp};

use super::model::batch;
use super::node::{DIR, Node, tiny_store};
use super::scenarios::{BLOCK, Case, append_each, damaged_offsets, one_segment, the_partition};
use super::workload;

/// What must not take for ever.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = io::timeout(Duration::from_secs(120), future).await;
    ended.unwrap_or_else(|| panic!("{what} takes for ever"))
}

/// No chunk is to be had any more, whatever is asked for.
fn no_space() -> Fault {
    Fault::error(OpKind::Allocate).with_errno(28).lasting()
}

/// Sets what was promised of the partition: that all below `acked` is durable, and no more is there.
fn promised(case: &Case, acked: i64) {
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
fn append_in_epoch(node: &Node, id: PartitionId, epoch: i32) {
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
    let case = Case::new();
    case.run(|node| async move {
        append_each(&node, &[100]).await;
        // Two frames in one write: another leader epoch is another frame.
        append_in_epoch(&node, the_partition(), node.epoch);
        append_in_epoch(&node, the_partition(), node.epoch + 1);
        let log = node.logs.borrow()[&the_partition()].clone();
        let written = log.wait_durable(log.end_offset()).await;
        written.expect("the disk is well");
    });
    let frames = case.frames();
    assert_eq!(frames[2].header.durable_through, 1, "in flight together");
    // The first of the two did not reach the disk.
    case.erase(&frames[1]);
    promised(&case, 3);
    case.world.starts.set(5);
    case.run(|node| async move {
        // Too long for the present chunk: the cut is known from the next one's header.
        append_each(&node, &[100_000]).await;
    });
    // Of what is durable nothing can be read; a frame that was cut off is still there.
    let frames = case.frames();
    assert_eq!(frames.len(), 3);
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
