//! `corelog topic`: prints what Apache Kafka's kafka-topics prints.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::arguments::{ClusterArguments, TopicCommand};
use super::failure::Failure;
use super::screen::Screen;
use super::{connect, screen_of};
use crate::client::{
    Client, ConfigChange, ConfigEntry, ConfigOwner, ConfigSource, NewTopic, TopicDescription,
};
use crate::model::{NodeId, TopicName};
use crate::protocol::ErrorCode;

/// Runs the command.
pub(super) fn run(command: TopicCommand) -> Result<(), Failure> {
    let (mut client, mut screen) = open(cluster_of(&command))?;
    match command {
        TopicCommand::Create {
            name,
            partitions,
            replication_factor,
            configs,
            if_not_exists,
            ..
        } => {
            let topic = NewTopic {
                partition_count: partitions,
                replication_factor,
                configs,
                ..NewTopic::new(topic_name(&name)?)
            };
            create(&mut client, &mut screen, &topic, if_not_exists)
        }
        TopicCommand::List {
            exclude_internal, ..
        } => {
            let mut topics = client.topics()?;
            topics.retain(|topic| !(exclude_internal && topic.is_internal));
            topics.sort_by(|a, b| a.name.cmp(&b.name));
            screen.show(
                || list_text(&topics),
                || topics.iter().map(list_json).collect(),
            )
        }
        TopicCommand::Describe { names, .. } => describe(&mut client, &mut screen, &names),
        TopicCommand::Delete {
            names,
            if_exists,
            force_internal,
            ..
        } => delete_all(&mut client, &mut screen, &names, if_exists, force_internal),
        TopicCommand::Alter {
            name,
            partitions,
            configs,
            delete_configs,
            ..
        } => {
            let set = configs
                .into_iter()
                .map(|(key, value)| ConfigChange::Set(key, value));
            let changes: Vec<_> = set
                .chain(delete_configs.into_iter().map(ConfigChange::Delete))
                .collect();
            alter(
                &mut client,
                &mut screen,
                &topic_name(&name)?,
                partitions,
                &changes,
            )
        }
    }
}

fn cluster_of(command: &TopicCommand) -> &ClusterArguments {
    match command {
        TopicCommand::Create { cluster, .. }
        | TopicCommand::List { cluster, .. }
        | TopicCommand::Describe { cluster, .. }
        | TopicCommand::Delete { cluster, .. }
        | TopicCommand::Alter { cluster, .. } => cluster,
    }
}

fn open(cluster: &ClusterArguments) -> Result<(Client, Screen), Failure> {
    Ok((connect(cluster)?, screen_of(cluster)))
}

/// A name from the command line.
pub(super) fn topic_name(name: &str) -> Result<TopicName, Failure> {
    TopicName::new(name).map_err(|_| {
        Failure::usage(format!("{name:?} is no topic name"))
            .because("a topic's name has 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'")
    })
}

fn create(
    client: &mut Client,
    screen: &mut Screen,
    topic: &NewTopic,
    if_not_exists: bool,
) -> Result<(), Failure> {
    let created = match client.create_topic(topic) {
        Ok(id) => Some(id),
        Err(error) if if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => None,
        Err(error) => return Err(error.into()),
    };
    screen.show(
        || match created {
            Some(_) => format!("Created topic {}.\n", topic.name),
            None => format!("Topic {} exists.\n", topic.name),
        },
        || {
            let id = created.map(|id| id.to_string());
            json!({ "topic": topic.name.as_str(), "topic_id": id, "created": created.is_some() })
        },
    )
}

