//! Who sends what and when, and who reads it.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::bench::limits::RATE_MAX;
use crate::frame::Codec;

/// What a load does: producers, consumers, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// The producers; nobody produces with `connections` = 0.
    pub load: LoadPart,
    /// The consumers, if there are any.
    pub consume: Option<ConsumePart>,
}

impl Traffic {
    /// Bytes of the values of one request.
    pub fn batch_bytes(&self) -> u64 {
        u64::from(self.load.batch_records) * u64::from(self.load.record_bytes)
    }

    /// Whether batches carry the time at which they were meant to be sent. It stands in the first
    /// record's value; in a compressed batch it would cost the client more than the load itself.
    pub fn is_stamped(&self) -> bool {
        self.consume.is_some()
            && self.load.connections > 0
            && self.load.codec == BatchCodec::None
            && self.load.record_bytes as usize >= STAMP_BYTES
    }
}

/// Bytes of the time that a batch carries; a record's value has at least so many.
pub const STAMP_BYTES: usize = size_of::<u64>();

/// Who sends what, and when.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LoadPart {
    /// None: nobody produces while the run lasts; the rest says what the backlog is made of.
    pub connections: u32,
    /// Which partitions a connection sends to, one after the other.
    pub spread: Spread,
    /// Records of one request: one batch; with keys one batch for each partition that one of
    /// them belongs to.
    pub batch_records: u32,
    /// Bytes of a record's value.
    pub record_bytes: u32,
    #[serde(default)]
    pub keys: Keys,
    #[serde(default = "default_key_bytes")]
    pub key_bytes: u32,
    /// Whether each connection has a producer id, and its batches sequence numbers.
    #[serde(default)]
    pub idempotent: bool,
    pub codec: BatchCodec,
    pub acks: Acks,
    pub rate: Rate,
    /// Requests of one connection whose answer is still to come. At a fixed rate what does not
    /// fit waits, and its waiting counts as latency.
    pub in_flight: u32,
}

/// Who reads what. The partitions are dealt to the connections, each of which has one fetch on
/// its way, as Kafka's consumer has of each broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumePart {
    pub connections: u32,
    pub start: Start,
    /// At the end of a partition it is read from its start again, so that a backlog lasts as long
    /// as the run does.
    #[serde(default)]
    pub again: bool,
    /// Ends with what was there when the connections were opened.
    #[serde(default)]
    pub stop_at_end: bool,
    /// `fetch.max.bytes`
    #[serde(default = "default_max_bytes")]
    pub max_bytes: u32,
    /// `max.partition.fetch.bytes`
    #[serde(default = "default_partition_max_bytes")]
    pub partition_max_bytes: u32,
    /// `fetch.min.bytes`
    #[serde(default = "one")]
    pub min_bytes: u32,
    /// `fetch.max.wait.ms`
    #[serde(default = "default_max_wait_ms")]
    pub max_wait_ms: u32,
}

// The defaults of Kafka's consumer.
fn default_max_bytes() -> u32 {
    50 << 20
}

fn default_partition_max_bytes() -> u32 {
    1 << 20
}

fn default_max_wait_ms() -> u32 {
    500
}

/// As long as a UUID.
fn default_key_bytes() -> u32 {
    16
}

fn one() -> u32 {
    1
}

/// Where consumers begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the end: the tail.
    Latest,
    /// At the first record: the backlog.
    Earliest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// Each connection has its own share of the partitions; with more connections than
    /// partitions, several have the same one.
    Own,
    /// Each connection sends to all partitions in turn, each beginning at another one.
    All,
    /// Each connection sends four of five requests to the first partition, and every fifth to the
    /// others in turn.
    Hot,
}

/// The keys of records, each with its partition by Kafka's hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// No key: a request is for one partition, as `spread` says.
    #[default]
    None,
    /// Each record has another one.
    Random,
    /// A fixed set of them takes turns.
    RoundRobin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchCodec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl BatchCodec {
    /// In Kafka's word, `compression.type`.
    pub fn as_str(self) -> &'static str {
        match self {
            BatchCodec::None => "none",
            BatchCodec::Gzip => "gzip",
            BatchCodec::Snappy => "snappy",
            BatchCodec::Lz4 => "lz4",
            BatchCodec::Zstd => "zstd",
        }
    }
}

impl From<BatchCodec> for Codec {
    fn from(codec: BatchCodec) -> Codec {
        match codec {
            BatchCodec::None => Codec::None,
            BatchCodec::Gzip => Codec::Gzip,
            BatchCodec::Snappy => Codec::Snappy,
            BatchCodec::Lz4 => Codec::Lz4,
            BatchCodec::Zstd => Codec::Zstd,
        }
    }
}

/// When a batch counts as produced, in Kafka's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Acks {
    #[serde(rename = "all")]
    All,
    #[serde(rename = "1")]
    Leader,
    /// When it was handed to the kernel: the broker does not answer.
    #[serde(rename = "0")]
    None,
}

impl Acks {
    /// As it stands in the request.
    pub fn code(self) -> i16 {
        match self {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        }
    }
}

/// How often requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Open loop: so many records a second over all connections, whatever the answers do.
    RecordsPerSecond(u64),
    /// Closed loop: the next request as soon as there are fewer than `in_flight`.
    Max,
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Rate::RecordsPerSecond(rate) => serializer.serialize_u64(*rate),
            Rate::Max => serializer.serialize_str("max"),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rate, D::Error> {
        deserializer.deserialize_any(RateVisitor)
    }
}

struct RateVisitor;

impl Visitor<'_> for RateVisitor {
    type Value = Rate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "records a second from 1 to {RATE_MAX}, or \"max\"")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Rate, E> {
        let rate = u64::try_from(value)
            .ok()
            .filter(|rate| (1..=RATE_MAX).contains(rate));
        rate.map(Rate::RecordsPerSecond)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Rate, E> {
        self.visit_i64(i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Rate, E> {
        match value {
            "max" => Ok(Rate::Max),
            _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
        }
    }
}
