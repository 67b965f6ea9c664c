//! The commands against a node: the real binary on a port of its own.

// A test is outside the broker: it has its own clock and sockets.
#![allow(clippy::disallowed_methods)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Run, run_with_input};

/// A running node, which ends with the test.
pub(super) struct Node {
    child: Child,
    dir: TempDir,
    ready: Value,
}

impl Node {
    pub(super) fn start() -> Node {
        Node::start_in(tempfile::tempdir().expect("a temporary directory"))
    }

    fn start_in(dir: TempDir) -> Node {
        Node::start_at(dir, "127.0.0.1:0")
    }

    fn start_at(dir: TempDir, address: &str) -> Node {
        let ready_file = dir.path().join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.path().join("log"))
            .expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_corelog"))
            .arg("start")
            .args(overrides(&dir))
            .args(["--override", &format!("listeners=PLAINTEXT://{address}")])
            .args(["--stop-at-end-of-input", "--ready-file"])
            .arg(&ready_file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let mut node = Node {
            child,
            dir,
            ready: Value::Null,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while node.ready.is_null() {
            let ended = node.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{ended:?}: {}",
                node.log()
            );
            match std::fs::read_to_string(&ready_file) {
                Ok(text) => node.ready = serde_json::from_str(&text).expect("JSON"),
                Err(_) => pause(),
            }
        }
        node
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub(super) fn address(&self) -> &str {
        self.ready["listeners"][0].as_str().expect("an address")
    }

    /// Runs a command against the node; it must succeed. Returns what it printed.
    pub(super) fn command(&self, line: &str, input: &str) -> String {
        let run = self.try_command(line, input);
        assert_eq!(run.code, 0, "{line}: {}\n{}", run.err, self.log());
        run.out
    }

    pub(super) fn try_command(&self, line: &str, input: &str) -> Run {
        run_with_input(&format!("{line} -b {}", self.address()), input)
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("kill runs").success());
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            pause();
        }
    }

    /// The body of the answer to a GET of the admin listener.
    fn get(&self, path: &str) -> String {
        let address = self.ready["admin"].as_str().expect("an address");
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body.to_string()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

fn overrides(dir: &TempDir) -> Vec<String> {
    let data = format!("log.dirs={}", dir.path().join("data").display());
    let settings = [
        "listeners=PLAINTEXT://127.0.0.1:0",
        "corelog.admin.listener=127.0.0.1:0",
        "corelog.cores=2",
        "group.initial.rebalance.delay.ms=0",
        "offsets.topic.num.partitions=4",
        &data,
    ];
    settings
        .iter()
        .flat_map(|text| ["--override".to_string(), text.to_string()])
        .collect()
}

#[test]
fn topics_are_created_altered_and_deleted() {
    let node = Node::start();
    let create = "topic create orders --partitions 3 --config retention.ms=100000";
    assert_eq!(node.command(create, ""), "Created topic orders.\n");
    assert_eq!(
        node.command("topic create orders --if-not-exists", ""),
        "Topic orders exists.\n"
    );
    let again = node.try_command("topic create orders", "");
    assert_eq!(again.code, 1);
    assert!(again.err.contains("TOPIC_ALREADY_EXISTS") && again.err.contains("try:"));
    assert_eq!(
        node.command("topic list --exclude-internal", ""),
        "orders\n"
    );
    let described = node.command("topic describe orders", "");
    let mut lines = described.lines();
    let head = lines.next().expect("a line");
    assert!(head.starts_with("Topic: orders\tTopicId: "), "{head}");
    let tail = "\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: retention.ms=100000";
    assert!(head.ends_with(tail), "{head}");
    assert_eq!(lines.count(), 3);
    let alter = "topic alter orders --partitions 4 --config max.message.bytes=2000000 \
                 --delete-config retention.ms";
    assert_eq!(node.command(alter, ""), "Altered topic orders.\n");
    let json = node.command("topic describe orders --output json", "");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["partitions"].as_array().map(Vec::len), Some(4));
    assert_eq!(
        json[0]["configs"],
        serde_json::json!({ "max.message.bytes": "2000000" })
    );
    assert_eq!(
        node.command("topic delete orders", ""),
        "Deleted topic orders.\n"
    );
    assert_eq!(node.try_command("topic delete orders", "").code, 1);
    assert_eq!(node.command("topic list --exclude-internal", ""), "");
    for said in [
        "topic orders is created: 3 partitions, retention.ms set",
        "topic orders gets 1 more partitions",
        "topic orders has its configuration changed: max.message.bytes set",
        "topic orders is deleted",
    ] {
        assert!(node.log().contains(said), "{said}: {}", node.log());
    }
}

