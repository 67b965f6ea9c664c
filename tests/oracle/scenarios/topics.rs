//! Metadata and the life of topics.

use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeTopicPartitionsRequest, MetadataRequest, TopicName,
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
    describe_topic_partitions_request::{Cursor, TopicRequest},
    metadata_request::MetadataRequestTopic,
};
use uuid::Uuid;

use crate::session::{Session, eventually, text};

const UNKNOWN_ID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);

fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn by_name(topic: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(name(topic)))
}

fn by_id(id: Uuid) -> MetadataRequestTopic {
    MetadataRequestTopic::default()
        .with_name(None)
        .with_topic_id(id)
}

pub(crate) fn metadata(s: &mut Session) {
    let two = s.topic("two", 2, &[]);
    let one = s.topic("one", 1, &[]);
    let prefix = s.named("");
    let mut c = s.connect();
    for v in s.versions::<MetadataRequest>() {
        // No topic is created on the way, where a version can say so.
        let ask = |topics: Option<Vec<MetadataRequestTopic>>| {
            let request = MetadataRequest::default().with_topics(topics);
            match v {
                4.. => request.with_allow_auto_topic_creation(false),
                _ => request,
            }
        };
        let all = if v == 0 { Some(vec![]) } else { None };
        let mut response = c.exchange(v, &ask(all));
        let ours = |t: &TopicName| t.starts_with(prefix.as_str());
        response
            .topics
            .retain(|t| t.name.as_ref().is_some_and(ours));
        s.note::<MetadataRequest>("all topics", v, &response);

        s.call(
            &mut c,
            "two topics",
            v,
            &ask(Some(vec![by_name(&two.name), by_name(&one.name)])),
        );
        s.call(
            &mut c,
            "the same twice",
            v,
            &ask(Some(vec![by_name(&one.name), by_name(&one.name)])),
        );
        s.call(
            &mut c,
            "a bad name",
            v,
            &ask(Some(vec![by_name("bad name!")])),
        );
        s.call(&mut c, "an empty name", v, &ask(Some(vec![by_name("")])));
        if v >= 1 {
            s.call(&mut c, "no topic", v, &ask(Some(vec![])));
        }
        if v >= 4 {
            let both = vec![by_name(&one.name), by_name("never-made")];
            s.call(&mut c, "one unknown", v, &ask(Some(both)));
        }
        if v >= 8 {
            let request = ask(Some(vec![by_name(&one.name), by_name("never-made")]))
                .with_include_topic_authorized_operations(true);
            s.call(&mut c, "operations of topics", v, &request);
        }
        if (8..=10).contains(&v) {
            let request = ask(Some(vec![])).with_include_cluster_authorized_operations(true);
            s.call(&mut c, "operations of the cluster", v, &request);
        }
        if v >= 12 {
            s.call(
                &mut c,
                "by id",
                v,
                &ask(Some(vec![by_id(one.id), by_id(two.id)])),
            );
            s.call(
                &mut c,
                "by an unknown id",
                v,
                &ask(Some(vec![by_id(UNKNOWN_ID)])),
            );
            let mixed = vec![by_id(one.id), by_id(UNKNOWN_ID)];
            s.call(&mut c, "by a known and an unknown id", v, &ask(Some(mixed)));
        }
    }
}

/// A topic that is asked for and does not exist is made, if the broker and the request allow it.
pub(crate) fn auto_creation(s: &mut Session) {
    let mut c = s.connect();
    for v in s.versions::<MetadataRequest>() {
        let topic = s.named(&format!("made-{v}"));
        let request = MetadataRequest::default().with_topics(Some(vec![by_name(&topic)]));
        let first = c.exchange(v, &request);
        let code = first.topics[0].error_code;
        // LEADER_NOT_AVAILABLE and UNKNOWN_TOPIC_OR_PARTITION make clients ask again. A broker may
        // be done at once, too.
        s.fact(&format!("first answer in v{v}"), [0, 3, 5].contains(&code));
        eventually("the topic is there", || {
            c.exchange(v, &request).topics[0].error_code == 0
        });
        if v >= 10 {
            let id = c.exchange(v, &request).topics[0].topic_id;
            s.names.topic(id, &topic);
        }
        s.call(&mut c, "made", v, &request);
    }
    let request = MetadataRequest::default()
        .with_topics(Some(vec![by_name("bad name!")]))
        .with_allow_auto_topic_creation(true);
    s.call(
        &mut c,
        "a bad name",
        s.newest::<MetadataRequest>(),
        &request,
    );
}

