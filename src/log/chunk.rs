//! A chunk: one preallocated file of the pool, and the header that says whose it is.
//!
//! Drawn in `docs/formats/chunk.md`.

use rkyv::rancor;
use rkyv::ser::writer::Buffer;
use rkyv::{Archive, Serialize};

use crate::frame::{ChunkStamp, FrameHeader, Incarnation, may_be_counted};
use crate::io::AlignedBuf;
use crate::limits::{FRAME_ALIGNMENT_BYTES, LOG_GROUP_BYTES_MAX};
use crate::model::{Offset, PartitionId, Timestamp, TopicId};

use super::index::footer_bytes;

/// Names a chunk file: `<16 hex digits>.chunk`. Allocated by the core that `id % cores` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub u64);

/// The first of the two copies of the header starts at 0, the second here.
pub(super) const HEADER_COPY_POSITION: u64 = FRAME_ALIGNMENT_BYTES as u64;
/// Where the first frame starts: behind the two copies of the header.
pub(super) const FRAMES_POSITION: u64 = 2 * FRAME_ALIGNMENT_BYTES as u64;
/// Bytes of the header that are not zero; less than a sector, so that it is never torn.
pub(super) const CHUNK_HEADER_BYTES: usize = 192;
/// Two blocks behind the batches that only marks may use: one for a seal, so that the last group
/// has one wherever it ends, and one for a move of the log's start, which a full disk must not keep
/// from making room.
const MARK_RESERVE_BYTES: u64 = 2 * FRAME_ALIGNMENT_BYTES as u64;
/// A block behind these that only a tombstone may use: deletion makes room, too.
const TOMBSTONE_RESERVE_BYTES: u64 = FRAME_ALIGNMENT_BYTES as u64;

/// No file of a greater number is one of ours: there are numbers left behind it.
const CHUNK_ID_MAX: u64 = u64::MAX / 2;

const CHUNK_MAGIC: [u8; 4] = *b"CLCH";
const CHUNK_VERSION: u16 = 1;
const _: () = assert!(CHUNK_HEADER_BYTES <= 512);

impl ChunkId {
    /// The file's name in the pool directory.
    pub(super) fn file_name(self) -> String {
        format!("{:016x}.chunk", self.0)
    }

    /// The name that the file has until it is allocated, formatted and synced.
    pub(super) fn unfinished_name(self) -> String {
        format!("{:016x}.new", self.0)
    }

    /// The id that a file name of the pool directory names.
    pub(super) fn of_file_name(name: &str) -> Option<ChunkId> {
        let digits = name.strip_suffix(".chunk")?;
        let id = u64::from_str_radix(digits, 16).ok()?;
        let ours = id <= CHUNK_ID_MAX && ChunkId(id).file_name() == name;
        ours.then_some(ChunkId(id))
    }
}

/// One life of one chunk file, from the stamp of its header to its recycling.
///
/// Shared by reference count: a reader holds the `Rc` while it reads, and the file is not recycled
/// before it is the last holder. What happens to the file in the next life is another `Chunk`.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) id: ChunkId,
    pub(super) stamp: ChunkStamp,
    /// The file's length.
    pub(super) size_bytes: u64,
}

/// What a frame may occupy of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Batches, and marks of more than a block.
    Ordinary,
    /// A seal or a move of the log start, of one block: two blocks more.
    Mark,
    /// A tombstone: three blocks more.
    Tombstone,
}

/// Where frames end in a chunk of `size_bytes`, and its footer starts or its reserve begins.
pub(super) fn frames_end(size_bytes: u64, room: Room) -> u64 {
    let reserved = match room {
        Room::Ordinary => MARK_RESERVE_BYTES + TOMBSTONE_RESERVE_BYTES,
        Room::Mark => TOMBSTONE_RESERVE_BYTES,
        Room::Tombstone => 0,
    };
    size_bytes.saturating_sub(footer_bytes(size_bytes) + reserved)
}

/// The longest frame that an empty chunk of `size_bytes` takes.
pub(super) fn frame_capacity(size_bytes: u64) -> u64 {
    frames_end(size_bytes, Room::Ordinary).saturating_sub(FRAMES_POSITION)
}

/// What a chunk is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkRole {
    /// Nobody's: formatted and waiting in the pool.
    Free,
    /// Part of one partition's log.
    Segment,
    /// Part of one core's journal.
    Journal,
}

