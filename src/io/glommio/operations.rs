//! What glommio works on for a core, and how it is counted.
//!
//! An operation on a file runs in a task of glommio's own, so that it goes on to its end, and
//! keeps its buffers and its file, whatever happens to the future that waits for it. Waiting for a
//! socket has no buffer, and is cancelled by glommio when its future is dropped.

use std::future::Future;
use std::io::Error as IoError;
use std::marker::PhantomData;

use glommio::GlommioError;

use super::executor;
use crate::io::Result;
use crate::io::sync::oneshot;

/// One operation, from its start to its end.
pub(super) struct InFlight {
    /// It is counted by the core of this thread.
    _local: PhantomData<*const ()>,
}

impl InFlight {
    /// Counts one more.
    pub(super) fn begin() -> InFlight {
        executor::with(|core| {
            core.in_flight.set(core.in_flight.get() + 1);
            core.count(|counters| counters.submissions += 1);
        });
        InFlight {
            _local: PhantomData,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        executor::try_with(|core| {
            core.in_flight.set(core.in_flight.get() - 1);
            core.count(|counters| counters.completions += 1);
        });
    }
}

/// Starts an operation and lets it run on; nobody waits for it.
pub(super) fn start(operation: impl Future<Output = ()> + 'static) {
    let flight = InFlight::begin();
    let task = glommio::spawn_local(async move {
        operation.await;
        drop(flight);
    });
    drop(task.detach());
}

/// Starts an operation and waits for its end. If this future is dropped it goes on all the same.
pub(super) async fn complete<T: 'static>(operation: impl Future<Output = T> + 'static) -> T {
    let (tell, told) = oneshot::channel();
    start(async move {
        if tell.send(operation.await).is_err() {
            executor::try_with(|core| core.count(|counters| counters.orphans += 1));
        }
    });
    match told.await {
        Ok(output) => output,
        Err(_) => panic!("an operation ends, or its core does"),
    }
}

/// Runs a call that blocks on the core's own blocking thread, one after the other.
pub(super) async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    complete(async move { glommio::executor().spawn_blocking(call).await }).await
}

/// The kernel's error as it was, without the words that glommio puts around it: callers look at
/// its number.
pub(super) fn plain<T>(result: std::result::Result<T, GlommioError<()>>) -> Result<T> {
    result.map_err(|error| match error {
        GlommioError::EnhancedIoError { source, .. } | GlommioError::IoError(source) => source,
        other => IoError::from(other),
    })
}