#[test]
fn what_is_dangerous_or_mistyped_is_refused() {
    let node = Node::start();
    node.command("topic create --topic a --partitions 1", "");
    node.command("topic create b", "");
    let some = node.try_command("topic delete a none b --output json", "");
    assert_eq!(some.code, 1, "{}", some.err);
    assert_eq!(some.out.lines().count(), 2, "{}", some.out);
    let error: Value = serde_json::from_str(&some.err).expect("one object");
    assert_eq!(error["error"]["code"], "UNKNOWN_TOPIC_OR_PARTITION");
    node.command("topic create a", "");
    let mistyped = node.try_command("topic alter a --delete-config retention.mss", "");
    assert_eq!(mistyped.code, 1, "{}", mistyped.err);
    assert!(
        mistyped.err.contains("no configuration retention.mss"),
        "{}",
        mistyped.err
    );
    node.command("produce a", "x\n");
    node.command("consume a -g readers -c 1", "");
    let internal = node.try_command("topic delete __consumer_offsets", "");
    assert_eq!(internal.code, 1, "{}", internal.err);
    assert!(
        internal.err.contains("--force-internal"),
        "{}",
        internal.err
    );
    assert_eq!(node.command("group list", ""), "readers\n");
    node.command("topic delete __consumer_offsets --force-internal", "");
}

#[test]
fn brokers_are_configured_while_they_run() {
    let node = Node::start();
    let alter = "config alter --config log.retention.ms=86400000";
    assert_eq!(
        node.command(alter, ""),
        "Altered the configuration of all brokers.\n"
    );
    let shown = node.command("config describe", "");
    assert!(
        shown.contains("log.retention.ms  86400000  all brokers  while it runs"),
        "{shown}"
    );
    node.command("config alter --broker 1 --config log.retention.ms=5000", "");
    let json = node.command("config describe --broker 1 --output json", "");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let entries = json.as_array().expect("a list");
    let value = |key: &str| {
        let entry = entries.iter().find(|entry| entry["key"] == key);
        entry.map(|entry| (entry["value"].clone(), entry["source"].clone()))
    };
    let expected = (Value::from("5000"), Value::from("this broker"));
    assert_eq!(value("log.retention.ms"), Some(expected));
    assert_eq!(value("num.partitions"), None, "a default");
    node.command("config alter --delete-config log.retention.ms", "");
    assert_eq!(node.command("config describe", "").lines().count(), 1);
    let fixed = node.try_command("config alter --config listeners=PLAINTEXT://:1", "");
    assert_eq!(fixed.code, 1, "{}", fixed.err);
    let unknown = node.try_command("config alter --config foo=1", "");
    let named = "IncrementalAlterConfigs of all brokers: INVALID_REQUEST";
    assert!(unknown.err.contains(named), "{}", unknown.err);
}

