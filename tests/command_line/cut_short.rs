//! Commands that are cut short: by an output that takes nothing, by a signal.

// A test is outside the broker: it has its own clock and files.
#![allow(clippy::disallowed_methods)]

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::node::Node;

/// Runs the binary under this name with an output that is full; its exit code.
fn into_nothing(name: &str, line: &str) -> i32 {
    let full = File::options().write(true).open("/dev/full");
    let status = Command::new(env!("CARGO_BIN_EXE_corelog"))
        .arg0(name)
        .args(line.split(' '))
        .stdin(Stdio::null())
        .stdout(full.expect("Linux has it"))
        .stderr(Stdio::null())
        .status();
    status.expect("the binary runs").code().expect("no signal")
}

#[test]
fn a_group_does_not_commit_what_could_not_be_written() {
    let node = Node::start();
    let at = node.address();
    let lines: String = (0..5_000).map(|number| format!("v{number}\n")).collect();
    node.command("topic create orders", "");
    node.command("produce orders", &lines);
    let native = format!("consume orders -g g -b {at}");
    assert_eq!(into_nothing("corelog", &native), 1);
    let kafka = format!("--bootstrap-server {at} --topic orders --from-beginning --group h");
    assert_eq!(into_nothing("kafka-console-consumer.sh", &kafka), 1);
    for group in ["g", "h"] {
        let members = node.command(&format!("group describe {group} --output json"), "");
        let members: serde_json::Value = serde_json::from_str(&members).expect("JSON");
        assert_eq!(members[0]["state"], "Empty", "{members}");
        let read = node.command(&format!("consume orders -g {group} -e"), "");
        assert_eq!(read, lines, "group {group}");
    }
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for signal in ["INT", "TERM"] {
        let demo = Command::new(env!("CARGO_BIN_EXE_corelog"))
            .args(["demo", "--records", "100000000", "--dir"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let deadline = Instant::now() + Duration::from_secs(60);
        let has_begun = || {
            let made = std::fs::read_dir(dir.path()).expect("it is there");
            let made = made.map(|entry| entry.expect("it can be read").path());
            made.into_iter()
                .any(|path| path.join("ready.json").exists())
        };
        while !has_begun() {
            assert!(Instant::now() < deadline, "the demo does not begin");
            sleep(Duration::from_millis(10));
        }
        let pid = demo.id().to_string();
        let killed = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(killed.expect("kill runs").success());
        let output = demo.wait_with_output().expect("it ends");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{err}");
        let left = std::fs::read_dir(dir.path()).expect("it is there");
        assert_eq!(left.count(), 0, "SIG{signal}: {err}");
    }
}
