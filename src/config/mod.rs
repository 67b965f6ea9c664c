//! Every configuration key, typed: name, type, default, unit, class, validator, documentation.
//!
//! The registry feeds everything: the typed structs that rooms read, the checking of files and
//! of requests that alter, DescribeConfigs, and docs/configuration.md.

mod key;
mod keys;
mod registry;
mod value;

mod layers;
mod properties;
mod values;

mod broker;
mod listeners;
mod resolve;
mod topic;

mod alter;
mod describe;
#[cfg(test)]
mod document;

pub use alter::{
    AlterError, AlterOp, Alteration, BrokerScope, alter_broker, alter_topic, new_topic_configs,
    replace_broker, replace_topic,
};
pub use broker::{
    BrokerConfig, Durability, EngineConfig, GroupConfig, Listener, LogFormat, NetworkConfig,
    OffsetsConfig, ProducerConfig, RequestConfig, SharedConfig, TopicDefaults,
};
pub use describe::{
    Described, DescribedSynonym, describe_broker, describe_cluster_default, describe_topic,
    documentation,
};
pub use key::{Effect, Importance, Key, Kind, Synonym, Update, Valid};
pub use layers::{ConfigErrors, Notice, Sources, load};
pub use registry::{broker_key, broker_keys, topic_key, topic_keys};
pub use resolve::resolve;
pub use topic::{CleanupPolicy, TimestampType, TopicConfig};
pub use values::{BrokerValues, Overrides, Source};
