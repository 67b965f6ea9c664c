//! One group: its members, its generation, its state; no timers, no replies, no records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::event::Token;
use super::record::{Committed, StoredGroup, StoredMember};
use super::request::{GroupError, JoinedMember};
use super::slot::Slot;
use super::subscription;
use crate::model::Timestamp;

/// The protocol type whose metadata is looked into, for the topics of its subscriptions.
const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Where a group is in the classic protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Members are asked to join the next generation.
    PreparingRebalance,
    /// The generation is set; the leader's assignment is awaited.
    CompletingRebalance,
    /// Every member may have its assignment.
    Stable,
    /// There is no such group.
    Dead,
}

impl GroupState {
    /// Kafka's name of the state.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }

    /// Whether `next` may follow.
    fn leads_to(self, next: GroupState) -> bool {
        match next {
            GroupState::Empty | GroupState::CompletingRebalance => {
                self == GroupState::PreparingRebalance
            }
            GroupState::PreparingRebalance => matches!(
                self,
                GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable
            ),
            GroupState::Stable => self == GroupState::CompletingRebalance,
            GroupState::Dead => true,
        }
    }
}

/// A member of a group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// Name and metadata, the preferred first; names are unique.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// The JoinGroup that waits for the end of the join phase.
    joining: Option<Token>,
    /// The SyncGroup that waits for the leader's.
    pub(super) syncing: Option<Token>,
    /// Has not been in a generation yet, so it knows no id to send heartbeats with.
    pub(super) is_new: bool,
}

impl Member {
    pub(super) fn is_joining(&self) -> bool {
        self.joining.is_some()
    }

    /// Whether the member's JoinGroup with this token still waits.
    pub(super) fn joins_with(&self, token: Token) -> bool {
        self.joining == Some(token)
    }

    /// Whether waiting for the broker stands for a sign of life.
    pub(super) fn is_parked(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata)
    }

    fn vote(&self, candidates: &BTreeSet<&str>) -> Option<&str> {
        let mut names = self.protocols.iter().map(|(name, _)| name.as_str());
        names.find(|name| candidates.contains(name))
    }
}

/// What a joining member brings.
#[derive(Clone, Debug)]
pub(super) struct NewMember {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocols: Vec<(String, Bytes)>,
}

/// A group.
///
/// Invariants: `joining_count` members wait for a join; `static_members` names exactly the
/// members that have an instance id; the leader is a member, and there is one if there is any
/// member; an empty group has no members.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) id: Arc<str>,
    state: GroupState,
    pub(super) previous_state: GroupState,
    /// When the group came to its state; unknown where an old record does not say.
    pub(super) state_since: Option<Timestamp>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol_name: Option<String>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// How many members support each protocol.
    protocol_counts: BTreeMap<String, usize>,
    joining_count: usize,
    /// Ids that were given out and have not been used to join.
    pub(super) pending_joins: BTreeSet<Arc<str>>,
    /// Members of the generation that have not sent SyncGroup.
    pub(super) pending_syncs: BTreeSet<Arc<str>>,
    /// Whether the leader's assignment for this generation is on its way to the log.
    pub(super) is_assigning: bool,
    /// Whether a member came during the delay of a new group's first rebalance.
    pub(super) member_arrived: bool,
    /// What the members subscribe to, where that is known.
    subscribed_topics: Option<BTreeSet<String>>,
    /// The group's record.
    pub(super) record: Slot<Bytes>,
    /// The group's committed offsets.
    pub(super) offsets: BTreeMap<Arc<str>, BTreeMap<i32, Slot<Committed>>>,
}

impl Group {
    pub(super) fn new(id: Arc<str>, now: Timestamp) -> Group {
        Group {
            id,
            state: GroupState::Empty,
            previous_state: GroupState::Empty,
            state_since: Some(now),
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            protocol_counts: BTreeMap::new(),
            joining_count: 0,
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            is_assigning: false,
            member_arrived: false,
            subscribed_topics: None,
            record: Slot::default(),
            offsets: BTreeMap::new(),
        }
    }

