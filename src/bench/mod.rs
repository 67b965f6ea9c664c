//! The load generator: an open loop against a broker that speaks the Kafka protocol.
//!
//! `corelog bench` and the harness in `perf/` are two callers of the same load. `Traffic` says who
//! sends and who reads, `Plan` what a load must know before it begins, `Load` puts it on a broker,
//! and a `Book` comes back.
//!
//!     let found = Found::ask(&mut client, &[topic])?;        // partitions and who leads them
//!     let plan = Plan::new(traffic, bootstrap, &mut client, found)?;
//!     let mut load = Load::open(&plan)?;                     // connects everybody
//!     let book = load.slice(warm_up, length, &mut watcher)?; // as often as one likes
//!     let book = load.run_to(records, longest, &mut watcher)?;
//!     load.take_cut_short()                                  // the book of a slice that failed
//!     percentiles(&book.latency), hgrm(&book.latency)        // of nanoseconds, in microseconds
//!
//! Every latency counts from the time at which its request was meant to be sent, so that a stall
//! of the broker shows in all requests that fell into it. A load fails with a `Problem`.
//!
//! The generator has threads of its own, each with a ring: it needs io_uring, unlike the rest of
//! the command line. Its bounds are in `bench::limits`; none of them is the broker's.

mod problem;

mod plan;
mod traffic;

mod load;

mod schedule;

mod answer;
mod fetch;
mod request;
mod values;

mod book;
mod percentiles;

pub mod limits;

pub use answer::{read_answer, take_answer};
pub use book::{Arrival, Book, Step, histogram};
pub use load::{Load, Watcher};
pub use percentiles::{PERCENTILES, hgrm, percentiles, spectrum, us_at};
pub use plan::{Found, Plan, resolve};
pub use problem::Problem;
pub use request::{PRODUCE_VERSION_MAX, Place, Template, templates};
pub use traffic::{
    Acks, BatchCodec, ConsumePart, Keys, LoadPart, Rate, STAMP_BYTES, Spread, Start, Traffic,
};
pub use values::xorshift;
