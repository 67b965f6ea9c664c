//! The coordinator of one partition of `__consumer_offsets`: a state machine over its groups.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::event::{Effect, Event, Now, Ticket, Token};
use super::group::{Group, GroupState};
use super::record::{self, RecordError, RecordKey};
use super::request::Request;
use super::serve;
use super::step::{
    After, Change, CoordinatorConfig, InFlight, Journal, Outcome, Step, StoredValue, size_bytes,
};
use super::timers::{TimerAction, TimerKey, Timers};
use super::trim;
use super::{join, membership, rebalance, retention};
use crate::limits::{
    COORDINATOR_APPENDS_MAX, COORDINATOR_GROUPS_MAX, COORDINATOR_RECORDS_MAX,
    EXPIRY_GROUPS_PER_STEP, OFFSETS_APPEND_BYTES_MAX, PARTITIONS_MAX, TRIM_RETRY_MS,
};
use crate::model::{Offset, Timestamp};

/// The groups whose ids hash to one partition of the offsets topic.
///
/// Owned by the core that owns the partition. It never waits and never reads a clock: `handle`
/// takes what happened and returns what is to be done. A crash loses what was not durable; a
/// replay of the partition's records through `replay` gives back the groups and offsets that were.
#[derive(Debug)]
pub struct Coordinator {
    pub(super) config: CoordinatorConfig,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    timers: Timers,
    pub(super) journal: Journal,
    /// The newest durable record of every key, by its offset.
    live: BTreeMap<Offset, RecordKey>,
    log_start: Offset,
    /// The offset after the last record that is known to be durable.
    log_end: Offset,
    /// Whether a step of trimming is under way, or has failed and waits for its timer.
    is_trimming: bool,
    pub(super) phase: Phase,
    /// Topics that were deleted while the records were replayed.
    deleted_topics: BTreeSet<String>,
    /// The wake-up that was asked for last.
    wake_ms: Option<i64>,
    /// Where the look for expired offsets goes on; `None` starts at the first group.
    expiry_after: Option<Arc<str>>,
}

/// Whether requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Loading,
    Serving,
    Closed,
}

impl Coordinator {
    /// A coordinator that knows nothing yet, for a configuration that holds as long as the broker
    /// runs, as Kafka's does: `replay` every record of the partition, then say
    /// `Event::Loaded`. Until then requests are refused as Kafka refuses them while loading.
    pub fn new(config: CoordinatorConfig) -> Coordinator {
        Coordinator {
            config,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            journal: Journal::default(),
            live: BTreeMap::new(),
            log_start: Offset::ZERO,
            log_end: Offset::ZERO,
            is_trimming: false,
            phase: Phase::Loading,
            deleted_topics: BTreeSet::new(),
            wake_ms: None,
            expiry_after: None,
        }
    }

    /// Takes in one record of the partition, in order, before `Event::Loaded`. Records of group
    /// protocols that are not served are passed over; after an error the next record may follow.
    /// Nothing is taken in after `Event::Unload`: the log may be read while the coordinator closes.
    pub fn replay(
        &mut self,
        offset: Offset,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), RecordError> {
        match self.phase {
            Phase::Loading => {}
            Phase::Serving => panic!("records are replayed before the groups serve"),
            Phase::Closed => return Ok(()),
        }
        let Some(key) = record::decode_key(key.ok_or(RecordError::NoKey)?)? else {
            return Ok(());
        };
        let change = match (&key, value) {
            (_, None) => None,
            (RecordKey::Group { .. }, Some(value)) => {
                let stored = record::decode_group(value)?;
                let bytes = bytes::Bytes::copy_from_slice(value);
                self.group_or_new(key.group_id(), Timestamp::NONE)
                    .restore(stored);
                Some(StoredValue::Group(bytes))
            }
            (RecordKey::Offset { .. }, Some(value)) => {
                self.group_or_new(key.group_id(), Timestamp::NONE);
                Some(StoredValue::Offset(record::decode_offset(value)?))
            }
        };
        let change = Change { key, value: change };
        self.place(&change, offset, Placing::Replayed);
        self.drop_if_ended(&change);
        Ok(())
    }

