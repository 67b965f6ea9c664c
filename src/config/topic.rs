//! One topic's configuration, resolved: the topic's overrides over the broker's defaults.

use std::sync::Arc;

use super::broker::BrokerConfig;
use super::key::Key;
use super::registry::topic_key;
use super::value::Value;
use super::values::{BrokerValues, Overrides};

/// What happens to a topic's old segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// Old segments go, by time and size.
    Delete,
    /// The newest record of each key stays. Only `__consumer_offsets` has it here.
    Compact,
    /// Both.
    CompactDelete,
}

/// Whose clock a record's timestamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// The configuration in force for one topic.
///
/// Made by `BrokerConfig::topic` from a topic's overrides and the broker's configuration; a
/// change of either makes a new one. Names, units and meanings are those of Kafka's topic
/// configurations. Every field was validated when it was set.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// What happens to old segments.
    pub cleanup_policy: CleanupPolicy,
    /// Segments whose newest record is older than this go, in milliseconds; -1 is never.
    pub retention_ms: i64,
    /// A partition's logical size above which its oldest segments go, in bytes; -1 is never.
    pub retention_bytes: i64,
    /// A segment's logical size above which the next one starts.
    pub segment_bytes: i32,
    /// A segment's age above which the next one starts, in milliseconds.
    pub segment_ms: i64,
    /// The most that a roll by age may be early, so that partitions do not roll at once.
    pub segment_jitter_ms: i64,
    /// The largest batch that a producer may send, as it is stored, in bytes.
    pub max_message_bytes: i32,
    /// Whose clock timestamps are.
    pub message_timestamp_type: TimestampType,
    /// How far behind the broker's clock a CreateTime timestamp may be, in milliseconds.
    pub message_timestamp_before_max_ms: i64,
    /// How far ahead of the broker's clock a CreateTime timestamp may be, in milliseconds.
    pub message_timestamp_after_max_ms: i64,
    /// Replicas that must have a batch before acks=all is answered.
    pub min_insync_replicas: i32,
}

impl BrokerConfig {
    /// The configuration in force for a topic with these overrides.
    pub fn topic(&self, overrides: &Overrides) -> Arc<TopicConfig> {
        match overrides.is_empty() {
            true => self.topics.config.clone(),
            false => Arc::new(topic_config(&self.values, overrides)),
        }
    }
}

/// Resolves a topic's overrides over the broker's layers.
pub(super) fn topic_config(values: &BrokerValues, overrides: &Overrides) -> TopicConfig {
    let reader = Reader { values, overrides };
    TopicConfig {
        cleanup_policy: reader.cleanup_policy(),
        retention_ms: reader.long("retention.ms"),
        retention_bytes: reader.long("retention.bytes"),
        segment_bytes: reader.int("segment.bytes"),
        segment_ms: reader.long("segment.ms"),
        segment_jitter_ms: reader.long("segment.jitter.ms"),
        max_message_bytes: reader.int("max.message.bytes"),
        message_timestamp_type: match reader.value("message.timestamp.type").text() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        },
        message_timestamp_before_max_ms: reader.long("message.timestamp.before.max.ms"),
        message_timestamp_after_max_ms: reader.long("message.timestamp.after.max.ms"),
        min_insync_replicas: reader.int("min.insync.replicas"),
    }
}

/// A topic key's value in force. An override that its key does not allow counts as not set.
pub(super) fn topic_value(key: &Key, overrides: &Overrides, values: &BrokerValues) -> Value {
    let own = overrides
        .get(key.name)
        .and_then(|text| Value::parse(key, text).ok());
    let of_broker = || {
        let value = values.of_synonyms(key)?;
        // A broker key may allow more than the topic's does: log.flush.interval.ms below zero.
        Value::parse(key, &value.canonical()).ok()
    };
    let of_registry = || Value::parse(key, key.default.expect("every topic key has a default"));
    own.or_else(of_broker)
        .unwrap_or_else(|| of_registry().expect("tested for every key"))
}

struct Reader<'a> {
    values: &'a BrokerValues,
    overrides: &'a Overrides,
}

impl Reader<'_> {
    fn value(&self, name: &str) -> Value {
        topic_value(
            topic_key(name).expect("a key of the registry"),
            self.overrides,
            self.values,
        )
    }

    fn long(&self, name: &str) -> i64 {
        self.value(name).number()
    }

    fn int(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).expect("a key of 32 bits")
    }

    fn cleanup_policy(&self) -> CleanupPolicy {
        let value = self.value("cleanup.policy");
        let has = |policy: &str| value.list().iter().any(|other| other == policy);
        match (has("compact"), has("delete")) {
            (true, true) => CleanupPolicy::CompactDelete,
            (true, false) => CleanupPolicy::Compact,
            (false, _) => CleanupPolicy::Delete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(overrides: &[(&str, &str)], expected: impl FnOnce(&mut TopicConfig)) {
        let overrides = overrides
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        let values = BrokerValues::default();
        let mut config = topic_config(&values, &Overrides::new());
        expected(&mut config);
        assert_eq!(topic_config(&values, &overrides), config, "{overrides:?}");
    }

    #[test]
    fn overrides_win_over_the_brokers_defaults() {
        check(&[], |_| {});
        check(&[("retention.ms", "-1")], |config| config.retention_ms = -1);
        check(&[("segment.bytes", "1048576")], |config| {
            config.segment_bytes = 1_048_576
        });
        check(&[("message.timestamp.type", "LogAppendTime")], |config| {
            config.message_timestamp_type = TimestampType::LogAppendTime;
        });
        check(&[("cleanup.policy", "compact,delete")], |config| {
            config.cleanup_policy = CleanupPolicy::CompactDelete;
        });
        check(
            &[("cleanup.policy", "compact"), ("segment.jitter.ms", "7")],
            |config| {
                config.cleanup_policy = CleanupPolicy::Compact;
                config.segment_jitter_ms = 7;
            },
        );
    }

    #[test]
    fn an_override_that_is_not_allowed_counts_as_not_set() {
        check(&[("retention.ms", "-2"), ("no.such.key", "1")], |_| {});
    }

    #[test]
    fn a_brokers_value_out_of_the_topics_bounds_gives_way_to_the_default() {
        let one = Overrides::from([("log.flush.interval.ms".to_string(), "-1".to_string())]);
        let values = BrokerValues::default().with_dynamic(Overrides::new(), one);
        let key = topic_key("flush.ms").expect("a key");
        let value = topic_value(key, &Overrides::new(), &values);
        assert_eq!(value, Value::Number(i64::MAX));
    }
}
