//! Every bound of the broker, with its unit. Relations between bounds are asserted here.
//!
//! A bound that an operator may change has its key in `config`; what stands here is fixed.

/// Memory of every buffer that a file operation uses is aligned to this, in bytes.
pub const IO_ALIGNMENT_BYTES: usize = 4096;
/// Slices of one vectored send; Linux's IOV_MAX.
pub const SEND_SLICES_MAX: usize = 1024;
/// Messages that wait in one core's mailbox.
pub const MAILBOX_MESSAGES_MAX: usize = 4096;
/// The longest file that `io::fs::read_small` and `write_small` handle, in bytes: checkpoints of
/// many partitions are the longest of them.
pub const SMALL_FILE_BYTES_MAX: u64 = 256 << 20;
/// A task polled for longer than this is counted as a stall of its core, in milliseconds.
pub const TASK_STALL_MS: u64 = 10;
/// Entries of a core's submission queue: as many operations as one turn starts go to the kernel
/// in one system call.
pub const RING_SUBMISSIONS: u32 = 256;
/// Entries of a core's completion queue; more completions than that wait inside the kernel.
pub const RING_COMPLETIONS: u32 = 4096;
/// Operations that one core has in flight; the next one fails with `ResourceBusy`.
pub const IO_OPERATIONS_MAX: usize = 65_536;
/// Tasks that run between two looks at the completions.
pub const TASKS_PER_TURN: usize = 16;
/// Socket operations that one poll of a task completes without waiting before it makes way for
/// the core's other tasks.
pub const IMMEDIATE_OPERATIONS_PER_POLL: u32 = 32;
/// Messages that a receiver takes without waiting before it makes way for the core's other tasks.
pub const MESSAGES_PER_POLL: usize = 128;
/// Bytes of one operation on a file; longer ones are split.
pub const FILE_OPERATION_BYTES_MAX: usize = 1 << 30;
/// Request tags of a block device whose number the kernel does not tell.
pub const DEVICE_REQUESTS_ASSUMED: u32 = 32;
/// Bytes of one request to a block device whose limit the kernel does not tell.
pub const DEVICE_REQUEST_BYTES_ASSUMED: u32 = 128 << 10;
/// Connections that the kernel holds for a listener until they are accepted.
pub const LISTEN_BACKLOG: i32 = 1024;

/// Decompressed bytes that a gzip or Zstandard stream yields at a time while it is read.
pub const DECOMPRESSED_CHUNK_BYTES: usize = 32 * 1024;
/// What the records of one batch may decompress to, in bytes; Kafka has no bound of its own.
pub const DECOMPRESSED_BATCH_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Refused records of one batch that a Produce response names.
pub const RECORD_ERRORS_MAX: usize = 1024;

const _: () = assert!(RING_SUBMISSIONS.is_power_of_two() && RING_COMPLETIONS.is_power_of_two());
const _: () = assert!(RING_SUBMISSIONS <= RING_COMPLETIONS);
const _: () = assert!(FILE_OPERATION_BYTES_MAX.is_multiple_of(IO_ALIGNMENT_BYTES));
const _: () = assert!(IO_ALIGNMENT_BYTES.is_power_of_two());
const _: () = assert!(MAILBOX_MESSAGES_MAX.is_power_of_two());
/// Batches that a partition remembers of each idempotent producer; Kafka keeps five.
pub const PRODUCER_BATCHES_MAX: usize = 5;
/// Elements of all arrays of one Produce or Fetch request together: topics plus partitions.
pub const REQUEST_ELEMENTS_MAX: usize = 1 << 17;
/// Elements of one array of a response that a client reads.
pub const RESPONSE_ELEMENTS_MAX: usize = 1 << 20;
/// A request that carries a handful of ids, in bytes.
pub const REQUEST_SMALL_BYTES_MAX: usize = 256 << 10;
/// A request that names topics, each with a few numbers or settings, in bytes.
pub const REQUEST_MEDIUM_BYTES_MAX: usize = 4 << 20;
/// A request that carries what a consumer group holds, in bytes.
pub const REQUEST_LARGE_BYTES_MAX: usize = 16 << 20;
/// A response that a client reads, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 256 << 20;
/// One string of a request or response, in bytes; the fixed-width encoding has no longer ones.
pub const REQUEST_STRING_BYTES_MAX: usize = i16::MAX as usize;
/// All unknown tagged fields of one structure that comes from the network, in bytes.
pub const TAGGED_FIELD_BYTES_MAX: usize = 64 << 10;
/// Tagged fields of one structure that comes from the network.
pub const TAGGED_FIELDS_MAX: usize = 16;
const _: () = assert!(DECOMPRESSED_CHUNK_BYTES <= DECOMPRESSED_BATCH_BYTES_MAX);
