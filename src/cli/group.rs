//! `corelog group`: prints what Apache Kafka's kafka-consumer-groups prints.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::arguments::{ClusterArguments, GroupCommand};
use super::failure::Failure;
use super::screen::{Screen, Table};
use super::{connect, reset, screen_of};
use crate::client::{
    Client, ClientError, CommittedOffset, GroupDescription, GroupListing, MemberDescription,
    OffsetSpec,
};
use crate::model::{Offset, TopicPartition};

/// Runs the command.
pub(super) fn run(command: GroupCommand) -> Result<(), Failure> {
    match command {
        GroupCommand::List { cluster } => {
            let (mut client, mut screen) = open(&cluster)?;
            let mut groups = client.list_groups()?;
            groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
            screen.show(
                || list_text(&groups),
                || groups.iter().map(list_json).collect(),
            )
        }
        GroupCommand::Describe { groups, cluster } => {
            let (mut client, mut screen) = open(&cluster)?;
            describe(&mut client, &mut screen, groups)
        }
        GroupCommand::ResetOffsets(arguments) => {
            let (mut client, mut screen) = open(&arguments.cluster)?;
            reset::run(&mut client, &mut screen, &arguments)
        }
        GroupCommand::Delete { groups, cluster } => {
            let (mut client, mut screen) = open(&cluster)?;
            let delete_one = |group: &String| {
                client.delete_group(group)?;
                screen.show(
                    || format!("Deleted group {group}.\n"),
                    || json!({ "group": group, "deleted": true }),
                )
            };
            let failures = groups.iter().map(delete_one).filter_map(Result::err);
            Failure::all(failures.collect()).map_or(Ok(()), Err)
        }
    }
}

fn open(cluster: &ClusterArguments) -> Result<(Client, Screen), Failure> {
    Ok((connect(cluster)?, screen_of(cluster)))
}

fn list_text(groups: &[GroupListing]) -> String {
    groups
        .iter()
        .map(|group| format!("{}\n", group.group_id))
        .collect()
}

fn list_json(group: &GroupListing) -> Value {
    json!({
        "group": group.group_id,
        "state": group.state,
        "protocol_type": group.protocol_type,
        "coordinator": group.coordinator.0,
    })
}

/// One group as it is shown.
pub(super) struct Standing {
    pub(super) group: GroupDescription,
    pub(super) rows: Vec<Row>,
}

/// What a group has to do with one partition: an offset, a member, or both.
pub(super) struct Row {
    pub(super) partition: TopicPartition,
    pub(super) committed: Option<Offset>,
    pub(super) end: Option<Offset>,
    pub(super) member: Option<MemberDescription>,
}

impl Row {
    pub(super) fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

fn describe(client: &mut Client, screen: &mut Screen, names: Vec<String>) -> Result<(), Failure> {
    let names = match names.is_empty() {
        true => client
            .list_groups()?
            .into_iter()
            .map(|group| group.group_id)
            .collect(),
        false => names,
    };
    let mut standings = Vec::new();
    for name in names {
        standings.push(standing(client, &name)?.ok_or_else(|| {
            Failure::new(format!("there is no group {name}")).try_this("corelog group list")
        })?);
    }
    screen.show(
        || {
            standings
                .iter()
                .map(describe_text)
                .collect::<Vec<_>>()
                .join("\n")
        },
        || standings.iter().map(describe_json).collect(),
    )
}

/// What is known of a group; `None` if there is none of that name.
pub(super) fn standing(client: &mut Client, name: &str) -> Result<Option<Standing>, ClientError> {
    let group = client.describe_group(name)?;
    let committed = client.committed_offsets(name, None)?;
    if group.state == "Dead" && committed.is_empty() {
        return Ok(None);
    }
    let mut rows = join(&group, committed);
    let ends = ends(client, rows.iter().map(|row| &row.partition))?;
    for row in &mut rows {
        row.end = ends.get(&row.partition).copied();
    }
    Ok(Some(Standing { group, rows }))
}

/// Committed offsets and assigned partitions, by partition.
fn join(group: &GroupDescription, committed: Vec<CommittedOffset>) -> Vec<Row> {
    let mut rows: BTreeMap<TopicPartition, Row> = BTreeMap::new();
    let empty = |partition: &TopicPartition| Row {
        partition: partition.clone(),
        committed: None,
        end: None,
        member: None,
    };
    for offset in committed {
        let row = rows
            .entry(offset.partition.clone())
            .or_insert_with_key(empty);
        row.committed = Some(offset.offset);
    }
    for member in &group.members {
        for partition in &member.assignment {
            let row = rows.entry(partition.clone()).or_insert_with_key(empty);
            row.member = Some(member.clone());
        }
    }
    rows.into_values().collect()
}

/// Where the partitions end; without those that do not exist any more.
fn ends<'a>(
    client: &mut Client,
    partitions: impl Iterator<Item = &'a TopicPartition>,
) -> Result<HashMap<TopicPartition, Offset>, ClientError> {
    let topics = client.topics()?;
    let exists = |partition: &TopicPartition| {
        let topic = topics.iter().find(|topic| topic.name == partition.topic);
        topic.is_some_and(|topic| topic.partitions.iter().any(|p| p.index == partition.index))
    };
    let wanted: Vec<_> = partitions
        .filter(|partition| exists(partition))
        .map(|partition| (partition.clone(), OffsetSpec::Latest))
        .collect();
    let listed = client.list_offsets(&wanted)?;
    let known = listed
        .into_iter()
        .filter_map(|listed| Some((listed.partition, listed.offset?)));
    Ok(known.collect())
}

