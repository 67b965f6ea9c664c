//! The simulated machine: the `io` door in one thread, driven by a seed, on hardware that fails.
//!
//! A [`Simulation`] is one machine. A test starts it, lets it crash, starts it again on what its
//! disk kept, and checks what was promised. The same seed and program give the same run, event by
//! event ([`Simulation::digest`]); a failure prints the seed.
//!
//! ```
//! use corelog::io::{self, Sync, sim::{Crash, CrashPoint, Outcome, Simulation}};
//!
//! let sim = Simulation::new(42);
//! sim.crash_at(CrashPoint::DiskOp(2), Crash::PowerLoss);
//! let outcome = sim.run_cores(2, |core| async move {
//!     io::fs::create_dir(format!("/data-{}", core.0)).await.unwrap();
//!     io::fs::sync_dir("/").await.unwrap();
//! });
//! assert_eq!(outcome, Outcome::Crashed(Crash::PowerLoss));
//! let outcome = sim.run_cores(1, |_| async { assert!(io::fs::list_dir("/").await.is_ok()) });
//! assert_eq!(outcome, Outcome::Finished);
//! ```
//!
//! [`Simulation::run_program`] runs code that calls `io::run` itself, such as the broker's main.
//! [`Simulation::crash_everywhere`] crashes a workload at each of its disk operations;
//! [`Simulation::observe_disk`] with [`Disk::clone`] and [`Disk::lose_power`] crashes one run in
//! as many ways as there are seeds, without running it again. A crash planned while recovery runs
//! is no different from any other.
//!
//! Code that runs under no `Simulation` gets a healthy machine of its thread, with the seed in the
//! environment variable `CORELOG_SIM_SEED` or 0: so the suites that know no backend run as they
//! are, and again with other seeds.
//!
//! # The fault model
//!
//! ## Time and cores
//!
//! - One clock for all cores. It moves a little with each poll of a task and jumps to the next
//!   event when nothing can run; so a day of sleeping costs nothing. The wall clock follows it,
//!   shifted as the test says; a crash costs some downtime on both.
//! - Which core runs next is drawn with unequal weights. Its tasks take turns, in an order that
//!   is drawn for each round: nobody may rely on first come, first served. Cores pause for
//!   milliseconds now and then.
//! - A wake-up from one core to another takes a drawn time; that is how cross-core mail is late.
//!   What one sender sent keeps its order, as the mailbox promises.
//! - A run in which nothing can run and nothing is awaited is a deadlock; one that passes its time
//!   limit or `SIM_POLLS_MAX` does not end. Both panic with the seed.
//! - A core has no parallelism inside and none beside it: data races and memory orderings are
//!   for loom and Miri, not for this.
//!
//! ## Disk
//!
//! Every operation takes a drawn time, now and then a long one; completions come in any order.
//! The unit that is kept or lost is a sector of 512 bytes; it is never torn inside.
//!
//! - **A completed write** is visible to every reader, and volatile. Of a write in flight a reader
//!   may see any sectors, and those it saw stay.
//! - **A write with data sync** makes its own sectors durable, and the file's size up to its end;
//!   nothing else: not other writes, not the rest of an allocation, not the file's name.
//! - **A file sync** makes durable what had completed when the sync began, and the size.
//! - **A directory sync** makes the names of that directory durable, and what a rename ties to
//!   them, as they were when it began. Until then a created file may be gone, a removed one back,
//!   a renamed one under its old name. Syncing a file does not make its name durable, though ext4
//!   often does.
//! - **A sync of the file system** does all of this for every file and directory.
//! - **A power loss** keeps or loses each volatile sector, size and name. One of several ways is
//!   drawn per crash: all lost, all kept, each write for itself (reordering), each sector for
//!   itself (tearing), or a prefix of the completions with the next write torn. Of each
//!   directory's changes a prefix is kept; a rename is atomic. Writes in flight count as volatile.
//! - **A kill** of the process keeps what had completed, and leaves it volatile: a power loss after
//!   the restart may still take it. A write in flight is there, is not, or is cut at sectors.
//!   There is no page cache that would save what was not written.
//! - **An allocation** sets the size and reads as zeros until written, or, with
//!   [`DiskOptions::stale_allocation`], as what removed files left there.
//! - **ENOSPC** comes from an allocation or a write that grows a file past the capacity. Space
//!   comes back when a file has neither name nor open handle; the capacity may be changed at any
//!   time.
//! - **Misaligned** offset, length or memory is EINVAL, as with O_DIRECT.
//! - **Faults** strike the n-th operation of a kind, on a path, once or for good or by chance:
//!   errors (of a failed write any sectors are written; what a failed sync covered never becomes
//!   durable by a later one), lost writes and lying syncs, bits flipped on the way to a reader or
//!   on the medium. [`Fault::dead_disk`] fails everything. [`Disk::flip_bit`], [`Disk::put`]
//!   damage at rest.
//!
//! ## Network
//!
//! Loopback TCP: bytes arrive in order and intact, late, in pieces of drawn sizes, through bounded
//! buffers that hold a writer back. Connections to an address that several cores have bound are
//! spread by chance. A connection may be cut (both ends see a reset, what travels is lost),
//! stalled, half closed; [`NetOptions`] does so by chance, [`TcpStream::cut`] and
//! [`Net::cut_all`] at will. A crash of the machine ends all connections: clients live on the
//! machine that they test.
//!
//! # What it deliberately does not do
//!
//! - It does not corrupt a sector that is durable, unless told to: a power loss takes back or cuts,
//!   it does not garble. (Flips are for that.)
//! - It does not fail half of a directory operation, nor lose a directory that was synced.
//! - It does not model what the log never does: truncation, sparse files, memory maps, buffered
//!   files, links, permissions, removal of directories.
//! - It has one machine with one disk and one file system. Several brokers need several machines
//!   on one clock; that comes with the cluster.
//! - `io::spawn_thread`, `io::block_on_tokio` and `io::blocking` are the real ones. A thread is
//!   outside of the simulation: its time is real, it is not reproducible, and a wake-up from it
//!   is not waited for. Simulated programs do without them.
//! - It does not make the program deterministic: iterating over a `HashMap` with the default
//!   hasher, `select!` without `biased`, and addresses printed or compared differ from run to run.
//!   Keep them off every path that decides the order of operations; [`Simulation::digest`] tells.

mod simulation;
mod trace;

mod executor;
mod machine;

mod clock;
pub mod disk;
mod file;
pub mod fs;
mod net;

mod chance;

pub use chance::Chance;
pub use disk::{Disk, DiskCounts, DiskOptions, Fault, OpInfo, OpKind};
pub use file::File;
pub use net::{Net, NetOptions, TcpListener, TcpStream, Unserved};
pub use simulation::{Builder, Crash, CrashPoint, Outcome, ScheduleOptions, Simulation};
pub use simulation::{crash_now, with_disk, with_net};
pub use trace::{Event, What};

pub use clock::Sleep;
pub use clock::{now, random_bytes, random_u64, sleep_until, wall_clock};
pub use executor::{core, spawn, stats, yield_now};
pub use simulation::run;

#[cfg(test)]
mod tests;
