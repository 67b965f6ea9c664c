//! Starting and stopping the cores.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Poll;
use std::thread;

use super::executor::{self, Executor};
use super::remote::Remote;
use super::setup::{STEPS, Step};
use crate::io::{CoreSpec, Error, Result, Stats, Task, available_cpus};
use crate::model::CoreId;

/// What the cores of one `run` share.
struct Group {
    remotes: Vec<Arc<Remote>>,
    /// Mains that have not returned.
    mains_left: AtomicUsize,
    stop: AtomicBool,
}

impl Group {
    fn main_returned(&self) {
        if self.mains_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.stop();
        }
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        for remote in &self.remotes {
            remote.wake();
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Starts a thread with a ring for each core, runs `main` on each, and returns when every `main`
/// has returned: a core whose own has returned goes on running its tasks until then. Tasks that
/// are left are dropped, and operations in flight are ended, before it returns.
///
/// It fails before any `main` has begun if a ring or a pinning is refused; the message says what
/// helps. It panics if a task panics, after the other cores have stopped.
pub fn run<M, F>(cores: &[CoreSpec], main: M) -> Result<()>
where
    M: Fn(CoreId) -> F + Send + std::marker::Sync,
    F: Future<Output = ()> + 'static,
{
    run_with(&STEPS, cores, main)
}

/// `run` with the flags that the ring may try.
fn run_with<M, F>(steps: &[Step], cores: &[CoreSpec], main: M) -> Result<()>
where
    M: Fn(CoreId) -> F + Send + std::marker::Sync,
    F: Future<Output = ()> + 'static,
{
    assert!(!cores.is_empty(), "at least one core");
    let remotes: Result<Vec<_>> = cores.iter().map(|_| Remote::new().map(Arc::new)).collect();
    let group = Arc::new(Group {
        remotes: remotes?,
        mains_left: AtomicUsize::new(cores.len()),
        stop: AtomicBool::new(false),
    });
    let mut outcomes = Vec::new();
    thread::scope(|scope| {
        let (report, reports) = mpsc::channel();
        let mut gates = Vec::new();
        let mut threads = Vec::new();
        let mut spawned = Ok(());
        for (place, spec) in cores.iter().enumerate() {
            let (gate, opened) = mpsc::channel();
            let (group, main, report) = (&group, &main, report.clone());
            let body = move || {
                let started = start(spec, place, group, steps);
                // Nobody listens any more once one core has failed.
                let _ = report.send(started.is_ok());
                drop(report);
                let executor = started?;
                // A closed gate means that another core could not start.
                match opened.recv() {
                    Ok(()) => run_core(executor, group, main),
                    Err(mpsc::RecvError) => {
                        executor.leave();
                        Ok(())
                    }
                }
            };
            let name = format!("core-{}", spec.id.0);
            match thread::Builder::new().name(name).spawn_scoped(scope, body) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    spawned = Err(error);
                    break;
                }
            }
            gates.push(gate);
        }
        drop(report);
        let all_started = reports.iter().filter(|started| *started).count() == cores.len();
        if all_started {
            for gate in &gates {
                let sent = gate.send(());
                assert!(sent.is_ok(), "a core that has started waits at its gate");
            }
        }
        drop(gates);
        outcomes.extend(spawned.err().map(|error| Ok(Err(error))));
        outcomes.extend(threads.into_iter().map(|thread| thread.join()));
    });
    sum_up(outcomes)
}

/// A panic before an error, the first of each.
fn sum_up(outcomes: Vec<std::result::Result<Result<()>, Box<dyn Any + Send>>>) -> Result<()> {
    let mut sum = Ok(());
    for outcome in outcomes {
        match outcome {
            Ok(result) => sum = sum.and(result),
            Err(panic) => resume_unwind(panic),
        }
    }
    sum
}

/// Pins this thread and makes it a core.
fn start(
    spec: &CoreSpec,
    place: usize,
    group: &Group,
    steps: &[Step],
) -> Result<std::rc::Rc<Executor>> {
    if let Some(cpu) = spec.cpu
        && !core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
    {
        return Err(Error::other(format!(
            "core {} cannot be pinned to CPU {cpu}; this process may use CPUs {:?}. Check with \
             `taskset -p $$`, or the container's cpuset",
            spec.id.0,
            available_cpus()
        )));
    }
    let remote = group.remotes[place].clone();
    Executor::enter(spec.id, group.remotes.len(), remote, steps)
}

/// Runs `main` and all tasks until the group stops.
fn run_core<M, F>(executor: std::rc::Rc<Executor>, group: &Arc<Group>, main: &M) -> Result<()>
where
    M: Fn(CoreId) -> F,
    F: Future<Output = ()> + 'static,
{
    let id = executor.id();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let future = main(id);
        let group_of_main = group.clone();
        let main_task = executor.spawn(async move {
            future.await;
            group_of_main.main_returned();
        });
        main_task.detach();
        executor.run(|| group.is_stopping());
    }));
    if ran.is_err() {
        group.stop();
    }
    let drained = executor.leave();
    match ran {
        Ok(()) if drained => Ok(()),
        Ok(()) => Err(Error::other(format!(
            "core {} stopped while the kernel was still busy with its operations: a device does \
             not answer. See `dmesg`",
            id.0
        ))),
        Err(panic) => resume_unwind(panic),
    }
}

/// Which core this is.
pub fn core() -> CoreId {
    executor::with(Executor::id)
}

/// Puts a future on this core.
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    executor::with(|core| core.spawn(future))
}

/// Lets the core's other runnable tasks run once.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// What this core's executor has done so far.
pub fn stats() -> Stats {
    executor::with(Executor::stats)
}
