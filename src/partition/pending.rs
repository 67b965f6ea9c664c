//! The batches of one request that wait to be durable: one wake-up for all of them.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use crate::io::sync::Notify;

/// The batches of one request on one core. Whoever sent them waits here once, however many
/// partitions they went to.
#[derive(Default)]
pub struct Pending {
    waiting_count: Cell<usize>,
    /// The numbers of the batches that will not become durable, as far as is known; mostly none.
    refused: RefCell<HashSet<usize>>,
    settled: Notify,
}

impl Pending {
    /// Nothing waits yet.
    pub fn new() -> Rc<Pending> {
        Rc::default()
    }

    /// Waits until of every batch it is known whether it is durable.
    pub async fn settled(&self) {
        while self.waiting_count.get() > 0 {
            self.settled.notified().await;
        }
    }

    /// Whether this batch is not durable; asked when all are settled.
    pub fn is_refused(&self, number: usize) -> bool {
        self.refused.borrow().contains(&number)
    }

    fn settle(&self, number: usize, is_durable: bool) {
        if !is_durable {
            self.refused.borrow_mut().insert(number);
        }
        let left = self.waiting_count.get() - 1;
        self.waiting_count.set(left);
        if left == 0 {
            self.settled.notify_one();
        }
    }
}

/// One batch of a request, in the hands of its partition. Dropped, it is a refusal: nobody is left
/// who could say that the batch is durable.
pub(super) struct Waiter {
    pending: Rc<Pending>,
    number: usize,
    is_durable: bool,
}

impl Waiter {
    /// The batch with this number waits.
    pub(super) fn new(pending: &Rc<Pending>, number: usize) -> Waiter {
        pending.waiting_count.set(pending.waiting_count.get() + 1);
        Waiter {
            pending: pending.clone(),
            number,
            is_durable: false,
        }
    }

    /// The batch is durable.
    pub(super) fn release(mut self) {
        self.is_durable = true;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.pending.settle(self.number, self.is_durable);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_request_is_settled_with_the_last_of_its_batches() {
        let pending = Pending::new();
        assert!(pending.settled().now_or_never().is_some(), "nothing waits");
        let [first, second, third] = [4, 5, 6].map(|number| Waiter::new(&pending, number));
        let mut settled = Box::pin(pending.settled());
        second.release();
        drop(third);
        assert!(settled.as_mut().now_or_never().is_none(), "one waits");
        first.release();
        assert!(settled.now_or_never().is_some());
        assert_eq!(
            [4, 5, 6].map(|number| pending.is_refused(number)),
            [false, false, true]
        );
    }
}
