//! Which cores have stopped moving: a pure decision over heartbeats.

use std::time::Duration;

use crate::io::Instant;
use crate::limits::CORE_SILENCE_SECONDS_MAX;
use crate::model::CoreId;

/// Remembers when each core was last seen to publish. A core that runs a task without end, or
/// waits in the kernel, cannot publish, so its silence is what a stalled reactor looks like.
#[derive(Debug, Default)]
pub(super) struct Health {
    seen: Vec<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    publish_count: u64,
    at: Instant,
}

impl Health {
    /// Takes each core's publish count at `now`, and returns the cores that are silent for longer
    /// than `CORE_SILENCE_SECONDS_MAX`. To be called at least that often. A core that has never
    /// published is still recovering its partitions, which may take long.
    pub(super) fn step(
        &mut self,
        now: Instant,
        publish_counts: impl Iterator<Item = u64>,
    ) -> Vec<CoreId> {
        let silence_max = Duration::from_secs(CORE_SILENCE_SECONDS_MAX);
        let mut silent = Vec::new();
        for (index, publish_count) in publish_counts.enumerate() {
            let seen = Seen {
                publish_count,
                at: now,
            };
            match self.seen.get_mut(index) {
                None => self.seen.push(seen),
                Some(before) if before.publish_count != publish_count => *before = seen,
                Some(before) if publish_count > 0 && now - before.at > silence_max => {
                    silent.push(CoreId(index as u16));
                }
                Some(_) => {}
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(steps: &[(u64, &[u64])], silent: &[u16]) {
        let mut health = Health::default();
        let mut last = Vec::new();
        for (seconds, counts) in steps {
            let now = Instant::from_nanos(seconds * 1_000_000_000);
            last = health.step(now, counts.iter().copied());
        }
        let expected: Vec<CoreId> = silent.iter().copied().map(CoreId).collect();
        assert_eq!(last, expected, "{steps:?}");
    }

    #[test]
    fn a_core_is_silent_when_its_count_stands_still_for_too_long() {
        check(&[(0, &[1, 1])], &[]);
        check(&[(0, &[1, 1]), (10, &[1, 1])], &[]);
        check(&[(0, &[1, 1]), (11, &[1, 1])], &[0, 1]);
        check(&[(0, &[1, 1]), (9, &[1, 2]), (11, &[1, 2])], &[0]);
        check(&[(0, &[1, 1]), (11, &[1, 1]), (12, &[2, 2])], &[]);
        check(&[(0, &[0, 1]), (99, &[0, 1])], &[1]);
    }
}