/// A chunk's header. Rewritten, synced, twice in a row in one file, when the chunk gets an owner;
/// the newer valid copy counts.
///
/// A crash before the sync leaves the chunk with its former owner, who has dropped it durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkHeader {
    pub(super) id: ChunkId,
    pub(super) role: ChunkRole,
    pub(super) stamp: ChunkStamp,
    pub(super) size_bytes: u64,
    /// The longest frame that this life of the chunk may hold; bounds recovery's scan past a hole.
    pub(super) frame_bytes_max: u32,
    pub(super) partition: PartitionId,
    pub(super) segment: u64,
    /// The offset that the chunk's first record has or would have.
    pub(super) base_offset: Offset,
    /// The sequence that the chunk's first frame has or would have.
    pub(super) first_sequence: u64,
    /// The header CRC of the frame before it.
    pub(super) previous_crc: u32,
    pub(super) incarnation: Incarnation,
    /// The sequence of the first frame of that incarnation.
    pub(super) incarnation_start: u64,
    pub(super) stamped: Timestamp,
}

/// Why a block is not a chunk's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkHeaderError {
    Short,
    Magic,
    Crc,
    /// A version or an alignment that this broker does not read.
    Version,
    Contradiction,
}

#[derive(Archive, Serialize)]
struct Wire {
    crc: u32,
    magic: [u8; 4],
    version: u16,
    role: u8,
    flags: u8,
    alignment_bytes: u32,
    id: u64,
    size_bytes: u64,
    generation: u64,
    nonce: [u8; 16],
    topic_id: [u8; 16],
    partition: i32,
    frame_bytes_max: u32,
    segment: u64,
    base_offset: i64,
    first_sequence: u64,
    incarnation: u64,
    stamped: i64,
    previous_crc: u32,
    padding: [u8; 4],
    incarnation_start: u64,
    reserved: [u8; 56],
}

// The drawing in docs/formats/chunk.md.
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<ArchivedWire>() == CHUNK_HEADER_BYTES);
    assert!(offset_of!(ArchivedWire, magic) == 4);
    assert!(offset_of!(ArchivedWire, version) == 8);
    assert!(offset_of!(ArchivedWire, role) == 10);
    assert!(offset_of!(ArchivedWire, alignment_bytes) == 12);
    assert!(offset_of!(ArchivedWire, id) == 16);
    assert!(offset_of!(ArchivedWire, size_bytes) == 24);
    assert!(offset_of!(ArchivedWire, generation) == 32);
    assert!(offset_of!(ArchivedWire, nonce) == 40);
    assert!(offset_of!(ArchivedWire, topic_id) == 56);
    assert!(offset_of!(ArchivedWire, partition) == 72);
    assert!(offset_of!(ArchivedWire, frame_bytes_max) == 76);
    assert!(offset_of!(ArchivedWire, segment) == 80);
    assert!(offset_of!(ArchivedWire, base_offset) == 88);
    assert!(offset_of!(ArchivedWire, first_sequence) == 96);
    assert!(offset_of!(ArchivedWire, incarnation) == 104);
    assert!(offset_of!(ArchivedWire, stamped) == 112);
    assert!(offset_of!(ArchivedWire, previous_crc) == 120);
    assert!(offset_of!(ArchivedWire, incarnation_start) == 128);
    assert!(offset_of!(ArchivedWire, reserved) == 136);
};

#[repr(C, align(8))]
struct Block([u8; CHUNK_HEADER_BYTES]);

impl ChunkRole {
    fn code(self) -> u8 {
        match self {
            ChunkRole::Free => 1,
            ChunkRole::Segment => 2,
            ChunkRole::Journal => 3,
        }
    }

    fn from_code(code: u8) -> Option<ChunkRole> {
        match code {
            1 => Some(ChunkRole::Free),
            2 => Some(ChunkRole::Segment),
            3 => Some(ChunkRole::Journal),
            _ => None,
        }
    }
}

impl ChunkHeader {
    /// The header of a chunk that belongs to nobody.
    pub(super) fn free(id: ChunkId, stamp: ChunkStamp, size_bytes: u64) -> ChunkHeader {
        ChunkHeader {
            id,
            role: ChunkRole::Free,
            stamp,
            size_bytes,
            frame_bytes_max: 0,
            partition: PartitionId {
                topic_id: TopicId::ZERO,
                index: 0,
            },
            segment: 0,
            base_offset: Offset::ZERO,
            first_sequence: 0,
            previous_crc: 0,
            incarnation: Incarnation(0),
            incarnation_start: 0,
            stamped: Timestamp::NONE,
        }
    }

