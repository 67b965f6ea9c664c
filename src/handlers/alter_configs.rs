//! AlterConfigs (key 33), versions 0 to 2.
//!
//! The whole set of a resource's configurations: what is not named goes back to its default.

use std::rc::Rc;

use super::configs::{self, Resource};
use super::{Client, errors};
use crate::config::{self, SharedConfig};
use crate::controller::{ConfigChange, ConfigOwner};
use crate::protocol::messages::alter_configs_request::AlterConfigsResource;
use crate::protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use crate::protocol::messages::{AlterConfigsRequest, AlterConfigsResponse, StrBytes};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::AlterConfigs, 0, 2);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: AlterConfigsRequest,
    _version: i16,
) -> AlterConfigsResponse {
    let config = client.shard.config();
    let brokers = client.shard.broker_ids();
    let mut response = AlterConfigsResponse::default();
    let names = request
        .resources
        .iter()
        .map(|one| (one.resource_type, one.resource_name.as_str()));
    let (mut changes, mut places) = (Vec::new(), Vec::new());
    for (resource, once) in request.resources.iter().zip(configs::stand_once(names)) {
        let mut answer = AlterConfigsResourceResponse::default();
        answer.resource_type = resource.resource_type;
        answer.resource_name = resource.resource_name.clone();
        answer.error_message = None;
        let name = resource.resource_name.as_str();
        match Resource::of(resource.resource_type, name, brokers) {
            _ if !once => {
                answer.error_code = ErrorCode::InvalidRequest.code();
                answer.error_message = Some(StrBytes::from(configs::STANDS_TWICE));
            }
            Ok(whose) => {
                places.push(response.responses.len());
                changes.push(change(whose, resource, &config));
            }
            Err(bad) => {
                answer.error_code = bad.error.code();
                answer.error_message = Some(StrBytes::from(bad.message));
            }
        }
        response.responses.push(answer);
    }
    let results = client.shard.configure(changes, request.validate_only).await;
    for (place, result) in places.into_iter().zip(results) {
        if let Err(refused) = result {
            let answer = &mut response.responses[place];
            answer.error_code = errors::of_refused(refused.reason).code();
            answer.error_message = Some(StrBytes::from(refused.message));
        }
    }
    response
}

/// The change of one resource, to be decided where its configurations are current.
fn change(
    whose: Resource,
    resource: &AlterConfigsResource,
    config: &SharedConfig,
) -> (ConfigOwner, ConfigChange) {
    let text = |text: &StrBytes| text.as_str().to_owned();
    let asked: Vec<_> = resource
        .configs
        .iter()
        .map(|set| (text(&set.name), set.value.as_ref().map(text)))
        .collect();
    let config = config.clone();
    match whose {
        Resource::Topic(name) => {
            let (owner, internal) = (ConfigOwner::Topic(name.to_string()), name.is_internal());
            let change: ConfigChange = Box::new(move |current| {
                config::replace_topic(&config, current, &asked, internal).map_err(configs::refused)
            });
            (owner, change)
        }
        Resource::Broker(scope) => {
            let owner = ConfigOwner::Broker(scope.node(config.node_id));
            let change: ConfigChange = Box::new(move |current| {
                config::replace_broker(&config, scope, current, &asked).map_err(configs::refused)
            });
            (owner, change)
        }
    }
}
