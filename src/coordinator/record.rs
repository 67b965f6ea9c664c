//! The records of `__consumer_offsets`, byte for byte as Apache Kafka 4 writes them.
//!
//! A key starts with its version: 0 and 1 are a committed offset, 2 is a group's metadata; higher
//! ones belong to group protocols that are not served here and are passed over. A value starts
//! with its own version. Values are written in version 3 (version 1 where a commit names its own
//! expiry), which every lag tool reads; versions 0 to 4 are read.
//!
//! Source: OffsetCommitKey, OffsetCommitValue, GroupMetadataKey, GroupMetadataValue of Kafka's
//! group coordinator.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::Timestamp;

const OFFSET_KEY_VERSION: i16 = 1;
const GROUP_KEY_VERSION: i16 = 2;
const VALUE_VERSION: i16 = 3;
const OFFSET_VALUE_WITH_EXPIRY_VERSION: i16 = 1;
/// The first version of both values that has compact lengths and tagged fields.
const FLEXIBLE_VERSION: i16 = 4;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKey {
    /// A group's metadata.
    Group {
        /// The group.
        group_id: Arc<str>,
    },
    /// A committed offset.
    Offset {
        /// The group.
        group_id: Arc<str>,
        /// The topic.
        topic: Arc<str>,
        /// The partition's index.
        partition: i32,
    },
}

impl RecordKey {
    /// The group that the record belongs to.
    pub fn group_id(&self) -> &Arc<str> {
        match self {
            RecordKey::Group { group_id } | RecordKey::Offset { group_id, .. } => group_id,
        }
    }
}

/// A committed offset with what expiry needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: Arc<str>,
    pub(super) commit_time: Timestamp,
    /// When the offset ends, where the commit said so.
    pub(super) expire_time: Option<Timestamp>,
}

/// A group's metadata as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredGroup {
    pub(super) protocol_type: String,
    pub(super) generation: i32,
    pub(super) protocol_name: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) state_since: Option<Timestamp>,
    pub(super) members: Vec<StoredMember>,
}

/// A member as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredMember {
    pub(super) member_id: String,
    pub(super) group_instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) metadata: Bytes,
    pub(super) assignment: Bytes,
}

/// Why a record cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The record has no key.
    NoKey,
    /// Key or value end early or hold impossible lengths.
    Malformed,
    /// The value's version is newer than this reader.
    ValueVersion(i16),
}

/// Encodes a key.
pub(super) fn encode_key(key: &RecordKey) -> Bytes {
    let mut out = Vec::new();
    match key {
        RecordKey::Group { group_id } => {
            put_i16(&mut out, GROUP_KEY_VERSION);
            put_string(&mut out, group_id);
        }
        RecordKey::Offset {
            group_id,
            topic,
            partition,
        } => {
            put_i16(&mut out, OFFSET_KEY_VERSION);
            put_string(&mut out, group_id);
            put_string(&mut out, topic);
            put_i32(&mut out, *partition);
        }
    }
    out.into()
}

/// Decodes a key; `None` if its version belongs to another group protocol.
pub(super) fn decode_key(key: &[u8]) -> Result<Option<RecordKey>, RecordError> {
    let mut input = Input {
        rest: key,
        flexible: false,
    };
    match input.i16()? {
        0 | OFFSET_KEY_VERSION => Ok(Some(RecordKey::Offset {
            group_id: input.string()?.into(),
            topic: input.string()?.into(),
            partition: input.i32()?,
        })),
        GROUP_KEY_VERSION => Ok(Some(RecordKey::Group {
            group_id: input.string()?.into(),
        })),
        _ => Ok(None),
    }
}

