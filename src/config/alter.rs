//! Checking what clients ask to change: topics' configurations, and brokers' dynamic ones.
//!
//! Nothing changes here. A check gives the changes to record, or the one reason against all of
//! them: a resource's changes are made together or not at all.

use std::collections::HashSet;
use std::fmt;

use super::broker::{BrokerConfig, Durability};
use super::key::{Effect, Key, Kind, Update};
use super::registry::{broker_key, nearest_broker_key, nearest_topic_key, topic_key};
use super::topic::topic_value;
use super::value::Value;
use super::values::{BrokerValues, Overrides};
use crate::limits::CONFIG_VALUE_BYTES_MAX;
use crate::model::NodeId;

/// What to do with one configuration (KIP-339).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    /// Give it this value.
    Set,
    /// Give it back to its default.
    Delete,
    /// Add these items to a list.
    Append,
    /// Take these items out of a list.
    Subtract,
}

impl AlterOp {
    /// The operation of a number in IncrementalAlterConfigs.
    pub fn from_wire(number: i8) -> Option<AlterOp> {
        match number {
            0 => Some(AlterOp::Set),
            1 => Some(AlterOp::Delete),
            2 => Some(AlterOp::Append),
            3 => Some(AlterOp::Subtract),
            _ => None,
        }
    }
}

/// One asked change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    /// The key.
    pub name: String,
    /// What to do.
    pub op: AlterOp,
    /// With what.
    pub value: Option<String>,
}

/// One change: a value, or none to give it back to its default.
type Change = (String, Option<String>);

/// Why a change is refused. The text names key, value and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterError {
    /// The configuration does not exist, or may not have that value.
    InvalidConfig(String),
    /// The request asks for what cannot be asked.
    InvalidRequest(String),
}

impl fmt::Display for AlterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AlterError::InvalidConfig(text) | AlterError::InvalidRequest(text) => f.write_str(text),
        }
    }
}

/// Where dynamic broker configurations are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BrokerScope {
    /// For all brokers: the resource with the empty name.
    ClusterDefault,
    /// For this broker.
    ThisBroker,
}

impl BrokerScope {
    /// The node whose configurations these are; `None` is all nodes.
    pub fn node(self, this: NodeId) -> Option<i32> {
        match self {
            BrokerScope::ClusterDefault => None,
            BrokerScope::ThisBroker => Some(this.0),
        }
    }
}

/// Checks the configurations of a topic that is to be created. `internal` topics are the
/// broker's own, which may be compacted.
pub fn new_topic_configs(
    config: &BrokerConfig,
    asked: &[(String, Option<String>)],
    internal: bool,
) -> Result<Overrides, AlterError> {
    let set = |(name, value): &(String, Option<String>)| Alteration {
        name: name.clone(),
        op: AlterOp::Set,
        value: value.clone(),
    };
    let asked: Vec<Alteration> = asked.iter().map(set).collect();
    if let Some(null) = asked.iter().find(|alteration| alteration.value.is_none()) {
        let text = format!("Null value not supported for topic configs: {}", null.name);
        return Err(AlterError::InvalidConfig(text));
    }
    let none = Overrides::new();
    alter_topic(config, &none, &asked, internal)
}

/// Checks incremental changes of a topic's configurations; gives all that are then set.
pub fn alter_topic(
    config: &BrokerConfig,
    current: &Overrides,
    asked: &[Alteration],
    internal: bool,
) -> Result<Overrides, AlterError> {
    let find = |name: &str| {
        topic_key(name).ok_or_else(|| {
            let near = nearest_topic_key(name);
            let near = near
                .map(|near| format!("; did you mean {near}?"))
                .unwrap_or_default();
            AlterError::InvalidConfig(format!("Unknown topic config name: {name}{near}"))
        })
    };
    let in_force = |key: &Key| Some(topic_value(key, current, &config.values));
    let changes = plan(asked, find, in_force)?;
    for (name, value) in &changes {
        let (Some(key), Some(value)) = (topic_key(name), value) else {
            continue;
        };
        check_effect(key, value, internal)?;
        check_flush(config, key, value)?;
    }
    let after = applied(current, &changes);
    check_topic(&after, &config.values)?;
    Ok(after)
}

