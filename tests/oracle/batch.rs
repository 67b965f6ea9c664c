//! Record batches, well-formed or broken on purpose.

use std::sync::OnceLock;

use bytes::{BufMut, Bytes, BytesMut};

pub(crate) const GZIP: i16 = 1;
pub(crate) const SNAPPY: i16 = 2;
pub(crate) const LZ4: i16 = 3;
pub(crate) const ZSTD: i16 = 4;
pub(crate) const LOG_APPEND_TIME: i16 = 8;
pub(crate) const TRANSACTIONAL: i16 = 16;
pub(crate) const CONTROL: i16 = 32;

/// Three hours before the run: not to be taken for a broker's own time, and young enough that no
/// broker removes what it marks.
static BASE_TIMESTAMP: OnceLock<i64> = OnceLock::new();

pub(crate) fn base_timestamp() -> i64 {
    *BASE_TIMESTAMP.get().expect("set when the run starts")
}

pub(crate) fn set_base_timestamp(started_ms: i64) {
    let base = started_ms / 1_000_000 * 1_000_000 - 3 * 3_600_000;
    BASE_TIMESTAMP.set(base).expect("set once");
}

const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;

#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(&'static str, Option<Vec<u8>>)>,
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
}

/// A batch before it is written. Fields that are derived can be given a wrong value.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) base_offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) attributes: i16,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: Option<i64>,
    pub(crate) last_offset_delta: Option<i32>,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: Option<i32>,
    pub(crate) records: Vec<Record>,
}

impl Batch {
    /// Records with these values, a second apart.
    pub(crate) fn of(values: &[&str]) -> Batch {
        let record = |(i, value): (usize, &&str)| Record {
            key: Some(format!("key-{i}").into_bytes()),
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
            timestamp_delta: i as i64 * 1000,
            offset_delta: i as i32,
        };
        Batch {
            base_offset: 0,
            leader_epoch: -1,
            attributes: 0,
            base_timestamp: base_timestamp(),
            max_timestamp: None,
            last_offset_delta: None,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: None,
            records: values.iter().enumerate().map(record).collect(),
        }
    }

    /// `count` records of `value_bytes` bytes.
    pub(crate) fn sized(count: usize, value_bytes: usize) -> Batch {
        let value = "x".repeat(value_bytes);
        Batch::of(&vec![value.as_str(); count])
    }

    pub(crate) fn attributes(mut self, attributes: i16) -> Batch {
        self.attributes = attributes;
        self
    }

    pub(crate) fn at(mut self, base_timestamp: i64) -> Batch {
        self.base_timestamp = base_timestamp;
        self
    }

    pub(crate) fn by_producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Batch {
        (self.producer_id, self.producer_epoch) = (id, epoch);
        self.base_sequence = base_sequence;
        self
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let mut records = BytesMut::new();
        for record in &self.records {
            record.put(&mut records);
        }
        let records = compress(self.attributes & 7, &records);
        let last_timestamp = self.records.iter().map(|r| r.timestamp_delta).max();
        let last_delta = self.records.iter().map(|r| r.offset_delta).max();
        let count = self.records.len() as i32;

        let mut out = BytesMut::new();
        out.put_i64(self.base_offset);
        out.put_i32((records.len() + 49) as i32);
        out.put_i32(self.leader_epoch);
        out.put_i8(2);
        out.put_u32(0);
        out.put_i16(self.attributes);
        out.put_i32(self.last_offset_delta.unwrap_or(last_delta.unwrap_or(-1)));
        out.put_i64(self.base_timestamp);
        out.put_i64(
            self.max_timestamp
                .unwrap_or(self.base_timestamp + last_timestamp.unwrap_or(0)),
        );
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.record_count.unwrap_or(count));
        out.put_slice(&records);
        sign(&mut out);
        out.freeze()
    }
}

