//! A round: what one write of the journal holds. Drawn in `docs/formats/journal.md`.
//!
//! Header and table are summed together; the batches are covered by the CRCs of their own and, with
//! all of their headers, by the entry's `batches_crc`. So each entry can be judged alone.

use std::ops::Range;

use bytes::Bytes;

use crate::frame::{
    BATCH_HEADER_BYTES, ChunkStamp, FrameHeader, FrameKind, Incarnation, may_be_counted,
    split_batch,
};
use crate::io::AlignedBuf;
use crate::limits::{FRAME_ALIGNMENT_BYTES, JOURNAL_ROUND_BYTES_MAX};
use crate::metrics;
use crate::model::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};

use super::super::chunk::{ChunkHeader, ChunkId, ChunkRole};

const MAGIC: [u8; 4] = *b"CLJR";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 96;
const ENTRY_BYTES: usize = 64;
const _: () = assert!(HEADER_BYTES < FRAME_ALIGNMENT_BYTES);

/// What a round says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct RoundHeader {
    /// 1 for the first round that a core writes after a start, then +1 each.
    pub(in crate::log) sequence: u64,
    /// All rounds up to this one were durable when this one was built.
    pub(in crate::log) durable_through: u64,
    /// The life of the chunk that the round lies in.
    pub(in crate::log) chunk: ChunkStamp,
    /// The start of the broker that wrote it.
    pub(in crate::log) incarnation: Incarnation,
    pub(in crate::log) core: u32,
    pub(in crate::log) entry_count: u32,
    /// Header, table, batches and padding.
    pub(in crate::log) round_bytes: u32,
}

/// What a round holds of one partition: whole batches that continue what was durable before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct Entry {
    pub(in crate::log) partition: PartitionId,
    pub(in crate::log) leader_epoch: LeaderEpoch,
    pub(in crate::log) base_offset: Offset,
    pub(in crate::log) end_offset: Offset,
    pub(in crate::log) max_timestamp: Timestamp,
    /// Where the batches lie, from the start of the round.
    position: u32,
    payload_bytes: u32,
    batch_count: u32,
    batches_crc: u32,
}

/// The bytes of a round's header and table.
fn table_bytes(entry_count: usize) -> usize {
    HEADER_BYTES + entry_count * ENTRY_BYTES
}

/// The length of a round, padding included.
pub(in crate::log) fn round_bytes(entry_count: usize, payload_bytes: usize) -> usize {
    (table_bytes(entry_count) + payload_bytes).next_multiple_of(FRAME_ALIGNMENT_BYTES)
}

/// A round that is being gathered.
pub(in crate::log) struct RoundBuilder {
    buffer: AlignedBuf,
    entry_count: usize,
    entries_max: usize,
    used_bytes: usize,
}

impl RoundBuilder {
    /// A round of up to `entries_max` entries with `payload_bytes` of batches together.
    pub(in crate::log) fn new(entries_max: usize, payload_bytes: usize) -> RoundBuilder {
        RoundBuilder {
            buffer: AlignedBuf::zeroed(round_bytes(entries_max, payload_bytes)),
            entry_count: 0,
            entries_max,
            used_bytes: table_bytes(entries_max),
        }
    }

    /// Copies the batches of one partition in, which stand there as they will in its frame.
    pub(in crate::log) fn push(
        &mut self,
        partition: PartitionId,
        leader_epoch: LeaderEpoch,
        offsets: Range<Offset>,
        batches: &[u8],
    ) {
        assert!(self.entry_count < self.entries_max, "room was counted");
        let mut entry = Entry {
            partition,
            leader_epoch,
            base_offset: offsets.start,
            end_offset: offsets.end,
            max_timestamp: Timestamp::NONE,
            position: self.used_bytes as u32,
            payload_bytes: batches.len() as u32,
            batch_count: 0,
            batches_crc: 0,
        };
        let mut rest = batches;
        while let Some((header, batch, after)) = split_batch(rest) {
            let fixed = &batch[..BATCH_HEADER_BYTES];
            entry.batches_crc = crc32c::crc32c_append(entry.batches_crc, fixed);
            entry.batch_count += 1;
            entry.max_timestamp = entry.max_timestamp.max(header.max_timestamp);
            rest = after;
        }
        assert!(rest.is_empty(), "a group holds whole batches");
        let place = self.used_bytes..self.used_bytes + batches.len();
        metrics::copy_payload(&mut self.buffer[place.clone()], batches);
        self.used_bytes = place.end;
        let at = table_bytes(self.entry_count);
        entry.write(&mut self.buffer[at..at + ENTRY_BYTES]);
        self.entry_count += 1;
    }

