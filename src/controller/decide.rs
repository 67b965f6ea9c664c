//! From a request and an image to records, or to the reason why not. Pure.
//!
//! Source of the rules: Apache Kafka, `ReplicationControlManager`.

use std::collections::{BTreeMap, HashSet};

use super::image::{Image, TopicMeta, pairs};
use super::record::{PartitionRecord, Record};
use crate::config::{BrokerConfig, BrokerIds, Overrides, new_topic_configs};
use crate::limits::{PARTITIONS_MADE_AT_ONCE_MAX, PARTITIONS_MAX, PRODUCER_IDS_PER_BLOCK};
use crate::model::{CoreId, NodeId, TopicId, TopicName, TopicNameError};

/// Why a change was refused, with a sentence for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Decides the error code.
    pub reason: RefusedReason,
    /// What is wrong, and with which value.
    pub message: String,
}

/// The kinds of refusal; each is one of Kafka's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedReason {
    /// INVALID_TOPIC_EXCEPTION.
    TopicName,
    /// TOPIC_ALREADY_EXISTS.
    TopicExists,
    /// UNKNOWN_TOPIC_OR_PARTITION.
    UnknownTopic,
    /// UNKNOWN_TOPIC_ID.
    UnknownTopicId,
    /// INVALID_PARTITIONS.
    Partitions,
    /// INVALID_REPLICATION_FACTOR.
    ReplicationFactor,
    /// INVALID_REPLICA_ASSIGNMENT.
    Assignment,
    /// INVALID_CONFIG.
    Config,
    /// INVALID_REQUEST.
    Request,
    /// POLICY_VIOLATION: more partitions than one request may make.
    TooManyPartitions,
    /// TOPIC_DELETION_DISABLED.
    DeletionDisabled,
    /// KAFKA_STORAGE_ERROR: the metadata log takes no more.
    Storage,
}

/// Makes a refusal.
pub(super) fn refused<T>(reason: RefusedReason, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused {
        reason,
        message: message.into(),
    })
}

/// A topic that somebody wants.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// -1 for the default.
    pub partitions_count: i32,
    /// -1 for the default.
    pub replication_factor: i16,
    /// Partition index and brokers, where the requester chose them; else empty.
    pub assignment: Vec<(i32, Vec<i32>)>,
    /// The topic's own configurations; `None` where the request had a null.
    pub configs: Vec<(String, Option<String>)>,
}

/// More partitions for a topic.
#[derive(Clone, Debug)]
pub struct NewPartitions {
    /// The topic's name.
    pub name: String,
    /// How many it shall have altogether.
    pub partitions_count: i32,
    /// The brokers of each new partition, where the requester chose them.
    pub assignment: Option<Vec<Vec<i32>>>,
}

/// A topic, by either of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// Whose configurations change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOwner {
    /// A topic's.
    Topic(String),
    /// One broker's, or with `None` the default of all.
    Broker(Option<i32>),
}

/// Makes the configurations that shall be out of those that are. It runs where the decision is
/// made, so that two changes at a time cannot undo each other.
pub type ConfigChange = Box<dyn FnOnce(&Overrides) -> Result<Overrides, Refused> + Send>;

/// What a decision may look at beside the image.
#[derive(Clone, Debug)]
pub(super) struct Rules<'a> {
    pub(super) config: &'a BrokerConfig,
    pub(super) image: &'a Image,
    /// Under which ids requesters know this node.
    pub(super) brokers: BrokerIds,
}

/// For each new partition the core that the requester chose, by naming its virtual broker.
type Cores = Vec<Option<CoreId>>;

