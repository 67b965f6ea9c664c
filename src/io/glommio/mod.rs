//! The real machine by way of glommio: one thread and one glommio executor per core.
//!
//! Read in this order: `run` starts and stops the cores; `executor` is a core's loop;
//! `operations` and `gate` are how glommio's futures are used; `file`, `fs` and `ready` are what
//! it does for us. What does not touch a ring is the same as in `io/uring`, and is compiled from
//! its files.
//!
//! # What is glommio's and what is ours
//!
//! glommio's are the rings and the reactor, the files, the waiting for sockets, the clock that
//! ends a park, and the thread for calls that block. Ours are the tasks, the timers' wheel, the
//! mailboxes and the calls on sockets, for these reasons:
//!
//! - The door asks that tasks left at the end are dropped on their core, that a panic stops all
//!   cores, and that a core sees completions every few tasks. glommio never drops a task that
//!   sleeps when its executor ends, knows nothing of other executors, and looks at its rings every
//!   100 ms as long as a task is runnable. So one task of glommio's runs all of ours.
//! - A waker of glommio's that crosses threads takes its cross-thread path, which has open defects
//!   at shutdown. Here none leaves its thread: other threads write to an eventfd that it polls.
//! - A timer of glommio's that is polled twice is in its wheel twice, and each look at the rings
//!   walks all timers. Here it has one timer for a core, the next one.
//! - glommio's connection is read and written through one exclusive handle, and is itself a system
//!   call that is tried first and a poll when that would wait. Here the calls are ours and the
//!   poll is glommio's.
//!
//! glommio's preempt timer never fires here, so the defect by which it parks with runnable tasks
//! when that timer is short (`tests/glommio_hang.rs`) is out of reach. What files and directories
//! cost, their modules say; `docs/decisions/2026-11-22-glommio.md` has the choice of the crate,
//! and figures beside those of `io/uring`.

#[path = "../uring/group.rs"]
mod group;
mod run;

mod executor;
#[path = "../uring/remote.rs"]
mod remote;

mod gate;
mod operations;

#[path = "../uring/timer.rs"]
mod timer;
#[path = "../uring/wheel.rs"]
mod wheel;

#[path = "../uring/device.rs"]
mod device;
#[path = "../uring/direct.rs"]
mod direct;
mod file;
pub mod fs;
#[path = "../uring/inode.rs"]
mod inode;
#[path = "../uring/lock.rs"]
mod lock;
#[path = "../uring/path.rs"]
mod path;

mod ready;
#[path = "../uring/socket.rs"]
mod socket;
#[path = "../uring/tcp.rs"]
mod tcp;

#[path = "../uring/clock.rs"]
mod clock;

pub use clock::{now, random_bytes, random_u64, wall_clock};
pub use file::File;
pub use run::{core, run, spawn, stats, yield_now};
pub use tcp::{TcpListener, TcpStream, Unserved};
pub use timer::{Sleep, sleep_until};