    /// The round as it is written. Its counts and lengths are filled in here.
    pub(in crate::log) fn finish(mut self, header: RoundHeader) -> Bytes {
        let header = RoundHeader {
            entry_count: self.entry_count as u32,
            round_bytes: self.used_bytes.next_multiple_of(FRAME_ALIGNMENT_BYTES) as u32,
            ..header
        };
        header.write(&mut self.buffer);
        let table = table_bytes(self.entry_count);
        let crc = crc32c::crc32c(&self.buffer[4..table]);
        self.buffer[..4].copy_from_slice(&crc.to_le_bytes());
        self.buffer.freeze().slice(..header.round_bytes as usize)
    }
}

impl RoundHeader {
    fn write(&self, round: &mut [u8]) {
        round[4..8].copy_from_slice(&MAGIC);
        round[8..12].copy_from_slice(&VERSION.to_le_bytes());
        round[12..16].copy_from_slice(&self.entry_count.to_le_bytes());
        round[16..20].copy_from_slice(&self.round_bytes.to_le_bytes());
        round[20..24].copy_from_slice(&self.core.to_le_bytes());
        round[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        round[32..40].copy_from_slice(&self.durable_through.to_le_bytes());
        round[40..48].copy_from_slice(&self.chunk.generation.to_le_bytes());
        round[48..64].copy_from_slice(&self.chunk.nonce);
        round[64..72].copy_from_slice(&self.incarnation.0.to_le_bytes());
    }

    /// What the first block of a round says, before its CRC is looked at: enough to know how much
    /// must be there.
    pub(in crate::log) fn peek(block: &[u8]) -> Option<RoundHeader> {
        let fixed: &[u8; HEADER_BYTES] = block.first_chunk()?;
        let header = RoundHeader {
            entry_count: number(fixed, 12),
            round_bytes: number(fixed, 16),
            core: number(fixed, 20),
            sequence: long(fixed, 24),
            durable_through: long(fixed, 32),
            chunk: ChunkStamp {
                generation: long(fixed, 40),
                nonce: fixed[48..64].try_into().ok()?,
            },
            incarnation: Incarnation(long(fixed, 64)),
        };
        let round_bytes = header.round_bytes as usize;
        let sound = fixed[4..8] == MAGIC
            && number(fixed, 8) == VERSION
            && round_bytes <= JOURNAL_ROUND_BYTES_MAX
            && round_bytes.is_multiple_of(FRAME_ALIGNMENT_BYTES)
            && header.entry_count as usize <= round_bytes / ENTRY_BYTES
            && header.table_bytes() <= round_bytes
            && header.durable_through < header.sequence
            && may_be_counted([header.sequence, header.incarnation.0])
            && may_be_counted([header.chunk.generation]);
        sound.then_some(header)
    }

    /// The header of the journal's chunk `id`, of `length` bytes, that was written before this
    /// round, which is its first and says all of it again.
    pub(in crate::log) fn chunk_header(&self, id: ChunkId, length: u64) -> ChunkHeader {
        ChunkHeader {
            role: ChunkRole::Journal,
            partition: PartitionId {
                topic_id: TopicId::ZERO,
                index: self.core as i32,
            },
            first_sequence: self.sequence,
            incarnation: self.incarnation,
            ..ChunkHeader::free(id, self.chunk, length)
        }
    }

    /// The bytes of header and table.
    pub(in crate::log) fn table_bytes(&self) -> usize {
        table_bytes(self.entry_count as usize)
    }

    /// Reads and checks header and table; `round` holds these at least. The batches are not looked
    /// at: `Entry::batches` judges them.
    pub(in crate::log) fn read(round: &[u8]) -> Option<(RoundHeader, Vec<Entry>)> {
        let header = RoundHeader::peek(round)?;
        let table = round.get(..header.table_bytes())?;
        if table[..4] != crc32c::crc32c(&table[4..]).to_le_bytes() {
            return None;
        }
        let entries = table[HEADER_BYTES..].chunks_exact(ENTRY_BYTES);
        let entries: Vec<Entry> = entries.map(Entry::read).collect();
        let ends = |entry: &Entry| [entry.base_offset.0 as u64, entry.end_offset.0 as u64];
        let sound = entries.iter().all(|entry| may_be_counted(ends(entry)));
        sound.then_some((header, entries))
    }
}

impl Entry {
    fn write(&self, place: &mut [u8]) {
        place[..16].copy_from_slice(&self.partition.topic_id.0);
        place[16..20].copy_from_slice(&self.partition.index.to_le_bytes());
        place[20..24].copy_from_slice(&self.leader_epoch.0.to_le_bytes());
        place[24..32].copy_from_slice(&self.base_offset.0.to_le_bytes());
        place[32..40].copy_from_slice(&self.end_offset.0.to_le_bytes());
        place[40..48].copy_from_slice(&self.max_timestamp.0.to_le_bytes());
        place[48..52].copy_from_slice(&self.position.to_le_bytes());
        place[52..56].copy_from_slice(&self.payload_bytes.to_le_bytes());
        place[56..60].copy_from_slice(&self.batch_count.to_le_bytes());
        place[60..64].copy_from_slice(&self.batches_crc.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Entry {
        let mut topic_id = [0; 16];
        topic_id.copy_from_slice(&bytes[..16]);
        Entry {
            partition: PartitionId {
                topic_id: TopicId(topic_id),
                index: number(bytes, 16) as i32,
            },
            leader_epoch: LeaderEpoch(number(bytes, 20) as i32),
            base_offset: Offset(long(bytes, 24) as i64),
            end_offset: Offset(long(bytes, 32) as i64),
            max_timestamp: Timestamp(long(bytes, 40) as i64),
            position: number(bytes, 48),
            payload_bytes: number(bytes, 52),
            batch_count: number(bytes, 56),
            batches_crc: number(bytes, 60),
        }
    }

    /// The entry's batches in its round; `None` if they are not what was written.
    pub(in crate::log) fn batches(&self, round: &Bytes) -> Option<Bytes> {
        let start = self.position as usize;
        let end = start.checked_add(self.payload_bytes as usize)?;
        if end > round.len() || start == end || self.base_offset >= self.end_offset {
            return None;
        }
        let batches = round.slice(start..end);
        let good = self.as_frame().check_payload(&batches).is_ok();
        good.then_some(batches)
    }

    /// The header of a frame of the same batches, which knows how to check them.
    fn as_frame(&self) -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Data,
            batch_count: self.batch_count,
            frame_bytes: 0,
            payload_bytes: self.payload_bytes,
            batches_crc: self.batches_crc,
            previous_crc: 0,
            sequence: 0,
            durable_through: 0,
            partition: self.partition,
            leader_epoch: self.leader_epoch,
            base_offset: self.base_offset,
            end_offset: self.end_offset,
            max_timestamp: self.max_timestamp,
            log_start_offset: Offset::ZERO,
            chunk: ChunkStamp::default(),
            incarnation: Incarnation(0),
            incarnation_start: 0,
            segment: 0,
            written: Timestamp::NONE,
            crc: 0,
        }
    }
}

/// The little-endian number at `at`; `bytes` is a header or an entry, which are long enough.
fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{BatchBuilder, Codec};

