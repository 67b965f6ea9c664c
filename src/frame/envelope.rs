//! The frame: a fixed rkyv header in front of verbatim batches, on disk and in memory.
//!
//! Drawn in `docs/formats/frame.md`. The header is little-endian, read by rkyv's checked access
//! after its own CRC; the layout is asserted at compile time below.

use rkyv::rancor;
use rkyv::ser::writer::Buffer;
use rkyv::{Archive, Serialize};

use super::{BATCH_CRC_START, BATCH_HEADER_BYTES, BatchHeader};
use crate::limits::COUNTED_ON_DISK_MAX;
use crate::model::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};

/// Bytes from the start of a frame to its first batch.
pub const FRAME_HEADER_BYTES: usize = 192;
/// "CLFR", as the first bytes after the CRC.
pub const FRAME_MAGIC: [u8; 4] = *b"CLFR";
/// The version that this file writes, and the only one that it reads.
pub const FRAME_VERSION: u16 = 1;

/// Counts the recoveries of a data directory; each start uses a new, greater one, durable before
/// its first append. It keeps frames that a recovery cut off from ever linking again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// Which life of which chunk file a frame was written for. A recycled chunk gets the next
/// generation and a new random nonce, so nothing left over from an earlier life, and nothing that
/// a producer puts into a record, can pass for a frame of this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChunkStamp {
    /// How often the chunk's header was written, from 1.
    pub generation: u64,
    /// Random; never leaves the broker.
    pub nonce: [u8; 16],
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// One or more batches.
    Data,
    /// No batch: a seal, or a move of the log start, with the state of the log's owner.
    Mark,
    /// No batch: the partition was deleted; nothing follows it, ever.
    Tombstone,
}

/// A frame's header, copied out of its first `FRAME_HEADER_BYTES`. The CRC covers the header and,
/// through `batches_crc`, every batch header with its own CRC; payload bytes are summed once, in
/// the batch's CRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame holds.
    pub kind: FrameKind,
    /// The number of batches.
    pub batch_count: u32,
    /// Header, batches and padding, in bytes: a multiple of the chunk's alignment.
    pub frame_bytes: u32,
    /// The batches, or the owner's state, in bytes.
    pub payload_bytes: u32,
    /// CRC-32C over the 61-byte headers of all batches, in order; in a mark, over its payload.
    pub batches_crc: u32,
    /// `crc` of the partition's frame before this one; 0 for the first.
    pub previous_crc: u32,
    /// The partition's frame number: 1 for its first frame, then +1 each.
    pub sequence: u64,
    /// All frames of the partition up to this sequence were durable when this one was built.
    pub durable_through: u64,
    /// Whose records these are.
    pub partition: PartitionId,
    /// The leader epoch of all batches in the frame.
    pub leader_epoch: LeaderEpoch,
    /// The first record's offset; in a mark, the log end offset.
    pub base_offset: Offset,
    /// The offset after the last record's.
    pub end_offset: Offset,
    /// The largest timestamp of the batches, or `Timestamp::NONE`.
    pub max_timestamp: Timestamp,
    /// Where the partition's log starts, as asked for when this frame was built.
    pub log_start_offset: Offset,
    /// The life of the chunk that the frame was written into.
    pub chunk: ChunkStamp,
    /// The start of the broker that wrote the frame.
    pub incarnation: Incarnation,
    /// The sequence of the first frame of this incarnation. What an earlier one wrote at or above
    /// it had been cut off.
    pub incarnation_start: u64,
    /// The segment that the frame belongs to.
    pub segment: u64,
    /// When the frame was built.
    pub written: Timestamp,
    /// The header's own CRC-32C; set by `write`, checked by `read`.
    pub crc: u32,
}

/// Why bytes are not a frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameHeaderError {
    /// Fewer bytes than a header has.
    Short,
    /// Not the frame's magic: unwritten, or something else.
    Magic,
    /// The CRC does not match.
    Crc,
    /// A version that this broker does not read.
    Version,
    /// CRC and magic match, but kind, lengths or offsets contradict each other.
    Contradiction,
}

