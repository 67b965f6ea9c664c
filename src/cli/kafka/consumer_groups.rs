//! `kafka-consumer-groups.sh`.

use std::io::Write;

use super::flags::{self, Flag, Given, Refusal, refused, switch, value};
use super::{Failed, Stop, connect, words_of};
use crate::cli::arguments::{ClusterArguments, OutputFormat, ResetArguments};
use crate::cli::datetime::DateTime;
use crate::cli::failure::Failure;
use crate::cli::group::{self, Row, Standing};
use crate::cli::reset::{self, Bent, Moved};
use crate::cli::screen::Screen;
use crate::client::{Client, ClientError, GroupDescription};
use crate::io::blocking;
use crate::io::housekeeping::wall_clock;
use crate::model::Offset;
use crate::protocol::ErrorCode;

pub(super) const FLAGS: &[Flag] = &[
    value("bootstrap-server", "HOST:PORT of a broker"),
    switch("list", "List the groups"),
    switch(
        "describe",
        "Show offsets and lag, or what --members or --state asks for",
    ),
    switch("delete", "Delete groups without members"),
    switch(
        "reset-offsets",
        "Move the offsets of a group without members",
    ),
    value("group", "The group; may be repeated"),
    switch("all-groups", "All groups"),
    switch("offsets", "With --describe: offsets and lag, as without it"),
    switch("members", "With --describe: members"),
    switch("state", "With --describe: state and coordinator"),
    value(
        "topic",
        "With --reset-offsets: NAME or NAME:0,1; may be repeated",
    ),
    switch(
        "all-topics",
        "With --reset-offsets: every topic that the group has offsets of",
    ),
    switch("to-earliest", "To the first record that is there"),
    switch("to-latest", "After the last record"),
    value("to-offset", "To an offset"),
    value("shift-by", "So many records forward, or back"),
    value("to-datetime", "To the first record that is not older"),
    switch("dry-run", "Only show what would change"),
    switch("execute", "Change it"),
    refused(
        "command-config",
        "no flag: brokers need no security settings yet",
    ),
    refused("timeout", "no flag"),
    refused("verbose", "corelog group describe --output json"),
    refused("to-current", "--to-offset"),
    refused("by-duration", "--to-datetime"),
    refused("from-file", "--topic NAME:PARTITION --to-offset N"),
    refused("export", "corelog group reset-offsets --output json"),
    refused("delete-offsets", "--delete"),
    refused("validate-regex", "no flag: groups subscribe to names"),
    refused("type", "no flag: all groups are classic ones"),
];

const ACTIONS: [&str; 4] = ["list", "describe", "delete", "reset-offsets"];

/// Runs the tool.
pub(super) fn run(words: &[String], screen: &mut Screen) -> Result<(), Stop> {
    let given = flags::parse(FLAGS, words)?;
    let mut actions = ACTIONS.iter().filter(|action| given.has(action));
    let (Some(action), None) = (actions.next(), actions.next()) else {
        let text = "Command must include exactly one action: --list, --describe, --delete, \
                    --reset-offsets, --delete-offsets, --validate-regex";
        return Err(Refusal::said(text).into());
    };
    let bootstrap = given
        .one("bootstrap-server")
        .ok_or_else(|| Refusal::said("Missing required argument \"[bootstrap-server]\""))?;
    if *action == "reset-offsets" && !given.has("execute") && !given.has("dry-run") {
        say(
            "WARN: No action will be performed as the --execute option is missing. In version \
             5.0, this command will require either --dry-run or --execute to be specified. You \
             should add the --dry-run option explicitly if you are scripting this command and \
             want to keep the current default behavior without prompting.\n",
        );
    }
    check(&given, action)?;
    let mut client = match connect(bootstrap) {
        Ok(client) => client,
        Err(error) => return Ok(tell(screen, &error)?),
    };
    match *action {
        "list" => match client.list_groups() {
            Ok(groups) => {
                let mut ids: Vec<String> = groups.into_iter().map(|group| group.group_id).collect();
                ids.sort();
                screen.bytes(format!("{}\n", ids.join("\n")).as_bytes())?;
            }
            Err(error) => tell(screen, &error)?,
        },
        "describe" => describe(&mut client, &given, screen)?,
        "delete" => delete(&mut client, &given, screen)?,
        _ => reset(&mut client, &given, screen)?,
    }
    Ok(())
}

