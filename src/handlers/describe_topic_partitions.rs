//! DescribeTopicPartitions (key 75), version 0.
//!
//! Topics come in the order of their names, and the partitions of one answer are bounded: a
//! cursor says where the next request goes on.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Client;
use super::metadata::{OPERATIONS_NOT_TOLD, TOPIC_OPERATIONS};
use crate::controller::{Image, TopicMeta};
use crate::model::{PartitionId, TopicName};
use crate::protocol::messages::describe_topic_partitions_request as asked;
use crate::protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use crate::protocol::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, StrBytes,
};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::DescribeTopicPartitions, 0, 0);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: DescribeTopicPartitionsRequest,
    _version: i16,
) -> DescribeTopicPartitionsResponse {
    let limit = client.shard.config().requests.describe_topic_partitions_max;
    let limit = request.response_partition_limit.min(limit).max(1) as usize;
    let leader = |id| client.shard.advertised(client.listener, Some(id)).id.0;
    client
        .shard
        .with_image(|image| answer(&request, image, limit, leader))
}

fn answer(
    request: &DescribeTopicPartitionsRequest,
    image: &Image,
    limit: usize,
    leader: impl Fn(PartitionId) -> i32,
) -> DescribeTopicPartitionsResponse {
    let mut response = DescribeTopicPartitionsResponse::default();
    if request
        .cursor
        .as_ref()
        .is_some_and(|cursor| !is_valid(cursor, &request.topics))
    {
        let refuse = |topic: &asked::TopicRequest| {
            let mut told = refused(topic.name.as_str(), ErrorCode::InvalidRequest);
            told.topic_authorized_operations = OPERATIONS_NOT_TOLD;
            told
        };
        response.topics = request.topics.iter().map(refuse).collect();
        return response;
    }
    let (from_name, from_index) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    let mut left = limit;
    for (name, found) in wanted(request, image, from_name) {
        let Some(topic) = found else {
            let error = match TopicName::new(name) {
                Ok(_) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            response.topics.push(refused(name, error));
            continue;
        };
        let from = if name == from_name { from_index } else { 0 };
        let indices = from..topic.partitions.len() as i32;
        if left == 0 {
            response.next_cursor = Some(cursor(name, from));
            break;
        }
        let mut told = told(topic);
        let partition = |index: i32| partition(topic, index, image, &leader);
        told.partitions = indices.clone().take(left).map(partition).collect();
        left -= told.partitions.len();
        let next = from + told.partitions.len() as i32;
        response.topics.push(told);
        if next < indices.end {
            response.next_cursor = Some(cursor(name, next));
            break;
        }
    }
    response
}

/// Whether a cursor stands on a partition, of a topic that is asked for.
fn is_valid(cursor: &asked::Cursor, topics: &[asked::TopicRequest]) -> bool {
    let mut named = topics.iter().map(|topic| topic.name.as_str());
    cursor.partition_index >= 0
        && (topics.is_empty() || named.any(|name| name == cursor.topic_name.as_str()))
}

/// The topics that are asked for from a name on, in order; all, if none is named.
fn wanted<'a>(
    request: &'a DescribeTopicPartitionsRequest,
    image: &'a Image,
    from: &str,
) -> Vec<(&'a str, Option<&'a TopicMeta>)> {
    if request.topics.is_empty() {
        let all = image.topics().filter(|topic| topic.name.as_str() >= from);
        return all
            .map(|topic| (topic.name.as_str(), Some(topic)))
            .collect();
    }
    let names: BTreeSet<&str> = request
        .topics
        .iter()
        .map(|topic| topic.name.as_str())
        .collect();
    names
        .into_iter()
        .filter(|name| *name >= from)
        .map(|name| (name, image.topic_by_name(name)))
        .collect()
}

fn told(topic: &TopicMeta) -> DescribeTopicPartitionsResponseTopic {
    let mut told = DescribeTopicPartitionsResponseTopic::default();
    told.name = Some(StrBytes::from(topic.name.to_string()));
    told.topic_id = topic.id.into();
    told.is_internal = topic.name.is_internal();
    told.topic_authorized_operations = TOPIC_OPERATIONS;
    told
}

