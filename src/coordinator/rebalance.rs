//! The course of a rebalance: prepare, wait for joins, start the next generation, wait for syncs.
//!
//! The functions take the group and the step's context, and say by effects what follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::event::Token;
use super::group::{Group, GroupState, Removed};
use super::record::{self, RecordKey};
use super::request::{GroupError, JoinResponse, Response, SyncResponse};
use super::step::{After, Change, Step, StoredValue};
use super::timers::{TimerAction, TimerKey};
use crate::limits::ABSENT_MEMBERS_WAIT_MS_MIN;

/// Begins a rebalance where the state allows, else looks whether the running one can end.
pub(super) fn prepare_or_complete(group: &mut Group, step: &mut Step<'_>) {
    if group.can_rebalance() {
        prepare(group, step);
    } else {
        complete_if_all_joined(group, step);
    }
}

/// Begins a rebalance. A group that was empty waits a while for more members.
pub(super) fn prepare(group: &mut Group, step: &mut Step<'_>) {
    if group.state() == GroupState::CompletingRebalance {
        for member in group.members.values_mut() {
            member.assignment = Bytes::new();
        }
        hand_out(group, step, Some(GroupError::RebalanceInProgress));
    }
    group.pending_syncs.clear();
    step.timers.cancel(&TimerKey::Sync(group.id.clone()));
    if group.state() == GroupState::Empty {
        group.member_arrived = false;
        let delay_ms = i64::from(step.config.groups.initial_rebalance_delay_ms.max(0));
        let remaining_ms = (group.rebalance_timeout_ms() - delay_ms).max(0);
        let action = TimerAction::InitialJoin {
            delay_ms,
            remaining_ms,
        };
        set_join_timer(group, step, delay_ms, action);
        group.transition(GroupState::PreparingRebalance, step.now.wall);
        return;
    }
    group.transition(GroupState::PreparingRebalance, step.now.wall);
    if group.has_all_joined() {
        complete(group, step);
    } else {
        let within_ms = group.rebalance_timeout_ms();
        set_join_timer(group, step, within_ms, TimerAction::CompleteJoin);
    }
}

/// The delay of a first rebalance is over: wait on if members arrived in it and time is left.
pub(super) fn initial_delay_over(
    group: &mut Group,
    step: &mut Step<'_>,
    delay_ms: i64,
    remaining_ms: i64,
) {
    if group.state() != GroupState::PreparingRebalance {
        return;
    }
    if group.member_arrived && remaining_ms != 0 {
        group.member_arrived = false;
        let configured_ms = i64::from(step.config.groups.initial_rebalance_delay_ms.max(0));
        let next_ms = configured_ms.min(remaining_ms);
        let action = TimerAction::InitialJoin {
            delay_ms: next_ms,
            remaining_ms: (remaining_ms - delay_ms).max(0),
        };
        set_join_timer(group, step, next_ms, action);
    } else {
        complete(group, step);
    }
}

/// Ends the join phase if everyone is there; a group's first one only ends by its delay.
pub(super) fn complete_if_all_joined(group: &mut Group, step: &mut Step<'_>) {
    let is_first = group.previous_state == GroupState::Empty;
    let is_preparing = group.state() == GroupState::PreparingRebalance;
    if is_preparing && !is_first && group.has_all_joined() {
        complete(group, step);
    }
}

/// Ends the join phase: dynamic members that did not come are out, the others are the next
/// generation.
pub(super) fn complete(group: &mut Group, step: &mut Step<'_>) {
    if group.state() != GroupState::PreparingRebalance {
        return;
    }
    step.timers.cancel(&TimerKey::Join(group.id.clone()));
    let absent = group
        .members
        .values()
        .filter(|member| !member.is_joining() && member.instance_id.is_none());
    let absent: Vec<Arc<str>> = absent.map(|member| member.id.clone()).collect();
    for member_id in absent {
        remove(group, step, &member_id);
    }
    if !group.elect_joined_leader() && !group.members.is_empty() {
        // Only static members that did not come are left: their sessions decide. The time is the
        // members' own, and may be none; the core has other work than to look all the time.
        let within_ms = group.rebalance_timeout_ms().max(ABSENT_MEMBERS_WAIT_MS_MIN);
        set_join_timer(group, step, within_ms, TimerAction::CompleteJoin);
        return;
    }
    group.next_generation(step.now.wall);
    if group.state() == GroupState::Empty {
        let change = record_change(group, |_| Bytes::new());
        step.append(group, vec![change], After::Settled);
        return;
    }
    let ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
    for member_id in ids {
        let response = current(group, &member_id);
        if let Some(token) = group.take_joining(&member_id) {
            step.reply(token, Response::Join(response));
        }
        let member = group.members.get_mut(&member_id).expect("listed above");
        member.is_new = false;
        step.touch(&group.id, member);
        group.pending_syncs.insert(member_id);
    }
    let at_ms = step.now.clock_ms + group.rebalance_timeout_ms();
    let action = TimerAction::PendingSync {
        generation: group.generation,
    };
    step.timers
        .set(TimerKey::Sync(group.id.clone()), at_ms, action);
}

