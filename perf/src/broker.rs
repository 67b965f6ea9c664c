//! The broker that is measured: a corelog or an Apache Kafka of our own in a temporary directory,
//! or one that runs somewhere.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use corelog::bench::Problem;
use corelog::io;
use corelog::io::blocking::{self, ScratchDir};
use serde::Serialize;
use serde_json::Value;

use crate::limits::{BROKER_START_SECONDS, BROKER_STOP_SECONDS};
use crate::machine::{cpu_list, cpus_of};
use crate::workload::Durability;

/// What is known of a broker, for the results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Facts {
    /// "corelog", "kafka", or "unknown" for one that runs somewhere.
    pub(crate) product: String,
    pub(crate) version: Option<String>,
    pub(crate) address: String,
    /// Where its /metrics is.
    pub(crate) admin: Option<String>,
    /// What an acknowledgement promises, as the broker itself says; of Kafka, as it was started.
    pub(crate) durability: String,
    /// Whether its data lies in memory, where a sync costs and keeps nothing.
    pub(crate) in_memory: bool,
    pub(crate) cores: Option<u64>,
    /// How long its cores look for work before they sleep; 0 is not at all, and none not known.
    pub(crate) spin_us: Option<u64>,
    /// The CPUs that its process may use.
    pub(crate) cpus: Vec<usize>,
    pub(crate) pid: Option<u32>,
}

impl Facts {
    /// Whether its cores spin, in words.
    pub(crate) fn spin_words(&self) -> String {
        match self.spin_us {
            Some(0) => "no spin".to_owned(),
            Some(spin_us) => format!("spins for {spin_us} us before it sleeps"),
            None => "spin not known".to_owned(),
        }
    }

    /// A broker that runs somewhere, as far as its ready file tells.
    pub(crate) fn of_running(address: &str, ready_file: Option<&Path>) -> Result<Facts, Problem> {
        let Some(path) = ready_file else {
            return Ok(Facts {
                product: "unknown".to_owned(),
                version: None,
                address: address.to_owned(),
                admin: None,
                durability: "unknown".to_owned(),
                in_memory: false,
                cores: None,
                spin_us: None,
                cpus: Vec::new(),
                pid: None,
            });
        };
        let failed = |what: String| Problem::new(format!("{}: {what}", path.display()));
        let bytes = blocking::read_file(path).map_err(|error| failed(error.to_string()))?;
        let mut facts = read_ready(&bytes).map_err(|problem| failed(problem.to_string()))?;
        facts.address = address.to_owned();
        facts.cpus = facts.pid.map_or(Vec::new(), cpus_of);
        Ok(facts)
    }
}

/// What `corelog start --ready-file` writes.
fn read_ready(bytes: &[u8]) -> Result<Facts, Problem> {
    let ready: Value =
        serde_json::from_slice(bytes).map_err(|error| Problem::new(error.to_string()))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let address = text(&ready["listeners"][0]);
    let durability = text(&ready["durability"]);
    let (Some(address), Some(durability)) = (address, durability) else {
        return Err(Problem::new(
            "it names no listener or no durability: not the ready file of a corelog",
        ));
    };
    let pid = ready["pid"].as_u64().and_then(|pid| pid.try_into().ok());
    Ok(Facts {
        product: "corelog".to_owned(),
        version: text(&ready["version"]),
        address,
        admin: text(&ready["admin"]),
        durability,
        in_memory: ready["in_memory"].as_bool().unwrap_or(false),
        cores: ready["cores"].as_u64(),
        spin_us: ready["spin_us"].as_u64(),
        cpus: Vec::new(),
        pid,
    })
}

/// How a broker of our own is started.
#[derive(Clone, Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) durability: Durability,
    pub(crate) cpus: &'a [usize],
    /// The directory for its temporary directory.
    pub(crate) parent: &'a Path,
    /// More settings, KEY=VALUE; Kafka gets none of them.
    pub(crate) overrides: &'a [String],
}

/// How often retention is enforced, in milliseconds: a run writes more than a disk may hold.
const RETENTION_CHECK: &str = "log.retention.check.interval.ms=1000";

