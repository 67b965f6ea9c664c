//! Sending closed batches and taking their answers: several requests in flight, order kept.
//!
//! A batch that fails for a moment goes back to its place, and its partition waits until all
//! answers are there; then everything behind it is sent again, too. The bytes stay the same, so a
//! broker recognises by their sequence what it has stored already.

use std::collections::{BTreeMap, VecDeque};

use crate::io::{self, Instant, blocking};
use crate::model::{NodeId, Offset, TopicId, TopicName, TopicPartition};
use crate::protocol::messages::StrBytes;
use crate::protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use crate::protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse};
use crate::protocol::{ApiKey, ErrorCode};

use super::super::connection::RETRY_PAUSE;
use super::super::error::{ClientError, error_code};
use super::{Acks, Batch, Delivery, Link, Producer, ProducerOptions, Request, TopicQueues};

/// The first version of Produce that names topics by id.
const PRODUCE_BY_ID_VERSION: i16 = 13;

impl Producer {
    /// Waits for the oldest answer, or until something may be sent again.
    pub(super) fn advance(&mut self) -> Result<(), ClientError> {
        let links = self.links.iter();
        let oldest = links.filter_map(|(&node, link)| Some((link.requests.front()?.sent, node)));
        match oldest.min_by_key(|&(sent, _)| sent) {
            Some((_, node)) => self.receive(node)?,
            None if self.ready.is_empty() => return Ok(()),
            None => blocking::sleep(RETRY_PAUSE),
        }
        self.pump()
    }

    /// Sends closed batches to the leaders that may take more.
    pub(super) fn pump(&mut self) -> Result<(), ClientError> {
        self.has_news = false;
        let now = io::now();
        let mut by_leader: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        for partition in self.ready.clone() {
            self.give_up_old(&partition, now);
            let queue = self.queue(&partition);
            let is_waiting = queue.is_held || queue.retry_at > now;
            if is_waiting || queue.ready.is_empty() {
                continue;
            }
            match self.client.leader(&partition) {
                Ok((leader, _)) => by_leader.entry(leader).or_default().push(partition),
                Err(error) if error.is_retriable() => {
                    self.pause(&[partition]);
                    // Without a broker to ask the others fare no better.
                    if matches!(error, ClientError::Connect { .. }) {
                        break;
                    }
                }
                Err(error) => self.fail_all(&partition, &error),
            }
        }
        for (leader, partitions) in by_leader {
            self.send_to(leader, &partitions)?;
        }
        Ok(())
    }

    fn give_up_old(&mut self, partition: &TopicPartition, now: Instant) {
        let queue = self.queue(partition);
        let is_old = queue
            .ready
            .front()
            .is_some_and(|batch| batch.give_up_at <= now);
        if is_old && queue.in_flight == 0 {
            let error = ClientError::Broker {
                api: ApiKey::Produce,
                subject: partition.to_string(),
                code: ErrorCode::RequestTimedOut,
                message: None,
            };
            self.fail_all(partition, &error);
        }
    }

    /// Sends one batch of each partition per request, while the leader's link takes more.
    fn send_to(
        &mut self,
        leader: NodeId,
        partitions: &[TopicPartition],
    ) -> Result<(), ClientError> {
        loop {
            if let Some(link) = self.links.get(&leader) {
                if link.requests.len() >= self.options.in_flight_max {
                    return Ok(());
                }
            } else {
                match self.client.dial(leader) {
                    Ok(connection) => {
                        let requests = VecDeque::new();
                        self.links.insert(
                            leader,
                            Link {
                                connection,
                                requests,
                            },
                        );
                    }
                    Err(error) => {
                        self.pause(partitions);
                        return if error.is_retriable() {
                            Ok(())
                        } else {
                            Err(error)
                        };
                    }
                }
            }
            let batches = self.take_batches(partitions);
            if batches.is_empty() {
                return Ok(());
            }
            self.transmit(leader, batches)?;
        }
    }

    /// The first closed batch of each partition, up to the size of a request.
    fn take_batches(&mut self, partitions: &[TopicPartition]) -> Vec<(TopicPartition, Batch)> {
        let mut batches = Vec::new();
        let mut bytes = 0;
        for partition in partitions {
            let queue = self.queue(partition);
            let Some(next) = queue.ready.front() else {
                continue;
            };
            let length = next.bytes.len();
            if queue.is_held || (!batches.is_empty() && bytes + length > self.options.request_bytes)
            {
                continue;
            }
            let queue = self.queue(partition);
            let batch = queue.ready.pop_front().expect("just looked at");
            queue.in_flight += 1;
            let is_empty = queue.ready.is_empty();
            bytes += length;
            self.ready_bytes -= length;
            if is_empty {
                self.ready.remove(partition);
            }
            batches.push((partition.clone(), batch));
        }
        batches
    }

