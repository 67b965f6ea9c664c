//! The high watermark and those who wait for it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::pending::Waiter;
use crate::io::sync::Notify;
use crate::limits::WAITERS_ROOM_KEPT;
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
    /// Appended batches, by the offset that the watermark must reach, lowest first.
    appends: VecDeque<(Offset, Waiter)>,
    watches: Vec<Rc<Watch>>,
    /// The number of watches at which those that are over are swept out.
    sweep_at_count: usize,
}

impl Watermark {
    pub(super) fn new(value: Offset) -> Watermark {
        Watermark {
            value,
            failed: false,
            appends: VecDeque::new(),
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
        while let Some((_, waiter)) = self.appends.pop_front_if(|(needed, _)| *needed <= end) {
            waiter.release();
        }
        // An idle partition keeps little room for those who may wait.
        if self.appends.is_empty() && self.appends.capacity() > WAITERS_ROOM_KEPT {
            self.appends = VecDeque::new();
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
        self.appends.clear();
        self.wake_watches();
    }

    /// Releases `waiter` once the watermark reaches `end`, or drops it if it never will.
    pub(super) fn wait(&mut self, end: Offset, waiter: Waiter) {
        if end <= self.value {
            return waiter.release();
        }
        if self.failed {
            return;
        }
        // A duplicate waits for its original, before which nothing new stands.
        let place = match self.appends.back() {
            Some((last, _)) if *last > end => self.appends.partition_point(|(at, _)| *at <= end),
            Some(_) | None => self.appends.len(),
        };
        self.appends.insert(place, (end, waiter));
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
    use futures_util::FutureExt;

    use super::super::pending::Pending;
    use super::*;

    #[test]
    fn a_prefix_releases_what_lies_below_it_only() {
        let mut watermark = Watermark::new(Offset(10));
        let wait = |watermark: &mut Watermark, end| {
            let pending = Pending::new();
            watermark.wait(Offset(end), Waiter::new(&pending, 0));
            pending
        };
        // What is known: nothing yet, that it is durable, that it will not be.
        let known = |pending: &Pending| {
            let settled = pending.settled().now_or_never();
            settled.map(|()| !pending.is_refused(0))
        };
        let at_12 = wait(&mut watermark, 12);
        let at_15 = wait(&mut watermark, 15);
        let at_10 = wait(&mut watermark, 10);
        let at_12_again = wait(&mut watermark, 12);
        let at_13 = wait(&mut watermark, 13);
        assert_eq!(known(&at_10), Some(true));
        watermark.advance(Offset(12));
        assert_eq!(known(&at_12), Some(true));
        assert_eq!(known(&at_12_again), Some(true));
        assert_eq!(known(&at_13), None);
        watermark.advance(Offset(14));
        assert_eq!(known(&at_13), Some(true));
        assert_eq!(known(&at_15), None);
        watermark.advance(Offset(11));
        assert_eq!(watermark.value(), Offset(14));
        watermark.fail();
        assert_eq!(known(&at_15), Some(false));
        assert_eq!(known(&wait(&mut watermark, 14)), Some(true));
        assert_eq!(known(&wait(&mut watermark, 20)), Some(false));
        let mut watermark = Watermark::new(Offset(10));
        let at_12 = wait(&mut watermark, 12);
        drop(watermark);
        assert_eq!(known(&at_12), Some(false), "nobody would ever say");
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