#[test]
fn one_offset_in_several_partitions_is_the_nearest_that_each_has() {
    let node = Node::start();
    node.command("topic create orders --partitions 2", "");
    node.command("produce orders -p 0", "a\nb\nc\n");
    node.command("produce orders -p 1", "x\n");
    let run = node.try_command("consume orders -o 2 -e", "");
    assert_eq!((run.code, run.out.as_str()), (0, "c\n"), "{}", run.err);
    assert!(
        run.err
            .contains("orders-1 has offsets from 0 to 1: it is read from 1"),
        "{}",
        run.err
    );
    let beyond = node.try_command("consume orders -o 9 -e --output json", "");
    assert_eq!(beyond.code, 1);
    assert!(beyond.err.contains("OFFSET_OUT_OF_RANGE"), "{}", beyond.err);
}

#[test]
fn lines_wait_for_a_broker_and_are_counted_when_it_goes_away() {
    let mut node = Node::start();
    let line = "produce orders --delivery-timeout-ms 30000 --output json";
    let mut producing = Command::new(env!("CARGO_BIN_EXE_corelog"))
        .args(line.split(' '))
        .args(["-b", node.address()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut input = producing.stdin.take().expect("a pipe");
    input.write_all(b"a\n").expect("it reads");
    let deadline = Instant::now() + Duration::from_secs(30);
    while node.try_command("consume orders -e", "").out != "a\n" {
        assert!(Instant::now() < deadline, "{}", node.log());
        pause();
    }
    // The same port again: the broker is away while the second line comes.
    let address = node.address().to_string();
    node.signal("TERM");
    node.wait();
    input.write_all(b"b\n").expect("it reads");
    drop(input);
    let dir = std::mem::replace(&mut node.dir, tempfile::tempdir().expect("a directory"));
    let node = Node::start_at(dir, &address);
    let output = producing.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", node.log());
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&told["records"], &told["created"]),
        (&Value::from(2), &Value::from(true))
    );
    assert_eq!(node.command("consume orders -e", ""), "a\nb\n");
}

#[test]
fn lines_that_were_not_acknowledged_are_named() {
    let node = Node::start();
    node.command("topic create small --config max.message.bytes=2000", "");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    std::fs::write(&one, "a\nb\n").expect("written");
    let large = format!("c\n{}\nd\n", "x".repeat(5000));
    std::fs::write(&other, &large).expect("written");
    let line = format!("produce small {} {}", one.display(), other.display());
    let run = node.try_command(&line, "");
    assert_eq!(run.code, 1, "{}", run.err);
    for words in [
        "MESSAGE_TOO_LARGE",
        "(line 2 has 5001 bytes)",
        "max.message.bytes of small is 2000",
        "lines were acknowledged; not acknowledged, or not known to be: ",
        &format!("{} lines ", other.display()),
        // The first line may be in a batch of its own.
        "-3; nothing behind them was sent",
        "try: corelog topic alter small --config max.message.bytes=",
        "message.max.bytes=",
    ] {
        assert!(run.err.contains(words), "{words:?}: {}", run.err);
    }
    let (_, remedy) = run.err.split_once("try: corelog ").expect("a remedy");
    let (remedy, _) = remedy.split_once(" (every topic").expect("a command");
    node.command(remedy, "");
    node.command("produce small", &large);
    let dir = node.try_command(&format!("produce small {}", dir.path().display()), "");
    assert_eq!(dir.code, 1, "{}", dir.err);
    let named = dir.err.starts_with("corelog: cannot read /") && dir.err.contains("directory");
    assert!(named, "{}", dir.err);
}

