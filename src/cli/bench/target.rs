//! The topic of a bench: found or created, and what its broker promises.

use super::arguments::LoadArguments;
use crate::bench::Found;
use crate::cli::failure::Failure;
use crate::cli::topic::topic_name;
use crate::client::{Client, ConfigOwner, NewTopic, OffsetSpec};
use crate::model::{TopicName, TopicPartition};

/// Partitions of a topic that is created, if nobody says.
const PARTITIONS: i32 = 8;

/// Which topic is asked for.
pub(super) struct Target<'a> {
    name: &'a str,
    /// `None`: a topic to read, which must be there.
    creation: Option<Creation>,
}

struct Creation {
    partitions: Option<i32>,
    is_deleted: bool,
}

/// The topic as it is used.
pub(super) struct Topic {
    pub(super) name: TopicName,
    pub(super) partitions: usize,
    pub(super) is_created: bool,
    /// It was created by this run, and is to go at its end.
    is_to_go: bool,
    /// It was there before, so that it stays against the user's wish.
    pub(super) is_kept: bool,
}

impl Target<'_> {
    pub(super) fn to_write(load: &LoadArguments) -> Target<'_> {
        Target {
            name: &load.topic,
            creation: Some(Creation {
                partitions: load.partitions,
                is_deleted: load.delete_topic,
            }),
        }
    }

    pub(super) fn to_read(name: &str) -> Target<'_> {
        Target {
            name,
            creation: None,
        }
    }

    /// The topic's name, if it is one.
    pub(super) fn name(&self) -> Result<TopicName, Failure> {
        topic_name(self.name)
    }

    /// Finds the topic or creates it.
    pub(super) fn find(&self, client: &mut Client) -> Result<Topic, Failure> {
        let name = self.name()?;
        let topics = client.topics()?;
        let there = topics.iter().find(|topic| topic.name == name);
        let partitions = there.map(|topic| topic.partitions.len());
        let Some(creation) = &self.creation else {
            let partitions = partitions.ok_or_else(|| missing(&name))?;
            return Ok(Topic {
                name,
                partitions,
                is_created: false,
                is_to_go: false,
                is_kept: false,
            });
        };
        let partitions = match (partitions, creation.partitions) {
            (Some(count), Some(wanted)) if count != wanted as usize => {
                return Err(Failure::usage(format!(
                    "topic {name} has {count} partitions, not {wanted}"
                ))
                .because("--partitions is for a topic that has to be created.")
                .try_this("another --topic, or no --partitions"));
            }
            (Some(count), _) => count,
            (None, wanted) => {
                let wanted = wanted.unwrap_or(PARTITIONS);
                client.create_topic(&NewTopic {
                    partition_count: Some(wanted),
                    ..NewTopic::new(name.clone())
                })?;
                wanted as usize
            }
        };
        Ok(Topic {
            name,
            partitions,
            is_created: there.is_none(),
            is_to_go: creation.is_deleted && there.is_none(),
            is_kept: creation.is_deleted && there.is_some(),
        })
    }
}

fn missing(name: &TopicName) -> Failure {
    Failure::new(format!("there is no topic {name}"))
        .coded("UNKNOWN_TOPIC_OR_PARTITION")
        .because("Its name is another one (`corelog topic list`), or this client may not see it.")
        .try_this(format!("corelog bench produce --topic {name}"))
}

impl Topic {
    /// Deletes what was created for this run, if that was asked for; true if it is gone.
    pub(super) fn clean_up(&self, client: &mut Client) -> Result<bool, Failure> {
        if self.is_to_go {
            client.delete_topic(&self.name)?;
        }
        Ok(self.is_to_go)
    }

    /// Records from the first one to the end; none is a failure.
    pub(super) fn records(&self, client: &mut Client, found: &Found) -> Result<u64, Failure> {
        let mut sum = |spec| -> Result<i64, Failure> {
            let places = found.places.iter();
            let wanted: Vec<_> = places
                .map(|place| {
                    let topic = self.name.clone();
                    let index = place.index;
                    (TopicPartition { topic, index }, spec)
                })
                .collect();
            let listed = client.list_offsets(&wanted)?;
            let offsets = listed.iter().filter_map(|listed| listed.offset);
            Ok(offsets.map(|offset| offset.0).sum())
        };
        let count = sum(OffsetSpec::Latest)? - sum(OffsetSpec::Earliest)?;
        match u64::try_from(count) {
            Ok(count @ 1..) => Ok(count),
            Ok(0) | Err(_) => Err(
                Failure::new(format!("topic {} holds no records", self.name))
                    .coded("EMPTY_TOPIC")
                    .because("Nobody has produced to it, or all of it was deleted.")
                    .try_this(format!("corelog bench produce --topic {}", self.name)),
            ),
        }
    }
}

/// The key that says what an acknowledgement promises.
const DURABILITY: &str = "corelog.durability";

/// What an acknowledgement promises, as a broker of the cluster says; `None` if it does not: it is
/// no corelog, or does not tell this client.
pub(super) fn durability(client: &mut Client) -> Option<String> {
    let node = client.cluster().nodes.first()?.id;
    let entries = client.configs(&ConfigOwner::Broker(node.0)).ok()?;
    let entry = entries.into_iter().find(|entry| entry.key == DURABILITY)?;
    entry.value
}