/// Whether a broker may have counted so far: of numbers that come from a disk, to which one adds.
/// Offsets are such numbers, and negative ones are none.
pub fn may_be_counted<const N: usize>(numbers: [u64; N]) -> bool {
    numbers.iter().all(|number| *number <= COUNTED_ON_DISK_MAX)
}

/// Why a frame's payload is not what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// A batch's length runs past the payload, or is below a header's.
    Length,
    /// A batch's offsets, epoch or magic do not continue the frame's.
    Continuity,
    /// A batch's own CRC does not match.
    BatchCrc,
    /// The number of batches, or the CRC over their headers or over a mark's payload, does not
    /// match.
    Batches,
}

#[derive(Archive, Serialize)]
struct Wire {
    crc: u32,
    magic: [u8; 4],
    version: u16,
    kind: u8,
    flags: u8,
    batch_count: u32,
    frame_bytes: u32,
    payload_bytes: u32,
    batches_crc: u32,
    previous_crc: u32,
    sequence: u64,
    durable_through: u64,
    topic_id: [u8; 16],
    partition: i32,
    leader_epoch: i32,
    base_offset: i64,
    end_offset: i64,
    max_timestamp: i64,
    log_start_offset: i64,
    generation: u64,
    nonce: [u8; 16],
    incarnation: u64,
    segment: u64,
    written: i64,
    incarnation_start: u64,
    reserved: [u8; 32],
}

// The drawing in docs/formats/frame.md.
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<ArchivedWire>() == FRAME_HEADER_BYTES);
    assert!(align_of::<ArchivedWire>() == 8);
    assert!(offset_of!(ArchivedWire, crc) == 0);
    assert!(offset_of!(ArchivedWire, magic) == 4);
    assert!(offset_of!(ArchivedWire, version) == 8);
    assert!(offset_of!(ArchivedWire, kind) == 10);
    assert!(offset_of!(ArchivedWire, batch_count) == 12);
    assert!(offset_of!(ArchivedWire, frame_bytes) == 16);
    assert!(offset_of!(ArchivedWire, payload_bytes) == 20);
    assert!(offset_of!(ArchivedWire, batches_crc) == 24);
    assert!(offset_of!(ArchivedWire, previous_crc) == 28);
    assert!(offset_of!(ArchivedWire, sequence) == 32);
    assert!(offset_of!(ArchivedWire, durable_through) == 40);
    assert!(offset_of!(ArchivedWire, topic_id) == 48);
    assert!(offset_of!(ArchivedWire, partition) == 64);
    assert!(offset_of!(ArchivedWire, leader_epoch) == 68);
    assert!(offset_of!(ArchivedWire, base_offset) == 72);
    assert!(offset_of!(ArchivedWire, end_offset) == 80);
    assert!(offset_of!(ArchivedWire, max_timestamp) == 88);
    assert!(offset_of!(ArchivedWire, log_start_offset) == 96);
    assert!(offset_of!(ArchivedWire, generation) == 104);
    assert!(offset_of!(ArchivedWire, nonce) == 112);
    assert!(offset_of!(ArchivedWire, incarnation) == 128);
    assert!(offset_of!(ArchivedWire, segment) == 136);
    assert!(offset_of!(ArchivedWire, written) == 144);
    assert!(offset_of!(ArchivedWire, incarnation_start) == 152);
    assert!(offset_of!(ArchivedWire, reserved) == 160);
};

/// Memory for one header, aligned for rkyv.
#[repr(C, align(8))]
struct Block([u8; FRAME_HEADER_BYTES]);

impl FrameKind {
    fn code(self) -> u8 {
        match self {
            FrameKind::Data => 1,
            FrameKind::Mark => 2,
            FrameKind::Tombstone => 3,
        }
    }

