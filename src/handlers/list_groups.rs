//! ListGroups (key 16), versions 0 to 5.
//!
//! Kafka's broker lists the groups that it coordinates, and tools ask every broker. The node
//! coordinates all; a virtual broker those of its core.

use std::rc::Rc;

use futures_util::future::join_all;

use super::groups::{mismatched, wire};
use super::{Client, errors};
use crate::coordinator::{GroupError, ListRequest, ListedGroup as Listed, Request, Response};
use crate::model::{OFFSETS_TOPIC, PartitionId};
use crate::protocol::messages::list_groups_response::ListedGroup;
use crate::protocol::messages::{ListGroupsRequest, ListGroupsResponse};
use crate::protocol::{ApiKey, ApiSpec};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::ListGroups, 0, 5);

/// The type of every group here, as Kafka names it.
const GROUP_TYPE: &str = "classic";

pub(super) async fn handle(
    client: &Rc<Client>,
    request: ListGroupsRequest,
    _version: i16,
) -> ListGroupsResponse {
    let Some(topic) = client.shard.topic_by_name(OFFSETS_TOPIC) else {
        return ListGroupsResponse::default();
    };
    let asked = list_request(&request);
    let partitions = (0..topic.leader_epochs.len()).map(|index| PartitionId {
        topic_id: topic.id,
        index: index as i32,
    });
    let is_told = |partition: &PartitionId| {
        !client.is_to_core || client.shard.owner(*partition) == Some(client.shard.core())
    };
    let lists = partitions.filter(is_told).map(|partition| {
        let asked = Request::List(asked.clone());
        async move {
            match client.shard.group(partition, asked).await {
                Some(Response::List(listed)) => listed,
                Some(other) => mismatched(&other),
                // A coordinator that is gone has no groups.
                None => Ok(Vec::new()),
            }
        }
    });
    respond(join_all(lists).await)
}

fn list_request(request: &ListGroupsRequest) -> ListRequest {
    let states = request.states_filter.iter();
    let types = request.types_filter.iter();
    ListRequest {
        states: states.map(|state| state.as_str().to_owned()).collect(),
        types: types.map(|kind| kind.as_str().to_owned()).collect(),
    }
}

/// All lists as one, by group; none while one of the coordinators is loading.
fn respond(lists: Vec<Result<Vec<Listed>, GroupError>>) -> ListGroupsResponse {
    let mut response = ListGroupsResponse::default();
    let mut groups = Vec::new();
    for list in lists {
        match list {
            Ok(listed) => groups.extend(listed),
            Err(GroupError::NotCoordinator) => {}
            Err(error) => {
                response.error_code = errors::of_group(error).code();
                return response;
            }
        }
    }
    groups.sort_by(|one, other| one.group_id.cmp(&other.group_id));
    for group in groups {
        let mut told = ListedGroup::default();
        told.group_id = wire(group.group_id);
        told.protocol_type = wire(group.protocol_type);
        told.group_state = wire(group.state.name().to_owned());
        told.group_type = wire(GROUP_TYPE.to_owned());
        response.groups.push(told);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::GroupState;
    use crate::protocol;

    #[test]
    fn lists_of_all_coordinators_are_one() {
        let list = |group_id: &str| {
            Ok(vec![Listed {
                group_id: group_id.to_owned(),
                protocol_type: "consumer".to_owned(),
                state: GroupState::Empty,
            }])
        };
        let gone = Err(GroupError::NotCoordinator);
        let response = respond(vec![list("b"), gone, Ok(Vec::new()), list("a")]);
        for version in 0..=5 {
            let bytes = protocol::encode(&response, version).unwrap();
            let read: ListGroupsResponse = protocol::decode_response(bytes, version).unwrap();
            let ids: Vec<&str> = read
                .groups
                .iter()
                .map(|group| group.group_id.as_str())
                .collect();
            assert_eq!(ids, ["a", "b"]);
            let state = if version >= 4 { "Empty" } else { "" };
            assert_eq!(read.groups[0].group_state.as_str(), state);
        }
        let loading = respond(vec![list("b"), Err(GroupError::LoadInProgress)]);
        assert_eq!((loading.error_code, loading.groups.len()), (14, 0));
    }
}
