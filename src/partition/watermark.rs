//! The high watermark and those who wait for it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::io::sync::{Notify, oneshot};
use crate::model::Offset;

/// A fetch that waits for any of its partitions to move. One for the whole request, shared by
/// the partitions that it looks at.
#[derive(Default)]
pub struct Watch {
    fired: Cell<bool>,
    over: Cell<bool>,
    notify: Notify,
}

impl Watch {
    /// A watch that nothing has fired yet.
    pub fn new() -> Rc<Watch> {
        Rc::new(Watch::default())
    }

    /// Wakes whoever waits, now or later.
    pub fn fire(&self) {
        self.fired.set(true);
        self.notify.notify_one();
    }

    /// Waits until a partition has fired the watch.
    pub async fn fired(&self) {
        while !self.fired.get() {
            self.notify.notified().await;
        }
    }

    /// Says that nobody waits any more, so that partitions may drop the watch.
    pub fn end(&self) {
        self.over.set(true);
    }
}

/// Below `value` every record is durable by the policy in force. It never goes back.
pub(super) struct Watermark {
    value: Offset,
    failed: bool,
    /// Produce requests by the offset that the watermark must reach.
    appends: BTreeMap<Offset, Vec<oneshot::Sender<bool>>>,
    watches: Vec<Rc<Watch>>,
    /// The number of watches at which those that are over are swept out.
    sweep_at_count: usize,
}

impl Watermark {
    pub(super) fn new(value: Offset) -> Watermark {
        Watermark {
            value,
            failed: false,
            appends: BTreeMap::new(),
            watches: Vec::new(),
            sweep_at_count: 8,
        }
    }

    pub(super) fn value(&self) -> Offset {
        self.value
    }

    /// Everything below `end` is durable: releases the appends that waited for it and wakes the
    /// fetches. A call with an older end changes nothing.
    pub(super) fn advance(&mut self, end: Offset) {
        if end <= self.value {
            return;
        }
        self.value = end;
        while let Some(first) = self.appends.first_entry()
            && *first.key() <= end
        {
            for waiter in first.remove() {
                // The requester may have timed out; the record is durable all the same.
                let _ = waiter.send(true);
            }
        }
        self.wake_watches();
    }

    /// Nothing further will become durable: the data directory stopped, or the topic is gone.
    pub(super) fn fail(&mut self) {
        self.failed = true;
        self.refuse();
    }

    /// The disk is full: those who wait are told so. What they sent keeps its place and becomes
    /// durable when there is space again.
    pub(super) fn refuse(&mut self) {
        for (_, waiters) in std::mem::take(&mut self.appends) {
            for waiter in waiters {
                let _ = waiter.send(false);
            }
        }
        self.wake_watches();
    }

    /// Resolves to true once the watermark reaches `end`, to false if it never will.
    pub(super) fn wait(&mut self, end: Offset) -> oneshot::Receiver<bool> {
        let (sender, receiver) = oneshot::channel();
        if end <= self.value {
            let _ = sender.send(true);
        } else if self.failed {
            let _ = sender.send(false);
        } else {
            self.appends.entry(end).or_default().push(sender);
        }
        receiver
    }

    /// Fires `watch` at the next move, or at once if the watermark is no longer `seen`. One that
    /// will not move again fires nothing: its readers wait as they do for a silent producer.
    pub(super) fn watch(&mut self, seen: Offset, watch: &Rc<Watch>) {
        if self.value != seen {
            return watch.fire();
        }
        if self.watches.len() >= self.sweep_at_count {
            self.watches.retain(|watch| !watch.over.get());
            self.sweep_at_count = (self.watches.len() * 2).max(8);
        }
        self.watches.push(watch.clone());
    }

    fn wake_watches(&mut self) {
        for watch in std::mem::take(&mut self.watches) {
            watch.fire();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_releases_what_lies_below_it_only() {
        let mut watermark = Watermark::new(Offset(10));
        let mut at_12 = watermark.wait(Offset(12));
        let mut at_15 = watermark.wait(Offset(15));
        let mut at_10 = watermark.wait(Offset(10));
        assert_eq!(at_10.try_recv(), Ok(true));
        watermark.advance(Offset(14));
        assert_eq!(at_12.try_recv(), Ok(true));
        assert!(at_15.try_recv().is_err());
        watermark.advance(Offset(11));
        assert_eq!(watermark.value(), Offset(14));
        watermark.fail();
        assert_eq!(at_15.try_recv(), Ok(false));
        assert_eq!(watermark.wait(Offset(14)).try_recv(), Ok(true));
        assert_eq!(watermark.wait(Offset(20)).try_recv(), Ok(false));
    }

    #[test]
    fn a_watch_fires_on_the_next_move_or_at_once() {
        let mut watermark = Watermark::new(Offset(1));
        let (late, early) = (Watch::new(), Watch::new());
        watermark.watch(Offset(0), &late);
        assert!(late.fired.get());
        watermark.watch(Offset(1), &early);
        assert!(!early.fired.get());
        watermark.advance(Offset(2));
        assert!(early.fired.get());
        assert!(watermark.watches.is_empty());
        watermark.fail();
        let idle = Watch::new();
        watermark.watch(Offset(2), &idle);
        assert!(
            !idle.fired.get(),
            "it would be placed again at once, without end"
        );
    }

    #[test]
    fn watches_that_are_over_do_not_pile_up() {
        let mut watermark = Watermark::new(Offset(1));
        for _ in 0..1000 {
            let watch = Watch::new();
            watermark.watch(Offset(1), &watch);
            watch.end();
        }
        assert!(watermark.watches.len() <= 8, "{}", watermark.watches.len());
    }
}
