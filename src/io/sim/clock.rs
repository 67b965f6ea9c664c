//! Virtual time, and the chance that programs draw.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::machine::{EventKey, Machine, machine};
use crate::io::Instant;
use crate::model::Timestamp;

/// The wall clock when virtual time is 0: 2026-01-01T00:00:00Z.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// The monotonic clock. It moves when a task has run and when nothing can run.
pub fn now() -> Instant {
    Instant::from_nanos(machine().now_ns())
}

/// The wall clock: follows the monotonic one, shifted as the test says.
pub fn wall_clock() -> Timestamp {
    let machine = machine();
    let elapsed_ms = (machine.now_ns() / 1_000_000) as i64;
    Timestamp(EPOCH_MS + machine.wall_offset_ms.get() + elapsed_ms)
}

/// 64 bits from the seed. Not secret.
pub fn random_u64() -> u64 {
    machine().program.borrow_mut().next_u64()
}

/// Bytes from the seed. Not secret.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    machine().program.borrow_mut().fill(&mut bytes);
    bytes
}

/// Ends at the deadline.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        timer: None,
    }
}

/// The future of [`sleep_until`].
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Instant,
    timer: Option<(EventKey, Waker)>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let machine = machine();
        if machine.now_ns() >= self.deadline.as_nanos() {
            return Poll::Ready(());
        }
        let waker = context.waker();
        if self
            .timer
            .as_ref()
            .is_some_and(|(_, waiting)| waiting.will_wake(waker))
        {
            return Poll::Pending;
        }
        self.stop(&machine);
        // The end of time never comes: a deadlock must not hide behind it.
        if self.deadline.as_nanos() < u64::MAX {
            let waiting = waker.clone();
            let wake = Box::new(move |_: &Machine| waiting.wake());
            let key = machine.at(self.deadline.as_nanos(), wake);
            self.timer = Some((key, waker.clone()));
        }
        Poll::Pending
    }
}

impl Sleep {
    fn stop(&mut self, machine: &Machine) {
        if let Some((key, _)) = self.timer.take() {
            machine.cancel(key);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.timer.is_some() {
            self.stop(&machine());
        }
    }
}
