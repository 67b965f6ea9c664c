//! The sparse index of one chunk: from offsets and timestamps to positions. Derived from the
//! frames, so it is never synced and may be lost.

use crate::frame::{ChunkStamp, FrameHeader};
use crate::limits::{FRAME_ALIGNMENT_BYTES, INDEX_ENTRIES_MAX, INDEX_INTERVAL_BYTES_MIN};
use crate::model::{Offset, Timestamp};

/// One frame of the chunk, and what lies between it and the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    /// The base offset of the frame at `position`.
    pub(super) base_offset: Offset,
    /// Where the frame starts in the chunk.
    pub(super) position: u64,
    /// The largest timestamp from the chunk's first frame to the frame before the next entry.
    pub(super) max_timestamp: Timestamp,
}

/// Where the frames of a chunk end, and which is the last: a footer that was written when they
/// ended elsewhere, before a crash cut some off, describes frames that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FramesEnd {
    pub(super) position: u64,
    /// The CRC of the last frame's header; 0 if there is none.
    pub(super) last_crc: u32,
}

/// The sparse index of one chunk, in the order of the frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    entries: Vec<IndexEntry>,
    /// Where the frame that was noted last ends.
    end_position: u64,
    /// What lies before this position is not known.
    known_from: u64,
}

const FOOTER_MAGIC: [u8; 4] = *b"CLIX";
const FOOTER_HEADER_BYTES: usize = 56;
const ENTRY_BYTES: usize = 24;

/// The distance between two entries for a chunk of `size_bytes`.
fn interval_bytes(size_bytes: u64) -> u64 {
    INDEX_INTERVAL_BYTES_MIN.max(size_bytes.div_ceil(INDEX_ENTRIES_MAX as u64))
}

/// The length of the footer of a chunk of `size_bytes`: its last blocks.
pub(super) fn footer_bytes(size_bytes: u64) -> u64 {
    let entries = size_bytes / interval_bytes(size_bytes) + 1;
    let bytes = FOOTER_HEADER_BYTES as u64 + entries * ENTRY_BYTES as u64;
    bytes.next_multiple_of(FRAME_ALIGNMENT_BYTES as u64)
}

impl Index {
    /// An index of what is noted from now on, of frames from `position` on.
    pub(super) fn known_from(position: u64) -> Index {
        Index {
            known_from: position,
            end_position: position,
            ..Index::default()
        }
    }

    /// Where its knowledge begins.
    pub(super) fn begins_at(&self) -> u64 {
        self.known_from
    }

    /// Takes note of a frame; frames come in order. A frame behind a gap (damage) gets an entry of
    /// its own, so that nobody has to walk across the gap to reach it.
    pub(super) fn note(&mut self, size_bytes: u64, position: u64, frame: &FrameHeader) {
        let interval = interval_bytes(size_bytes);
        let gap = position != self.end_position;
        self.end_position = position + u64::from(frame.frame_bytes);
        match self.entries.last_mut() {
            Some(last) if !gap && position < last.position + interval => {
                last.max_timestamp = last.max_timestamp.max(frame.max_timestamp);
            }
            last => {
                let before = last.map_or(Timestamp::NONE, |last| last.max_timestamp);
                self.entries.push(IndexEntry {
                    base_offset: frame.base_offset,
                    position,
                    max_timestamp: before.max(frame.max_timestamp),
                });
            }
        }
    }

    /// Where to start looking for the frame with `offset`: the last entry at or below it.
    pub(super) fn position_of(&self, offset: Offset) -> Option<u64> {
        let above = self
            .entries
            .partition_point(|entry| entry.base_offset <= offset);
        Some(self.entries[above.checked_sub(1)?].position)
    }

    /// Where to start looking for the first batch whose timestamp reaches `timestamp`.
    pub(super) fn position_of_timestamp(&self, timestamp: Timestamp) -> Option<u64> {
        let first = self
            .entries
            .partition_point(|entry| entry.max_timestamp < timestamp);
        Some(self.entries.get(first)?.position)
    }

    /// Puts what is known of the frames before this index's first one in front of it.
    pub(super) fn prepend(&mut self, mut before: Index) {
        let highest = before
            .entries
            .last()
            .map_or(Timestamp::NONE, |last| last.max_timestamp);
        for entry in &mut self.entries {
            entry.max_timestamp = entry.max_timestamp.max(highest);
        }
        before.entries.append(&mut self.entries);
        self.entries = before.entries;
        self.known_from = before.known_from;
    }

