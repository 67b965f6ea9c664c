//! A group: the batches that go to disk together, being copied into what will be one frame.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::frame::{
    BATCH_HEADER_BYTES, BatchHeader, FRAME_HEADER_BYTES, FrameHeader, FrameKind, split_batch,
};
use crate::io::{self, AlignedBuf, Instant};
use crate::limits::{
    FRAME_ALIGNMENT_BYTES, JOURNAL_GROUP_AGE_MS_MAX, LOG_GROUP_BYTES_MAX, LOG_GROUP_BYTES_MIN,
};
use crate::metrics;
use crate::model::{LeaderEpoch, Offset, Timestamp};

use super::batch::PlacedBatch;
use super::journal::HeldOpen;

/// Where a batch's base offset and partition leader epoch stand; its CRC covers neither.
const BASE_OFFSET_AT: std::ops::Range<usize> = 0..8;
const LEADER_EPOCH_AT: std::ops::Range<usize> = 12..16;

/// Batches of one partition and one leader epoch, contiguous, in the aligned memory that is written
/// and then served from. Nothing of it is on disk; a crash loses it, and nobody was promised it.
pub(super) struct Group {
    buffer: AlignedBuf,
    /// Header and batches so far, in bytes.
    used_bytes: usize,
    pub(super) kind: FrameKind,
    pub(super) batch_count: u32,
    batches_crc: u32,
    pub(super) base_offset: Offset,
    pub(super) end_offset: Offset,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) max_timestamp: Timestamp,
    /// Where the log is to start, when this frame is built.
    pub(super) log_start_offset: Offset,
    /// Nobody waits for it: it is dropped if it finds no place.
    pub(super) is_seal: bool,
    /// Records are missing before it, which were durable and could not be read.
    pub(super) is_behind_a_loss: bool,
    /// Of its batches, the bytes that were handed to the journal, and where these end.
    journaled_bytes: usize,
    journaled_end: Offset,
    held_open: Option<(HeldOpen, Instant)>,
}

/// The length of a frame with `payload_bytes` of batches.
pub(super) fn frame_bytes(payload_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + payload_bytes).next_multiple_of(FRAME_ALIGNMENT_BYTES)
}

impl Group {
    /// A group whose frame will be at most `capacity_bytes` long.
    pub(super) fn data(capacity_bytes: usize, base_offset: Offset, epoch: LeaderEpoch) -> Group {
        Group::new(FrameKind::Data, capacity_bytes, base_offset, epoch)
    }

    /// A group of one batch, in the memory that it came in.
    pub(super) fn placed(
        batch: PlacedBatch,
        header: &BatchHeader,
        base_offset: Offset,
        epoch: LeaderEpoch,
        max_timestamp: Timestamp,
    ) -> Group {
        let batch_bytes = batch.bytes().len();
        let buffer = batch.into_buffer();
        let mut group = Group::of(FrameKind::Data, buffer, base_offset, epoch);
        group.take_in(batch_bytes, header, max_timestamp);
        group
    }

    /// A frame without batches.
    pub(super) fn mark(kind: FrameKind, end_offset: Offset, epoch: LeaderEpoch) -> Group {
        Group::new(kind, frame_bytes(0), end_offset, epoch)
    }

    /// A mark that carries `state`, which covers all records before it.
    pub(super) fn mark_with(state: &[u8], end_offset: Offset, epoch: LeaderEpoch) -> Group {
        let capacity_bytes = frame_bytes(state.len());
        let mut mark = Group::new(FrameKind::Mark, capacity_bytes, end_offset, epoch);
        mark.buffer[mark.used_bytes..mark.used_bytes + state.len()].copy_from_slice(state);
        mark.used_bytes += state.len();
        mark.batches_crc = crc32c::crc32c(state);
        mark
    }

    /// Whether it moves the log's start, or says its owner's state again.
    pub(super) fn is_start(&self) -> bool {
        self.kind == FrameKind::Mark && !self.is_seal && !self.is_behind_a_loss
    }

    /// Leaves out the state that a mark carries: it is to stand before records that the state
    /// covers, or there is no place for so much.
    pub(super) fn drop_state(&mut self) {
        assert_eq!(self.kind, FrameKind::Mark, "only a mark carries one");
        self.used_bytes = FRAME_HEADER_BYTES;
        self.batches_crc = 0;
    }

    fn new(kind: FrameKind, capacity_bytes: usize, offset: Offset, epoch: LeaderEpoch) -> Group {
        Group::of(kind, AlignedBuf::stale(capacity_bytes), offset, epoch)
    }

