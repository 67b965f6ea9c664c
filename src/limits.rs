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

const _: () = assert!(IO_ALIGNMENT_BYTES.is_power_of_two());
const _: () = assert!(MAILBOX_MESSAGES_MAX.is_power_of_two());
const _: () = assert!(DECOMPRESSED_CHUNK_BYTES <= DECOMPRESSED_BATCH_BYTES_MAX);
