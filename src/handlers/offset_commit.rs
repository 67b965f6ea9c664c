//! OffsetCommit (key 8), versions 2 to 9.

use std::rc::Rc;

use super::groups::{ask, mismatched, owned, wire};
use super::{Client, errors};
use crate::coordinator::{
    CommitPartition, CommitRequest, GroupError, Request, Response, TopicOutcome,
};
use crate::protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use crate::protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::OffsetCommit, 2, 9);

/// The last version in which a commit names its own retention.
const RETENTION_UNTIL: i16 = 4;
/// The first version with leader epochs.
const LEADER_EPOCH_FROM: i16 = 6;
/// The first version in which an unknown group is named so.
const UNKNOWN_GROUP_FROM: i16 = 9;

pub(super) async fn handle(
    client: &Rc<Client>,
    request: OffsetCommitRequest,
    version: i16,
) -> OffsetCommitResponse {
    let known = |topic: &str, index: i32| {
        let topic = client.shard.topic_by_name(topic);
        topic.is_some_and(|topic| {
            usize::try_from(index).is_ok_and(|at| at < topic.leader_epochs.len())
        })
    };
    let (mut response, asked) = split(&request, version, known);
    if asked.topics.is_empty() {
        return response;
    }
    let answer = ask(client, request.group_id.as_str(), Request::Commit(asked)).await;
    match answer {
        Ok(Response::Commit(outcomes)) => fill_in(&mut response, outcomes),
        Ok(other) => mismatched(&other),
        Err(error) => fill_in_error(&mut response, error),
    }
    response
}

/// A partition whose answer is still to come; no code of Kafka's.
const PENDING: i16 = i16::MIN;

/// The response with what is decided by the topics alone, and what the coordinator is asked: the
/// partitions that exist. The others are unknown to it as they are to everybody.
fn split(
    request: &OffsetCommitRequest,
    version: i16,
    known: impl Fn(&str, i32) -> bool,
) -> (OffsetCommitResponse, CommitRequest) {
    let mut response = OffsetCommitResponse::default();
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut answers = OffsetCommitResponseTopic::default();
        answers.name = wire(topic.name.as_str().to_owned());
        let mut wanted = Vec::new();
        for (at, partition) in topic.partitions.iter().enumerate() {
            let mut answer = OffsetCommitResponsePartition::default();
            answer.partition_index = partition.partition_index;
            if known(topic.name.as_str(), partition.partition_index) {
                answer.error_code = PENDING;
                wanted.push(commit_partition(topic, at, version));
            } else {
                answer.error_code = ErrorCode::UnknownTopicOrPartition.code();
            }
            answers.partitions.push(answer);
        }
        if !wanted.is_empty() {
            topics.push((topic.name.as_str().to_owned(), wanted));
        }
        response.topics.push(answers);
    }
    let retention_ms = Some(request.retention_time_ms);
    let asked = CommitRequest {
        group_id: request.group_id.as_str().to_owned(),
        generation: request.generation_id_or_member_epoch,
        member_id: request.member_id.as_str().to_owned(),
        group_instance_id: owned(&request.group_instance_id),
        retention_ms: retention_ms.filter(|ms| version <= RETENTION_UNTIL && *ms != -1),
        reports_unknown_group: version >= UNKNOWN_GROUP_FROM,
        topics,
    };
    (response, asked)
}

fn commit_partition(topic: &OffsetCommitRequestTopic, at: usize, version: i16) -> CommitPartition {
    let partition = &topic.partitions[at];
    CommitPartition {
        index: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: if version >= LEADER_EPOCH_FROM {
            partition.committed_leader_epoch
        } else {
            -1
        },
        metadata: owned(&partition.committed_metadata),
    }
}

/// Puts the coordinator's results where they are pending; both are in the request's order.
fn fill_in(response: &mut OffsetCommitResponse, outcomes: Vec<TopicOutcome>) {
    let results = outcomes.into_iter().flat_map(|(_, partitions)| partitions);
    let pending = response
        .topics
        .iter_mut()
        .flat_map(|topic| &mut topic.partitions);
    let pending = pending.filter(|partition| partition.error_code == PENDING);
    for (partition, (index, error)) in pending.zip(results) {
        assert_eq!(
            partition.partition_index, index,
            "results are in the request's order"
        );
        partition.error_code = error.map_or(ErrorCode::None, errors::of_group).code();
    }
}

fn fill_in_error(response: &mut OffsetCommitResponse, error: GroupError) {
    let partitions = response
        .topics
        .iter_mut()
        .flat_map(|topic| &mut topic.partitions);
    for partition in partitions.filter(|partition| partition.error_code == PENDING) {
        partition.error_code = errors::of_group(error).code();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol;
    use crate::protocol::messages::offset_commit_request::OffsetCommitRequestPartition;

    fn request() -> OffsetCommitRequest {
        let mut request = OffsetCommitRequest::default();
        request.retention_time_ms = -1;
        for name in ["gone", "t"] {
            let mut topic = OffsetCommitRequestTopic::default();
            topic.name = wire(name.to_owned());
            for index in [0, 1, 9] {
                let mut partition = OffsetCommitRequestPartition::default();
                partition.partition_index = index;
                partition.committed_offset = 5;
                partition.committed_leader_epoch = 3;
                topic.partitions.push(partition);
            }
            request.topics.push(topic);
        }
        request
    }

    fn codes(response: &OffsetCommitResponse) -> Vec<i16> {
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.error_code).collect()
    }

    #[test]
    fn the_coordinator_is_asked_about_partitions_that_exist() {
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        for version in 2..=9 {
            let known = |topic: &str, index: i32| topic == "t" && index < 2;
            let (mut response, asked) = split(&request(), version, known);
            let indexes: Vec<i32> = asked.topics[0]
                .1
                .iter()
                .map(|partition| partition.index)
                .collect();
            assert_eq!((asked.topics.len(), indexes), (1, vec![0, 1]));
            assert_eq!(
                asked.topics[0].1[0].leader_epoch,
                if version >= 6 { 3 } else { -1 }
            );
            assert_eq!(asked.retention_ms, None);
            let too_large = Some(GroupError::MetadataTooLarge);
            fill_in(
                &mut response,
                vec![("t".to_owned(), vec![(0, None), (1, too_large)])],
            );
            let large = ErrorCode::OffsetMetadataTooLarge.code();
            assert_eq!(
                codes(&response),
                [unknown, unknown, unknown, 0, large, unknown]
            );
            protocol::encode(&response, version).unwrap();
        }
    }

    #[test]
    fn a_coordinator_that_is_elsewhere_answers_for_all() {
        let (mut response, _) = split(&request(), 9, |_, _| true);
        fill_in_error(&mut response, GroupError::NotCoordinator);
        assert_eq!(codes(&response), [ErrorCode::NotCoordinator.code(); 6]);
    }

    #[test]
    fn old_versions_name_their_retention() {
        let mut request = request();
        request.retention_time_ms = 1000;
        let asked = |version| split(&request, version, |_, _| true).1.retention_ms;
        assert_eq!([4, 5].map(asked), [Some(1000), None]);
    }
}