    fn of(kind: FrameKind, buffer: AlignedBuf, offset: Offset, epoch: LeaderEpoch) -> Group {
        Group {
            buffer,
            used_bytes: FRAME_HEADER_BYTES,
            kind,
            batch_count: 0,
            batches_crc: 0,
            base_offset: offset,
            end_offset: offset,
            leader_epoch: epoch,
            max_timestamp: Timestamp::NONE,
            log_start_offset: Offset::ZERO,
            is_seal: false,
            is_behind_a_loss: false,
            journaled_bytes: 0,
            journaled_end: offset,
            held_open: None,
        }
    }

    /// Whether a batch of `batch_bytes` and `epoch` may join.
    pub(super) fn takes(&self, batch_bytes: usize, epoch: LeaderEpoch) -> bool {
        self.kind == FrameKind::Data
            && self.leader_epoch == epoch
            && self.used_bytes + batch_bytes <= self.buffer.len()
    }

    /// Copies a batch in, with its base offset and leader epoch: the one copy between the
    /// connection's buffer and the disk, which only small batches take.
    pub(super) fn push(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        base_offset: Offset,
        max_timestamp: Timestamp,
    ) {
        assert!(
            self.takes(batch.len(), self.leader_epoch),
            "the caller asked `takes` before"
        );
        assert_eq!(base_offset, self.end_offset, "a group has no gap");
        let place = &mut self.buffer[self.used_bytes..self.used_bytes + batch.len()];
        metrics::copy_payload(place, batch);
        self.take_in(batch.len(), header, max_timestamp);
    }

    /// Makes the `batch_bytes` behind what is used a batch of the group: its base offset and leader
    /// epoch are set, in place.
    fn take_in(&mut self, batch_bytes: usize, header: &BatchHeader, max_timestamp: Timestamp) {
        let base_offset = self.end_offset;
        let place = &mut self.buffer[self.used_bytes..self.used_bytes + batch_bytes];
        place[BASE_OFFSET_AT].copy_from_slice(&base_offset.0.to_be_bytes());
        place[LEADER_EPOCH_AT].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        let header_bytes = &place[..BATCH_HEADER_BYTES];
        self.batches_crc = crc32c::crc32c_append(self.batches_crc, header_bytes);
        self.used_bytes += batch_bytes;
        self.batch_count += 1;
        self.end_offset = base_offset + i64::from(header.last_offset_delta) + 1;
        self.max_timestamp = self.max_timestamp.max(max_timestamp);
    }

    /// The bytes of the batches, or of what a mark carries.
    pub(super) fn payload_bytes(&self) -> usize {
        self.used_bytes - FRAME_HEADER_BYTES
    }

    /// The batches as they stand there.
    pub(super) fn batches(&self) -> &[u8] {
        &self.buffer[FRAME_HEADER_BYTES..self.used_bytes]
    }

    /// A copy of the batches from the one that contains `offset` on, and where they begin: of those
    /// below `upto`, as many as fit into `max_bytes`, but one at least.
    pub(super) fn copy_from(
        &self,
        offset: Offset,
        upto: Offset,
        max_bytes: usize,
    ) -> Option<(Offset, Bytes)> {
        let batches = self.batches();
        let (mut rest, mut wanted, mut base_offset) = (batches, 0..0, None);
        while let Some((header, batch, after)) = split_batch(rest) {
            let at = batches.len() - rest.len();
            rest = after;
            if header.last_offset() < offset {
                continue;
            }
            let first = base_offset.is_none();
            let fits = at + batch.len() - wanted.start <= max_bytes;
            if header.last_offset() >= upto || !(first || fits) {
                break;
            }
            if first {
                base_offset = Some(header.base_offset);
                wanted.start = at;
            }
            wanted.end = at + batch.len();
        }
        let mut copy = BytesMut::zeroed(wanted.len());
        metrics::copy_payload(&mut copy, &batches[wanted]);
        Some((base_offset?, copy.freeze()))
    }

    /// The batches that the journal has not, nor is about to have.
    pub(super) fn unjournaled(&self) -> &[u8] {
        &self.batches()[self.journaled_bytes..]
    }

    /// Their length: what of the group waits for its frame.
    pub(super) fn unjournaled_bytes(&self) -> usize {
        match self.kind {
            FrameKind::Data => self.payload_bytes() - self.journaled_bytes,
            FrameKind::Mark | FrameKind::Tombstone => 0,
        }
    }

    /// Whether the journal was handed a part of it.
    pub(super) fn is_journaled(&self) -> bool {
        self.journaled_bytes > 0
    }

    /// The offset from which on the journal was handed nothing.
    pub(super) fn journaled_end(&self) -> Offset {
        self.journaled_end
    }

    /// Nobody waits for the frame because of what is in the group now: the journal was handed all
    /// of it.
    pub(super) fn settle(&mut self) {
        self.journaled_bytes = self.payload_bytes();
        self.journaled_end = self.end_offset;
    }

