//! Is an acknowledged record ever lost, or an offset given twice?
//!
//! The log room on the simulated disk: power losses, kills, failing syncs, full disks and flipped
//! bits, with a model beside it that knows what was promised. `ci/planted` runs this suite against
//! planted bugs and demands that it catches each.
#![cfg(feature = "sim")]
#![allow(unreachable_pub)]

mod model;
mod node;
mod workload;

mod damage;
mod everywhere;
mod faults;
mod full;
mod journal;
mod random;
mod reserve;
mod scenarios;
mod torn;
