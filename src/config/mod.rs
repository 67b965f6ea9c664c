//! Every configuration key, typed: name, type, default, unit, class, validator, documentation.
//!
//! The registry feeds everything: the typed structs that rooms read, the checking of files and
//! of requests that alter, DescribeConfigs, and docs/configuration.md.

mod broker;
mod topic;

pub use broker::{
    BrokerConfig, Durability, EngineConfig, GroupConfig, Listener, LogFormat, NetworkConfig,
    OffsetsConfig, ProducerConfig, RequestConfig, SharedConfig, TopicDefaults,
};
pub use topic::{CleanupPolicy, CompressionType, TimestampType, TopicConfig};
