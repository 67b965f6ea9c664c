//! What the machine could do without a broker: the figures that a broker's are held against.
//!
//! | floor | what | where |
//! |---|---|---|
//! | F1 | requests received over TCP and answered, nothing else | `sink`, run by `serving` |
//! | F2 | F1 and a CRC-32C over every byte | the same |
//! | F3 | F2 and a direct write of every byte before the answer | the same |
//! | F4 | F3 with data sync | the same |
//! | F1 the other way round | bytes sent over TCP as fast as readers take them | `sink`, `drain` |
//! | F5 | round trip over TCP loopback | `loops::tcp_round_trip` |
//! | F6 | direct writes and reads, at depths of 1 to 32 | `disk` |
//! | F7 | round trip between cores | `loops::mailbox_round_trip` |
//! | F8 | gaps in a spinning thread's time: what the host takes away | `hiccup` |
//!
//! F1 to F4 are a process of their own on the broker's CPUs, and the load generator sends them the
//! very requests that it sends the broker: so both sides of a ratio are measured by the same code,
//! their processor time too. Writes go to files that are overwritten, because a log that reuses
//! its space costs the device no more than that. `survey` is `perf floors`.

pub(crate) mod disk;
pub(crate) mod drain;
pub(crate) mod hiccup;
pub(crate) mod serving;
pub(crate) mod sink;
pub(crate) mod survey;
