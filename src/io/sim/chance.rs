//! Seeded chance: every choice of the simulation is drawn from one of its streams.

/// One stream of pseudo-random numbers (SplitMix64, Steele, Lea, Flood 2014).
///
/// Streams of the same seed and different names are independent, so drawing more from one (a
/// fault is switched on, a crash is drawn) leaves what the others give unchanged. Not fit for
/// secrets.
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// The stream `name` of `seed`.
    pub fn new(seed: u64, name: &str) -> Chance {
        let mut state = mix(seed ^ 0x6a09_e667_f3bc_c908);
        for byte in name.bytes() {
            state = mix(state ^ u64::from(byte));
        }
        Chance { state }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `bound`, which is not 0. The bias is below 2^-32 for bounds below 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has nothing to choose");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into something of `len` items, which is not 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "the range {low}..={high} is upside down");
        match (high - low).checked_add(1) {
            Some(width) => low + self.below(width),
            None => self.next_u64(),
        }
    }

    /// True `ppm` times in a million.
    pub fn ppm(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    /// True every other time.
    pub fn coin(&mut self) -> bool {
        self.next_u64() & 1 == 1
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_its_seed_and_its_name() {
        let draw = |seed, name: &str| {
            let mut chance = Chance::new(seed, name);
            [chance.next_u64(), chance.next_u64(), chance.next_u64()]
        };
        assert_eq!(draw(1, "disk"), draw(1, "disk"));
        assert_ne!(draw(1, "disk"), draw(2, "disk"));
        assert_ne!(draw(1, "disk"), draw(1, "net"));
    }

    #[test]
    fn ranges_are_kept_and_covered() {
        let mut chance = Chance::new(7, "ranges");
        let mut seen = [0u32; 5];
        for _ in 0..1000 {
            seen[chance.index(5)] += 1;
            assert!((3..=9).contains(&chance.between(3, 9)));
        }
        assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
        assert_eq!(chance.between(4, 4), 4);
        assert!(!chance.ppm(0));
        assert!(chance.ppm(1_000_000));
        let mut bytes = [0u8; 11];
        chance.fill(&mut bytes);
        assert!(bytes[8..].iter().any(|&byte| byte != 0));
    }
}
