//! What is set at the start: embedded values < file < environment < `--override`.
//!
//! Each key that is not simply in effect gets its message: unknown, ignored, informational.
//! What cannot be honoured stops the start: a bad value, or a value that would change what the
//! operator relies on (an authorizer that nobody asks).

use std::collections::BTreeMap;
use std::fmt;

use super::key::{Effect, Key};
use super::properties;
use super::registry::{broker_key, nearest_broker_key};
use super::resolve::resolve;
use super::value::Value;
use super::values::BrokerValues;

/// Where the values of a start come from, the weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// The configuration file's name and text. Without one, the embedded values count.
    pub file: Option<(&'a str, &'a str)>,
    /// The process's environment: names and values, others than `KAFKA_` included.
    pub environment: Vec<(String, String)>,
    /// Each `--override key=value`, in order.
    pub overrides: Vec<String>,
}

/// Something that the operator should read, though the broker starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it deserves a warning; it is an information otherwise.
    pub warning: bool,
    /// The sentence.
    pub text: String,
}

/// Everything that keeps the broker from starting, one sentence each. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Reads all layers of the start.
pub fn load(sources: &Sources<'_>) -> Result<(BrokerValues, Vec<Notice>), ConfigErrors> {
    let mut layers = Layers::default();
    match sources.file {
        Some((name, text)) => layers.properties(name, text),
        None => layers.properties("embedded values", EMBEDDED),
    }
    for (name, value) in &sources.environment {
        if let Some(key) = environment_key(name) {
            layers.set(&key, value, &format!("environment variable {name}"));
        }
    }
    for text in &sources.overrides {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                layers.set(key.trim(), value, "--override");
            }
            Some(_) | None => {
                layers
                    .errors
                    .push(format!("--override {text}: expected key=value"));
            }
        }
    }
    layers.finish()
}

/// What counts when no file is given, so that the bare command serves this machine only.
const EMBEDDED: &str = include_str!("embedded.properties");

/// Names that begin like a key's variable and are none: Kafka's own scripts use them.
const NOT_KEYS: &[&str] = &[
    "KAFKA_DEBUG",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_OPTS",
    "KAFKA_VERSION",
];

/// How the variables begin that set the log levels of Kafka's container images.
const NOT_KEYS_BEGIN: &[&str] = &["KAFKA_LOG4J", "KAFKA_TOOLS_LOG4J"];

/// The key that an environment variable sets: `KAFKA_` goes, `___` becomes `-`, `__` becomes
/// `_`, `_` becomes `.`, in lower case.
fn environment_key(name: &str) -> Option<String> {
    let rest = name
        .strip_prefix("KAFKA_")
        .filter(|rest| !rest.is_empty())?;
    let is_of_scripts =
        NOT_KEYS.contains(&name) || NOT_KEYS_BEGIN.iter().any(|start| name.starts_with(start));
    if is_of_scripts {
        return None;
    }
    let dotted = rest.to_lowercase().replace('_', ".");
    Some(dotted.replace("...", "-").replace("..", "_"))
}

#[derive(Default)]
struct Layers {
    /// Text and origin of the strongest layer, by key.
    set: BTreeMap<String, (String, String)>,
    errors: Vec<String>,
}

impl Layers {
    fn properties(&mut self, name: &str, text: &str) {
        match properties::parse(text) {
            Ok(entries) => {
                for entry in entries {
                    let origin = format!("{name} line {}", entry.line);
                    self.set(&entry.key, &entry.value, &origin);
                }
            }
            Err(bad) => self.errors.push(format!("{name} {bad}")),
        }
    }

    fn set(&mut self, key: &str, value: &str, origin: &str) {
        self.set
            .insert(key.to_string(), (value.to_string(), origin.to_string()));
    }

