//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, and that a change takes effect.

use std::time::Duration;

use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, ProduceRequest, alter_configs_request,
    describe_configs_request::DescribeConfigsResource, incremental_alter_configs_request,
    produce_response::PartitionProduceResponse,
};

use kafka_protocol::protocol::StrBytes;

use super::produce::{data, request};
use crate::batch::Batch;
use crate::session::{Session, eventually, text};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// All keys of a resource, or some.
fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|k| text(*k)).collect()))
}

fn ask(v: i16, resources: Vec<DescribeConfigsResource>) -> DescribeConfigsRequest {
    let request = DescribeConfigsRequest::default()
        .with_resources(resources)
        .with_include_synonyms(true);
    match v {
        3.. => request.with_include_documentation(true),
        _ => request,
    }
}

pub(crate) fn describe(s: &mut Session) {
    let configs = [("retention.ms", "7200000"), ("min.insync.replicas", "1")];
    let topic = s.topic("described", 1, &configs);
    let mut c = s.connect();
    for v in s.versions::<DescribeConfigsRequest>() {
        let t: &str = &topic.name;
        let some: &[&str] = &["retention.ms", "cleanup.policy", "no.such.key"];
        for (label, resources) in [
            ("all of a topic", vec![resource(TOPIC, t, None)]),
            ("some of a topic", vec![resource(TOPIC, t, Some(some))]),
            ("none of a topic", vec![resource(TOPIC, t, Some(&[]))]),
            ("all of the broker", vec![resource(BROKER, "1", None)]),
            (
                "some of the broker",
                vec![resource(BROKER, "1", Some(&["num.partitions", "node.id"]))],
            ),
            ("the brokers' defaults", vec![resource(BROKER, "", None)]),
            ("an unknown broker", vec![resource(BROKER, "99", None)]),
            (
                "a broker that is no number",
                vec![resource(BROKER, "one", None)],
            ),
            (
                "an unknown topic",
                vec![resource(TOPIC, "never-made", None)],
            ),
            ("a bad topic name", vec![resource(TOPIC, "bad name!", None)]),
            ("an empty topic name", vec![resource(TOPIC, "", None)]),
            ("an unknown kind", vec![resource(99, t, None)]),
            ("kind 0", vec![resource(0, t, None)]),
            (
                "two",
                vec![
                    resource(TOPIC, t, Some(some)),
                    resource(TOPIC, "never-made", None),
                ],
            ),
            ("none", vec![]),
        ] {
            let mut response = c.exchange(v, &ask(v, resources));
            without_addresses(&mut response);
            s.note::<DescribeConfigsRequest>(label, v, &response);
        }
        let plain = ask(v, vec![resource(TOPIC, t, Some(some))]).with_include_synonyms(false);
        s.call(&mut c, "without synonyms", v, &plain);
    }
}

/// The keys whose values are this broker's addresses and directories, whatever the broker.
const OWN: &[&str] = &[
    "listeners",
    "log.dirs",
    "controller.quorum.bootstrap.servers",
];

fn without_addresses(response: &mut DescribeConfigsResponse) {
    let own = |value: &mut Option<StrBytes>| {
        if value.is_some() {
            *value = Some(text("<its own>"));
        }
    };
    for config in response.results.iter_mut().flat_map(|r| &mut r.configs) {
        if OWN.contains(&config.name.as_str()) {
            own(&mut config.value);
            config.synonyms.iter_mut().for_each(|s| own(&mut s.value));
        }
    }
}

pub(crate) fn alter(s: &mut Session) {
    let mut c = s.connect();
    for v in s.versions::<AlterConfigsRequest>() {
        let topic = s.topic(&format!("altered-{v}"), 1, &[("retention.ms", "7200000")]);
        let one = |kind: i8, name: &str, configs: &[(&str, Option<&str>)]| {
            let configs = configs.iter().map(|(key, value)| {
                alter_configs_request::AlterableConfig::default()
                    .with_name(text(*key))
                    .with_value(value.map(text))
            });
            alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configs(configs.collect())
        };
        let t: &str = &topic.name;
        for (label, resources) in [
            (
                "replaces all",
                vec![one(TOPIC, t, &[("retention.bytes", Some("1000000"))])],
            ),
            (
                "an unknown key",
                vec![one(TOPIC, t, &[("no.such.key", Some("1"))])],
            ),
            (
                "a bad value",
                vec![one(TOPIC, t, &[("retention.ms", Some("soon"))])],
            ),
            (
                "a null value",
                vec![one(TOPIC, t, &[("retention.ms", None)])],
            ),
            (
                "an unknown topic",
                vec![one(TOPIC, "never-made", &[("retention.ms", Some("1"))])],
            ),
            (
                "an unknown broker",
                vec![one(BROKER, "99", &[("log.retention.ms", Some("1"))])],
            ),
            (
                "an unknown kind",
                vec![one(99, t, &[("retention.ms", Some("1"))])],
            ),
            (
                "one key twice",
                vec![one(
                    TOPIC,
                    t,
                    &[("retention.ms", Some("1")), ("retention.ms", Some("2"))],
                )],
            ),
            (
                "one topic twice",
                vec![one(TOPIC, t, &[]), one(TOPIC, t, &[])],
            ),
            ("nothing", vec![]),
        ] {
            let request = AlterConfigsRequest::default().with_resources(resources);
            s.attempt(label, v, &request);
        }
        let validate = |configs: &[(&str, Option<&str>)]| {
            AlterConfigsRequest::default()
                .with_resources(vec![one(TOPIC, t, configs)])
                .with_validate_only(true)
        };
        s.call(
            &mut c,
            "only validated",
            v,
            &validate(&[("retention.ms", Some("5"))]),
        );
        s.call(
            &mut c,
            "only validated, a bad value",
            v,
            &validate(&[("retention.ms", Some("x"))]),
        );
        after(
            s,
            &topic.name,
            "retention.bytes",
            "1000000",
            &format!("after v{v}"),
        );
    }
}

