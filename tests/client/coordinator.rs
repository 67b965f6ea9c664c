//! The coordinator of a group with one member: it gives ids and generations, keeps offsets, and
//! answers heartbeats and commits as the test scripts.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use corelog::protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, StrBytes,
    SyncGroupRequest, SyncGroupResponse, find_coordinator_response, join_group_response,
    offset_commit_response, offset_fetch_response,
};
use corelog::protocol::{self, ApiKey, ErrorCode};

/// What the coordinator knows of its one group.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) generation: i32,
    members_made: u32,
    pub(crate) member: String,
    pub(crate) committed: BTreeMap<i32, i64>,
    /// One per heartbeat to come.
    pub(crate) heartbeats: VecDeque<ErrorCode>,
    /// One per request of any kind to come, before it is looked at.
    pub(crate) refusals: VecDeque<ErrorCode>,
    pub(crate) left: Vec<String>,
}

impl Group {
    /// The body of the answer to a request of a member; `None` if the API is not the group's.
    pub(crate) fn answer(&mut self, api: ApiKey, version: i16, body: Bytes) -> Option<Bytes> {
        match api {
            ApiKey::JoinGroup => Some(self.join(version, body)),
            ApiKey::SyncGroup => Some(self.sync(version, body)),
            ApiKey::Heartbeat => Some(self.heartbeat(version, body)),
            ApiKey::OffsetCommit => Some(self.commit(version, body)),
            ApiKey::OffsetFetch => Some(self.fetch(version, body)),
            ApiKey::LeaveGroup => Some(self.leave(version, body)),
            _ => None,
        }
    }

    /// The error of a member that is not the one of the current generation.
    fn check(&mut self, member: &StrBytes, generation: i32) -> ErrorCode {
        if let Some(refusal) = self.refusals.pop_front() {
            return refusal;
        }
        match (
            member.as_str() == self.member,
            generation == self.generation,
        ) {
            (false, _) => ErrorCode::UnknownMemberId,
            (true, false) => ErrorCode::IllegalGeneration,
            (true, true) => ErrorCode::None,
        }
    }

    fn join(&mut self, version: i16, body: Bytes) -> Bytes {
        let request: JoinGroupRequest = protocol::decode(body, version).unwrap();
        let mut response = JoinGroupResponse::default();
        response.protocol_name = Some(StrBytes::default());
        let member_id = request.member_id.as_str();
        if let Some(refusal) = self.refusals.pop_front() {
            response.error_code = refusal.code();
        } else if member_id.is_empty() {
            self.members_made += 1;
            self.member = format!("member-{}", self.members_made);
            response.member_id = StrBytes::from(self.member.as_str());
            response.error_code = ErrorCode::MemberIdRequired.code();
        } else if member_id != self.member {
            response.error_code = ErrorCode::UnknownMemberId.code();
        } else {
            self.generation += 1;
            response.generation_id = self.generation;
            response.member_id = request.member_id.clone();
            response.leader = request.member_id.clone();
            response.protocol_name = Some(request.protocols[0].name.clone());
            let mut member = join_group_response::JoinGroupResponseMember::default();
            member.member_id = request.member_id.clone();
            member.metadata = request.protocols[0].metadata.clone();
            response.members = vec![member];
        }
        protocol::encode(&response, version).unwrap()
    }

    fn sync(&mut self, version: i16, body: Bytes) -> Bytes {
        let request: SyncGroupRequest = protocol::decode(body, version).unwrap();
        let mut response = SyncGroupResponse::default();
        let error = self.check(&request.member_id, request.generation_id);
        response.error_code = error.code();
        if error.is_none() {
            response.assignment = request.assignments[0].assignment.clone();
        }
        protocol::encode(&response, version).unwrap()
    }

    fn heartbeat(&mut self, version: i16, body: Bytes) -> Bytes {
        let request: HeartbeatRequest = protocol::decode(body, version).unwrap();
        let mut response = HeartbeatResponse::default();
        let scripted = self.heartbeats.pop_front();
        let error =
            scripted.unwrap_or_else(|| self.check(&request.member_id, request.generation_id));
        response.error_code = error.code();
        if error == ErrorCode::UnknownMemberId {
            self.member = String::new();
        }
        protocol::encode(&response, version).unwrap()
    }

    fn commit(&mut self, version: i16, body: Bytes) -> Bytes {
        let request: OffsetCommitRequest = protocol::decode(body, version).unwrap();
        let error = self.check(&request.member_id, request.generation_id_or_member_epoch);
        let mut response = OffsetCommitResponse::default();
        for topic in &request.topics {
            let mut answer = offset_commit_response::OffsetCommitResponseTopic::default();
            answer.name = topic.name.clone();
            for partition in &topic.partitions {
                if error.is_none() {
                    self.committed
                        .insert(partition.partition_index, partition.committed_offset);
                }
                let mut result = offset_commit_response::OffsetCommitResponsePartition::default();
                result.partition_index = partition.partition_index;
                result.error_code = error.code();
                answer.partitions.push(result);
            }
            response.topics.push(answer);
        }
        protocol::encode(&response, version).unwrap()
    }

    fn fetch(&mut self, version: i16, body: Bytes) -> Bytes {
        assert!(version >= 8, "these tests speak the newest version");
        let request: OffsetFetchRequest = protocol::decode(body, version).unwrap();
        let mut group = offset_fetch_response::OffsetFetchResponseGroup::default();
        group.group_id = request.groups[0].group_id.clone();
        if let Some(refusal) = self.refusals.pop_front() {
            group.error_code = refusal.code();
        }
        for topic in request.groups[0].topics.iter().flatten() {
            let mut answer = offset_fetch_response::OffsetFetchResponseTopics::default();
            answer.name = topic.name.clone();
            for index in &topic.partition_indexes {
                let mut found = offset_fetch_response::OffsetFetchResponsePartitions::default();
                found.partition_index = *index;
                found.committed_offset = self.committed.get(index).copied().unwrap_or(-1);
                answer.partitions.push(found);
            }
            group.topics.push(answer);
        }
        let mut response = OffsetFetchResponse::default();
        response.groups = vec![group];
        protocol::encode(&response, version).unwrap()
    }

    fn leave(&mut self, version: i16, body: Bytes) -> Bytes {
        let request: LeaveGroupRequest = protocol::decode(body, version).unwrap();
        self.left.extend(
            request
                .members
                .iter()
                .map(|member| member.member_id.to_string()),
        );
        protocol::encode(&LeaveGroupResponse::default(), version).unwrap()
    }
}

/// The answer that names the broker itself as coordinator.
pub(crate) fn find_coordinator(version: i16, body: Bytes, node: i32, port: u16) -> Bytes {
    assert!(version >= 4, "these tests speak the newest version");
    let request: FindCoordinatorRequest = protocol::decode(body, version).unwrap();
    let mut found = find_coordinator_response::Coordinator::default();
    found.key = request.coordinator_keys[0].clone();
    found.node_id = node;
    found.host = StrBytes::from("127.0.0.1");
    found.port = i32::from(port);
    let mut response = FindCoordinatorResponse::default();
    response.coordinators = vec![found];
    protocol::encode(&response, version).unwrap()
}