/// Deletes what can be deleted, and tells of each topic what became of it.
fn delete_all(
    client: &mut Client,
    screen: &mut Screen,
    names: &[String],
    if_exists: bool,
    force_internal: bool,
) -> Result<(), Failure> {
    let mut internal = Vec::new();
    if !force_internal {
        let owned = client
            .topics()?
            .into_iter()
            .filter(|topic| topic.is_internal);
        internal = owned.map(|topic| topic.name).collect();
    }
    let delete_one = |name: &String| {
        let name = topic_name(name)?;
        if internal.contains(&name) {
            return Err(Failure::new(format!("{name} belongs to the brokers"))
                .coded("INVALID_TOPIC_EXCEPTION")
                .because("with __consumer_offsets the offsets of all groups are lost")
                .try_this(format!("corelog topic delete {name} --force-internal")));
        }
        delete(client, screen, &name, if_exists)
    };
    let failures = names
        .iter()
        .map(delete_one)
        .filter_map(Result::err)
        .collect();
    Failure::all(failures).map_or(Ok(()), Err)
}

fn delete(
    client: &mut Client,
    screen: &mut Screen,
    name: &TopicName,
    if_exists: bool,
) -> Result<(), Failure> {
    let is_deleted = match client.delete_topic(name) {
        Ok(()) => true,
        Err(error) if if_exists && error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
            false
        }
        Err(error) => return Err(error.into()),
    };
    screen.show(
        || match is_deleted {
            true => format!("Deleted topic {name}.\n"),
            false => format!("There is no topic {name}.\n"),
        },
        || json!({ "topic": name.as_str(), "deleted": is_deleted }),
    )
}

fn alter(
    client: &mut Client,
    screen: &mut Screen,
    name: &TopicName,
    partitions: Option<i32>,
    changes: &[ConfigChange],
) -> Result<(), Failure> {
    refuse_unknown_keys(client, name, changes)?;
    if let Some(total) = partitions {
        client.create_partitions(name, total)?;
    }
    if !changes.is_empty() {
        client.alter_configs(&ConfigOwner::Topic(name.clone()), changes)?;
    }
    screen.show(
        || format!("Altered topic {name}.\n"),
        || json!({ "topic": name.as_str(), "altered": true }),
    )
}

/// A broker takes the deletion of any key, as Kafka does; a mistyped one would go unnoticed.
fn refuse_unknown_keys(
    client: &mut Client,
    name: &TopicName,
    changes: &[ConfigChange],
) -> Result<(), Failure> {
    let deleted: Vec<&String> = changes
        .iter()
        .filter_map(|change| match change {
            ConfigChange::Delete(key) => Some(key),
            ConfigChange::Set(..) | ConfigChange::Append(..) | ConfigChange::Subtract(..) => None,
        })
        .collect();
    if deleted.is_empty() {
        return Ok(());
    }
    let known = client.configs(&ConfigOwner::Topic(name.clone()))?;
    match deleted
        .into_iter()
        .find(|key| known.iter().all(|entry| entry.key != **key))
    {
        None => Ok(()),
        Some(key) => Err(Failure::new(format!("topics have no configuration {key}"))
            .coded(ErrorCode::InvalidConfig.name())
            .try_this(format!("corelog topic describe {name}"))),
    }
}

fn describe(client: &mut Client, screen: &mut Screen, names: &[String]) -> Result<(), Failure> {
    let mut topics = Vec::new();
    if names.is_empty() {
        topics = client.topics()?;
        topics.sort_by(|a, b| a.name.cmp(&b.name));
    }
    for name in names {
        topics.push(client.topic(&topic_name(name)?)?);
    }
    let mut described = Vec::new();
    for topic in topics {
        let configs = client.configs(&ConfigOwner::Topic(topic.name.clone()))?;
        described.push((topic, set_for_topic(configs)));
    }
    screen.show(
        || {
            described
                .iter()
                .map(|(topic, configs)| describe_text(topic, configs))
                .collect()
        },
        || {
            described
                .iter()
                .map(|(topic, configs)| describe_json(topic, configs))
                .collect()
        },
    )
}

/// What the topic itself sets: all that kafka-topics shows.
fn set_for_topic(configs: Vec<ConfigEntry>) -> Vec<(String, String)> {
    let own = configs
        .into_iter()
        .filter(|entry| entry.source == ConfigSource::Topic);
    own.map(|entry| (entry.key, entry.value.unwrap_or_default()))
        .collect()
}

fn list_text(topics: &[TopicDescription]) -> String {
    topics
        .iter()
        .map(|topic| format!("{}\n", topic.name))
        .collect()
}

