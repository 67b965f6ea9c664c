//! Produce requests, encoded once and sent often, and what their answers say.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use corelog::client::partition_of;
use corelog::frame::{BATCH_CRC_START, BATCH_HEADER_BYTES, BatchBuilder, BatchHeader, Codec};
use corelog::io::{self, Instant};
use corelog::model::{ProducerEpoch, ProducerId, Timestamp};
use corelog::protocol::messages::StrBytes;
use corelog::protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use corelog::protocol::messages::produce_response::ProduceResponse;
use corelog::protocol::{self, ApiKey, ErrorCode};

use crate::limits::{ANSWER_BYTES_MAX, DIFFERENT_BATCHES_MAX, DIFFERENT_REQUESTS_MAX, KEYS_COUNT};
use crate::problem::Problem;
use crate::workload::{Keys, Workload};

/// The newest version that names topics, so that no topic id must be known.
pub(crate) const PRODUCE_VERSION_MAX: i16 = 12;
/// The name that brokers see.
pub(crate) const CLIENT_ID: &str = "corelog-perf";
/// How long the broker may wait before it answers.
const TIMEOUT_MS: i32 = 60_000;
/// Where a request's correlation id stands: behind its size, API key and version.
const CORRELATION_ID: Range<usize> = 8..12;
/// Where a batch's CRC stands, and its producer's id, epoch and first sequence number.
const CRC: Range<usize> = 17..21;
const PRODUCER_ID: Range<usize> = 43..51;
const PRODUCER_EPOCH: Range<usize> = 51..53;
const BASE_SEQUENCE: Range<usize> = 53..57;

/// A partition that has load, and who leads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) index: i32,
    /// Which of the addresses that lead partitions.
    pub(crate) leader: usize,
}

/// A request. From one sending to the next only the correlation id changes, and what marks its
/// batches; a batch without marks is shared and never copied.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    head: Bytes,
    body: Bytes,
    tail: Bytes,
    batches: Arc<[BatchAt]>,
}

/// Where a batch stands in its request.
#[derive(Clone, Debug)]
struct BatchAt {
    range: Range<usize>,
    /// The number of its place.
    place: usize,
    records: i32,
}

/// An idempotent producer: who it is, and which sequence number each partition gets next.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    next: HashMap<usize, i32>,
}

impl Identity {
    pub(crate) fn new(id: ProducerId, epoch: ProducerEpoch) -> Identity {
        let next = HashMap::new();
        Identity { id, epoch, next }
    }

    /// The sequence number of the first of so many records.
    fn take(&mut self, place: usize, records: i32) -> i32 {
        let next = self.next.entry(place).or_default();
        let first = *next;
        // Behind the largest number comes 0 again.
        *next = (i64::from(first) + i64::from(records)).rem_euclid(1 << 31) as i32;
        first
    }
}

impl Template {
    /// The request as slices, to be written one after the other.
    pub(crate) fn request(&self, correlation_id: i32) -> Vec<Bytes> {
        let mut head = BytesMut::from(&self.head[..]);
        head[CORRELATION_ID].copy_from_slice(&correlation_id.to_be_bytes());
        vec![head.freeze(), self.body.clone(), self.tail.clone()]
    }

    /// The same with marks in its batches: the time at which it is meant to be sent, in the first
    /// record's value, and the producer with its sequence numbers.
    pub(crate) fn marked(
        &self,
        correlation_id: i32,
        intended: Option<Instant>,
        mut producer: Option<&mut Identity>,
    ) -> Vec<Bytes> {
        let length = self.head.len() + self.body.len() + self.tail.len();
        let mut whole = BytesMut::with_capacity(length);
        for part in [&self.head, &self.body, &self.tail] {
            whole.extend_from_slice(part);
        }
        whole[CORRELATION_ID].copy_from_slice(&correlation_id.to_be_bytes());
        for at in &*self.batches {
            let batch = &mut whole[at.range.clone()];
            if let Some(intended) = intended
                && let Some(value) = first_value(batch)
                && value.len() >= size_of::<u64>()
            {
                batch[value][..size_of::<u64>()]
                    .copy_from_slice(&intended.as_nanos().to_be_bytes());
            }
            if let Some(producer) = &mut producer {
                let sequence = producer.take(at.place, at.records);
                batch[PRODUCER_ID].copy_from_slice(&producer.id.0.to_be_bytes());
                batch[PRODUCER_EPOCH].copy_from_slice(&producer.epoch.0.to_be_bytes());
                batch[BASE_SEQUENCE].copy_from_slice(&sequence.to_be_bytes());
            }
            let crc = crc32c::crc32c(&batch[BATCH_CRC_START..]);
            batch[CRC].copy_from_slice(&crc.to_be_bytes());
        }
        vec![whole.freeze()]
    }

    /// Where the batches stand in the request.
    #[cfg(test)]
    pub(crate) fn batches(&self) -> Vec<Range<usize>> {
        self.batches.iter().map(|at| at.range.clone()).collect()
    }

