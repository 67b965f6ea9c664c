//! Reads, bounded by the log's start and the high watermark.

use std::rc::Rc;

use bytes::Bytes;

use super::{Partition, Watch};
use crate::log::ReadError;
use crate::model::{LeaderEpoch, Offset};

/// What a fetch asks of one partition.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// The first offset wanted.
    pub offset: Offset,
    /// The epoch that the client believes in; `None` if it does not say.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record that the client has; `None` if it does not say (KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The most bytes wanted from this partition.
    pub max_bytes: usize,
}

/// Where an epoch ends in this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch of the log that is not above the one asked for.
    pub epoch: LeaderEpoch,
    /// The offset after that epoch's last record.
    pub end_offset: Offset,
}

/// What a fetch gets of one partition.
#[derive(Clone, Debug)]
pub struct PartitionRead {
    /// Whole batches in order; the first contains the offset asked for.
    pub slices: Vec<Bytes>,
    /// The bytes of `slices`.
    pub bytes: usize,
    /// The watermark that bounded the read.
    pub high_watermark: Offset,
    /// The partition's first offset.
    pub log_start_offset: Offset,
    /// Set when the client's history and this log's part before the offset asked for.
    pub diverging: Option<EpochEnd>,
}

/// Why a partition could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadRefused {
    /// Below the first offset, or above the watermark.
    OutOfRange {
        /// The watermark at the time.
        high_watermark: Offset,
        /// The first offset at the time.
        log_start_offset: Offset,
    },
    /// The client's epoch is older than this leadership's.
    FencedEpoch,
    /// The client's epoch is newer than any known here.
    UnknownEpoch,
    /// The disk gave an error.
    Storage,
    /// The bytes on disk fail their checksum.
    Corrupt,
}

impl Partition {
    /// Whether a client that believes in `epoch` talks to the leader that it means.
    pub fn check_epoch(&self, epoch: Option<LeaderEpoch>) -> Result<(), ReadRefused> {
        match epoch {
            Some(epoch) if epoch < self.leader_epoch => Err(ReadRefused::FencedEpoch),
            Some(epoch) if epoch > self.leader_epoch => Err(ReadRefused::UnknownEpoch),
            Some(_) | None => Ok(()),
        }
    }

    /// Reads whole batches from `request.offset` up to the high watermark, as many as fit
    /// `budget_bytes` and the request's own limit; at least one if `at_least_one`.
    pub async fn read(
        &self,
        request: ReadRequest,
        budget_bytes: usize,
        at_least_one: bool,
    ) -> Result<PartitionRead, ReadRefused> {
        self.check_epoch(request.current_leader_epoch)?;
        let high_watermark = self.high_watermark();
        let log_start_offset = self.log.start_offset();
        let empty = |diverging| PartitionRead {
            slices: Vec::new(),
            bytes: 0,
            high_watermark,
            log_start_offset,
            diverging,
        };
        if let Some(epoch) = request.last_fetched_epoch {
            // An epoch that this log does not know says nothing about where histories part.
            let end = self.epoch_end(epoch).ok_or(ReadRefused::OutOfRange {
                high_watermark,
                log_start_offset,
            })?;
            if end.epoch < epoch || end.end_offset < request.offset {
                return Ok(empty(Some(end)));
            }
        }
        if request.offset < log_start_offset || request.offset > self.log.end_offset() {
            return Err(ReadRefused::OutOfRange {
                high_watermark,
                log_start_offset,
            });
        }
        let max_bytes = request.max_bytes.min(budget_bytes);
        // What is not yet durable is not refused, but nobody reads it.
        if request.offset >= high_watermark || (max_bytes == 0 && !at_least_one) {
            return Ok(empty(None));
        }
        match self
            .log
            .read(request.offset, high_watermark, max_bytes, at_least_one)
            .await
        {
            Ok(read) => Ok(PartitionRead {
                bytes: read.bytes,
                slices: read.batches,
                high_watermark,
                log_start_offset: self.log.start_offset(),
                diverging: None,
            }),
            // Retention may have moved the start while the read was on its way.
            Err(ReadError::OutOfRange) => Err(ReadRefused::OutOfRange {
                high_watermark,
                log_start_offset: self.log.start_offset(),
            }),
            Err(ReadError::Io) => Err(ReadRefused::Storage),
            Err(ReadError::Corrupt { .. }) => Err(ReadRefused::Corrupt),
        }
    }

    /// The end of the largest epoch that is not above `epoch`; `None` if there is none, if
    /// `epoch` is none, or if it is above this leadership's.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        if epoch.0 < 0 {
            return None;
        }
        if epoch == self.leader_epoch {
            return Some(EpochEnd {
                epoch,
                end_offset: self.log.end_offset(),
            });
        }
        let (epoch, end_offset) = self.log.epoch_end(epoch)?;
        Some(EpochEnd { epoch, end_offset })
    }

    /// Fires `watch` when the watermark moves from `seen`.
    pub fn watch(&self, seen: Offset, watch: &Rc<Watch>) {
        self.state.borrow_mut().watermark.watch(seen, watch);
    }
}