/// What the topic's own configs are, once the key has the value.
fn after(s: &mut Session, topic: &str, key: &str, value: &str, label: &str) {
    let mut c = s.connect();
    eventually("the change shows", || {
        let response = c.exchange(1, &ask(1, vec![resource(TOPIC, topic, Some(&[key]))]));
        let configs = &response.results[0].configs;
        configs[0]
            .value
            .as_ref()
            .is_some_and(|v| v.as_str() == value)
    });
    s.call(
        &mut c,
        label,
        4,
        &ask(4, vec![resource(TOPIC, topic, None)]),
    );
}

pub(crate) fn incremental_alter(s: &mut Session) {
    let mut c = s.connect();
    for v in s.versions::<IncrementalAlterConfigsRequest>() {
        let topic = s.topic(&format!("changed-{v}"), 1, &[("retention.ms", "7200000")]);
        let one = |kind: i8, name: &str, configs: &[(&str, i8, Option<&str>)]| {
            let configs = configs.iter().map(|(key, operation, value)| {
                incremental_alter_configs_request::AlterableConfig::default()
                    .with_name(text(*key))
                    .with_config_operation(*operation)
                    .with_value(value.map(text))
            });
            incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configs(configs.collect())
        };
        let t: &str = &topic.name;
        let never: &str = "never-made";
        let ms = |operation: i8, value: Option<&'static str>| [("retention.ms", operation, value)];
        let list = "follower.replication.throttled.replicas";
        let cases = vec![
            (
                "set",
                vec![one(TOPIC, t, &[("max.message.bytes", SET, Some("2000"))])],
            ),
            ("delete", vec![one(TOPIC, t, &ms(DELETE, None))]),
            (
                "delete what is not set",
                vec![one(TOPIC, t, &[("segment.ms", DELETE, None)])],
            ),
            (
                "append to a list",
                vec![one(TOPIC, t, &[(list, APPEND, Some("0:1"))])],
            ),
            (
                "append one more",
                vec![one(TOPIC, t, &[(list, APPEND, Some("1:1"))])],
            ),
            (
                "append what is there",
                vec![one(TOPIC, t, &[(list, APPEND, Some("1:1"))])],
            ),
            (
                "subtract",
                vec![one(TOPIC, t, &[(list, SUBTRACT, Some("0:1"))])],
            ),
            (
                "subtract what is not there",
                vec![one(TOPIC, t, &[(list, SUBTRACT, Some("9:9"))])],
            ),
            (
                "append to a number",
                vec![one(TOPIC, t, &ms(APPEND, Some("1")))],
            ),
            (
                "subtract from a number",
                vec![one(TOPIC, t, &ms(SUBTRACT, Some("1")))],
            ),
            (
                "an unknown key",
                vec![one(TOPIC, t, &[("no.such.key", SET, Some("1"))])],
            ),
            (
                "delete an unknown key",
                vec![one(TOPIC, t, &[("no.such.key", DELETE, None)])],
            ),
            ("a bad value", vec![one(TOPIC, t, &ms(SET, Some("soon")))]),
            (
                "a value below the range",
                vec![one(TOPIC, t, &ms(SET, Some("-2")))],
            ),
            ("a null value", vec![one(TOPIC, t, &ms(SET, None))]),
            (
                "an unknown operation",
                vec![one(TOPIC, t, &ms(9, Some("1")))],
            ),
            (
                "one key twice",
                vec![one(TOPIC, t, &[ms(SET, Some("1"))[0], ms(DELETE, None)[0]])],
            ),
            (
                "one topic twice",
                vec![one(TOPIC, t, &[]), one(TOPIC, t, &[])],
            ),
            (
                "an unknown topic",
                vec![one(TOPIC, never, &ms(SET, Some("1")))],
            ),
            ("an unknown kind", vec![one(99, t, &ms(SET, Some("1")))]),
            (
                "an unknown broker",
                vec![one(BROKER, "99", &[("log.retention.ms", SET, Some("1"))])],
            ),
            (
                "a broker's fixed key",
                vec![one(BROKER, "1", &[("log.dirs", SET, Some("/tmp"))])],
            ),
            // What groups are held to does not change while the brokers run.
            (
                "a group's longest session",
                vec![one(
                    BROKER,
                    "1",
                    &[("group.max.session.timeout.ms", SET, Some("60000"))],
                )],
            ),
            (
                "how long offsets are kept",
                vec![one(
                    BROKER,
                    "",
                    &[("offsets.retention.minutes", SET, Some("5"))],
                )],
            ),
            (
                "a broker's unknown key",
                vec![one(BROKER, "1", &[("no.such.key", SET, Some("1"))])],
            ),
            (
                "a broker's bad value",
                vec![one(BROKER, "1", &[("log.retention.ms", SET, Some("x"))])],
            ),
            (
                "a broker's key",
                vec![one(
                    BROKER,
                    "1",
                    &[("log.retention.ms", SET, Some("86400000"))],
                )],
            ),
            (
                "a broker's key back",
                vec![one(BROKER, "1", &[("log.retention.ms", DELETE, None)])],
            ),
            (
                "the brokers' default",
                vec![one(
                    BROKER,
                    "",
                    &[("log.segment.bytes", SET, Some("20000000"))],
                )],
            ),
            (
                "the brokers' default back",
                vec![one(BROKER, "", &[("log.segment.bytes", DELETE, None)])],
            ),
            (
                "a logger",
                vec![one(
                    BROKER_LOGGER,
                    "1",
                    &[("no.such.logger", SET, Some("INFO"))],
                )],
            ),
            (
                "one good, one bad",
                vec![
                    one(TOPIC, t, &[("segment.ms", SET, Some("900000"))]),
                    one(TOPIC, never, &[]),
                ],
            ),
            ("nothing", vec![]),
        ];
        for (label, resources) in cases {
            let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
            s.attempt(label, v, &request);
        }
        let validate = |value: &'static str| {
            IncrementalAlterConfigsRequest::default()
                .with_resources(vec![one(TOPIC, t, &ms(SET, Some(value)))])
                .with_validate_only(true)
        };
        s.call(&mut c, "only validated", v, &validate("5"));
        s.call(&mut c, "only validated, a bad value", v, &validate("x"));
        after(s, t, "segment.ms", "900000", &format!("after v{v}"));
    }
}