    /// A request of batches, each with the number of its place.
    fn new(
        places: &[Place],
        batches: &BTreeMap<usize, Bytes>,
        acks: i16,
        version: i16,
    ) -> Template {
        let mut request = ProduceRequest::default();
        request.transactional_id = None;
        request.acks = acks;
        request.timeout_ms = TIMEOUT_MS;
        // Places of one topic are neighbours.
        for (&place, batch) in batches {
            let Place { topic, index, .. } = &places[place];
            let is_other = |last: &TopicProduceData| *last.name != **topic;
            if request.topic_data.last().is_none_or(is_other) {
                let mut named = TopicProduceData::default();
                named.name = StrBytes::from(&**topic);
                request.topic_data.push(named);
            }
            let mut data = PartitionProduceData::default();
            data.index = *index;
            data.records = Some(batch.clone());
            let named = request.topic_data.last_mut().expect("one was pushed");
            named.partition_data.push(data);
        }
        let client_id = StrBytes::from(CLIENT_ID);
        let whole = protocol::encode_request(&request, version, 0, &client_id)
            .expect("a request below 2 GiB has a size");
        let mut at = CORRELATION_ID.end;
        let found = batches.iter().map(|(&place, batch)| {
            // Before it stand only names, counts and indexes; what equals a batch is the batch.
            let skipped = whole[at..]
                .windows(batch.len())
                .position(|window| window == batch)
                .expect("the request holds the batch");
            let start = at + skipped;
            at = start + batch.len();
            let header = BatchHeader::read(batch).expect("a whole batch");
            BatchAt {
                range: start..at,
                place,
                records: header.record_count,
            }
        });
        let found: Arc<[BatchAt]> = found.collect();
        // One batch is shared by all requests that carry it, several stay where they are.
        let (from, to, body) = match (&*found, batches.first_key_value()) {
            ([only], Some((_, batch))) => (only.range.start, only.range.end, batch.clone()),
            _ => {
                let from = CORRELATION_ID.end;
                (from, whole.len(), whole.slice(from..))
            }
        };
        Template {
            head: Bytes::copy_from_slice(&whole[..from]),
            body,
            tail: Bytes::copy_from_slice(&whole[to..]),
            batches: found,
        }
    }
}

/// Where the value of an uncompressed batch's first record stands; `None` if it is null or the
/// bytes are no such batch.
fn first_value(batch: &[u8]) -> Option<Range<usize>> {
    let header = BatchHeader::read(batch)?;
    if header.codec() != Some(Codec::None) {
        return None;
    }
    let mut at = BATCH_HEADER_BYTES;
    varint(batch, &mut at)?;
    at += 1;
    varint(batch, &mut at)?;
    varint(batch, &mut at)?;
    let key_bytes = varint(batch, &mut at)?;
    at = at.checked_add(usize::try_from(key_bytes.max(0)).ok()?)?;
    let value_bytes = usize::try_from(varint(batch, &mut at)?).ok()?;
    let end = at.checked_add(value_bytes)?;
    (end <= batch.len()).then_some(at..end)
}

/// A zigzag varint of Kafka's records.
fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// When a batch says that it was meant to be sent. Of a batch without that mark it is any time.
pub(crate) fn intended_of(batch: &[u8]) -> Option<Instant> {
    let value = first_value(batch)?;
    let mark = batch[value].first_chunk()?;
    Some(Instant::from_nanos(u64::from_be_bytes(*mark)))
}

/// The requests for each leader, in the order in which a connection that sends all of them does.
pub(crate) fn templates(
    workload: &Workload,
    places: &[Place],
    leaders: usize,
    version: i16,
) -> Vec<Vec<Template>> {
    let acks = workload.load.acks.code();
    let mut by_leader = vec![Vec::new(); leaders];
    if workload.load.keys == Keys::None {
        let different = DIFFERENT_BATCHES_MAX.min(places.len());
        let batches: Vec<Bytes> = (0..different).map(|_| batch(workload)).collect();
        for (place, batch) in (0..places.len()).zip(batches.iter().cycle()) {
            let batches = BTreeMap::from([(place, batch.clone())]);
            let template = Template::new(places, &batches, acks, version);
            by_leader[places[place].leader].push(template);
        }
        return by_leader;
    }
    let mut source = Source::new(workload);
    for _ in 0..DIFFERENT_REQUESTS_MAX {
        for topic in places.chunk_by(|one, other| one.topic == other.topic) {
            let first = places
                .iter()
                .position(|place| place.topic == topic[0].topic);
            let first = first.expect("it is one of them");
            for (leader, templates) in by_leader.iter_mut().enumerate() {
                if topic.iter().any(|place| place.leader == leader) {
                    let batches = keyed_batches(workload, topic, leader, &mut source);
                    let batches = batches
                        .into_iter()
                        .map(|(index, batch)| (first + index, batch));
                    let batches = batches.collect();
                    templates.push(Template::new(places, &batches, acks, version));
                }
            }
        }
    }
    by_leader
}

