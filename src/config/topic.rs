//! One topic's configuration, resolved: the topic's overrides over the broker's defaults.

/// What happens to a topic's old segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// Old segments go, by time and size.
    Delete,
    /// The newest record of each key stays. Only `__consumer_offsets` has it here.
    Compact,
    /// Both.
    CompactDelete,
}

/// Whose clock a record's timestamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// The codec that the broker keeps batches in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent them. The others recompress, which this broker does not do yet.
    Producer,
    /// Uncompressed.
    Uncompressed,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

/// The configuration in force for one topic.
///
/// Made by `config::topic_config` from a topic's overrides and the broker's configuration; a
/// change of either makes a new one. Names, units and meanings are those of Kafka's topic
/// configurations. Every field was validated when it was set.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// What happens to old segments.
    pub cleanup_policy: CleanupPolicy,
    /// Segments whose newest record is older than this go, in milliseconds; -1 is never.
    pub retention_ms: i64,
    /// A partition's logical size above which its oldest segments go, in bytes; -1 is never.
    pub retention_bytes: i64,
    /// A segment's logical size above which the next one starts.
    pub segment_bytes: i32,
    /// A segment's age above which the next one starts, in milliseconds.
    pub segment_ms: i64,
    /// The most that a roll by age may be early, so that partitions do not roll at once.
    pub segment_jitter_ms: i64,
    /// How long a deleted segment's bytes stay on the disk, in milliseconds.
    pub file_delete_delay_ms: i64,
    /// The largest batch that a producer may send, as it is stored, in bytes.
    pub max_message_bytes: i32,
    /// Whose clock timestamps are.
    pub message_timestamp_type: TimestampType,
    /// How far behind the broker's clock a CreateTime timestamp may be, in milliseconds.
    pub message_timestamp_before_max_ms: i64,
    /// How far ahead of the broker's clock a CreateTime timestamp may be, in milliseconds.
    pub message_timestamp_after_max_ms: i64,
    /// The codec that batches are kept in.
    pub compression_type: CompressionType,
    /// Replicas that must have a batch before acks=all is answered.
    pub min_insync_replicas: i32,
    /// Bytes of log between two entries of the offset index.
    pub index_interval_bytes: i32,
    /// The largest offset index of a segment, in bytes.
    pub segment_index_bytes: i32,
    /// Kafka's flush by count of records; `i64::MAX` is never. Adds syncs, never removes any.
    pub flush_messages: i64,
    /// Kafka's flush by time, in milliseconds; `i64::MAX` is never. Adds syncs, never removes any.
    pub flush_ms: i64,
}
