//! Appending: one synchronous step that copies a batch into the open group.

use crate::frame::BatchHeader;
use crate::io;
use crate::limits::{LOG_LARGE_BATCH_BYTES, LOG_PLACED_BATCH_BYTES_MIN};
use crate::model::{LeaderEpoch, Offset, Timestamp};

use super::batch::PlacedBatch;
use super::chunk::{Room, frames_end};
use super::group::{Group, frame_bytes};
use super::handle::Log;
use super::state::{Phase, State};

/// Why a batch was not appended. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// There is no space for another chunk.
    StorageFull,
    /// The data directory takes no writes any more, or the log was closed or deleted.
    Stopped,
    /// The batch is longer than any chunk.
    TooLarge,
    /// Too much waits for the disk; see `ChunkStore::wait_room`.
    Busy,
}

impl Log {
    /// Appends one validated batch (magic 2, whole, CRC checked by the caller) at `base_offset`,
    /// which must be `end_offset()`, and stamps it with `leader_epoch`. Synchronous: when it
    /// returns, the offsets are given, and nothing is durable; the write starts when the caller's
    /// task next yields, together with whatever was appended until then.
    pub fn append(
        &self,
        batch: &[u8],
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        max_timestamp: Timestamp,
    ) -> Result<(), AppendError> {
        if !self.store.has_room() {
            // Busy last: who is told so waits for room, which a full disk may never give.
            self.check_append(batch.len())?;
            return Err(AppendError::Busy);
        }
        self.append_own(batch, base_offset, leader_epoch, max_timestamp)
    }

    /// The same for a batch that the broker itself made: it is not refused because producers keep
    /// the core's logs busy. How much of it may wait is its maker's to bound.
    pub fn append_own(
        &self,
        batch: &[u8],
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        max_timestamp: Timestamp,
    ) -> Result<(), AppendError> {
        self.check_append(batch.len())?;
        self.push(batch, base_offset, leader_epoch, max_timestamp);
        Ok(())
    }

    /// `append` for a batch that has its own memory: if it is large, its frame is written from
    /// there.
    pub fn append_placed(
        &self,
        batch: PlacedBatch,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        max_timestamp: Timestamp,
    ) -> Result<(), AppendError> {
        let batch_bytes = batch.bytes().len();
        if batch_bytes < LOG_PLACED_BATCH_BYTES_MIN {
            return self.append(batch.bytes(), base_offset, leader_epoch, max_timestamp);
        }
        self.check_append(batch_bytes)?;
        if !self.store.has_room() {
            return Err(AppendError::Busy);
        }
        let mut state = self.state.borrow_mut();
        let header = header_of(batch.bytes());
        assert_eq!(base_offset, state.end_offset, "offsets have no gap");
        state.close_group(false);
        let group = Group::placed(batch, &header, base_offset, leader_epoch, max_timestamp);
        let end_offset = group.end_offset;
        state.queue_group(group);
        self.appended(state, batch_bytes, base_offset, end_offset, leader_epoch);
        Ok(())
    }

    fn push(
        &self,
        batch: &[u8],
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        max_timestamp: Timestamp,
    ) {
        let mut state = self.state.borrow_mut();
        let header = header_of(batch);
        assert_eq!(base_offset, state.end_offset, "offsets have no gap");

        let group = state.group_for(batch.len(), leader_epoch);
        group.push(batch, &header, base_offset, max_timestamp);
        let end_offset = group.end_offset;
        if batch.len() >= LOG_LARGE_BATCH_BYTES {
            state.close_group(false);
        }
        self.appended(state, batch.len(), base_offset, end_offset, leader_epoch);
    }

    /// A batch is in a group.
    fn appended(
        &self,
        mut state: std::cell::RefMut<'_, State>,
        batch_bytes: usize,
        base_offset: Offset,
        end_offset: Offset,
        leader_epoch: LeaderEpoch,
    ) {
        state.end_offset = end_offset;
        state.epochs.note(leader_epoch, base_offset);
        state.sealed = false;
        state.last_append = io::now();
        self.store.add_pending(batch_bytes);
        self.schedule(state);
    }

    fn check_append(&self, batch_bytes: usize) -> Result<(), AppendError> {
        let state = self.state.borrow();
        if self.store.is_stopped() || state.phase != Phase::Open {
            return Err(AppendError::Stopped);
        }
        if frame_bytes(batch_bytes) as u64 > self.store.frame_bytes_max() {
            return Err(AppendError::TooLarge);
        }
        // Metadata has a reserve of its own: deleting topics is what makes room.
        if self.store.is_full() && !self.is_metadata() && !state.fits(batch_bytes) {
            return Err(AppendError::StorageFull);
        }
        Ok(())
    }

    /// Sees to it that what was appended is written, once the present task has yielded.
    fn schedule(&self, mut state: std::cell::RefMut<'_, State>) {
        let seal = !std::mem::replace(&mut state.seal_scheduled, true);
        let wake = !std::mem::replace(&mut state.wake_scheduled, true);
        drop(state);
        if seal {
            self.store.note_unsealed(self.me.clone());
        }
        if wake {
            let log = self.me.upgrade().expect("a method of it is running");
            let woken_count = &self.store.journal.woken_count;
            woken_count.set(woken_count.get() + 1);
            io::spawn(async move {
                let woken_count = &log.store.journal.woken_count;
                woken_count.set(woken_count.get() - 1);
                log.state.borrow_mut().wake_scheduled = false;
                log.kick();
            })
            .detach();
        }
    }
}

fn header_of(batch: &[u8]) -> BatchHeader {
    let header = BatchHeader::read(batch).expect("a validated batch has a header");
    let whole = header.total_bytes() == Some(batch.len());
    assert!(whole, "a validated batch is whole");
    header
}

impl State {
    /// The group that a batch joins: the open one, or a new one if it has no room, is of another
    /// epoch, or the batch is so large that it is a frame of its own.
    pub(super) fn group_for(&mut self, batch_bytes: usize, epoch: LeaderEpoch) -> &mut Group {
        let alone = batch_bytes >= LOG_LARGE_BATCH_BYTES;
        let joins = self
            .open
            .as_ref()
            .is_some_and(|group| group.takes(batch_bytes, epoch));
        if alone || !joins {
            let same_epoch = self
                .open
                .as_ref()
                .is_some_and(|group| group.leader_epoch == epoch);
            self.close_group(same_epoch && !alone);
            let capacity = if alone {
                frame_bytes(batch_bytes)
            } else {
                self.group_size
                    .capacity(batch_bytes, self.config.segment_bytes)
            };
            self.open = Some(Group::data(capacity, self.end_offset, epoch));
        }
        self.open
            .as_mut()
            .expect("opened above, if it was not open")
    }

    /// Whether a batch would go into the present chunk, behind everything that waits already.
    fn fits(&self, batch_bytes: usize) -> bool {
        let Some(last) = self.chunks.back() else {
            return !self.ready.is_empty();
        };
        let waiting = self.queued.iter().chain(&self.open);
        let waiting: usize = waiting.map(|group| group.frame_bytes()).sum();
        let end = last.end_position + waiting as u64 + frame_bytes(batch_bytes) as u64;
        !last.is_left && end <= frames_end(last.chunk.size_bytes, Room::Ordinary)
    }
}
