//! The cluster's metadata as of one position of the metadata log.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::record::{Entry, PartitionRun, Record, Setting, SettingChange, SnapshotPiece};
use crate::config::Overrides;
use crate::model::{LeaderEpoch, NodeId, PartitionId, ProducerId, TopicId, TopicName};

/// The cluster's metadata: what the records so far make of nothing.
///
/// Every shard has one of its own and applies the same records in the same order, so all are
/// equal at the same position. A crash loses it; it is made again from the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// How often the node has started with this log.
    starts: u64,
    /// The slot of the next partition.
    next_slot: u32,
    /// The first producer id that nobody has.
    next_producer_id: i64,
    topics: BTreeMap<TopicId, Arc<TopicImage>>,
    names: BTreeMap<TopicName, TopicId>,
    /// Names with '.' or '_', by the form in which Kafka's metric names would collide.
    colliding: HashMap<String, TopicName>,
    /// The sum over all topics.
    partitions_count: usize,
    cluster_config: Overrides,
    node_configs: BTreeMap<i32, Overrides>,
}

/// One topic of an image. Shared: a change makes a new one.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicImage {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its own configurations.
    pub configs: Overrides,
    runs: Vec<PartitionRun>,
}

/// One partition of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionImage<'a> {
    /// Its identity.
    pub id: PartitionId,
    /// Its slot: which core owns it is `slot % cores`.
    pub slot: u32,
    /// The epoch of its leadership: the number of starts since it was created.
    pub leader_epoch: LeaderEpoch,
    /// The nodes that hold it; the first leads. Never empty.
    pub replicas: &'a [i32],
}

/// What applying a record changed, for whoever holds something that follows from the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Nothing that anyone outside of the controller follows.
    Nothing,
    /// The leader epoch of every partition.
    LeaderEpochs,
    /// This topic: new, or with more partitions, or with other configurations.
    Topic(TopicId),
    /// This topic is gone.
    TopicDeleted(TopicId),
    /// Dynamic configurations of brokers, and so possibly every topic's defaults.
    BrokerConfig,
}

/// Looking things up.
impl Image {
    /// The topic of an id.
    pub fn topic(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(&id)
    }

    /// The topic of a name.
    pub fn topic_by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.names.get(name)?)
    }

    /// Every topic, in the order of names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// Every topic whose name is `from` or later, in the order of names.
    pub fn topics_from(&self, from: &str) -> impl Iterator<Item = &Arc<TopicImage>> {
        let names = self
            .names
            .range::<str, _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded));
        names.filter_map(|(_, id)| self.topics.get(id))
    }

    /// The existing topic whose name differs only in '.' against '_'.
    pub fn collides(&self, name: &TopicName) -> Option<&TopicName> {
        self.colliding
            .get(&collision_form(name)?)
            .filter(|other| *other != name)
    }

    /// How many topics there are.
    pub fn topics_count(&self) -> usize {
        self.topics.len()
    }

    /// How many partitions there are, of all topics.
    pub fn partitions_count(&self) -> usize {
        self.partitions_count
    }

    /// A partition of a topic.
    pub fn partition<'a>(&self, topic: &'a TopicImage, index: i32) -> Option<PartitionImage<'a>> {
        let mut first = 0u64;
        let wanted = u64::try_from(index).ok()?;
        for run in &topic.runs {
            let end = first + u64::from(run.count);
            if wanted < end {
                return Some(PartitionImage {
                    id: PartitionId {
                        topic_id: topic.id,
                        index,
                    },
                    slot: run.first_slot.wrapping_add((wanted - first) as u32),
                    leader_epoch: self.epoch_since(run.created_at_start),
                    replicas: &run.replicas,
                });
            }
            first = end;
        }
        None
    }

    /// Every partition of a topic, in the order of indices.
    pub fn partitions<'a>(
        &self,
        topic: &'a TopicImage,
    ) -> impl Iterator<Item = PartitionImage<'a>> {
        (0..topic.partitions_count()).filter_map(|index| self.partition(topic, index))
    }

    /// A partition's slot: which core owns it is `slot % cores`.
    pub fn slot(&self, partition: PartitionId) -> Option<u32> {
        let topic = self.topics.get(&partition.topic_id)?;
        Some(self.partition(topic, partition.index)?.slot)
    }

    /// The epoch of a partition's leadership.
    pub fn leader_epoch(&self, partition: PartitionId) -> Option<LeaderEpoch> {
        let topic = self.topics.get(&partition.topic_id)?;
        Some(self.partition(topic, partition.index)?.leader_epoch)
    }

    /// How often the node has started with this log.
    pub fn starts(&self) -> u64 {
        self.starts
    }

    /// The first producer id that nobody has.
    pub fn next_producer_id(&self) -> ProducerId {
        ProducerId(self.next_producer_id)
    }

    /// The slot of the next partition.
    pub(super) fn next_slot(&self) -> u32 {
        self.next_slot
    }

    /// The dynamic configurations of all brokers.
    pub fn cluster_config(&self) -> &Overrides {
        &self.cluster_config
    }

    /// The dynamic configurations of one broker.
    pub fn node_config(&self, node: NodeId) -> Overrides {
        self.node_configs.get(&node.0).cloned().unwrap_or_default()
    }

    fn epoch_since(&self, start: u64) -> LeaderEpoch {
        let starts = self.starts.saturating_sub(start);
        LeaderEpoch(i32::try_from(starts).unwrap_or(i32::MAX))
    }
}

