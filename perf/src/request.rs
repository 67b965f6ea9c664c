//! Produce requests, encoded once and sent often, and what their answers say.

use bytes::{Bytes, BytesMut};
use corelog::frame::BatchBuilder;
use corelog::io;
use corelog::protocol::messages::StrBytes;
use corelog::protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use corelog::protocol::messages::produce_response::ProduceResponse;
use corelog::protocol::{self, ApiKey, ErrorCode};

use crate::limits::{ANSWER_BYTES_MAX, DIFFERENT_BATCHES_MAX};
use crate::problem::Problem;
use crate::workload::Workload;

/// The newest version that names topics, so that no topic id must be known.
pub(crate) const PRODUCE_VERSION_MAX: i16 = 12;
/// How long the broker may wait before it answers.
const TIMEOUT_MS: i32 = 60_000;
/// Where a request's correlation id stands: behind its size, API key and version.
const CORRELATION_ID: std::ops::Range<usize> = 8..12;

/// A request for one partition. Only the correlation id changes from one sending to the next; the
/// batch's bytes are shared and never copied.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    head: Bytes,
    batch: Bytes,
    tail: Bytes,
}

impl Template {
    /// The request as slices, to be written one after the other.
    pub(crate) fn request(&self, correlation_id: i32) -> Vec<Bytes> {
        let mut head = BytesMut::from(&self.head[..]);
        head[CORRELATION_ID].copy_from_slice(&correlation_id.to_be_bytes());
        vec![head.freeze(), self.batch.clone(), self.tail.clone()]
    }

    fn new(topic: &str, index: i32, batch: &Bytes, acks: i16, version: i16) -> Template {
        let mut data = PartitionProduceData::default();
        data.index = index;
        data.records = Some(batch.clone());
        let mut named = TopicProduceData::default();
        named.name = StrBytes::from(topic);
        named.partition_data.push(data);
        let mut request = ProduceRequest::default();
        request.transactional_id = None;
        request.acks = acks;
        request.timeout_ms = TIMEOUT_MS;
        request.topic_data.push(named);
        let client_id = StrBytes::from("corelog-perf");
        let whole = protocol::encode_request(&request, version, 0, &client_id)
            .expect("a request of one batch has a size");
        // Behind the batch stand only empty lists of tagged fields, zeros: the batch begins where
        // its bytes are found last.
        let at = whole
            .windows(batch.len())
            .rposition(|window| window == batch)
            .expect("the request holds the batch");
        Template {
            head: Bytes::copy_from_slice(&whole[..at]),
            batch: batch.clone(),
            tail: Bytes::copy_from_slice(&whole[at + batch.len()..]),
        }
    }
}

/// One request for each partition of the workload's topic.
pub(crate) fn templates(workload: &Workload, topic: &str, version: i16) -> Vec<Template> {
    let acks = workload.load.acks.code();
    let partitions = workload.topic.partitions;
    let different = DIFFERENT_BATCHES_MAX.min(partitions as usize);
    let batches: Vec<Bytes> = (0..different).map(|_| batch(workload)).collect();
    (0..partitions)
        .zip(batches.iter().cycle())
        .map(|(index, batch)| Template::new(topic, index as i32, batch, acks, version))
        .collect()
}

/// A batch of records with random values: half of each is letters that a codec can shorten, so
/// that a compressed workload is neither free nor useless.
fn batch(workload: &Workload) -> Bytes {
    let mut builder = BatchBuilder::new(workload.load.codec.into());
    let now = io::wall_clock();
    let mut value = vec![b'a'; workload.load.record_bytes as usize];
    let mut state = io::random_u64() | 1;
    for _ in 0..workload.load.batch_records {
        let random = value.len().div_ceil(2);
        for chunk in value[..random].chunks_mut(8) {
            state = xorshift(state);
            chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
        }
        builder.push(now, None, Some(&value));
    }
    Bytes::from(builder.build())
}

/// Marsaglia's xorshift64: bytes that do not compress, not secrets.
pub(crate) fn xorshift(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}

