//! Which committed offsets have expired, by Kafka's rules, and which groups end with them.
//!
//! Offsets end `offsets.retention.minutes` after
//! - the group became empty, if it had members;
//! - their commit, if the group never had a protocol: a consumer that assigns itself;
//! - their commit, if the group is a stable one of consumers and nobody subscribes to the topic;
//!
//! and at the time that the commit itself named, if it did. An empty group without offsets ends.

use super::group::{Group, GroupState};
use super::offsets::tombstones;
use super::record::{Committed, RecordKey};
use super::step::{After, Change, Step};
use crate::model::Timestamp;

/// From when an offset's retention counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Commit,
    Empty(Timestamp),
}

/// Appends tombstones for what has expired.
pub(super) fn expire(group: &mut Group, step: &mut Step<'_>) {
    let retention_ms = i64::from(step.config.offsets.retention_minutes) * 60_000;
    let mut changes = Vec::new();
    let mut kept_count = 0;
    if let Some(since) = since(group) {
        for (topic, slots) in &group.offsets {
            let is_subscribed = group.is_subscribed_to(topic);
            let has_expired = |index: i32| {
                let newest = slots.get(&index).and_then(|slot| slot.newest());
                newest.is_some_and(|committed| {
                    !is_subscribed && is_over(committed, since, step.now.wall, retention_ms)
                })
            };
            let expired = tombstones(group, topic, has_expired);
            kept_count += slots.len() - expired.len();
            changes.extend(expired);
        }
    } else {
        kept_count = group.offsets.values().map(|slots| slots.len()).sum();
    }
    let has_ended = kept_count == 0
        && group.state() == GroupState::Empty
        && group.pending_joins.is_empty()
        && !(group.is_blank());
    if has_ended {
        changes.push(group_tombstone(group));
    }
    step.append(group, changes, After::Settled);
}

/// The tombstone of the group's record.
pub(super) fn group_tombstone(group: &Group) -> Change {
    Change {
        key: RecordKey::Group {
            group_id: group.id.clone(),
        },
        value: None,
    }
}

fn since(group: &Group) -> Option<Since> {
    if group.protocol_type.is_none() {
        return Some(Since::Commit);
    }
    match group.state() {
        // Old records do not say when the group became empty.
        GroupState::Empty => Some(group.state_since.map_or(Since::Commit, Since::Empty)),
        GroupState::Stable if group.uses_consumer_protocol() && group.knows_subscriptions() => {
            Some(Since::Commit)
        }
        GroupState::Stable
        | GroupState::PreparingRebalance
        | GroupState::CompletingRebalance
        | GroupState::Dead => None,
    }
}

fn is_over(committed: &Committed, since: Since, now: Timestamp, retention_ms: i64) -> bool {
    if let Some(expire_time) = committed.expire_time {
        return now >= expire_time;
    }
    let base = match since {
        Since::Commit => committed.commit_time,
        Since::Empty(at) => at,
    };
    now.0.saturating_sub(base.0) >= retention_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(commit: i64, expire: Option<i64>, since: Since, expected: bool) {
        let committed = Committed {
            offset: 1,
            leader_epoch: -1,
            metadata: "".into(),
            commit_time: Timestamp(commit),
            expire_time: expire.map(Timestamp),
        };
        let got = is_over(&committed, since, Timestamp(1000), 100);
        assert_eq!(got, expected, "{commit} {expire:?} {since:?}");
    }

    #[test]
    fn retention_counts_from_its_base() {
        check(901, None, Since::Commit, false);
        check(900, None, Since::Commit, true);
        check(0, None, Since::Empty(Timestamp(901)), false);
        check(999, None, Since::Empty(Timestamp(900)), true);
        check(0, Some(1001), Since::Commit, false);
        check(999, Some(1000), Since::Empty(Timestamp(999)), true);
    }
}
