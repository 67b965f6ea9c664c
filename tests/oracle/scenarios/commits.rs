//! OffsetCommit, OffsetFetch, OffsetDelete.

use bytes::Bytes;
use kafka_protocol::messages::{
    GroupId, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, TopicName,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    },
};

use super::groups::{Member, group};
use crate::session::{Session, text};

/// A commit of one partition.
pub(crate) fn commit(
    member: &Member,
    generation: i32,
    topic: &str,
    partition: i32,
    offset: i64,
    metadata: &str,
) -> OffsetCommitRequest {
    OffsetCommitRequest::default()
        .with_group_id(group(&member.group))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(member.id.clone())
        .with_group_instance_id(member.instance.as_ref().map(text))
        .with_topics(vec![
            OffsetCommitRequestTopic::default()
                .with_name(TopicName(text(topic)))
                .with_partitions(vec![
                    OffsetCommitRequestPartition::default()
                        .with_partition_index(partition)
                        .with_committed_offset(offset)
                        .with_committed_metadata(Some(text(metadata))),
                ]),
        ])
}

pub(crate) fn offset_commit(s: &mut Session) {
    let topic = s.topic("committed", 2, &[]);
    let mut c = s.connect();
    for v in s.versions::<OffsetCommitRequest>() {
        let nobody = Member::of(&s.named(&format!("nobody-{v}")));
        let n: &str = &topic.name;
        let unset = |request: OffsetCommitRequest| {
            let mut request = request;
            request.topics[0].partitions[0].committed_metadata = None;
            request
        };
        let epoch = |mut request: OffsetCommitRequest, epoch: i32| {
            if v >= 6 {
                request.topics[0].partitions[0].committed_leader_epoch = epoch;
            }
            request
        };
        for (label, request) in [
            ("without a group", commit(&nobody, -1, n, 0, 5, "note")),
            ("without metadata", unset(commit(&nobody, -1, n, 1, 6, ""))),
            ("with an epoch", epoch(commit(&nobody, -1, n, 0, 7, ""), 0)),
            ("an unknown partition", commit(&nobody, -1, n, 9, 5, "")),
            (
                "an unknown topic",
                commit(&nobody, -1, "never-made", 0, 5, ""),
            ),
            (
                "long metadata",
                commit(&nobody, -1, n, 0, 5, &"x".repeat(4096)),
            ),
            (
                "too long metadata",
                commit(&nobody, -1, n, 0, 5, &"x".repeat(4097)),
            ),
            ("a negative offset", commit(&nobody, -1, n, 0, -1, "")),
            ("a very negative offset", commit(&nobody, -1, n, 0, -5, "")),
            (
                "with a generation of no group",
                commit(&nobody, 3, n, 0, 5, ""),
            ),
            (
                "to an empty group name",
                commit(&Member::of(""), -1, n, 0, 5, ""),
            ),
        ] {
            s.call(&mut c, label, v, &request);
        }
        let mut stranger = nobody.clone();
        stranger.id = text("stranger");
        s.call(
            &mut c,
            "of a stranger",
            v,
            &commit(&stranger, 1, n, 0, 5, ""),
        );

        let mut member = Member::of(&s.named(&format!("members-{v}")));
        let joined = member.join(s, &mut c, "join", 9);
        let generation = joined.generation_id;
        s.call(
            &mut c,
            "before the sync",
            v,
            &commit(&member, generation, n, 0, 5, ""),
        );
        let shares = [(member.id.clone(), "all")];
        c.exchange(5, &member.syncing(5, generation, &shares));
        stranger.group = member.group.clone();
        let mut outside = member.clone();
        outside.id = text("");
        for (label, who, generation) in [
            ("of a member", &member, generation),
            ("of an old generation", &member, generation - 1),
            ("of a later generation", &member, generation + 1),
            ("of a stranger in a group", &stranger, generation),
            ("of nobody while there are members", &outside, -1),
        ] {
            s.call(&mut c, label, v, &commit(who, generation, n, 0, 9, "m"));
        }
        let mut two = commit(&member, generation, n, 0, 10, "");
        let other = commit(&member, generation, "never-made", 0, 1, "");
        two.topics.extend(other.topics);
        s.call(&mut c, "one known, one unknown", v, &two);
        two.topics.clear();
        s.call(&mut c, "nothing", v, &two);
        if v >= 7 {
            let mut instance = member.clone();
            instance.instance = Some("host".into());
            s.call(
                &mut c,
                "of an unknown instance",
                v,
                &commit(&instance, generation, n, 0, 1, ""),
            );
        }
        c.exchange(3, &member.leaving(3));
        let mut late = commit(&outside, -1, n, 1, 11, "after");
        s.call(&mut c, "when the group is empty", v, &late);
        if v <= 4 {
            late.retention_time_ms = 3_600_000;
            s.call(&mut c, "with a retention", v, &late);
        }
    }
}

