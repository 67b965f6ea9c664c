//! What a shard knows of the cluster, and what it does when that changes.

use std::rc::Rc;
use std::sync::Arc;

use super::Shard;
use crate::config::{self, BrokerConfig, SharedConfig, TopicConfig};
use crate::controller::{Change, Image, Record};
use crate::frame::BatchRules;
use crate::io;
use crate::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use crate::log::{Found, Log, LogConfig, Replay};
use crate::model::OFFSETS_TOPIC;
use crate::model::{LeaderEpoch, PartitionId, Timestamp, TopicId, TopicName};
use crate::partition::{Partition, ProducerTable};

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
    /// Whether it has a partition of this index.
    pub fn has_partition(&self, index: i32) -> bool {
        usize::try_from(index).is_ok_and(|index| index < self.leader_epochs.len())
    }

    /// What a batch must obey at the time of `now`.
    pub(super) fn batch_rules(&self, now: Timestamp) -> BatchRules {
        let config = &self.config;
        BatchRules {
            now,
            timestamp_type: config.message_timestamp_type,
            timestamp_before_max_ms: config.message_timestamp_before_max_ms,
            timestamp_after_max_ms: config.message_timestamp_after_max_ms,
            batch_bytes_max: usize::try_from(config.max_message_bytes).unwrap_or(0),
            compacted: config.cleanup_policy != config::CleanupPolicy::Delete,
            decompressed_bytes_max: DECOMPRESSED_BATCH_BYTES_MAX,
        }
    }
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

    /// The node's cluster id.
    pub fn cluster_id(&self) -> Arc<str> {
        self.identity.cluster_id.clone()
    }

    /// Applies durable metadata in its order: opens, reconfigures and drops partitions.
    pub(super) async fn apply(self: &Rc<Self>, records: &[Record]) {
        for record in records {
            let change = self.image.borrow_mut().apply(record);
            self.follow(change).await;
        }
    }

    /// Brings what this shard keeps per topic in line with the image.
    async fn follow(self: &Rc<Self>, change: Change) {
        match change {
            Change::Nothing => {}
            Change::TopicCreated(id) => {
                self.refresh_topic(id);
                self.open_new(id, 0).await;
            }
            Change::PartitionsAdded(id, from) => {
                self.refresh_topic(id);
                self.open_new(id, from).await;
            }
            Change::TopicDeleted(topic) => {
                // Every log of it, and every coordinator that keeps offsets of it.
                self.open_before_deletion_of(topic.id).await;
                self.topics.borrow_mut().remove(&topic.id);
                self.unseat_coordinators(topic.id);
                self.forget_offsets_of(topic.name.as_str());
                self.drop_topic(topic.id).await;
            }
            Change::TopicConfigs(id) => {
                self.refresh_topic(id);
                self.reconfigure_logs(Some(id));
            }
            Change::BrokerConfigs | Change::All => {
                let configured = configured(self.launch.config(), &self.image.borrow());
                match configured {
                    Ok(config) => *self.config.borrow_mut() = config,
                    Err(errors) => tracing::error!("a dynamic configuration is refused: {errors}"),
                }
                self.refresh_all_topics();
                self.reconfigure_logs(None);
            }
        }
    }

    /// Makes `topics` anew from the image.
    pub(super) fn refresh_all_topics(&self) {
        let ids: Vec<TopicId> = self.image.borrow().topics().map(|topic| topic.id).collect();
        self.topics.borrow_mut().clear();
        for id in ids {
            self.refresh_topic(id);
        }
    }

    fn refresh_topic(&self, id: TopicId) {
        let image = self.image.borrow();
        let Some(meta) = image.topic(id) else { return };
        let topic = Topic {
            id,
            name: meta.name.clone(),
            leader_epochs: meta
                .partitions
                .iter()
                .map(|p| image.leader_epoch(p))
                .collect(),
            config: self.config.borrow().topic(&meta.configs),
        };
        self.topics.borrow_mut().insert(id, Rc::new(topic));
    }

    /// Opens this core's partitions of a topic from index `from` on, which are new and empty.
    async fn open_new(self: &Rc<Self>, id: TopicId, from: usize) {
        let mine: Vec<PartitionId> = {
            let image = self.image.borrow();
            let Some(topic) = image.topic(id) else { return };
            let partitions = topic.partitions.iter().enumerate().skip(from);
            let mine = partitions.filter(|(_, p)| self.core_of_slot(p.slot) == self.core);
            mine.map(|(at, _)| PartitionId {
                topic_id: id,
                index: at as i32,
            })
            .collect()
        };
        for partition in mine {
            self.open_partition(partition, Found::default()).await;
        }
    }

    /// Opens one partition. A log that cannot be opened is reported and leaves its partition
    /// offline; the others go on.
    pub(super) async fn open_partition(self: &Rc<Self>, id: PartitionId, found: Found) {
        let Some(topic) = self.topic(id.topic_id) else {
            return;
        };
        let mut producers = ProducerTable::default();
        let replay = |item: Replay<'_>| match item {
            Replay::State(state) => match ProducerTable::restore(state) {
                Some(table) => producers = table,
                None => tracing::warn!(
                    "{}-{}: the checkpoint's producer state cannot be read; producers that have \
                     written before the checkpoint are unknown until they write again",
                    topic.name,
                    id.index
                ),
            },
            Replay::Batch(header) => {
                producers.appended(header, header.base_offset, header.max_timestamp);
            }
        };
        let config = self.log_config(&topic);
        let incarnation = self.identity.incarnation;
        let opened = Log::open(&self.store, id, found, config, incarnation, replay).await;
        match opened {
            Ok(log) => {
                report(&topic.name, id, &log);
                // The topic may have been changed meanwhile.
                if let Some(topic) = self.topic(id.topic_id) {
                    log.set_config(self.log_config(&topic));
                }
                let epoch = topic.leader_epochs[id.index as usize];
                let partition = Partition::new(id, topic.name.clone(), epoch, log, producers);
                if topic.name.as_str() == OFFSETS_TOPIC {
                    self.seat_coordinator(partition.clone());
                }
                self.partitions.borrow_mut().insert(id, partition);
            }
            Err(error) => {
                tracing::error!("{}-{} is offline: {error:?}", topic.name, id.index);
                self.offline.borrow_mut().insert(id);
            }
        }
    }

    async fn drop_topic(self: &Rc<Self>, id: TopicId) {
        let gone: Vec<Rc<Partition>> = {
            let mut partitions = self.partitions.borrow_mut();
            self.offline
                .borrow_mut()
                .retain(|partition| partition.topic_id != id);
            partitions
                .extract_if(|key, _| key.topic_id == id)
                .map(|(_, p)| p)
                .collect()
        };
        for partition in gone {
            partition.end();
            // The topic is gone from the metadata: if this fails, the next start frees the rest.
            if partition.log().delete().await.is_err() {
                tracing::warn!("{}: chunks are freed at the next start", partition.topic());
            }
        }
    }

    fn reconfigure_logs(&self, only: Option<TopicId>) {
        for partition in self.partitions.borrow().values() {
            let id = partition.id().topic_id;
            if only.is_none_or(|only| only == id)
                && let Some(topic) = self.topic(id)
            {
                partition.log().set_config(self.log_config(&topic));
            }
        }
    }

    fn log_config(&self, topic: &Topic) -> LogConfig {
        let config = &topic.config;
        // The broker's own topics are kept bounded by their owner, which knows what still counts.
        let keeps_all =
            topic.name.is_internal() || config.cleanup_policy == config::CleanupPolicy::Compact;
        let limit = |value: i64| u64::try_from(value).ok().filter(|_| !keeps_all);
        LogConfig {
            segment_bytes: u64::try_from(config.segment_bytes).unwrap_or(1),
            segment_ms: config.segment_ms - jitter_ms(config),
            retention_bytes: limit(config.retention_bytes),
            retention_ms: limit(config.retention_ms).map(|ms| ms as i64),
        }
    }
}

