//! DescribeConfigs (key 32), versions 1 to 4.

use std::rc::Rc;

use super::Client;
use super::configs::{self, BadResource, Resource};
use crate::config::{self, BrokerConfig, BrokerIds, BrokerScope, Described, Overrides};
use crate::io;
use crate::limits::CONFIGS_DESCRIBED_MAX;
use crate::protocol::messages::describe_configs_request::DescribeConfigsResource;
use crate::protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse, StrBytes};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::DescribeConfigs, 1, 4);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: DescribeConfigsRequest,
    _version: i16,
) -> DescribeConfigsResponse {
    let config = client.shard.config();
    let brokers = client.shard.broker_ids();
    let topic = |name: &str| {
        client
            .shard
            .with_image(|image| Some(image.topic_by_name(name)?.configs.clone()))
    };
    let mut response = DescribeConfigsResponse::default();
    let mut configs_count = 0;
    for resource in &request.resources {
        let answer = match configs_count < CONFIGS_DESCRIBED_MAX {
            true => answer(resource, &request, &config, brokers, &topic),
            false => too_many(resource),
        };
        configs_count += answer.configs.len();
        response.results.push(answer);
        // Every configuration of many topics is a long list; the core has other work.
        io::yield_now().await;
    }
    response
}

/// The answer for a resource beyond what one request may ask.
fn too_many(resource: &DescribeConfigsResource) -> DescribeConfigsResult {
    let mut answer = DescribeConfigsResult::default();
    answer.resource_type = resource.resource_type;
    answer.resource_name = resource.resource_name.clone();
    answer.error_code = ErrorCode::InvalidRequest.code();
    answer.error_message = Some(StrBytes::from(format!(
        "One request is answered with {CONFIGS_DESCRIBED_MAX} configurations; ask again for this."
    )));
    answer
}

fn answer(
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
    config: &BrokerConfig,
    brokers: BrokerIds,
    topic: &impl Fn(&str) -> Option<Overrides>,
) -> DescribeConfigsResult {
    let mut answer = DescribeConfigsResult::default();
    answer.resource_type = resource.resource_type;
    answer.resource_name = resource.resource_name.clone();
    match describe(resource, config, brokers, topic) {
        Ok(described) => {
            // No keys are all keys, as null is.
            let keys = resource.configuration_keys.as_deref().unwrap_or_default();
            let wanted = |described: &Described| {
                keys.is_empty() || keys.iter().any(|key| key.as_str() == described.key.name)
            };
            let wanted = described.into_iter().filter(wanted);
            answer.configs = wanted.map(|described| told(described, request)).collect();
        }
        Err(bad) => {
            answer.error_code = bad.error.code();
            answer.error_message = Some(StrBytes::from(bad.message));
        }
    }
    answer
}

fn describe(
    resource: &DescribeConfigsResource,
    config: &BrokerConfig,
    brokers: BrokerIds,
    topic: &impl Fn(&str) -> Option<Overrides>,
) -> Result<Vec<Described>, BadResource> {
    let name = resource.resource_name.as_str();
    if resource.resource_type == configs::TOPIC && name.is_empty() {
        // Those who change configurations mean the default of all topics by it; here it is a name.
        return Err(BadResource {
            error: ErrorCode::InvalidTopicException,
            message: "The name of a topic is not empty.".to_owned(),
        });
    }
    match Resource::of(resource.resource_type, name, brokers)? {
        Resource::Topic(name) => match topic(name.as_str()) {
            Some(overrides) => Ok(config::describe_topic(&config.values, &overrides)),
            None => Err(BadResource {
                error: ErrorCode::UnknownTopicOrPartition,
                // Kafka has no words for it.
                message: String::new(),
            }),
        },
        Resource::Broker(BrokerScope::ThisBroker) => {
            let mut described = config::describe_broker(&config.values);
            for id in described.iter_mut().filter(|one| is_id(one)) {
                // Of a virtual broker it is the id that clients know. What the file says stands
                // among the synonyms.
                id.value = name.parse::<i32>().ok().map(|id| id.to_string());
            }
            Ok(described)
        }
        Resource::Broker(BrokerScope::ClusterDefault) => {
            Ok(config::describe_cluster_default(&config.values))
        }
    }
}

