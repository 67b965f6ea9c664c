//! One broker's side of the run: its connections, and the transcript of what it answered.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, FetchRequest, FetchResponse,
    ListOffsetsRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    fetch_response::FetchableTopicResponse,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    produce_request::{PartitionProduceData, TopicProduceData},
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use uuid::Uuid;

use crate::batch;
use crate::tree::{Names, Tree};

/// Longer than any answer that a scenario waits for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection must say nothing to be called silent.
const SILENCE: Duration = Duration::from_secs(4);

/// What came back, as it is compared.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answer(Tree),
    /// The broker closed the connection.
    Closed,
    /// The broker said nothing, and the connection is open.
    Silent,
    /// The scenario could not go on.
    Broken(String),
}

pub(crate) struct Entry {
    pub(crate) scenario: &'static str,
    pub(crate) label: String,
    /// The API and its version, and whether the answer held an error code; for coverage.
    pub(crate) api: Option<(i16, i16)>,
    pub(crate) outcome: Outcome,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Answer(tree) => tree.fmt(f),
            Outcome::Closed => f.write_str("the connection is closed"),
            Outcome::Silent => f.write_str("no answer, the connection is open"),
            Outcome::Broken(why) => write!(f, "the scenario broke: {why}"),
        }
    }
}

impl Entry {
    pub(crate) fn place(&self) -> String {
        match self.api {
            Some((_, version)) => format!("{}/{} v{version}", self.scenario, self.label),
            None => format!("{}/{}", self.scenario, self.label),
        }
    }
}

/// Which versions a broker advertises, by API key.
pub(crate) type Versions = BTreeMap<i16, (i16, i16)>;

pub(crate) struct Session {
    address: String,
    /// What both brokers advertise.
    common: Versions,
    /// Starts every name that the run makes, so that a broker may serve several runs.
    prefix: String,
    scenario: &'static str,
    /// When the run started: the same number on both sides, for timestamps near now.
    pub(crate) started_ms: i64,
    pub(crate) names: Names,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone)]
pub(crate) struct Topic {
    pub(crate) name: TopicName,
    pub(crate) id: Uuid,
}

pub(crate) struct Connection {
    stream: TcpStream,
    client_id: &'static str,
    correlation_id: i32,
    /// API, version and correlation id of what is not answered yet.
    waiting: std::collections::VecDeque<(i16, i16, i32)>,
}

/// Starts every name of a run.
pub(crate) fn prefix(started_ms: i64) -> String {
    format!("o{:05}", started_ms % 100_000)
}

pub(crate) fn text(value: impl Into<String>) -> StrBytes {
    StrBytes::from_string(value.into())
}

impl Session {
    pub(crate) fn new(address: &str, common: Versions, started_ms: i64) -> Session {
        Session {
            address: address.to_string(),
            common,
            prefix: prefix(started_ms),
            scenario: "",
            started_ms,
            names: Names::default(),
            entries: Vec::new(),
        }
    }

    pub(crate) fn begin(&mut self, scenario: &'static str) {
        self.scenario = scenario;
        self.names.forget();
    }

    /// The versions of an API in which both brokers and the codec agree; none if a broker lacks it.
    pub(crate) fn versions<Q: Request>(&self) -> RangeInclusive<i16> {
        match self.common.get(&Q::KEY) {
            Some((min, max)) => *min.max(&Q::VERSIONS.min)..=*max.min(&Q::VERSIONS.max),
            // An empty range.
            #[expect(clippy::reversed_empty_ranges, reason = "no version")]
            None => 1..=0,
        }
    }

    pub(crate) fn newest<Q: Request>(&self) -> i16 {
        *self.versions::<Q>().end()
    }

    pub(crate) fn common(&self) -> &Versions {
        &self.common
    }

    pub(crate) fn named(&self, stem: &str) -> String {
        format!("{}-{}-{stem}", self.prefix, self.scenario)
    }

    pub(crate) fn connect(&self) -> Connection {
        self.connect_as("oracle")
    }

    /// A connection of a client with this id.
    pub(crate) fn connect_as(&self, client_id: &'static str) -> Connection {
        let stream = TcpStream::connect(&self.address)
            .unwrap_or_else(|e| panic!("cannot connect to {}: {e}", self.address));
        stream.set_nodelay(true).expect("set TCP_NODELAY");
        Connection {
            stream,
            client_id,
            correlation_id: 0,
            waiting: Default::default(),
        }
    }

    /// Sends a request, waits for its answer and writes it down.
    pub(crate) fn call<Q: Request>(
        &mut self,
        connection: &mut Connection,
        label: &str,
        version: i16,
        request: &Q,
    ) -> Q::Response
    where
        Q::Response: fmt::Debug + Clone,
    {
        connection.send(version, request);
        self.answer::<Q>(connection, label)
    }

