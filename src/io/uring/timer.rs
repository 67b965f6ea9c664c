//! Sleeping tasks.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::clock::now;
use super::executor;
use super::wheel::TimerKey;
use crate::io::Instant;

/// Ends at its deadline, never earlier. It costs one entry of its core's wheel while it is
/// waited for.
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Instant,
    key: Option<TimerKey>,
    /// Its key means something on this thread only.
    _local: PhantomData<*const ()>,
}

/// Ends at `deadline`, at once if that has passed.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        key: None,
        _local: PhantomData,
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if now() >= self.deadline {
            return Poll::Ready(());
        }
        executor::with(|core| {
            let mut timers = core.timers.borrow_mut();
            match self.key.and_then(|key| timers.get_mut(key)) {
                Some(waker) => waker.clone_from(context.waker()),
                None => {
                    let waker = context.waker().clone();
                    self.key = Some(timers.insert(self.deadline.as_nanos(), waker));
                }
            }
        });
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let waker = executor::try_with(|core| core.timers.borrow_mut().remove(key));
        drop(waker);
    }
}
