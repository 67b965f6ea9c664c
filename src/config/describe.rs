//! Every configuration with its value, its source and the layers below it, for DescribeConfigs.

use super::key::{Effect, Key, Update};
use super::registry::{broker_key, broker_keys, topic_keys};
use super::topic::topic_value;
use super::value::Value;
use super::values::{BROKER_SOURCES, BrokerValues, Overrides, Source};

/// One configuration as DescribeConfigs tells it.
#[derive(Clone, Debug)]
pub struct Described {
    /// The key: its name, its type, what it means.
    pub key: &'static Key,
    /// Its value in force; none if it is unset, or a secret.
    pub value: Option<String>,
    /// The layer that the value comes from.
    pub source: Source,
    /// Whether clients cannot change it.
    pub is_read_only: bool,
    /// Every layer that sets it, the strongest first.
    pub synonyms: Vec<DescribedSynonym>,
}

/// One layer's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedSynonym {
    /// The key that the layer sets: the configuration itself or one that stands in for it.
    pub name: &'static str,
    /// The value; none if it is a secret.
    pub value: Option<String>,
    /// The layer.
    pub source: Source,
}

/// Every configuration of a topic.
pub fn describe_topic(values: &BrokerValues, overrides: &Overrides) -> Vec<Described> {
    topic_keys()
        .map(|key| describe_topic_key(key, values, overrides))
        .collect()
}

/// Every configuration of this broker.
pub fn describe_broker(values: &BrokerValues) -> Vec<Described> {
    let shown = broker_keys().filter(|key| !key.internal);
    shown
        .map(|key| describe_broker_key(key, values, &BROKER_SOURCES))
        .collect()
}

/// The configurations that were set for all brokers.
pub fn describe_cluster_default(values: &BrokerValues) -> Vec<Described> {
    let sources = [Source::DynamicDefaultBroker];
    let set = broker_keys().filter(|key| values.layer(key, sources[0]).is_some());
    set.map(|key| describe_broker_key(key, values, &sources))
        .collect()
}

/// What a key means, and what it has no effect for.
pub fn documentation(key: &Key) -> String {
    let effect = match key.effect {
        Effect::Full => return key.doc.to_string(),
        Effect::Informational(why) | Effect::Ignored(why) => format!("No effect here: {why}."),
        Effect::DefaultOnly(why) => format!("Only the default is accepted: {why}."),
    };
    if key.doc.is_empty() {
        effect
    } else {
        format!("{} {effect}", key.doc)
    }
}

fn describe_topic_key(
    key: &'static Key,
    values: &BrokerValues,
    overrides: &Overrides,
) -> Described {
    let value = topic_value(key, overrides, values).canonical();
    let mut synonyms = Vec::new();
    if overrides
        .get(key.name)
        .is_some_and(|text| Value::parse(key, text).is_ok())
    {
        let value = Some(value.clone());
        synonyms.push(DescribedSynonym {
            name: key.name,
            value,
            source: Source::Topic,
        });
    }
    if let Some(first) = key
        .synonyms
        .first()
        .and_then(|first| broker_key(first.name))
    {
        synonyms.extend(layers(first, values, &BROKER_SOURCES));
    }
    Described {
        key,
        value: Some(value),
        source: synonyms
            .first()
            .map_or(Source::Default, |strongest| strongest.source),
        is_read_only: false,
        synonyms,
    }
}

fn describe_broker_key(key: &'static Key, values: &BrokerValues, sources: &[Source]) -> Described {
    let value = match sources {
        [only] => values.layer(key, *only).map(str::to_string),
        _ => values.own(key).map(|value| value.canonical()),
    };
    let synonyms = layers(key, values, sources);
    Described {
        key,
        value: value.filter(|_| !key.is_sensitive()),
        source: synonyms
            .first()
            .map_or(Source::Default, |strongest| strongest.source),
        is_read_only: key.update == Update::ReadOnly,
        synonyms,
    }
}