    /// As `call` on a connection of its own, for requests that a broker may leave unanswered.
    pub(crate) fn attempt<Q: Request>(&mut self, label: &str, version: i16, request: &Q)
    where
        Q::Response: fmt::Debug + Clone,
    {
        let mut connection = self.connect();
        connection.send(version, request);
        let outcome = match connection.frame(SILENCE) {
            Ok(Some(mut bytes)) => {
                ResponseHeader::decode(&mut bytes, Q::Response::header_version(version))
                    .expect("a response header");
                let response = Q::Response::decode(&mut bytes, version).expect("a response");
                return self.note::<Q>(label, version, &response);
            }
            Ok(None) => Outcome::Closed,
            Err(()) => Outcome::Silent,
        };
        self.write_down(label, Some((Q::KEY, version)), outcome);
    }

    /// Waits for the answer to the oldest request that waits for one, and writes it down.
    pub(crate) fn answer<Q: Request>(
        &mut self,
        connection: &mut Connection,
        label: &str,
    ) -> Q::Response
    where
        Q::Response: fmt::Debug + Clone,
    {
        let (response, version) = connection.receive::<Q>();
        self.note::<Q>(label, version, &response);
        response
    }

    pub(crate) fn note<Q: Request>(
        &mut self,
        label: &str,
        version: i16,
        response: &impl fmt::Debug,
    ) {
        let tree = self.names.canonical(Tree::of(response));
        self.write_down(label, Some((Q::KEY, version)), Outcome::Answer(tree));
    }

    /// A fetch, written down with its batches in words.
    pub(crate) fn fetch(
        &mut self,
        connection: &mut Connection,
        label: &str,
        version: i16,
        request: &FetchRequest,
    ) -> FetchResponse {
        connection.send(version, request);
        let (response, version) = connection.receive::<FetchRequest>();
        let mut said = response.clone();
        for partition in said.responses.iter_mut().flat_map(|t| &mut t.partitions) {
            let words = |r: &Bytes| batch::described(r).into();
            partition.records = partition.records.as_ref().map(words);
        }
        // A topic may be answered in several parts: how many says nothing.
        let mut merged: Vec<FetchableTopicResponse> = Vec::new();
        for part in said.responses {
            let same = |t: &&mut FetchableTopicResponse| {
                t.topic == part.topic && t.topic_id == part.topic_id
            };
            match merged.iter_mut().find(same) {
                Some(topic) => topic.partitions.extend(part.partitions),
                None => merged.push(part),
            }
        }
        said.responses = merged;
        self.note::<FetchRequest>(label, version, &said);
        response
    }

    /// Writes down what the connection does next, for requests that may not be answered.
    pub(crate) fn reaction(&mut self, connection: &mut Connection, label: &str) -> Option<Bytes> {
        let (outcome, bytes) = match connection.frame(SILENCE) {
            Ok(Some(bytes)) => (
                Outcome::Answer(Tree::Scalar("answered".into())),
                Some(bytes),
            ),
            Ok(None) => (Outcome::Closed, None),
            Err(()) => (Outcome::Silent, None),
        };
        self.write_down(label, None, outcome);
        bytes
    }

    pub(crate) fn write_down(&mut self, label: &str, api: Option<(i16, i16)>, outcome: Outcome) {
        self.entries.push(Entry {
            scenario: self.scenario,
            label: label.to_string(),
            api,
            outcome,
        });
    }

    /// Writes down a fact that a scenario found out itself.
    pub(crate) fn fact(&mut self, label: &str, value: impl fmt::Display) {
        self.write_down(
            label,
            None,
            Outcome::Answer(Tree::Scalar(value.to_string())),
        );
    }

    /// Makes a topic and waits until its partitions can be written to. Not written down.
    pub(crate) fn topic(&mut self, stem: &str, partitions: i32, configs: &[(&str, &str)]) -> Topic {
        let name = self.named(stem);
        let configs = configs.iter().map(|(key, value)| {
            CreatableTopicConfig::default()
                .with_name(text(*key))
                .with_value(Some(text(*value)))
        });
        let request = CreateTopicsRequest::default()
            .with_timeout_ms(20_000)
            .with_topics(vec![
                CreatableTopic::default()
                    .with_name(TopicName(text(&name)))
                    .with_num_partitions(partitions)
                    .with_replication_factor(1)
                    .with_configs(configs.collect()),
            ]);
        let mut connection = self.connect();
        let response = connection.exchange(7, &request);
        let made = &response.topics[0];
        assert_eq!(
            made.error_code, 0,
            "create {name}: {:?}",
            made.error_message
        );
        let topic = Topic {
            name: TopicName(text(&name)),
            id: made.topic_id,
        };
        self.names.topic(topic.id, &name);
        self.wait_for_leaders(&topic.name, partitions);
        topic
    }

