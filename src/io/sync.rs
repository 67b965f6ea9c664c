//! Waiting for another task, on this core or on another one.
//!
//! These are tokio's runtime-independent primitives: they know wakers only, and a waker of ours
//! may be used on any thread. They never sleep a thread and need no tokio runtime.

pub use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
pub use tokio::sync::{mpsc, oneshot, watch};
