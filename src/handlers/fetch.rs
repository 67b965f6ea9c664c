//! Fetch (key 1), versions 4 to 18.
//!
//! Isolation levels are the same here until transactions are served: the last stable offset is
//! the high watermark, and no transaction is ever aborted.

use std::rc::Rc;
use std::time::Duration;

use super::list_offsets::known_epoch;
use super::registry::{Malformed, Request};
use super::sessions::{
    PartitionKey, Plan, PlanKind, SessionError, SessionRequest, Told, TopicKey, Wanted,
};
use super::{Client, Reply, errors};
use crate::io;
use crate::metrics::{self, Counter};
use crate::model::{NodeId, PartitionId, TopicId};
use crate::partition::ReadRequest;
use crate::protocol::fetch::{
    AbortedTransaction, DivergingEpoch, FetchPartitionResponse, FetchRequest, FetchResponse,
    FetchTopicResponse, encode_fetch_response,
};
use crate::protocol::messages::StrBytes;
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};
use crate::shard::{FetchBounds, FetchPart, FetchResult, Hold};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::Fetch, 4, 18);

/// The isolation level that asks for aborted transactions.
const READ_COMMITTED: i8 = 1;
/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;

pub(super) async fn handle(client: Rc<Client>, request: Request) -> Result<Reply, Malformed> {
    let version = request.header.version;
    let decoded = FetchRequest::decode(&request.body, version)?;
    let (response, hold) = answer(&client, decoded, version).await;
    let mut payload_bytes = 0;
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        payload_bytes += partition
            .records
            .iter()
            .map(|slice| slice.len() as u64)
            .sum::<u64>();
    }
    metrics::add(Counter::PayloadOutBytes, payload_bytes);
    let body = encode_fetch_response(&response, version);
    let slices = request.respond(body)?;
    Ok(match hold {
        Some(hold) => Reply::Held(slices, hold),
        None => Reply::Now(slices),
    })
}

/// The aborted transactions of an answer: none were, or null where Kafka says that nobody asked,
/// which is what a log says of records, and of its refusals.
fn aborted(error: ErrorCode, committed: bool) -> Option<Vec<AbortedTransaction>> {
    let is_empty = match error {
        ErrorCode::None => committed,
        // No log was asked.
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::InconsistentTopicId => true,
        _ => false,
    };
    is_empty.then(Vec::new)
}

async fn answer(
    client: &Rc<Client>,
    request: FetchRequest,
    version: i16,
) -> (FetchResponse, Option<Hold>) {
    let bounds = bounds(client, &request);
    let committed = request.isolation_level == READ_COMMITTED;
    let uses_topic_ids = version >= TOPIC_IDS_FROM;
    let planned = client
        .core
        .sessions
        .borrow_mut()
        .plan(io::now(), session_request(request, version));
    let Plan { kind, partitions } = match planned {
        Ok(plan) => plan,
        Err(error) => return (FetchResponse::refused(of_session(error)), None),
    };
    let (mut answers, hold) = read(client, &partitions, bounds).await;
    for answer in &mut answers {
        answer.aborted_transactions = aborted(answer.error, committed);
    }
    let mut answered: Vec<(PartitionKey, FetchPartitionResponse)> = partitions
        .iter()
        .map(|(key, _)| key.clone())
        .zip(answers)
        .collect();
    let session_id = match kind {
        PlanKind::Sessionless => 0,
        PlanKind::Full => {
            let told = partitions
                .iter()
                .zip(&answered)
                .map(|((key, wanted), (_, answer))| (key.clone(), *wanted, told(answer)))
                .collect();
            let mut sessions = client.core.sessions.borrow_mut();
            sessions.start(io::now(), uses_topic_ids, told, || io::random_u64() as i32)
        }
        PlanKind::Incremental(id) => {
            let mut sessions = client.core.sessions.borrow_mut();
            answered.retain(|(key, answer)| {
                sessions.must_tell(id, key, told(answer), !answer.records.is_empty())
            });
            id
        }
    };
    let response = FetchResponse {
        throttle_time_ms: 0,
        error: ErrorCode::None,
        session_id,
        topics: by_topic(answered),
        node_endpoints: Vec::new(),
    };
    (response, Some(hold))
}

fn of_session(error: SessionError) -> ErrorCode {
    match error {
        SessionError::UnknownId => ErrorCode::FetchSessionIdNotFound,
        SessionError::WrongEpoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicIdMix => ErrorCode::FetchSessionTopicIdError,
    }
}

fn bounds(client: &Client, request: &FetchRequest) -> FetchBounds {
    let config = client.shard.config();
    let max_bytes = request.max_bytes.min(config.requests.fetch_max_bytes);
    let max_bytes = max_bytes.max(0) as usize;
    // While a fetch waits nobody looks at the connection, so it waits no longer than an idle
    // connection lives.
    let idle_max_ms = u64::try_from(config.network.connections_idle_max_ms).unwrap_or(u64::MAX);
    let max_wait_ms = (request.max_wait_ms.max(0) as u64).min(idle_max_ms);
    FetchBounds {
        min_bytes: (request.min_bytes.max(0) as usize).min(max_bytes),
        max_bytes,
        max_wait: Duration::from_millis(max_wait_ms),
    }
}