impl TopicImage {
    /// How many partitions it has.
    pub fn partitions_count(&self) -> i32 {
        let sum: u64 = self.runs.iter().map(|run| u64::from(run.count)).sum();
        i32::try_from(sum).unwrap_or(i32::MAX)
    }

    /// How many nodes hold each of its partitions, as its first one has it.
    pub fn replication_factor(&self) -> i16 {
        let replicas = self.runs.first().map_or(0, |run| run.replicas.len());
        i16::try_from(replicas).unwrap_or(i16::MAX)
    }
}

/// Changing.
impl Image {
    /// Applies the next record of the log and says what changed. A record that makes no sense
    /// here, because its topic is gone, changes nothing.
    pub fn apply(&mut self, record: &Record) -> Touched {
        match record {
            Record::Start => {
                self.starts += 1;
                Touched::LeaderEpochs
            }
            Record::TopicCreated {
                id,
                name,
                runs,
                configs,
            } => self.insert(*id, name, runs.clone(), configs),
            Record::PartitionsAdded { id, run } => self.change(TopicId(*id), |topic| {
                topic.runs.push(run.clone());
            }),
            Record::TopicDeleted { id } => self.remove(TopicId(*id)),
            Record::TopicConfigChanged { id, changes } => self.change(TopicId(*id), |topic| {
                apply_changes(&mut topic.configs, changes);
            }),
            Record::BrokerConfigChanged {
                node: None,
                changes,
            } => {
                apply_changes(&mut self.cluster_config, changes);
                Touched::BrokerConfig
            }
            Record::BrokerConfigChanged {
                node: Some(node),
                changes,
            } => {
                let configs = self.node_configs.entry(*node).or_default();
                apply_changes(configs, changes);
                if configs.is_empty() {
                    self.node_configs.remove(node);
                }
                Touched::BrokerConfig
            }
            Record::ProducerIdsTaken { first, count } => {
                let end = first.saturating_add(i64::from(*count));
                self.next_producer_id = self.next_producer_id.max(end);
                Touched::Nothing
            }
        }
    }

    fn insert(
        &mut self,
        id: [u8; 16],
        name: &str,
        runs: Vec<PartitionRun>,
        configs: &[Setting],
    ) -> Touched {
        let id = TopicId(id);
        let Ok(name) = TopicName::new(name) else {
            return Touched::Nothing;
        };
        if self.topics.contains_key(&id) || self.names.contains_key(&name) {
            return Touched::Nothing;
        }
        for run in &runs {
            self.count_run(run);
        }
        if let Some(form) = collision_form(&name) {
            self.colliding.insert(form, name.clone());
        }
        self.names.insert(name.clone(), id);
        let own = |setting: &Setting| (setting.name.clone(), setting.value.clone());
        let configs = configs.iter().map(own).collect();
        self.topics.insert(
            id,
            Arc::new(TopicImage {
                id,
                name,
                configs,
                runs,
            }),
        );
        Touched::Topic(id)
    }

    fn remove(&mut self, id: TopicId) -> Touched {
        let Some(topic) = self.topics.remove(&id) else {
            return Touched::Nothing;
        };
        self.names.remove(&topic.name);
        if let Some(form) = collision_form(&topic.name) {
            self.colliding.remove(&form);
        }
        let count: usize = topic.runs.iter().map(|run| run.count as usize).sum();
        self.partitions_count = self.partitions_count.saturating_sub(count);
        Touched::TopicDeleted(id)
    }

    fn change(&mut self, id: TopicId, change: impl FnOnce(&mut TopicImage)) -> Touched {
        let Some(topic) = self.topics.get_mut(&id) else {
            return Touched::Nothing;
        };
        let topic = Arc::make_mut(topic);
        let runs_before = topic.runs.len();
        change(topic);
        let added: Vec<PartitionRun> = topic.runs[runs_before..].to_vec();
        for run in &added {
            self.count_run(run);
        }
        Touched::Topic(id)
    }

