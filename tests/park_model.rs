//! The protocol of `io/park`, checked by loom: every interleaving, and every reordering that the
//! memory model allows, of a consumer that goes to sleep and producers that wake it.
//!
//! The file under test is compiled here a second time, with loom's atomics in the place of the
//! standard ones. Sleeping is modelled as waiting on a condition variable for one wake-up, which
//! is what an eventfd or a waker is: one that comes early is kept. A wake-up that is missed leaves
//! the consumer asleep with work in its queue; loom reports that as a deadlock.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// What `io/park` takes for its atomics.
mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[path = "../src/io/park.rs"]
mod park;

use loom::sync::atomic::{AtomicUsize, Ordering};
use park::ParkFlag;

/// The flag under test, or one that is broken on purpose.
trait Flag: Send + Sync + 'static {
    fn awake() -> Self;
    fn announce(&self);
    fn retract(&self);
    fn must_wake(&self) -> bool;
}

impl Flag for ParkFlag {
    fn awake() -> ParkFlag {
        ParkFlag::awake()
    }
    fn announce(&self) {
        ParkFlag::announce(self);
    }
    fn retract(&self) {
        ParkFlag::retract(self);
    }
    fn must_wake(&self) -> bool {
        ParkFlag::must_wake(self)
    }
}

/// The same flag without one of the two fences.
struct Unfenced<const CONSUMER: bool>(atomic::AtomicBool);

impl<const CONSUMER: bool> Flag for Unfenced<CONSUMER> {
    fn awake() -> Self {
        Unfenced(atomic::AtomicBool::new(false))
    }
    fn announce(&self) {
        self.0.swap(true, Ordering::Relaxed);
        if !CONSUMER {
            atomic::fence(Ordering::SeqCst);
        }
    }
    fn retract(&self) {
        self.0.swap(false, Ordering::Relaxed);
    }
    fn must_wake(&self) -> bool {
        if CONSUMER {
            atomic::fence(Ordering::SeqCst);
        }
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}

/// One consumer and its producers.
struct Shared<F> {
    /// How many items were published; the consumer only counts them.
    published: AtomicUsize,
    flag: F,
    signal: Mutex<usize>,
    signalled: Condvar,
}

impl<F: Flag> Shared<F> {
    fn produce(&self) {
        self.published.fetch_add(1, Ordering::Release);
        if self.flag.must_wake() {
            *self.signal.lock().unwrap() += 1;
            self.signalled.notify_one();
        }
    }

    /// Takes items until all have come.
    fn consume(&self, all: usize) {
        let mut seen = 0;
        while seen < all {
            seen = self.published.load(Ordering::Acquire);
            if seen == all {
                return;
            }
            self.flag.announce();
            let again = self.published.load(Ordering::Acquire);
            if again == seen {
                let mut signal = self.signal.lock().unwrap();
                while *signal == 0 {
                    signal = self.signalled.wait(signal).unwrap();
                }
                *signal = 0;
            }
            self.flag.retract();
        }
    }
}

/// Tries every execution with at most `switches` switches that no thread asked for; `None` tries
/// all there are.
fn model<F: Flag>(producers: usize, each: usize, switches: Option<usize>) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = switches;
    builder.check(move || {
        let shared = Arc::new(Shared {
            published: AtomicUsize::new(0),
            flag: F::awake(),
            signal: Mutex::new(0),
            signalled: Condvar::new(),
        });
        let threads: Vec<_> = (0..producers)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    for _ in 0..each {
                        shared.produce();
                    }
                })
            })
            .collect();
        shared.consume(producers * each);
        for producer in threads {
            producer.join().unwrap();
        }
    });
}

#[test]
fn no_wake_up_is_missed() {
    model::<ParkFlag>(1, 1, None);
    model::<ParkFlag>(1, 2, None);
    model::<ParkFlag>(1, 3, Some(4));
    model::<ParkFlag>(2, 1, Some(3));
    model::<ParkFlag>(2, 2, Some(2));
}

#[test]
fn without_either_fence_one_is() {
    let consumer = catch_unwind(AssertUnwindSafe(|| model::<Unfenced<true>>(1, 1, None)));
    assert!(
        consumer.is_err(),
        "the model does not see the consumer's missing fence"
    );
    let producer = catch_unwind(AssertUnwindSafe(|| model::<Unfenced<false>>(1, 1, None)));
    assert!(
        producer.is_err(),
        "the model does not see the producer's missing fence"
    );
}