/// Checks a whole new set of a topic's configurations (AlterConfigs); gives all that are then set.
pub fn replace_topic(
    config: &BrokerConfig,
    current: &Overrides,
    asked: &[(String, Option<String>)],
    internal: bool,
) -> Result<Overrides, AlterError> {
    no_nulls(asked)?;
    alter_topic(config, current, &replacement(current, asked), internal)
}

/// A whole new set has no place for "back to the default": what is not in it is at its default.
fn no_nulls(asked: &[(String, Option<String>)]) -> Result<(), AlterError> {
    match asked.iter().find(|(_, value)| value.is_none()) {
        Some((name, _)) => {
            let text = format!("Null value not supported for {name}");
            Err(AlterError::InvalidRequest(text))
        }
        None => Ok(()),
    }
}

/// Checks incremental changes of brokers' dynamic configurations; `current` are those of the
/// scope. Gives all that are then set in it.
pub fn alter_broker(
    config: &BrokerConfig,
    scope: BrokerScope,
    current: &Overrides,
    asked: &[Alteration],
) -> Result<Overrides, AlterError> {
    let find = |name: &str| dynamic_broker_key(name, scope);
    let changes = plan(asked, find, |key| config.values.effective(key)).map_err(in_request)?;
    for (name, value) in &changes {
        let (Some(key), Some(value)) = (broker_key(name), value) else {
            continue;
        };
        check_effect(key, value, false).map_err(in_request)?;
        check_flush(config, key, value).map_err(in_request)?;
    }
    let after = applied(current, &changes);
    let (mut all, mut one) = (config.values.cluster_default(), config.values.this_broker());
    match scope {
        BrokerScope::ClusterDefault => all = &after,
        BrokerScope::ThisBroker => one = &after,
    }
    match config.with_dynamic(all, one) {
        Ok(_) => Ok(after),
        Err(errors) => Err(AlterError::InvalidRequest(errors.to_string())),
    }
}

/// Checks a whole new set of brokers' dynamic configurations (AlterConfigs); gives all that are
/// then set in the scope.
pub fn replace_broker(
    config: &BrokerConfig,
    scope: BrokerScope,
    current: &Overrides,
    asked: &[(String, Option<String>)],
) -> Result<Overrides, AlterError> {
    alter_broker(config, scope, current, &replacement(current, asked))
}

/// Kafka answers a bad configuration of a broker with INVALID_REQUEST, of a topic with
/// INVALID_CONFIG.
fn in_request(error: AlterError) -> AlterError {
    match error {
        AlterError::InvalidConfig(text) | AlterError::InvalidRequest(text) => {
            AlterError::InvalidRequest(text)
        }
    }
}

/// The incremental changes that turn `current` into `asked`; a null value is the default.
fn replacement(current: &Overrides, asked: &[(String, Option<String>)]) -> Vec<Alteration> {
    let names: HashSet<&str> = asked.iter().map(|(name, _)| name.as_str()).collect();
    let set = |(name, value): &(String, Option<String>)| Alteration {
        name: name.clone(),
        op: if value.is_some() {
            AlterOp::Set
        } else {
            AlterOp::Delete
        },
        value: value.clone(),
    };
    let gone = current
        .keys()
        .filter(|name| !names.contains(name.as_str()))
        .map(|name| Alteration {
            name: name.clone(),
            op: AlterOp::Delete,
            value: None,
        });
    asked.iter().map(set).chain(gone).collect()
}

/// Turns alterations into changes, each value checked against its key.
fn plan(
    asked: &[Alteration],
    find: impl Fn(&str) -> Result<&'static Key, AlterError>,
    in_force: impl Fn(&Key) -> Option<Value>,
) -> Result<Vec<Change>, AlterError> {
    for (index, alteration) in asked.iter().enumerate() {
        if asked[..index]
            .iter()
            .any(|other| other.name == alteration.name)
        {
            return Err(AlterError::InvalidRequest(
                "Error due to duplicate config keys".to_string(),
            ));
        }
        if alteration.value.is_none() && alteration.op != AlterOp::Delete {
            let text = format!("Null value not supported for : {}", alteration.name);
            return Err(AlterError::InvalidRequest(text));
        }
    }
    let change = |alteration: &Alteration| {
        let name = alteration.name.clone();
        let key = match find(&alteration.name) {
            Ok(key) => key,
            // What a newer version left behind can still be given back.
            Err(_) if alteration.op == AlterOp::Delete => return Ok((name, None)),
            Err(error) => return Err(error),
        };
        let text = alteration.value.as_deref().unwrap_or_default();
        let value = match alteration.op {
            AlterOp::Delete => return Ok((name, None)),
            AlterOp::Set => text.to_string(),
            AlterOp::Append | AlterOp::Subtract if key.kind != Kind::List => {
                return Err(AlterError::InvalidConfig(format!(
                    "{:?} is not possible for configuration {name}: it is of type {}, not a list",
                    alteration.op,
                    key.kind.as_str()
                )));
            }
            AlterOp::Append => appended(in_force(key), text),
            AlterOp::Subtract => subtracted(in_force(key), text),
        };
        if value.len() > CONFIG_VALUE_BYTES_MAX {
            return Err(AlterError::InvalidConfig(format!(
                "Invalid value for configuration {name}: allowed are {CONFIG_VALUE_BYTES_MAX} bytes"
            )));
        }
        let value = Value::parse(key, &value);
        let value = value.map_err(|bad| AlterError::InvalidConfig(bad.to_string()))?;
        Ok((name, Some(value.canonical())))
    };
    asked.iter().map(change).collect()
}

