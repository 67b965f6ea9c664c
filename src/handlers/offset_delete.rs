//! OffsetDelete (key 47), version 0.

use std::collections::HashMap;
use std::rc::Rc;

use super::groups::{ask, mismatched, wire};
use super::{Client, errors};
use crate::coordinator::{DeleteOffsetsRequest, GroupError, Request, Response, TopicOutcome};
use crate::protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::OffsetDelete, 0, 0);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: OffsetDeleteRequest,
    _version: i16,
) -> OffsetDeleteResponse {
    let known = |topic: &str, index: i32| {
        let topic = client.shard.topic_by_name(topic);
        topic.is_some_and(|topic| (0..topic.leader_epochs.len() as i32).contains(&index))
    };
    let (asked, unknown) = split(&request, known);
    let answer = ask(
        client,
        request.group_id.as_str(),
        Request::DeleteOffsets(asked),
    )
    .await;
    let outcomes = match answer {
        Ok(Response::DeleteOffsets(outcomes)) => outcomes,
        Ok(other) => mismatched(&other),
        Err(error) => Err(error),
    };
    respond(outcomes, unknown)
}

/// Topics with the partitions that are asked for.
type Topics = Vec<(String, Vec<i32>)>;

/// The partitions that exist, for the coordinator, and the others.
fn split(
    request: &OffsetDeleteRequest,
    known: impl Fn(&str, i32) -> bool,
) -> (DeleteOffsetsRequest, Topics) {
    let (mut topics, mut unknown) = (Topics::new(), Topics::new());
    for topic in &request.topics {
        let name = topic.name.as_str();
        let indexes = topic.partitions.iter().map(|one| one.partition_index);
        let (there, gone): (Vec<i32>, Vec<i32>) = indexes.partition(|index| known(name, *index));
        for (indexes, list) in [(there, &mut topics), (gone, &mut unknown)] {
            if !indexes.is_empty() {
                list.push((name.to_owned(), indexes));
            }
        }
    }
    let group_id = request.group_id.as_str().to_owned();
    (DeleteOffsetsRequest { group_id, topics }, unknown)
}

fn respond(
    outcomes: Result<Vec<TopicOutcome>, GroupError>,
    unknown: Topics,
) -> OffsetDeleteResponse {
    let mut response = OffsetDeleteResponse::default();
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(error) => {
            response.error_code = errors::of_group(error).code();
            return response;
        }
    };
    let decided = outcomes.into_iter().map(|(name, partitions)| {
        let code = |error: Option<GroupError>| error.map_or(ErrorCode::None, errors::of_group);
        let partitions = partitions
            .into_iter()
            .map(|(index, error)| (index, code(error)));
        (name, partitions.collect::<Vec<_>>())
    });
    let absent = unknown.into_iter().map(|(name, indexes)| {
        let error = ErrorCode::UnknownTopicOrPartition;
        (
            name,
            indexes.into_iter().map(|index| (index, error)).collect(),
        )
    });
    let mut places: HashMap<String, usize> = HashMap::new();
    for (name, partitions) in decided.chain(absent) {
        // Clients look for a topic once, and for all of its partitions there.
        let at = *places.entry(name).or_insert_with_key(|name| {
            let mut topic = OffsetDeleteResponseTopic::default();
            topic.name = wire(name.clone());
            response.topics.push(topic);
            response.topics.len() - 1
        });
        let topic = &mut response.topics[at];
        for (index, error) in partitions {
            let mut partition = OffsetDeleteResponsePartition::default();
            partition.partition_index = index;
            partition.error_code = error.code();
            topic.partitions.push(partition);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol;
    use crate::protocol::messages::offset_delete_request::{
        OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    };

    #[test]
    fn a_topic_is_answered_once_however_often_it_comes() {
        let of = |at: i32| (format!("t{}", at % 50_000), vec![(at / 50_000, None)]);
        let response = respond(Ok((0..100_000).map(of).collect()), Vec::new());
        assert_eq!(response.topics.len(), 50_000);
        for topic in &response.topics {
            let indexes = topic.partitions.iter().map(|one| one.partition_index);
            assert_eq!(indexes.collect::<Vec<_>>(), [0, 1]);
        }
    }

    #[test]
    fn unknown_partitions_are_not_the_coordinators_business() {
        let mut request = OffsetDeleteRequest::default();
        for name in ["gone", "t"] {
            let mut topic = OffsetDeleteRequestTopic::default();
            topic.name = wire(name.to_owned());
            for index in [0, 9] {
                let mut partition = OffsetDeleteRequestPartition::default();
                partition.partition_index = index;
                topic.partitions.push(partition);
            }
            request.topics.push(topic);
        }
        let (asked, unknown) = split(&request, |name, index| name == "t" && index == 0);
        assert_eq!(asked.topics, [("t".to_owned(), vec![0])]);
        let elsewhere = [("gone".to_owned(), vec![0, 9]), ("t".to_owned(), vec![9])];
        assert_eq!(unknown, elsewhere);
        let subscribed = Some(GroupError::SubscribedToTopic);
        let response = respond(Ok(vec![("t".to_owned(), vec![(0, subscribed)])]), unknown);
        let code = |at: usize| response.topics[at].partitions[0].error_code;
        assert_eq!(code(0), ErrorCode::GroupSubscribedToTopic.code());
        assert_eq!(code(1), ErrorCode::UnknownTopicOrPartition.code());
        protocol::encode(&response, 0).unwrap();
        let refused = respond(Err(GroupError::NonEmptyGroup), Vec::new());
        assert_eq!(refused.error_code, ErrorCode::NonEmptyGroup.code());
    }
}
