//! A bound on memory that one core holds for its clients.

use std::sync::Arc;

use crate::io::sync::{OwnedSemaphorePermit, Semaphore};
use crate::metrics::{self, Gauge};

/// Bytes that may be held at the same time. Owned by one core; whoever waits is served in order,
/// so that nobody starves.
#[derive(Debug)]
pub struct Budget {
    permits: Arc<Semaphore>,
    bytes_max: usize,
    gauge: Gauge,
}

/// A part of a budget; dropping it gives it back.
#[derive(Debug)]
pub struct Hold {
    permit: OwnedSemaphorePermit,
    gauge: Gauge,
}

impl Budget {
    /// A budget of so many bytes, shown as `gauge`.
    pub fn new(bytes_max: i64, gauge: Gauge) -> Budget {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(0);
        let bytes_max = bytes_max.clamp(1, Semaphore::MAX_PERMITS);
        Budget {
            permits: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
            gauge,
        }
    }

    /// One of so many equal parts of the whole budget.
    pub fn share(&self, parts: usize) -> usize {
        self.bytes_max / parts
    }

    /// Waits until there is room for `bytes`. What is larger than the whole budget is let in alone.
    pub async fn hold(&self, bytes: usize) -> Hold {
        let permits = bytes.min(self.bytes_max).min(u32::MAX as usize) as u32;
        let acquired = self.permits.clone().acquire_many_owned(permits).await;
        let permit = acquired.expect("a budget is never closed");
        metrics::raise(self.gauge, permit.num_permits() as u64);
        Hold {
            permit,
            gauge: self.gauge,
        }
    }
}

impl Hold {
    /// What it holds.
    pub fn bytes(&self) -> usize {
        self.permit.num_permits()
    }

    /// Takes over what another hold of the same budget has.
    pub fn join(&mut self, mut other: Hold) {
        // Nothing is left of it to be given back.
        let all = other.permit.split(other.permit.num_permits());
        self.permit.merge(all.expect("it has all of it"));
    }

    /// Gives back what goes beyond `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let surplus = self.permit.num_permits().saturating_sub(bytes);
        drop(self.permit.split(surplus));
        metrics::lower(self.gauge, surplus as u64);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        metrics::lower(self.gauge, self.permit.num_permits() as u64);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_budget_makes_wait_and_gives_back() {
        let budget = Budget::new(100, Gauge::ResponseMemoryBytes);
        let mut first = budget.hold(80).now_or_never().expect("there is room");
        assert!(budget.hold(30).now_or_never().is_none());
        first.shrink(70);
        let second = budget.hold(30).now_or_never().expect("room was given back");
        drop((first, second));
        let all = budget.hold(1 << 40).now_or_never().expect("alone");
        assert!(budget.hold(1).now_or_never().is_none());
        drop(all);
        assert_eq!(budget.permits.available_permits(), 100);
    }
}
