//! Membership of a consumer group: join, agree on who reads what, stay alive, leave.
//!
//! It is the classic protocol with eager rebalances: before joining again a member gives up what
//! it had. The coordinator has a connection of its own, since a fetch may wait on the other.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::io::{self, Instant, blocking};
use crate::model::{TopicName, TopicPartition};
use crate::protocol::messages::consumer_protocol_assignment;
use crate::protocol::messages::join_group_request::JoinGroupRequestProtocol;
use crate::protocol::messages::leave_group_request::MemberIdentity;
use crate::protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use crate::protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, RequestResponsePair, StrBytes, SyncGroupRequest,
};
use crate::protocol::{self, ApiKey, ErrorCode, ProtocolError};

use super::assignor::{Assignor, Subscriptions};
use super::cluster::{Client, topic_name};
use super::connection::{Connection, RETRY_PAUSE};
use super::error::{ClientError, error_code};
use super::groups::{
    CONSUMER_PROTOCOL_TYPE, CommittedOffset, Committer, check_commit, offset_commit_request,
    offset_fetch_request, read_assignment, read_committed,
};
use super::offsets::by_topic;

/// How a consumer takes part in a group.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// The group's id.
    pub group_id: String,
    /// The topics to read.
    pub topics: Vec<TopicName>,
    /// The member's own id, for a member that may come back without a rebalance.
    pub group_instance_id: Option<String>,
    /// Without a sign of life for this long the member is out.
    pub session_timeout: Duration,
    /// How long members may take to join again.
    pub rebalance_timeout: Duration,
    /// How often the member gives a sign of life; it does so within `poll`.
    pub heartbeat_interval: Duration,
    /// How often positions are committed within `poll`; `None` leaves it to `commit`.
    pub auto_commit: Option<Duration>,
}

impl GroupOptions {
    /// Options like those of Kafka's own consumers.
    pub fn new(group_id: &str, topics: Vec<TopicName>) -> GroupOptions {
        GroupOptions {
            group_id: group_id.to_owned(),
            topics,
            group_instance_id: None,
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(300),
            heartbeat_interval: Duration::from_secs(3),
            auto_commit: Some(Duration::from_secs(5)),
        }
    }
}

/// A member of a group, or one that is about to be.
pub(super) struct Membership {
    pub(super) options: GroupOptions,
    coordinator: Option<Connection>,
    member_id: StrBytes,
    generation_id: i32,
    /// Whether the member takes part in the current generation, as far as it knows.
    is_joined: bool,
    heartbeat_at: Instant,
}

/// What JoinGroup and SyncGroup may take beyond the group's own timeout.
const JOIN_SLACK: Duration = Duration::from_secs(10);

impl Membership {
    pub(super) fn new(options: GroupOptions) -> Membership {
        Membership {
            options,
            coordinator: None,
            member_id: StrBytes::default(),
            generation_id: -1,
            is_joined: false,
            heartbeat_at: Instant::default(),
        }
    }

    /// Whether the member takes part in the current generation, after a sign of life if one is
    /// due.
    pub(super) fn is_current(&mut self, client: &mut Client) -> Result<bool, ClientError> {
        let now = io::now();
        if !self.is_joined || now < self.heartbeat_at {
            return Ok(self.is_joined);
        }
        self.heartbeat_at = now + self.options.heartbeat_interval;
        let mut request = HeartbeatRequest::default();
        request.group_id = self.group_id();
        request.generation_id = self.generation_id;
        request.member_id = self.member_id.clone();
        request.group_instance_id = self.instance_id();
        match self.call(client, &request) {
            Ok(response) => self.take_error(ApiKey::Heartbeat, response.error_code)?,
            Err(error) if error.is_retriable() => {}
            Err(error) => return Err(error),
        }
        Ok(self.is_joined)
    }

