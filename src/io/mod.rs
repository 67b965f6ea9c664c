//! Clock, chance, disk, network, tasks, aligned memory, mailboxes: everything outside the process
//! enters through this door, and the caller never sees which backend is compiled in.
//!
//! # Two backends, one door
//!
//! `uring` (default) is the real machine: one pinned thread and one io_uring ring per core.
//! `sim` (feature `sim`) is a seeded machine in one thread: virtual time, a disk and a network
//! that fail. The choice is made in this file and nowhere else. A backend is a module that has:
//!
//! | item | signature |
//! |---|---|
//! | `run` | `fn run<M, F>(cores: &[CoreSpec], main: M) -> Result<()> where M: Fn(CoreId) -> F + Send + Sync, F: Future<Output = ()> + 'static` |
//! | `core` | `fn core() -> CoreId` |
//! | `spawn` | `fn spawn<F>(future: F) -> Task<F::Output> where F: Future + 'static, F::Output: 'static` |
//! | `yield_now` | `async fn yield_now()` |
//! | `stats` | `fn stats() -> Stats` |
//! | `now` | `fn now() -> Instant` |
//! | `Sleep`, `sleep_until` | `fn sleep_until(deadline: Instant) -> Sleep`, a `Future<Output = ()>` |
//! | `wall_clock` | `fn wall_clock() -> Timestamp` |
//! | `random_bytes`, `random_u64` | `fn random_bytes<const N: usize>() -> [u8; N]`, `fn random_u64() -> u64` |
//! | `File` | `open(impl AsRef<Path>, Open)`, `write_at(&self, Bytes, u64, Sync)`, `read_at(&self, AlignedBuf, u64)`, `allocate(&self, u64)`, `sync(&self)`, `len(&self)`, `alignment(&self)`; all async but the last; `Clone` shares the open file |
//! | `fs` | `create_dir`, `rename`, `remove_file`, `sync_dir`, `sync_file_system`, `list_dir`, `read_small`, `write_small`, `space`, `lock_dir` |
//! | `TcpListener` | `bind(SocketAddr)`, `accept(&self)`, both async, `local_addr(&self)` |
//! | `TcpStream` | `connect(SocketAddr)`, `read(&self, BytesMut)`, `write_all(&self, Vec<Bytes>)`, all async; `shutdown(&self)`, `peer_addr(&self)`; `Clone` shares the socket |
//!
//! and, in `fs`, all async:
//!
//! | item | signature |
//! |---|---|
//! | `create_dir`, `remove_file`, `sync_dir`, `sync_file_system` | `(path: impl AsRef<Path>) -> Result<()>` |
//! | `rename` | `(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()>` |
//! | `list_dir` | `(path: impl AsRef<Path>) -> Result<Vec<String>>`: names, sorted |
//! | `read_small` | `(path: impl AsRef<Path>) -> Result<Bytes>`: at most `limits::SMALL_FILE_BYTES_MAX` |
//! | `write_small` | `(path: impl AsRef<Path>, bytes: Bytes) -> Result<()>` |
//! | `space` | `(path: impl AsRef<Path>) -> Result<Space>` |
//! | `lock_dir` | `(path: impl AsRef<Path>) -> Result<DirLock>`: held until dropped; `ErrorKind::WouldBlock` if another process has it |
//!
//! Everything else of the room is built on these and is the same for both.
//! `tests/conformance.rs` passes with both, and is what a third backend (`glommio`) has to pass.
//!
//! # Rules that hold for every operation
//!
//! - A buffer in flight belongs to the backend until the operation completes, whatever happens to
//!   the future. Operations take buffers by value and give them back.
//! - An operation's future belongs to the core that made it.
//! - A task that panics takes the process's other cores down with it: `run` unwinds.

// The disallowed methods are disallowed so that they are called here only.
#![allow(clippy::disallowed_methods)]

mod buffer;
mod instant;
mod open;
mod statistics;
mod task;
mod time;

/// What `park` counts as atomics; `tests/park_model.rs` puts loom's in their place.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
}
pub mod mailbox;
mod park;
pub mod sync;

#[cfg(feature = "sim")]
pub mod sim;
#[cfg(not(feature = "sim"))]
mod uring;

#[cfg(feature = "sim")]
use sim as backend;
#[cfg(not(feature = "sim"))]
use uring as backend;

pub mod blocking;
pub mod housekeeping;
mod process;
mod thread;

pub use std::io::{Error, ErrorKind, Result};

pub use backend::{File, Sleep, TcpListener, TcpStream, fs};
pub use backend::{core, run, spawn, stats, yield_now};
pub use backend::{now, random_bytes, random_u64, sleep_until, wall_clock};
pub use buffer::AlignedBuf;
pub use instant::Instant;
pub use open::{CoreSpec, DirLock, Open, Space, Sync};
pub use process::raise_open_files_limit;
pub use statistics::Stats;
pub use task::Task;
pub use thread::{available_cpus, block_on_tokio, spawn_thread};
pub use time::{sleep, timeout};
