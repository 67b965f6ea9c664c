//! Broker keys of the log: defaults of topic configurations, retention, directories.

use super::super::key::{
    Effect, Key, Synonym, Valid, boolean, double, int, list, long, short, string,
};
use super::topics::COMPRESSION_TYPES;

const NOT_COMPACTED: Effect =
    Effect::Informational("compaction of topics is not served yet, so no cleaner runs");
const NOT_TIERED: Effect = Effect::DefaultOnly("tiered storage is not served");
const CHECKPOINTED: Effect =
    Effect::Informational("corelog.checkpoint.interval.ms decides when checkpoints are written");

/// Broker keys of the log.
pub(in crate::config) const LOG_KEYS: &[Key] = &[
    boolean("auto.create.topics.enable")
        .default("true")
        .high()
        .doc(
            "Whether a topic that a client asks for, and allows to be created, is created with \
              the broker's defaults.",
        ),
    int("compression.gzip.level")
        .default("-1")
        .valid(Valid::BetweenOr(1, 9, -1))
        .cluster_wide()
        .effect(Effect::Informational("the broker does not recompress yet"))
        .doc("How hard gzip works when compression.type is gzip."),
    int("compression.lz4.level")
        .default("9")
        .valid(Valid::Between(1, 17))
        .cluster_wide()
        .effect(Effect::Informational("the broker does not recompress yet"))
        .doc("How hard lz4 works when compression.type is lz4."),
    string("compression.type")
        .default("producer")
        .valid(Valid::OneOf(COMPRESSION_TYPES))
        .cluster_wide()
        .high()
        .effect(Effect::DefaultOnly(
            "the broker keeps batches as producers send them and does not recompress yet",
        ))
        .doc("The codec that batches are kept in; producer keeps each batch as it came."),
    int("compression.zstd.level")
        .default("3")
        .valid(Valid::Between(-131_072, 22))
        .cluster_wide()
        .effect(Effect::Informational("the broker does not recompress yet"))
        .doc("How hard zstd works when compression.type is zstd."),
    int("default.replication.factor")
        .default("1")
        .valid(Valid::Between(1, i16::MAX as i64))
        .doc(
            "Replicas of a topic that is created without a number: by a client's request for \
              the default, or automatically.",
        ),
    boolean("delete.topic.enable")
        .default("true")
        .high()
        .doc("Whether clients may delete topics."),
    long("log.cleaner.backoff.ms")
        .default("15000")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .effect(NOT_COMPACTED)
        .doc("How long the cleaner sleeps when nothing is to be compacted."),
    long("log.cleaner.dedupe.buffer.size")
        .default("134217728")
        .cluster_wide()
        .effect(NOT_COMPACTED)
        .doc("Memory of the cleaner's key table, over all of its threads."),
    long("log.cleaner.delete.retention.ms")
        .default("86400000")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .effect(NOT_COMPACTED)
        .doc("How long compacted topics keep the tombstone of a deleted key."),
    boolean("log.cleaner.enable")
        .default("true")
        .effect(NOT_COMPACTED)
        .doc("Whether the cleaner runs."),
    double("log.cleaner.io.buffer.load.factor")
        .default("0.9")
        .cluster_wide()
        .effect(NOT_COMPACTED)
        .doc("How full the cleaner's key table may get."),
    int("log.cleaner.io.buffer.size")
        .default("524288")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .effect(NOT_COMPACTED)
        .doc("Memory of the cleaner's reads and writes, over all of its threads."),
    double("log.cleaner.io.max.bytes.per.second")
        .default("1.7976931348623157E308")
        .cluster_wide()
        .effect(NOT_COMPACTED)
        .doc("The most that the cleaner reads and writes a second."),
    long("log.cleaner.max.compaction.lag.ms")
        .default("9223372036854775807")
        .valid(Valid::AtLeast(1))
        .cluster_wide()
        .effect(NOT_COMPACTED)
        .doc("The longest that a record of a compacted topic may escape compaction."),
    double("log.cleaner.min.cleanable.ratio")
        .default("0.5")
        .valid(Valid::Fraction(0.0, 1.0))
        .cluster_wide()
        .effect(NOT_COMPACTED)
        .doc("The share of a compacted log that must be uncompacted before compaction starts."),
    long("log.cleaner.min.compaction.lag.ms")
        .default("0")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .effect(NOT_COMPACTED)
        .doc("The shortest that a record of a compacted topic stays uncompacted."),
    int("log.cleaner.threads")
        .default("1")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .effect(NOT_COMPACTED)
        .doc("Threads of the cleaner."),
    list("log.cleanup.policy")
        .default("delete")
        .valid(Valid::SomeOf(&["compact", "delete"]))
        .cluster_wide()
        .effect(Effect::DefaultOnly(
            "compaction of topics is not served yet",
        ))
        .doc("What happens to old segments of topics that do not say it themselves."),
    list("log.dir")
        .default("./corelog-data")
        .high()
        .valid(Valid::NotEmpty)
        .doc("The data directory, when log.dirs does not name it."),
    long("log.dir.failure.timeout.ms")
        .default("30000")
        .valid(Valid::AtLeast(1))
        .low()
        .effect(Effect::Informational(
            "a single node has no other directory to fail over to",
        ))
        .doc("How long a failed log directory may stay unreported before the broker stops."),
    list("log.dirs").high().valid(Valid::NotEmpty).doc(
        "The data directory. One is supported: join several disks below it, with RAID or a \
              volume manager. When unset, log.dir names it.",
    ),
    long("log.flush.interval.messages")
        .default("9223372036854775807")
        .valid(Valid::AtLeast(1))
        .cluster_wide()
        .high()
        .doc(
            "A data sync of a partition happens at the latest after this many records. It can \
              only add syncs: with corelog.durability=sync there is nothing to add, and with \
              written any value but the default makes it sync.",
        ),
    long("log.flush.interval.ms")
        .cluster_wide()
        .high()
        .synonyms(&[Synonym::same("log.flush.scheduler.interval.ms")])
        .doc(
            "A data sync of a partition happens at the latest this long after a record was \
              written. It can only add syncs, as log.flush.interval.messages. When unset, \
              log.flush.scheduler.interval.ms counts.",
        ),
    int("log.flush.offset.checkpoint.interval.ms")
        .default("60000")
        .valid(Valid::AtLeast(0))
        .high()
        .effect(CHECKPOINTED)
        .doc("How often Kafka records how far its logs are synced."),
    long("log.flush.scheduler.interval.ms")
        .default("9223372036854775807")
        .high()
        .doc("Stands in for log.flush.interval.ms when that is unset."),
    int("log.flush.start.offset.checkpoint.interval.ms")
        .default("60000")
        .valid(Valid::AtLeast(0))
        .high()
        .effect(CHECKPOINTED)
        .doc("How often Kafka records where its logs start."),
    int("log.index.interval.bytes")
        .default("4096")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .effect(Effect::Informational(
            "indexes are derived from the log and choose their spacing",
        ))
        .doc("Bytes of log between two entries of the offset index."),
    int("log.index.size.max.bytes")
        .default("10485760")
        .valid(Valid::AtLeast(4))
        .cluster_wide()
        .effect(Effect::Informational(
            "indexes are derived from the log and need no reserved size",
        ))
        .doc("The largest offset index of a segment."),
    long("log.local.retention.bytes")
        .default("-2")
        .valid(Valid::AtLeast(-2))
        .cluster_wide()
        .effect(NOT_TIERED)
        .doc("Bytes of a tiered partition that stay on the local disk."),
    long("log.local.retention.ms")
        .default("-2")
        .valid(Valid::AtLeast(-2))
        .cluster_wide()
        .effect(NOT_TIERED)
        .doc("How long the segments of a tiered partition stay on the local disk."),
    long("log.message.timestamp.after.max.ms")
        .default("3600000")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .doc("How far ahead of the broker's clock a record's CreateTime timestamp may be."),
    long("log.message.timestamp.before.max.ms")
        .default("9223372036854775807")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .doc("How far behind the broker's clock a record's CreateTime timestamp may be."),
    string("log.message.timestamp.type")
        .default("CreateTime")
        .valid(Valid::OneOf(&["CreateTime", "LogAppendTime"]))
        .cluster_wide()
        .doc(
            "Whose clock record timestamps are: CreateTime the producer's, LogAppendTime the \
              broker's.",
        ),
    boolean("log.preallocate")
        .default("false")
        .cluster_wide()
        .effect(Effect::Informational(
            "the space of a log is always allocated ahead of need",
        ))
        .doc("Whether a segment's file is created at its full size."),
    long("log.retention.bytes")
        .default("-1")
        .cluster_wide()
        .high()
        .doc("A partition's size above which its oldest segments are deleted; -1 is no limit."),
    long("log.retention.check.interval.ms")
        .default("300000")
        .valid(Valid::AtLeast(1))
        .doc("How often segments are checked against the limits of retention."),
    int("log.retention.hours").default("168").high().doc(
        "How long records are kept, when neither log.retention.ms nor \
              log.retention.minutes is set; -1 is for ever.",
    ),
    int("log.retention.minutes")
        .high()
        .synonyms(&[Synonym::same("log.retention.hours")])
        .doc("How long records are kept, when log.retention.ms is not set; -1 is for ever."),
    long("log.retention.ms")
        .valid(Valid::AtLeast(-1))
        .cluster_wide()
        .high()
        .synonyms(&[
            Synonym::minutes("log.retention.minutes"),
            Synonym::hours("log.retention.hours"),
        ])
        .doc(
            "How long records are kept; -1 is for ever. When unset, log.retention.minutes and \
              then log.retention.hours count.",
        ),
    int("log.roll.hours")
        .default("168")
        .valid(Valid::AtLeast(1))
        .high()
        .doc("A segment's age after which the next one starts, when log.roll.ms is not set."),
    int("log.roll.jitter.hours")
        .default("0")
        .valid(Valid::AtLeast(0))
        .high()
        .doc("The most that a roll by age may be early, when log.roll.jitter.ms is not set."),
    long("log.roll.jitter.ms")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .high()
        .synonyms(&[Synonym::hours("log.roll.jitter.hours")])
        .doc("The most that a roll by age may be early, so that partitions do not roll at once."),
    long("log.roll.ms")
        .valid(Valid::AtLeast(1))
        .cluster_wide()
        .high()
        .synonyms(&[Synonym::hours("log.roll.hours")])
        .doc("A segment's age after which the next one starts even when it is not full."),
    int("log.segment.bytes")
        .default("1073741824")
        .valid(Valid::AtLeast(1_048_576))
        .cluster_wide()
        .high()
        .doc(
            "A segment's size above which the next one starts. It is a logical size: no file \
              of that size is reserved.",
        ),
    long("log.segment.delete.delay.ms")
        .default("60000")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .high()
        .effect(Effect::Informational(
            "the space of a deleted segment is used again as soon as no read needs it",
        ))
        .doc("How long a deleted segment stays on the disk."),
    int("message.max.bytes")
        .default("1048588")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .high()
        .doc("The largest batch that a producer may send, counted as it is stored."),
    int("min.insync.replicas")
        .default("1")
        .valid(Valid::AtLeast(1))
        .cluster_wide()
        .high()
        .doc("Replicas that must have a batch before acks=all is answered."),
    int("num.partitions")
        .default("1")
        .valid(Valid::AtLeast(1))
        .doc(
            "Partitions of a topic that is created without a number: by a client's request for \
              the default, or automatically.",
        ),
    int("num.recovery.threads.per.data.dir")
        .default("2")
        .valid(Valid::AtLeast(1))
        .cluster_wide()
        .high()
        .effect(Effect::Informational(
            "every core recovers its own partitions",
        ))
        .doc("Threads that recover logs at the start."),
    int("producer.id.expiration.check.interval.ms")
        .default("600000")
        .valid(Valid::AtLeast(1))
        .low()
        .internal()
        .doc("How often producers without recent batches are looked for."),
    int("producer.id.expiration.ms")
        .default("86400000")
        .valid(Valid::AtLeast(1))
        .cluster_wide()
        .low()
        .doc("A producer's sequence numbers are forgotten this long after its last batch."),
    boolean("unclean.leader.election.enable")
        .default("false")
        .cluster_wide()
        .high()
        .effect(Effect::Informational(
            "a partition with one replica has no election to lose records in",
        ))
        .doc("Whether a replica outside of the ISR may lead as a last resort, losing records."),
];

