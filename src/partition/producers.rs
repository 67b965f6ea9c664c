//! What a partition remembers of its idempotent producers, and the decision it makes with it.
//!
//! Pure. The table is rebuilt at start from the checkpoint's snapshot and a replay of the batch
//! headers after it, so a crash loses nothing that was appended. It is not the place of
//! transactions.
//!
//! Source: KIP-98; Kafka keeps the last five batches of each producer so that a retry of any of
//! the five requests a client may have in flight is recognised.

use std::collections::HashMap;

use crate::frame::BatchHeader;
use crate::limits::PRODUCER_BATCHES_MAX;
use crate::model::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In sequence, or not of an idempotent producer: append it.
    Append,
    /// The same batch was appended before: answer with the first one's offsets, append nothing.
    Duplicate {
        /// The offset of the first record of the original.
        base_offset: Offset,
        /// The offset of the last record of the original.
        last_offset: Offset,
    },
    /// The producer's epoch is older than the one known (INVALID_PRODUCER_EPOCH).
    StaleEpoch,
    /// The first sequence number does not follow the last one (OUT_OF_ORDER_SEQUENCE_NUMBER).
    OutOfOrder,
}

/// One appended batch of one producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct AppendedBatch {
    first_sequence: i32,
    /// How far its last record is from its first, in sequence numbers and in offsets.
    last_delta: i32,
    base_offset: Offset,
}

impl AppendedBatch {
    fn last_sequence(&self) -> i32 {
        sequence_after(self.first_sequence, self.last_delta)
    }

    fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_delta)
    }
}

/// The last batches of a producer, oldest first. In the table itself: with many producers each look
/// at one of them costs the processor's wait for memory, so it is one look and not two.
#[derive(Clone, Copy, Debug, Default)]
struct LastBatches {
    count: usize,
    batches: [AppendedBatch; PRODUCER_BATCHES_MAX],
}

impl LastBatches {
    fn as_slice(&self) -> &[AppendedBatch] {
        &self.batches[..self.count]
    }

    fn last(&self) -> Option<&AppendedBatch> {
        self.as_slice().last()
    }

    /// The oldest goes if there are as many as are kept.
    fn push(&mut self, batch: AppendedBatch) {
        if self.count == self.batches.len() {
            self.batches.rotate_left(1);
            self.count -= 1;
        }
        self.batches[self.count] = batch;
        self.count += 1;
    }
}

impl PartialEq for LastBatches {
    fn eq(&self, other: &LastBatches) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for LastBatches {}

/// A producer's newest epoch and its last batches in that epoch, oldest first; none if its first
/// one was refused and is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    batches: LastBatches,
    last_timestamp: Timestamp,
}

/// A producer as DescribeProducers shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// The producer's id.
    pub id: ProducerId,
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// The last sequence number appended, or -1.
    pub last_sequence: i32,
    /// The timestamp of its last batch.
    pub last_timestamp: Timestamp,
}

/// The producers of one partition. Owned by the partition's core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerTable {
    producers: HashMap<ProducerId, Producer>,
}

impl ProducerTable {
    /// Decides what to do with a batch, without changing anything.
    pub fn judge(&self, batch: &BatchHeader) -> Verdict {
        if batch.producer_id.0 < 0 {
            return Verdict::Append;
        }
        let Some(known) = self.producers.get(&batch.producer_id) else {
            // Nothing is known of this producer: it is new, or its state has expired. Kafka
            // accepts any first sequence outside of transactions, and so do we.
            return Verdict::Append;
        };
        if batch.producer_epoch == known.epoch
            && let Some(original) = known.duplicate_of(batch)
        {
            return Verdict::Duplicate {
                base_offset: original.base_offset,
                last_offset: original.last_offset(),
            };
        }
        if batch.producer_epoch < known.epoch {
            return Verdict::StaleEpoch;
        }
        if batch.producer_epoch > known.epoch {
            return match batch.base_sequence {
                0 => Verdict::Append,
                _ => Verdict::OutOfOrder,
            };
        }
        let next = known
            .batches
            .last()
            .map_or(0, |last| sequence_after(last.last_sequence(), 1));
        if batch.base_sequence == next {
            Verdict::Append
        } else {
            Verdict::OutOfOrder
        }
    }

    /// Records that a batch was refused for the moment, though its place was right. Of a producer
    /// that is new it is the first, and those behind it in flight must not be taken for the first:
    /// it could never be appended any more.
    pub fn refused(&mut self, batch: &BatchHeader) {
        if batch.producer_id.0 >= 0 && batch.base_sequence == 0 {
            self.producers
                .entry(batch.producer_id)
                .or_insert_with(|| Producer {
                    epoch: batch.producer_epoch,
                    batches: LastBatches::default(),
                    last_timestamp: batch.max_timestamp,
                });
        }
    }