impl Rules<'_> {
    /// The record that makes a topic.
    pub(super) fn create(&self, topic: &NewTopic, id: TopicId) -> Result<Record, Refused> {
        let name = check_name(&topic.name)?;
        self.check_free(&name)?;
        let cores = if topic.assignment.is_empty() {
            self.check_replication_factor(topic.replication_factor)?;
            let count = match topic.partitions_count {
                -1 => self.config.topics.num_partitions,
                count if count >= 1 => count,
                _ => {
                    return refused(
                        RefusedReason::Partitions,
                        "Number of partitions was set to an invalid non-positive value.",
                    );
                }
            };
            self.check_room(count)?;
            vec![None; count as usize]
        } else {
            let cores = self.check_assignment(topic)?;
            self.check_room(cores.len() as i32)?;
            cores
        };
        let configs = new_topic_configs(self.config, &topic.configs, name.is_internal()).map_err(
            |error| Refused {
                reason: RefusedReason::Config,
                message: error.to_string(),
            },
        )?;
        Ok(Record::TopicCreated {
            id: id.0,
            name: topic.name.clone(),
            partitions: self.partitions(&cores),
            configs: pairs(&configs),
        })
    }

    /// Slots count up, and with them the cores go round; one for a core that was chosen is the next
    /// that falls to it. On another number of cores the choice is forgotten.
    fn partitions(&self, cores: &[Option<CoreId>]) -> Vec<PartitionRecord> {
        let count = self.brokers.cores_count();
        let mut next = self.image.next_slot;
        let mut slot_for = |core: &Option<CoreId>| {
            let chosen = core.map_or(next % count, |core| u32::from(core.0));
            let slot = next + (chosen + count - next % count) % count;
            next = slot + 1;
            self.image.new_partition(slot)
        };
        cores.iter().map(&mut slot_for).collect()
    }

    fn check_free(&self, name: &TopicName) -> Result<(), Refused> {
        if self.image.topic_by_name(name.as_str()).is_some() {
            return refused(
                RefusedReason::TopicExists,
                format!("Topic '{name}' already exists."),
            );
        }
        // Metric names cannot tell '.' from '_', so Kafka keeps names apart that differ in
        // nothing else.
        match self.image.collides(name) {
            None => Ok(()),
            Some(other) => refused(
                RefusedReason::TopicName,
                format!("Topic '{name}' collides with existing topic: {other}"),
            ),
        }
    }

    fn check_replication_factor(&self, factor: i16) -> Result<(), Refused> {
        // The default may ask for more nodes than there are; one is what there is.
        let default = self.config.topics.replication_factor.min(1);
        let factor = if factor == -1 { default } else { factor };
        match factor {
            1 => Ok(()),
            ..=0 => refused(
                RefusedReason::ReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ),
            2.. => refused(
                RefusedReason::ReplicationFactor,
                format!(
                    "Unable to replicate the partition {factor} time(s): The target replication \
                     factor of {factor} cannot be reached because only 1 broker(s) are registered."
                ),
            ),
        }
    }

    fn check_room(&self, more: i32) -> Result<(), Refused> {
        if i64::from(more) > PARTITIONS_MADE_AT_ONCE_MAX {
            return refused(
                RefusedReason::TooManyPartitions,
                format!("One request may make {PARTITIONS_MADE_AT_ONCE_MAX} partitions."),
            );
        }
        let after = self.image.partitions_count() + more as usize;
        // Slots only count up, over topics that are long gone too.
        let slots_left = u32::MAX - self.image.next_slot;
        let slots_max = (more as u32).saturating_mul(self.brokers.cores_count());
        if after > PARTITIONS_MAX || slots_max > slots_left {
            return refused(
                RefusedReason::Partitions,
                format!("the node would have {after} partitions; the most is {PARTITIONS_MAX}"),
            );
        }
        Ok(())
    }

    /// Checks a manual assignment; gives the cores of the partitions that it makes.
    fn check_assignment(&self, topic: &NewTopic) -> Result<Cores, Refused> {
        if topic.replication_factor != -1 {
            return refused(
                RefusedReason::Request,
                "A manual partition assignment was specified, but replication factor was not set \
                 to -1.",
            );
        }
        if topic.partitions_count != -1 {
            return refused(
                RefusedReason::Request,
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            );
        }
        let mut cores = BTreeMap::new();
        for (index, brokers) in &topic.assignment {
            if cores.contains_key(index) {
                return refused(
                    RefusedReason::Assignment,
                    format!("Found multiple manual partition assignments for partition {index}"),
                );
            }
            cores.insert(*index, self.check_brokers(brokers)?);
        }
        if !cores.keys().copied().eq(0..cores.len() as i32) {
            return refused(
                RefusedReason::Assignment,
                "partitions should be a consecutive 0-based integer sequence",
            );
        }
        Ok(cores.into_values().collect())
    }

    /// Checks the brokers of one partition; gives the core, if one was named.
    fn check_brokers(&self, brokers: &[i32]) -> Result<Option<CoreId>, Refused> {
        if brokers.is_empty() {
            return refused(
                RefusedReason::Assignment,
                "The manual partition assignment includes an empty replica list.",
            );
        }
        if brokers.len() > 1 && brokers.iter().collect::<HashSet<_>>().len() < brokers.len() {
            return refused(
                RefusedReason::Assignment,
                format!(
                    "The manual partition assignment includes the broker {} more than once.",
                    brokers[0]
                ),
            );
        }
        let mut unknown = brokers
            .iter()
            .filter(|broker| !self.brokers.are_of(NodeId(**broker)));
        if let Some(unknown) = unknown.next() {
            return refused(
                RefusedReason::Assignment,
                format!(
                    "The manual partition assignment includes broker {unknown}, but no such \
                     broker is registered."
                ),
            );
        }
        match brokers {
            [one] => Ok(self.brokers.core_of(NodeId(*one))),
            several => refused(
                RefusedReason::Assignment,
                format!(
                    "The manual partition assignment includes {} brokers that are the same node, \
                     {}, which holds one replica.",
                    several.len(),
                    self.config.node_id.0
                ),
            ),
        }
    }

    /// The record that adds partitions.
    pub(super) fn add_partitions(&self, request: &NewPartitions) -> Result<Record, Refused> {
        let Some(topic) = self.image.topic_by_name(&request.name) else {
            return refused(
                RefusedReason::UnknownTopic,
                "This server does not host this topic-partition.",
            );
        };
        // A group belongs to a partition of the offsets topic by that topic's partition count, so
        // a new count would part groups from what they have committed.
        if topic.name.is_internal() {
            return refused(
                RefusedReason::Request,
                format!(
                    "The partitions of the internal topic {} cannot be changed.",
                    request.name
                ),
            );
        }
        let (now, wanted) = (topic.partitions.len() as i32, request.partitions_count);
        if wanted == now {
            return refused(
                RefusedReason::Partitions,
                format!("Topic already has {now} partition(s)."),
            );
        }
        if wanted < now {
            return refused(
                RefusedReason::Partitions,
                format!(
                    "The topic {} currently has {now} partition(s); {wanted} would not be an \
                     increase.",
                    request.name
                ),
            );
        }
        let more = wanted - now;
        let cores = match &request.assignment {
            None => {
                self.check_room(more)?;
                vec![None; more as usize]
            }
            Some(assignment) if assignment.len() == more as usize => {
                let cores = assignment.iter().map(|brokers| self.check_brokers(brokers));
                let cores = cores.collect::<Result<Cores, Refused>>()?;
                self.check_room(more)?;
                cores
            }
            Some(assignment) => {
                return refused(
                    RefusedReason::Assignment,
                    format!(
                        "Attempted to add {more} additional partition(s), but only {} \
                         assignment(s) were specified.",
                        assignment.len()
                    ),
                );
            }
        };
        Ok(Record::PartitionsAdded {
            id: topic.id.0,
            partitions: self.partitions(&cores),
        })
    }

    /// The record that deletes a topic, and what the topic is.
    pub(super) fn delete(&self, topic: &TopicRef) -> Result<(Record, TopicMeta), Refused> {
        let found = match topic {
            TopicRef::Name(name) => self.image.topic_by_name(name),
            TopicRef::Id(id) => self.image.topic(*id),
        };
        match (found, topic) {
            (Some(found), _) => Ok((Record::TopicDeleted { id: found.id.0 }, found.clone())),
            (None, TopicRef::Name(_)) => refused(
                RefusedReason::UnknownTopic,
                "This server does not host this topic-partition.",
            ),
            (None, TopicRef::Id(_)) => refused(
                RefusedReason::UnknownTopicId,
                "This server does not host this topic ID.",
            ),
        }
    }

    /// The record that changes configurations.
    pub(super) fn configure(
        &self,
        owner: &ConfigOwner,
        change: ConfigChange,
    ) -> Result<Record, Refused> {
        match owner {
            ConfigOwner::Topic(name) => {
                let Some(topic) = self.image.topic_by_name(name) else {
                    return refused(
                        RefusedReason::UnknownTopic,
                        format!("The topic '{name}' does not exist."),
                    );
                };
                let configs = change(&topic.configs)?;
                Ok(Record::TopicConfigs {
                    id: topic.id.0,
                    configs: pairs(&configs),
                })
            }
            ConfigOwner::Broker(node_id) => {
                let configs = change(&self.image.broker_configs(*node_id))?;
                Ok(Record::BrokerConfigs {
                    node_id: *node_id,
                    configs: pairs(&configs),
                })
            }
        }
    }

    /// The record that gives away a block of producer ids, and the block's first id.
    pub(super) fn producer_ids(&self) -> (Record, i64) {
        let first = self.image.next_producer_id;
        (
            Record::ProducerIds {
                next_producer_id: first + PRODUCER_IDS_PER_BLOCK,
            },
            first,
        )
    }
}