    /// Every committed offset that is durable: group, topic, partition and offset.
    pub fn committed(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, i32, Offset)> {
        self.groups.iter().flat_map(|(id, group)| {
            group.offsets.iter().flat_map(move |(topic, slots)| {
                slots.iter().filter_map(move |(index, slot)| {
                    let committed = slot.durable()?;
                    Some((id, topic, *index, Offset(committed.offset)))
                })
            })
        })
    }

    /// The number of groups that it knows.
    pub fn groups_count(&self) -> usize {
        self.groups.len()
    }

    /// Takes what happened and says what is to be done, in order.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Request { token, request } => self.request(now, &mut effects, token, request),
            Event::Timer => {
                self.wake_ms = None;
                for due in self.timers.due(now.clock_ms) {
                    if let Some((key, action)) = self.timers.take(due) {
                        self.timer(now, &mut effects, key, action);
                    }
                }
            }
            Event::Appended {
                ticket,
                base_offset,
            } => self.end(now, &mut effects, ticket, Outcome::Durable { base_offset }),
            Event::AppendFailed { ticket } => {
                self.end(now, &mut effects, ticket, Outcome::Failed);
            }
            Event::Loaded { log_start, log_end } => {
                self.loaded(now, &mut effects, log_start, log_end);
            }
            Event::TopicDeleted { topic } => self.topic_deleted(now, &mut effects, topic),
            Event::Unload => self.unload(&mut effects),
        }
        if self.phase == Phase::Serving
            && let Some(next_ms) = self.timers.next_ms()
            && self.wake_ms.is_none_or(|wake_ms| next_ms < wake_ms)
        {
            self.wake_ms = Some(next_ms);
            effects.push(Effect::Wake { at_ms: next_ms });
        }
        effects
    }

    fn request(&mut self, now: Now, effects: &mut Vec<Effect>, token: Token, request: Request) {
        let response = match serve::check(&request, &self.config) {
            Ok(()) => self.refuse_in_phase(&request),
            Err(error) => Some(serve::refuse(&request, error)),
        };
        match response {
            Some(response) => effects.push(Effect::Reply { token, response }),
            None => self.serve(now, effects, token, request),
        }
    }

    /// Lets a decision about one group happen; false if there is no such group.
    pub(super) fn with_group(
        &mut self,
        now: Now,
        effects: &mut Vec<Effect>,
        group_id: &str,
        decide: impl FnOnce(&mut Group, &mut Step<'_>),
    ) -> bool {
        let Some(group) = self.groups.get_mut(group_id) else {
            return false;
        };
        let mut step = Step {
            now,
            config: &self.config,
            timers: &mut self.timers,
            journal: &mut self.journal,
            effects,
            appended: None,
        };
        decide(group, &mut step);
        true
    }

    pub(super) fn group_or_new(&mut self, group_id: &str, now: Timestamp) -> &mut Group {
        if !self.groups.contains_key(group_id) {
            let id: Arc<str> = group_id.into();
            self.groups.insert(id.clone(), Group::new(id, now));
        }
        self.groups.get_mut(group_id).expect("just inserted")
    }

    /// Whether the tables have room for a request that adds to the group, or makes it.
    pub(super) fn has_room(&self, group_id: &str) -> bool {
        (self.groups.len() < COORDINATOR_GROUPS_MAX || self.groups.contains_key(group_id))
            && self.live.len() < COORDINATOR_RECORDS_MAX
            && self.journal.in_flight.len() < COORDINATOR_APPENDS_MAX
    }

    pub(super) fn drop_if_blank(&mut self, group_id: &str) {
        if self.groups.get(group_id).is_some_and(Group::is_blank) {
            self.groups.remove(group_id);
            let id: Arc<str> = group_id.into();
            self.timers.cancel(&TimerKey::Join(id.clone()));
            self.timers.cancel(&TimerKey::Sync(id));
        }
    }

    fn timer(&mut self, now: Now, effects: &mut Vec<Effect>, key: TimerKey, action: TimerAction) {
        let group_id = match &key {
            TimerKey::Join(group_id) | TimerKey::Sync(group_id) => group_id,
            TimerKey::Session(group_id, _) => group_id,
            TimerKey::Retention => {
                self.expire(now, effects);
                return;
            }
            TimerKey::Trim => {
                self.is_trimming = false;
                self.trim(effects);
                return;
            }
        };
        self.with_group(now, effects, group_id, |group, step| match action {
            TimerAction::InitialJoin {
                delay_ms,
                remaining_ms,
            } => rebalance::initial_delay_over(group, step, delay_ms, remaining_ms),
            TimerAction::CompleteJoin => rebalance::complete(group, step),
            TimerAction::PendingSync { generation } => {
                rebalance::sync_time_over(group, step, generation);
            }
            TimerAction::Session => {
                if let TimerKey::Session(_, member_id) = &key {
                    membership::session_over(group, step, member_id);
                }
            }
            TimerAction::Retention | TimerAction::Trim => unreachable!("a timer without group"),
        });
        self.drop_if_blank(&group_id.clone());
    }

    /// Looks through a bounded number of groups for what has expired, and sets the time of the
    /// next look: at once if groups are left.
    fn expire(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let from = match self.expiry_after.take() {
            Some(group_id) => Bound::Excluded(group_id),
            None => Bound::Unbounded,
        };
        let groups = self.groups.range::<Arc<str>, _>((from, Bound::Unbounded));
        let ids: Vec<Arc<str>> = groups
            .take(EXPIRY_GROUPS_PER_STEP)
            .map(|(id, _)| id.clone())
            .collect();
        for group_id in &ids {
            self.with_group(now, effects, group_id, retention::expire);
            self.drop_if_blank(group_id);
        }
        let mut next_ms = self.config.offsets.retention_check_interval_ms.max(1);
        if ids.len() == EXPIRY_GROUPS_PER_STEP {
            self.expiry_after = ids.last().cloned();
            next_ms = 1;
        }
        let at_ms = now.clock_ms + next_ms;
        self.timers
            .set(TimerKey::Retention, at_ms, TimerAction::Retention);
    }

    fn loaded(&mut self, now: Now, effects: &mut Vec<Effect>, log_start: Offset, log_end: Offset) {
        match self.phase {
            Phase::Loading => {}
            Phase::Serving => panic!("a coordinator is loaded once"),
            Phase::Closed => return,
        }
        self.phase = Phase::Serving;
        self.log_start = log_start;
        self.log_end = log_end;
        let size_max = usize::try_from(self.config.groups.max_size).unwrap_or(0);
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for group_id in &ids {
            self.with_group(now, effects, group_id, |group, step| {
                for member in group.members.values() {
                    step.touch(&group.id, member);
                }
                if group.members.len() > size_max {
                    rebalance::prepare(group, step);
                }
            });
        }
        let interval_ms = self.config.offsets.retention_check_interval_ms.max(1);
        let at_ms = now.clock_ms + interval_ms;
        self.timers
            .set(TimerKey::Retention, at_ms, TimerAction::Retention);
        for topic in std::mem::take(&mut self.deleted_topics) {
            self.forget_topic(now, effects, &topic);
        }
        self.trim(effects);
    }

    fn topic_deleted(&mut self, now: Now, effects: &mut Vec<Effect>, topic: String) {
        match self.phase {
            Phase::Loading => {
                // Its offsets may stand in what is not replayed yet.
                if self.deleted_topics.len() < PARTITIONS_MAX {
                    self.deleted_topics.insert(topic);
                }
            }
            Phase::Serving => self.forget_topic(now, effects, &topic),
            Phase::Closed => {}
        }
    }

    fn forget_topic(&mut self, now: Now, effects: &mut Vec<Effect>, topic: &str) {
        let concerned = self
            .groups
            .values()
            .filter(|group| group.offsets.contains_key(topic));
        let ids: Vec<Arc<str>> = concerned.map(|group| group.id.clone()).collect();
        for group_id in ids {
            self.with_group(now, effects, &group_id, |group, step| {
                let changes = super::offsets::tombstones(group, topic, |_| true);
                step.append(group, changes, After::Settled);
            });
        }
    }

    fn unload(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Closed;
        self.timers.clear();
        serve::answer_all_waiting(&mut self.groups, &mut self.journal, effects);
    }

    fn end(&mut self, now: Now, effects: &mut Vec<Effect>, ticket: Ticket, outcome: Outcome) {
        if self.phase == Phase::Closed {
            return;
        }
        self.journal.end(ticket, outcome);
        while let Some((in_flight, outcome)) = self.journal.take_ended() {
            match outcome {
                Outcome::Durable { base_offset } => {
                    self.settle(now, effects, in_flight, base_offset);
                }
                Outcome::Failed => self.abandon(now, effects, in_flight),
            }
        }
        self.trim(effects);
    }

    fn settle(
        &mut self,
        now: Now,
        effects: &mut Vec<Effect>,
        in_flight: InFlight,
        base_offset: Offset,
    ) {
        for (index, change) in in_flight.changes.iter().enumerate() {
            self.place(change, base_offset + index as i64, Placing::Settled);
        }
        self.log_end = base_offset + in_flight.changes.len() as i64;
        if in_flight.follows_failed {
            self.journal.fail_next(&in_flight);
        }
        if let Some((token, response)) = in_flight.reply {
            let response = match in_flight.follows_failed {
                true => serve::failed(response),
                false => response,
            };
            effects.push(Effect::Reply { token, response });
        }
        match in_flight.after {
            After::Settled => {}
            After::Assign {
                group_id,
                generation,
                assignment,
            } => {
                self.with_group(now, effects, &group_id, |group, step| {
                    if serve::awaits_assignment(group, generation) {
                        rebalance::assign(group, step, assignment);
                    }
                });
            }
            After::StaticRejoin(rejoin) => {
                self.with_group(now, effects, &rejoin.group_id, |group, step| {
                    join::static_rejoin_over(group, step, &rejoin, true);
                });
            }
            After::Trim { to } => {
                self.is_trimming = false;
                self.log_start = to;
                effects.push(Effect::AdvanceLogStart { to });
            }
        }
        for change in &in_flight.changes {
            self.drop_if_ended(change);
        }
    }

    fn abandon(&mut self, now: Now, effects: &mut Vec<Effect>, in_flight: InFlight) {
        for change in &in_flight.changes {
            self.place(change, Offset::NONE, Placing::Failed);
        }
        self.journal.fail_next(&in_flight);
        if let Some((token, response)) = in_flight.reply {
            let response = serve::failed(response);
            effects.push(Effect::Reply { token, response });
        }
        match in_flight.after {
            After::Settled => {}
            After::Assign {
                group_id,
                generation,
                ..
            } => {
                self.with_group(now, effects, &group_id, |group, step| {
                    if serve::awaits_assignment(group, generation) {
                        rebalance::assignment_failed(group, step);
                    }
                });
            }
            After::StaticRejoin(rejoin) => {
                self.with_group(now, effects, &rejoin.group_id, |group, step| {
                    join::static_rejoin_over(group, step, &rejoin, false);
                });
            }
            // The next try would most likely fail at once as well, and the one after it.
            After::Trim { .. } => {
                let at_ms = now.clock_ms + TRIM_RETRY_MS;
                self.timers.set(TimerKey::Trim, at_ms, TimerAction::Trim);
            }
        }
        for change in &in_flight.changes {
            self.drop_if_blank(change.key.group_id());
        }
    }

    /// Puts a record's value where it belongs, and keeps `live` true.
    fn place(&mut self, change: &Change, offset: Offset, placing: Placing) {
        let Some(group) = self.groups.get_mut(change.key.group_id()) else {
            assert_eq!(
                placing,
                Placing::Replayed,
                "a group with appends in flight stays"
            );
            return;
        };
        let replaced = match &change.key {
            RecordKey::Group { .. } => {
                let value = change.group_value();
                match placing {
                    Placing::Replayed => group.record.place(value, offset),
                    Placing::Settled => group.record.settle(value, offset),
                    Placing::Failed => {
                        group.record.abandon();
                        None
                    }
                }
            }
            RecordKey::Offset {
                topic, partition, ..
            } => {
                let value = change.offset_value();
                let slots = group.offsets.entry(topic.clone()).or_default();
                let slot = slots.entry(*partition).or_default();
                let replaced = match placing {
                    Placing::Replayed => slot.place(value, offset),
                    Placing::Settled => slot.settle(value, offset),
                    Placing::Failed => {
                        slot.abandon();
                        None
                    }
                };
                if slot.is_blank() {
                    slots.remove(partition);
                }
                if slots.is_empty() {
                    group.offsets.remove(topic);
                }
                replaced
            }
        };
        if let Some(replaced) = replaced {
            self.live.remove(&replaced);
        }
        if change.value.is_some() && placing != Placing::Failed {
            self.live.insert(offset, change.key.clone());
        }
    }

    /// After the tombstone of a group's record: forgets the group, unless it has come back. One
    /// whose offsets were committed since is what it would be after a restart: offsets only.
    fn drop_if_ended(&mut self, change: &Change) {
        let (RecordKey::Group { group_id }, None) = (&change.key, &change.value) else {
            return;
        };
        let Some(group) = self.groups.get_mut(group_id) else {
            return;
        };
        let has_come_back = match self.phase {
            Phase::Loading => false,
            Phase::Serving | Phase::Closed => {
                group.state() != GroupState::Empty
                    || !group.pending_joins.is_empty()
                    || !group.record.is_blank()
            }
        };
        if !has_come_back {
            group.forget_members();
            self.drop_if_blank(group_id);
        }
    }

    /// Begins a step of trimming, if one is due and none is under way.
    fn trim(&mut self, effects: &mut Vec<Effect>) {
        if self.is_trimming || self.phase != Phase::Serving {
            return;
        }
        let Some(plan) = trim::plan(self.log_start, self.log_end, &self.live) else {
            return;
        };
        let mut changes: Vec<Change> = Vec::new();
        let mut to = plan.to;
        let mut bytes = 0;
        for (offset, key) in plan.again {
            let group = self.groups.get(key.group_id());
            // A record whose tombstone is on its way stays until that is durable: it may fail.
            let change = group.and_then(|group| serve::again(group, key));
            bytes += change.as_ref().map_or(0, size_bytes);
            match change {
                Some(change) if changes.is_empty() || bytes <= OFFSETS_APPEND_BYTES_MAX => {
                    changes.push(change);
                }
                Some(_) | None => {
                    to = offset;
                    break;
                }
            }
        }
        if changes.is_empty() {
            if to > self.log_start {
                self.log_start = to;
                effects.push(Effect::AdvanceLogStart { to });
            }
            return;
        }
        self.is_trimming = true;
        for change in &changes {
            let group = self.groups.get_mut(change.key.group_id());
            change.begin(group.expect("found above"));
        }
        self.journal.append(effects, changes, After::Trim { to });
    }
}

/// Why a record's value is put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placing {
    Replayed,
    Settled,
    Failed,
}
