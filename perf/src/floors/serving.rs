//! The process of F1 to F4, and load on it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use corelog::bench::{Plan, Problem};
use serde::Deserialize;

use super::disk::FloorFiles;
use super::sink::Step;
use crate::machine::cpu_list;

/// It runs until this value goes, and has nothing to do between slices.
#[derive(Debug)]
pub(crate) struct Sink {
    child: Child,
    /// Its standard input: when it closes, the process ends.
    life_line: Option<ChildStdin>,
    ready: Ready,
}

/// What it says first.
#[derive(Debug, Default, Deserialize)]
struct Ready {
    /// In the order of `Step::SHARED`.
    addresses: Vec<SocketAddr>,
    /// Of each core: where it sends whatever is taken.
    senders: Vec<SocketAddr>,
}

impl Sink {
    /// Starts it on these CPUs, on files that are there.
    pub(crate) fn start(files: &FloorFiles, cpus: &[usize]) -> Result<Sink, Problem> {
        let failed = |what: String| Problem::new(format!("the floors' server: {what}"));
        let own = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new("taskset");
        command.arg("-c").arg(cpu_list(cpus)).arg(own);
        command.arg("floor-server").arg(files.dir());
        command.args(["--files", &files.count.to_string()]);
        command.args(["--file-bytes", &files.bytes.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let out = child.stdout.take();
        let mut sink = Sink {
            life_line: child.stdin.take(),
            child,
            ready: Ready::default(),
        };
        let mut line = String::new();
        if let Some(out) = out {
            let read = BufReader::new(out).read_line(&mut line);
            read.map_err(|error| failed(error.to_string()))?;
        }
        let ready: Ready = serde_json::from_str(&line)
            .map_err(|_| failed(format!("it did not start, and said: {line:?}")))?;
        if ready.addresses.len() != Step::SHARED.len() || ready.senders.len() != cpus.len() {
            return Err(failed("it listens on another number of ports".to_owned()));
        }
        sink.ready = ready;
        Ok(sink)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where each core sends whatever is taken.
    pub(crate) fn senders(&self) -> &[SocketAddr] {
        &self.ready.senders
    }

    /// The same load on this floor. The requests stay as they are, names and all.
    pub(crate) fn plan(&self, step: Step, plan: &Plan) -> Result<Plan, Problem> {
        if plan.version < 9 {
            let version = plan.version;
            let what = format!("the floors answer produce version 9 and later, not {version}");
            return Err(Problem::new(what));
        }
        Ok(Plan {
            leaders: vec![self.ready.addresses[step as usize]; plan.leaders.len()],
            dir: None,
            ..plan.clone()
        })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.life_line.take());
        // It ends by itself now; what does not is ended.
        for _ in 0..100 {
            match self.child.try_wait() {
                Ok(None) => corelog::io::blocking::sleep(std::time::Duration::from_millis(10)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
