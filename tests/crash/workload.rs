//! A broker's day: appends, readers, checkpoints, retention, deletion, pauses; drawn from a seed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use corelog::io;
use corelog::io::sim::Chance;
use corelog::log::{Log, checkpoint};
use corelog::model::{Offset, PartitionId, Timestamp};

use super::model::{Model, batch};
use super::node::Node;

/// What the workload may do beside appending.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    pub steps: usize,
    pub deletes: bool,
    /// Readers that hold what they got for a while.
    pub readers: bool,
    /// The largest value of a record, in bytes.
    pub value_bytes_max: u64,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits {
            steps: 40,
            deletes: true,
            readers: true,
            value_bytes_max: 3_000,
        }
    }
}

/// Runs one day, then waits for everything that was appended.
pub async fn run(node: &Rc<Node>, chance: &mut Chance, habits: Habits) {
    let readers = RefCell::new(Vec::new());
    for _ in 0..habits.steps {
        let ids: Vec<PartitionId> = node.logs.borrow().keys().copied().collect();
        let id = ids[chance.index(ids.len())];
        let log = node.logs.borrow()[&id].clone();
        match chance.below(100) {
            0..45 => append_some(node, id, chance, habits),
            45..60 => {
                let end = log.end_offset();
                if log.wait_durable(end).await.is_ok() {
                    node.world.acknowledge(id, end.0);
                    assert!(log.durable_offset() >= end);
                }
            }
            60..70 => io::sleep(Duration::from_micros(chance.below(5_000))).await,
            70..72 => io::sleep(Duration::from_secs(7)).await,
            72..78 => checkpoint_all(node).await,
            78..83 => move_start(node, id, &log, chance).await,
            83..86 => retain(node, id, &log).await,
            86..97 if habits.readers => {
                let task = io::spawn(read_slowly(node.clone(), id, log, chance.next_u64()));
                readers.borrow_mut().push(task);
            }
            99 if habits.deletes && ids.len() > 1 => delete(node, id, &log).await,
            _ => read_once(node, id, &log, chance).await,
        }
    }
    for reader in readers.take() {
        reader.await;
    }
    let logs: Vec<(PartitionId, Rc<Log>)> = node
        .logs
        .borrow()
        .iter()
        .map(|(id, log)| (*id, log.clone()))
        .collect();
    for (id, log) in logs {
        let end = log.end_offset();
        if log.wait_durable(end).await.is_ok() {
            node.world.acknowledge(id, end.0);
        }
    }
}

pub fn append_some(node: &Node, id: PartitionId, chance: &mut Chance, habits: Habits) {
    // Mostly the same bytes as a producer's retry would send; now and then others.
    let variant = u64::from(chance.below(10) == 0);
    let large = chance.below(40) == 0;
    for _ in 0..chance.between(1, 8) {
        let records = chance.between(1, 4) as usize;
        let value_bytes = match large {
            true => 10_000 + chance.below(290_000) as usize,
            false => chance.below(habits.value_bytes_max) as usize,
        };
        node.append(id, |base, epoch| {
            batch(variant, base, epoch, records, value_bytes)
        });
        if large {
            return;
        }
    }
}

pub async fn checkpoint_all(node: &Node) {
    for store in &node.stores {
        let mut entries = Vec::new();
        for (id, log) in node.logs.borrow().iter() {
            if Rc::ptr_eq(node.store_of(*id), store) {
                let state = node.world.models.borrow()[id].state(log.end_offset().0);
                entries.push(log.checkpoint(state));
            }
        }
        // A stopped directory writes none; the old one stays.
        let _ = checkpoint::write(store, entries).await;
    }
}

async fn move_start(node: &Node, id: PartitionId, log: &Log, chance: &mut Chance) {
    let (start, durable) = (log.start_offset().0, log.durable_offset().0);
    let to = chance.between(start as u64, durable as u64) as i64;
    asked(node, id, to);
    let state = node.owner_state(id);
    if log.set_start_offset(Offset(to), state).await.is_ok() {
        assert!(log.start_offset().0 >= to);
        moved(node, id, log.start_offset().0);
    }
}

