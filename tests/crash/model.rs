//! What one partition has promised, kept outside of the machine that crashes.

use std::ops::Range;

use bytes::Bytes;
use corelog::frame::{BatchBuilder, BatchHeader, Codec};
use corelog::log::{ReadError, Slices};
use corelog::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// One batch as it was appended, with the bytes that a reader must get.
#[derive(Clone, Debug)]
pub struct Batch {
    pub base: i64,
    pub end: i64,
    pub epoch: i32,
    pub max_timestamp: i64,
    pub bytes: Bytes,
}

/// One partition.
///
/// `batches` is everything in the log now, from offset 0 on, whether its start has passed it or
/// not. A restart may shorten it to what it finds, but not below `acked`.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub batches: Vec<Batch>,
    /// Everything below was reported durable.
    pub acked: i64,
    /// The log's start, as reported durable.
    pub start: i64,
    /// The furthest start that was asked for.
    pub start_requested: i64,
    /// Damage was done on purpose: ranges may be unreadable, and must be reported.
    pub damaged: bool,
}

/// A batch whose content follows from its place and `variant`, so that a producer's retry after a
/// crash writes the same bytes again, unless it is another variant.
pub fn batch(seed: u64, base: i64, epoch: i32, records: usize, value_bytes: usize) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None)
        .at(Offset(base), LeaderEpoch(epoch))
        .producer(ProducerId(7), ProducerEpoch(0), base as i32);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ base as u64;
    let timestamp = |n: usize| 1_000_000 + (base + n as i64) * 10 - (base % 7) * 25;
    let mut newest = i64::MIN;
    for n in 0..records {
        let value: Vec<u8> = (0..value_bytes)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        newest = newest.max(timestamp(n));
        builder.push(Timestamp(timestamp(n)), None, Some(&value));
    }
    Batch {
        base,
        end: base + records as i64,
        epoch,
        max_timestamp: newest,
        bytes: Bytes::from(builder.build()),
    }
}

impl Model {
    pub fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.end)
    }

    /// The bytes that a read from `from` up to `upto` must begin with.
    pub fn expected(&self, from: i64, upto: i64) -> Vec<u8> {
        let wanted = self
            .batches
            .iter()
            .filter(|batch| batch.end > from && batch.end <= upto);
        wanted
            .flat_map(|batch| batch.bytes.iter().copied())
            .collect()
    }

    /// Checks what a read gave, which must be whole batches of this log from `from` on.
    pub fn check_slices(&self, from: i64, slices: &Slices) {
        let got: Vec<u8> = slices.batches.concat();
        assert_eq!(
            got.len(),
            slices.bytes,
            "the length of the slices is their length"
        );
        let next = slices.next_offset.0;
        assert!(next >= from, "a read does not go back");
        let expected = self.expected(from, next);
        assert!(
            got == expected,
            "a read from {from} to {next} gave other bytes than were written"
        );
        if slices.batches.is_empty() {
            assert_eq!(next, from);
        }
    }

    /// Checks how a read failed.
    pub fn check_error(&self, from: i64, start: i64, error: ReadError) {
        match error {
            ReadError::OutOfRange => assert!(
                from < start,
                "{from} is in the log, which starts at {start} and ends at {}",
                self.end()
            ),
            ReadError::Corrupt { .. } => assert!(self.damaged, "{from}: {error:?}"),
            ReadError::Io => assert!(self.damaged, "{from}: the disk did not fail"),
        }
    }

    /// A restart has found the log to be `start..end`. Nothing acknowledged may be missing, and
    /// nothing may be there that was not appended.
    pub fn check_restart(&mut self, found: Range<i64>) {
        let Range { start, end } = found;
        assert!(
            end >= self.acked,
            "acknowledged up to {}, found up to {end}",
            self.acked
        );
        assert!(
            start >= self.start,
            "the log's start moved back from {} to {start}",
            self.start
        );
        assert!(
            start <= self.start_requested.max(self.start),
            "the log's start moved to {start}, asked for was {}",
            self.start_requested
        );
        let whole = end == 0 || self.batches.iter().any(|batch| batch.end == end);
        assert!(whole, "the log ends at {end}, where no batch ends");
        self.batches.retain(|batch| batch.end <= end);
        self.acked = end;
        self.start = start;
        self.start_requested = start;
    }

    /// Checks that `replayed` is every batch from `from` on, in order. If `may_lack`, those that
    /// the log's start has passed may be missing.
    pub fn check_replay(&self, from: i64, replayed: &[BatchHeader], may_lack: bool) {
        let mut replayed = replayed.iter().peekable();
        for batch in self.batches.iter().filter(|batch| batch.base >= from) {
            let header = BatchHeader::read(&batch.bytes).expect("a batch");
            let came = replayed.next_if(|next| **next == header).is_some();
            assert!(
                came || (may_lack && batch.end <= self.start),
                "the replay from {from} lacks {}; the log starts at {}",
                batch.base,
                self.start
            );
        }
        assert_eq!(
            replayed.next(),
            None,
            "a batch was replayed that the log has not, or again"
        );
    }

    /// The answer that the log must give about the end of an epoch.
    pub fn epoch_end(&self, epoch: i32) -> Option<(i32, i64)> {
        let live = self.batches.iter().filter(|batch| batch.end > self.start);
        let known = live.clone().rev().find(|batch| batch.epoch <= epoch)?;
        let after = live.clone().find(|batch| batch.epoch > known.epoch);
        if after.is_none() && epoch > known.epoch {
            return None;
        }
        Some((
            known.epoch,
            after.map_or(self.end(), |batch| batch.base.max(self.start)),
        ))
    }

    /// The checkpoint's state for the batches below `end`: enough to see that it is the right one.
    pub fn state(&self, end: i64) -> Vec<u8> {
        let mut crc = 0;
        for batch in self.batches.iter().filter(|batch| batch.end <= end) {
            crc = crc32c::crc32c_append(crc, &batch.bytes[..61]);
        }
        [end.to_le_bytes().as_slice(), &crc.to_le_bytes()].concat()
    }

    /// Checks a state that a checkpoint has kept; gives the offset that it covers everything below.
    pub fn check_state(&self, state: &[u8]) -> i64 {
        let end = i64::from_le_bytes(state[..8].try_into().expect("twelve bytes"));
        assert!(
            end <= self.end(),
            "the state covers {end}, the log ends at {}",
            self.end()
        );
        assert!(
            state == self.state(end),
            "the state covers other batches than the log has"
        );
        end
    }
}