fn creatable(topic: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
}

fn config(key: &str, value: Option<&str>) -> CreatableTopicConfig {
    CreatableTopicConfig::default()
        .with_name(text(key))
        .with_value(value.map(text))
}

fn assigned(topic: &str, brokers: &[&[i32]]) -> CreatableTopic {
    let assignments = brokers.iter().enumerate().map(|(index, brokers)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(index as i32)
            .with_broker_ids(brokers.iter().map(|b| (*b).into()).collect())
    });
    creatable(topic, -1, -1).with_assignments(assignments.collect())
}

pub(crate) fn create_topics(s: &mut Session) {
    let mut c = s.connect();
    for v in s.versions::<CreateTopicsRequest>() {
        let topic = |stem: &str| format!("{stem}-{v}");
        let existing = s.topic(&topic("existing"), 1, &[]);
        let names: Vec<String> = (0..24).map(|i| s.named(&topic(&format!("t{i}")))).collect();
        let ask = |topics: Vec<CreatableTopic>| {
            CreateTopicsRequest::default()
                .with_timeout_ms(20_000)
                .with_topics(topics)
        };
        let mut try_one = |s: &mut Session, label: &str, topic: CreatableTopic| {
            s.call(&mut c, label, v, &ask(vec![topic]));
        };
        try_one(s, "two partitions", creatable(&names[0], 2, 1));
        let configs = vec![
            config("retention.ms", Some("3600000")),
            config("message.timestamp.type", Some("LogAppendTime")),
        ];
        try_one(
            s,
            "configs",
            creatable(&names[1], 1, 1).with_configs(configs),
        );
        try_one(s, "it exists", creatable(&existing.name, 1, 1));
        try_one(s, "no partitions", creatable(&names[2], 0, 1));
        try_one(s, "negative partitions", creatable(&names[2], -5, 1));
        try_one(s, "too many replicas", creatable(&names[3], 1, 3));
        try_one(s, "no replicas", creatable(&names[3], 1, 0));
        try_one(s, "bad name", creatable("bad name!", 1, 1));
        try_one(s, "empty name", creatable("", 1, 1));
        try_one(s, "dots", creatable("..", 1, 1));
        try_one(s, "long name", creatable(&"x".repeat(250), 1, 1));
        try_one(s, "defaults", creatable(&names[4], -1, -1));
        try_one(s, "assignment", assigned(&names[5], &[&[1], &[1]]));
        try_one(s, "assignment to nobody", assigned(&names[6], &[&[]]));
        try_one(
            s,
            "assignment to an unknown broker",
            assigned(&names[6], &[&[99]]),
        );
        try_one(
            s,
            "assignment to one broker twice",
            assigned(&names[6], &[&[1, 1]]),
        );
        let both = assigned(&names[6], &[&[1]]).with_num_partitions(1);
        try_one(s, "assignment and a count", both);
        for (label, key, value) in [
            ("unknown config", "no.such.config", Some("1")),
            ("bad number", "retention.ms", Some("soon")),
            ("number below the range", "retention.ms", Some("-2")),
            ("bad choice", "cleanup.policy", Some("burn")),
            ("config without a value", "retention.ms", None),
            ("min.insync.replicas of 0", "min.insync.replicas", Some("0")),
            ("bad codec", "compression.type", Some("brotli")),
            ("bad boolean", "preallocate", Some("perhaps")),
        ] {
            let topic = creatable(&names[7], 1, 1).with_configs(vec![config(key, value)]);
            try_one(s, label, topic);
        }
        let twice = vec![creatable(&names[8], 1, 1), creatable(&names[8], 1, 1)];
        s.call(&mut c, "one name twice", v, &ask(twice));
        let mixed = vec![creatable(&names[9], 1, 1), creatable("bad name!", 1, 1)];
        s.call(&mut c, "one good, one bad", v, &ask(mixed));
        s.call(&mut c, "nothing", v, &ask(vec![]));
        for (label, topic) in [
            ("only validated", creatable(&names[10], 2, 1)),
            ("only validated, it exists", creatable(&existing.name, 1, 1)),
            ("only validated, no partitions", creatable(&names[10], 0, 1)),
        ] {
            s.call(&mut c, label, v, &ask(vec![topic]).with_validate_only(true));
        }
        // Validation made nothing: the name is still free.
        s.call(
            &mut c,
            "after validation",
            v,
            &ask(vec![creatable(&names[10], 2, 1)]),
        );
        // Names that differ in `.` and `_` only would be one metric.
        s.call(
            &mut c,
            "a dot",
            v,
            &ask(vec![creatable(&format!("{}.a", names[11]), 1, 1)]),
        );
        s.call(
            &mut c,
            "an underscore",
            v,
            &ask(vec![creatable(&format!("{}_a", names[11]), 1, 1)]),
        );
    }
}

