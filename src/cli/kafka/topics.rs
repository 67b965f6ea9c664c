//! `kafka-topics.sh`.

use std::fmt::Write as _;

use super::flags::{self, Flag, Given, Refusal, refused, switch, value};
use super::pattern::Pattern;
use super::{Failed, Stop, connect, words_of};
use crate::cli::screen::Screen;
use crate::client::{
    Client, ClientError, ConfigOwner, ConfigSource, NewTopic, PartitionDescription,
    TopicDescription,
};
use crate::model::{NodeId, TopicName};
use crate::protocol::ErrorCode;

pub(super) const FLAGS: &[Flag] = &[
    value("bootstrap-server", "HOST:PORT of a broker"),
    switch("create", "Create a topic"),
    switch("list", "List the topics"),
    switch("describe", "Show partitions, leaders and configurations"),
    switch("alter", "Add partitions"),
    switch("delete", "Delete topics"),
    value("topic", "The topic; a pattern, except with --create"),
    value("partitions", "The number of partitions"),
    value("replication-factor", "The number of replicas"),
    value("config", "KEY=VALUE, with --create; may be repeated"),
    switch("if-exists", "Succeed if no such topic exists"),
    switch("if-not-exists", "Succeed if the topic exists"),
    switch("exclude-internal", "Leave out the brokers' own topics"),
    switch(
        "topics-with-overrides",
        "Describe topics with configurations of their own",
    ),
    switch(
        "under-replicated-partitions",
        "Describe partitions without all replicas in sync",
    ),
    switch(
        "unavailable-partitions",
        "Describe partitions without a leader",
    ),
    refused(
        "command-config",
        "no flag: brokers need no security settings yet",
    ),
    refused("replica-assignment", "--replication-factor"),
    refused(
        "delete-config",
        "corelog topic alter NAME --delete-config KEY",
    ),
    refused("under-min-isr-partitions", "--under-replicated-partitions"),
    refused("at-min-isr-partitions", "--under-replicated-partitions"),
    refused("topic-id", "--topic"),
    refused(
        "partition-size-limit-per-response",
        "no flag: answers are never cut",
    ),
];

const ACTIONS: [&str; 5] = ["list", "describe", "create", "alter", "delete"];