/// Checks a name, in the words of Kafka's `Topic.validate`.
fn check_name(name: &str) -> Result<TopicName, Refused> {
    let why = |error| match error {
        TopicNameError::Empty => "the empty string is not allowed".to_string(),
        TopicNameError::Dots => format!("'{name}' is not allowed"),
        TopicNameError::TooLong => {
            format!("the length of '{name}' is longer than the max allowed length 249")
        }
        TopicNameError::BadCharacter => format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        ),
    };
    TopicName::new(name).or_else(|error| {
        refused(
            RefusedReason::TopicName,
            format!("Topic name is invalid: {}", why(error)),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ListenerMode, Sources, load, resolve};

    fn new_topic(name: &str, partitions_count: i32, replication_factor: i16) -> NewTopic {
        NewTopic {
            name: name.into(),
            partitions_count,
            replication_factor,
            assignment: Vec::new(),
            configs: Vec::new(),
        }
    }

    fn image() -> Image {
        let mut image = Image::default();
        for (name, id) in [("known", 1), ("a.b", 2)] {
            let record = rules(&config(), &image).create(&new_topic(name, 2, 1), TopicId([id; 16]));
            image.apply(&record.unwrap());
        }
        image
    }

    fn config() -> BrokerConfig {
        let sources = Sources {
            file: None,
            environment: Vec::new(),
            overrides: vec!["num.partitions=3".into(), "node.id=1".into()],
        };
        let (values, _) = load(&sources).unwrap();
        resolve(values).unwrap()
    }

    fn rules<'a>(config: &'a BrokerConfig, image: &'a Image) -> Rules<'a> {
        let brokers = BrokerIds::new(ListenerMode::Broker, config.node_id, 1);
        Rules {
            config,
            image,
            brokers,
        }
    }

    /// `Ok` is the number of partitions.
    fn check(topic: NewTopic, expected: Result<usize, RefusedReason>) {
        let image = image();
        let decided = rules(&config(), &image).create(&topic, TopicId([9; 16]));
        let got = match decided {
            Ok(Record::TopicCreated { partitions, .. }) => Ok(partitions.len()),
            Ok(other) => panic!("{other:?}"),
            Err(refused) => Err(refused.reason),
        };
        assert_eq!(got, expected, "{topic:?}");
    }

    #[test]
    fn topics_are_created_as_kafka_creates_them() {
        check(new_topic("new", 4, 1), Ok(4));
        check(new_topic("new", -1, -1), Ok(3));
        check(new_topic("new", 0, 1), Err(RefusedReason::Partitions));
        check(new_topic("new", -2, 1), Err(RefusedReason::Partitions));
        check(
            new_topic("new", 1, 0),
            Err(RefusedReason::ReplicationFactor),
        );
        check(
            new_topic("new", 1, 2),
            Err(RefusedReason::ReplicationFactor),
        );
        check(new_topic("known", 1, 1), Err(RefusedReason::TopicExists));
        check(new_topic("a_b", 1, 1), Err(RefusedReason::TopicName));
        check(new_topic("a b", 1, 1), Err(RefusedReason::TopicName));
        check(new_topic("x", 10_000, 1), Ok(10_000));
        check(
            new_topic("x", 10_001, 1),
            Err(RefusedReason::TooManyPartitions),
        );
        let configs = vec![("no.such.key".into(), Some("1".into()))];
        check(
            NewTopic {
                configs,
                ..new_topic("new", 1, 1)
            },
            Err(RefusedReason::Config),
        );
    }

    #[test]
    fn a_manual_assignment_names_this_node_once_for_each_partition() {
        let with = |assignment: &[(i32, &[i32])], partitions, factor| NewTopic {
            assignment: assignment
                .iter()
                .map(|(at, brokers)| (*at, brokers.to_vec()))
                .collect(),
            ..new_topic("new", partitions, factor)
        };
        check(with(&[(0, &[1]), (1, &[1])], -1, -1), Ok(2));
        check(with(&[(0, &[1])], 1, -1), Err(RefusedReason::Request));
        check(with(&[(0, &[1])], -1, 1), Err(RefusedReason::Request));
        check(with(&[(1, &[1])], -1, -1), Err(RefusedReason::Assignment));
        check(with(&[(0, &[2])], -1, -1), Err(RefusedReason::Assignment));
        check(with(&[(0, &[])], -1, -1), Err(RefusedReason::Assignment));
        check(
            with(&[(0, &[1, 1])], -1, -1),
            Err(RefusedReason::Assignment),
        );
        check(
            with(&[(0, &[1]), (0, &[1])], -1, -1),
            Err(RefusedReason::Assignment),
        );
    }

    #[test]
    fn an_assignment_to_virtual_brokers_chooses_cores() {
        let (config, image) = (config(), image());
        let slots = |assignment: &[&[i32]]| {
            let rules = Rules {
                config: &config,
                image: &image,
                brokers: BrokerIds::new(ListenerMode::Core, config.node_id, 3),
            };
            let assignment = assignment.iter().enumerate();
            let topic = NewTopic {
                assignment: assignment
                    .map(|(at, brokers)| (at as i32, brokers.to_vec()))
                    .collect(),
                ..new_topic("new", -1, -1)
            };
            match rules.create(&topic, TopicId([9; 16])) {
                Ok(Record::TopicCreated { partitions, .. }) => {
                    Ok(partitions.iter().map(|one| one.slot).collect::<Vec<_>>())
                }
                Ok(other) => panic!("{other:?}"),
                Err(refused) => Err(refused.reason),
            }
        };
        // Four slots are taken.
        let (first, last) = (1_010_000, 1_010_002);
        assert_eq!(slots(&[&[first], &[first], &[last]]), Ok(vec![6, 9, 11]));
        assert_eq!(slots(&[&[1], &[1]]), Ok(vec![4, 5]));
        let bad = Err(RefusedReason::Assignment);
        // The replicas of a partition are on nodes, and there is one.
        assert_eq!(slots(&[&[first, last]]), bad);
        assert_eq!(slots(&[&[first, 1]]), bad);
        assert_eq!(slots(&[&[last + 1]]), bad);
    }

    #[test]
    fn partitions_only_become_more() {
        let mut image = image();
        let offsets = rules(&config(), &image)
            .create(&new_topic("__consumer_offsets", 2, 1), TopicId([3; 16]));
        image.apply(&offsets.unwrap());
        let add = |name: &str, count| {
            let request = NewPartitions {
                name: name.into(),
                partitions_count: count,
                assignment: None,
            };
            rules(&config(), &image)
                .add_partitions(&request)
                .map(|_| ())
                .map_err(|refused| refused.reason)
        };
        assert_eq!(add("known", 3), Ok(()));
        assert_eq!(add("known", 2), Err(RefusedReason::Partitions));
        assert_eq!(add("known", 1), Err(RefusedReason::Partitions));
        assert_eq!(add("unknown", 3), Err(RefusedReason::UnknownTopic));
        // A group's partition follows from their number.
        assert_eq!(add("__consumer_offsets", 3), Err(RefusedReason::Request));
    }

    #[test]
    fn slots_go_round_all_cores() {
        let image = image();
        let slots_of = |name| {
            let topic = image.topic_by_name(name).unwrap();
            topic
                .partitions
                .iter()
                .map(|partition| partition.slot)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (slots_of("known"), slots_of("a.b")),
            (vec![0, 1], vec![2, 3])
        );
    }
}
