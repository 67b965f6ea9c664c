//! Which partition a record goes to: the hash that Kafka's Java client uses, so that a key lands
//! where other clients expect it.

/// MurmurHash2, 32 bits, little-endian, with the seed that Kafka's clients share.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let mix = |value: u32| {
        let value = value.wrapping_mul(MULTIPLIER);
        (value ^ (value >> 24)).wrapping_mul(MULTIPLIER)
    };
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_mul(MULTIPLIER) ^ mix(u32::from_le_bytes(*word));
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// The partition of a key among `partition_count`, which is at least 1.
pub fn partition_of(key: &[u8], partition_count: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) as i32 % partition_count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_java_client() {
        // The vectors of Kafka's own UtilsTest.
        let check = |key: &[u8], expected: i32| {
            assert_eq!(murmur2(key) as i32, expected, "{key:?}");
        };
        check(b"21", -973932308);
        check(b"foobar", -790332482);
        check(b"a-little-bit-long-string", -985981536);
        check(b"a-little-bit-longer-string", -1486304829);
        check(
            b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58897971,
        );
        check(b"abc", 479470107);
    }

    #[test]
    fn partitions_are_never_negative() {
        for count in [1, 2, 3, 12, i32::MAX] {
            for key in 0..1000_u32 {
                let partition = partition_of(&key.to_be_bytes(), count);
                assert!((0..count).contains(&partition));
            }
        }
    }
}
