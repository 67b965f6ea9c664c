//! DescribeGroups (key 15), versions 0 to 6.

use std::collections::HashSet;
use std::rc::Rc;

use super::groups::{Room, ask, mismatched, nullable, wire};
use super::{Client, errors};
use crate::coordinator::{
    DescribeRequest, DescribedGroup as Described, DescribedMember, GroupError, GroupState, Request,
    Response,
};
use crate::io;
use crate::limits::GROUPS_TOLD_BYTES_MAX;
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
    let describe = |group_id| describe(client, group_id);
    let mut response = DescribeGroupsResponse::default();
    response.groups = describe_all(groups, version, GROUPS_TOLD_BYTES_MAX, describe).await;
    if request.include_authorized_operations {
        for group in &mut response.groups {
            if group.error_code == ErrorCode::None.code() {
                group.authorized_operations = GROUP_OPERATIONS;
            }
        }
    }
    response
}

/// One group after the other, so that no more than one stands beside the answer. A group that is
/// named twice is answered once: clients look for a group by its name.
async fn describe_all<'a, D: Future<Output = Result<Described, GroupError>>>(
    groups: impl Iterator<Item = &'a str>,
    version: i16,
    bytes_max: usize,
    describe: impl Fn(&'a str) -> D,
) -> Vec<DescribedGroup> {
    let mut room = Room::new(bytes_max);
    let mut known = HashSet::new();
    let mut answers = Vec::new();
    for group_id in groups.filter(|group_id| known.insert(*group_id)) {
        let described = match room.is_full() {
            true => Err(GroupError::NotAvailable),
            false => describe(group_id).await.and_then(|described| {
                let bytes = size_bytes(&described);
                room.take(described, bytes)
            }),
        };
        answers.push(respond(group_id, described, version));
    }
    answers
}

/// About what a group takes in the answer.
fn size_bytes(described: &Described) -> usize {
    let of = |member: &DescribedMember| {
        size_of::<DescribedGroupMember>()
            + member.member_id.len()
            + member.group_instance_id.as_ref().map_or(0, String::len)
            + member.client_id.len()
            + member.client_host.len()
            + member.metadata.len()
            + member.assignment.len()
    };
    described.members.iter().map(of).sum()
}

async fn describe(client: &Rc<Client>, group_id: &str) -> Result<Described, GroupError> {
    let asked = DescribeRequest {
        group_id: group_id.to_owned(),
    };
    // Many groups of this core are answered without waiting once; it has other work.
    io::yield_now().await;
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
        Err(error) => {
            group.error_code = errors::of_group(error).code();
            if error == GroupError::NotAvailable && version >= UNKNOWN_GROUP_FROM {
                let message = "The answer would be too large; ask again for this group.";
                group.error_message = Some(wire(message.to_owned()));
            }
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;
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
    fn an_answer_is_bounded_whatever_is_asked() {
        let check =
            |groups: &[&str], room_for: usize, codes: &[(&str, i16)], asked_for: &[&str]| {
                let asked = RefCell::new(Vec::new());
                let describe = |group_id: &str| {
                    asked.borrow_mut().push(group_id.to_owned());
                    std::future::ready(Ok(stable()))
                };
                let bytes_max = room_for * size_bytes(&stable());
                let told = describe_all(groups.iter().copied(), 6, bytes_max, describe);
                let told = told.now_or_never().expect("nothing to wait for");
                let told = told
                    .iter()
                    .map(|one| (one.group_id.as_str(), one.error_code));
                assert_eq!(told.collect::<Vec<_>>(), codes);
                assert_eq!(*asked.borrow(), asked_for);
            };
        let again = ErrorCode::CoordinatorNotAvailable.code();
        check(&["a", "b"], 2, &[("a", 0), ("b", 0)], &["a", "b"]);
        check(&["a"; 1000], 1, &[("a", 0)], &["a"]);
        let cut = [("a", 0), ("b", again), ("c", again)];
        check(&["a", "b", "c"], 1, &cut, &["a", "b"]);
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