    fn transmit(
        &mut self,
        leader: NodeId,
        mut batches: Vec<(TopicPartition, Batch)>,
    ) -> Result<(), ClientError> {
        let now = io::now();
        for (_, batch) in &mut batches {
            batch.first_sent.get_or_insert(now);
        }
        let by_id = batches
            .iter()
            .all(|(p, _)| !self.topics[&p.topic].id.is_zero());
        let newest = if by_id {
            i16::MAX
        } else {
            PRODUCE_BY_ID_VERSION - 1
        };
        let link = self.links.get_mut(&leader).expect("a link was just opened");
        let version = link.connection.version_at_most(ApiKey::Produce, newest)?;
        let request = produce_request(&self.options, &self.topics, &batches, version);
        let is_answered = self.options.acks != Acks::None;
        let result = match is_answered {
            true => link.connection.send(&request, version),
            false => link.connection.send_unanswered(&request, version),
        };
        match (result, is_answered) {
            (Ok(()), true) => link.requests.push_back(Request { sent: now, batches }),
            (Ok(()), false) => {
                for (partition, batch) in batches {
                    self.queue(&partition).in_flight -= 1;
                    self.deliver(partition, batch, Ok(Offset::NONE));
                }
            }
            (Err(error), _) if error.is_retriable() => {
                link.requests.push_back(Request { sent: now, batches });
                self.drop_link(leader);
            }
            (Err(error), _) => return Err(error),
        }
        Ok(())
    }

