//! Requests at the door: checks that need no group, refusals, and the way to the decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::event::{Effect, Now, Token};
use super::group::{Group, GroupState};
use super::machine::{Coordinator, Phase};
use super::offsets::{self, refuse_commit};
use super::record::RecordKey;
use super::request::{
    CommitRequest, DescribedGroup, DescribedMember, GroupError, JoinRequest, JoinResponse,
    LeaveRequest, LeftMember, ListRequest, ListedGroup, Request, Response, SyncResponse,
};
use super::step::{After, Change, CoordinatorConfig, Journal, StoredValue};
use super::{join, membership, retention};
use crate::limits::KAFKA_STRING_BYTES_MAX;

/// The type of every group that is served, as ListGroups names it.
const GROUP_TYPE: &str = "classic";

impl Coordinator {
    /// The refusal of a coordinator that is not, or no longer, serving.
    pub(super) fn refuse_in_phase(&self, request: &Request) -> Option<Response> {
        match (self.phase, request) {
            (Phase::Serving, _) => None,
            (Phase::Closed, _) => Some(refuse(request, GroupError::NotCoordinator)),
            // A member must not lose its session because the broker is starting.
            (Phase::Loading, Request::Heartbeat(_)) => Some(Response::Heartbeat(Ok(()))),
            (Phase::Loading, _) => Some(refuse(request, GroupError::LoadInProgress)),
        }
    }

    pub(super) fn serve(
        &mut self,
        now: Now,
        effects: &mut Vec<Effect>,
        token: Token,
        request: Request,
    ) {
        let response = match request {
            Request::Join(request) => return self.join(now, effects, token, request),
            Request::Commit(request) => return self.commit(now, effects, token, request),
            Request::Sync(request) => {
                let id = request.group_id.clone();
                let found = self.with_group(now, effects, &id, |group, step| {
                    membership::sync(group, step, token, request);
                });
                let refusal = SyncResponse::failed(GroupError::UnknownMember);
                (!found).then_some(Response::Sync(refusal))
            }
            Request::Heartbeat(request) => {
                let mut result = Err(GroupError::UnknownMember);
                self.with_group(now, effects, &request.group_id, |group, step| {
                    result = membership::heartbeat(group, step, &request);
                });
                Some(Response::Heartbeat(result))
            }
            Request::Leave(request) => return self.leave(now, effects, token, request),
            Request::Fetch(request) => {
                let group = self.groups.get(request.group_id.as_str());
                Some(Response::Fetch(Ok(offsets::fetch(group, request))))
            }
            Request::DeleteOffsets(request) => {
                let id = request.group_id.clone();
                let found = self.with_group(now, effects, &id, |group, step| {
                    offsets::delete(group, step, token, request);
                });
                let refusal = Response::DeleteOffsets(Err(GroupError::GroupIdNotFound));
                (!found).then_some(refusal)
            }
            Request::Describe(request) => {
                let group = self.groups.get(request.group_id.as_str());
                let described = group.map(describe).ok_or(GroupError::GroupIdNotFound);
                Some(Response::Describe(described))
            }
            Request::List(request) => Some(Response::List(Ok(self.list(&request)))),
            Request::DeleteGroup(request) => {
                let id = request.group_id.clone();
                let found = self.with_group(now, effects, &id, |group, step| {
                    let response = delete_group(group, step);
                    step.reply_when_durable(token, Response::DeleteGroup(response));
                });
                self.drop_if_blank(&id);
                (!found).then_some(Response::DeleteGroup(Err(GroupError::GroupIdNotFound)))
            }
        };
        if let Some(response) = response {
            effects.push(Effect::Reply { token, response });
        }
    }

    fn join(&mut self, now: Now, effects: &mut Vec<Effect>, token: Token, request: JoinRequest) {
        let id = request.group_id.clone();
        if !self.groups.contains_key(id.as_str()) {
            let error = if !request.member_id.is_empty() {
                Some(GroupError::UnknownMember)
            } else if !self.has_room(&id) {
                Some(GroupError::NotAvailable)
            } else {
                None
            };
            if let Some(error) = error {
                let response = Response::Join(JoinResponse::failed(error, &request.member_id));
                effects.push(Effect::Reply { token, response });
                return;
            }
            self.group_or_new(&id, now.wall);
        }
        self.with_group(now, effects, &id, |group, step| {
            join::join(group, step, token, request)
        });
        self.drop_if_blank(&id);
    }

    fn leave(&mut self, now: Now, effects: &mut Vec<Effect>, token: Token, request: LeaveRequest) {
        let id = request.group_id.clone();
        if !self.groups.contains_key(id.as_str()) {
            // Without the group all of its members are unknown.
            let unknown = request.members.into_iter().map(|member| LeftMember {
                member,
                error: Some(GroupError::UnknownMember),
            });
            let response = Response::Leave(Ok(unknown.collect()));
            effects.push(Effect::Reply { token, response });
            return;
        }
        self.with_group(now, effects, &id, |group, step| {
            membership::leave(group, step, token, request);
        });
        self.drop_if_blank(&id);
    }

