//! Reading the records of a batch: offset, timestamp, key, value, headers, as borrowed slices.
//!
//! The batch is one that was validated when it was appended; still nothing here trusts it, since
//! the command line reads batches that a network brought.

use std::borrow::Cow;

use super::compress::{DecompressError, decompress};
use super::header::{BATCH_HEADER_BYTES, BatchHeader, Codec};
use super::record::{RecordDefect, SliceSource, Source};
use crate::model::{Offset, Timestamp};

/// Why a batch's records cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordsError {
    /// The bytes are no batch of magic 2, or end early.
    Truncated,
    /// The codec bits name no codec.
    Codec,
    /// The records do not decompress.
    Decompress,
    /// The records decompress to more than the caller's limit.
    TooLarge,
    /// A record is malformed or missing.
    Malformed,
}

/// Opens the records of the batch at the start of `batch`; what follows the batch is ignored.
/// Decompressed records take at most `limit_bytes` of memory; plain ones are read in place.
pub fn records(batch: &[u8], limit_bytes: usize) -> Result<Records<'_>, RecordsError> {
    let header = BatchHeader::read(batch).ok_or(RecordsError::Truncated)?;
    let total = header.total_bytes().ok_or(RecordsError::Truncated)?;
    let payload = batch
        .get(BATCH_HEADER_BYTES..total)
        .ok_or(RecordsError::Truncated)?;
    let plain = match header.codec().ok_or(RecordsError::Codec)? {
        Codec::None => Cow::Borrowed(payload),
        codec => match decompress(codec, payload, limit_bytes) {
            Ok(plain) => Cow::Owned(plain),
            Err(DecompressError::Corrupt) => return Err(RecordsError::Decompress),
            Err(DecompressError::TooLarge) => return Err(RecordsError::TooLarge),
        },
    };
    Ok(Records { header, plain })
}

/// A batch's records, decompressed; iterate over a reference to it.
pub struct Records<'a> {
    header: BatchHeader,
    plain: Cow<'a, [u8]>,
}

impl Records<'_> {
    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records in offset order.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter {
            header: &self.header,
            source: SliceSource::new(&self.plain),
            left: self.header.record_count,
        }
    }
}

impl<'r> IntoIterator for &'r Records<'_> {
    type Item = Result<Record<'r>, RecordsError>;
    type IntoIter = RecordIter<'r>;
    fn into_iter(self) -> RecordIter<'r> {
        self.iter()
    }
}

/// One record; its slices live as long as the `Records` it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'r> {
    /// The record's offset.
    pub offset: Offset,
    /// The record's timestamp; the append time where the broker stamped the batch.
    pub timestamp: Timestamp,
    /// The key; `None` is null, which is not the same as empty.
    pub key: Option<&'r [u8]>,
    /// The value; `None` is null: a tombstone where the topic is compacted.
    pub value: Option<&'r [u8]>,
    /// The headers, in order; keys may repeat.
    pub headers: Headers<'r>,
}

/// The headers of one record: an iterator over key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'r> {
    /// Checked when the record was read.
    bytes: &'r [u8],
    left: i32,
}

impl Headers<'_> {
    /// The number of headers that are left.
    pub fn len(&self) -> usize {
        self.left as usize
    }

    /// Whether no header is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'r> Iterator for Headers<'r> {
    type Item = (&'r [u8], Option<&'r [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let mut source = SliceSource::new(self.bytes);
        let (key, value) = header(&mut source).expect("headers were checked with their record");
        self.bytes = source.rest();
        self.left -= 1;
        Some((key, value))
    }
}

/// Iterates over a batch's records; ends after the first error.
pub struct RecordIter<'r> {
    header: &'r BatchHeader,
    source: SliceSource<'r>,
    left: i32,
}

impl<'r> Iterator for RecordIter<'r> {
    type Item = Result<Record<'r>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let record = read_record(&mut self.source, self.header);
        if record.is_err() {
            self.left = 0;
        }
        Some(record.map_err(|_| RecordsError::Malformed))
    }
}

fn read_record<'r>(
    source: &mut SliceSource<'r>,
    batch: &BatchHeader,
) -> Result<Record<'r>, RecordDefect> {
    let body = source.take_nullable()?.ok_or(RecordDefect::Malformed)?;
    let mut body = SliceSource::new(body);
    let _attributes = body.byte()?;
    let timestamp_delta = body.varlong()?;
    let offset_delta = body.varint()?;
    let key = body.take_nullable()?;
    let value = body.take_nullable()?;
    let left = body.varint()?;
    if left < 0 {
        return Err(RecordDefect::Malformed);
    }
    let bytes = body.rest();
    for _ in 0..left {
        header(&mut body)?;
    }
    if !body.at_end()? {
        return Err(RecordDefect::Malformed);
    }
    let timestamp = if batch.is_log_append_time() {
        batch.max_timestamp
    } else {
        Timestamp(batch.base_timestamp.0.wrapping_add(timestamp_delta))
    };
    Ok(Record {
        offset: Offset(batch.base_offset.0.wrapping_add(i64::from(offset_delta))),
        timestamp,
        key,
        value,
        headers: Headers { bytes, left },
    })
}

type Header<'r> = (&'r [u8], Option<&'r [u8]>);

fn header<'r>(source: &mut SliceSource<'r>) -> Result<Header<'r>, RecordDefect> {
    let key = source.take_nullable()?.ok_or(RecordDefect::Malformed)?;
    Ok((key, source.take_nullable()?))
}
