//! DescribeCluster (key 60), versions 0 to 2.

use std::rc::Rc;

use super::Client;
use super::metadata::{CLUSTER_OPERATIONS, OPERATIONS_NOT_TOLD};
use crate::protocol::messages::describe_cluster_response::DescribeClusterBroker;
use crate::protocol::messages::{DescribeClusterRequest, DescribeClusterResponse, StrBytes};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};
use crate::shard::Advertised;

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::DescribeCluster, 0, 2);

/// The endpoints of brokers, which all listeners here are.
const BROKERS: i8 = 1;
/// The endpoints of controllers, which are not open.
const CONTROLLERS: i8 = 2;

pub(super) async fn handle(
    client: &Rc<Client>,
    request: DescribeClusterRequest,
    _version: i16,
) -> DescribeClusterResponse {
    let mut response = DescribeClusterResponse::default();
    response.cluster_authorized_operations = OPERATIONS_NOT_TOLD;
    if let Some((error, message)) = wrong_endpoint(request.endpoint_type) {
        response.error_code = error.code();
        response.error_message = Some(StrBytes::from(message));
        return response;
    }
    let rack = client.shard.config().rack.clone();
    let told = |broker: Advertised| {
        let mut told = DescribeClusterBroker::default();
        told.broker_id = broker.id.0;
        told.host = StrBytes::from(broker.host.to_string());
        told.port = i32::from(broker.port);
        told.rack = rack.as_ref().map(|rack| StrBytes::from(rack.to_string()));
        told
    };
    response.endpoint_type = BROKERS;
    response.cluster_id = StrBytes::from(client.shard.cluster_id().to_string());
    response.controller_id = client.shard.advertised(client.listener, None).id.0;
    let brokers = client.shard.brokers(client.listener);
    response.brokers = brokers.into_iter().map(told).collect();
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

fn wrong_endpoint(asked: i8) -> Option<(ErrorCode, &'static str)> {
    match asked {
        BROKERS => None,
        CONTROLLERS => Some((
            ErrorCode::MismatchedEndpointType,
            "The request was sent to a broker and asks for controllers.",
        )),
        _ => Some((
            ErrorCode::UnsupportedEndpointType,
            "There are no endpoints of that type.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brokers_are_described() {
        let check = |asked, expected| {
            assert_eq!(
                wrong_endpoint(asked).map(|(error, _)| error),
                expected,
                "{asked}"
            );
        };
        check(1, None);
        check(2, Some(ErrorCode::MismatchedEndpointType));
        check(0, Some(ErrorCode::UnsupportedEndpointType));
    }
}