    fn finish(mut self) -> Result<(BrokerValues, Vec<Notice>), ConfigErrors> {
        let mut values = BTreeMap::new();
        let mut notices = Vec::new();
        let mut unreadable = Vec::new();
        for (name, (text, origin)) in std::mem::take(&mut self.set) {
            let Some(key) = broker_key(&name) else {
                self.unknown(&name, &text, &origin, &mut notices);
                continue;
            };
            match Value::parse(key, &text) {
                // An empty value of a list that must hold something is how Kafka writes unset.
                Err(_) if text.trim().is_empty() && key.default.is_none_or(str::is_empty) => {}
                Err(bad) => {
                    self.errors.push(format!("{bad} ({origin})"));
                    unreadable.push(key.name);
                }
                Ok(value) => {
                    self.check_effect(key, &value, &origin, &mut notices);
                    values.insert(key.name, value.canonical());
                }
            }
        }
        mirror_ids(&mut values);
        let values = BrokerValues::new(values);
        if self.errors.is_empty() {
            return Ok((values, notices));
        }
        // What is wrong across keys is shown with the rest, unless a key that could not be read
        // has to do with it.
        if let Err(ConfigErrors(more)) = resolve(values) {
            let is_sure = |error: &String| !unreadable.iter().any(|name| error.contains(name));
            self.errors.extend(more.into_iter().filter(is_sure));
        }
        Err(ConfigErrors(self.errors))
    }

    fn check_effect(
        &mut self,
        key: &'static Key,
        value: &Value,
        origin: &str,
        notices: &mut Vec<Notice>,
    ) {
        let name = key.name;
        let is_default = key.default.unwrap_or_default() == value.canonical();
        match key.effect {
            Effect::Full => {}
            Effect::Informational(why) | Effect::Ignored(why) => notices.push(Notice {
                warning: false,
                text: format!("{name} is accepted and has no effect: {why} ({origin})"),
            }),
            Effect::DefaultOnly(_) if is_default => {}
            Effect::DefaultOnly(why) => {
                let shown = if key.is_sensitive() {
                    String::new()
                } else {
                    value.canonical()
                };
                let allowed = match key.default {
                    None | Some("") => "to leave it unset".to_string(),
                    Some(default) => default.to_string(),
                };
                self.errors.push(format!(
                    "Unsupported value {shown} for configuration {name}: {why}; allowed is \
                     {allowed} ({origin})"
                ));
            }
        }
    }

    fn unknown(&mut self, name: &str, text: &str, origin: &str, notices: &mut Vec<Notice>) {
        let gone = GONE
            .iter()
            .find(|(start, _)| name == *start || start.ends_with('.') && name.starts_with(start));
        let (warning, text) = match gone {
            Some((_, Gone::Refused(why))) => {
                self.errors
                    .push(format!("{name} is not supported: {why} ({origin})"));
                return;
            }
            Some((_, Gone::Ignored(why))) => (
                false,
                format!("{name} is accepted and has no effect: {why} ({origin})"),
            ),
            Some((_, Gone::SinceVersion3)) => {
                if is_before_version_3_3(text) {
                    self.errors.push(format!(
                        "Unsupported value {text} for configuration {name}: allowed is 3.3 or \
                         newer ({origin})"
                    ));
                    return;
                }
                (
                    false,
                    format!("{name} is accepted and has no effect ({origin})"),
                )
            }
            None => match nearest_broker_key(name) {
                Some(near) => (
                    true,
                    format!("{name} is not a known key; did you mean {near}? ({origin})"),
                ),
                None => (true, format!("{name} is not a known key ({origin})")),
            },
        };
        notices.push(Notice { warning, text });
    }
}

/// As in Kafka, `node.id` and its older name `broker.id` stand for each other.
fn mirror_ids(values: &mut BTreeMap<&'static str, String>) {
    for (set, unset) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
        if let Some(id) = values.get(set).filter(|id| *id != "-1").cloned() {
            values.entry(unset).or_insert(id);
        }
    }
}

