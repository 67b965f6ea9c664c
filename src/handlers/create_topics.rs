//! CreateTopics (key 19), versions 2 to 7.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Client, errors};
use crate::config::{self, BrokerConfig};
use crate::controller::{NewTopic, Refused, TopicMeta};
use crate::limits::PARTITIONS_MADE_AT_ONCE_MAX;
use crate::protocol::messages::create_topics_request::CreatableTopic;
use crate::protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use crate::protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, StrBytes};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::CreateTopics, 2, 7);

/// Kafka's name for its metadata log, which is no topic that anyone may create.
const METADATA_TOPIC: &str = "__cluster_metadata";

pub(super) async fn handle(
    client: &Rc<Client>,
    request: CreateTopicsRequest,
    _version: i16,
) -> CreateTopicsResponse {
    let mut response = CreateTopicsResponse::default();
    if partitions_count(&request.topics, &client.shard.config()) > PARTITIONS_MADE_AT_ONCE_MAX {
        let message = "Excessively large number of partitions per request.".to_owned();
        let error = ErrorCode::PolicyViolation;
        let refuse = |topic: &CreatableTopic| failed(&topic.name, error, Some(message.clone()));
        response.topics = request.topics.iter().map(refuse).collect();
        return response;
    }
    let (asked, refused) = split(&request.topics);
    response.topics = refused;
    let topics = asked.iter().map(|topic| new_topic(topic)).collect();
    let results = client
        .shard
        .create_topics(topics, request.validate_only)
        .await;
    let config = client.shard.config();
    let answers = asked.iter().zip(results);
    response
        .topics
        .extend(answers.map(|(topic, result)| answer(&topic.name, result, &config)));
    response
}

/// Partitions of all topics together; a topic that asks for none counts as one, so that the bound
/// on partitions bounds topics too.
fn partitions_count(topics: &[CreatableTopic], config: &BrokerConfig) -> i64 {
    let count = |topic: &CreatableTopic| match topic.num_partitions {
        -1 if topic.assignments.is_empty() => i64::from(config.topics.num_partitions),
        -1 => topic.assignments.len() as i64,
        count => i64::from(count.max(1)),
    };
    topics.iter().map(count).sum()
}

/// The topics that may be asked of the controller, and the answers for those that may not: Kafka
/// gives a name that stands twice one answer.
fn split(topics: &[CreatableTopic]) -> (Vec<&CreatableTopic>, Vec<CreatableTopicResult>) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for topic in topics {
        *counts.entry(topic.name.as_str()).or_default() += 1;
    }
    let (mut asked, mut refused) = (Vec::new(), Vec::new());
    for topic in topics {
        match counts.get_mut(topic.name.as_str()) {
            Some(_) if topic.name.as_str() == METADATA_TOPIC => {
                counts.remove(METADATA_TOPIC);
                let message = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
                refused.push(failed(
                    &topic.name,
                    ErrorCode::InvalidRequest,
                    Some(message),
                ));
            }
            Some(1) => asked.push(topic),
            Some(_) => {
                counts.remove(topic.name.as_str());
                let message = "Duplicate topic name.".to_owned();
                refused.push(failed(
                    &topic.name,
                    ErrorCode::InvalidRequest,
                    Some(message),
                ));
            }
            // Answered with the first of its name.
            None => {}
        }
    }
    (asked, refused)
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    let text = |text: &StrBytes| text.as_str().to_owned();
    let assignment = topic.assignments.iter();
    NewTopic {
        name: text(&topic.name),
        partitions_count: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignment: assignment
            .map(|one| (one.partition_index, one.broker_ids.clone()))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|set| (text(&set.name), set.value.as_ref().map(text)))
            .collect(),
    }
}

fn answer(
    name: &StrBytes,
    result: Result<TopicMeta, Refused>,
    config: &BrokerConfig,
) -> CreatableTopicResult {
    let topic = match result {
        Ok(topic) => topic,
        Err(refused) => {
            return failed(
                name,
                errors::of_refused(refused.reason),
                Some(refused.message),
            );
        }
    };
    let mut answer = CreatableTopicResult::default();
    answer.name = name.clone();
    answer.topic_id = topic.id.into();
    answer.error_message = None;
    answer.num_partitions = topic.partitions.len() as i32;
    answer.replication_factor = 1;
    let described = config::describe_topic(&config.values, &topic.configs);
    let told = described.into_iter().map(|described| {
        let mut told = CreatableTopicConfigs::default();
        told.name = StrBytes::from(described.key.name);
        told.value = described.value.map(StrBytes::from);
        told.read_only = described.is_read_only;
        told.config_source = described.source.wire();
        told.is_sensitive = described.key.is_sensitive();
        told
    });
    answer.configs = Some(told.collect());
    answer
}

fn failed(name: &StrBytes, error: ErrorCode, message: Option<String>) -> CreatableTopicResult {
    let mut answer = CreatableTopicResult::default();
    answer.name = name.clone();
    answer.error_code = error.code();
    answer.error_message = message.map(StrBytes::from);
    answer.num_partitions = -1;
    answer.replication_factor = -1;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], asked: &[&str], refused: &[(&str, ErrorCode)]) {
        let topic = |name: &&str| {
            let mut topic = CreatableTopic::default();
            topic.name = StrBytes::from(*name);
            topic
        };
        let topics: Vec<_> = names.iter().map(topic).collect();
        let (found, answers) = split(&topics);
        let found: Vec<_> = found.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(found, asked, "{names:?}");
        let answers: Vec<_> = answers
            .iter()
            .map(|answer| (answer.name.as_str(), answer.error_code))
            .collect();
        let refused: Vec<_> = refused
            .iter()
            .map(|(name, error)| (*name, error.code()))
            .collect();
        assert_eq!(answers, refused, "{names:?}");
    }

    #[test]
    fn partitions_of_one_request_are_counted() {
        let config = config::load(&config::Sources::default())
            .expect("good values")
            .0;
        let config = config::resolve(config).expect("good values");
        let check = |counts: &[i32], expected| {
            let topic = |count: &i32| {
                let mut topic = CreatableTopic::default();
                topic.num_partitions = *count;
                topic
            };
            let topics: Vec<_> = counts.iter().map(topic).collect();
            assert_eq!(partitions_count(&topics, &config), expected, "{counts:?}");
        };
        check(&[], 0);
        check(&[3, -1, 0, -7], 6);
        check(&[i32::MAX, i32::MAX], 2 * i64::from(i32::MAX));
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_once() {
        check(&["a", "b"], &["a", "b"], &[]);
        check(
            &["a", "b", "a", "a"],
            &["b"],
            &[("a", ErrorCode::InvalidRequest)],
        );
        let own = (METADATA_TOPIC, ErrorCode::InvalidRequest);
        check(&[METADATA_TOPIC, "a", METADATA_TOPIC], &["a"], &[own]);
    }
}
