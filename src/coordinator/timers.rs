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
}

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

    /// Takes the first timer whose deadline has come.
    pub(super) fn due(&mut self, now_ms: i64) -> Option<(TimerKey, TimerAction)> {
        let first = self.by_time.first_entry()?;
        if first.key().0 > now_ms {
            return None;
        }
        let (key, action) = first.remove();
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
        assert_eq!(timers.due(9), None);
        assert_eq!(timers.due(15).map(|(key, _)| key), Some(join("b")));
        assert_eq!(timers.due(15), None);
        assert_eq!(timers.due(20).map(|(key, _)| key), Some(join("a")));
        assert_eq!(timers.next_ms(), None);
    }
}