/// Whether a configuration is the id of the broker, and set.
fn is_id(described: &Described) -> bool {
    matches!(described.key.name, "node.id" | "broker.id")
        && described.value.as_deref().is_some_and(|id| id != "-1")
}

fn told(described: Described, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let mut told = DescribeConfigsResourceResult::default();
    told.name = StrBytes::from(described.key.name);
    told.value = described.value.map(StrBytes::from);
    told.read_only = described.is_read_only;
    told.config_source = described.source.wire();
    told.is_sensitive = described.key.is_sensitive();
    told.config_type = described.key.kind.wire();
    told.documentation = request
        .include_documentation
        .then(|| StrBytes::from(config::documentation(described.key)));
    if request.include_synonyms {
        let synonym = |synonym: config::DescribedSynonym| {
            let mut told = DescribeConfigsSynonym::default();
            told.name = StrBytes::from(synonym.name);
            told.value = synonym.value.map(StrBytes::from);
            told.source = synonym.source.wire();
            told
        };
        told.synonyms = described.synonyms.into_iter().map(synonym).collect();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ListenerMode, Sources, load, resolve};

    /// `expected` is how many configurations come, or the error.
    fn check(kind: i8, name: &str, keys: Option<&[&str]>, expected: Result<usize, ErrorCode>) {
        let config = resolve(load(&Sources::default()).expect("good").0).expect("good");
        let mut resource = DescribeConfigsResource::default();
        resource.resource_type = kind;
        resource.resource_name = StrBytes::from(name);
        resource.configuration_keys =
            keys.map(|keys| keys.iter().map(|key| StrBytes::from(*key)).collect());
        let request = DescribeConfigsRequest::default();
        let topic = |name: &str| (name == "known").then(Overrides::new);
        let node = BrokerIds::new(ListenerMode::Broker, config.node_id, 2);
        let found = answer(&resource, &request, &config, node, &topic);
        let found = match found.error_code {
            0 => Ok(found.configs.len()),
            code => Err(code),
        };
        assert_eq!(
            found,
            expected.map_err(ErrorCode::code),
            "{kind} {name:?} {keys:?}"
        );
    }

    #[test]
    fn every_configuration_comes_unless_some_are_named() {
        check(2, "known", None, Ok(config::topic_keys().count()));
        check(2, "known", Some(&["retention.ms", "nonsense"]), Ok(1));
        check(2, "known", Some(&[]), Ok(config::topic_keys().count()));
        check(2, "unknown", None, Err(ErrorCode::UnknownTopicOrPartition));
        check(
            4,
            "1",
            None,
            Ok(config::broker_keys().filter(|key| !key.internal).count()),
        );
        check(2, "", None, Err(ErrorCode::InvalidTopicException));
        check(4, "", None, Ok(0));
        check(4, "2", None, Err(ErrorCode::InvalidRequest));
        check(16, "x", None, Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn a_virtual_broker_has_the_id_that_it_is_asked_by() {
        let config = resolve(load(&Sources::default()).expect("good").0).expect("good");
        let brokers = BrokerIds::new(ListenerMode::Core, config.node_id, 2);
        let mut resource = DescribeConfigsResource::default();
        resource.resource_type = 4;
        for name in ["1010001", "1"] {
            resource.resource_name = StrBytes::from(name);
            let described = describe(&resource, &config, brokers, &|_| None).expect("a broker");
            let id = described.iter().find(|one| one.key.name == "node.id");
            assert_eq!(id.and_then(|id| id.value.as_deref()), Some(name));
        }
    }

    #[test]
    fn synonyms_and_documentation_come_when_they_are_asked_for() {
        let config = resolve(load(&Sources::default()).expect("good").0).expect("good");
        let described = || {
            let all = config::describe_topic(&config.values, &Overrides::new());
            all.into_iter()
                .find(|described| described.key.name == "segment.bytes")
                .expect("it")
        };
        let mut request = DescribeConfigsRequest::default();
        let plain = told(described(), &request);
        assert_eq!((plain.synonyms.len(), plain.documentation), (0, None));
        request.include_synonyms = true;
        request.include_documentation = true;
        let full = told(described(), &request);
        assert_eq!(full.synonyms.len(), 1);
        assert!(full.documentation.is_some());
        assert_eq!((full.config_type, full.config_source), (3, 5));
    }
}
