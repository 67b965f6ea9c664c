//! What requests take of one core's memory while they arrive.
//!
//! A length that a peer announces takes nothing. A small request takes what it needs before it is
//! read. A larger one takes a step, and with what has arrived the next one, some times as long: a
//! peer that announces much and sends little keeps little from the others.
//!
//! So several requests may each have a part and wait for more. That they do not wait for one
//! another for ever rests on one rule: what all parts have together, and the most that any of them
//! still lacks (a step at least), is never more than the budget. Who waits is served in order, so
//! look at who is first. It wants a step, or what it was promised, or all that it lacks, and by the
//! rule that is no more than the budget without the parts. What is missing of that is with requests
//! that have all they need. They wait for no budget: they arrive, or are cut off after
//! `REQUEST_ARRIVAL_MS_MAX`, and are answered. A step that would break the rule is not
//! promised: the request then waits for all that it lacks. A request that does not fit beside the
//! parts waits until it does before it begins, first come first served.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::{Budget, Hold};
use crate::io::sync::{Notify, Semaphore};
use crate::io::{self, Instant};
use crate::limits::{REQUEST_CLAIM_BYTES, REQUEST_CLAIM_GROWTH_FACTOR};
use crate::metrics::Gauge;

/// The memory for requests of one core. Owned by it.
#[derive(Debug)]
pub struct Claims {
    budget: Budget,
    step_bytes: usize,
    parts: RefCell<Parts>,
    /// The turn to begin a request that takes its memory in parts.
    turn: Semaphore,
    /// Told when a part has gone.
    less: Notify,
}

/// Requests that have a part of what they need.
#[derive(Debug, Default)]
struct Parts {
    /// What they have, or were promised.
    promised_bytes: usize,
    /// How many still lack so many bytes.
    lacking: BTreeMap<usize, usize>,
}

/// What one request has; dropping it gives it back.
#[derive(Debug)]
pub struct Claim {
    hold: Hold,
    /// Until it has all.
    part: Option<Part>,
    waits: Rc<Waits>,
}

#[derive(Debug)]
struct Part {
    claims: Rc<Claims>,
    whole_bytes: usize,
    promised_bytes: usize,
}

/// How long a claim has waited for more.
#[derive(Debug, Default)]
pub struct Waits {
    ended: Cell<Duration>,
    since: Cell<Option<Instant>>,
}

impl Claims {
    /// As many bytes for all requests.
    pub fn new(bytes_max: i64) -> Rc<Claims> {
        let budget = Budget::new(bytes_max, Gauge::RequestMemoryBytes);
        Rc::new(Claims {
            step_bytes: budget.share(2).clamp(1, REQUEST_CLAIM_BYTES),
            budget,
            parts: RefCell::default(),
            turn: Semaphore::new(1),
            less: Notify::new(),
        })
    }

    /// Waits until a request of so many bytes may begin to arrive. What is larger than the whole
    /// budget takes all of it.
    pub async fn begin(self: &Rc<Self>, request_bytes: usize) -> Claim {
        let whole_bytes = request_bytes.min(self.budget.share(1));
        let mut part = None;
        if whole_bytes > self.step_bytes {
            let _turn = self.turn.acquire().await.expect("never closed");
            part = Some(self.enter(whole_bytes).await);
        }
        let first_bytes = whole_bytes.min(self.step_bytes);
        Claim {
            hold: self.budget.hold(first_bytes).await,
            part,
            waits: Rc::default(),
        }
    }

    async fn enter(self: &Rc<Self>, whole_bytes: usize) -> Part {
        loop {
            let less = self.less.notified();
            if self.promise((0, whole_bytes), (self.step_bytes, whole_bytes)) {
                return Part {
                    claims: self.clone(),
                    whole_bytes,
                    promised_bytes: self.step_bytes,
                };
            }
            less.await;
        }
    }

