//! Starting and stopping the cores.

use std::fs;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use glommio::{GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};

use super::executor::{self, Executor, Panicked, Signals};
use super::group::{self, Group};
use super::operations::plain;
use super::remote::Remote;
use crate::io::{CoreSpec, Error, Result, Stats, Task};
use crate::model::CoreId;

/// glommio parks with runnable tasks, and may sleep for ever, if its preempt timer fires before
/// the first of them has run. The core's task needs no preempting, so it never fires.
const PREEMPT_NEVER: Duration = Duration::from_secs(3600 * 24 * 365);

/// A core that has started and not begun.
struct Core {
    id: CoreId,
    cores: usize,
    remote: Arc<Remote>,
    event: fs::File,
    local: LocalExecutor,
}

/// Starts a thread with a glommio executor for each core, runs `main` on each, and returns when
/// every `main` has returned: a core whose own has returned goes on running its tasks until then.
/// Tasks that are left are dropped, and operations in flight are ended, before it returns.
///
/// It fails before any `main` has begun if an executor or a pinning is refused; the message says
/// what helps. It panics if a task panics, after the other cores have stopped.
pub fn run<M, F>(cores: &[CoreSpec], main: M) -> Result<()>
where
    M: Fn(CoreId) -> F + Send + std::marker::Sync,
    F: Future<Output = ()> + 'static,
{
    group::run_all(
        cores,
        start,
        |core, group| run_core(core, group, &main),
        drop,
    )
}

/// Makes this thread a core, and pins it.
fn start(spec: &CoreSpec, place: usize, group: &Arc<Group>) -> Result<Core> {
    let remote = group.remotes[place].clone();
    let event = fs::File::from(remote.event()?);
    let local = LocalExecutorBuilder::new(placement(spec))
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .preempt_timer(PREEMPT_NEVER)
        .spin_before_park(spec.spin)
        .make()
        .map_err(explained)?;
    // Not left to glommio where it need not be, and after it, so that the blocking thread may use
    // all CPUs.
    group::pin(spec)?;
    Ok(Core {
        id: spec.id,
        cores: group.remotes.len(),
        remote,
        event,
        local,
    })
}

/// glommio forgets how long it is to spin unless it pins the thread itself.
fn placement(spec: &CoreSpec) -> Placement {
    match spec.cpu {
        Some(cpu) if !spec.spin.is_zero() => Placement::Fixed(cpu),
        Some(_) | None => Placement::Unbound,
    }
}

/// Why there is no executor, and what helps.
fn explained(error: GlommioError<()>) -> Error {
    let text = error.to_string();
    let Err(error) = plain::<()>(Err(error)) else {
        panic!("an error is an error")
    };
    Error::new(
        error.kind(),
        format!(
            "glommio cannot start on this machine ({text}). It needs io_uring and 512 KiB of \
             locked memory for each core: check `cat /proc/sys/kernel/io_uring_disabled` (0 is \
             on) and `ulimit -l`; raise the limit with `ulimit -l unlimited`, or \
             LimitMEMLOCK=infinity under systemd. In a container, allow io_uring_setup, \
             io_uring_enter and io_uring_register"
        ),
    )
}

/// Runs `main` and all tasks until the group stops.
fn run_core<M, F>(core: Core, group: &Arc<Group>, main: &M) -> Result<()>
where
    M: Fn(CoreId) -> F,
    F: Future<Output = ()> + 'static,
{
    let id = core.id;
    let Core { cores, remote, .. } = core;
    let serve = serve(Executor::enter(id, cores, remote), core.event, group, main);
    let served = catch_unwind(AssertUnwindSafe(|| core.local.run(serve)));
    executor::forget();
    if !matches!(served, Ok(Ok((Ok(()), true)))) {
        group.stop();
    }
    match served {
        Ok(Ok((Ok(()), true))) => Ok(()),
        Ok(Ok((Err(panic), true))) => resume_unwind(panic),
        Ok(Err(error)) => Err(error),
        Ok(Ok((ran, false))) => {
            // The kernel may still write to memory that belongs to it.
            std::mem::forget(core.local);
            ran.unwrap_or_else(|panic| resume_unwind(panic));
            Err(Error::other(format!(
                "core {} stopped while the kernel was still busy with its operations: a device \
                 does not answer. See `dmesg`",
                id.0
            )))
        }
        Err(panic) => {
            // Of glommio's own, in the midst of its work: what it holds is not touched again.
            std::mem::forget(core.local);
            resume_unwind(panic)
        }
    }
}

