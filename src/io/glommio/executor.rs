//! The executor of one core: its tasks, run by one task of glommio's.
//!
//! One turn runs a few of the core's tasks and then lets glommio look at its rings once. glommio
//! looks at them only when nothing is runnable or its preempt timer fires, so a core whose task
//! waits for an operation that ends at once makes it look. When nothing is runnable the core's
//! task waits for a wake-up, a timer, or the end of an operation, and glommio parks.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs;
use std::future::{Future, poll_fn};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_task::Runnable;
use futures_util::future::LocalBoxFuture;
use glommio::io::PollableFd;
use slab::Slab;

use super::clock::now;
use super::device::Devices;
use super::gate::Gate;
use super::operations::plain;
use super::remote::Remote;
use super::wheel::Wheel;
use crate::io::{Instant, Result, Stats, Task};
use crate::limits::{IMMEDIATE_OPERATIONS_PER_POLL, TASK_STALL_MS, TASKS_PER_TURN};
use crate::model::CoreId;

const TASK_STALL: Duration = Duration::from_millis(TASK_STALL_MS);
/// How long a stopping core waits for operations that the kernel does not end, such as a write to
/// a disk that hangs.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// A core looks around at least this often, so that no duration overflows glommio's clock.
const PARK_LIMIT: Duration = Duration::from_secs(3600);

/// What a task that panicked has left.
pub(super) type Panicked = Box<dyn Any + Send>;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Executor>>> = const { RefCell::new(None) };
}

