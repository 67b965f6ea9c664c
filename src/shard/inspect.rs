//! What a shard tells about its partitions: log directories, producers, metrics.

use std::rc::Rc;

use futures_util::future::join_all;

use super::Shard;
use super::message::{Answer, Call};
use crate::model::{CoreId, LeaderEpoch, Offset, PartitionId, TopicName};
use crate::partition::ActiveProducer;

/// Which partitions to report on.
#[derive(Clone, Debug)]
pub enum PartitionsWanted {
    /// All of the node.
    All,
    /// These.
    These(Vec<PartitionId>),
    /// These, with their producers.
    WithProducers(Vec<PartitionId>),
}

/// One partition at one moment.
#[derive(Clone, Debug)]
pub struct PartitionState {
    /// The partition.
    pub partition: PartitionId,
    /// Its topic's name.
    pub topic: TopicName,
    /// The epoch of this node's leadership.
    pub leader_epoch: LeaderEpoch,
    /// The first offset.
    pub log_start_offset: Offset,
    /// The watermark.
    pub high_watermark: Offset,
    /// The offset that the next record gets.
    pub log_end_offset: Offset,
    /// The logical size of its log, in bytes.
    pub size_bytes: u64,
    /// Its producers, if they were asked for.
    pub producers: Vec<ActiveProducer>,
}

impl Shard {
    /// Reports on partitions of every core, in no order. Partitions that do not exist are left
    /// out.
    pub async fn inspect(self: &Rc<Self>, wanted: PartitionsWanted) -> Vec<PartitionState> {
        let cores = (0..self.routes.cores_count()).map(|core| CoreId(core as u16));
        let calls = cores.map(|core| self.call(core, Call::Inspect(wanted.clone())));
        let answers = join_all(calls).await;
        let states = answers.into_iter().flat_map(|answer| match answer {
            Answer::Inspect(states) => states,
            _ => unreachable!("an inspection is answered with an inspection"),
        });
        states.collect()
    }

    /// Reports on the partitions of this core only.
    pub async fn inspect_own(self: &Rc<Self>) -> Vec<PartitionState> {
        self.inspect_local(&PartitionsWanted::All).await
    }

    pub(super) async fn inspect_local(
        self: &Rc<Self>,
        wanted: &PartitionsWanted,
    ) -> Vec<PartitionState> {
        match wanted {
            PartitionsWanted::All => self.open_everything().await,
            PartitionsWanted::These(ids) | PartitionsWanted::WithProducers(ids) => {
                self.all_opened(ids.iter().copied()).await;
            }
        }
        let partitions = self.partitions.borrow();
        let state = |partition: &crate::partition::Partition, producers: bool| PartitionState {
            partition: partition.id(),
            topic: partition.topic().clone(),
            leader_epoch: partition.leader_epoch(),
            log_start_offset: partition.log().start_offset(),
            high_watermark: partition.high_watermark(),
            log_end_offset: partition.log().end_offset(),
            size_bytes: partition.log().size_bytes(),
            producers: if producers {
                partition.active_producers()
            } else {
                Vec::new()
            },
        };
        match wanted {
            PartitionsWanted::All => partitions
                .values()
                .map(|partition| state(partition, false))
                .collect(),
            PartitionsWanted::These(ids) => ids
                .iter()
                .filter_map(|id| partitions.get(id))
                .map(|p| state(p, false))
                .collect(),
            PartitionsWanted::WithProducers(ids) => ids
                .iter()
                .filter_map(|id| partitions.get(id))
                .map(|p| state(p, true))
                .collect(),
        }
    }
}
