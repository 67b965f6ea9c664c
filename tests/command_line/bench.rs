//! `corelog bench` against a node: what it prints, what it writes, what it leaves behind.

// A test is outside the broker: it has threads of its own.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::node::Node;
use super::{check, run};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Percentiles that are in order, of so many times.
fn check_times(times: &Value, count: u64) {
    assert_eq!(times["count"], count, "{times}");
    let keys = [
        "p50_us", "p90_us", "p99_us", "p999_us", "p9999_us", "max_us",
    ];
    let values = keys.map(|key| times[key].as_f64().expect(key));
    assert!(values[0] > 0.0 && values.is_sorted(), "{times}");
    assert!(times["mean_us"].as_f64() <= times["max_us"].as_f64());
}

/// A list of percentiles that HdrHistogram's plotters read, of so many times.
fn check_hgrm(path: &Path, count: u64) {
    let text = std::fs::read_to_string(path).expect("it is written");
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().expect("a head").split_whitespace().collect();
    assert_eq!(
        head,
        ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    );
    assert_eq!(lines.next(), Some(""));
    let (rows, comments): (Vec<&str>, Vec<&str>) = lines.partition(|line| !line.starts_with('#'));
    let mut before = [0.0; 3];
    for row in &rows {
        let numbers: Vec<f64> = row
            .split_whitespace()
            .map(|word| word.parse().expect(row))
            .collect();
        let is_last = numbers[1] == 1.0;
        assert_eq!(numbers.len(), if is_last { 3 } else { 4 }, "{row}");
        assert!(
            numbers
                .iter()
                .zip(before)
                .all(|(now, before)| *now >= before),
            "{row} after {before:?}"
        );
        if !is_last {
            let inverse = 1.0 / (1.0 - numbers[1]);
            assert!((numbers[3] - inverse).abs() <= inverse * 0.01, "{row}");
        }
        before.copy_from_slice(&numbers[..3]);
    }
    assert_eq!((before[1], before[2]), (1.0, count as f64), "{text}");
    let expected = format!("Total count    = {count:>12}]");
    assert!(
        comments.iter().any(|line| line.ends_with(&expected)),
        "{text}"
    );
    assert!(comments[0].starts_with("#[Mean    = "), "{text}");
}

#[test]
fn produce_says_what_it_did_to_scripts_and_in_an_hgrm_file() {
    let node = Node::start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let hdr = dir.path().join("produce.hgrm");
    let line = format!(
        "bench produce --topic t --partitions 3 --rate 2000/s --batch-records 10 --records 995 \
         --record-bytes 100 --json --hdr {}",
        hdr.display()
    );
    let run = node.try_command(&line, "");
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{}", run.out);
    let result = json(&run.out);
    assert_eq!(result["command"], "produce");
    assert_eq!(
        result["topic"],
        serde_json::json!({ "name": "t", "partitions": 3, "created": true, "deleted": false })
    );
    assert_eq!(result["durability"], "sync");
    // Whole requests, at their times.
    assert_eq!(result["records"], 1000);
    assert_eq!(result["seconds"], 0.5);
    assert_eq!(result["load"]["rate"], 2000);
    assert_eq!(result["load"]["batch_records"], 10);
    assert_eq!(result["errors"], serde_json::json!({}));
    assert_eq!(result["unanswered"], 0);
    check_times(&result["latency"], 100);
    assert_eq!(result["send_delay"]["count"], 100);
    let figure = |key: &str| result[key].as_f64().expect(key);
    let rate = figure("records_per_second");
    assert!((100.0..=2000.0).contains(&rate), "{rate}");
    assert!((figure("megabytes_per_second") - rate * 100.0 / 1e6).abs() < 1e-6);
    assert!((figure("requests_per_second") - rate / 10.0).abs() < 1e-6);
    // The system counts it in steps of 10 ms, so that it may be nothing.
    assert!(result["client"]["cpu_seconds"].as_f64() >= Some(0.0));
    check_hgrm(&hdr, 100);
    // They are there.
    let there = node.command("consume t -e -f %S\\n", "");
    assert_eq!(there.lines().count(), 1000);
    assert!(there.lines().all(|length| length == "100"));
}

