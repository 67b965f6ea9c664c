//! The fixed 61-byte header of a RecordBatch v2, read in place.
//!
//! Source: Apache Kafka, "Message Format", Record Batch; all fields big-endian.

use crate::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Bytes from the start of a batch to its first record.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes of `base_offset` and `batch_length`, which `batch_length` does not count.
pub const BATCH_LENGTH_PREFIX_BYTES: usize = 12;
/// Where the bytes that the batch's CRC covers begin; they go on to the end of the batch.
pub const BATCH_CRC_START: usize = 21;

/// How a batch's records are compressed: bits 0 to 2 of its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not compressed.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Snappy, in xerial's framing or raw.
    Snappy,
    /// LZ4 frame format.
    Lz4,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Codec {
    /// The codec of attribute bits 0 to 2; 5 to 7 name none.
    pub fn from_attributes(attributes: i16) -> Option<Codec> {
        match attributes & 0b111 {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }
}

/// A batch's header, copied out of its first 61 bytes. Reading it proves nothing about the batch:
/// length, CRC and counts are checked by `frame::validate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// Bytes that follow the length field itself: the whole batch is 12 bytes longer.
    pub batch_length: i32,
    /// The epoch of the leader that appended the batch; not covered by the CRC.
    pub leader_epoch: LeaderEpoch,
    /// The format's version; 2 for every batch that corelog takes or serves.
    pub magic: i8,
    /// CRC-32C of the bytes from `BATCH_CRC_START` to the end.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: i16,
    /// The last record's offset minus `base_offset`.
    pub last_offset_delta: i32,
    /// The first record's timestamp.
    pub base_timestamp: Timestamp,
    /// The largest timestamp of the records, or the append time.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, or `-1`.
    pub producer_id: ProducerId,
    /// The producer's epoch, or `-1`.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record, or `-1`.
    pub base_sequence: i32,
    /// The number of records.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header from the first 61 bytes of `batch`; `None` if there are fewer.
    pub fn read(batch: &[u8]) -> Option<BatchHeader> {
        let bytes: &[u8; BATCH_HEADER_BYTES] = batch.first_chunk()?;
        Some(BatchHeader {
            base_offset: Offset(i64::from_be_bytes(field(bytes, 0))),
            batch_length: i32::from_be_bytes(field(bytes, 8)),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(bytes, 12))),
            magic: bytes[16] as i8,
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: i16::from_be_bytes(field(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: Timestamp(i64::from_be_bytes(field(bytes, 27))),
            max_timestamp: Timestamp(i64::from_be_bytes(field(bytes, 35))),
            producer_id: ProducerId(i64::from_be_bytes(field(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, 51))),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        })
    }

    /// The length of the whole batch in bytes; `None` if the length field is below the header's.
    pub fn total_bytes(&self) -> Option<usize> {
        let length = usize::try_from(self.batch_length).ok()?;
        let total = length + BATCH_LENGTH_PREFIX_BYTES;
        (total >= BATCH_HEADER_BYTES).then_some(total)
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The codec of the records, if the attribute bits name one.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_attributes(self.attributes)
    }

    /// Whether the timestamps are the broker's append time (bit 3).
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & 0b1000 != 0
    }

    /// Whether the batch belongs to a transaction (bit 4).
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0b1_0000 != 0
    }

    /// Whether the batch is a control batch: markers, not records of a producer (bit 5).
    pub fn is_control(&self) -> bool {
        self.attributes & 0b10_0000 != 0
    }
}

fn field<const N: usize>(bytes: &[u8; BATCH_HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}