    fn from_code(code: u8) -> Option<FrameKind> {
        match code {
            1 => Some(FrameKind::Data),
            2 => Some(FrameKind::Mark),
            3 => Some(FrameKind::Tombstone),
            _ => None,
        }
    }
}

impl FrameHeader {
    /// Writes the header over the first bytes of `frame` and returns its CRC, which the next
    /// frame's `previous_crc` repeats. The field `crc` is not looked at.
    pub fn write(&self, frame: &mut [u8]) -> u32 {
        let wire = Wire {
            crc: 0,
            magic: FRAME_MAGIC,
            version: FRAME_VERSION,
            kind: self.kind.code(),
            flags: 0,
            batch_count: self.batch_count,
            frame_bytes: self.frame_bytes,
            payload_bytes: self.payload_bytes,
            batches_crc: self.batches_crc,
            previous_crc: self.previous_crc,
            sequence: self.sequence,
            durable_through: self.durable_through,
            topic_id: self.partition.topic_id.0,
            partition: self.partition.index,
            leader_epoch: self.leader_epoch.0,
            base_offset: self.base_offset.0,
            end_offset: self.end_offset.0,
            max_timestamp: self.max_timestamp.0,
            log_start_offset: self.log_start_offset.0,
            generation: self.chunk.generation,
            nonce: self.chunk.nonce,
            incarnation: self.incarnation.0,
            segment: self.segment,
            written: self.written.0,
            incarnation_start: self.incarnation_start,
            reserved: [0; 32],
        };
        let mut block = Block([0; FRAME_HEADER_BYTES]);
        rkyv::api::high::to_bytes_in::<_, rancor::Error>(&wire, Buffer::from(&mut block.0[..]))
            .expect("a header without pointers fits its own size");
        let crc = crc32c::crc32c(&block.0[4..]);
        block.0[..4].copy_from_slice(&crc.to_le_bytes());
        frame[..FRAME_HEADER_BYTES].copy_from_slice(&block.0);
        crc
    }

    /// Reads and checks the header at the start of `frame`. It proves that a broker wrote these
    /// 192 bytes together, not that the payload is there (`check_payload`), nor that the frame
    /// belongs where it lies (partition and chunk stamp, which the caller compares).
    pub fn read(frame: &[u8]) -> Result<FrameHeader, FrameHeaderError> {
        let bytes: &[u8; FRAME_HEADER_BYTES] =
            frame.first_chunk().ok_or(FrameHeaderError::Short)?;
        if bytes[4..8] != FRAME_MAGIC {
            return Err(FrameHeaderError::Magic);
        }
        let crc = crc32c::crc32c(&bytes[4..]);
        if bytes[..4] != crc.to_le_bytes() {
            return Err(FrameHeaderError::Crc);
        }
        match rkyv::access::<ArchivedWire, rancor::Failure>(bytes) {
            Ok(wire) => FrameHeader::from_wire(wire),
            // A slice of a record that lies anywhere in memory: copy it to where rkyv can look.
            Err(rancor::Failure) => {
                let block = Block(*bytes);
                let wire = rkyv::access::<ArchivedWire, rancor::Failure>(&block.0)
                    .map_err(|rancor::Failure| FrameHeaderError::Contradiction)?;
                FrameHeader::from_wire(wire)
            }
        }
    }