#[test]
fn produce_and_consume_alone_do_something_useful() {
    let node = Node::start();
    let text = node.command("bench produce --records 20000 --no-progress", "");
    for expected in [
        "Produced 20000 records in ",
        "; topic corelog-bench, 8 partitions, created.\n",
        "load        4 connections, 5 in flight each, 16 records of 1024 bytes in a request, not \
         compressed, acks=all; as fast as answers come\n",
        "durability  sync (corelog.durability of the broker)\n",
        "clean up    corelog topic delete corelog-bench\n",
        "RECORDS/S",
        "MICROSECONDS             P50",
        "send-to-acknowledgement  ",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    let consumed = node.command("bench consume --threads 2", "");
    let expected = "Consumed 20000 records in ";
    assert!(consumed.starts_with(expected), "{consumed}");
    assert!(consumed.contains("fetch-to-answer  "), "{consumed}");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let hdr = dir.path().join("consume.hgrm");
    let line = format!("bench consume --output json --hdr {}", hdr.display());
    let result = json(&node.command(&line, ""));
    assert_eq!(
        (&result["command"], &result["records"]),
        (&"consume".into(), &20_000.into())
    );
    let fetches = result["fetch_latency"]["count"].as_u64().expect("a count");
    assert!(fetches >= 20, "each brings a megabyte at most: {fetches}");
    check_times(&result["fetch_latency"], fetches);
    check_hgrm(&hdr, fetches);
    let bytes = result["fetched_bytes"].as_u64().expect("a count");
    assert!((20_000 * 1024..22_000 * 1024).contains(&bytes), "{bytes}");
    assert!(result["megabytes_per_second"].as_f64() > Some(0.0));
    assert!(result["load"].is_null() && result["latency"].is_null());
    let some = json(&node.command("bench consume --records 10 --fetch-bytes 64KiB --json", ""));
    let records = some["records"].as_u64().expect("a count");
    assert!((10..20_000).contains(&records), "{records}");
    // What was there before is not deleted, even if that is asked for.
    let again = node.command(
        "bench produce --duration 200ms --warm-up 0 --delete-topic",
        "",
    );
    assert!(
        again.contains("note        the topic was there before"),
        "{again}"
    );
    let topics = node.command("topic list", "");
    assert_eq!(topics, "corelog-bench\n");
}

#[test]
fn every_record_of_e2e_arrives_and_the_topic_goes() {
    let node = Node::start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let hdr = dir.path().join("e2e.hgrm");
    let line = format!(
        "bench e2e --rate 1000 --records 300 --connections 3 --partitions 2 --delete-topic --json \
         --hdr {}",
        hdr.display()
    );
    let result = json(&node.command(&line, ""));
    assert_eq!(result["records"], 300);
    assert_eq!(result["topic"]["deleted"], true);
    assert_eq!(result["consume"]["connections"], 2, "one a partition");
    check_times(&result["latency"], 300);
    check_times(&result["end_to_end"], 300);
    check_hgrm(&hdr, 300);
    assert_eq!(result["notes"], serde_json::json!([]));
    let text = node.command("bench e2e --rate 0 --duration 300ms --batch-records 5", "");
    assert!(text.contains("send-to-arrival"), "{text}");
    assert!(!text.contains("had not arrived"), "{text}");
    assert_eq!(node.command("topic list", ""), "corelog-bench\n");
}

#[test]
fn what_producers_may_choose_is_what_the_broker_gets() {
    let node = Node::start();
    let produce = "bench produce --records 640 --batch-bytes 64KiB --json";
    for (flags, word) in [
        ("-z gzip", "gzip"),
        ("-z snappy", "snappy"),
        ("-z lz4", "lz4"),
        ("--compression zstd", "zstd"),
    ] {
        let result = json(&node.command(&format!("{produce} {flags} --topic {word}"), ""));
        assert_eq!(
            (&result["records"], &result["load"]["codec"]),
            (&640.into(), &word.into())
        );
        let result = json(&node.command(&format!("bench consume --topic {word} --json"), ""));
        assert_eq!(result["records"], 640);
        assert!(
            result["fetched_bytes"].as_u64() < Some(640 * 1024),
            "{result}"
        );
    }
    for acks in ["0", "1"] {
        let result = json(&node.command(&format!("{produce} --acks {acks} --topic acks"), ""));
        assert_eq!(
            (&result["records"], &result["load"]["acks"]),
            (&640.into(), &acks.into())
        );
        let notes = result["notes"].to_string();
        assert_eq!(
            notes.contains("nothing is promised"),
            acks == "0",
            "{notes}"
        );
    }
}

#[test]
fn failures_say_what_why_and_what_helps() {
    for verb in ["produce", "consume", "e2e"] {
        let line = format!("bench {verb} -b 127.0.0.1:1");
        check(&line, 3, &["cannot connect to 127.0.0.1:1", "try:"]);
        let failed = run(&format!("{line} --json"));
        assert_eq!((failed.code, failed.out.as_str()), (3, ""));
        assert_eq!(json(&failed.err)["error"]["code"], "CANNOT_CONNECT");
    }
    check(
        "bench produce --topic a/b",
        2,
        &["\"a/b\" is no topic name"],
    );
    check("bench produce --rate fast", 2, &["--rate", "100MB/s"]);
    let sizes = "bench produce --record-bytes 2MiB";
    check(sizes, 2, &["--record-bytes", "from 8 to 1048576 bytes"]);
    check("bench produce --record-bytes 1x", 2, &["16KiB"]);
    let units = "bench produce --record-bytes 1k --batch-records 2000";
    check(units, 2, &["2000 records of 1000 bytes"]);
    check("bench produce --duration 3d", 2, &["--duration", "500ms"]);
    let large = "bench produce --batch-records 2000";
    check(large, 2, &["2048000 bytes in a request", "try:"]);
    let long = "bench produce --records 100000000 --rate 1";
    check(long, 2, &["take more than a day", "try:"]);
    let wrong = run("bench produce --rate fast --json");
    assert_eq!(json(&wrong.err)["error"]["code"], "USAGE");
    let file = "bench produce --hdr /no/such/dir/file";
    check(file, 1, &["cannot write /no/such/dir/file", "try:"]);
}

#[test]
fn topics_that_are_not_what_was_expected_are_failures() {
    let node = Node::start();
    let check = |line: &str, code: i32, words: &[&str]| {
        let run = node.try_command(line, "");
        assert_eq!(run.code, code, "{line}: {}{}", run.out, run.err);
        for word in words {
            assert!(
                run.err.contains(word),
                "{line}: {word:?} is not in: {}",
                run.err
            );
        }
    };
    let missing = [
        "there is no topic none",
        "try: corelog bench produce --topic none",
    ];
    check("bench consume --topic none", 1, &missing);
    node.command("topic create empty --partitions 2", "");
    let empty = [
        "topic empty holds no records",
        "try: corelog bench produce --topic empty",
    ];
    check("bench consume --topic empty", 1, &empty);
    let other = [
        "topic empty has 2 partitions, not 5",
        "likely cause:",
        "try:",
    ];
    check("bench produce --topic empty --partitions 5", 2, &other);
    assert_eq!(node.command("topic list", ""), "empty\n");
    node.command("topic create narrow --config max.message.bytes=500", "");
    let produce = "bench produce --topic narrow --records 160 --json";
    let refused = node.try_command(produce, "");
    assert_eq!(refused.code, 1, "{}", refused.err);
    let result = json(&refused.out);
    assert_eq!(result["errors"]["MESSAGE_TOO_LARGE"], 10, "{result}");
    assert_eq!(result["records"], 0);
    let error = json(&refused.err);
    assert_eq!(error["error"]["code"], "MESSAGE_TOO_LARGE");
    let hint = error["error"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("max.message.bytes"), "{hint}");
}

/// Starts a load of a minute, does something to it after a moment, and waits for its end.
fn run_disturbed(node: &Node, line: &str, disturb: impl FnOnce(u32)) -> super::Run {
    let child = Command::new(env!("CARGO_BIN_EXE_corelog"))
        .args(format!("{line} --duration 60s -b {}", node.address()).split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // Long enough to be within the load; whenever it is, the end is the same.
    std::thread::sleep(Duration::from_millis(1500));
    disturb(child.id());
    let output = child.wait_with_output().expect("it ends");
    super::Run {
        code: output.status.code().expect("it was not killed"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

#[test]
fn an_interrupted_load_has_a_result_and_cleans_up() {
    let node = Node::start();
    let line = "bench produce --rate 1000 --delete-topic --json";
    let run = run_disturbed(&node, line, |pid| {
        let pid = pid.to_string();
        let status = Command::new("kill").args(["-s", "INT", &pid]).status();
        assert!(status.expect("kill runs").success());
    });
    assert_eq!(run.code, 130, "{}{}", run.out, run.err);
    let result = json(&run.out);
    assert!(result["seconds"].as_f64() < Some(59.0), "{result}");
    assert_eq!(result["topic"]["deleted"], true);
    assert_eq!(json(&run.err)["error"]["code"], "INTERRUPTED");
    assert_eq!(node.command("topic list", ""), "");
}

#[test]
fn a_broker_that_goes_away_ends_the_load() {
    let node = Node::start();
    let line = "bench e2e --warm-up 0 --delete-topic --json";
    let run = run_disturbed(&node, line, |_| node.signal("KILL"));
    assert_eq!(run.code, 3, "{}{}", run.out, run.err);
    let error = json(&run.err);
    let message = error["error"]["message"].as_str().expect("a message");
    assert!(message.contains("connection"), "{error}");
    assert!(error["error"]["hint"].is_string(), "{error}");
    // What was measured until then.
    let result = json(&run.out);
    assert!(result["records"].as_u64() > Some(0), "{result}");
    assert!(result["seconds"].as_f64() < Some(10.0), "{result}");
    assert!(result["end_to_end"]["count"].as_u64() > Some(0), "{result}");
    assert!(
        result["notes"][0]
            .as_str()
            .expect("a note")
            .starts_with("cut short: "),
        "{result}"
    );
}

#[test]
fn a_rate_that_is_too_much_is_said() {
    let node = Node::start();
    let line = "bench produce --rate 100k --batch-records 1 --record-bytes 8 --in-flight 1 \
                --connections 1 --duration 500ms --warm-up 0 --json";
    let result = json(&node.command(line, ""));
    assert_eq!(result["rate_reached"], false, "{result}");
    let notes = result["notes"].to_string();
    assert!(notes.contains("the rate was not reached: "), "{notes}");
    let figure = |key: &str| result[key].as_f64().expect(key);
    let expected = figure("records_per_second") * figure("seconds");
    assert!((figure("records") - expected).abs() < 1.0, "{result}");
}