pub(crate) fn delete_topics(s: &mut Session) {
    let mut c = s.connect();
    for v in s.versions::<DeleteTopicsRequest>() {
        let gone = s.topic(&format!("gone-{v}"), 2, &[]);
        let ask = |names: Vec<TopicName>| {
            let request = DeleteTopicsRequest::default().with_timeout_ms(20_000);
            if v >= 6 {
                let named = |n| DeleteTopicState::default().with_name(Some(n));
                request.with_topics(names.into_iter().map(named).collect())
            } else {
                request.with_topic_names(names)
            }
        };
        let unknown = name("never-made");
        s.call(&mut c, "nothing", v, &ask(vec![]));
        s.call(
            &mut c,
            "one known, one unknown",
            v,
            &ask(vec![gone.name.clone(), unknown.clone()]),
        );
        eventually("the topic is gone", || {
            let asked = MetadataRequest::default()
                .with_topics(Some(vec![by_name(&gone.name)]))
                .with_allow_auto_topic_creation(false);
            c.exchange(9, &asked).topics[0].error_code == 3
        });
        s.call(&mut c, "again", v, &ask(vec![gone.name.clone()]));
        let kept = s.topic(&format!("once-{v}"), 1, &[]);
        s.call(&mut c, "known", v, &ask(vec![kept.name.clone()]));
        if v >= 6 {
            let first = s.topic("by-id", 1, &[]);
            let second = s.topic("twice", 1, &[]);
            let state = DeleteTopicState::default;
            let by_id = |id| state().with_name(None).with_topic_id(id);
            let ask = |topics| {
                DeleteTopicsRequest::default()
                    .with_timeout_ms(20_000)
                    .with_topics(topics)
            };
            for (label, topics) in [
                ("by id", vec![by_id(first.id)]),
                ("by an unknown id", vec![by_id(UNKNOWN_ID)]),
                ("neither name nor id", vec![by_id(Uuid::nil())]),
                (
                    "name and id",
                    vec![
                        state()
                            .with_name(Some(second.name.clone()))
                            .with_topic_id(second.id),
                    ],
                ),
                (
                    "one name twice",
                    vec![
                        state().with_name(Some(second.name.clone())),
                        state().with_name(Some(second.name.clone())),
                    ],
                ),
                ("one id twice", vec![by_id(second.id), by_id(second.id)]),
            ] {
                s.call(&mut c, label, v, &ask(topics));
            }
        }
        // A topic of the same name has another id and no records.
        let again = s.topic(&format!("gone-{v}"), 1, &[]);
        s.fact("a new topic has a new id", again.id != gone.id);
    }
}

