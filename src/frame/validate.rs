//! Whether a producer's batch may be appended, as Kafka's `LogValidator` decides for magic 2.
//!
//! An uncompressed batch is walked in place and allocates nothing. A compressed batch is
//! decompressed a chunk at a time into bounded memory; no record is copied. The batch is never
//! changed here: where Kafka would set the header's timestamp fields, `BatchInfo::stamp` says so.

use super::compress::{DecompressError, Decompressor};
use super::header::{
    BATCH_CRC_START, BATCH_HEADER_BYTES, BATCH_LENGTH_PREFIX_BYTES, BatchHeader, Codec,
};
use super::record::{RecordDefect, SliceSource, Source, StreamSource, walk_record};
use crate::config::TimestampType;
use crate::limits::RECORD_ERRORS_MAX;
use crate::model::{Offset, ProducerId, Timestamp};

/// The magic of the only batch format that is accepted.
const MAGIC: i8 = 2;
/// The attribute bits that have a meaning; a header that is stamped keeps no others.
const ATTRIBUTES_KNOWN: i16 = 0b111_1111;
/// The least length field of a batch of any format: that of a record of version 0 without anything.
const LENGTH_MIN: i32 = 14;
const LOG_APPEND_TIME_BIT: i16 = 0b1000;

/// What the topic asks of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchRules {
    /// The time of the append.
    pub now: Timestamp,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far behind `now` a record may be.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead of `now` a record may be.
    pub timestamp_after_max_ms: i64,
    /// `max.message.bytes`: the largest batch, as stored.
    pub batch_bytes_max: usize,
    /// Whether `cleanup.policy` names compaction, which needs keys.
    pub compacted: bool,
    /// The most that a batch's records may decompress to.
    pub decompressed_bytes_max: usize,
}

/// What validation found out about a batch that may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchInfo {
    /// The header as the producer sent it.
    pub header: BatchHeader,
    /// How the records are compressed.
    pub codec: Codec,
    /// The largest timestamp of the records, recomputed, or the append time; -1 if none has one.
    pub max_timestamp: Timestamp,
    /// The offset of the first record with that timestamp, minus the base offset; 0 with
    /// `LogAppendTime` and where no record has a timestamp.
    pub max_timestamp_delta: i32,
    /// Present where the header's timestamp fields must be set before the append.
    pub stamp: Option<HeaderStamp>,
}

/// The header fields that the broker sets; the CRC covers them, so it is computed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderStamp {
    /// The attributes to write.
    pub attributes: i16,
    /// The maximum timestamp to write.
    pub max_timestamp: Timestamp,
}

impl HeaderStamp {
    /// Writes the fields into a copy of the batch that was validated, and its new CRC.
    pub fn apply(&self, batch: &mut [u8]) {
        assert!(batch.len() >= BATCH_HEADER_BYTES);
        batch[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        batch[35..43].copy_from_slice(&self.max_timestamp.0.to_be_bytes());
        write_crc(batch);
    }
}

/// Computes and writes the CRC-32C of a whole batch.
pub(super) fn write_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[BATCH_CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Why a batch may not be appended; the comment names Kafka's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Fewer bytes than a header, or than the batch's own length; Kafka then sees no batch at all:
    /// INVALID_RECORD.
    Truncated,
    /// The length field is below the size of any batch: CORRUPT_MESSAGE.
    Length,
    /// Another batch follows; a partition takes one batch per request: INVALID_RECORD.
    Trailing,
    /// Bytes follow that are no batch, so the length or they are wrong: CORRUPT_MESSAGE.
    Rubbish,
    /// The format is of version 0 or 1, which Kafka 4 no longer takes: INVALID_RECORD.
    Magic,
    /// There is no such version of the format: CORRUPT_MESSAGE.
    UnknownMagic,
    /// A producer's base offset is not 0: INVALID_RECORD.
    BaseOffset,
    /// The batch exceeds `max.message.bytes`: MESSAGE_TOO_LARGE.
    TooLarge,
    /// The CRC does not match: CORRUPT_MESSAGE.
    Crc,
    /// The codec bits name no codec: UNSUPPORTED_COMPRESSION_TYPE.
    Codec,
    /// Record count and last offset delta are not positive and consistent: INVALID_RECORD.
    Counts,
    /// Producers may not write control records: INVALID_RECORD.
    Control,
    /// A producer id without a sequence number: INVALID_RECORD.
    Sequence,
    /// The record of this index is malformed, missing or not at its offset: INVALID_RECORD.
    Record(i32),
    /// Bytes follow the last record: INVALID_RECORD.
    RecordsRemain,
    /// The records do not decompress: INVALID_RECORD.
    Decompress,
    /// The records decompress to more than is allowed: INVALID_RECORD.
    DecompressedTooLarge,
    /// Single records are refused: INVALID_TIMESTAMP if any is for its time, else INVALID_RECORD.
    Records(Box<[RecordError]>),
}

/// One refused record, for the response's `record_errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The record's index in the batch.
    pub batch_index: i32,
    /// Why.
    pub reason: RecordErrorReason,
}

