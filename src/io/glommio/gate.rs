//! Polling a future of glommio's no more often than it asks for.
//!
//! A source or timer of glommio's adds the waker to its list with each poll, and a timer also adds
//! itself to the reactor's, so one that is polled for another's sake (beside others in a `select`,
//! or in each turn of a loop) would grow for as long as it waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A future that is polled once, and then again only after it has woken its task.
pub(super) struct Gate<F> {
    inner: Pin<Box<F>>,
    bell: Arc<Bell>,
}

/// What the inner future wakes.
struct Bell {
    rung: AtomicBool,
    waiting: AtomicWaker,
}

impl<F: Future> Gate<F> {
    /// Not polled yet.
    pub(super) fn new(inner: F) -> Gate<F> {
        Gate {
            inner: Box::pin(inner),
            bell: Arc::new(Bell {
                rung: AtomicBool::new(true),
                waiting: AtomicWaker::new(),
            }),
        }
    }
}

impl<F: Future> Future for Gate<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.bell.waiting.register(context.waker());
        if !self.bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(self.bell.clone());
        self.inner.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.waiting.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn what_waits_is_polled_when_it_asks_and_not_before() {
        let polls = Rc::new(Cell::new(0));
        let kept: Rc<Cell<Option<Waker>>> = Rc::default();
        let (counter, keeper) = (polls.clone(), kept.clone());
        let mut gate = Gate::new(std::future::poll_fn(move |context| {
            counter.set(counter.get() + 1);
            keeper.set(Some(context.waker().clone()));
            match counter.get() {
                3 => Poll::Ready(7),
                _ => Poll::Pending,
            }
        }));
        for expected in [1, 2] {
            assert_eq!((&mut gate).now_or_never(), None);
            assert_eq!((&mut gate).now_or_never(), None);
            assert_eq!(polls.get(), expected);
            kept.take().expect("it was polled").wake();
        }
        assert_eq!((&mut gate).now_or_never(), Some(7));
    }
}
