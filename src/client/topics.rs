//! Topics: create, delete, grow, configure; delete records.

use std::time::Duration;

use crate::model::{Offset, TopicId, TopicName, TopicPartition};
use crate::protocol::ApiKey;
use crate::protocol::messages::create_partitions_request::CreatePartitionsTopic;
use crate::protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use crate::protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use crate::protocol::messages::delete_topics_request::DeleteTopicState;
use crate::protocol::messages::describe_configs_request::DescribeConfigsResource;
use crate::protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use crate::protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use crate::protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, StrBytes,
};

use super::cluster::{Client, Target};
use super::error::ClientError;

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// Its number of partitions; `None` takes the broker's default.
    pub partition_count: Option<i32>,
    /// Its replication factor; `None` takes the broker's default.
    pub replication_factor: Option<i16>,
    /// Its configuration, as far as it differs from the broker's defaults.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with the broker's defaults.
    pub fn new(name: TopicName) -> NewTopic {
        NewTopic {
            name,
            partition_count: None,
            replication_factor: None,
            configs: Vec::new(),
        }
    }
}

/// What a configuration belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOwner {
    /// A topic.
    Topic(TopicName),
    /// A broker, by its node id.
    Broker(i32),
    /// All brokers: what is in force for each that does not have its own.
    AllBrokers,
}

impl ConfigOwner {
    fn code(&self) -> i8 {
        match self {
            ConfigOwner::Topic(_) => 2,
            ConfigOwner::Broker(_) | ConfigOwner::AllBrokers => 4,
        }
    }

    fn name(&self) -> String {
        match self {
            ConfigOwner::Topic(name) => name.to_string(),
            ConfigOwner::Broker(id) => id.to_string(),
            ConfigOwner::AllBrokers => String::new(),
        }
    }

    /// For people.
    fn words(&self) -> String {
        match self {
            ConfigOwner::Topic(name) => format!("topic {name}"),
            ConfigOwner::Broker(id) => format!("broker {id}"),
            ConfigOwner::AllBrokers => "all brokers".to_owned(),
        }
    }
}

/// Where a configuration's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set for the topic.
    Topic,
    /// Set for the broker, while it ran.
    DynamicBroker,
    /// Set for all brokers, while they ran.
    DynamicDefaultBroker,
    /// From the broker's file.
    StaticBroker,
    /// Kafka's default.
    Default,
    /// Something newer.
    Unknown(i8),
}

impl ConfigSource {
    fn from_code(code: i8) -> ConfigSource {
        match code {
            1 => ConfigSource::Topic,
            2 => ConfigSource::DynamicBroker,
            3 => ConfigSource::DynamicDefaultBroker,
            4 => ConfigSource::StaticBroker,
            5 => ConfigSource::Default,
            code => ConfigSource::Unknown(code),
        }
    }
}

/// One key of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub key: String,
    /// Its value; `None` if it is sensitive or unset.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether its value is kept secret.
    pub is_sensitive: bool,
    /// What it means, if the broker tells.
    pub documentation: Option<String>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Sets a value.
    Set(String, String),
    /// Goes back to the default.
    Delete(String),
    /// Adds to a list.
    Append(String, String),
    /// Takes out of a list.
    Subtract(String, String),
}

impl ConfigChange {
    fn parts(&self) -> (i8, &str, Option<&str>) {
        match self {
            ConfigChange::Set(key, value) => (0, key, Some(value)),
            ConfigChange::Delete(key) => (1, key, None),
            ConfigChange::Append(key, value) => (2, key, Some(value)),
            ConfigChange::Subtract(key, value) => (3, key, Some(value)),
        }
    }
}

/// How long a broker may take for a change of topics.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(15);

fn change_timeout_ms() -> i32 {
    CHANGE_TIMEOUT.as_millis() as i32
}

impl Client {
    /// Creates a topic and returns its id, which is zero if the broker is too old to tell.
    pub fn create_topic(&mut self, topic: &NewTopic) -> Result<TopicId, ClientError> {
        let mut wanted = CreatableTopic::default();
        wanted.name = StrBytes::from(topic.name.as_str());
        wanted.num_partitions = topic.partition_count.unwrap_or(-1);
        wanted.replication_factor = topic.replication_factor.unwrap_or(-1);
        wanted.configs = topic
            .configs
            .iter()
            .map(|(key, value)| new_config(key, value))
            .collect();
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![wanted];
        request.timeout_ms = change_timeout_ms();
        let response = self.retry(|client| {
            let response = client.call(Target::Controller, &request)?;
            for result in &response.topics {
                let message = result.error_message.as_deref();
                ClientError::check(
                    ApiKey::CreateTopics,
                    &topic.name,
                    result.error_code,
                    message,
                )?;
            }
            Ok(response)
        })?;
        self.forget_topic(&topic.name);
        Ok(response
            .topics
            .first()
            .map_or(TopicId::ZERO, |result| result.topic_id.into()))
    }

    /// Deletes a topic.
    pub fn delete_topic(&mut self, name: &TopicName) -> Result<(), ClientError> {
        self.retry(|client| {
            let connection = client.connection(Target::Controller)?;
            let version = connection.version(ApiKey::DeleteTopics)?;
            let mut request = DeleteTopicsRequest::default();
            request.timeout_ms = change_timeout_ms();
            if version >= 6 {
                let mut topic = DeleteTopicState::default();
                topic.name = Some(StrBytes::from(name.as_str()));
                request.topics.push(topic);
            } else {
                request.topic_names.push(StrBytes::from(name.as_str()));
            }
            let result = connection.call_version(&request, version);
            let response = client.settle(Target::Controller, result)?;
            for result in &response.responses {
                let message = result.error_message.as_deref();
                ClientError::check(ApiKey::DeleteTopics, name, result.error_code, message)?;
            }
            Ok(())
        })?;
        self.forget_topic(name);
        Ok(())
    }