/// Something for people, who look at the standard error.
fn say(text: &str) {
    // Nothing can be done about a stderr that is closed.
    let _ = blocking::stderr().write_all(text.as_bytes());
}

/// An error of the cluster: Kafka's tool prints it and ends with 0.
fn tell(screen: &mut Screen, error: &ClientError) -> Result<(), Failure> {
    let what = match error.code() {
        Some(code) => format!("{}: {}", exception(code), words_of(error)),
        None => error.to_string(),
    };
    if let Some(hint) = error.hint() {
        say(&format!("{hint}\n"));
    }
    let text = format!("\nError: Executing consumer group command failed due to {what}\n");
    screen.bytes(text.as_bytes())
}

/// The class that Kafka's tool names an error by.
fn exception(code: ErrorCode) -> String {
    let name = match code {
        ErrorCode::GroupIdNotFound => "GroupIdNotFoundException",
        ErrorCode::NonEmptyGroup => "GroupNotEmptyException",
        ErrorCode::UnknownTopicOrPartition => "UnknownTopicOrPartitionException",
        other => return other.name().to_string(),
    };
    format!("org.apache.kafka.common.errors.{name}")
}

fn check(given: &Given, action: &str) -> Result<(), Refusal> {
    let has_group = given.has("group") || given.has("all-groups");
    let needs = |options: &str| {
        Refusal::said(format!(
            "Option [{action}] takes one of these options: {options}"
        ))
    };
    match action {
        "list" => {}
        "describe" | "delete" if !has_group => return Err(needs("[group], [all-groups]")),
        "describe" => {
            let views = ["members", "offsets", "state"];
            if views.iter().filter(|view| given.has(view)).count() > 1 {
                let text = "Option [describe] takes at most one of these options: [members], \
                            [offsets], [state]";
                return Err(Refusal::said(text));
            }
        }
        "delete" => {}
        _ => {
            if !has_group {
                return Err(needs("[group], [all-groups]"));
            }
            if !given.has("topic") && !given.has("all-topics") {
                let text = "One of the reset scopes should be defined: --all-topics, --topic.";
                return Err(Refusal::said(text));
            }
            let goals = [
                "to-earliest",
                "to-latest",
                "to-offset",
                "shift-by",
                "to-datetime",
            ];
            if goals.iter().filter(|goal| given.has(goal)).count() != 1 {
                return Err(Refusal::said(
                    "Option '[reset-offsets]' requires one of the following scenarios: \
                     [[by-duration], [to-latest], [to-current], [to-earliest], [to-offset], \
                     [shift-by], [from-file], [to-datetime]]",
                )
                .instead(goals.map(|goal| format!("--{goal}")).join(", ")));
            }
        }
    }
    Ok(())
}

/// The groups that the command is about.
fn meant(client: &mut Client, given: &Given) -> Result<Vec<String>, ClientError> {
    if !given.has("all-groups") {
        return Ok(given.all("group").map(str::to_string).collect());
    }
    let groups = client.list_groups()?;
    let mut ids: Vec<String> = groups.into_iter().map(|group| group.group_id).collect();
    ids.sort();
    Ok(ids)
}

