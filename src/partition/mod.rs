//! One replica of one partition.

mod producers;

pub use producers::{ActiveProducer, ProducerTable, Verdict};
