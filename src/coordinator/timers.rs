//! The deadlines of one coordinator, in order; its owner sleeps until the first.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Names a timer; setting one again moves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    /// The end of a group's join phase.
    Join(Arc<str>),
    /// The end of a group's wait for its members' SyncGroup.
    Sync(Arc<str>),
    /// The end of a member's session, or of a member id that was given and not used.
    Session(Arc<str>, Arc<str>),
    /// The next look for expired offsets.
    Retention,
    /// The next try of a step of trimming that failed.
    Trim,
}

/// What is to be done at the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerAction {
    /// A new group's first rebalance: wait on while members arrive, at most `remaining_ms`.
    InitialJoin { delay_ms: i64, remaining_ms: i64 },
    /// End the join phase without those who did not come.
    CompleteJoin,
    /// Remove the members of this generation that did not sync.
    PendingSync { generation: i32 },
    /// Remove the member if it was silent.
    Session,
    /// Look for expired offsets.
    Retention,
    /// Trim again.
    Trim,
}

/// A timer whose deadline has come: its deadline, and when it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due((i64, u64));

/// Deadlines by key and by time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_key: BTreeMap<TimerKey, (i64, u64)>,
    /// The counter keeps timers of one deadline apart, first set first.
    by_time: BTreeMap<(i64, u64), (TimerKey, TimerAction)>,
    counter: u64,
}

impl Timers {
    /// Sets or moves a timer.
    pub(super) fn set(&mut self, key: TimerKey, at_ms: i64, action: TimerAction) {
        self.counter += 1;
        let place = (at_ms, self.counter);
        if let Some(old) = self.by_key.insert(key.clone(), place) {
            self.by_time.remove(&old);
        }
        self.by_time.insert(place, (key, action));
    }

    /// Forgets a timer, if it is set.
    pub(super) fn cancel(&mut self, key: &TimerKey) {
        if let Some(place) = self.by_key.remove(key) {
            self.by_time.remove(&place);
        }
    }

    /// The timers whose deadline has come, in order; `take` each to carry it out. What is set
    /// meanwhile is not among them, so a step ends even if a timer is set for now again.
    pub(super) fn due(&self, now_ms: i64) -> Vec<Due> {
        let due = self.by_time.range(..=(now_ms, u64::MAX));
        due.map(|(place, _)| Due(*place)).collect()
    }

    /// Takes a timer that is due, unless it was moved or forgotten meanwhile.
    pub(super) fn take(&mut self, due: Due) -> Option<(TimerKey, TimerAction)> {
        let (key, action) = self.by_time.remove(&due.0)?;
        self.by_key.remove(&key);
        Some((key, action))
    }

    /// The first deadline.
    pub(super) fn next_ms(&self) -> Option<i64> {
        self.by_time.first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// Forgets every timer.
    pub(super) fn clear(&mut self) {
        self.by_key.clear();
        self.by_time.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_and_move() {
        let mut timers = Timers::default();
        let join = |name: &str| TimerKey::Join(name.into());
        timers.set(join("a"), 10, TimerAction::CompleteJoin);
        timers.set(join("b"), 10, TimerAction::CompleteJoin);
        timers.set(join("c"), 5, TimerAction::CompleteJoin);
        timers.set(join("a"), 20, TimerAction::CompleteJoin);
        timers.cancel(&join("c"));
        assert_eq!(timers.next_ms(), Some(10));
        let take_all = |timers: &mut Timers, now_ms: i64| {
            let due = timers.due(now_ms).into_iter();
            due.filter_map(|due| timers.take(due))
                .map(|(key, _)| key)
                .collect::<Vec<_>>()
        };
        assert_eq!(take_all(&mut timers, 9), []);
        assert_eq!(take_all(&mut timers, 15), [join("b")]);
        assert_eq!(take_all(&mut timers, 15), []);
        assert_eq!(take_all(&mut timers, 20), [join("a")]);
        assert_eq!(timers.next_ms(), None);
    }

    #[test]
    fn what_changes_in_a_step_is_not_due_in_it() {
        let mut timers = Timers::default();
        let join = |name: &str| TimerKey::Join(name.into());
        for name in ["a", "b", "c"] {
            timers.set(join(name), 10, TimerAction::CompleteJoin);
        }
        let due = timers.due(10);
        timers.cancel(&join("b"));
        timers.set(join("c"), 10, TimerAction::CompleteJoin);
        let taken = due.iter().filter_map(|due| timers.take(*due));
        assert_eq!(taken.map(|(key, _)| key).collect::<Vec<_>>(), [join("a")]);
        assert_eq!(timers.due(10).len(), 1);
    }
}
