//! The executor of one core: its loop, its run queue, its place in the thread.
//!
//! One turn of the loop runs a few tasks, then gives their operations to the ring and reaps what
//! has completed, then fires the timers. So a core that always has runnable tasks still sees its
//! disk, its sockets and other cores' mail within a few tasks' time. When nothing is runnable the
//! core looks around for as long as it was told to, and then parks in the kernel until a
//! completion, a timer or a wake-up.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use async_task::Runnable;
use slab::Slab;

use super::clock::now;
use super::device::Devices;
use super::operations::Operations;
use super::remote::Remote;
use super::request::Request;
use super::ring::{Completion, Ring};
use super::setup::Step;
use super::wheel::Wheel;
use crate::io::{CoreSpec, Error, Instant, Result, Stats, Task};
use crate::limits::{IMMEDIATE_OPERATIONS_PER_POLL, TASK_STALL_MS, TASKS_PER_TURN};
use crate::model::CoreId;

const TASK_STALL: Duration = Duration::from_millis(TASK_STALL_MS);
/// How long a stopping core waits for operations that the kernel does not end, such as a write to
/// a disk that hangs.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Executor>>> = const { RefCell::new(None) };
}

/// One core. It never leaves its thread; `remote` is the part that other threads see.
pub(super) struct Executor {
    id: CoreId,
    /// How long the core looks for work before it parks.
    spin: Duration,
    remote: Arc<Remote>,
    /// The core's own descriptor of the event in `remote`.
    event: Rc<OwnedFd>,
    /// Runnable tasks, each at most once. One queue for all: shares for foreground and background
    /// work would be a queue each, chosen from in `run_tasks`.
    runnable: RefCell<VecDeque<Runnable>>,
    /// A waker of every task alive, so that stopping reaches tasks that wait.
    tasks: RefCell<Slab<Waker>>,
    /// Immediate operations that the task now polled may still do before it makes way.
    immediate_left: Cell<u32>,
    /// Set while the read of the wake-up eventfd is in flight.
    wake_armed: Cell<bool>,
    counters: Cell<Stats>,
    pub(super) operations: RefCell<Operations>,
    pub(super) ring: RefCell<Ring>,
    pub(super) timers: RefCell<Wheel<Waker>>,
    pub(super) devices: Devices,
    /// Of `socket::send`, kept to avoid allocating in each call; empty between calls.
    pub(super) vectors: RefCell<Vec<libc::iovec>>,
    /// Kept to avoid allocating in each turn; empty between turns.
    completions: RefCell<Vec<Completion>>,
    wakes: RefCell<Vec<Waker>>,
}

/// Runs `body` with this thread's executor; outside of one is a bug of the caller.
pub(super) fn with<R>(body: impl FnOnce(&Executor) -> R) -> R {
    match try_with(body) {
        Some(result) => result,
        None => panic!("this operation of io needs a core: it was called outside of io::run"),
    }
}

/// Runs `body` with this thread's executor, if it has one.
pub(super) fn try_with<R>(body: impl FnOnce(&Executor) -> R) -> Option<R> {
    // The thread's own storage may be gone when the thread ends.
    CURRENT
        .try_with(|current| current.borrow().as_deref().map(body))
        .ok()
        .flatten()
}

impl Executor {
    /// The executor of this thread, with its ring.
    pub(super) fn enter(
        spec: &CoreSpec,
        cores: usize,
        remote: Arc<Remote>,
        steps: &[Step],
    ) -> Result<Rc<Executor>> {
        let event = Rc::new(remote.event()?);
        let ring = Ring::open(steps).map_err(|error| Error::new(error.kind(), error))?;
        let executor = Rc::new(Executor {
            id: spec.id,
            spin: spec.spin,
            event,
            remote,
            runnable: RefCell::new(VecDeque::new()),
            tasks: RefCell::new(Slab::new()),
            immediate_left: Cell::new(0),
            wake_armed: Cell::new(false),
            counters: Cell::new(Stats::default()),
            operations: RefCell::new(Operations::new()),
            ring: RefCell::new(ring),
            timers: RefCell::new(Wheel::new(now().as_nanos())),
            devices: Devices::new(cores),
            vectors: RefCell::new(Vec::new()),
            completions: RefCell::new(Vec::new()),
            wakes: RefCell::new(Vec::new()),
        });
        let before = CURRENT.replace(Some(executor.clone()));
        assert!(before.is_none(), "a thread is one core");
        Ok(executor)
    }

