//! The simulated machine: its clock, its pending events, its chance, and what hangs on them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::chance::Chance;
use super::disk::{Disk, DiskOptions, Done, Errno, Op, OpId, OpInfo};
use super::executor::Executor;
use super::net::{Net, NetOptions};
use super::simulation::{Crash, CrashPoint, ScheduleOptions};
use super::trace::{Trace, What};

/// Something that will happen at a point of virtual time.
pub(super) type Action = Box<dyn FnOnce(&Machine)>;

/// The place of an event in the queue; cancels it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EventKey {
    at_ns: u64,
    number: u64,
}

/// Called before each disk operation takes effect.
pub(super) type Observer = Box<dyn FnMut(&OpInfo, &Disk)>;

/// One machine, with everything that its thread does. It belongs to one thread.
pub(super) struct Machine {
    pub(super) seed: u64,
    pub(super) options: ScheduleOptions,
    /// Starts so far.
    pub(super) boot: Cell<u32>,
    now_ns: Cell<u64>,
    pub(super) wall_offset_ms: Cell<i64>,
    events: RefCell<BTreeMap<EventKey, Action>>,
    next_event: Cell<u64>,
    /// Which task runs next, and how long it takes.
    pub(super) schedule: RefCell<Chance>,
    /// What the program draws.
    pub(super) program: RefCell<Chance>,
    pub(super) crash_chance: RefCell<Chance>,
    pub(super) disk: RefCell<Disk>,
    pub(super) net: RefCell<Net>,
    pub(super) trace: RefCell<Trace>,
    pub(super) executor: RefCell<Option<Rc<Executor>>>,
    /// Directories that a process has locked; a new set per start.
    pub(super) locks: RefCell<Arc<Mutex<BTreeSet<String>>>>,
    pub(super) planned_crash: Cell<Option<(CrashPoint, Crash)>>,
    /// Set when the machine stops; the loop of the executor sees it before anything else runs.
    pub(super) stopped: Cell<Option<Crash>>,
    pub(super) observer: RefCell<Option<Observer>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Machine>>> = const { RefCell::new(None) };
}

/// The machine that this thread's code runs on. Code that runs on none (a unit test that draws a
/// random number, a suite that knows no backend) is given one whose seed the environment tells.
pub(super) fn machine() -> Rc<Machine> {
    CURRENT.with_borrow_mut(|current| {
        let ambient = || {
            let seed = ambient_seed();
            Rc::new(Machine::new(seed, Disk::new(seed, DiskOptions::default())))
        };
        current.get_or_insert_with(ambient).clone()
    })
}

fn ambient_seed() -> u64 {
    match std::env::var("CORELOG_SIM_SEED") {
        Err(_) => 0,
        Ok(text) => match text.parse() {
            Ok(seed) => seed,
            Err(error) => panic!("CORELOG_SIM_SEED={text}: {error}"),
        },
    }
}

/// Makes `machine` the thread's own until the guard goes; the one before comes back then.
pub(super) fn enter(machine: Rc<Machine>) -> Entered {
    Entered(CURRENT.replace(Some(machine)))
}

