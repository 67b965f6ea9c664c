#![allow(unsafe_code)]
//! One ring: entries in, completions out, and sleep.

use std::time::Duration;

use io_uring::{EnterFlags, IoUring, squeue, types};

use super::operations::Submit;
use super::setup::{RingError, Step, open_ring};

/// The result of one operation: the user data it was given, and the kernel's answer, which is a
/// negated errno if negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Completion {
    pub(super) user_data: u64,
    pub(super) result: i32,
}

/// A ring of the thread that made it.
pub(super) struct Ring {
    ring: IoUring,
    step: Step,
    /// Completions taken out while the submission queue was full.
    early: Vec<Completion>,
    enters: u64,
    submissions: u64,
}

impl Ring {
    /// A ring with the first of `steps` that the kernel takes.
    pub(super) fn open(steps: &[Step]) -> Result<Ring, RingError> {
        let (ring, step) = open_ring(steps)?;
        Ok(Ring {
            ring,
            step,
            early: Vec::new(),
            enters: 0,
            submissions: 0,
        })
    }

    /// The flags in force.
    pub(super) fn step(&self) -> Step {
        self.step
    }

    /// System calls so far.
    pub(super) fn enters(&self) -> u64 {
        self.enters
    }

    /// Entries pushed so far.
    pub(super) fn submissions(&self) -> u64 {
        self.submissions
    }

    /// Gives queued entries to the kernel and lets it run what completes. One system call, or
    /// none if there is nothing to do.
    pub(super) fn flush(&mut self) {
        let submission = self.ring.submission();
        let idle = submission.is_empty() && !submission.taskrun() && !submission.cq_overflow();
        drop(submission);
        if !idle {
            self.submit();
        }
    }

    /// Gives queued entries to the kernel and sleeps until a completion is there, or `limit` has
    /// passed. May return early.
    ///
    /// The kernel accounts the sleep as waiting for a device only if `for_device` says so.
    /// Otherwise an idle broker would show as 100 % iowait, because its sockets' polls are
    /// operations in flight too (`kernel-notes/no-iowait.md`).
    pub(super) fn park(&mut self, limit: Option<Duration>, for_device: bool) {
        if !self.early.is_empty() {
            return;
        }
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if !for_device && self.ring.params().is_feature_no_iowait() {
            flags |= EnterFlags::NO_IOWAIT;
        }
        let limit = limit.map(types::Timespec::from);
        let arguments = match &limit {
            Some(limit) => types::SubmitArgs::new().timespec(limit),
            None => types::SubmitArgs::new(),
        };
        let queued = self.ring.submission().len() as u32;
        // SAFETY: `arguments` and the time it points to live through the call, and its size is the
        // one that EXT_ARG asks for; whoever pushed the queued entries has vouched for them.
        let result = unsafe {
            self.ring
                .submitter()
                .enter(queued, 1, flags.bits(), Some(&arguments))
        };
        self.entered(result);
    }

    /// Takes the completions that are there.
    pub(super) fn reap(&mut self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.early);
        take_completions(&mut self.ring, completions);
    }

    /// Gives queued entries to the kernel without waiting.
    fn submit(&mut self) {
        let result = self.ring.submit();
        self.entered(result);
    }

    fn entered(&mut self, result: std::io::Result<usize>) {
        self.enters += 1;
        let Err(error) = result else { return };
        match error.raw_os_error() {
            // Interrupted, or slept for as long as was asked. What was not submitted is submitted
            // by the next call.
            Some(libc::EINTR | libc::ETIME) => {}
            // The completion queue must be emptied first, or the kernel is short of memory for a
            // request. The caller reaps and comes again.
            Some(libc::EBUSY | libc::EAGAIN) => {}
            errno => panic!("io_uring_enter failed: {error} (errno {errno:?})"),
        }
    }
}

impl Submit for Ring {
    /// The kernel sees the entry at the next `flush` or `park`, or at once if the queue is full.
    // SAFETY: the demands on the caller are those of the trait.
    unsafe fn push(&mut self, entry: &squeue::Entry) {
        self.submissions += 1;
        loop {
            // SAFETY: the caller keeps memory and file as `Submit::push` demands, which is all
            // that the queue's own `push` asks for.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            self.submit();
            // A full completion queue makes the kernel refuse entries (EBUSY) until it is emptied.
            take_completions(&mut self.ring, &mut self.early);
        }
    }
}

fn take_completions(ring: &mut IoUring, completions: &mut Vec<Completion>) {
    let queue = ring.completion();
    completions.extend(queue.map(|entry| Completion {
        user_data: entry.user_data(),
        result: entry.result(),
    }));
}

#[cfg(test)]
mod tests {
    use super::super::setup::STEPS;
    use super::*;
    use crate::limits::{RING_COMPLETIONS, RING_SUBMISSIONS};
    use io_uring::opcode;

    /// Every step of the fallback works the same.
    #[test]
    fn more_entries_than_either_queue_holds_all_complete() {
        let best = Ring::open(&STEPS).unwrap().step();
        let first = STEPS.iter().position(|step| *step == best).unwrap();
        for step in &STEPS[first..] {
            let mut ring = Ring::open(&[*step]).unwrap();
            let count = u64::from(RING_COMPLETIONS) * 3 + u64::from(RING_SUBMISSIONS) / 2;
            for n in 0..count {
                let entry = opcode::Nop::new().build().user_data(n);
                // SAFETY: NOP refers to no memory and no file.
                unsafe { ring.push(&entry) };
            }
            let mut seen = vec![false; count as usize];
            let mut completions = Vec::new();
            while seen.contains(&false) {
                ring.park(Some(Duration::from_secs(5)), false);
                completions.clear();
                ring.reap(&mut completions);
                assert!(!completions.is_empty(), "{step:?}: a completion is missing");
                for completion in &completions {
                    assert_eq!(completion.result, 0);
                    let before = std::mem::replace(&mut seen[completion.user_data as usize], true);
                    assert!(!before, "{step:?}: a completion came twice");
                }
            }
        }
    }

    #[test]
    fn parking_ends_after_its_limit() {
        let mut ring = Ring::open(&STEPS).unwrap();
        let begin = std::time::Instant::now();
        ring.park(Some(Duration::from_millis(20)), true);
        assert!(begin.elapsed() >= Duration::from_millis(19));
    }
}
