//! Consumer groups seen from outside: list, describe, delete; their committed offsets.

use bytes::Bytes;

use crate::model::{LeaderEpoch, NodeId, Offset, TopicPartition};
use crate::protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use crate::protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use crate::protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, OffsetFetchRequest, OffsetFetchResponse, StrBytes,
};
use crate::protocol::{self, ApiKey, ErrorCode};

use super::cluster::{Client, Target, topic_name};
use super::error::{ClientError, error_code};
use super::offsets::by_topic;

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group_id: String,
    /// What it is for: `consumer` for consumers.
    pub protocol_type: String,
    /// Its state, as `Stable` or `Empty`; empty if the broker is too old to tell.
    pub state: String,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group_id: String,
    /// Its state, as `Stable` or `Empty`.
    pub state: String,
    /// What it is for: `consumer` for consumers.
    pub protocol_type: String,
    /// How partitions are assigned: the assignor's name.
    pub protocol: String,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// The id that the coordinator gave it.
    pub member_id: String,
    /// The id that it gave itself, if it is a static member.
    pub group_instance_id: Option<String>,
    /// The client id of its connection.
    pub client_id: String,
    /// Where it connected from.
    pub host: String,
    /// The partitions assigned to it; none if the group is not one of consumers.
    pub assignment: Vec<TopicPartition>,
}

/// What a group committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The epoch of the record before, or -1.
    pub leader_epoch: LeaderEpoch,
    /// What the group noted with it.
    pub metadata: Option<String>,
}

impl CommittedOffset {
    /// An offset without epoch and note.
    pub fn new(partition: TopicPartition, offset: Offset) -> CommittedOffset {
        CommittedOffset {
            partition,
            offset,
            leader_epoch: LeaderEpoch(-1),
            metadata: None,
        }
    }
}

/// Who commits: nobody, for a group without members, or a member of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committer {
    pub(super) generation_id: i32,
    pub(super) member_id: StrBytes,
    pub(super) group_instance_id: Option<StrBytes>,
}

impl Committer {
    const NOBODY: fn() -> Committer = || Committer {
        generation_id: -1,
        member_id: StrBytes::default(),
        group_instance_id: None,
    };
}

impl Client {
    /// All groups of all brokers, sorted by id.
    pub fn list_groups(&mut self) -> Result<Vec<GroupListing>, ClientError> {
        let nodes: Vec<NodeId> = self.cluster().nodes.iter().map(|node| node.id).collect();
        let mut groups = Vec::new();
        for node in nodes {
            let listed = self.retry(|client| {
                let request = ListGroupsRequest::default();
                let response = client.call(Target::Node(node), &request)?;
                let subject = format!("node {}", node.0);
                ClientError::check(ApiKey::ListGroups, subject, response.error_code, None)?;
                Ok(response.groups)
            })?;
            groups.extend(listed.iter().map(|group| GroupListing {
                group_id: group.group_id.to_string(),
                protocol_type: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
                coordinator: node,
            }));
        }
        groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        Ok(groups)
    }

    /// One group. One that does not exist is GROUP_ID_NOT_FOUND, also of brokers too old to say
    /// so, which describe it as dead.
    pub fn describe_group(&mut self, group: &str) -> Result<GroupDescription, ClientError> {
        let mut request = DescribeGroupsRequest::default();
        request.groups.push(StrBytes::from(group));
        self.retry(|client| {
            let coordinator = client.coordinator(group)?;
            let response = client.call(Target::Coordinator(group), &request)?;
            let not_found = ErrorCode::GroupIdNotFound.code();
            let described = response.groups.first();
            let code = match described {
                Some(described) if described.error_code != 0 => described.error_code,
                Some(described) if described.group_state.as_str() == "Dead" => not_found,
                Some(_) => 0,
                None => not_found,
            };
            let message = described.and_then(|described| described.error_message.as_deref());
            ClientError::check(ApiKey::DescribeGroups, group, code, message)?;
            let described = described.expect("a group without error was described");
            Ok(read_group(described, coordinator))
        })
    }

