//! Does the binary, under the names of Apache Kafka's tools, answer as they do?
//!
//! `tests/clients/tools/recorded.txt` has what Kafka's own tools answered when they talked to
//! corelog; `tests/clients/tools/record` writes it anew.

// A test is outside the broker: it has its own files.
#![allow(clippy::disallowed_methods)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::node::Node;
use super::{Run, run};

/// A command, and what Kafka's own tool said and did.
#[derive(Default)]
struct Recorded {
    command: String,
    out: Vec<String>,
    err: Vec<String>,
    code: i32,
}

fn recorded() -> Vec<Recorded> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/tools/recorded.txt");
    let text = std::fs::read_to_string(path).expect("the recording");
    let mut found: Vec<Recorded> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(command) = line.strip_prefix("$ ") {
            found.push(Recorded {
                command: command.to_string(),
                ..Recorded::default()
            });
            continue;
        }
        let last = found.last_mut().expect("a command comes first");
        match line.split_once('|') {
            Some(("out", text)) => last.out.push(text.to_string()),
            Some(("err", text)) => last.err.push(text.to_string()),
            Some(("exit", code)) => last.code = code.parse().expect("a number"),
            _ => panic!("{line}"),
        }
    }
    found
}

/// Runs a command of the session with the links in `dir`.
fn ours(dir: &Path, command: &str, broker: &str) -> Run {
    let (line, input) = command.split_once(" << ").unwrap_or((command, ""));
    let mut words = line.split(' ').map(|word| word.replace("BROKER", broker));
    let mut child = Command::new(dir.join(words.next().expect("a tool")))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the link leads to the binary");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that does not read its input may end before it is written.
    let _ = stdin.write_all(input.replace("\\n", "\n").as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| {
        String::from_utf8(bytes)
            .expect("UTF-8")
            .replace(broker, "BROKER")
    };
    Run {
        code: output.status.code().expect("it was not killed"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// A line without what is different each time; `None` for one that may be missing.
fn masked(line: &str) -> Option<String> {
    if line.ends_with("max latency.") {
        // Every five seconds; a run on a quick machine has none.
        return None;
    }
    if let Some((count, rest)) = line.split_once(" records sent, ") {
        let is_figure = |c: char| c.is_ascii_digit() || c == '.';
        let rest: String = rest.replace("99.9th", "p3").replace("50th", "p0");
        let rest = rest.replace("95th", "p1").replace("99th", "p2");
        let words = rest.split(' ').map(|word| {
            let figure = word.trim_start_matches('(');
            match figure.is_empty() || !figure.chars().all(is_figure) {
                true => word.to_string(),
                false => word.replace(figure, "N"),
            }
        });
        let words: Vec<String> = words.collect();
        return Some(format!("{count} records sent, {}", words.join(" ")));
    }
    if line.contains("], [") {
        // A set, which Java's machine lists in an order that differs from run to run.
        let word = |word: &str| word.trim_matches(['[', ']', ',']).to_string();
        let mut words: Vec<String> = line.split(' ').map(word).collect();
        words.sort();
        return Some(words.join(" "));
    }
    if line.contains("BROKER") {
        // The columns are as wide as the address.
        let words: Vec<&str> = line.split_whitespace().collect();
        return Some(words.join(" "));
    }
    let mut line = line.to_string();
    for (before, after) in [("TopicId: ", '\t'), ("CreateTime:", '\t')] {
        if let Some(at) = line.find(before).map(|at| at + before.len()) {
            let end = line[at..]
                .find(after)
                .map_or(line.len(), |length| at + length);
            line.replace_range(at..end, "N");
        }
    }
    Some(line)
}

#[test]
fn the_tools_names_answer_as_kafkas_own() {
    let node = Node::start();
    let links = tempfile::tempdir().expect("a temporary directory");
    let install = run(&format!("kafka-tools install {}", links.path().display()));
    assert_eq!(
        (install.code, install.out.lines().count()),
        (0, 5),
        "{}",
        install.err
    );
    let mut differing = Vec::new();
    let recorded = recorded();
    let outputs: usize = recorded.iter().map(|one| one.out.len()).sum();
    assert!(
        recorded.len() > 50 && outputs > 80,
        "a recording that lost its content"
    );
    for wanted in recorded {
        let ours = ours(links.path(), &wanted.command, node.address());
        let out: Vec<String> = ours.out.lines().filter_map(masked).collect();
        let expected: Vec<String> = wanted.out.iter().filter_map(|line| masked(line)).collect();
        // Ours may say more on stderr: what to use instead.
        let mut lines = ours.err.lines();
        let has_all = wanted
            .err
            .iter()
            .all(|line| lines.any(|our| masked(our) == masked(line)));
        if out != expected || !has_all || ours.code != wanted.code {
            differing.push(format!(
                "$ {}\nours, exit {}:\n{}{}Kafka's, exit {}:\n{}\n{}\n",
                wanted.command,
                ours.code,
                ours.out,
                ours.err,
                wanted.code,
                wanted.out.join("\n"),
                wanted.err.join("\n")
            ));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn flags_that_would_do_nothing_are_refused_with_what_to_use() {
    let links = tempfile::tempdir().expect("a temporary directory");
    let dir = links.path().display();
    assert_eq!(run(&format!("kafka-tools install {dir}")).code, 0);
    let check = |command: &str, said: &str| {
        let run = ours(links.path(), command, "127.0.0.1:1");
        assert_eq!(
            (run.code, run.out.as_str()),
            (1, ""),
            "{command}: {}",
            run.err
        );
        assert!(run.err.contains(said), "{command}: {}", run.err);
    };
    let at = "--bootstrap-server BROKER";
    check(
        &format!("kafka-topics.sh {at} --list --command-config f"),
        "try: no flag",
    );
    check(
        &format!("kafka-console-consumer.sh {at} --topic t --include a"),
        "try: --topic",
    );
    check(
        &format!("kafka-console-producer.sh {at} --broker-list h"),
        "try: --bootstrap-server",
    );
    check(
        &format!("kafka-consumer-groups.sh {at} --list --export"),
        "--output json",
    );
    check(
        &format!("kafka-producer-perf-test.sh {at} --print-metrics"),
        "/metrics",
    );
    check(
        &format!("kafka-console-producer.sh {at} --topic t"),
        "cannot connect to BROKER",
    );
    let help = ours(links.path(), "kafka-topics.sh --help", "x");
    assert!(
        help.code == 0 && help.out.contains("--replication-factor"),
        "{}",
        help.out
    );
}

#[test]
fn an_offset_beyond_the_log_is_warned_of_as_kafkas_tool_does() {
    let node = Node::start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    node.command("produce orders", "a\nb\nc\n");
    node.command("consume orders -g readers -c 2", "");
    let line = format!("kafka-tools install {}", dir.path().display());
    assert_eq!(run(&line).code, 0);
    let check = |goal: &str, new: i64, err: &str, out: &str| {
        let line = format!(
            "kafka-consumer-groups.sh --bootstrap-server BROKER --reset-offsets --group readers \
             --topic orders {goal} --dry-run"
        );
        let run = ours(dir.path(), &line, node.address());
        assert_eq!(run.code, 0, "{goal}: {}", run.err);
        let (time, rest) = run.err.split_once("] ").unwrap_or(("", &run.err));
        assert_eq!((time.len() > 20, rest), (!err.is_empty(), err), "{goal}");
        let row = format!("readers         orders          0          {new}\n");
        assert!(run.out.ends_with(&row), "{goal}: {}", run.out);
        assert!(run.out.starts_with(out), "{goal}: {}", run.out);
    };
    let class = "(org.apache.kafka.tools.consumer.group.ConsumerGroupCommand)";
    check("--to-offset 3", 3, "", "\nGROUP");
    let higher = "WARN New offset (9) is higher than latest offset for topic partition orders-0. \
                  Value will be set to 3";
    check(
        "--to-offset 9",
        3,
        &format!("{higher} {class}\n"),
        "\nGROUP",
    );
    let lower = "WARN New offset (-3) is lower than earliest offset for topic partition orders-0. \
                 Value will be set to 0";
    check("--shift-by -5", 0, &format!("{lower} {class}\n"), "\nGROUP");
    let none = "\nWarn: Partition 0 from topic orders is empty. Falling back to latest known \
                offset.\n\nGROUP";
    check("--to-datetime 2100-01-01T00:00:00.000", 3, "", none);
}

#[test]
fn why_links_cannot_be_made_is_said() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("written");
    let check = |place: &Path, cause: &str, remedy: &str| {
        let refused = run(&format!("kafka-tools install {}", place.display()));
        assert_eq!(refused.code, 1, "{}", refused.out);
        for words in [cause, remedy] {
            assert!(refused.err.contains(words), "{words:?}: {}", refused.err);
        }
    };
    check(
        &dir.path().join("none"),
        "likely cause: there is no directory ",
        "try: mkdir -p ",
    );
    check(&file, "file is no directory", "with a directory");
}

#[test]
fn files_that_are_no_links_stay() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("kafka-topics.sh");
    std::fs::write(&path, "mine").expect("written");
    let refused = run(&format!("kafka-tools install {}", dir.path().display()));
    assert_eq!(refused.code, 1, "{}", refused.out);
    let cause = "likely cause: only links are replaced";
    assert!(refused.err.contains(cause), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "mine");
    std::fs::remove_file(&path).expect("removed");
    let line = format!("kafka-tools install {}", dir.path().display());
    assert_eq!(
        [run(&line).code, run(&line).code],
        [0, 0],
        "a second time it replaces its links"
    );
}
