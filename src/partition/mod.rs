//! One replica of one partition: its leader epoch, its high watermark, what it remembers of its
//! producers, and who waits for it.
//!
//! A `Partition` joins the pure decisions of this room to its `log::Log`. It belongs to one core
//! and is used through `Rc`; no borrow of its state lives across an await. What a crash leaves is
//! the log's business; the rest is rebuilt from it.

mod append;
mod offsets;
mod pending;
mod producers;
mod read;
mod watermark;

pub use append::{AppendRefused, Appended};
pub use offsets::{ListedOffset, OffsetSpec, OffsetsError};
pub use pending::Pending;
pub use producers::{ActiveProducer, ProducerTable, Verdict};
pub use read::{EpochEnd, PartitionRead, ReadRefused, ReadRequest};
pub use watermark::Watch;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::log::{Log, LogEvent, Stopped};
use crate::model::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicName};
use watermark::Watermark;

/// The leader replica of one partition.
pub struct Partition {
    id: PartitionId,
    topic: TopicName,
    leader_epoch: LeaderEpoch,
    log: Rc<Log>,
    state: Rc<RefCell<State>>,
    /// Its topic was deleted.
    is_gone: Cell<bool>,
}

/// What changes while the partition lives. Never borrowed across an await.
struct State {
    producers: ProducerTable,
    watermark: Watermark,
}

impl Partition {
    /// A partition on an opened log. `producers` is what the checkpoint and the replay gave.
    ///
    /// Everything that recovery kept was durable or is now: the watermark starts at the log's
    /// durable end.
    pub fn new(
        id: PartitionId,
        topic: TopicName,
        leader_epoch: LeaderEpoch,
        log: Rc<Log>,
        producers: ProducerTable,
    ) -> Rc<Partition> {
        let watermark = Watermark::new(log.durable_offset());
        let state = Rc::new(RefCell::new(State {
            producers,
            watermark,
        }));
        // The log holds the state, not the partition: no cycle keeps a deleted one alive.
        let listener = Rc::downgrade(&state);
        log.set_listener(Box::new(move |event| {
            let Some(state) = listener.upgrade() else {
                return;
            };
            match event {
                LogEvent::Durable(end) => state.borrow_mut().watermark.advance(end),
                LogEvent::StorageFull => state.borrow_mut().watermark.refuse(),
                LogEvent::Stopped => state.borrow_mut().watermark.fail(),
            }
        }));
        Rc::new(Partition {
            id,
            topic,
            leader_epoch,
            log,
            state,
            is_gone: Cell::new(false),
        })
    }

    /// The partition's identity.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// The topic's name.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The epoch of this node's leadership.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The log below.
    pub fn log(&self) -> &Rc<Log> {
        &self.log
    }

    /// The offset below which every record is durable by the policy in force, and visible.
    pub fn high_watermark(&self) -> Offset {
        self.state.borrow().watermark.value()
    }

    /// The producers known, for DescribeProducers.
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        self.state.borrow().producers.active().collect()
    }

    /// What a restart needs to know of this room's state beside the records: its producers.
    pub fn producers_snapshot(&self) -> Vec<u8> {
        self.state.borrow().producers.snapshot()
    }

    /// Drops the oldest segments as far as the topic's retention asks for it.
    pub async fn enforce_retention(&self, now: Timestamp) -> Result<Offset, Stopped> {
        let producers = || self.producers_snapshot();
        self.log.enforce_retention(now, producers).await
    }

    /// Forgets producers that were silent for `expiration_ms`.
    pub fn expire_producers(&self, now: Timestamp, expiration_ms: i64) {
        self.state.borrow_mut().producers.expire(now, expiration_ms);
    }

    /// Ends the partition: whoever waits for it is told that it is gone.
    pub fn end(&self) {
        self.is_gone.set(true);
        self.state.borrow_mut().watermark.fail();
    }

    /// Whether the partition has ended because its topic was deleted.
    pub fn is_gone(&self) -> bool {
        self.is_gone.get()
    }
}