/// Runs the tool.
pub(super) fn run(words: &[String], screen: &mut Screen) -> Result<(), Stop> {
    let given = flags::parse(FLAGS, words)?;
    let Some(bootstrap) = given.one("bootstrap-server") else {
        return Err(Refusal::said("--bootstrap-server must be specified").into());
    };
    let mut actions = ACTIONS.iter().filter(|action| given.has(action));
    let (Some(action), None) = (actions.next(), actions.next()) else {
        let text = "Command must include exactly one action: --list, --describe, --create, \
                    --alter or --delete";
        return Err(Refusal::said(text).into());
    };
    check(&given, action)?;
    let mut client = connect(bootstrap).map_err(failed)?;
    match *action {
        "list" => {
            let topics = meant(&mut client, &given, false)?;
            let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
            screen.bytes(format!("{}\n", names.join("\n")).as_bytes())?;
        }
        "describe" => describe(&mut client, &given, screen)?,
        "create" => create(&mut client, &given, screen)?,
        "alter" => {
            let total = number::<i32>(&given, "partitions")?.unwrap_or_default();
            for topic in meant(&mut client, &given, true)? {
                client
                    .create_partitions(&topic.name, total)
                    .map_err(failed)?;
            }
        }
        _ => {
            for topic in meant(&mut client, &given, true)? {
                client.delete_topic(&topic.name).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// What Kafka's tool refuses before it asks a broker.
fn check(given: &Given, action: &str) -> Result<(), Refusal> {
    let needs_topic = matches!(action, "create" | "alter" | "delete");
    if needs_topic && !given.has("topic") {
        return Err(Refusal::said("Missing required argument \"[topic]\""));
    }
    if action == "alter" && !given.has("partitions") {
        return Err(Refusal::said("Missing required argument \"[partitions]\"")
            .instead("corelog topic alter NAME --config KEY=VALUE for configurations"));
    }
    let allowed: &[(&str, &[&str])] = &[
        ("config", &["create"]),
        ("partitions", &["create", "alter"]),
        ("replication-factor", &["create"]),
        ("if-not-exists", &["create"]),
        ("if-exists", &["alter", "delete", "describe"]),
        ("exclude-internal", &["list", "describe"]),
        ("topics-with-overrides", &["describe"]),
        ("under-replicated-partitions", &["describe"]),
        ("unavailable-partitions", &["describe"]),
    ];
    let wrong = allowed
        .iter()
        .find(|(flag, actions)| given.has(flag) && !actions.contains(&action));
    match wrong {
        Some((flag, _)) => Err(Refusal::said(format!(
            "Option \"[{action}]\" can't be used with option \"[{flag}]\""
        ))),
        None => Ok(()),
    }
}

fn failed(error: ClientError) -> Failed {
    let what = words_of(&error);
    let mut failed = Failed::on_stdout(format!("Error while executing topic command : {what}\n"));
    if let Some(hint) = error.hint() {
        failed.err = format!("{hint}\n");
    }
    failed
}

fn number<N: std::str::FromStr>(given: &Given, flag: &'static str) -> Result<Option<N>, Refusal> {
    let wrong =
        |text: &str| Refusal::said(format!("Cannot parse argument '{text}' of option {flag}"));
    let text = given.one(flag);
    text.map(|text| text.parse().map_err(|_| wrong(text)))
        .transpose()
}

/// The topics that the command is about, by name.
fn meant(
    client: &mut Client,
    given: &Given,
    must_exist: bool,
) -> Result<Vec<TopicDescription>, Stop> {
    let wanted = given.one("topic");
    let pattern = wanted.map(Pattern::parse).transpose().map_err(|char| {
        Refusal::said(format!("'{char}' in --topic is not served"))
            .instead("names with commas between, and .* for any characters")
    })?;
    let mut topics = client.topics().map_err(failed)?;
    topics.retain(|topic| {
        let is_hidden = given.has("exclude-internal") && topic.is_internal;
        let name = topic.name.as_str();
        !is_hidden && pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
    });
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    match wanted {
        Some(wanted) if topics.is_empty() && must_exist && !given.has("if-exists") => {
            let text = format!("Topic '{wanted}' does not exist as expected");
            let text = format!("Error while executing topic command : {text}\n");
            Err(Failed::on_stdout(text).into())
        }
        _ => Ok(topics),
    }
}

fn create(client: &mut Client, given: &Given, screen: &mut Screen) -> Result<(), Stop> {
    let name = given.one("topic").unwrap_or_default();
    let legal = TopicName::new(name).map_err(|_| {
        let text = format!("{name:?} is no topic name");
        Failed::on_stdout(format!("Error while executing topic command : {text}\n"))
    })?;
    if name.contains(['.', '_']) {
        let warning = "WARNING: Due to limitations in metric names, topics with a period ('.') or \
                       underscore ('_') could collide. To avoid issues it is best to use either, \
                       but not both.\n";
        screen.bytes(warning.as_bytes())?;
    }
    let configs = given.properties(&["config"])?;
    let topic = NewTopic {
        partition_count: number(given, "partitions")?,
        replication_factor: number(given, "replication-factor")?,
        configs: configs
            .into_iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        ..NewTopic::new(legal)
    };
    match client.create_topic(&topic) {
        Ok(_) => Ok(screen.bytes(format!("Created topic {name}.\n").as_bytes())?),
        Err(error)
            if given.has("if-not-exists")
                && error.code() == Some(ErrorCode::TopicAlreadyExists) =>
        {
            Ok(())
        }
        Err(error) => Err(failed(error).into()),
    }
}

fn describe(client: &mut Client, given: &Given, screen: &mut Screen) -> Result<(), Stop> {
    let only_overrides = given.has("topics-with-overrides");
    let only_some = given.has("under-replicated-partitions") || given.has("unavailable-partitions");
    for topic in meant(client, given, true)? {
        let owner = ConfigOwner::Topic(topic.name.clone());
        let configs = client.configs(&owner).map_err(failed)?;
        let set = configs
            .into_iter()
            .filter(|entry| entry.source != ConfigSource::Default);
        let set: Vec<String> = set
            .map(|entry| format!("{}={}", entry.key, entry.value.unwrap_or_default()))
            .collect();
        let mut text = String::new();
        let has_heading = !only_some && (!only_overrides || !set.is_empty());
        if has_heading {
            text.push_str(&heading(&topic, &set));
        }
        if !only_overrides {
            let shown = topic.partitions.iter().filter(|p| is_shown(given, p));
            shown.for_each(|partition| text.push_str(&line(&topic, partition)));
        }
        screen.bytes(text.as_bytes())?;
    }
    Ok(())
}

fn is_shown(given: &Given, partition: &PartitionDescription) -> bool {
    let lags = partition.in_sync.len() < partition.replicas.len();
    let asked = [
        ("under-replicated-partitions", lags),
        ("unavailable-partitions", partition.leader.is_none()),
    ];
    let mut asked = asked.iter().filter(|(flag, _)| given.has(flag)).peekable();
    asked.peek().is_none() || asked.any(|(_, holds)| *holds)
}

fn heading(topic: &TopicDescription, configs: &[String]) -> String {
    let replicas = topic
        .partitions
        .iter()
        .map(|partition| partition.replicas.len());
    format!(
        "Topic: {}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {}\tConfigs: {}\n",
        topic.name,
        topic.id,
        topic.partitions.len(),
        replicas.max().unwrap_or(0),
        configs.join(",")
    )
}

fn line(topic: &TopicDescription, partition: &PartitionDescription) -> String {
    let nodes = |nodes: &[NodeId]| {
        let nodes: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
        nodes.join(",")
    };
    let leader = partition
        .leader
        .map_or("none".to_string(), |node| node.0.to_string());
    let mut line = String::new();
    let _ = writeln!(
        line,
        "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: \tLastKnownElr: ",
        topic.name,
        partition.index,
        nodes(&partition.replicas),
        nodes(&partition.in_sync)
    );
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        let given = match flags::parse(FLAGS, &words) {
            Ok(given) => given,
            Err(refusal) => return refusal.to_string(),
        };
        let action = ACTIONS.iter().find(|action| given.has(action));
        let checked = check(&given, action.expect("an action"));
        checked
            .err()
            .map_or(String::new(), |refusal| refusal.to_string())
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let check = |line: &str, expected: &str| {
            let said = refusal(line);
            assert!(said.starts_with(expected), "{line}: {said}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{line}: {said}");
        };
        check("--create --topic t --partitions 3 --config a=b", "");
        check(
            "--list --partitions 3",
            "Option \"[list]\" can't be used with option \"[partitions]\"",
        );
        check(
            "--alter --topic t",
            "Missing required argument \"[partitions]\"",
        );
        check("--delete", "Missing required argument \"[topic]\"");
        check(
            "--list --command-config f",
            "--command-config does nothing with corelog",
        );
    }

    #[test]
    fn partitions_are_shown_by_what_is_asked() {
        let partition = |leader: Option<i32>, in_sync: &[i32]| PartitionDescription {
            index: 0,
            leader: leader.map(NodeId),
            leader_epoch: crate::model::LeaderEpoch(0),
            replicas: vec![NodeId(1), NodeId(2)],
            in_sync: in_sync.iter().map(|node| NodeId(*node)).collect(),
            offline: Vec::new(),
        };
        let check = |flag: &str, partition: &PartitionDescription, expected| {
            let given = flags::parse(FLAGS, &[flag.to_string()]).expect("a flag");
            assert_eq!(is_shown(&given, partition), expected, "{flag}");
        };
        let well = partition(Some(1), &[1, 2]);
        check("--describe", &well, true);
        check("--under-replicated-partitions", &well, false);
        check("--unavailable-partitions", &well, false);
        check(
            "--under-replicated-partitions",
            &partition(Some(1), &[1]),
            true,
        );
        check("--unavailable-partitions", &partition(None, &[1, 2]), true);
    }
}
