//! The leader epochs of one log and where each began (KIP-101, KIP-279). Pure.

use std::collections::VecDeque;

use crate::limits::EPOCHS_MAX;
use crate::model::{LeaderEpoch, Offset};

/// For each leader epoch that appended something: the offset of its first record. Both ascend.
///
/// Derived from the frames, so a crash does nothing to it; the checkpoint carries what lies before
/// its position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    starts: VecDeque<(LeaderEpoch, Offset)>,
}

impl Epochs {
    /// A record at `offset` was appended under `epoch`.
    pub(super) fn note(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if self.starts.back().is_some_and(|(last, _)| *last >= epoch) {
            return;
        }
        if self.starts.len() == EPOCHS_MAX {
            self.starts.pop_front();
        }
        self.starts.push_back((epoch, offset));
    }

    /// The latest epoch that appended something.
    pub(super) fn latest(&self) -> Option<LeaderEpoch> {
        self.starts.back().map(|(epoch, _)| *epoch)
    }

    /// The epoch of the record at `offset`; `None` if it lies before everything known.
    pub(super) fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.starts.partition_point(|(_, start)| *start <= offset);
        Some(self.starts[after.checked_sub(1)?].0)
    }

    /// The largest known epoch at or below `epoch`, and the offset where the one after it began
    /// (the log's end for the latest). `None` if `epoch` is above the latest, or nothing is known.
    pub(super) fn end_of(
        &self,
        epoch: LeaderEpoch,
        start_offset: Offset,
        end_offset: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        if epoch > self.latest()? {
            return None;
        }
        let after = self.starts.partition_point(|(known, _)| *known <= epoch);
        let end = self
            .starts
            .get(after)
            .map_or(end_offset, |(_, start)| *start);
        match after.checked_sub(1) {
            Some(index) => Some((self.starts[index].0, end)),
            // Older than everything known: Kafka answers with the asked epoch and the log's start.
            None => Some((epoch, end.max(start_offset))),
        }
    }

    /// The log now starts at `offset`: of the epochs before it only the one in force there stays.
    pub(super) fn start_at(&mut self, offset: Offset) {
        while self
            .starts
            .get(1)
            .is_some_and(|(_, start)| *start <= offset)
        {
            self.starts.pop_front();
        }
        if let Some((_, start)) = self.starts.front_mut() {
            *start = (*start).max(offset);
        }
    }

    /// The log ends at `offset`: what a recovery found no record of is forgotten.
    pub(super) fn end_at(&mut self, offset: Offset) {
        while self
            .starts
            .back()
            .is_some_and(|(_, start)| *start >= offset)
        {
            self.starts.pop_back();
        }
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LeaderEpoch, Offset)> + '_ {
        self.starts.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(pairs: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, offset) in pairs {
            epochs.note(LeaderEpoch(*epoch), Offset(*offset));
        }
        epochs
    }

    fn check(pairs: &[(i32, i64)], ask: i32, expected: Option<(i32, i64)>) {
        let answer = epochs(pairs).end_of(LeaderEpoch(ask), Offset(5), Offset(100));
        let expected = expected.map(|(epoch, offset)| (LeaderEpoch(epoch), Offset(offset)));
        assert_eq!(answer, expected, "{pairs:?}, {ask}");
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_began() {
        let known = [(1, 0), (3, 20), (3, 30), (7, 50)];
        check(&[], 0, None);
        check(&known, 0, Some((0, 5)));
        check(&known, 1, Some((1, 20)));
        check(&known, 2, Some((1, 20)));
        check(&known, 3, Some((3, 50)));
        check(&known, 7, Some((7, 100)));
        check(&known, 8, None);
    }

    #[test]
    fn both_ends_are_trimmed() {
        let mut known = epochs(&[(1, 0), (3, 20), (7, 50)]);
        known.start_at(Offset(30));
        assert_eq!(known, epochs(&[(3, 30), (7, 50)]));
        known.end_at(Offset(50));
        assert_eq!(known, epochs(&[(3, 30)]));
        known.start_at(Offset(40));
        assert_eq!(known, epochs(&[(3, 40)]));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let all: Vec<(i32, i64)> = (0..EPOCHS_MAX as i32 + 3)
            .map(|n| (n, i64::from(n)))
            .collect();
        assert_eq!(epochs(&all), epochs(&all[3..]));
    }
}