    /// Takes in what an answer says about the membership. Only what cannot be mended by joining
    /// again is an error.
    fn take_error(&mut self, api: ApiKey, code: i16) -> Result<(), ClientError> {
        match error_code(code) {
            ErrorCode::None => return Ok(()),
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {}
            ErrorCode::UnknownMemberId => self.member_id = StrBytes::default(),
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
                self.coordinator = None;
            }
            ErrorCode::CoordinatorLoadInProgress => blocking::sleep(RETRY_PAUSE),
            _ => return ClientError::check(api, &self.options.group_id, code, None),
        }
        self.is_joined = false;
        Ok(())
    }

    /// Joins, as often as it takes, and returns the partitions that this member is to read.
    pub(super) fn join(&mut self, client: &mut Client) -> Result<Vec<TopicPartition>, ClientError> {
        let deadline = io::now() + self.options.rebalance_timeout + JOIN_SLACK;
        let mut asked_again = false;
        loop {
            match self.join_once(client) {
                // What a static member finds when it comes back may be from before its topics
                // changed. The group agrees anew when it joins as one that is known.
                Ok(Some(assignment)) if !asked_again && !self.is_subscribed_to(&assignment) => {
                    asked_again = true;
                }
                Ok(Some(mut assignment)) => {
                    assignment.retain(|partition| self.options.topics.contains(&partition.topic));
                    return Ok(assignment);
                }
                Ok(None) => {}
                Err(error) if error.is_retriable() && io::now() < deadline => {
                    self.coordinator = None;
                    client.forget_coordinator(&self.options.group_id);
                    blocking::sleep(RETRY_PAUSE);
                }
                Err(error) => return Err(error),
            }
            if io::now() >= deadline {
                let group = &self.options.group_id;
                ClientError::check(
                    ApiKey::JoinGroup,
                    group,
                    ErrorCode::RebalanceInProgress.code(),
                    None,
                )?;
            }
        }
    }

    fn is_subscribed_to(&self, partitions: &[TopicPartition]) -> bool {
        let mut topics = partitions.iter().map(|partition| &partition.topic);
        topics.all(|topic| self.options.topics.contains(topic))
    }

    /// One round of JoinGroup and SyncGroup; `None` if the group asks for another.
    fn join_once(
        &mut self,
        client: &mut Client,
    ) -> Result<Option<Vec<TopicPartition>>, ClientError> {
        let joined = self.call(client, &self.join_request()?)?;
        if error_code(joined.error_code) == ErrorCode::MemberIdRequired {
            self.member_id = joined.member_id.clone();
            return Ok(None);
        }
        if joined.error_code != 0 {
            self.take_error(ApiKey::JoinGroup, joined.error_code)?;
            return Ok(None);
        }
        self.member_id = joined.member_id.clone();
        self.generation_id = joined.generation_id;
        let mut request = SyncGroupRequest::default();
        request.group_id = self.group_id();
        request.generation_id = self.generation_id;
        request.member_id = self.member_id.clone();
        request.group_instance_id = self.instance_id();
        request.protocol_type = Some(StrBytes::from(CONSUMER_PROTOCOL_TYPE));
        request.protocol_name = joined.protocol_name.clone();
        if joined.leader == joined.member_id && !joined.skip_assignment {
            request.assignments = lead(client, &joined)?;
        }
        let synced = self.call(client, &request)?;
        if synced.error_code != 0 {
            self.take_error(ApiKey::SyncGroup, synced.error_code)?;
            return Ok(None);
        }
        self.is_joined = true;
        self.heartbeat_at = io::now() + self.options.heartbeat_interval;
        let assignment = read_assignment(synced.assignment);
        assignment
            .map(Some)
            .map_err(|error| self.misunderstood(error))
    }

    fn join_request(&self) -> Result<JoinGroupRequest, ClientError> {
        let mut subscription = ConsumerProtocolSubscription::default();
        subscription.topics = self
            .options
            .topics
            .iter()
            .map(|name| StrBytes::from(name.as_str()))
            .collect();
        let metadata = protocol::encode_subscription(&subscription)
            .map_err(|error| self.misunderstood(error))?;
        let mut request = JoinGroupRequest::default();
        request.group_id = self.group_id();
        request.session_timeout_ms = self.options.session_timeout.as_millis() as i32;
        request.rebalance_timeout_ms = self.options.rebalance_timeout.as_millis() as i32;
        request.member_id = self.member_id.clone();
        request.group_instance_id = self.instance_id();
        request.protocol_type = StrBytes::from(CONSUMER_PROTOCOL_TYPE);
        let protocols = Assignor::ALL.iter().map(|assignor| {
            let mut protocol = JoinGroupRequestProtocol::default();
            protocol.name = StrBytes::from(assignor.name());
            protocol.metadata = metadata.clone();
            protocol
        });
        request.protocols = protocols.collect();
        Ok(request)
    }

    /// What the group committed for the given partitions.
    pub(super) fn committed(
        &mut self,
        client: &mut Client,
        partitions: &[TopicPartition],
    ) -> Result<Vec<CommittedOffset>, ClientError> {
        let deadline = io::now() + client.options().retry_for;
        loop {
            let connection = self.coordinator(client)?;
            let version = connection.version(ApiKey::OffsetFetch)?;
            let group = self.options.group_id.clone();
            let request = offset_fetch_request(&group, Some(partitions), version);
            let answer = self.call(client, &request);
            match answer.and_then(|response| read_committed(&group, &response)) {
                Err(error) if error.is_retriable() && io::now() < deadline => {
                    self.coordinator = None;
                    client.forget_coordinator(&group);
                    blocking::sleep(RETRY_PAUSE);
                }
                other => return other,
            }
        }
    }

    /// Commits as a member of the current generation.
    pub(super) fn commit(
        &mut self,
        client: &mut Client,
        offsets: &[CommittedOffset],
    ) -> Result<(), ClientError> {
        let committer = Committer {
            generation_id: self.generation_id,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id(),
        };
        let request = offset_commit_request(&self.options.group_id, &committer, offsets);
        let deadline = io::now() + client.options().retry_for;
        loop {
            match self
                .call(client, &request)
                .and_then(|response| check_commit(&response))
            {
                Err(error) if error.is_retriable() && io::now() < deadline => {
                    self.coordinator = None;
                    client.forget_coordinator(&self.options.group_id);
                    blocking::sleep(RETRY_PAUSE);
                }
                other => return other,
            }
        }
    }

    /// Leaves the group, so that the others need not wait for this member's session to end. A
    /// static member stays: it may come back.
    pub(super) fn leave(&mut self, client: &mut Client) -> Result<(), ClientError> {
        if self.member_id.is_empty() || self.options.group_instance_id.is_some() {
            return Ok(());
        }
        let version = self.coordinator(client)?.version(ApiKey::LeaveGroup)?;
        let mut request = LeaveGroupRequest::default();
        request.group_id = self.group_id();
        if version >= 3 {
            let mut member = MemberIdentity::default();
            member.member_id = self.member_id.clone();
            member.group_instance_id = None;
            request.members = vec![member];
        } else {
            request.member_id = self.member_id.clone();
        }
        let response = self.call(client, &request)?;
        self.is_joined = false;
        self.member_id = StrBytes::default();
        ClientError::check(
            ApiKey::LeaveGroup,
            &self.options.group_id,
            response.error_code,
            None,
        )
    }

    /// Sends a request to the coordinator and waits for its answer.
    fn call<R: RequestResponsePair>(
        &mut self,
        client: &mut Client,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let result = self.coordinator(client)?.call(request);
        if result.is_err() {
            self.coordinator = None;
        }
        result
    }

    fn coordinator(&mut self, client: &mut Client) -> Result<&mut Connection, ClientError> {
        if self.coordinator.is_none() {
            client.forget_coordinator(&self.options.group_id);
            let node = client.coordinator(&self.options.group_id)?;
            let mut connection = client.dial(node)?;
            connection.set_timeout(self.options.rebalance_timeout + JOIN_SLACK)?;
            self.coordinator = Some(connection);
        }
        Ok(self
            .coordinator
            .as_mut()
            .expect("a connection was just opened"))
    }

    fn group_id(&self) -> StrBytes {
        StrBytes::from(self.options.group_id.as_str())
    }

    fn instance_id(&self) -> Option<StrBytes> {
        self.options
            .group_instance_id
            .as_deref()
            .map(StrBytes::from)
    }

    fn misunderstood(&self, error: ProtocolError) -> ClientError {
        ClientError::Protocol {
            address: format!("the group {}", self.options.group_id),
            error,
        }
    }
}