/// What becomes of keys that Kafka had, or that only other rooms of a full cluster have.
enum Gone {
    Refused(&'static str),
    Ignored(&'static str),
    /// A version of Kafka: at least 3.3.
    SinceVersion3,
}

/// Keys outside of the registry that an existing file may hold; a name that ends in a dot stands
/// for all that begin with it.
const GONE: &[(&str, Gone)] = &[
    (
        "zookeeper.",
        Gone::Refused("there is no ZooKeeper; the metadata log is built in. Remove the key"),
    ),
    ("inter.broker.protocol.version", Gone::SinceVersion3),
    (
        "log.message.format.version",
        Gone::Ignored("Kafka 4 removed it"),
    ),
    (
        "log.message.timestamp.difference.max.ms",
        Gone::Ignored("Kafka 4 removed it"),
    ),
    (
        "log.message.downconversion.enable",
        Gone::Ignored("Kafka 4 removed it"),
    ),
    (
        "broker.id.generation.enable",
        Gone::Ignored("Kafka 4 removed it"),
    ),
    (
        "reserved.broker.max.id",
        Gone::Ignored("Kafka 4 removed it"),
    ),
    (
        "control.plane.listener.name",
        Gone::Ignored("Kafka 4 removed it"),
    ),
    (
        "offsets.commit.required.acks",
        Gone::Ignored("Kafka 4 removed it"),
    ),
    (
        "delegation.token.master.key",
        Gone::Ignored("Kafka 4 removed it"),
    ),
    ("password.encoder.", Gone::Ignored("Kafka 4 removed it")),
    (
        "leader.imbalance.per.broker.percentage",
        Gone::Ignored("a single node leads everything"),
    ),
    (
        "super.users",
        Gone::Ignored("there is no authorisation yet"),
    ),
    (
        "allow.everyone.if.no.acl.found",
        Gone::Ignored("there is no authorisation yet"),
    ),
    (
        "listener.name.",
        Gone::Ignored("TLS and SASL are not served yet, and limits count for all listeners"),
    ),
    ("confluent.", Gone::Ignored("it belongs to another product")),
];

fn is_before_version_3_3(text: &str) -> bool {
    let mut parts = text
        .trim()
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    version < (3, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, environment: &[(&str, &str)], overrides: &[&str], expected: &[&str]) {
        let sources = Sources {
            file: Some(("f", file)),
            environment: environment
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            overrides: overrides.iter().map(|text| text.to_string()).collect(),
        };
        let found = match load(&sources) {
            Ok((values, notices)) => {
                let texts = notices.into_iter().map(|notice| {
                    format!(
                        "{} {}",
                        if notice.warning { "WARN" } else { "INFO" },
                        notice.text
                    )
                });
                let set = [broker_key("num.partitions"), broker_key("node.id")];
                let set = set.into_iter().flatten().filter_map(|key| {
                    let text = values.layer(key, super::super::values::Source::StaticBroker)?;
                    Some(format!("{}={text}", key.name))
                });
                set.chain(texts).collect()
            }
            Err(ConfigErrors(errors)) => errors,
        };
        assert_eq!(found, expected, "{file:?} {environment:?} {overrides:?}");
    }

    #[test]
    fn later_layers_win() {
        check(
            "num.partitions=2\nnum.partitions=3",
            &[],
            &[],
            &["num.partitions=3"],
        );
        let environment = [
            ("KAFKA_NUM_PARTITIONS", "4"),
            ("PATH", "/"),
            ("KAFKA_OPTS", "-X"),
        ];
        check("num.partitions=2", &environment, &[], &["num.partitions=4"]);
        check(
            "num.partitions=2",
            &environment,
            &["num.partitions = 05"],
            &["num.partitions=5"],
        );
    }

    #[test]
    fn environment_names_become_keys() {
        assert_eq!(environment_key("KAFKA_NODE_ID").as_deref(), Some("node.id"));
        assert_eq!(
            environment_key("KAFKA_A__B___C_D").as_deref(),
            Some("a_b-c.d")
        );
        assert_eq!(environment_key("KAFKA_"), None);
        for name in [
            "KAFKA_HEAP_OPTS",
            "KAFKA_LOG4J_OPTS",
            "KAFKA_LOG4J_ROOT_LOGLEVEL",
            "KAFKA_LOG4J_LOGGERS",
            "KAFKA_TOOLS_LOG4J_LOGLEVEL",
        ] {
            assert_eq!(environment_key(name), None, "{name}");
        }
        assert_eq!(environment_key("MY_KAFKA_NODE_ID"), None);
    }

    #[test]
    fn unknown_ignored_and_informational_keys_each_get_their_message() {
        check(
            "num.partition=2\nwhatever.it.is.called=1\nnum.io.threads=8\nssl.protocol=TLSv1.3\n\
             inter.broker.protocol.version=3.9\nlistener.name.a.ssl.key.password=x",
            &[],
            &[],
            &[
                "INFO inter.broker.protocol.version is accepted and has no effect (f line 5)",
                "INFO listener.name.a.ssl.key.password is accepted and has no effect: TLS and \
                 SASL are not served yet, and limits count for all listeners (f line 6)",
                "INFO num.io.threads is accepted and has no effect: one thread per core does \
                 this work; corelog.cores sets how many (f line 3)",
                "WARN num.partition is not a known key; did you mean num.partitions? (f line 1)",
                "INFO ssl.protocol is accepted and has no effect: TLS is not served yet \
                 (f line 4)",
                "WARN whatever.it.is.called is not a known key (f line 2)",
            ],
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_an_error_that_names_key_value_and_range() {
        check(
            "num.partitions=0\nauthorizer.class.name=x.Y\nzookeeper.connect=z:2181\n\
             log.cleanup.policy=compact\ninter.broker.protocol.version=2.8-IV0",
            &[],
            &["nonsense", "log.retention.hours=long"],
            &[
                "--override nonsense: expected key=value",
                "Unsupported value x.Y for configuration authorizer.class.name: there is no \
                 authorisation yet, so every client may do everything; remove the key to accept \
                 that; allowed is to leave it unset (f line 2)",
                "Unsupported value 2.8-IV0 for configuration inter.broker.protocol.version: \
                 allowed is 3.3 or newer (f line 5)",
                "Unsupported value compact for configuration log.cleanup.policy: compaction of \
                 topics is not served yet; allowed is delete (f line 4)",
                "Invalid value long for configuration log.retention.hours: allowed is a whole \
                 number of 32 bits (--override)",
                "Invalid value 0 for configuration num.partitions: allowed is at least 1 \
                 (f line 1)",
                "zookeeper.connect is not supported: there is no ZooKeeper; the metadata log is \
                 built in. Remove the key (f line 3)",
            ],
        );
        check(
            "num.partitions=0\ncorelog.admin.listener=nowhere\n\
             group.min.session.timeout.ms=x\ngroup.max.session.timeout.ms=8",
            &[],
            &[],
            &[
                "Invalid value x for configuration group.min.session.timeout.ms: allowed is a \
                 whole number of 32 bits (f line 3)",
                "Invalid value 0 for configuration num.partitions: allowed is at least 1 \
                 (f line 1)",
                "Invalid value nowhere for configuration corelog.admin.listener: allowed is \
                 address:port, or nothing",
            ],
        );
        check(
            "a=\\u1",
            &[],
            &[],
            &["f line 1: \\u must be followed by four hexadecimal digits"],
        );
    }

    #[test]
    fn an_empty_value_of_a_key_without_default_leaves_it_unset() {
        check("log.dirs=\ncontroller.quorum.voters=", &[], &[], &[]);
        check(
            "listeners=",
            &[],
            &[],
            &["Invalid value  for configuration listeners: allowed is not empty (f line 1)"],
        );
    }

    #[test]
    fn without_a_file_the_embedded_values_serve_this_machine_only() {
        let (values, notices) = load(&Sources::default()).expect("the embedded values are good");
        let listeners = values
            .own(broker_key("listeners").expect("a key"))
            .expect("a value");
        assert_eq!(listeners.list(), ["PLAINTEXT://127.0.0.1:9092"]);
        let delay = broker_key("group.initial.rebalance.delay.ms").expect("a key");
        assert_eq!(values.own(delay), Some(Value::Number(0)));
        assert_eq!(notices, []);
    }
}
