//! The log of one partition: its identity, its figures, and waiting for it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::frame::{FrameKind, Incarnation};
use crate::io::sync::oneshot;
use crate::io::{self, Instant};
use crate::model::{LeaderEpoch, Offset, PartitionId, Timestamp};

use super::recover::Recovery;
use super::settings::LogConfig;
use super::state::{Goal, Phase, Released, State};
use super::store::{ChunkStore, Stopped};

/// The durable, append-only log of one partition.
///
/// Owned by one core, shared there by reference count. Offsets are given by the caller and have no
/// gap, except over ranges that recovery found damaged. A crash loses what `durable_offset` has
/// not passed, and nothing else.
pub struct Log {
    pub(super) id: PartitionId,
    pub(super) store: Rc<ChunkStore>,
    pub(super) incarnation: Incarnation,
    pub(super) state: RefCell<State>,
    /// When its tail was last read from memory.
    pub(super) tail_read: Cell<Option<Instant>>,
    listener: RefCell<Option<Listener>>,
    recovery: Recovery,
    pub(super) me: Weak<Log>,
}

type Listener = Rc<dyn Fn(LogEvent)>;

/// What a log tells its owner, from a task of its own: no borrow of the log is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// `durable_offset` has advanced to this.
    Durable(Offset),
    /// A chunk is needed and there is no space. What was accepted is kept and written when space
    /// returns; further appends are refused.
    StorageFull,
    /// The data directory takes no writes any more. What is not durable now never will be.
    Stopped,
}

impl Log {
    /// A log as recovery has found it.
    pub(super) fn new(
        store: &Rc<ChunkStore>,
        id: PartitionId,
        incarnation: Incarnation,
        state: State,
        recovery: Recovery,
    ) -> Rc<Log> {
        Rc::new_cyclic(|me| Log {
            id,
            store: store.clone(),
            incarnation,
            state: RefCell::new(state),
            tail_read: Cell::new(None),
            listener: RefCell::new(None),
            recovery,
            me: me.clone(),
        })
    }

    /// Whose log it is.
    pub fn partition(&self) -> PartitionId {
        self.id
    }

    /// Whether it is the metadata log, which may use the space that is kept for it.
    pub(super) fn is_metadata(&self) -> bool {
        self.id == PartitionId::METADATA
    }

    /// What opening it found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Who is told of progress and failure; one at a time.
    pub fn set_listener(&self, listener: Box<dyn Fn(LogEvent)>) {
        *self.listener.borrow_mut() = Some(Rc::from(listener));
    }

    /// Forgets the listener, and what it holds.
    pub fn clear_listener(&self) {
        *self.listener.borrow_mut() = None;
    }

    /// The configuration in force from the next group on.
    pub fn set_config(&self, config: LogConfig) {
        self.state.borrow_mut().config = config;
    }

    /// The first offset that can be read; durable, and never moves back.
    pub fn start_offset(&self) -> Offset {
        self.state.borrow().start_offset
    }

    /// The offset that the next record gets.
    pub fn end_offset(&self) -> Offset {
        self.state.borrow().end_offset
    }

    /// All records below this are durable by the policy in force.
    pub fn durable_offset(&self) -> Offset {
        self.state.borrow().durable_offset()
    }

    /// The logical size: the batches, not what chunks occupy.
    pub fn size_bytes(&self) -> u64 {
        let state = self.state.borrow();
        let waiting = state.queued.iter().chain(&state.open);
        let waiting = waiting.filter(|group| group.kind == FrameKind::Data);
        let waiting: usize = waiting.map(|group| group.payload_bytes()).sum();
        state
            .chunks
            .iter()
            .map(|chunk| chunk.payload_bytes)
            .sum::<u64>()
            + waiting as u64
    }

    /// The largest timestamp of the durable records, or `Timestamp::NONE`. Records that the log
    /// start has passed inside a chunk may still count; `max_timestamp_from` leaves them out.
    pub fn max_timestamp(&self) -> Timestamp {
        let state = self.state.borrow();
        let framed = state.durable_chunks().map(|(_, newest)| newest);
        let journaled = state.unreleased_batches();
        let newest = framed.chain(journaled.map(|(header, _)| header.max_timestamp));
        newest.max().unwrap_or(Timestamp::NONE)
    }