/// Topics and partitions, as both forms of the request take them.
pub(crate) type Wanted = Option<Vec<(String, Vec<i32>)>>;

pub(crate) fn fetch(v: i16, groups: &[(&str, Wanted)]) -> OffsetFetchRequest {
    if v >= 8 {
        let groups = groups.iter().map(|(name, wanted)| {
            OffsetFetchRequestGroup::default()
                .with_group_id(group(name))
                .with_topics(wanted.clone().map(|topics| {
                    let one = |(name, partitions)| {
                        OffsetFetchRequestTopics::default()
                            .with_name(TopicName(text(name)))
                            .with_partition_indexes(partitions)
                    };
                    topics.into_iter().map(one).collect()
                }))
        });
        return OffsetFetchRequest::default().with_groups(groups.collect());
    }
    let (name, wanted) = &groups[0];
    OffsetFetchRequest::default()
        .with_group_id(group(name))
        .with_topics(wanted.clone().map(|topics| {
            let one = |(name, partitions)| {
                OffsetFetchRequestTopic::default()
                    .with_name(TopicName(text(name)))
                    .with_partition_indexes(partitions)
            };
            topics.into_iter().map(one).collect()
        }))
}

pub(crate) fn offset_fetch(s: &mut Session) {
    let topic = s.topic("fetched", 3, &[]);
    let n = topic.name.to_string();
    let member = Member::of(&s.named("fetching"));
    let mut c = s.connect();
    for (partition, offset, metadata) in [(0, 5, "note"), (1, 0, "")] {
        let mut request = commit(&member, -1, &n, partition, offset, metadata);
        request.topics[0].partitions[0].committed_leader_epoch = partition - 1;
        c.exchange(8, &request);
    }
    let name = member.group.clone();
    let unknown = s.named("unknown");
    for v in s.versions::<OffsetFetchRequest>() {
        let of =
            |topic: &str, partitions: &[i32]| Some(vec![(topic.to_string(), partitions.to_vec())]);
        let mut cases: Vec<(&str, Vec<(&str, Wanted)>)> = vec![
            ("two partitions", vec![(&name, of(&n, &[0, 1]))]),
            ("one without a commit", vec![(&name, of(&n, &[0, 2]))]),
            ("an unknown partition", vec![(&name, of(&n, &[9]))]),
            ("an unknown topic", vec![(&name, of("never-made", &[0]))]),
            ("an unknown group", vec![(&unknown, of(&n, &[0]))]),
            ("an empty group name", vec![("", of(&n, &[0]))]),
            ("no topics", vec![(&name, Some(vec![]))]),
        ];
        if v >= 2 {
            cases.push(("everything", vec![(&name, None)]));
            cases.push(("everything of an unknown group", vec![(&unknown, None)]));
        }
        if v >= 8 {
            let two = vec![(name.as_str(), None), (unknown.as_str(), of(&n, &[0]))];
            cases.push(("two groups", two));
            cases.push((
                "one group twice",
                vec![(&name, None), (&name, of(&n, &[0]))],
            ));
            cases.push(("no groups", vec![]));
        }
        for (label, groups) in cases {
            s.call(&mut c, label, v, &fetch(v, &groups));
        }
        if v >= 7 {
            let stable = fetch(v, &[(&name, None)]).with_require_stable(true);
            s.call(&mut c, "stable ones", v, &stable);
        }
        if v >= 9 {
            for (label, id, epoch) in [
                ("of a stranger", "stranger", 5),
                ("of a stranger without an epoch", "stranger", -1),
                ("with an epoch only", "", 5),
            ] {
                let mut request = fetch(v, &[(&name, None)]);
                request.groups[0].member_id = Some(text(id));
                request.groups[0].member_epoch = epoch;
                s.call(&mut c, label, v, &request);
            }
        }
    }
}