fn session_request(request: FetchRequest, version: i16) -> SessionRequest {
    let uses_topic_ids = version >= TOPIC_IDS_FROM;
    let topic_key = |name: &StrBytes, id: TopicId| match uses_topic_ids {
        true => TopicKey::Id(id),
        false => TopicKey::Name(name.as_str().to_owned()),
    };
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let key = topic_key(&topic.name, topic.topic_id);
        for partition in &topic.partitions {
            let wanted = Wanted {
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.max_bytes,
                current_leader_epoch: known_epoch(partition.current_leader_epoch.0),
                last_fetched_epoch: known_epoch(partition.last_fetched_epoch.0),
            };
            partitions.push(((key.clone(), partition.index), wanted));
        }
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics {
        let key = topic_key(&topic.name, topic.topic_id);
        forgotten.extend(topic.partitions.iter().map(|index| (key.clone(), *index)));
    }
    SessionRequest {
        session_id: request.session_id,
        epoch: request.session_epoch,
        uses_topic_ids,
        partitions,
        forgotten,
    }
}

/// Reads what is wanted; one answer for each, in order.
async fn read(
    client: &Rc<Client>,
    partitions: &[(PartitionKey, Wanted)],
    bounds: FetchBounds,
) -> (Vec<FetchPartitionResponse>, Hold) {
    let mut answers = Vec::with_capacity(partitions.len());
    let mut parts = Vec::new();
    let mut places = Vec::new();
    for ((topic, index), wanted) in partitions {
        let found = match topic {
            TopicKey::Id(id) => client
                .shard
                .topic(*id)
                .map(|topic| topic.id)
                .ok_or(ErrorCode::UnknownTopicId),
            TopicKey::Name(name) => client
                .shard
                .topic_by_name(name)
                .map(|topic| topic.id)
                .ok_or(ErrorCode::UnknownTopicOrPartition),
        };
        match found {
            Ok(topic_id) => {
                places.push(answers.len());
                let request = ReadRequest {
                    offset: wanted.fetch_offset,
                    current_leader_epoch: wanted.current_leader_epoch,
                    last_fetched_epoch: wanted.last_fetched_epoch,
                    max_bytes: wanted.max_bytes.max(0) as usize,
                };
                let partition = PartitionId {
                    topic_id,
                    index: *index,
                };
                parts.push(FetchPart { partition, request });
                answers.push(FetchPartitionResponse::refused(*index, ErrorCode::None));
            }
            Err(error) => answers.push(FetchPartitionResponse::refused(*index, error)),
        }
    }
    let has_error = places.len() < answers.len();
    let bounds = match has_error {
        // An error is answered at once.
        true => FetchBounds {
            max_wait: Duration::ZERO,
            ..bounds
        },
        false => bounds,
    };
    let fetched = client.shard.fetch(parts, bounds).await;
    for (place, result) in places.into_iter().zip(fetched.results) {
        fill(&mut answers[place], result);
    }
    let failed = answers
        .iter()
        .filter(|answer| answer.error != ErrorCode::None);
    metrics::add(Counter::FailedFetches, failed.count() as u64);
    (answers, fetched.hold)
}

fn fill(answer: &mut FetchPartitionResponse, result: FetchResult) {
    match result {
        Ok(read) => {
            answer.high_watermark = read.high_watermark;
            answer.last_stable_offset = read.high_watermark;
            answer.log_start_offset = read.log_start_offset;
            answer.preferred_read_replica = NodeId(-1);
            answer.diverging_epoch = read.diverging.map(|end| DivergingEpoch {
                epoch: end.epoch,
                end_offset: end.end_offset,
            });
            answer.records = read.slices;
        }
        Err(error) => answer.error = errors::of_fetch(error),
    }
}

/// What a session remembers of an answer; `None` for an error or a divergence.
fn told(answer: &FetchPartitionResponse) -> Option<Told> {
    let plain = answer.error == ErrorCode::None && answer.diverging_epoch.is_none();
    plain.then_some(Told {
        high_watermark: answer.high_watermark,
        log_start_offset: answer.log_start_offset,
    })
}

/// Groups answers by topic, keeping their order.
fn by_topic(answered: Vec<(PartitionKey, FetchPartitionResponse)>) -> Vec<FetchTopicResponse> {
    let mut topics: Vec<(TopicKey, FetchTopicResponse)> = Vec::new();
    for ((topic, _), answer) in answered {
        if topics.last().is_none_or(|(last, _)| *last != topic) {
            let (name, topic_id) = match &topic {
                TopicKey::Name(name) => (StrBytes::from(name.clone()), TopicId::ZERO),
                TopicKey::Id(id) => (StrBytes::default(), *id),
            };
            let response = FetchTopicResponse {
                name,
                topic_id,
                partitions: Vec::new(),
            };
            topics.push((topic, response));
        }
        topics
            .last_mut()
            .expect("just pushed")
            .1
            .partitions
            .push(answer);
    }
    topics.into_iter().map(|(_, response)| response).collect()
}