#[test]
fn an_interrupt_ends_producing_with_a_count() {
    let node = Node::start();
    let mut producing = Command::new(env!("CARGO_BIN_EXE_corelog"))
        .args(["produce", "orders", "-b", node.address()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut input = producing.stdin.take().expect("a pipe");
    input.write_all(b"a\nb\n").expect("it reads");
    let deadline = Instant::now() + Duration::from_secs(30);
    while node.try_command("consume orders -e", "").out != "a\nb\n" {
        assert!(Instant::now() < deadline, "{}", node.log());
        pause();
    }
    let pid = producing.id().to_string();
    let killed = Command::new("kill").args(["-s", "INT", &pid]).status();
    assert!(killed.expect("kill runs").success());
    let output = producing.wait_with_output().expect("it ends");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(
        err.contains("interrupted; 2 lines were acknowledged"),
        "{err}"
    );
    drop(input);
}

#[test]
fn the_log_tells_of_the_start_and_the_end() {
    let mut node = Node::start();
    node.signal("TERM");
    assert_eq!(node.wait().code(), Some(0));
    let mut log = node.log();
    for said in [
        " starts: 2 cores, data in /",
        "INFO recovered ",
        "0 topics, 0 partitions, on 2 cores",
        "INFO listening on 127.0.0.1:",
        "SIGTERM: stopping",
        "INFO stopped",
    ] {
        let at = log.find(said);
        assert!(at.is_some(), "{said}: {}", node.log());
        log = log.split_off(at.unwrap_or_default());
    }
}

#[test]
fn a_second_signal_ends_a_node_at_once_and_says_so() {
    let mut node = Node::start();
    // Both wait until it goes on, so that the second one is there before it has stopped.
    for signal in ["STOP", "TERM", "INT", "CONT"] {
        node.signal(signal);
    }
    assert_eq!(node.wait().code(), Some(130), "{}", node.log());
    let log = node.log();
    let line = log.lines().find(|line| line.starts_with("corelog: "));
    let line = line.unwrap_or_else(|| panic!("no line: {log}"));
    for words in [" again: ", "cut short", "recovers at the next start"] {
        assert!(line.contains(words), "{words:?}: {line}");
    }
}

#[test]
fn a_log_for_machines_leaves_no_text_for_people() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let words = overrides(&dir).join(" ");
    let line = format!("start {words} --log-format json --stop-at-end-of-input");
    let run = super::run(&line);
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
    for line in run.err.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "{line}");
    }
    assert!(run.err.contains("listening on 127.0.0.1:"), "{}", run.err);
}

#[test]
fn records_come_back_as_they_were_sent() {
    let node = Node::start();
    node.command("topic create orders --partitions 2", "");
    let lines: String = (0..1000)
        .map(|number| format!("k{number}:v{number}\n"))
        .collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let line = format!("produce orders -K : -H codec={codec} -z {codec} --output json");
        let json: Value = serde_json::from_str(&node.command(&line, &lines)).expect("JSON");
        assert_eq!(json["records"], 1000, "{codec}");
    }
    let shown = node.command("consume orders -e -f %k:%s/%h\\n", "");
    let mut found: Vec<&str> = shown.lines().collect();
    assert_eq!(found.len(), 5000);
    found.retain(|line| line.starts_with("k7:"));
    let expected = ["none", "gzip", "snappy", "lz4", "zstd"].map(|c| format!("k7:v7/codec={c}"));
    assert_eq!(found, expected);
    node.command("produce orders -p 0 -K : -Z", "last:\n");
    let last = node.command("consume orders -p 0 -o -1 -e -f %k,%S,%o", "");
    let (start, end) = last.rsplit_once(',').expect("an offset");
    assert_eq!(start, "last,-1");
    let after = format!("consume orders -p 0 -o {end} -e -c 1 --output json");
    let json: Value = serde_json::from_str(&node.command(&after, "")).expect("JSON");
    assert_eq!(
        (&json["key"], &json["payload"]),
        (&Value::from("last"), &Value::Null)
    );
    let beyond = node.try_command("consume orders -p 0 -o 999999 -e", "");
    assert_eq!(beyond.code, 1);
    assert!(beyond.err.contains("OFFSET_OUT_OF_RANGE"), "{}", beyond.err);
}