/// Every layer that sets a broker key or one that stands in for it, layer by layer, the
/// strongest first. As in Kafka, the list begins with the key's own name: a stand-in that a
/// stronger layer sets is left out before it, since it does not decide.
fn layers(key: &'static Key, values: &BrokerValues, sources: &[Source]) -> Vec<DescribedSynonym> {
    let stand_ins = key
        .synonyms
        .iter()
        .filter_map(|synonym| broker_key(synonym.name));
    let keys: Vec<&'static Key> = [key].into_iter().chain(stand_ins).collect();
    let of_layer = |source: &Source| {
        let source = *source;
        keys.iter().filter_map(move |key| {
            let value = values.layer(key, source)?;
            let value = (!key.is_sensitive()).then(|| value.to_string());
            Some(DescribedSynonym {
                name: key.name,
                value,
                source,
            })
        })
    };
    let all: Vec<_> = sources.iter().flat_map(of_layer).collect();
    all.into_iter()
        .skip_while(|synonym| synonym.name != key.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::layers::{Sources, load};
    use super::*;

    fn values(file: &str) -> BrokerValues {
        let sources = Sources {
            file: Some(("f", file)),
            ..Sources::default()
        };
        load(&sources).expect("a good file").0
    }

    fn show(described: &Described) -> String {
        let synonyms = described.synonyms.iter().map(|synonym| {
            let value = synonym.value.as_deref().unwrap_or("-");
            format!(" {}:{}={value}", synonym.source.wire(), synonym.name)
        });
        let value = described.value.as_deref().unwrap_or("-");
        let mode = if described.is_read_only {
            " read-only"
        } else {
            ""
        };
        format!(
            "{value} {}{mode}{}",
            described.source.wire(),
            synonyms.collect::<String>()
        )
    }

    fn check_topic(file: &str, overrides: &[(&str, &str)], name: &str, expected: &str) {
        let overrides = overrides
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        let all = describe_topic(&values(file), &overrides);
        let described = all
            .iter()
            .find(|described| described.key.name == name)
            .expect(name);
        assert_eq!(
            show(described),
            expected,
            "{name} of {overrides:?} under {file:?}"
        );
    }

    fn check_broker(file: &str, name: &str, expected: &str) {
        let all = describe_broker(&values(file));
        let described = all
            .iter()
            .find(|described| described.key.name == name)
            .expect(name);
        assert_eq!(show(described), expected, "{name} under {file:?}");
    }

    #[test]
    fn a_topics_configuration_names_every_layer() {
        let name = "segment.bytes";
        let default = "5:log.segment.bytes=1073741824";
        check_topic("", &[], name, &format!("1073741824 5 {default}"));
        check_topic(
            "log.segment.bytes=2097152",
            &[],
            name,
            &format!("2097152 4 4:log.segment.bytes=2097152 {default}"),
        );
        check_topic(
            "log.segment.bytes=2097152",
            &[(name, "3145728")],
            name,
            &format!("3145728 1 1:{name}=3145728 4:log.segment.bytes=2097152 {default}"),
        );
        check_topic("", &[], "remote.storage.enable", "false 5");
    }

    #[test]
    fn a_stand_in_gives_the_value_and_stays_unnamed_before_the_keys_own_name() {
        check_topic("", &[], "retention.ms", "604800000 5");
        check_topic("log.retention.hours=1", &[], "retention.ms", "3600000 5");
        check_topic(
            "log.retention.ms=9\nlog.retention.hours=1",
            &[],
            "retention.ms",
            "9 4 4:log.retention.ms=9 4:log.retention.hours=1 5:log.retention.hours=168",
        );
    }

    #[test]
    fn a_brokers_configuration_names_every_layer() {
        check_broker("", "num.partitions", "1 5 read-only 5:num.partitions=1");
        check_broker(
            "num.partitions=3",
            "num.partitions",
            "3 4 read-only 4:num.partitions=3 5:num.partitions=1",
        );
        check_broker("", "log.retention.ms", "- 5");
        check_broker(
            "",
            "message.max.bytes",
            "1048588 5 5:message.max.bytes=1048588",
        );
    }

    #[test]
    fn secrets_are_never_told() {
        check_broker(
            "sasl.jaas.config=abc",
            "sasl.jaas.config",
            "- 4 4:sasl.jaas.config=-",
        );
    }

    #[test]
    fn the_cluster_default_has_what_was_set_for_all_brokers() {
        let set = |name: &str, value: &str| Overrides::from([(name.into(), value.into())]);
        let one = set("message.max.bytes", "9");
        let values = values("").with_dynamic(set("log.retention.ms", "5"), one);
        let all: Vec<_> = describe_cluster_default(&values);
        let shown: Vec<_> = all
            .iter()
            .map(|d| format!("{} {}", d.key.name, show(d)))
            .collect();
        assert_eq!(shown, ["log.retention.ms 5 3 3:log.retention.ms=5"]);
        let broker = describe_broker(&values);
        let found = broker
            .iter()
            .find(|d| d.key.name == "message.max.bytes")
            .expect("the key");
        assert_eq!(
            show(found),
            "9 2 2:message.max.bytes=9 5:message.max.bytes=1048588"
        );
    }

    #[test]
    fn every_key_says_what_it_means() {
        for described in describe_broker(&values("")) {
            assert_ne!(documentation(described.key), "", "{}", described.key.name);
        }
    }
}
