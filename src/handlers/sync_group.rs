//! SyncGroup (key 14), versions 0 to 5.

use std::rc::Rc;

use bytes::Bytes;

use super::groups::{ask, mismatched, nullable, owned};
use super::{Client, errors};
use crate::coordinator::{GroupError, Request, Response, SyncRequest, SyncResponse};
use crate::protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::SyncGroup, 0, 5);

/// The first version in which members say which protocol they believe in (KIP-559).
const PROTOCOL_FROM: i16 = 5;

pub(super) async fn handle(
    client: &Rc<Client>,
    request: SyncGroupRequest,
    version: i16,
) -> SyncGroupResponse {
    let has_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if version >= PROTOCOL_FROM && !has_protocol {
        return respond(Err(GroupError::InconsistentProtocol));
    }
    let asked = sync_request(&request);
    match ask(client, request.group_id.as_str(), Request::Sync(asked)).await {
        Ok(Response::Sync(answer)) => respond(Ok(answer)),
        Ok(other) => mismatched(&other),
        Err(error) => respond(Err(error)),
    }
}

fn sync_request(request: &SyncGroupRequest) -> SyncRequest {
    let assignments = request.assignments.iter().map(|given| {
        let assignment = Bytes::copy_from_slice(&given.assignment);
        (given.member_id.as_str().to_owned(), assignment)
    });
    SyncRequest {
        group_id: request.group_id.as_str().to_owned(),
        generation: request.generation_id,
        member_id: request.member_id.as_str().to_owned(),
        group_instance_id: owned(&request.group_instance_id),
        protocol_type: owned(&request.protocol_type),
        protocol_name: owned(&request.protocol_name),
        assignments: assignments.collect(),
    }
}

fn respond(answer: Result<SyncResponse, GroupError>) -> SyncGroupResponse {
    let mut response = SyncGroupResponse::default();
    match answer {
        Ok(answer) => {
            response.error_code = answer
                .error
                .map_or(ErrorCode::None, errors::of_group)
                .code();
            response.protocol_type = nullable(answer.protocol_type);
            response.protocol_name = nullable(answer.protocol_name);
            response.assignment = answer.assignment;
        }
        Err(error) => response.error_code = errors::of_group(error).code(),
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol;

    #[test]
    fn every_version_can_say_every_answer() {
        let synced = SyncResponse {
            error: None,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignment: Bytes::from_static(b"work"),
        };
        for version in 0..=5 {
            let response = respond(Ok(synced.clone()));
            let bytes = protocol::encode(&response, version).unwrap();
            let read: SyncGroupResponse = protocol::decode_response(bytes, version).unwrap();
            assert_eq!(read.assignment, synced.assignment);
            let response = respond(Err(GroupError::RebalanceInProgress));
            let bytes = protocol::encode(&response, version).unwrap();
            let read: SyncGroupResponse = protocol::decode_response(bytes, version).unwrap();
            assert_eq!(read.error_code, ErrorCode::RebalanceInProgress.code());
        }
    }
}