/// Takes one whole answer off the bytes that have arrived, if there is one.
pub(crate) fn take_answer(arrived: &mut BytesMut) -> Result<Option<Bytes>, Problem> {
    let Some(size) = arrived.first_chunk::<4>() else {
        return Ok(None);
    };
    let size = i32::from_be_bytes(*size);
    let length = usize::try_from(size)
        .ok()
        .filter(|&length| length <= ANSWER_BYTES_MAX);
    let Some(length) = length else {
        return Err(Problem::new(format!(
            "the broker sent an answer of {size} bytes; at most {ANSWER_BYTES_MAX} are expected"
        )));
    };
    if arrived.len() < size_of::<i32>() + length {
        return Ok(None);
    }
    let _ = arrived.split_to(size_of::<i32>());
    Ok(Some(arrived.split_to(length).freeze()))
}

/// What an answer says: which request it belongs to, and the first error in it.
pub(crate) fn read_answer(answer: &Bytes, version: i16) -> Result<(i32, ErrorCode), Problem> {
    let misunderstood = |what: String| Problem::new(format!("the broker's answer: {what}"));
    let (correlation_id, body) = protocol::decode_response_header(answer, ApiKey::Produce, version)
        .map_err(|error| misunderstood(format!("{error:?}")))?;
    let response: ProduceResponse = protocol::decode_response(body, version)
        .map_err(|error| misunderstood(error.to_string()))?;
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    let code = partitions
        .map(|partition| partition.error_code)
        .find(|&code| code != ErrorCode::None.code());
    let code = code.map_or(Ok(ErrorCode::None), |code| {
        ErrorCode::from_code(code).ok_or_else(|| misunderstood(format!("error {code}")))
    })?;
    Ok((correlation_id, code))
}

#[cfg(test)]
pub(crate) mod tests {
    use corelog::protocol::RequestHeader;
    use corelog::protocol::produce;

    use super::*;
    use crate::workload::{BatchCodec, Spread};

    pub(crate) fn workload() -> Workload {
        let text = include_str!("../workloads/w1-durable-ingest.toml");
        let mut workload = Workload::parse(text).expect("a good file");
        workload.topic.partitions = 3;
        workload.load.spread = Spread::Own;
        workload.load.batch_records = 5;
        workload.load.record_bytes = 100;
        workload
    }

    #[test]
    fn a_template_is_a_request_that_the_broker_understands() {
        for version in 9..=PRODUCE_VERSION_MAX {
            let templates = templates(&workload(), "t", version);
            assert_eq!(templates.len(), 3);
            let mut request = BytesMut::new();
            for slice in templates[2].request(77) {
                request.extend_from_slice(&slice);
            }
            let size = i32::from_be_bytes(*request.first_chunk().expect("a size"));
            assert_eq!(size as usize, request.len() - 4);
            let frame = request.freeze().slice(4..);
            let (header, body) = RequestHeader::decode(&frame).expect("a header");
            assert_eq!((header.correlation_id, header.version), (77, version));
            let produce = produce::ProduceRequest::decode(&body, version).expect("a body");
            assert_eq!(produce.acks, -1);
            assert_eq!(&*produce.topics[0].name, "t");
            let partition = &produce.topics[0].partitions[0];
            assert_eq!(partition.index, 2);
            assert_eq!(partition.records.as_ref(), Some(&templates[2].batch));
        }
    }

    #[test]
    fn a_compressed_batch_is_smaller_but_not_nothing() {
        let plain = batch(&workload()).len();
        let mut lz4 = workload();
        lz4.load.codec = BatchCodec::Lz4;
        let lz4 = batch(&lz4).len();
        assert!(lz4 < plain && lz4 > plain / 4, "{lz4} of {plain}");
    }

    #[test]
    fn answers_are_taken_when_they_are_whole() {
        let mut arrived = BytesMut::from(&[0, 0, 0, 2, 7][..]);
        assert_eq!(take_answer(&mut arrived), Ok(None));
        arrived.extend_from_slice(&[8, 0, 0]);
        assert_eq!(
            take_answer(&mut arrived),
            Ok(Some(Bytes::from_static(&[7, 8])))
        );
        assert_eq!(take_answer(&mut arrived), Ok(None));
        for size in [-1, i32::MAX] {
            let mut arrived = BytesMut::from(&size.to_be_bytes()[..]);
            assert!(take_answer(&mut arrived).is_err(), "{size}");
        }
    }
}