    /// Which core this is.
    pub(super) fn id(&self) -> CoreId {
        self.id
    }

    /// Puts a future on this core.
    pub(super) fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let mut tasks = self.tasks.borrow_mut();
        let place = tasks.vacant_entry();
        let listed = Listed { key: place.key() };
        let future = async move {
            let _listed = listed;
            future.await
        };
        let remote = self.remote.clone();
        let schedule = move |runnable| schedule(&remote, runnable);
        let (runnable, task) = async_task::spawn_local(future, schedule);
        place.insert(runnable.waker());
        drop(tasks);
        runnable.schedule();
        Task::new(task)
    }

    /// Runs tasks until `stop` says so; it is asked when nothing is runnable, and every turn.
    pub(super) fn run(&self, stop: impl Fn() -> bool) {
        while !stop() {
            self.count(|counters| counters.turns += 1);
            self.take_remote();
            let now = self.run_tasks();
            self.fire_timers(now);
            if !self.runnable.borrow().is_empty() {
                self.ring.borrow_mut().flush();
                self.reap();
            } else if !self.spin(now, &stop) {
                // Gives the ring its entries with the same system call that sleeps.
                self.park(&stop);
            }
        }
    }

    /// Moves tasks that other threads woke to the run queue.
    fn take_remote(&self) {
        let mut runnable = self.runnable.borrow_mut();
        let before = runnable.len();
        while let Some(task) = self.remote.pop() {
            runnable.push_back(task);
        }
        let count = (runnable.len() - before) as u64;
        self.count(|counters| counters.foreign_wakes += count);
    }

    /// Runs a few tasks and returns the time when the last one ended.
    fn run_tasks(&self) -> Instant {
        let mut begin = now();
        for _ in 0..TASKS_PER_TURN {
            let Some(task) = self.runnable.borrow_mut().pop_front() else {
                break;
            };
            self.immediate_left.set(IMMEDIATE_OPERATIONS_PER_POLL);
            task.run();
            let end = now();
            let took = end - begin;
            begin = end;
            self.count(|counters| {
                counters.tasks_run += 1;
                counters.longest_poll = counters.longest_poll.max(took);
                counters.stalls += u64::from(took > TASK_STALL);
            });
        }
        begin
    }

    fn fire_timers(&self, now: Instant) {
        let mut wakes = self.wakes.take();
        self.timers.borrow_mut().advance(now.as_nanos(), &mut wakes);
        wake_all(&mut wakes);
        self.wakes.replace(wakes);
    }

    /// Takes in what has completed.
    fn reap(&self) {
        let mut completions = self.completions.take();
        let mut wakes = self.wakes.take();
        self.ring.borrow_mut().reap(&mut completions);
        self.count(|counters| counters.completions += completions.len() as u64);
        let mut operations = self.operations.borrow_mut();
        for completion in completions.drain(..) {
            if operations.complete(completion, &mut wakes) {
                self.wake_armed.set(false);
            }
        }
        drop(operations);
        wake_all(&mut wakes);
        self.completions.replace(completions);
        self.wakes.replace(wakes);
    }

    /// Looks for something to do, for `spin` from when the core ran out of it. True if there is.
    ///
    /// The core has not announced a sleep, so whoever hands it a task meanwhile makes no system
    /// call to wake it. Nor does the core make any to look: the kernel says in the ring's shared
    /// memory when it has completions to run (`kernel-notes/taskrun-flag.md`).
    fn spin(&self, idle_since: Instant, stop: &impl Fn() -> bool) -> bool {
        if self.spin.is_zero() {
            return false;
        }
        loop {
            self.ring.borrow_mut().flush();
            self.reap();
            let now = now();
            self.fire_timers(now);
            if !self.runnable.borrow().is_empty() || !self.remote.is_empty() || stop() {
                self.count(|counters| counters.spins_with_work += 1);
                return true;
            }
            if now - idle_since >= self.spin {
                self.count(|counters| counters.spins_in_vain += 1);
                return false;
            }
            std::hint::spin_loop();
        }
    }

    /// Sleeps until there is something to do.
    fn park(&self, stop: &impl Fn() -> bool) {
        self.arm_wake();
        self.remote.sleeping.announce();
        // Looked at again after the announcement: what came before it woke nobody.
        if self.remote.is_empty() && !stop() {
            let next = self.timers.borrow().next_wake_ns().map(Instant::from_nanos);
            let limit = next.map(|next| next - now());
            if limit != Some(Duration::ZERO) {
                self.count(|counters| counters.parks += 1);
                let for_device = self.operations.borrow().are_on_devices();
                self.ring.borrow_mut().park(limit, for_device);
            }
        }
        self.remote.sleeping.retract();
        self.reap();
        self.fire_timers(now());
    }

    /// Keeps a read of the eventfd in flight, by which other threads end a park.
    fn arm_wake(&self) {
        if !self.wake_armed.replace(true) {
            let request = Request::Wake {
                file: self.event.clone(),
                count: Box::new(0),
            };
            let mut operations = self.operations.borrow_mut();
            operations.start_standing(&mut *self.ring.borrow_mut(), request);
        }
    }

    /// One immediate operation of the task now polled; false if it should make way first.
    pub(super) fn spend_immediate(&self) -> bool {
        let left = self.immediate_left.get();
        self.immediate_left.set(left.saturating_sub(1));
        left > 0
    }

    /// What `io::stats` shows.
    pub(super) fn stats(&self) -> Stats {
        let operations = self.operations.borrow();
        let ring = self.ring.borrow();
        Stats {
            ring: ring.step().name(),
            enters: ring.enters(),
            submissions: ring.submissions(),
            orphans: operations.orphans(),
            in_flight: operations.in_flight() as u64,
            tasks: self.tasks.borrow().len() as u64,
            ..self.counters.get()
        }
    }

    /// Wake-ups that other threads have sent by the eventfd and the core has not read.
    #[cfg(test)]
    pub(super) fn unread_signals(&self) -> u64 {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fdinfo/{}", self.event.as_raw_fd());
        let text = std::fs::read_to_string(path).unwrap();
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("eventfd-count:"));
        u64::from_str_radix(count.unwrap().trim(), 16).unwrap()
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Drops every task, ends every operation, and leaves the thread. True if the kernel is done
    /// with everything; otherwise what it still uses is leaked, never freed.
    pub(super) fn leave(self: Rc<Self>) -> bool {
        self.drop_tasks();
        let drained = self.drain();
        CURRENT.replace(None);
        drained
    }

    /// A woken task is in a queue, and a task that is dropped from a queue is cancelled, on its
    /// own core, as its future demands.
    fn drop_tasks(&self) {
        while !self.tasks.borrow().is_empty() {
            let wakers: Vec<Waker> = self.tasks.borrow().iter().map(|(_, w)| w.clone()).collect();
            wakers.iter().for_each(Waker::wake_by_ref);
            drop(wakers);
            self.take_remote();
            loop {
                let Some(task) = self.runnable.borrow_mut().pop_front() else {
                    break;
                };
                drop(task);
            }
            // A task that another thread is just waking reaches the queue in a moment.
            std::thread::yield_now();
        }
    }

    fn drain(&self) -> bool {
        let begin = now();
        while self.operations.borrow().in_flight() > 0 {
            if now() - begin > DRAIN_LIMIT {
                return false;
            }
            self.operations
                .borrow_mut()
                .cancel_all(&mut *self.ring.borrow_mut());
            self.ring
                .borrow_mut()
                .park(Some(Duration::from_millis(10)), true);
            self.reap();
        }
        true
    }
}

/// Where a woken task goes, called on whichever thread woke it.
fn schedule(remote: &Arc<Remote>, runnable: Runnable) {
    let mut runnable = Some(runnable);
    try_with(|current| {
        if Arc::ptr_eq(&current.remote, remote) {
            current.runnable.borrow_mut().extend(runnable.take());
        }
    });
    if let Some(runnable) = runnable {
        remote.push(runnable);
    }
}

fn wake_all(wakes: &mut Vec<Waker>) {
    wakes.drain(..).for_each(Waker::wake);
}

/// Takes a task off the list of those alive when its future ends or is dropped.
struct Listed {
    key: usize,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let waker = try_with(|core| core.tasks.borrow_mut().try_remove(self.key));
        drop(waker);
    }
}