/// Shares out the partitions as the leader of a generation.
fn lead(
    client: &mut Client,
    joined: &JoinGroupResponse,
) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
    let chosen = joined.protocol_name.as_deref().unwrap_or_default();
    let assignor = Assignor::ALL
        .into_iter()
        .find(|assignor| assignor.name() == chosen);
    let assignor = assignor.unwrap_or(Assignor::Range);
    let misunderstood = |error| ClientError::Protocol {
        address: "a member of the group".to_owned(),
        error,
    };
    let mut subscriptions = Subscriptions::new();
    for member in &joined.members {
        let subscription =
            protocol::decode_subscription(member.metadata.clone()).map_err(misunderstood)?;
        let topics = subscription
            .topics
            .iter()
            .filter_map(|name| topic_name(name).ok());
        subscriptions.insert(member.member_id.to_string(), topics.collect());
    }
    let mut partition_counts = BTreeMap::new();
    for topic in subscriptions.values().flatten() {
        if partition_counts.contains_key(topic) {
            continue;
        }
        match client.topic(topic) {
            Ok(found) => {
                partition_counts.insert(topic.clone(), found.partitions.len() as i32);
            }
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
            Err(error) => return Err(error),
        }
    }
    let assignments = assignor.assign(&subscriptions, &partition_counts);
    let encoded = assignments.into_iter().map(|(member, partitions)| {
        let mut assignment = SyncGroupRequestAssignment::default();
        assignment.member_id = StrBytes::from(member.as_str());
        assignment.assignment =
            protocol::encode_assignment(&assignment_of(partitions)).map_err(misunderstood)?;
        Ok(assignment)
    });
    encoded.collect()
}

fn assignment_of(partitions: Vec<TopicPartition>) -> ConsumerProtocolAssignment {
    let mut assignment = ConsumerProtocolAssignment::default();
    for (name, indexes) in by_topic(partitions.into_iter().map(|p| (p, ()))) {
        let mut topic = consumer_protocol_assignment::TopicPartition::default();
        topic.topic = StrBytes::from(name.as_str());
        topic.partitions = indexes.into_iter().map(|(index, ())| index).collect();
        assignment.assigned_partitions.push(topic);
    }
    assignment
}