/// Why a single record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordErrorReason {
    /// A compacted topic takes no record without a key.
    NullKey,
    /// The timestamp is outside the allowed range around now.
    Timestamp(Timestamp),
    /// The producer marked the batch as stamped by the broker.
    TimestampType,
}

impl RecordErrorReason {
    /// Whether Kafka calls it INVALID_TIMESTAMP rather than INVALID_RECORD.
    pub fn is_timestamp(self) -> bool {
        match self {
            RecordErrorReason::Timestamp(_) | RecordErrorReason::TimestampType => true,
            RecordErrorReason::NullKey => false,
        }
    }
}

/// Checks a producer's batch: `batch` is what one partition of a Produce request carries.
pub fn validate(batch: &[u8], rules: &BatchRules) -> Result<BatchInfo, BatchError> {
    let header = check_envelope(batch)?;
    if header.base_offset != Offset::ZERO {
        return Err(BatchError::BaseOffset);
    }
    if batch.len() > rules.batch_bytes_max {
        return Err(BatchError::TooLarge);
    }
    if crc32c::crc32c(&batch[BATCH_CRC_START..]) != header.crc {
        return Err(BatchError::Crc);
    }
    let codec = check_header(&header)?;
    let records = &batch[BATCH_HEADER_BYTES..];
    let walked = match codec {
        Codec::None => walk(SliceSource::new(records), &header, rules)?,
        Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => {
            let stream = Decompressor::new(codec, records, rules.decompressed_bytes_max)
                .map_err(decompress_error)?;
            walk(StreamSource::new(stream), &header, rules)?
        }
    };
    let (max_timestamp, max_timestamp_delta) = match rules.timestamp_type {
        TimestampType::CreateTime => (walked.max_timestamp, walked.max_timestamp_delta),
        TimestampType::LogAppendTime => (rules.now, 0),
    };
    Ok(BatchInfo {
        header,
        codec,
        max_timestamp,
        max_timestamp_delta,
        stamp: stamp(&header, rules.timestamp_type, max_timestamp),
    })
}

/// Checks that the bytes are one batch of magic 2, whole and nothing else, and its CRC; for
/// batches that were validated when they were appended and come back from a disk or a peer.
pub fn check_whole(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = check_envelope(batch)?;
    if crc32c::crc32c(&batch[BATCH_CRC_START..]) != header.crc {
        return Err(BatchError::Crc);
    }
    Ok(header)
}

fn check_envelope(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    // Length and magic stand at the same place in every format, so they are told first, in the
    // order in which Kafka looks at them.
    let (length, _) = batch
        .get(8..)
        .and_then(|rest| rest.split_first_chunk())
        .ok_or(BatchError::Truncated)?;
    if i32::from_be_bytes(*length) < LENGTH_MIN {
        return Err(BatchError::Length);
    }
    match *batch.get(16).ok_or(BatchError::Truncated)? as i8 {
        MAGIC => {}
        0 | 1 => return Err(BatchError::Magic),
        _ => return Err(BatchError::UnknownMagic),
    }
    let header = BatchHeader::read(batch).ok_or(BatchError::Truncated)?;
    let total = header.total_bytes().ok_or(BatchError::Length)?;
    match batch.len().checked_sub(total) {
        None => Err(BatchError::Truncated),
        Some(0) => Ok(header),
        Some(1..BATCH_LENGTH_PREFIX_BYTES) => Err(BatchError::Rubbish),
        Some(_) => Err(BatchError::Trailing),
    }
}

