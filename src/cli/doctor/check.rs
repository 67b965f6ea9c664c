//! One question about the machine, and its answer.

use clap::ValueEnum;

/// What a check is about; the order is that of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(in crate::cli) enum Area {
    /// The kernel, its io_uring, and the limits of the process
    Kernel,
    /// Processors, their clocks and who shares them
    Cpu,
    /// Memory
    Memory,
    /// The data directory, its file system and its disk
    Disk,
    /// Sockets, ports and interfaces
    Network,
    /// The configuration, and a running broker
    Broker,
    /// How long the machine stops threads that want to run
    Jitter,
}

impl Area {
    pub(super) fn name(self) -> &'static str {
        match self {
            Area::Kernel => "kernel",
            Area::Cpu => "cpu",
            Area::Memory => "memory",
            Area::Disk => "disk",
            Area::Network => "network",
            Area::Broker => "broker",
            Area::Jitter => "jitter",
        }
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// A broker runs, and worse than it could.
    Warn,
    /// A broker does not run, or does not keep what it promises.
    Fail,
    /// It could not be looked at, or does not exist here.
    Unknown,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "OK",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
            Verdict::Unknown => "n/a",
        }
    }
}

/// A question: its name, and why its answer matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    area: Area,
    name: &'static str,
    why: &'static str,
}

/// A question with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    question: Question,
    verdict: Verdict,
    /// What was seen; for `Unknown` why nothing was.
    seen: String,
    /// What helps: a command where there is one.
    remedy: Option<String>,
}

impl Question {
    pub(super) const fn new(area: Area, name: &'static str, why: &'static str) -> Question {
        Question { area, name, why }
    }

    fn answer(self, verdict: Verdict, seen: impl Into<String>, remedy: Option<String>) -> Check {
        Check {
            question: self,
            verdict,
            seen: seen.into(),
            remedy,
        }
    }

    pub(super) fn ok(self, seen: impl Into<String>) -> Check {
        self.answer(Verdict::Ok, seen, None)
    }

    pub(super) fn warn(self, seen: impl Into<String>, remedy: impl Into<String>) -> Check {
        self.answer(Verdict::Warn, seen, Some(remedy.into()))
    }

    pub(super) fn fail(self, seen: impl Into<String>, remedy: impl Into<String>) -> Check {
        self.answer(Verdict::Fail, seen, Some(remedy.into()))
    }

    pub(super) fn unknown(self, reason: impl Into<String>) -> Check {
        self.answer(Verdict::Unknown, reason, None)
    }
}

impl Check {
    pub(super) fn area(&self) -> Area {
        self.question.area
    }

    pub(super) fn name(&self) -> &'static str {
        self.question.name
    }

    pub(super) fn why(&self) -> &'static str {
        self.question.why
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    pub(super) fn seen(&self) -> &str {
        &self.seen
    }

    pub(super) fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}