    /// The memory that staying open would take from others; none if it is counted already.
    pub(super) fn memory_to_hold_bytes(&self) -> usize {
        match self.held_open {
            Some(_) => 0,
            None => self.buffer.len(),
        }
    }

    /// From now on the group stays open for the journal's sake.
    pub(super) fn hold_open(&mut self, count: impl FnOnce(usize) -> HeldOpen) {
        if self.held_open.is_none() {
            self.held_open = Some((count(self.buffer.len()), io::now()));
        }
    }

    /// Whether it was held open for long enough.
    pub(super) fn is_aged(&self) -> bool {
        let limit = Duration::from_millis(JOURNAL_GROUP_AGE_MS_MAX);
        let since = self.held_open.as_ref().map(|(_, since)| *since);
        since.is_some_and(|since| io::now() - since >= limit)
    }

    /// The frame's length, padding included.
    pub(super) fn frame_bytes(&self) -> usize {
        frame_bytes(self.payload_bytes())
    }

    /// The memory that the group, and then its frame, occupies.
    pub(super) fn memory_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// What only the group knows of its frame's header; the rest is the caller's to fill in.
    pub(super) fn header(&self, rest: FrameHeader) -> FrameHeader {
        FrameHeader {
            kind: self.kind,
            batch_count: self.batch_count,
            frame_bytes: self.frame_bytes() as u32,
            payload_bytes: self.payload_bytes() as u32,
            batches_crc: self.batches_crc,
            leader_epoch: self.leader_epoch,
            base_offset: self.base_offset,
            end_offset: self.end_offset,
            max_timestamp: self.max_timestamp,
            log_start_offset: self.log_start_offset,
            ..rest
        }
    }

    /// Writes the header in front of the batches; gives the whole frame and the header's CRC.
    pub(super) fn into_frame(mut self, header: &FrameHeader) -> (Bytes, u32) {
        let crc = header.write(&mut self.buffer);
        let frame_bytes = self.frame_bytes();
        self.buffer[self.used_bytes..frame_bytes].fill(0);
        (self.buffer.freeze().slice(..frame_bytes), crc)
    }
}

/// How large the next group's buffer should be: as large as the groups of late were.
///
/// A group cannot grow (its bytes would be copied again), so one that ran full doubles the next,
/// and one that stayed nearly empty halves it.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupSize(u32);

impl GroupSize {
    pub(super) fn new() -> GroupSize {
        GroupSize(LOG_GROUP_BYTES_MIN as u32)
    }

    /// The capacity for a group that starts with a batch of `batch_bytes` and may not be longer
    /// than `limit_bytes`, unless the batch is.
    pub(super) fn capacity(self, batch_bytes: usize, limit_bytes: u64) -> usize {
        let limit = usize::try_from(limit_bytes)
            .unwrap_or(usize::MAX)
            .min(LOG_GROUP_BYTES_MAX);
        let limit = limit / FRAME_ALIGNMENT_BYTES * FRAME_ALIGNMENT_BYTES;
        (self.0 as usize).min(limit).max(frame_bytes(batch_bytes))
    }

    /// Learns from a group that goes out; `full` if a batch found no room in it. Groups that the
    /// journal keeps open grow to `limit_bytes` only.
    pub(super) fn learn(&mut self, frame_bytes: usize, full: bool, limit_bytes: usize) {
        let now = self.0 as usize;
        let next = if full {
            (now * 2).min(limit_bytes.max(now))
        } else if frame_bytes <= now / 4 {
            (now / 2).max(LOG_GROUP_BYTES_MIN)
        } else {
            now
        };
        self.0 = next as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sizes: &[(usize, bool)], expected: usize) {
        let mut size = GroupSize::new();
        for (frame_bytes, full) in sizes {
            size.learn(*frame_bytes, *full, LOG_GROUP_BYTES_MAX);
        }
        assert_eq!(size.capacity(1, u64::MAX), expected, "{sizes:?}");
    }

    #[test]
    fn the_next_group_is_as_large_as_those_of_late() {
        check(&[], 16 << 10);
        check(&[(4096, false)], 16 << 10);
        check(&[(16 << 10, true)], 32 << 10);
        check(
            &[(16 << 10, true), (32 << 10, true), (20 << 10, false)],
            64 << 10,
        );
        check(
            &[(16 << 10, true), (32 << 10, true), (8 << 10, false)],
            32 << 10,
        );
        check(&[(1 << 20, true); 12], 1 << 20);
    }

    #[test]
    fn a_group_is_never_smaller_than_its_first_batch_nor_larger_than_the_segment() {
        assert_eq!(GroupSize::new().capacity(100_000, 8192), 102_400);
        assert_eq!(GroupSize::new().capacity(100, 8192), 8192);
        assert_eq!(GroupSize::new().capacity(100, 14), 4096);
    }
}
