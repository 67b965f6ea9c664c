//! Keeping the offsets topic bounded: which live records to write again, and where the log may
//! start after that.
//!
//! Records below the log's start are gone, so each live record among the oldest is appended once
//! more before the start passes it. It is done when dead records outnumber the live ones, which
//! bounds both the log (about twice the live records) and the writing (about one rewrite per
//! record that dies). A crash in between leaves a record twice, with the same value.

use std::collections::BTreeMap;

use super::record::RecordKey;
use crate::limits::{TRIM_DEAD_RECORDS_MIN, TRIM_STEP_RECORDS};
use crate::model::Offset;

/// One step of trimming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrimPlan {
    /// The records to append again, as they are now, by the offsets where they stand.
    pub(super) again: Vec<(Offset, RecordKey)>,
    /// Where the log may start once they are durable.
    pub(super) to: Offset,
}

/// Decides from the offsets of the live records, all below `log_end`.
pub(super) fn plan(
    log_start: Offset,
    log_end: Offset,
    live: &BTreeMap<Offset, RecordKey>,
) -> Option<TrimPlan> {
    let record_count = usize::try_from(log_end - log_start).unwrap_or(0);
    let dead_count = record_count.saturating_sub(live.len());
    if dead_count <= live.len().max(TRIM_DEAD_RECORDS_MIN) {
        return None;
    }
    let first = live
        .first_key_value()
        .map_or(log_end, |(offset, _)| *offset);
    if first - log_start >= TRIM_DEAD_RECORDS_MIN as i64 {
        // The oldest are all dead: nothing has to be written.
        let again = Vec::new();
        return Some(TrimPlan { again, to: first });
    }
    let mut oldest = live.iter();
    let again = oldest
        .by_ref()
        .take(TRIM_STEP_RECORDS)
        .map(|(offset, key)| (*offset, key.clone()))
        .collect();
    let to = oldest.next().map_or(log_end, |(offset, _)| *offset);
    Some(TrimPlan { again, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: i64 = TRIM_DEAD_RECORDS_MIN as i64;
    const STEP: i64 = TRIM_STEP_RECORDS as i64;

    fn live(offsets: impl IntoIterator<Item = i64>) -> BTreeMap<Offset, RecordKey> {
        let key = |offset: i64| RecordKey::Group {
            group_id: offset.to_string().into(),
        };
        offsets
            .into_iter()
            .map(|offset| (Offset(offset), key(offset)))
            .collect()
    }

    /// Expects how many records are written again, and the new start.
    fn check(
        start: i64,
        end: i64,
        live: &BTreeMap<Offset, RecordKey>,
        expected: Option<(usize, i64)>,
    ) {
        let plan = plan(Offset(start), Offset(end), live);
        assert_eq!(plan.map(|plan| (plan.again.len(), plan.to.0)), expected);
    }

    #[test]
    fn little_waste_is_left_alone() {
        check(0, 0, &live([]), None);
        check(0, MIN, &live([]), None);
        check(5, MIN + 5, &live([6]), None);
        check(0, 10 * MIN, &live(0..5 * MIN), None);
    }

    #[test]
    fn a_dead_beginning_is_dropped_without_writing() {
        check(0, MIN + 1, &live([]), Some((0, MIN + 1)));
        check(100, 3 * MIN, &live([2 * MIN]), Some((0, 2 * MIN)));
    }

    #[test]
    fn live_records_move_to_the_end() {
        check(0, MIN + 9, &live([0, 3]), Some((2, MIN + 9)));
        let many = live((0..2 * STEP).chain([100 * STEP]));
        check(0, 200 * STEP, &many, Some((STEP as usize, STEP)));
    }
}
