//! JoinGroup: who comes in, with which id, and what that starts.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;

use super::event::Token;
use super::group::{Group, GroupState, NewMember};
use super::rebalance::{self, refuse_waiting};
use super::request::{GroupError, JoinRequest, Response};
use super::step::{After, StaticRejoin, Step};
use crate::limits::{
    GROUP_MEMBERS_MAX, GROUP_PENDING_JOINS_MAX, MEMBER_ID_PREFIX_BYTES_MAX, NEW_MEMBER_JOIN_MS_MAX,
};

/// Takes a JoinGroup whose group exists.
pub(super) fn join(group: &mut Group, step: &mut Step<'_>, token: Token, request: JoinRequest) {
    let member_id = request.member_id.clone();
    if !has_room(group, step, &member_id) {
        rebalance::remove(group, step, &Arc::from(member_id.as_str()));
        step.refuse_join(token, GroupError::GroupMaxSize, "");
        rebalance::complete_if_all_joined(group, step);
    } else if !group.supports(&request.protocol_type, &request.protocols) {
        step.refuse_join(token, GroupError::InconsistentProtocol, &member_id);
    } else if member_id.is_empty() {
        join_new(group, step, token, request);
    } else {
        join_known(group, step, token, request);
    }
}

/// Kafka counts the members that wait while a rebalance is prepared, since the others may be
/// gone, and all members otherwise.
fn has_room(group: &Group, step: &Step<'_>, member_id: &str) -> bool {
    let configured = usize::try_from(step.config.groups.max_size).unwrap_or(0);
    let size_max = configured.min(GROUP_MEMBERS_MAX);
    let member = group.members.get(member_id);
    match group.state() {
        GroupState::Empty | GroupState::Dead => true,
        GroupState::PreparingRebalance => {
            member.is_some_and(|member| member.is_joining()) || group.joining_count() < size_max
        }
        GroupState::CompletingRebalance | GroupState::Stable => {
            member.is_some() || group.members.len() < size_max
        }
    }
}

fn join_new(group: &mut Group, step: &mut Step<'_>, token: Token, request: JoinRequest) {
    let new_id: Arc<str> = new_member_id(&request).into();
    let instance_id = request.group_instance_id.as_deref();
    if let Some(old_id) = instance_id.and_then(|id| group.static_member(id)).cloned() {
        rejoin_static(group, step, token, &request, &old_id, &new_id);
    } else if instance_id.is_none() && request.requires_known_member_id {
        if group.pending_joins.len() >= GROUP_PENDING_JOINS_MAX {
            step.refuse_join(token, GroupError::GroupMaxSize, "");
            return;
        }
        group.pending_joins.insert(new_id.clone());
        step.expect_by(&group.id, &new_id, i64::from(request.session_timeout_ms));
        step.refuse_join(token, GroupError::MemberIdRequired, &new_id);
    } else {
        add(group, step, token, request, new_id);
    }
}

fn join_known(group: &mut Group, step: &mut Step<'_>, token: Token, request: JoinRequest) {
    let member_id = request.member_id.as_str();
    let instance_id = request.group_instance_id.as_deref();
    if group.pending_joins.contains(member_id) {
        if instance_id.is_some() {
            // Ids are given ahead to dynamic members only.
            step.refuse_join(token, GroupError::UnknownMember, member_id);
        } else {
            let id = member_id.into();
            add(group, step, token, request, id);
        }
        return;
    }
    if let Err(error) = group.validate_member(member_id, instance_id) {
        step.refuse_join(token, error, member_id);
        return;
    }
    let is_same = unique(&request.protocols) == group.members[member_id].protocols;
    let starts_over = match group.state() {
        GroupState::PreparingRebalance => true,
        // The response to its first JoinGroup may have been lost.
        GroupState::CompletingRebalance => !is_same,
        // The leader asks for a rebalance by joining: it may know of changes that show in
        // nobody's metadata.
        GroupState::Stable => group.is_leader(member_id) || !is_same,
        GroupState::Empty | GroupState::Dead => {
            step.refuse_join(token, GroupError::UnknownMember, member_id);
            return;
        }
    };
    if starts_over {
        update(group, step, token, &request, member_id);
        rebalance::prepare_or_complete(group, step);
    } else {
        let response = rebalance::current(group, member_id);
        step.reply(token, Response::Join(response));
    }
}

fn add(
    group: &mut Group,
    step: &mut Step<'_>,
    token: Token,
    request: JoinRequest,
    member_id: Arc<str>,
) {
    let is_first = group.previous_state == GroupState::Empty;
    if group.state() == GroupState::PreparingRebalance && is_first {
        group.member_arrived = true;
    }
    let member = NewMember {
        id: member_id.clone(),
        instance_id: request.group_instance_id.map(Arc::from),
        client_id: request.client_id,
        client_host: request.client_host,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        session_timeout_ms: request.session_timeout_ms,
        protocols: unique(&request.protocols),
    };
    group.add(member, &request.protocol_type, Some(token), true);
    // A new member sends no heartbeats while it waits for its id. Clients that gave up and came
    // back would pile up in a long rebalance, so a new member's wait is bounded.
    step.expect_by(&group.id, &member_id, NEW_MEMBER_JOIN_MS_MAX);
    rebalance::prepare_or_complete(group, step);
}

