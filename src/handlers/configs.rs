//! What the three APIs of configurations have in common: whose configurations a resource names.

use std::collections::HashMap;

use crate::config::{AlterError, BrokerIds, BrokerScope};
use crate::controller::{Refused, RefusedReason};
use crate::model::{NodeId, TopicName};
use crate::protocol::ErrorCode;

/// The number of the resource type TOPIC.
pub(super) const TOPIC: i8 = 2;
/// The number of the resource type BROKER.
const BROKER: i8 = 4;

/// Whose configurations a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// A topic's. The name is one; whether there is such a topic is not known.
    Topic(TopicName),
    /// This broker's, or all brokers'.
    Broker(BrokerScope),
}

/// Why a resource cannot be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadResource {
    pub(super) error: ErrorCode,
    pub(super) message: String,
}

impl Resource {
    /// The resource of a type and a name.
    pub(super) fn of(kind: i8, name: &str, brokers: BrokerIds) -> Result<Resource, BadResource> {
        match kind {
            TOPIC if name.is_empty() => {
                Err(bad("Default topic resources are not allowed.".to_owned()))
            }
            TOPIC => match TopicName::new(name) {
                Ok(name) => Ok(Resource::Topic(name)),
                Err(_) => Err(BadResource {
                    error: ErrorCode::InvalidTopicException,
                    message: "The name is not that of a topic.".to_owned(),
                }),
            },
            BROKER if name.is_empty() => Ok(Resource::Broker(BrokerScope::ClusterDefault)),
            BROKER => match name.parse::<i32>() {
                // What is set for a virtual broker is set for its node, and so for all of them.
                Ok(id) if brokers.are_of(NodeId(id)) => {
                    Ok(Resource::Broker(BrokerScope::ThisBroker))
                }
                Ok(id) => Err(bad(format!(
                    "Unexpected broker id, expected {} or empty string, but received {id}",
                    brokers.described()
                ))),
                Err(_) => Err(bad(
                    "A broker's name must be its id, a whole number.".to_owned()
                )),
            },
            other => Err(bad(format!(
                "Resources of type {other} have no configurations here; topics ({TOPIC}) and \
                 brokers ({BROKER}) have."
            ))),
        }
    }
}

fn bad(message: String) -> BadResource {
    BadResource {
        error: ErrorCode::InvalidRequest,
        message,
    }
}

/// Which of these resources stand only once, by type and name.
pub(super) fn stand_once<'a>(resources: impl Iterator<Item = (i8, &'a str)> + Clone) -> Vec<bool> {
    let mut counts: HashMap<(i8, &str), usize> = HashMap::new();
    for resource in resources.clone() {
        *counts.entry(resource).or_default() += 1;
    }
    resources.map(|resource| counts[&resource] == 1).collect()
}

/// What a resource that stands more than once is answered.
pub(super) const STANDS_TWICE: &str = "Each resource must appear at most once.";

/// A refusal by the rules of configurations, for the controller.
pub(super) fn refused(error: AlterError) -> Refused {
    let (reason, message) = match error {
        AlterError::InvalidConfig(message) => (RefusedReason::Config, message),
        AlterError::InvalidRequest(message) => (RefusedReason::Request, message),
    };
    Refused { reason, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenerMode;

    fn check(kind: i8, name: &str, expected: Result<Resource, ErrorCode>) {
        let node = BrokerIds::new(ListenerMode::Broker, NodeId(1), 2);
        let found = Resource::of(kind, name, node).map_err(|bad| bad.error);
        assert_eq!(found, expected, "{kind} {name:?}");
    }

    #[test]
    fn a_virtual_broker_has_its_nodes_configurations() {
        let brokers = BrokerIds::new(ListenerMode::Core, NodeId(1), 2);
        let this = Ok(Resource::Broker(BrokerScope::ThisBroker));
        for name in ["1010000", "1010001", "1"] {
            assert_eq!(Resource::of(4, name, brokers), this, "{name}");
        }
        let refused = Resource::of(4, "1010002", brokers).map_err(|bad| bad.message);
        assert_eq!(
            refused,
            Err(
                "Unexpected broker id, expected 1010000 to 1010001 or empty string, but received \
                 1010002"
                    .to_owned()
            )
        );
    }

    #[test]
    fn resources_are_topics_and_brokers() {
        check(
            2,
            "a",
            Ok(Resource::Topic(TopicName::new("a").expect("a name"))),
        );
        check(2, "a b", Err(ErrorCode::InvalidTopicException));
        check(2, "", Err(ErrorCode::InvalidRequest));
        check(4, "", Ok(Resource::Broker(BrokerScope::ClusterDefault)));
        check(4, "1", Ok(Resource::Broker(BrokerScope::ThisBroker)));
        check(4, "2", Err(ErrorCode::InvalidRequest));
        check(4, "x", Err(ErrorCode::InvalidRequest));
        check(8, "1", Err(ErrorCode::InvalidRequest));
        check(0, "", Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn a_resource_that_stands_twice_is_found_each_time() {
        let resources = [(2, "a"), (4, "a"), (2, "b"), (2, "a")];
        assert_eq!(
            stand_once(resources.into_iter()),
            [false, true, true, false]
        );
    }
}