/// One request's records for a leader, each in the batch of its key's partition.
fn keyed_batches(
    workload: &Workload,
    topic: &[Place],
    leader: usize,
    source: &mut Source,
) -> BTreeMap<usize, Bytes> {
    let mut builders: BTreeMap<usize, BatchBuilder> = BTreeMap::new();
    let now = io::wall_clock();
    let mut count = 0;
    let mut tries = 0;
    while count < workload.load.batch_records {
        // None of the keys that take turns may belong to a leader with few partitions.
        tries += 1;
        let key = match tries <= KEYS_COUNT + u64::from(workload.load.batch_records) {
            true => source.next_key(),
            false => source.random_key(),
        };
        let index = partition_of(&key, topic.len() as i32) as usize;
        if topic[index].leader != leader {
            continue;
        }
        let builder = builders
            .entry(index)
            .or_insert_with(|| BatchBuilder::new(workload.load.codec.into()));
        builder.push(now, Some(&key), Some(source.next_value()));
        count += 1;
    }
    let built = builders.into_iter();
    built
        .map(|(index, builder)| (index, Bytes::from(builder.build())))
        .collect()
}

/// A batch of records without keys.
fn batch(workload: &Workload) -> Bytes {
    let mut builder = BatchBuilder::new(workload.load.codec.into());
    let now: Timestamp = io::wall_clock();
    let mut source = Source::new(workload);
    for _ in 0..workload.load.batch_records {
        builder.push(now, None, Some(source.next_value()));
    }
    Bytes::from(builder.build())
}

/// Keys and values. Half of a value is random, the other half letters that a codec can shorten,
/// so that a compressed workload is neither free nor useless.
struct Source {
    keys: Keys,
    key_bytes: usize,
    /// How many keys were taken.
    taken: u64,
    value: Vec<u8>,
    state: u64,
}

impl Source {
    fn new(workload: &Workload) -> Source {
        Source {
            keys: workload.load.keys,
            key_bytes: workload.load.key_bytes as usize,
            taken: 0,
            value: vec![b'a'; workload.load.record_bytes as usize],
            state: io::random_u64() | 1,
        }
    }

    fn next_value(&mut self) -> &[u8] {
        let random = self.value.len().div_ceil(2);
        fill(&mut self.value[..random], &mut self.state);
        &self.value
    }

    fn next_key(&mut self) -> Vec<u8> {
        if self.keys != Keys::RoundRobin {
            return self.random_key();
        }
        let number = self.taken % KEYS_COUNT;
        self.taken += 1;
        let mut key = vec![0; self.key_bytes];
        fill(&mut key, &mut (number + 1).wrapping_mul(KEY_SEED));
        key
    }

    fn random_key(&mut self) -> Vec<u8> {
        let mut key = vec![0; self.key_bytes];
        fill(&mut key, &mut self.state);
        key
    }
}

/// Spreads the numbers of keys over all bits.
const KEY_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

fn fill(bytes: &mut [u8], state: &mut u64) {
    for chunk in bytes.chunks_mut(8) {
        *state = xorshift(*state);
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
}

/// Marsaglia's xorshift64: bytes that do not compress, not secrets.
pub(crate) fn xorshift(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}

/// Takes one whole answer off the bytes that have arrived, if there is one.
pub(crate) fn take_answer(arrived: &mut BytesMut) -> Result<Option<Bytes>, Problem> {
    let Some(length) = answer_bytes(arrived, ANSWER_BYTES_MAX)? else {
        return Ok(None);
    };
    Ok(split_answer(arrived, length))
}

/// How long the answer is whose begin has arrived; `None` if not even its size has.
pub(crate) fn answer_bytes(arrived: &[u8], most: usize) -> Result<Option<usize>, Problem> {
    let Some(size) = arrived.first_chunk::<4>() else {
        return Ok(None);
    };
    let size = i32::from_be_bytes(*size);
    let length = usize::try_from(size).ok().filter(|&length| length <= most);
    length.map(Some).ok_or_else(|| {
        Problem::new(format!(
            "the broker sent an answer of {size} bytes; at most {most} are expected"
        ))
    })
}

/// Takes an answer of this length off the bytes that have arrived, if it is whole.
pub(crate) fn split_answer(arrived: &mut BytesMut, length: usize) -> Option<Bytes> {
    if arrived.len() < size_of::<i32>() + length {
        return None;
    }
    let _ = arrived.split_to(size_of::<i32>());
    Some(arrived.split_to(length).freeze())
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

    pub(crate) fn places(partitions: i32) -> Vec<Place> {
        let indexes = 0..partitions;
        indexes
            .map(|index| Place {
                topic: "t".into(),
                index,
                leader: 0,
            })
            .collect()
    }

    #[test]
    fn a_template_is_a_request_that_the_broker_understands() {
        for version in 9..=PRODUCE_VERSION_MAX {
            let templates = templates(&workload(), &places(3), 1, version).remove(0);
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
            let records = produce::Records::Here(templates[2].body.clone());
            assert_eq!(partition.records.as_ref(), Some(&records));
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
