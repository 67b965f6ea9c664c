//! OffsetCommit, OffsetFetch and OffsetDelete of one group.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::event::Token;
use super::group::{Group, GroupState};
use super::record::{Committed, RecordKey};
use super::request::{
    CommitPartition, CommitRequest, CommittedOffset, DeleteOffsetsRequest, FetchRequest,
    FetchedTopic, GroupError, Response, TopicOutcome,
};
use super::step::{After, Change, Step, StoredValue};
use crate::model::Timestamp;

/// Takes an OffsetCommit whose group exists; answered when it is durable.
pub(super) fn commit(group: &mut Group, step: &mut Step<'_>, token: Token, request: CommitRequest) {
    if let Err(error) = validate_commit(group, &request) {
        step.reply(token, refuse_commit(&request, error));
        return;
    }
    match group.state() {
        // A commit is a sign of life.
        GroupState::Stable | GroupState::PreparingRebalance => {
            if let Some(member) = group.members.get(request.member_id.as_str()) {
                step.touch(&group.id, member);
            }
        }
        GroupState::Empty | GroupState::CompletingRebalance | GroupState::Dead => {}
    }
    let now = step.now.wall;
    let expire_time = request
        .retention_ms
        .map(|ms| Timestamp(now.0.saturating_add(ms)));
    let metadata_max = usize::try_from(step.config.offsets.metadata_max_bytes).unwrap_or(0);
    let mut changes = Vec::new();
    let mut outcomes = Vec::with_capacity(request.topics.len());
    for (name, partitions) in request.topics {
        let topic: Arc<str> = name.as_str().into();
        let mut results = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let index = partition.index;
            if exceeds_characters(partition.metadata.as_deref(), metadata_max) {
                results.push((index, Some(GroupError::MetadataTooLarge)));
                continue;
            }
            let key = offset_key(group, &topic, index);
            let committed = committed(partition, now, expire_time);
            let value = Some(StoredValue::Offset(committed));
            changes.push(Change { key, value });
            results.push((index, None));
        }
        outcomes.push((name, results));
    }
    step.append(group, changes, After::Settled);
    step.reply_when_durable(token, Response::Commit(outcomes));
}

/// Whether the commit is of the group's present generation, or of a consumer that is in no group
/// while the group has no members.
fn validate_commit(group: &Group, request: &CommitRequest) -> Result<(), GroupError> {
    let is_empty = group.state() == GroupState::Empty;
    if request.generation < 0 && is_empty {
        return Ok(());
    }
    let instance_id = request.group_instance_id.as_deref();
    if request.generation >= 0 || !request.member_id.is_empty() || instance_id.is_some() {
        group.validate_member(&request.member_id, instance_id)?;
        if request.generation != group.generation {
            return Err(GroupError::IllegalGeneration);
        }
    } else if !is_empty {
        return Err(GroupError::UnknownMember);
    }
    if group.state() == GroupState::CompletingRebalance {
        // The member knows the generation from its join: it may finish the rebalance first.
        return Err(GroupError::RebalanceInProgress);
    }
    Ok(())
}

/// The same refusal for every partition.
pub(super) fn refuse_commit(request: &CommitRequest, error: GroupError) -> Response {
    let topics = request.topics.iter().map(|(name, partitions)| {
        let results = partitions
            .iter()
            .map(|partition| (partition.index, Some(error)));
        (name.clone(), results.collect())
    });
    Response::Commit(topics.collect())
}

/// Kafka's bound is in Java's characters: UTF-16 code units.
fn exceeds_characters(text: Option<&str>, characters_max: usize) -> bool {
    let text = text.unwrap_or("");
    text.len() > characters_max && text.encode_utf16().count() > characters_max
}

fn committed(
    partition: CommitPartition,
    now: Timestamp,
    expire_time: Option<Timestamp>,
) -> Committed {
    Committed {
        offset: partition.offset,
        leader_epoch: partition.leader_epoch,
        metadata: partition.metadata.unwrap_or_default().into(),
        commit_time: now,
        expire_time,
    }
}

