//! The cores: which task of which core runs next is drawn from the seed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_task::Runnable;
use slab::Slab;

use super::machine::{Machine, enter, machine};
use super::simulation::{Crash, Outcome};
use super::trace::What;
use crate::io::{Stats, Task};
use crate::limits::SIM_POLLS_MAX;
use crate::model::CoreId;

/// The cores of one start of a machine.
pub(super) struct Executor {
    cores: Vec<Core>,
    inbox: Arc<Inbox>,
    /// Woken by another core, and not there yet.
    travelling: RefCell<BTreeMap<u64, Runnable>>,
    next_travel: Cell<u64>,
}

/// One simulated core. Its tasks take turns, but within a round in a drawn order, not first come
/// first served: what a program may not rely on is not given to it.
struct Core {
    id: CoreId,
    /// Who has not had a turn yet.
    round: RefCell<Vec<Runnable>>,
    /// Who has become ready since the round began, for the next one.
    ready: RefCell<Vec<Runnable>>,
    /// A waker of each task that is alive: how tasks that wait are reached when the machine stops.
    alive: RefCell<Slab<Waker>>,
    /// How often it is chosen, against the other cores: cores of a real machine differ too.
    weight: u64,
    polls: Cell<u64>,
    /// The kernel runs something else on it until then.
    paused_until_ns: Cell<u64>,
}

/// Tasks that have been woken since the loop last looked. Wakers may be used by any code, so this
/// alone is shared by `Arc` and a lock.
#[derive(Default)]
struct Inbox(Mutex<Vec<Woken>>);

struct Woken {
    core: usize,
    runnable: Runnable,
    /// By a task of another core: the wake-up takes its time.
    foreign: bool,
}

thread_local! {
    /// The core whose task is being polled.
    static POLLED: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The id of the running core.
pub fn core() -> CoreId {
    let (executor, core) = running("io::core");
    executor.cores[core].id
}

/// Starts a task on the running core.
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let (executor, core) = running("io::spawn");
    Task::new(executor.spawn_on(core, future))
}

/// Lets the other tasks of the core run.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context: &mut Context<'_>| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What the running core has done: only polls and tasks mean anything here.
pub fn stats() -> Stats {
    let (executor, core) = running("io::stats");
    let core = &executor.cores[core];
    Stats {
        turns: core.polls.get(),
        tasks_run: core.polls.get(),
        tasks: core.alive.borrow().len() as u64,
        ..Stats::default()
    }
}

fn running(what: &str) -> (Rc<Executor>, usize) {
    let executor = machine().executor.borrow().clone();
    match (executor, POLLED.get()) {
        (Some(executor), Some(core)) => (executor, core),
        _ => panic!("{what} is called outside io::run"),
    }
}

/// Runs `main` on every core until all have returned or the machine stops.
///
/// Panics, with the seed, if nothing can run any more, or if the run does not end.
pub(super) fn run<M, F>(machine: &Rc<Machine>, ids: &[CoreId], main: &M) -> Outcome
where
    M: Fn(CoreId) -> F,
    F: Future<Output = ()> + 'static,
{
    assert!(!ids.is_empty(), "a machine has at least one core");
    assert!(
        machine.executor.borrow().is_none(),
        "the machine runs already"
    );
    let _entered = enter(machine.clone());
    let executor = Rc::new(Executor::new(machine, ids));
    machine.executor.replace(Some(executor.clone()));
    machine.note(What::Boot(machine.boot.get(), ids.len()));
    // A panic of the program or of a check: the run is taken apart in order, then goes on up.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut mains: Vec<Task<()>> = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            let future = executor.as_core(index, || main(*id));
            mains.push(Task::new(executor.spawn_on(index, future)));
        }
        executor.turn(machine, &mains)
    }));
    let orderly = matches!(ran, Ok(Outcome::Finished));
    let torn_down = catch_unwind(AssertUnwindSafe(|| executor.tear_down(machine, orderly)));
    machine.executor.replace(None);
    match (ran, torn_down) {
        (Ok(_), Ok(Some(crash))) => {
            machine.note(What::Stopped(crash.name()));
            Outcome::Crashed(crash)
        }
        (Ok(outcome), Ok(None)) => outcome,
        (Err(panic), _) | (_, Err(panic)) => {
            eprintln!("{}", report(machine));
            resume_unwind(panic)
        }
    }
}