impl Record {
    fn put(&self, out: &mut BytesMut) {
        let mut body = BytesMut::new();
        body.put_i8(0);
        put_varint(&mut body, self.timestamp_delta);
        put_varint(&mut body, i64::from(self.offset_delta));
        put_bytes(&mut body, self.key.as_deref());
        put_bytes(&mut body, self.value.as_deref());
        put_varint(&mut body, self.headers.len() as i64);
        for (name, value) in &self.headers {
            put_bytes(&mut body, Some(name.as_bytes()));
            put_bytes(&mut body, value.as_deref());
        }
        put_varint(out, body.len() as i64);
        out.put_slice(&body);
    }
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |b| b.len() as i64));
    out.put_slice(bytes.unwrap_or_default());
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn compress(codec: i16, plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    match codec {
        GZIP => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            out.write_all(plain).expect("writing to memory");
            out.finish().expect("writing to memory")
        }
        SNAPPY => {
            // The framing of the Java library, which is what clients send.
            let mut out = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01".to_vec();
            let block = snap::raw::Encoder::new().compress_vec(plain).expect("fits");
            out.extend_from_slice(&(block.len() as u32).to_be_bytes());
            out.extend_from_slice(&block);
            out
        }
        LZ4 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
            out.write_all(plain).expect("writing to memory");
            out.finish().expect("writing to memory")
        }
        ZSTD => zstd::encode_all(plain, 3).expect("writing to memory"),
        _ => plain.to_vec(),
    }
}

fn sign(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
}

/// The batch with one bit of its checksummed part turned.
pub(crate) fn corrupted(batch: &Bytes) -> Bytes {
    let mut out = BytesMut::from(&batch[..]);
    *out.last_mut().expect("a batch has bytes") ^= 1;
    out.freeze()
}

/// The batch with another magic number, its checksum right.
pub(crate) fn with_magic(batch: &Bytes, magic: u8) -> Bytes {
    let mut out = BytesMut::from(&batch[..]);
    out[MAGIC_AT] = magic;
    out.freeze()
}

/// The batch with a length field that is off by `delta`.
pub(crate) fn with_length_off_by(batch: &Bytes, delta: i32) -> Bytes {
    let mut out = BytesMut::from(&batch[..]);
    let length = i32::from_be_bytes(out[LENGTH_AT..LENGTH_AT + 4].try_into().expect("4 bytes"));
    out[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&(length + delta).to_be_bytes());
    out.freeze()
}

/// The batch with its records replaced by other bytes, its length and checksum right.
pub(crate) fn with_records(batch: &Bytes, records: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&batch[..61]);
    out.put_slice(records);
    let length = (out.len() - LENGTH_AT - 4) as i32;
    out[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
    sign(&mut out);
    out.freeze()
}

/// What a fetched run of batches holds, in words that are compared. Kafka may end an answer inside
/// of a batch, which its clients leave out; so that is left out here.
pub(crate) fn described(mut bytes: &[u8]) -> String {
    let mut out = String::new();
    while bytes.len() >= 61 {
        let i64_at = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let i32_at = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let i16_at = |at: usize| i16::from_be_bytes(bytes[at..at + 2].try_into().expect("2 bytes"));
        let end = 12 + i32_at(LENGTH_AT) as usize;
        if bytes.len() < end {
            break;
        }
        let crc = crc32c::crc32c(&bytes[CRC_FROM..end]) as i32;
        let age_ms = i64_at(35) - super::tree::now_ms();
        let max_timestamp = match age_ms.abs() < 3_600_000 && i16_at(21) & LOG_APPEND_TIME != 0 {
            true => "now".to_string(),
            false => i64_at(35).to_string(),
        };
        out.push_str(&format!(
            "(offset {} + {}, epoch {}, magic {}, crc {}, attributes {}, time {} to {}, producer {} \
             epoch {} sequence {}, {} records, {} bytes with crc {:08x}) ",
            i64_at(0),
            i32_at(23),
            i32_at(12),
            bytes[MAGIC_AT],
            if crc == i32_at(CRC_AT) { "right" } else { "WRONG" },
            i16_at(21),
            i64_at(27),
            max_timestamp,
            if i64_at(43) >= 0 { "some" } else { "none" },
            i16_at(51),
            i32_at(53),
            i32_at(57),
            end,
            crc32c::crc32c(&bytes[61..end]),
        ));
        bytes = &bytes[end..];
    }
    out
}
