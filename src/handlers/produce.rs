//! Produce (key 0), versions 3 to 13.
//!
//! Versions 0 to 2 carried message sets of magic 0 and 1, which Kafka 4.0 dropped (KIP-896).

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::registry::{Malformed, Request, respond};
use super::{Client, Reply, errors};
use crate::frame::{BatchError, BatchHeader, Codec, RecordErrorReason};
use crate::io;
use crate::limits::PRODUCE_WAIT_MS_MIN;
use crate::metrics::{self, Counter};
use crate::model::{Offset, PartitionId, Timestamp};
use crate::protocol::produce::{
    ProducePartition, ProducePartitionResponse, ProduceRequest, ProduceResponse,
    ProduceTopicResponse, RecordError, Records,
};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode, RequestHeader};
use crate::shard::{Batch, PlacedBatch, ProduceError, ProducePart, ProduceResult, Topic};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::Produce, 3, 13);

/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;
/// The first version in which zstd may be used (KIP-110).
const ZSTD_FROM: i16 = 7;
/// The first version that tells which records were refused (KIP-467).
const RECORD_ERRORS_FROM: i16 = 8;

/// The acks that ask for all in-sync replicas, of which a single node has one.
const ACKS_ALL: i16 = -1;
/// The number of the only batch format.
const MAGIC: i8 = 2;

pub(super) fn handle(
    client: Rc<Client>,
    request: Request,
) -> impl Future<Output = Result<Reply, Malformed>> {
    // Not in the future: that would keep the request and its parts, and be moved with them.
    let begun = begin(&client, request);
    async move {
        let (asked, outcome, parts) = begun?;
        let durable = client.shard.produce(parts, asked.acks != 0).await;
        match asked.acks {
            0 => Ok(stay_silent(outcome, durable.await)),
            _ => Ok(answer(asked, outcome, durable)),
        }
    }
}

/// How a request wants to be answered.
struct Asked {
    header: RequestHeader,
    acks: i16,
    timeout: Duration,
}

fn begin(
    client: &Client,
    request: Request,
) -> Result<(Asked, Outcome, Vec<ProducePart>), Malformed> {
    let version = request.header.version;
    let (apart, placed): (Vec<_>, Vec<_>) = request.apart.into_iter().unzip();
    let mut decoded = ProduceRequest::decode_around(&request.body, version, &apart)?;
    let acks = decoded.acks;
    // A topic without partitions is not in the answer, as it is not in Kafka's.
    decoded.topics.retain(|topic| !topic.partitions.is_empty());
    // Kafka's timeout is for followers; here it is for a disk that hangs, so none is too short.
    let timeout_ms = u64::try_from(decoded.timeout_ms).unwrap_or(0);
    let mut outcome = Outcome::of(&decoded);
    let parts = if (-1..=1).contains(&acks) {
        outcome.accept(client, decoded, placed, version)
    } else {
        outcome.refuse_all(ErrorCode::InvalidRequiredAcks);
        Vec::new()
    };
    let asked = Asked {
        header: request.header,
        acks,
        timeout: Duration::from_millis(timeout_ms.max(PRODUCE_WAIT_MS_MIN)),
    };
    Ok((asked, outcome, parts))
}

/// No response is owed, so a closed connection is the only way to say that it failed.
fn stay_silent(mut outcome: Outcome, results: Vec<ProduceResult>) -> Reply {
    outcome.fill(results);
    outcome.count_failed();
    match outcome.errors().next() {
        None => Reply::Nothing,
        Some(error) => Reply::Close(format!("produce with acks=0 failed: {error:?}")),
    }
}

fn answer(
    asked: Asked,
    mut outcome: Outcome,
    durable: impl Future<Output = Vec<ProduceResult>> + 'static,
) -> Reply {
    Reply::Later(Box::pin(async move {
        let results = match asked.acks {
            ACKS_ALL => io::timeout(asked.timeout, durable).await,
            _ => Some(durable.await),
        };
        match results {
            Some(results) => outcome.fill(results),
            None => outcome.time_out(),
        }
        outcome.count_failed();
        outcome.respond(&asked.header)
    }))
}