    fn commit(
        &mut self,
        now: Now,
        effects: &mut Vec<Effect>,
        token: Token,
        request: CommitRequest,
    ) {
        let id = request.group_id.clone();
        let is_known = self.groups.contains_key(id.as_str());
        let error = if !is_known && request.generation >= 0 {
            Some(if request.reports_unknown_group {
                GroupError::GroupIdNotFound
            } else {
                GroupError::IllegalGeneration
            })
        } else if !self.has_room(&id) {
            Some(GroupError::NotAvailable)
        } else {
            None
        };
        if let Some(error) = error {
            let response = refuse_commit(&request, error);
            effects.push(Effect::Reply { token, response });
            return;
        }
        // A consumer that assigns itself, or an administrator: the group is made for it.
        self.group_or_new(&id, now.wall);
        self.with_group(now, effects, &id, |group, step| {
            offsets::commit(group, step, token, request);
        });
        self.drop_if_blank(&id);
    }

    fn list(&self, request: &ListRequest) -> Vec<ListedGroup> {
        let wanted = |filter: &[String], name: &str| {
            filter.is_empty()
                || filter
                    .iter()
                    .any(|known| known.trim().eq_ignore_ascii_case(name))
        };
        if !wanted(&request.types, GROUP_TYPE) {
            return Vec::new();
        }
        let groups = self.groups.values();
        let listed = groups.filter(|group| wanted(&request.states, group.state().name()));
        let listed = listed.map(|group| ListedGroup {
            group_id: group.id.to_string(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state(),
        });
        listed.collect()
    }
}

/// What is wrong with a request whatever the groups are.
pub(super) fn check(request: &Request, config: &CoordinatorConfig) -> Result<(), GroupError> {
    let fits = |text: &str| text.len() <= KAFKA_STRING_BYTES_MAX;
    let (group_id, may_be_empty) = match request {
        Request::Join(request) => (&request.group_id, false),
        Request::Sync(request) => (&request.group_id, false),
        Request::Heartbeat(request) => (&request.group_id, false),
        Request::Leave(request) => (&request.group_id, false),
        Request::DeleteOffsets(request) => (&request.group_id, false),
        // Old clients commit and read offsets under an empty group id.
        Request::Commit(request) => (&request.group_id, true),
        Request::Fetch(request) => (&request.group_id, true),
        Request::Describe(request) => (&request.group_id, true),
        Request::DeleteGroup(request) => (&request.group_id, true),
        Request::List(_) => return Ok(()),
    };
    if (group_id.is_empty() && !may_be_empty) || !fits(group_id) {
        return Err(GroupError::InvalidGroupId);
    }
    match request {
        Request::Join(request) => check_join(request, config),
        Request::Commit(request) => {
            let topics_fit = request.topics.iter().all(|(name, _)| fits(name));
            if topics_fit {
                Ok(())
            } else {
                Err(GroupError::InvalidRequest)
            }
        }
        Request::Sync(_)
        | Request::Heartbeat(_)
        | Request::Leave(_)
        | Request::DeleteOffsets(_)
        | Request::Fetch(_)
        | Request::Describe(_)
        | Request::DeleteGroup(_)
        | Request::List(_) => Ok(()),
    }
}

fn check_join(request: &JoinRequest, config: &CoordinatorConfig) -> Result<(), GroupError> {
    let groups = &config.groups;
    let allowed = groups.min_session_timeout_ms..=groups.max_session_timeout_ms;
    if !allowed.contains(&request.session_timeout_ms) {
        return Err(GroupError::InvalidSessionTimeout);
    }
    let fits = |text: &str| text.len() <= KAFKA_STRING_BYTES_MAX;
    let all_fit = fits(&request.client_id)
        && fits(&request.client_host)
        && fits(&request.protocol_type)
        && request.group_instance_id.as_deref().is_none_or(fits)
        && request.protocols.iter().all(|(name, _)| fits(name));
    if all_fit {
        Ok(())
    } else {
        Err(GroupError::InvalidRequest)
    }
}

/// The refusal of a whole request.
pub(super) fn refuse(request: &Request, error: GroupError) -> Response {
    match request {
        Request::Join(request) => Response::Join(JoinResponse::failed(error, &request.member_id)),
        Request::Sync(_) => Response::Sync(SyncResponse::failed(error)),
        Request::Heartbeat(_) => Response::Heartbeat(Err(error)),
        Request::Leave(_) => Response::Leave(Err(error)),
        Request::Commit(request) => refuse_commit(request, error),
        Request::Fetch(_) => Response::Fetch(Err(error)),
        Request::DeleteOffsets(_) => Response::DeleteOffsets(Err(error)),
        Request::Describe(_) => Response::Describe(Err(error)),
        Request::List(_) => Response::List(Err(error)),
        Request::DeleteGroup(_) => Response::DeleteGroup(Err(error)),
    }
}

/// What becomes of an answer whose append failed.
pub(super) fn failed(response: Response) -> Response {
    let error = GroupError::NotCoordinator;
    match response {
        Response::Commit(mut topics) => {
            for (_, partitions) in &mut topics {
                for (_, result) in partitions {
                    result.get_or_insert(error);
                }
            }
            Response::Commit(topics)
        }
        Response::Join(response) => {
            Response::Join(JoinResponse::failed(error, &response.member_id))
        }
        Response::Sync(_) => Response::Sync(SyncResponse::failed(error)),
        Response::Heartbeat(_) => Response::Heartbeat(Err(error)),
        Response::Leave(_) => Response::Leave(Err(error)),
        Response::Fetch(_) => Response::Fetch(Err(error)),
        Response::DeleteOffsets(_) => Response::DeleteOffsets(Err(error)),
        Response::Describe(_) => Response::Describe(Err(error)),
        Response::List(_) => Response::List(Err(error)),
        Response::DeleteGroup(_) => Response::DeleteGroup(Err(error)),
    }
}

/// Answers every request that waits for members or for the log.
pub(super) fn answer_all_waiting(
    groups: &mut BTreeMap<Arc<str>, Group>,
    journal: &mut Journal,
    effects: &mut Vec<Effect>,
) {
    let error = GroupError::NotCoordinator;
    for group in groups.values_mut() {
        let ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
        for id in ids {
            if let Some(token) = group.take_joining(&id) {
                let response = Response::Join(JoinResponse::failed(error, &id));
                effects.push(Effect::Reply { token, response });
            }
            let syncing = group
                .members
                .get_mut(&id)
                .and_then(|member| member.syncing.take());
            if let Some(token) = syncing {
                let response = Response::Sync(SyncResponse::failed(error));
                effects.push(Effect::Reply { token, response });
            }
        }
    }
    for in_flight in journal.in_flight.values_mut() {
        if let Some((token, response)) = in_flight.reply.take() {
            let response = failed(response);
            effects.push(Effect::Reply { token, response });
        }
    }
}

/// Whether the leader's assignment for the generation is still wanted.
pub(super) fn awaits_assignment(group: &Group, generation: i32) -> bool {
    group.state() == GroupState::CompletingRebalance && group.generation == generation
}

/// The newest value of a key, to be appended once more; `None` if it has ended meanwhile.
pub(super) fn again(group: &Group, key: RecordKey) -> Option<Change> {
    let value = match &key {
        RecordKey::Group { .. } => group.record.newest().cloned().map(StoredValue::Group),
        RecordKey::Offset {
            topic, partition, ..
        } => {
            let slot = group
                .offsets
                .get(topic)
                .and_then(|slots| slots.get(partition));
            let newest = slot.and_then(|slot| slot.newest());
            newest.cloned().map(StoredValue::Offset)
        }
    };
    value.map(|value| Change {
        key,
        value: Some(value),
    })
}

fn describe(group: &Group) -> DescribedGroup {
    let is_stable = group.state() == GroupState::Stable;
    let stored = group.to_stored(|member| member.assignment.clone());
    let members = stored.members.into_iter().map(|member| DescribedMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        metadata: match is_stable {
            true => member.metadata,
            false => Bytes::new(),
        },
        // During a rebalance, what the member has had so far.
        assignment: member.assignment,
    });
    DescribedGroup {
        state: group.state(),
        protocol_type: stored.protocol_type,
        protocol_name: stored
            .protocol_name
            .filter(|_| is_stable)
            .unwrap_or_default(),
        members: members.collect(),
    }
}

fn delete_group(group: &mut Group, step: &mut super::step::Step<'_>) -> Result<(), GroupError> {
    match group.state() {
        GroupState::Empty => {}
        GroupState::Dead => return Err(GroupError::GroupIdNotFound),
        GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Stable => {
            return Err(GroupError::NonEmptyGroup);
        }
    }
    let topics: Vec<Arc<str>> = group.offsets.keys().cloned().collect();
    let mut changes = Vec::new();
    for topic in topics {
        changes.extend(offsets::tombstones(group, &topic, |_| true));
    }
    changes.push(retention::group_tombstone(group));
    for member_id in std::mem::take(&mut group.pending_joins) {
        step.forget_session(&group.id, &member_id);
    }
    step.append(group, changes, After::Settled);
    Ok(())
}
