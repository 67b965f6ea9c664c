//! A broker in memory with one topic, that does what a test scripts. It keeps what an idempotent
//! producer relies on: sequences per partition, answers to duplicates.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use corelog::frame::BatchHeader;
use corelog::model::{NodeId, Offset, TopicId};
use corelog::protocol::api_versions::{ApiVersionsResponse, unsupported_version_response};
use corelog::protocol::fetch::{
    FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse, encode_fetch_response,
};
use corelog::protocol::messages::{
    InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataResponse, StrBytes,
    list_offsets_response, metadata_response,
};
use corelog::protocol::produce::{
    ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse, Records,
};
use corelog::protocol::{self, ApiKey, ApiSpec, ErrorCode, RequestHeader};

use crate::coordinator::{Group, find_coordinator};

pub(crate) const TOPIC: &str = "t";
const TOPIC_ID: TopicId = TopicId([7; 16]);
const NODE: i32 = 1;

/// What the broker does to the next produce request instead of the usual.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The usual.
    None,
    /// Refuses every batch of the request.
    Refuse(ErrorCode),
    /// Closes the connection before it appends.
    CloseBefore,
    /// Appends, and closes the connection instead of answering.
    CloseAfter,
}

/// What the test and the broker share.
#[derive(Default)]
pub(crate) struct State {
    /// The batches of each partition, as they were sent but for their base offsets.
    pub(crate) logs: Vec<Vec<Bytes>>,
    pub(crate) start_offset: i64,
    /// One per produce request to come.
    pub(crate) faults: VecDeque<Fault>,
    /// The next sequence of each producer in each partition.
    sequences: HashMap<(i64, usize), i32>,
    next_producer_id: i64,
    pub(crate) produce_requests: usize,
    /// Whether the broker is one that does not know version 3 of ApiVersions.
    pub(crate) is_old: bool,
    pub(crate) group: Group,
    /// Bytes of a half batch behind each answer to a fetch.
    pub(crate) half_batch: bool,
}

impl State {
    fn end_offset(&self, partition: usize) -> i64 {
        let last = self.logs[partition]
            .last()
            .and_then(|batch| BatchHeader::read(batch));
        last.map_or(self.start_offset, |header| header.last_offset().0 + 1)
    }

    /// Appends a batch, as far as its sequence lets it.
    fn append(&mut self, partition: usize, batch: &Bytes) -> Result<i64, ErrorCode> {
        let header = BatchHeader::read(batch).expect("a whole batch");
        if header.producer_id.0 >= 0 {
            let key = (header.producer_id.0, partition);
            let expected = *self.sequences.get(&key).unwrap_or(&0);
            if header.base_sequence < expected {
                let earlier = self.logs[partition]
                    .iter()
                    .filter_map(|b| BatchHeader::read(b));
                let mut earlier = earlier.filter(|h| h.producer_id == header.producer_id);
                let same = earlier.find(|h| h.base_sequence == header.base_sequence);
                return same
                    .map(|h| h.base_offset.0)
                    .ok_or(ErrorCode::DuplicateSequenceNumber);
            }
            if header.base_sequence > expected {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            self.sequences.insert(key, expected + header.record_count);
        }
        let offset = self.end_offset(partition);
        let stored = [&offset.to_be_bytes(), &batch[8..]].concat();
        self.logs[partition].push(Bytes::from(stored));
        Ok(offset)
    }
}

/// A running broker. Its threads end with the process.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Broker {
    pub(crate) fn start(partitions: usize) -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            logs: vec![Vec::new(); partitions],
            ..State::default()
        }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), shared) = (stream, shared.clone()) else {
                    return;
                };
                std::thread::spawn(move || serve(stream, address, &shared));
            }
        });
        Broker { address, state }
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.address.to_string()
    }
}

/// Answers one connection until it ends, or a fault ends it.
fn serve(mut stream: TcpStream, address: SocketAddr, state: &Mutex<State>) {
    loop {
        let mut size = [0; 4];
        if stream.read_exact(&mut size).is_err() {
            return;
        }
        let mut frame = vec![0; i32::from_be_bytes(size) as usize];
        stream.read_exact(&mut frame).expect("a whole request");
        let (header, body) = RequestHeader::decode(&Bytes::from(frame)).expect("a header");
        let Some(body) = answer(&header, body, address, &mut state.lock().unwrap()) else {
            return;
        };
        if body.is_empty() {
            continue;
        }
        let prefix = header.response_prefix(body.len()).expect("a small answer");
        if stream.write_all(&[&prefix[..], &body].concat()).is_err() {
            return;
        }
    }
}

