//! The real machine: one thread and one io_uring ring per core.
//!
//! Read in this order: `run` starts and stops the cores; `executor` is a core's loop; `ring` and
//! `setup` are the kernel's side; `operations` keeps what the kernel works on, and is where memory
//! safety is decided; `request` is what can be asked; the rest is files, sockets and time.
//!
//! # What a core does to others
//!
//! `remote` is all that other threads see: a queue of the core's own tasks that they woke, and an
//! eventfd to end its sleep. Everything else stays on the thread.
//!
//! # What is not here yet, and where it would stand
//!
//! | what | where |
//! |---|---|
//! | shares for foreground and background tasks | `Executor::runnable`, a queue per share |
//! | wake-up by MSG_RING | `Remote::wake` |
//! | multishot accept and receive with a buffer ring, zero-copy send | beside `ready` |
//! | registered files and buffers | `Request::entry` |
//!
mod group;
mod run;

mod executor;
mod remote;

mod operations;
mod request;
mod ring;
mod setup;

mod timer;
mod wheel;

mod device;
mod direct;
mod file;
pub mod fs;
mod inode;
mod lock;
mod path;

mod ready;
mod socket;
mod tcp;

mod clock;

pub use clock::{now, random_bytes, random_u64, wall_clock};
pub use file::File;
pub use run::{core, run, spawn, stats, yield_now};
pub use tcp::{TcpListener, TcpStream, Unserved};
pub use timer::{Sleep, sleep_until};