#[test]
fn groups_go_on_where_they_stopped_and_can_be_moved() {
    let node = Node::start();
    node.command("topic create orders", "");
    let lines: String = (0..20).map(|number| format!("v{number}\n")).collect();
    node.command("produce orders", &lines);
    assert_eq!(
        node.command("consume orders -g readers -c 3", ""),
        "v0\nv1\nv2\n"
    );
    assert_eq!(
        node.command("consume orders -g readers -c 2", ""),
        "v3\nv4\n"
    );
    assert_eq!(node.command("group list", ""), "readers\n");
    let json: Value =
        serde_json::from_str(&node.command("group describe readers --output json", ""))
            .expect("JSON");
    let row = &json[0]["partitions"][0];
    assert_eq!(
        (&row["current_offset"], &row["lag"]),
        (&Value::from(5), &Value::from(15))
    );
    let dry = node.command("group reset-offsets readers --all-topics --shift-by -2", "");
    assert!(dry.contains("Nothing was changed"), "{dry}");
    for (goal, remark) in [
        (
            "--to-offset 99",
            "orders-0 has offsets up to 20 only, not 99: 20",
        ),
        ("--shift-by -9", "orders-0 has offsets from 0 on, not -4: 0"),
        (
            "--to-datetime 2100-01-01T00:00:00Z",
            "orders-0 has no record that is as young",
        ),
        ("--to-latest", ""),
    ] {
        let line = format!("group reset-offsets readers --topic orders {goal}");
        let run = node.try_command(&line, "");
        assert_eq!(run.code, 0, "{goal}: {}", run.err);
        assert!(run.err.contains(remark), "{goal}: {}", run.err);
        assert_eq!(run.err.is_empty(), remark.is_empty(), "{goal}: {}", run.err);
        let json = node.command(&format!("{line} --output json"), "");
        assert_eq!(
            json.contains("\"note\""),
            !remark.is_empty(),
            "{goal}: {json}"
        );
    }
    assert_eq!(node.command("consume orders -g readers -c 1", ""), "v5\n");
    node.command(
        "group reset-offsets readers --topic orders --to-offset 18 --execute",
        "",
    );
    assert_eq!(
        node.command("consume orders -g readers -e", ""),
        "v18\nv19\n"
    );
    assert_eq!(
        node.command("group delete readers", ""),
        "Deleted group readers.\n"
    );
    assert_eq!(node.try_command("group delete readers", "").code, 1);
}

#[test]
fn what_clients_did_stands_on_the_metrics_page() {
    let node = Node::start();
    node.command("topic create orders --partitions 2", "");
    node.command(
        "produce orders -p 0",
        &"a line of some length\n".repeat(10_000),
    );
    assert_eq!(
        node.command("consume orders -p 0 -e", "").lines().count(),
        10_000
    );
    assert_eq!(node.get("/healthz"), "ok\n");
    assert_eq!(node.get("/readyz"), "ready\n");
    // Cores publish once a second.
    let deadline = Instant::now() + Duration::from_secs(10);
    let page = loop {
        let page = node.get("/metrics");
        if sum(&page, "corelog_records_in_total") >= 10_000.0 {
            break page;
        }
        assert!(Instant::now() < deadline, "{page}");
        pause();
    };
    assert!(page.contains("corelog_durability_info{durability=\"sync\"} 1\n"));
    let payload = sum(&page, "corelog_payload_in_bytes_total");
    assert!(payload > 200_000.0, "{payload}");
    let stored = "kafka_log_log_logendoffset{topic=\"orders\",partition=\"0\"} 10000\n";
    for name in ["corelog_syncs_total", "corelog_acknowledged_requests_total"] {
        assert!(sum(&page, name) >= 1.0, "{name}");
    }
    for stage in ["receive", "append", "sync", "respond"] {
        let name = format!("corelog_stage_latency_seconds_count{{stage=\"{stage}\"}}");
        assert!(sum(&page, &name) >= 1.0, "{name}");
    }
    let read = node.command("consume orders -g readers -c 4000", "");
    assert_eq!(read.lines().count(), 4000);
    let lag = "kafka_consumergroup_lag{consumergroup=\"readers\",topic=\"orders\",partition=\"0\"} 6000\n";
    let deadline = Instant::now() + Duration::from_secs(30);
    while ![stored, lag]
        .iter()
        .all(|line| node.get("/metrics").contains(line))
    {
        assert!(Instant::now() < deadline, "{}", node.get("/metrics"));
        pause();
    }
}