    /// Writes the header over the first bytes of `block`.
    pub(super) fn write(&self, block: &mut [u8]) {
        let wire = Wire {
            crc: 0,
            magic: CHUNK_MAGIC,
            version: CHUNK_VERSION,
            role: self.role.code(),
            flags: 0,
            alignment_bytes: FRAME_ALIGNMENT_BYTES as u32,
            id: self.id.0,
            size_bytes: self.size_bytes,
            generation: self.stamp.generation,
            nonce: self.stamp.nonce,
            topic_id: self.partition.topic_id.0,
            partition: self.partition.index,
            frame_bytes_max: self.frame_bytes_max,
            segment: self.segment,
            base_offset: self.base_offset.0,
            first_sequence: self.first_sequence,
            incarnation: self.incarnation.0,
            stamped: self.stamped.0,
            previous_crc: self.previous_crc,
            padding: [0; 4],
            incarnation_start: self.incarnation_start,
            reserved: [0; 56],
        };
        let mut aligned = Block([0; CHUNK_HEADER_BYTES]);
        rkyv::api::high::to_bytes_in::<_, rancor::Error>(&wire, Buffer::from(&mut aligned.0[..]))
            .expect("a header without pointers fits its own size");
        let crc = crc32c::crc32c(&aligned.0[4..]);
        aligned.0[..4].copy_from_slice(&crc.to_le_bytes());
        block[..CHUNK_HEADER_BYTES].copy_from_slice(&aligned.0);
    }

    /// Reads and checks the header at the start of `block`.
    pub(super) fn read(block: &[u8]) -> Result<ChunkHeader, ChunkHeaderError> {
        let bytes: &[u8; CHUNK_HEADER_BYTES] =
            block.first_chunk().ok_or(ChunkHeaderError::Short)?;
        if bytes[4..8] != CHUNK_MAGIC {
            return Err(ChunkHeaderError::Magic);
        }
        if bytes[..4] != crc32c::crc32c(&bytes[4..]).to_le_bytes() {
            return Err(ChunkHeaderError::Crc);
        }
        let aligned = Block(*bytes);
        let wire = rkyv::access::<ArchivedWire, rancor::Failure>(&aligned.0)
            .map_err(|rancor::Failure| ChunkHeaderError::Contradiction)?;
        let readable = wire.version.to_native() == CHUNK_VERSION
            && wire.alignment_bytes.to_native() as usize == FRAME_ALIGNMENT_BYTES;
        if !readable {
            return Err(ChunkHeaderError::Version);
        }
        let role = ChunkRole::from_code(wire.role).ok_or(ChunkHeaderError::Contradiction)?;
        // A log's chunk begins with a frame, and these count from 1.
        if role == ChunkRole::Segment && wire.first_sequence.to_native() == 0 {
            return Err(ChunkHeaderError::Contradiction);
        }
        let header = ChunkHeader {
            id: ChunkId(wire.id.to_native()),
            role,
            stamp: ChunkStamp {
                generation: wire.generation.to_native(),
                nonce: wire.nonce,
            },
            size_bytes: wire.size_bytes.to_native(),
            frame_bytes_max: wire.frame_bytes_max.to_native(),
            partition: PartitionId {
                topic_id: TopicId(wire.topic_id),
                index: wire.partition.to_native(),
            },
            segment: wire.segment.to_native(),
            base_offset: Offset(wire.base_offset.to_native()),
            first_sequence: wire.first_sequence.to_native(),
            previous_crc: wire.previous_crc.to_native(),
            incarnation: Incarnation(wire.incarnation.to_native()),
            incarnation_start: wire.incarnation_start.to_native(),
            stamped: Timestamp(wire.stamped.to_native()),
        };
        let counts = [
            header.stamp.generation,
            header.segment,
            header.base_offset.0 as u64,
            header.first_sequence,
            header.incarnation.0,
            header.incarnation_start,
        ];
        may_be_counted(counts)
            .then_some(header)
            .ok_or(ChunkHeaderError::Contradiction)
    }

    /// The header of the file `id` of `length` bytes, whose first bytes (both copies) are `start`:
    /// the newer of the valid copies. `None` if neither is valid.
    pub(super) fn newest(start: &[u8], id: ChunkId, length: u64) -> Option<ChunkHeader> {
        let fits = |header: &ChunkHeader| header.id == id && header.size_bytes == length;
        [0, HEADER_COPY_POSITION as usize]
            .into_iter()
            .filter_map(|at| ChunkHeader::read(start.get(at..)?).ok())
            .filter(fits)
            .max_by_key(|header| header.stamp.generation)
    }

    /// Whether neither copy can be read at all; not so if one is of another version, or of another
    /// file.
    pub(super) fn is_destroyed(start: &[u8]) -> bool {
        let destroyed = |at: u64| {
            let block = start.get(at as usize..).unwrap_or_default();
            matches!(
                ChunkHeader::read(block),
                Err(ChunkHeaderError::Magic | ChunkHeaderError::Crc)
            )
        };
        destroyed(0) && destroyed(HEADER_COPY_POSITION)
    }