fn describe_text(standing: &Standing) -> String {
    let group = &standing.group;
    let mut table = Table::new(&[
        "GROUP",
        "TOPIC",
        "PARTITION",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ]);
    let number = |number: Option<i64>| number.map_or(String::new(), |number| number.to_string());
    for row in &standing.rows {
        let of_member = |get: fn(&MemberDescription) -> &String| {
            row.member
                .as_ref()
                .map_or(String::new(), |member| get(member).clone())
        };
        table.row([
            group.group_id.clone(),
            row.partition.topic.to_string(),
            row.partition.index.to_string(),
            number(row.committed.map(|offset| offset.0)),
            number(row.end.map(|offset| offset.0)),
            number(row.lag()),
            of_member(|member| &member.member_id),
            of_member(|member| &member.host),
            of_member(|member| &member.client_id),
        ]);
    }
    let about = match group.members.len() {
        0 => format!(
            "Consumer group '{}' has no active members.\n\n",
            group.group_id
        ),
        _ => String::new(),
    };
    format!("{about}{table}")
}

fn describe_json(standing: &Standing) -> Value {
    let group = &standing.group;
    let row = |row: &Row| {
        json!({
            "topic": row.partition.topic.as_str(),
            "partition": row.partition.index,
            "current_offset": row.committed.map(|offset| offset.0),
            "log_end_offset": row.end.map(|offset| offset.0),
            "lag": row.lag(),
            "member_id": row.member.as_ref().map(|member| member.member_id.clone()),
        })
    };
    let member = |member: &MemberDescription| {
        json!({
            "member_id": member.member_id,
            "group_instance_id": member.group_instance_id,
            "client_id": member.client_id,
            "host": member.host,
            "partition_count": member.assignment.len(),
        })
    };
    json!({
        "group": group.group_id,
        "state": group.state,
        "protocol_type": group.protocol_type,
        "assignor": group.protocol,
        "coordinator": group.coordinator.0,
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
        "partitions": standing.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::partition_of;
    use crate::model::NodeId;

    fn standing(members: Vec<MemberDescription>) -> Standing {
        let group = GroupDescription {
            group_id: "readers".into(),
            state: "Stable".into(),
            protocol_type: "consumer".into(),
            protocol: "range".into(),
            coordinator: NodeId(1),
            members,
        };
        let committed = vec![
            CommittedOffset::new(partition_of("orders", 1), Offset(7)),
            CommittedOffset::new(partition_of("orders", 0), Offset(12)),
        ];
        let mut rows = join(&group, committed);
        for row in &mut rows {
            row.end = (row.partition.topic.as_str() == "orders").then_some(Offset(10));
        }
        Standing { group, rows }
    }

    fn member() -> MemberDescription {
        MemberDescription {
            member_id: "m-1".into(),
            group_instance_id: None,
            client_id: "c".into(),
            host: "/127.0.0.1".into(),
            assignment: vec![partition_of("orders", 1), partition_of("new", 0)],
        }
    }

    #[test]
    fn offsets_and_members_are_joined_by_partition() {
        let expected = "\
GROUP    TOPIC   PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG  CONSUMER-ID  HOST        CLIENT-ID
readers  new     0          -               -               -    m-1          /127.0.0.1  c
readers  orders  0          12              10              0    -            -           -
readers  orders  1          7               10              3    m-1          /127.0.0.1  c
";
        assert_eq!(describe_text(&standing(vec![member()])), expected);
        let json = describe_json(&standing(vec![member()]));
        assert_eq!(json["partitions"][2]["lag"], 3);
        assert_eq!(json["partitions"][0]["lag"], Value::Null);
        assert_eq!(json["members"][0]["partition_count"], 2);
    }

    #[test]
    fn a_group_without_members_says_so() {
        let text = describe_text(&standing(vec![]));
        assert!(text.starts_with("Consumer group 'readers' has no active members.\n\nGROUP "));
    }
}
