//! Tasks: spawning, cancelling, stopping.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corelog::io::sync::{Notify, Semaphore, oneshot, watch};
use corelog::io::{self, CoreSpec};
use corelog::model::CoreId;

use crate::{on_cores, on_one_core};

/// Counts when it is dropped, and on which core.
struct Dropped(Arc<AtomicUsize>, CoreId);

impl Drop for Dropped {
    fn drop(&mut self) {
        assert_eq!(io::core(), self.1, "a future is dropped on its own core");
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_task_gives_its_result_and_knows_its_core() {
    on_cores(2, |core| async move {
        assert_eq!(io::core(), core);
        let task = io::spawn(async { (io::core(), 7) });
        assert_eq!(task.await, (core, 7));
    });
}

#[test]
fn runnable_tasks_take_turns() {
    on_one_core(|| async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..3)
            .map(|task| {
                let order = order.clone();
                io::spawn(async move {
                    for round in 0..3 {
                        order.borrow_mut().push((round, task));
                        io::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let seen = order.take();
        for (round, turns) in seen.chunks(3).enumerate() {
            let mut turns = turns.to_vec();
            turns.sort_unstable();
            assert_eq!(turns, [(round, 0), (round, 1), (round, 2)], "of {seen:?}");
        }
    });
}

#[test]
fn dropping_a_task_cancels_it_and_detaching_does_not() {
    let drops = Arc::new(AtomicUsize::new(0));
    on_one_core(|| {
        let drops = drops.clone();
        async move {
            let guard = Dropped(drops.clone(), io::core());
            let waits = io::spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
            io::yield_now().await;
            assert_eq!(drops.load(Ordering::SeqCst), 0);
            drop(waits);
            io::sleep(Duration::from_millis(5)).await;
            assert_eq!(drops.load(Ordering::SeqCst), 1, "the future is gone");

            let (done, wait) = oneshot::channel();
            io::spawn(async move {
                io::sleep(Duration::from_millis(5)).await;
                done.send(()).expect("the test waits");
            })
            .detach();
            wait.await.expect("a detached task runs on");
        }
    });
}

#[test]
fn cancel_waits_until_the_future_is_gone() {
    let drops = Arc::new(AtomicUsize::new(0));
    on_one_core(|| {
        let drops = drops.clone();
        async move {
            let guard = Dropped(drops.clone(), io::core());
            let waits = io::spawn(async move {
                let _guard = guard;
                io::sleep(Duration::from_secs(3600)).await;
            });
            io::yield_now().await;
            assert_eq!(waits.cancel().await, None);
            assert_eq!(drops.load(Ordering::SeqCst), 1);

            let ends = io::spawn(async { 5 });
            io::sleep(Duration::from_millis(1)).await;
            assert!(ends.is_finished());
            assert_eq!(ends.cancel().await, Some(5));
        }
    });
}

#[test]
fn tasks_left_at_the_end_are_dropped_on_their_core() {
    let drops = Arc::new(AtomicUsize::new(0));
    on_cores(2, |core| {
        let drops = drops.clone();
        async move {
            for _ in 0..10 {
                // One waits for a timer, one for nothing, one is runnable all the time, and each
                // of them spawned another.
                let guards = [(); 4].map(|()| Dropped(drops.clone(), core));
                let [a, b, c, d] = guards;
                let nested = async move {
                    let _guard = a;
                    io::spawn(async move {
                        let _guard = b;
                        std::future::pending::<()>().await;
                    })
                    .detach();
                    io::sleep(Duration::from_secs(3600)).await;
                };
                io::spawn(nested).detach();
                io::spawn(async move {
                    let _guard = c;
                    loop {
                        io::yield_now().await;
                    }
                })
                .detach();
                let task = io::spawn(async move {
                    let _guard = d;
                    std::future::pending::<()>().await;
                });
                // A handle that is itself in a task that is left.
                io::spawn(task).detach();
            }
            io::sleep(Duration::from_millis(2)).await;
        }
    });
    assert_eq!(drops.load(Ordering::SeqCst), 2 * 10 * 4);
}

#[test]
fn a_core_whose_main_has_returned_serves_until_all_have() {
    let (ask, asked) = oneshot::channel::<oneshot::Sender<CoreId>>();
    let parts = std::sync::Mutex::new((Some(ask), Some(asked)));
    on_cores(2, |core| {
        let mut parts = parts.lock().unwrap();
        let (ask, asked) = match core {
            CoreId(0) => (None, parts.1.take()),
            _ => (parts.0.take(), None),
        };
        async move {
            if let Some(asked) = asked {
                let serve = async move {
                    let reply = asked.await.expect("a question");
                    reply.send(io::core()).expect("somebody waits");
                };
                io::spawn(serve).detach();
                // This main returns here, long before the question comes.
            }
            if let Some(ask) = ask {
                io::sleep(Duration::from_millis(30)).await;
                let (reply, answer) = oneshot::channel();
                assert!(ask.send(reply).is_ok(), "core 0 still has its task");
                assert_eq!(answer.await, Ok(CoreId(0)));
            }
        }
    });
}

#[test]
fn a_panic_in_a_task_ends_the_run_on_all_cores() {
    let drops = Arc::new(AtomicUsize::new(0));
    let cores = CoreSpec::unpinned(2);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        io::run(&cores, |core| {
            let guard = Dropped(drops.clone(), core);
            async move {
                let _guard = guard;
                if core == CoreId(1) {
                    io::sleep(Duration::from_millis(5)).await;
                    io::spawn(async { panic!("on purpose") }).detach();
                }
                io::sleep(Duration::from_secs(3600)).await;
            }
        })
    }));
    let message = ended.expect_err("the panic comes out of run");
    assert_eq!(message.downcast_ref(), Some(&"on purpose"));
    assert_eq!(drops.load(Ordering::SeqCst), 2);
}

#[test]
fn many_tasks_come_and_go() {
    on_one_core(|| async {
        let sum = Rc::new(Cell::new(0_u64));
        for round in 0..20 {
            let tasks: Vec<_> = (0..1000)
                .map(|n| {
                    let sum = sum.clone();
                    io::spawn(async move {
                        if n % 3 == 0 {
                            io::yield_now().await;
                        }
                        sum.set(sum.get() + 1);
                    })
                })
                .collect();
            for (n, task) in tasks.into_iter().enumerate() {
                if n % 7 == round % 7 {
                    drop(task);
                } else {
                    task.await;
                }
            }
        }
        assert!(sum.get() >= 20 * 850, "{}", sum.get());
        io::yield_now().await;
        assert_eq!(io::stats().tasks, 1, "only main is left");
    });
}

#[test]
fn waiting_primitives_wake_tasks_of_other_cores() {
    let notify = Arc::new(Notify::new());
    let permits = Arc::new(Semaphore::new(0));
    let (tell, told) = watch::channel(0);
    on_cores(2, |core| {
        let (notify, permits) = (notify.clone(), permits.clone());
        let (tell, mut told) = (tell.clone(), told.clone());
        async move {
            for round in 1..=200 {
                if core == CoreId(0) {
                    notify.notified().await;
                    permits.add_permits(1);
                    told.wait_for(|seen| *seen >= round)
                        .await
                        .expect("the sender lives");
                } else {
                    notify.notify_one();
                    permits.acquire().await.expect("never closed").forget();
                    tell.send_replace(round);
                }
            }
        }
    });
}