    /// The header that was written together with the chunk's first frame, which says all of it
    /// again. If that frame is of an earlier life, so is the header, and the chunk is what it was
    /// before the later life's first frame: dropped durably by its owner.
    pub(super) fn of_first_frame(id: ChunkId, length: u64, frame: &FrameHeader) -> ChunkHeader {
        ChunkHeader {
            id,
            role: ChunkRole::Segment,
            stamp: frame.chunk,
            size_bytes: length,
            frame_bytes_max: frame.frame_bytes.max(LOG_GROUP_BYTES_MAX as u32),
            partition: frame.partition,
            segment: frame.segment,
            base_offset: frame.base_offset,
            first_sequence: frame.sequence,
            previous_crc: frame.previous_crc,
            incarnation: frame.incarnation,
            incarnation_start: frame.incarnation_start,
            stamped: frame.written,
        }
    }
}

/// Both copies of a header, as they are written: one write, so that a crash tears it at most
/// between the copies.
pub(super) fn header_blocks(header: &ChunkHeader) -> bytes::Bytes {
    let mut blocks = AlignedBuf::zeroed(FRAMES_POSITION as usize);
    header.write(&mut blocks);
    header.write(&mut blocks[HEADER_COPY_POSITION as usize..]);
    blocks.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> ChunkHeader {
        ChunkHeader {
            id: ChunkId(0x1f),
            role: ChunkRole::Segment,
            stamp: ChunkStamp {
                generation: 3,
                nonce: [7; 16],
            },
            size_bytes: 65_536,
            frame_bytes_max: 32_768,
            partition: PartitionId {
                topic_id: TopicId([1; 16]),
                index: 2,
            },
            segment: 4,
            base_offset: Offset(500),
            first_sequence: 17,
            previous_crc: 99,
            incarnation: Incarnation(6),
            incarnation_start: 12,
            stamped: Timestamp(1_700_000_000_000),
        }
    }

    #[test]
    fn a_header_comes_back_and_every_flipped_bit_is_noticed() {
        let mut bytes = vec![0; 4096];
        header().write(&mut bytes);
        assert_eq!(ChunkHeader::read(&bytes), Ok(header()));
        for bit in 0..CHUNK_HEADER_BYTES * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(ChunkHeader::read(&damaged).is_err(), "bit {bit}");
        }
    }

    fn check_contradiction(change: impl Fn(&mut ChunkHeader)) {
        let mut changed = header();
        change(&mut changed);
        let mut bytes = vec![0; 4096];
        changed.write(&mut bytes);
        let refused = Err(ChunkHeaderError::Contradiction);
        assert_eq!(ChunkHeader::read(&bytes), refused, "{changed:?}");
    }

    #[test]
    fn numbers_that_nobody_counts_up_to_are_refused() {
        check_contradiction(|h| h.first_sequence = u64::MAX);
        check_contradiction(|h| h.incarnation_start = u64::MAX);
        check_contradiction(|h| h.incarnation.0 = u64::MAX);
        check_contradiction(|h| h.segment = u64::MAX);
        check_contradiction(|h| h.stamp.generation = u64::MAX);
        check_contradiction(|h| h.base_offset = Offset(-1));
        check_contradiction(|h| h.base_offset = Offset(i64::MAX));
    }

    #[test]
    fn the_newer_valid_copy_counts() {
        let older = ChunkHeader {
            stamp: ChunkStamp {
                generation: 2,
                nonce: [8; 16],
            },
            ..header()
        };
        let mut start = vec![0; 8192];
        let check = |start: &[u8], expected| {
            assert_eq!(ChunkHeader::newest(start, ChunkId(0x1f), 65_536), expected);
        };
        check(&start, None);
        older.write(&mut start);
        check(&start, Some(older));
        header().write(&mut start[4096..]);
        check(&start, Some(header()));
        start[4100] ^= 1;
        check(&start, Some(older));
        assert_eq!(ChunkHeader::newest(&start, ChunkId(0x20), 65_536), None);
        assert_eq!(ChunkHeader::newest(&start, ChunkId(0x1f), 65_537), None);
    }

    fn check_name(name: &str, expected: Option<u64>) {
        assert_eq!(ChunkId::of_file_name(name), expected.map(ChunkId), "{name}");
    }

    #[test]
    fn only_the_names_that_we_give_are_chunks() {
        check_name("000000000000001f.chunk", Some(0x1f));
        check_name(&ChunkId(CHUNK_ID_MAX).file_name(), Some(CHUNK_ID_MAX));
        check_name(&ChunkId(u64::MAX).file_name(), None);
        check_name("000000000000001F.chunk", None);
        check_name("1f.chunk", None);
        check_name("+00000000000001f.chunk", None);
        check_name("000000000000001f.new", None);
        check_name("lost+found", None);
    }

    #[test]
    fn a_chunk_of_a_few_blocks_still_holds_frames() {
        assert_eq!(frame_capacity(32_768), 8192);
        assert_eq!(frames_end(32_768, Room::Mark), 24_576);
        assert_eq!(frames_end(32_768, Room::Tombstone), 28_672);
        assert_eq!(frame_capacity(8192), 0);
    }
}
