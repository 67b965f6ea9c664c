//! How the leader of a consumer group shares out partitions: Kafka's `range` and `roundrobin`.
//! Pure; every client that leads a group must come to the same result.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{TopicName, TopicPartition};

/// A way of sharing out partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assignor {
    /// Of each topic, consecutive partitions to each member.
    Range,
    /// All partitions of all topics, one after the other, to the members in turn.
    RoundRobin,
}

/// What each member subscribed to, by member id.
pub(super) type Subscriptions = BTreeMap<String, BTreeSet<TopicName>>;
/// What each member gets, by member id.
pub(super) type Assignments = BTreeMap<String, Vec<TopicPartition>>;

impl Assignor {
    /// Every assignor, the preferred one first.
    pub(super) const ALL: [Assignor; 2] = [Assignor::Range, Assignor::RoundRobin];

    /// The name that members agree on.
    pub(super) fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
        }
    }

    /// Shares out the partitions of the topics, whose numbers of partitions are given.
    pub(super) fn assign(
        self,
        members: &Subscriptions,
        partition_counts: &BTreeMap<TopicName, i32>,
    ) -> Assignments {
        let mut assignments: Assignments = members
            .keys()
            .map(|member| (member.clone(), Vec::new()))
            .collect();
        match self {
            Assignor::Range => assign_ranges(members, partition_counts, &mut assignments),
            Assignor::RoundRobin => assign_in_turn(members, partition_counts, &mut assignments),
        }
        assignments
    }
}

fn assign_ranges(
    members: &Subscriptions,
    partition_counts: &BTreeMap<TopicName, i32>,
    assignments: &mut Assignments,
) {
    for (topic, &count) in partition_counts {
        let interested = members.iter().filter(|(_, topics)| topics.contains(topic));
        let interested: Vec<&String> = interested.map(|(member, _)| member).collect();
        if interested.is_empty() {
            continue;
        }
        let share = count / interested.len() as i32;
        let with_one_more = count % interested.len() as i32;
        let mut next = 0;
        for (rank, member) in interested.into_iter().enumerate() {
            let length = share + i32::from((rank as i32) < with_one_more);
            let range = (next..next + length).map(|index| at(topic, index));
            assignments.entry(member.clone()).or_default().extend(range);
            next += length;
        }
    }
}

fn assign_in_turn(
    members: &Subscriptions,
    partition_counts: &BTreeMap<TopicName, i32>,
    assignments: &mut Assignments,
) {
    let names: Vec<&String> = members.keys().collect();
    let mut turn = 0;
    for (topic, &count) in partition_counts {
        if !members.values().any(|topics| topics.contains(topic)) {
            continue;
        }
        for index in 0..count {
            while !members[names[turn % names.len()]].contains(topic) {
                turn += 1;
            }
            let member = names[turn % names.len()].clone();
            assignments
                .entry(member)
                .or_default()
                .push(at(topic, index));
            turn += 1;
        }
    }
}

fn at(topic: &TopicName, index: i32) -> TopicPartition {
    TopicPartition {
        topic: topic.clone(),
        index,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        assignor: Assignor,
        members: &[(&str, &[&str])],
        topics: &[(&str, i32)],
        expected: &[(&str, &[&str])],
    ) {
        let name = |name: &&str| TopicName::new(name).unwrap();
        let members = members.iter();
        let members =
            members.map(|(member, topics)| (member.to_string(), topics.iter().map(name).collect()));
        let topics = topics
            .iter()
            .map(|(topic, count)| (name(topic), *count))
            .collect();
        let got = assignor.assign(&members.collect(), &topics);
        let got: Vec<(&str, Vec<String>)> = got
            .iter()
            .map(|(member, got)| (member.as_str(), got.iter().map(|p| p.to_string()).collect()))
            .collect();
        let expected: Vec<(&str, Vec<String>)> = expected
            .iter()
            .map(|(member, given)| (*member, given.iter().map(|p| p.to_string()).collect()))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn range_gives_consecutive_partitions_of_each_topic() {
        let both: &[&str] = &["s", "t"];
        check(
            Assignor::Range,
            &[("a", both), ("b", both)],
            &[("s", 3), ("t", 3)],
            &[("a", &["s-0", "s-1", "t-0", "t-1"]), ("b", &["s-2", "t-2"])],
        );
        check(
            Assignor::Range,
            &[("a", &["s"]), ("b", both)],
            &[("t", 1)],
            &[("a", &[]), ("b", &["t-0"])],
        );
        check(
            Assignor::Range,
            &[("a", both), ("b", both)],
            &[("s", 1)],
            &[("a", &["s-0"]), ("b", &[])],
        );
        check(Assignor::Range, &[("a", both)], &[], &[("a", &[])]);
    }

    #[test]
    fn round_robin_goes_on_from_topic_to_topic() {
        let both: &[&str] = &["s", "t"];
        check(
            Assignor::RoundRobin,
            &[("a", both), ("b", both)],
            &[("s", 3), ("t", 3)],
            &[("a", &["s-0", "s-2", "t-1"]), ("b", &["s-1", "t-0", "t-2"])],
        );
        check(
            Assignor::RoundRobin,
            &[("a", &["s"]), ("b", both)],
            &[("s", 2), ("t", 2), ("u", 9)],
            &[("a", &["s-0"]), ("b", &["s-1", "t-0", "t-1"])],
        );
    }
}