fn check_header(header: &BatchHeader) -> Result<Codec, BatchError> {
    let codec = header.codec().ok_or(BatchError::Codec)?;
    let counted = i64::from(header.last_offset_delta) + 1;
    if header.record_count <= 0 || counted != i64::from(header.record_count) {
        return Err(BatchError::Counts);
    }
    if header.is_control() {
        return Err(BatchError::Control);
    }
    if header.producer_id > ProducerId::NONE && header.base_sequence < 0 {
        return Err(BatchError::Sequence);
    }
    Ok(codec)
}

struct Walked {
    max_timestamp: Timestamp,
    max_timestamp_delta: i32,
}

fn walk<S: Source>(
    mut source: S,
    header: &BatchHeader,
    rules: &BatchRules,
) -> Result<Walked, BatchError> {
    let mut walked = Walked {
        max_timestamp: Timestamp::NONE,
        max_timestamp_delta: 0,
    };
    let mut refused = Vec::new();
    for index in 0..header.record_count {
        let shape = walk_record(&mut source).map_err(|defect| record_error(defect, index))?;
        if shape.offset_delta != index {
            return Err(BatchError::Record(index));
        }
        // Wraps as the producer's and Kafka's own arithmetic does.
        let timestamp = if header.is_log_append_time() {
            header.max_timestamp
        } else {
            Timestamp(header.base_timestamp.0.wrapping_add(shape.timestamp_delta))
        };
        if timestamp > walked.max_timestamp {
            walked.max_timestamp = timestamp;
            walked.max_timestamp_delta = index;
        }
        if let Some(reason) = refuse_record(shape.has_key, timestamp, header, rules)
            && refused.len() < RECORD_ERRORS_MAX
        {
            let batch_index = index;
            refused.push(RecordError {
                batch_index,
                reason,
            });
        }
    }
    if !source
        .at_end()
        .map_err(|defect| record_error(defect, header.record_count))?
    {
        return Err(BatchError::RecordsRemain);
    }
    if !refused.is_empty() {
        return Err(BatchError::Records(refused.into_boxed_slice()));
    }
    Ok(walked)
}

fn refuse_record(
    has_key: bool,
    timestamp: Timestamp,
    header: &BatchHeader,
    rules: &BatchRules,
) -> Option<RecordErrorReason> {
    if rules.compacted && !has_key {
        return Some(RecordErrorReason::NullKey);
    }
    if rules.timestamp_type == TimestampType::CreateTime && timestamp != Timestamp::NONE {
        let behind_ms = rules.now.0.wrapping_sub(timestamp.0);
        let outside = behind_ms > rules.timestamp_before_max_ms
            || behind_ms.wrapping_neg() > rules.timestamp_after_max_ms;
        return outside.then_some(RecordErrorReason::Timestamp(timestamp));
    }
    header
        .is_log_append_time()
        .then_some(RecordErrorReason::TimestampType)
}

fn stamp(
    header: &BatchHeader,
    timestamp_type: TimestampType,
    max_timestamp: Timestamp,
) -> Option<HeaderStamp> {
    let by_broker = timestamp_type == TimestampType::LogAppendTime;
    if header.is_log_append_time() == by_broker && header.max_timestamp == max_timestamp {
        return None;
    }
    let others = header.attributes & ATTRIBUTES_KNOWN & !LOG_APPEND_TIME_BIT;
    Some(HeaderStamp {
        attributes: if by_broker {
            others | LOG_APPEND_TIME_BIT
        } else {
            others
        },
        max_timestamp,
    })
}

fn record_error(defect: RecordDefect, index: i32) -> BatchError {
    match defect {
        RecordDefect::Malformed => BatchError::Record(index),
        RecordDefect::Decompress(error) => decompress_error(error),
    }
}

fn decompress_error(error: DecompressError) -> BatchError {
    match error {
        DecompressError::Corrupt => BatchError::Decompress,
        DecompressError::TooLarge => BatchError::DecompressedTooLarge,
    }
}
