//! OffsetForLeaderEpoch (key 23), versions 2 to 4.

use std::rc::Rc;

use super::list_offsets::known_epoch;
use super::{Client, errors};
use crate::model::{LeaderEpoch, PartitionId};
use crate::protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use crate::protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};
use crate::shard::{OffsetsAnswer, OffsetsCall, OffsetsQuestion};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::OffsetForLeaderEpoch, 2, 4);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: OffsetForLeaderEpochRequest,
    _version: i16,
) -> OffsetForLeaderEpochResponse {
    let mut response = OffsetForLeaderEpochResponse::default();
    let mut calls = Vec::new();
    let mut places = Vec::new();
    for topic in &request.topics {
        let known = client.shard.topic_by_name(topic.topic.as_str());
        let mut answers = OffsetForLeaderTopicResult::default();
        answers.topic = topic.topic.clone();
        for partition in &topic.partitions {
            let mut answer = EpochEndOffset::default();
            answer.partition = partition.partition;
            answer.leader_epoch = -1;
            answer.end_offset = -1;
            match &known {
                None => answer.error_code = ErrorCode::UnknownTopicOrPartition.code(),
                Some(topic) => {
                    places.push((response.topics.len(), answers.partitions.len()));
                    calls.push(OffsetsCall {
                        partition: PartitionId {
                            topic_id: topic.id,
                            index: partition.partition,
                        },
                        current_leader_epoch: known_epoch(partition.current_leader_epoch),
                        question: OffsetsQuestion::EpochEnd(LeaderEpoch(partition.leader_epoch)),
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
            Ok(OffsetsAnswer::EpochEnd(Some(end))) => {
                answer.leader_epoch = end.epoch.0;
                answer.end_offset = end.end_offset.0;
            }
            Ok(OffsetsAnswer::EpochEnd(None)) => {}
            Ok(OffsetsAnswer::Listed(_) | OffsetsAnswer::Deleted(_)) => {
                unreachable!("an epoch's end is answered with an epoch's end")
            }
            Err(error) => answer.error_code = errors::of_offsets(error).code(),
        }
    }
    response
}