    /// A request with a part goes from one (promised, whole) to another, of which a promise of 0 is
    /// none. False if the rule forbids it.
    fn promise(&self, from: (usize, usize), to: (usize, usize)) -> bool {
        let mut parts = self.parts.borrow_mut();
        parts.remove(from);
        parts.add(to);
        let most_lacking = parts.lacking.last_key_value().map_or(0, |(most, _)| *most);
        let kept_bytes = most_lacking.max(self.step_bytes);
        if to.0 > from.0 && parts.promised_bytes + kept_bytes > self.budget.share(1) {
            parts.remove(to);
            parts.add(from);
            return false;
        }
        true
    }
}

impl Parts {
    fn add(&mut self, (promised_bytes, whole_bytes): (usize, usize)) {
        if promised_bytes > 0 {
            self.promised_bytes += promised_bytes;
            *self
                .lacking
                .entry(whole_bytes - promised_bytes)
                .or_default() += 1;
        }
    }

    fn remove(&mut self, (promised_bytes, whole_bytes): (usize, usize)) {
        if promised_bytes > 0 {
            self.promised_bytes -= promised_bytes;
            let lacking = whole_bytes - promised_bytes;
            let count = self.lacking.get_mut(&lacking).expect("it was added");
            *count -= 1;
            if *count == 0 {
                self.lacking.remove(&lacking);
            }
        }
    }
}

impl Claim {
    /// How many bytes may come, once so many are here that are not all: one at least. Waits for
    /// them.
    pub async fn room(&mut self, arrived_bytes: usize) -> usize {
        let next_bytes = arrived_bytes.saturating_mul(REQUEST_CLAIM_GROWTH_FACTOR);
        if arrived_bytes >= self.hold.bytes() {
            self.grow(next_bytes).await;
        }
        match self.part {
            Some(_) => self.hold.bytes() - arrived_bytes,
            None => usize::MAX,
        }
    }

    /// Waits until it has so many bytes, or all that the request needs.
    pub async fn at_least(&mut self, bytes: usize) {
        if bytes > self.hold.bytes() {
            self.grow(bytes).await;
        }
    }

    async fn grow(&mut self, bytes: usize) {
        let Some(part) = &mut self.part else {
            return;
        };
        self.waits.since.set(Some(io::now()));
        let grows = bytes < part.whole_bytes && part.grow(bytes);
        let upto_bytes = if grows { bytes } else { part.whole_bytes };
        let budget = &part.claims.budget;
        let more = budget.hold(upto_bytes - self.hold.bytes()).await;
        self.hold.join(more);
        self.waits.end();
        if !grows {
            self.part = None;
        }
    }

    /// How long it has waited for more.
    pub fn waits(&self) -> Rc<Waits> {
        self.waits.clone()
    }

    /// What it has.
    pub fn into_hold(self) -> Hold {
        self.hold
    }
}

impl Part {
    fn grow(&mut self, bytes: usize) -> bool {
        let from = (self.promised_bytes, self.whole_bytes);
        let grows = self.claims.promise(from, (bytes, self.whole_bytes));
        if grows {
            self.promised_bytes = bytes;
        }
        grows
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let from = (self.promised_bytes, self.whole_bytes);
        self.claims.promise(from, (0, self.whole_bytes));
        self.claims.less.notify_waiters();
    }
}

impl Waits {
    /// The time since it was asked last.
    pub fn take(&self) -> Duration {
        if self.since.get().is_some() {
            self.end();
            self.since.set(Some(io::now()));
        }
        self.ended.take()
    }

