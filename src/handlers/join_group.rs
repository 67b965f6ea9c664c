//! JoinGroup (key 11), versions 0 to 9.

use std::rc::Rc;

use bytes::Bytes;

use super::groups::{ask, java_address, mismatched, nullable, owned, wire};
use super::registry::{Malformed, Request};
use super::{Client, Reply, errors};
use crate::coordinator::{self, GroupError, JoinRequest, JoinResponse, Response};
use crate::io;
use crate::protocol::messages::join_group_response::JoinGroupResponseMember;
use crate::protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use crate::protocol::{self, ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::JoinGroup, 0, 9);

/// The first version with a rebalance timeout of its own.
const REBALANCE_TIMEOUT_FROM: i16 = 1;
/// The first version in which a new member comes back with the id that it is given (KIP-394).
const KNOWN_MEMBER_ID_FROM: i16 = 4;
/// The first version in which protocol type and name may be null.
const NULL_PROTOCOL_FROM: i16 = 7;
/// The first version that tells a leader to skip the assignment (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;

pub(super) async fn handle(client: Rc<Client>, request: Request) -> Result<Reply, Malformed> {
    let version = request.header.version;
    let decoded: JoinGroupRequest = protocol::decode(request.body.clone(), version)?;
    let client_id = owned(&request.header.client_id).unwrap_or_default();
    let host = java_address(client.peer.ip());
    let asked = join_request(&decoded, version, client_id, host, io::random_bytes());
    let group_id = asked.group_id.clone();
    let answer = match ask(&client, &group_id, coordinator::Request::Join(asked)).await {
        Ok(Response::Join(answer)) => answer,
        Ok(other) => mismatched(&other),
        Err(error) => refused(error, decoded.member_id.as_str()),
    };
    let body = protocol::encode(&respond(answer, version), version)?;
    Ok(Reply::Now(request.respond(vec![body])?))
}

fn join_request(
    request: &JoinGroupRequest,
    version: i16,
    client_id: String,
    client_host: String,
    fresh_uuid: [u8; 16],
) -> JoinRequest {
    let protocols = request.protocols.iter().map(|protocol| {
        let metadata = Bytes::copy_from_slice(&protocol.metadata);
        (protocol.name.as_str().to_owned(), metadata)
    });
    JoinRequest {
        group_id: request.group_id.as_str().to_owned(),
        member_id: request.member_id.as_str().to_owned(),
        group_instance_id: owned(&request.group_instance_id),
        client_id,
        client_host,
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if version >= REBALANCE_TIMEOUT_FROM {
            request.rebalance_timeout_ms
        } else {
            request.session_timeout_ms
        },
        protocol_type: request.protocol_type.as_str().to_owned(),
        protocols: protocols.collect(),
        requires_known_member_id: version >= KNOWN_MEMBER_ID_FROM,
        supports_skip_assignment: version >= SKIP_ASSIGNMENT_FROM,
        fresh_uuid,
    }
}

fn refused(error: GroupError, member_id: &str) -> JoinResponse {
    JoinResponse {
        error: Some(error),
        generation: -1,
        protocol_type: None,
        protocol_name: None,
        leader: String::new(),
        skip_assignment: false,
        member_id: member_id.to_owned(),
        members: Vec::new(),
    }
}

fn respond(answer: JoinResponse, version: i16) -> JoinGroupResponse {
    let mut response = JoinGroupResponse::default();
    response.error_code = answer
        .error
        .map_or(ErrorCode::None, errors::of_group)
        .code();
    response.generation_id = answer.generation;
    response.protocol_type = nullable(answer.protocol_type);
    let name = answer.protocol_name;
    response.protocol_name = nullable(if version < NULL_PROTOCOL_FROM {
        Some(name.unwrap_or_default())
    } else {
        name
    });
    response.leader = wire(answer.leader);
    response.skip_assignment = answer.skip_assignment;
    response.member_id = wire(answer.member_id);
    for member in answer.members {
        let mut told = JoinGroupResponseMember::default();
        told.member_id = wire(member.member_id);
        told.group_instance_id = nullable(member.group_instance_id);
        told.metadata = member.metadata;
        response.members.push(told);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::JoinedMember;

    #[test]
    fn versions_differ_in_what_they_ask() {
        let mut request = JoinGroupRequest::default();
        request.session_timeout_ms = 10;
        request.rebalance_timeout_ms = 20;
        let ask = |version| join_request(&request, version, String::new(), String::new(), [0; 16]);
        let timeouts: Vec<i32> = [0, 1]
            .map(|version| ask(version).rebalance_timeout_ms)
            .into();
        assert_eq!(timeouts, [10, 20]);
        assert_eq!(
            [3, 4].map(|version| ask(version).requires_known_member_id),
            [false, true]
        );
        assert_eq!(
            [8, 9].map(|version| ask(version).supports_skip_assignment),
            [false, true]
        );
    }

    #[test]
    fn every_version_can_say_every_answer() {
        let joined = JoinResponse {
            error: None,
            generation: 3,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            leader: "m".to_owned(),
            skip_assignment: false,
            member_id: "m".to_owned(),
            members: vec![JoinedMember {
                member_id: "m".to_owned(),
                group_instance_id: Some("i".to_owned()),
                metadata: Bytes::from_static(b"meta"),
            }],
        };
        for version in 0..=9 {
            let answers = [joined.clone(), refused(GroupError::MemberIdRequired, "new")];
            for answer in answers {
                let response = respond(answer.clone(), version);
                let bytes = protocol::encode(&response, version).unwrap();
                let read: JoinGroupResponse = protocol::decode_response(bytes, version).unwrap();
                assert_eq!(read.generation_id, answer.generation, "{version}");
                assert_eq!(read.members.len(), answer.members.len());
                assert_eq!(read.error_code != 0, answer.error.is_some());
            }
        }
    }
}