/// Encodes a committed offset.
pub(super) fn encode_offset(committed: &Committed) -> Bytes {
    let mut out = Vec::with_capacity(32 + committed.metadata.len());
    match committed.expire_time {
        Some(expire_time) => {
            put_i16(&mut out, OFFSET_VALUE_WITH_EXPIRY_VERSION);
            put_i64(&mut out, committed.offset);
            put_string(&mut out, &committed.metadata);
            put_i64(&mut out, committed.commit_time.0);
            put_i64(&mut out, expire_time.0);
        }
        None => {
            put_i16(&mut out, VALUE_VERSION);
            put_i64(&mut out, committed.offset);
            put_i32(&mut out, committed.leader_epoch);
            put_string(&mut out, &committed.metadata);
            put_i64(&mut out, committed.commit_time.0);
        }
    }
    out.into()
}

/// Decodes a committed offset.
pub(super) fn decode_offset(value: &[u8]) -> Result<Committed, RecordError> {
    let (version, mut input) = Input::value(value)?;
    let offset = input.i64()?;
    let leader_epoch = if version >= 3 { input.i32()? } else { -1 };
    let metadata = input.string()?.into();
    let commit_time = Timestamp(input.i64()?);
    let expire_ms = if version == OFFSET_VALUE_WITH_EXPIRY_VERSION {
        input.i64()?
    } else {
        -1
    };
    Ok(Committed {
        offset,
        leader_epoch,
        metadata,
        commit_time,
        expire_time: (expire_ms != -1).then_some(Timestamp(expire_ms)),
    })
}

/// Encodes a group's metadata.
pub(super) fn encode_group(group: &StoredGroup) -> Bytes {
    let mut out = Vec::new();
    put_i16(&mut out, VALUE_VERSION);
    put_string(&mut out, &group.protocol_type);
    put_i32(&mut out, group.generation);
    put_nullable_string(&mut out, group.protocol_name.as_deref());
    put_nullable_string(&mut out, group.leader.as_deref());
    put_i64(&mut out, group.state_since.unwrap_or(Timestamp::NONE).0);
    put_i32(
        &mut out,
        i32::try_from(group.members.len()).expect("members below 2^31"),
    );
    for member in &group.members {
        put_string(&mut out, &member.member_id);
        put_nullable_string(&mut out, member.group_instance_id.as_deref());
        put_string(&mut out, &member.client_id);
        put_string(&mut out, &member.client_host);
        put_i32(&mut out, member.rebalance_timeout_ms);
        put_i32(&mut out, member.session_timeout_ms);
        put_bytes(&mut out, &member.metadata);
        put_bytes(&mut out, &member.assignment);
    }
    out.into()
}

/// Decodes a group's metadata.
pub(super) fn decode_group(value: &[u8]) -> Result<StoredGroup, RecordError> {
    let (version, mut input) = Input::value(value)?;
    let protocol_type = input.string()?.to_owned();
    let generation = input.i32()?;
    let protocol_name = input.nullable_string()?.map(str::to_owned);
    let leader = input.nullable_string()?.map(str::to_owned);
    let state_ms = if version >= 2 { input.i64()? } else { -1 };
    let count = input.count()?;
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(decode_member(version, &mut input)?);
    }
    Ok(StoredGroup {
        protocol_type,
        generation,
        protocol_name,
        leader,
        state_since: (state_ms != -1).then_some(Timestamp(state_ms)),
        members,
    })
}

fn decode_member(version: i16, input: &mut Input<'_>) -> Result<StoredMember, RecordError> {
    let member_id = input.string()?.to_owned();
    let instance = if version >= 3 {
        input.nullable_string()?
    } else {
        None
    };
    let client_id = input.string()?.to_owned();
    let client_host = input.string()?.to_owned();
    let rebalance_timeout_ms = if version >= 1 { input.i32()? } else { -1 };
    let session_timeout_ms = input.i32()?;
    let metadata = Bytes::copy_from_slice(input.bytes()?);
    let assignment = Bytes::copy_from_slice(input.bytes()?);
    input.tagged_fields()?;
    Ok(StoredMember {
        member_id,
        group_instance_id: instance.map(str::to_owned),
        client_id,
        client_host,
        rebalance_timeout_ms: if rebalance_timeout_ms == -1 {
            session_timeout_ms
        } else {
            rebalance_timeout_ms
        },
        session_timeout_ms,
        metadata,
        assignment,
    })
}