/// What is taken off the age at which a segment rolls, so that partitions do not roll at once.
fn jitter_ms(config: &TopicConfig) -> i64 {
    let most = config.segment_jitter_ms.clamp(0, config.segment_ms - 1);
    match u64::try_from(most) {
        Ok(most) if most > 0 => (io::random_u64() % most) as i64,
        Ok(_) | Err(_) => 0,
    }
}

/// Tells people what recovery found.
fn report(topic: &TopicName, id: PartitionId, log: &Log) {
    let recovery = log.recovery();
    if let Some(cut) = recovery.cut {
        tracing::info!(
            "{topic}-{}: a tail that was not acknowledged is cut at offset {cut}",
            id.index
        );
    }
    for range in &recovery.quarantined {
        tracing::error!(
            "{topic}-{}: offsets {} to {} are damaged on the disk and kept from readers. Likely \
             cause: the disk; to see: dmesg | grep -i error, smartctl -a DEVICE",
            id.index,
            range.start,
            range.end
        );
    }
}

/// The configuration with the dynamic layers of the image.
pub(super) fn configured(
    start: &BrokerConfig,
    image: &Image,
) -> Result<SharedConfig, config::ConfigErrors> {
    let cluster_default = image.broker_configs(None);
    let this_broker = image.broker_configs(Some(start.node_id.0));
    start
        .with_dynamic(&cluster_default, &this_broker)
        .map(Arc::new)
}

/// How the metadata log is kept: everything.
pub(super) fn metadata_log_config() -> LogConfig {
    LogConfig {
        retention_bytes: None,
        retention_ms: None,
        ..LogConfig::default()
    }
}
