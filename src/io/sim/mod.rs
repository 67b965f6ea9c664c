//! The simulated machine.

mod chance;
mod trace;

mod executor;
mod machine;
mod simulation;

mod clock;
pub mod disk;
mod file;
pub mod fs;
mod net;

pub use chance::Chance;
pub use disk::{Disk, DiskCounts, DiskOptions, Fault, OpInfo, OpKind};
pub use file::File;
pub use net::{Net, NetOptions, TcpListener, TcpStream};
pub use simulation::{Builder, Crash, CrashPoint, Outcome, ScheduleOptions, Simulation};
pub use simulation::{crash_now, with_disk, with_net};
pub use trace::{Event, What};

pub use clock::Sleep;
pub use clock::{now, random_bytes, random_u64, sleep_until, wall_clock};
pub use executor::{core, spawn, stats, yield_now};
pub use simulation::run;

#[cfg(test)]
mod tests;
