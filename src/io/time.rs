//! Waiting for a while, built on the backend's `now` and `sleep_until`.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::{Sleep, now, sleep_until};

/// Ends `duration` from now, never earlier.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now() + duration)
}

/// The future's result, or `None` once `limit` has passed; the future is dropped then.
/// A future that is ready at the limit wins.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    match select(pin!(future), pin!(sleep(limit))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(((), _)) => None,
    }
}
