//! The configuration, and a broker that runs.

use std::path::Path;

use super::check::{Area, Check, Question};
use crate::cli::failure::Failure;
use crate::cli::screen::counted;
use crate::client::{Client, ClientError, ClientOptions, ConfigOwner};
use crate::config::Notice;
use crate::io::housekeeping::now;

const CONFIGURATION: Question = Question::new(
    Area::Broker,
    "configuration",
    "A key that is wrong stops the start; one that has no effect misleads.",
);
const ANSWERS: Question = Question::new(
    Area::Broker,
    "answers",
    "Clients ask for metadata before anything else.",
);
const DURABILITY: Question = Question::new(
    Area::Broker,
    "durability",
    "It decides whether an acknowledged record survives a power cut.",
);
const LEADERS: Question = Question::new(
    Area::Broker,
    "leaders",
    "A partition without a leader is neither written nor read.",
);

/// The configuration cannot be used.
pub(super) fn refused(failure: &Failure) -> Check {
    let text = failure.to_string();
    CONFIGURATION.fail(
        text.trim_start_matches("corelog: "),
        "docs/configuration.md lists all keys",
    )
}

/// What the configuration's reader remarked.
pub(super) fn lint(file: Option<&Path>, notices: &[Notice]) -> Vec<Check> {
    let warnings: Vec<&Notice> = notices.iter().filter(|notice| notice.warning).collect();
    if warnings.is_empty() {
        let name = file.map_or("embedded defaults".to_string(), |file| {
            file.display().to_string()
        });
        return vec![CONFIGURATION.ok(name)];
    }
    let help = "docs/configuration.md lists all keys";
    let warning = |notice: &&Notice| CONFIGURATION.warn(notice.text.as_str(), help);
    warnings.iter().map(warning).collect()
}

/// Asks a running broker.
pub(super) fn ask(bootstrap: &str) -> Vec<Check> {
    let start = now();
    let asked = Client::connect(bootstrap, ClientOptions::default()).and_then(|mut client| {
        let topics = client.topics()?;
        Ok((client, topics))
    });
    let (mut client, topics) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            let help = error
                .hint()
                .map_or("corelog start".to_string(), |hint| hint.to_string());
            return vec![ANSWERS.fail(error.to_string(), help)];
        }
    };
    let took_ms = now().since(start).as_millis();
    let cluster = client.cluster().clone();
    let id = cluster.cluster_id.clone().unwrap_or_default();
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let count = partitions.clone().count();
    let lost = partitions
        .filter(|partition| partition.leader.is_none())
        .count();
    let mut checks = vec![
        ANSWERS.ok(format!(
            "cluster {id}, {}, {}, within {took_ms} ms",
            counted(cluster.nodes.len() as u64, "node"),
            counted(topics.len() as u64, "topic")
        )),
        match lost {
            0 => LEADERS.ok(format!("each of {count} partitions has one")),
            lost => LEADERS.fail(
                format!("{lost} of {count} partitions have none"),
                format!("corelog topic describe -b {bootstrap}"),
            ),
        },
    ];
    for node in &cluster.nodes {
        checks.push(durability(&mut client, node.id.0));
    }
    checks
}

fn durability(client: &mut Client, node: i32) -> Check {
    let value = client.configs(&ConfigOwner::Broker(node)).map(|entries| {
        let own = entries
            .into_iter()
            .find(|entry| entry.key == "corelog.durability");
        own.and_then(|entry| entry.value)
    });
    judge_durability(node, value)
}

fn judge_durability(node: i32, value: Result<Option<String>, ClientError>) -> Check {
    match value {
        Err(error) => DURABILITY.unknown(error.to_string()),
        Ok(None) => DURABILITY.unknown(format!("broker {node} is no corelog")),
        Ok(Some(value)) if value == "sync" => DURABILITY.ok(format!("broker {node}: sync")),
        Ok(Some(value)) => DURABILITY.warn(
            format!("broker {node}: {value}: a power cut may lose acknowledged records"),
            "corelog start --override corelog.durability=sync",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn remarks_of_the_configuration_are_warnings() {
        let notice = |warning| Notice {
            warning,
            text: "num.io.threads has no effect".into(),
        };
        assert_eq!(lint(None, &[notice(false)])[0].verdict(), Verdict::Ok);
        let warned = lint(None, &[notice(true), notice(true)]);
        assert_eq!(warned.len(), 2);
        assert_eq!(warned[0].verdict(), Verdict::Warn);
        let failed = refused(&Failure::config("num.partitions=0"));
        assert_eq!(
            (failed.verdict(), failed.seen()),
            (Verdict::Fail, "num.partitions=0")
        );
    }

    #[test]
    fn what_a_power_cut_may_lose_is_a_warning() {
        let check = |value: Option<&str>, expected| {
            let value = Ok(value.map(str::to_string));
            assert_eq!(judge_durability(1, value).verdict(), expected);
        };
        check(Some("sync"), Verdict::Ok);
        check(Some("written"), Verdict::Warn);
        check(None, Verdict::Unknown);
    }

    #[test]
    fn a_broker_that_is_away_is_a_failure() {
        // Port 1 (tcpmux) is nobody's here.
        let checks = ask("127.0.0.1:1");
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].verdict(), Verdict::Fail);
    }
}
