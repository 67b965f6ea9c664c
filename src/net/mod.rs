//! Accept, frame, order, back-pressure. Bytes in, bytes out; knows no API.
//!
//! Every core listens on the same addresses (SO_REUSEPORT) and accepts what the kernel gives it,
//! for whichever core is drawn to serve it; with `corelog.listener.mode=core` each also listens on
//! ports of its own, and serves what comes there. A connection stays on its core for life.

mod admission;
mod connection;
mod listener;
mod receive;

pub use admission::Admission;
pub use listener::{Server, bind};
