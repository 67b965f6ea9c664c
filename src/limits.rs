//! Every bound of the broker, with its unit. Relations between bounds are asserted here.
//!
//! A bound that an operator may change has its key in `config`; what stands here is fixed.

/// Memory of every buffer that a file operation uses is aligned to this, in bytes.
pub const IO_ALIGNMENT_BYTES: usize = 4096;
/// Slices of one vectored send; Linux's IOV_MAX.
pub const SEND_SLICES_MAX: usize = 1024;
/// Messages that wait in one core's mailbox.
pub const MAILBOX_MESSAGES_MAX: usize = 4096;

/// Decompressed bytes that a gzip or Zstandard stream yields at a time while it is read.
pub const DECOMPRESSED_CHUNK_BYTES: usize = 32 * 1024;
/// What the records of one batch may decompress to, in bytes; Kafka has no bound of its own.
pub const DECOMPRESSED_BATCH_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Refused records of one batch that a Produce response names.
pub const RECORD_ERRORS_MAX: usize = 1024;

/// The longest string of Kafka's protocol, in bytes: its length is an int16.
pub const KAFKA_STRING_BYTES_MAX: usize = i16::MAX as usize;
/// Members of one group, whatever `group.max.size` says.
pub const GROUP_MEMBERS_MAX: usize = 100_000;
/// Member ids of one group that were given out and not used to join yet.
pub const GROUP_PENDING_JOINS_MAX: usize = 10_000;
/// Bytes of a client id or instance id that a member id starts with.
pub const MEMBER_ID_PREFIX_BYTES_MAX: usize = 1024;
/// How long a new member may wait in a join, in milliseconds; Kafka's, not configurable.
pub const NEW_MEMBER_JOIN_MS_MAX: i64 = 5 * 60 * 1000;
/// Groups of one partition of the offsets topic.
pub const COORDINATOR_GROUPS_MAX: usize = 1 << 17;
/// Live records of one partition of the offsets topic: committed offsets and groups.
pub const COORDINATOR_RECORDS_MAX: usize = 1 << 22;
/// Appends of one coordinator that are not durable yet.
pub const COORDINATOR_APPENDS_MAX: usize = 1 << 16;
/// Records of one append to the offsets topic, in bytes, about.
pub const OFFSETS_APPEND_BYTES_MAX: usize = 1024 * 1024;
/// Groups that one look for expired offsets passes before others get their turn.
pub const EXPIRY_GROUPS_PER_STEP: usize = 1000;
/// Dead records of an offsets partition below which it is not trimmed.
pub const TRIM_DEAD_RECORDS_MIN: usize = 4096;
/// Live records that one step of trimming appends again.
pub const TRIM_STEP_RECORDS: usize = 4096;

const _: () = assert!(IO_ALIGNMENT_BYTES.is_power_of_two());
const _: () = assert!(MAILBOX_MESSAGES_MAX.is_power_of_two());
/// Batches that a partition remembers of each idempotent producer; Kafka keeps five.
pub const PRODUCER_BATCHES_MAX: usize = 5;
const _: () = assert!(DECOMPRESSED_CHUNK_BYTES <= DECOMPRESSED_BATCH_BYTES_MAX);
const _: () = assert!(MEMBER_ID_PREFIX_BYTES_MAX + 64 <= KAFKA_STRING_BYTES_MAX);
