//! FindCoordinator (key 10), versions 0 to 6.
//!
//! Every group's coordinator is on this node: the broker that leads its offsets partition. The
//! offsets topic is made when the first client looks for its coordinator. There are no transactions
//! yet, and no share groups: looking for their coordinators is refused at once, so that a client
//! fails instead of waiting. For a transactional id that takes
//! TRANSACTIONAL_ID_AUTHORIZATION_FAILED: it is the one error that both Kafka's client and
//! librdkafka, which retries any other, take for the end.

use std::rc::Rc;

use super::groups::{offsets_partition, wire};
use super::{Client, errors, offsets_topic};
use crate::controller::RefusedReason;
use crate::model::OFFSETS_TOPIC;
use crate::protocol::messages::find_coordinator_response::Coordinator;
use crate::protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse, StrBytes};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};
use crate::shard::Advertised;

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::FindCoordinator, 0, 6);

/// The key type of consumer groups; the only one before version 1.
const GROUP_KEY_TYPE: i8 = 0;
/// The key type of transactional ids.
const TRANSACTION_KEY_TYPE: i8 = 1;
/// The first version that asks for many keys.
const MANY_KEYS_FROM: i16 = 4;

pub(super) async fn handle(
    client: &Rc<Client>,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let refused = match request.key_type {
        TRANSACTION_KEY_TYPE if version >= 1 => Some(ErrorCode::TransactionalIdAuthorizationFailed),
        GROUP_KEY_TYPE => make_offsets_topic(client).await.err(),
        _ => Some(ErrorCode::InvalidRequest),
    };
    respond(&request, version, |group_id| match refused {
        Some(error) => Err(error),
        None => {
            let partition = offsets_partition(client, group_id);
            Ok(client.shard.advertised(client.listener, partition))
        }
    })
}

/// Makes sure that the offsets topic is there, on every core.
async fn make_offsets_topic(client: &Rc<Client>) -> Result<(), ErrorCode> {
    if client.shard.topic_by_name(OFFSETS_TOPIC).is_some() {
        return Ok(());
    }
    let topic = offsets_topic(&client.shard.config());
    let made = client.shard.create_topics(vec![topic], false).await;
    match made.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        // Another client was faster.
        Some(Err(refused)) if refused.reason == RefusedReason::TopicExists => Ok(()),
        Some(Err(refused)) => {
            let error = errors::of_refused(refused.reason);
            tracing::error!("{OFFSETS_TOPIC} cannot be made: {error:?}");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
        None => Err(ErrorCode::CoordinatorNotAvailable),
    }
}

/// `find` gives the broker of one group.
fn respond(
    request: &FindCoordinatorRequest,
    version: i16,
    find: impl Fn(&str) -> Result<Advertised, ErrorCode>,
) -> FindCoordinatorResponse {
    let found = |key: &StrBytes| match find(key.as_str()) {
        Ok(broker) => {
            let host = wire(broker.host.to_string());
            (host, i32::from(broker.port), broker.id.0, ErrorCode::None)
        }
        Err(error) => (StrBytes::from(String::new()), -1, -1, error),
    };
    let mut response = FindCoordinatorResponse::default();
    if version < MANY_KEYS_FROM {
        let (host, port, node_id, error) = found(&request.key);
        response.error_code = error.code();
        // Kafka's own words for no error are the error's name.
        let message = match error {
            ErrorCode::None => error.name(),
            _ => error.message(),
        };
        response.error_message = (version >= 1).then(|| wire(message.to_owned()));
        response.node_id = node_id;
        response.host = host;
        response.port = port;
        return response;
    }
    for key in &request.coordinator_keys {
        let (host, port, node_id, error) = found(key);
        let mut coordinator = Coordinator::default();
        coordinator.key = key.clone();
        coordinator.node_id = node_id;
        coordinator.host = host;
        coordinator.port = port;
        coordinator.error_code = error.code();
        coordinator.error_message = Some(match error {
            ErrorCode::None => StrBytes::from(String::new()),
            _ => wire(error.message().to_owned()),
        });
        response.coordinators.push(coordinator);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::NodeId;
    use crate::protocol;

    fn broker() -> Advertised {
        Advertised {
            id: NodeId(7),
            host: Arc::from("h"),
            port: 9092,
        }
    }

    #[test]
    fn every_version_can_say_what_was_found() {
        let mut request = FindCoordinatorRequest::default();
        request.coordinator_keys = vec![wire("a".to_owned()), wire("b".to_owned())];
        for version in 0..=6 {
            for found in [Ok(broker()), Err(ErrorCode::InvalidRequest)] {
                let response = respond(&request, version, |_| found.clone());
                let bytes = protocol::encode(&response, version).unwrap();
                let read: FindCoordinatorResponse =
                    protocol::decode_response(bytes, version).unwrap();
                let codes: Vec<i16> = if version < 4 {
                    vec![read.error_code]
                } else {
                    read.coordinators
                        .iter()
                        .map(|found| found.error_code)
                        .collect()
                };
                let expected = found.as_ref().err().map_or(0, |error| error.code());
                assert!(codes.iter().all(|code| *code == expected), "{version}");
                assert_eq!(codes.len(), if version < 4 { 1 } else { 2 });
            }
        }
    }
}
