//! Clock, chance, disk, network, tasks, aligned memory, mailboxes: everything outside the process
//! enters through this door, and the caller never sees which backend is compiled in.
//!
//! # Three backends, one door
//!
//! `uring` (default) is the real machine: one pinned thread and one io_uring ring per core.
//! `glommio` (feature `glommio`) is the same machine by way of that runtime, to compare with.
//! `sim` (feature `sim`, which wins over the other) is a seeded machine in one thread: virtual
//! time, a disk and a network that fail. The choice is made in this file and nowhere else.
//! A backend is a module that has:
//!
//! | item | signature |
//! |---|---|
//! | `run` | `fn(cores: &[CoreSpec], main: M) -> Result<()>`, see below |
//! | `core` | `fn() -> CoreId` |
//! | `spawn` | `fn(future: F) -> Task<F::Output>`; neither `F` nor its output need be `Send` |
//! | `yield_now` | `async fn()` |
//! | `stats` | `fn() -> Stats` |
//! | `now` | `fn() -> Instant` |
//! | `Sleep`, `sleep_until` | `fn(deadline: Instant) -> Sleep`, a `Future<Output = ()>` |
//! | `wall_clock` | `fn() -> Timestamp` |
//! | `random_bytes` | `fn<const N: usize>() -> [u8; N]` |
//! | `random_u64` | `fn() -> u64` |
//!
//! `run`'s `M` is `Fn(CoreId) -> F + Send + Sync`, `F` a `Future<Output = ()> + 'static`.
//! The following are async unless marked `sync`, and return a `Result` unless they show otherwise:
//!
//! | type | methods |
//! |---|---|
//! | `File`, a shared handle | `open(path, Open) -> File`, `write_at(&self, Bytes, u64, Sync)` |
//! | | `read_at(&self, AlignedBuf, u64) -> (Result<usize>, AlignedBuf)` |
//! | | `allocate(&self, u64)`, `sync(&self)`, `len(&self) -> u64` |
//! | | `write_zeroes(&self, offset: u64, length: u64)`: may be `Unsupported` |
//! | | sync: `alignment(&self) -> usize`, not a `Result` |
//! | `TcpListener` | `check_free(SocketAddr)`, `bind(SocketAddr) -> TcpListener` |
//! | | `accept(&self) -> (TcpStream, SocketAddr)`, `accept_unserved(&self) -> Unserved` |
//! | | sync: `local_addr(&self) -> SocketAddr`, not a `Result` |
//! | `Unserved`, which is `Send` | sync: `serve(self) -> TcpStream`, `peer_addr(&self) -> SocketAddr`, |
//! | | neither a `Result` |
//! | `TcpStream`, a shared handle | `connect(SocketAddr) -> TcpStream` |
//! | | `read(&self, BytesMut) -> (Result<usize>, BytesMut)` |
//! | | `read_into(&self, AlignedBuf, Range<usize>) -> (Result<usize>, AlignedBuf)` |
//! | | `write_all(&self, Vec<Bytes>)` |
//! | | sync: `shutdown(&self)`, `peer_addr(&self) -> SocketAddr`, not a `Result` |
//! | `fs`, a module | `create_dir(path)`, `remove_file(path)`, `sync_dir(path)`, `rename(from, to)` |
//! | | `sync_file_system(path)`: all of the file system that the path lies on
//! | | `list_dir(path) -> Vec<String>`: names, sorted |
//! | | `read_small(path) -> Bytes`: at most `limits::SMALL_FILE_BYTES_MAX` |
//! | | `write_small(path, Bytes)`: durable, and either the old bytes or the new |
//! | | `space(path) -> Space` |
//! | | `lock_dir(path) -> DirLock`: `WouldBlock` if another process has it |
//!
//! A path is `impl AsRef<Path>`; a shared handle is `Clone`.
//!
//! Everything else of the room is built on these and is the same for all.
//! `tests/conformance` passes with each of them.
//!
//! # Rules that hold for every operation
//!
//! - A buffer in flight belongs to the backend until the operation completes, whatever happens to
//!   the future. Operations take buffers by value and give them back.
//! - An operation's future belongs to the core that made it.
//! - A task that panics takes the process's other cores down with it: `run` unwinds.

// The disallowed methods are disallowed so that they are called here only.
#![allow(clippy::disallowed_methods)]

mod arena;
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

#[cfg(all(feature = "glommio", not(feature = "sim")))]
mod glommio;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(not(any(feature = "glommio", feature = "sim")))]
mod uring;

#[cfg(all(feature = "glommio", not(feature = "sim")))]
use self::glommio as backend;
#[cfg(feature = "sim")]
use sim as backend;
#[cfg(not(any(feature = "glommio", feature = "sim")))]
use uring as backend;

pub mod blocking;
pub mod housekeeping;
mod process;
mod thread;

pub use std::io::{Error, ErrorKind, Result};

pub use arena::give_back_buffers;
pub use backend::{File, Sleep, TcpListener, TcpStream, Unserved, fs};
pub use backend::{core, run, spawn, stats, yield_now};
pub use backend::{now, random_bytes, random_u64, sleep_until, wall_clock};
pub use buffer::AlignedBuf;
pub use instant::Instant;
pub use open::{CoreSpec, DirLock, Open, Space, Sync};
pub use process::raise_open_files_limit;
pub use statistics::Stats;
pub use task::Task;
pub use thread::{available_cpus, block_on_tokio, pin_thread, spawn_thread};
pub use time::{sleep, timeout};