/// The one task of glommio's that is a core: what its tasks came to, and whether all operations
/// have ended.
async fn serve<M, F>(
    executor: std::rc::Rc<Executor>,
    event: fs::File,
    group: &Arc<Group>,
    main: &M,
) -> Result<(std::result::Result<(), Panicked>, bool)>
where
    M: Fn(CoreId) -> F,
    F: Future<Output = ()> + 'static,
{
    let mut signals = Signals::new(event)?;
    let begun = catch_unwind(AssertUnwindSafe(|| {
        let future = main(executor.id());
        let group = group.clone();
        let main_task = executor.spawn(async move {
            future.await;
            group.main_returned();
        });
        main_task.detach();
    }));
    let ran = match begun {
        Ok(()) => executor.run(&mut signals, || group.is_stopping()).await,
        Err(panic) => Err(panic),
    };
    if ran.is_err() {
        group.stop();
    }
    let ended = executor.leave(&mut signals).await;
    Ok((ran, ended))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{self, AlignedBuf, ErrorKind, File, Open, Sync, available_cpus};

    #[test]
    fn a_core_is_pinned_to_its_cpu_or_start_says_why_not() {
        let cpu = available_cpus().last().copied();
        let spec = |id, cpu| CoreSpec {
            id: CoreId(id),
            cpu,
            spin: Duration::ZERO,
        };
        let pinned = [spec(0, cpu)];
        run(&pinned, |_| async move {
            assert_eq!(available_cpus(), Vec::from_iter(cpu));
        })
        .unwrap();

        let wrong = [pinned[0], spec(1, Some(1023))];
        let error = run(&wrong, |_| async { panic!("no main begins") }).unwrap_err();
        assert!(error.to_string().contains("CPU 1023"), "{error}");
    }

    #[test]
    fn a_file_that_refuses_direct_io_is_named_with_what_to_do() {
        run(&CoreSpec::unpinned(1), |_| async {
            let error = File::open("/proc/version", Open::Read).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("(proc)"), "{error}");
        })
        .unwrap();
    }

    #[test]
    fn too_little_locked_memory_is_explained() {
        let refused = GlommioError::ReactorError(glommio::ReactorErrorKind::MemLockLimit(1, 2));
        let error = explained(refused).to_string();
        assert!(error.contains("ulimit -l unlimited"), "{error}");
    }

    #[test]
    fn the_counters_count() {
        run(&CoreSpec::unpinned(1), |_| async {
            let before = stats();
            // On a busy machine a sleep may be over before the core could park.
            while stats().parks == before.parks {
                io::sleep(Duration::from_millis(5)).await;
            }
            let after = stats();
            assert!(after.turns > before.turns);
            assert!(after.tasks_run > before.tasks_run);
            assert_eq!(
                (after.ring, after.tasks, after.in_flight),
                ("glommio", 1, 0)
            );
            assert!(io::fs::list_dir("/missing").await.is_err());
            assert_eq!(stats().submissions, after.submissions + 1);
            assert_eq!(stats().completions, stats().submissions);
        })
        .unwrap();
    }

    #[test]
    fn starting_and_stopping_leaves_no_descriptor_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mine = || {
            let is_ours = |link: &std::path::PathBuf| {
                let name = link.to_string_lossy();
                let kinds = ["io_uring", "eventfd"];
                kinds.iter().any(|kind| name.contains(kind)) || link.starts_with(directory.path())
            };
            let entries = fs::read_dir("/proc/self/fd").unwrap();
            let links = entries.filter_map(|e| fs::read_link(e.unwrap().path()).ok());
            links.filter(is_ours).count()
        };
        for round in 0..20 {
            run(&CoreSpec::unpinned(4), |core| {
                let path = directory.path().join(format!("{round}-{}", core.0));
                async move {
                    let file = File::open(path, Open::CreateNew).await.unwrap();
                    let block = AlignedBuf::zeroed(4096).freeze();
                    file.write_at(block, 0, Sync::None).await.unwrap();
                }
            })
            .unwrap();
        }
        // Other tests of this process have rings of their own, but far fewer than 80.
        assert!(mine() < 60, "{} rings, events and files are open", mine());
    }
}
