//! Every configuration key, typed: name, type, default, unit, class, validator, documentation.
//!
//! The registry (`key`, `keys`, `registry`) feeds everything else:
//!
//! - `load(&Sources)` reads what is set at the start: embedded values < file < `KAFKA_` environment
//!   < `--override`. It gives `BrokerValues` and one `Notice` for each key that is unknown or has
//!   no effect, or the `ConfigErrors` that stop the start with exit code 78.
//! - `resolve(BrokerValues)` checks across keys and gives `BrokerConfig`, which rooms read and
//!   share as `SharedConfig`. `BrokerConfig::with_dynamic` is the same start under other dynamic
//!   values; `BrokerConfig::topic` is what is in force for a topic with its overrides.
//! - `alter_topic`, `replace_topic`, `alter_broker`, `replace_broker`, `new_topic_configs` check
//!   what clients ask for and give the whole set that is then in force. They change nothing.
//! - `describe_topic`, `describe_broker`, `describe_cluster_default` give every key with its value,
//!   source, and layers; `documentation(key)` says what it means here.
//!
//! A key whose effect is not here says so: `Effect` is `Full`, or carries the reason. What silence
//! would make dangerous is accepted with its default only. docs/configuration.md is generated from
//! the registry, and a test checks that it is up to date.
//!
//! Values in the metadata log may come from another version; one that its key no longer allows
//! counts as not set, so no directory keeps the broker from starting.

mod key;
mod keys;
mod registry;
mod value;

mod layers;
mod properties;
mod values;

mod broker;
mod brokers;
mod core_ports;
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
pub use brokers::{BrokerIds, ListenerMode};
pub use core_ports::{CorePorts, PortsOfCores};
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