    pub(super) fn state(&self) -> GroupState {
        self.state
    }

    pub(super) fn transition(&mut self, next: GroupState, now: Timestamp) {
        assert!(
            self.state.leads_to(next),
            "{:?} does not lead to {next:?}",
            self.state
        );
        self.previous_state = self.state;
        self.state = next;
        self.state_since = Some(now);
    }

    pub(super) fn can_rebalance(&self) -> bool {
        self.state.leads_to(GroupState::PreparingRebalance)
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(super) fn static_member(&self, instance_id: &str) -> Option<&Arc<str>> {
        self.static_members.get(instance_id)
    }

    /// Whether nothing would be lost by forgetting the group.
    pub(super) fn is_blank(&self) -> bool {
        self.state == GroupState::Empty
            && self.pending_joins.is_empty()
            && self.offsets.is_empty()
            && self.record.is_blank()
    }

    /// The invariants that stand above, checked; for tests.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        let joining = self
            .members
            .values()
            .filter(|member| member.is_joining())
            .count();
        assert_eq!(self.joining_count, joining);
        let statics = self
            .members
            .values()
            .filter(|member| member.instance_id.is_some());
        assert_eq!(self.static_members.len(), statics.clone().count());
        for member in statics {
            let instance_id = member.instance_id.as_ref().expect("filtered above");
            assert_eq!(self.static_members.get(instance_id), Some(&member.id));
        }
        assert_eq!(self.leader.is_some(), !self.members.is_empty());
        assert!(
            self.leader
                .iter()
                .all(|leader| self.members.contains_key(leader))
        );
        assert!(self.state != GroupState::Empty || self.members.is_empty());
        assert!(
            self.pending_joins
                .iter()
                .all(|id| !self.members.contains_key(id))
        );
        assert!(
            self.pending_syncs
                .iter()
                .all(|id| self.members.contains_key(id))
        );
        let supported: usize = self
            .members
            .values()
            .map(|member| member.protocols.len())
            .sum();
        assert_eq!(self.protocol_counts.values().sum::<usize>(), supported);
    }

