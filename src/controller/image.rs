//! What the metadata log says, applied record by record.

use std::collections::{BTreeMap, HashMap};

use super::record::{PartitionRecord, Record};
use crate::config::Overrides;
use crate::model::{LeaderEpoch, PartitionId, TopicId, TopicName};

/// The metadata at one moment. Each shard owns one. A crash loses it; the log has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    topics: HashMap<TopicId, TopicMeta>,
    names: BTreeMap<TopicName, TopicId>,
    /// Names with '.' or '_', by the form in which Kafka's metric names cannot tell them apart.
    folded: HashMap<String, TopicName>,
    /// Dynamic broker configurations; `None` is the default of all brokers.
    broker_configs: BTreeMap<Option<i32>, Overrides>,
    pub(super) starts_count: u32,
    pub(super) next_slot: u32,
    pub(super) next_producer_id: i64,
}

/// A topic of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMeta {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionMeta>,
    /// Its own configurations.
    pub configs: Overrides,
}

/// A partition of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMeta {
    /// Decides the core: `slot % cores`.
    pub slot: u32,
    born_at_start: u32,
}

impl TopicMeta {
    /// The topic that a record makes; `None` if it makes none.
    pub(super) fn created(record: &Record) -> Option<TopicMeta> {
        let Record::TopicCreated {
            id,
            name,
            partitions,
            configs,
        } = record
        else {
            return None;
        };
        Some(TopicMeta {
            id: TopicId(*id),
            name: TopicName::new(name).ok()?,
            partitions: partitions.iter().map(PartitionMeta::from).collect(),
            configs: configs.iter().cloned().collect(),
        })
    }
}

/// What applying a record changed, for those who keep something per topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that shards keep.
    Nothing,
    /// Everything may have changed.
    All,
    /// The topic is new.
    TopicCreated(TopicId),
    /// The topic has new partitions from this index on.
    PartitionsAdded(TopicId, usize),
    /// The topic is gone; this is what it was.
    TopicDeleted(TopicMeta),
    /// The topic's configurations changed.
    TopicConfigs(TopicId),
    /// Broker configurations changed.
    BrokerConfigs,
}

impl Image {
    /// Applies one record. A record about a topic that is not there changes nothing.
    pub fn apply(&mut self, record: &Record) -> Change {
        match record {
            Record::Snapshot {
                starts_count,
                next_slot,
                next_producer_id,
            } => {
                *self = Image {
                    starts_count: *starts_count,
                    next_slot: *next_slot,
                    next_producer_id: *next_producer_id,
                    ..Image::default()
                };
                Change::All
            }
            Record::Started => {
                self.starts_count += 1;
                Change::All
            }
            // A name that is none was never written: it is decided before it is durable.
            Record::TopicCreated { partitions, .. } => match TopicMeta::created(record) {
                None => Change::Nothing,
                Some(topic) => {
                    let id = topic.id;
                    self.count_slots(partitions);
                    if let Some(form) = folded(&topic.name) {
                        self.folded.insert(form, topic.name.clone());
                    }
                    self.names.insert(topic.name.clone(), id);
                    self.topics.insert(id, topic);
                    Change::TopicCreated(id)
                }
            },
            Record::PartitionsAdded { id, partitions } => {
                let Some(topic) = self.topics.get_mut(&TopicId(*id)) else {
                    return Change::Nothing;
                };
                let from = topic.partitions.len();
                topic
                    .partitions
                    .extend(partitions.iter().map(PartitionMeta::from));
                self.count_slots(partitions);
                Change::PartitionsAdded(TopicId(*id), from)
            }
            Record::TopicDeleted { id } => match self.topics.remove(&TopicId(*id)) {
                None => Change::Nothing,
                Some(topic) => {
                    self.names.remove(&topic.name);
                    if let Some(form) = folded(&topic.name) {
                        self.folded.remove(&form);
                    }
                    Change::TopicDeleted(topic)
                }
            },
            Record::TopicConfigs { id, configs } => {
                let Some(topic) = self.topics.get_mut(&TopicId(*id)) else {
                    return Change::Nothing;
                };
                topic.configs = configs.iter().cloned().collect();
                Change::TopicConfigs(TopicId(*id))
            }
            Record::BrokerConfigs { node_id, configs } => {
                self.broker_configs
                    .insert(*node_id, configs.iter().cloned().collect());
                Change::BrokerConfigs
            }
            Record::ProducerIds { next_producer_id } => {
                self.next_producer_id = *next_producer_id;
                Change::Nothing
            }
        }
    }

