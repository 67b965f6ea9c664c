//! The real binary in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use corelog::io::blocking;
use corelog::io::housekeeping::now;
use serde_json::Value;

/// How a broker is started.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) binary: PathBuf,
    /// Where its log lines and its ready file go.
    pub(crate) notes: PathBuf,
    /// Where its data goes.
    pub(crate) data: PathBuf,
    /// It listens here again, where its clients know it; 0 at the first start.
    pub(crate) port: u16,
    pub(crate) overrides: Vec<String>,
}

/// A running broker. It ends with this process: its standard input closes.
pub(crate) struct Broker {
    child: Child,
    life_line: Option<ChildStdin>,
    pub(crate) address: String,
    pub(crate) start_duration: Duration,
}

/// A start that takes longer has hung.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(30);

/// An address of the loopback network that only this run uses. On 127.0.0.1 the port might be taken
/// while no broker is there: by somebody's outgoing connection, even by one to the broker itself.
pub(crate) fn host() -> String {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    format!("127.{}.{middle}.{low}", 100 + high % 100)
}

impl Setting {
    fn spawn(&self) -> Result<(Child, Option<ChildStdin>), String> {
        let failed = |error| format!("cannot start {}: {error}", self.binary.display());
        let log = self.notes.join("log");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log);
        let mut command = Command::new(&self.binary);
        command.args(["start", "--stop-at-end-of-input", "--ready-file"]);
        command.arg(self.ready_file());
        let listener = format!("listeners=PLAINTEXT://{}:{}", host(), self.port);
        let data = format!("log.dirs={}", self.data.display());
        let own = [listener, data, "corelog.admin.listener=".to_owned()];
        for text in own.iter().chain(&self.overrides) {
            command.args(["--override", text]);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log.map_err(failed)?);
        let mut child = command.spawn().map_err(failed)?;
        let life_line = child.stdin.take();
        Ok((child, life_line))
    }

    fn ready_file(&self) -> PathBuf {
        self.notes.join("ready.json")
    }

    /// Starts a broker and kills it after a while, wherever it is then.
    pub(crate) fn start_and_kill(&self, after: Duration) -> Result<(), String> {
        let (mut child, _life_line) = self.spawn()?;
        blocking::sleep(after);
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        if let Some(status) = ended {
            return Err(format!(
                "the broker ended by itself, {status}:\n{}",
                last_words(&self.notes)
            ));
        }
        kill(child)
    }

    /// Starts a broker and waits until it serves.
    pub(crate) fn start(&self) -> Result<Broker, String> {
        let _ = std::fs::remove_file(self.ready_file());
        let began = now();
        let (mut child, life_line) = self.spawn()?;
        loop {
            if let Ok(ready) = blocking::read_file(self.ready_file()) {
                let ready: Value =
                    serde_json::from_slice(&ready).map_err(|error| error.to_string())?;
                let address = ready["listeners"][0]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                return Ok(Broker {
                    child,
                    life_line,
                    address,
                    start_duration: now() - began,
                });
            }
            let ended = child.try_wait().map_err(|error| error.to_string())?;
            if let Some(status) = ended {
                let words = last_words(&self.notes);
                return Err(format!("the broker did not start, {status}:\n{words}"));
            }
            if now() - began > START_MAX {
                let words = last_words(&self.notes);
                kill(child)?;
                let seconds = START_MAX.as_secs();
                return Err(format!(
                    "the broker did not serve within {seconds} s:\n{words}"
                ));
            }
            blocking::sleep(Duration::from_millis(2));
        }
    }
}

impl Broker {
    pub(crate) fn port(&self) -> u16 {
        let port = self.address.rsplit(':').next().unwrap_or_default();
        port.parse().expect("the broker tells where it listens")
    }

    /// The exit status, if it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Its resident memory.
    pub(crate) fn resident_bytes(&self) -> Result<u64, String> {
        let status = blocking::read_file(format!("/proc/{}/status", self.child.id()));
        let status = status.map_err(|error| error.to_string())?;
        let status = String::from_utf8_lossy(&status);
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or("no VmRSS".to_owned())
    }

    /// SIGKILL.
    pub(crate) fn kill(self) -> Result<(), String> {
        kill(self.child)
    }

    /// Tells it to stop, and expects that it ends well.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        drop(self.life_line.take());
        let deadline = now() + STOP_MAX;
        while now() < deadline {
            match self.child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(format!("the broker ended with {status} when told to stop"));
                }
                None => blocking::sleep(Duration::from_millis(5)),
            }
        }
        kill(self.child)?;
        Err(format!(
            "the broker did not stop within {} s",
            STOP_MAX.as_secs()
        ))
    }
}

fn kill(mut child: Child) -> Result<(), String> {
    let killed = child.kill().and_then(|()| child.wait());
    killed
        .map(|_| ())
        .map_err(|error| format!("the broker cannot be killed: {error}"))
}

/// The end of the broker's log.
pub(crate) fn last_words(notes: &Path) -> String {
    let log = blocking::read_file(notes.join("log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(12)..];
    last.iter().map(|line| format!("  | {line}\n")).collect()
}
