//! corelog: a broker that speaks the Kafka protocol, one thread per core.
//!
//! Read the rooms in the order of their `mod` lines; `docs/architecture.md` walks one produce and
//! one fetch through them.

pub mod cli;

pub mod admin;
pub mod net;

pub mod handlers;
pub mod shard;

pub mod controller;
pub mod coordinator;
pub mod partition;

pub mod log;

pub mod bench;
pub mod client;
pub mod protocol;

pub mod frame;
pub mod io;
pub mod model;

pub mod config;
pub mod limits;
pub mod metrics;
