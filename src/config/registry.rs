//! Finding keys: by name, in order, and the nearest one to a name that nobody has.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::key::Key;
use super::keys::engine::ENGINE_KEYS;
use super::keys::log::{GROUP_KEYS, LOG_KEYS};
use super::keys::network::NETWORK_KEYS;
use super::keys::topics::TOPIC_KEYS;
use super::keys::without_effect::KEYS_WITHOUT_EFFECT;

type Table = BTreeMap<&'static str, &'static Key>;

static BROKER: LazyLock<Table> = LazyLock::new(|| {
    [
        NETWORK_KEYS,
        LOG_KEYS,
        GROUP_KEYS,
        ENGINE_KEYS,
        KEYS_WITHOUT_EFFECT,
    ]
    .into_iter()
    .flatten()
    .map(|key| (key.name, key))
    .collect()
});

static TOPIC: LazyLock<Table> =
    LazyLock::new(|| TOPIC_KEYS.iter().map(|key| (key.name, key)).collect());

/// Every broker key, by name.
pub fn broker_keys() -> impl Iterator<Item = &'static Key> {
    BROKER.values().copied()
}

/// Every topic key, by name.
pub fn topic_keys() -> impl Iterator<Item = &'static Key> {
    TOPIC.values().copied()
}

/// The broker key of this name.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    BROKER.get(name).copied()
}

/// The topic key of this name.
pub fn topic_key(name: &str) -> Option<&'static Key> {
    TOPIC.get(name).copied()
}

/// The broker key that someone who wrote `name` may have meant.
pub(super) fn nearest_broker_key(name: &str) -> Option<&'static str> {
    nearest(name, BROKER.keys())
}

/// The topic key that someone who wrote `name` may have meant.
pub(super) fn nearest_topic_key(name: &str) -> Option<&'static str> {
    nearest(name, TOPIC.keys())
}

fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a &'static str>) -> Option<&'static str> {
    // A name of any length may come from a client; no key is longer than this.
    if name.len() > 100 {
        return None;
    }
    let (distance, nearest) = names.map(|key| (distance(name, key), *key)).min()?;
    (distance <= (name.len() / 4).clamp(1, 3)).then_some(nearest)
}

/// How many single-byte insertions, deletions and replacements lie between two names.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::key::{Effect, Kind};
    use super::super::value::Value;
    use super::*;

    #[test]
    fn every_default_is_a_canonical_value_of_its_key() {
        for key in broker_keys().chain(topic_keys()) {
            let Some(default) = key.default else { continue };
            // An empty list is how Kafka writes "none" even where a set one must not be empty.
            if default.is_empty() && key.kind == Kind::List {
                continue;
            }
            let value = Value::parse(key, default).expect(key.name);
            assert_eq!(value.canonical(), default, "{}", key.name);
        }
    }

    #[test]
    fn every_row_stands_once_and_is_documented() {
        let rows = [
            NETWORK_KEYS,
            LOG_KEYS,
            GROUP_KEYS,
            ENGINE_KEYS,
            KEYS_WITHOUT_EFFECT,
        ];
        assert_eq!(
            rows.iter().map(|rows| rows.len()).sum::<usize>(),
            BROKER.len()
        );
        assert_eq!(TOPIC_KEYS.len(), TOPIC.len());
        for key in broker_keys().chain(topic_keys()) {
            let said = !key.doc.is_empty() || key.effect != Effect::Full;
            assert!(said, "{} says nothing", key.name);
        }
    }

    #[test]
    fn every_synonym_is_a_broker_key_of_numbers_where_it_is_scaled() {
        for key in broker_keys().chain(topic_keys()) {
            for synonym in key.synonyms {
                let other = broker_key(synonym.name).expect(synonym.name);
                if synonym.scale != 1 {
                    assert_eq!(
                        (key.kind, other.kind),
                        (Kind::Long, Kind::Int),
                        "{}",
                        key.name
                    );
                }
            }
        }
    }

    #[test]
    fn keys_of_our_own_are_all_under_one_prefix() {
        assert!(
            ENGINE_KEYS
                .iter()
                .all(|key| key.name.starts_with("corelog."))
        );
        let others = [NETWORK_KEYS, LOG_KEYS, GROUP_KEYS, KEYS_WITHOUT_EFFECT];
        assert!(
            !others
                .into_iter()
                .flatten()
                .any(|key| key.name.starts_with("corelog."))
        );
    }

    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(nearest_broker_key(name), expected, "{name}");
    }

    #[test]
    fn a_misspelt_key_finds_its_neighbour() {
        check("log.retention.hour", Some("log.retention.hours"));
        check("num.partition", Some("num.partitions"));
        check("corelog.durabilty", Some("corelog.durability"));
        check("something.else.entirely", None);
        check("", None);
        check(&"x".repeat(1000), None);
    }
}