pub(crate) fn offset_delete(s: &mut Session) {
    let topic = s.topic("deleted", 2, &[]);
    let n = topic.name.to_string();
    let mut c = s.connect();
    let ask = |name: &str, asked: &[(&str, &[i32])]| {
        let topics = asked.iter().map(|(topic, partitions)| {
            let one = |p: &i32| OffsetDeleteRequestPartition::default().with_partition_index(*p);
            OffsetDeleteRequestTopic::default()
                .with_name(TopicName(text(*topic)))
                .with_partitions(partitions.iter().map(one).collect())
        });
        OffsetDeleteRequest::default()
            .with_group_id(GroupId(text(name)))
            .with_topics(topics.collect())
    };
    for v in s.versions::<OffsetDeleteRequest>() {
        let empty = Member::of(&s.named("empty"));
        for partition in 0..2 {
            c.exchange(8, &commit(&empty, -1, &n, partition, 5, ""));
        }
        let unknown = s.named("unknown");
        for (label, request) in [
            ("one partition", ask(&empty.group, &[(&n, &[0])])),
            ("again", ask(&empty.group, &[(&n, &[0])])),
            ("an unknown partition", ask(&empty.group, &[(&n, &[9])])),
            (
                "an unknown topic",
                ask(&empty.group, &[("never-made", &[0])]),
            ),
            ("an unknown group", ask(&unknown, &[(&n, &[0])])),
            ("an empty group name", ask("", &[(&n, &[0])])),
            ("nothing", ask(&empty.group, &[])),
        ] {
            s.call(&mut c, label, v, &request);
        }
        let left = fetch(6, &[(&empty.group, None)]);
        s.call(&mut c, "what is left", 6, &left);

        // A member that reads the topic keeps its offsets; its subscription is in its metadata.
        let mut reader = Member::of(&s.named("reading"));
        reader.protocol_type = "consumer";
        reader.protocols = vec![("range", subscription(&n))];
        let joined = reader.join(s, &mut c, "a reader joins", 9);
        let shares = [(reader.id.clone(), "all")];
        c.exchange(5, &reader.syncing(5, joined.generation_id, &shares));
        c.exchange(8, &commit(&reader, joined.generation_id, &n, 0, 3, ""));
        s.call(
            &mut c,
            "of a topic that is read",
            v,
            &ask(&reader.group, &[(&n, &[0])]),
        );
        s.call(
            &mut c,
            "of a topic that is not read",
            v,
            &ask(&reader.group, &[("never-made", &[0])]),
        );
        // A group of another kind says nothing of its topics.
        let mut other = Member::of(&s.named("other-kind"));
        other.protocol_type = "connect";
        other.join(s, &mut c, "a member of another kind", 9);
        s.call(
            &mut c,
            "while members of another kind are there",
            v,
            &ask(&other.group, &[(&n, &[0])]),
        );
    }
}

/// A consumer's subscription to one topic, version 0.
pub(crate) fn subscription(topic: &str) -> Bytes {
    let mut out = vec![0, 0, 0, 0, 0, 1];
    out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.into()
}
