//! Idempotent producers that know every batch they sent, over the broker's deaths.
//!
//! Written on bare requests, not on the client's producer, so that the checker knows which batch
//! has which sequence, may send acknowledged batches again, and never gives one up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corelog::client::{ClientError, Connection};
use corelog::frame::{BatchBuilder, Codec};
use corelog::io::blocking;
use corelog::io::housekeeping::{now, wall_clock};
use corelog::model::{ProducerEpoch, ProducerId};
use corelog::protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use corelog::protocol::messages::produce_response::ProduceResponse;
use corelog::protocol::messages::{InitProducerIdRequest, StrBytes};
use corelog::protocol::{ApiKey, ErrorCode};

use crate::chance::Chance;
use crate::content::{self, Author};
use crate::history::{Existence, Sent, Topic};
use crate::load::Load;

/// Requests of one producer in flight, and batches of it in flight to one partition.
const IN_FLIGHT_MAX: usize = 5;
/// Partitions of one request.
const REQUEST_PARTITIONS_MAX: u64 = 6;
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long it may take until the last batches are acknowledged, when no new ones are made.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// Like those of Apache Kafka's producer: names, not ids, below this version.
const PRODUCE_BY_ID_VERSION: i16 = 13;

/// One idempotent producer. It lives through all rounds of a run.
pub(crate) struct Producer {
    pub(crate) number: u32,
    identity: Option<(ProducerId, ProducerEpoch)>,
    lanes: BTreeMap<LaneKey, Lane>,
    chance: Chance,
}

/// The topic's id and the partition's index.
type LaneKey = ([u8; 16], usize);

/// What a producer has for one partition.
struct Lane {
    topic: Arc<Topic>,
    index: usize,
    next_sequence: i32,
    /// Batches that are not acknowledged, in order, and those behind them that are.
    unsettled: VecDeque<Batch>,
    /// The last batches that were acknowledged, with their offsets.
    settled: VecDeque<(Batch, i64)>,
}

#[derive(Clone)]
struct Batch {
    sent: Sent,
    bytes: Bytes,
    /// How often it was sent.
    tries: u32,
    state: BatchState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BatchState {
    Waiting,
    InFlight,
    /// To be sent again when all that is in flight is answered, so that the order stays.
    Refused,
    Acknowledged(i64),
}

/// A request in flight: its partitions; `Some` where an acknowledged batch was sent again, and its
/// offset.
struct Request {
    parts: BTreeMap<LaneKey, Option<i64>>,
}

impl Producer {
    pub(crate) fn new(number: u32, chance: Chance) -> Producer {
        Producer {
            number,
            identity: None,
            lanes: BTreeMap::new(),
            chance,
        }
    }

    /// Produces until the load ends; what is not acknowledged then is sent again the next time.
    pub(crate) fn run(&mut self, load: &Load) {
        while !load.is_over() {
            if let Err(error) = self.run_connected(load, false) {
                load.judge("a producer", &error);
            }
            blocking::sleep(RETRY_PAUSE);
        }
    }

    /// Sends what is not acknowledged yet, and returns when all is.
    pub(crate) fn settle(&mut self, load: &Load) {
        for _ in 0..100 {
            match self.run_connected(load, true) {
                Ok(()) => return,
                Err(error) => load.judge("a producer", &error),
            }
            blocking::sleep(RETRY_PAUSE);
        }
        let number = self.number;
        load.verdict.violation(format!(
            "producer {number} cannot get its last batches acknowledged"
        ));
    }

