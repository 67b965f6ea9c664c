//! Calls about offsets: ListOffsets, DeleteRecords, OffsetForLeaderEpoch.

use std::rc::Rc;

use futures_util::future::join_all;

use super::message::{Answer, Call};
use super::{Shard, ShardError};
use crate::model::{LeaderEpoch, Offset, PartitionId};
use crate::partition::{EpochEnd, ListedOffset, OffsetSpec, OffsetsError, ReadRefused};

/// One question about one partition's offsets.
#[derive(Clone, Copy, Debug)]
pub struct OffsetsCall {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch that the client believes in; `None` if it does not say.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// What is asked.
    pub question: OffsetsQuestion,
}

/// What may be asked.
#[derive(Clone, Copy, Debug)]
pub enum OffsetsQuestion {
    /// ListOffsets.
    List(OffsetSpec),
    /// DeleteRecords up to here; `None` is the high watermark.
    DeleteBefore(Option<Offset>),
    /// OffsetForLeaderEpoch.
    EpochEnd(LeaderEpoch),
}

/// An answer, of the kind that was asked.
#[derive(Clone, Copy, Debug)]
pub enum OffsetsAnswer {
    /// The offset found.
    Listed(ListedOffset),
    /// The partition's first offset now.
    Deleted(Offset),
    /// The end of the epoch; `None` if the log knows none at or below it.
    EpochEnd(Option<EpochEnd>),
}

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetsRefused {
    /// No shard has the partition.
    Shard(ShardError),
    /// The client's epoch is not this leadership's.
    Epoch(ReadRefused),
    /// The partition refused.
    Offsets(OffsetsError),
}

/// What came of one question.
pub type OffsetsResult = Result<OffsetsAnswer, OffsetsRefused>;

impl Shard {
    /// Asks each partition's owner; the results are in the order of `calls`.
    pub async fn offsets(self: &Rc<Self>, calls: Vec<OffsetsCall>) -> Vec<OffsetsResult> {
        let keyed = calls
            .into_iter()
            .map(|call| (call.partition, call))
            .collect();
        let results = self
            .scatter(keyed, Call::Offsets, |answer| match answer {
                Answer::Offsets(results) => results,
                _ => unreachable!("offsets are answered with offsets"),
            })
            .await;
        let unknown = || Err(OffsetsRefused::Shard(ShardError::UnknownPartition));
        results
            .into_iter()
            .map(|result| result.unwrap_or_else(unknown))
            .collect()
    }

    pub(super) async fn offsets_local(
        self: &Rc<Self>,
        calls: Vec<OffsetsCall>,
    ) -> Vec<OffsetsResult> {
        join_all(calls.into_iter().map(|call| self.answer_offsets(call))).await
    }

    async fn answer_offsets(self: &Rc<Self>, call: OffsetsCall) -> OffsetsResult {
        self.opened(call.partition).await;
        let partition = self.local(call.partition).map_err(OffsetsRefused::Shard)?;
        partition
            .check_epoch(call.current_leader_epoch)
            .map_err(OffsetsRefused::Epoch)?;
        let answer = match call.question {
            OffsetsQuestion::List(spec) => {
                partition.list_offset(spec).await.map(OffsetsAnswer::Listed)
            }
            OffsetsQuestion::DeleteBefore(target) => partition
                .delete_records(target)
                .await
                .map(OffsetsAnswer::Deleted),
            OffsetsQuestion::EpochEnd(epoch) => {
                Ok(OffsetsAnswer::EpochEnd(partition.epoch_end(epoch)))
            }
        };
        answer.map_err(OffsetsRefused::Offsets)
    }
}
