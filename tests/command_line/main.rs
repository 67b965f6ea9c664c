//! What does the binary say to people, and how does it end?
//!
//! Help texts stand in `golden/`. After a change that is meant, `UPDATE_GOLDEN=1 cargo test --test
//! command_line` writes them anew; the difference is then for the reader of the commit.

// The simulated io runs no real node.
#[cfg(not(feature = "sim"))]
mod bench;
#[cfg(not(feature = "sim"))]
mod cut_short;
#[cfg(not(feature = "sim"))]
mod kafka_tools;
#[cfg(not(feature = "sim"))]
mod node;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// What a run of the binary printed, and its exit code.
struct Run {
    code: i32,
    out: String,
    err: String,
}

fn run(line: &str) -> Run {
    run_with_input(line, "")
}

fn run_with_input(line: &str, input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_corelog"))
        .args(line.split(' ').filter(|word| !word.is_empty()))
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // A command that does not read its input may end before it is written.
    let _ = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    Run {
        code: output.status.code().expect("it was not killed"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Lines whose help is kept, and the file that it is kept in.
const HELP: [(&str, &str); 26] = [
    ("--help", "corelog"),
    ("start --help", "start"),
    ("topic --help", "topic"),
    ("topic create --help", "topic-create"),
    ("topic list --help", "topic-list"),
    ("topic describe --help", "topic-describe"),
    ("topic delete --help", "topic-delete"),
    ("topic alter --help", "topic-alter"),
    ("produce --help", "produce"),
    ("consume --help", "consume"),
    ("group --help", "group"),
    ("group list --help", "group-list"),
    ("group describe --help", "group-describe"),
    ("group reset-offsets --help", "group-reset-offsets"),
    ("group delete --help", "group-delete"),
    ("config --help", "config"),
    ("config describe --help", "config-describe"),
    ("config alter --help", "config-alter"),
    ("bench --help", "bench"),
    ("bench produce --help", "bench-produce"),
    ("bench consume --help", "bench-consume"),
    ("bench e2e --help", "bench-e2e"),
    ("demo --help", "demo"),
    ("doctor --help", "doctor"),
    ("kafka-tools --help", "kafka-tools"),
    ("kafka-tools install --help", "kafka-tools-install"),
];

#[test]
fn help_is_what_it_was() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/command_line/golden");
    for (line, name) in HELP {
        let run = run(line);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{line}");
        let path = golden.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&path);
            file.and_then(|mut file| file.write_all(run.out.as_bytes()))
                .expect("written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(run.out, kept, "corelog {line}, against {}", path.display());
    }
}

/// `err` must be part of what is printed to stderr; without one nothing may be printed there.
fn check(line: &str, code: i32, err: &[&str]) {
    let run = run(line);
    assert_eq!(run.code, code, "{line}: {}{}", run.out, run.err);
    assert_eq!(run.err.is_empty(), err.is_empty(), "{line}: {}", run.err);
    for part in err {
        assert!(run.err.contains(part), "{line}: {}", run.err);
    }
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    check("--version", 0, &[]);
    check("completions bash", 0, &[]);
    check("completions zsh", 0, &[]);
    check("completions fish", 0, &[]);
    check("frobnicate", 2, &["unrecognized subcommand 'frobnicate'"]);
    check("topic create", 2, &["<NAME>"]);
    check(
        "consume t --format %x",
        2,
        &["--format: %x is none of", "try: corelog consume --help"],
    );
    check("start --override num.partitions=0", 78, &["num.partitions"]);
    check(
        "start --override nonsense",
        78,
        &["nonsense: expected key=value"],
    );
    check(
        "start no/such/server.properties",
        78,
        &["cannot read no/such/server.properties"],
    );
    check(
        "start --override corelog.log.level=loud",
        78,
        &["corelog.log.level"],
    );
}

#[test]
fn a_cluster_that_is_not_there_is_a_failure_with_advice() {
    // Port 1 (tcpmux) is nobody's here; a connection to it is refused at once.
    for line in ["topic list", "group list", "consume t -e"] {
        check(
            &format!("{line} -b 127.0.0.1:1"),
            3,
            &["cannot connect to 127.0.0.1:1", "try:"],
        );
    }
    check(
        "produce t -b 127.0.0.1:1 --delivery-timeout-ms 300",
        3,
        &[
            "trying again for 300 ms",
            "0 lines were acknowledged",
            "try:",
        ],
    );
    check("topic list -b nonsense:x", 2, &["is not HOST:PORT"]);
    check("consume t -p -1", 2, &["a partition is a number from 0 on"]);
}

// A test is outside the broker: it has sockets and threads of its own.
#[allow(clippy::disallowed_methods)]
#[test]
fn what_is_no_broker_is_a_failure_with_the_likely_cause() {
    let answers: [(&[u8], &str); 4] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "an HTTP server's"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "a TLS server's"),
        (b"\xff\xff\xff\xff", "an answer of -1 bytes"),
        (b"", "the other side closed it"),
    ];
    for (answer, words) in answers {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut asked = [0; 256];
                let _ = stream.read(&mut asked);
                let _ = stream.write_all(answer);
            }
        });
        for line in ["topic list", "bench produce --records 10"] {
            let cause = match answer {
                b"" => "may expect TLS",
                _ => "likely cause: Something other than a broker",
            };
            check(&format!("{line} -b {address}"), 3, &[words, cause, "try:"]);
        }
    }
}