    fn run_connected(&mut self, load: &Load, only_settle: bool) -> Result<(), ClientError> {
        for lane in self.lanes.values_mut() {
            lane.forget_answers();
        }
        self.lanes
            .retain(|_, lane| lane.topic.existence() != Existence::Gone);
        let mut connection = load.connect()?;
        if self.identity.is_none() {
            self.identity = Some(new_identity(&mut connection, load)?);
        }
        self.repeat_settled(&mut connection, load)?;
        let version = connection.version(ApiKey::Produce)?;
        let mut requests: VecDeque<Request> = VecDeque::new();
        let began = now();
        loop {
            // What is not acknowledged when the load ends is sent again the next time.
            let may_send = requests.len() < IN_FLIGHT_MAX && (only_settle || !load.is_over());
            let wanted = match may_send {
                true => self.next_batches(load, only_settle),
                false => Vec::new(),
            };
            if only_settle && now() - began > SETTLE_MAX {
                let (number, seconds) = (self.number, SETTLE_MAX.as_secs());
                load.verdict.violation(format!(
                    "producer {number} gets its last batches refused for {seconds} s"
                ));
                return Ok(());
            }
            let wanted = (!wanted.is_empty()).then_some(wanted);
            match wanted {
                Some(batches) => {
                    connection.send(&encode(&batches, version), version)?;
                    let key = |(topic, index, _): &Wanted| (topic.id.0, *index);
                    let parts = batches.iter().map(|batch| (key(batch), None)).collect();
                    requests.push_back(Request { parts });
                }
                None if requests.is_empty() => {
                    let unsettled = self.lanes.values().any(|lane| !lane.unsettled.is_empty());
                    if (load.is_over() && !only_settle) || (only_settle && !unsettled) {
                        return Ok(());
                    }
                    blocking::sleep(RETRY_PAUSE);
                    self.lanes
                        .retain(|_, lane| lane.topic.existence() != Existence::Gone);
                    continue;
                }
                None => {
                    let response = connection.receive::<ProduceResponse>()?;
                    let request = requests.pop_front().expect("an answer has its request");
                    self.take_answer(load, request, &response);
                }
            }
            if !only_settle && self.chance.one_in(8) {
                let pause_us = self.chance.below(3_000) + load.brake_us();
                blocking::sleep(Duration::from_micros(pause_us));
            }
        }
    }

    /// Sends acknowledged batches again, as a producer does that did not get the answer: they must
    /// be acknowledged at the same offsets, and not be stored again.
    fn repeat_settled(
        &mut self,
        connection: &mut Connection,
        load: &Load,
    ) -> Result<(), ClientError> {
        let version = connection.version(ApiKey::Produce)?;
        let keys: Vec<LaneKey> = self.lanes.keys().copied().collect();
        for key in keys {
            let lane = &self.lanes[&key];
            if lane.settled.is_empty() || self.chance.one_in(2) {
                continue;
            }
            // The broker knows a producer's last five batches. What is unsettled may be among them.
            let known = IN_FLIGHT_MAX.saturating_sub(lane.unsettled.len());
            let from = lane.settled.len().saturating_sub(known);
            if from == lane.settled.len() {
                continue;
            }
            let which =
                self.chance
                    .between(from as u64, lane.settled.len() as u64 - 1) as usize;
            let (batch, offset) = lane.settled[which].clone();
            let request = encode(&[(lane.topic.clone(), key.1, batch.bytes)], version);
            let parts = BTreeMap::from([(key, Some(offset))]);
            let response = connection.call_version(&request, version)?;
            load.verdict.count("acknowledged batches sent again", 1);
            self.take_answer(load, Request { parts }, &response);
        }
        Ok(())
    }

    /// Batches for a few partitions: those that were not acknowledged first, then new ones.
    fn next_batches(&mut self, load: &Load, only_old: bool) -> Vec<Wanted> {
        let limit = self.chance.between(1, REQUEST_PARTITIONS_MAX) as usize;
        let mut wanted: Vec<Wanted> = Vec::new();
        for lane in self.lanes.values_mut() {
            if wanted.len() == limit {
                return wanted;
            }
            // Kept only as long as answers are on their way.
            if lane.topic.existence() != Existence::Gone {
                wanted.extend(lane.send_next());
            }
        }
        if only_old {
            return wanted;
        }
        let topics = load.topics();
        for _ in wanted.len()..limit {
            let Some(topic) = (!topics.is_empty()).then(|| self.chance.pick(&topics)) else {
                break;
            };
            let index = self.chance.below(topic.partitions_count() as u64) as usize;
            let key = (topic.id.0, index);
            let lane = self
                .lanes
                .entry(key)
                .or_insert_with(|| Lane::new(topic.clone(), index));
            let is_there = wanted
                .iter()
                .any(|(topic, index, _)| (topic.id.0, *index) == key);
            if is_there || lane.is_held() || lane.unsettled.len() >= IN_FLIGHT_MAX {
                continue;
            }
            let identity = self.identity.expect("asked for at the first connection");
            let bytes = lane.new_batch(self.number, identity, &mut self.chance);
            load.spend(bytes as u64);
            wanted.extend(lane.send_next());
        }
        wanted
    }