    fn from_wire(wire: &ArchivedWire) -> Result<FrameHeader, FrameHeaderError> {
        if wire.version.to_native() != FRAME_VERSION {
            return Err(FrameHeaderError::Version);
        }
        let kind = FrameKind::from_code(wire.kind).ok_or(FrameHeaderError::Contradiction)?;
        let header = FrameHeader {
            kind,
            batch_count: wire.batch_count.to_native(),
            frame_bytes: wire.frame_bytes.to_native(),
            payload_bytes: wire.payload_bytes.to_native(),
            batches_crc: wire.batches_crc.to_native(),
            previous_crc: wire.previous_crc.to_native(),
            sequence: wire.sequence.to_native(),
            durable_through: wire.durable_through.to_native(),
            partition: PartitionId {
                topic_id: TopicId(wire.topic_id),
                index: wire.partition.to_native(),
            },
            leader_epoch: LeaderEpoch(wire.leader_epoch.to_native()),
            base_offset: Offset(wire.base_offset.to_native()),
            end_offset: Offset(wire.end_offset.to_native()),
            max_timestamp: Timestamp(wire.max_timestamp.to_native()),
            log_start_offset: Offset(wire.log_start_offset.to_native()),
            chunk: ChunkStamp {
                generation: wire.generation.to_native(),
                nonce: wire.nonce,
            },
            incarnation: Incarnation(wire.incarnation.to_native()),
            incarnation_start: wire.incarnation_start.to_native(),
            segment: wire.segment.to_native(),
            written: Timestamp(wire.written.to_native()),
            crc: wire.crc.to_native(),
        };
        header
            .is_consistent()
            .then_some(header)
            .ok_or(FrameHeaderError::Contradiction)
    }

    fn is_consistent(&self) -> bool {
        let data = self.kind == FrameKind::Data;
        let bytes = FRAME_HEADER_BYTES as u64 + u64::from(self.payload_bytes);
        let payload_fits = match self.kind {
            FrameKind::Data => self.payload_bytes > 0,
            FrameKind::Mark => true,
            FrameKind::Tombstone => self.payload_bytes == 0,
        };
        u64::from(self.frame_bytes) >= bytes
            && data == (self.batch_count > 0)
            && payload_fits
            && data == (self.base_offset < self.end_offset)
            && self.base_offset <= self.end_offset
            && self.base_offset >= Offset::ZERO
            && self.durable_through < self.sequence
            && self.incarnation_start <= self.sequence
            && may_be_counted([self.sequence, self.incarnation.0, self.segment])
            && may_be_counted([self.chunk.generation])
            && may_be_counted([self.end_offset.0 as u64, self.log_start_offset.0 as u64])
    }

    /// Checks that `payload` (exactly `payload_bytes` long) is what the header was written over:
    /// lengths, offsets without a gap, the leader epoch, every batch's CRC, and the CRC over the
    /// batches' headers.
    ///
    /// The payload of a mark is its log's owner's; there the CRC is over all of it.
    pub fn check_payload(&self, payload: &[u8]) -> Result<(), PayloadError> {
        if self.kind == FrameKind::Mark {
            let whole = payload.len() == self.payload_bytes as usize
                && crc32c::crc32c(payload) == self.batches_crc;
            return whole.then_some(()).ok_or(PayloadError::Batches);
        }
        let mut count = 0u32;
        let mut crc = 0;
        let mut offset = self.base_offset;
        let mut rest = payload;
        while !rest.is_empty() {
            let (header, batch, after) = split_batch(rest).ok_or(PayloadError::Length)?;
            self.check_continuity(&header, offset)?;
            if crc32c::crc32c(&batch[BATCH_CRC_START..]) != header.crc {
                return Err(PayloadError::BatchCrc);
            }
            crc = crc32c::crc32c_append(crc, &batch[..BATCH_HEADER_BYTES]);
            count += 1;
            offset = header.last_offset().next();
            rest = after;
        }
        let whole = count == self.batch_count
            && crc == self.batches_crc
            && offset == self.end_offset
            && payload.len() == self.payload_bytes as usize;
        whole.then_some(()).ok_or(PayloadError::Batches)
    }

    /// Checks one batch's header against what the batch's own CRC does not cover: its base offset
    /// must be `expected` and within the frame, its leader epoch the frame's, its magic 2.
    pub fn check_continuity(
        &self,
        batch: &BatchHeader,
        expected: Offset,
    ) -> Result<(), PayloadError> {
        let continues = batch.base_offset == expected
            && batch.last_offset_delta >= 0
            && batch.last_offset() < self.end_offset
            && batch.leader_epoch == self.leader_epoch
            && batch.magic == 2;
        continues.then_some(()).ok_or(PayloadError::Continuity)
    }
}

