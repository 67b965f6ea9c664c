//! Building a batch: for internal topics, the command line and tests.

use super::compress::compress;
use super::header::{BATCH_HEADER_BYTES, BATCH_LENGTH_PREFIX_BYTES, Codec};
use super::record::put_varint;
use super::validate::write_crc;
use crate::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

const TRANSACTIONAL_BIT: i16 = 0b1_0000;
const CONTROL_BIT: i16 = 0b10_0000;

/// Collects records and encodes them as one batch of magic 2.
///
/// Offsets count up from the base offset, which is 0 unless set: the log gives the real one.
pub struct BatchBuilder {
    codec: Codec,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    flags: i16,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    record_count: i32,
    records: Vec<u8>,
    /// The record that is being encoded; kept to spare an allocation per record.
    body: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch whose records will be compressed with `codec`.
    pub fn new(codec: Codec) -> BatchBuilder {
        BatchBuilder {
            codec,
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch(-1),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: -1,
            flags: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            record_count: 0,
            records: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Sets the base offset and the leader epoch, for a batch that is not sent through Produce.
    pub fn at(mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> BatchBuilder {
        self.base_offset = base_offset;
        self.leader_epoch = leader_epoch;
        self
    }

    /// Sets the idempotent producer and the sequence number of the first record.
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, sequence: i32) -> BatchBuilder {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = sequence;
        self
    }

    /// Marks the batch as part of a transaction.
    pub fn transactional(mut self) -> BatchBuilder {
        self.flags |= TRANSACTIONAL_BIT;
        self
    }

    /// Marks the batch as holding markers, not records of a producer.
    pub fn control(mut self) -> BatchBuilder {
        self.flags |= CONTROL_BIT;
        self
    }

    /// Adds a record without headers.
    pub fn push(&mut self, timestamp: Timestamp, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.push_with_headers(timestamp, key, value, &[]);
    }

    /// Adds a record with headers, whose values may be null.
    pub fn push_with_headers(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let body = &mut self.body;
        body.clear();
        body.push(0);
        put_varint(body, timestamp.0.wrapping_sub(self.base_timestamp.0));
        put_varint(body, i64::from(self.record_count));
        put_nullable(body, key);
        put_nullable(body, value);
        put_varint(body, headers.len() as i64);
        for (key, value) in headers {
            put_nullable(body, Some(key.as_bytes()));
            put_nullable(body, *value);
        }
        put_varint(&mut self.records, body.len() as i64);
        self.records.extend_from_slice(body);
        self.record_count += 1;
    }

    /// The number of records so far.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// The size of the batch if it were built now without compression, in bytes.
    pub fn plain_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.records.len()
    }

    /// Encodes the batch; there must be at least one record.
    pub fn build(self) -> Vec<u8> {
        assert!(self.record_count > 0, "a batch has at least one record");
        let records = match self.codec {
            Codec::None => self.records,
            codec => compress(codec, &self.records),
        };
        let total = BATCH_HEADER_BYTES + records.len();
        let length = i32::try_from(total - BATCH_LENGTH_PREFIX_BYTES).expect("a batch below 2 GiB");
        let attributes = codec_bits(self.codec) | self.flags;
        let mut batch = Vec::with_capacity(total);
        batch.extend_from_slice(&self.base_offset.0.to_be_bytes());
        batch.extend_from_slice(&length.to_be_bytes());
        batch.extend_from_slice(&self.leader_epoch.0.to_be_bytes());
        batch.push(2);
        batch.extend_from_slice(&[0; 4]);
        batch.extend_from_slice(&attributes.to_be_bytes());
        batch.extend_from_slice(&(self.record_count - 1).to_be_bytes());
        batch.extend_from_slice(&self.base_timestamp.0.to_be_bytes());
        batch.extend_from_slice(&self.max_timestamp.0.to_be_bytes());
        batch.extend_from_slice(&self.producer_id.0.to_be_bytes());
        batch.extend_from_slice(&self.producer_epoch.0.to_be_bytes());
        batch.extend_from_slice(&self.base_sequence.to_be_bytes());
        batch.extend_from_slice(&self.record_count.to_be_bytes());
        batch.extend_from_slice(&records);
        write_crc(&mut batch);
        batch
    }
}

fn codec_bits(codec: Codec) -> i16 {
    match codec {
        Codec::None => 0,
        Codec::Gzip => 1,
        Codec::Snappy => 2,
        Codec::Lz4 => 3,
        Codec::Zstd => 4,
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}