    /// Records a batch that was appended at `base_offset`, now or before a restart. `timestamp` is
    /// its newest as it is stored, which is not the producer's if the broker sets timestamps.
    pub fn appended(&mut self, batch: &BatchHeader, base_offset: Offset, timestamp: Timestamp) {
        if batch.producer_id.0 < 0 || batch.is_control() {
            return;
        }
        let producer = self
            .producers
            .entry(batch.producer_id)
            .or_insert_with(|| Producer {
                epoch: batch.producer_epoch,
                batches: LastBatches::default(),
                last_timestamp: timestamp,
            });
        if batch.producer_epoch != producer.epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches = LastBatches::default();
        }
        producer.batches.push(AppendedBatch {
            first_sequence: batch.base_sequence,
            last_delta: batch.last_offset_delta,
            base_offset,
        });
        producer.last_timestamp = timestamp;
    }

    /// Forgets producers whose last batch is older than `expiration_ms` at `now`.
    pub fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        self.producers
            .retain(|_, producer| now.0.saturating_sub(producer.last_timestamp.0) < expiration_ms);
        if self.producers.is_empty() {
            self.producers = HashMap::new();
        }
    }

    /// The producers that are known, in no order.
    pub fn active(&self) -> impl Iterator<Item = ActiveProducer> + '_ {
        self.producers.iter().map(|(id, producer)| ActiveProducer {
            id: *id,
            epoch: producer.epoch,
            last_sequence: producer
                .batches
                .last()
                .map_or(-1, AppendedBatch::last_sequence),
            last_timestamp: producer.last_timestamp,
        })
    }

    /// The table as bytes for the checkpoint; empty when no producer is known.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.producers.is_empty() {
            return out;
        }
        let mut ids: Vec<_> = self.producers.keys().copied().collect();
        ids.sort();
        for id in ids {
            let producer = &self.producers[&id];
            out.extend(id.0.to_le_bytes());
            out.extend(producer.epoch.0.to_le_bytes());
            out.extend(producer.last_timestamp.0.to_le_bytes());
            out.push(producer.batches.count as u8);
            for batch in producer.batches.as_slice() {
                out.extend(batch.first_sequence.to_le_bytes());
                out.extend(batch.last_sequence().to_le_bytes());
                out.extend(batch.base_offset.0.to_le_bytes());
                out.extend(batch.last_offset().0.to_le_bytes());
            }
        }
        out
    }

    /// Reads `snapshot` back. `None` if the bytes are not one: the caller then replays the log
    /// from its start instead.
    pub fn restore(mut bytes: &[u8]) -> Option<ProducerTable> {
        let mut producers = HashMap::new();
        while !bytes.is_empty() {
            let id = ProducerId(i64::from_le_bytes(take(&mut bytes)?));
            let epoch = ProducerEpoch(i16::from_le_bytes(take(&mut bytes)?));
            let last_timestamp = Timestamp(i64::from_le_bytes(take(&mut bytes)?));
            let [count] = take(&mut bytes)?;
            if usize::from(count) > PRODUCER_BATCHES_MAX {
                return None;
            }
            let mut batches = LastBatches::default();
            for _ in 0..count {
                batches.push(restore_batch(&mut bytes)?);
            }
            producers.insert(
                id,
                Producer {
                    epoch,
                    batches,
                    last_timestamp,
                },
            );
        }
        Some(ProducerTable { producers })
    }
}

impl Producer {
    fn duplicate_of(&self, batch: &BatchHeader) -> Option<&AppendedBatch> {
        self.batches.as_slice().iter().find(|known| {
            known.first_sequence == batch.base_sequence
                && known.last_delta == batch.last_offset_delta
        })
    }
}

/// The sequence number `count` after `sequence`; after 2147483647 comes 0 (KIP-98).
fn sequence_after(sequence: i32, count: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(count);
    if sum > i64::from(i32::MAX) {
        (sum - i64::from(i32::MAX) - 1) as i32
    } else {
        sum as i32
    }
}

