//! Produce requests, encoded once and sent often. Pure.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::bench::limits::{DIFFERENT_BATCHES_MAX, DIFFERENT_REQUESTS_MAX, KEYS_COUNT};
use crate::bench::traffic::{Keys, LoadPart};
use crate::bench::values::Source;
use crate::client::partition_of;
use crate::frame::{BATCH_CRC_START, BATCH_HEADER_BYTES, BatchBuilder, BatchHeader, Codec};
use crate::io::Instant;
use crate::io::housekeeping::wall_clock;
use crate::model::{ProducerEpoch, ProducerId, Timestamp};
use crate::protocol;
use crate::protocol::messages::StrBytes;
use crate::protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};

/// The newest version that names topics, so that no topic id must be known.
pub const PRODUCE_VERSION_MAX: i16 = 12;
/// The name that brokers see.
pub(super) const CLIENT_ID: &str = "corelog-bench";
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
pub struct Place {
    pub topic: Arc<str>,
    pub index: i32,
    /// Which of the addresses that lead partitions.
    pub leader: usize,
}

/// A request. From one sending to the next only the correlation id changes, and what marks its
/// batches; a batch without marks is shared and never copied.
#[derive(Clone, Debug)]
pub struct Template {
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
pub struct Identity {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
    next: HashMap<usize, i32>,
}

impl Identity {
    pub fn new(id: ProducerId, epoch: ProducerEpoch) -> Identity {
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
    pub fn request(&self, correlation_id: i32) -> Vec<Bytes> {
        let mut head = BytesMut::from(&self.head[..]);
        head[CORRELATION_ID].copy_from_slice(&correlation_id.to_be_bytes());
        vec![head.freeze(), self.body.clone(), self.tail.clone()]
    }

    /// The same with marks in its batches: the time at which it is meant to be sent, in the first
    /// record's value, and the producer with its sequence numbers.
    pub fn marked(
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
pub(super) fn intended_of(batch: &[u8]) -> Option<Instant> {
    let value = first_value(batch)?;
    let mark = batch[value].first_chunk()?;
    Some(Instant::from_nanos(u64::from_be_bytes(*mark)))
}

/// The requests for each leader, in the order in which a connection that sends all of them does.
pub fn templates(
    load: &LoadPart,
    places: &[Place],
    leaders: usize,
    version: i16,
) -> Vec<Vec<Template>> {
    let acks = load.acks.code();
    let mut by_leader = vec![Vec::new(); leaders];
    let mut source = Source::new(load);
    if load.keys == Keys::None {
        let different = DIFFERENT_BATCHES_MAX.min(places.len());
        let batches: Vec<Bytes> = (0..different).map(|_| batch(load, &mut source)).collect();
        for (place, batch) in (0..places.len()).zip(batches.iter().cycle()) {
            let batches = BTreeMap::from([(place, batch.clone())]);
            let template = Template::new(places, &batches, acks, version);
            by_leader[places[place].leader].push(template);
        }
        return by_leader;
    }
    for _ in 0..DIFFERENT_REQUESTS_MAX {
        for topic in places.chunk_by(|one, other| one.topic == other.topic) {
            let first = places
                .iter()
                .position(|place| place.topic == topic[0].topic);
            let first = first.expect("it is one of them");
            for (leader, templates) in by_leader.iter_mut().enumerate() {
                if topic.iter().any(|place| place.leader == leader) {
                    let batches = keyed_batches(load, topic, leader, &mut source);
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
    load: &LoadPart,
    topic: &[Place],
    leader: usize,
    source: &mut Source,
) -> BTreeMap<usize, Bytes> {
    let mut builders: BTreeMap<usize, BatchBuilder> = BTreeMap::new();
    let now = wall_clock();
    let mut count = 0;
    let mut tries = 0;
    while count < load.batch_records {
        // None of the keys that take turns may belong to a leader with few partitions.
        tries += 1;
        let key = match tries <= KEYS_COUNT + u64::from(load.batch_records) {
            true => source.next_key(),
            false => source.random_key(),
        };
        let index = partition_of(&key, topic.len() as i32) as usize;
        if topic[index].leader != leader {
            continue;
        }
        let builder = builders
            .entry(index)
            .or_insert_with(|| BatchBuilder::new(load.codec.into()));
        builder.push(now, Some(&key), Some(source.next_value()));
        count += 1;
    }
    let built = builders.into_iter();
    built
        .map(|(index, builder)| (index, Bytes::from(builder.build())))
        .collect()
}

/// A batch of records without keys.
fn batch(load: &LoadPart, source: &mut Source) -> Bytes {
    let mut builder = BatchBuilder::new(load.codec.into());
    let now: Timestamp = wall_clock();
    for _ in 0..load.batch_records {
        builder.push(now, None, Some(source.next_value()));
    }
    Bytes::from(builder.build())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::traffic::{Acks, BatchCodec, Rate, Spread};
    use crate::protocol::RequestHeader;
    use crate::protocol::produce;

    pub(in crate::bench) fn load() -> LoadPart {
        LoadPart {
            connections: 1,
            spread: Spread::Own,
            batch_records: 5,
            record_bytes: 100,
            keys: Keys::None,
            key_bytes: 16,
            idempotent: false,
            codec: BatchCodec::None,
            acks: Acks::All,
            rate: Rate::Max,
            in_flight: 1,
        }
    }

    fn places(partitions: i32) -> Vec<Place> {
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
            let templates = templates(&load(), &places(3), 1, version).remove(0);
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
        let built = |codec| {
            let load = LoadPart { codec, ..load() };
            batch(&load, &mut Source::new(&load)).len()
        };
        let plain = built(BatchCodec::None);
        let codecs = [
            BatchCodec::Gzip,
            BatchCodec::Snappy,
            BatchCodec::Lz4,
            BatchCodec::Zstd,
        ];
        for codec in codecs {
            let length = built(codec);
            assert!(
                length < plain && length > plain / 4,
                "{codec:?}: {length} of {plain}"
            );
        }
    }

    #[test]
    fn marks_leave_a_batch_whole() {
        let load = LoadPart {
            keys: Keys::Random,
            record_bytes: 64,
            batch_records: 30,
            ..load()
        };
        let template = templates(&load, &places(3), 1, PRODUCE_VERSION_MAX).remove(0);
        let template = template.first().expect("a request");
        let mut identity = Identity::new(ProducerId(7), ProducerEpoch(2));
        let intended = Instant::from_nanos(12_345);
        let mut sequences = Vec::new();
        for _ in 0..2 {
            let slices = template.marked(9, Some(intended), Some(&mut identity));
            let mut whole = slices.concat();
            for at in &*template.batches {
                let batch = &mut whole[at.range.clone()];
                let header = crate::frame::check_whole(batch).expect("the CRC is right");
                assert_eq!((header.producer_id.0, header.producer_epoch.0), (7, 2));
                assert_eq!(intended_of(batch), Some(intended));
                let header = BatchHeader::read(batch).expect("a header");
                sequences.push((header.base_sequence, header.record_count));
            }
        }
        let (first, second) = sequences.split_at(sequences.len() / 2);
        assert_eq!(first.len(), 3, "each partition has a batch");
        for (first, second) in first.iter().zip(second) {
            assert_eq!((first.0, second.0), (0, first.1));
        }
    }
}