    const STAMP: ChunkStamp = ChunkStamp {
        generation: 3,
        nonce: [9; 16],
    };

    fn partition(index: i32) -> PartitionId {
        PartitionId {
            topic_id: TopicId([2; 16]),
            index,
        }
    }

    fn batch(base: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None).at(Offset(base), LeaderEpoch(4));
        builder.push(Timestamp(1_000 + base), None, Some(b"value"));
        builder.build()
    }

    fn header() -> RoundHeader {
        RoundHeader {
            sequence: 7,
            durable_through: 6,
            chunk: STAMP,
            incarnation: Incarnation(5),
            core: 1,
            entry_count: 0,
            round_bytes: 0,
        }
    }

    /// Two entries: one of a batch, one of two.
    fn round() -> Bytes {
        let first = batch(10);
        let second = [batch(20), batch(21)].concat();
        let mut builder = RoundBuilder::new(2, first.len() + second.len());
        let epoch = LeaderEpoch(4);
        builder.push(partition(0), epoch, Offset(10)..Offset(11), &first);
        builder.push(partition(1), epoch, Offset(20)..Offset(22), &second);
        builder.finish(header())
    }

    #[test]
    fn a_round_comes_back_as_it_was_written() {
        let round = round();
        assert_eq!(round.len(), 4096);
        let (read, entries) = RoundHeader::read(&round).expect("whole");
        let expected = RoundHeader {
            entry_count: 2,
            round_bytes: 4096,
            ..header()
        };
        assert_eq!(read, expected);
        assert_eq!(entries[0].partition, partition(0));
        assert_eq!(entries[1].max_timestamp, Timestamp(1_021));
        assert_eq!(entries[0].batches(&round).expect("whole"), batch(10));
        let both = [batch(20), batch(21)].concat();
        assert_eq!(entries[1].batches(&round).expect("whole"), both);
    }

    #[test]
    fn every_flipped_bit_costs_what_it_stands_in_and_no_more() {
        let whole = round();
        let table = table_bytes(2);
        let first_end = table + batch(10).len();
        let used = first_end + 2 * batch(20).len();
        for bit in 0..used * 8 {
            let mut damaged = whole.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let damaged = Bytes::from(damaged);
            let read = RoundHeader::read(&damaged);
            let Some((_, entries)) = read else {
                assert!(bit / 8 < table, "bit {bit}: only the table is summed here");
                continue;
            };
            assert!(bit / 8 >= table, "bit {bit}: the table is summed");
            let hit = usize::from(bit / 8 >= first_end);
            assert_eq!(entries[hit].batches(&damaged), None, "bit {bit}");
            assert!(entries[1 - hit].batches(&damaged).is_some(), "bit {bit}");
        }
    }

    #[test]
    fn numbers_that_nobody_counts_up_to_are_refused() {
        let check = |sequence, incarnation, base: i64, end: i64| {
            let header = RoundHeader {
                sequence,
                incarnation: Incarnation(incarnation),
                ..header()
            };
            let batch = batch(10);
            let mut builder = RoundBuilder::new(1, batch.len());
            let offsets = Offset(base)..Offset(end);
            builder.push(partition(0), LeaderEpoch(4), offsets, &batch);
            RoundHeader::read(&builder.finish(header)).is_some()
        };
        assert!(check(7, 5, 10, 11));
        assert!(!check(u64::MAX, 5, 10, 11));
        assert!(!check(7, u64::MAX, 10, 11));
        assert!(!check(7, 5, -1, 11));
        assert!(!check(7, 5, 10, i64::MAX));
    }

    #[test]
    fn a_torn_round_is_noticed() {
        let mut builder = RoundBuilder::new(200, 200 * batch(0).len());
        for n in 0..200 {
            let base = Offset(i64::from(n));
            builder.push(
                partition(n),
                LeaderEpoch(4),
                base..base.next(),
                &batch(base.0),
            );
        }
        let whole = builder.finish(header());
        let entries = RoundHeader::read(&whole).expect("whole").1;
        for written in (0..whole.len()).step_by(512) {
            let mut torn = vec![0; whole.len()];
            torn[..written].copy_from_slice(&whole[..written]);
            let torn = Bytes::from(torn);
            match RoundHeader::read(&torn) {
                None => assert!(written < table_bytes(200)),
                Some((_, read)) => {
                    assert_eq!(read, entries);
                    let there = |entry: &Entry| entry.batches(&torn).is_some();
                    for entry in &entries {
                        // What is missing may be zeros, and then nothing is.
                        let from = entry.position as usize;
                        let place = from..from + entry.payload_bytes as usize;
                        let same = torn[place.clone()] == whole[place];
                        assert_eq!(there(entry), same, "{written}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_round_is_not_read() {
        assert_eq!(RoundHeader::peek(&[]), None);
        assert_eq!(RoundHeader::peek(&[0; 4096]), None);
        let check = |at: usize, value: u32| {
            let mut bytes = round().to_vec();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert_eq!(RoundHeader::peek(&bytes), None, "{at}: {value}");
        };
        check(4, 0);
        check(8, 2);
        check(12, u32::MAX);
        check(12, 4096 / 64);
        check(16, 4097);
        check(16, u32::MAX);
        check(24, 6);
    }
}