    fn take_answer(&mut self, load: &Load, request: Request, response: &ProduceResponse) {
        let mut answers: BTreeMap<LaneKey, (i16, i64, Option<String>)> = BTreeMap::new();
        for topic in &response.responses {
            for answer in &topic.partition_responses {
                let key = (topic.topic_id.to_bytes(), answer.index as usize);
                let message = answer.error_message.as_ref().map(StrBytes::to_string);
                answers.insert(key, (answer.error_code, answer.base_offset, message));
            }
        }
        for (key, repeated) in request.parts {
            let number = self.number;
            let lane = self.lanes.get_mut(&key).expect("lanes in use are kept");
            let place = lane.topic.partition(lane.index);
            let Some((code, offset, message)) = answers.remove(&key) else {
                load.verdict
                    .violation(format!("{place} is missing in a produce answer"));
                continue;
            };
            let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
            let outcome = match repeated {
                Some(expected) => lane.take_repeated(code, offset, expected, load),
                None => lane.take(code, offset, load),
            };
            if let Err(what) = outcome {
                let message = message.unwrap_or_default();
                load.verdict
                    .violation(format!("{place}, producer {number}: {what} {message}"));
            }
        }
    }
}

/// A batch to be sent: its topic, the partition's index, its bytes.
type Wanted = (Arc<Topic>, usize, Bytes);

impl Lane {
    fn new(topic: Arc<Topic>, index: usize) -> Lane {
        Lane {
            topic,
            index,
            next_sequence: 0,
            unsettled: VecDeque::new(),
            settled: VecDeque::new(),
        }
    }

    /// The next batch that is not on its way, if it may go.
    fn send_next(&mut self) -> Option<Wanted> {
        if self.is_held() {
            return None;
        }
        let mut waiting = self.unsettled.iter_mut();
        let batch = waiting.find(|batch| batch.state == BatchState::Waiting)?;
        batch.tries += 1;
        batch.state = BatchState::InFlight;
        Some((self.topic.clone(), self.index, batch.bytes.clone()))
    }

    fn is_held(&self) -> bool {
        self.unsettled
            .iter()
            .any(|batch| batch.state == BatchState::Refused)
    }

    /// The connection is gone, and with it the answers to what was in flight.
    fn forget_answers(&mut self) {
        for batch in &mut self.unsettled {
            if let BatchState::InFlight | BatchState::Refused = batch.state {
                batch.state = BatchState::Waiting;
            }
        }
    }

    /// Appends a new batch to the unsettled ones; returns its size.
    fn new_batch(
        &mut self,
        producer: u32,
        (id, epoch): (ProducerId, ProducerEpoch),
        chance: &mut Chance,
    ) -> usize {
        let (count, value_bytes) = match chance.below(40) {
            // Frames of their own, some of them longer than a group.
            0 => (chance.between(1, 3), 300_000),
            1 => (chance.between(50, 400), 300),
            2..10 => (chance.between(10, 50), 200),
            _ => (chance.between(1, 8), 100),
        };
        let codec = match chance.below(10) {
            0 => Codec::Lz4,
            1 => Codec::Zstd,
            _ => Codec::None,
        };
        let mut builder = BatchBuilder::new(codec).producer(id, epoch, self.next_sequence);
        let place = self.topic.place(self.index);
        let counter = self
            .topic
            .history(self.index)
            .sending(producer, count as u32);
        let written = wall_clock();
        for number in 0..count {
            let author = Author {
                producer,
                counter: counter + number,
            };
            let length = chance.between(value_bytes / 4, value_bytes) as usize;
            content::push(&mut builder, place, author, length, written);
        }
        let bytes = Bytes::from(builder.build());
        let length = bytes.len();
        self.next_sequence += count as i32;
        let author = Author { producer, counter };
        let count = count as u32;
        self.unsettled.push_back(Batch {
            sent: Sent { author, count },
            bytes,
            tries: 0,
            state: BatchState::Waiting,
        });
        length
    }

