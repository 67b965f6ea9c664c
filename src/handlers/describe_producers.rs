//! DescribeProducers (key 61), version 0.

use std::collections::HashMap;
use std::rc::Rc;

use super::Client;
use crate::model::{PartitionId, TopicName};
use crate::partition::ActiveProducer;
use crate::protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use crate::protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, StrBytes};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};
use crate::shard::PartitionsWanted;

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::DescribeProducers, 0, 0);

/// What is said of a topic that is not there.
const UNKNOWN_TOPIC: &str = "There is no such topic.";
/// What stands where a producer has no transaction.
const NO_TRANSACTION: i64 = -1;
/// What stands where no coordinator has written a marker.
const NO_COORDINATOR: i32 = -1;

pub(super) async fn handle(
    client: &Rc<Client>,
    request: DescribeProducersRequest,
    _version: i16,
) -> DescribeProducersResponse {
    let mut known = HashMap::new();
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let Some(found) = client.shard.topic_by_name(topic.name.as_str()) else {
            continue;
        };
        known.insert(topic.name.as_str(), found.id);
        let ids = topic.partition_indexes.iter();
        wanted.extend(ids.map(|index| PartitionId {
            topic_id: found.id,
            index: *index,
        }));
    }
    wanted.sort_unstable();
    wanted.dedup();
    let states = client
        .shard
        .inspect(PartitionsWanted::WithProducers(wanted))
        .await;
    let producers: HashMap<PartitionId, Vec<ActiveProducer>> = states
        .into_iter()
        .map(|state| (state.partition, state.producers))
        .collect();
    let mut response = DescribeProducersResponse::default();
    for topic in &request.topics {
        let name = topic.name.as_str();
        let mut answers = TopicResponse::default();
        answers.name = topic.name.clone();
        for index in &topic.partition_indexes {
            let found = known.get(name).and_then(|id| {
                producers.get(&PartitionId {
                    topic_id: *id,
                    index: *index,
                })
            });
            let mut answer = answer(name, *index, found.map(Vec::as_slice));
            // Kafka has words for a topic only.
            if !known.contains_key(name) {
                answer.error_message = Some(StrBytes::from(UNKNOWN_TOPIC));
            }
            answers.partitions.push(answer);
        }
        response.topics.push(answers);
    }
    response
}

fn answer(name: &str, index: i32, producers: Option<&[ActiveProducer]>) -> PartitionResponse {
    let mut answer = PartitionResponse::default();
    answer.partition_index = index;
    match producers {
        Some(producers) => answer.active_producers = producers.iter().map(told).collect(),
        None => {
            let error = match TopicName::new(name) {
                Ok(_) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            answer.error_code = error.code();
        }
    }
    answer
}

fn told(producer: &ActiveProducer) -> ProducerState {
    let mut told = ProducerState::default();
    told.producer_id = producer.id.0;
    told.producer_epoch = i32::from(producer.epoch.0);
    told.last_sequence = producer.last_sequence;
    told.last_timestamp = producer.last_timestamp.0;
    told.coordinator_epoch = NO_COORDINATOR;
    told.current_txn_start_offset = NO_TRANSACTION;
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ProducerEpoch, ProducerId, Timestamp};

    fn check(name: &str, producers: Option<&[ActiveProducer]>, expected: (i16, usize)) {
        let found = answer(name, 0, producers);
        assert_eq!(
            (found.error_code, found.active_producers.len()),
            expected,
            "{name}"
        );
    }

    #[test]
    fn a_partition_tells_its_producers_or_why_not() {
        let producer = ActiveProducer {
            id: ProducerId(5),
            epoch: ProducerEpoch(1),
            last_sequence: 9,
            last_timestamp: Timestamp(100),
        };
        check("a", Some(&[producer]), (0, 1));
        check("a", Some(&[]), (0, 0));
        check("a", None, (ErrorCode::UnknownTopicOrPartition.code(), 0));
        check("a b", None, (ErrorCode::InvalidTopicException.code(), 0));
    }
}
