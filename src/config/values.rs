//! The layers of values and which of them wins: Kafka's precedence.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::key::Key;
use super::registry::broker_key;
use super::value::Value;

/// The values that one layer sets, by key. Dynamic layers come from the metadata log.
pub type Overrides = BTreeMap<String, String>;

/// Which layer a value comes from. The numbers are those of DescribeConfigs (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A topic's own configuration.
    Topic,
    /// Set for this broker while it ran.
    DynamicBroker,
    /// Set for all brokers while they ran.
    DynamicDefaultBroker,
    /// Set at the start: file, environment, command line.
    StaticBroker,
    /// The registry's default.
    Default,
}

impl Source {
    /// The number of the source in DescribeConfigs.
    pub fn wire(self) -> i8 {
        match self {
            Source::Topic => 1,
            Source::DynamicBroker => 2,
            Source::DynamicDefaultBroker => 3,
            Source::StaticBroker => 4,
            Source::Default => 5,
        }
    }
}

/// The broker's layers. Cheap to clone: the static layer is shared.
///
/// A value that its key does not allow, as an older or newer version may have left in the
/// metadata log, counts as not set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerValues {
    at_start: Arc<BTreeMap<&'static str, String>>,
    cluster_default: Arc<Overrides>,
    this_broker: Arc<Overrides>,
}

impl BrokerValues {
    /// The layer of the start alone. Values are canonical and valid.
    pub(super) fn new(at_start: BTreeMap<&'static str, String>) -> BrokerValues {
        BrokerValues {
            at_start: Arc::new(at_start),
            ..BrokerValues::default()
        }
    }

    /// The same start with other dynamic layers.
    pub fn with_dynamic(&self, cluster_default: Overrides, this_broker: Overrides) -> BrokerValues {
        BrokerValues {
            at_start: self.at_start.clone(),
            cluster_default: Arc::new(cluster_default),
            this_broker: Arc::new(this_broker),
        }
    }

    /// The layer that was set for all brokers.
    pub fn cluster_default(&self) -> &Overrides {
        &self.cluster_default
    }

    /// The layer that was set for this broker.
    pub fn this_broker(&self) -> &Overrides {
        &self.this_broker
    }

    /// What one layer holds for a key, as text.
    pub(super) fn layer(&self, key: &Key, source: Source) -> Option<&str> {
        let text = match source {
            Source::Topic => None,
            Source::DynamicBroker => self.this_broker.get(key.name).map(String::as_str),
            Source::DynamicDefaultBroker => self.cluster_default.get(key.name).map(String::as_str),
            Source::StaticBroker => self.at_start.get(key.name).map(String::as_str),
            Source::Default => return key.default,
        }?;
        Value::parse(key, text).is_ok().then_some(text)
    }

    /// A key's own value, the strongest layer first, without its synonyms. An empty default of
    /// a list is a value; a key without default may have none.
    pub(super) fn own(&self, key: &Key) -> Option<Value> {
        let set = BROKER_SOURCES
            .iter()
            .find_map(|source| self.layer(key, *source))?;
        match Value::parse(key, set) {
            Ok(value) => Some(value),
            // Only the default of a list that must not be empty when set.
            Err(_) => Some(Value::List(Vec::new())),
        }
    }

    /// A broker key's value in force: its own, or that of the first synonym that has one.
    pub(super) fn effective(&self, key: &Key) -> Option<Value> {
        self.own(key).or_else(|| self.of_synonyms(key))
    }

    /// The value that a key's synonyms give it.
    pub(super) fn of_synonyms(&self, key: &Key) -> Option<Value> {
        key.synonyms.iter().find_map(|synonym| {
            let other = broker_key(synonym.name).expect("the registry's tests check synonyms");
            let value = self.own(other)?;
            match value {
                Value::Number(number) if synonym.scale != 1 => {
                    // Kafka reads any negative number of hours or minutes as "no limit".
                    let scaled = number.saturating_mul(synonym.scale);
                    Some(Value::Number(if number < 0 { -1 } else { scaled }))
                }
                same => Some(same),
            }
        })
    }
}

/// The layers of a broker key, the strongest first.
pub(super) const BROKER_SOURCES: [Source; 4] = [
    Source::DynamicBroker,
    Source::DynamicDefaultBroker,
    Source::StaticBroker,
    Source::Default,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(set: [&[(&'static str, &str)]; 3], name: &str, expected: Option<&str>) {
        let [at_start, cluster, broker] = set;
        let own = |layer: &[(&str, &str)]| {
            layer
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect::<Overrides>()
        };
        let at_start = at_start.iter().map(|(k, v)| (*k, v.to_string())).collect();
        let values = BrokerValues::new(at_start).with_dynamic(own(cluster), own(broker));
        let found = values.effective(broker_key(name).expect(name));
        assert_eq!(
            found.map(|value| value.canonical()).as_deref(),
            expected,
            "{name}"
        );
    }

    #[test]
    fn the_strongest_layer_wins() {
        let key = "log.retention.ms";
        check([&[], &[], &[]], key, Some("604800000"));
        check(
            [&[("log.retention.hours", "1")], &[], &[]],
            key,
            Some("3600000"),
        );
        check(
            [&[("log.retention.minutes", "1")], &[], &[]],
            key,
            Some("60000"),
        );
        check(
            [&[("log.retention.minutes", "-5")], &[], &[]],
            key,
            Some("-1"),
        );
        let all = &[("log.retention.ms", "7"), ("log.retention.minutes", "1")];
        check([all, &[], &[]], key, Some("7"));
        check([all, &[(key, "8")], &[]], key, Some("8"));
        check([all, &[(key, "8")], &[(key, "9")]], key, Some("9"));
    }

    #[test]
    fn a_value_that_is_not_allowed_any_more_counts_as_not_set() {
        check(
            [&[], &[("message.max.bytes", "-1")], &[]],
            "message.max.bytes",
            Some("1048588"),
        );
    }

    #[test]
    fn a_key_may_have_no_value() {
        check([&[], &[], &[]], "broker.rack", None);
        check([&[], &[], &[]], "controller.quorum.voters", Some(""));
    }
}