pub(crate) fn create_partitions(s: &mut Session) {
    let mut c = s.connect();
    for v in s.versions::<CreatePartitionsRequest>() {
        let topic = s.topic(&format!("grown-{v}"), 2, &[]);
        let ask = |name: &TopicName, count: i32, brokers: Option<Vec<i32>>| {
            let assignments = brokers.map(|brokers| {
                let one =
                    |b: i32| CreatePartitionsAssignment::default().with_broker_ids(vec![b.into()]);
                brokers.into_iter().map(one).collect()
            });
            CreatePartitionsTopic::default()
                .with_name(name.clone())
                .with_count(count)
                .with_assignments(assignments)
        };
        let request = |topics: Vec<CreatePartitionsTopic>| {
            CreatePartitionsRequest::default()
                .with_timeout_ms(20_000)
                .with_topics(topics)
        };
        let t = &topic.name;
        for (label, topics) in [
            ("more", vec![ask(t, 3, None)]),
            ("the same count", vec![ask(t, 3, None)]),
            ("fewer", vec![ask(t, 2, None)]),
            ("none", vec![ask(t, 0, None)]),
            ("an unknown topic", vec![ask(&name("never-made"), 3, None)]),
            ("assigned", vec![ask(t, 5, Some(vec![1, 1]))]),
            ("too few assignments", vec![ask(t, 7, Some(vec![1]))]),
            ("an unknown broker", vec![ask(t, 6, Some(vec![99]))]),
            ("one topic twice", vec![ask(t, 6, None), ask(t, 7, None)]),
            ("nothing", vec![]),
        ] {
            s.call(&mut c, label, v, &request(topics));
        }
        let validate = request(vec![ask(t, 9, None)]).with_validate_only(true);
        s.call(&mut c, "only validated", v, &validate);
        s.wait_for_leaders(t, 5);
        let asked = MetadataRequest::default().with_topics(Some(vec![by_name(t)]));
        s.call(
            &mut c,
            &format!("after v{v}"),
            s.newest::<MetadataRequest>(),
            &asked,
        );
    }
}

pub(crate) fn describe_topic_partitions(s: &mut Session) {
    let topics = ["a", "b"].map(|stem| s.topic(stem, 4, &[]));
    let mut c = s.connect();
    let ask = |names: &[&TopicName], limit: i32, cursor: Option<(&TopicName, i32)>| {
        let asked = names
            .iter()
            .map(|n| TopicRequest::default().with_name((*n).clone()));
        let cursor = cursor.map(|(name, index)| {
            Cursor::default()
                .with_topic_name(name.clone())
                .with_partition_index(index)
        });
        DescribeTopicPartitionsRequest::default()
            .with_topics(asked.collect())
            .with_response_partition_limit(limit)
            .with_cursor(cursor)
    };
    let (a, b, unknown) = (&topics[0].name, &topics[1].name, name("never-made"));
    let bad = name("bad name!");
    for v in s.versions::<DescribeTopicPartitionsRequest>() {
        for (label, request) in [
            ("both", ask(&[a, b], 2000, None)),
            ("in the other order", ask(&[b, a], 2000, None)),
            ("one twice", ask(&[a, a], 2000, None)),
            ("unknown", ask(&[&unknown], 2000, None)),
            ("bad name", ask(&[&bad], 2000, None)),
            ("known and unknown", ask(&[a, &unknown], 2000, None)),
            ("the first three", ask(&[a, b], 3, None)),
            ("three more", ask(&[a, b], 3, Some((a, 3)))),
            ("the rest", ask(&[a, b], 3, Some((b, 2)))),
            ("past the end", ask(&[a, b], 3, Some((b, 9)))),
            ("exactly one topic", ask(&[a, b], 4, None)),
            ("no limit", ask(&[a], 0, None)),
            ("negative limit", ask(&[a], -1, None)),
            ("negative cursor", ask(&[a], 4, Some((a, -1)))),
            ("cursor on another topic", ask(&[b], 4, Some((a, 0)))),
        ] {
            s.call(&mut c, label, v, &request);
        }
    }
}
