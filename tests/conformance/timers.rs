//! Time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use corelog::io;

use crate::{Sequence, on_one_core};

#[test]
fn sleeps_end_in_the_order_of_their_deadlines_and_never_early() {
    on_one_core(|| async {
        let ended = Rc::new(RefCell::new(Vec::new()));
        let begin = io::now();
        let tasks: Vec<_> = [30, 5, 20, 1, 10, 0]
            .into_iter()
            .map(|ms| {
                let ended = ended.clone();
                io::spawn(async move {
                    io::sleep(Duration::from_millis(ms)).await;
                    assert!(
                        io::now() - begin >= Duration::from_millis(ms),
                        "{ms} ms, early"
                    );
                    ended.borrow_mut().push(ms);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert_eq!(ended.take(), [0, 1, 5, 10, 20, 30]);
    });
}

#[test]
fn a_deadline_that_has_passed_does_not_wait() {
    on_one_core(|| async {
        let begin = io::now();
        io::sleep(Duration::from_millis(2)).await;
        io::sleep_until(begin).await;
        io::sleep(Duration::ZERO).await;
        assert!(io::now() >= begin + Duration::from_millis(2));
    });
}

#[test]
fn ten_thousand_sleeps_end_and_as_many_are_dropped() {
    on_one_core(|| async {
        let begin = io::now();
        let mut sequence = Sequence(1);
        let mut tasks = Vec::new();
        for n in 0..20_000 {
            let deadline = begin + Duration::from_micros(sequence.below(200_000));
            let task = io::spawn(async move {
                io::sleep_until(deadline).await;
                assert!(io::now() >= deadline);
            });
            if n % 2 == 0 {
                tasks.push(task);
            } else if n % 4 == 1 {
                drop(task);
            } else {
                // Dropped after it has begun to wait.
                io::yield_now().await;
                drop(task);
            }
        }
        for task in tasks {
            task.await;
        }
    });
}

#[test]
fn a_timeout_drops_its_future_and_a_result_wins() {
    on_one_core(|| async {
        let held = Rc::new(());
        let holds = held.clone();
        let slow = async move {
            let _holds = holds;
            std::future::pending::<()>().await;
        };
        let begin = io::now();
        assert_eq!(io::timeout(Duration::from_millis(10), slow).await, None);
        assert!(io::now() - begin >= Duration::from_millis(10));
        assert_eq!(Rc::strong_count(&held), 1, "the future is gone");

        let quick = async {
            io::sleep(Duration::from_millis(1)).await;
            7
        };
        assert_eq!(io::timeout(Duration::from_secs(30), quick).await, Some(7));
        assert_eq!(io::timeout(Duration::ZERO, async { 8 }).await, Some(8));
    });
}

#[test]
fn tasks_that_are_always_runnable_do_not_starve_timers() {
    on_one_core(|| async {
        let busy: Vec<_> = (0..50)
            .map(|_| {
                io::spawn(async {
                    loop {
                        io::yield_now().await;
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            io::sleep(Duration::from_millis(1)).await;
        }
        drop(busy);
    });
}

#[test]
fn the_clocks_go_on() {
    on_one_core(|| async {
        let (instant, wall) = (io::now(), io::wall_clock());
        io::sleep(Duration::from_millis(20)).await;
        assert!(io::now() > instant);
        let passed_ms = io::wall_clock().0 - wall.0;
        assert!(passed_ms >= 15, "{passed_ms} ms of the wall clock");
        assert_ne!(io::random_bytes::<16>(), io::random_bytes::<16>());
        assert_ne!(io::random_u64(), io::random_u64());
    });
}
