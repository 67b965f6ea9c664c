//! DeleteRecords (key 21), versions 0 to 2.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Client, errors};
use crate::model::{Offset, PartitionId};
use crate::protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use crate::protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};
use crate::shard::{OffsetsAnswer, OffsetsCall, OffsetsQuestion};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::DeleteRecords, 0, 2);

/// The offset that means "up to the high watermark".
const TO_HIGH_WATERMARK: i64 = -1;

pub(super) async fn handle(
    client: &Rc<Client>,
    request: DeleteRecordsRequest,
    _version: i16,
) -> DeleteRecordsResponse {
    let mut response = DeleteRecordsResponse::default();
    let mut calls = Vec::new();
    let mut places = Vec::new();
    // Of a partition that is named again the last offset counts, and it is answered once.
    let mut asked: HashMap<PartitionId, usize> = HashMap::new();
    // A topic of which no partition is named is not in the answer.
    for topic in request
        .topics
        .iter()
        .filter(|topic| !topic.partitions.is_empty())
    {
        let known = client.shard.topic_by_name(topic.name.as_str());
        let mut answers = DeleteRecordsTopicResult::default();
        answers.name = topic.name.clone();
        for partition in &topic.partitions {
            let mut answer = DeleteRecordsPartitionResult::default();
            answer.partition_index = partition.partition_index;
            answer.low_watermark = -1;
            match &known {
                None => answer.error_code = ErrorCode::UnknownTopicOrPartition.code(),
                // Groups and their offsets are the broker's own to shorten.
                Some(topic)
                    if topic.name.is_internal()
                        && topic.has_partition(partition.partition_index) =>
                {
                    answer.error_code = ErrorCode::InvalidTopicException.code();
                }
                Some(topic) => {
                    let wanted = partition.offset;
                    let target = (wanted != TO_HIGH_WATERMARK).then_some(Offset(wanted));
                    let question = OffsetsQuestion::DeleteBefore(target);
                    let id = PartitionId {
                        topic_id: topic.id,
                        index: partition.partition_index,
                    };
                    let call = OffsetsCall {
                        partition: id,
                        current_leader_epoch: None,
                        question,
                    };
                    if let Some(earlier) = asked.get(&id) {
                        calls[*earlier] = call;
                        continue;
                    }
                    asked.insert(id, calls.len());
                    places.push((response.topics.len(), answers.partitions.len()));
                    calls.push(call);
                }
            }
            answers.partitions.push(answer);
        }
        if answers.partitions.is_empty() {
            continue;
        }
        response.topics.push(answers);
    }
    let results = client.shard.offsets(calls).await;
    for ((topic, place), result) in places.into_iter().zip(results) {
        let answer = &mut response.topics[topic].partitions[place];
        match result {
            Ok(OffsetsAnswer::Deleted(start)) => answer.low_watermark = start.0,
            Ok(OffsetsAnswer::Listed(_) | OffsetsAnswer::EpochEnd(_)) => {
                unreachable!("a deletion is answered with a deletion")
            }
            Err(error) => answer.error_code = errors::of_offsets(error).code(),
        }
    }
    response
}
