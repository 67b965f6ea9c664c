//! Fetching: one request in flight per leader, each partition's answer taken if the position is
//! still the one that was asked for.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::frame::{self, BatchHeader, RecordsError};
use crate::io::{self, blocking};
use crate::model::{LeaderEpoch, NodeId, Offset, TopicId, TopicName, TopicPartition};
use crate::protocol::messages::StrBytes;
use crate::protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use crate::protocol::messages::fetch_response::{FetchResponse, PartitionData};
use crate::protocol::{ApiKey, ErrorCode};

use super::super::cluster::topic_name;
use super::super::connection::RETRY_PAUSE;
use super::super::error::{ClientError, error_code};
use super::{Asked, Consumer, ConsumerOptions, FetchedBatch, Link};

/// The first version of Fetch that names topics by id.
const FETCH_BY_ID_VERSION: i16 = 13;

impl Consumer {
    /// Sends a fetch to each leader that has none in flight.
    pub(super) fn ask(&mut self) -> Result<(), ClientError> {
        let now = io::now();
        let mut by_leader: BTreeMap<NodeId, Vec<(TopicPartition, Offset, LeaderEpoch)>> =
            BTreeMap::new();
        let due = self
            .positions
            .iter()
            .filter(|(_, position)| position.retry_at <= now);
        let due: Vec<(TopicPartition, Offset)> = due
            .map(|(partition, position)| (partition.clone(), position.next))
            .collect();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % due.len().max(1);
        for (partition, offset) in due[first..].iter().chain(&due[..first]) {
            let (leader, epoch) = match self.client.leader(partition) {
                Ok(leader) => leader,
                Err(error) => {
                    self.bear(error)?;
                    return Ok(());
                }
            };
            let is_free = self
                .links
                .get(&leader)
                .is_none_or(|link| link.asked.is_none());
            if is_free {
                let asked = (partition.clone(), *offset, epoch);
                by_leader.entry(leader).or_default().push(asked);
            }
        }
        for (leader, partitions) in by_leader {
            self.ask_leader(leader, partitions)?;
        }
        Ok(())
    }

    fn ask_leader(
        &mut self,
        leader: NodeId,
        partitions: Vec<(TopicPartition, Offset, LeaderEpoch)>,
    ) -> Result<(), ClientError> {
        let mut ids = BTreeMap::new();
        for (partition, ..) in &partitions {
            let id = self.client.cached_topic(&partition.topic)?.id;
            ids.insert(partition.topic.clone(), id);
        }
        if !self.links.contains_key(&leader) {
            let mut connection = match self.client.dial(leader) {
                Ok(connection) => connection,
                Err(error) => {
                    for (partition, ..) in &partitions {
                        self.postpone(partition);
                    }
                    return self.bear(error);
                }
            };
            let slack = self.client.options().request_timeout;
            connection.set_timeout(self.options.max_wait + slack)?;
            self.links.insert(
                leader,
                Link {
                    connection,
                    asked: None,
                },
            );
        }
        let link = self.links.get_mut(&leader).expect("a link was just opened");
        let newest = match ids.values().all(|id| !id.is_zero()) {
            true => i16::MAX,
            false => FETCH_BY_ID_VERSION - 1,
        };
        let version = link.connection.version_at_most(ApiKey::Fetch, newest)?;
        let offsets = partitions
            .iter()
            .map(|(p, offset, _)| (p.clone(), *offset))
            .collect();
        let request = fetch_request(&self.options, &ids, partitions, version);
        let topics = ids.into_iter().map(|(name, id)| (id, name)).collect();
        let asked = Asked { offsets, topics };
        match link.connection.send(&request, version) {
            Ok(()) => link.asked = Some(asked),
            Err(error) => {
                self.drop_link(leader, asked.offsets.keys());
                self.bear(error)?;
            }
        }
        Ok(())
    }

    /// Bears an error that may pass, until it has lasted as long as the options say.
    fn bear(&mut self, error: ClientError) -> Result<(), ClientError> {
        let now = io::now();
        let since = *self.failing_since.get_or_insert(now);
        if !error.is_retriable() || now - since >= self.client.options().retry_for {
            return Err(error);
        }
        blocking::sleep(RETRY_PAUSE);
        Ok(())
    }

