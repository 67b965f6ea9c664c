//! One record's bytes: varints, and a walk over its fields that works on plain bytes in place and
//! on a stream that is still being decompressed.
//!
//! A record is `length: varint`, then `length` bytes: `attributes: i8`, `timestamp_delta: varlong`,
//! `offset_delta: varint`, key, value, and `header_count: varint` headers; key, value and a
//! header's value are a varint length (negative means null) and bytes.

use super::compress::{DecompressError, Decompressor};

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordDefect {
    /// A length, count or varint is impossible, or the fields do not fill the record exactly.
    Malformed,
    /// The records' compressed form is at fault.
    Decompress(DecompressError),
}

impl From<DecompressError> for RecordDefect {
    fn from(error: DecompressError) -> RecordDefect {
        RecordDefect::Decompress(error)
    }
}

/// What validation needs of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordShape {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) has_key: bool,
}

/// Bytes that are read forward only.
pub(super) trait Source {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, RecordDefect>;
    /// Passes over `count` bytes, all of which must exist.
    fn skip(&mut self, count: usize) -> Result<(), RecordDefect>;
    /// Bytes read so far.
    fn position(&self) -> u64;
    /// Whether no byte is left.
    fn at_end(&mut self) -> Result<bool, RecordDefect>;

    /// A zigzag varint of at most five bytes.
    #[inline]
    fn varint(&mut self) -> Result<i32, RecordDefect> {
        let mut raw = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            raw |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1) as i32 ^ -((raw & 1) as i32));
            }
        }
        Err(RecordDefect::Malformed)
    }

    /// A zigzag varint of at most ten bytes.
    #[inline]
    fn varlong(&mut self) -> Result<i64, RecordDefect> {
        let mut raw = 0_u64;
        for shift in [0, 7, 14, 21, 28, 35, 42, 49, 56, 63] {
            let byte = self.byte()?;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        Err(RecordDefect::Malformed)
    }
}

/// Walks one record and checks that its fields fill it exactly.
#[inline]
pub(super) fn walk_record<S: Source>(source: &mut S) -> Result<RecordShape, RecordDefect> {
    let length = source.varint()?;
    let length = u64::try_from(length).map_err(|_| RecordDefect::Malformed)?;
    let end = source.position() + length;
    let _attributes = source.byte()?;
    let timestamp_delta = source.varlong()?;
    let offset_delta = source.varint()?;
    let has_key = skip_nullable(source, end)?;
    skip_nullable(source, end)?;
    let header_count = source.varint()?;
    if header_count < 0 {
        return Err(RecordDefect::Malformed);
    }
    // Each header takes two bytes at least, so a count that lies ends at `end`, not at 2^31.
    for _ in 0..header_count {
        if !skip_nullable(source, end)? {
            return Err(RecordDefect::Malformed);
        }
        skip_nullable(source, end)?;
    }
    if source.position() != end {
        return Err(RecordDefect::Malformed);
    }
    Ok(RecordShape {
        timestamp_delta,
        offset_delta,
        has_key,
    })
}

/// Passes over a nullable field; false if it is null.
#[inline]
fn skip_nullable<S: Source>(source: &mut S, end: u64) -> Result<bool, RecordDefect> {
    let Ok(length) = usize::try_from(source.varint()?) else {
        return Ok(false);
    };
    if source.position() + length as u64 > end {
        return Err(RecordDefect::Malformed);
    }
    source.skip(length)?;
    Ok(true)
}

/// Plain bytes, read in place.
pub(super) struct SliceSource<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> SliceSource<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> SliceSource<'a> {
        SliceSource { bytes, at: 0 }
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], RecordDefect> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(RecordDefect::Malformed)?;
        self.at += count;
        Ok(taken)
    }

    /// Bytes behind a varint length; `None` if the length is negative.
    pub(super) fn take_nullable(&mut self) -> Result<Option<&'a [u8]>, RecordDefect> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Everything that is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}

