//! What must hold for any sequence of decisions: a replay makes the same image, every prefix of
//! the log a whole one, and nothing that was given is given again.

use proptest::prelude::*;

use super::decide::{ConfigOwner, NewPartitions, NewTopic, Rules, TopicRef};
use super::image::Image;
use super::record::{self, Record};
use crate::config::{self, BrokerConfig, BrokerIds, ListenerMode, Sources};
use crate::model::{LeaderEpoch, Timestamp, TopicId};

/// The broker's own topic, which is made with its configuration or not at all.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// One thing that happens to a controller.
#[derive(Clone, Debug)]
enum Step {
    Start,
    Create(Vec<(u8, i32)>),
    Delete(u8),
    Grow(u8, i32),
    Configure(u8, i64),
    ConfigureBroker(bool, i64),
    TakeProducerIds,
    Shorten,
}

fn step() -> impl Strategy<Value = Step> {
    let topics = prop::collection::vec((0u8..6, -1i32..5), 1..4);
    prop_oneof![
        Just(Step::Start),
        topics.prop_map(Step::Create),
        (0u8..6).prop_map(Step::Delete),
        (0u8..6, 0i32..9).prop_map(|(name, count)| Step::Grow(name, count)),
        (0u8..6, 0i64..9).prop_map(|(name, value)| Step::Configure(name, value)),
        (any::<bool>(), 0i64..9).prop_map(|(all, value)| Step::ConfigureBroker(all, value)),
        Just(Step::TakeProducerIds),
        Just(Step::Shorten),
    ]
}

/// Names that collide with each other now and then.
fn name(index: u8) -> String {
    ["t", "t.u", "t_u", "v.w", "v_w", OFFSETS_TOPIC][usize::from(index)].to_owned()
}

fn new_topic(index: u8, partitions_count: i32) -> NewTopic {
    let compact = ("cleanup.policy".to_owned(), Some("compact".to_owned()));
    NewTopic {
        name: name(index),
        partitions_count,
        replication_factor: 1,
        assignment: Vec::new(),
        configs: if name(index) == OFFSETS_TOPIC {
            vec![compact]
        } else {
            Vec::new()
        },
    }
}

/// The records of one step, which stand in one batch of the log.
fn decide(image: &Image, config: &BrokerConfig, step: &Step, next_id: &mut u8) -> Vec<Record> {
    fn rules<'a>(config: &'a BrokerConfig, image: &'a Image) -> Rules<'a> {
        let brokers = BrokerIds::new(ListenerMode::Broker, config.node_id, 1);
        Rules {
            config,
            image,
            brokers,
        }
    }
    let set = |value: i64| {
        let change: super::ConfigChange = Box::new(move |current| {
            let mut after = current.clone();
            after.insert("retention.ms".to_owned(), value.to_string());
            Ok(after)
        });
        change
    };
    let record = match step {
        Step::Start => Ok(Record::Started),
        Step::Shorten => return image.snapshot(),
        Step::Create(topics) => {
            let mut after = image.clone();
            let create = |(index, count): &(u8, i32)| {
                *next_id += 1;
                let id = TopicId([*next_id; 16]);
                let record = rules(config, &after)
                    .create(&new_topic(*index, *count), id)
                    .ok()?;
                after.apply(&record);
                Some(record)
            };
            return topics.iter().filter_map(create).collect();
        }
        Step::Delete(index) => rules(config, image)
            .delete(&TopicRef::Name(name(*index)))
            .map(|(record, _)| record),
        Step::Grow(index, partitions_count) => {
            let name = name(*index);
            let request = NewPartitions {
                name,
                partitions_count: *partitions_count,
                assignment: None,
            };
            rules(config, image).add_partitions(&request)
        }
        Step::Configure(index, value) => {
            rules(config, image).configure(&ConfigOwner::Topic(name(*index)), set(*value))
        }
        Step::ConfigureBroker(all, value) => {
            let owner = ConfigOwner::Broker(if *all { None } else { Some(1) });
            rules(config, image).configure(&owner, set(*value))
        }
        Step::TakeProducerIds => Ok(rules(config, image).producer_ids().0),
    };
    record.into_iter().collect()
}

/// The image that the batches of a log make, read back from their bytes.
fn replayed(log: &[Vec<u8>]) -> Image {
    let mut image = Image::default();
    for batch in log {
        for record in record::from_batch(batch).expect("what was written") {
            image.apply(&record);
        }
    }
    image
}

/// What must hold of every image, whatever records made it.
fn check_whole(image: &Image) {
    let mut slots = Vec::new();
    for topic in image.topics() {
        assert_eq!(image.topic_by_name(topic.name.as_str()), Some(topic));
        assert_eq!(image.topic(topic.id), Some(topic));
        assert!(!topic.partitions.is_empty(), "{} is half made", topic.name);
        slots.extend(topic.partitions.iter().map(|partition| partition.slot));
        let compacted = topic.configs.contains_key("cleanup.policy");
        assert!(
            compacted || topic.name.as_str() != OFFSETS_TOPIC,
            "made without configuration"
        );
    }
    assert_eq!(slots.len(), image.partitions_count());
    let count = slots.len();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), count, "a slot was given twice");
    assert!(slots.last().is_none_or(|last| *last < image.next_slot));
}

/// The leader epoch of a topic's first partition.
fn epoch(image: &Image, id: TopicId) -> Option<LeaderEpoch> {
    Some(image.leader_epoch(image.topic(id)?.partitions.first()?))
}

proptest! {
    #[test]
    fn a_replay_makes_the_same_image_and_every_prefix_a_whole_one(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let overrides = vec!["num.partitions=3".to_owned(), "node.id=1".to_owned()];
        let sources = Sources { overrides, ..Sources::default() };
        let values = config::load(&sources).expect("good values").0;
        let config = config::resolve(values).expect("good values");
        let mut next_id = 0;
        let mut image = Image::default();
        let mut log: Vec<Vec<u8>> = Vec::new();
        for step in &steps {
            let records = decide(&image, &config, step, &mut next_id);
            if records.is_empty() {
                continue;
            }
            let before = image.clone();
            log.push(record::to_batch(&records, Timestamp(1)));
            for record in &records {
                image.apply(record);
            }
            // An epoch never goes back while its topic lives, nor does what is given out.
            for topic in before.topics() {
                if let Some(after) = epoch(&image, topic.id) {
                    prop_assert!(Some(after) >= epoch(&before, topic.id));
                }
            }
            prop_assert!(image.next_slot >= before.next_slot);
            prop_assert!(image.next_producer_id >= before.next_producer_id);
            prop_assert_eq!(&replayed(&log), &image, "after {:?}", step);
        }
        for end in 0..=log.len() {
            check_whole(&replayed(&log[..end]));
        }
    }

    #[test]
    fn no_name_makes_a_decision_panic(
        name in any::<String>(),
        partitions_count in any::<i32>(),
        replication_factor in any::<i16>(),
    ) {
        let values = config::load(&Sources::default()).expect("good values").0;
        let config = config::resolve(values).expect("good values");
        let image = Image::default();
        let brokers = BrokerIds::new(ListenerMode::Broker, config.node_id, 1);
        let rules = Rules { config: &config, image: &image, brokers };
        let assignment = Vec::new();
        let configs = Vec::new();
        let topic = NewTopic { name, partitions_count, replication_factor, assignment, configs };
        let _ = rules.create(&topic, TopicId([1; 16]));
    }
}