async fn retain(node: &Node, id: PartitionId, log: &Log) {
    asked(node, id, log.durable_offset().0);
    let state = node.owner_state(id);
    if let Ok(start) = log.enforce_retention(io::wall_clock(), state).await {
        moved(node, id, start.0);
    }
}

fn asked(node: &Node, id: PartitionId, to: i64) {
    let mut models = node.world.models.borrow_mut();
    if let Some(model) = models.get_mut(&id) {
        model.start_requested = model.start_requested.max(to);
    }
}

fn moved(node: &Node, id: PartitionId, to: i64) {
    if let Some(model) = node.world.models.borrow_mut().get_mut(&id) {
        model.start = model.start.max(to);
    }
}

async fn delete(node: &Node, id: PartitionId, log: &Log) {
    node.world.models.borrow_mut().remove(&id);
    node.world.deleted.borrow_mut().push(id);
    node.logs.borrow_mut().remove(&id);
    // In a stopped directory it cannot be made durable; the metadata log knows anyway.
    let _ = log.delete().await;
}

async fn read_once(node: &Node, id: PartitionId, log: &Log, chance: &mut Chance) {
    let model = |id| node.world.models.borrow().get(&id).cloned();
    let Some(before) = model(id) else { return };
    if before.damaged {
        return;
    }
    let from = chance.below(log.durable_offset().0 as u64 + 2) as i64;
    let max_bytes = chance.below(30_000) as usize;
    match chance.coin() {
        true => {
            let read = log
                .read(Offset(from), Offset(i64::MAX), max_bytes, chance.coin())
                .await;
            let Some(after) = model(id) else { return };
            match read {
                Ok(slices) => {
                    assert!(
                        slices.next_offset <= log.durable_offset(),
                        "read what is not durable"
                    );
                    after.check_slices(from, &slices);
                }
                Err(error) if from <= before.acked => {
                    after.check_error(from, log.start_offset().0, error);
                }
                Err(_) => {}
            }
        }
        false => find_once(log, &before, from).await,
    }
}

async fn find_once(log: &Log, model: &Model, near: i64) {
    let Some(at) = model.batches.iter().find(|batch| batch.end > near) else {
        return;
    };
    let wanted = at.max_timestamp;
    let durable = log.durable_offset().0;
    let found = log
        .find_timestamp(Timestamp(wanted), Offset::ZERO)
        .await
        .expect("no damage");
    let start = log.start_offset().0;
    if start != model.start {
        return;
    }
    let first = model
        .batches
        .iter()
        .find(|batch| batch.end > start && batch.end <= durable && batch.max_timestamp >= wanted);
    if let (Some(first), Some(found)) = (first, &found) {
        assert!(
            *found == first.bytes,
            "{wanted} was found in the wrong batch"
        );
    }
    assert!(first.is_none() || found.is_some(), "{wanted} was not found");
}

/// Reads from the start to the end in small steps, holding the last few slices, while chunks are
/// dropped and recycled.
async fn read_slowly(node: Rc<Node>, id: PartitionId, log: Rc<Log>, seed: u64) {
    let mut chance = Chance::new(seed, "reader");
    let mut held = std::collections::VecDeque::new();
    let mut from = log.start_offset().0;
    for _ in 0..chance.between(3, 20) {
        let read = log.read(Offset(from), Offset(i64::MAX), 8_000, true).await;
        let Some(model) = node.world.models.borrow().get(&id).cloned() else {
            return;
        };
        match read {
            Ok(slices) => {
                let next = slices.next_offset.0;
                model.check_slices(from, &slices);
                held.push_back((from, slices));
                from = next;
            }
            Err(error) => {
                model.check_error(from, log.start_offset().0, error);
                from = log.start_offset().0;
            }
        }
        if held.len() > 3 {
            // What a consumer holds does not change under it.
            let (at, slices) = held.pop_front().expect("four are held");
            model.check_slices(at, &slices);
        }
        io::sleep(Duration::from_micros(chance.below(3_000))).await;
    }
}
