//! Metadata (key 3), versions 0 to 13.

use std::collections::HashSet;
use std::rc::Rc;

use super::{Client, errors};
use crate::controller::{NewTopic, RefusedReason, TopicMeta};
use crate::model::OFFSETS_TOPIC;
use crate::model::{PartitionId, TopicId, TopicName};
use crate::protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::protocol::messages::{MetadataRequest, MetadataResponse, StrBytes};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};
use crate::shard::Advertised;

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::Metadata, 0, 13);

/// The first version in which a client may forbid that topics are made for it.
const AUTO_CREATION_CHOICE_FROM: i16 = 4;
/// Authorised operations are not told unless they are asked for.
pub(super) const OPERATIONS_NOT_TOLD: i32 = i32::MIN;
/// What may be done with a topic where nothing is forbidden: the bits of READ, WRITE, CREATE,
/// DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS (KIP-430).
pub(super) const TOPIC_OPERATIONS: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// The same for the cluster: CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS,
/// ALTER_CONFIGS, IDEMPOTENT_WRITE.
pub(super) const CLUSTER_OPERATIONS: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);

const fn bits(operations: &[u32]) -> i32 {
    let mut sum = 0;
    let mut at = 0;
    while at < operations.len() {
        sum |= 1 << operations[at];
        at += 1;
    }
    sum
}

pub(super) async fn handle(
    client: &Rc<Client>,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let mut response = MetadataResponse::default();
    let rack = client.shard.config().rack.clone();
    let told = |broker: Advertised| {
        let mut told = MetadataResponseBroker::default();
        told.node_id = broker.id.0;
        told.host = StrBytes::from(broker.host.to_string());
        told.port = i32::from(broker.port);
        told.rack = rack.as_ref().map(|rack| StrBytes::from(rack.to_string()));
        told
    };
    let brokers = client.shard.brokers(client.listener);
    response.brokers = brokers.into_iter().map(told).collect();
    response.cluster_id = Some(StrBytes::from(client.shard.cluster_id().to_string()));
    response.controller_id = client.shard.advertised(client.listener, None).id.0;
    response.cluster_authorized_operations = match request.include_cluster_authorized_operations {
        true => CLUSTER_OPERATIONS,
        false => OPERATIONS_NOT_TOLD,
    };
    let topic_operations = match request.include_topic_authorized_operations {
        true => TOPIC_OPERATIONS,
        false => OPERATIONS_NOT_TOLD,
    };
    let mut topics = match &request.topics {
        // In version 0 an empty list means all; since then null does.
        None => all(client),
        Some(named) if named.is_empty() && version == 0 => all(client),
        Some(_) => named(client, &request, version).await,
    };
    for topic in &mut topics {
        topic.topic_authorized_operations = topic_operations;
    }
    response.topics = topics;
    response
}

fn all(client: &Client) -> Vec<MetadataResponseTopic> {
    let metas: Vec<TopicMeta> = client
        .shard
        .with_image(|image| image.topics().cloned().collect());
    metas.iter().map(|meta| found(client, meta)).collect()
}

async fn named(
    client: &Rc<Client>,
    request: &MetadataRequest,
    version: i16,
) -> Vec<MetadataResponseTopic> {
    let mut answers = Vec::new();
    let mut missing: Vec<(usize, String)> = Vec::new();
    // One that is asked for twice is answered once.
    let mut seen = HashSet::new();
    for topic in request.topics.iter().flatten() {
        if !seen.insert((topic.name.as_ref().map(StrBytes::as_str), topic.topic_id)) {
            continue;
        }
        let id = TopicId::from(topic.topic_id);
        match &topic.name {
            Some(name) => {
                let known = client
                    .shard
                    .with_image(|image| image.topic_by_name(name.as_str()).cloned());
                answers.push(match known {
                    Some(meta) => found(client, &meta),
                    None => {
                        missing.push((answers.len(), name.as_str().to_owned()));
                        let error = match TopicName::new(name.as_str()) {
                            Ok(_) => ErrorCode::UnknownTopicOrPartition,
                            Err(_) => ErrorCode::InvalidTopicException,
                        };
                        refused(Some(name.clone()), TopicId::ZERO, error)
                    }
                });
            }
            None => {
                let known = client.shard.with_image(|image| image.topic(id).cloned());
                answers.push(match known {
                    Some(meta) => found(client, &meta),
                    None => refused(None, id, ErrorCode::UnknownTopicId),
                });
            }
        }
    }
    let wanted = version < AUTO_CREATION_CHOICE_FROM || request.allow_auto_topic_creation;
    if wanted && client.shard.config().topics.auto_create_enable {
        create(client, missing, &mut answers).await;
    }
    answers
}

/// Makes the topics that were asked for and are not there, with the broker's defaults.
///
/// Kafka answers such a request with an error and the client asks again until the topic is there.
/// Here it is there when this returns, on every core, so the answer is the topic itself.
async fn create(
    client: &Rc<Client>,
    missing: Vec<(usize, String)>,
    answers: &mut [MetadataResponseTopic],
) {
    let missing: Vec<_> = missing
        .into_iter()
        .filter(|(_, name)| TopicName::new(name).is_ok())
        .collect();
    if missing.is_empty() {
        return;
    }
    let mut topics = Vec::new();
    for (_, name) in &missing {
        topics.push(match name.as_str() {
            OFFSETS_TOPIC => super::offsets_topic(&client.shard.config()),
            _ => NewTopic {
                name: name.clone(),
                partitions_count: -1,
                replication_factor: -1,
                assignment: Vec::new(),
                configs: Vec::new(),
            },
        });
    }
    let results = client.shard.create_topics(topics, false).await;
    for ((place, name), result) in missing.into_iter().zip(results) {
        let made = match result {
            Ok(meta) => Some(meta),
            // Another client was faster.
            Err(refused) if refused.reason == RefusedReason::TopicExists => client
                .shard
                .with_image(|image| image.topic_by_name(&name).cloned()),
            Err(refused) => {
                answers[place].error_code = errors::of_refused(refused.reason).code();
                None
            }
        };
        if let Some(meta) = made {
            answers[place] = found(client, &meta);
        }
    }
}

fn found(client: &Client, meta: &TopicMeta) -> MetadataResponseTopic {
    let mut topic = MetadataResponseTopic::default();
    topic.name = Some(StrBytes::from(meta.name.to_string()));
    topic.topic_id = meta.id.into();
    topic.is_internal = meta.name.is_internal();
    topic.partitions = client.shard.with_image(|image| {
        let partitions = meta.partitions.iter().enumerate();
        let answer = |(index, partition)| {
            let id = PartitionId {
                topic_id: meta.id,
                index: index as i32,
            };
            let leader = client.shard.advertised(client.listener, Some(id)).id.0;
            let mut answer = MetadataResponsePartition::default();
            answer.partition_index = index as i32;
            answer.leader_id = leader;
            answer.leader_epoch = image.leader_epoch(partition).0;
            answer.replica_nodes = vec![leader];
            answer.isr_nodes = vec![leader];
            answer
        };
        partitions.map(answer).collect()
    });
    topic
}

fn refused(name: Option<StrBytes>, id: TopicId, error: ErrorCode) -> MetadataResponseTopic {
    let mut topic = MetadataResponseTopic::default();
    topic.name = name;
    topic.topic_id = id.into();
    topic.error_code = error.code();
    topic
}