    /// A topic may be made before its partitions have a leader that knows it.
    pub(crate) fn wait_for_leaders(&self, topic: &TopicName, partitions: i32) {
        let asked = (0..partitions).map(|p| {
            ListOffsetsPartition::default()
                .with_partition_index(p)
                .with_timestamp(-1)
        });
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![
                ListOffsetsTopic::default()
                    .with_name(topic.clone())
                    .with_partitions(asked.collect()),
            ]);
        let mut connection = self.connect();
        eventually("leaders", || {
            let response = connection.exchange(4, &request);
            let partitions = &response.topics[0].partitions;
            partitions.iter().all(|p| p.error_code == 0)
        });
    }

    /// Appends to a partition and gives the offset of the first record. Not written down.
    pub(crate) fn append(&self, topic: &Topic, partition: i32, batch: Bytes) -> i64 {
        let mut connection = self.connect();
        let response = connection.exchange(9, &produce(topic, partition, batch));
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 0, "append to {topic:?}");
        partition.base_offset
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A Produce request of one batch by name, with acks=all.
pub(crate) fn produce(topic: &Topic, partition: i32, batch: Bytes) -> ProduceRequest {
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![
            TopicProduceData::default()
                .with_name(topic.name.clone())
                .with_partition_data(vec![
                    PartitionProduceData::default()
                        .with_index(partition)
                        .with_records(Some(batch)),
                ]),
        ])
}

/// Asks until it holds; what a broker does in the background is not the same moment on both.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Connection {
    /// Sends a request and gives its answer, without writing it down.
    pub(crate) fn exchange<Q: Request>(&mut self, version: i16, request: &Q) -> Q::Response {
        self.send(version, request);
        self.receive::<Q>().0
    }

    pub(crate) fn send<Q: Request>(&mut self, version: i16, request: &Q) {
        let frame = self.encode(version, request);
        self.waiting
            .push_back((Q::KEY, version, self.correlation_id));
        self.write(&frame);
    }

    /// Sends a request that is answered by nothing.
    pub(crate) fn write_unanswered<Q: Request>(&mut self, version: i16, request: &Q) {
        let frame = self.encode(version, request);
        self.write(&frame);
    }

    /// A request as it travels, with its length.
    pub(crate) fn encode<Q: Request>(&mut self, version: i16, request: &Q) -> Vec<u8> {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(Q::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(text(self.client_id)));
        let mut body = BytesMut::new();
        let name = ApiKey::try_from(Q::KEY).expect("a known API");
        header
            .encode(&mut body, name.request_header_version(version))
            .expect("a header");
        request
            .encode(&mut body, version)
            .unwrap_or_else(|e| panic!("{name:?} v{version} does not encode: {e}"));
        let mut frame = Vec::with_capacity(body.len() + 4);
        frame.put_i32(body.len() as i32);
        frame.extend_from_slice(&body);
        frame
    }

    /// Bytes of the scenario's own making; an answer is taken with `Session::reaction`.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        // A broker may close while we write: what it does is seen when we read.
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn receive<Q: Request>(&mut self) -> (Q::Response, i16) {
        let (key, version, sent) = self.waiting.pop_front().expect("a request waits");
        assert_eq!(key, Q::KEY, "answers come in the order of requests");
        let name = ApiKey::try_from(key).expect("a known API");
        let mut bytes = match self.frame(ANSWER_TIMEOUT) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => panic!("{name:?} v{version}: the connection was closed"),
            Err(()) => panic!("{name:?} v{version}: no answer in {ANSWER_TIMEOUT:?}"),
        };
        let header = ResponseHeader::decode(&mut bytes, Q::Response::header_version(version))
            .expect("a response header");
        assert_eq!(header.correlation_id, sent, "the answer's correlation id");
        let response = Q::Response::decode(&mut bytes, version)
            .unwrap_or_else(|e| panic!("{name:?} v{version} does not decode: {e}"));
        let left = bytes.remaining();
        assert_eq!(left, 0, "{name:?} v{version} leaves {left} bytes");
        (response, version)
    }

    /// One frame without its length; `None` when closed, an error when nothing came in time.
    fn frame(&mut self, timeout: Duration) -> Result<Option<Bytes>, ()> {
        self.stream
            .set_read_timeout(Some(timeout))
            .expect("a timeout");
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(());
            }
            Err(_) => return Ok(None),
        }
        let mut body = vec![0; i32::from_be_bytes(length) as usize];
        match self.stream.read_exact(&mut body) {
            Ok(()) => Ok(Some(body.into())),
            Err(_) => Ok(None),
        }
    }
}

/// What a broker advertises. The oldest version of the question is answered by all of them.
pub(crate) fn advertised(address: &str) -> Versions {
    let session = Session::new(address, Versions::new(), 0);
    let response = session
        .connect()
        .exchange(0, &ApiVersionsRequest::default());
    assert_eq!(response.error_code, 0, "ApiVersions v0 at {address}");
    let keys = response.api_keys.iter();
    keys.map(|k| (k.api_key, (k.min_version, k.max_version)))
        .collect()
}