fn describe(client: &mut Client, given: &Given, screen: &mut Screen) -> Result<(), Failure> {
    let ids = match meant(client, given) {
        Ok(ids) => ids,
        Err(error) => return tell(screen, &error),
    };
    let mut standings = Vec::new();
    for id in &ids {
        match group::standing(client, id) {
            Ok(Some(standing)) => standings.push(standing),
            Ok(None) => {
                let class = exception(ErrorCode::GroupIdNotFound);
                let text = format!(
                    "\nError: Executing consumer group command failed due to {class}: Group {id} \
                     not found.\n"
                );
                return screen.bytes(text.as_bytes());
            }
            Err(error) => return tell(screen, &error),
        }
    }
    for standing in &standings {
        screen.flush()?;
        let id = &standing.group.group_id;
        match standing.group.state.as_str() {
            "Empty" => say(&format!("\nConsumer group '{id}' has no active members.\n")),
            "PreparingRebalance" | "CompletingRebalance" => {
                say(&format!(
                    "\nWarning: Consumer group '{id}' is rebalancing.\n"
                ));
            }
            _ => {}
        }
        let text = match (given.has("members"), given.has("state")) {
            (true, _) => members_text(&standing.group),
            (false, true) => state_text(&standing.group, &coordinator(client, &standing.group)),
            (false, false) => offsets_text(standing),
        };
        screen.bytes(text.as_bytes())?;
    }
    Ok(())
}

fn coordinator(client: &Client, group: &GroupDescription) -> String {
    let nodes = &client.cluster().nodes;
    let node = nodes.iter().find(|node| node.id == group.coordinator);
    let place = node.map_or(String::new(), |node| format!("{}:{}", node.host, node.port));
    format!("{place}  ({})", group.coordinator.0)
}

/// Kafka's columns are at least this wide.
const COLUMN: usize = 15;

fn widest<'a>(cells: impl Iterator<Item = &'a str>) -> usize {
    cells.map(str::len).max().unwrap_or(0).max(COLUMN)
}

fn offsets_text(standing: &Standing) -> String {
    let group = standing.group.group_id.as_str();
    let number = |number: Option<i64>| number.map_or("-".to_string(), |number| number.to_string());
    let member = |row: &Row| match &row.member {
        Some(member) => [&member.member_id, &member.host, &member.client_id].map(String::clone),
        None => ["-", "-", "-"].map(str::to_string),
    };
    let members: Vec<[String; 3]> = standing.rows.iter().map(member).collect();
    let topics = standing.rows.iter().map(|row| row.partition.topic.as_str());
    let (g, t) = (group.len().max(COLUMN), widest(topics));
    let m = widest(members.iter().map(|member| member[0].as_str()));
    let h = widest(members.iter().map(|member| member[1].as_str()));
    let mut text = format!(
        "\n{:g$} {:t$} {:10} {:15} {:15} {:15} {:m$} {:h$} {}",
        "GROUP",
        "TOPIC",
        "PARTITION",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID"
    );
    for (row, [id, host, client]) in standing.rows.iter().zip(members) {
        let (topic, index) = (
            row.partition.topic.as_str(),
            row.partition.index.to_string(),
        );
        let committed = number(row.committed.map(|offset| offset.0));
        let end = number(row.end.map(|offset| offset.0));
        let lag = number(row.lag());
        text.push_str(&format!(
            "\n{group:g$} {topic:t$} {index:10} {committed:15} {end:15} {lag:15} {id:m$} \
             {host:h$} {client}"
        ));
    }
    text.push('\n');
    text
}

fn members_text(group: &GroupDescription) -> String {
    let members = &group.members;
    let g = group.group_id.len().max(COLUMN);
    let m = widest(members.iter().map(|member| member.member_id.as_str()));
    let h = widest(members.iter().map(|member| member.host.as_str()));
    let c = widest(members.iter().map(|member| member.client_id.as_str()));
    let mut text = format!(
        "\n{:g$} {:m$} {:h$} {:c$} {:15} \n",
        "GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS"
    );
    for member in members {
        text.push_str(&format!(
            "{:g$} {:m$} {:h$} {:c$} {:<15} \n",
            group.group_id,
            member.member_id,
            member.host,
            member.client_id,
            member.assignment.len()
        ));
    }
    text
}