impl Source for SliceSource<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordDefect> {
        let byte = *self.bytes.get(self.at).ok_or(RecordDefect::Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), RecordDefect> {
        if count > self.bytes.len() - self.at {
            return Err(RecordDefect::Malformed);
        }
        self.at += count;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.at as u64
    }

    fn at_end(&mut self) -> Result<bool, RecordDefect> {
        Ok(self.at == self.bytes.len())
    }
}

/// Bytes that are decompressed as they are read; memory stays at one chunk.
pub(super) struct StreamSource<'a> {
    stream: Decompressor<'a>,
    position: u64,
}

impl<'a> StreamSource<'a> {
    pub(super) fn new(stream: Decompressor<'a>) -> StreamSource<'a> {
        StreamSource {
            stream,
            position: 0,
        }
    }
}

impl Source for StreamSource<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordDefect> {
        let byte = *self
            .stream
            .chunk()?
            .first()
            .ok_or(RecordDefect::Malformed)?;
        self.stream.consume(1);
        self.position += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), RecordDefect> {
        let mut left = count;
        while left > 0 {
            let available = self.stream.chunk()?.len();
            if available == 0 {
                return Err(RecordDefect::Malformed);
            }
            let step = available.min(left);
            self.stream.consume(step);
            left -= step;
        }
        self.position += count as u64;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn at_end(&mut self) -> Result<bool, RecordDefect> {
        Ok(self.stream.chunk()?.is_empty())
    }
}

/// Appends a zigzag varint; a varint and a varlong of the same value are the same bytes.
pub(super) fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_and_end() {
        for value in [
            0,
            1,
            -1,
            63,
            64,
            -64,
            -65,
            300,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
        ] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(
                SliceSource::new(&bytes).varint(),
                Ok(value as i32),
                "{value}"
            );
            assert_eq!(SliceSource::new(&bytes).varlong(), Ok(value), "{value}");
        }
        for value in [i64::MAX, i64::MIN, 1 << 40] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(SliceSource::new(&bytes).varlong(), Ok(value), "{value}");
        }
        let endless = [0xff; 11];
        assert_eq!(
            SliceSource::new(&endless).varint(),
            Err(RecordDefect::Malformed)
        );
        assert_eq!(
            SliceSource::new(&endless).varlong(),
            Err(RecordDefect::Malformed)
        );
        assert_eq!(
            SliceSource::new(&endless[..3]).varint(),
            Err(RecordDefect::Malformed)
        );
    }

    fn check(record: &[u8], expected: Result<RecordShape, RecordDefect>) {
        assert_eq!(
            walk_record(&mut SliceSource::new(record)),
            expected,
            "{record:?}"
        );
    }

    #[test]
    fn a_record_is_filled_exactly_by_its_fields() {
        let shape = |has_key| RecordShape {
            timestamp_delta: 1,
            offset_delta: 2,
            has_key,
        };
        let bad = Err(RecordDefect::Malformed);
        // length, attributes, timestamp, offset, key, value, headers
        check(&[12, 0, 2, 4, 1, 1, 0], Ok(shape(false)));
        check(&[14, 0, 2, 4, 2, b'k', 1, 0], Ok(shape(true)));
        check(&[16, 0, 2, 4, 1, 1, 2, 0, 1], Ok(shape(false)));
        check(&[14, 0, 2, 4, 1, 1, 0], bad); // one byte short
        check(&[10, 0, 2, 4, 1, 1, 0], bad); // one byte over
        check(&[12, 0, 2, 4, 1, 1, 1], bad); // header count -1
        check(&[12, 0, 2, 4, 1, 1, 0x7e], bad); // 63 headers in no bytes
        check(&[16, 0, 2, 4, 1, 1, 2, 1, 1], bad); // null header key
        check(&[14, 0, 2, 4, 20, b'k', 1, 0], bad); // key of ten bytes in one
        check(&[1, 0, 2, 4, 1, 1, 0], bad); // length -1
        check(&[], bad);
    }
}