/// One batch of a snapshot, which says both of its ends.
fn restore_batch(bytes: &mut &[u8]) -> Option<AppendedBatch> {
    let first_sequence = i32::from_le_bytes(take(bytes)?);
    let last_sequence = i32::from_le_bytes(take(bytes)?);
    let base_offset = Offset(i64::from_le_bytes(take(bytes)?));
    let last_offset = i64::from_le_bytes(take(bytes)?);
    let last_delta = i32::try_from(last_offset.checked_sub(base_offset.0)?).ok()?;
    let batch = AppendedBatch {
        first_sequence,
        last_delta,
        base_offset,
    };
    (batch.last_sequence() == last_sequence).then_some(batch)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LeaderEpoch;

    /// A batch of `count` records whose first sequence number is `sequence`.
    fn batch(epoch: i16, sequence: i32, count: i32) -> BatchHeader {
        BatchHeader {
            base_offset: Offset(0),
            batch_length: 100,
            leader_epoch: LeaderEpoch(0),
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: Timestamp(1),
            max_timestamp: Timestamp(1),
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: sequence,
            record_count: count,
        }
    }

    /// Appends `history` as (epoch, first sequence, count), then judges the last batch.
    fn check(history: &[(i16, i32, i32)], last: (i16, i32, i32), expected: Verdict) {
        let mut table = ProducerTable::default();
        let mut offset = Offset(100);
        for &(epoch, sequence, count) in history {
            let header = batch(epoch, sequence, count);
            assert_eq!(table.judge(&header), Verdict::Append, "history {history:?}");
            table.appended(&header, offset, header.max_timestamp);
            offset = offset + i64::from(count);
        }
        let verdict = table.judge(&batch(last.0, last.1, last.2));
        assert_eq!(verdict, expected, "{history:?} then {last:?}");
        assert_eq!(ProducerTable::restore(&table.snapshot()), Some(table));
    }

    #[test]
    fn what_follows_a_first_batch_that_was_refused_waits_for_it() {
        let mut table = ProducerTable::default();
        let first = batch(0, 0, 3);
        assert_eq!(table.judge(&first), Verdict::Append);
        table.refused(&first);
        assert_eq!(table.judge(&batch(0, 3, 1)), Verdict::OutOfOrder);
        assert_eq!(
            ProducerTable::restore(&table.snapshot()),
            Some(table.clone())
        );
        assert_eq!(table.judge(&first), Verdict::Append);
        table.appended(&first, Offset(100), first.max_timestamp);
        assert_eq!(table.judge(&batch(0, 3, 1)), Verdict::Append);
        // One that is not the first changes nothing.
        table.refused(&batch(0, 3, 1));
        assert_eq!(table.judge(&batch(0, 3, 1)), Verdict::Append);
        // Of a producer whose state has expired nothing is awaited.
        let mut table = ProducerTable::default();
        table.refused(&batch(0, 17, 1));
        assert_eq!(table.judge(&batch(0, 18, 1)), Verdict::Append);
    }

    #[test]
    fn batches_are_judged_as_kafka_judges_them() {
        let duplicate = |base: i64, last: i64| Verdict::Duplicate {
            base_offset: Offset(base),
            last_offset: Offset(last),
        };
        check(&[], (0, 0, 1), Verdict::Append);
        check(&[], (0, 17, 1), Verdict::Append);
        check(&[(0, 0, 3)], (0, 3, 1), Verdict::Append);
        check(&[(0, 0, 3)], (0, 0, 3), duplicate(100, 102));
        check(&[(0, 0, 3)], (0, 0, 2), Verdict::OutOfOrder);
        check(&[(0, 0, 3)], (0, 4, 1), Verdict::OutOfOrder);
        check(&[(0, 0, 3), (0, 3, 2)], (0, 0, 3), duplicate(100, 102));
        check(&[(1, 0, 1)], (0, 1, 1), Verdict::StaleEpoch);
        check(&[(0, 0, 1)], (1, 0, 1), Verdict::Append);
        check(&[(0, 0, 1)], (1, 1, 1), Verdict::OutOfOrder);
        check(&[(0, 0, 1), (1, 0, 1)], (1, 0, 1), duplicate(101, 101));
    }

    #[test]
    fn five_batches_are_remembered() {
        let six = [
            (0, 0, 1),
            (0, 1, 1),
            (0, 2, 1),
            (0, 3, 1),
            (0, 4, 1),
            (0, 5, 1),
        ];
        let second = Verdict::Duplicate {
            base_offset: Offset(101),
            last_offset: Offset(101),
        };
        check(&six, (0, 1, 1), second);
        check(&six, (0, 0, 1), Verdict::OutOfOrder);
    }

    #[test]
    fn sequences_wrap_after_the_largest() {
        check(&[(0, i32::MAX - 1, 2)], (0, 0, 1), Verdict::Append);
        check(&[(0, i32::MAX, 3)], (0, 2, 1), Verdict::Append);
        check(&[(0, i32::MAX, 1)], (0, 1, 1), Verdict::OutOfOrder);
    }

    #[test]
    fn a_silent_producer_is_forgotten() {
        let mut table = ProducerTable::default();
        table.appended(&batch(0, 0, 1), Offset(0), batch(0, 0, 1).max_timestamp);
        table.expire(Timestamp(10), 10);
        assert_eq!(table.active().count(), 1);
        table.expire(Timestamp(11), 10);
        assert_eq!(table.active().count(), 0);
        assert_eq!(table.judge(&batch(0, 5, 1)), Verdict::Append);
    }

    #[test]
    fn bytes_that_are_no_snapshot_are_refused() {
        let mut table = ProducerTable::default();
        table.appended(&batch(0, 0, 1), Offset(0), batch(0, 0, 1).max_timestamp);
        let bytes = table.snapshot();
        for length in 1..bytes.len() {
            assert_eq!(ProducerTable::restore(&bytes[..length]), None, "{length}");
        }
    }
}