    /// Deletes a group without members, and its offsets.
    pub fn delete_group(&mut self, group: &str) -> Result<(), ClientError> {
        let mut request = DeleteGroupsRequest::default();
        request.groups_names.push(StrBytes::from(group));
        self.retry(|client| {
            let response = client.call(Target::Coordinator(group), &request)?;
            for result in &response.results {
                let message = result.error_message.as_deref();
                ClientError::check(ApiKey::DeleteGroups, group, result.error_code, message)?;
            }
            Ok(())
        })
    }

    /// What a group committed: for the given partitions, or for all.
    pub fn committed_offsets(
        &mut self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Vec<CommittedOffset>, ClientError> {
        self.retry(|client| {
            let connection = client.connection(Target::Coordinator(group))?;
            let version = connection.version(ApiKey::OffsetFetch)?;
            let request = offset_fetch_request(group, partitions, version);
            let result = connection.call_version(&request, version);
            let response = client.settle(Target::Coordinator(group), result)?;
            read_committed(group, &response)
        })
    }

    /// Commits offsets for a group without members.
    pub fn commit_offsets(
        &mut self,
        group: &str,
        offsets: &[CommittedOffset],
    ) -> Result<(), ClientError> {
        let request = offset_commit_request(group, &Committer::NOBODY(), offsets);
        self.retry(|client| {
            let target = Target::Coordinator(group);
            let connection = client.connection(target)?;
            let version = connection.version(ApiKey::OffsetCommit)?;
            let result = connection.call_version(&request, version);
            let response = client.settle(target, result)?;
            check_commit(&response)
        })
    }

    /// Deletes what a group committed for partitions of topics that it does not consume.
    pub fn delete_offsets(
        &mut self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<(), ClientError> {
        let mut request = OffsetDeleteRequest::default();
        request.group_id = StrBytes::from(group);
        for (name, indexes) in by_topic(partitions.iter().map(|p| (p.clone(), ()))) {
            let mut topic = OffsetDeleteRequestTopic::default();
            topic.name = StrBytes::from(name.as_str());
            for (index, ()) in indexes {
                let mut partition = OffsetDeleteRequestPartition::default();
                partition.partition_index = index;
                topic.partitions.push(partition);
            }
            request.topics.push(topic);
        }
        self.retry(|client| {
            let response = client.call(Target::Coordinator(group), &request)?;
            ClientError::check(ApiKey::OffsetDelete, group, response.error_code, None)?;
            for topic in &response.topics {
                for result in &topic.partitions {
                    let subject = format!("{}-{}", topic.name, result.partition_index);
                    ClientError::check(ApiKey::OffsetDelete, subject, result.error_code, None)?;
                }
            }
            Ok(())
        })
    }
}

fn read_group(group: &DescribedGroup, coordinator: NodeId) -> GroupDescription {
    let is_consumer = group.protocol_type.as_str() == CONSUMER_PROTOCOL_TYPE;
    GroupDescription {
        group_id: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        protocol: group.protocol_data.to_string(),
        coordinator,
        members: group
            .members
            .iter()
            .map(|member| read_member(member, is_consumer))
            .collect(),
    }
}

/// The protocol type of groups of consumers.
pub(super) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

fn read_member(member: &DescribedGroupMember, is_consumer: bool) -> MemberDescription {
    let assignment = match is_consumer {
        true => read_assignment(member.member_assignment.clone()).unwrap_or_default(),
        false => Vec::new(),
    };
    MemberDescription {
        member_id: member.member_id.to_string(),
        group_instance_id: member.group_instance_id.as_ref().map(StrBytes::to_string),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assignment,
    }
}

/// The partitions of an encoded assignment; none of an empty one, which a member has while the
/// group rebalances.
pub(super) fn read_assignment(
    assignment: Bytes,
) -> Result<Vec<TopicPartition>, protocol::ProtocolError> {
    if assignment.is_empty() {
        return Ok(Vec::new());
    }
    let assignment = protocol::decode_assignment(assignment)?;
    let mut partitions = Vec::new();
    for topic in &assignment.assigned_partitions {
        let Ok(name) = topic_name(&topic.topic) else {
            continue;
        };
        partitions.extend(topic.partitions.iter().map(|&index| TopicPartition {
            topic: name.clone(),
            index,
        }));
    }
    partitions.sort();
    Ok(partitions)
}

pub(super) fn offset_fetch_request(
    group: &str,
    partitions: Option<&[TopicPartition]>,
    version: i16,
) -> OffsetFetchRequest {
    let topics = partitions.map(|partitions| by_topic(partitions.iter().map(|p| (p.clone(), ()))));
    let indexes = |indexes: Vec<(i32, ())>| indexes.into_iter().map(|(index, ())| index).collect();
    let mut request = OffsetFetchRequest::default();
    if version >= 8 {
        let mut wanted = OffsetFetchRequestGroup::default();
        wanted.group_id = StrBytes::from(group);
        wanted.topics = topics.map(|topics| {
            let topics = topics.into_iter().map(|(name, partitions)| {
                let mut topic = OffsetFetchRequestTopics::default();
                topic.name = StrBytes::from(name.as_str());
                topic.partition_indexes = indexes(partitions);
                topic
            });
            topics.collect()
        });
        request.groups = vec![wanted];
    } else {
        request.group_id = StrBytes::from(group);
        request.topics = topics.map(|topics| {
            let topics = topics.into_iter().map(|(name, partitions)| {
                let mut topic = OffsetFetchRequestTopic::default();
                topic.name = StrBytes::from(name.as_str());
                topic.partition_indexes = indexes(partitions);
                topic
            });
            topics.collect()
        });
    }
    request
}

/// The committed offsets of an answer; partitions without one are left out.
pub(super) fn read_committed(
    group: &str,
    response: &OffsetFetchResponse,
) -> Result<Vec<CommittedOffset>, ClientError> {
    ClientError::check(ApiKey::OffsetFetch, group, response.error_code, None)?;
    let mut offsets = Vec::new();
    let mut take = |name: &str, index, offset, epoch, metadata: &Option<StrBytes>, code| {
        let partition = TopicPartition {
            topic: topic_name(name)?,
            index,
        };
        ClientError::check(ApiKey::OffsetFetch, &partition, code, None)?;
        if offset >= 0 {
            offsets.push(CommittedOffset {
                partition,
                offset: Offset(offset),
                leader_epoch: LeaderEpoch(epoch),
                metadata: metadata.as_ref().map(StrBytes::to_string),
            });
        }
        Ok::<(), ClientError>(())
    };
    for topic in &response.topics {
        for p in &topic.partitions {
            let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
            take(
                &topic.name,
                p.partition_index,
                offset,
                epoch,
                &p.metadata,
                p.error_code,
            )?;
        }
    }
    for found in &response.groups {
        ClientError::check(ApiKey::OffsetFetch, group, found.error_code, None)?;
        for topic in &found.topics {
            for p in &topic.partitions {
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                take(
                    &topic.name,
                    p.partition_index,
                    offset,
                    epoch,
                    &p.metadata,
                    p.error_code,
                )?;
            }
        }
    }
    Ok(offsets)
}

pub(super) fn offset_commit_request(
    group: &str,
    committer: &Committer,
    offsets: &[CommittedOffset],
) -> OffsetCommitRequest {
    let mut request = OffsetCommitRequest::default();
    request.group_id = StrBytes::from(group);
    request.generation_id_or_member_epoch = committer.generation_id;
    request.member_id = committer.member_id.clone();
    request.group_instance_id = committer.group_instance_id.clone();
    for (name, partitions) in by_topic(offsets.iter().map(|o| (o.partition.clone(), o))) {
        let mut topic = OffsetCommitRequestTopic::default();
        topic.name = StrBytes::from(name.as_str());
        for (index, committed) in partitions {
            let mut partition = OffsetCommitRequestPartition::default();
            partition.partition_index = index;
            partition.committed_offset = committed.offset.0;
            partition.committed_leader_epoch = committed.leader_epoch.0;
            partition.committed_metadata = committed.metadata.as_deref().map(StrBytes::from);
            topic.partitions.push(partition);
        }
        request.topics.push(topic);
    }
    request
}

pub(super) fn check_commit(response: &OffsetCommitResponse) -> Result<(), ClientError> {
    for topic in &response.topics {
        for partition in &topic.partitions {
            if error_code(partition.error_code) != ErrorCode::None {
                let subject = format!("{}-{}", topic.name, partition.partition_index);
                ClientError::check(ApiKey::OffsetCommit, subject, partition.error_code, None)?;
            }
        }
    }
    Ok(())
}