/// Splits the first batch off `bytes`: its header, its bytes, and what follows. `None` if the
/// batch is not there whole.
pub fn split_batch(bytes: &[u8]) -> Option<(BatchHeader, &[u8], &[u8])> {
    let header = BatchHeader::read(bytes)?;
    let total = header.total_bytes()?;
    let (batch, after) = bytes.split_at_checked(total)?;
    Some((header, batch, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Mark,
            batch_count: 0,
            frame_bytes: 4096,
            payload_bytes: 0,
            batches_crc: 0,
            previous_crc: 77,
            sequence: 9,
            durable_through: 8,
            partition: PartitionId {
                topic_id: TopicId([3; 16]),
                index: 5,
            },
            leader_epoch: LeaderEpoch(4),
            base_offset: Offset(100),
            end_offset: Offset(100),
            max_timestamp: Timestamp::NONE,
            log_start_offset: Offset(40),
            chunk: ChunkStamp {
                generation: 2,
                nonce: [9; 16],
            },
            incarnation: Incarnation(6),
            incarnation_start: 7,
            segment: 1,
            written: Timestamp(1_700_000_000_000),
            crc: 0,
        }
    }

    fn written(header: &FrameHeader) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        header.write(&mut bytes);
        bytes
    }

    #[test]
    fn a_header_comes_back_as_it_was_written() {
        let mut bytes = vec![0; 4096];
        let crc = header().write(&mut bytes);
        let expected = FrameHeader { crc, ..header() };
        assert_eq!(FrameHeader::read(&bytes), Ok(expected));
        // Wherever it lies in memory.
        for shift in 1..8 {
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(&bytes);
            assert_eq!(
                FrameHeader::read(&shifted[shift..]),
                Ok(expected),
                "{shift}"
            );
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let bytes = written(&header());
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::read(&damaged).is_err(), "bit {bit}");
        }
    }

    fn check(change: impl Fn(&mut FrameHeader), expected: Result<(), FrameHeaderError>) {
        let mut changed = header();
        change(&mut changed);
        assert_eq!(
            FrameHeader::read(&written(&changed)).map(|_| ()),
            expected,
            "{changed:?}"
        );
    }

    #[test]
    fn a_header_that_contradicts_itself_is_refused() {
        use FrameHeaderError::Contradiction;
        check(|_| (), Ok(()));
        check(|h| h.frame_bytes = 100, Err(Contradiction));
        check(|h| h.payload_bytes = 3_904, Ok(()));
        check(|h| h.payload_bytes = 3_905, Err(Contradiction));
        check(|h| h.batch_count = 1, Err(Contradiction));
        check(|h| h.end_offset = Offset(101), Err(Contradiction));
        check(|h| h.end_offset = Offset(99), Err(Contradiction));
        check(|h| h.durable_through = 9, Err(Contradiction));
        check(|h| h.incarnation_start = 10, Err(Contradiction));
        check(|h| h.kind = FrameKind::Data, Err(Contradiction));
        check(|h| h.kind = FrameKind::Tombstone, Ok(()));
        let tombstone_with_more = |h: &mut FrameHeader| {
            h.kind = FrameKind::Tombstone;
            h.payload_bytes = 1;
        };
        check(tombstone_with_more, Err(Contradiction));
        const MAX: u64 = COUNTED_ON_DISK_MAX;
        check(|h| h.sequence = MAX, Ok(()));
        check(|h| h.sequence = MAX + 1, Err(Contradiction));
        check(|h| h.sequence = u64::MAX, Err(Contradiction));
        check(|h| h.incarnation.0 = u64::MAX, Err(Contradiction));
        check(|h| h.segment = u64::MAX, Err(Contradiction));
        check(|h| h.chunk.generation = u64::MAX, Err(Contradiction));
        check(|h| h.log_start_offset = Offset(-1), Err(Contradiction));
        check(
            |h| h.log_start_offset = Offset(i64::MAX),
            Err(Contradiction),
        );
        let far = |offset: i64| {
            move |h: &mut FrameHeader| {
                (h.base_offset, h.end_offset) = (Offset(offset), Offset(offset))
            }
        };
        check(far(MAX as i64), Ok(()));
        check(far(MAX as i64 + 1), Err(Contradiction));
    }

    #[test]
    fn unwritten_and_foreign_bytes_are_not_a_header() {
        assert_eq!(FrameHeader::read(&[0; 4096]), Err(FrameHeaderError::Magic));
        assert_eq!(FrameHeader::read(&[0; 191]), Err(FrameHeaderError::Short));
        let mut newer = written(&header());
        newer[8] = 2;
        let crc = crc32c::crc32c(&newer[4..FRAME_HEADER_BYTES]);
        newer[..4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FrameHeader::read(&newer), Err(FrameHeaderError::Version));
    }

    /// A batch with nothing in it but what the frame checks.
    fn batch(base: i64, records: i32, epoch: i32) -> Vec<u8> {
        let mut bytes = vec![0u8; 100];
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes[8..12].copy_from_slice(&88i32.to_be_bytes());
        bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
        bytes[16] = 2;
        bytes[23..27].copy_from_slice(&(records - 1).to_be_bytes());
        bytes[57..61].copy_from_slice(&records.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[BATCH_CRC_START..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn data_frame() -> (FrameHeader, Vec<u8>) {
        let payload = [batch(100, 3, 4), batch(103, 2, 4)].concat();
        let crc = crc32c::crc32c(&payload[..BATCH_HEADER_BYTES]);
        let crc = crc32c::crc32c_append(crc, &payload[100..100 + BATCH_HEADER_BYTES]);
        let header = FrameHeader {
            kind: FrameKind::Data,
            batch_count: 2,
            payload_bytes: 200,
            batches_crc: crc,
            end_offset: Offset(105),
            ..header()
        };
        (header, payload)
    }

    #[test]
    fn every_flipped_bit_of_what_a_mark_carries_is_noticed() {
        let payload = [7; 40];
        let header = FrameHeader {
            payload_bytes: 40,
            batches_crc: crc32c::crc32c(&payload),
            ..header()
        };
        assert_eq!(header.check_payload(&payload), Ok(()));
        assert!(header.check_payload(&payload[..39]).is_err());
        for bit in 0..payload.len() * 8 {
            let mut damaged = payload;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(header.check_payload(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_payload_is_noticed() {
        let (header, payload) = data_frame();
        assert_eq!(header.check_payload(&payload), Ok(()));
        for bit in 0..payload.len() * 8 {
            let mut damaged = payload.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(header.check_payload(&damaged).is_err(), "bit {bit}");
        }
    }

    fn check_batches(batches: &[Vec<u8>], expected: PayloadError) {
        let (header, _) = data_frame();
        assert_eq!(
            header.check_payload(&batches.concat()),
            Err(expected),
            "{batches:?}"
        );
    }

    #[test]
    fn whole_batches_in_the_wrong_place_are_noticed() {
        let (first, second) = (batch(100, 3, 4), batch(103, 2, 4));
        check_batches(std::slice::from_ref(&first), PayloadError::Batches);
        check_batches(&[second.clone(), first.clone()], PayloadError::Continuity);
        check_batches(&[first.clone(), batch(104, 1, 4)], PayloadError::Continuity);
        check_batches(&[first.clone(), batch(103, 3, 4)], PayloadError::Continuity);
        check_batches(&[first.clone(), batch(103, 2, 5)], PayloadError::Continuity);
        check_batches(
            &[first.clone(), second[..99].to_vec()],
            PayloadError::Length,
        );
        check_batches(&[first, second, vec![0]], PayloadError::Length);
    }
}