fn items(value: Option<Value>) -> Vec<String> {
    value.map(|value| value.list().to_vec()).unwrap_or_default()
}

fn appended(current: Option<Value>, text: &str) -> String {
    let mut items = items(current);
    for item in text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        if !items.iter().any(|other| other == item) {
            items.push(item.to_string());
        }
    }
    items.join(",")
}

fn subtracted(current: Option<Value>, text: &str) -> String {
    let mut items = items(current);
    items.retain(|item| !text.split(',').any(|other| other.trim() == item));
    items.join(",")
}

fn applied(current: &Overrides, changes: &[Change]) -> Overrides {
    let mut after = current.clone();
    for (name, value) in changes {
        match value {
            Some(value) => after.insert(name.clone(), value.clone()),
            None => after.remove(name),
        };
    }
    after
}

/// Refuses a value that would ask for what is not served.
fn check_effect(key: &Key, value: &str, internal: bool) -> Result<(), AlterError> {
    match key.effect {
        Effect::Full | Effect::Informational(_) => Ok(()),
        Effect::DefaultOnly(_) | Effect::Ignored(_) if internal => Ok(()),
        Effect::DefaultOnly(_) | Effect::Ignored(_) if key.default == Some(value) => Ok(()),
        Effect::DefaultOnly(why) | Effect::Ignored(why) => {
            let allowed = key.default.unwrap_or_default();
            Err(AlterError::InvalidConfig(format!(
                "Unsupported value {value} for configuration {}: {why}; allowed is {allowed}",
                key.name
            )))
        }
    }
}

/// Refuses a flush that `written` would not make: what is durable is one for the whole broker.
fn check_flush(config: &BrokerConfig, key: &Key, value: &str) -> Result<(), AlterError> {
    let of_flush = FLUSH_KEYS.contains(&key.name) && value != i64::MAX.to_string();
    match config.engine.durability {
        Durability::Written if of_flush => Err(AlterError::InvalidConfig(format!(
            "Unsupported value {value} for configuration {}: the broker runs with \
             corelog.durability=written; start it with corelog.durability=sync, which syncs \
             before every acknowledgement; allowed is {}",
            key.name,
            i64::MAX
        ))),
        Durability::Written | Durability::Sync => Ok(()),
    }
}

/// The keys that ask for syncs.
const FLUSH_KEYS: [&str; 4] = [
    "flush.messages",
    "flush.ms",
    "log.flush.interval.messages",
    "log.flush.interval.ms",
];

/// The checks that span several configurations of a topic.
fn check_topic(after: &Overrides, values: &BrokerValues) -> Result<(), AlterError> {
    let lag = |name: &str| {
        let key = topic_key(name).expect("a key of the registry");
        topic_value(key, after, values).number()
    };
    let (least, most) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"));
    if least > most {
        return Err(AlterError::InvalidConfig(format!(
            "Invalid value {least} for configuration min.compaction.lag.ms: allowed is at most \
             max.compaction.lag.ms, which is {most}"
        )));
    }
    Ok(())
}

