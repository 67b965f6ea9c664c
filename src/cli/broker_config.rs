//! `corelog config`: the configuration of brokers while they run, as kafka-configs changes it.

use serde_json::{Value, json};

use super::arguments::ConfigCommand;
use super::failure::Failure;
use super::screen::{Screen, Table};
use super::{connect, screen_of};
use crate::client::{Client, ConfigChange, ConfigEntry, ConfigOwner, ConfigSource};

/// Runs the command.
pub(super) fn run(command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Describe {
            broker,
            all,
            cluster,
        } => {
            let (mut client, mut screen) = (connect(&cluster)?, screen_of(&cluster));
            describe(&mut client, &mut screen, &owner(broker), all)
        }
        ConfigCommand::Alter {
            broker,
            configs,
            delete_configs,
            cluster,
        } => {
            let (mut client, mut screen) = (connect(&cluster)?, screen_of(&cluster));
            let set = configs.into_iter();
            let set = set.map(|(key, value)| ConfigChange::Set(key, value));
            let deleted = delete_configs.into_iter().map(ConfigChange::Delete);
            let changes: Vec<_> = set.chain(deleted).collect();
            alter(&mut client, &mut screen, &owner(broker), &changes)
        }
    }
}

fn owner(broker: Option<i32>) -> ConfigOwner {
    broker.map_or(ConfigOwner::AllBrokers, ConfigOwner::Broker)
}

fn name(owner: &ConfigOwner) -> String {
    match owner {
        ConfigOwner::Topic(topic) => format!("topic {topic}"),
        ConfigOwner::Broker(id) => format!("broker {id}"),
        ConfigOwner::AllBrokers => "all brokers".to_string(),
    }
}

fn alter(
    client: &mut Client,
    screen: &mut Screen,
    owner: &ConfigOwner,
    changes: &[ConfigChange],
) -> Result<(), Failure> {
    client.alter_configs(owner, changes)?;
    screen.show(
        || format!("Altered the configuration of {}.\n", name(owner)),
        || json!({ "owner": name(owner), "altered": true }),
    )
}

fn describe(
    client: &mut Client,
    screen: &mut Screen,
    owner: &ConfigOwner,
    all: bool,
) -> Result<(), Failure> {
    let mut entries = client.configs(owner)?;
    entries.retain(|entry| all || entry.source != ConfigSource::Default);
    screen.show(
        || describe_text(&entries),
        || entries.iter().map(entry_json).collect(),
    )
}

fn describe_text(entries: &[ConfigEntry]) -> String {
    let mut table = Table::new(&["KEY", "VALUE", "FROM", "CHANGES"]);
    for entry in entries {
        let changes = match entry.is_read_only {
            true => "at the start",
            false => "while it runs",
        };
        table.row([
            entry.key.clone(),
            entry.value.clone().unwrap_or_default(),
            source(entry).to_string(),
            changes.to_string(),
        ]);
    }
    table.to_string()
}

fn entry_json(entry: &ConfigEntry) -> Value {
    json!({
        "key": entry.key,
        "value": entry.value,
        "source": source(entry),
        "read_only": entry.is_read_only,
        "sensitive": entry.is_sensitive,
    })
}

fn source(entry: &ConfigEntry) -> &'static str {
    match entry.source {
        ConfigSource::Topic => "topic",
        ConfigSource::DynamicBroker => "this broker",
        ConfigSource::DynamicDefaultBroker => "all brokers",
        ConfigSource::StaticBroker => "the start",
        ConfigSource::Default => "default",
        ConfigSource::Unknown(_) => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_with_where_they_come_from() {
        let entry = |key: &str, source, is_read_only| ConfigEntry {
            key: key.into(),
            value: Some("1".into()),
            source,
            is_read_only,
            is_sensitive: false,
            documentation: None,
        };
        let entries = [
            entry(
                "log.retention.ms",
                ConfigSource::DynamicDefaultBroker,
                false,
            ),
            entry("node.id", ConfigSource::StaticBroker, true),
        ];
        let expected = "\
KEY               VALUE  FROM         CHANGES
log.retention.ms  1      all brokers  while it runs
node.id           1      the start    at the start
";
        assert_eq!(describe_text(&entries), expected);
        assert_eq!(entry_json(&entries[1])["source"], "the start");
    }
}