fn update(
    group: &mut Group,
    step: &mut Step<'_>,
    token: Token,
    request: &JoinRequest,
    member_id: &str,
) {
    let superseded = group.update(
        member_id,
        unique(&request.protocols),
        request.rebalance_timeout_ms,
        request.session_timeout_ms,
        token,
    );
    if let Some(older) = superseded {
        step.refuse_join(older, GroupError::RebalanceInProgress, member_id);
    }
}

/// A static instance is back under a new member id. A stable group whose protocol stays the same
/// keeps its generation and assignment.
fn rejoin_static(
    group: &mut Group,
    step: &mut Step<'_>,
    token: Token,
    request: &JoinRequest,
    old_id: &Arc<str>,
    new_id: &Arc<str>,
) {
    let old_leader = group.leader.as_deref().unwrap_or("").to_owned();
    step.forget_session(&group.id, old_id);
    let fenced = group.replace_static(old_id, new_id);
    refuse_waiting(
        step,
        fenced.joining,
        fenced.syncing,
        GroupError::FencedInstance,
        old_id,
    );
    update(group, step, token, request, new_id);
    step.touch(&group.id, &group.members[new_id]);
    match group.state() {
        GroupState::Stable if group.select_protocol() == group.protocol_name => {
            let change = rebalance::record_change(group, |member| member.assignment.clone());
            let after = After::StaticRejoin(StaticRejoin {
                group_id: group.id.clone(),
                member_id: new_id.clone(),
                token,
                old_leader,
                skips_assignment: request.supports_skip_assignment,
            });
            step.append(group, vec![change], after);
        }
        GroupState::Stable => rebalance::prepare_or_complete(group, step),
        // The old id may be in the hands of the leader already; its assignment would not fit.
        GroupState::CompletingRebalance => rebalance::prepare(group, step),
        GroupState::PreparingRebalance => rebalance::complete_if_all_joined(group, step),
        GroupState::Empty | GroupState::Dead => {
            unreachable!("a group with a static member is neither empty nor dead")
        }
    }
}

/// The new id of a static member is stored, or cannot be.
pub(super) fn static_rejoin_over(
    group: &mut Group,
    step: &mut Step<'_>,
    rejoin: &StaticRejoin,
    is_stored: bool,
) {
    // A rebalance that began meanwhile has taken over the request, or answered it.
    let waits = group.members.get(&rejoin.member_id);
    let waits = waits.is_some_and(|member| member.joins_with(rejoin.token));
    if !waits || group.state() != GroupState::Stable {
        return;
    }
    group.take_joining(&rejoin.member_id);
    step.touch(&group.id, &group.members[&rejoin.member_id]);
    if !is_stored {
        step.refuse_join(rejoin.token, GroupError::NotCoordinator, "");
        return;
    }
    let mut response = rebalance::current(group, &rejoin.member_id);
    if rejoin.skips_assignment {
        response.skip_assignment = group.is_leader(&rejoin.member_id);
    } else {
        // A leader of an older version would assign anew for a generation that is assigned:
        // it is told that somebody else leads.
        response.leader = rejoin.old_leader.clone();
        response.members = Vec::new();
    }
    step.reply(rejoin.token, Response::Join(response));
}

/// Protocols by name; of a name given twice the first counts.
fn unique(protocols: &[(String, Bytes)]) -> Vec<(String, Bytes)> {
    let mut names = BTreeSet::new();
    let first = protocols
        .iter()
        .filter(|(name, _)| names.insert(name.as_str()));
    first.cloned().collect()
}

/// The instance's or the client's id, and a random UUID.
fn new_member_id(request: &JoinRequest) -> String {
    let prefix = request
        .group_instance_id
        .as_deref()
        .unwrap_or(&request.client_id);
    let mut end = prefix.len().min(MEMBER_ID_PREFIX_BYTES_MAX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut id = prefix[..end].to_owned();
    let mut uuid = request.fresh_uuid;
    // Version 4, variant 1 (RFC 9562), as Java's randomUUID makes them.
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 0 | 4 | 6 | 8 | 10) {
            id.push('-');
        }
        write!(id, "{byte:02x}").expect("writing to a string");
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_are_made_as_kafka_makes_them() {
        let mut request = JoinRequest {
            group_id: "g".to_owned(),
            member_id: String::new(),
            group_instance_id: None,
            client_id: "rdkafka".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".to_owned(),
            protocols: Vec::new(),
            requires_known_member_id: true,
            supports_skip_assignment: false,
            fresh_uuid: [0xff; 16],
        };
        assert_eq!(
            new_member_id(&request),
            "rdkafka-ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        request.group_instance_id = Some("instance".to_owned());
        assert!(new_member_id(&request).starts_with("instance-ffffffff"));
        request.group_instance_id = Some("é".repeat(MEMBER_ID_PREFIX_BYTES_MAX));
        assert!(new_member_id(&request).len() <= MEMBER_ID_PREFIX_BYTES_MAX + 37);
    }
}