    fn count_run(&mut self, run: &PartitionRun) {
        self.partitions_count = self.partitions_count.saturating_add(run.count as usize);
        self.next_slot = self.next_slot.max(run.first_slot.saturating_add(run.count));
    }
}

fn apply_changes(configs: &mut Overrides, changes: &[SettingChange]) {
    for change in changes {
        match &change.value {
            Some(value) => configs.insert(change.name.clone(), value.clone()),
            None => configs.remove(&change.name),
        };
    }
}

/// The form in which two names collide in metric names, for names that could.
fn collision_form(name: &TopicName) -> Option<String> {
    name.as_str()
        .contains(['.', '_'])
        .then(|| name.as_str().replace('.', "_"))
}

/// Snapshots.
impl Image {
    /// The pieces of a snapshot that make this image of nothing.
    pub(super) fn snapshot(&self) -> Vec<Entry> {
        let settings = |configs: &Overrides| -> Vec<Setting> {
            let setting = |(name, value): (&String, &String)| Setting {
                name: name.clone(),
                value: value.clone(),
            };
            configs.iter().map(setting).collect()
        };
        let mut pieces = vec![SnapshotPiece::Begin {
            starts: self.starts,
            next_slot: self.next_slot,
            next_producer_id: self.next_producer_id,
        }];
        let nodes = self
            .node_configs
            .iter()
            .map(|(node, configs)| (Some(*node), configs));
        for (node, configs) in [(None, &self.cluster_config)].into_iter().chain(nodes) {
            pieces.push(SnapshotPiece::BrokerConfig {
                node,
                configs: settings(configs),
            });
        }
        for topic in self.topics() {
            pieces.push(SnapshotPiece::Topic {
                id: topic.id.0,
                name: topic.name.to_string(),
                runs: topic.runs.clone(),
                configs: settings(&topic.configs),
            });
        }
        pieces.push(SnapshotPiece::End);
        pieces.into_iter().map(Entry::Snapshot).collect()
    }
}

/// Makes an image from the entries of a log, in order.
#[derive(Debug, Default)]
pub(super) struct Replay {
    image: Image,
    /// The snapshot that began and has not ended. Changes after it mean that its writer was
    /// killed: it counts for nothing.
    open_snapshot: Option<Image>,
}