/// A changed limit is in force for the next request, without a restart.
pub(crate) fn effects(s: &mut Session) {
    let topic = s.topic("effect", 2, &[]);
    let v = s.newest::<ProduceRequest>();
    let mut c = s.connect();
    let batch = Batch::sized(1, 3000).bytes();
    let mut change = |s: &mut Session, key: &str, operation: i8, value: Option<&str>| {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(operation)
            .with_value(value.map(text));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic.name.to_string()))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        s.call(&mut c, &format!("change {key}"), 1, &request);
        let shown = value.map(str::to_string);
        eventually("the change shows", || {
            let asked = vec![resource_of(&topic.name, key)];
            let response = c.exchange(1, &ask(1, asked));
            let entry = &response.results[0].configs[0];
            let set = entry.config_source == 1;
            set == shown.is_some()
                && shown
                    .as_deref()
                    .is_none_or(|v| entry.value.as_ref().is_some_and(|e| e.as_str() == v))
        });
    };
    // Kafka tells a change before its logs follow it, so partition 1 is asked until they do.
    let mut p = s.connect();
    let mut probe = s.connect();
    let mut send =
        |s: &mut Session, label: &str, in_force: &dyn Fn(&PartitionProduceResponse) -> bool| {
            eventually("the change is in force", || {
                let probed = request(1, vec![data(v, &topic, &[(1, Some(batch.clone()))])]);
                let response = probe.exchange(v, &probed);
                in_force(&response.responses[0].partition_responses[0])
            });
            std::thread::sleep(Duration::from_millis(300));
            let recorded = request(-1, vec![data(v, &topic, &[(0, Some(batch.clone()))])]);
            s.call(&mut p, label, v, &recorded);
        };
    send(s, "before", &|p| p.error_code == 0);
    change(s, "max.message.bytes", SET, Some("1000"));
    send(s, "with a lower limit", &|p| p.error_code == 10);
    change(s, "max.message.bytes", DELETE, None);
    send(s, "with the default again", &|p| p.error_code == 0);
    change(s, "message.timestamp.type", SET, Some("LogAppendTime"));
    send(s, "with the broker's time", &|p| p.log_append_time_ms > 0);
    change(s, "message.timestamp.type", DELETE, None);
    send(s, "with the producer's time", &|p| {
        p.log_append_time_ms == -1
    });
}

fn resource_of(topic: &str, key: &str) -> DescribeConfigsResource {
    resource(TOPIC, topic, Some(&[key]))
}