/// A corelog of our own. It ends, and its directory goes, with this value.
#[derive(Debug)]
pub(crate) struct Corelog {
    child: Child,
    /// Its standard input: when it closes, for whatever reason, the broker stops.
    life_line: Option<ChildStdin>,
    pub(crate) dir: Arc<ScratchDir>,
    pub(crate) facts: Facts,
}

impl Corelog {
    /// Starts the binary in a new directory and waits until it serves.
    pub(crate) fn start(binary: &Path, settings: &Settings<'_>) -> Result<Corelog, Problem> {
        let dir = Arc::new(scratch(settings.parent)?);
        Corelog::start_in(binary, dir, settings)
    }

    /// Starts it on what an earlier one has left.
    pub(crate) fn start_in(
        binary: &Path,
        dir: Arc<ScratchDir>,
        settings: &Settings<'_>,
    ) -> Result<Corelog, Problem> {
        let ready_file = dir.path().join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let failed = |error: io::Error| {
            Problem::new(format!("cannot start {}: {error}", binary.display()))
                .hint("cargo build --release --locked --bin corelog, or --broker BINARY")
        };
        if !binary.is_file() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        // All of its threads stay on its CPUs, not only the shards'.
        let mut command = Command::new("taskset");
        command.arg("-c").arg(cpu_list(settings.cpus)).arg(binary);
        command
            .args(["start", "--stop-at-end-of-input", "--ready-file"])
            .arg(&ready_file);
        for setting in [
            "listeners=PLAINTEXT://127.0.0.1:0",
            "corelog.admin.listener=127.0.0.1:0",
            RETENTION_CHECK,
            &format!("log.dirs={}", dir.path().join("data").display()),
            &format!("corelog.durability={}", settings.durability.as_str()),
            &format!("corelog.cores={}", settings.cpus.len()),
        ] {
            command.args(["--override", setting]);
        }
        for setting in settings.overrides {
            command.args(["--override", setting]);
        }
        let log = blocking::create_file(dir.path().join("log")).map_err(failed)?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        let mut child = command.spawn().map_err(failed)?;
        let mut broker = Corelog {
            life_line: child.stdin.take(),
            child,
            dir,
            facts: Facts::of_running("", None)?,
        };
        broker.facts = broker.wait_ready(&ready_file)?;
        broker.facts.cpus = settings.cpus.to_vec();
        Ok(broker)
    }

    fn wait_ready(&mut self, file: &Path) -> Result<Facts, Problem> {
        let deadline = io::now() + Duration::from_secs(BROKER_START_SECONDS);
        loop {
            if let Ok(bytes) = blocking::read_file(file) {
                return read_ready(&bytes);
            }
            if self.child.try_wait().ok().flatten().is_some() || io::now() > deadline {
                let words = last_words(&self.dir.path().join("log"));
                return Err(Problem::new(format!("the broker did not start:\n{words}")));
            }
            blocking::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it as a crash would (SIGKILL), and keeps its directory.
    pub(crate) fn kill(mut self) -> Result<Arc<ScratchDir>, Problem> {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.map_err(|error| Problem::new(format!("the broker cannot be killed: {error}")))?;
        Ok(Arc::clone(&self.dir))
    }

    /// Stops it gracefully; anything but exit code 0 is a problem, because then its figures are
    /// those of a broker that failed.
    pub(crate) fn stop(mut self) -> Result<(), Problem> {
        drop(self.life_line.take());
        let deadline = io::now() + Duration::from_secs(BROKER_STOP_SECONDS);
        while io::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    let words = last_words(&self.dir.path().join("log"));
                    return Err(Problem::new(format!(
                        "the broker ended with {status}:\n{words}"
                    )));
                }
                Ok(None) => blocking::sleep(Duration::from_millis(10)),
                Err(error) => return Err(Problem::new(format!("the broker is lost: {error}"))),
            }
        }
        Err(Problem::new(format!(
            "the broker did not stop within {BROKER_STOP_SECONDS} s"
        )))
    }
}