pub(super) struct Entered(Option<Rc<Machine>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

impl Machine {
    pub(super) fn new(seed: u64, disk: Disk) -> Machine {
        Machine {
            seed,
            options: ScheduleOptions::default(),
            boot: Cell::new(0),
            now_ns: Cell::new(0),
            wall_offset_ms: Cell::new(0),
            events: RefCell::default(),
            next_event: Cell::new(0),
            schedule: RefCell::new(Chance::new(seed, "schedule")),
            program: RefCell::new(Chance::new(seed, "program")),
            crash_chance: RefCell::new(Chance::new(seed, "crash")),
            disk: RefCell::new(disk),
            net: RefCell::new(Net::new(seed, NetOptions::default())),
            trace: RefCell::default(),
            executor: RefCell::default(),
            locks: RefCell::default(),
            planned_crash: Cell::new(None),
            stopped: Cell::new(None),
            observer: RefCell::default(),
        }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    pub(super) fn advance(&self, ns: u64) {
        self.now_ns.set(self.now_ns.get().saturating_add(ns));
    }

    /// Has `action` done after `delay`; of two at the same time, the earlier scheduled goes first.
    pub(super) fn after(&self, delay: Duration, action: Action) -> EventKey {
        let ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.at(self.now_ns().saturating_add(ns), action)
    }

    pub(super) fn at(&self, at_ns: u64, action: Action) -> EventKey {
        let number = self.next_event.get();
        self.next_event.set(number + 1);
        let key = EventKey { at_ns, number };
        self.events.borrow_mut().insert(key, action);
        key
    }

    pub(super) fn cancel(&self, key: EventKey) {
        let action = self.events.borrow_mut().remove(&key);
        drop(action);
    }

    /// Does the next event that is due, or, if `jump`, the next event whenever it is due.
    pub(super) fn next_event(&self, jump: bool) -> bool {
        let next = {
            let mut events = self.events.borrow_mut();
            match events.first_key_value() {
                Some((key, _)) if jump || key.at_ns <= self.now_ns() => events.pop_first(),
                _ => None,
            }
        };
        match next {
            Some((key, action)) => {
                self.now_ns.set(self.now_ns().max(key.at_ns));
                action(self);
                true
            }
            None => false,
        }
    }

    /// Drops all events. What they hold may schedule more, so this goes on until none is left.
    pub(super) fn clear_events(&self) {
        while !self.events.borrow().is_empty() {
            drop(self.events.take());
        }
    }

    pub(super) fn note(&self, what: What) {
        self.trace.borrow_mut().add(self.now_ns(), what);
    }

    /// Begins a disk operation; it completes whether or not its future is kept.
    pub(super) fn submit(&self, op: Op) -> Completion {
        let slot = Rc::new(Slot::default());
        let (id, takes) = self.disk.borrow_mut().begin(op);
        let its_slot = slot.clone();
        self.after(
            takes,
            Box::new(move |machine| machine.complete(id, &its_slot)),
        );
        Completion { slot }
    }

    fn complete(&self, id: OpId, slot: &Slot) {
        let info = self.disk.borrow().info(id);
        if let Some(observer) = &mut *self.observer.borrow_mut() {
            observer(&info, &self.disk.borrow());
        }
        if let Some((point, crash)) = self.planned_crash.get()
            && point.is(&info)
        {
            // The operation had happened, and nobody was told; or it was cut.
            if self.crash_chance.borrow_mut().coin() {
                let result = self.disk.borrow_mut().finish(id);
                self.trace
                    .borrow_mut()
                    .disk(self.now_ns(), info, result.err());
            }
            self.planned_crash.set(None);
            self.stopped.set(Some(crash));
            return;
        }
        let result = self.disk.borrow_mut().finish(id);
        let errno = result.as_ref().err().copied();
        self.trace.borrow_mut().disk(self.now_ns(), info, errno);
        slot.fill(self, result);
    }
}

/// Where an operation's result waits for its future.
#[derive(Default)]
struct Slot {
    result: Cell<Option<Result<Done, Errno>>>,
    waker: Cell<Option<Waker>>,
    orphaned: Cell<bool>,
}

impl Slot {
    fn fill(&self, machine: &Machine, result: Result<Done, Errno>) {
        if self.orphaned.get() {
            discard(machine, result);
            return;
        }
        self.result.set(Some(result));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A result that nobody waits for: a file that was opened is closed again.
fn discard(machine: &Machine, result: Result<Done, Errno>) {
    if let Ok(Done::Opened(inode)) = result {
        machine.disk.borrow_mut().close(inode);
    }
}

/// The future of a disk operation.
pub(super) struct Completion {
    slot: Rc<Slot>,
}

impl Future for Completion {
    type Output = Result<Done, Errno>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.slot.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                self.slot.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.slot.orphaned.set(true);
        self.slot.waker.take();
        if let Some(result) = self.slot.result.take() {
            discard(&machine(), result);
        }
    }
}