/// Bytes that are read forward, in either of the two encodings of lengths.
struct Input<'a> {
    rest: &'a [u8],
    flexible: bool,
}

impl<'a> Input<'a> {
    fn value(value: &'a [u8]) -> Result<(i16, Input<'a>), RecordError> {
        let mut input = Input {
            rest: value,
            flexible: false,
        };
        let version = input.i16()?;
        if !(0..=FLEXIBLE_VERSION).contains(&version) {
            return Err(RecordError::ValueVersion(version));
        }
        input.flexible = version >= FLEXIBLE_VERSION;
        Ok((version, input))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(RecordError::Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn i16(&mut self) -> Result<i16, RecordError> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        self.take().map(i64::from_be_bytes)
    }

    fn uvarint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Malformed)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(RecordError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn nullable_string(&mut self) -> Result<Option<&'a str>, RecordError> {
        let length = if self.flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            i64::from(self.i16()?)
        };
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| RecordError::Malformed)?;
        let text = std::str::from_utf8(self.slice(length)?);
        text.map(Some).map_err(|_| RecordError::Malformed)
    }

    fn string(&mut self) -> Result<&'a str, RecordError> {
        self.nullable_string()?.ok_or(RecordError::Malformed)
    }

    fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = self.count()?;
        self.slice(length)
    }

    fn count(&mut self) -> Result<usize, RecordError> {
        let count = if self.flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            i64::from(self.i32()?)
        };
        usize::try_from(count).map_err(|_| RecordError::Malformed)
    }

    fn tagged_fields(&mut self) -> Result<(), RecordError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let length = self.uvarint()? as usize;
            self.slice(length)?;
        }
        Ok(())
    }
}

fn put_i16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Requests with longer strings are refused at the door, so none comes here.
fn put_string(out: &mut Vec<u8>, text: &str) {
    put_i16(
        out,
        i16::try_from(text.len()).expect("strings are checked at the door"),
    );
    out.extend_from_slice(text.as_bytes());
}

