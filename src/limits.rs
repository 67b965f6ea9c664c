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
/// Blocks of removed files that the simulated disk keeps, to hand them out as stale content.
pub const SIM_STALE_BLOCKS_MAX: usize = 1024;
/// Events of a simulation that are kept for the report of a failure; older ones are only hashed.
pub const SIM_TRACE_EVENTS_MAX: usize = 4096;
/// Connections that wait to be accepted by one simulated listener; more are refused.
pub const SIM_BACKLOG_MAX: usize = 1024;
/// Polls of one simulated run, before it is reported as one that never ends.
pub const SIM_POLLS_MAX: u64 = 200_000_000;

const _: () = assert!(IO_ALIGNMENT_BYTES.is_power_of_two());
const _: () = assert!(MAILBOX_MESSAGES_MAX.is_power_of_two());
