//! What records hold. Pure.

use crate::bench::limits::KEYS_COUNT;
use crate::bench::traffic::{Keys, LoadPart};

/// Keys and values. Half of a value is random, the other half letters that a codec can shorten,
/// so that a compressed workload is neither free nor useless.
pub(super) struct Source {
    keys: Keys,
    key_bytes: usize,
    /// How many keys were taken.
    taken: u64,
    value: Vec<u8>,
    state: u64,
}

impl Source {
    pub(super) fn new(load: &LoadPart) -> Source {
        Source {
            keys: load.keys,
            key_bytes: load.key_bytes as usize,
            taken: 0,
            value: vec![b'a'; load.record_bytes as usize],
            state: SEED,
        }
    }

    pub(super) fn next_value(&mut self) -> &[u8] {
        let random = self.value.len().div_ceil(2);
        fill(&mut self.value[..random], &mut self.state);
        &self.value
    }

    pub(super) fn next_key(&mut self) -> Vec<u8> {
        if self.keys != Keys::RoundRobin {
            return self.random_key();
        }
        let number = self.taken % KEYS_COUNT;
        self.taken += 1;
        let mut key = vec![0; self.key_bytes];
        fill(&mut key, &mut (number + 1).wrapping_mul(KEY_SEED));
        key
    }

    pub(super) fn random_key(&mut self) -> Vec<u8> {
        let mut key = vec![0; self.key_bytes];
        fill(&mut key, &mut self.state);
        key
    }
}

/// Every load sends the same bytes.
const SEED: u64 = 0x2545_f491_4f6c_dd1d;
/// Spreads the numbers of keys over all bits.
const KEY_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

fn fill(bytes: &mut [u8], state: &mut u64) {
    for chunk in bytes.chunks_mut(8) {
        *state = xorshift(*state);
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
}

/// Marsaglia's xorshift64: bytes that do not compress, not secrets.
pub fn xorshift(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}