/// The response as it fills.
struct Outcome {
    response: ProduceResponse,
    /// Where in the response each part's result goes: topic and partition.
    places: Vec<(usize, usize)>,
}

impl Outcome {
    fn of(request: &ProduceRequest) -> Outcome {
        let answer = |partition: &ProducePartition| {
            ProducePartitionResponse::refused(partition.index, ErrorCode::None)
        };
        let topics = request.topics.iter().map(|topic| ProduceTopicResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(answer).collect(),
        });
        Outcome {
            response: ProduceResponse {
                topics: topics.collect(),
                throttle_time_ms: 0,
                node_endpoints: Vec::new(),
            },
            places: Vec::new(),
        }
    }

    /// Finds each batch's partition; what cannot be found or may not be sent is answered here.
    fn accept(
        &mut self,
        client: &Client,
        request: ProduceRequest,
        placed: Vec<PlacedBatch>,
        version: i16,
    ) -> Vec<ProducePart> {
        let topics = self.response.topics.iter();
        let count = topics.map(|topic| topic.partitions.len()).sum();
        let mut parts = Vec::with_capacity(count);
        self.places.reserve_exact(count);
        // Decoding told of each once, in order.
        let mut placed = placed.into_iter();
        for (at, topic) in request.topics.into_iter().enumerate() {
            let found = if version >= TOPIC_IDS_FROM {
                client
                    .shard
                    .topic(topic.topic_id)
                    .ok_or(ErrorCode::UnknownTopicId)
            } else {
                let known = client.shard.topic_by_name(topic.name.as_str());
                known.ok_or(ErrorCode::UnknownTopicOrPartition)
            };
            for (place, partition) in topic.partitions.into_iter().enumerate() {
                let batch = match partition.records {
                    None => Batch::Shared(Bytes::new()),
                    Some(Records::Here(bytes)) => Batch::Shared(bytes),
                    Some(Records::Apart) => match placed.next() {
                        Some(batch) => Batch::Placed(batch),
                        None => Batch::Shared(Bytes::new()),
                    },
                };
                let refused = match &found {
                    Err(error) => Some(*error),
                    Ok(topic) => refused_by_topic(topic, partition.index)
                        .or_else(|| refused_by_header(&batch, version)),
                };
                match (&found, refused) {
                    (Ok(topic), None) => {
                        let index = partition.index;
                        let partition = PartitionId {
                            topic_id: topic.id,
                            index,
                        };
                        parts.push(ProducePart { partition, batch });
                        self.places.push((at, place));
                    }
                    (_, refused) => {
                        let error = refused.unwrap_or(ErrorCode::UnknownTopicOrPartition);
                        self.response.topics[at].partitions[place].error = error;
                    }
                }
            }
        }
        parts
    }

    fn refuse_all(&mut self, error: ErrorCode) {
        for partition in self
            .response
            .topics
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions)
        {
            partition.error = error;
        }
    }

    fn fill(&mut self, results: Vec<ProduceResult>) {
        assert_eq!(results.len(), self.places.len(), "one result for each part");
        for ((topic, place), result) in self.places.iter().zip(results) {
            let answer = &mut self.response.topics[*topic].partitions[*place];
            match result {
                Ok(produced) => {
                    answer.base_offset = produced.base_offset;
                    answer.log_append_time = produced.log_append_time;
                    answer.log_start_offset = produced.log_start_offset;
                }
                Err(error) => explain(answer, &error),
            }
        }
    }

    fn time_out(&mut self) {
        for (topic, place) in &self.places {
            self.response.topics[*topic].partitions[*place].error = ErrorCode::RequestTimedOut;
        }
    }

    fn errors(&self) -> impl Iterator<Item = ErrorCode> {
        let topics = self.response.topics.iter();
        let partitions = topics.flat_map(|topic| &topic.partitions);
        let errors = partitions.map(|partition| partition.error);
        errors.filter(|error| *error != ErrorCode::None)
    }

    fn count_failed(&self) {
        metrics::add(Counter::FailedProduces, self.errors().count() as u64);
    }

    fn respond(mut self, header: &RequestHeader) -> Option<Vec<Bytes>> {
        if header.version < RECORD_ERRORS_FROM {
            for partition in self
                .response
                .topics
                .iter_mut()
                .flat_map(|topic| &mut topic.partitions)
            {
                partition.record_errors.clear();
                partition.error_message = None;
            }
        }
        respond(header, vec![self.response.encode(header.version)]).ok()
    }
}

