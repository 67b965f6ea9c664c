#![allow(unsafe_code)]
//! The table of operations in flight, and the future of one.
//!
//! An entry's memory belongs to the kernel from the moment it is pushed until its completion has
//! been reaped. So the request lies in this table, not in the future: when the future is dropped,
//! the entry becomes an orphan, and its memory is freed when its completion comes.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use io_uring::{opcode, squeue};
use slab::Slab;

use super::executor;
use super::request::Request;
use super::ring::Completion;
use crate::io::sync::OwnedSemaphorePermit;
use crate::io::{Error, ErrorKind};
use crate::limits::IO_OPERATIONS_MAX;

/// User data of a cancellation, whose own completion tells nothing.
const CANCELLATION: u64 = u64::MAX;

/// Where entries go: a ring, or in tests something that plays the kernel.
pub(super) trait Submit {
    /// Queues an entry.
    ///
    /// # Safety
    ///
    /// The memory that the entry points to must stay where it is, and must not be used otherwise,
    /// until the entry's completion has been taken from the ring; so must its file stay open.
    unsafe fn push(&mut self, entry: &squeue::Entry);
}

/// Every operation of one core that the kernel may still work on.
pub(super) struct Operations {
    entries: Slab<Entry>,
    /// How many of them a device works on, and not a peer or another thread.
    on_devices: usize,
    orphans: u64,
}

struct Entry {
    state: State,
    request: Request,
    /// The operation's share of the device, held until the device is done with it.
    permit: Option<OwnedSemaphorePermit>,
}

enum State {
    /// A future waits for it; its waker, once it was polled.
    Waiting(Option<Waker>),
    /// The kernel has answered and the future has not looked yet.
    Done(i32),
    /// The future is gone.
    Orphan,
    /// The executor itself looks after it.
    Standing,
}

