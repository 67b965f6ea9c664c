//! CreatePartitions (key 37), versions 0 to 3.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Client, errors};
use crate::controller::{NewPartitions, RefusedReason};
use crate::protocol::messages::create_partitions_request::CreatePartitionsTopic;
use crate::protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use crate::protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, StrBytes};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::CreatePartitions, 0, 3);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: CreatePartitionsRequest,
    _version: i16,
) -> CreatePartitionsResponse {
    let mut response = CreatePartitionsResponse::default();
    let (asked, refused) = split(&request.topics);
    response.results = refused;
    let requests = asked.iter().map(|topic| new_partitions(topic)).collect();
    let results = client
        .shard
        .add_partitions(requests, request.validate_only)
        .await;
    for (topic, result) in asked.into_iter().zip(results) {
        response.results.push(match result {
            Ok(()) => answer(topic, ErrorCode::None, None),
            // Kafka has no words for it.
            Err(refused) if refused.reason == RefusedReason::UnknownTopic => {
                answer(topic, errors::of_refused(refused.reason), None)
            }
            Err(refused) => answer(
                topic,
                errors::of_refused(refused.reason),
                Some(refused.message),
            ),
        });
    }
    response
}

/// The topics that may be asked of the controller, and the answers for those that stand twice.
fn split(
    topics: &[CreatePartitionsTopic],
) -> (
    Vec<&CreatePartitionsTopic>,
    Vec<CreatePartitionsTopicResult>,
) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for topic in topics {
        *counts.entry(topic.name.as_str()).or_default() += 1;
    }
    let (mut asked, mut refused) = (Vec::new(), Vec::new());
    for topic in topics {
        match counts.remove(topic.name.as_str()) {
            Some(1) => asked.push(topic),
            Some(_) => {
                let message = "Duplicate topic name.".to_owned();
                refused.push(answer(topic, ErrorCode::InvalidRequest, Some(message)));
            }
            // Answered with the first of its name.
            None => {}
        }
    }
    (asked, refused)
}

fn new_partitions(topic: &CreatePartitionsTopic) -> NewPartitions {
    let assignment = topic.assignments.as_ref();
    NewPartitions {
        name: topic.name.as_str().to_owned(),
        partitions_count: topic.count,
        assignment: assignment.map(|all| all.iter().map(|one| one.broker_ids.clone()).collect()),
    }
}

fn answer(
    topic: &CreatePartitionsTopic,
    error: ErrorCode,
    message: Option<String>,
) -> CreatePartitionsTopicResult {
    let mut answer = CreatePartitionsTopicResult::default();
    answer.name = topic.name.clone();
    answer.error_code = error.code();
    answer.error_message = message.map(StrBytes::from);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], asked: &[&str], refused: &[&str]) {
        let topic = |name: &&str| {
            let mut topic = CreatePartitionsTopic::default();
            topic.name = StrBytes::from(*name);
            topic
        };
        let topics: Vec<_> = names.iter().map(topic).collect();
        let (found, answers) = split(&topics);
        let found: Vec<_> = found.iter().map(|topic| topic.name.as_str()).collect();
        let answers: Vec<_> = answers.iter().map(|answer| answer.name.as_str()).collect();
        assert_eq!(
            (found, answers),
            (asked.to_vec(), refused.to_vec()),
            "{names:?}"
        );
    }

    #[test]
    fn every_topic_has_one_answer() {
        check(&["a", "b"], &["a", "b"], &[]);
        check(&["a", "b", "a", "a"], &["b"], &["a"]);
    }
}