/// One core. It never leaves its thread; `remote` is the part that other threads see.
pub(super) struct Executor {
    id: CoreId,
    remote: Arc<Remote>,
    /// Runnable tasks, each at most once.
    runnable: RefCell<VecDeque<Runnable>>,
    /// A waker of every task alive, so that stopping reaches tasks that wait.
    tasks: RefCell<Slab<Waker>>,
    /// Of the core's task, while it waits for anything to do.
    parked: RefCell<Option<Waker>>,
    /// Immediate operations that the task now polled may still do before it makes way.
    immediate_left: Cell<u32>,
    counters: Cell<Stats>,
    /// Operations that have begun and not ended.
    pub(super) in_flight: Cell<u64>,
    pub(super) timers: RefCell<Wheel<Waker>>,
    pub(super) devices: Devices,
    /// Of `socket::send`, kept to avoid allocating in each call; empty between calls.
    pub(super) vectors: RefCell<Vec<libc::iovec>>,
    /// Kept to avoid allocating in each turn; empty between turns.
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

/// Forgets this thread's executor.
pub(super) fn forget() {
    CURRENT.replace(None);
}

impl Executor {
    /// The executor of this thread.
    pub(super) fn enter(id: CoreId, cores: usize, remote: Arc<Remote>) -> Rc<Executor> {
        let executor = Rc::new(Executor {
            id,
            remote,
            runnable: RefCell::new(VecDeque::new()),
            tasks: RefCell::new(Slab::new()),
            parked: RefCell::new(None),
            immediate_left: Cell::new(0),
            counters: Cell::new(Stats::default()),
            in_flight: Cell::new(0),
            timers: RefCell::new(Wheel::new(now().as_nanos())),
            devices: Devices::new(cores),
            vectors: RefCell::new(Vec::new()),
            wakes: RefCell::new(Vec::new()),
        });
        let before = CURRENT.replace(Some(executor.clone()));
        assert!(before.is_none(), "a thread is one core");
        executor
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

    /// Runs tasks until `stop` says so or one panics.
    pub(super) async fn run(
        &self,
        signals: &mut Signals,
        stop: impl Fn() -> bool,
    ) -> std::result::Result<(), Panicked> {
        while !stop() {
            self.count(|counters| counters.turns += 1);
            self.take_remote();
            let now = catch_unwind(AssertUnwindSafe(|| self.run_tasks()))?;
            self.fire_timers(now);
            if self.runnable.borrow().is_empty() {
                self.park(signals, &stop).await;
            } else {
                signals.let_glommio_look().await;
            }
        }
        Ok(())
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
        wakes.drain(..).for_each(Waker::wake);
        self.wakes.replace(wakes);
    }

    /// Waits until there is something to do.
    async fn park(&self, signals: &mut Signals, stop: &impl Fn() -> bool) {
        self.remote.sleeping.announce();
        // Looked at again after the announcement: what came before it woke nobody.
        if self.remote.is_empty() && !stop() {
            let next = self.timers.borrow().next_wake_ns().map(Instant::from_nanos);
            let limit = next.map_or(PARK_LIMIT, |next| next - now());
            if !limit.is_zero() {
                self.count(|counters| counters.parks += 1);
                signals.set_alarm(limit);
                poll_fn(|context| self.poll_parked(signals, context)).await;
            }
        }
        self.remote.sleeping.retract();
        self.fire_timers(now());
    }

    fn poll_parked(&self, signals: &mut Signals, context: &mut Context<'_>) -> Poll<()> {
        let signalled = signals.poll(context).is_ready();
        if signalled || !self.runnable.borrow().is_empty() {
            self.parked.replace(None);
            return Poll::Ready(());
        }
        self.parked.replace(Some(context.waker().clone()));
        Poll::Pending
    }

    /// One immediate operation of the task now polled; false if it should make way first.
    pub(super) fn spend_immediate(&self) -> bool {
        let left = self.immediate_left.get();
        self.immediate_left.set(left.saturating_sub(1));
        left > 0
    }

    /// What `io::stats` shows. glommio does not tell how often it enters its rings.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            ring: "glommio",
            in_flight: self.in_flight.get(),
            tasks: self.tasks.borrow().len() as u64,
            ..self.counters.get()
        }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Stats)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Drops every task, and waits for every operation. True if all have ended.
    pub(super) async fn leave(&self, signals: &mut Signals) -> bool {
        self.drop_tasks();
        let begin = now();
        while self.in_flight.get() > 0 {
            if now() - begin > DRAIN_LIMIT {
                return false;
            }
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        // What was cancelled reaches the kernel now.
        signals.let_glommio_look().await;
        true
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
}

/// Where a woken task goes, called on whichever thread woke it.
fn schedule(remote: &Arc<Remote>, runnable: Runnable) {
    let mut runnable = Some(runnable);
    try_with(|current| {
        if Arc::ptr_eq(&current.remote, remote) {
            current.runnable.borrow_mut().extend(runnable.take());
            let parked = current.parked.take();
            parked.into_iter().for_each(Waker::wake);
        }
    });
    if let Some(runnable) = runnable {
        remote.push(runnable);
    }
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

/// What ends a core's park, in glommio's terms.
pub(super) struct Signals {
    /// The core's own descriptor of the event in `remote`.
    event: Rc<PollableFd<fs::File>>,
    wake: Gate<LocalBoxFuture<'static, Result<()>>>,
    /// The next timer, and when it was due when it was set.
    alarm: Option<(Instant, Gate<glommio::timer::Timer>)>,
}

impl Signals {
    /// Needs the reactor of this thread.
    pub(super) fn new(event: fs::File) -> Result<Signals> {
        let event = Rc::new(plain(PollableFd::new(event))?);
        Ok(Signals {
            wake: wait_for(&event),
            event,
            alarm: None,
        })
    }

    /// Rings no later than this from now. One that is set already and rings earlier stays: to set
    /// one costs more than to look around in vain.
    fn set_alarm(&mut self, limit: Duration) {
        let limit = limit.min(PARK_LIMIT);
        let due = now() + limit;
        if self.alarm.as_ref().is_none_or(|(set, _)| *set > due) {
            let timer = glommio::timer::Timer::new(limit);
            self.alarm = Some((due, Gate::new(timer)));
        }
    }

    /// Ready if another thread has woken this core, or the alarm rings.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut signalled = false;
        if let Poll::Ready(waited) = Pin::new(&mut self.wake).poll(context) {
            if let Err(error) = waited.and_then(|()| self.clear()) {
                panic!("the event of a core cannot be waited for: {error}");
            }
            self.wake = wait_for(&self.event);
            signalled = true;
        }
        if let Some((_, alarm)) = &mut self.alarm
            && Pin::new(alarm).poll(context).is_ready()
        {
            self.alarm = None;
            signalled = true;
        }
        match signalled {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Sets the event back to zero. It does not wait: the event is readable, and nobody else
    /// reads it.
    fn clear(&self) -> Result<()> {
        self.event.get_ref().read_exact(&mut [0; 8])
    }

    /// Has nothing to run until glommio has looked at its rings: an event can always be written.
    async fn let_glommio_look(&self) {
        // Whatever the answer is, it came through the rings.
        let _ = Gate::new(self.event.writable()).await;
    }
}

fn wait_for(event: &Rc<PollableFd<fs::File>>) -> Gate<LocalBoxFuture<'static, Result<()>>> {
    let event = event.clone();
    Gate::new(Box::pin(async move { plain(event.readable().await) }))
}
