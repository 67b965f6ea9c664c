//! The clocks of the client's thread, which is no core.

use std::time::Duration;

pub(super) use crate::io::housekeeping::{now, wall_clock};

/// The pause before an operation is tried again.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(100);