#[test]
fn scripts_get_failures_as_objects() {
    let check = |line: &str, code: i32, word: &str| {
        let run = run(line);
        assert_eq!(run.code, code, "{line}: {}", run.err);
        let error: serde_json::Value = serde_json::from_str(&run.err).expect(&run.err);
        assert_eq!(error["error"]["code"], word, "{line}: {}", run.err);
        assert!(error["error"]["message"].is_string(), "{line}: {}", run.err);
    };
    check(
        "topic list -b 127.0.0.1:1 --output json",
        3,
        "CANNOT_CONNECT",
    );
    let produce = "produce t -b 127.0.0.1:1 --delivery-timeout-ms 1 --output=json";
    check(produce, 3, "CANNOT_CONNECT");
    check("topic create --output json", 2, "USAGE");
    check("consume t -f %x --output json", 2, "USAGE");
}

#[test]
fn all_that_is_wrong_with_a_configuration_is_said_at_once() {
    let line = "start --override num.partitions=0 --override corelog.admin.listener=x";
    check(line, 78, &["num.partitions", "corelog.admin.listener"]);
}

#[test]
fn names_are_checked_before_the_cluster_is_asked() {
    check(
        "produce a/b -b 127.0.0.1:1",
        2,
        &["\"a/b\" is no topic name"],
    );
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&format!("completions {shell}")).out;
        for name in [
            "bench",
            "e2e",
            "doctor",
            "kafka-tools",
            "install",
            "reset-offsets",
            "completions",
        ] {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
}

#[test]
fn the_doctor_says_of_each_check_what_why_and_how() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let line = format!(
        "doctor --json --jitter 0.01 --data-dir {} -b 127.0.0.1:1",
        dir.path().display()
    );
    let run = run(&line);
    let report: serde_json::Value = serde_json::from_str(&run.out).expect(&run.out);
    let checks = report["checks"].as_array().expect("a list");
    for check in checks {
        for name in ["area", "check", "verdict", "seen", "why"] {
            let text = check[name].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name} of {check}");
        }
        let is_bad = ["WARN", "FAIL"]
            .iter()
            .any(|word| check["verdict"] == *word);
        assert_eq!(check["try"].is_string(), is_bad, "{check}");
    }
    let areas = [
        "kernel", "cpu", "memory", "disk", "network", "broker", "jitter",
    ];
    for area in areas {
        assert!(checks.iter().any(|check| check["area"] == area), "{area}");
    }
    // Nobody listens on port 1, so that one check fails at least.
    let answers = checks.iter().find(|check| check["check"] == "answers");
    assert_eq!(answers.expect("it was asked")["verdict"], "FAIL");
    assert_eq!(run.code, 2, "{}", run.out);
    let left = std::fs::read_dir(dir.path()).expect("it is there").count();
    assert_eq!(left, 0, "the probe's file is removed");
    let wrong = "doctor --only broker --jitter 0 --override num.partitions=0";
    let refused = run_with_input(wrong, "");
    let said =
        refused.out.contains("FAIL  configuration") && refused.out.contains("num.partitions");
    assert!(said && refused.code == 2, "{}", refused.out);
    let verdicts = refused.out.matches(" configuration  ").count();
    assert_eq!(verdicts, 1, "it is not OK as well: {}", refused.out);
    let none = "doctor --only cpu,memory --jitter 0";
    let text = run_with_input(none, "").out;
    assert!(
        text.contains("MEMORY\n") && !text.contains("DISK"),
        "{text}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_corelog"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
