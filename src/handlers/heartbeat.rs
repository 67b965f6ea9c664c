//! Heartbeat (key 12), versions 0 to 4.

use std::rc::Rc;

use super::groups::{ask, mismatched, owned};
use super::{Client, errors};
use crate::coordinator::{HeartbeatRequest as Asked, Request, Response};
use crate::protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::Heartbeat, 0, 4);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: HeartbeatRequest,
    _version: i16,
) -> HeartbeatResponse {
    let asked = Asked {
        group_id: request.group_id.as_str().to_owned(),
        generation: request.generation_id,
        member_id: request.member_id.as_str().to_owned(),
        group_instance_id: owned(&request.group_instance_id),
    };
    let answer = ask(client, request.group_id.as_str(), Request::Heartbeat(asked)).await;
    let result = match answer {
        Ok(Response::Heartbeat(result)) => result,
        Ok(other) => mismatched(&other),
        Err(error) => Err(error),
    };
    let mut response = HeartbeatResponse::default();
    response.error_code = result
        .err()
        .map_or(ErrorCode::None, errors::of_group)
        .code();
    response
}