/// The present generation, as a member is told; the leader gets everyone's metadata.
pub(super) fn current(group: &Group, member_id: &str) -> JoinResponse {
    let is_leader = group.is_leader(member_id);
    JoinResponse {
        error: None,
        generation: group.generation,
        protocol_type: group.protocol_type.clone(),
        protocol_name: group.protocol_name.clone(),
        leader: group.leader.as_deref().unwrap_or("").to_owned(),
        skip_assignment: false,
        member_id: member_id.to_owned(),
        members: if is_leader {
            group.joined_members()
        } else {
            Vec::new()
        },
    }
}

/// The members that did not send SyncGroup in time are out.
pub(super) fn sync_time_over(group: &mut Group, step: &mut Step<'_>, generation: i32) {
    let waits = match group.state() {
        GroupState::CompletingRebalance | GroupState::Stable => true,
        GroupState::Empty | GroupState::PreparingRebalance | GroupState::Dead => false,
    };
    if !waits || generation != group.generation || group.pending_syncs.is_empty() {
        return;
    }
    for member_id in std::mem::take(&mut group.pending_syncs) {
        remove(group, step, &member_id);
    }
    prepare(group, step);
}

/// Takes the leader's assignment, which is now stored, and answers everyone who waits for it.
pub(super) fn assign(
    group: &mut Group,
    step: &mut Step<'_>,
    mut assignment: BTreeMap<Arc<str>, Bytes>,
) {
    group.is_assigning = false;
    for member in group.members.values_mut() {
        member.assignment = assignment.remove(&member.id).unwrap_or_default();
    }
    hand_out(group, step, None);
    group.transition(GroupState::Stable, step.now.wall);
}

/// The assignment could not be stored: everyone who waits for it is told to start over.
pub(super) fn assignment_failed(group: &mut Group, step: &mut Step<'_>) {
    group.is_assigning = false;
    for member in group.members.values_mut() {
        member.assignment = Bytes::new();
    }
    hand_out(group, step, Some(GroupError::NotCoordinator));
    prepare_or_complete(group, step);
}

/// Answers every SyncGroup that waits.
fn hand_out(group: &mut Group, step: &mut Step<'_>, error: Option<GroupError>) {
    let name = group.protocol_name.clone().filter(|_| error.is_none());
    let protocol_type = group.protocol_type.clone().filter(|_| error.is_none());
    for member in group.members.values_mut() {
        let Some(token) = member.syncing.take() else {
            continue;
        };
        let response = SyncResponse {
            error,
            protocol_type: protocol_type.clone(),
            protocol_name: name.clone(),
            assignment: member.assignment.clone(),
        };
        step.reply(token, Response::Sync(response));
        // A session that ran out while the member waited was passed over, so it starts anew.
        step.touch(&group.id, member);
    }
}

/// Removes a member or a pending id; what it waits for is answered, so that a client that is
/// still there starts over.
pub(super) fn remove(group: &mut Group, step: &mut Step<'_>, member_id: &Arc<str>) {
    step.forget_session(&group.id, member_id);
    if let Some(Removed { joining, syncing }) = group.remove(member_id) {
        refuse_waiting(step, joining, syncing, GroupError::UnknownMember, "");
    }
}

/// Answers the requests of a member that has lost its place.
pub(super) fn refuse_waiting(
    step: &mut Step<'_>,
    joining: Option<Token>,
    syncing: Option<Token>,
    error: GroupError,
    member_id: &str,
) {
    if let Some(token) = joining {
        step.refuse_join(token, error, member_id);
    }
    if let Some(token) = syncing {
        step.refuse_sync(token, error);
    }
}

/// The group's record with its present members.
pub(super) fn record_change(
    group: &Group,
    assignment: impl Fn(&super::group::Member) -> Bytes,
) -> Change {
    Change {
        key: RecordKey::Group {
            group_id: group.id.clone(),
        },
        value: Some(StoredValue::Group(record::encode_group(
            &group.to_stored(assignment),
        ))),
    }
}

fn set_join_timer(group: &Group, step: &mut Step<'_>, within_ms: i64, action: TimerAction) {
    step.timers.set(
        TimerKey::Join(group.id.clone()),
        step.now.clock_ms + within_ms.max(1),
        action,
    );
}