fn dynamic_broker_key(name: &str, scope: BrokerScope) -> Result<&'static Key, AlterError> {
    let Some(key) = broker_key(name) else {
        let near = nearest_broker_key(name);
        let near = near
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        return Err(AlterError::InvalidRequest(format!(
            "Unknown broker config name: {name}{near}"
        )));
    };
    match (key.update, scope) {
        (Update::ClusterWide, _) | (Update::PerBroker, BrokerScope::ThisBroker) => Ok(key),
        (Update::ReadOnly, _) => Err(AlterError::InvalidRequest(format!(
            "Configuration {name} cannot be changed while the broker runs; set it at the start"
        ))),
        (Update::PerBroker, BrokerScope::ClusterDefault) => Err(AlterError::InvalidRequest(
            format!("Configuration {name} can be changed for one broker only; name its id"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::broker::EngineConfig;
    use super::super::resolve::resolve;
    use super::*;

    type Asked<'a> = (&'a str, AlterOp, Option<&'a str>);

    fn alterations(asked: &[Asked<'_>]) -> Vec<Alteration> {
        let one = |(name, op, value): &Asked<'_>| Alteration {
            name: name.to_string(),
            op: *op,
            value: value.map(str::to_string),
        };
        asked.iter().map(one).collect()
    }

    fn show(found: Result<Overrides, AlterError>) -> String {
        match found {
            Ok(after) => after
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join(" "),
            Err(AlterError::InvalidConfig(text)) => format!("config: {text}"),
            Err(AlterError::InvalidRequest(text)) => format!("request: {text}"),
        }
    }

    fn config() -> BrokerConfig {
        resolve(BrokerValues::default()).expect("the defaults are good")
    }

    fn check_topic_alter(current: &[(&str, &str)], asked: &[Asked<'_>], expected: &str) {
        let current = current
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        let found = alter_topic(&config(), &current, &alterations(asked), false);
        assert_eq!(show(found), expected, "{current:?} {asked:?}");
    }

    fn check_broker(scope: BrokerScope, asked: &[Asked<'_>], expected: &str) {
        let found = alter_broker(&config(), scope, &Overrides::new(), &alterations(asked));
        assert_eq!(show(found), expected, "{asked:?}");
    }

    use AlterOp::{Append, Delete, Set, Subtract};

    #[test]
    fn a_topics_configurations_are_set_and_given_back() {
        check_topic_alter(
            &[("segment.ms", "9"), ("flush.ms", "9")],
            &[
                ("retention.ms", Set, Some(" 05 ")),
                ("segment.ms", Delete, None),
            ],
            "flush.ms=9 retention.ms=5",
        );
        let gone = "gone.with.a.version";
        check_topic_alter(&[(gone, "1")], &[(gone, Delete, None)], "");
        check_topic_alter(
            &[("follower.replication.throttled.replicas", "0:1")],
            &[(
                "follower.replication.throttled.replicas",
                Append,
                Some("1:1,0:1"),
            )],
            "follower.replication.throttled.replicas=0:1,1:1",
        );
        check_topic_alter(
            &[("follower.replication.throttled.replicas", "0:1,1:1")],
            &[(
                "follower.replication.throttled.replicas",
                Subtract,
                Some("0:1"),
            )],
            "follower.replication.throttled.replicas=1:1",
        );
        // What is asked for already is, so nothing that is not served is asked for.
        check_topic_alter(
            &[],
            &[("cleanup.policy", Append, Some("delete"))],
            "cleanup.policy=delete",
        );
    }

    #[test]
    fn what_a_topic_cannot_have_is_refused() {
        check_topic_alter(
            &[],
            &[("retention.m", Set, Some("1"))],
            "config: Unknown topic config name: retention.m; did you mean retention.ms?",
        );
        check_topic_alter(
            &[],
            &[("retention.ms", Set, Some("x"))],
            "config: Invalid value x for configuration retention.ms: allowed is a whole number \
             of 64 bits",
        );
        check_topic_alter(
            &[],
            &[("retention.ms", Set, None)],
            "request: Null value not supported for : retention.ms",
        );
        check_topic_alter(
            &[],
            &[
                ("retention.ms", Set, Some("1")),
                ("retention.ms", Delete, None),
            ],
            "request: Error due to duplicate config keys",
        );
        check_topic_alter(
            &[],
            &[("retention.ms", Append, Some("1"))],
            "config: Append is not possible for configuration retention.ms: it is of type long, \
             not a list",
        );
        check_topic_alter(
            &[],
            &[("cleanup.policy", Append, Some("compact"))],
            "config: Unsupported value delete,compact for configuration cleanup.policy: \
             compaction of topics is not served yet; the broker's own __consumer_offsets is kept \
             bounded without it; allowed is delete",
        );
        check_topic_alter(
            &[],
            &[("cleanup.policy", Subtract, Some("delete"))],
            "config: Invalid value  for configuration cleanup.policy: allowed is a list of some \
             of compact, delete",
        );
        check_topic_alter(
            &[("max.compaction.lag.ms", "5")],
            &[("min.compaction.lag.ms", Set, Some("6"))],
            "config: Invalid value 6 for configuration min.compaction.lag.ms: allowed is at most \
             max.compaction.lag.ms, which is 5",
        );
        let long = "9".repeat(CONFIG_VALUE_BYTES_MAX + 1);
        check_topic_alter(
            &[],
            &[("retention.ms", Set, Some(&long))],
            "config: Invalid value for configuration retention.ms: allowed are 8192 bytes",
        );
    }

    #[test]
    fn a_flush_that_would_not_happen_is_refused() {
        let written = BrokerConfig {
            engine: EngineConfig {
                durability: Durability::Written,
                ..config().engine
            },
            ..config()
        };
        let asked = alterations(&[("flush.messages", Set, Some("1"))]);
        let alter = |config: &BrokerConfig| alter_topic(config, &Overrides::new(), &asked, false);
        assert_eq!(show(alter(&config())), "flush.messages=1");
        assert_eq!(
            show(alter(&written)),
            "config: Unsupported value 1 for configuration flush.messages: the broker runs with \
             corelog.durability=written; start it with corelog.durability=sync, which syncs \
             before every acknowledgement; allowed is 9223372036854775807",
        );
    }

    #[test]
    fn the_old_request_replaces_the_whole_set() {
        let current = Overrides::from([
            ("retention.ms".to_string(), "1".to_string()),
            ("segment.ms".to_string(), "2".to_string()),
        ]);
        let asked = [("retention.ms".to_string(), Some("3".to_string()))];
        let found = replace_topic(&config(), &current, &asked, false);
        assert_eq!(show(found), "retention.ms=3");
        let twice = [asked[0].clone(), asked[0].clone()];
        let found = replace_topic(&config(), &current, &twice, false);
        assert_eq!(show(found), "request: Error due to duplicate config keys");
    }

    #[test]
    fn a_new_topics_configurations_are_checked_and_the_brokers_own_may_be_compacted() {
        let compact = [("cleanup.policy".to_string(), Some("compact".to_string()))];
        assert!(new_topic_configs(&config(), &compact, false).is_err());
        assert!(new_topic_configs(&config(), &compact, true).is_ok());
        let null = [("retention.ms".to_string(), None)];
        let text = "Null value not supported for topic configs: retention.ms".to_string();
        let refused = new_topic_configs(&config(), &null, false);
        assert_eq!(refused, Err(AlterError::InvalidConfig(text)));
    }

    #[test]
    fn brokers_configurations_change_in_their_classes() {
        let (all, one) = (BrokerScope::ClusterDefault, BrokerScope::ThisBroker);
        check_broker(
            all,
            &[("log.retention.ms", Set, Some("5"))],
            "log.retention.ms=5",
        );
        check_broker(
            one,
            &[("num.io.threads", Set, Some("5"))],
            "num.io.threads=5",
        );
        check_broker(
            all,
            &[("num.partitions", Set, Some("5"))],
            "request: Configuration num.partitions cannot be changed while the broker runs; set \
             it at the start",
        );
        check_broker(
            all,
            &[("listeners", Set, Some("PLAINTEXT://:1"))],
            "request: Configuration listeners cannot be changed while the broker runs; set it at \
             the start",
        );
        check_broker(
            one,
            &[("ssl.keystore.location", Set, Some("/x"))],
            "request: Unsupported value /x for configuration ssl.keystore.location: TLS is not \
             served yet; allowed is ",
        );
        check_broker(
            all,
            &[("ssl.keystore.location", Set, Some("/x"))],
            "request: Configuration ssl.keystore.location can be changed for one broker only; \
             name its id",
        );
        check_broker(
            all,
            &[("log.retention.m", Set, Some("5"))],
            "request: Unknown broker config name: log.retention.m; did you mean log.retention.ms?",
        );
        check_broker(
            one,
            &[("max.connections.per.ip.overrides", Set, Some("nonsense"))],
            "request: Invalid value nonsense for configuration max.connections.per.ip.overrides: \
             allowed is a list of address:number, for example 127.0.0.1:200",
        );
    }
}
