//! Every bound of the broker, with its unit. Relations between bounds are asserted here.
//!
//! A bound that an operator may change has its key in `config`; what stands here is fixed.

/// Memory of every buffer that a file operation uses is aligned to this, in bytes.
pub const IO_ALIGNMENT_BYTES: usize = 4096;
/// Slices of one vectored send; Linux's IOV_MAX.
pub const SEND_SLICES_MAX: usize = 1024;
/// Messages that wait in one core's mailbox.
pub const MAILBOX_MESSAGES_MAX: usize = 4096;

const _: () = assert!(IO_ALIGNMENT_BYTES.is_power_of_two());
const _: () = assert!(MAILBOX_MESSAGES_MAX.is_power_of_two());
/// Batches that a partition remembers of each idempotent producer; Kafka keeps five.
pub const PRODUCER_BATCHES_MAX: usize = 5;
/// The first receive buffer of a connection, and the least one of a later request, in bytes.
pub const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;
/// How much a receive buffer grows when a request's bytes have filled it.
pub const RECEIVE_GROWTH_FACTOR: usize = 4;
/// How long a request may take from its size to its last byte, in milliseconds.
pub const REQUEST_ARRIVAL_MS_MAX: u64 = 60_000;
/// Ready responses of one connection that go out in one vectored send.
pub const RESPONSES_GATHERED_MAX: usize = 64;
/// How long one send may take before its client counts as stalled, in milliseconds.
pub const SEND_STALL_MS_MAX: u64 = 60_000;
/// Partitions that a fetch reads before it lets other tasks of its core run.
pub const FETCH_READS_PER_TURN_MAX: usize = 32;
/// The most bytes that one batch may decompress to when a single record of it is looked for.
pub const DECOMPRESSED_BYTES_MAX: usize = 256 * 1024 * 1024;