fn state_text(group: &GroupDescription, coordinator: &str) -> String {
    let (g, c) = (group.group_id.len().max(COLUMN), coordinator.len().max(25));
    let strategy = match group.protocol.as_str() {
        "" => "-",
        strategy => strategy,
    };
    format!(
        "\n{:g$} {:c$} {:20} {:20} {}\n{:g$} {coordinator:c$} {strategy:20} {:20} {}\n",
        "GROUP",
        "COORDINATOR (ID)",
        "ASSIGNMENT-STRATEGY",
        "STATE",
        "#MEMBERS",
        group.group_id,
        group.state,
        group.members.len()
    )
}

fn delete(client: &mut Client, given: &Given, screen: &mut Screen) -> Result<(), Failure> {
    let ids = match meant(client, given) {
        Ok(ids) => ids,
        Err(error) => return tell(screen, &error),
    };
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for id in &ids {
        match client.delete_group(id) {
            Ok(()) => deleted.push(format!("'{id}'")),
            Err(error) => {
                let what = match error.code() {
                    Some(code) => format!("{}: {}", exception(code), sentence(code, &error)),
                    None => error.to_string(),
                };
                failures.push(format!(
                    "\n* Group '{id}' could not be deleted due to: {what}"
                ));
            }
        }
    }
    let deleted = deleted.join(", ");
    let text = match (failures.is_empty(), deleted.is_empty()) {
        (true, _) => format!("Deletion of requested consumer groups ({deleted}) was successful.\n"),
        (false, has_none) => {
            let failed = "\nError: Deletion of some consumer groups failed:";
            let more = match has_none {
                true => String::new(),
                false => format!("\nThese consumer groups were deleted successfully: {deleted}\n"),
            };
            format!("{failed}{}\n{more}", failures.join(""))
        }
    };
    screen.bytes(text.as_bytes())
}

/// Kafka's own sentence for an error without one.
fn sentence(code: ErrorCode, error: &ClientError) -> String {
    match code {
        ErrorCode::GroupIdNotFound => "The group id does not exist.".to_string(),
        ErrorCode::NonEmptyGroup => "The group is not empty.".to_string(),
        _ => words_of(error),
    }
}

fn reset(client: &mut Client, given: &Given, screen: &mut Screen) -> Result<(), Stop> {
    let number = |flag: &'static str| -> Result<Option<i64>, Refusal> {
        let wrong =
            |text| Refusal::said(format!("Cannot parse argument '{text}' of option {flag}"));
        let text = given.one(flag);
        text.map(|text| text.parse().map_err(|_| wrong(text)))
            .transpose()
    };
    let (to_offset, shift_by) = (number("to-offset")?, number("shift-by")?);
    let ids = match meant(client, given) {
        Ok(ids) => ids,
        Err(error) => return Ok(tell(screen, &error)?),
    };
    let mut text = String::new();
    for id in ids {
        let arguments = ResetArguments {
            group: id.clone(),
            topics: given.all("topic").map(str::to_string).collect(),
            all_topics: given.has("all-topics"),
            to_earliest: given.has("to-earliest"),
            to_latest: given.has("to-latest"),
            to_offset,
            shift_by,
            to_datetime: given.one("to-datetime").map(str::to_string),
            dry_run: !given.has("execute"),
            execute: given.has("execute"),
            cluster: ClusterArguments {
                bootstrap_server: String::new(),
                output: OutputFormat::Table,
            },
        };
        let moved = reset::moved(client, &arguments).map_err(|failure| {
            Failed::on_stdout(format!(
                "\nError: {}\n",
                failure.to_string().trim_start_matches("corelog: ")
            ))
        })?;
        for moved in &moved {
            match warning(moved) {
                Some(Warning::Logged(line)) => say(&line),
                Some(Warning::Printed(line)) => text.push_str(&line),
                None => {}
            }
        }
        let topics = moved.iter().map(|moved| moved.partition.topic.as_str());
        let (g, t) = (id.len().max(COLUMN), widest(topics));
        text.push_str(&format!(
            "\n{:g$} {:t$} {:10} {}",
            "GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"
        ));
        for moved in &moved {
            let (topic, index) = (moved.partition.topic.as_str(), moved.partition.index);
            text.push_str(&format!(
                "\n{id:g$} {topic:t$} {index:<10} {}",
                moved.offset
            ));
        }
        text.push('\n');
    }
    Ok(screen.bytes(text.as_bytes())?)
}

