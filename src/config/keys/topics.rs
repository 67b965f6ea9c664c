//! The configurations of a topic, with Kafka 4's names and bounds.

use super::super::key::{Effect, Key, Synonym, Valid, boolean, double, int, list, long, string};

/// No recompression, and no compaction but that of the broker's own topic.
const NOT_COMPACTED: Effect = Effect::DefaultOnly(
    "compaction of topics is not served yet; the broker's own __consumer_offsets is kept bounded \
     without it",
);
const NOT_RECOMPRESSED: Effect = Effect::DefaultOnly(
    "the broker keeps batches as producers send them and does not recompress yet; set \
     compression.type at the producer instead",
);
const SYNCED: Effect = Effect::Informational(
    "every acknowledgement waits for its data sync; with corelog.durability=written only the \
     default is accepted for single topics",
);
const NOT_TIERED: Effect = Effect::DefaultOnly("tiered storage is not served");
const NOT_REPLICATED: Effect =
    Effect::Informational("a single node has no replication traffic to throttle");
const ONE_REPLICA: Effect =
    Effect::Informational("a partition with one replica has no election to lose records in");
const UNUSED_LEVEL: Effect =
    Effect::Informational("it counts only where the broker recompresses, which it does not do yet");
const UNUSED_BY_DELETE: Effect =
    Effect::Informational("it counts only for compacted topics, which are not served yet");

