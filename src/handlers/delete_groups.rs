//! DeleteGroups (key 42), versions 0 to 2.

use std::collections::HashSet;
use std::rc::Rc;

use futures_util::future::join_all;

use super::groups::{ask, mismatched, wire};
use super::{Client, errors};
use crate::coordinator::{DeleteGroupRequest, GroupError, Request, Response};
use crate::protocol::messages::delete_groups_response::DeletableGroupResult;
use crate::protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::DeleteGroups, 0, 2);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: DeleteGroupsRequest,
    _version: i16,
) -> DeleteGroupsResponse {
    let mut told_once = HashSet::new();
    let names = request.groups_names.iter().map(|name| name.as_str());
    let names: Vec<&str> = names.filter(|name| told_once.insert(*name)).collect();
    let results = join_all(names.iter().map(|name| delete(client, name))).await;
    let mut response = DeleteGroupsResponse::default();
    for (name, result) in names.into_iter().zip(results) {
        let mut told = DeletableGroupResult::default();
        told.group_id = wire(name.to_owned());
        told.error_code = result
            .err()
            .map_or(ErrorCode::None, errors::of_group)
            .code();
        response.results.push(told);
    }
    response
}

async fn delete(client: &Rc<Client>, group_id: &str) -> Result<(), GroupError> {
    let asked = DeleteGroupRequest {
        group_id: group_id.to_owned(),
    };
    match ask(client, group_id, Request::DeleteGroup(asked)).await {
        Ok(Response::DeleteGroup(result)) => result,
        Ok(other) => mismatched(&other),
        Err(error) => Err(error),
    }
}
