//! ListOffsets (key 2), versions 1 to 10.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Client, errors};
use crate::model::{LeaderEpoch, PartitionId, Timestamp};
use crate::partition::OffsetSpec;
use crate::protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use crate::protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};
use crate::shard::{OffsetsAnswer, OffsetsCall, OffsetsQuestion};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::ListOffsets, 1, 10);

/// The first version that answers with a leader epoch.
const EPOCH_FROM: i16 = 4;

pub(super) async fn handle(
    client: &Rc<Client>,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let mut response = ListOffsetsResponse::default();
    let mut calls = Vec::new();
    let mut places = Vec::new();
    // A topic of which no partition is named is not in the answer.
    for topic in request
        .topics
        .iter()
        .filter(|topic| !topic.partitions.is_empty())
    {
        let known = client.shard.topic_by_name(topic.name.as_str());
        let mut answers = ListOffsetsTopicResponse::default();
        answers.name = topic.name.clone();
        let mut asked: HashMap<i32, usize> = HashMap::new();
        for partition in &topic.partitions {
            *asked.entry(partition.partition_index).or_default() += 1;
        }
        for partition in &topic.partitions {
            // A partition that is asked for twice gets no answer to either, and is told once.
            let count = asked.insert(partition.partition_index, 0);
            if count == Some(0) {
                continue;
            }
            let mut answer = ListOffsetsPartitionResponse::default();
            answer.partition_index = partition.partition_index;
            answer.timestamp = -1;
            answer.offset = -1;
            answer.leader_epoch = -1;
            let spec = specification(partition.timestamp, version);
            match (&known, spec) {
                _ if count != Some(1) => answer.error_code = ErrorCode::InvalidRequest.code(),
                (None, _) => answer.error_code = ErrorCode::UnknownTopicOrPartition.code(),
                (_, None) => answer.error_code = ErrorCode::UnsupportedVersion.code(),
                (Some(topic), Some(spec)) => {
                    places.push((response.topics.len(), answers.partitions.len()));
                    calls.push(OffsetsCall {
                        partition: PartitionId {
                            topic_id: topic.id,
                            index: partition.partition_index,
                        },
                        current_leader_epoch: known_epoch(partition.current_leader_epoch),
                        question: OffsetsQuestion::List(spec),
                    });
                }
            }
            answers.partitions.push(answer);
        }
        response.topics.push(answers);
    }
    let results = client.shard.offsets(calls).await;
    for ((topic, place), result) in places.into_iter().zip(results) {
        let answer = &mut response.topics[topic].partitions[place];
        match result {
            Ok(OffsetsAnswer::Listed(listed)) => {
                answer.offset = listed.offset.0;
                answer.timestamp = listed.timestamp.0;
                if version >= EPOCH_FROM {
                    answer.leader_epoch = listed.leader_epoch.0;
                }
            }
            Ok(OffsetsAnswer::Deleted(_) | OffsetsAnswer::EpochEnd(_)) => {
                unreachable!("a listing is answered with a listing")
            }
            Err(error) => answer.error_code = errors::of_offsets(error).code(),
        }
    }
    response
}

/// The epoch of a request; -1 says that the client does not know.
pub(super) fn known_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

/// What a timestamp field asks for, in the versions that know it.
fn specification(timestamp: i64, version: i16) -> Option<OffsetSpec> {
    match timestamp {
        -1 => Some(OffsetSpec::Latest),
        -2 => Some(OffsetSpec::Earliest),
        -3 if version >= 7 => Some(OffsetSpec::MaxTimestamp),
        -4 if version >= 8 => Some(OffsetSpec::EarliestLocal),
        -5 if version >= 9 => Some(OffsetSpec::Tiered),
        at if at >= 0 => Some(OffsetSpec::AtOrAfter(Timestamp(at))),
        _ => None,
    }
}