    /// Closes a link that broke; its partitions' leaders are asked for anew.
    fn drop_link<'p>(
        &mut self,
        leader: NodeId,
        partitions: impl Iterator<Item = &'p TopicPartition>,
    ) {
        self.links.remove(&leader);
        for partition in partitions {
            self.postpone(partition);
        }
    }

    fn postpone(&mut self, partition: &TopicPartition) {
        self.client.forget_topic(&partition.topic);
        if let Some(position) = self.positions.get_mut(partition) {
            position.retry_at = io::now() + RETRY_PAUSE;
        }
    }

    pub(super) fn receive(
        &mut self,
        leader: NodeId,
        batches: &mut Vec<FetchedBatch>,
    ) -> Result<(), ClientError> {
        let link = self
            .links
            .get_mut(&leader)
            .expect("only links in use are asked");
        let asked = link.asked.take().expect("a fetch is in flight");
        let response = match link.connection.receive::<FetchResponse>() {
            Ok(response) => response,
            Err(error) => {
                self.drop_link(leader, asked.offsets.keys());
                return self.bear(error);
            }
        };
        self.failing_since = None;
        let subject = format!("node {}", leader.0);
        ClientError::check(ApiKey::Fetch, subject, response.error_code, None)?;
        for topic in &response.responses {
            // The name goes with the id it was asked by: another topic may have it by now.
            let name = match asked.topics.get(&TopicId::from(topic.topic_id)) {
                Some(name) if topic.topic.is_empty() => name.clone(),
                _ => topic_name(&topic.topic)?,
            };
            for data in &topic.partitions {
                let partition = TopicPartition {
                    topic: name.clone(),
                    index: data.partition_index,
                };
                self.take(&partition, asked.offsets.get(&partition), data, batches)?;
            }
        }
        Ok(())
    }

    /// Takes one partition's part of an answer.
    fn take(
        &mut self,
        partition: &TopicPartition,
        asked: Option<&Offset>,
        data: &PartitionData,
        batches: &mut Vec<FetchedBatch>,
    ) -> Result<(), ClientError> {
        let position = self.positions.get_mut(partition);
        // The partition was given up, or read elsewhere, since it was asked for.
        let Some(position) = position.filter(|position| Some(&position.next) == asked) else {
            return Ok(());
        };
        match error_code(data.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                let start = self.reset_start(partition)?;
                return self.start(&[(partition.clone(), start)]);
            }
            code if code.is_retriable() => {
                self.postpone(partition);
                return Ok(());
            }
            _ => return ClientError::check(ApiKey::Fetch, partition, data.error_code, None),
        }
        position.high_watermark = Some(Offset(data.high_watermark));
        let from = position.next;
        let Some(records) = &data.records else {
            return Ok(());
        };
        let mut rest = records.clone();
        while let Some(bytes) = next_batch(&mut rest) {
            let failed = |error| ClientError::Batch {
                subject: partition.to_string(),
                error,
            };
            let header = BatchHeader::read(&bytes).ok_or(failed(RecordsError::Truncated))?;
            if self.options.checks_crc && frame::check_whole(&bytes).is_err() {
                return Err(failed(RecordsError::Malformed));
            }
            if header.last_offset() < from {
                continue;
            }
            position.next = header.last_offset().next();
            position.leader_epoch = header.leader_epoch;
            if !header.is_control() {
                batches.push(FetchedBatch {
                    partition: partition.clone(),
                    from,
                    high_watermark: Offset(data.high_watermark),
                    bytes,
                });
            }
        }
        Ok(())
    }
}

/// Splits the first whole batch off; an answer may end in a part of one.
fn next_batch(rest: &mut Bytes) -> Option<Bytes> {
    let length = BatchHeader::read(rest)?.total_bytes()?;
    (length <= rest.len()).then(|| rest.split_to(length))
}

fn fetch_request(
    options: &ConsumerOptions,
    ids: &BTreeMap<TopicName, TopicId>,
    partitions: Vec<(TopicPartition, Offset, LeaderEpoch)>,
    version: i16,
) -> FetchRequest {
    let mut request = FetchRequest::default();
    request.replica_id = -1;
    request.max_wait_ms = options.max_wait.as_millis() as i32;
    request.min_bytes = options.min_bytes;
    request.max_bytes = options.max_bytes;
    // No session.
    request.session_id = 0;
    request.session_epoch = -1;
    let mut places: BTreeMap<TopicName, usize> = BTreeMap::new();
    for (partition, offset, epoch) in partitions {
        let mut wanted = FetchPartition::default();
        wanted.partition = partition.index;
        wanted.current_leader_epoch = if version >= 9 { epoch.0 } else { -1 };
        wanted.fetch_offset = offset.0;
        wanted.partition_max_bytes = options.partition_max_bytes;
        let place = *places.entry(partition.topic.clone()).or_insert_with(|| {
            let mut topic = FetchTopic::default();
            if version >= FETCH_BY_ID_VERSION {
                topic.topic_id = ids[&partition.topic].into();
            } else {
                topic.topic = StrBytes::from(partition.topic.as_str());
            }
            request.topics.push(topic);
            request.topics.len() - 1
        });
        request.topics[place].partitions.push(wanted);
    }
    request
}