fn list_json(topic: &TopicDescription) -> Value {
    json!({
        "topic": topic.name.as_str(),
        "topic_id": topic.id.to_string(),
        "partitions": topic.partitions.len(),
        "internal": topic.is_internal,
    })
}

fn describe_text(topic: &TopicDescription, configs: &[(String, String)]) -> String {
    let configs: Vec<String> = configs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let replicas = topic
        .partitions
        .iter()
        .map(|partition| partition.replicas.len())
        .max();
    let mut text = format!(
        "Topic: {}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {}\tConfigs: {}\n",
        topic.name,
        topic.id,
        topic.partitions.len(),
        replicas.unwrap_or(0),
        configs.join(","),
    );
    for partition in &topic.partitions {
        let leader = partition
            .leader
            .map_or("none".to_string(), |node| node.0.to_string());
        let _ = writeln!(
            text,
            "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
            topic.name,
            partition.index,
            nodes_text(&partition.replicas),
            nodes_text(&partition.in_sync),
        );
    }
    text
}

fn nodes_text(nodes: &[NodeId]) -> String {
    let ids: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
    ids.join(",")
}

fn describe_json(topic: &TopicDescription, configs: &[(String, String)]) -> Value {
    let ids = |nodes: &[NodeId]| -> Value { nodes.iter().map(|node| node.0).collect() };
    let partition = |partition: &crate::client::PartitionDescription| {
        json!({
            "partition": partition.index,
            "leader": partition.leader.map(|node| node.0),
            "leader_epoch": partition.leader_epoch.0,
            "replicas": ids(&partition.replicas),
            "in_sync": ids(&partition.in_sync),
            "offline": ids(&partition.offline),
        })
    };
    let configs = configs
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    json!({
        "topic": topic.name.as_str(),
        "topic_id": topic.id.to_string(),
        "internal": topic.is_internal,
        "configs": configs.collect::<serde_json::Map<_, _>>(),
        "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::PartitionDescription;
    use crate::model::{LeaderEpoch, TopicId};

    fn orders() -> TopicDescription {
        let partition = |index, leader: Option<i32>| PartitionDescription {
            index,
            leader: leader.map(NodeId),
            leader_epoch: LeaderEpoch(4),
            replicas: vec![NodeId(1), NodeId(2)],
            in_sync: vec![NodeId(1)],
            offline: vec![],
        };
        TopicDescription {
            name: TopicName::new("orders").expect("a name"),
            id: TopicId([7; 16]),
            is_internal: false,
            partitions: vec![partition(0, Some(1)), partition(1, None)],
        }
    }

    #[test]
    fn topics_are_described_as_kafka_topics_describes_them() {
        let configs = [("retention.ms".to_string(), "1000".to_string())];
        let expected = "Topic: orders\tTopicId: BwcHBwcHBwcHBwcHBwcHBw\tPartitionCount: 2\t\
            ReplicationFactor: 2\tConfigs: retention.ms=1000\n\
            \tTopic: orders\tPartition: 0\tLeader: 1\tReplicas: 1,2\tIsr: 1\n\
            \tTopic: orders\tPartition: 1\tLeader: none\tReplicas: 1,2\tIsr: 1\n";
        assert_eq!(describe_text(&orders(), &configs), expected);
        let json = describe_json(&orders(), &configs);
        assert_eq!(json["partitions"][1]["leader"], Value::Null);
        assert_eq!(json["configs"]["retention.ms"], "1000");
    }

    #[test]
    fn a_list_is_one_name_a_line() {
        assert_eq!(list_text(&[orders()]), "orders\n");
        let expected = json!({
            "topic": "orders", "topic_id": "BwcHBwcHBwcHBwcHBwcHBw", "partitions": 2,
            "internal": false,
        });
        assert_eq!(list_json(&orders()), expected);
    }

    #[test]
    fn names_that_are_none_are_refused_before_anything_is_asked() {
        assert!(topic_name("orders").is_ok());
        let failure = topic_name("a b").expect_err("a space");
        assert_eq!(failure.exit(), super::super::failure::Exit::Usage);
    }
}