    /// Takes one answer from a leader.
    pub(super) fn receive(&mut self, leader: NodeId) -> Result<(), ClientError> {
        let link = self
            .links
            .get_mut(&leader)
            .expect("only links in use are asked");
        match link.connection.receive::<ProduceResponse>() {
            Ok(response) => {
                let request = link
                    .requests
                    .pop_front()
                    .expect("an answer has its request");
                self.settle(request, &response);
                Ok(())
            }
            Err(error) if error.is_retriable() => {
                self.drop_link(leader);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn settle(&mut self, request: Request, response: &ProduceResponse) {
        for (partition, batch) in request.batches {
            let id = self.topics[&partition.topic].id;
            let answer = find_answer(response, &partition, id);
            let (code, offset, message) = match answer {
                Some(answer) => {
                    let message = answer.error_message.as_deref();
                    (
                        error_code(answer.error_code),
                        Offset(answer.base_offset),
                        message,
                    )
                }
                None => (ErrorCode::UnknownServerError, Offset::NONE, None),
            };
            let error = ClientError::Broker {
                api: ApiKey::Produce,
                subject: partition.to_string(),
                code,
                message: message.map(str::to_owned),
            };
            let queue = self.queue(&partition);
            queue.in_flight -= 1;
            let follows_a_failed_one = queue.is_held && code == ErrorCode::OutOfOrderSequenceNumber;
            match code {
                ErrorCode::None => self.deliver(partition, batch, Ok(offset)),
                // Stored before; the broker no longer knows where.
                ErrorCode::DuplicateSequenceNumber => {
                    self.deliver(partition, batch, Ok(Offset::NONE));
                }
                _ if code.is_retriable() || follows_a_failed_one => {
                    self.requeue(partition, batch);
                }
                _ => {
                    let is_current = batch.identity == self.queue(&partition).identity;
                    self.deliver(partition.clone(), batch, Err(error));
                    if is_current {
                        self.restart_sequence(&partition);
                    }
                }
            }
        }
        self.release_held();
    }

    /// Puts a batch back in its place; its partition waits until all answers are there.
    fn requeue(&mut self, partition: TopicPartition, batch: Batch) {
        self.client.forget_topic(&partition.topic);
        self.ready_bytes += batch.bytes.len();
        let queue = self.queue(&partition);
        queue.is_held = true;
        queue.retry_at = io::now() + RETRY_PAUSE;
        let at = queue
            .ready
            .partition_point(|other| other.number < batch.number);
        queue.ready.insert(at, batch);
        self.held.insert(partition.clone());
        self.ready.insert(partition);
    }

    fn release_held(&mut self) {
        for partition in std::mem::take(&mut self.held) {
            let queue = self.queue(&partition);
            queue.is_held = queue.in_flight > 0;
            if queue.is_held {
                self.held.insert(partition);
            }
        }
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        let retry_at = io::now() + RETRY_PAUSE;
        for partition in partitions {
            self.client.forget_topic(&partition.topic);
            self.queue(partition).retry_at = retry_at;
        }
    }

    /// Closes a link that broke; its batches are sent again.
    fn drop_link(&mut self, leader: NodeId) {
        let Some(link) = self.links.remove(&leader) else {
            return;
        };
        for request in link.requests {
            for (partition, batch) in request.batches {
                self.queue(&partition).in_flight -= 1;
                self.requeue(partition, batch);
            }
        }
        self.release_held();
    }

    /// Gives up all closed batches of a partition.
    fn fail_all(&mut self, partition: &TopicPartition, error: &ClientError) {
        let batches = std::mem::take(&mut self.queue(partition).ready);
        self.ready.remove(partition);
        for batch in batches {
            self.ready_bytes -= batch.bytes.len();
            let error = ClientError::Broker {
                api: ApiKey::Produce,
                subject: partition.to_string(),
                code: error.code().unwrap_or(ErrorCode::NetworkException),
                message: Some(error.to_string()),
            };
            self.deliver(partition.clone(), batch, Err(error));
        }
        self.restart_sequence(partition);
    }

    /// After a batch of an idempotent producer was given up, the sequence has a gap that the
    /// broker would not accept: what was closed behind it is given up too, and the partition goes
    /// on under a new id.
    fn restart_sequence(&mut self, partition: &TopicPartition) {
        if self.identity.is_none() {
            return;
        }
        self.close(partition, io::now());
        let queue = self.queue(partition);
        queue.identity = None;
        queue.next_sequence = 0;
        let behind = std::mem::take(&mut queue.ready);
        self.ready.remove(partition);
        for batch in behind {
            self.ready_bytes -= batch.bytes.len();
            let error = ClientError::Broker {
                api: ApiKey::Produce,
                subject: partition.to_string(),
                code: ErrorCode::OutOfOrderSequenceNumber,
                message: Some("a batch before this one was given up".to_owned()),
            };
            self.deliver(partition.clone(), batch, Err(error));
        }
        if let Ok(identity) = self.new_identity() {
            self.identity = Some(identity);
        }
    }

    fn deliver(
        &mut self,
        partition: TopicPartition,
        batch: Batch,
        outcome: Result<Offset, ClientError>,
    ) {
        let now = io::now();
        self.delivered.push(Delivery {
            partition,
            outcome,
            first_record: batch.first_record,
            record_count: batch.record_count,
            batch_bytes: batch.bytes.len(),
            latency: now - batch.first_sent.unwrap_or(now),
        });
    }
}

fn produce_request(
    options: &ProducerOptions,
    topics: &BTreeMap<TopicName, TopicQueues>,
    batches: &[(TopicPartition, Batch)],
    version: i16,
) -> ProduceRequest {
    let mut request = ProduceRequest::default();
    request.transactional_id = None;
    request.acks = options.acks.code();
    request.timeout_ms = options.delivery_timeout.as_millis() as i32;
    let mut last: Option<&TopicName> = None;
    for (partition, batch) in batches {
        if last != Some(&partition.topic) {
            let mut topic = TopicProduceData::default();
            if version >= PRODUCE_BY_ID_VERSION {
                topic.topic_id = topics[&partition.topic].id.into();
            } else {
                topic.name = StrBytes::from(partition.topic.as_str());
            }
            request.topic_data.push(topic);
            last = Some(&partition.topic);
        }
        let mut data = PartitionProduceData::default();
        data.index = partition.index;
        data.records = Some(batch.bytes.clone());
        let topic = request
            .topic_data
            .last_mut()
            .expect("a topic was just pushed");
        topic.partition_data.push(data);
    }
    request
}

fn find_answer<'r>(
    response: &'r ProduceResponse,
    partition: &TopicPartition,
    id: TopicId,
) -> Option<&'r PartitionProduceResponse> {
    let is_named = |name: &str| name == partition.topic.as_str();
    let mut topics = response.responses.iter();
    let topic = topics.find(|topic| {
        is_named(&topic.name) || (!id.is_zero() && TopicId::from(topic.topic_id) == id)
    })?;
    topic
        .partition_responses
        .iter()
        .find(|answer| answer.index == partition.index)
}
