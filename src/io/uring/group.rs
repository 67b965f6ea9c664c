//! The cores that one `run` starts: all of them or none, and they stop together.

use std::any::Any;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::remote::Remote;
use crate::io::{CoreSpec, Error, Result, available_cpus};

/// What the cores of one `run` share.
pub(super) struct Group {
    /// One for each core, in the order in which `run` was given them.
    pub(super) remotes: Vec<Arc<Remote>>,
    /// Mains that have not returned.
    mains_left: AtomicUsize,
    stop: AtomicBool,
}

impl Group {
    /// Called by each core once its main has returned; the last call stops the group.
    pub(super) fn main_returned(&self) {
        if self.mains_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.stop();
        }
    }

    /// Makes every core leave its loop.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        for remote in &self.remotes {
            remote.wake();
        }
    }

    /// Whether the cores are to leave their loops.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Starts a thread for each core, with `start` on it, and once all have started runs `work` on
/// each; if one cannot start, the others `leave` without having worked. Returns the first error
/// when all threads have ended, and panics if one has.
pub(super) fn run_all<E>(
    cores: &[CoreSpec],
    start: impl Fn(&CoreSpec, usize, &Arc<Group>) -> Result<E> + Sync,
    work: impl Fn(E, &Arc<Group>) -> Result<()> + Sync,
    leave: impl Fn(E) + Sync,
) -> Result<()> {
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
            let (group, report) = (&group, report.clone());
            let (start, work, leave) = (&start, &work, &leave);
            let body = move || {
                let started = start(spec, place, group);
                // Nobody listens any more once one core has failed.
                let _ = report.send(started.is_ok());
                drop(report);
                let core = started?;
                // A closed gate means that another core could not start.
                match opened.recv() {
                    Ok(()) => work(core, group),
                    Err(mpsc::RecvError) => {
                        leave(core);
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

/// Pins this thread to the core's CPU, if it has one.
pub(super) fn pin(spec: &CoreSpec) -> Result<()> {
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
    Ok(())
}
