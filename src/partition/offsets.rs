//! ListOffsets and DeleteRecords: from a specification to an offset.

use crate::frame;
use crate::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use crate::log::ReadError;
use crate::model::{LeaderEpoch, Offset, Timestamp};

use super::Partition;

/// What ListOffsets may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The high watermark (-1).
    Latest,
    /// The first offset (-2).
    Earliest,
    /// The record with the largest timestamp (-3, KIP-734).
    MaxTimestamp,
    /// The first offset on local disk (-4, KIP-405); without tiers, the first offset.
    EarliestLocal,
    /// The last tiered offset (-5, KIP-1005), or the first not yet tiered (-6): without tiers,
    /// none.
    Tiered,
    /// The first record whose timestamp is at or after this one.
    AtOrAfter(Timestamp),
}

/// An answer to ListOffsets. `Offset::NONE` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset, or -1.
    pub offset: Offset,
    /// The record's timestamp where the specification was about timestamps, else -1.
    pub timestamp: Timestamp,
    /// The epoch of the record, or of this leadership.
    pub leader_epoch: LeaderEpoch,
}

/// Why an offset could not be found or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetsError {
    /// Outside of the log.
    OutOfRange,
    /// The disk gave an error.
    Storage,
    /// The bytes on disk fail their checksum.
    Corrupt,
}

impl From<ReadError> for OffsetsError {
    fn from(error: ReadError) -> OffsetsError {
        match error {
            ReadError::OutOfRange => OffsetsError::OutOfRange,
            ReadError::Io => OffsetsError::Storage,
            ReadError::Corrupt { .. } => OffsetsError::Corrupt,
        }
    }
}

impl Partition {
    /// Finds the offset of a specification, to the record.
    pub async fn list_offset(&self, spec: OffsetSpec) -> Result<ListedOffset, OffsetsError> {
        let at = |offset| ListedOffset {
            offset,
            timestamp: Timestamp::NONE,
            leader_epoch: self.leader_epoch,
        };
        let none = ListedOffset {
            leader_epoch: LeaderEpoch(-1),
            ..at(Offset::NONE)
        };
        match spec {
            OffsetSpec::Latest => Ok(at(self.high_watermark())),
            OffsetSpec::Earliest | OffsetSpec::EarliestLocal => {
                let start = self.log.start_offset();
                let epoch = self.log.epoch_at(start);
                Ok(ListedOffset {
                    leader_epoch: epoch.unwrap_or(self.leader_epoch),
                    ..at(start)
                })
            }
            OffsetSpec::Tiered => Ok(none),
            OffsetSpec::MaxTimestamp => {
                let newest = self.log.max_timestamp();
                if newest == Timestamp::NONE {
                    return Ok(none);
                }
                let found = match self.first_at_or_after(newest).await? {
                    Some(found) => Some(found),
                    None => self.newest_left().await?,
                };
                Ok(found.unwrap_or(none))
            }
            OffsetSpec::AtOrAfter(target) => {
                Ok(self.first_at_or_after(target).await?.unwrap_or(none))
            }
        }
    }

    /// The record with the largest timestamp, when the log's start has passed the one that its
    /// chunk remembers.
    async fn newest_left(&self) -> Result<Option<ListedOffset>, OffsetsError> {
        loop {
            let start = self.log.start_offset();
            let high_watermark = self.high_watermark();
            let first = match self.log.read(start, high_watermark, 1, true).await {
                Err(ReadError::OutOfRange) if self.log.start_offset() == start => return Ok(None),
                // The start has moved on.
                Err(ReadError::OutOfRange) => continue,
                first => first?,
            };
            let Some(batch) = first.batches.first() else {
                return Ok(None);
            };
            // The batch that the start lies in counts from there on.
            let mut newest = self.log.max_timestamp_from(first.next_offset).await?;
            let records = frame::records(batch, DECOMPRESSED_BATCH_BYTES_MAX)
                .map_err(|_| OffsetsError::Corrupt)?;
            for record in records.iter() {
                let record = record.map_err(|_| OffsetsError::Corrupt)?;
                if record.offset >= start {
                    newest = newest.max(record.timestamp);
                }
            }
            let found = self.first_at_or_after(newest).await?;
            if found.is_some() || self.log.start_offset() == start {
                return Ok(found);
            }
        }
    }

    /// The first record with a timestamp at or after `target`, below the watermark.
    async fn first_at_or_after(
        &self,
        target: Timestamp,
    ) -> Result<Option<ListedOffset>, OffsetsError> {
        let high_watermark = self.high_watermark();
        let mut from = self.log.start_offset();
        // A batch's largest timestamp may belong to a record below the log's start, so the batch
        // found first need not hold the answer.
        while let Some(batch) = self.log.find_timestamp(target, from).await? {
            let header = frame::BatchHeader::read(&batch).ok_or(OffsetsError::Corrupt)?;
            if header.base_offset >= high_watermark {
                return Ok(None);
            }
            let start = self.log.start_offset();
            let records = frame::records(&batch, DECOMPRESSED_BATCH_BYTES_MAX)
                .map_err(|_| OffsetsError::Corrupt)?;
            for record in records.iter() {
                let record = record.map_err(|_| OffsetsError::Corrupt)?;
                if record.timestamp >= target && record.offset >= start {
                    return Ok(Some(ListedOffset {
                        offset: record.offset,
                        timestamp: record.timestamp,
                        leader_epoch: header.leader_epoch,
                    }));
                }
            }
            from = header.last_offset().next();
        }
        Ok(None)
    }

    /// Moves the first offset up to `target` (DeleteRecords); `None` is the high watermark.
    /// Durable when it returns. Returns the first offset then.
    pub async fn delete_records(&self, target: Option<Offset>) -> Result<Offset, OffsetsError> {
        let high_watermark = self.high_watermark();
        let target = target.unwrap_or(high_watermark);
        if target > high_watermark || target.0 < 0 {
            return Err(OffsetsError::OutOfRange);
        }
        if target > self.log.start_offset() {
            self.log
                .set_start_offset(target, || self.producers_snapshot())
                .await
                .map_err(|_| OffsetsError::Storage)?;
        }
        Ok(self.log.start_offset())
    }
}