/// What Kafka's tool says of an offset that is not the one that was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Warning {
    /// By its logger, which writes to the standard error.
    Logged(String),
    /// Before the table.
    Printed(String),
}

fn warning(moved: &Moved) -> Option<Warning> {
    let Moved {
        partition, offset, ..
    } = moved;
    let logged = |wanted: Offset, place: &str| {
        let now = DateTime::of(wall_clock()).in_log();
        Warning::Logged(format!(
            "[{now}] WARN New offset ({wanted}) is {place} offset for topic partition {partition}. \
             Value will be set to {offset} \
             (org.apache.kafka.tools.consumer.group.ConsumerGroupCommand)\n"
        ))
    };
    Some(match moved.bent? {
        Bent::Higher(wanted) => logged(wanted, "higher than latest"),
        Bent::Lower(wanted) => logged(wanted, "lower than earliest"),
        Bent::NoneSince => Warning::Printed(format!(
            "\nWarn: Partition {} from topic {} is empty. Falling back to latest known offset.\n",
            partition.index, partition.topic
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::MemberDescription;
    use crate::metrics::partition_of;
    use crate::model::NodeId;

    #[test]
    fn what_is_missing_is_said_in_kafkas_words() {
        let said = |line: &str, action: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_string).collect();
            let given = flags::parse(FLAGS, &words).expect(line);
            check(&given, action)
                .err()
                .map_or(String::new(), |refusal| refusal.to_string())
        };
        let check = |line: &str, action: &str, expected: &str| {
            let said = said(line, action);
            assert!(said.starts_with(expected), "{line}: {said}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{line}: {said}");
        };
        check("--list", "list", "");
        check(
            "--describe",
            "describe",
            "Option [describe] takes one of these options: [group]",
        );
        check(
            "--describe --group g --members --state",
            "describe",
            "Option [describe] takes at most",
        );
        check(
            "--group g --to-latest",
            "reset-offsets",
            "One of the reset scopes",
        );
        check(
            "--group g --topic t",
            "reset-offsets",
            "Option '[reset-offsets]' requires",
        );
        check(
            "--group g --topic t --to-latest --to-earliest",
            "reset-offsets",
            "Option '[reset",
        );
        check("--all-groups --topic t --shift-by -1", "reset-offsets", "");
    }

    #[test]
    fn columns_grow_with_what_they_hold() {
        let member = MemberDescription {
            member_id: "a-member-with-a-long-id".into(),
            group_instance_id: None,
            client_id: "c".into(),
            host: "/127.0.0.1".into(),
            assignment: vec![partition_of("t", 0)],
        };
        let standing = Standing {
            group: GroupDescription {
                group_id: "g".into(),
                state: "Stable".into(),
                protocol_type: "consumer".into(),
                protocol: "range".into(),
                coordinator: NodeId(1),
                members: vec![member.clone()],
            },
            rows: vec![Row {
                partition: partition_of("t", 0),
                committed: Some(Offset(3)),
                end: Some(Offset(5)),
                member: Some(member),
            }],
        };
        let text = offsets_text(&standing);
        let row = "g               t               0          3               5               \
                   2               a-member-with-a-long-id /127.0.0.1      c\n";
        assert!(text.ends_with(row), "{text}");
        let text = members_text(&standing.group);
        let row = "g               a-member-with-a-long-id /127.0.0.1      c               1               \n";
        assert!(text.ends_with(row), "{text}");
        let text = state_text(&standing.group, "h:1  (1)");
        assert!(
            text.ends_with("range                Stable               1\n"),
            "{text}"
        );
    }
}
