//! Offsets of partitions: the first, the last, those of a time.

use std::collections::BTreeMap;

use crate::model::{LeaderEpoch, NodeId, Offset, Timestamp, TopicName, TopicPartition};
use crate::protocol::ApiKey;
use crate::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, StrBytes};

use super::cluster::{Client, Target};
use super::error::ClientError;

/// Which offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first that is still there.
    Earliest,
    /// The one that the next record will get.
    Latest,
    /// That of the record with the largest timestamp.
    MaxTimestamp,
    /// That of the first record that is not older.
    At(Timestamp),
}

impl OffsetSpec {
    fn code(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::At(timestamp) => timestamp.0,
        }
    }
}

/// An offset of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset; `None` if no record fits.
    pub offset: Option<Offset>,
    /// The record's timestamp, where a record was looked for.
    pub timestamp: Option<Timestamp>,
}

/// Partitions by topic, each with something.
pub(super) fn by_topic<T>(
    partitions: impl IntoIterator<Item = (TopicPartition, T)>,
) -> BTreeMap<TopicName, Vec<(i32, T)>> {
    let mut topics: BTreeMap<TopicName, Vec<(i32, T)>> = BTreeMap::new();
    for (partition, value) in partitions {
        topics
            .entry(partition.topic)
            .or_default()
            .push((partition.index, value));
    }
    topics
}

impl Client {
    /// Asks for one offset of each partition, in the order given.
    pub fn list_offsets(
        &mut self,
        wanted: &[(TopicPartition, OffsetSpec)],
    ) -> Result<Vec<ListedOffset>, ClientError> {
        self.retry(|client| {
            let result = client.list_offsets_once(wanted);
            if let Err(error) = &result
                && error.is_retriable()
            {
                for (partition, _) in wanted {
                    client.forget_topic(&partition.topic);
                }
            }
            result
        })
    }

    fn list_offsets_once(
        &mut self,
        wanted: &[(TopicPartition, OffsetSpec)],
    ) -> Result<Vec<ListedOffset>, ClientError> {
        let mut by_leader: BTreeMap<NodeId, Vec<(TopicPartition, _)>> = BTreeMap::new();
        for (partition, spec) in wanted {
            let (leader, epoch) = self.leader(partition)?;
            by_leader
                .entry(leader)
                .or_default()
                .push((partition.clone(), (*spec, epoch)));
        }
        let mut found = BTreeMap::new();
        for (leader, partitions) in by_leader {
            let response = self.ask_offsets(leader, partitions)?;
            for topic in &response.topics {
                let name = super::cluster::topic_name(&topic.name)?;
                for listed in &topic.partitions {
                    let partition = TopicPartition {
                        topic: name.clone(),
                        index: listed.partition_index,
                    };
                    ClientError::check(ApiKey::ListOffsets, &partition, listed.error_code, None)?;
                    let offset = (listed.offset >= 0).then_some(Offset(listed.offset));
                    let timestamp = (listed.timestamp >= 0).then_some(Timestamp(listed.timestamp));
                    found.insert(partition, (offset, timestamp));
                }
            }
        }
        let listed = wanted.iter().map(|(partition, _)| {
            let (offset, timestamp) = found.get(partition).copied().unwrap_or((None, None));
            ListedOffset {
                partition: partition.clone(),
                offset,
                timestamp,
            }
        });
        Ok(listed.collect())
    }

    fn ask_offsets(
        &mut self,
        leader: NodeId,
        partitions: Vec<(TopicPartition, (OffsetSpec, LeaderEpoch))>,
    ) -> Result<ListOffsetsResponse, ClientError> {
        let mut request = ListOffsetsRequest::default();
        request.replica_id = -1;
        request.timeout_ms = self.options().request_timeout.as_millis() as i32;
        for (name, partitions) in by_topic(partitions) {
            let mut topic = ListOffsetsTopic::default();
            topic.name = StrBytes::from(name.as_str());
            for (index, (spec, epoch)) in partitions {
                let mut partition = ListOffsetsPartition::default();
                partition.partition_index = index;
                partition.current_leader_epoch = epoch.0;
                partition.timestamp = spec.code();
                topic.partitions.push(partition);
            }
            request.topics.push(topic);
        }
        self.call(Target::Node(leader), &request)
    }

    /// Tries again with the partition's leader, asked anew, while `operation` fails with what may
    /// pass.
    pub(super) fn retry_leader<T>(
        &mut self,
        partition: &TopicPartition,
        mut operation: impl FnMut(&mut Client, NodeId) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        self.retry(|client| {
            let (leader, _) = client.leader(partition)?;
            let result = operation(client, leader);
            if result.as_ref().is_err_and(ClientError::is_retriable) {
                client.forget_topic(&partition.topic);
            }
            result
        })
    }
}