    /// Raises a topic's number of partitions to `total`.
    pub fn create_partitions(&mut self, name: &TopicName, total: i32) -> Result<(), ClientError> {
        let mut topic = CreatePartitionsTopic::default();
        topic.name = StrBytes::from(name.as_str());
        topic.count = total;
        topic.assignments = None;
        let mut request = CreatePartitionsRequest::default();
        request.topics = vec![topic];
        request.timeout_ms = change_timeout_ms();
        self.retry(|client| {
            let response = client.call(Target::Controller, &request)?;
            for result in &response.results {
                let message = result.error_message.as_deref();
                ClientError::check(ApiKey::CreatePartitions, name, result.error_code, message)?;
            }
            Ok(())
        })?;
        self.forget_topic(name);
        Ok(())
    }

    /// Every key of a configuration, sorted.
    pub fn configs(&mut self, owner: &ConfigOwner) -> Result<Vec<ConfigEntry>, ClientError> {
        let mut resource = DescribeConfigsResource::default();
        resource.resource_type = owner.code();
        resource.resource_name = StrBytes::from(owner.name());
        resource.configuration_keys = None;
        let mut request = DescribeConfigsRequest::default();
        request.resources = vec![resource];
        self.retry(|client| {
            let connection = client.connection(owner.target())?;
            let version = connection.version(ApiKey::DescribeConfigs)?;
            request.include_documentation = version >= 3;
            let result = connection.call_version(&request, version);
            let response = client.settle(owner.target(), result)?;
            let mut entries = Vec::new();
            for result in &response.results {
                let message = result.error_message.as_deref();
                let subject = owner.words();
                ClientError::check(ApiKey::DescribeConfigs, subject, result.error_code, message)?;
                entries.extend(result.configs.iter().map(read_config));
            }
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(entries)
        })
    }

    /// Changes keys of a configuration, all or none.
    pub fn alter_configs(
        &mut self,
        owner: &ConfigOwner,
        changes: &[ConfigChange],
    ) -> Result<(), ClientError> {
        let alterable = |change: &ConfigChange| {
            let (operation, key, value) = change.parts();
            let mut config = AlterableConfig::default();
            config.name = StrBytes::from(key);
            config.config_operation = operation;
            config.value = value.map(StrBytes::from);
            config
        };
        let mut resource = AlterConfigsResource::default();
        resource.resource_type = owner.code();
        resource.resource_name = StrBytes::from(owner.name());
        resource.configs = changes.iter().map(alterable).collect();
        let mut request = IncrementalAlterConfigsRequest::default();
        request.resources = vec![resource];
        self.retry(|client| {
            let response = client.call(owner.target(), &request)?;
            for result in &response.responses {
                let (code, message) = (result.error_code, result.error_message.as_deref());
                let subject = owner.words();
                ClientError::check(ApiKey::IncrementalAlterConfigs, subject, code, message)?;
            }
            Ok(())
        })
    }

    /// Deletes the records of a partition below `before`, or all that are acknowledged for
    /// `Offset::NONE`; returns the partition's first offset.
    pub fn delete_records(
        &mut self,
        partition: &TopicPartition,
        before: Offset,
    ) -> Result<Offset, ClientError> {
        let mut wanted = DeleteRecordsPartition::default();
        wanted.partition_index = partition.index;
        wanted.offset = before.0;
        let mut topic = DeleteRecordsTopic::default();
        topic.name = StrBytes::from(partition.topic.as_str());
        topic.partitions = vec![wanted];
        let mut request = DeleteRecordsRequest::default();
        request.topics = vec![topic];
        request.timeout_ms = change_timeout_ms();
        self.retry_leader(partition, |client, leader| {
            let response = client.call(Target::Node(leader), &request)?;
            let mut results = response.topics.iter().flat_map(|topic| &topic.partitions);
            let Some(result) = results.next() else {
                return Ok(Offset::NONE);
            };
            ClientError::check(ApiKey::DeleteRecords, partition, result.error_code, None)?;
            Ok(Offset(result.low_watermark))
        })
    }
}

impl ConfigOwner {
    /// A broker answers for itself; topics, and all brokers at once, are the controller's.
    fn target(&self) -> Target<'static> {
        match self {
            ConfigOwner::Topic(_) | ConfigOwner::AllBrokers => Target::Controller,
            ConfigOwner::Broker(id) => Target::Node(crate::model::NodeId(*id)),
        }
    }
}

fn new_config(key: &str, value: &str) -> CreatableTopicConfig {
    let mut config = CreatableTopicConfig::default();
    config.name = StrBytes::from(key);
    config.value = Some(StrBytes::from(value));
    config
}

fn read_config(config: &DescribeConfigsResourceResult) -> ConfigEntry {
    ConfigEntry {
        key: config.name.to_string(),
        value: config.value.as_ref().map(StrBytes::to_string),
        source: ConfigSource::from_code(config.config_source),
        is_read_only: config.read_only,
        is_sensitive: config.is_sensitive,
        documentation: config.documentation.as_ref().map(StrBytes::to_string),
    }
}