/// An operation that has ended: the kernel's answer, and all that the operation was given.
pub(super) struct Finished {
    /// What the system call returns: a count, a descriptor, 0.
    pub(super) result: Result<u32, Error>,
    pub(super) request: Request,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Operations {
    /// An empty table.
    pub(super) fn new() -> Operations {
        Operations {
            entries: Slab::new(),
            on_devices: 0,
            orphans: 0,
        }
    }

    /// Operations that the kernel may still work on.
    pub(super) fn in_flight(&self) -> usize {
        self.entries.len()
    }

    /// Whether one more operation may start. Those that wait for peers are bounded here; those on
    /// devices are bounded by whoever starts them, and must not be refused because peers are idle:
    /// a write of the log that fails stops the data directory.
    fn admits(&self, request: &Request) -> bool {
        let waiting = self.entries.len() - self.on_devices;
        !request.waits_for_others() || waiting < IO_OPERATIONS_MAX
    }

    /// Whether a device works on any of them.
    pub(super) fn are_on_devices(&self) -> bool {
        self.on_devices > 0
    }

    /// Futures dropped before their operation had ended, so far.
    pub(super) fn orphans(&self) -> u64 {
        self.orphans
    }

    /// Starts an operation for a future.
    fn start(
        &mut self,
        ring: &mut impl Submit,
        request: Request,
        permit: Option<OwnedSemaphorePermit>,
    ) -> usize {
        self.push(
            ring,
            Entry {
                state: State::Waiting(None),
                request,
                permit,
            },
        )
    }

    /// Starts an operation that no future waits for; `complete` tells when it ended.
    pub(super) fn start_standing(&mut self, ring: &mut impl Submit, request: Request) -> usize {
        self.push(
            ring,
            Entry {
                state: State::Standing,
                request,
                permit: None,
            },
        )
    }

    fn push(&mut self, ring: &mut impl Submit, entry: Entry) -> usize {
        self.on_devices += usize::from(!entry.request.waits_for_others());
        let key = self.entries.insert(entry);
        let entry = self.entries[key].request.entry().user_data(key as u64);
        // SAFETY: the entry points into heap memory of the request, and its descriptor is one that
        // the request has a share of. The request now lies in the table, and leaves it in two
        // places only: `complete`, and `poll` and `abandon` in the state `Done`, all after the
        // completion was reaped. A table that is dropped before leaks its entries.
        unsafe { ring.push(&entry) };
        key
    }

    /// Takes in one completion: wakes who waits, frees what nobody waits for. True if it belongs
    /// to a standing operation, which has ended with it.
    pub(super) fn complete(&mut self, completion: Completion, wakes: &mut Vec<Waker>) -> bool {
        if completion.user_data == CANCELLATION {
            return false;
        }
        let key = completion.user_data as usize;
        let entry = &mut self.entries[key];
        self.on_devices -= usize::from(!entry.request.waits_for_others());
        match std::mem::replace(&mut entry.state, State::Done(completion.result)) {
            State::Waiting(waker) => {
                wakes.extend(waker);
                false
            }
            State::Orphan => {
                self.entries.remove(key).request.undo(completion.result);
                false
            }
            State::Standing => {
                self.entries.remove(key);
                true
            }
            State::Done(_) => panic!("operation {key} completed twice"),
        }
    }

    fn poll(&mut self, key: usize, waker: &Waker) -> Poll<Finished> {
        match &mut self.entries[key].state {
            State::Waiting(Some(known)) if known.will_wake(waker) => Poll::Pending,
            State::Waiting(known) => {
                *known = Some(waker.clone());
                Poll::Pending
            }
            State::Done(result) => {
                let result = *result;
                let entry = self.entries.remove(key);
                Poll::Ready(Finished {
                    result: answer(result),
                    request: entry.request,
                    permit: entry.permit,
                })
            }
            State::Orphan | State::Standing => panic!("operation {key} has no future"),
        }
    }

    /// The future is dropped.
    fn abandon(&mut self, ring: &mut impl Submit, key: usize) {
        match self.entries[key].state {
            State::Done(result) => self.entries.remove(key).request.undo(result),
            State::Waiting(_) => {
                self.entries[key].state = State::Orphan;
                self.orphans += 1;
                if self.entries[key].request.waits_for_others() {
                    cancel(ring, key);
                }
            }
            State::Orphan | State::Standing => panic!("operation {key} has no future"),
        }
    }

    /// Asks the kernel to end everything that may wait for ever, so that `in_flight` reaches 0.
    pub(super) fn cancel_all(&mut self, ring: &mut impl Submit) {
        for (key, entry) in &self.entries {
            if entry.request.waits_for_others() && !matches!(entry.state, State::Done(_)) {
                cancel(ring, key);
            }
        }
    }
}

impl Drop for Operations {
    /// What the kernel may still write to is leaked, never freed. A core that stops in order has
    /// waited until there is nothing of it.
    fn drop(&mut self) {
        if !self.entries.is_empty() {
            std::mem::forget(std::mem::take(&mut self.entries));
        }
    }
}

/// Asks the kernel to end an operation early; its completion comes all the same
/// (`kernel-notes/async-cancel.md`).
fn cancel(ring: &mut impl Submit, key: usize) {
    let entry = opcode::AsyncCancel::new(key as u64)
        .build()
        .user_data(CANCELLATION);
    // SAFETY: a cancellation refers to no memory and no file, only to the user data of another.
    unsafe { ring.push(&entry) };
}

fn answer(result: i32) -> Result<u32, Error> {
    u32::try_from(result).map_err(|_| Error::from_raw_os_error(-result))
}

/// The future of one operation, of the core that started it.
#[must_use = "an operation that is dropped at once is cancelled or runs unseen"]
pub(super) struct Operation {
    key: Option<usize>,
    /// Its key means something on this thread only.
    _local: PhantomData<*const ()>,
}

impl Operation {
    /// Starts an operation. If it would wait for a peer and too many of the core do so already,
    /// everything is given back with `ResourceBusy`.
    pub(super) async fn run(request: Request, permit: Option<OwnedSemaphorePermit>) -> Finished {
        let started = executor::with(|core| {
            let operations = &mut *core.operations.borrow_mut();
            if !operations.admits(&request) {
                return Err(Finished {
                    result: Err(Error::from(ErrorKind::ResourceBusy)),
                    request,
                    permit,
                });
            }
            Ok(operations.start(&mut *core.ring.borrow_mut(), request, permit))
        });
        match started {
            Ok(key) => {
                Operation {
                    key: Some(key),
                    _local: PhantomData,
                }
                .await
            }
            Err(refused) => refused,
        }
    }
}

impl Future for Operation {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished> {
        let Some(key) = self.key else {
            panic!("an operation was polled after its end")
        };
        let poll = executor::with(|core| core.operations.borrow_mut().poll(key, context.waker()));
        if poll.is_ready() {
            self.key = None;
        }
        poll
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        // Without an executor the table is gone too, and the kernel is done with the entry.
        executor::try_with(|core| {
            core.operations
                .borrow_mut()
                .abandon(&mut *core.ring.borrow_mut(), key)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::Ring;
    use super::super::setup::STEPS;
    use super::*;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::rc::Rc;
    use std::time::Duration;

    fn pipe() -> (Rc<OwnedFd>, OwnedFd) {
        let (reader, writer) = std::io::pipe().unwrap();
        (Rc::new(reader.into()), writer.into())
    }

    /// Reaps until `count` completions were taken in.
    fn complete(operations: &mut Operations, ring: &mut Ring, count: usize) {
        let (mut completions, mut taken) = (Vec::new(), 0);
        while taken < count {
            ring.park(Some(Duration::from_secs(10)), false);
            completions.clear();
            ring.reap(&mut completions);
            assert!(!completions.is_empty(), "a completion is missing");
            for completion in &completions {
                operations.complete(*completion, &mut Vec::new());
            }
            taken += completions.len();
        }
    }

    #[test]
    fn an_abandoned_wait_is_cancelled_and_holds_its_file_until_then() {
        let mut ring = Ring::open(&STEPS).unwrap();
        let mut operations = Operations::new();
        let (reader, _writer) = pipe();
        let request = Request::Poll {
            file: reader.clone(),
            events: libc::POLLIN,
        };
        let key = operations.start(&mut ring, request, None);
        operations.abandon(&mut ring, key);
        assert_eq!(
            Rc::strong_count(&reader),
            2,
            "the kernel may still use the file"
        );
        assert_eq!((operations.in_flight(), operations.orphans()), (1, 1));
        complete(&mut operations, &mut ring, 2);
        assert_eq!(operations.in_flight(), 0);
        assert_eq!(Rc::strong_count(&reader), 1);
    }

    #[test]
    fn an_abandoned_open_closes_what_it_opened() {
        let mut ring = Ring::open(&STEPS).unwrap();
        let path = || c"/proc/self/status".to_owned();
        // Once dropped before the completion was reaped, once after.
        for reaped_first in [false, true] {
            let mut operations = Operations::new();
            let request = Request::Open {
                path: path(),
                flags: libc::O_RDONLY,
            };
            let key = operations.start(&mut ring, request, None);
            if reaped_first {
                complete(&mut operations, &mut ring, 1);
                let State::Done(descriptor) = operations.entries[key].state else {
                    panic!()
                };
                operations.abandon(&mut ring, key);
                assert!(!is_open(descriptor));
            } else {
                operations.abandon(&mut ring, key);
                complete(&mut operations, &mut ring, 1);
            }
            assert_eq!(operations.in_flight(), 0);
        }
    }

    fn is_open(descriptor: i32) -> bool {
        let link = format!("/proc/self/fd/{descriptor}");
        // Another test may have got the number since, but not for this file.
        std::fs::read_link(link).is_ok_and(|target| target.ends_with("status"))
    }

    #[test]
    fn everything_that_waits_ends_when_all_is_cancelled() {
        let mut ring = Ring::open(&STEPS).unwrap();
        let mut operations = Operations::new();
        let (reader, writer) = pipe();
        for _ in 0..10 {
            let request = Request::Poll {
                file: reader.clone(),
                events: libc::POLLIN,
            };
            operations.start(&mut ring, request, None);
        }
        assert!(writer.as_raw_fd() >= 0);
        ring.flush();
        operations.cancel_all(&mut ring);
        complete(&mut operations, &mut ring, 20);
        assert!(
            operations
                .entries
                .iter()
                .all(|(_, e)| matches!(e.state, State::Done(_)))
        );
    }

    #[test]
    fn an_answer_is_a_count_or_an_errno() {
        assert_eq!(answer(0).unwrap(), 0);
        assert_eq!(answer(i32::MAX).unwrap(), i32::MAX as u32);
        assert_eq!(
            answer(-libc::EIO).unwrap_err().raw_os_error(),
            Some(libc::EIO)
        );
    }

    /// Plays the kernel: it writes to the memory of reads when it completes them, as late as it
    /// likes. Under Miri a write to memory that was freed or reused is an error.
    #[derive(Default)]
    struct Kernel {
        taken: Vec<(u64, *mut u8, usize)>,
    }

    impl Submit for Kernel {
        // SAFETY: the demands on the caller are those of the trait.
        unsafe fn push(&mut self, entry: &squeue::Entry) {
            // SAFETY: an entry is the kernel's 64-byte `io_uring_sqe`, in which the address stands
            // at byte 16 and the length at byte 24 (the kernel's `linux/io_uring.h`).
            let (address, length) = unsafe {
                let start = (&raw const *entry).cast::<u8>();
                (
                    start.add(16).cast::<u64>().read(),
                    start.add(24).cast::<u32>().read(),
                )
            };
            let is_read = entry.get_opcode() == u32::from(opcode::Read::CODE);
            let memory = std::ptr::with_exposed_provenance_mut(address as usize);
            let length = if is_read { length as usize } else { 0 };
            self.taken.push((entry.get_user_data(), memory, length));
        }
    }

    impl Kernel {
        fn complete(&mut self, place: usize) -> Completion {
            let (user_data, memory, length) = self.taken.swap_remove(place);
            for n in 0..length {
                // SAFETY: that the memory is still there is what the test checks.
                unsafe { memory.add(n).write(user_data as u8) };
            }
            Completion {
                user_data,
                result: length as i32,
            }
        }
    }

    #[test]
    fn idle_peers_never_keep_the_log_from_writing() {
        let (mut kernel, mut operations) = (Kernel::default(), Operations::new());
        let file: Rc<OwnedFd> = Rc::new(std::io::pipe().unwrap().0.into());
        let poll = || Request::Poll {
            file: file.clone(),
            events: libc::POLLIN,
        };
        let sync = Request::Fsync { file: file.clone() };
        for _ in 0..IO_OPERATIONS_MAX {
            assert!(operations.admits(&poll()) && operations.admits(&sync));
            operations.start(&mut kernel, poll(), None);
        }
        assert!(!operations.admits(&poll()));
        assert!(operations.admits(&sync));
        operations.complete(kernel.complete(0), &mut Vec::new());
        for _ in 0..10 {
            operations.start(&mut kernel, Request::Fsync { file: file.clone() }, None);
        }
        assert!(!operations.admits(&poll()), "its future has not looked yet");
        let Poll::Ready(_) = operations.poll(0, Waker::noop()) else {
            panic!("it has completed")
        };
        assert!(operations.admits(&poll()), "writes do not count");
        for key in 1..IO_OPERATIONS_MAX + 10 {
            operations.abandon(&mut kernel, key);
        }
        while !kernel.taken.is_empty() {
            operations.complete(kernel.complete(0), &mut Vec::new());
        }
    }

    #[test]
    fn whatever_is_dropped_when_the_kernels_memory_stays() {
        let rounds = if cfg!(miri) { 400 } else { 20_000 };
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as usize % below
        };
        let (mut kernel, mut operations) = (Kernel::default(), Operations::new());
        let file: Rc<OwnedFd> = Rc::new(std::io::pipe().unwrap().0.into());
        let mut futures: Vec<usize> = Vec::new();
        for _ in 0..rounds {
            match random(5) {
                0 | 1 => {
                    let (file, buffer) = (file.clone(), crate::io::AlignedBuf::zeroed(64));
                    let request = Request::Read {
                        file,
                        buffer,
                        place: 0..64,
                        offset: 0,
                    };
                    futures.push(operations.start(&mut kernel, request, None));
                }
                2 if !kernel.taken.is_empty() => {
                    let completion = kernel.complete(random(kernel.taken.len()));
                    operations.complete(completion, &mut Vec::new());
                }
                3 if !futures.is_empty() => {
                    let key = futures.swap_remove(random(futures.len()));
                    operations.abandon(&mut kernel, key);
                }
                _ if !futures.is_empty() => {
                    let place = random(futures.len());
                    let key = futures[place];
                    let Poll::Ready(ended) = operations.poll(key, Waker::noop()) else {
                        continue;
                    };
                    futures.swap_remove(place);
                    let Request::Read { buffer, .. } = ended.request else {
                        panic!()
                    };
                    assert!(buffer.iter().all(|byte| *byte == key as u8));
                }
                _ => {}
            }
        }
        for key in futures {
            operations.abandon(&mut kernel, key);
        }
        while !kernel.taken.is_empty() {
            operations.complete(kernel.complete(0), &mut Vec::new());
        }
        assert_eq!(
            (operations.in_flight(), operations.are_on_devices()),
            (0, false)
        );
        assert_eq!(Rc::strong_count(&file), 1);
    }
}