/// The answer's body; empty for none, `None` to close the connection.
fn answer(
    header: &RequestHeader,
    body: Bytes,
    address: SocketAddr,
    state: &mut State,
) -> Option<Vec<u8>> {
    let version = header.version;
    let specs: Vec<ApiSpec> = ApiKey::ALL
        .iter()
        .map(|&api| ApiSpec::new(api, api.versions().0, api.versions().1))
        .collect();
    let body = match header.api {
        ApiKey::ApiVersions if state.is_old && version >= 3 => {
            unsupported_version_response(&ApiSpec::new(ApiKey::ApiVersions, 0, 2))
        }
        ApiKey::ApiVersions => ApiVersionsResponse::new(&specs).encode(version),
        ApiKey::Metadata => protocol::encode(&metadata(address, state), version).unwrap(),
        ApiKey::InitProducerId => {
            let mut response = InitProducerIdResponse::default();
            response.producer_id = state.next_producer_id;
            response.producer_epoch = 0;
            state.next_producer_id += 1;
            protocol::encode(&response, version).unwrap()
        }
        ApiKey::Produce => return produce(&body, version, state),
        ApiKey::Fetch => return Some(fetch(&body, version, state)),
        ApiKey::ListOffsets => list_offsets(body, version, state),
        ApiKey::FindCoordinator => find_coordinator(version, body, NODE, address.port()),
        api if let Some(body) = state.group.answer(api, version, body.clone()) => body,
        other => panic!("no client of these tests asks for {other}"),
    };
    Some(body.to_vec())
}

fn metadata(address: SocketAddr, state: &State) -> MetadataResponse {
    let mut broker = metadata_response::MetadataResponseBroker::default();
    broker.node_id = NODE;
    broker.host = StrBytes::from("127.0.0.1");
    broker.port = i32::from(address.port());
    let mut topic = metadata_response::MetadataResponseTopic::default();
    topic.name = Some(StrBytes::from(TOPIC));
    topic.topic_id = TOPIC_ID.into();
    for index in 0..state.logs.len() {
        let mut partition = metadata_response::MetadataResponsePartition::default();
        partition.partition_index = index as i32;
        partition.leader_id = NODE;
        partition.leader_epoch = 0;
        topic.partitions.push(partition);
    }
    let mut response = MetadataResponse::default();
    response.brokers = vec![broker];
    response.controller_id = NODE;
    response.topics = vec![topic];
    response
}

fn produce(body: &Bytes, version: i16, state: &mut State) -> Option<Vec<u8>> {
    let request = ProduceRequest::decode(body, version).expect("a produce request");
    state.produce_requests += 1;
    let fault = state.faults.pop_front().unwrap_or(Fault::None);
    if let Fault::CloseBefore = fault {
        return None;
    }
    let mut response = ProduceResponse::default();
    for topic in &request.topics {
        let answers = topic.partitions.iter().map(|partition| {
            let Some(Records::Here(batch)) = &partition.records else {
                panic!("records in the request")
            };
            let appended = match fault {
                Fault::Refuse(error) => Err(error),
                _ => state.append(partition.index as usize, batch),
            };
            match appended {
                Ok(offset) => ProducePartitionResponse {
                    base_offset: Offset(offset),
                    ..ProducePartitionResponse::refused(partition.index, ErrorCode::None)
                },
                Err(error) => ProducePartitionResponse::refused(partition.index, error),
            }
        });
        response.topics.push(ProduceTopicResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: answers.collect(),
        });
    }
    match (fault, request.acks) {
        (Fault::CloseAfter, _) => None,
        (_, 0) => Some(Vec::new()),
        _ => Some(response.encode(version).to_vec()),
    }
}

fn fetch(body: &Bytes, version: i16, state: &State) -> Vec<u8> {
    let request = FetchRequest::decode(body, version).expect("a fetch request");
    let mut response = FetchResponse::refused(ErrorCode::None);
    for topic in &request.topics {
        let answers = topic.partitions.iter().map(|asked| {
            let log = &state.logs[asked.index as usize];
            let end = state.end_offset(asked.index as usize);
            let offset = asked.fetch_offset.0;
            if offset < state.start_offset || offset > end {
                return FetchPartitionResponse::refused(asked.index, ErrorCode::OffsetOutOfRange);
            }
            let is_wanted = |batch: &&Bytes| {
                BatchHeader::read(batch).is_some_and(|header| header.last_offset().0 >= offset)
            };
            let mut records: Vec<Bytes> = log.iter().filter(is_wanted).take(3).cloned().collect();
            if let Some(batch) = log.last()
                && state.half_batch
            {
                records.push(batch.slice(..batch.len() / 2));
            }
            FetchPartitionResponse {
                high_watermark: Offset(end),
                last_stable_offset: Offset(end),
                log_start_offset: Offset(state.start_offset),
                preferred_read_replica: NodeId(-1),
                records,
                ..FetchPartitionResponse::refused(asked.index, ErrorCode::None)
            }
        });
        response.topics.push(FetchTopicResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: answers.collect(),
        });
    }
    encode_fetch_response(&response, version).concat()
}

fn list_offsets(body: Bytes, version: i16, state: &State) -> Bytes {
    let request: ListOffsetsRequest = protocol::decode(body, version).unwrap();
    let mut response = ListOffsetsResponse::default();
    for topic in &request.topics {
        let mut answer = list_offsets_response::ListOffsetsTopicResponse::default();
        answer.name = topic.name.clone();
        for asked in &topic.partitions {
            let mut listed = list_offsets_response::ListOffsetsPartitionResponse::default();
            listed.partition_index = asked.partition_index;
            listed.offset = match asked.timestamp {
                -2 => state.start_offset,
                -1 => state.end_offset(asked.partition_index as usize),
                // No record is as late as any time that a test asks for.
                _ => -1,
            };
            answer.partitions.push(listed);
        }
        response.topics.push(answer);
    }
    protocol::encode(&response, version).unwrap()
}
