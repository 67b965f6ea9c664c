//! SyncGroup, Heartbeat, LeaveGroup, and sessions that run out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::event::Token;
use super::group::{Group, GroupState};
use super::rebalance;
use super::request::{
    GroupError, HeartbeatRequest, LeaveRequest, LeavingMember, LeftMember, Response, SyncRequest,
    SyncResponse,
};
use super::step::{After, Step, size_bytes};
use super::timers::TimerKey;
use crate::limits::OFFSETS_APPEND_BYTES_MAX;

/// Takes a SyncGroup whose group exists.
pub(super) fn sync(group: &mut Group, step: &mut Step<'_>, token: Token, request: SyncRequest) {
    if let Err(error) = validate_sync(group, &request) {
        step.refuse_sync(token, error);
        return;
    }
    match group.state() {
        GroupState::Empty | GroupState::Dead => step.refuse_sync(token, GroupError::UnknownMember),
        GroupState::PreparingRebalance => step.refuse_sync(token, GroupError::RebalanceInProgress),
        GroupState::CompletingRebalance => await_assignment(group, step, token, request),
        GroupState::Stable => {
            synced(group, step, &request.member_id);
            let response = SyncResponse {
                error: None,
                protocol_type: group.protocol_type.clone(),
                protocol_name: group.protocol_name.clone(),
                assignment: group.members[request.member_id.as_str()].assignment.clone(),
            };
            step.reply(token, Response::Sync(response));
        }
    }
}

fn validate_sync(group: &Group, request: &SyncRequest) -> Result<(), GroupError> {
    group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation != group.generation {
        return Err(GroupError::IllegalGeneration);
    }
    let differs = |told: &Option<String>, known: &Option<String>| told.is_some() && told != known;
    if differs(&request.protocol_type, &group.protocol_type)
        || differs(&request.protocol_name, &group.protocol_name)
    {
        return Err(GroupError::InconsistentProtocol);
    }
    Ok(())
}

/// Parks the request; the leader's brings the assignment, which is stored before it is handed
/// out.
fn await_assignment(group: &mut Group, step: &mut Step<'_>, token: Token, request: SyncRequest) {
    let member = group
        .members
        .get_mut(request.member_id.as_str())
        .expect("validated");
    if let Some(older) = member.syncing.replace(token) {
        step.refuse_sync(older, GroupError::RebalanceInProgress);
    }
    synced(group, step, &request.member_id);
    // A leader that asks again must not store a second assignment for one generation: the
    // members would be given the first, and a restart would give them the second.
    if !group.is_leader(&request.member_id) || group.is_assigning {
        return;
    }
    let given = request.assignments.into_iter();
    let assignment: BTreeMap<Arc<str>, Bytes> =
        given.map(|(id, bytes)| (Arc::from(id), bytes)).collect();
    let of = |id: &Arc<str>| assignment.get(id).cloned().unwrap_or_default();
    let change = rebalance::record_change(group, |member| of(&member.id));
    if size_bytes(&change) > OFFSETS_APPEND_BYTES_MAX {
        fail_assignment(group, step);
        return;
    }
    let after = After::Assign {
        group_id: group.id.clone(),
        generation: group.generation,
        assignment,
    };
    group.is_assigning = true;
    step.append(group, vec![change], after);
}

/// The group's record would be larger than an append may be: Kafka refuses as a server error, and
/// rebalances again.
fn fail_assignment(group: &mut Group, step: &mut Step<'_>) {
    let waiting = group
        .members
        .values_mut()
        .filter_map(|member| member.syncing.take());
    for token in waiting.collect::<Vec<_>>() {
        step.refuse_sync(token, GroupError::RecordTooLarge);
    }
    rebalance::prepare_or_complete(group, step);
}

fn synced(group: &mut Group, step: &mut Step<'_>, member_id: &str) {
    group.pending_syncs.remove(member_id);
    if group.pending_syncs.is_empty() {
        step.timers.cancel(&TimerKey::Sync(group.id.clone()));
    }
}

/// Takes a Heartbeat whose group exists.
pub(super) fn heartbeat(
    group: &Group,
    step: &mut Step<'_>,
    request: &HeartbeatRequest,
) -> Result<(), GroupError> {
    group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation != group.generation {
        return Err(GroupError::IllegalGeneration);
    }
    match group.state() {
        GroupState::Empty | GroupState::Dead => Err(GroupError::UnknownMember),
        GroupState::PreparingRebalance => {
            step.touch(&group.id, &group.members[request.member_id.as_str()]);
            Err(GroupError::RebalanceInProgress)
        }
        // Members send heartbeats from the join's response on.
        GroupState::CompletingRebalance | GroupState::Stable => {
            step.touch(&group.id, &group.members[request.member_id.as_str()]);
            Ok(())
        }
    }
}

/// Takes a LeaveGroup whose group exists.
pub(super) fn leave(group: &mut Group, step: &mut Step<'_>, token: Token, request: LeaveRequest) {
    let mut left = Vec::with_capacity(request.members.len());
    for member in request.members {
        let error = leave_one(group, step, &member).err();
        left.push(LeftMember { member, error });
    }
    if left.iter().any(|member| member.error.is_none()) {
        match group.state() {
            GroupState::Stable | GroupState::CompletingRebalance => {
                rebalance::prepare_or_complete(group, step);
            }
            GroupState::PreparingRebalance => rebalance::complete_if_all_joined(group, step),
            GroupState::Empty | GroupState::Dead => {}
        }
    }
    step.reply_when_durable(token, Response::Leave(Ok(left)));
}

fn leave_one(
    group: &mut Group,
    step: &mut Step<'_>,
    leaving: &LeavingMember,
) -> Result<(), GroupError> {
    let instance_id = leaving.group_instance_id.as_deref();
    let member_id: Arc<str> = if leaving.member_id.is_empty() {
        // An administrator removes an instance without knowing its member id.
        let known = instance_id.and_then(|id| group.static_member(id));
        known.ok_or(GroupError::UnknownMember)?.clone()
    } else {
        leaving.member_id.as_str().into()
    };
    if !leaving.member_id.is_empty() && !group.pending_joins.contains(&member_id) {
        group.validate_member(&member_id, instance_id)?;
    }
    rebalance::remove(group, step, &member_id);
    Ok(())
}

/// A member was silent for its session's time, or an id that was given was not used.
pub(super) fn session_over(group: &mut Group, step: &mut Step<'_>, member_id: &Arc<str>) {
    if group.pending_joins.contains(member_id) {
        rebalance::remove(group, step, member_id);
        if group.state() == GroupState::PreparingRebalance && group.has_all_joined() {
            rebalance::complete(group, step);
        }
        return;
    }
    // Who waits for the broker's answer cannot send heartbeats.
    let is_silent = group
        .members
        .get(member_id)
        .is_some_and(|member| !member.is_parked());
    if !is_silent {
        return;
    }
    rebalance::remove(group, step, member_id);
    match group.state() {
        GroupState::Stable | GroupState::CompletingRebalance => {
            rebalance::prepare_or_complete(group, step);
        }
        GroupState::PreparingRebalance if group.has_all_joined() => {
            rebalance::complete(group, step);
        }
        GroupState::PreparingRebalance | GroupState::Empty | GroupState::Dead => {}
    }
}