/// What no client may write: the groups' own records are their coordinators' to append and to
/// trim, so what stood between them would be lost. A partition that is not there is said to be so.
fn refused_by_topic(topic: &Topic, index: i32) -> Option<ErrorCode> {
    let refused = topic.name.is_internal() && topic.has_partition(index);
    refused.then_some(ErrorCode::InvalidTopicException)
}

/// What may not be sent although it is a batch: zstd in a version without it, and transactions,
/// which nobody can have begun here.
fn refused_by_header(batch: &[u8], version: i16) -> Option<ErrorCode> {
    let header = BatchHeader::read(batch)?;
    // Another format's attributes mean something else; it is refused for its format.
    if header.magic != MAGIC {
        return None;
    }
    if version < ZSTD_FROM && header.codec() == Some(Codec::Zstd) {
        return Some(ErrorCode::UnsupportedCompressionType);
    }
    let transactional = header.is_transactional() && !header.is_control();
    transactional.then_some(ErrorCode::TransactionalIdAuthorizationFailed)
}

/// Puts an error, and what Kafka tells about it, into a partition's answer.
fn explain(answer: &mut ProducePartitionResponse, error: &ProduceError) {
    answer.error = errors::of_produce(error);
    answer.base_offset = Offset::NONE;
    answer.log_append_time = Timestamp::NONE;
    match error {
        ProduceError::Batch(BatchError::Records(records)) => {
            answer.record_errors = records
                .iter()
                .map(|record| RecordError {
                    batch_index: record.batch_index,
                    message: Some(reason(record.reason)),
                })
                .collect();
            answer.error_message = Some("One or more records have been rejected".into());
        }
        ProduceError::Batch(BatchError::Length) => {
            answer.error_message = Some("No batch is as short as this one says".into());
        }
        ProduceError::Batch(BatchError::UnknownMagic) => {
            answer.error_message = Some("No batch format has this magic number".into());
        }
        ProduceError::Batch(_) | ProduceError::Shard(_) | ProduceError::Refused(_) => {}
    }
}

fn reason(reason: RecordErrorReason) -> String {
    match reason {
        RecordErrorReason::NullKey => "a compacted topic needs a key in every record".into(),
        RecordErrorReason::Timestamp(timestamp) => {
            format!(
                "timestamp {} is outside of the allowed range around now",
                timestamp.0
            )
        }
        RecordErrorReason::TimestampType => {
            "the batch claims a timestamp of the broker, which only the broker may set".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load, resolve};
    use crate::model::{LeaderEpoch, OFFSETS_TOPIC, TopicId, TopicName};

    /// What an allocator keeps for its own thread without a lock ends at a kilobyte or so.
    #[test]
    fn a_produce_in_its_first_phase_is_small() {
        fn bytes_of<F>(_: impl FnOnce(Rc<Client>, Request) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = bytes_of(handle);
        assert!(bytes <= 1000, "{bytes}");
    }

    /// `expected` is the refusal of a batch for partition `index` of a topic of two partitions.
    fn check(name: &str, index: i32, expected: Option<ErrorCode>) {
        let config = resolve(load(&Sources::default()).expect("good").0).expect("good");
        let topic = Topic {
            id: TopicId([7; 16]),
            name: TopicName::new(name).expect("a name"),
            leader_epochs: vec![LeaderEpoch(0); 2],
            config: config.topics.config.clone(),
        };
        assert_eq!(
            refused_by_topic(&topic, index),
            expected,
            "{name} partition {index}"
        );
    }

    #[test]
    fn clients_do_not_write_the_groups_records() {
        check("a", 0, None);
        check(OFFSETS_TOPIC, 1, Some(ErrorCode::InvalidTopicException));
        check(OFFSETS_TOPIC, 2, None);
        check(OFFSETS_TOPIC, -1, None);
    }
}