fn partition(
    topic: &TopicMeta,
    index: i32,
    image: &Image,
    leader: &impl Fn(PartitionId) -> i32,
) -> DescribeTopicPartitionsResponsePartition {
    let node = leader(PartitionId {
        topic_id: topic.id,
        index,
    });
    let mut told = DescribeTopicPartitionsResponsePartition::default();
    told.partition_index = index;
    told.leader_id = node;
    told.leader_epoch = image.leader_epoch(&topic.partitions[index as usize]).0;
    told.replica_nodes = vec![node];
    told.isr_nodes = vec![node];
    told.eligible_leader_replicas = Some(Vec::new());
    told.last_known_elr = Some(Vec::new());
    told
}

fn refused(name: &str, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    let mut told = DescribeTopicPartitionsResponseTopic::default();
    told.error_code = error.code();
    told.is_internal = TopicName::new(name).is_ok_and(|name| name.is_internal());
    told.name = Some(StrBytes::from(name.to_owned()));
    told.topic_authorized_operations = TOPIC_OPERATIONS;
    told
}

fn cursor(topic: &str, index: i32) -> Cursor {
    let mut cursor = Cursor::default();
    cursor.topic_name = StrBytes::from(topic.to_owned());
    cursor.partition_index = index;
    cursor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{PartitionRecord, Record};

    /// "a" and "b" have two partitions each, "c" has one.
    fn image() -> Image {
        let mut image = Image::default();
        for (id, name, count) in [(1, "a", 2), (2, "b", 2), (3, "c", 1)] {
            image.apply(&Record::TopicCreated {
                id: [id; 16],
                name: name.to_owned(),
                partitions: vec![
                    PartitionRecord {
                        slot: 0,
                        born_at_start: 0
                    };
                    count
                ],
                configs: Vec::new(),
            });
        }
        image
    }

    /// `expected` is each topic with its indices or its error, then the cursor.
    fn check(topics: &[&str], from: Option<(&str, i32)>, limit: usize, expected: &str) {
        let mut request = DescribeTopicPartitionsRequest::default();
        let named = topics.iter().map(|name| {
            let mut topic = asked::TopicRequest::default();
            topic.name = StrBytes::from(*name);
            topic
        });
        request.topics = named.collect();
        request.cursor = from.map(|(name, index)| {
            let mut cursor = asked::Cursor::default();
            cursor.topic_name = StrBytes::from(name);
            cursor.partition_index = index;
            cursor
        });
        let found = answer(&request, &image(), limit, |_| 1);
        let mut shown = Vec::new();
        for topic in &found.topics {
            let name = topic.name.as_ref().map_or("", |name| name.as_str());
            let indices: Vec<_> = topic
                .partitions
                .iter()
                .map(|p| p.partition_index.to_string())
                .collect();
            shown.push(match topic.error_code {
                0 => format!("{name}:{}", indices.join(",")),
                code => format!("{name}!{code}"),
            });
        }
        if let Some(next) = &found.next_cursor {
            shown.push(format!(
                "next {}:{}",
                next.topic_name.as_str(),
                next.partition_index
            ));
        }
        assert_eq!(
            shown.join(" "),
            expected,
            "{topics:?} from {from:?} limit {limit}"
        );
    }

    #[test]
    fn topics_come_in_order_and_within_the_limit() {
        check(&[], None, 100, "a:0,1 b:0,1 c:0");
        check(&[], None, 3, "a:0,1 b:0 next b:1");
        check(&[], Some(("b", 1)), 100, "b:1 c:0");
        check(&[], None, 2, "a:0,1 next b:0");
        check(&[], Some(("b", 0)), 2, "b:0,1 next c:0");
        check(&["c", "a", "a"], None, 100, "a:0,1 c:0");
        check(&["c", "a", "b"], Some(("b", 1)), 100, "b:1 c:0");
        // The cursor stands on a topic that is asked for.
        check(&["c", "a"], Some(("b", 0)), 100, "c!42 a!42");
        check(&["nope", "a b"], None, 100, "a b!17 nope!3");
        check(&["a"], Some(("a", 9)), 100, "a:");
        check(&["a"], Some(("a", -1)), 100, "a!42");
    }
}