fn put_nullable_string(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => put_i16(out, -1),
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_i32(
        out,
        i32::try_from(bytes.len()).expect("opaque bytes of one request"),
    );
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset_key() -> RecordKey {
        RecordKey::Offset {
            group_id: "g".into(),
            topic: "t".into(),
            partition: 7,
        }
    }

    fn committed() -> Committed {
        Committed {
            offset: 42,
            leader_epoch: 5,
            metadata: "m".into(),
            commit_time: Timestamp(1000),
            expire_time: None,
        }
    }

    #[test]
    fn keys_are_kafkas_bytes() {
        let key = offset_key();
        let bytes = encode_key(&key);
        assert_eq!(
            bytes.as_ref(),
            b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x07"
        );
        assert_eq!(decode_key(&bytes), Ok(Some(key.clone())));
        assert_eq!(
            decode_key(b"\x00\x00\x00\x01g\x00\x01t\x00\x00\x00\x07"),
            Ok(Some(key))
        );
        let group = RecordKey::Group {
            group_id: "g".into(),
        };
        assert_eq!(encode_key(&group).as_ref(), b"\x00\x02\x00\x01g");
        assert_eq!(decode_key(b"\x00\x02\x00\x01g"), Ok(Some(group)));
        assert_eq!(
            decode_key(b"\x00\x03\x00\x01g"),
            Ok(None),
            "another group protocol"
        );
        assert_eq!(
            decode_key(b"\x00\x02\x00\x05g"),
            Err(RecordError::Malformed)
        );
        assert_eq!(decode_key(b"\x00"), Err(RecordError::Malformed));
    }

    #[test]
    fn offsets_are_kafkas_bytes() {
        let bytes = encode_offset(&committed());
        let expected = b"\x00\x03\x00\x00\x00\x00\x00\x00\x00\x2a\x00\x00\x00\x05\x00\x01m\
            \x00\x00\x00\x00\x00\x00\x03\xe8";
        assert_eq!(bytes.as_ref(), expected);
        assert_eq!(decode_offset(&bytes), Ok(committed()));

        let expiring = Committed {
            leader_epoch: -1,
            expire_time: Some(Timestamp(2000)),
            ..committed()
        };
        let bytes = encode_offset(&expiring);
        assert_eq!(&bytes[..2], b"\x00\x01");
        assert_eq!(decode_offset(&bytes), Ok(expiring));
    }

    #[test]
    fn every_version_of_an_offset_is_read() {
        let plain = Committed {
            leader_epoch: -1,
            ..committed()
        };
        let tail = b"\x00\x00\x00\x00\x00\x00\x00\x2a\x00\x01m\x00\x00\x00\x00\x00\x00\x03\xe8";
        for version in [b"\x00\x00", b"\x00\x02"] {
            assert_eq!(
                decode_offset(&[version.as_slice(), tail].concat()),
                Ok(plain.clone())
            );
        }
        // Version 4: a compact string, and a tagged field that is passed over.
        let flexible = b"\x00\x04\x00\x00\x00\x00\x00\x00\x00\x2a\x00\x00\x00\x05\x02m\
            \x00\x00\x00\x00\x00\x00\x03\xe8\x01\x00\x02ab";
        assert_eq!(decode_offset(flexible), Ok(committed()));
        assert_eq!(
            decode_offset(b"\x00\x05"),
            Err(RecordError::ValueVersion(5))
        );
        assert_eq!(decode_offset(b"\x00\x03\x00"), Err(RecordError::Malformed));
    }

    fn stored() -> StoredGroup {
        StoredGroup {
            protocol_type: "consumer".to_owned(),
            generation: 3,
            protocol_name: Some("range".to_owned()),
            leader: Some("m-1".to_owned()),
            state_since: Some(Timestamp(77)),
            members: vec![StoredMember {
                member_id: "m-1".to_owned(),
                group_instance_id: Some("i".to_owned()),
                client_id: "c".to_owned(),
                client_host: "/127.0.0.1".to_owned(),
                rebalance_timeout_ms: 300_000,
                session_timeout_ms: 45_000,
                metadata: Bytes::from_static(b"meta"),
                assignment: Bytes::from_static(b"assign"),
            }],
        }
    }

    #[test]
    fn groups_round_trip() {
        let bytes = encode_group(&stored());
        assert_eq!(&bytes[..2], b"\x00\x03");
        assert_eq!(decode_group(&bytes), Ok(stored()));
        for cut in 0..bytes.len() {
            assert!(decode_group(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn old_and_new_versions_of_groups_are_read() {
        let v0 = b"\x00\x00\x00\x08consumer\x00\x00\x00\x03\x00\x05range\x00\x03m-1\
            \x00\x00\x00\x01\x00\x03m-1\x00\x01c\x00\x0a/127.0.0.1\x00\x00\xaf\xc8\
            \x00\x00\x00\x04meta\x00\x00\x00\x06assign";
        let mut expected = stored();
        expected.state_since = None;
        expected.members[0].group_instance_id = None;
        expected.members[0].rebalance_timeout_ms = 45_000;
        assert_eq!(decode_group(v0), Ok(expected));
        let v4 = b"\x00\x04\x09consumer\x00\x00\x00\x03\x06range\x04m-1\
            \x00\x00\x00\x00\x00\x00\x00\x4d\x02\x04m-1\x02i\x02c\x0b/127.0.0.1\
            \x00\x04\x93\xe0\x00\x00\xaf\xc8\x05meta\x07assign\x00\x00";
        assert_eq!(decode_group(v4), Ok(stored()));
        // A member count that lies costs what is there, not what it says.
        let lying = b"\x00\x03\x00\x00\x00\x00\x00\x03\xff\xff\xff\xff\
            \x00\x00\x00\x00\x00\x00\x00\x4d\x7f\xff\xff\xff";
        assert_eq!(decode_group(lying), Err(RecordError::Malformed));
    }
}
