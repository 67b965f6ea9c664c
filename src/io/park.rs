//! The flag between a consumer that goes to sleep and the producers that must wake it.
//!
//! A wake-up costs a system call or the scheduling of a task, so a producer pays it only when the
//! consumer sleeps. That is safe only if these two cannot miss each other:
//!
//!     consumer: announce()  (flag = true; fence)   then look at the queue again, sleep if empty
//!     producer: push        (into the queue)       then must_wake()  (fence; flag?)
//!
//! Both fences are sequentially consistent, so one comes first in their single order. If the
//! consumer's does, the producer sees the flag. If the producer's does, the consumer's second look
//! sees the push. `tests/park_model.rs` runs this very file under loom, which tries every
//! interleaving that the memory model allows, and shows that it fails without either fence.

use super::atomic::{AtomicBool, Ordering, fence};

/// True while the consumer sleeps or is about to. One consumer, any number of producers.
///
/// Every write is a swap, so each follows directly on the one whose value it replaced: a
/// producer's swap that is late, from an earlier announcement, cannot hide a later announcement
/// from later producers.
pub(super) struct ParkFlag(AtomicBool);

impl ParkFlag {
    /// A consumer that is awake.
    pub(super) fn awake() -> ParkFlag {
        ParkFlag(AtomicBool::new(false))
    }

    /// The consumer is about to sleep. It must look at its queue once more after this call.
    pub(super) fn announce(&self) {
        self.0.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The consumer is awake again.
    pub(super) fn retract(&self) {
        self.0.swap(false, Ordering::Relaxed);
    }

    /// Asked by a producer after it has published its work: whether it is the one that must wake
    /// the consumer. Of several producers one is told so.
    pub(super) fn must_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}
