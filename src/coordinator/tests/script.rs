//! The words in which scenarios are told; each asks and expects the answer at once, or that there
//! is none yet.

use bytes::Bytes;

use super::world::{World, commit_request, join_request};
use crate::coordinator::*;

impl World {
    /// Sends a JoinGroup.
    pub(super) fn join(&mut self, request: JoinRequest) -> Token {
        self.ask(Request::Join(request))
    }

    pub(super) fn joined(&mut self, token: Token) -> JoinResponse {
        match self.answer(token) {
            Some(Response::Join(response)) => response,
            other => panic!("a join's answer, not {other:?}"),
        }
    }

    pub(super) fn join_refused(&mut self, request: JoinRequest, error: GroupError) -> String {
        let token = self.join(request);
        let response = self.joined(token);
        assert_eq!(response.error, Some(error));
        assert_eq!((response.generation, response.leader.as_str()), (-1, ""));
        response.member_id
    }

    /// Gets a member id as clients from version 4 on do.
    pub(super) fn member_id(&mut self, group_id: &str) -> String {
        let mut request = join_request(group_id, "");
        request.fresh_uuid[15] = self.next_member();
        self.join_refused(request, GroupError::MemberIdRequired)
    }

    pub(super) fn sync(
        &mut self,
        group_id: &str,
        member_id: &str,
        generation: i32,
        assignments: &[(&str, &str)],
    ) -> Token {
        let given = assignments.iter();
        self.ask(Request::Sync(SyncRequest {
            group_id: group_id.to_owned(),
            generation,
            member_id: member_id.to_owned(),
            group_instance_id: None,
            protocol_type: None,
            protocol_name: None,
            assignments: given
                .map(|(id, bytes)| (id.to_string(), Bytes::copy_from_slice(bytes.as_bytes())))
                .collect(),
        }))
    }

    pub(super) fn synced(&mut self, token: Token) -> SyncResponse {
        match self.answer(token) {
            Some(Response::Sync(response)) => response,
            other => panic!("a sync's answer, not {other:?}"),
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        group_id: &str,
        member_id: &str,
        generation: i32,
    ) -> Result<(), GroupError> {
        let token = self.ask(Request::Heartbeat(HeartbeatRequest {
            group_id: group_id.to_owned(),
            generation,
            member_id: member_id.to_owned(),
            group_instance_id: None,
        }));
        match self.answer(token) {
            Some(Response::Heartbeat(result)) => result,
            other => panic!("a heartbeat's answer, not {other:?}"),
        }
    }

    pub(super) fn leave(
        &mut self,
        group_id: &str,
        members: &[(&str, Option<&str>)],
    ) -> Vec<Option<GroupError>> {
        let leaving = members.iter().map(|(member_id, instance)| LeavingMember {
            member_id: member_id.to_string(),
            group_instance_id: instance.map(str::to_owned),
        });
        let token = self.ask(Request::Leave(LeaveRequest {
            group_id: group_id.to_owned(),
            members: leaving.collect(),
        }));
        match self.answer(token) {
            Some(Response::Leave(Ok(left))) => left.into_iter().map(|one| one.error).collect(),
            other => panic!("a leave's answer, not {other:?}"),
        }
    }

    pub(super) fn commit(&mut self, request: CommitRequest) -> Vec<Option<GroupError>> {
        let token = self.ask(Request::Commit(request));
        self.committed(token)
    }

    pub(super) fn committed(&mut self, token: Token) -> Vec<Option<GroupError>> {
        match self.answer(token) {
            Some(Response::Commit(topics)) => {
                let partitions = topics.into_iter().flat_map(|(_, partitions)| partitions);
                partitions.map(|(_, error)| error).collect()
            }
            other => panic!("a commit's answer, not {other:?}"),
        }
    }

    /// Commits as a consumer that is in no group.
    pub(super) fn commit_simply(&mut self, group_id: &str, topic: &str, offsets: &[(i32, i64)]) {
        let results = self.commit(commit_request(group_id, "", -1, topic, offsets));
        assert!(results.iter().all(|error| error.is_none()), "{results:?}");
    }

    /// All of a group's offsets, as "topic-partition@offset".
    pub(super) fn offsets(&mut self, group_id: &str) -> Vec<String> {
        let group_id = group_id.to_owned();
        let request = FetchRequest {
            group_id,
            topics: None,
        };
        let token = self.ask(Request::Fetch(request));
        let Some(Response::Fetch(Ok(topics))) = self.answer(token) else {
            panic!("a fetch's answer");
        };
        let mut shown = Vec::new();
        for topic in topics {
            for (index, committed) in topic.partitions {
                let offset = committed.expect("only those that exist").offset;
                shown.push(format!("{}-{index}@{offset}", topic.name));
            }
        }
        shown
    }

    pub(super) fn describe(&mut self, group_id: &str) -> Result<DescribedGroup, GroupError> {
        let group_id = group_id.to_owned();
        let token = self.ask(Request::Describe(DescribeRequest { group_id }));
        match self.answer(token) {
            Some(Response::Describe(result)) => result,
            other => panic!("a description, not {other:?}"),
        }
    }

    pub(super) fn state(&mut self, group_id: &str) -> GroupState {
        self.describe(group_id)
            .map_or(GroupState::Dead, |group| group.state)
    }

    pub(super) fn delete_group(&mut self, group_id: &str) -> Result<(), GroupError> {
        let group_id = group_id.to_owned();
        let token = self.ask(Request::DeleteGroup(DeleteGroupRequest { group_id }));
        match self.answer(token) {
            Some(Response::DeleteGroup(result)) => result,
            other => panic!("a deletion's answer, not {other:?}"),
        }
    }

    /// A stable group of dynamic members; the ids, the leader's first, and the generation.
    pub(super) fn stable(&mut self, group_id: &str, count: usize) -> (Vec<String>, i32) {
        let ids: Vec<String> = (0..count).map(|_| self.member_id(group_id)).collect();
        let tokens: Vec<Token> = ids
            .iter()
            .map(|id| self.join(join_request(group_id, id)))
            .collect();
        self.pass(3000 * count as i64 + 3000);
        let joins: Vec<JoinResponse> = tokens.into_iter().map(|token| self.joined(token)).collect();
        let generation = joins[0].generation;
        let leader = joins[0].leader.clone();
        self.sync_all(group_id, &ids, &leader, generation);
        let mut ids = ids;
        ids.sort_by_key(|id| *id != leader);
        (ids, generation)
    }

    /// Everyone syncs; the leader assigns each member its own id.
    pub(super) fn sync_all(
        &mut self,
        group_id: &str,
        ids: &[String],
        leader: &str,
        generation: i32,
    ) {
        let assignments: Vec<(&str, &str)> =
            ids.iter().map(|id| (id.as_str(), id.as_str())).collect();
        let mut tokens = Vec::new();
        for id in ids {
            let given = if id == leader {
                assignments.as_slice()
            } else {
                &[]
            };
            tokens.push((id, self.sync(group_id, id, generation, given)));
        }
        for (id, token) in tokens {
            let response = self.synced(token);
            assert_eq!(response.error, None);
            assert_eq!(response.assignment, id.as_bytes());
        }
        assert_eq!(self.state(group_id), GroupState::Stable);
    }
}
