//! LeaveGroup (key 13), versions 0 to 5.

use std::rc::Rc;

use super::groups::{ask, mismatched, nullable, owned, wire};
use super::{Client, errors};
use crate::coordinator::{GroupError, LeaveRequest, LeavingMember, LeftMember, Request, Response};
use crate::protocol::messages::leave_group_response::MemberResponse;
use crate::protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::LeaveGroup, 0, 5);

/// The first version that carries many members.
const MANY_MEMBERS_FROM: i16 = 3;

pub(super) async fn handle(
    client: &Rc<Client>,
    request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    let asked = leave_request(&request, version);
    let answer = ask(client, request.group_id.as_str(), Request::Leave(asked)).await;
    let left = match answer {
        Ok(Response::Leave(left)) => left,
        Ok(other) => mismatched(&other),
        Err(error) => Err(error),
    };
    respond(left, version)
}

fn leave_request(request: &LeaveGroupRequest, version: i16) -> LeaveRequest {
    let members = if version < MANY_MEMBERS_FROM {
        vec![LeavingMember {
            member_id: request.member_id.as_str().to_owned(),
            group_instance_id: None,
        }]
    } else {
        let members = request.members.iter().map(|member| LeavingMember {
            member_id: member.member_id.as_str().to_owned(),
            group_instance_id: owned(&member.group_instance_id),
        });
        members.collect()
    };
    LeaveRequest {
        group_id: request.group_id.as_str().to_owned(),
        members,
    }
}

fn respond(left: Result<Vec<LeftMember>, GroupError>, version: i16) -> LeaveGroupResponse {
    let mut response = LeaveGroupResponse::default();
    let left = match left {
        Ok(left) => left,
        Err(error) => {
            response.error_code = errors::of_group(error).code();
            return response;
        }
    };
    let code = |error: Option<GroupError>| error.map_or(ErrorCode::None, errors::of_group).code();
    if version < MANY_MEMBERS_FROM {
        response.error_code = code(left.first().and_then(|one| one.error));
        return response;
    }
    for one in left {
        let mut member = MemberResponse::default();
        member.member_id = wire(one.member.member_id);
        member.group_instance_id = nullable(one.member.group_instance_id);
        member.error_code = code(one.error);
        response.members.push(member);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol;

    #[test]
    fn one_member_is_answered_at_the_top_and_many_by_themselves() {
        let left = LeftMember {
            member: LeavingMember {
                member_id: "m".to_owned(),
                group_instance_id: Some("i".to_owned()),
            },
            error: Some(GroupError::UnknownMember),
        };
        let unknown = ErrorCode::UnknownMemberId.code();
        for version in 0..=5 {
            let response = respond(Ok(vec![left.clone()]), version);
            let bytes = protocol::encode(&response, version).unwrap();
            let read: LeaveGroupResponse = protocol::decode_response(bytes, version).unwrap();
            if version < MANY_MEMBERS_FROM {
                assert_eq!(read.error_code, unknown);
            } else {
                assert_eq!((read.error_code, read.members[0].error_code), (0, unknown));
            }
            let response = respond(Err(GroupError::NotCoordinator), version);
            assert_eq!(response.error_code, ErrorCode::NotCoordinator.code());
            protocol::encode(&response, version).unwrap();
        }
    }

    #[test]
    fn old_versions_name_one_member() {
        let mut request = LeaveGroupRequest::default();
        request.member_id = wire("m".to_owned());
        let asked = leave_request(&request, 2);
        assert_eq!(asked.members[0].member_id, "m");
        assert_eq!(leave_request(&request, 3).members, []);
    }
}