    /// The answer to the oldest batch in flight.
    fn take(&mut self, code: ErrorCode, offset: i64, load: &Load) -> Result<(), String> {
        let was_held = self.is_held();
        let mut in_flight = self.unsettled.iter_mut();
        let oldest = in_flight.find(|batch| batch.state == BatchState::InFlight);
        let batch = oldest.expect("the answer is to a batch in flight");
        let mut result = Ok(());
        match code {
            ErrorCode::None => {
                batch.state = BatchState::Acknowledged(offset);
                load.verdict.count("batches acknowledged", 1);
                load.verdict
                    .count("records acknowledged", u64::from(batch.sent.count));
                if batch.tries > 1 {
                    load.verdict
                        .count("batches acknowledged after more than one try", 1);
                }
                result = self
                    .topic
                    .history(self.index)
                    .acknowledge(offset, batch.sent);
            }
            ErrorCode::OutOfOrderSequenceNumber if was_held => batch.state = BatchState::Refused,
            code if code.is_retriable() && load.may_fail(&self.topic, code) => {
                load.verdict.count("batches refused for the moment", 1);
                batch.state = BatchState::Refused;
            }
            code => {
                result = Err(format!(
                    "{code} for {:?}, sent {} times",
                    batch.sent, batch.tries
                ));
                batch.state = BatchState::Refused;
            }
        }
        if self
            .unsettled
            .iter()
            .all(|batch| batch.state != BatchState::InFlight)
        {
            self.forget_answers();
        }
        while let Some(Batch {
            state: BatchState::Acknowledged(offset),
            ..
        }) = self.unsettled.front()
        {
            let offset = *offset;
            let batch = self.unsettled.pop_front().expect("just looked at");
            self.settled.push_back((batch, offset));
        }
        while self.settled.len() > IN_FLIGHT_MAX {
            self.settled.pop_front();
        }
        result
    }

    /// The answer to a batch that was acknowledged before, at `expected`.
    fn take_repeated(
        &self,
        code: ErrorCode,
        offset: i64,
        expected: i64,
        load: &Load,
    ) -> Result<(), String> {
        match code {
            ErrorCode::None if offset == expected => Ok(()),
            code if code.is_retriable() && load.may_fail(&self.topic, code) => Ok(()),
            code => Err(format!(
                "a batch that was acknowledged at {expected} is answered with {code} and {offset} \
                 when it is sent again"
            )),
        }
    }
}

fn encode(batches: &[Wanted], version: i16) -> ProduceRequest {
    let mut by_topic: BTreeMap<[u8; 16], TopicProduceData> = BTreeMap::new();
    for (topic, index, bytes) in batches {
        let data = by_topic.entry(topic.id.0).or_insert_with(|| {
            let mut data = TopicProduceData::default();
            assert!(
                version >= PRODUCE_BY_ID_VERSION,
                "topics are named by their ids"
            );
            data.topic_id = topic.id.into();
            data
        });
        let mut partition = PartitionProduceData::default();
        partition.index = *index as i32;
        partition.records = Some(bytes.clone());
        data.partition_data.push(partition);
    }
    let mut request = ProduceRequest::default();
    request.transactional_id = None;
    request.acks = -1;
    request.timeout_ms = 30_000;
    request.topic_data = by_topic.into_values().collect();
    request
}

/// A new producer id; the broker must not have given it to anybody before.
fn new_identity(
    connection: &mut Connection,
    load: &Load,
) -> Result<(ProducerId, ProducerEpoch), ClientError> {
    let mut request = InitProducerIdRequest::default();
    request.transactional_id = None;
    request.transaction_timeout_ms = i32::MAX;
    loop {
        let response = connection.call(&request)?;
        let code = ErrorCode::from_code(response.error_code);
        if code == Some(ErrorCode::None) {
            load.take_producer_id(response.producer_id);
            let epoch = ProducerEpoch(response.producer_epoch);
            return Ok((ProducerId(response.producer_id), epoch));
        }
        if !code.is_some_and(ErrorCode::is_retriable) {
            load.verdict.violation(format!("no producer id: {code:?}"));
        }
        if load.is_over() {
            let cause = corelog::io::ErrorKind::Interrupted.into();
            let address = connection.address().to_owned();
            return Err(ClientError::Disconnected { address, cause });
        }
        blocking::sleep(RETRY_PAUSE);
    }
}
