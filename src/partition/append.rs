//! The one step of an append that cannot be interrupted: epoch, producer sequence, offsets.

use std::rc::Rc;

use crate::frame::{BatchHeader, BatchInfo};
use crate::log::{AppendError, Batch};
use crate::metrics::{self, Counter};
use crate::model::{Offset, Timestamp};

use super::pending::Waiter;
use super::{Partition, Pending, Verdict};

/// Where a batch went, or where its original went before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the batch's first record.
    pub base_offset: Offset,
    /// The append time if the topic keeps it, else -1.
    pub log_append_time: Timestamp,
    /// The partition's first offset.
    pub log_start_offset: Offset,
}

/// Why a valid batch was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendRefused {
    /// The producer's epoch is older than the one known.
    StaleProducerEpoch,
    /// The batch's sequence number does not follow the producer's last one.
    OutOfOrderSequence,
    /// The disk is full, or the data directory has stopped.
    Storage,
    /// The batch is larger than the largest chunk.
    TooLarge,
    /// The disk has not yet taken what was appended before.
    Busy,
}

impl Partition {
    /// Takes note that a batch was refused for the moment before it came here: if it is the first
    /// of its producer, it is awaited.
    pub fn refuse_for_now(&self, batch: &[u8]) {
        let Some(header) = BatchHeader::read(batch) else {
            return;
        };
        let producers = &mut self.state.borrow_mut().producers;
        if producers.judge(&header) == Verdict::Append {
            producers.refused(&header);
        }
    }

    /// Appends a batch that the broker itself made; never refused with `Busy`. It is number 0 of
    /// what `pending` waits for.
    pub fn append_own(
        &self,
        batch: &[u8],
        now: Timestamp,
        pending: &Rc<Pending>,
    ) -> Result<Appended, AppendRefused> {
        let header = BatchHeader::read(batch).expect("the broker builds whole batches");
        let base_offset = self.log.end_offset();
        self.log
            .append_own(batch, base_offset, self.leader_epoch, now)
            .map_err(refused)?;
        metrics::add(Counter::PayloadOwnBytes, batch.len() as u64);
        self.wait_durable(base_offset + i64::from(header.record_count), pending, 0);
        Ok(Appended {
            base_offset,
            log_append_time: Timestamp::NONE,
            log_start_offset: self.log.start_offset(),
        })
    }

    /// Number `number` of `pending` waits until the watermark reaches `end`.
    fn wait_durable(&self, end: Offset, pending: &Rc<Pending>, number: usize) {
        let waiter = Waiter::new(pending, number);
        self.state.borrow_mut().watermark.wait(end, waiter);
    }

    /// Appends a validated batch, stamped if its topic asks for it; `log_append_time` is -1 where
    /// timestamps are the producer's. Synchronous: when it returns, the batch's place is fixed.
    ///
    /// If somebody waits for its durability, it is this number of what is pending. A duplicate of
    /// a batch that is still in flight waits for the original's.
    pub fn append(
        &self,
        batch: Batch,
        info: &BatchInfo,
        log_append_time: Timestamp,
        pending: Option<(&Rc<Pending>, usize)>,
    ) -> Result<Appended, AppendRefused> {
        let header = &info.header;
        let verdict = self.state.borrow().producers.judge(header);
        let (base_offset, last_offset) = match verdict {
            Verdict::Append => {
                let base_offset = self.log.end_offset();
                // Not under a borrow of the state: the log may call its listener.
                let (log, epoch, newest) = (&self.log, self.leader_epoch, info.max_timestamp);
                let appended = match batch {
                    Batch::Shared(batch) => log.append(&batch, base_offset, epoch, newest),
                    Batch::Placed(batch) => log.append_placed(batch, base_offset, epoch, newest),
                };
                let producers = &mut self.state.borrow_mut().producers;
                match appended {
                    Ok(()) => producers.appended(header, base_offset, info.max_timestamp),
                    Err(error) => {
                        match error {
                            AppendError::StorageFull | AppendError::Stopped | AppendError::Busy => {
                                producers.refused(header);
                            }
                            AppendError::TooLarge => {}
                        }
                        return Err(refused(error));
                    }
                }
                (
                    base_offset,
                    base_offset + i64::from(header.last_offset_delta),
                )
            }
            Verdict::Duplicate {
                base_offset,
                last_offset,
            } => (base_offset, last_offset),
            Verdict::StaleEpoch => return Err(AppendRefused::StaleProducerEpoch),
            Verdict::OutOfOrder => return Err(AppendRefused::OutOfOrderSequence),
        };
        if let Some((pending, number)) = pending {
            self.wait_durable(last_offset.next(), pending, number);
        }
        Ok(Appended {
            base_offset,
            log_append_time,
            log_start_offset: self.log.start_offset(),
        })
    }
}

fn refused(error: AppendError) -> AppendRefused {
    match error {
        AppendError::StorageFull | AppendError::Stopped => AppendRefused::Storage,
        AppendError::TooLarge => AppendRefused::TooLarge,
        AppendError::Busy => AppendRefused::Busy,
    }
}
