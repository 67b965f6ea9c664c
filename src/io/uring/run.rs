//! Starting and stopping the cores.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Poll;

use super::executor::{self, Executor};
use super::group::{self, Group};
use super::setup::{STEPS, Step};
use crate::io::{CoreSpec, Error, Result, Stats, Task};
use crate::model::CoreId;

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
    group::run_all(
        cores,
        |spec, place, group| start(spec, place, group, steps),
        |executor, group| run_core(executor, group, &main),
        |executor| {
            executor.leave();
        },
    )
}

/// Pins this thread and makes it a core.
fn start(
    spec: &CoreSpec,
    place: usize,
    group: &Group,
    steps: &[Step],
) -> Result<std::rc::Rc<Executor>> {
    group::pin(spec)?;
    let remote = group.remotes[place].clone();
    Executor::enter(spec, group.remotes.len(), remote, steps)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::available_cpus;
    use crate::io::mailbox;
    use crate::io::uring::remote::Remote;
    use crate::io::{self, AlignedBuf, ErrorKind, File, Open, Sync, TcpListener, TcpStream};
    use bytes::{Bytes, BytesMut};
    use std::cell::Cell;
    use std::sync::Mutex;
    use std::time::Duration;

    /// No test takes as long.
    const SPIN: Duration = Duration::from_secs(60);

    fn spinning(count: u16, spin: Duration) -> Vec<CoreSpec> {
        let cores = CoreSpec::unpinned(count).into_iter();
        cores.map(|core| CoreSpec { spin, ..core }).collect()
    }

    /// A little of everything that goes through the ring.
    async fn exercise(directory: std::path::PathBuf) {
        let file = File::open(directory.join("file"), Open::CreateNew)
            .await
            .unwrap();
        file.allocate(8192).await.unwrap();
        file.write_at(AlignedBuf::zeroed(4096).freeze(), 4096, Sync::Data)
            .await
            .unwrap();
        assert_eq!(
            file.read_at(AlignedBuf::zeroed(8192), 0).await.0.unwrap(),
            8192
        );
        io::fs::sync_dir(&directory).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let stream = TcpStream::connect(listener.local_addr()).await.unwrap();
        let (other, _) = listener.accept().await.unwrap();
        let reader = other.clone();
        let reading = io::spawn(async move { reader.read(BytesMut::with_capacity(8)).await });
        io::sleep(Duration::from_millis(1)).await;
        stream
            .write_all(vec![Bytes::from_static(b"hello")])
            .await
            .unwrap();
        assert_eq!(reading.await.1, "hello");
        let waiting = io::timeout(Duration::from_millis(1), stream.read(BytesMut::new()));
        assert!(waiting.await.is_some_and(|(result, _)| result.is_err()));
        let waiting = stream.read(BytesMut::with_capacity(1));
        assert!(
            io::timeout(Duration::from_millis(1), waiting)
                .await
                .is_none()
        );
    }

    #[test]
    fn every_fallback_does_the_same() {
        let best = STEPS.iter().position(|step| {
            let name = step.name();
            run_with(&[*step], &CoreSpec::unpinned(1), |_| async move {
                assert_eq!(stats().ring, name);
            })
            .is_ok()
        });
        for step in &STEPS[best.expect("this machine has io_uring")..] {
            let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            let (wake, woken) = io::sync::watch::channel(false);
            run_with(&[*step], &CoreSpec::unpinned(2), |core| {
                let path = directories[usize::from(core.0)].path().to_owned();
                let (wake, mut woken) = (wake.clone(), woken.clone());
                async move {
                    exercise(path).await;
                    if core == CoreId(0) {
                        io::sleep(Duration::from_millis(2)).await;
                        wake.send_replace(true);
                    } else {
                        woken.wait_for(|woken| *woken).await.unwrap();
                    }
                }
            })
            .unwrap_or_else(|error| panic!("{step:?}: {error}"));
        }
    }

    #[test]
    fn a_core_is_pinned_to_its_cpu_or_start_says_why_not() {
        let cpus = available_cpus();
        let spec = |id, cpu| CoreSpec {
            id: CoreId(id),
            cpu,
            spin: Duration::ZERO,
        };
        let pinned = [spec(0, cpus.last().copied())];
        run(&pinned, |_| {
            let expected = cpus.last().copied().into_iter().collect::<Vec<_>>();
            async move { assert_eq!(available_cpus(), expected) }
        })
        .unwrap();

        let wrong = [pinned[0], spec(1, Some(1023))];
        let error = run(&wrong, |_| async { panic!("no main begins") }).unwrap_err();
        assert!(error.to_string().contains("CPU 1023"), "{error}");
    }

    #[test]
    fn a_kernel_without_a_ring_is_an_error_before_any_main() {
        let error = run_with(&[], &CoreSpec::unpinned(3), |_| async {
            panic!("no main begins")
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("5.15"), "{error}");
    }

    #[test]
    fn a_file_that_refuses_direct_io_is_named_with_what_to_do() {
        run(&CoreSpec::unpinned(1), |_| async {
            let error = File::open("/proc/version", Open::Read).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let message = error.to_string();
            assert!(
                message.contains("(proc)") && message.contains("df -T /proc"),
                "{message}"
            );
        })
        .unwrap();
    }

    #[test]
    fn outside_of_a_core_there_are_no_tasks() {
        let panicked = catch_unwind(|| drop(spawn(async {}))).unwrap_err();
        let message = panicked.downcast_ref::<&str>().unwrap();
        assert!(message.contains("outside of io::run"), "{message}");
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
            assert!(after.enters > before.enters);
            assert!(after.turns > before.turns && after.tasks_run > before.tasks_run);
            assert_eq!((after.tasks, after.stalls), (1, before.stalls));
            assert_eq!((after.spins_with_work, after.spins_in_vain), (0, 0));

            let stall = Duration::from_millis(crate::limits::TASK_STALL_MS + 5);
            std::thread::sleep(stall);
            yield_now().await;
            let after = stats();
            assert_eq!(after.stalls, before.stalls + 1);
            assert!(after.longest_poll >= stall);
        })
        .unwrap();
    }

    #[test]
    fn a_message_to_a_core_that_spins_takes_no_system_call_on_either_side() {
        let ends = mailbox::channels::<u32>(2, 4).into_iter().map(Some);
        let ends: Mutex<Vec<_>> = Mutex::new(ends.collect());
        run(&spinning(2, SPIN), |core| {
            let own = ends.lock().unwrap()[usize::from(core.0)].take();
            let (mut mailbox, senders) = own.unwrap();
            async move {
                let other = &senders[usize::from(1 - core.0)];
                for n in 0..200 {
                    if core == CoreId(0) {
                        other.send(n).await;
                    }
                    assert_eq!(mailbox.recv().await, n);
                    let stats = stats();
                    assert_eq!((stats.parks, stats.spins_in_vain, stats.enters), (0, 0, 0));
                    if core == CoreId(1) {
                        other.send(n).await;
                    }
                }
                assert!(core == CoreId(1) || stats().spins_with_work > 0);
                assert_eq!(executor::with(|core| core.unread_signals()), 0);
            }
        })
        .unwrap();
    }

    #[test]
    fn timers_and_the_kernel_reach_a_core_that_spins() {
        let mut worked_count = 0;
        for step in &STEPS {
            let directory = tempfile::tempdir().unwrap();
            let ran = run_with(&[*step], &spinning(1, SPIN), |_| {
                let path = directory.path().to_owned();
                async move {
                    exercise(path).await;
                    let stats = stats();
                    assert_eq!((stats.parks, stats.spins_in_vain), (0, 0), "{}", stats.ring);
                    assert!(stats.spins_with_work > 0);
                }
            });
            worked_count += u32::from(ran.is_ok());
        }
        assert!(worked_count > 0, "this machine has io_uring");
    }

    #[test]
    fn a_spin_ends_when_the_core_is_to_stop() {
        let remote = Arc::new(Remote::new().unwrap());
        let executor = Executor::enter(&spinning(1, SPIN)[0], 1, remote, &STEPS).unwrap();
        let asked_count = Cell::new(0);
        // Asked first by the loop, and then by the spin.
        executor.run(|| asked_count.replace(asked_count.get() + 1) > 0);
        let stats = executor.stats();
        assert_eq!((stats.parks, stats.spins_in_vain), (0, 0));
        assert!(executor.leave());
    }

    #[test]
    fn a_core_that_has_spun_in_vain_sleeps() {
        run(&spinning(1, Duration::from_micros(100)), |_| async {
            io::sleep(Duration::from_millis(300)).await;
            let stats = stats();
            assert!(stats.parks > 0 && stats.spins_in_vain >= stats.parks);
        })
        .unwrap();
    }

    #[test]
    fn starting_and_stopping_leaves_no_descriptor_behind() {
        let mine = || {
            let is_ring = |link: std::path::PathBuf| {
                let name = link.to_string_lossy();
                name.contains("io_uring") || name.contains("eventfd")
            };
            let entries = std::fs::read_dir("/proc/self/fd").unwrap();
            let links = entries.filter_map(|e| std::fs::read_link(e.unwrap().path()).ok());
            links.filter(|link| is_ring(link.clone())).count()
        };
        for _ in 0..50 {
            run(&CoreSpec::unpinned(4), |_| async { yield_now().await }).unwrap();
        }
        // Other tests of this process have rings of their own, but far fewer than 200.
        assert!(mine() < 100, "{} rings and events are open", mine());
    }
}