/// Broker keys of consumer groups and their offsets.
pub(in crate::config) const GROUP_KEYS: &[Key] = &[
    int("group.initial.rebalance.delay.ms")
        .default("3000")
        .valid(Valid::AtLeast(0))
        .doc(
            "How long an empty group's first rebalance waits for more members. Each new member \
              extends it, up to the rebalance timeout.",
        ),
    int("group.max.session.timeout.ms")
        .default("1800000")
        .valid(Valid::AtLeast(1))
        .doc("The longest session timeout that a member may ask for."),
    int("group.max.size")
        .default("2147483647")
        .valid(Valid::AtLeast(1))
        .doc("Members of one group; more are answered with GROUP_MAX_SIZE_REACHED."),
    int("group.min.session.timeout.ms")
        .default("6000")
        .valid(Valid::AtLeast(1))
        .doc("The shortest session timeout that a member may ask for."),
    int("offset.metadata.max.bytes")
        .default("4096")
        .valid(Valid::AtLeast(0))
        .high()
        .doc("The largest metadata that a client may store with a committed offset."),
    int("offsets.commit.timeout.ms")
        .default("5000")
        .valid(Valid::AtLeast(1))
        .high()
        .doc("How long a commit may wait to be durable before it is answered with an error."),
    long("offsets.retention.check.interval.ms")
        .default("600000")
        .valid(Valid::AtLeast(1))
        .high()
        .doc("How often expired committed offsets are looked for."),
    int("offsets.retention.minutes")
        .default("10080")
        .valid(Valid::AtLeast(1))
        .high()
        .doc(
            "Committed offsets of a group expire this long after it became empty, or after the \
              last commit when the group has no members of its own.",
        ),
    int("offsets.topic.num.partitions")
        .default("50")
        .valid(Valid::AtLeast(1))
        .high()
        .doc(
            "Partitions of __consumer_offsets when it is created. Groups are spread over them; \
              the number must not change afterwards.",
        ),
    short("offsets.topic.replication.factor")
        .default("3")
        .valid(Valid::AtLeast(1))
        .high()
        .doc(
            "Replicas of __consumer_offsets when it is created. With fewer nodes than this, \
              every node gets one.",
        ),
    int("offsets.topic.segment.bytes")
        .default("104857600")
        .valid(Valid::AtLeast(1_048_576))
        .high()
        .doc("segment.bytes of __consumer_offsets when it is created."),
];