impl Drop for Corelog {
    fn drop(&mut self) {
        // After a graceful stop both fail, which is as it should be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An Apache Kafka of our own, started by `ci/kafka`.
#[derive(Debug)]
pub(crate) struct Kafka {
    script: PathBuf,
    pub(crate) dir: ScratchDir,
    pub(crate) facts: Facts,
}

impl Kafka {
    /// Starts it, with a sync behind every acknowledgement or with Kafka's default.
    pub(crate) fn start(script: &Path, settings: &Settings<'_>) -> Result<Kafka, Problem> {
        let dir = scratch(settings.parent)?;
        let mut command = Command::new("taskset");
        command.arg("-c").arg(cpu_list(settings.cpus)).arg(script);
        command.arg("start").arg(dir.path());
        let durability = match settings.durability {
            Durability::Sync => {
                command.arg("--durable");
                "sync"
            }
            Durability::Written => "page cache",
        };
        command.args([RETENTION_CHECK, "log.segment.delete.delay.ms=1000"]);
        // The broker inherits what the script has; a pipe would stay open with it.
        let log_path = dir.path().join("script.log");
        let failed =
            |error: io::Error| Problem::new(format!("cannot run {}: {error}", script.display()));
        let log = blocking::create_file(&log_path).map_err(failed)?;
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .status()
            .map_err(failed)?;
        // From here on, dropping it stops what was started.
        let mut kafka = Kafka {
            script: script.to_owned(),
            dir,
            facts: Facts::of_running("", None)?,
        };
        if !status.success() {
            let words = last_words(&log_path);
            return Err(Problem::new(format!("Kafka did not start:\n{words}")));
        }
        let said = |name: &str| {
            let bytes = blocking::read_file(kafka.dir.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).trim().to_owned()
        };
        kafka.facts = Facts {
            product: "kafka".to_owned(),
            version: version_of(script),
            address: said("address"),
            admin: None,
            durability: durability.to_owned(),
            in_memory: blocking::lies_in_memory(kafka.dir.path()),
            cores: None,
            spin_us: Some(0),
            cpus: settings.cpus.to_vec(),
            pid: said("pid").parse().ok(),
        };
        Ok(kafka)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // What does not stop is killed by the script.
        let _ = Command::new(&self.script)
            .arg("stop")
            .arg(self.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

fn version_of(script: &Path) -> Option<String> {
    let output = Command::new(script).arg("version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn scratch(parent: &Path) -> Result<ScratchDir, Problem> {
    let failed = |error| {
        Problem::new(format!(
            "cannot make a directory in {}: {error}",
            parent.display()
        ))
    };
    std::fs::create_dir_all(parent).map_err(failed)?;
    ScratchDir::new(Some(&blocking::absolute(parent))).map_err(failed)
}

/// The end of a log, as a quotation.
fn last_words(log: &Path) -> String {
    let bytes = blocking::read_file(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let mut quotation = String::new();
    for line in &lines[lines.len().saturating_sub(10)..] {
        writeln!(quotation, "  | {line}").expect("a string grows");
    }
    quotation.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_file_says_what_is_in_force() {
        let ready = br#"{"listeners":["127.0.0.1:9092"],"durability":"sync","cores":2,"pid":7,
            "spin_us":50,"version":"0.1.0","in_memory":false}"#;
        let facts = read_ready(ready).expect("a ready file");
        assert_eq!(facts.address, "127.0.0.1:9092");
        assert_eq!(facts.durability, "sync");
        assert_eq!((facts.cores, facts.pid), (Some(2), Some(7)));
        assert_eq!(facts.spin_words(), "spins for 50 us before it sleeps");
        for other in ["", "{}", r#"{"listeners":[],"durability":"sync"}"#] {
            assert!(read_ready(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn a_binary_that_is_not_there_is_named_with_what_helps() {
        let settings = Settings {
            durability: Durability::Sync,
            cpus: &[0],
            parent: &std::env::temp_dir(),
            overrides: &[],
        };
        let problem = Corelog::start(Path::new("/no/such/corelog"), &settings);
        let text = problem.expect_err("there is none").to_string();
        assert!(
            text.contains("/no/such/corelog") && text.contains("--broker"),
            "{text}"
        );
    }
}
