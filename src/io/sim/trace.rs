//! What happened, in order: the proof that a seed is a run, and the report when one fails.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::disk::{Errno, OpInfo};
use crate::limits::SIM_TRACE_EVENTS_MAX;

/// One event of a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Virtual nanoseconds since the simulation was made.
    pub at_ns: u64,
    /// What it was.
    pub what: What,
}

/// What an event was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A start of the machine, counted from 1, with this many cores.
    Boot(u32, usize),
    /// A core ran one task of this many that were ready.
    Ran(u16, usize),
    /// A disk operation completed.
    Disk(OpInfo, Option<i32>),
    /// The machine stopped: the name of how.
    Stopped(&'static str),
    /// Bytes, or the end of the stream, reached the other end of a connection's direction.
    Net(u64, &'static str, usize),
}

/// The last events and the hash of all.
#[derive(Default)]
pub(super) struct Trace {
    events: VecDeque<Event>,
    count: u64,
    hasher: DefaultHasher,
}

impl Trace {
    pub(super) fn add(&mut self, at_ns: u64, what: What) {
        at_ns.hash(&mut self.hasher);
        match &what {
            What::Boot(boot, cores) => (0, boot, cores).hash(&mut self.hasher),
            What::Ran(core, ready) => (1, core, ready).hash(&mut self.hasher),
            What::Disk(op, errno) => {
                (2, op.number, op.kind, &op.path).hash(&mut self.hasher);
                (op.offset, op.len, errno).hash(&mut self.hasher);
            }
            What::Stopped(how) => (3, how).hash(&mut self.hasher),
            What::Net(id, what, len) => (4, id, what, len).hash(&mut self.hasher),
        }
        self.count += 1;
        if self.events.len() == SIM_TRACE_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Event { at_ns, what });
    }

    pub(super) fn disk(&mut self, at_ns: u64, op: OpInfo, errno: Option<Errno>) {
        self.add(at_ns, What::Disk(op, errno.map(|errno| errno.0)));
    }

    /// Two runs with the same digest did the same things at the same times.
    pub(super) fn digest(&self) -> u64 {
        self.hasher.finish()
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// The last of the disk's and the network's events, for a report.
    pub(super) fn tail(&self, count: usize) -> String {
        let told = self
            .events
            .iter()
            .rev()
            .filter(|event| !matches!(event.what, What::Ran(..)));
        let mut lines: Vec<String> = told.take(count).map(|event| format!("  {event}")).collect();
        lines.reverse();
        lines.join("\n")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.6} s ", self.at_ns as f64 / 1e9)?;
        match &self.what {
            What::Boot(boot, cores) => write!(f, "start {boot} with {cores} cores"),
            What::Ran(core, ready) => write!(f, "core {core} ran one of {ready}"),
            What::Disk(op, None) => write!(f, "{op}"),
            What::Disk(op, Some(errno)) => {
                write!(f, "{op}: {}", std::io::Error::from_raw_os_error(*errno))
            }
            What::Stopped(how) => write!(f, "{how}"),
            What::Net(id, what, len) => write!(f, "connection {id} {what} {len}"),
        }
    }
}
