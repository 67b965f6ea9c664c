//! How long the machine stops threads that want to run: one thread on each CPU reads the clock as
//! fast as it can, and every step that is longer than the reading itself was somebody else's.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::check::{Area, Check, Question};
use super::system::System;
use crate::io::{self, housekeeping::now};

const GAPS: Question = Question::new(
    Area::Jitter,
    "gaps",
    "Nothing that a core does can be shorter than what the machine takes away from it.",
);
const STEAL: Question = Question::new(
    Area::Jitter,
    "steal",
    "Time that the hypervisor gave to other machines while ours wanted to run.",
);

/// What one CPU's thread saw.
struct Seen {
    cpu: usize,
    is_pinned: bool,
    /// Steps between two readings of the clock, in nanoseconds.
    gaps: Histogram<u64>,
    /// All of the time in steps of at least `LONG_NS`.
    lost_ns: u64,
}

/// A reading of the clock takes tens of nanoseconds; this is an interruption.
const LONG_NS: u64 = 10_000;

/// Spins on every CPU for so long, on all of them at the same time.
pub(super) fn checks(system: &dyn System, time: Duration) -> Vec<Check> {
    let before = stolen(&system.text("/proc/stat").unwrap_or_default());
    let spin_on = |cpu| io::spawn_thread("jitter", move || spin(cpu, time)).ok();
    let threads: Vec<_> = io::available_cpus().into_iter().map(spin_on).collect();
    let seen: Vec<Seen> = threads
        .into_iter()
        .filter_map(|thread| thread?.join().ok())
        .collect();
    let after = stolen(&system.text("/proc/stat").unwrap_or_default());
    let mut checks: Vec<Check> = seen.iter().map(|seen| judge_gaps(seen, time)).collect();
    if checks.is_empty() {
        checks.push(GAPS.unknown("no thread could be started"));
    }
    checks.push(judge_steal(before, after));
    checks
}

fn spin(cpu: usize, time: Duration) -> Seen {
    let is_pinned = io::pin_thread(cpu);
    let mut gaps = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("legal bounds");
    let mut lost_ns = 0;
    let mut last = now();
    let end = last + time;
    while last < end {
        let next = now();
        let gap_ns = next.as_nanos() - last.as_nanos();
        if gap_ns >= LONG_NS {
            lost_ns += gap_ns;
        }
        gaps.saturating_record(gap_ns.max(1));
        last = next;
    }
    Seen {
        cpu,
        is_pinned,
        gaps,
        lost_ns,
    }
}

/// A thread that was stopped for longer shows in the 99.9th percentile of a broker.
const GAP_NS_MAX: u64 = 5_000_000;

fn judge_gaps(seen: &Seen, time: Duration) -> Check {
    let us = |ns: u64| ns as f64 / 1000.0;
    let lost = 100.0 * seen.lost_ns as f64 / time.as_nanos().max(1) as f64;
    let text = format!(
        "CPU {}{}: p99.9 {:.1} us, max {:.1} us, {lost:.2} % lost in gaps over {} us",
        seen.cpu,
        if seen.is_pinned { "" } else { " (not pinned)" },
        us(seen.gaps.value_at_quantile(0.999)),
        us(seen.gaps.max()),
        LONG_NS / 1000,
    );
    match seen.gaps.max() > GAP_NS_MAX {
        true => GAPS.warn(
            text,
            "top -H; and look at cpu above: quota, pressure, isolation",
        ),
        false => GAPS.ok(text),
    }
}

/// Ticks of all CPUs together, and those of them that were stolen.
fn stolen(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    // proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guest is part of user.
    let steal = *ticks.get(7)?;
    Some((ticks.iter().take(8).sum(), steal))
}

const STEAL_PERCENT_MAX: f64 = 1.0;

fn judge_steal(before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> Check {
    let (Some((all_before, before)), Some((all_after, after))) = (before, after) else {
        return STEAL.unknown("/proc/stat does not say");
    };
    let all = all_after.saturating_sub(all_before).max(1) as f64;
    let percent = 100.0 * after.saturating_sub(before) as f64 / all;
    let seen = format!("{percent:.1} % of the time of all CPUs");
    match percent > STEAL_PERCENT_MAX {
        true => STEAL.warn(seen, "a machine whose processors are not shared"),
        false => STEAL.ok(seen),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn a_long_gap_is_a_warning() {
        let check = |gap_ns: u64, expected| {
            let mut gaps = Histogram::new(3).expect("legal");
            gaps.record_n(30, 10_000).expect("in range");
            gaps.record(gap_ns).expect("in range");
            let seen = Seen {
                cpu: 3,
                is_pinned: true,
                gaps,
                lost_ns: gap_ns,
            };
            let check = judge_gaps(&seen, Duration::from_secs(1));
            assert_eq!(check.verdict(), expected, "{}", check.seen());
        };
        check(20_000, Verdict::Ok);
        check(9_000_000, Verdict::Warn);
    }

    #[test]
    fn a_thread_that_spins_sees_at_least_the_clock() {
        let cpu = io::available_cpus()[0];
        let seen = spin(cpu, Duration::from_millis(2));
        assert!(seen.gaps.len() > 10, "{}", seen.gaps.len());
        assert!(seen.gaps.max() > 0);
    }

    #[test]
    fn stolen_time_is_a_share() {
        let before = stolen("cpu  100 0 0 900 0 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1");
        let after = stolen("cpu  190 0 0 900 0 0 0 10 0 0");
        assert_eq!(before, Some((1000, 0)));
        assert_eq!(judge_steal(before, after).verdict(), Verdict::Warn);
        assert_eq!(judge_steal(before, before).verdict(), Verdict::Ok);
        assert_eq!(judge_steal(None, after).verdict(), Verdict::Unknown);
    }
}