/// Every configuration of a topic, by name.
pub(in crate::config) const TOPIC_KEYS: &[Key] = &[
    list("cleanup.policy")
        .default("delete")
        .valid(Valid::SomeOf(&["compact", "delete"]))
        .synonyms(&[Synonym::same("log.cleanup.policy")])
        .effect(NOT_COMPACTED)
        .doc(
            "What happens to old segments: delete drops them by time and size, compact keeps \
              the newest record of each key.",
        ),
    int("compression.gzip.level")
        .default("-1")
        .valid(Valid::BetweenOr(1, 9, -1))
        .synonyms(&[Synonym::same("compression.gzip.level")])
        .effect(UNUSED_LEVEL)
        .doc("How hard gzip works when compression.type is gzip."),
    int("compression.lz4.level")
        .default("9")
        .valid(Valid::Between(1, 17))
        .synonyms(&[Synonym::same("compression.lz4.level")])
        .effect(UNUSED_LEVEL)
        .doc("How hard lz4 works when compression.type is lz4."),
    string("compression.type")
        .default("producer")
        .valid(Valid::OneOf(COMPRESSION_TYPES))
        .synonyms(&[Synonym::same("compression.type")])
        .effect(NOT_RECOMPRESSED)
        .doc("The codec that batches are kept in; producer keeps each batch as it came."),
    int("compression.zstd.level")
        .default("3")
        .valid(Valid::Between(-131_072, 22))
        .synonyms(&[Synonym::same("compression.zstd.level")])
        .effect(UNUSED_LEVEL)
        .doc("How hard zstd works when compression.type is zstd."),
    long("delete.retention.ms")
        .default("86400000")
        .valid(Valid::AtLeast(0))
        .synonyms(&[Synonym::same("log.cleaner.delete.retention.ms")])
        .effect(UNUSED_BY_DELETE)
        .doc("How long a compacted topic keeps the tombstone of a deleted key."),
    long("file.delete.delay.ms")
        .default("60000")
        .valid(Valid::AtLeast(0))
        .synonyms(&[Synonym::same("log.segment.delete.delay.ms")])
        .effect(Effect::Informational(
            "the space of a deleted segment is used again as soon as no read needs it",
        ))
        .doc("How long a deleted segment stays on the disk."),
    long("flush.messages")
        .default("9223372036854775807")
        .valid(Valid::AtLeast(1))
        .synonyms(&[Synonym::same("log.flush.interval.messages")])
        .effect(SYNCED)
        .doc("A data sync happens at the latest after this many records."),
    long("flush.ms")
        .default("9223372036854775807")
        .valid(Valid::AtLeast(0))
        .synonyms(&[
            Synonym::same("log.flush.interval.ms"),
            Synonym::same("log.flush.scheduler.interval.ms"),
        ])
        .effect(SYNCED)
        .doc("A data sync happens at the latest this long after a record was written."),
    list("follower.replication.throttled.replicas")
        .default("")
        .valid(Valid::ThrottledReplicas)
        .effect(NOT_REPLICATED)
        .doc("Replicas whose replication is throttled on the follower's side."),
    int("index.interval.bytes")
        .default("4096")
        .valid(Valid::AtLeast(0))
        .synonyms(&[Synonym::same("log.index.interval.bytes")])
        .effect(Effect::Informational(
            "indexes are derived from the log and choose their spacing",
        ))
        .doc("Bytes of log between two entries of the offset index."),
    list("leader.replication.throttled.replicas")
        .default("")
        .valid(Valid::ThrottledReplicas)
        .effect(NOT_REPLICATED)
        .doc("Replicas whose replication is throttled on the leader's side."),
    long("local.retention.bytes")
        .default("-2")
        .valid(Valid::AtLeast(-2))
        .synonyms(&[Synonym::same("log.local.retention.bytes")])
        .effect(NOT_TIERED)
        .doc(
            "Bytes of a tiered partition that stay on the local disk; -2 follows \
              retention.bytes.",
        ),
    long("local.retention.ms")
        .default("-2")
        .valid(Valid::AtLeast(-2))
        .synonyms(&[Synonym::same("log.local.retention.ms")])
        .effect(NOT_TIERED)
        .doc(
            "How long the segments of a tiered partition stay on the local disk; -2 follows \
              retention.ms.",
        ),
    long("max.compaction.lag.ms")
        .default("9223372036854775807")
        .valid(Valid::AtLeast(1))
        .synonyms(&[Synonym::same("log.cleaner.max.compaction.lag.ms")])
        .effect(UNUSED_BY_DELETE)
        .doc("The longest that a record of a compacted topic may escape compaction."),
    int("max.message.bytes")
        .default("1048588")
        .valid(Valid::AtLeast(0))
        .synonyms(&[Synonym::same("message.max.bytes")])
        .doc(
            "The largest batch that a producer may send, counted as it is stored, compressed. \
              Larger ones are answered with MESSAGE_TOO_LARGE.",
        ),
    long("message.timestamp.after.max.ms")
        .default("3600000")
        .valid(Valid::AtLeast(0))
        .synonyms(&[Synonym::same("log.message.timestamp.after.max.ms")])
        .doc(
            "How far ahead of the broker's clock a record's CreateTime timestamp may be; \
              records further ahead are refused.",
        ),
    long("message.timestamp.before.max.ms")
        .default("9223372036854775807")
        .valid(Valid::AtLeast(0))
        .synonyms(&[Synonym::same("log.message.timestamp.before.max.ms")])
        .doc(
            "How far behind the broker's clock a record's CreateTime timestamp may be; records \
              further behind are refused.",
        ),
    string("message.timestamp.type")
        .default("CreateTime")
        .valid(Valid::OneOf(&["CreateTime", "LogAppendTime"]))
        .synonyms(&[Synonym::same("log.message.timestamp.type")])
        .doc(
            "Whose clock a record's timestamp is: the producer's (CreateTime) or the broker's \
              at the append (LogAppendTime).",
        ),
    double("min.cleanable.dirty.ratio")
        .default("0.5")
        .valid(Valid::Fraction(0.0, 1.0))
        .synonyms(&[Synonym::same("log.cleaner.min.cleanable.ratio")])
        .effect(UNUSED_BY_DELETE)
        .doc("The share of a compacted log that must be uncompacted before compaction starts."),
    long("min.compaction.lag.ms")
        .default("0")
        .valid(Valid::AtLeast(0))
        .synonyms(&[Synonym::same("log.cleaner.min.compaction.lag.ms")])
        .effect(UNUSED_BY_DELETE)
        .doc("The shortest that a record of a compacted topic stays uncompacted."),
    int("min.insync.replicas")
        .default("1")
        .valid(Valid::AtLeast(1))
        .synonyms(&[Synonym::same("min.insync.replicas")])
        .doc(
            "Replicas that must have a batch before acks=all is answered, but not more than there \
              are replicas.",
        ),
    boolean("preallocate")
        .default("false")
        .synonyms(&[Synonym::same("log.preallocate")])
        .effect(Effect::Informational(
            "the space of a log is always allocated ahead of need",
        ))
        .doc("Whether a segment's file is created at its full size."),
    boolean("remote.log.copy.disable")
        .default("false")
        .effect(NOT_TIERED)
        .doc("Whether a tiered topic stops copying segments to remote storage."),
    boolean("remote.log.delete.on.disable")
        .default("false")
        .effect(NOT_TIERED)
        .doc("Whether remote segments are deleted when a topic stops being tiered."),
    boolean("remote.storage.enable")
        .default("false")
        .effect(NOT_TIERED)
        .doc("Whether old segments move to remote storage."),
    long("retention.bytes")
        .default("-1")
        .synonyms(&[Synonym::same("log.retention.bytes")])
        .doc(
            "A partition's size above which its oldest segments are deleted; -1 is no limit. \
              It counts per partition.",
        ),
    long("retention.ms")
        .default("604800000")
        .valid(Valid::AtLeast(-1))
        .synonyms(&[
            Synonym::same("log.retention.ms"),
            Synonym::minutes("log.retention.minutes"),
            Synonym::hours("log.retention.hours"),
        ])
        .doc("A segment is deleted when its newest record is older than this; -1 is never."),
    int("segment.bytes")
        .default("1073741824")
        .valid(Valid::AtLeast(1_048_576))
        .synonyms(&[Synonym::same("log.segment.bytes")])
        .doc(
            "A segment's size above which the next one starts. Retention removes whole \
              segments. It is a logical size: no file of that size is reserved.",
        ),
    int("segment.index.bytes")
        .default("10485760")
        .valid(Valid::AtLeast(4))
        .synonyms(&[Synonym::same("log.index.size.max.bytes")])
        .effect(Effect::Informational(
            "indexes are derived from the log and need no reserved size",
        ))
        .doc("The largest offset index of a segment."),
    long("segment.jitter.ms")
        .default("0")
        .valid(Valid::AtLeast(0))
        .synonyms(&[
            Synonym::same("log.roll.jitter.ms"),
            Synonym::hours("log.roll.jitter.hours"),
        ])
        .doc(
            "A random time up to this is taken off segment.ms, so that many partitions do not \
              start new segments at once.",
        ),
    long("segment.ms")
        .default("604800000")
        .valid(Valid::AtLeast(1))
        .synonyms(&[
            Synonym::same("log.roll.ms"),
            Synonym::hours("log.roll.hours"),
        ])
        .doc(
            "A segment's age after which the next one starts even when it is not full, so that \
              retention by time can remove it.",
        ),
    boolean("unclean.leader.election.enable")
        .default("false")
        .synonyms(&[Synonym::same("unclean.leader.election.enable")])
        .effect(ONE_REPLICA)
        .doc("Whether a replica outside of the ISR may lead as a last resort, losing records."),
];

/// The codecs that `compression.type` names.
pub(in crate::config) const COMPRESSION_TYPES: &[&str] =
    &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