    fn end(&self) {
        if let Some(since) = self.since.take() {
            self.ended.set(self.ended.get() + (io::now() - since));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    const STEP: usize = REQUEST_CLAIM_BYTES;

    fn begin(claims: &Rc<Claims>, bytes: usize) -> Option<Claim> {
        claims.begin(bytes).now_or_never()
    }

    #[test]
    fn who_announces_much_and_sends_little_keeps_little_from_others() {
        let claims = Claims::new(16 * STEP as i64);
        let idle: Vec<Claim> = (0..5).map_while(|_| begin(&claims, 12 * STEP)).collect();
        assert_eq!(idle.len(), 5);
        let small: Vec<Claim> = (0..11).map_while(|_| begin(&claims, STEP)).collect();
        assert_eq!(small.len(), 11);
        assert!(begin(&claims, 1).is_none(), "all is in use");
        drop(small);
        // One more of those that lack the most would leave too little for any of them.
        assert!(begin(&claims, 12 * STEP).is_none());
        // One of them sends, and goes on with what it lacks.
        let mut idle = idle.into_iter();
        let mut sends = idle.next().expect("there are some");
        assert_eq!(sends.room(0).now_or_never(), Some(STEP));
        assert_eq!(sends.room(STEP / 2).now_or_never(), Some(STEP / 2));
        assert_eq!(sends.room(STEP).now_or_never(), Some(usize::MAX));
        assert_eq!(sends.into_hold().bytes(), 12 * STEP);
        drop(idle);
        let mut half = begin(&claims, 12 * STEP).expect("there is room");
        assert!(half.at_least(5 * STEP).now_or_never().is_some());
        assert_eq!(half.hold.bytes(), 5 * STEP, "so much and no more");
        assert_eq!(half.room(STEP).now_or_never(), Some(4 * STEP));
        assert!(half.at_least(4 * STEP).now_or_never().is_some());
        assert_eq!(half.hold.bytes(), 5 * STEP);
        assert!(half.at_least(13 * STEP).now_or_never().is_some());
        assert_eq!(half.into_hold().bytes(), 12 * STEP, "it needs no more");
        let all = begin(&claims, 1 << 40);
        let mut all = all.expect("what is larger than all is let in");
        assert_eq!(all.room(STEP).now_or_never(), Some(3 * STEP));
        assert_eq!(all.room(4 * STEP).now_or_never(), Some(usize::MAX));
        assert!(begin(&claims, 1).is_none());
        drop(all);
        let parts = claims.parts.borrow();
        assert!(parts.promised_bytes == 0 && parts.lacking.is_empty());
        assert!(claims.budget.hold(16 * STEP).now_or_never().is_some());
    }

    /// Requests of these sizes come at once, and each takes what it may until it is here.
    fn check_all_arrive(budget_bytes: usize, sizes: &[usize]) {
        let claims = Claims::new(budget_bytes as i64);
        let arrive = |bytes: usize| {
            let claims = claims.clone();
            async move {
                let mut claim = claims.begin(bytes).await;
                let mut arrived = 0;
                while arrived < bytes {
                    arrived += claim.room(arrived).await.min(bytes - arrived);
                    assert!(claim.hold.bytes() >= arrived.min(budget_bytes));
                    // Another one's turn.
                    let mut passed = false;
                    std::future::poll_fn(|context| {
                        context.waker().wake_by_ref();
                        match std::mem::replace(&mut passed, true) {
                            true => std::task::Poll::Ready(()),
                            false => std::task::Poll::Pending,
                        }
                    })
                    .await;
                }
            }
        };
        let mut all = join_all(sizes.iter().map(|bytes| arrive(*bytes)));
        let done = (0..100_000).any(|_| (&mut all).now_or_never().is_some());
        assert!(done, "they wait for one another: {budget_bytes}, {sizes:?}");
    }

    #[test]
    fn requests_that_have_parts_never_wait_for_one_another_for_ever() {
        check_all_arrive(8 * STEP, &[7 * STEP; 9]);
        check_all_arrive(8 * STEP, &[30 * STEP, 2 * STEP, STEP, 8 * STEP, 30 * STEP]);
        let mut chance = 7_u64;
        let mut upto = |max: usize| {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (chance >> 33) as usize % max
        };
        for _ in 0..300 {
            let budget_bytes = 1 + upto(20 * STEP);
            let count = 1 + upto(40);
            let most = 1 + upto(20 * STEP);
            let sizes: Vec<usize> = (0..count).map(|_| 1 + upto(most)).collect();
            check_all_arrive(budget_bytes, &sizes);
        }
    }
}