    /// What a record is about to change, for the operator's log; `None` if it is nothing that an
    /// operator asked for. Values stay out of the log: one may be a password.
    pub(super) fn describe(&self, record: &Record) -> Option<String> {
        let keys = |configs: &[(String, String)]| {
            let keys: Vec<&str> = configs.iter().map(|(key, _)| key.as_str()).collect();
            match keys.is_empty() {
                true => "no keys".to_owned(),
                false => keys.join(", "),
            }
        };
        let name = |id: &[u8; 16]| Some(&self.topic(TopicId(*id))?.name);
        let text = match record {
            Record::Snapshot { .. } | Record::Started | Record::ProducerIds { .. } => return None,
            Record::TopicCreated {
                name,
                partitions,
                configs,
                ..
            } => format!(
                "topic {name} is created: {} partitions, {} set",
                partitions.len(),
                keys(configs)
            ),
            Record::PartitionsAdded { id, partitions } => {
                format!(
                    "topic {} gets {} more partitions",
                    name(id)?,
                    partitions.len()
                )
            }
            Record::TopicDeleted { id } => format!("topic {} is deleted", name(id)?),
            Record::TopicConfigs { id, configs } => {
                format!(
                    "topic {} has its configuration changed: {} set",
                    name(id)?,
                    keys(configs)
                )
            }
            Record::BrokerConfigs { node_id, configs } => {
                let whose = node_id.map_or("all brokers".to_owned(), |id| format!("broker {id}"));
                format!(
                    "the configuration of {whose} is changed: {} set",
                    keys(configs)
                )
            }
        };
        Some(text)
    }

    fn count_slots(&mut self, partitions: &[PartitionRecord]) {
        let after = partitions
            .iter()
            .map(|partition| partition.slot.saturating_add(1))
            .max();
        self.next_slot = self.next_slot.max(after.unwrap_or(0));
    }

    /// The records that give this image when they are applied to an empty one.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = vec![Record::Snapshot {
            starts_count: self.starts_count,
            next_slot: self.next_slot,
            next_producer_id: self.next_producer_id,
        }];
        for (node_id, configs) in &self.broker_configs {
            records.push(Record::BrokerConfigs {
                node_id: *node_id,
                configs: pairs(configs),
            });
        }
        for topic in self.topics() {
            records.push(Record::TopicCreated {
                id: topic.id.0,
                name: topic.name.to_string(),
                partitions: topic.partitions.iter().map(PartitionRecord::from).collect(),
                configs: pairs(&topic.configs),
            });
        }
        records
    }

    /// The topic of an id.
    pub fn topic(&self, id: TopicId) -> Option<&TopicMeta> {
        self.topics.get(&id)
    }

    /// The topic of a name.
    pub fn topic_by_name(&self, name: &str) -> Option<&TopicMeta> {
        self.topics.get(self.names.get(name)?)
    }

    /// The topic whose name differs from this one only in '.' against '_'.
    pub fn collides(&self, name: &TopicName) -> Option<&TopicName> {
        self.folded
            .get(&folded(name)?)
            .filter(|other| *other != name)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &TopicMeta> {
        self.names.values().map(|id| &self.topics[id])
    }

    /// The slot of a partition.
    pub fn slot(&self, partition: PartitionId) -> Option<u32> {
        let topic = self.topics.get(&partition.topic_id)?;
        let index = usize::try_from(partition.index).ok()?;
        Some(topic.partitions.get(index)?.slot)
    }

    /// The leader epoch of a partition: the node's starts since the partition was made.
    pub fn leader_epoch(&self, partition: &PartitionMeta) -> LeaderEpoch {
        let starts = self.starts_count.saturating_sub(partition.born_at_start);
        LeaderEpoch(i32::try_from(starts).unwrap_or(i32::MAX))
    }

    /// Dynamic configurations of one broker, or of all brokers.
    pub fn broker_configs(&self, node_id: Option<i32>) -> Overrides {
        self.broker_configs
            .get(&node_id)
            .cloned()
            .unwrap_or_default()
    }

    /// The number of partitions of all topics.
    pub fn partitions_count(&self) -> usize {
        self.topics
            .values()
            .map(|topic| topic.partitions.len())
            .sum()
    }

    /// A partition made now.
    pub(super) fn new_partition(&self, slot: u32) -> PartitionRecord {
        PartitionRecord {
            slot,
            born_at_start: self.starts_count,
        }
    }
}