impl Replay {
    pub(super) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Change(record) => {
                self.open_snapshot = None;
                self.image.apply(record);
            }
            Entry::Snapshot(SnapshotPiece::Begin {
                starts,
                next_slot,
                next_producer_id,
            }) => {
                self.open_snapshot = Some(Image {
                    starts: *starts,
                    next_slot: *next_slot,
                    next_producer_id: *next_producer_id,
                    ..Image::default()
                });
            }
            Entry::Snapshot(SnapshotPiece::End) => {
                if let Some(image) = self.open_snapshot.take() {
                    self.image = image;
                }
            }
            Entry::Snapshot(SnapshotPiece::Topic {
                id,
                name,
                runs,
                configs,
            }) => {
                if let Some(image) = &mut self.open_snapshot {
                    image.insert(*id, name, runs.clone(), configs);
                }
            }
            Entry::Snapshot(SnapshotPiece::BrokerConfig { node, configs }) => {
                if let Some(image) = &mut self.open_snapshot {
                    let change = |setting: &Setting| SettingChange {
                        name: setting.name.clone(),
                        value: Some(setting.value.clone()),
                    };
                    let changes = configs.iter().map(change).collect();
                    image.apply(&Record::BrokerConfigChanged {
                        node: *node,
                        changes,
                    });
                }
            }
        }
    }

    /// The image at the end of the log.
    pub(super) fn finish(self) -> Image {
        self.image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(id: u8, name: &str, count: u32, first_slot: u32, start: u64) -> Record {
        Record::TopicCreated {
            id: [id; 16],
            name: name.to_string(),
            runs: vec![PartitionRun {
                count,
                first_slot,
                created_at_start: start,
                replicas: vec![1],
            }],
            configs: Vec::new(),
        }
    }

    fn image(records: &[Record]) -> Image {
        let mut image = Image::default();
        for record in records {
            image.apply(record);
        }
        image
    }

    /// `expected` is slot and leader epoch of every partition.
    fn check(records: &[Record], name: &str, expected: &[(u32, i32)]) {
        let image = image(records);
        let topic = image.topic_by_name(name).expect("the topic").clone();
        let found: Vec<_> = image
            .partitions(&topic)
            .map(|p| (p.slot, p.leader_epoch.0))
            .collect();
        assert_eq!(found, expected, "{records:?}");
        assert_eq!(topic.partitions_count() as usize, expected.len());
    }

    #[test]
    fn epochs_count_the_starts_since_creation_and_slots_count_up() {
        let added = Record::PartitionsAdded {
            id: [1; 16],
            run: PartitionRun {
                count: 1,
                first_slot: 9,
                created_at_start: 2,
                replicas: vec![1],
            },
        };
        let start = Record::Start;
        check(
            &[start.clone(), created(1, "a", 2, 0, 1)],
            "a",
            &[(0, 0), (1, 0)],
        );
        let two = [start.clone(), created(1, "a", 2, 0, 1), start.clone()];
        check(&two, "a", &[(0, 1), (1, 1)]);
        let three = [&two[..], &[added, start]].concat();
        check(&three, "a", &[(0, 2), (1, 2), (9, 1)]);
        assert_eq!(image(&three).next_slot(), 10);
        assert_eq!(image(&three).partitions_count(), 3);
    }

    #[test]
    fn a_deleted_topics_name_and_collision_are_free_again() {
        let deleted = Record::TopicDeleted { id: [1; 16] };
        let mut image = image(&[created(1, "a.b", 2, 0, 0)]);
        let other = TopicName::new("a_b").expect("a name");
        assert_eq!(image.collides(&other).map(TopicName::as_str), Some("a.b"));
        assert_eq!(
            image.collides(&TopicName::new("a.b").expect("a name")),
            None
        );
        assert_eq!(
            image.apply(&deleted),
            Touched::TopicDeleted(TopicId([1; 16]))
        );
        assert_eq!(image.apply(&deleted), Touched::Nothing);
        assert_eq!(image.collides(&other), None);
        assert_eq!((image.topics_count(), image.partitions_count()), (0, 0));
        // Slots are not given again, so that a topic's partitions stay evenly spread.
        assert_eq!(image.next_slot(), 2);
    }

    #[test]
    fn configurations_are_set_and_given_back() {
        let change = |value: Option<&str>| {
            let name = "retention.ms".to_string();
            vec![SettingChange {
                name,
                value: value.map(str::to_string),
            }]
        };
        let mut image = image(&[created(1, "a", 1, 0, 0)]);
        let topic = Record::TopicConfigChanged {
            id: [1; 16],
            changes: change(Some("5")),
        };
        assert_eq!(image.apply(&topic), Touched::Topic(TopicId([1; 16])));
        assert_eq!(image.topic_by_name("a").expect("a").configs.len(), 1);
        let topic = Record::TopicConfigChanged {
            id: [1; 16],
            changes: change(None),
        };
        image.apply(&topic);
        assert_eq!(image.topic_by_name("a").expect("a").configs.len(), 0);
        for node in [None, Some(1)] {
            let set = Record::BrokerConfigChanged {
                node,
                changes: change(Some("5")),
            };
            assert_eq!(image.apply(&set), Touched::BrokerConfig);
        }
        assert_eq!(image.cluster_config().len(), 1);
        assert_eq!(image.node_config(NodeId(1)).len(), 1);
        assert_eq!(image.node_config(NodeId(2)).len(), 0);
    }

    #[test]
    fn a_snapshot_counts_from_its_end_on() {
        let set = vec![SettingChange {
            name: "x".to_string(),
            value: Some("y".to_string()),
        }];
        let records = [
            Record::Start,
            created(1, "a", 2, 0, 1),
            Record::ProducerIdsTaken {
                first: 0,
                count: 1000,
            },
            Record::BrokerConfigChanged {
                node: Some(4),
                changes: set,
            },
            Record::TopicDeleted { id: [1; 16] },
            created(2, "b", 3, 2, 1),
        ];
        let before = image(&records);
        let snapshot = before.snapshot();
        let replay = |entries: &[Entry]| {
            let mut replay = Replay::default();
            entries.iter().for_each(|entry| replay.apply(entry));
            replay.finish()
        };
        assert_eq!(replay(&snapshot), before);
        // Killed while writing it: what was before still counts, and what comes after.
        let log: Vec<Entry> = records.iter().cloned().map(Entry::Change).collect();
        for end in 0..snapshot.len() {
            let cut = [&log[..], &snapshot[..end]].concat();
            assert_eq!(replay(&cut), before, "cut at {end}");
            let resumed = [&cut[..], &[Entry::Change(Record::Start)]].concat();
            let mut expected = before.clone();
            expected.apply(&Record::Start);
            assert_eq!(replay(&resumed), expected, "resumed at {end}");
        }
    }
}