fn offset_key(group: &Group, topic: &Arc<str>, partition: i32) -> RecordKey {
    RecordKey::Offset {
        group_id: group.id.clone(),
        topic: topic.clone(),
        partition,
    }
}

/// The durable offsets that are asked for; a group that is not there has none.
pub(super) fn fetch(group: Option<&Group>, request: FetchRequest) -> Vec<FetchedTopic> {
    let Some(topics) = request.topics else {
        return group.map(fetch_all).unwrap_or_default();
    };
    let fetched = topics.into_iter().map(|(name, indexes)| {
        let known = group.and_then(|group| group.offsets.get(name.as_str()));
        let of = |index: &i32| known?.get(index)?.durable().map(committed_offset);
        let partitions = indexes.iter().map(|index| (*index, of(index)));
        FetchedTopic {
            partitions: partitions.collect(),
            name,
        }
    });
    fetched.collect()
}

fn fetch_all(group: &Group) -> Vec<FetchedTopic> {
    let mut fetched = Vec::new();
    for (name, slots) in &group.offsets {
        let durable = slots.iter().filter_map(|(index, slot)| {
            let committed = slot.durable()?;
            Some((*index, Some(committed_offset(committed))))
        });
        let partitions: Vec<_> = durable.collect();
        if !partitions.is_empty() {
            let name = name.to_string();
            fetched.push(FetchedTopic { name, partitions });
        }
    }
    fetched
}

fn committed_offset(committed: &Committed) -> CommittedOffset {
    CommittedOffset {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.clone(),
    }
}

/// Takes an OffsetDelete whose group exists; answered when it is durable.
pub(super) fn delete(
    group: &mut Group,
    step: &mut Step<'_>,
    token: Token,
    request: DeleteOffsetsRequest,
) {
    let has_members = match group.state() {
        GroupState::Empty | GroupState::Dead => false,
        GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Stable => {
            true
        }
    };
    if has_members && !group.uses_consumer_protocol() {
        // What such members read is not known, so none of it may be taken from them.
        step.reply(
            token,
            Response::DeleteOffsets(Err(GroupError::NonEmptyGroup)),
        );
        return;
    }
    let mut changes = Vec::new();
    let mut chosen = BTreeSet::new();
    let mut outcomes: Vec<TopicOutcome> = Vec::with_capacity(request.topics.len());
    for (name, indexes) in request.topics {
        let is_subscribed = group.is_subscribed_to(&name);
        let error = is_subscribed.then_some(GroupError::SubscribedToTopic);
        if !is_subscribed && let Some((topic, slots)) = group.offsets.get_key_value(name.as_str()) {
            for index in &indexes {
                let slot = slots.get(index).filter(|slot| slot.newest().is_some());
                if slot.is_some() && chosen.insert((topic.clone(), *index)) {
                    changes.push(offset_tombstone(group, topic, *index));
                }
            }
        }
        let results = indexes.into_iter().map(|index| (index, error));
        outcomes.push((name, results.collect()));
    }
    step.append(group, changes, After::Settled);
    step.reply_when_durable(token, Response::DeleteOffsets(Ok(outcomes)));
}

/// Tombstones for the topic's offsets whose partitions are `chosen`.
pub(super) fn tombstones(group: &Group, topic: &str, chosen: impl Fn(i32) -> bool) -> Vec<Change> {
    let Some((topic, slots)) = group.offsets.get_key_value(topic) else {
        return Vec::new();
    };
    let present = slots
        .iter()
        .filter(|(index, slot)| slot.newest().is_some() && chosen(**index));
    let changes = present.map(|(index, _)| offset_tombstone(group, topic, *index));
    changes.collect()
}

fn offset_tombstone(group: &Group, topic: &Arc<str>, partition: i32) -> Change {
    Change {
        key: offset_key(group, topic, partition),
        value: None,
    }
}
