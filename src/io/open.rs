//! What the caller says when it opens a file, writes to it, or starts the cores, and the small
//! values that come back.

use std::time::Duration;

use crate::model::CoreId;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A new file, for reading and writing; one that exists is an error (`AlreadyExists`).
    CreateNew,
}

/// What a write's completion promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// The device has the bytes, perhaps in a volatile cache: a power cut may lose them.
    None,
    /// The bytes, and the metadata needed to read them back, survive a power cut (RWF_DSYNC).
    Data,
}

/// One core to start: which shard it is, which CPU it is pinned to, and how it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreSpec {
    /// The shard; `io::core()` of everything that runs there.
    pub id: CoreId,
    /// The CPU's number as the kernel counts them; `None` lets the kernel place the thread.
    pub cpu: Option<usize>,
    /// How long a core that has run out of work looks for more before it sleeps; zero sleeps at
    /// once. It takes the CPU for as long, so it is for cores that share theirs with nobody.
    ///
    /// glommio spins by itself, and only if the core is pinned. It does so when the core has
    /// already said that it sleeps, so that others wake it all the same, and `Stats` does not
    /// count it. The simulated machine has no sleep to put off, and ignores it.
    pub spin: Duration,
}

impl CoreSpec {
    /// `count` cores that are not pinned, for tests and shared machines.
    pub fn unpinned(count: u16) -> Vec<CoreSpec> {
        (0..count)
            .map(|core| CoreSpec {
                id: CoreId(core),
                cpu: None,
                spin: Duration::ZERO,
            })
            .collect()
    }
}

/// What a file system has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its size.
    pub total_bytes: u64,
    /// What this process may still use.
    pub available_bytes: u64,
}

/// A directory locked against other processes, until this value is dropped.
///
/// It holds whatever the backend's lock is; a crash of the process releases it, as the kernel
/// closes the file.
#[must_use = "the lock is released when it is dropped"]
pub struct DirLock {
    _held: Box<dyn Send>,
}

impl DirLock {
    /// What a backend's `fs::lock_dir` gives its caller; dropping `held` must release the lock.
    pub(super) fn new(held: Box<dyn Send>) -> DirLock {
        DirLock { _held: held }
    }
}
