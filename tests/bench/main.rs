//! Does the load generator tell what the broker does? Latency from the intended time, every record
//! that is acknowledged, every error.

// The generator has rings and ports of its own.
#![cfg(not(feature = "sim"))]

mod broker;
mod intended;

use corelog::bench::{
    Acks, BatchCodec, ConsumePart, Keys, LoadPart, Rate, Spread, Start, Traffic, Watcher,
};

/// Nobody watches.
struct Unseen;

impl Watcher for Unseen {
    fn at_edge(&mut self) {}

    fn tick(&mut self, _: f64, _: u64) {}
}

/// One connection that sends requests of five small records as fast as it can.
fn load() -> LoadPart {
    LoadPart {
        connections: 1,
        spread: Spread::Own,
        batch_records: 5,
        record_bytes: 100,
        keys: Keys::None,
        key_bytes: 16,
        idempotent: false,
        codec: BatchCodec::None,
        acks: Acks::All,
        rate: Rate::Max,
        in_flight: 1,
    }
}

/// One connection that reads the tail.
fn consume() -> ConsumePart {
    ConsumePart {
        connections: 1,
        start: Start::Latest,
        again: false,
        stop_at_end: false,
        max_bytes: 1 << 20,
        partition_max_bytes: 1 << 20,
        min_bytes: 1,
        max_wait_ms: 20,
    }
}

fn produced(load: LoadPart) -> Traffic {
    Traffic {
        load,
        consume: None,
    }
}
