//! F8: a thread that does nothing but look at the clock, and the gaps between its looks: time that
//! the kernel or the host of a virtual machine took away.
//!
//! It spins on the broker's CPUs shortly before and shortly after a slice, not during one: there
//! it would be the hiccup itself. During the slice the kernel's count of stolen time speaks for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use corelog::bench::{Problem, histogram};
use corelog::io;

use crate::limits::{HICCUP_GAP_NS_MAX, HICCUP_PROBE, STOLEN_SHARE_MAX};
use crate::loops::{Times, on_cores};
use crate::machine::stolen_seconds;

/// What was seen around one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// The 99.9th percentile of gaps: 99.9 % of all time lay in gaps no longer than this.
    pub(crate) gap_p999_ns: u64,
    /// Of the time of the CPUs in question, what the host gave to others.
    pub(crate) stolen_share: f64,
}

impl Seen {
    /// Whether the slice must not count.
    pub(crate) fn is_hiccup(&self) -> bool {
        self.gap_p999_ns > HICCUP_GAP_NS_MAX || self.stolen_share > STOLEN_SHARE_MAX
    }
}

/// Does something between two probes of these CPUs.
pub(crate) fn around<T>(
    cpus: &[usize],
    what: impl FnOnce() -> Result<T, Problem>,
) -> Result<(T, Seen), Problem> {
    let before = probe(cpus, HICCUP_PROBE)?;
    let (begin, stolen) = (io::now(), stolen_seconds(cpus));
    let result = what()?;
    let seconds = (io::now() - begin).as_secs_f64() * cpus.len() as f64;
    let stolen_share = (stolen_seconds(cpus) - stolen) / seconds.max(1e-3);
    let after = probe(cpus, HICCUP_PROBE)?;
    let gap = |times: &Times| times.value_at_quantile(0.999);
    let seen = Seen {
        gap_p999_ns: gap(&before).max(gap(&after)),
        stolen_share,
    };
    Ok((result, seen))
}

/// Spins on each of the CPUs for so long. A gap counts as often as it has nanoseconds, so that
/// percentiles are of time and not of looks.
pub(crate) fn probe(cpus: &[usize], time: Duration) -> Result<Times, Problem> {
    let specs: Vec<Option<usize>> = cpus.iter().map(|&cpu| Some(cpu)).collect();
    let sum = Arc::new(Mutex::new(histogram()));
    let ran = on_cores(&specs, |_| {
        let sum = Arc::clone(&sum);
        async move {
            let own = spin(time);
            let mut sum = sum.lock().expect("no core panicked");
            sum.add(own).expect("histograms have the same bounds");
            Some(Ok(()))
        }
    });
    ran.map_err(|error| Problem::new(format!("the hiccup probe: {error}")))?;
    let sum = sum.lock().expect("no core panicked");
    Ok(sum.clone())
}

fn spin(time: Duration) -> Times {
    let mut gaps = histogram();
    let begin = io::now();
    let mut last = begin;
    while last - begin < time {
        let now = io::now();
        let gap_ns = (now - last).as_nanos() as u64;
        gaps.saturating_record_n(gap_ns.max(1), gap_ns);
        last = now;
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_gap_or_stolen_time_is_a_hiccup() {
        let check = |gap_p999_ns, stolen_share, expected| {
            let seen = Seen {
                gap_p999_ns,
                stolen_share,
            };
            assert_eq!(seen.is_hiccup(), expected, "{seen:?}");
        };
        check(0, 0.0, false);
        check(HICCUP_GAP_NS_MAX, STOLEN_SHARE_MAX, false);
        check(HICCUP_GAP_NS_MAX + 1, 0.0, true);
        check(0, STOLEN_SHARE_MAX * 1.5, true);
    }

    #[test]
    fn percentiles_of_gaps_are_of_time() {
        let time = Duration::from_millis(5);
        let gaps = probe(&io::available_cpus()[..1], time).expect("a probe");
        // Every nanosecond lies in one gap; the last one may go beyond the end.
        let seen = Duration::from_nanos(gaps.len());
        assert!(seen >= time - time / 100, "{seen:?}");
    }
}