    /// Whether the member is who it says it is.
    pub(super) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(GroupError::UnknownMember),
                Some(known) if known.as_ref() != member_id => {
                    return Err(GroupError::FencedInstance);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(GroupError::UnknownMember)
        }
    }

    /// Adds a member; the first one sets the protocol type and is the leader.
    pub(super) fn add(
        &mut self,
        new: NewMember,
        protocol_type: &str,
        joining: Option<Token>,
        is_new: bool,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        if self.leader.is_none() {
            self.leader = Some(new.id.clone());
        }
        if let Some(instance_id) = &new.instance_id {
            let before = self
                .static_members
                .insert(instance_id.clone(), new.id.clone());
            assert!(before.is_none(), "an instance has one member");
        }
        self.count_protocols(&new.protocols, 1);
        self.joining_count += usize::from(joining.is_some());
        self.pending_joins.remove(&new.id);
        let member = Member {
            id: new.id.clone(),
            instance_id: new.instance_id,
            client_id: new.client_id,
            client_host: new.client_host,
            rebalance_timeout_ms: new.rebalance_timeout_ms,
            session_timeout_ms: new.session_timeout_ms,
            protocols: new.protocols,
            assignment: Bytes::new(),
            joining,
            syncing: None,
            is_new,
        };
        let before = self.members.insert(new.id, member);
        assert!(before.is_none(), "a member is added once");
    }

    /// Removes a member or a pending id; the member's waiting requests come with it.
    pub(super) fn remove(&mut self, member_id: &str) -> Option<Removed> {
        self.pending_joins.remove(member_id);
        self.pending_syncs.remove(member_id);
        let member = self.members.remove(member_id)?;
        self.count_protocols(&member.protocols, -1);
        self.joining_count -= usize::from(member.joining.is_some());
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(Removed {
            joining: member.joining,
            syncing: member.syncing,
        })
    }

    /// Gives a static member's place to a new member id. Its waiting requests are of the fenced
    /// instance.
    pub(super) fn replace_static(&mut self, old_id: &str, new_id: &Arc<str>) -> Removed {
        let mut member = self
            .members
            .remove(old_id)
            .expect("the static member exists");
        let waiting = Removed {
            joining: member.joining.take(),
            syncing: member.syncing.take(),
        };
        self.joining_count -= usize::from(waiting.joining.is_some());
        let instance_id = member
            .instance_id
            .clone()
            .expect("a static member has an instance");
        self.static_members.insert(instance_id, new_id.clone());
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if self.pending_syncs.remove(old_id) {
            self.pending_syncs.insert(new_id.clone());
        }
        member.id = new_id.clone();
        member.is_new = false;
        self.members.insert(new_id.clone(), member);
        waiting
    }

    /// Takes a known member's new JoinGroup. Returns an older one that was still waiting.
    pub(super) fn update(
        &mut self,
        member_id: &str,
        protocols: Vec<(String, Bytes)>,
        rebalance_timeout_ms: i32,
        session_timeout_ms: i32,
        joining: Token,
    ) -> Option<Token> {
        self.count_protocols(&protocols, 1);
        let member = self.members.get_mut(member_id).expect("a known member");
        let old = std::mem::replace(&mut member.protocols, protocols);
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        member.session_timeout_ms = session_timeout_ms;
        let waiting = member.joining.replace(joining);
        self.joining_count += usize::from(waiting.is_none());
        self.count_protocols(&old, -1);
        waiting
    }

    /// Takes a member's waiting JoinGroup, to answer it.
    pub(super) fn take_joining(&mut self, member_id: &str) -> Option<Token> {
        let token = self.members.get_mut(member_id)?.joining.take();
        self.joining_count -= usize::from(token.is_some());
        token
    }

    fn count_protocols(&mut self, protocols: &[(String, Bytes)], change: isize) {
        for (name, _) in protocols {
            let count = self.protocol_counts.entry(name.clone()).or_default();
            *count = count.checked_add_signed(change).expect("counts of members");
            if *count == 0 {
                self.protocol_counts.remove(name);
            }
        }
    }

    pub(super) fn joining_count(&self) -> usize {
        self.joining_count
    }

    pub(super) fn has_all_joined(&self) -> bool {
        self.members.len() == self.joining_count && self.pending_joins.is_empty()
    }

    /// The longest time that any member needs to join again.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        let timeouts = self
            .members
            .values()
            .map(|member| member.rebalance_timeout_ms);
        i64::from(timeouts.max().unwrap_or(0).max(0))
    }

    /// Whether a member with these protocols has something in common with everyone.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let known = |name: &String| self.protocol_counts.get(name).copied().unwrap_or(0);
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|(name, _)| known(name) == self.members.len())
    }

    /// The protocol that everyone supports and most prefer; of equals the first by name.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let shared = self
            .protocol_counts
            .iter()
            .filter(|(_, count)| **count == self.members.len());
        let candidates: BTreeSet<&str> = shared.map(|(name, _)| name.as_str()).collect();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member.vote(&candidates) {
                *votes.entry(choice).or_default() += 1;
            }
        }
        let mut best: Option<(&str, usize)> = None;
        for (name, count) in votes {
            if best.is_none_or(|(_, most)| count > most) {
                best = Some((name, count));
            }
        }
        best.map(|(name, _)| name.to_owned())
    }

    /// Keeps the leader if it has joined, else elects one that has; false if nobody has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else {
            return false;
        };
        if self.members[leader].is_joining() {
            return true;
        }
        let joined = self.members.values().find(|member| member.is_joining());
        match joined.map(|member| member.id.clone()) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    /// Starts the next generation with the members that are left.
    pub(super) fn next_generation(&mut self, now: Timestamp) {
        // Kafka's generations are Java ints; beyond the last one they start over.
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.pending_syncs.clear();
        self.is_assigning = false;
        if self.members.is_empty() {
            self.leader = None;
            self.protocol_name = None;
            self.learn_subscriptions();
            self.transition(GroupState::Empty, now);
        } else {
            let chosen = self
                .select_protocol()
                .expect("members have a protocol in common");
            self.protocol_name = Some(chosen);
            self.learn_subscriptions();
            self.transition(GroupState::CompletingRebalance, now);
        }
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Whether subscriptions are known; they are not where a member's metadata is foreign.
    pub(super) fn knows_subscriptions(&self) -> bool {
        self.subscribed_topics.is_some()
    }

    /// Whether a member reads the topic; where it is not known, a consumer may.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    fn learn_subscriptions(&mut self) {
        self.subscribed_topics = self.parse_subscriptions();
    }

    fn parse_subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription::topics(member.metadata(protocol)?)?);
        }
        Some(topics)
    }

    /// Everyone with their metadata, as the leader is told.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        let joined = self.members.values().map(|member| JoinedMember {
            member_id: member.id.to_string(),
            group_instance_id: member.instance_id.as_deref().map(str::to_owned),
            metadata: member.metadata(protocol).cloned().unwrap_or_default(),
        });
        joined.collect()
    }

    /// The group as it is stored; `assignment` gives each member's.
    pub(super) fn to_stored(&self, assignment: impl Fn(&Member) -> Bytes) -> StoredGroup {
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        let members = self.members.values().map(|member| StoredMember {
            member_id: member.id.to_string(),
            group_instance_id: member.instance_id.as_deref().map(str::to_owned),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            metadata: member.metadata(protocol).cloned().unwrap_or_default(),
            assignment: assignment(member),
        });
        StoredGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.as_deref().map(str::to_owned),
            state_since: self.state_since,
            members: members.collect(),
        }
    }

    /// Becomes a group that never had members; offsets and record stay.
    pub(super) fn forget_members(&mut self) {
        let fresh = Group::new(self.id.clone(), Timestamp::NONE);
        let old = std::mem::replace(self, fresh);
        self.record = old.record;
        self.offsets = old.offsets;
    }

    /// Becomes what a record says, as a replay does; offsets and record stay.
    pub(super) fn restore(&mut self, stored: StoredGroup) {
        self.forget_members();
        self.state_since = stored.state_since;
        self.generation = stored.generation;
        let protocol = stored.protocol_name.clone().unwrap_or_default();
        for member in stored.members {
            let new = NewMember {
                id: member.member_id.as_str().into(),
                instance_id: member.group_instance_id.map(Arc::from),
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                protocols: vec![(protocol.clone(), member.metadata)],
            };
            let id = new.id.clone();
            // A record that names a member or an instance twice is not ours; the first counts.
            let instance = new.instance_id.as_deref();
            let known = instance.is_some_and(|instance| self.static_members.contains_key(instance));
            if known || self.members.contains_key(&id) {
                continue;
            }
            self.add(new, &stored.protocol_type, None, false);
            self.members.get_mut(&id).expect("just added").assignment = member.assignment;
        }
        self.protocol_type = Some(stored.protocol_type).filter(|name| !name.is_empty());
        self.protocol_name = stored.protocol_name;
        if !self.members.is_empty() {
            self.state = GroupState::Stable;
            self.previous_state = GroupState::CompletingRebalance;
            let leader = stored
                .leader
                .and_then(|id| self.members.get_key_value(id.as_str()));
            if let Some((id, _)) = leader {
                self.leader = Some(id.clone());
            }
        }
        self.learn_subscriptions();
    }
}

/// What a removed member was waiting for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removed {
    pub(super) joining: Option<Token>,
    pub(super) syncing: Option<Token>,
}
