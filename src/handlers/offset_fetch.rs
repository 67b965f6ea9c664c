//! OffsetFetch (key 9), versions 1 to 9.
//!
//! There are no transactions yet, so every committed offset is stable and `require_stable` asks
//! for nothing more.

use std::collections::HashSet;
use std::rc::Rc;

use super::groups::{Room, ask, mismatched, wire};
use super::{Client, errors};
use crate::coordinator::{
    CommittedOffset, FetchRequest, FetchedTopic, GroupError, Request, Response,
};
use crate::io;
use crate::limits::GROUPS_TOLD_BYTES_MAX;
use crate::protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use crate::protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, StrBytes};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::OffsetFetch, 1, 9);

/// The first version with an error of its own at the top.
const TOP_ERROR_FROM: i16 = 2;
/// The first version that asks for many groups.
const MANY_GROUPS_FROM: i16 = 8;

type Fetched = Result<Vec<FetchedTopic>, GroupError>;

pub(super) async fn handle(
    client: &Rc<Client>,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    let fetch = |asked| fetch(client, asked);
    if version < MANY_GROUPS_FROM {
        let asked = one_group(&request);
        let mut fetched = fetch_all([asked.clone()], GROUPS_TOLD_BYTES_MAX, fetch).await;
        let fetched = fetched.pop().expect("one for each");
        return respond_one(fetched, &asked, version);
    }
    let asked = request.groups.iter().map(of_many);
    let fetched = fetch_all(asked, GROUPS_TOLD_BYTES_MAX, fetch).await;
    respond_many(&request.groups, fetched)
}

/// One group after the other. What is found shares its metadata with the coordinator; it is copied
/// into the answer, so every mention counts.
async fn fetch_all<F: Future<Output = Fetched>>(
    groups: impl IntoIterator<Item = FetchRequest>,
    bytes_max: usize,
    fetch: impl Fn(FetchRequest) -> F,
) -> Vec<Fetched> {
    let mut room = Room::new(bytes_max);
    let mut answers = Vec::new();
    for asked in groups {
        answers.push(match room.is_full() {
            true => Err(GroupError::NotAvailable),
            false => fetch(asked).await.and_then(|fetched| {
                let bytes = size_bytes(&fetched);
                room.take(fetched, bytes)
            }),
        });
    }
    answers
}

/// About what a group takes in the answer.
fn size_bytes(fetched: &[FetchedTopic]) -> usize {
    let of = |(_, committed): &(i32, Option<CommittedOffset>)| {
        let metadata = committed.as_ref().map_or(0, |one| one.metadata.len());
        size_of::<OffsetFetchResponsePartitions>() + metadata
    };
    let partitions = fetched.iter().flat_map(|topic| &topic.partitions);
    partitions.map(of).sum()
}

async fn fetch(client: &Rc<Client>, asked: FetchRequest) -> Fetched {
    // Many groups of this core are answered without waiting once; it has other work.
    io::yield_now().await;
    let group_id = asked.group_id.clone();
    match ask(client, &group_id, Request::Fetch(asked)).await {
        Ok(Response::Fetch(fetched)) => fetched,
        Ok(other) => mismatched(&other),
        Err(error) => Err(error),
    }
}

fn one_group(request: &OffsetFetchRequest) -> FetchRequest {
    let of = |topic: &OffsetFetchRequestTopic| {
        (
            topic.name.as_str().to_owned(),
            distinct(&topic.partition_indexes),
        )
    };
    FetchRequest {
        group_id: request.group_id.as_str().to_owned(),
        topics: request
            .topics
            .as_ref()
            .map(|topics| topics.iter().map(of).collect()),
    }
}

fn of_many(group: &OffsetFetchRequestGroup) -> FetchRequest {
    let of = |topic: &OffsetFetchRequestTopics| {
        (
            topic.name.as_str().to_owned(),
            distinct(&topic.partition_indexes),
        )
    };
    FetchRequest {
        group_id: group.group_id.as_str().to_owned(),
        topics: group
            .topics
            .as_ref()
            .map(|topics| topics.iter().map(of).collect()),
    }
}

/// The partitions without repetition: four bytes ask for all of an offset's metadata.
fn distinct(indexes: &[i32]) -> Vec<i32> {
    let mut known = HashSet::new();
    let indexes = indexes.iter().copied();
    indexes.filter(|index| known.insert(*index)).collect()
}

fn respond_one(fetched: Fetched, asked: &FetchRequest, version: i16) -> OffsetFetchResponse {
    let mut response = OffsetFetchResponse::default();
    let (topics, partition_error) = match fetched {
        Ok(topics) => (topics, ErrorCode::None),
        Err(error) if version >= TOP_ERROR_FROM => {
            response.error_code = errors::of_group(error).code();
            return response;
        }
        Err(error) => (without_offsets(asked), errors::of_group(error)),
    };
    for topic in topics {
        let mut told = OffsetFetchResponseTopic::default();
        told.name = wire(topic.name);
        for (index, committed) in topic.partitions {
            let mut answer = OffsetFetchResponsePartition::default();
            answer.partition_index = index;
            answer.committed_offset = committed.as_ref().map_or(-1, |one| one.offset);
            answer.committed_leader_epoch = committed.as_ref().map_or(-1, |one| one.leader_epoch);
            answer.metadata = Some(committed.map_or(empty(), |one| wire(one.metadata.to_string())));
            answer.error_code = partition_error.code();
            told.partitions.push(answer);
        }
        response.topics.push(told);
    }
    response
}

