//! What a shard knows of the cluster, and what it does when that changes.

use std::rc::Rc;
use std::sync::Arc;

use super::{Shard, ShardError};
use crate::config::{self, TopicConfig};
use crate::controller::Record;
use crate::frame::{BatchRules, TimestampType};
use crate::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use crate::model::{LeaderEpoch, NodeId, PartitionId, Timestamp, TopicId, TopicName};

/// A topic as this shard knows it.
pub struct Topic {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// One leader epoch for each partition.
    pub leader_epochs: Vec<LeaderEpoch>,
    /// The configuration in force.
    pub config: Arc<TopicConfig>,
}

impl Topic {
    /// What a batch must obey at the time of `now`.
    pub(super) fn batch_rules(&self, now: Timestamp) -> BatchRules {
        let config = &self.config;
        BatchRules {
            now,
            timestamp_type: match config.message_timestamp_type {
                config::TimestampType::CreateTime => TimestampType::CreateTime,
                config::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            timestamp_before_max_ms: config.message_timestamp_before_max_ms,
            timestamp_after_max_ms: config.message_timestamp_after_max_ms,
            batch_bytes_max: usize::try_from(config.max_message_bytes).unwrap_or(0),
            compacted: config.cleanup_policy != config::CleanupPolicy::Delete,
            decompressed_bytes_max: DECOMPRESSED_BATCH_BYTES_MAX,
        }
    }
}

/// A broker as clients of one listener see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// The id to tell.
    pub id: NodeId,
    /// The host to tell.
    pub host: Arc<str>,
    /// The port to tell.
    pub port: u16,
}

impl Shard {
    /// The topic of an id.
    pub fn topic(&self, id: TopicId) -> Option<Rc<Topic>> {
        self.topics.borrow().get(&id).cloned()
    }

    /// The topic of a name.
    pub fn topic_by_name(&self, name: &str) -> Option<Rc<Topic>> {
        let id = self.image.borrow().topic_by_name(name)?.id;
        self.topic(id)
    }

    /// Looks at the whole image, for answers that list things.
    pub fn with_image<T>(&self, look: impl FnOnce(&crate::controller::Image) -> T) -> T {
        look(&self.image.borrow())
    }

    /// The broker that clients of `listener` are told leads `partition`, or of which they are
    /// told in general. The only place that maps a node to what is advertised, so that one
    /// listener can later advertise a broker for each core.
    pub fn advertised(&self, listener: usize, partition: Option<PartitionId>) -> Advertised {
        let _same_for_all = partition;
        let (host, port) = self.node.advertised[listener].clone();
        Advertised { id: self.config().node_id, host, port }
    }

    /// Applies durable metadata in its order: opens, reconfigures and drops partitions.
    pub(super) async fn apply(self: &Rc<Self>, records: &[Record]) {
        for record in records {
            let touched = self.image.borrow_mut().apply(record);
            self.refresh(touched).await;
        }
    }
}

const _: fn() -> ShardError = || ShardError::Offline;
