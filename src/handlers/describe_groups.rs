//! DescribeGroups (key 15), versions 0 to 6.

use std::rc::Rc;

use futures_util::future::join_all;

use super::groups::{ask, mismatched, nullable, wire};
use super::{Client, errors};
use crate::coordinator::{
    DescribeRequest, DescribedGroup as Described, GroupError, GroupState, Request, Response,
};
use crate::protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::DescribeGroups, 0, 6);

/// The first version that has an error for a group that is not there; before, it is dead.
const UNKNOWN_GROUP_FROM: i16 = 6;
/// Authorised operations are not told unless they are asked for.
const OPERATIONS_NOT_TOLD: i32 = i32::MIN;
/// What may be done with a group where nothing is forbidden: the bits of READ, DELETE, DESCRIBE,
/// DESCRIBE_CONFIGS and ALTER_CONFIGS (KIP-430).
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub(super) async fn handle(
    client: &Rc<Client>,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let groups = request.groups.iter().map(|group| group.as_str());
    let described = join_all(groups.clone().map(|group_id| describe(client, group_id))).await;
    let mut response = DescribeGroupsResponse::default();
    for (group_id, described) in groups.zip(described) {
        let mut group = respond(group_id, described, version);
        if request.include_authorized_operations && group.error_code == ErrorCode::None.code() {
            group.authorized_operations = GROUP_OPERATIONS;
        }
        response.groups.push(group);
    }
    response
}

async fn describe(client: &Rc<Client>, group_id: &str) -> Result<Described, GroupError> {
    let asked = DescribeRequest {
        group_id: group_id.to_owned(),
    };
    match ask(client, group_id, Request::Describe(asked)).await {
        Ok(Response::Describe(described)) => described,
        Ok(other) => mismatched(&other),
        Err(error) => Err(error),
    }
}

fn respond(
    group_id: &str,
    described: Result<Described, GroupError>,
    version: i16,
) -> DescribedGroup {
    let mut group = DescribedGroup::default();
    group.group_id = wire(group_id.to_owned());
    group.authorized_operations = OPERATIONS_NOT_TOLD;
    match described {
        Ok(described) => {
            group.group_state = wire(described.state.name().to_owned());
            group.protocol_type = wire(described.protocol_type);
            group.protocol_data = wire(described.protocol_name);
            for member in described.members {
                let mut told = DescribedGroupMember::default();
                told.member_id = wire(member.member_id);
                told.group_instance_id = nullable(member.group_instance_id);
                told.client_id = wire(member.client_id);
                told.client_host = wire(member.client_host);
                told.member_metadata = member.metadata;
                told.member_assignment = member.assignment;
                group.members.push(told);
            }
        }
        Err(GroupError::GroupIdNotFound) => {
            group.group_state = wire(GroupState::Dead.name().to_owned());
            if version >= UNKNOWN_GROUP_FROM {
                group.error_code = ErrorCode::GroupIdNotFound.code();
                group.error_message = Some(wire(format!("Group {group_id} not found.")));
            }
        }
        Err(error) => group.error_code = errors::of_group(error).code(),
    }
    group
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::coordinator::DescribedMember;
    use crate::protocol;

    fn stable() -> Described {
        Described {
            state: GroupState::Stable,
            protocol_type: "consumer".to_owned(),
            protocol_name: "range".to_owned(),
            members: vec![DescribedMember {
                member_id: "m".to_owned(),
                group_instance_id: Some("i".to_owned()),
                client_id: "c".to_owned(),
                client_host: "/127.0.0.1".to_owned(),
                metadata: Bytes::from_static(b"meta"),
                assignment: Bytes::from_static(b"work"),
            }],
        }
    }

    #[test]
    fn every_version_can_say_every_answer() {
        for version in 0..=6 {
            let answers = [
                (Ok(stable()), "Stable", 0),
                (
                    Err(GroupError::GroupIdNotFound),
                    "Dead",
                    if version < 6 { 0 } else { 69 },
                ),
                (Err(GroupError::LoadInProgress), "", 14),
            ];
            for (answer, state, code) in answers {
                let mut response = DescribeGroupsResponse::default();
                response.groups.push(respond("g", answer, version));
                let bytes = protocol::encode(&response, version).unwrap();
                let read: DescribeGroupsResponse =
                    protocol::decode_response(bytes, version).unwrap();
                assert_eq!(read.groups[0].group_state.as_str(), state);
                assert_eq!(read.groups[0].error_code, code, "{version}");
                assert_eq!(read.groups[0].authorized_operations, OPERATIONS_NOT_TOLD);
            }
        }
    }
}
