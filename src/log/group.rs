//! A group: the batches that go to disk together, being copied into what will be one frame.

use bytes::Bytes;

use crate::frame::{BATCH_HEADER_BYTES, BatchHeader, FRAME_HEADER_BYTES, FrameHeader, FrameKind};
use crate::io::AlignedBuf;
use crate::limits::{FRAME_ALIGNMENT_BYTES, LOG_GROUP_BYTES_MAX, LOG_GROUP_BYTES_MIN};
use crate::metrics;
use crate::model::{LeaderEpoch, Offset, Timestamp};

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

    /// A frame without batches.
    pub(super) fn mark(kind: FrameKind, end_offset: Offset, epoch: LeaderEpoch) -> Group {
        Group::new(kind, frame_bytes(0), end_offset, epoch)
    }

    fn new(kind: FrameKind, capacity_bytes: usize, offset: Offset, epoch: LeaderEpoch) -> Group {
        Group {
            buffer: AlignedBuf::zeroed(capacity_bytes),
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
        }
    }

    /// Whether a batch of `batch_bytes` and `epoch` may join.
    pub(super) fn takes(&self, batch_bytes: usize, epoch: LeaderEpoch) -> bool {
        self.kind == FrameKind::Data
            && self.leader_epoch == epoch
            && self.used_bytes + batch_bytes <= self.buffer.len()
    }

    /// Copies a batch in, with its base offset and leader epoch: the one copy between the
    /// connection's buffer and the disk.
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
        place[BASE_OFFSET_AT].copy_from_slice(&base_offset.0.to_be_bytes());
        place[LEADER_EPOCH_AT].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        let header_bytes = &place[..BATCH_HEADER_BYTES];
        self.batches_crc = crc32c::crc32c_append(self.batches_crc, header_bytes);
        self.used_bytes += batch.len();
        self.batch_count += 1;
        self.end_offset = base_offset + i64::from(header.last_offset_delta) + 1;
        self.max_timestamp = self.max_timestamp.max(max_timestamp);
    }

    /// The bytes of the batches.
    pub(super) fn payload_bytes(&self) -> usize {
        self.used_bytes - FRAME_HEADER_BYTES
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

    /// Learns from a group that goes out; `full` if a batch found no room in it.
    pub(super) fn learn(&mut self, frame_bytes: usize, full: bool) {
        let now = self.0 as usize;
        let next = if full {
            (now * 2).min(LOG_GROUP_BYTES_MAX)
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
            size.learn(*frame_bytes, *full);
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
