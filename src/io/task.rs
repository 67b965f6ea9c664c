//! The handle of a spawned task.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A task of this core. Awaiting it gives its result; dropping it cancels the task: its future is
/// dropped, at the latest when the core next runs a task. It panics if the task panicked.
#[must_use = "dropping a task cancels it; call detach() to let it run on"]
pub struct Task<T>(async_task::Task<T>);

impl<T> Task<T> {
    /// What a backend's `spawn` gives its caller.
    pub(super) fn new(task: async_task::Task<T>) -> Task<T> {
        Task(task)
    }

    /// Lets the task run on without a handle, until it ends or the core stops.
    pub fn detach(self) {
        self.0.detach();
    }

    /// Cancels the task and waits until its future is gone; `Some` if it had ended before.
    pub async fn cancel(self) -> Option<T> {
        self.0.cancel().await
    }

    /// Whether the task has ended, so that awaiting it would not wait.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(context)
    }
}
