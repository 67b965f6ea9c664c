//! What single steps of a produce or a fetch cost on one core, each measured by itself.
//!
//! `cargo bench --bench costs [-- NAME]` measures; criterion compares with the run before.
//! `cargo test` runs each step once, to see that it works. Each file of this directory is a
//! subject, and opens with the question that it answers. What the engine costs as a whole is
//! `benches/io.rs`, what the broker costs is `perf`.

mod arena;
mod crc;
mod fetch_encode;
mod frame_validate;
mod index_lookup;
mod log_append;
mod mailbox_hop;
mod produce_decode;
mod timer_wheel;

// Two parts of rooms that have no door of their own are measured as they stand in the source; what
// they write as `crate::` is here. Their own tests and what only the broker calls stay unused.
#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../src/log/index.rs"]
mod index;
#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../src/io/uring/wheel.rs"]
mod wheel;
use corelog::{frame, limits, model};

// The loops that `perf floors` runs, too; here only one of them.
#[allow(dead_code)]
#[path = "../../perf/src/loops.rs"]
mod loops;

use criterion::Criterion;

use crate::frame::{BatchBuilder, Codec};
use crate::model::Timestamp;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    frame_validate::measure(&mut criterion);
    crc::measure(&mut criterion);
    produce_decode::measure(&mut criterion);
    fetch_encode::measure(&mut criterion);
    log_append::measure(&mut criterion);
    index_lookup::measure(&mut criterion);
    mailbox_hop::measure(&mut criterion);
    arena::measure(&mut criterion);
    timer_wheel::measure(&mut criterion);
    criterion.final_summary();
}

/// A batch of so many records with values of so many bytes, which do not compress to nothing.
fn batch(codec: Codec, record_count: usize, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    let mut state = 1u32;
    let mut value = vec![0; value_bytes];
    for record in 0..record_count {
        for byte in &mut value {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Half of the bits of text say something.
            *byte = (state >> 24) as u8 & 0x0f | 0x60;
        }
        builder.push(Timestamp(1_000_000 + record as i64), None, Some(&value));
    }
    builder.build()
}