/// The sum of the samples whose name and labels begin like this.
fn sum(page: &str, prefix: &str) -> f64 {
    let samples = page.lines().filter(|line| line.starts_with(prefix));
    samples
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn a_node_stops_well_and_starts_again_with_its_data() {
    let mut node = Node::start();
    node.command("topic create orders", "");
    node.command("produce orders", "a\nb\n");
    let mut stop_by_signal = |name: &str| {
        node.signal(name);
        assert_eq!(node.wait().code(), Some(0), "{name}: {}", node.log());
        let dir = std::mem::replace(&mut node.dir, tempfile::tempdir().expect("a directory"));
        node = Node::start_in(dir);
        assert_eq!(node.command("consume orders -e", ""), "a\nb\n", "{name}");
    };
    stop_by_signal("TERM");
    stop_by_signal("INT");
    drop(node.child.stdin.take());
    assert_eq!(node.wait().code(), Some(0), "{}", node.log());
}

#[test]
fn a_second_node_in_the_same_directory_is_refused_with_advice() {
    let node = Node::start();
    let words = overrides(&node.dir).join(" ");
    let second = super::run(&format!("start {words}"));
    assert_eq!(second.code, 1, "{}", second.err);
    assert!(second.err.contains("corelog: "), "{}", second.err);
    let advice = ["likely cause:", "try:", "to see"];
    assert!(
        advice.iter().any(|part| second.err.contains(part)),
        "{}",
        second.err
    );
    assert_eq!(node.command("topic list --exclude-internal", ""), "");
}

#[test]
fn a_port_that_another_node_has_is_refused_with_advice() {
    let node = Node::start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let words = overrides(&dir).join(" ");
    let port = format!("--override listeners=PLAINTEXT://{}", node.address());
    let second = super::run(&format!("start {words} {port}"));
    assert_eq!(second.code, 1, "{}", second.err);
    assert!(second.err.contains("cannot listen on"), "{}", second.err);
    assert!(
        second
            .err
            .contains("likely cause: another broker listens there"),
        "{}",
        second.err
    );
    for part in [
        "corelog start --override listeners=",
        "--override corelog.admin.listener=",
        "--override log.dirs=",
    ] {
        assert!(second.err.contains(part), "{part}: {}", second.err);
    }
    let metrics = node.ready["admin"].as_str().expect("an address");
    let port = format!("--override corelog.admin.listener={metrics}");
    let second = super::run(&format!("start {words} {port}"));
    assert_eq!(second.code, 1, "{}", second.err);
    assert!(
        second.err.contains("cannot serve metrics on"),
        "{}",
        second.err
    );
}

#[test]
fn too_few_open_files_are_refused_with_advice() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = env!("CARGO_BIN_EXE_corelog");
    let words = overrides(&dir).join(" ");
    let script = format!("ulimit -n 100 && exec {program} start {words}");
    let output = Command::new("sh")
        .args(["-c", &script])
        .output()
        .expect("sh runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(
        err.contains("100 open files are too few for 2 cores"),
        "{err}"
    );
    assert!(err.contains("try: ulimit -n"), "{err}");
}

#[test]
fn the_demo_checks_what_it_sent() {
    let run = super::run("demo --records 50000 --output json");
    assert_eq!(run.code, 0, "{}", run.err);
    let json: Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(json["records"], 50_000);
    assert_eq!(json["durability"], "sync");
    assert_eq!(json["single_record_latency"]["count"], 500);
}
