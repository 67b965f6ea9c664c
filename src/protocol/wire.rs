//! The primitives of Kafka's wire format for the codecs that are written by hand.
//!
//! Source: Apache Kafka, "Protocol Primitive Types", and KIP-482 for compact and tagged fields.
//!
//! `Reader` is bounded three ways: it never reads beyond its bytes; a length or count is checked
//! against the bytes that are left before anything is allocated; and all arrays of one message
//! together draw from one budget of elements, so that a small frame cannot become a large
//! structure. Byte fields are slices of the frame, never copies.

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::TAGGED_FIELDS_MAX;
use crate::model::TopicId;

use super::messages::StrBytes;

/// Why bytes are not the message that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A field goes on beyond the last byte.
    Truncated,
    /// A length or count is below the smallest that it may have.
    NegativeLength,
    /// A field that must be there is null.
    UnexpectedNull,
    /// A string is not UTF-8.
    NotUtf8,
    /// A variable-length integer does not end, or does not fit 32 bits.
    BadVarint,
    /// Tagged fields do not ascend, or a known one has not the size that it states.
    BadTaggedField,
    /// The arrays of the message have more elements than its budget.
    TooManyElements,
}

/// A cursor over one message's bytes.
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// The same bytes, if what is read of them may be slices.
    frame: Option<&'a Bytes>,
    at: usize,
    end: usize,
    flexible: bool,
    elements_left: usize,
}

impl<'a> Reader<'a> {
    /// Reads `frame` from its start. `flexible` selects KIP-482's encodings; `elements_max` bounds
    /// the elements of all arrays of the message together.
    pub fn new(frame: &'a Bytes, flexible: bool, elements_max: usize) -> Reader<'a> {
        Reader {
            frame: Some(frame),
            ..Reader::over(frame, flexible, elements_max)
        }
    }

    /// The same over borrowed bytes: strings and byte fields are copies.
    pub fn over(bytes: &'a [u8], flexible: bool, elements_max: usize) -> Reader<'a> {
        Reader {
            bytes,
            frame: None,
            at: 0,
            end: bytes.len(),
            flexible,
            elements_left: elements_max,
        }
    }

    /// The bytes that are left.
    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// How far the cursor is, in bytes from the frame's start.
    pub fn position(&self) -> usize {
        self.at
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        if length > self.remaining() {
            return Err(WireError::Truncated);
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes: &[u8; N] = self.take(N)?.first_chunk().ok_or(WireError::Truncated)?;
        Ok(*bytes)
    }

    /// An int8.
    pub fn i8(&mut self) -> Result<i8, WireError> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    /// An int16.
    pub fn i16(&mut self) -> Result<i16, WireError> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// An int32.
    pub fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// An int64.
    pub fn i64(&mut self) -> Result<i64, WireError> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// A uuid: 16 bytes.
    pub fn topic_id(&mut self) -> Result<TopicId, WireError> {
        Ok(TopicId(self.fixed()?))
    }

    /// An unsigned varint of at most five bytes.
    pub fn unsigned_varint(&mut self) -> Result<u32, WireError> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(WireError::BadVarint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::BadVarint)
    }

    /// A length prefix: compact in flexible versions, else `prefix` reads the fixed one.
    fn length(
        &mut self,
        fixed: impl FnOnce(&mut Self) -> Result<i64, WireError>,
    ) -> Result<Option<usize>, WireError> {
        let length = if self.flexible {
            i64::from(self.unsigned_varint()?) - 1
        } else {
            fixed(self)?
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_| WireError::NegativeLength),
        }
    }

    /// The next `length` bytes, as a slice of the frame.
    pub fn bytes(&mut self, length: usize) -> Result<Bytes, WireError> {
        let from = self.at;
        let taken = self.take(length)?;
        Ok(match self.frame {
            Some(frame) => frame.slice(from..self.at),
            None => Bytes::copy_from_slice(taken),
        })
    }

    fn string_of(&mut self, length: usize) -> Result<StrBytes, WireError> {
        StrBytes::try_from(self.bytes(length)?).map_err(|_| WireError::NotUtf8)
    }

    /// Goes past a string that may be null.
    pub fn skip_string(&mut self) -> Result<(), WireError> {
        let length = self.length(|reader| Ok(i64::from(reader.i16()?)))?;
        self.take(length.unwrap_or(0)).map(drop)
    }

    /// A string that may be null.
    pub fn nullable_string(&mut self) -> Result<Option<StrBytes>, WireError> {
        let length = self.length(|reader| Ok(i64::from(reader.i16()?)))?;
        length.map(|length| self.string_of(length)).transpose()
    }

    /// A string.
    pub fn string(&mut self) -> Result<StrBytes, WireError> {
        self.nullable_string()?.ok_or(WireError::UnexpectedNull)
    }

    /// Bytes that may be null, as a slice of the frame.
    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, WireError> {
        let length = self.nullable_length()?;
        length.map(|length| self.bytes(length)).transpose()
    }

    /// The length of bytes that may be null; they follow.
    pub fn nullable_length(&mut self) -> Result<Option<usize>, WireError> {
        self.length(|reader| Ok(i64::from(reader.i32()?)))
    }

    /// The number of elements of an array that are then read one by one; it draws from the budget.
    pub fn count(&mut self) -> Result<usize, WireError> {
        let count = self.nullable_length()?.ok_or(WireError::UnexpectedNull)?;
        if count > self.elements_left {
            return Err(WireError::TooManyElements);
        }
        self.elements_left -= count;
        Ok(count)
    }

    /// An array; null reads as empty where `null_is_empty`. Every element takes at least
    /// `element_bytes_min`, so the count is checked against what is left before it sizes anything.
    pub fn array<T>(
        &mut self,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = self.nullable_length()?.ok_or(WireError::UnexpectedNull)?;
        if count.saturating_mul(element_bytes_min.max(1)) > self.remaining() {
            return Err(WireError::Truncated);
        }
        if count > self.elements_left {
            return Err(WireError::TooManyElements);
        }
        self.elements_left -= count;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// The tagged fields at the end of a structure; nothing in versions that are not flexible.
    /// `known` gets each tag with the cursor confined to its field; it returns whether it knows
    /// the tag, and then must have read the whole field. Unknown fields are skipped.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, WireError>,
    ) -> Result<(), WireError> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.unsigned_varint()?;
        if count as usize > TAGGED_FIELDS_MAX {
            return Err(WireError::TooManyElements);
        }
        let mut next_tag = 0;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            if tag < next_tag {
                return Err(WireError::BadTaggedField);
            }
            next_tag = tag.checked_add(1).ok_or(WireError::BadTaggedField)?;
            let size = self.unsigned_varint()? as usize;
            if size > self.remaining() {
                return Err(WireError::Truncated);
            }
            let outer_end = std::mem::replace(&mut self.end, self.at + size);
            let is_known = known(tag, self)?;
            if is_known && self.at != self.end {
                return Err(WireError::BadTaggedField);
            }
            self.at = self.end;
            self.end = outer_end;
        }
        Ok(())
    }

    /// Tagged fields none of which this codec knows.
    pub fn skip_tagged_fields(&mut self) -> Result<(), WireError> {
        self.tagged_fields(|_, _| Ok(false))
    }
}