    /// What it occupies, roughly.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Index>() + self.entries.capacity() * size_of::<IndexEntry>()
    }

    /// Writes the footer; `out` is `footer_bytes` of zeros. False if it does not fit: damage has
    /// made gaps, and each costs an entry.
    pub(super) fn write_footer(&self, stamp: &ChunkStamp, end: FramesEnd, out: &mut [u8]) -> bool {
        let length = FOOTER_HEADER_BYTES + self.entries.len() * ENTRY_BYTES;
        if length > out.len() {
            return false;
        }
        out[4..8].copy_from_slice(&FOOTER_MAGIC);
        out[8..16].copy_from_slice(&(self.entries.len() as u64).to_le_bytes());
        out[16..24].copy_from_slice(&stamp.generation.to_le_bytes());
        out[24..40].copy_from_slice(&stamp.nonce);
        out[40..48].copy_from_slice(&end.position.to_le_bytes());
        out[48..56].copy_from_slice(&u64::from(end.last_crc).to_le_bytes());
        let places = out[FOOTER_HEADER_BYTES..].chunks_exact_mut(ENTRY_BYTES);
        for (entry, place) in self.entries.iter().zip(places) {
            place[..8].copy_from_slice(&entry.base_offset.0.to_le_bytes());
            place[8..16].copy_from_slice(&entry.position.to_le_bytes());
            place[16..].copy_from_slice(&entry.max_timestamp.0.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[4..length]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        true
    }

    /// Reads a footer of the chunk's present life and content; `None` if it was lost, or never
    /// written.
    pub(super) fn read_footer(stamp: &ChunkStamp, end: FramesEnd, bytes: &[u8]) -> Option<Index> {
        let word = |at: usize| -> Option<u64> {
            Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        let header = bytes.get(..FOOTER_HEADER_BYTES)?;
        let count = usize::try_from(word(8)?).ok()?;
        let current = header[4..8] == FOOTER_MAGIC
            && word(16)? == stamp.generation
            && header[24..40] == stamp.nonce
            && word(40)? == end.position
            && word(48)? == u64::from(end.last_crc)
            && count <= (bytes.len() - FOOTER_HEADER_BYTES) / ENTRY_BYTES;
        if !current {
            return None;
        }
        let length = FOOTER_HEADER_BYTES + count * ENTRY_BYTES;
        if bytes[..4] != crc32c::crc32c(&bytes[4..length]).to_le_bytes() {
            return None;
        }
        let entry = |at: usize| -> Option<IndexEntry> {
            Some(IndexEntry {
                base_offset: Offset(word(at)? as i64),
                position: word(at + 8)?,
                max_timestamp: Timestamp(word(at + 16)? as i64),
            })
        };
        let entries = (0..count).map(|n| entry(FOOTER_HEADER_BYTES + n * ENTRY_BYTES));
        Some(Index {
            entries: entries.collect::<Option<Vec<_>>>()?,
            ..Index::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameKind, Incarnation};
    use crate::model::{LeaderEpoch, PartitionId, TopicId};

    const SIZE: u64 = 256 << 10;
    const STAMP: ChunkStamp = ChunkStamp {
        generation: 4,
        nonce: [5; 16],
    };

    const END: FramesEnd = FramesEnd {
        position: 24_576,
        last_crc: 9,
    };

    fn frame(base: i64, max_timestamp: i64) -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Data,
            batch_count: 1,
            frame_bytes: 4096,
            payload_bytes: 100,
            batches_crc: 0,
            previous_crc: 0,
            sequence: 1,
            durable_through: 0,
            partition: PartitionId {
                topic_id: TopicId::ZERO,
                index: 0,
            },
            leader_epoch: LeaderEpoch(0),
            base_offset: Offset(base),
            end_offset: Offset(base + 10),
            max_timestamp: Timestamp(max_timestamp),
            log_start_offset: Offset(0),
            chunk: STAMP,
            incarnation: Incarnation(1),
            incarnation_start: 1,
            segment: 0,
            written: Timestamp(0),
            crc: 0,
        }
    }

    /// Frames of one block and ten records each, so that an entry stands at every fourth.
    fn index() -> Index {
        let mut index = Index::default();
        let timestamps = [5, 1, 1, 1, 2, 9, 1, 1, 3, 3, 3, 3];
        for (n, timestamp) in timestamps.into_iter().enumerate() {
            let n = n as i64;
            index.note(SIZE, 8192 + 4096 * n as u64, &frame(10 * n, timestamp));
        }
        index
    }

    fn check_offset(offset: i64, expected: Option<u64>) {
        assert_eq!(index().position_of(Offset(offset)), expected, "{offset}");
    }

    #[test]
    fn an_offset_is_found_at_or_after_its_entry() {
        check_offset(-1, None);
        check_offset(0, Some(8192));
        check_offset(39, Some(8192));
        check_offset(40, Some(8192 + 4 * 4096));
        check_offset(1_000, Some(8192 + 8 * 4096));
        assert_eq!(Index::default().position_of(Offset(0)), None);
    }

    fn check_timestamp(timestamp: i64, expected: Option<u64>) {
        assert_eq!(
            index().position_of_timestamp(Timestamp(timestamp)),
            expected,
            "{timestamp}"
        );
    }

    #[test]
    fn a_timestamp_is_found_at_or_after_its_entry() {
        check_timestamp(-1, Some(8192));
        check_timestamp(5, Some(8192));
        check_timestamp(6, Some(8192 + 4 * 4096));
        check_timestamp(9, Some(8192 + 4 * 4096));
        check_timestamp(10, None);
    }

    #[test]
    fn a_footer_comes_back_in_its_own_life_only() {
        let mut footer = vec![0; footer_bytes(SIZE) as usize];
        assert!(index().write_footer(&STAMP, END, &mut footer));
        let read = Index::read_footer(&STAMP, END, &footer).expect("undamaged");
        assert_eq!(read.entries, index().entries);
        let other = ChunkStamp {
            generation: 5,
            ..STAMP
        };
        assert_eq!(Index::read_footer(&other, END, &footer), None);
        let other = ChunkStamp {
            nonce: [6; 16],
            ..STAMP
        };
        assert_eq!(Index::read_footer(&other, END, &footer), None);
        for bit in 0..(FOOTER_HEADER_BYTES + 3 * ENTRY_BYTES) * 8 {
            let mut damaged = footer.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Index::read_footer(&STAMP, END, &damaged), None, "bit {bit}");
        }
        assert_eq!(Index::read_footer(&STAMP, END, &[]), None);
        let cut = FramesEnd {
            position: 20_480,
            ..END
        };
        assert_eq!(Index::read_footer(&STAMP, cut, &footer), None);
        let rewritten = FramesEnd {
            last_crc: 10,
            ..END
        };
        assert_eq!(Index::read_footer(&STAMP, rewritten, &footer), None);
    }

    #[test]
    fn a_footer_has_room_for_a_chunk_full_of_the_smallest_frames() {
        for size in [32 << 10, 64 << 10, SIZE, 1 << 20, 128 << 20] {
            let mut index = Index::default();
            let mut position = 8192;
            while position < size {
                index.note(size, position, &frame(position as i64, 0));
                position += 4096;
            }
            let mut footer = vec![0; footer_bytes(size) as usize];
            assert!(index.write_footer(&STAMP, END, &mut footer));
            let read = Index::read_footer(&STAMP, END, &footer).expect("undamaged");
            assert_eq!(read.entries, index.entries, "{size}");
        }
    }

    #[test]
    fn a_footer_that_gaps_have_made_too_long_is_not_written() {
        const CHUNK: u64 = 16 << 20;
        let (mut index, mut position) = (Index::default(), 8192);
        while position < CHUNK {
            index.note(CHUNK, position, &frame(position as i64, 0));
            position += 2 * 4096;
        }
        let mut footer = vec![0; footer_bytes(CHUNK) as usize];
        assert!(!index.write_footer(&STAMP, END, &mut footer));
        assert!(footer.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_frame_behind_a_gap_has_an_entry_of_its_own() {
        let mut index = index();
        assert_eq!(index.position_of(Offset(1_000)), Some(8192 + 8 * 4096));
        index.note(SIZE, 8192 + 13 * 4096, &frame(130, 0));
        assert_eq!(index.position_of(Offset(130)), Some(8192 + 13 * 4096));
    }

    #[test]
    fn the_part_before_can_be_put_in_front() {
        let whole = index();
        let mut late = Index::default();
        let mut early = Index::default();
        let timestamps = [5, 1, 1, 1, 2, 9, 1, 1, 3, 3, 3, 3];
        for (n, timestamp) in timestamps.into_iter().enumerate() {
            let part = if n < 8 { &mut early } else { &mut late };
            part.note(
                SIZE,
                8192 + 4096 * n as u64,
                &frame(10 * n as i64, timestamp),
            );
        }
        late.prepend(early);
        assert_eq!(late.entries, whole.entries);
    }
}