/// The form in which two names collide, for a name that could.
fn folded(name: &TopicName) -> Option<String> {
    name.as_str()
        .contains(['.', '_'])
        .then(|| name.as_str().replace('.', "_"))
}

pub(super) fn pairs(configs: &Overrides) -> Vec<(String, String)> {
    configs
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

impl From<&PartitionRecord> for PartitionMeta {
    fn from(record: &PartitionRecord) -> PartitionMeta {
        PartitionMeta {
            slot: record.slot,
            born_at_start: record.born_at_start,
        }
    }
}

impl From<&PartitionMeta> for PartitionRecord {
    fn from(partition: &PartitionMeta) -> PartitionRecord {
        PartitionRecord {
            slot: partition.slot,
            born_at_start: partition.born_at_start,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(id: u8, name: &str, slots: &[u32]) -> Record {
        let partition = |slot: &u32| PartitionRecord {
            slot: *slot,
            born_at_start: 1,
        };
        Record::TopicCreated {
            id: [id; 16],
            name: name.into(),
            partitions: slots.iter().map(partition).collect(),
            configs: vec![("k".into(), "v".into())],
        }
    }

    fn applied(records: &[Record]) -> Image {
        let mut image = Image::default();
        for record in records {
            image.apply(record);
        }
        image
    }

    #[test]
    fn a_snapshot_gives_the_image_back() {
        let image = applied(&[
            Record::Started,
            created(1, "b", &[0, 1]),
            created(2, "a", &[2]),
            Record::PartitionsAdded {
                id: [2; 16],
                partitions: vec![PartitionRecord {
                    slot: 3,
                    born_at_start: 1,
                }],
            },
            Record::Started,
            Record::TopicConfigs {
                id: [1; 16],
                configs: vec![("x".into(), "y".into())],
            },
            Record::BrokerConfigs {
                node_id: Some(1),
                configs: vec![("p".into(), "q".into())],
            },
            Record::ProducerIds {
                next_producer_id: 2000,
            },
        ]);
        assert_eq!(applied(&image.snapshot()), image);
        assert_eq!(image.next_slot, 4);
        let names: Vec<_> = image.topics().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn leader_epochs_count_starts_since_the_partition_was_made() {
        let mut image = applied(&[Record::Started, created(1, "a", &[0])]);
        let epoch = |image: &Image| {
            let topic = image.topic_by_name("a").unwrap();
            image.leader_epoch(&topic.partitions[0]).0
        };
        assert_eq!(epoch(&image), 0);
        image.apply(&Record::Started);
        assert_eq!(epoch(&image), 1);
    }

    #[test]
    fn a_deleted_topic_leaves_its_name_free_and_its_slots_used() {
        let mut image = applied(&[created(1, "a", &[0, 1])]);
        image.apply(&Record::TopicDeleted { id: [1; 16] });
        assert!(image.topic_by_name("a").is_none());
        assert_eq!(image.next_slot, 2);
        assert_eq!(
            image.apply(&Record::TopicDeleted { id: [1; 16] }),
            Change::Nothing
        );
    }
}