    /// The latest leader epoch that appended something.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.state.borrow().epochs.latest()
    }

    /// The largest known epoch at or below `epoch` and the offset where the one after it began: the
    /// answer of OffsetForLeaderEpoch. `None` for an epoch above the latest.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.state.borrow();
        state
            .epochs
            .end_of(epoch, state.start_offset, state.end_offset)
    }

    /// The epoch that the record at `offset` was appended under; `None` if nothing is known.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.state.borrow().epochs.at(offset)
    }

    /// Waits until all records below `offset` are durable, or never will be.
    pub async fn wait_durable(&self, offset: Offset) -> Result<(), Stopped> {
        self.wait(Goal::Offset(offset)).await
    }

    /// Makes everything appended so far survive a power cut, whatever the policy in force.
    pub async fn flush(&self) -> Result<(), Stopped> {
        let end_offset = {
            let mut state = self.state.borrow_mut();
            state.close_group(false);
            state.end_offset
        };
        self.kick();
        self.wait(Goal::Framed(end_offset)).await?;
        self.sync_released().await
    }

    /// Makes every released frame survive a power cut.
    pub(super) async fn sync_released(&self) -> Result<(), Stopped> {
        let (unsynced, released) = {
            let state = self.state.borrow();
            (state.unsynced.clone(), state.released)
        };
        for (chunk, _) in unsynced {
            self.sync_chunk(&chunk).await?;
        }
        let mut done = Released::default();
        let mut state = self.state.borrow_mut();
        if state.synced.sequence < released.sequence {
            state.mark_synced(released, &mut done);
        }
        drop(state);
        self.carry_out(done);
        Ok(())
    }

    /// Waits for a goal.
    pub(super) async fn wait(&self, goal: Goal) -> Result<(), Stopped> {
        let waiting = {
            let mut state = self.state.borrow_mut();
            if state.reached(goal) {
                return Ok(());
            }
            if self.store.is_stopped() || state.phase == Phase::Deleted {
                return Err(Stopped);
            }
            let (sender, waiting) = oneshot::channel();
            // Who gives up waiting, as retention does, leaves nothing behind.
            state.waiters.retain(|(_, waiter)| !waiter.is_closed());
            state.waiters.push((goal, sender));
            waiting
        };
        waiting.await.unwrap_or(Err(Stopped))
    }

    /// Wakes whoever has what it waits for.
    pub(super) fn wake_waiters(&self) {
        let mut state = self.state.borrow_mut();
        let waiters = std::mem::take(&mut state.waiters);
        let (reached, rest) = waiters
            .into_iter()
            .partition(|(goal, _)| state.reached(*goal));
        state.waiters = rest;
        drop(state);
        let reached: Vec<_> = reached;
        for (_, waiter) in reached {
            let _ = waiter.send(Ok(()));
        }
    }

    /// Tells the owner.
    pub(super) fn tell(&self, event: LogEvent) {
        let listener = self.listener.borrow().clone();
        if let Some(listener) = listener {
            listener(event);
        }
    }

    /// Carries out what releasing frames has brought about.
    pub(super) fn carry_out(&self, released: Released) {
        self.store.sub_pending(released.payload_bytes);
        let me = self.me.upgrade().expect("a method of it is running");
        for (base_offset, memory_bytes) in released.hot {
            self.store.hot.added(&me, base_offset, memory_bytes);
        }
        for chunk in released.retired {
            let generation = chunk.stamp.generation;
            self.store.retire(chunk, generation);
        }
        self.store.give_back(released.spare);
        self.wake_waiters();
        if released.advanced {
            self.tell(LogEvent::Durable(self.durable_offset()));
        }
    }

    /// Whether somebody still reads what is kept of its tail.
    pub(super) fn is_tail_read(&self) -> bool {
        let unread = self.store.config.tail_unread;
        let read = self.tail_read.get();
        read.is_some_and(|read| io::now() - read < unread)
    }

    /// Drops the oldest hot frame, if it is the one that starts at `base_offset`.
    pub(super) fn drop_hot_frame(&self, base_offset: Offset) {
        let mut state = self.state.borrow_mut();
        if state
            .hot
            .front()
            .is_some_and(|frame| frame.base_offset == base_offset)
        {
            let frame = state.hot.pop_front().expect("looked at above");
            self.store.hot.dropped(frame.memory_bytes);
        }
    }

    /// Whether the frame that starts at `base_offset` is still hot.
    pub(super) fn has_hot_frame(&self, base_offset: Offset) -> bool {
        let state = self.state.borrow();
        state
            .hot
            .front()
            .is_some_and(|frame| frame.base_offset <= base_offset)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        for ready in state.ready.drain(..) {
            self.store.free.borrow_mut().put(ready);
        }
        self.store.hot.dropped(state.drop_hot());
        let waiting = state.queued.iter().chain(&state.open);
        let waiting: usize = waiting.map(|group| group.unjournaled_bytes()).sum();
        let flying = state
            .in_flight
            .iter()
            .filter_map(|flight| flight.frame.as_ref());
        let flying: usize = flying.map(|frame| frame.pending_bytes).sum();
        self.store.sub_pending(waiting + flying);
    }
}
