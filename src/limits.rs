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

const _: () = assert!(IO_ALIGNMENT_BYTES.is_power_of_two());
const _: () = assert!(MAILBOX_MESSAGES_MAX.is_power_of_two());