/// What to say when a run fails.
fn report(machine: &Machine) -> String {
    format!(
        "simulation failed: seed {}, start {}, at {:.6} s; the last it did:\n{}",
        machine.seed,
        machine.boot.get(),
        machine.now_ns() as f64 / 1e9,
        machine.trace.borrow().tail(24),
    )
}

impl Executor {
    fn new(machine: &Machine, ids: &[CoreId]) -> Executor {
        let mut chance = machine.schedule.borrow_mut();
        let cores = ids.iter().map(|id| Core {
            id: *id,
            round: RefCell::default(),
            ready: RefCell::default(),
            alive: RefCell::default(),
            weight: chance.between(1, 4),
            polls: Cell::new(0),
            paused_until_ns: Cell::new(0),
        });
        Executor {
            cores: cores.collect(),
            inbox: Arc::default(),
            travelling: RefCell::default(),
            next_travel: Cell::new(0),
        }
    }

    fn spawn_on<F>(self: &Rc<Self>, core: usize, future: F) -> async_task::Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let mut alive = self.cores[core].alive.borrow_mut();
        let entry = alive.vacant_entry();
        let guard = Alive {
            executor: self.clone(),
            core,
            key: entry.key(),
        };
        let future = async move {
            let _guard = guard;
            future.await
        };
        let inbox = self.inbox.clone();
        let schedule = move |runnable| {
            let foreign = POLLED.get().is_some_and(|polled| polled != core);
            let woken = Woken {
                core,
                runnable,
                foreign,
            };
            inbox.0.lock().expect("nothing panics in here").push(woken);
        };
        let (runnable, task) = async_task::spawn_local(future, schedule);
        entry.insert(runnable.waker());
        drop(alive);
        runnable.schedule();
        task
    }

    /// The loop: what is due happens, then one task of one core runs.
    fn turn(&self, machine: &Machine, mains: &[Task<()>]) -> Outcome {
        let started_ns = machine.now_ns();
        let limit_ns = machine.options.time_limit.as_nanos() as u64;
        for _ in 0..SIM_POLLS_MAX {
            while machine.stopped.get().is_none() && machine.next_event(false) {}
            if let Some(crash) = machine.stopped.take() {
                machine.note(What::Stopped(crash.name()));
                return Outcome::Crashed(crash);
            }
            if mains.iter().all(Task::is_finished) {
                return Outcome::Finished;
            }
            self.sort_inbox(machine);
            if machine.now_ns() - started_ns > limit_ns {
                panic!(
                    "seed {}: the run has not ended within its time limit",
                    machine.seed
                );
            }
            match self.choose(machine) {
                Some((core, runnable)) => self.poll(machine, core, runnable),
                None if machine.next_event(true) => {}
                None => panic!(
                    "seed {}: deadlock: nothing can run and nothing is awaited at {} ns",
                    machine.seed,
                    machine.now_ns()
                ),
            }
        }
        panic!(
            "seed {}: the run has not ended after {SIM_POLLS_MAX} polls",
            machine.seed
        );
    }

    fn sort_inbox(&self, machine: &Machine) {
        let woken = std::mem::take(&mut *self.inbox.0.lock().expect("nothing panics in here"));
        for Woken {
            core,
            runnable,
            foreign,
        } in woken
        {
            if !foreign {
                self.cores[core].ready.borrow_mut().push(runnable);
                continue;
            }
            let longest = machine.options.mail_delay_max.as_nanos() as u64;
            let delay = machine.schedule.borrow_mut().between(0, longest);
            let number = self.next_travel.replace(self.next_travel.get() + 1);
            self.travelling.borrow_mut().insert(number, runnable);
            let arrive = move |machine: &Machine| {
                if let Some(executor) = &*machine.executor.borrow()
                    && let Some(runnable) = executor.travelling.borrow_mut().remove(&number)
                {
                    executor.cores[core].ready.borrow_mut().push(runnable);
                }
            };
            machine.after(Duration::from_nanos(delay), Box::new(arrive));
        }
    }

    fn choose(&self, machine: &Machine) -> Option<(usize, Runnable)> {
        let now_ns = machine.now_ns();
        let weight = |core: &Core| {
            let paused = core.paused_until_ns.get() > now_ns;
            if paused || core.is_idle() {
                0
            } else {
                core.weight
            }
        };
        let total: u64 = self.cores.iter().map(weight).sum();
        if total == 0 {
            return None;
        }
        let mut chance = machine.schedule.borrow_mut();
        let mut drawn = chance.below(total);
        for (index, core) in self.cores.iter().enumerate() {
            let weight = weight(core);
            if drawn < weight {
                let mut round = core.round.borrow_mut();
                if round.is_empty() {
                    std::mem::swap(&mut *round, &mut *core.ready.borrow_mut());
                }
                machine.note(What::Ran(core.id.0, round.len()));
                let place = chance.index(round.len());
                let runnable = round.swap_remove(place);
                return Some((index, runnable));
            }
            drawn -= weight;
        }
        unreachable!("what is drawn lies below the sum of the weights")
    }

    fn poll(&self, machine: &Machine, core: usize, runnable: Runnable) {
        let options = &machine.options;
        let longest = options.poll_max.as_nanos() as u64;
        let takes = machine.schedule.borrow_mut().between(longest / 16, longest);
        machine.advance(takes);
        if machine.schedule.borrow_mut().ppm(options.pause_ppm) {
            let longest = options.pause_max.as_nanos() as u64;
            let until_ns = machine.now_ns() + machine.schedule.borrow_mut().below(longest.max(1));
            self.cores[core].paused_until_ns.set(until_ns);
            // Something for the clock to jump to, if all the others are idle.
            machine.at(until_ns, Box::new(|_| {}));
        }
        let polls = &self.cores[core].polls;
        polls.set(polls.get() + 1);
        self.as_core(core, || runnable.run());
    }

    fn as_core<T>(&self, core: usize, body: impl FnOnce() -> T) -> T {
        struct Restore(Option<usize>);
        impl Drop for Restore {
            fn drop(&mut self) {
                POLLED.set(self.0);
            }
        }
        let _restore = Restore(POLLED.replace(Some(core)));
        body()
    }

    /// The end of the processes: every task is dropped, those that wait included. After an orderly
    /// end the disk completes what it was given; otherwise that is for the crash to decide.
    fn tear_down(&self, machine: &Machine, orderly: bool) -> Option<Crash> {
        if !orderly {
            machine.clear_events();
        }
        self.drop_tasks();
        while orderly && machine.stopped.get().is_none() && machine.disk.borrow().is_busy() {
            machine.next_event(true);
        }
        machine.clear_events();
        machine.stopped.take()
    }

    /// Drops all tasks, and those that their destructors spawn.
    fn drop_tasks(&self) {
        const ROUNDS_MAX: u32 = 1000;
        for _ in 0..ROUNDS_MAX {
            let mut left = false;
            for (index, core) in self.cores.iter().enumerate() {
                let wakers: Vec<Waker> = core
                    .alive
                    .borrow()
                    .iter()
                    .map(|(_, waker)| waker.clone())
                    .collect();
                left |= !wakers.is_empty();
                wakers.into_iter().for_each(Waker::wake);
                let travelling = self.travelling.take();
                self.sort_inbox_at_end();
                let ready = (core.round.take(), core.ready.take());
                self.as_core(index, || drop((travelling, ready)));
            }
            if !left {
                return;
            }
        }
        panic!("destructors of tasks go on spawning tasks");
    }

    fn sort_inbox_at_end(&self) {
        let woken = std::mem::take(&mut *self.inbox.0.lock().expect("nothing panics in here"));
        for Woken { core, runnable, .. } in woken {
            self.cores[core].ready.borrow_mut().push(runnable);
        }
    }
}

impl Core {
    fn is_idle(&self) -> bool {
        self.round.borrow().is_empty() && self.ready.borrow().is_empty()
    }
}

/// Takes the task off its core's list when its future goes.
struct Alive {
    executor: Rc<Executor>,
    core: usize,
    key: usize,
}

impl Drop for Alive {
    fn drop(&mut self) {
        drop(
            self.executor.cores[self.core]
                .alive
                .borrow_mut()
                .remove(self.key),
        );
    }
}
