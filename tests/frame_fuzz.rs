//! Seeded mutations of batches: nothing that a peer sends makes validation or reading panic, or
//! take more memory than their limit and a constant.

// A counting allocator has to implement an unsafe trait; it hands every call to the system's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use corelog::config::TimestampType;
use corelog::frame::{
    BATCH_CRC_START, BatchBuilder, BatchRules, Codec, check_whole, records, validate,
};
use corelog::model::Timestamp;

/// What a batch's records may decompress to in these tests.
const LIMIT_BYTES: usize = 256 * 1024;
/// Memory beyond the limit that a call may hold: a growing vector's old half, a codec's state.
const ALLOWED_BYTES: usize = 2 * LIMIT_BYTES + 512 * 1024;
/// Mutated batches; `CORELOG_FUZZ_ROUNDS` sets more.
const ROUNDS: u64 = 60_000;

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // Threads that are being torn down have no counters left; nothing is measured there.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every method passes its arguments to `System` unchanged and returns what it returns;
// the counters are plain cells without destructors and do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps `alloc`'s contract, which is `System`'s too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: `memory` came from `System` by way of `alloc` with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// SplitMix64: enough chance for mutations, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for codec in [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ] {
        for (count, len) in [(1, 3), (20, 40), (3, 70_000)] {
            let mut builder = BatchBuilder::new(codec);
            for index in 0..count {
                let value: Vec<u8> = (0..len).map(|i| (i * 7 + index) as u8).collect();
                let headers = [("trace", Some(b"abc".as_slice())), ("none", None)];
                let time = Timestamp(1000 + index as i64);
                builder.push_with_headers(time, Some(b"key"), Some(&value), &headers);
            }
            seeds.push(builder.build());
        }
    }
    seeds
}

fn mutate(chance: &mut Chance, batch: &mut Vec<u8>) {
    const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, 0x40];
    for _ in 0..1 + chance.below(4) {
        if batch.is_empty() {
            return;
        }
        // Half of the time near the headers of the batch and of its compressed form.
        let reach = if chance.below(2) == 0 {
            batch.len().min(90)
        } else {
            batch.len()
        };
        let at = chance.below(reach);
        match chance.below(6) {
            0 => batch[at] ^= 1 << chance.below(8),
            1 => batch[at] = EDGES[chance.below(EDGES.len())],
            2 => batch[at] = chance.next() as u8,
            3 => batch.truncate(at),
            4 => {
                let end = (at + 1 + chance.below(8)).min(batch.len());
                batch[at..end].fill(EDGES[chance.below(EDGES.len())]);
            }
            _ => {
                let end = (at + 1 + chance.below(40)).min(batch.len());
                let piece = batch[at..end].to_vec();
                let to = chance.below(batch.len());
                batch.splice(to..to, piece);
            }
        }
    }
}

/// Makes length and CRC right again, so that the mutation reaches what lies behind them.
fn mend(batch: &mut [u8]) {
    if batch.len() > 61 {
        let length = (batch.len() - 12) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = crc32c::crc32c(&batch[BATCH_CRC_START..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

fn bounded<T>(seed: u64, call: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    PEAK.set(before);
    let result = call();
    let grown = (PEAK.get() - before) as usize;
    assert!(grown <= ALLOWED_BYTES, "seed {seed} took {grown} bytes");
    result
}

#[test]
fn mutated_batches_are_refused_or_read_within_bounds() {
    let rules = BatchRules {
        now: Timestamp(2000),
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        batch_bytes_max: 1 << 20,
        compacted: true,
        decompressed_bytes_max: LIMIT_BYTES,
    };
    let rounds = std::env::var("CORELOG_FUZZ_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let seeds = seeds();
    let mut accepted = 0;
    for seed in 0..rounds.unwrap_or(ROUNDS) {
        let mut chance = Chance(seed);
        let mut batch = seeds[chance.below(seeds.len())].clone();
        mutate(&mut chance, &mut batch);
        if chance.below(8) != 0 {
            mend(&mut batch);
        }
        let valid = bounded(seed, || validate(&batch, &rules));
        let read = bounded(seed, || {
            let records = records(&batch, LIMIT_BYTES).ok()?;
            let mut count = 0;
            for record in &records {
                let record = record.ok()?;
                count += 1 + record.headers.filter(|(key, _)| key.is_empty()).count();
            }
            Some(count)
        });
        if let Ok(info) = valid {
            accepted += 1;
            assert!(read.is_some(), "seed {seed}: accepted and not readable");
            if let Some(stamp) = info.stamp {
                stamp.apply(&mut batch);
                assert!(
                    check_whole(&batch).is_ok(),
                    "seed {seed}: a stamp broke the batch"
                );
            }
        }
    }
    assert!(accepted > 0, "some mutations are harmless");
}