/// What was asked, each without an offset.
fn without_offsets(asked: &FetchRequest) -> Vec<FetchedTopic> {
    let topics = asked
        .topics
        .iter()
        .flatten()
        .map(|(name, indexes)| FetchedTopic {
            name: name.clone(),
            partitions: indexes.iter().map(|index| (*index, None)).collect(),
        });
    topics.collect()
}

fn respond_many(groups: &[OffsetFetchRequestGroup], fetched: Vec<Fetched>) -> OffsetFetchResponse {
    let mut response = OffsetFetchResponse::default();
    for (group, fetched) in groups.iter().zip(fetched) {
        let mut answer = OffsetFetchResponseGroup::default();
        answer.group_id = wire(group.group_id.as_str().to_owned());
        match fetched {
            Ok(topics) => answer.topics = topics.into_iter().map(topic_of_many).collect(),
            Err(error) => answer.error_code = errors::of_group(error).code(),
        }
        response.groups.push(answer);
    }
    response
}

fn topic_of_many(topic: FetchedTopic) -> OffsetFetchResponseTopics {
    let mut told = OffsetFetchResponseTopics::default();
    told.name = wire(topic.name);
    for (index, committed) in topic.partitions {
        let mut answer = OffsetFetchResponsePartitions::default();
        answer.partition_index = index;
        answer.committed_offset = committed.as_ref().map_or(-1, |one| one.offset);
        answer.committed_leader_epoch = committed.as_ref().map_or(-1, |one| one.leader_epoch);
        answer.metadata = Some(committed.map_or(empty(), |one| wire(one.metadata.to_string())));
        told.partitions.push(answer);
    }
    told
}

fn empty() -> StrBytes {
    StrBytes::from(String::new())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;

    use super::*;
    use crate::protocol;

    fn fetched() -> Vec<FetchedTopic> {
        let committed = CommittedOffset {
            offset: 42,
            leader_epoch: 3,
            metadata: "note".into(),
        };
        vec![FetchedTopic {
            name: "t".to_owned(),
            partitions: vec![(0, Some(committed)), (1, None)],
        }]
    }

    #[test]
    fn an_answer_is_bounded_whatever_is_asked() {
        let group = |id: &str| FetchRequest {
            group_id: id.to_owned(),
            topics: None,
        };
        let asked_count = Cell::new(0);
        let fetch = |_| {
            asked_count.set(asked_count.get() + 1);
            std::future::ready(Ok(fetched()))
        };
        let groups = vec![group("g"); 1000];
        let told = fetch_all(groups, 3 * size_bytes(&fetched()), fetch);
        let told = told.now_or_never().expect("nothing to wait for");
        assert_eq!(told.len(), 1000);
        assert_eq!(told.iter().filter(|one| one.is_ok()).count(), 3);
        assert_eq!(told[3], Err(GroupError::NotAvailable));
        assert_eq!(asked_count.get(), 4);

        let mut request = OffsetFetchRequest::default();
        let mut topic = OffsetFetchRequestTopic::default();
        topic.partition_indexes = [vec![3; 1000], vec![1]].concat();
        request.topics = Some(vec![topic]);
        let once = vec![(String::new(), vec![3, 1])];
        assert_eq!(one_group(&request).topics, Some(once));
    }

    #[test]
    fn every_version_can_say_offsets_and_errors() {
        let asked = FetchRequest {
            group_id: "g".to_owned(),
            topics: Some(vec![("t".to_owned(), vec![0, 1])]),
        };
        let loading = ErrorCode::CoordinatorLoadInProgress.code();
        for version in 1..=7 {
            let response = respond_one(Ok(fetched()), &asked, version);
            let bytes = protocol::encode(&response, version).unwrap();
            let read: OffsetFetchResponse = protocol::decode_response(bytes, version).unwrap();
            let partitions = &read.topics[0].partitions;
            assert_eq!(
                (
                    partitions[0].committed_offset,
                    partitions[1].committed_offset
                ),
                (42, -1)
            );
            assert_eq!(
                partitions[0].committed_leader_epoch,
                if version >= 5 { 3 } else { -1 }
            );

            let response = respond_one(Err(GroupError::LoadInProgress), &asked, version);
            let bytes = protocol::encode(&response, version).unwrap();
            let read: OffsetFetchResponse = protocol::decode_response(bytes, version).unwrap();
            if version < TOP_ERROR_FROM {
                let codes = read.topics[0].partitions.iter().map(|one| one.error_code);
                assert_eq!(codes.collect::<Vec<_>>(), [loading, loading]);
            } else {
                assert_eq!((read.error_code, read.topics.len()), (loading, 0));
            }
        }
        for version in 8..=9 {
            let groups = vec![OffsetFetchRequestGroup::default(); 2];
            let answers = vec![Ok(fetched()), Err(GroupError::LoadInProgress)];
            let response = respond_many(&groups, answers);
            let bytes = protocol::encode(&response, version).unwrap();
            let read: OffsetFetchResponse = protocol::decode_response(bytes, version).unwrap();
            assert_eq!(read.groups[0].topics[0].partitions[0].committed_offset, 42);
            assert_eq!(
                read.groups[0].topics[0].partitions[1].metadata,
                Some(empty())
            );
            assert_eq!(read.groups[1].error_code, loading);
        }
    }

    #[test]
    fn no_topics_and_all_topics_are_not_the_same() {
        let mut request = OffsetFetchRequest::default();
        request.topics = Some(Vec::new());
        assert_eq!(one_group(&request).topics, Some(Vec::new()));
        request.topics = None;
        assert_eq!(one_group(&request).topics, None);
    }
}