/// A growing buffer for one message.
pub struct Writer {
    bytes: BytesMut,
    flexible: bool,
}

impl Writer {
    /// Writes in KIP-482's encodings if `flexible`; `capacity_bytes` is a guess.
    pub fn new(flexible: bool, capacity_bytes: usize) -> Writer {
        Writer {
            bytes: BytesMut::with_capacity(capacity_bytes),
            flexible,
        }
    }

    /// What was written since the last split; the writer goes on behind it.
    pub fn split(&mut self) -> Bytes {
        self.bytes.split().freeze()
    }

    /// What was written.
    pub fn finish(self) -> Bytes {
        self.bytes.freeze()
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.bytes.put_u8(u8::from(value));
    }

    /// An int16.
    pub fn i16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    /// An int32.
    pub fn i32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    /// An int64.
    pub fn i64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    /// A uuid: 16 bytes.
    pub fn topic_id(&mut self, id: TopicId) {
        self.bytes.put_slice(&id.0);
    }

    /// An unsigned varint.
    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value as u8);
    }

    /// The length of an array or a byte field. One that does not fit an int32 makes a frame that
    /// has no size, and is refused for that; here it is cut.
    pub fn length(&mut self, length: usize) {
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        if self.flexible {
            self.unsigned_varint(length as u32 + 1);
        } else {
            self.i32(length);
        }
    }

    /// The length of a null array.
    pub fn null_length(&mut self) {
        if self.flexible {
            self.unsigned_varint(0);
        } else {
            self.i32(-1);
        }
    }

    /// A string that may be null. One longer than an int16 can say is cut at a character; only
    /// error messages could come near.
    pub fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None if self.flexible => self.unsigned_varint(0),
            None => self.i16(-1),
        }
    }

    /// A string; see `nullable_string`.
    pub fn string(&mut self, value: &str) {
        let value = &value[..value.floor_char_boundary(i16::MAX as usize)];
        if self.flexible {
            self.unsigned_varint(value.len() as u32 + 1);
        } else {
            self.i16(value.len() as i16);
        }
        self.bytes.put_slice(value.as_bytes());
    }

    /// The end of a structure without tagged fields; nothing in versions that are not flexible.
    pub fn no_tagged_fields(&mut self) {
        if self.flexible {
            self.bytes.put_u8(0);
        }
    }

    /// The number of tagged fields that follow.
    pub fn tagged_field_count(&mut self, count: u32) {
        self.unsigned_varint(count);
    }

    /// One tagged field whose content `field` writes.
    pub fn tagged_field(&mut self, tag: u32, field: impl FnOnce(&mut Writer)) {
        let mut content = Writer::new(self.flexible, 64);
        field(&mut content);
        self.unsigned_varint(tag);
        self.unsigned_varint(content.bytes.len() as u32);
        self.bytes.put_slice(&content.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(
        bytes: &[u8],
        flexible: bool,
        field: impl FnOnce(&mut Reader<'_>) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        field(&mut Reader::new(
            &Bytes::copy_from_slice(bytes),
            flexible,
            4,
        ))
    }

    #[test]
    fn varints_end_within_five_bytes_and_32_bits() {
        let check = |bytes: &[u8], expected: Result<u32, WireError>| {
            assert_eq!(
                read(bytes, true, |r| r.unsigned_varint()),
                expected,
                "{bytes:?}"
            );
            if let Ok(value) = expected {
                let mut writer = Writer::new(true, 0);
                writer.unsigned_varint(value);
                assert_eq!(&writer.finish()[..], bytes);
            }
        };
        check(&[0], Ok(0));
        check(&[0x7f], Ok(127));
        check(&[0x80, 1], Ok(128));
        check(&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX));
        check(&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(WireError::BadVarint));
        check(
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0],
            Err(WireError::BadVarint),
        );
        check(&[0x80], Err(WireError::Truncated));
    }

    #[test]
    fn a_length_beyond_the_protocol_is_no_panic() {
        for flexible in [false, true] {
            let mut writer = Writer::new(flexible, 0);
            writer.length(i32::MAX as usize + 1);
            let written = writer.finish();
            let length = Reader::new(&written, flexible, 0).length(|r| Ok(i64::from(r.i32()?)));
            assert_eq!(length, Ok(Some(i32::MAX as usize)));
        }
    }

    #[test]
    fn strings_are_bounded_and_checked() {
        let check = |bytes: &[u8], flexible: bool, expected: Result<Option<&str>, WireError>| {
            let got = read(bytes, flexible, |r| r.nullable_string());
            assert_eq!(
                got.as_ref().map(|s| s.as_deref()).map_err(|&error| error),
                expected,
                "{bytes:?}"
            );
        };
        check(&[0, 2, b'h', b'i'], false, Ok(Some("hi")));
        check(&[0, 0], false, Ok(Some("")));
        check(&[0xff, 0xff], false, Ok(None));
        check(&[0xff, 0xfe], false, Err(WireError::NegativeLength));
        check(&[0, 3, b'h', b'i'], false, Err(WireError::Truncated));
        check(&[0, 1, 0xff], false, Err(WireError::NotUtf8));
        check(&[3, b'h', b'i'], true, Ok(Some("hi")));
        check(&[1], true, Ok(Some("")));
        check(&[0], true, Ok(None));
        check(
            &[0xff, 0xff, 0xff, 0xff, 0x0f],
            true,
            Err(WireError::Truncated),
        );
        assert_eq!(
            read(&[0], true, |r| r.string()),
            Err(WireError::UnexpectedNull)
        );
    }

    #[test]
    fn arrays_draw_from_one_budget() {
        let numbers = |r: &mut Reader<'_>| r.array(1, |r| r.i8());
        assert_eq!(read(&[0, 0, 0, 2, 7, 8], false, numbers), Ok(vec![7, 8]));
        assert_eq!(read(&[3, 7, 8], true, numbers), Ok(vec![7, 8]));
        assert_eq!(read(&[0], true, numbers), Err(WireError::UnexpectedNull));
        assert_eq!(
            read(&[6, 1, 2, 3, 4, 5], true, numbers),
            Err(WireError::TooManyElements)
        );
        assert_eq!(
            read(&[0x7f, 0xff, 0xff, 0xff], false, numbers),
            Err(WireError::Truncated)
        );
        let nested = |r: &mut Reader<'_>| r.array(1, |r| r.array(1, |r| r.i8()));
        assert_eq!(
            read(&[2, 4, 1, 2, 3], true, nested),
            Ok(vec![vec![1, 2, 3]])
        );
        assert_eq!(
            read(&[3, 3, 1, 2, 2, 1], true, nested),
            Err(WireError::TooManyElements)
        );
    }

    #[test]
    fn tagged_fields_ascend_and_stay_within_their_size() {
        let check = |bytes: &[u8], expected: Result<Option<i16>, WireError>| {
            let got = read(bytes, true, |r| {
                let mut seven = None;
                r.tagged_fields(|tag, r| {
                    if tag == 7 {
                        seven = Some(r.i16()?);
                    }
                    Ok(tag == 7)
                })?;
                Ok(seven)
            });
            assert_eq!(got, expected, "{bytes:?}");
        };
        check(&[0], Ok(None));
        check(&[1, 7, 2, 0, 9], Ok(Some(9)));
        check(&[2, 3, 1, 0xaa, 7, 2, 0, 9], Ok(Some(9)));
        check(&[2, 7, 2, 0, 9, 7, 2, 0, 9], Err(WireError::BadTaggedField));
        check(&[2, 7, 2, 0, 9, 3, 1, 0xaa], Err(WireError::BadTaggedField));
        check(&[1, 7, 3, 0, 9, 0], Err(WireError::BadTaggedField));
        check(&[1, 7, 1, 0, 9], Err(WireError::Truncated));
        check(&[1, 7, 3, 0, 9], Err(WireError::Truncated));
        check(
            &[0xff, 0xff, 0xff, 0xff, 0x0f],
            Err(WireError::TooManyElements),
        );
    }
}
