//! What was found wrong, and figures of what was done.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Shared by all threads of a run.
#[derive(Default)]
pub(crate) struct Verdict {
    violations: Mutex<Vec<String>>,
    figures: Mutex<BTreeMap<&'static str, u64>>,
}

/// Of a round that goes wrong altogether, this many sentences are kept.
const VIOLATIONS_MAX: usize = 1000;

impl Verdict {
    /// Something that must never be.
    pub(crate) fn violation(&self, what: impl Into<String>) {
        let mut violations = self.violations.lock().expect("no holder panics");
        if violations.len() < VIOLATIONS_MAX {
            violations.push(what.into());
        }
    }

    /// Adds to a figure.
    pub(crate) fn count(&self, figure: &'static str, by: u64) {
        *self
            .figures
            .lock()
            .expect("no holder panics")
            .entry(figure)
            .or_default() += by;
    }

    /// Raises a figure to `value` if it is lower.
    pub(crate) fn at_least(&self, figure: &'static str, value: u64) {
        let mut figures = self.figures.lock().expect("no holder panics");
        let known = figures.entry(figure).or_default();
        *known = value.max(*known);
    }

    /// The violations since the last call.
    pub(crate) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.violations.lock().expect("no holder panics"))
    }

    pub(crate) fn figure(&self, figure: &str) -> u64 {
        let figures = self.figures.lock().expect("no holder panics");
        figures.get(figure).copied().unwrap_or(0)
    }

    pub(crate) fn figures(&self) -> BTreeMap<&'static str, u64> {
        self.figures.lock().expect("no holder panics").clone()
    }
}
