#![allow(unsafe_code)]
//! What other threads see of a core: the queue of tasks that they woke, and the way to end its
//! sleep (`kernel-notes/eventfd-wake.md`).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use async_task::Runnable;
use crossbeam::queue::SegQueue;

use crate::io::park::ParkFlag;
use crate::io::{Error, Result};

/// Shared by all threads; one per core.
pub(super) struct Remote {
    /// Tasks of the core that other threads woke. A task is in it once at most, so it holds no
    /// more than the core has tasks.
    woken: SegQueue<Runnable>,
    /// Set while the core sleeps: only then is a wake-up worth a system call.
    pub(super) sleeping: ParkFlag,
    event: OwnedFd,
}

impl Remote {
    /// A core that is awake and has no tasks.
    pub(super) fn new() -> Result<Remote> {
        Ok(Remote {
            woken: SegQueue::new(),
            sleeping: ParkFlag::awake(),
            event: eventfd()?,
        })
    }

    /// Hands a woken task to its core.
    pub(super) fn push(&self, task: Runnable) {
        self.woken.push(task);
        self.wake();
    }

    /// Makes the core look around, if it sleeps.
    pub(super) fn wake(&self) {
        if self.sleeping.must_wake() {
            signal(&self.event);
        }
    }

    /// A task that was woken from elsewhere.
    pub(super) fn pop(&self) -> Option<Runnable> {
        self.woken.pop()
    }

    /// Whether no such task waits.
    pub(super) fn is_empty(&self) -> bool {
        self.woken.is_empty()
    }

    /// A descriptor of the core's own for the same event.
    pub(super) fn event(&self) -> Result<OwnedFd> {
        self.event.as_fd().try_clone_to_owned()
    }
}

fn eventfd() -> Result<OwnedFd> {
    // SAFETY: the call takes no pointers.
    let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the kernel has just made the descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Adds one to the eventfd. The core's read sets it back to zero, so it cannot overflow, which is
/// the only way in which this write could wait or fail.
fn signal(event: &OwnedFd) {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: the pointer and length are those of `one`, which lives through the call.
    let written = unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    assert_eq!(
        written,
        8,
        "an eventfd takes a count: {}",
        Error::last_os_error()
    );
}
