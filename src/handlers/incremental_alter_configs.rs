//! IncrementalAlterConfigs (key 44), versions 0 and 1.

use std::rc::Rc;

use super::configs::{self, BadResource, Resource};
use super::{Client, errors};
use crate::config::{self, AlterOp, Alteration, BrokerIds, SharedConfig};
use crate::controller::{ConfigChange, ConfigOwner};
use crate::protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use crate::protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use crate::protocol::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, StrBytes,
};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::IncrementalAlterConfigs, 0, 1);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: IncrementalAlterConfigsRequest,
    _version: i16,
) -> IncrementalAlterConfigsResponse {
    let config = client.shard.config();
    let brokers = client.shard.broker_ids();
    let mut response = IncrementalAlterConfigsResponse::default();
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
        let bad = match once {
            true => match change(resource, &config, brokers) {
                Ok(change) => {
                    places.push(response.responses.len());
                    changes.push(change);
                    None
                }
                Err(bad) => Some(bad),
            },
            false => Some(invalid(configs::STANDS_TWICE)),
        };
        if let Some(bad) = bad {
            answer.error_code = bad.error.code();
            answer.error_message = Some(StrBytes::from(bad.message));
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

fn invalid(message: &str) -> BadResource {
    BadResource {
        error: ErrorCode::InvalidRequest,
        message: message.to_owned(),
    }
}

/// The change of one resource, to be decided where its configurations are current.
fn change(
    resource: &AlterConfigsResource,
    config: &SharedConfig,
    brokers: BrokerIds,
) -> Result<(ConfigOwner, ConfigChange), BadResource> {
    let name = resource.resource_name.as_str();
    let whose = Resource::of(resource.resource_type, name, brokers)?;
    let asked = alterations(resource)?;
    let config = config.clone();
    Ok(match whose {
        Resource::Topic(name) => {
            let (owner, internal) = (ConfigOwner::Topic(name.to_string()), name.is_internal());
            let change: ConfigChange = Box::new(move |current| {
                config::alter_topic(&config, current, &asked, internal).map_err(configs::refused)
            });
            (owner, change)
        }
        Resource::Broker(scope) => {
            let owner = ConfigOwner::Broker(scope.node(config.node_id));
            let change: ConfigChange = Box::new(move |current| {
                config::alter_broker(&config, scope, current, &asked).map_err(configs::refused)
            });
            (owner, change)
        }
    })
}

fn alterations(resource: &AlterConfigsResource) -> Result<Vec<Alteration>, BadResource> {
    let one =
        |set: &crate::protocol::messages::incremental_alter_configs_request::AlterableConfig| {
            let op = AlterOp::from_wire(set.config_operation);
            Ok(Alteration {
                name: set.name.as_str().to_owned(),
                op: op.ok_or_else(|| {
                    invalid("An operation is none of SET, DELETE, APPEND, SUBTRACT.")
                })?,
                value: set.value.as_ref().map(|value| value.as_str().to_owned()),
            })
        };
    resource.configs.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::messages::incremental_alter_configs_request::AlterableConfig;

    fn check(operation: i8, expected: Option<AlterOp>) {
        let mut set = AlterableConfig::default();
        set.config_operation = operation;
        let mut resource = AlterConfigsResource::default();
        resource.configs = vec![set];
        let found = alterations(&resource).ok().map(|all| all[0].op);
        assert_eq!(found, expected, "{operation}");
    }

    #[test]
    fn operations_have_kafkas_numbers() {
        check(0, Some(AlterOp::Set));
        check(1, Some(AlterOp::Delete));
        check(2, Some(AlterOp::Append));
        check(3, Some(AlterOp::Subtract));
        check(4, None);
        check(-1, None);
    }
}
