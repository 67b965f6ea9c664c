//! Do the codecs agree with an independent one in every version that is advertised, and do they
//! withstand bytes from anywhere?
//!
//! `agreement` sends random structures through our codecs and through the crate `kafka-protocol`,
//! both ways; `by_hand` compares the hand-written codecs with the generated ones; `arriving` takes
//! batches out of requests while they arrive; `mutations` feeds damaged messages to every decoder
//! under a cap on memory. A failure names its seed; `CORELOG_SEED` sets it, `CORELOG_FUZZ_SECONDS`
//! makes `mutations` run longer.

mod agreement;
mod arriving;
mod by_hand;
mod counting;
mod fields;
mod mutations;
mod random;

/// The seed of this run.
fn seed() -> u64 {
    std::env::var("CORELOG_SEED").map_or(0x00c0_4e10, |seed| seed.parse().expect("a number"))
}

/// A random structure as `version` can express it, encoded by our codec.
fn random_message<M>(random: &mut random::Random, version: i16) -> (M, bytes::Bytes)
where
    M: fields::Fill + corelog::protocol::messages::KafkaMessage,
{
    random.has_nulls = true;
    let message = M::fill(random, version);
    if let Ok(bytes) = corelog::protocol::encode(&message, version) {
        return (message, bytes);
    }
    // Some fields may be null only in newer versions.
    random.has_nulls = false;
    let message = M::fill(random, version);
    let bytes = corelog::protocol::encode(&message, version)
        .unwrap_or_else(|error| panic!("{} {version}: {error}", M::NAME));
    (message, bytes)
}
